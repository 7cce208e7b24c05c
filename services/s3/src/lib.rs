//! Amazon S3, and S3 Control.
//!
//! | File | Holds |
//! |------|-------|
//! | `bucket.rs` | `CreateBucket`, `HeadBucket`, `ListBuckets`, `DeleteBucket`, `GetBucketLocation`; `bucket/name.rs`: names, pure |
//! | `version.rs` | a version of an object as it is stored: pure |
//! | `access.rs` | what a caller must be allowed to do |
//! | `effects.rs` | what a change of an object or a bucket causes: called inside the change's transaction |
//! | `owner.rs` | canonical user ids: pure |
//! | `config.rs`, `config/` | everything that is configured on a bucket |
//! | `keys.rs`, `error.rs` | every key we write; every error a caller can see |
//!
//! Where we differ from AWS, and why: `docs/services/s3.md`.

mod access;
mod acl;
mod bucket;
mod config;
mod control;
mod cors;
mod effects;
mod error;
mod inventory;
mod keys;
mod lifecycle;
mod notification;
mod owner;
mod policy;
mod replication;
mod version;
mod website;

use pileus_api_s3 as api;
use pileus_platform::{Access, Service};

pub use crate::error::S3Error;

/// S3 as this node answers it.
pub fn service() -> Service {
    config::operations(buckets(Service::new(api::SERVICE)))
}

/// S3 Control: accounts' settings, access points, batch jobs.
pub fn control() -> Service {
    config::control(Service::new(pileus_api_s3control::SERVICE))
}

fn buckets(service: Service) -> Service {
    service
        .op(api::CREATE_BUCKET, bucket::create_bucket)
        .access(api::CREATE_BUCKET, access::create_bucket)
        .op(api::HEAD_BUCKET, bucket::head_bucket)
        .access_async(api::HEAD_BUCKET, access::head_bucket)
        .op(api::LIST_BUCKETS, bucket::list_buckets)
        .access(api::LIST_BUCKETS, |_, _| Ok(vec![Access::any("s3:ListAllMyBuckets")]))
        .op(api::DELETE_BUCKET, bucket::delete_bucket)
        .access_async(api::DELETE_BUCKET, access::delete_bucket)
        .op(api::GET_BUCKET_LOCATION, bucket::get_bucket_location)
        .access_async(api::GET_BUCKET_LOCATION, access::get_bucket_location)
}
