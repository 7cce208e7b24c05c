//! `CreatePolicy`, `GetPolicy`, `ListPolicies`, `DeletePolicy`, and the tags of managed policies.
//!
//! | File         | Holds                                                                  |
//! |--------------|------------------------------------------------------------------------|
//! | `version.rs` | the up to five versions of a policy                                    |
//! | `attach.rs`  | attaching to users, groups and roles, and who is attached               |
//! | `inline.rs`  | policies that belong to one user, group or role                         |
//! | `aws.rs`     | the policies that AWS manages                                          |

pub mod attach;
pub mod aws;
pub mod inline;
pub mod version;

use std::collections::HashMap;

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_iam::DocumentKind;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::document;
use crate::error::IamError;
use crate::keys::{POLICIES, USE_PERMISSIONS, USERS_OF_POLICY, VERSIONS};
use crate::names::{self, Named, required};
use crate::page::{self, Page};
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_POLICIES: usize = 1_500;
pub const MAX_POLICY_SIZE: usize = 6_144;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub tags: Tags,
    pub default_version: u32,
    /// Numbers of deleted versions are not used again.
    pub last_version: u32,
}

impl Stored for PolicyRow {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionRow {
    pub document: String,
    pub created: Timestamp,
}

impl Stored for VersionRow {}

/// How many principals use a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub attached: i64,
    pub as_boundary: i64,
}

impl PolicyRow {
    /// The customer-managed policy with this ARN.
    pub async fn find(
        reader: &impl Reader,
        account: AccountId,
        arn: &str,
    ) -> Result<Option<PolicyRow>, IamError> {
        let named = parse(arn)?;
        if named.account != Some(account) {
            return Ok(None);
        }
        let row = POLICIES.get(reader, &(account, names::key(&named.name))).await?;
        Ok(row.filter(|row| row.path == named.path && row.name == named.name))
    }

    /// # Errors
    /// `NoSuchEntity`; `ValidationError` when `arn` is no policy's.
    pub async fn load(reader: &impl Reader, account: AccountId, arn: &str) -> Result<PolicyRow, IamError> {
        PolicyRow::find(reader, account, arn).await?.ok_or_else(|| IamError::no_policy(arn))
    }

    pub fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(POLICIES.put(txn, &(account, names::key(&self.name)), self)?)
    }

    pub fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), "policy", &self.path, &self.name)
    }

    fn version_key(&self, account: AccountId, number: u32) -> (AccountId, String, u32) {
        (account, names::key(&self.name), number)
    }

    /// As lists show it: without description and tags.
    pub fn summary(&self, cx: &Cx, usage: Usage) -> api::Policy {
        api::Policy {
            policy_name: Some(self.name.clone()),
            policy_id: Some(self.id.clone()),
            arn: Some(self.arn(cx)),
            path: Some(self.path.clone()),
            default_version_id: Some(format!("v{}", self.default_version)),
            attachment_count: Some(usage.attached),
            permissions_boundary_usage_count: Some(usage.as_boundary),
            is_attachable: Some(true),
            create_date: Some(self.created),
            update_date: Some(self.updated),
            ..api::Policy::default()
        }
    }
}

/// Reads a policy's ARN.
///
/// # Errors
/// `ValidationError` when it is not one.
pub fn parse(arn: &str) -> Result<Named, IamError> {
    names::parse_arn(arn).filter(|named| named.kind == "policy").ok_or_else(|| IamError::invalid_arn(arn))
}

/// Whether there is such a policy, of the account's own or of AWS's.
pub async fn exists(reader: &impl Reader, account: AccountId, named: &Named) -> Result<bool, IamError> {
    match named.account {
        None => Ok(aws::find(&format!("arn:aws:iam::aws:policy{}{}", named.path, named.name)).is_some()),
        Some(owner) if owner == account => {
            let row = POLICIES.get(reader, &(account, names::key(&named.name))).await?;
            Ok(row.is_some_and(|row| row.path == named.path && row.name == named.name))
        }
        Some(_) => Ok(false),
    }
}

