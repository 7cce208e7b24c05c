//! Service-specific credentials: user names and passwords, or keys, for services that do not take signatures.
//!
//! Only a digest of the secret is kept: it is shown once.
//!
//! Source: IAM API Reference, "CreateServiceSpecificCredential".

use std::time::Duration;

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::access_key::status;
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{CREDENTIALS, USERS};
use crate::names::required;
use crate::page::{self, Page};

const MAX_PER_SERVICE: usize = 2;
/// Services that take a user name and a password.
const WITH_PASSWORD: &[&str] = &["codecommit.amazonaws.com", "cassandra.amazonaws.com"];
/// Services that take one secret, which may end.
const WITH_SECRET: &[&str] = &["bedrock.amazonaws.com", "logs.amazonaws.com"];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CredentialRow {
    pub service: String,
    /// User name or alias at the service.
    pub login: String,
    pub secret_digest: Vec<u8>,
    pub is_active: bool,
    pub created: Timestamp,
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl Stored for CredentialRow {}

fn check_service(service: &str) -> Result<(), IamError> {
    if WITH_PASSWORD.contains(&service) || WITH_SECRET.contains(&service) {
        return Ok(());
    }
    let text = format!("No such service {service} is supported for Service Specific Credentials");
    Err(IamError::NotSupportedService(text))
}

impl CredentialRow {
    fn has_password(&self) -> bool {
        WITH_PASSWORD.contains(&self.service.as_str())
    }

    fn status(&self) -> String {
        if self.is_active { "Active" } else { "Inactive" }.to_owned()
    }

    fn metadata(&self, user: &str, id: &str) -> api::ServiceSpecificCredentialMetadata {
        let login = Some(self.login.clone());
        let (service_user_name, alias) = if self.has_password() { (login, None) } else { (None, login) };
        api::ServiceSpecificCredentialMetadata {
            user_name: Some(user.to_owned()),
            status: Some(self.status()),
            service_user_name,
            service_credential_alias: alias,
            create_date: Some(self.created),
            expiration_date: self.expires,
            service_specific_credential_id: Some(id.to_owned()),
            service_name: Some(self.service.clone()),
        }
    }

    fn with_secret(&self, user: &str, id: &str, secret: String) -> api::ServiceSpecificCredential {
        let metadata = self.metadata(user, id);
        let (password, key) = if self.has_password() { (Some(secret), None) } else { (None, Some(secret)) };
        api::ServiceSpecificCredential {
            create_date: metadata.create_date,
            expiration_date: metadata.expiration_date,
            service_name: metadata.service_name,
            service_user_name: metadata.service_user_name,
            service_password: password,
            service_credential_alias: metadata.service_credential_alias,
            service_credential_secret: key,
            service_specific_credential_id: metadata.service_specific_credential_id,
            user_name: metadata.user_name,
            status: metadata.status,
        }
    }
}

fn digest_of(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

pub async fn create_service_specific_credential(
    cx: &Cx,
    input: api::CreateServiceSpecificCredentialRequest,
) -> Result<api::CreateServiceSpecificCredentialResponse, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let service = required(&input.service_name, "ServiceName")?;
    check_service(service)?;
    if input.credential_age_days.is_some() && !WITH_SECRET.contains(&service) {
        let text = format!("CredentialAgeDays is not supported for {service}.");
        return Err(IamError::InvalidInput(text));
    }
    let (id, secret) = (&cx.ids().iam("ACCA", 17), cx.ids().secret_access_key());
    let digest = &digest_of(&secret);
    let created = change::now(cx);
    let expires =
        input.credential_age_days.map(|days| created + Duration::from_secs(days.unsigned_abs() * 86_400));
    let (row, user) = change(cx, move |txn| async move {
        let user = Holder::load(&txn, cx.account(), Kind::User, name).await?;
        let rows = of_user(&txn, &user.id, Some(service)).await?;
        if rows.len() >= MAX_PER_SERVICE {
            return Err(IamError::quota("ServiceSpecificCredentialsPerUser", MAX_PER_SERVICE));
        }
        let first = format!("{}-at-{}", user.name, cx.account());
        let is_taken = rows.iter().any(|(_, row)| row.login == first);
        let login = if is_taken { format!("{}+1-at-{}", user.name, cx.account()) } else { first };
        let row = CredentialRow {
            service: service.to_owned(),
            login,
            secret_digest: digest.clone(),
            is_active: true,
            created,
            expires,
        };
        CREDENTIALS.put(&txn, &(user.id.clone(), id.clone()), &row)?;
        Ok((row, user))
    })
    .await?;
    Ok(api::CreateServiceSpecificCredentialResponse {
        service_specific_credential: Some(row.with_secret(&user.name, id, secret)),
    })
}

async fn of_user(
    reader: &impl Reader,
    user_id: &str,
    service: Option<&str>,
) -> Result<Vec<(String, CredentialRow)>, IamError> {
    let rows = page::all(reader, CREDENTIALS, CREDENTIALS.under(&(user_id.to_owned(),))).await?;
    let wanted = rows.into_iter().map(|((_, id), row)| (id, row));
    Ok(wanted.filter(|(_, row)| service.is_none_or(|service| row.service == service)).collect())
}

async fn load(cx: &Cx, txn: &Txn, name: &str, id: &str) -> Result<(Holder, CredentialRow), IamError> {
    let user = Holder::load(txn, cx.account(), Kind::User, name).await?;
    let row = CREDENTIALS.get(txn, &(user.id.clone(), id.to_owned())).await?;
    let missing = || IamError::NoSuchEntity(format!("No such credential {id} exists"));
    Ok((user, row.ok_or_else(missing)?))
}

pub async fn reset_service_specific_credential(
    cx: &Cx,
    input: api::ResetServiceSpecificCredentialRequest,
) -> Result<api::ResetServiceSpecificCredentialResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let id = required(&input.service_specific_credential_id, "ServiceSpecificCredentialId")?;
    let secret = cx.ids().secret_access_key();
    let digest = &digest_of(&secret);
    let (user, row) = change(cx, move |txn| async move {
        let (user, row) = load(cx, &txn, name, id).await?;
        let row = CredentialRow { secret_digest: digest.clone(), ..row };
        CREDENTIALS.put(&txn, &(user.id.clone(), id.to_owned()), &row)?;
        Ok((user, row))
    })
    .await?;
    Ok(api::ResetServiceSpecificCredentialResponse {
        service_specific_credential: Some(row.with_secret(&user.name, id, secret)),
    })
}

