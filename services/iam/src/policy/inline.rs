//! Inline policies: `Put*Policy`, `Get*Policy`, `Delete*Policy`, `List*Policies` of users, groups and roles.

use pileus_api_iam as api;
use pileus_iam::DocumentKind;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::change;
use crate::document;
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::INLINE;
use crate::names::{self, required};
use crate::page::{self, Cut, Page};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InlineRow {
    pub document: String,
}

impl Stored for InlineRow {}

/// What all inline policies of one principal may come to, in characters that are not white space.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
const fn max_size(kind: Kind) -> usize {
    match kind {
        Kind::User => 2_048,
        Kind::Group => 5_120,
        Kind::Role => 10_240,
    }
}

fn missing(kind: Kind, policy: &str) -> IamError {
    IamError::NoSuchEntity(format!("The {} policy with name {policy} cannot be found.", kind.word()))
}

async fn put(cx: &Cx, kind: Kind, name: &str, policy: &str, document: &str) -> Result<Unit, IamError> {
    document::check(DocumentKind::Identity, document)?;
    change(cx, move |txn| async move {
        let holder = Holder::load_to_change(&txn, cx.account(), kind, name).await?;
        let others = page::all(&txn, INLINE, INLINE.under(&(holder.id.clone(),))).await?;
        let others = others.iter().filter(|((_, other), _)| other != policy);
        let taken: usize = others.map(|(_, row)| names::policy_size(&row.document)).sum();
        if taken + names::policy_size(document) > max_size(kind) {
            return Err(IamError::LimitExceeded(format!(
                "Maximum policy size of {} bytes exceeded for {} {}",
                max_size(kind),
                kind.word(),
                holder.name
            )));
        }
        let row = InlineRow { document: document.to_owned() };
        Ok(INLINE.put(&txn, &(holder.id, policy.to_owned()), &row)?)
    })
    .await?;
    Ok(Unit)
}

/// The principal's name as it was created, and the document, encoded.
async fn get(
    cx: &Cx,
    kind: Kind,
    name: &str,
    policy: &str,
) -> Result<(Option<String>, Option<String>), IamError> {
    let holder = Holder::load(cx.store(), cx.account(), kind, name).await?;
    let row = INLINE.get(cx.store(), &(holder.id, policy.to_owned())).await?;
    let row = row.ok_or_else(|| missing(kind, policy))?;
    Ok((Some(holder.name), Some(names::encode_document(&row.document))))
}

async fn delete(cx: &Cx, kind: Kind, name: &str, policy: &str) -> Result<Unit, IamError> {
    change(cx, move |txn| async move {
        let holder = Holder::load_to_change(&txn, cx.account(), kind, name).await?;
        let key = (holder.id, policy.to_owned());
        INLINE.get(&txn, &key).await?.ok_or_else(|| missing(kind, policy))?;
        INLINE.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

async fn list(
    cx: &Cx,
    (kind, name): (Kind, &str),
    marker: Option<String>,
    max_items: Option<i64>,
) -> Result<Cut<String>, IamError> {
    let holder = Holder::load(cx.store(), cx.account(), kind, name).await?;
    let page = Page::new("inline", marker.as_deref(), max_items)?;
    let rows = page::all(cx.store(), INLINE, INLINE.under(&(holder.id,))).await?;
    Ok(page.cut(rows.into_iter().map(|((_, policy), _)| policy), |policy| policy.clone()))
}

/// The inline policies of a principal, with their documents encoded.
pub async fn details(reader: &impl Reader, id: &str) -> Result<Vec<api::PolicyDetail>, IamError> {
    let rows = page::all(reader, INLINE, INLINE.under(&(id.to_owned(),))).await?;
    let detail = |((_, policy), row): ((String, String), InlineRow)| api::PolicyDetail {
        policy_name: Some(policy),
        policy_document: Some(names::encode_document(&row.document)),
    };
    Ok(rows.into_iter().map(detail).collect())
}

pub async fn put_user_policy(cx: &Cx, input: api::PutUserPolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let document = required(&input.policy_document, "PolicyDocument")?;
    put(cx, Kind::User, required(&input.user_name, "UserName")?, policy, document).await
}

pub async fn put_group_policy(cx: &Cx, input: api::PutGroupPolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let document = required(&input.policy_document, "PolicyDocument")?;
    put(cx, Kind::Group, required(&input.group_name, "GroupName")?, policy, document).await
}

pub async fn put_role_policy(cx: &Cx, input: api::PutRolePolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let document = required(&input.policy_document, "PolicyDocument")?;
    put(cx, Kind::Role, required(&input.role_name, "RoleName")?, policy, document).await
}

pub async fn get_user_policy(
    cx: &Cx,
    input: api::GetUserPolicyRequest,
) -> Result<api::GetUserPolicyResponse, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let found = get(cx, Kind::User, required(&input.user_name, "UserName")?, policy).await?;
    let (user_name, policy_document) = found;
    Ok(api::GetUserPolicyResponse { user_name, policy_name: Some(policy.to_owned()), policy_document })
}

pub async fn get_group_policy(
    cx: &Cx,
    input: api::GetGroupPolicyRequest,
) -> Result<api::GetGroupPolicyResponse, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let found = get(cx, Kind::Group, required(&input.group_name, "GroupName")?, policy).await?;
    let (group_name, policy_document) = found;
    Ok(api::GetGroupPolicyResponse { group_name, policy_name: Some(policy.to_owned()), policy_document })
}

pub async fn get_role_policy(
    cx: &Cx,
    input: api::GetRolePolicyRequest,
) -> Result<api::GetRolePolicyResponse, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    let found = get(cx, Kind::Role, required(&input.role_name, "RoleName")?, policy).await?;
    let (role_name, policy_document) = found;
    Ok(api::GetRolePolicyResponse { role_name, policy_name: Some(policy.to_owned()), policy_document })
}

pub async fn delete_user_policy(cx: &Cx, input: api::DeleteUserPolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    delete(cx, Kind::User, required(&input.user_name, "UserName")?, policy).await
}

pub async fn delete_group_policy(cx: &Cx, input: api::DeleteGroupPolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    delete(cx, Kind::Group, required(&input.group_name, "GroupName")?, policy).await
}

pub async fn delete_role_policy(cx: &Cx, input: api::DeleteRolePolicyRequest) -> Result<Unit, IamError> {
    let policy = required(&input.policy_name, "PolicyName")?;
    delete(cx, Kind::Role, required(&input.role_name, "RoleName")?, policy).await
}

pub async fn list_user_policies(
    cx: &Cx,
    input: api::ListUserPoliciesRequest,
) -> Result<api::ListUserPoliciesResponse, IamError> {
    let holder = (Kind::User, required(&input.user_name, "UserName")?);
    let cut = list(cx, holder, input.marker, input.max_items).await?;
    Ok(api::ListUserPoliciesResponse {
        policy_names: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_group_policies(
    cx: &Cx,
    input: api::ListGroupPoliciesRequest,
) -> Result<api::ListGroupPoliciesResponse, IamError> {
    let holder = (Kind::Group, required(&input.group_name, "GroupName")?);
    let cut = list(cx, holder, input.marker, input.max_items).await?;
    Ok(api::ListGroupPoliciesResponse {
        policy_names: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_role_policies(
    cx: &Cx,
    input: api::ListRolePoliciesRequest,
) -> Result<api::ListRolePoliciesResponse, IamError> {
    let holder = (Kind::Role, required(&input.role_name, "RoleName")?);
    let cut = list(cx, holder, input.marker, input.max_items).await?;
    Ok(api::ListRolePoliciesResponse {
        policy_names: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
