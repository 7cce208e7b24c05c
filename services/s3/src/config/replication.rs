//! `PutBucketReplication`, `GetBucketReplication`, `DeleteBucketReplication`. What the rules mean: `replication/rules.rs`; who carries
//! them out: `replication/worker.rs`.
//!
//! Source: Amazon S3 API Reference, "PutBucketReplication". Recorded: the sentences.

use pileus_api_s3 as api;
use pileus_platform::{Access, Cx, Fault};
use pileus_wire::value::Unit;

use super::{change, missing, refuse, stored};
use crate::access;
use crate::bucket::{Bucket, Configured, Versioning};
use crate::error::S3Error;
use crate::replication::rules;

pub async fn needed(cx: &Cx, input: &api::PutBucketReplicationRequest) -> Result<Vec<Access>, Fault> {
    let (name, owner) = (input.bucket.as_deref(), input.expected_bucket_owner.as_deref());
    let mut needed = access::bucket_action(cx, "s3:PutReplicationConfiguration", name, owner).await?;
    if let Some(role) = input.replication_configuration.as_ref().and_then(|given| given.role.as_deref()) {
        needed.push(Access::pass_role(role, "s3.amazonaws.com"));
    }
    Ok(needed)
}

/// `PutBucketReplication`
pub async fn put_bucket_replication(
    cx: &Cx,
    input: api::PutBucketReplicationRequest,
) -> Result<Unit, S3Error> {
    let mut given = input.replication_configuration.ok_or(S3Error::MalformedXml)?;
    rules::check(&given).map_err(refuse)?;
    for rule in given.rules.iter_mut().flatten() {
        rule.id.get_or_insert_with(|| cx.ids().alphanumeric(48));
    }
    let given = &given;
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        if bucket.versioning != Versioning::Enabled {
            return Err(S3Error::invalid(
                "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
            ));
        }
        for rule in given.rules.iter().flatten() {
            let target = rule.destination.as_ref().and_then(|to| to.bucket.as_deref()).unwrap_or_default();
            let name = rules::bucket_name(target).unwrap_or_default();
            let Some(target) = Bucket::find(&txn, name).await? else {
                return Err(S3Error::invalid("Destination bucket must exist."));
            };
            if target.versioning != Versioning::Enabled {
                return Err(S3Error::invalid("Destination bucket must have versioning enabled."));
            }
            if target.id == bucket.id {
                return Err(S3Error::invalid("Destination bucket cannot be the same as the source bucket."));
            }
            let destination = rule.destination.as_ref();
            if let Some(account) = destination.and_then(|to| to.account.as_deref())
                && account != target.owner.as_str()
            {
                return Err(S3Error::invalid(
                    "Account ID specified in destination does not match destination bucket owner ID.",
                ));
            }
        }
        stored::put(&txn, &mut bucket, "", given)?;
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// `GetBucketReplication`
pub async fn get_bucket_replication(
    cx: &Cx,
    input: api::GetBucketReplicationRequest,
) -> Result<api::GetBucketReplicationOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let found = stored::find(cx.store(), &bucket).await?.ok_or_else(|| {
        let message = "The replication configuration was not found";
        missing("ReplicationConfigurationNotFoundError", message, &bucket.name)
    })?;
    Ok(api::GetBucketReplicationOutput { replication_configuration: Some(found) })
}

/// `DeleteBucketReplication`
pub async fn delete_bucket_replication(
    cx: &Cx,
    input: api::DeleteBucketReplicationRequest,
) -> Result<Unit, S3Error> {
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::delete(&txn, &mut bucket, Configured::Replication);
        Ok(bucket.store(&txn)?)
    })
    .await
}
