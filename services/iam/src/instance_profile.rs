//! `CreateInstanceProfile`, `GetInstanceProfile`, `ListInstanceProfiles`, `DeleteInstanceProfile`, the role in one, and tags.

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::{Mark, PROFILES, ROLE_PROFILES, ROLES};
use crate::names::{self, required};
use crate::page::{self, Page};
use crate::role::{self, RoleRow};
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_PROFILES: usize = 1_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
    #[serde(default)]
    pub tags: Tags,
    /// Roles are never renamed, so their names do.
    #[serde(default)]
    pub role: Option<String>,
}

impl Stored for ProfileRow {}

impl ProfileRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(reader: &impl Reader, account: AccountId, name: &str) -> Result<ProfileRow, IamError> {
        let found = PROFILES.get(reader, &(account, names::key(name))).await?;
        found.ok_or_else(|| IamError::no_instance_profile(name))
    }

    fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(PROFILES.put(txn, &(account, names::key(&self.name)), self)?)
    }

    pub fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), "instance-profile", &self.path, &self.name)
    }

    /// As lists show it: without tags.
    pub async fn answer(&self, cx: &Cx) -> Result<api::InstanceProfile, IamError> {
        let mut role = match &self.role {
            Some(name) => ROLES.get(cx.store(), &(cx.account(), names::key(name))).await?,
            None => None,
        };
        if let Some(role) = &mut role {
            role.show_trust(cx).await?;
        }
        Ok(api::InstanceProfile {
            path: Some(self.path.clone()),
            instance_profile_name: Some(self.name.clone()),
            instance_profile_id: Some(self.id.clone()),
            arn: Some(self.arn(cx)),
            create_date: Some(self.created),
            roles: Some(role.iter().map(|role| role.base(cx)).collect()),
            tags: None,
        })
    }
}

pub async fn create_instance_profile(
    cx: &Cx,
    input: api::CreateInstanceProfileRequest,
) -> Result<api::CreateInstanceProfileResponse, IamError> {
    let row = ProfileRow {
        name: required(&input.instance_profile_name, "InstanceProfileName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("AIPA", 17),
        created: change::now(cx),
        tags: Case::Kept.create(input.tags)?,
        role: None,
    };
    let row = &row;
    change(cx, move |txn| async move {
        change::check_account_quota(cx, &txn, PROFILES, "InstanceProfilesPerAccount", MAX_PROFILES).await?;
        if PROFILES.put_if_absent(&txn, &(cx.account(), names::key(&row.name)), row).await? {
            return Ok(());
        }
        Err(IamError::EntityAlreadyExists(format!("Instance Profile {} already exists.", row.name)))
    })
    .await?;
    let answer = api::InstanceProfile { tags: tags::answer_if_any(&row.tags), ..row.answer(cx).await? };
    Ok(api::CreateInstanceProfileResponse { instance_profile: Some(answer) })
}

/// As AWS answers: the tags are there even when there are none.
pub async fn get_instance_profile(
    cx: &Cx,
    input: api::GetInstanceProfileRequest,
) -> Result<api::GetInstanceProfileResponse, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let row = ProfileRow::load(cx.store(), cx.account(), name).await?;
    let answer = api::InstanceProfile { tags: Some(tags::answer(&row.tags)), ..row.answer(cx).await? };
    Ok(api::GetInstanceProfileResponse { instance_profile: Some(answer) })
}

