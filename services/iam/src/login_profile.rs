//! Console passwords: `CreateLoginProfile`, `GetLoginProfile`, `UpdateLoginProfile`, `DeleteLoginProfile`, `ChangePassword`.
//!
//! Only a PBKDF2 hash is kept. The salt is the user's unique id, which is random and never used again; so a new password is derived
//! once and compared with all earlier ones.

use std::num::NonZeroU32;

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::{CallerKind, Cx};
use pileus_store::Stored;
use pileus_wire::value::Unit;
use ring::pbkdf2;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::LOGINS;
use crate::names::required;
use crate::password_policy;

/// Source: OWASP, "Password Storage Cheat Sheet" (PBKDF2-HMAC-SHA512).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).expect("the literal is not zero");
const MAX_HISTORY: usize = 24;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginRow {
    pub created: Timestamp,
    pub changed: Timestamp,
    pub reset_required: bool,
    pub hash: Hash,
    /// Earlier passwords, newest first.
    #[serde(default)]
    pub history: Vec<Hash>,
    #[serde(default)]
    pub last_used: Option<Timestamp>,
}

impl Stored for LoginRow {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hash {
    pub iterations: u32,
    pub digest: Vec<u8>,
}

/// Takes about a tenth of a second of one core, so it runs beside the request's thread.
async fn derive(user_id: &str, password: &str) -> Result<Hash, IamError> {
    let (salt, password) = (user_id.to_owned(), password.to_owned());
    let derived = tokio::task::spawn_blocking(move || {
        let mut digest = vec![0u8; 64];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA512,
            ITERATIONS,
            salt.as_bytes(),
            password.as_bytes(),
            &mut digest,
        );
        Hash { iterations: ITERATIONS.get(), digest }
    });
    derived.await.map_err(|error| pileus_store::StoreError::unavailable(error).into())
}

impl LoginRow {
    fn answer(&self, user_name: &str) -> api::LoginProfile {
        api::LoginProfile {
            user_name: Some(user_name.to_owned()),
            create_date: Some(self.created),
            password_reset_required: Some(self.reset_required),
        }
    }

    /// Takes a new password.
    ///
    /// # Errors
    /// `PasswordPolicyViolation` for one of the last `remembered` passwords.
    fn replace(&mut self, hash: Hash, remembered: usize, now: Timestamp) -> Result<(), IamError> {
        let old = std::iter::once(&self.hash).chain(&self.history).take(remembered);
        if old.into_iter().any(|old| *old == hash) {
            return Err(password_policy::reused());
        }
        let old = std::mem::replace(&mut self.hash, hash);
        self.history.insert(0, old);
        self.history.truncate(MAX_HISTORY);
        self.changed = now;
        Ok(())
    }
}

pub async fn create_login_profile(
    cx: &Cx,
    input: api::CreateLoginProfileRequest,
) -> Result<api::CreateLoginProfileResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let password = required(&input.password, "Password")?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    password_policy::check(cx, cx.store(), password).await?;
    let now = change::now(cx);
    let row = LoginRow {
        created: now,
        changed: now,
        reset_required: input.password_reset_required.unwrap_or(false),
        hash: derive(&user.id, password).await?,
        history: Vec::new(),
        last_used: None,
    };
    let (row, user) = (&row, &user);
    change(cx, move |txn| async move {
        // The user may have gone while the password was derived.
        Holder::find(&txn, &user.id).await?.ok_or_else(|| IamError::no_user(&user.name))?;
        if LOGINS.put_if_absent(&txn, &(user.id.clone(),), row).await? {
            return Ok(());
        }
        Err(IamError::EntityAlreadyExists(format!("Login Profile for user {} already exists.", user.name)))
    })
    .await?;
    Ok(api::CreateLoginProfileResponse { login_profile: Some(row.answer(&user.name)) })
}

pub async fn get_login_profile(
    cx: &Cx,
    input: api::GetLoginProfileRequest,
) -> Result<api::GetLoginProfileResponse, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let row = LOGINS.get(cx.store(), &(user.id,)).await?;
    let row = row.ok_or_else(|| IamError::no_login_profile(&user.name))?;
    Ok(api::GetLoginProfileResponse { login_profile: Some(row.answer(&user.name)) })
}

pub async fn update_login_profile(cx: &Cx, input: api::UpdateLoginProfileRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let hash = match &input.password {
        Some(password) => {
            password_policy::check(cx, cx.store(), password).await?;
            Some(derive(&user.id, password).await?)
        }
        None => None,
    };
    let (user, hash, reset_required) = (&user, &hash, input.password_reset_required);
    change(cx, move |txn| async move {
        let key = (user.id.clone(),);
        let row = LOGINS.get(&txn, &key).await?;
        let mut row = row.ok_or_else(|| IamError::no_login_profile(&user.name))?;
        if let Some(hash) = hash {
            // An administrator's reset is not held to the history.
            row.replace(hash.clone(), 0, change::now(cx))?;
        }
        row.reset_required = reset_required.unwrap_or(row.reset_required);
        Ok(LOGINS.put(&txn, &key, &row)?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_login_profile(cx: &Cx, input: api::DeleteLoginProfileRequest) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    change(cx, move |txn| async move {
        let user = Holder::load(&txn, cx.account(), Kind::User, name).await?;
        let key = (user.id,);
        LOGINS.get(&txn, &key).await?.ok_or_else(|| IamError::no_login_profile(&user.name))?;
        LOGINS.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// A user's change of the own password.
pub async fn change_password(cx: &Cx, input: api::ChangePasswordRequest) -> Result<Unit, IamError> {
    let CallerKind::User { name, .. } = &cx.caller().kind else {
        return Err(IamError::InvalidUserType("Only IAM Users can change their own password"));
    };
    let old = required(&input.old_password, "OldPassword")?;
    let new = required(&input.new_password, "NewPassword")?;
    let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
    let policy = password_policy::check(cx, cx.store(), new).await?;
    let remembered = policy.and_then(|policy| policy.reuse_prevention).unwrap_or(0);
    let (old, new) = (derive(&user.id, old).await?, derive(&user.id, new).await?);
    let (user, old, new) = (&user, &old, &new);
    change(cx, move |txn| async move {
        let key = (user.id.clone(),);
        let row = LOGINS.get(&txn, &key).await?;
        let mut row = row.ok_or_else(|| IamError::no_login_profile(&user.name))?;
        if row.hash != *old {
            return Err(IamError::AccessDenied("The old password was incorrect.".to_owned()));
        }
        row.replace(new.clone(), remembered as usize, change::now(cx))?;
        row.reset_required = false;
        Ok(LOGINS.put(&txn, &key, &row)?)
    })
    .await?;
    Ok(Unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> Hash {
        Hash { iterations: 1, digest: vec![byte] }
    }

    #[test]
    fn a_remembered_password_is_refused_and_an_older_one_is_not() {
        let start = Timestamp::from_secs(0);
        let mut row = LoginRow {
            created: start,
            changed: start,
            reset_required: false,
            hash: hash(1),
            history: vec![],
            last_used: None,
        };
        assert!(row.replace(hash(1), 2, start).is_err());
        row.replace(hash(2), 2, start).unwrap();
        assert!(row.replace(hash(1), 2, start).is_err());
        row.replace(hash(3), 2, start).unwrap();
        row.replace(hash(1), 2, start).unwrap();
        assert_eq!(row.history.len(), 3);
    }
}
