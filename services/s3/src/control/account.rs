//! The public access block of an account: what none of its buckets may open.
//!
//! Source: Amazon S3 User Guide, "Configuring block public access settings for your account".

use pileus_api_s3control as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::account;
use crate::config::public_access::{ACCOUNT_BLOCKS, Block};
use crate::error::S3Error;

/// `PutPublicAccessBlock`
pub async fn put_public_access_block(
    cx: &Cx,
    input: api::PutPublicAccessBlockRequest,
) -> Result<Unit, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let given = input.public_access_block_configuration.ok_or(S3Error::MalformedXml)?;
    let block = &Block {
        block_public_acls: given.block_public_acls == Some(true),
        ignore_public_acls: given.ignore_public_acls == Some(true),
        block_public_policy: given.block_public_policy == Some(true),
        restrict_public_buckets: given.restrict_public_buckets == Some(true),
    };
    cx.transact(|txn| async move { Ok::<_, S3Error>(ACCOUNT_BLOCKS.put(&txn, &account, block)?) }).await?;
    Ok(Unit)
}

/// `GetPublicAccessBlock`
pub async fn get_public_access_block(
    cx: &Cx,
    input: api::GetPublicAccessBlockRequest,
) -> Result<api::GetPublicAccessBlockOutput, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let found = ACCOUNT_BLOCKS.get(cx.store(), &account).await?.ok_or_else(|| {
        let message = "The public access block configuration was not found";
        S3Error::refused("NoSuchPublicAccessBlockConfiguration", 404, message)
            .with("AccountId", account.as_str())
    })?;
    let shown = api::PublicAccessBlockConfiguration {
        block_public_acls: Some(found.block_public_acls),
        ignore_public_acls: Some(found.ignore_public_acls),
        block_public_policy: Some(found.block_public_policy),
        restrict_public_buckets: Some(found.restrict_public_buckets),
    };
    Ok(api::GetPublicAccessBlockOutput { public_access_block_configuration: Some(shown) })
}

/// `DeletePublicAccessBlock`
pub async fn delete_public_access_block(
    cx: &Cx,
    input: api::DeletePublicAccessBlockRequest,
) -> Result<Unit, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    cx.transact(|txn| async move {
        ACCOUNT_BLOCKS.delete(&txn, &account);
        Ok::<_, S3Error>(())
    })
    .await?;
    Ok(Unit)
}
