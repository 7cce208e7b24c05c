//! Canonical user ids: how S3 names accounts in owners and access control lists.

use pileus_api_s3::Owner;
use pileus_core::AccountId;
use ring::digest;

/// The canonical user id of an account: 64 hex digits.
///
/// Chosen: AWS's are opaque; ours follow from the account, so that none has to be kept.
pub fn canonical_id(account: AccountId) -> String {
    let sum = digest::digest(&digest::SHA256, format!("pileus canonical user {account}").as_bytes());
    hex::encode(sum)
}

/// The account as the owner of something. AWS no longer tells display names.
pub fn owner(account: AccountId) -> Owner {
    Owner { id: Some(canonical_id(account)), display_name: None }
}
