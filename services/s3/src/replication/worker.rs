//! Copies changes to other buckets, at least once, with the role that the configuration names.
//!
//! The role is asked for the permissions that replication needs, on the source and on the destination; the bytes are then read and
//! written in the name of the buckets' owners, for the permissions of plain reads and writes are others.
//!
//! Source: Amazon S3 User Guide, "Setting up permissions for live replication", "Replication status information".

use pileus_api_s3 as api;
use pileus_core::BoxFuture;
use pileus_platform::{Access, Caller, Cx, Fault, Platform};
use pileus_store::due::Job;
use pileus_store::key::Descending;
use pileus_store::runner::Failure;

use super::rules::Target;
use super::{Copy, Identity, REPLICA_OF, What};
use crate::bucket::{Bucket, Versioning};
use crate::effects::{self, Event, ObjectChange};
use crate::error::S3Error;
use crate::keys::{CURRENT, OLDER};
use crate::version::ObjectVersion;

const PRINCIPAL: &str = "s3.amazonaws.com";
/// Attempts before a copy has failed.
const MAX_ATTEMPTS: u32 = 12;

/// Handles a change: each of its destinations once; those that fail for now are tried again later.
pub fn run(platform: Platform, job: Job) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let copy: Copy = match serde_json::from_slice(&job.payload) {
            Ok(copy) => copy,
            Err(error) => {
                tracing::error!(id = %job.id, %error, "a replication cannot be read, and is dropped");
                return Ok(());
            }
        };
        attempt(&platform, copy, job.attempts).await.map_err(Failure::new)
    })
}

async fn attempt(platform: &Platform, mut copy: Copy, attempts: u32) -> Result<(), S3Error> {
    let Some(source) = Bucket::find(platform.store(), &copy.bucket).await? else { return Ok(()) };
    if source.id != copy.bucket_id {
        return Ok(());
    }
    let cx = Cx::background(platform, PRINCIPAL, source.owner, source.region.clone());
    let Some((version, _)) = find(&cx, &source, &copy).await? else { return Ok(()) };
    let all = std::mem::take(&mut copy.targets);
    let (total, mut has_failed) = (all.len(), false);
    for target in all {
        match to_target(&cx, &source, &version, &copy, &target).await {
            Ok(()) => {}
            Err(fault) if is_final(&fault) || attempts >= MAX_ATTEMPTS => {
                tracing::warn!(bucket = %copy.bucket, key = %copy.key, to = %target.bucket, code = %fault.code, "a replication failed: {}", fault.message);
                has_failed = true;
            }
            Err(fault) => {
                tracing::debug!(bucket = %copy.bucket, key = %copy.key, code = %fault.code, "a replication is tried again");
                copy.targets.push(target);
            }
        }
    }
    if has_failed {
        return finish(&cx, &source, &copy, "FAILED").await;
    }
    if copy.targets.is_empty() {
        return finish(&cx, &source, &copy, "COMPLETED").await;
    }
    if copy.targets.len() == total {
        return Err(S3Error::Internal(format!("{} of {} destinations are to be tried again", total, total)));
    }
    // Those that are done are not done again.
    let (cx, copy) = (&cx, &copy);
    cx.transact(|txn| async move { super::add(cx, &txn, copy) }).await
}

/// What another attempt would not change.
fn is_final(fault: &Fault) -> bool {
    fault.is_sender_fault && ![429, 503].contains(&fault.status) && fault.code != "OperationAborted"
}

async fn find(cx: &Cx, source: &Bucket, copy: &Copy) -> Result<Option<(ObjectVersion, bool)>, S3Error> {
    let current = CURRENT.get(cx.store(), &(source.id, copy.key.as_str())).await?;
    if let Some(current) = current.filter(|current| current.order == copy.order) {
        return Ok(Some((current, true)));
    }
    let at = (source.id, copy.key.as_str(), Descending(copy.order));
    Ok(OLDER.get(cx.store(), &at).await?.map(|older| (older, false)))
}

