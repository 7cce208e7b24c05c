//! What policies are attached to: a user, a group or a role.

use pileus_core::AccountId;
use pileus_store::{Reader, Txn};

use crate::error::IamError;
use crate::keys::{self, GROUPS, IDS, Owner, ROLES, USERS};
use crate::names;
use crate::role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
    Role,
}

impl Kind {
    /// `User`, as in the names of quotas and error texts.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
            Kind::Role => "Role",
        }
    }

    /// `user`, as in ARNs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Role => "role",
        }
    }

    /// By a unique id's prefix.
    ///
    /// Source: IAM User Guide, "IAM identifiers", "Understanding unique ID prefixes".
    pub fn of_id(id: &str) -> Option<Kind> {
        match id.get(..4)? {
            "AIDA" => Some(Kind::User),
            "AGPA" => Some(Kind::Group),
            "AROA" => Some(Kind::Role),
            _ => None,
        }
    }

    pub fn not_found(self, name: &str) -> IamError {
        match self {
            Kind::User => IamError::no_user(name),
            Kind::Group => IamError::no_group(name),
            Kind::Role => IamError::no_role(name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub account: AccountId,
    pub kind: Kind,
    pub id: String,
    pub path: String,
    pub name: String,
}

impl Holder {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(
        reader: &impl Reader,
        account: AccountId,
        kind: Kind,
        name: &str,
    ) -> Result<Holder, IamError> {
        let found = Holder::find_by_key(reader, account, kind, names::key(name)).await?;
        found.ok_or_else(|| kind.not_found(name))
    }

    /// As `load`, and refuses roles that only a service may change.
    pub async fn load_to_change(
        txn: &Txn,
        account: AccountId,
        kind: Kind,
        name: &str,
    ) -> Result<Holder, IamError> {
        let holder = Holder::load(txn, account, kind, name).await?;
        if kind == Kind::Role {
            role::refuse_protected(&holder.path, &holder.name)?;
        }
        Ok(holder)
    }

    /// The one with this unique id.
    pub async fn find(reader: &impl Reader, id: &str) -> Result<Option<Holder>, IamError> {
        let Some(kind) = Kind::of_id(id) else { return Ok(None) };
        let Some(owner) = IDS.get(reader, &(id.to_owned(),)).await? else { return Ok(None) };
        let found = Holder::find_by_key(reader, owner.account, kind, owner.key).await?;
        Ok(found.filter(|holder| holder.id == id))
    }

    async fn find_by_key(
        reader: &impl Reader,
        account: AccountId,
        kind: Kind,
        key: String,
    ) -> Result<Option<Holder>, IamError> {
        let key = (account, key);
        let parts = match kind {
            Kind::User => USERS.get(reader, &key).await?.map(|row| (row.id, row.path, row.name)),
            Kind::Group => GROUPS.get(reader, &key).await?.map(|row| (row.id, row.path, row.name)),
            Kind::Role => ROLES.get(reader, &key).await?.map(|row| (row.id, row.path, row.name)),
        };
        Ok(parts.map(|(id, path, name)| Holder { account, kind, id, path, name }))
    }
}

/// Notes whose a new unique id is, or where its name has moved.
pub fn register_id(txn: &Txn, account: AccountId, id: &str, name: &str) -> Result<(), IamError> {
    let owner = Owner { account, key: names::key(name) };
    Ok(keys::IDS.put(txn, &(id.to_owned(),), &owner)?)
}
