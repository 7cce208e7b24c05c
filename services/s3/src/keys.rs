//! Every key that S3 writes, its value, and who ranges over it.
//!
//! | Table | Key | Value | Ranged over by |
//! |---|---|---|---|
//! | `BUCKETS` | name | the bucket: names are unique in the whole cloud | |
//! | `OWNED` | owner, name | what `ListBuckets` tells of it | `ListBuckets` |
//! | `CURRENT` | bucket, key | the current version, unless it is a delete marker | `ListObjects`, `ListObjectsV2` |
//! | `OLDER` | bucket, key, newest first | noncurrent versions, and delete markers | `ListObjectVersions`, deletes |
//! | `NULLS` | bucket, key | order of the null version where it is in `OLDER` | |
//! | `BYTES` | bucket, id | the bytes of an object of at most 64 KiB, encrypted | |
//! | `LAYOUT` | layout, ordinal | which blobs hold an object of many parts | reads of such objects |
//! | `BLOBS` | blob | whose blob it is | orphan sweep, scrub |
//! | `UPLOADS` | bucket, key, upload | a multipart upload in progress | `ListMultipartUploads` |
//! | `PARTS` | upload, number | a part | `ListParts`, `CompleteMultipartUpload` |
//! | `WORK` | due rows | blobs and rows to remove | sweeper |
//!
//! Kept beside what they are about:
//!
//! | Table | In | Key | Value | Ranged over by |
//! |---|---|---|---|---|
//! | `CONFIGURATIONS` | `config/stored.rs` | bucket, kind, id | a configuration | lists of those with ids, `DeleteBucket` |
//! | `ACCOUNT_BLOCKS` | `config/public_access.rs` | account | its public access block | |
//! | `ACCESS_POINTS`, `ALIASES` | `control/access_point.rs` | account, region, name; alias | access points | `ListAccessPoints` |
//! | `JOBS`, `TOKENS` | `control/job.rs` | account, region, id; token | batch jobs | `ListJobs` |
//! | `WATCHED` | `lifecycle.rs` | bucket | how far its rules are carried out | lifecycle worker |
//! | `INVENTORIES` | `inventory/worker.rs` | bucket, id | the day of the latest one | inventory worker |
//! | `LOGGED` | `logging.rs` | bucket | that it is logged | log writer |
//! | `EFFECTS` | `background.rs` | due rows | events, replicas, steps of jobs | their runner |
//!
//! Buckets are kept under numbers of their own: a bucket that is deleted and made again is another one.

use bytes::Bytes;
use pileus_core::AccountId;
use pileus_store::due::Due;
use pileus_store::key::Descending;
use pileus_store::{KeyBuilder, Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, OwnedBucket};
use crate::data::{BlobOwner, LayoutRow};
use crate::multipart::part::Part;
use crate::multipart::upload::Upload;
use crate::version::{ObjectVersion, StoredId};

pub const BUCKETS: Table<String, Bucket> = Table::new(Space::Meta, *b"Sb");
pub const OWNED: Table<(AccountId, String), OwnedBucket> = Table::new(Space::Meta, *b"So");
pub const CURRENT: Table<(u64, String), ObjectVersion> = Table::new(Space::Object, *b"Sc");
pub const OLDER: Table<(u64, String, Descending), ObjectVersion> = Table::new(Space::Object, *b"Sv");
pub const LAYOUT: Table<(StoredId, u32), LayoutRow> = Table::new(Space::Object, *b"Sl");
pub const UPLOADS: Table<(u64, String, String), Upload> = Table::new(Space::Object, *b"Su");
pub const PARTS: Table<(StoredId, u32), Part> = Table::new(Space::Object, *b"Sp");
pub const BLOBS: Table<String, BlobOwner> = Table::new(Space::Index, *b"Sr");
pub const NULLS: Table<(u64, String), NullAt> = Table::new(Space::Object, *b"Sn");

/// What a change here causes later: removal of bytes and rows that nobody refers to any more.
pub const WORK: Due = Due::new(Space::Queue, *b"Sw", "s3-work");

/// Where the bytes of a small object lie, in `Space::Items`.
pub fn bytes(bucket: u64, id: &StoredId) -> Bytes {
    KeyBuilder::new().raw(b"Sd").u64(bucket).raw(id).build()
}

/// The order of the null version of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NullAt {
    pub order: u64,
}

impl Stored for NullAt {}
