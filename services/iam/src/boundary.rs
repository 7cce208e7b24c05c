//! Permissions boundaries of users and roles.
//!
//! Source: IAM User Guide, "Permissions boundaries for IAM entities".

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::{Mark, USE_BOUNDARY, USERS_OF_POLICY};
use crate::names::{self, required};
use crate::policy;
use crate::role::{self, RoleRow};
use crate::user::UserRow;

/// As AWS answers: the type reads `Policy` on the wire, not the model's `PermissionsBoundaryPolicy`.
pub fn answer(arn: &Option<String>) -> Option<api::AttachedPermissionsBoundary> {
    arn.as_ref().map(|arn| api::AttachedPermissionsBoundary {
        permissions_boundary_type: Some("Policy".to_owned()),
        permissions_boundary_arn: Some(arn.clone()),
    })
}

/// Moves the boundary of the principal `id` from `old` to `new` in the index of the policy's users.
///
/// # Errors
/// `InvalidInput` when `new` is no policy's ARN, `NoSuchEntity` when there is no such policy.
pub async fn set(
    txn: &Txn,
    account: AccountId,
    id: &str,
    old: Option<&str>,
    new: Option<&str>,
    since: Timestamp,
) -> Result<(), IamError> {
    let key = |arn: &str| (account, arn.to_owned(), USE_BOUNDARY, id.to_owned());
    if let Some(arn) = old {
        USERS_OF_POLICY.delete(txn, &key(arn));
    }
    let Some(arn) = new else { return Ok(()) };
    let named = names::parse_arn(arn).filter(|named| named.kind == "policy");
    let named = named.ok_or_else(|| IamError::InvalidInput(format!("ARN {arn} is not valid.")))?;
    if !policy::exists(txn, account, &named).await? {
        let text = format!("Scope ARN: {arn} does not exist or is not attachable.");
        return Err(IamError::NoSuchEntity(text));
    }
    Ok(USERS_OF_POLICY.put(txn, &key(arn), &Mark { since })?)
}

pub async fn put_user_permissions_boundary(
    cx: &Cx,
    input: api::PutUserPermissionsBoundaryRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.permissions_boundary, "PermissionsBoundary")?;
    replace_of_user(cx, required(&input.user_name, "UserName")?, Some(arn)).await
}

pub async fn delete_user_permissions_boundary(
    cx: &Cx,
    input: api::DeleteUserPermissionsBoundaryRequest,
) -> Result<Unit, IamError> {
    replace_of_user(cx, required(&input.user_name, "UserName")?, None).await
}

async fn replace_of_user(cx: &Cx, name: &str, new: Option<&str>) -> Result<Unit, IamError> {
    change(cx, move |txn| async move {
        let mut row = UserRow::load(&txn, cx.account(), name).await?;
        if new.is_none() && row.boundary.is_none() {
            return Err(none_of("user", name));
        }
        set(&txn, cx.account(), &row.id, row.boundary.as_deref(), new, change::now(cx)).await?;
        row.boundary = new.map(str::to_owned);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn put_role_permissions_boundary(
    cx: &Cx,
    input: api::PutRolePermissionsBoundaryRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.permissions_boundary, "PermissionsBoundary")?;
    replace_of_role(cx, required(&input.role_name, "RoleName")?, Some(arn)).await
}

pub async fn delete_role_permissions_boundary(
    cx: &Cx,
    input: api::DeleteRolePermissionsBoundaryRequest,
) -> Result<Unit, IamError> {
    replace_of_role(cx, required(&input.role_name, "RoleName")?, None).await
}

async fn replace_of_role(cx: &Cx, name: &str, new: Option<&str>) -> Result<Unit, IamError> {
    change(cx, move |txn| async move {
        let mut row = RoleRow::load(&txn, cx.account(), name).await?;
        role::refuse_protected(&row.path, &row.name)?;
        if new.is_none() && row.boundary.is_none() {
            return Err(none_of("role", name));
        }
        set(&txn, cx.account(), &row.id, row.boundary.as_deref(), new, change::now(cx)).await?;
        row.boundary = new.map(str::to_owned);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

fn none_of(kind: &str, name: &str) -> IamError {
    IamError::NoSuchEntity(format!("The {kind} with name {name} does not have a permission boundary."))
}
