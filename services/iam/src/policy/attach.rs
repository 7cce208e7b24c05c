//! `Attach*Policy`, `Detach*Policy`, `ListAttached*Policies`, `ListEntitiesForPolicy`.

use pileus_api_iam as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::Unit;

use super::{aws, exists, parse};
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{ATTACHED, Mark, USE_BOUNDARY, USE_PERMISSIONS, USERS_OF_POLICY};
use crate::names::{self, required};
use crate::page::{self, Cut, Page};
use crate::role::SERVICE_LINKED_PATH;

/// Source: IAM User Guide, "IAM and AWS STS quotas" (managed policies attached to a user, group or role).
const MAX_ATTACHED: usize = 10;

async fn attach(cx: &Cx, kind: Kind, name: &str, arn: &str) -> Result<Unit, IamError> {
    let named = parse(arn)?;
    let named = &named;
    change(cx, move |txn| async move {
        let account = cx.account();
        let holder = Holder::load_to_change(&txn, account, kind, name).await?;
        if !exists(&txn, account, named).await? {
            return Err(IamError::no_attachable_policy(arn));
        }
        if named.account.is_none() && named.path == SERVICE_LINKED_PATH {
            let text = "Cannot attach a Service Role Policy to a Customer Role.";
            return Err(IamError::PolicyNotAttachable(text.to_owned()));
        }
        let attached = page::all(&txn, ATTACHED, ATTACHED.under(&(holder.id.clone(),))).await?;
        if attached.iter().any(|((_, other), _)| other == arn) {
            return Ok(());
        }
        if attached.len() >= MAX_ATTACHED {
            return Err(IamError::quota(&format!("PoliciesPer{}", kind.noun()), MAX_ATTACHED));
        }
        let mark = Mark { since: change::now(cx) };
        ATTACHED.put(&txn, &(holder.id.clone(), arn.to_owned()), &mark)?;
        Ok(USERS_OF_POLICY.put(&txn, &(account, arn.to_owned(), USE_PERMISSIONS, holder.id), &mark)?)
    })
    .await?;
    Ok(Unit)
}

