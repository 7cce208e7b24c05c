//! Public access: what a bucket and its account keep from the public, and who owns what others put.
//!
//! Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "Controlling ownership of objects and disabling
//! ACLs for your bucket"; Amazon S3 API Reference, "PutPublicAccessBlock", "PutBucketOwnershipControls".

use pileus_api_s3 as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_store::{Reader, Space, StoreError, Stored, Table};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use super::{change, missing, stored};
use crate::acl;
use crate::bucket::{Bucket, Configured, Ownership};
use crate::error::S3Error;

/// What an account blocks, by account.
pub const ACCOUNT_BLOCKS: Table<AccountId, Block> = Table::new(Space::Meta, *b"Sx");

/// `PublicAccessBlockConfiguration`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

impl Stored for Block {}

impl Block {
    /// What new buckets begin with.
    pub const ALL: Block = Block {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    pub fn read(given: &api::PublicAccessBlockConfiguration) -> Block {
        Block {
            block_public_acls: given.block_public_acls == Some(true),
            ignore_public_acls: given.ignore_public_acls == Some(true),
            block_public_policy: given.block_public_policy == Some(true),
            restrict_public_buckets: given.restrict_public_buckets == Some(true),
        }
    }

    pub fn show(self) -> api::PublicAccessBlockConfiguration {
        api::PublicAccessBlockConfiguration {
            block_public_acls: Some(self.block_public_acls),
            ignore_public_acls: Some(self.ignore_public_acls),
            block_public_policy: Some(self.block_public_policy),
            restrict_public_buckets: Some(self.restrict_public_buckets),
        }
    }

    /// The stricter of both, for each.
    fn and(self, other: Block) -> Block {
        Block {
            block_public_acls: self.block_public_acls || other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls || other.ignore_public_acls,
            block_public_policy: self.block_public_policy || other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets || other.restrict_public_buckets,
        }
    }
}

/// What holds for a bucket: its own block and its account's.
pub async fn effective(reader: &impl Reader, bucket: &Bucket) -> Result<Block, S3Error> {
    let own = stored::find::<api::PublicAccessBlockConfiguration>(reader, bucket).await?;
    let own = own.map(|own| Block::read(&own)).unwrap_or_default();
    Ok(own.and(of_account(reader, bucket.owner).await?))
}

pub async fn of_account(reader: &impl Reader, account: AccountId) -> Result<Block, StoreError> {
    Ok(ACCOUNT_BLOCKS.get(reader, &account).await?.unwrap_or_default())
}

/// `PutPublicAccessBlock`
pub async fn put_public_access_block(
    cx: &Cx,
    input: api::PutPublicAccessBlockRequest,
) -> Result<Unit, S3Error> {
    let given = input.public_access_block_configuration.ok_or(S3Error::MalformedXml)?;
    let block = &Block::read(&given).show();
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::put(&txn, &mut bucket, "", block)?;
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// `GetPublicAccessBlock`
pub async fn get_public_access_block(
    cx: &Cx,
    input: api::GetPublicAccessBlockRequest,
) -> Result<api::GetPublicAccessBlockOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let found = stored::find(cx.store(), &bucket).await?.ok_or_else(|| {
        let message = "The public access block configuration was not found";
        missing("NoSuchPublicAccessBlockConfiguration", message, &bucket.name)
    })?;
    Ok(api::GetPublicAccessBlockOutput { public_access_block_configuration: Some(found) })
}

/// `DeletePublicAccessBlock`
pub async fn delete_public_access_block(
    cx: &Cx,
    input: api::DeletePublicAccessBlockRequest,
) -> Result<Unit, S3Error> {
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::delete(&txn, &mut bucket, Configured::PublicAccessBlock);
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// `PutBucketOwnershipControls`
pub async fn put_bucket_ownership_controls(
    cx: &Cx,
    input: api::PutBucketOwnershipControlsRequest,
) -> Result<Unit, S3Error> {
    let rules = input.ownership_controls.and_then(|controls| controls.rules).unwrap_or_default();
    let [rule] = rules.as_slice() else { return Err(S3Error::MalformedXml) };
    let ownership =
        rule.object_ownership.as_deref().and_then(Ownership::parse).ok_or(S3Error::MalformedXml)?;
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        if ownership == Ownership::BucketOwnerEnforced {
            let list = stored::find::<api::AccessControlPolicy>(&txn, &bucket).await?;
            let owner = crate::owner::canonical_id(bucket.owner);
            if list.is_some_and(|list| gives_to_others(&list, &owner)) {
                return Err(S3Error::refused(
                    "InvalidBucketAclWithObjectOwnership",
                    400,
                    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
                ));
            }
        }
        bucket.ownership = ownership;
        bucket.set_has_ownership_controls(true);
        Ok(bucket.store(&txn)?)
    })
    .await
}

fn gives_to_others(list: &api::AccessControlPolicy, owner: &str) -> bool {
    let is_own =
        |grant: &api::Grant| grant.grantee.as_ref().and_then(|grantee| grantee.id.as_deref()) == Some(owner);
    acl::is_public(list) || !list.grants.iter().flatten().all(is_own)
}

/// `GetBucketOwnershipControls`
pub async fn get_bucket_ownership_controls(
    cx: &Cx,
    input: api::GetBucketOwnershipControlsRequest,
) -> Result<api::GetBucketOwnershipControlsOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    if !bucket.has_ownership_controls() {
        let message = "The bucket ownership controls were not found";
        return Err(missing("OwnershipControlsNotFoundError", message, &bucket.name));
    }
    let rule = api::OwnershipControlsRule { object_ownership: Some(bucket.ownership.as_str().to_owned()) };
    let controls = api::OwnershipControls { rules: Some(vec![rule]) };
    Ok(api::GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) })
}

/// `DeleteBucketOwnershipControls`: as buckets were before there were such controls.
pub async fn delete_bucket_ownership_controls(
    cx: &Cx,
    input: api::DeleteBucketOwnershipControlsRequest,
) -> Result<Unit, S3Error> {
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        bucket.ownership = Ownership::ObjectWriter;
        bucket.set_has_ownership_controls(false);
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// Ownership controls are there unless they were deleted: a bit beyond those of `Configured`, set when they are not.
const NO_CONTROLS: u64 = 1 << 63;

impl Bucket {
    pub fn has_ownership_controls(&self) -> bool {
        self.configured & NO_CONTROLS == 0
    }

    fn set_has_ownership_controls(&mut self, there: bool) {
        if there {
            self.configured &= !NO_CONTROLS;
        } else {
            self.configured |= NO_CONTROLS;
        }
    }
}