/// The document in force of a managed policy; `None` when there is no such policy.
pub async fn document_of(
    reader: &impl Reader,
    account: AccountId,
    arn: &str,
) -> Result<Option<String>, IamError> {
    if let Some(managed) = aws::find(arn) {
        return Ok(Some(managed.document.to_string()));
    }
    let Some(row) = PolicyRow::find(reader, account, arn).await? else { return Ok(None) };
    let version = VERSIONS.get(reader, &row.version_key(account, row.default_version)).await?;
    Ok(version.map(|version| version.document))
}

/// Who uses one policy.
pub async fn usage(reader: &impl Reader, account: AccountId, arn: &str) -> Result<Usage, IamError> {
    let rows = page::all(reader, USERS_OF_POLICY, USERS_OF_POLICY.under(&(account, arn.to_owned()))).await?;
    Ok(rows.iter().fold(Usage::default(), |usage, ((_, _, kind, _), _)| usage.plus(*kind)))
}

/// Who uses each policy of the account, and each of AWS's in it.
pub async fn usages(reader: &impl Reader, account: AccountId) -> Result<HashMap<String, Usage>, IamError> {
    let mut usages: HashMap<String, Usage> = HashMap::new();
    for ((_, arn, kind, _), _) in
        page::all(reader, USERS_OF_POLICY, USERS_OF_POLICY.under(&(account,))).await?
    {
        let usage = usages.entry(arn).or_default();
        *usage = usage.plus(kind);
    }
    Ok(usages)
}

impl Usage {
    fn plus(self, kind: u8) -> Usage {
        match kind {
            USE_PERMISSIONS => Usage { attached: self.attached + 1, ..self },
            _ => Usage { as_boundary: self.as_boundary + 1, ..self },
        }
    }
}

/// # Errors
/// `MalformedPolicyDocument`, `LimitExceeded`.
pub fn check_managed(document: &str) -> Result<(), IamError> {
    document::check(DocumentKind::Identity, document)?;
    if names::policy_size(document) > MAX_POLICY_SIZE {
        return Err(IamError::quota("PolicySize", MAX_POLICY_SIZE));
    }
    Ok(())
}

pub async fn create_policy(
    cx: &Cx,
    input: api::CreatePolicyRequest,
) -> Result<api::CreatePolicyResponse, IamError> {
    let document = required(&input.policy_document, "PolicyDocument")?;
    check_managed(document)?;
    let now = change::now(cx);
    let row = PolicyRow {
        name: required(&input.policy_name, "PolicyName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("ANPA", 17),
        created: now,
        updated: now,
        description: input.description.filter(|text| !text.is_empty()),
        tags: Case::Kept.create(input.tags)?,
        default_version: 1,
        last_version: 1,
    };
    let row = &row;
    change(cx, move |txn| async move {
        let account = cx.account();
        change::check_account_quota(cx, &txn, POLICIES, "PoliciesPerAccount", MAX_POLICIES).await?;
        if !POLICIES.put_if_absent(&txn, &(account, names::key(&row.name)), row).await? {
            return Err(IamError::EntityAlreadyExists(format!(
                "A policy called {} already exists. Duplicate names are not allowed.",
                row.name
            )));
        }
        let version = VersionRow { document: document.to_owned(), created: now };
        Ok(VERSIONS.put(&txn, &row.version_key(account, 1), &version)?)
    })
    .await?;
    let policy = api::Policy { tags: tags::answer_if_any(&row.tags), ..row.summary(cx, Usage::default()) };
    Ok(api::CreatePolicyResponse { policy: Some(policy) })
}

/// As AWS answers: the tags are there even when there are none.
pub async fn get_policy(cx: &Cx, input: api::GetPolicyRequest) -> Result<api::GetPolicyResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let usage = usage(cx.store(), cx.account(), arn).await?;
    let policy = match aws::find(arn) {
        Some(managed) => aws::answer(managed, usage),
        None => {
            let row = PolicyRow::load(cx.store(), cx.account(), arn).await?;
            api::Policy {
                description: row.description.clone(),
                tags: Some(tags::answer(&row.tags)),
                ..row.summary(cx, usage)
            }
        }
    };
    Ok(api::GetPolicyResponse { policy: Some(policy) })
}