async fn detach(cx: &Cx, kind: Kind, name: &str, arn: &str) -> Result<Unit, IamError> {
    parse(arn)?;
    change(cx, move |txn| async move {
        let holder = Holder::load_to_change(&txn, cx.account(), kind, name).await?;
        let key = (holder.id.clone(), arn.to_owned());
        if ATTACHED.get(&txn, &key).await?.is_none() {
            return Err(IamError::no_policy(arn));
        }
        ATTACHED.delete(&txn, &key);
        USERS_OF_POLICY.delete(&txn, &(cx.account(), arn.to_owned(), USE_PERMISSIONS, holder.id));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// The managed policies of a principal: name and ARN.
pub async fn attached_to(reader: &impl Reader, id: &str) -> Result<Vec<api::AttachedPolicy>, IamError> {
    let rows = page::all(reader, ATTACHED, ATTACHED.under(&(id.to_owned(),))).await?;
    let policy = |((_, arn), _): ((String, String), Mark)| api::AttachedPolicy {
        policy_name: Some(arn.rsplit('/').next().unwrap_or_default().to_owned()),
        policy_arn: Some(arn),
    };
    Ok(rows.into_iter().map(policy).collect())
}

async fn list(
    cx: &Cx,
    (kind, name): (Kind, &str),
    prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
) -> Result<Cut<api::AttachedPolicy>, IamError> {
    let holder = Holder::load(cx.store(), cx.account(), kind, name).await?;
    let page = Page::new("attached", marker.as_deref(), max_items)?;
    let mut policies = attached_to(cx.store(), &holder.id).await?;
    if let Some(prefix) = prefix {
        let path = |arn: &String| names::parse_arn(arn).map(|named| named.path);
        policies.retain(|policy| {
            policy.policy_arn.as_ref().and_then(path).is_some_and(|path| path.starts_with(&prefix))
        });
    }
    Ok(page.cut(policies, |policy| policy.policy_arn.clone().unwrap_or_default()))
}

pub async fn attach_user_policy(cx: &Cx, input: api::AttachUserPolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    attach(cx, Kind::User, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn attach_group_policy(cx: &Cx, input: api::AttachGroupPolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.group_name, "GroupName")?;
    attach(cx, Kind::Group, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn attach_role_policy(cx: &Cx, input: api::AttachRolePolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    attach(cx, Kind::Role, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn detach_user_policy(cx: &Cx, input: api::DetachUserPolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    detach(cx, Kind::User, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn detach_group_policy(cx: &Cx, input: api::DetachGroupPolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.group_name, "GroupName")?;
    detach(cx, Kind::Group, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn detach_role_policy(cx: &Cx, input: api::DetachRolePolicyRequest) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    detach(cx, Kind::Role, name, required(&input.policy_arn, "PolicyArn")?).await
}

pub async fn list_attached_user_policies(
    cx: &Cx,
    input: api::ListAttachedUserPoliciesRequest,
) -> Result<api::ListAttachedUserPoliciesResponse, IamError> {
    let holder = (Kind::User, required(&input.user_name, "UserName")?);
    let cut = list(cx, holder, input.path_prefix, input.marker, input.max_items).await?;
    Ok(api::ListAttachedUserPoliciesResponse {
        attached_policies: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_attached_group_policies(
    cx: &Cx,
    input: api::ListAttachedGroupPoliciesRequest,
) -> Result<api::ListAttachedGroupPoliciesResponse, IamError> {
    let holder = (Kind::Group, required(&input.group_name, "GroupName")?);
    let cut = list(cx, holder, input.path_prefix, input.marker, input.max_items).await?;
    Ok(api::ListAttachedGroupPoliciesResponse {
        attached_policies: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_attached_role_policies(
    cx: &Cx,
    input: api::ListAttachedRolePoliciesRequest,
) -> Result<api::ListAttachedRolePoliciesResponse, IamError> {
    let holder = (Kind::Role, required(&input.role_name, "RoleName")?);
    let cut = list(cx, holder, input.path_prefix, input.marker, input.max_items).await?;
    Ok(api::ListAttachedRolePoliciesResponse {
        attached_policies: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// Users, groups and roles that a policy is attached to, or whose boundary it is.
pub async fn list_entities_for_policy(
    cx: &Cx,
    input: api::ListEntitiesForPolicyRequest,
) -> Result<api::ListEntitiesForPolicyResponse, IamError> {
    let arn = required(&input.policy_arn, "PolicyArn")?;
    let named = parse(arn)?;
    if aws::find(arn).is_none() && !exists(cx.store(), cx.account(), &named).await? {
        return Err(IamError::no_policy(arn));
    }
    let page = Page::new("entities", input.marker.as_deref(), input.max_items)?;
    let mut holders = holders_of(cx.store(), cx.account(), arn, input.policy_usage_filter.as_deref()).await?;
    let prefix = input.path_prefix.unwrap_or_default();
    holders.retain(|holder| {
        let wanted = input.entity_filter.as_deref().is_none_or(|filter| filter == holder.kind.noun());
        wanted && holder.path.starts_with(&prefix)
    });
    let cut = page.cut(holders, |holder| format!("{}/{}", holder.kind.word(), names::key(&holder.name)));
    let (mut groups, mut users, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    for holder in cut.items {
        let (name, id) = (Some(holder.name), Some(holder.id));
        match holder.kind {
            Kind::Group => groups.push(api::PolicyGroup { group_name: name, group_id: id }),
            Kind::User => users.push(api::PolicyUser { user_name: name, user_id: id }),
            Kind::Role => roles.push(api::PolicyRole { role_name: name, role_id: id }),
        }
    }
    Ok(api::ListEntitiesForPolicyResponse {
        policy_groups: Some(groups),
        policy_users: Some(users),
        policy_roles: Some(roles),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

async fn holders_of(
    reader: &impl Reader,
    account: AccountId,
    arn: &str,
    usage: Option<&str>,
) -> Result<Vec<Holder>, IamError> {
    let range = USERS_OF_POLICY.under(&(account, arn.to_owned()));
    let mut ids: Vec<String> = Vec::new();
    for ((_, _, kind, id), _) in page::all(reader, USERS_OF_POLICY, range).await? {
        let wanted = match usage {
            Some("PermissionsPolicy") => kind == USE_PERMISSIONS,
            Some("PermissionsBoundary") => kind == USE_BOUNDARY,
            _ => true,
        };
        if wanted && !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut holders = Vec::with_capacity(ids.len());
    for id in ids {
        holders.extend(Holder::find(reader, &id).await?);
    }
    Ok(holders)
}
