//! How operations write, and what they may fill in for the caller.

use std::future::Future;

use pileus_core::{AccountId, Timestamp};
use pileus_platform::{CallerKind, Cx, LimitsProfile};
use pileus_store::{Stored, Table, Txn};

use crate::error::IamError;
use crate::keys;
use crate::page;

/// Runs `change` in one transaction that also makes every cached view of the account's identities stale.
pub async fn change<T, F, Fut>(cx: &Cx, change: F) -> Result<T, IamError>
where
    F: Fn(Txn) -> Fut,
    Fut: Future<Output = Result<T, IamError>> + Send,
{
    cx.transact(|txn| {
        keys::renew_generation(&txn, cx.account(), cx.rng().next_u64());
        change(txn)
    })
    .await
}

/// The moment of the request in whole seconds: how IAM keeps its dates.
pub fn now(cx: &Cx) -> Timestamp {
    Timestamp::from_secs(cx.now().as_secs())
}

/// The user that an operation without `UserName` is about: the caller.
pub fn user_or_caller<'a>(cx: &'a Cx, name: &'a Option<String>) -> Result<&'a str, IamError> {
    match (name, &cx.caller().kind) {
        (Some(name), _) => Ok(name),
        (None, CallerKind::User { name, .. }) => Ok(name),
        (None, _) => {
            let text = "Must specify userName when calling with non-User credentials";
            Err(IamError::ValidationError(text.to_owned()))
        }
    }
}

/// Refuses one more row of an account's table when AWS's quota is reached and quotas are in force.
pub async fn check_account_quota<V: Stored>(
    cx: &Cx,
    txn: &Txn,
    table: Table<(AccountId, String), V>,
    quota: &str,
    limit: usize,
) -> Result<(), IamError> {
    if cx.limits() != LimitsProfile::Aws {
        return Ok(());
    }
    let count = page::all(&txn.untracked(), table, table.under(&(cx.account(),))).await?.len();
    if count >= limit { Err(IamError::quota(quota, limit)) } else { Ok(()) }
}
