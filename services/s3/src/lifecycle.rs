//! Lifecycle: what a bucket's rules remove and move, and the worker that does it.
//!
//! | File                  | Holds                                                  |
//! |-----------------------|--------------------------------------------------------|
//! | `lifecycle/rules.rs`  | what the rules say of an object: pure                  |
//! | `lifecycle/worker.rs` | who carries them out, once a day on the movable clock  |

pub mod rules;
pub mod worker;

use pileus_api_s3::{BucketLifecycleConfiguration, LifecycleRule};
use pileus_core::Timestamp;
use pileus_platform::store::Txn;
use pileus_store::{Reader, Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Configured};
use crate::config::stored;
use crate::error::S3Error;
use crate::version::ObjectVersion;

/// Buckets with lifecycle rules, by their number. Ranged over by the worker.
pub const WATCHED: Table<u64, Watched> = Table::new(Space::Meta, *b"Sl");

/// How far the worker has come with a bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub bucket: String,
    /// `varies_by_storage_class`: small objects move to the archive classes.
    #[serde(default)]
    pub moves_small: bool,
    /// The day (since 1970) whose pass is done; rules are judged by midnights.
    #[serde(default)]
    pub done_day: i64,
    /// Changes with every change of the rules.
    #[serde(default)]
    pub generation: i64,
    /// The day that the pass that is going on was begun for.
    #[serde(default)]
    pub cursor_day: i64,
    /// Where it stands.
    #[serde(default)]
    pub cursor: Option<Cursor>,
}

impl Stored for Watched {}

/// What a pass looks at next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Cursor {
    /// Current versions after this key.
    Current(String),
    /// Older versions and delete markers of keys after this one.
    Older(String),
    /// Uploads after this key and upload.
    Uploads(String),
}

/// The worker begins anew with a bucket: its rules have changed.
pub fn watch(txn: &Txn, bucket: &Bucket, moves_small: bool, now: Timestamp) -> Result<(), S3Error> {
    let generation = now.as_millis();
    let watched = Watched { bucket: bucket.name.clone(), moves_small, generation, ..Watched::default() };
    WATCHED.put(txn, &bucket.id, &watched)?;
    txn.notify(worker::TOPIC);
    Ok(())
}

pub fn unwatch(txn: &Txn, bucket: &Bucket) {
    WATCHED.delete(txn, &bucket.id);
}

/// Whether the bucket's rules also move objects below 128 KiB to the archive classes.
pub async fn moves_small_objects(reader: &impl Reader, bucket: &Bucket) -> Result<bool, S3Error> {
    Ok(WATCHED.get(reader, &bucket.id).await?.is_some_and(|watched| watched.moves_small))
}

async fn rules_of(reader: &impl Reader, bucket: &Bucket) -> Result<Vec<LifecycleRule>, S3Error> {
    let found = stored::find::<BucketLifecycleConfiguration>(reader, bucket).await?;
    Ok(found.and_then(|found| found.rules).unwrap_or_default())
}

/// `x-amz-expiration` of a current version; `None`, without a read, when the bucket has no rules.
pub async fn expiration(
    reader: &impl Reader,
    bucket: &Bucket,
    key: &str,
    version: &ObjectVersion,
) -> Result<Option<String>, S3Error> {
    if !bucket.has(Configured::Lifecycle) || version.noncurrent_since.is_some() {
        return Ok(None);
    }
    let subject = rules::Subject {
        key,
        size: version.size,
        tags: &version.tags,
        storage_class: version.storage_class(),
        modified: version.modified,
    };
    Ok(rules::expiration_header(&rules_of(reader, bucket).await?, subject))
}

/// `x-amz-abort-date` and `x-amz-abort-rule-id` of an upload.
pub async fn abortion(
    reader: &impl Reader,
    bucket: &Bucket,
    key: &str,
    initiated: Timestamp,
) -> Result<Option<(Timestamp, String)>, S3Error> {
    if !bucket.has(Configured::Lifecycle) {
        return Ok(None);
    }
    Ok(rules::abort_headers(&rules_of(reader, bucket).await?, key, initiated))
}
