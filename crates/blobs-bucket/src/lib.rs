//! Large objects in a bucket of S3's protocol: for a cloud whose nodes share a database and no disk.
//!
//! | Object                            | Is                                                                       |
//! |-----------------------------------|--------------------------------------------------------------------------|
//! | `blobs/{area}/{shard}/{name}`     | a blob: its bytes, or none where they lie apart; it exists when this does |
//! | `parts/{area}/{shard}/{chance}`   | the bytes of a blob of more than `PART`, uploaded before its name was known |
//! | `owner`                           | whose bucket (or folder of one) it is: two clouds would sweep each other's |
//!
//! | File         | Holds                                              |
//! |--------------|----------------------------------------------------|
//! | `url.rs`     | `BucketUrl`: `s3://bucket/folder?endpoint=..`        |
//! | `bucket.rs`  | `Bucket`, the backend                               |
//! | `upload.rs`  | a blob on its way                                   |

mod bucket;
mod upload;
mod url;

pub use bucket::{Bucket, ClaimError};
pub use url::{BucketUrl, UrlError};

#[cfg(test)]
mod tests;
