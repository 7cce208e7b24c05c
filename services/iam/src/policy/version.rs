//! `CreatePolicyVersion`, `GetPolicyVersion`, `ListPolicyVersions`, `SetDefaultPolicyVersion`, `DeletePolicyVersion`.

use pileus_api_iam as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use super::{PolicyRow, VersionRow, aws, check_managed};
use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::VERSIONS;
use crate::names::{self, required};
use crate::page::{self, Page};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_VERSIONS: usize = 5;

/// The number in `v12`.
fn number(version_id: &str) -> Option<u32> {
    version_id.strip_prefix('v')?.parse().ok()
}

pub fn answer(number: u32, row: &VersionRow, policy: &PolicyRow) -> api::PolicyVersion {
    api::PolicyVersion {
        document: None,
        version_id: Some(format!("v{number}")),
        is_default_version: Some(number == policy.default_version),
        create_date: Some(row.created),
    }
}

pub async fn create_policy_version(
    cx: &Cx,
    input: api::CreatePolicyVersionRequest,
) -> Result<api::CreatePolicyVersionResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let document = required(&input.policy_document, "PolicyDocument")?;
    check_managed(document)?;
    let set_as_default = input.set_as_default == Some(true);
    let version = VersionRow { document: document.to_owned(), created: change::now(cx) };
    let version = &version;
    let row = change(cx, move |txn| async move {
        let account = cx.account();
        let mut row = PolicyRow::load(&txn, account, arn).await?;
        let range = VERSIONS.under(&(account, names::key(&row.name)));
        if page::all(&txn, VERSIONS, range).await?.len() >= MAX_VERSIONS {
            return Err(IamError::LimitExceeded(format!(
                "A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must \
                 delete an existing version."
            )));
        }
        row.last_version += 1;
        if set_as_default {
            row.default_version = row.last_version;
        }
        row.updated = version.created;
        VERSIONS.put(&txn, &row.version_key(account, row.last_version), version)?;
        row.put(&txn, account)?;
        Ok(row)
    })
    .await?;
    Ok(api::CreatePolicyVersionResponse { policy_version: Some(answer(row.last_version, version, &row)) })
}

pub async fn get_policy_version(
    cx: &Cx,
    input: api::GetPolicyVersionRequest,
) -> Result<api::GetPolicyVersionResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let version_id = required(&input.version_id, "VersionId")?;
    let missing = || IamError::no_policy_version(arn, version_id);
    if let Some(managed) = aws::find(arn) {
        let version =
            aws::version(managed).filter(|version| version.version_id.as_deref() == Some(version_id));
        let version = version.ok_or_else(missing)?;
        return Ok(api::GetPolicyVersionResponse { policy_version: Some(version) });
    }
    let row = PolicyRow::find(cx.store(), cx.account(), arn).await?.ok_or_else(missing)?;
    let number = number(version_id).ok_or_else(missing)?;
    let version =
        VERSIONS.get(cx.store(), &row.version_key(cx.account(), number)).await?.ok_or_else(missing)?;
    let document = Some(names::encode_document(&version.document));
    let version = api::PolicyVersion { document, ..answer(number, &version, &row) };
    Ok(api::GetPolicyVersionResponse { policy_version: Some(version) })
}

/// The versions of a customer-managed policy, newest first.
pub async fn versions_of(cx: &Cx, row: &PolicyRow) -> Result<Vec<(u32, VersionRow)>, IamError> {
    let range = VERSIONS.under(&(cx.account(), names::key(&row.name)));
    let versions = page::all(cx.store(), VERSIONS, range).await?;
    Ok(versions.into_iter().rev().map(|((_, _, number), version)| (number, version)).collect())
}

/// As AWS answers: newest first, without documents.
pub async fn list_policy_versions(
    cx: &Cx,
    input: api::ListPolicyVersionsRequest,
) -> Result<api::ListPolicyVersionsResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let page = Page::new("policy-versions", input.marker.as_deref(), input.max_items)?;
    let versions: Vec<(u32, api::PolicyVersion)> = match aws::find(arn) {
        Some(managed) => {
            let version =
                aws::version(managed).map(|version| api::PolicyVersion { document: None, ..version });
            version.into_iter().map(|version| (0, version)).collect()
        }
        None => {
            let row = PolicyRow::load(cx.store(), cx.account(), arn).await?;
            let versions = versions_of(cx, &row).await?;
            versions.iter().map(|(number, version)| (*number, answer(*number, version, &row))).collect()
        }
    };
    let cut = page.cut(versions, |(number, _)| format!("{:010}", u32::MAX - number));
    Ok(api::ListPolicyVersionsResponse {
        versions: Some(cut.items.into_iter().map(|(_, version)| version).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn set_default_policy_version(
    cx: &Cx,
    input: api::SetDefaultPolicyVersionRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let version_id = required(&input.version_id, "VersionId")?;
    change(cx, move |txn| async move {
        let (mut row, number) = load(&txn, cx.account(), arn, version_id).await?;
        row.default_version = number;
        row.updated = change::now(cx);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_policy_version(
    cx: &Cx,
    input: api::DeletePolicyVersionRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let version_id = required(&input.version_id, "VersionId")?;
    change(cx, move |txn| async move {
        let (row, number) = load(&txn, cx.account(), arn, version_id).await?;
        if number == row.default_version {
            return Err(IamError::DeleteConflict("Cannot delete the default version of a policy."));
        }
        VERSIONS.delete(&txn, &row.version_key(cx.account(), number));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

async fn load(
    txn: &Txn,
    account: AccountId,
    arn: &str,
    version_id: &str,
) -> Result<(PolicyRow, u32), IamError> {
    let missing = || IamError::no_policy_version(arn, version_id);
    let row = PolicyRow::find(txn, account, arn).await?.ok_or_else(missing)?;
    let number = number(version_id).ok_or_else(missing)?;
    VERSIONS.get(txn, &row.version_key(account, number)).await?.ok_or_else(missing)?;
    Ok((row, number))
}
