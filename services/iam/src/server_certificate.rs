//! Server certificates: what load balancers and distributions take by name.

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::CERTIFICATES;
use crate::names::{self, required};
use crate::page::Page;
use crate::tags::{self, Case, Tags};
use crate::x509;

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_CERTIFICATES: usize = 20;
/// Chosen: below the store's limit of a value; AWS takes up to 2,097,152 characters.
const MAX_CHAIN: usize = 900_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub uploaded: Timestamp,
    pub expires: Timestamp,
    pub body: String,
    #[serde(default)]
    pub chain: Option<String>,
    /// PEM. Never leaves through IAM's API.
    pub private_key: String,
    #[serde(default)]
    pub tags: Tags,
}

impl Stored for CertificateRow {}

fn already_exists(name: &str) -> IamError {
    IamError::EntityAlreadyExists(format!("The Server Certificate with name {name} already exists."))
}

impl CertificateRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(
        reader: &impl Reader,
        account: AccountId,
        name: &str,
    ) -> Result<CertificateRow, IamError> {
        let found = CERTIFICATES.get(reader, &(account, names::key(name))).await?;
        found.ok_or_else(|| {
            IamError::NoSuchEntity(format!("The Server Certificate with name {name} cannot be found."))
        })
    }

    fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(CERTIFICATES.put(txn, &(account, names::key(&self.name)), self)?)
    }

    fn metadata(&self, cx: &Cx) -> api::ServerCertificateMetadata {
        let partition = cx.region().partition();
        api::ServerCertificateMetadata {
            path: Some(self.path.clone()),
            server_certificate_name: Some(self.name.clone()),
            server_certificate_id: Some(self.id.clone()),
            arn: Some(names::arn(partition, cx.account(), "server-certificate", &self.path, &self.name)),
            upload_date: Some(self.uploaded),
            expiration: Some(self.expires),
        }
    }
}

/// The certificate and its key must belong together.
pub async fn upload_server_certificate(
    cx: &Cx,
    input: api::UploadServerCertificateRequest,
) -> Result<api::UploadServerCertificateResponse, IamError> {
    let body = required(&input.certificate_body, "CertificateBody")?;
    let private_key = required(&input.private_key, "PrivateKey")?;
    let malformed = |what: &str| IamError::MalformedCertificate(format!("Unable to parse {what}."));
    let certificate = x509::certificate(body).ok_or_else(|| malformed("certificate"))?;
    let public_key = x509::public_key(private_key).ok_or_else(|| malformed("private key"))?;
    if public_key != certificate.public_key {
        return Err(IamError::KeyPairMismatch);
    }
    if let Some(chain) = &input.certificate_chain {
        x509::certificate(chain).ok_or_else(|| malformed("certificate chain"))?;
        if chain.len() > MAX_CHAIN {
            return Err(IamError::quota("CertificateChainSize", MAX_CHAIN));
        }
    }
    let row = CertificateRow {
        name: required(&input.server_certificate_name, "ServerCertificateName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("ASCA", 17),
        uploaded: change::now(cx),
        expires: certificate.not_after,
        body: body.to_owned(),
        chain: input.certificate_chain,
        private_key: private_key.to_owned(),
        tags: Case::Kept.create(input.tags)?,
    };
    let row = &row;
    change(cx, move |txn| async move {
        let quota = "ServerCertificatesPerAccount";
        change::check_account_quota(cx, &txn, CERTIFICATES, quota, MAX_CERTIFICATES).await?;
        let is_new = CERTIFICATES.put_if_absent(&txn, &(cx.account(), names::key(&row.name)), row).await?;
        if is_new { Ok(()) } else { Err(already_exists(&row.name)) }
    })
    .await?;
    Ok(api::UploadServerCertificateResponse {
        server_certificate_metadata: Some(row.metadata(cx)),
        tags: tags::answer_if_any(&row.tags),
    })
}

pub async fn get_server_certificate(
    cx: &Cx,
    input: api::GetServerCertificateRequest,
) -> Result<api::GetServerCertificateResponse, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    let row = CertificateRow::load(cx.store(), cx.account(), name).await?;
    let certificate = api::ServerCertificate {
        server_certificate_metadata: Some(row.metadata(cx)),
        tags: Some(tags::answer(&row.tags)),
        certificate_body: Some(row.body),
        certificate_chain: row.chain,
    };
    Ok(api::GetServerCertificateResponse { server_certificate: Some(certificate) })
}

pub async fn list_server_certificates(
    cx: &Cx,
    input: api::ListServerCertificatesRequest,
) -> Result<api::ListServerCertificatesResponse, IamError> {
    let page = Page::new("server-certificates", input.marker.as_deref(), input.max_items)?;
    let prefix = input.path_prefix.unwrap_or_default();
    let cut = page.scan(cx.store(), CERTIFICATES, cx.account(), |row| row.path.starts_with(&prefix)).await?;
    Ok(api::ListServerCertificatesResponse {
        server_certificate_metadata_list: Some(cut.items.iter().map(|row| row.metadata(cx)).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn update_server_certificate(
    cx: &Cx,
    input: api::UpdateServerCertificateRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    let path = input.new_path.as_deref().map(|path| names::path(Some(path))).transpose()?;
    let (path, new_name) = (&path, &input.new_server_certificate_name);
    change(cx, move |txn| async move {
        let account = cx.account();
        let mut row = CertificateRow::load(&txn, account, name).await?;
        let from = names::key(&row.name);
        row.path = path.clone().unwrap_or(row.path);
        row.name = new_name.clone().unwrap_or(row.name);
        let to = names::key(&row.name);
        if from != to {
            if CERTIFICATES.get(&txn, &(account, to)).await?.is_some() {
                return Err(already_exists(&row.name));
            }
            CERTIFICATES.delete(&txn, &(account, from));
        }
        row.put(&txn, account)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_server_certificate(
    cx: &Cx,
    input: api::DeleteServerCertificateRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    change(cx, move |txn| async move {
        CertificateRow::load(&txn, cx.account(), name).await?;
        CERTIFICATES.delete(&txn, &(cx.account(), names::key(name)));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn tag_server_certificate(
    cx: &Cx,
    input: api::TagServerCertificateRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = CertificateRow::load(&txn, cx.account(), name).await?;
        Case::Kept.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_server_certificate(
    cx: &Cx,
    input: api::UntagServerCertificateRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = CertificateRow::load(&txn, cx.account(), name).await?;
        Case::Kept.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_server_certificate_tags(
    cx: &Cx,
    input: api::ListServerCertificateTagsRequest,
) -> Result<api::ListServerCertificateTagsResponse, IamError> {
    let name = required(&input.server_certificate_name, "ServerCertificateName")?;
    let row = CertificateRow::load(cx.store(), cx.account(), name).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListServerCertificateTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
