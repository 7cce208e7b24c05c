//! X.509 signing certificates of users.

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::access_key::status;
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::SIGNING;
use crate::names::required;
use crate::page::{self, Page};
use crate::x509;

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_CERTIFICATES: usize = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SigningRow {
    pub body: String,
    pub is_active: bool,
    pub uploaded: Timestamp,
}

impl Stored for SigningRow {}

impl SigningRow {
    fn answer(self, user: &str, id: &str) -> api::SigningCertificate {
        api::SigningCertificate {
            user_name: Some(user.to_owned()),
            certificate_id: Some(id.to_owned()),
            certificate_body: Some(self.body),
            status: Some(if self.is_active { "Active" } else { "Inactive" }.to_owned()),
            upload_date: Some(self.uploaded),
        }
    }
}

pub async fn upload_signing_certificate(
    cx: &Cx,
    input: api::UploadSigningCertificateRequest,
) -> Result<api::UploadSigningCertificateResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let body = required(&input.certificate_body, "CertificateBody")?;
    let id = &cx.ids().iam("", 32);
    let row = SigningRow { body: body.to_owned(), is_active: true, uploaded: change::now(cx) };
    let row = &row;
    let user = change(cx, move |txn| async move {
        let user = Holder::load(&txn, cx.account(), Kind::User, name).await?;
        if x509::certificate(body).is_none() {
            return Err(IamError::MalformedCertificate(format!("Certificate {body} is malformed.")));
        }
        let rows = page::all(&txn, SIGNING, SIGNING.under(&(user.id.clone(),))).await?;
        if rows.iter().any(|(_, other)| other.body.trim() == body.trim()) {
            let text = "The same certificate is already associated with the user.";
            return Err(IamError::DuplicateCertificate(text.to_owned()));
        }
        if rows.len() >= MAX_CERTIFICATES {
            return Err(IamError::quota("CertificatesPerUser", MAX_CERTIFICATES));
        }
        SIGNING.put(&txn, &(user.id.clone(), id.clone()), row)?;
        Ok(user)
    })
    .await?;
    Ok(api::UploadSigningCertificateResponse { certificate: Some(row.clone().answer(&user.name, id)) })
}

async fn load(cx: &Cx, txn: &Txn, name: &str, id: &str) -> Result<((String, String), SigningRow), IamError> {
    let user = Holder::load(txn, cx.account(), Kind::User, name).await?;
    let key = (user.id, id.to_owned());
    let row = SIGNING.get(txn, &key).await?;
    let missing = || IamError::NoSuchEntity(format!("The Certificate with id {id} cannot be found."));
    Ok((key, row.ok_or_else(missing)?))
}

pub async fn update_signing_certificate(
    cx: &Cx,
    input: api::UpdateSigningCertificateRequest,
) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let id = required(&input.certificate_id, "CertificateId")?;
    let is_active = status(&input.status)?;
    change(cx, move |txn| async move {
        let (key, row) = load(cx, &txn, name, id).await?;
        Ok(SIGNING.put(&txn, &key, &SigningRow { is_active, ..row })?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_signing_certificate(
    cx: &Cx,
    input: api::DeleteSigningCertificateRequest,
) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let id = required(&input.certificate_id, "CertificateId")?;
    change(cx, move |txn| async move {
        let (key, _) = load(cx, &txn, name, id).await?;
        SIGNING.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_signing_certificates(
    cx: &Cx,
    input: api::ListSigningCertificatesRequest,
) -> Result<api::ListSigningCertificatesResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let page = Page::new("signing-certificates", input.marker.as_deref(), input.max_items)?;
    let rows = page::all(cx.store(), SIGNING, SIGNING.under(&(user.id,))).await?;
    let cut = page.cut(rows, |((_, id), _)| id.clone());
    let certificates = cut.items.into_iter().map(|((_, id), row)| row.answer(&user.name, &id));
    Ok(api::ListSigningCertificatesResponse {
        certificates: Some(certificates.collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
