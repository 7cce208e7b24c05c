//! What a change causes: notifications, replication, defaults of a new bucket. Called inside the transaction of the change, so
//! it only reads and writes; what must happen elsewhere is written as work to be done after the commit.

use pileus_api_s3::{CreateBucketRequest, NotificationConfiguration};
use pileus_platform::store::Txn;
use pileus_platform::{CallerKind, Cx};
use pileus_store::due::NewJob;

use crate::background::{EFFECTS, EVENT, Queued};
use crate::bucket::{Bucket, Configured};
use crate::config::{acl as lists, stored};
use crate::error::S3Error;
use crate::logging::LOGGED;
use crate::notification::delivery::{self, Source};
use crate::notification::{record, rules};
use crate::version::ObjectVersion;
use crate::{lifecycle, owner, replication};

/// What happened to an object. The text is that of the event: `ObjectCreated:Put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    CreatedPut,
    CreatedPost,
    CreatedCopy,
    CreatedByMultipartUpload,
    /// A version is gone for good.
    RemovedDelete,
    /// A delete marker hides the object now.
    RemovedByMarker,
    TaggingPut,
    TaggingDelete,
    AclPut,
    /// An archived object is asked for, and is there again.
    RestorePost,
    RestoreCompleted,
    /// By a lifecycle rule.
    ExpiredDelete,
    ExpiredByMarker,
    Transitioned,
    ReplicationFailed,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Event::CreatedPut => "ObjectCreated:Put",
            Event::CreatedPost => "ObjectCreated:Post",
            Event::CreatedCopy => "ObjectCreated:Copy",
            Event::CreatedByMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Event::RemovedDelete => "ObjectRemoved:Delete",
            Event::RemovedByMarker => "ObjectRemoved:DeleteMarkerCreated",
            Event::TaggingPut => "ObjectTagging:Put",
            Event::TaggingDelete => "ObjectTagging:Delete",
            Event::AclPut => "ObjectAcl:Put",
            Event::RestorePost => "ObjectRestore:Post",
            Event::RestoreCompleted => "ObjectRestore:Completed",
            Event::ExpiredDelete => "LifecycleExpiration:Delete",
            Event::ExpiredByMarker => "LifecycleExpiration:DeleteMarkerCreated",
            Event::Transitioned => "LifecycleTransition",
            Event::ReplicationFailed => "Replication:OperationFailedReplication",
        }
    }
}

/// A change of one object.
#[derive(Debug, Clone, Copy)]
pub struct ObjectChange<'a> {
    pub bucket: &'a Bucket,
    pub key: &'a str,
    pub event: Event,
    /// The version that was made, removed or changed, as it is after (removed: before) the change.
    pub version: &'a ObjectVersion,
}

/// Every change of an object comes by here, in its transaction, before the version is written: what is changed in `version` by
/// the answer (such as its replication status) is written with it.
pub async fn object_changed(cx: &Cx, txn: &Txn, change: &ObjectChange<'_>) -> Result<Outcome, S3Error> {
    let mut outcome = Outcome::default();
    if change.bucket.has(Configured::Notification) {
        // Nothing lies elsewhere here: what is asked for is there at once.
        if change.event == Event::RestoreCompleted {
            tell(cx, txn, &ObjectChange { event: Event::RestorePost, ..*change }).await?;
        }
        tell(cx, txn, change).await?;
    }
    if change.bucket.has(Configured::Replication) && !is_lifecycle(cx) {
        outcome.replication_status = replication::queue(cx, txn, change).await?;
    }
    if let Some(identity) = replication::source() {
        outcome.replication_status = Some("REPLICA");
        outcome.identity = Some(identity);
    }
    Ok(outcome)
}

