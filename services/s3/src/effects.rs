//! What a change causes: notifications, replication, defaults of a new bucket. Called inside the transaction of the change, so
//! it only reads and writes; what must happen elsewhere is written as work to be done after the commit.

use pileus_api_s3::CreateBucketRequest;
use pileus_platform::Cx;
use pileus_platform::store::Txn;

use crate::bucket::Bucket;
use crate::config::{acl as lists, stored};
use crate::error::S3Error;
use crate::lifecycle;
use crate::version::ObjectVersion;

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
    let _ = (cx, txn, change);
    Ok(Outcome::default())
}

/// What the caller of `object_changed` is to write into the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `x-amz-replication-status` of the new version.
    pub replication_status: Option<&'static str>,
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
    stored::delete_all(txn, bucket).await
}
