//! `CreateRole`, `GetRole`, `ListRoles`, `UpdateRole`, `UpdateAssumeRolePolicy`, `DeleteRole`, and the tags of roles.

pub mod service_linked;

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_iam::DocumentKind;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::access_key::LastUse;
use crate::boundary;
use crate::change::{self, change};
use crate::document;
use crate::error::IamError;
use crate::holder::{Holder, Kind, register_id};
use crate::keys::{ATTACHED, IDS, INLINE, LAST_USE, ROLE_PROFILES, ROLES};
use crate::last_accessed;
use crate::names::{self, required};
use crate::page::{self, Page};
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_ROLES: usize = 1_000;
const MAX_TRUST_POLICY: usize = 2_048;
const DEFAULT_SESSION_SECONDS: i64 = 3_600;
pub const SERVICE_LINKED_PATH: &str = "/aws-service-role/";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
    /// The trust policy's document, as given.
    pub trust: String,
    /// ARN and unique id of the users and roles that it named when it was saved: it trusts those, not others of the same name.
    #[serde(default)]
    pub trusted: Vec<(String, String)>,
    #[serde(default)]
    pub description: Option<String>,
    pub max_session_seconds: i64,
    #[serde(default)]
    pub tags: Tags,
    /// ARN of the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

impl Stored for RoleRow {}

impl RoleRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(reader: &impl Reader, account: AccountId, name: &str) -> Result<RoleRow, IamError> {
        let found = ROLES.get(reader, &(account, names::key(name))).await?;
        found.ok_or_else(|| IamError::no_role(name))
    }

    async fn load_to_change(txn: &Txn, account: AccountId, name: &str) -> Result<RoleRow, IamError> {
        let row = RoleRow::load(txn, account, name).await?;
        refuse_protected(&row.path, &row.name)?;
        Ok(row)
    }

    pub fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(ROLES.put(txn, &(account, names::key(&self.name)), self)?)
    }

    /// The trust policy as it is judged: by unique ids.
    pub fn judged_trust(&self) -> String {
        document::with_principals(&self.trust, &self.trusted)
    }

    /// Brings the trust policy up to date for an answer: present ARNs of those it trusts, ids of those that are gone.
    ///
    /// Source: IAM User Guide, "IAM JSON policy elements: Principal".
    pub async fn show_trust(&mut self, cx: &Cx) -> Result<(), IamError> {
        let mut instead = Vec::new();
        for (written, id) in &self.trusted {
            let now = match Holder::find(cx.store(), id).await? {
                Some(now) => {
                    names::arn(cx.region().partition(), now.account, now.kind.word(), &now.path, &now.name)
                }
                None => id.clone(),
            };
            if now != *written {
                instead.push((written.clone(), now));
            }
        }
        if !instead.is_empty() {
            self.trust = document::with_principals(&self.trust, &instead);
        }
        Ok(())
    }

    pub fn is_service_linked(&self) -> bool {
        self.path.starts_with(SERVICE_LINKED_PATH)
    }

    pub fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), Kind::Role.word(), &self.path, &self.name)
    }

    /// What every answer holds. As AWS answers: `CreateRole` and instance profiles show no description and no session duration.
    pub fn base(&self, cx: &Cx) -> api::Role {
        api::Role {
            path: Some(self.path.clone()),
            role_name: Some(self.name.clone()),
            role_id: Some(self.id.clone()),
            arn: Some(self.arn(cx)),
            create_date: Some(self.created),
            assume_role_policy_document: Some(names::encode_document(&self.trust)),
            ..api::Role::default()
        }
    }

    fn listed(&self, cx: &Cx) -> api::Role {
        api::Role {
            description: self.description.clone(),
            max_session_duration: Some(self.max_session_seconds),
            ..self.base(cx)
        }
    }

    pub fn full(&self, cx: &Cx, last_use: Option<LastUse>) -> api::Role {
        api::Role {
            permissions_boundary: boundary::answer(&self.boundary),
            tags: tags::answer_if_any(&self.tags),
            role_last_used: Some(last_used(last_use)),
            ..self.listed(cx)
        }
    }
}