/// The account's own policies in the order of their names, then AWS's in the order of their ARNs.
pub async fn list_policies(
    cx: &Cx,
    input: api::ListPoliciesRequest,
) -> Result<api::ListPoliciesResponse, IamError> {
    let page = Page::new("policies", input.marker.as_deref(), input.max_items)?;
    let account = cx.account();
    let usages = usages(cx.store(), account).await?;
    let scope = input.scope.as_deref().unwrap_or("All");
    let mut found = Vec::new();
    if scope != "AWS" {
        for (_, row) in page::all(cx.store(), POLICIES, POLICIES.under(&(account,))).await? {
            let usage = usages.get(&row.arn(cx)).copied().unwrap_or_default();
            found.push((format!("0{}", names::key(&row.name)), row.summary(cx, usage), usage));
        }
    }
    if scope != "Local" {
        for managed in aws::all() {
            let usage = usages.get(managed.arn).copied().unwrap_or_default();
            found.push((format!("1{}", managed.arn), aws::summary(managed, usage), usage));
        }
    }
    let prefix = input.path_prefix.unwrap_or_default();
    let only_attached = input.only_attached == Some(true);
    let filter = input.policy_usage_filter.as_deref();
    found.retain(|(_, policy, usage)| {
        let counted = match filter {
            Some("PermissionsPolicy") => usage.attached > 0,
            Some("PermissionsBoundary") => usage.as_boundary > 0,
            _ => !only_attached || usage.attached > 0,
        };
        counted && policy.path.as_ref().is_some_and(|path| path.starts_with(&prefix))
    });
    let cut = page.cut(found, |(key, ..)| key.clone());
    Ok(api::ListPoliciesResponse {
        policies: Some(cut.items.into_iter().map(|(_, policy, _)| policy).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn delete_policy(cx: &Cx, input: api::DeletePolicyRequest) -> Result<Unit, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    change(cx, move |txn| async move {
        let account = cx.account();
        let row = PolicyRow::load(&txn, account, arn).await?;
        // It may have been attached by its ARN in another partition.
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            let arn = names::arn(partition, account, "policy", &row.path, &row.name);
            if !page::is_empty(&txn, USERS_OF_POLICY, USERS_OF_POLICY.under(&(account, arn))).await? {
                return Err(IamError::DeleteConflict("Cannot delete a policy attached to entities."));
            }
        }
        let versions = VERSIONS.under(&(account, names::key(&row.name)));
        let versions = page::all(&txn, VERSIONS, versions).await?;
        if versions.len() > 1 {
            return Err(IamError::DeleteConflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        versions.iter().for_each(|(key, _)| VERSIONS.delete(&txn, key));
        POLICIES.delete(&txn, &(account, names::key(&row.name)));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn tag_policy(cx: &Cx, input: api::TagPolicyRequest) -> Result<Unit, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = PolicyRow::load(&txn, cx.account(), arn).await?;
        Case::Kept.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_policy(cx: &Cx, input: api::UntagPolicyRequest) -> Result<Unit, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = PolicyRow::load(&txn, cx.account(), arn).await?;
        Case::Kept.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_policy_tags(
    cx: &Cx,
    input: api::ListPolicyTagsRequest,
) -> Result<api::ListPolicyTagsResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let tags = match aws::find(arn) {
        Some(_) => Tags::new(),
        None => PolicyRow::load(cx.store(), cx.account(), arn).await?.tags,
    };
    let cut = tags::page(&tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListPolicyTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
