//! `CreateAccessKey`, `UpdateAccessKey`, `DeleteAccessKey`, `ListAccessKeys`, `GetAccessKeyLastUsed`.
//!
//! A deleted key keeps its row: none of them may ever be taken for a key that this cloud did not issue.

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::{CallerKind, Cx};
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{ACCESS_KEYS, KEYS_OF, LAST_USE, Mark, ROOT};
use crate::names::required;
use crate::page::{self, Page};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_KEYS: usize = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessKeyRow {
    pub account: AccountId,
    /// A user's id, or `ROOT`.
    pub owner: String,
    pub secret: String,
    pub is_active: bool,
    pub created: Timestamp,
    #[serde(default)]
    pub is_deleted: bool,
}

impl Stored for AccessKeyRow {}

/// When and where a key or role was last used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastUse {
    pub at: Timestamp,
    pub region: String,
    /// IAM's name of the service: `sqs`.
    pub service: String,
    /// ARN of who used it, where that is kept.
    #[serde(default)]
    pub entity: String,
}

impl Stored for LastUse {}

impl AccessKeyRow {
    pub fn status(&self) -> String {
        if self.is_active { "Active" } else { "Inactive" }.to_owned()
    }

    pub fn put(&self, txn: &Txn, id: &str) -> Result<(), IamError> {
        Ok(ACCESS_KEYS.put(txn, &(id.to_owned(),), self)?)
    }
}

/// Whose keys a request is about.
struct Target {
    owner: String,
    /// The root user has none.
    user_name: Option<String>,
}

/// The named user, or the caller. `Must specify userName` when the caller has no keys of its own.
async fn target(cx: &Cx, reader: &impl Reader, name: &Option<String>) -> Result<Target, IamError> {
    if name.is_none() && cx.caller().kind == CallerKind::Root {
        return Ok(Target { owner: ROOT.to_owned(), user_name: None });
    }
    let name = change::user_or_caller(cx, name)?;
    let user = Holder::load(reader, cx.account(), Kind::User, name).await?;
    Ok(Target { owner: user.id, user_name: Some(user.name) })
}

/// The keys of a user or of the root user, oldest first.
pub async fn keys_of(
    reader: &impl Reader,
    account: AccountId,
    owner: &str,
) -> Result<Vec<(String, AccessKeyRow)>, IamError> {
    let ids = page::all(reader, KEYS_OF, KEYS_OF.under(&(account, owner.to_owned()))).await?;
    let mut keys = Vec::with_capacity(ids.len());
    for ((_, _, id), _) in ids {
        if let Some(row) = ACCESS_KEYS.get(reader, &(id.clone(),)).await? {
            keys.push((id, row));
        }
    }
    keys.sort_by(|a, b| (a.1.created, &a.0).cmp(&(b.1.created, &b.0)));
    Ok(keys)
}

pub async fn create_access_key(
    cx: &Cx,
    input: api::CreateAccessKeyRequest,
) -> Result<api::CreateAccessKeyResponse, IamError> {
    let id = &cx.ids().iam("AKIA", 16);
    let secret = &cx.ids().secret_access_key();
    let name = &input.user_name;
    let (row, user_name) = change(cx, move |txn| async move {
        let account = cx.account();
        let target = target(cx, &txn, name).await?;
        if keys_of(&txn, account, &target.owner).await?.len() >= MAX_KEYS {
            return Err(IamError::quota("AccessKeysPerUser", MAX_KEYS));
        }
        let row = AccessKeyRow {
            account,
            owner: target.owner,
            secret: secret.clone(),
            is_active: true,
            created: change::now(cx),
            is_deleted: false,
        };
        KEYS_OF.put(&txn, &(account, row.owner.clone(), id.clone()), &Mark { since: row.created })?;
        row.put(&txn, id)?;
        Ok((row, target.user_name))
    })
    .await?;
    let access_key = api::AccessKey {
        user_name,
        access_key_id: Some(id.clone()),
        status: Some(row.status()),
        secret_access_key: Some(row.secret),
        create_date: Some(row.created),
    };
    Ok(api::CreateAccessKeyResponse { access_key: Some(access_key) })
}