pub async fn list_instance_profiles(
    cx: &Cx,
    input: api::ListInstanceProfilesRequest,
) -> Result<api::ListInstanceProfilesResponse, IamError> {
    let page = Page::new("instance-profiles", input.marker.as_deref(), input.max_items)?;
    let prefix = input.path_prefix.unwrap_or_default();
    let cut = page.scan(cx.store(), PROFILES, cx.account(), |row| row.path.starts_with(&prefix)).await?;
    let mut profiles = Vec::with_capacity(cut.items.len());
    for row in &cut.items {
        profiles.push(row.answer(cx).await?);
    }
    Ok(api::ListInstanceProfilesResponse {
        instance_profiles: Some(profiles),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// The instance profiles that hold a role.
pub async fn profiles_of(cx: &Cx, role_id: &str) -> Result<Vec<ProfileRow>, IamError> {
    let mut profiles = Vec::new();
    for ((_, key), _) in
        page::all(cx.store(), ROLE_PROFILES, ROLE_PROFILES.under(&(role_id.to_owned(),))).await?
    {
        profiles.extend(PROFILES.get(cx.store(), &(cx.account(), key)).await?);
    }
    Ok(profiles)
}

pub async fn list_instance_profiles_for_role(
    cx: &Cx,
    input: api::ListInstanceProfilesForRoleRequest,
) -> Result<api::ListInstanceProfilesForRoleResponse, IamError> {
    let role = RoleRow::load(cx.store(), cx.account(), required(&input.role_name, "RoleName")?).await?;
    let page = Page::new("instance-profiles-of-role", input.marker.as_deref(), input.max_items)?;
    let cut = page.cut(profiles_of(cx, &role.id).await?, |row| names::key(&row.name));
    let mut profiles = Vec::with_capacity(cut.items.len());
    for row in &cut.items {
        profiles.push(row.answer(cx).await?);
    }
    Ok(api::ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(profiles),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn delete_instance_profile(
    cx: &Cx,
    input: api::DeleteInstanceProfileRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    change(cx, move |txn| async move {
        let row = ProfileRow::load(&txn, cx.account(), name).await?;
        if row.role.is_some() {
            let text = "Cannot delete entity, must remove roles from instance profile first.";
            return Err(IamError::DeleteConflict(text));
        }
        PROFILES.delete(&txn, &(cx.account(), names::key(name)));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn add_role_to_instance_profile(
    cx: &Cx,
    input: api::AddRoleToInstanceProfileRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let role_name = required(&input.role_name, "RoleName")?;
    change(cx, move |txn| async move {
        let account = cx.account();
        let mut row = ProfileRow::load(&txn, account, name).await?;
        let role = RoleRow::load(&txn, account, role_name).await?;
        role::refuse_protected(&role.path, &role.name)?;
        if row.role.is_some() {
            return Err(IamError::quota("InstanceSessionsPerInstanceProfile", 1));
        }
        ROLE_PROFILES.put(&txn, &(role.id, names::key(name)), &Mark { since: change::now(cx) })?;
        row.role = Some(role.name);
        row.put(&txn, account)
    })
    .await?;
    Ok(Unit)
}

pub async fn remove_role_from_instance_profile(
    cx: &Cx,
    input: api::RemoveRoleFromInstanceProfileRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let role_name = required(&input.role_name, "RoleName")?;
    change(cx, move |txn| async move {
        let account = cx.account();
        let mut row = ProfileRow::load(&txn, account, name).await?;
        let role = RoleRow::load(&txn, account, role_name).await?;
        if row.role.as_deref() != Some(&*role.name) {
            let text = format!("Role {role_name} in Instance Profile {name} cannot be found.");
            return Err(IamError::NoSuchEntity(text));
        }
        ROLE_PROFILES.delete(&txn, &(role.id, names::key(name)));
        row.role = None;
        row.put(&txn, account)
    })
    .await?;
    Ok(Unit)
}

pub async fn tag_instance_profile(cx: &Cx, input: api::TagInstanceProfileRequest) -> Result<Unit, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = ProfileRow::load(&txn, cx.account(), name).await?;
        Case::Kept.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_instance_profile(
    cx: &Cx,
    input: api::UntagInstanceProfileRequest,
) -> Result<Unit, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = ProfileRow::load(&txn, cx.account(), name).await?;
        Case::Kept.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_instance_profile_tags(
    cx: &Cx,
    input: api::ListInstanceProfileTagsRequest,
) -> Result<api::ListInstanceProfileTagsResponse, IamError> {
    let name = required(&input.instance_profile_name, "InstanceProfileName")?;
    let row = ProfileRow::load(cx.store(), cx.account(), name).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListInstanceProfileTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