async fn to_target(
    cx: &Cx,
    source: &Bucket,
    version: &ObjectVersion,
    copy: &Copy,
    target: &Target,
) -> Result<(), Fault> {
    let found = Bucket::find(cx.store(), &target.bucket).await.map_err(S3Error::from)?;
    let destination =
        found.ok_or_else(|| Fault::from(S3Error::NoSuchBucket { bucket: target.bucket.clone() }))?;
    if destination.versioning != Versioning::Enabled {
        return Err(Fault::sender("InvalidRequest", "Destination bucket must have versioning enabled."));
    }
    let as_role = cx.as_role(&copy.role, PRINCIPAL, "s3-replication").await?;
    let key = copy.key.as_str();
    let (read, write) = match copy.what {
        What::Object => ("s3:GetObjectVersionForReplication", "s3:ReplicateObject"),
        What::Marker => ("s3:GetReplicationConfiguration", "s3:ReplicateDelete"),
        What::Tags => ("s3:GetObjectVersionTagging", "s3:ReplicateTags"),
    };
    let from = if copy.what == What::Marker { source.arn() } else { source.object_arn(key) };
    as_role.authorise(api::SERVICE, &Access::new(read, from).owned_by(source.owner)).await?;
    let to = Access::new(write, destination.object_arn(key)).owned_by(destination.owner);
    as_role.authorise(api::SERVICE, &to).await?;
    let reader = cx.with_caller(Caller::root(source.owner));
    let writer = cx.with_caller(Caller::root(destination.owner)).with_region(destination.region.clone());
    let identity = Identity { order: copy.order, version_id: copy.version_id.clone() };
    match copy.what {
        What::Object => {
            let mut input = copied(&reader, source, version, copy, target).await?;
            input.bucket = Some(destination.name.clone());
            REPLICA_OF.scope(identity, writer.call(api::PUT_OBJECT, input)).await?;
        }
        What::Marker => {
            let input = api::DeleteObjectRequest {
                bucket: Some(destination.name.clone()),
                key: Some(key.to_owned()),
                ..api::DeleteObjectRequest::default()
            };
            REPLICA_OF.scope(identity, writer.call(api::DELETE_OBJECT, input)).await?;
        }
        What::Tags => {
            let tag = |(key, value): &(String, String)| api::Tag {
                key: Some(key.clone()),
                value: Some(value.clone()),
            };
            let input = api::PutObjectTaggingRequest {
                bucket: Some(destination.name.clone()),
                key: Some(key.to_owned()),
                version_id: Some(copy.version_id.clone()),
                tagging: Some(api::Tagging { tag_set: Some(version.tags.iter().map(tag).collect()) }),
                ..api::PutObjectTaggingRequest::default()
            };
            REPLICA_OF.scope(identity, writer.call(api::PUT_OBJECT_TAGGING, input)).await?;
        }
    }
    Ok(())
}

/// The request that writes the replica: the bytes and all that is said of them.
async fn copied(
    reader: &Cx,
    source: &Bucket,
    version: &ObjectVersion,
    copy: &Copy,
    target: &Target,
) -> Result<api::PutObjectRequest, Fault> {
    let input = api::GetObjectRequest {
        bucket: Some(source.name.clone()),
        key: Some(copy.key.clone()),
        version_id: Some(copy.version_id.clone()),
        ..api::GetObjectRequest::default()
    };
    let output = reader.call(api::GET_OBJECT, input).await?;
    let tags: Vec<String> =
        version.tags.iter().map(|(key, value)| format!("{}={}", form(key), form(value))).collect();
    Ok(api::PutObjectRequest {
        key: Some(copy.key.clone()),
        body: output.body,
        content_length: i64::try_from(version.size).ok(),
        content_type: output.content_type,
        content_encoding: output.content_encoding,
        content_disposition: output.content_disposition,
        content_language: output.content_language,
        cache_control: output.cache_control,
        expires: output.expires,
        website_redirect_location: output.website_redirect_location,
        metadata: output.metadata,
        checksum_algorithm: version.checksum.as_ref().map(|checksum| checksum.algorithm.clone()),
        tagging: Some(tags.join("&")).filter(|tags| !tags.is_empty()),
        storage_class: target.storage_class.clone().or_else(|| version.storage_class.clone()),
        ..api::PutObjectRequest::default()
    })
}

fn form(text: &str) -> String {
    crate::notification::record::encode_key(text).replace('/', "%2F")
}

/// Writes what became of the copy where callers see it: `x-amz-replication-status` of the source.
async fn finish(cx: &Cx, source: &Bucket, copy: &Copy, status: &'static str) -> Result<(), S3Error> {
    if copy.what == What::Marker {
        return Ok(());
    }
    cx.transact(|txn| async move {
        let key = copy.key.as_str();
        let current = CURRENT.get(&txn, &(source.id, key)).await?;
        let changed = match current.filter(|current| current.order == copy.order) {
            Some(mut current) => {
                current.replication_status = Some(status.to_owned());
                CURRENT.put(&txn, &(source.id, key), &current)?;
                Some(current)
            }
            None => {
                let at = (source.id, key, Descending(copy.order));
                let mut older = OLDER.get(&txn, &at).await?;
                if let Some(older) = &mut older {
                    older.replication_status = Some(status.to_owned());
                    OLDER.put(&txn, &at, older)?;
                }
                older
            }
        };
        if let Some(version) = changed.filter(|_| status == "FAILED") {
            let event = Event::ReplicationFailed;
            let change = ObjectChange { bucket: source, key, event, version: &version };
            effects::object_changed(cx, &txn, &change).await?;
        }
        Ok(())
    })
    .await
}