pub async fn update_service_specific_credential(
    cx: &Cx,
    input: api::UpdateServiceSpecificCredentialRequest,
) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let id = required(&input.service_specific_credential_id, "ServiceSpecificCredentialId")?;
    let is_active = status(&input.status)?;
    change(cx, move |txn| async move {
        let (user, row) = load(cx, &txn, name, id).await?;
        Ok(CREDENTIALS.put(&txn, &(user.id, id.to_owned()), &CredentialRow { is_active, ..row })?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_service_specific_credential(
    cx: &Cx,
    input: api::DeleteServiceSpecificCredentialRequest,
) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let id = required(&input.service_specific_credential_id, "ServiceSpecificCredentialId")?;
    change(cx, move |txn| async move {
        let (user, _) = load(cx, &txn, name, id).await?;
        CREDENTIALS.delete(&txn, &(user.id, id.to_owned()));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_service_specific_credentials(
    cx: &Cx,
    input: api::ListServiceSpecificCredentialsRequest,
) -> Result<api::ListServiceSpecificCredentialsResponse, IamError> {
    let service = input.service_name.as_deref();
    service.map(check_service).transpose()?;
    let users: Vec<(String, String)> = if input.all_users == Some(true) {
        let rows = page::all(cx.store(), USERS, USERS.under(&(cx.account(),))).await?;
        rows.into_iter().map(|(_, row)| (row.id, row.name)).collect()
    } else {
        let name = change::user_or_caller(cx, &input.user_name)?;
        let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
        vec![(user.id, user.name)]
    };
    let page = Page::new("service-credentials", input.marker.as_deref(), input.max_items)?;
    let mut found = Vec::new();
    for (user_id, name) in users {
        let rows = of_user(cx.store(), &user_id, service).await?;
        found.extend(rows.iter().map(|(id, row)| row.metadata(&name, id)));
    }
    let cut = page.cut(found, |row| row.service_specific_credential_id.clone().unwrap_or_default());
    Ok(api::ListServiceSpecificCredentialsResponse {
        service_specific_credentials: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