/// Writes an event for each rule that wants it. The bucket's row is read in the same transaction and is written whenever its
/// rules change, so the rules need no check of their own.
async fn tell(cx: &Cx, txn: &Txn, change: &ObjectChange<'_>) -> Result<(), S3Error> {
    let ObjectChange { bucket, key, version, .. } = *change;
    let event = told(cx, change.event);
    let found = stored::find::<NotificationConfiguration>(&txn.untracked(), bucket).await?;
    let configuration = found.unwrap_or_default();
    let name = format!("s3:{}", event.name());
    for rule in rules::rules(&configuration).filter(|rule| rule.wants(&name, key)) {
        let queued = Queued {
            from: Source::of(bucket),
            kind: rule.kind,
            arn: rule.arn.to_owned(),
            configuration_id: rule.id.to_owned(),
            event: described(cx, change),
        };
        let payload = serde_json::to_vec(&queued).map_err(|error| S3Error::Internal(error.to_string()))?;
        let id = format!("{}/{}", cx.request_id(), cx.ids().hex(16));
        let job = NewJob {
            kind: EVENT,
            id: &id,
            due: cx.now(),
            destination: rule.arn,
            payload: payload.as_slice(),
        };
        EFFECTS.add(txn, &job)?;
        tracing::trace!(bucket = %bucket.name, key, version = version.version_text(), "an event was queued");
    }
    Ok(())
}

/// Whether a lifecycle rule does this.
fn is_lifecycle(cx: &Cx) -> bool {
    matches!(cx.caller().kind, CallerKind::Service { principal: lifecycle::worker::PRINCIPAL })
}

/// Removals by lifecycle rules have names of their own.
fn told(cx: &Cx, event: Event) -> Event {
    match event {
        Event::RemovedDelete if is_lifecycle(cx) => Event::ExpiredDelete,
        Event::RemovedByMarker if is_lifecycle(cx) => Event::ExpiredByMarker,
        other => other,
    }
}

fn described(cx: &Cx, change: &ObjectChange<'_>) -> record::Event {
    let ObjectChange { bucket, key, version, .. } = *change;
    let event = told(cx, change.event);
    let caller = cx.caller();
    let was_created = event.name().starts_with("ObjectCreated") || event.name().starts_with("ObjectRestore");
    let nanos = u64::try_from(cx.now().as_millis()).unwrap_or(0).saturating_mul(1_000_000);
    record::Event {
        name: event.name().to_owned(),
        time: cx.now(),
        region: bucket.region.as_str().to_owned(),
        bucket: bucket.name.clone(),
        owner: owner::canonical_id(bucket.owner).chars().take(14).collect::<String>().to_ascii_uppercase(),
        key: key.to_owned(),
        size: was_created.then_some(version.size),
        etag: match version.is_delete_marker {
            true => Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            false => (change.event != Event::RemovedDelete).then(|| version.etag.clone()),
        },
        version_id: version.version_id.clone(),
        // Later changes of a key have greater ones, also the removal of a version.
        sequencer: format!("{:018X}", version.order.max(nanos)),
        principal: format!("AWS:{}", caller.user_id),
        source_ip: cx.origin().source_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        request_id: cx.request_id().to_owned(),
        host_id: delivery::host_id(cx),
    }
}

/// What the caller of `object_changed` is to write into the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `x-amz-replication-status` of the new version.
    pub replication_status: Option<&'static str>,
    /// The version is a replica, and keeps the id and the place of its source.
    pub identity: Option<replication::Identity>,
}

/// A bucket was made: what is configured on it from the start. `bucket` may be changed.
pub async fn bucket_created(
    cx: &Cx,
    txn: &Txn,
    bucket: &mut Bucket,
    request: &CreateBucketRequest,
) -> Result<(), S3Error> {
    let _ = cx;
    lists::of_new_bucket(txn, bucket, request)
}

/// A bucket was deleted: its configurations go with it.
pub async fn bucket_deleted(txn: &Txn, bucket: &Bucket) -> Result<(), S3Error> {
    lifecycle::unwatch(txn, bucket);
    LOGGED.delete(txn, &bucket.id);
    stored::delete_all(txn, bucket).await
}
