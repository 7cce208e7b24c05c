//! `CreateGroup`, `GetGroup`, `ListGroups`, `UpdateGroup`, `DeleteGroup`, and who is in a group.

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind, register_id};
use crate::keys::{ATTACHED, GROUPS, IDS, INLINE, MEMBERS, MEMBERSHIPS, Mark, USERS};
use crate::names::{self, required};
use crate::page::{self, Page};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_GROUPS: usize = 300;
const MAX_GROUPS_OF_USER: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
}

impl Stored for GroupRow {}

impl GroupRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(reader: &impl Reader, account: AccountId, name: &str) -> Result<GroupRow, IamError> {
        let found = GROUPS.get(reader, &(account, names::key(name))).await?;
        found.ok_or_else(|| IamError::no_group(name))
    }

    pub fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), Kind::Group.word(), &self.path, &self.name)
    }

    pub fn answer(&self, cx: &Cx) -> api::Group {
        api::Group {
            path: Some(self.path.clone()),
            group_name: Some(self.name.clone()),
            group_id: Some(self.id.clone()),
            arn: Some(self.arn(cx)),
            create_date: Some(self.created),
        }
    }
}

fn already_exists(name: &str) -> IamError {
    IamError::EntityAlreadyExists(format!("Group with name {name} already exists."))
}

