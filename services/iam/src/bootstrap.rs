//! The first administrator: how a cloud that trusts only the keys that it issued gets its first one.

use pileus_core::{AccountId, Ids, Timestamp};
use pileus_store::Store;

use crate::access_key::AccessKeyRow;
use crate::error::IamError;
use crate::holder::register_id;
use crate::keys::{ATTACHED, KEYS_OF, Mark, USE_PERMISSIONS, USERS, USERS_OF_POLICY, renew_generation};
use crate::names;
use crate::user::UserRow;

/// A new access key, shown once.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user_name: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// Creates the user `name` with AWS's `AdministratorAccess` and one access key.
///
/// # Errors
/// `AlreadyExists` when there is such a user; errors of the store.
pub async fn create_administrator(
    store: &Store,
    ids: &Ids,
    now: Timestamp,
    account: AccountId,
    name: &str,
) -> Result<Credentials, pileus_platform::Fault> {
    let now = Timestamp::from_secs(now.as_secs());
    let user = UserRow {
        name: name.to_owned(),
        path: "/".to_owned(),
        id: ids.iam("AIDA", 17),
        created: now,
        tags: Vec::new(),
        boundary: None,
    };
    let credentials = Credentials {
        user_name: name.to_owned(),
        access_key_id: ids.iam("AKIA", 16),
        secret_access_key: ids.secret_access_key(),
    };
    let key = AccessKeyRow {
        account,
        owner: user.id.clone(),
        secret: credentials.secret_access_key.clone(),
        is_active: true,
        created: now,
        is_deleted: false,
    };
    let (user, key, key_id) = (&user, &key, &credentials.access_key_id);
    let token = ids.rng().next_u64();
    let written: Result<(), IamError> = store
        .transact(move |txn| async move {
            if !USERS.put_if_absent(&txn, &(account, names::key(&user.name)), user).await? {
                let text = format!("User with name {} already exists.", user.name);
                return Err(IamError::EntityAlreadyExists(text));
            }
            let mark = Mark { since: now };
            register_id(&txn, account, &user.id, &user.name)?;
            ATTACHED.put(&txn, &(user.id.clone(), ADMINISTRATOR.to_owned()), &mark)?;
            let usage = (account, ADMINISTRATOR.to_owned(), USE_PERMISSIONS, user.id.clone());
            USERS_OF_POLICY.put(&txn, &usage, &mark)?;
            KEYS_OF.put(&txn, &(account, user.id.clone(), key_id.clone()), &mark)?;
            key.put(&txn, key_id)?;
            renew_generation(&txn, account, token);
            Ok(())
        })
        .await;
    written?;
    Ok(credentials)
}
