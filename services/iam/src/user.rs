//! `CreateUser`, `GetUser`, `ListUsers`, `UpdateUser`, `DeleteUser`, and the tags of users.

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::boundary;
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Kind, register_id};
use crate::keys::{
    ATTACHED, CREDENTIALS, DEVICES_OF, IDS, INLINE, KEYS_OF, LOGINS, MEMBERSHIPS, SIGNING, SSH_KEYS, USERS,
};
use crate::last_accessed;
use crate::names::{self, required};
use crate::page::{self, Page};
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas".
const MAX_USERS: usize = 5_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRow {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
    #[serde(default)]
    pub tags: Tags,
    /// ARN of the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

impl Stored for UserRow {}

impl UserRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(reader: &impl Reader, account: AccountId, name: &str) -> Result<UserRow, IamError> {
        let found = USERS.get(reader, &(account, names::key(name))).await?;
        found.ok_or_else(|| IamError::no_user(name))
    }

    pub fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(USERS.put(txn, &(account, names::key(&self.name)), self)?)
    }

    pub fn arn(&self, cx: &Cx) -> String {
        names::arn(cx.region().partition(), cx.account(), Kind::User.word(), &self.path, &self.name)
    }

    /// As lists show it: without tags and boundary.
    pub fn summary(&self, cx: &Cx, password_last_used: Option<Timestamp>) -> api::User {
        api::User {
            path: Some(self.path.clone()),
            user_name: Some(self.name.clone()),
            user_id: Some(self.id.clone()),
            arn: Some(self.arn(cx)),
            create_date: Some(self.created),
            password_last_used,
            ..api::User::default()
        }
    }

    pub fn answer(&self, cx: &Cx, password_last_used: Option<Timestamp>) -> api::User {
        api::User {
            permissions_boundary: boundary::answer(&self.boundary),
            tags: tags::answer_if_any(&self.tags),
            ..self.summary(cx, password_last_used)
        }
    }
}

pub async fn create_user(
    cx: &Cx,
    input: api::CreateUserRequest,
) -> Result<api::CreateUserResponse, IamError> {
    let row = UserRow {
        name: required(&input.user_name, "UserName")?.to_owned(),
        path: names::path(input.path.as_deref())?,
        id: cx.ids().iam("AIDA", 17),
        created: change::now(cx),
        tags: Case::Ignored.create(input.tags)?,
        boundary: input.permissions_boundary,
    };
    let row = &row;
    change(cx, move |txn| async move { insert(cx, &txn, row).await }).await?;
    Ok(api::CreateUserResponse { user: Some(row.answer(cx, None)) })
}

async fn insert(cx: &Cx, txn: &Txn, row: &UserRow) -> Result<(), IamError> {
    let account = cx.account();
    change::check_account_quota(cx, txn, USERS, "UsersPerAccount", MAX_USERS).await?;
    boundary::set(txn, account, &row.id, None, row.boundary.as_deref(), row.created).await?;
    if !USERS.put_if_absent(txn, &(account, names::key(&row.name)), row).await? {
        return Err(IamError::EntityAlreadyExists(format!("User with name {} already exists.", row.name)));
    }
    register_id(txn, account, &row.id, &row.name)
}

/// Without a name it is about the caller, who may be the root user.
pub async fn get_user(cx: &Cx, input: api::GetUserRequest) -> Result<api::GetUserResponse, IamError> {
    if input.user_name.is_none() && cx.caller().is_root() {
        return Ok(api::GetUserResponse { user: Some(root(cx)) });
    }
    let name = change::user_or_caller(cx, &input.user_name)?;
    let row = UserRow::load(cx.store(), cx.account(), name).await?;
    let login = LOGINS.get(cx.store(), &(row.id.clone(),)).await?;
    Ok(api::GetUserResponse { user: Some(row.answer(cx, login.and_then(|login| login.last_used))) })
}

/// Chosen: an account here has no date of creation, so its root user shows the beginning of time.
fn root(cx: &Cx) -> api::User {
    let account = cx.account();
    api::User {
        arn: Some(format!("arn:{}:iam::{account}:root", cx.region().partition())),
        user_id: Some(account.to_string()),
        create_date: Some(Timestamp::EPOCH),
        ..api::User::default()
    }
}