/// Loads a key of `target`, which may not be deleted.
async fn load(cx: &Cx, txn: &Txn, target: &Target, id: &str) -> Result<AccessKeyRow, IamError> {
    let row = ACCESS_KEYS.get(txn, &(id.to_owned(),)).await?;
    let own = row.filter(|row| row.account == cx.account() && row.owner == target.owner && !row.is_deleted);
    own.ok_or_else(|| IamError::no_access_key(id))
}

pub async fn update_access_key(cx: &Cx, input: api::UpdateAccessKeyRequest) -> Result<Unit, IamError> {
    let id = required(&input.access_key_id, "AccessKeyId")?;
    let is_active = status(&input.status)?;
    let name = &input.user_name;
    change(cx, move |txn| async move {
        let target = target(cx, &txn, name).await?;
        let mut row = load(cx, &txn, &target, id).await?;
        row.is_active = is_active;
        row.put(&txn, id)
    })
    .await?;
    Ok(Unit)
}

/// What a caller may set a credential's status to: `Expired` is for services to say.
pub fn status(status: &Option<String>) -> Result<bool, IamError> {
    match required(status, "Status")? {
        "Active" => Ok(true),
        "Inactive" => Ok(false),
        other => Err(IamError::InvalidInput(format!("Status {other} cannot be set."))),
    }
}

pub async fn delete_access_key(cx: &Cx, input: api::DeleteAccessKeyRequest) -> Result<Unit, IamError> {
    let id = required(&input.access_key_id, "AccessKeyId")?;
    let name = &input.user_name;
    change(cx, move |txn| async move {
        let target = target(cx, &txn, name).await?;
        let row = load(cx, &txn, &target, id).await?;
        KEYS_OF.delete(&txn, &(row.account, row.owner.clone(), id.to_owned()));
        AccessKeyRow { is_deleted: true, is_active: false, ..row }.put(&txn, id)
    })
    .await?;
    Ok(Unit)
}

pub async fn list_access_keys(
    cx: &Cx,
    input: api::ListAccessKeysRequest,
) -> Result<api::ListAccessKeysResponse, IamError> {
    let target = target(cx, cx.store(), &input.user_name).await?;
    let page = Page::new("access-keys", input.marker.as_deref(), input.max_items)?;
    let keys = keys_of(cx.store(), cx.account(), &target.owner).await?;
    let cut = page.cut(keys, |(id, row)| format!("{:020}{id}", row.created.as_secs()));
    let metadata = |(id, row): (String, AccessKeyRow)| api::AccessKeyMetadata {
        user_name: target.user_name.clone(),
        status: Some(row.status()),
        access_key_id: Some(id),
        create_date: Some(row.created),
    };
    Ok(api::ListAccessKeysResponse {
        access_key_metadata: Some(cut.items.into_iter().map(metadata).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// As AWS answers: a key that the account does not own is none of the caller's business, so it is denied rather than not found.
pub async fn get_access_key_last_used(
    cx: &Cx,
    input: api::GetAccessKeyLastUsedRequest,
) -> Result<api::GetAccessKeyLastUsedResponse, IamError> {
    let id = required(&input.access_key_id, "AccessKeyId")?;
    let row = ACCESS_KEYS.get(cx.store(), &(id.to_owned(),)).await?;
    let Some(row) = row.filter(|row| row.account == cx.account() && !row.is_deleted) else {
        return Err(IamError::AccessDenied(format!(
            "User: {} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key {id}",
            cx.caller().arn
        )));
    };
    let user_name = Holder::find(cx.store(), &row.owner).await?.map(|user| user.name);
    let last_use = LAST_USE.get(cx.store(), &(id.to_owned(),)).await?;
    let unknown = || "N/A".to_owned();
    let last_used = api::AccessKeyLastUsed {
        last_used_date: last_use.as_ref().map(|last| last.at),
        service_name: Some(last_use.as_ref().map_or_else(unknown, |last| last.service.clone())),
        region: Some(last_use.map_or_else(unknown, |last| last.region)),
    };
    Ok(api::GetAccessKeyLastUsedResponse { user_name, access_key_last_used: Some(last_used) })
}