pub fn last_used(last_use: Option<LastUse>) -> api::RoleLastUsed {
    api::RoleLastUsed {
        last_used_date: last_use.as_ref().map(|last| last.at),
        region: last_use.map(|last| last.region),
    }
}

/// # Errors
/// `UnmodifiableEntity` for a service-linked role.
pub fn refuse_protected(path: &str, name: &str) -> Result<(), IamError> {
    if !path.starts_with(SERVICE_LINKED_PATH) {
        return Ok(());
    }
    Err(IamError::UnmodifiableEntity(format!(
        "Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
    )))
}

/// What a trust policy must be, but for the existence of the principals that it names.
fn check_trust(document: &str) -> Result<(), IamError> {
    document::check(DocumentKind::Trust, document)?;
    if names::policy_size(document) > MAX_TRUST_POLICY {
        return Err(IamError::quota("ACLSizePerRole", MAX_TRUST_POLICY));
    }
    Ok(())
}

pub async fn create_role(
    cx: &Cx,
    input: api::CreateRoleRequest,
) -> Result<api::CreateRoleResponse, IamError> {
    let trust = required(&input.assume_role_policy_document, "AssumeRolePolicyDocument")?;
    check_trust(trust)?;
    let row = RoleRow {
        name: required(&input.role_name, "RoleName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("AROA", 17),
        created: change::now(cx),
        trust: trust.to_owned(),
        trusted: Vec::new(),
        description: input.description.filter(|text| !text.is_empty()),
        max_session_seconds: input.max_session_duration.unwrap_or(DEFAULT_SESSION_SECONDS),
        tags: Case::Ignored.create(input.tags)?,
        boundary: input.permissions_boundary,
    };
    if row.is_service_linked() {
        let text = format!("The path {SERVICE_LINKED_PATH} is reserved for service-linked roles.");
        return Err(IamError::InvalidInput(text));
    }
    let row = &row;
    change(cx, move |txn| async move { insert(cx, &txn, row).await }).await?;
    let role = api::Role {
        permissions_boundary: boundary::answer(&row.boundary),
        tags: tags::answer_if_any(&row.tags),
        ..row.base(cx)
    };
    Ok(api::CreateRoleResponse { role: Some(role) })
}

async fn insert(cx: &Cx, txn: &Txn, row: &RoleRow) -> Result<(), IamError> {
    let account = cx.account();
    change::check_account_quota(cx, txn, ROLES, "RolesPerAccount", MAX_ROLES).await?;
    let row = &RoleRow { trusted: document::principals(txn, &row.trust).await?, ..row.clone() };
    boundary::set(txn, account, &row.id, None, row.boundary.as_deref(), row.created).await?;
    if !ROLES.put_if_absent(txn, &(account, names::key(&row.name)), row).await? {
        return Err(IamError::EntityAlreadyExists(format!("Role with name {} already exists.", row.name)));
    }
    register_id(txn, account, &row.id, &row.name)
}

pub async fn get_role(cx: &Cx, input: api::GetRoleRequest) -> Result<api::GetRoleResponse, IamError> {
    let mut row = RoleRow::load(cx.store(), cx.account(), required(&input.role_name, "RoleName")?).await?;
    row.show_trust(cx).await?;
    let last_use = LAST_USE.get(cx.store(), &(row.id.clone(),)).await?;
    Ok(api::GetRoleResponse { role: Some(row.full(cx, last_use)) })
}

pub async fn list_roles(cx: &Cx, input: api::ListRolesRequest) -> Result<api::ListRolesResponse, IamError> {
    let page = Page::new("roles", input.marker.as_deref(), input.max_items)?;
    let prefix = input.path_prefix.unwrap_or_default();
    let mut cut = page.scan(cx.store(), ROLES, cx.account(), |row| row.path.starts_with(&prefix)).await?;
    for row in &mut cut.items {
        row.show_trust(cx).await?;
    }
    Ok(api::ListRolesResponse {
        roles: Some(cut.items.iter().map(|row| row.listed(cx)).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// What is left out stays as it is.
pub async fn update_role(
    cx: &Cx,
    input: api::UpdateRoleRequest,
) -> Result<api::UpdateRoleResponse, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let (description, seconds) = (&input.description, input.max_session_duration);
    change(cx, move |txn| async move {
        let mut row = RoleRow::load_to_change(&txn, cx.account(), name).await?;
        row.description = description.clone().or(row.description).filter(|text| !text.is_empty());
        row.max_session_seconds = seconds.unwrap_or(row.max_session_seconds);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(api::UpdateRoleResponse::default())
}

pub async fn update_role_description(
    cx: &Cx,
    input: api::UpdateRoleDescriptionRequest,
) -> Result<api::UpdateRoleDescriptionResponse, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let description = input.description.as_ref().filter(|text| !text.is_empty());
    let mut row = change(cx, move |txn| async move {
        // The one thing of a service-linked role that its users may edit.
        let mut row = RoleRow::load(&txn, cx.account(), name).await?;
        row.description = description.cloned();
        row.put(&txn, cx.account())?;
        Ok(row)
    })
    .await?;
    row.show_trust(cx).await?;
    let role = api::Role { description: row.description.clone(), ..row.base(cx) };
    Ok(api::UpdateRoleDescriptionResponse { role: Some(role) })
}

pub async fn update_assume_role_policy(
    cx: &Cx,
    input: api::UpdateAssumeRolePolicyRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let trust = required(&input.policy_document, "PolicyDocument")?;
    check_trust(trust)?;
    change(cx, move |txn| async move {
        let mut row = RoleRow::load_to_change(&txn, cx.account(), name).await?;
        row.trusted = document::principals(&txn, trust).await?;
        row.trust = trust.to_owned();
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_role(cx: &Cx, input: api::DeleteRoleRequest) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    change(cx, move |txn| async move {
        let row = RoleRow::load_to_change(&txn, cx.account(), name).await?;
        let of_role = (row.id.clone(),);
        if !page::is_empty(&txn, ROLE_PROFILES, ROLE_PROFILES.under(&of_role)).await? {
            let text = "Cannot delete entity, must remove roles from instance profile first.";
            return Err(IamError::DeleteConflict(text));
        }
        if !page::is_empty(&txn, ATTACHED, ATTACHED.under(&of_role)).await? {
            return Err(IamError::DeleteConflict("Cannot delete entity, must detach all policies first."));
        }
        if !page::is_empty(&txn, INLINE, INLINE.under(&of_role)).await? {
            return Err(IamError::DeleteConflict("Cannot delete entity, must delete policies first."));
        }
        remove(&txn, cx.account(), &row).await
    })
    .await?;
    Ok(Unit)
}

async fn remove(txn: &Txn, account: AccountId, row: &RoleRow) -> Result<(), IamError> {
    boundary::set(txn, account, &row.id, row.boundary.as_deref(), None, row.created).await?;
    ROLES.delete(txn, &(account, names::key(&row.name)));
    IDS.delete(txn, &(row.id.clone(),));
    LAST_USE.delete(txn, &(row.id.clone(),));
    last_accessed::forget(txn, &row.id).await?;
    Ok(())
}

pub async fn tag_role(cx: &Cx, input: api::TagRoleRequest) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = RoleRow::load_to_change(&txn, cx.account(), name).await?;
        Case::Ignored.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_role(cx: &Cx, input: api::UntagRoleRequest) -> Result<Unit, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = RoleRow::load_to_change(&txn, cx.account(), name).await?;
        Case::Ignored.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_role_tags(
    cx: &Cx,
    input: api::ListRoleTagsRequest,
) -> Result<api::ListRoleTagsResponse, IamError> {
    let row = RoleRow::load(cx.store(), cx.account(), required(&input.role_name, "RoleName")?).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListRoleTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