pub async fn list_users(cx: &Cx, input: api::ListUsersRequest) -> Result<api::ListUsersResponse, IamError> {
    let page = Page::new("users", input.marker.as_deref(), input.max_items)?;
    let prefix = input.path_prefix.unwrap_or_default();
    let cut = page.scan(cx.store(), USERS, cx.account(), |row| row.path.starts_with(&prefix)).await?;
    let mut users = Vec::with_capacity(cut.items.len());
    for row in &cut.items {
        let login = LOGINS.get(cx.store(), &(row.id.clone(),)).await?;
        users.push(row.summary(cx, login.and_then(|login| login.last_used)));
    }
    Ok(api::ListUsersResponse {
        users: Some(users),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// A new name or path; everything that belongs to the user follows.
pub async fn update_user(cx: &Cx, input: api::UpdateUserRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let path = input.new_path.as_deref().map(|path| names::path(Some(path))).transpose()?;
    let (path, new_name) = (&path, &input.new_user_name);
    change(cx, move |txn| async move {
        let account = cx.account();
        let old = UserRow::load(&txn, account, name).await?;
        let mut row = old.clone();
        row.path = path.clone().unwrap_or(row.path);
        row.name = new_name.clone().unwrap_or(row.name);
        let (from, to) = (names::key(&old.name), names::key(&row.name));
        if from != to {
            if USERS.get(&txn, &(account, to)).await?.is_some() {
                let text = format!("User with name {} already exists.", row.name);
                return Err(IamError::EntityAlreadyExists(text));
            }
            USERS.delete(&txn, &(account, from));
            register_id(&txn, account, &row.id, &row.name)?;
        }
        row.put(&txn, account)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_user(cx: &Cx, input: api::DeleteUserRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    change(cx, move |txn| async move {
        let account = cx.account();
        let row = UserRow::load(&txn, account, name).await?;
        refuse_in_use(&txn, account, &row.id).await?;
        boundary::set(&txn, account, &row.id, row.boundary.as_deref(), None, row.created).await?;
        last_accessed::forget(&txn, &row.id).await?;
        USERS.delete(&txn, &(account, names::key(name)));
        IDS.delete(&txn, &(row.id,));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// What hangs on a user must go first, each with its own sentence.
async fn refuse_in_use(txn: &Txn, account: AccountId, id: &str) -> Result<(), IamError> {
    let of_user = (id.to_owned(),);
    let in_account = (account, id.to_owned());
    let conflicts = [
        (
            page::is_empty(txn, ATTACHED, ATTACHED.under(&of_user)).await?,
            "Cannot delete entity, must detach all policies first.",
        ),
        (
            page::is_empty(txn, INLINE, INLINE.under(&of_user)).await?,
            "Cannot delete entity, must delete policies first.",
        ),
        (
            page::is_empty(txn, KEYS_OF, KEYS_OF.under(&in_account)).await?,
            "Cannot delete entity, must delete access keys first.",
        ),
        (
            LOGINS.get(txn, &of_user).await?.is_none(),
            "Cannot delete entity, must delete login profile first.",
        ),
        (
            page::is_empty(txn, MEMBERSHIPS, MEMBERSHIPS.under(&of_user)).await?,
            "Cannot delete entity, must remove users from group first.",
        ),
        (
            page::is_empty(txn, DEVICES_OF, DEVICES_OF.under(&in_account)).await?,
            "Cannot delete entity, must delete MFA device first.",
        ),
        (
            page::is_empty(txn, SIGNING, SIGNING.under(&of_user)).await?,
            "Cannot delete entity, must delete signing certificates first.",
        ),
        (
            page::is_empty(txn, SSH_KEYS, SSH_KEYS.under(&of_user)).await?,
            "Cannot delete entity, must delete SSH public keys first.",
        ),
        (
            page::is_empty(txn, CREDENTIALS, CREDENTIALS.under(&of_user)).await?,
            "Cannot delete entity, must delete service specific credentials first.",
        ),
    ];
    match conflicts.into_iter().find(|(free, _)| !free) {
        Some((_, text)) => Err(IamError::DeleteConflict(text)),
        None => Ok(()),
    }
}

pub async fn tag_user(cx: &Cx, input: api::TagUserRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = UserRow::load(&txn, cx.account(), name).await?;
        Case::Ignored.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_user(cx: &Cx, input: api::UntagUserRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = UserRow::load(&txn, cx.account(), name).await?;
        Case::Ignored.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_user_tags(
    cx: &Cx,
    input: api::ListUserTagsRequest,
) -> Result<api::ListUserTagsResponse, IamError> {
    let row = UserRow::load(cx.store(), cx.account(), required(&input.user_name, "UserName")?).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListUserTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