pub async fn create_group(
    cx: &Cx,
    input: api::CreateGroupRequest,
) -> Result<api::CreateGroupResponse, IamError> {
    let row = GroupRow {
        name: required(&input.group_name, "GroupName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("AGPA", 17),
        created: change::now(cx),
    };
    let row = &row;
    change(cx, move |txn| async move {
        let account = cx.account();
        change::check_account_quota(cx, &txn, GROUPS, "GroupsPerAccount", MAX_GROUPS).await?;
        if !GROUPS.put_if_absent(&txn, &(account, names::key(&row.name)), row).await? {
            return Err(already_exists(&row.name));
        }
        register_id(&txn, account, &row.id, &row.name)
    })
    .await?;
    Ok(api::CreateGroupResponse { group: Some(row.answer(cx)) })
}

/// The group and a page of its users.
pub async fn get_group(cx: &Cx, input: api::GetGroupRequest) -> Result<api::GetGroupResponse, IamError> {
    let row = GroupRow::load(cx.store(), cx.account(), required(&input.group_name, "GroupName")?).await?;
    let page = Page::new("group", input.marker.as_deref(), input.max_items)?;
    let members = page::all(cx.store(), MEMBERS, MEMBERS.under(&(row.id.clone(),))).await?;
    let mut users = Vec::with_capacity(members.len());
    for ((_, user_id), _) in members {
        if let Some(holder) = Holder::find(cx.store(), &user_id).await? {
            users.extend(USERS.get(cx.store(), &(holder.account, names::key(&holder.name))).await?);
        }
    }
    let cut = page.cut(users, |user| names::key(&user.name));
    Ok(api::GetGroupResponse {
        group: Some(row.answer(cx)),
        users: Some(cut.items.iter().map(|user| user.summary(cx, None)).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_groups(
    cx: &Cx,
    input: api::ListGroupsRequest,
) -> Result<api::ListGroupsResponse, IamError> {
    let page = Page::new("groups", input.marker.as_deref(), input.max_items)?;
    let prefix = input.path_prefix.unwrap_or_default();
    let cut = page.scan(cx.store(), GROUPS, cx.account(), |row| row.path.starts_with(&prefix)).await?;
    Ok(api::ListGroupsResponse {
        groups: Some(cut.items.iter().map(|row| row.answer(cx)).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// A new name or path; members and policies follow.
pub async fn update_group(cx: &Cx, input: api::UpdateGroupRequest) -> Result<Unit, IamError> {
    let name = required(&input.group_name, "GroupName")?;
    let path = input.new_path.as_deref().map(|path| names::path(Some(path))).transpose()?;
    let (path, new_name) = (&path, &input.new_group_name);
    change(cx, move |txn| async move {
        let account = cx.account();
        let mut row = GroupRow::load(&txn, account, name).await?;
        let from = names::key(&row.name);
        row.path = path.clone().unwrap_or(row.path);
        row.name = new_name.clone().unwrap_or(row.name);
        let to = names::key(&row.name);
        if from != to {
            if GROUPS.get(&txn, &(account, to.clone())).await?.is_some() {
                return Err(already_exists(&row.name));
            }
            GROUPS.delete(&txn, &(account, from));
            register_id(&txn, account, &row.id, &row.name)?;
        }
        Ok(GROUPS.put(&txn, &(account, to), &row)?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_group(cx: &Cx, input: api::DeleteGroupRequest) -> Result<Unit, IamError> {
    let name = required(&input.group_name, "GroupName")?;
    change(cx, move |txn| async move {
        let row = GroupRow::load(&txn, cx.account(), name).await?;
        refuse_in_use(&txn, &row.id).await?;
        GROUPS.delete(&txn, &(cx.account(), names::key(name)));
        IDS.delete(&txn, &(row.id,));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

async fn refuse_in_use(txn: &Txn, id: &str) -> Result<(), IamError> {
    let of_group = (id.to_owned(),);
    if !page::is_empty(txn, MEMBERS, MEMBERS.under(&of_group)).await? {
        return Err(IamError::DeleteConflict("Cannot delete entity, must remove users from group first."));
    }
    if !page::is_empty(txn, ATTACHED, ATTACHED.under(&of_group)).await? {
        return Err(IamError::DeleteConflict("Cannot delete entity, must detach all policies first."));
    }
    if !page::is_empty(txn, INLINE, INLINE.under(&of_group)).await? {
        return Err(IamError::DeleteConflict("Cannot delete entity, must delete policies first."));
    }
    Ok(())
}

/// Adding a member again changes nothing.
pub async fn add_user_to_group(cx: &Cx, input: api::AddUserToGroupRequest) -> Result<Unit, IamError> {
    let group_name = required(&input.group_name, "GroupName")?;
    let user_name = required(&input.user_name, "UserName")?;
    change(cx, move |txn| async move {
        let group = Holder::load(&txn, cx.account(), Kind::Group, group_name).await?;
        let user = Holder::load(&txn, cx.account(), Kind::User, user_name).await?;
        let memberships = page::all(&txn, MEMBERSHIPS, MEMBERSHIPS.under(&(user.id.clone(),))).await?;
        if memberships.iter().any(|((_, id), _)| *id == group.id) {
            return Ok(());
        }
        if memberships.len() >= MAX_GROUPS_OF_USER {
            return Err(IamError::quota("GroupsPerUser", MAX_GROUPS_OF_USER));
        }
        let mark = Mark { since: change::now(cx) };
        MEMBERS.put(&txn, &(group.id.clone(), user.id.clone()), &mark)?;
        Ok(MEMBERSHIPS.put(&txn, &(user.id, group.id), &mark)?)
    })
    .await?;
    Ok(Unit)
}

/// Removing someone who is no member changes nothing. As AWS answers: of two absent names the user's is reported.
pub async fn remove_user_from_group(
    cx: &Cx,
    input: api::RemoveUserFromGroupRequest,
) -> Result<Unit, IamError> {
    let group_name = required(&input.group_name, "GroupName")?;
    let user_name = required(&input.user_name, "UserName")?;
    change(cx, move |txn| async move {
        let user = Holder::load(&txn, cx.account(), Kind::User, user_name).await?;
        let group = Holder::load(&txn, cx.account(), Kind::Group, group_name).await?;
        MEMBERS.delete(&txn, &(group.id.clone(), user.id.clone()));
        MEMBERSHIPS.delete(&txn, &(user.id, group.id));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// The groups of a user.
pub async fn groups_of(reader: &impl Reader, user_id: &str) -> Result<Vec<GroupRow>, IamError> {
    let memberships = page::all(reader, MEMBERSHIPS, MEMBERSHIPS.under(&(user_id.to_owned(),))).await?;
    let mut groups = Vec::with_capacity(memberships.len());
    for ((_, group_id), _) in memberships {
        if let Some(holder) = Holder::find(reader, &group_id).await? {
            groups.extend(GROUPS.get(reader, &(holder.account, names::key(&holder.name))).await?);
        }
    }
    Ok(groups)
}

pub async fn list_groups_for_user(
    cx: &Cx,
    input: api::ListGroupsForUserRequest,
) -> Result<api::ListGroupsForUserResponse, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let page = Page::new("groups-of-user", input.marker.as_deref(), input.max_items)?;
    let cut = page.cut(groups_of(cx.store(), &user.id).await?, |group| names::key(&group.name));
    Ok(api::ListGroupsForUserResponse {
        groups: Some(cut.items.iter().map(|group| group.answer(cx)).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
