//! SAML providers. They are kept; signing in with one is STS's `AssumeRoleWithSAML`.

use std::time::Duration;

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::SAML;
use crate::names::{self, required};
use crate::page;
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_PROVIDERS: usize = 100;
/// How long metadata without an end of its own is valid.
const VALIDITY: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Chosen: below the store's limit of a value; AWS takes up to 10,000,000 characters.
const MAX_METADATA: usize = 900_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SamlRow {
    pub name: String,
    pub uuid: String,
    pub metadata: String,
    pub created: Timestamp,
    pub valid_until: Timestamp,
    #[serde(default)]
    pub encryption_mode: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

impl Stored for SamlRow {}

impl SamlRow {
    fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), "saml-provider", "/", &self.name)
    }

    fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(SAML.put(txn, &(account, names::key(&self.name)), self)?)
    }
}

async fn load(reader: &impl Reader, account: AccountId, arn: &str) -> Result<SamlRow, IamError> {
    let named = names::parse_arn(arn).filter(|named| named.kind == "saml-provider");
    let named = named.ok_or_else(|| IamError::invalid_arn(arn))?;
    let missing = || IamError::NoSuchEntity(format!("Manifest not found for arn {arn}"));
    if named.account != Some(account) {
        return Err(missing());
    }
    let row = SAML.get(reader, &(account, names::key(&named.name))).await?;
    row.filter(|row| row.name == named.name).ok_or_else(missing)
}

fn check_metadata(metadata: &str) -> Result<(), IamError> {
    if !metadata.contains("EntityDescriptor") || !metadata.contains("IDPSSODescriptor") {
        return Err(IamError::InvalidInput("Could not parse metadata".to_owned()));
    }
    if metadata.len() > MAX_METADATA {
        return Err(IamError::quota("SAMLMetadataDocumentSize", MAX_METADATA));
    }
    Ok(())
}

pub async fn create_saml_provider(
    cx: &Cx,
    input: api::CreateSAMLProviderRequest,
) -> Result<api::CreateSAMLProviderResponse, IamError> {
    if input.add_private_key.is_some() {
        return Err(IamError::NotImplemented("private keys of SAML providers (AddPrivateKey)"));
    }
    let metadata = required(&input.saml_metadata_document, "SAMLMetadataDocument")?;
    check_metadata(metadata)?;
    let now = change::now(cx);
    let row = SamlRow {
        name: required(&input.name, "Name")?.to_owned(),
        uuid: cx.ids().iam("", 21),
        metadata: metadata.to_owned(),
        created: now,
        valid_until: now + VALIDITY,
        encryption_mode: input.assertion_encryption_mode,
        tags: Case::Kept.create(input.tags)?,
    };
    let row = &row;
    change(cx, move |txn| async move {
        change::check_account_quota(cx, &txn, SAML, "SAMLProvidersPerAccount", MAX_PROVIDERS).await?;
        if SAML.put_if_absent(&txn, &(cx.account(), names::key(&row.name)), row).await? {
            return Ok(());
        }
        Err(IamError::EntityAlreadyExists(format!("SAML provider {} already exists.", row.name)))
    })
    .await?;
    Ok(api::CreateSAMLProviderResponse {
        saml_provider_arn: Some(row.arn(cx)),
        tags: tags::answer_if_any(&row.tags),
    })
}

pub async fn get_saml_provider(
    cx: &Cx,
    input: api::GetSAMLProviderRequest,
) -> Result<api::GetSAMLProviderResponse, IamError> {
    let row = load(cx.store(), cx.account(), required(&input.saml_provider_arn, "SAMLProviderArn")?).await?;
    Ok(api::GetSAMLProviderResponse {
        tags: Some(tags::answer(&row.tags)),
        saml_provider_uuid: Some(row.uuid),
        saml_metadata_document: Some(row.metadata),
        create_date: Some(row.created),
        valid_until: Some(row.valid_until),
        assertion_encryption_mode: Some(row.encryption_mode.unwrap_or_else(|| "Allowed".to_owned())),
        private_key_list: Some(Vec::new()),
    })
}

pub async fn list_saml_providers(
    cx: &Cx,
    _: api::ListSAMLProvidersRequest,
) -> Result<api::ListSAMLProvidersResponse, IamError> {
    let rows = page::all(cx.store(), SAML, SAML.under(&(cx.account(),))).await?;
    let entry = |row: &SamlRow| api::SAMLProviderListEntry {
        arn: Some(row.arn(cx)),
        valid_until: Some(row.valid_until),
        create_date: Some(row.created),
    };
    Ok(api::ListSAMLProvidersResponse {
        saml_provider_list: Some(rows.iter().map(|(_, row)| entry(row)).collect()),
    })
}

pub async fn update_saml_provider(
    cx: &Cx,
    input: api::UpdateSAMLProviderRequest,
) -> Result<api::UpdateSAMLProviderResponse, IamError> {
    if input.add_private_key.is_some() || input.remove_private_key.is_some() {
        return Err(IamError::NotImplemented(
            "private keys of SAML providers (AddPrivateKey, RemovePrivateKey)",
        ));
    }
    let arn = required(&input.saml_provider_arn, "SAMLProviderArn")?;
    if let Some(metadata) = &input.saml_metadata_document {
        check_metadata(metadata)?;
    }
    let input = &input;
    change(cx, move |txn| async move {
        let mut row = load(&txn, cx.account(), arn).await?;
        if let Some(metadata) = &input.saml_metadata_document {
            row.metadata = metadata.clone();
            row.valid_until = change::now(cx) + VALIDITY;
        }
        row.encryption_mode = input.assertion_encryption_mode.clone().or(row.encryption_mode);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(api::UpdateSAMLProviderResponse { saml_provider_arn: Some(arn.to_owned()) })
}

pub async fn delete_saml_provider(cx: &Cx, input: api::DeleteSAMLProviderRequest) -> Result<Unit, IamError> {
    let arn = required(&input.saml_provider_arn, "SAMLProviderArn")?;
    change(cx, move |txn| async move {
        let row = load(&txn, cx.account(), arn).await?;
        SAML.delete(&txn, &(cx.account(), names::key(&row.name)));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn tag_saml_provider(cx: &Cx, input: api::TagSAMLProviderRequest) -> Result<Unit, IamError> {
    let arn = required(&input.saml_provider_arn, "SAMLProviderArn")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = load(&txn, cx.account(), arn).await?;
        Case::Kept.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_saml_provider(cx: &Cx, input: api::UntagSAMLProviderRequest) -> Result<Unit, IamError> {
    let arn = required(&input.saml_provider_arn, "SAMLProviderArn")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = load(&txn, cx.account(), arn).await?;
        Case::Kept.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_saml_provider_tags(
    cx: &Cx,
    input: api::ListSAMLProviderTagsRequest,
) -> Result<api::ListSAMLProviderTagsResponse, IamError> {
    let row = load(cx.store(), cx.account(), required(&input.saml_provider_arn, "SAMLProviderArn")?).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListSAMLProviderTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
