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
mod background;
mod bucket;
mod checksum;
mod condition;
mod config;
mod control;
mod cors;
mod data;
mod edge;
mod effects;
mod encryption;
mod error;
mod inventory;
mod keys;
mod lifecycle;
mod logging;
mod notification;
mod object;
mod owner;
mod policy;
mod replication;
mod version;
mod website;

use pileus_api_s3 as api;
use pileus_platform::{Access, Service};

use crate::object::{copy, delete, get, put};

pub use crate::error::S3Error;

/// S3 as this node answers it.
pub fn service() -> Service {
    config::operations(objects(buckets(Service::new(api::SERVICE))))
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

fn objects(service: Service) -> Service {
    service
        .op(api::PUT_OBJECT, put::put_object)
        .access_async(api::PUT_OBJECT, access::put_object)
        .op(api::GET_OBJECT, get::get_object)
        .access_async(api::GET_OBJECT, access::get_object)
        .op(api::HEAD_OBJECT, get::head_object)
        .access_async(api::HEAD_OBJECT, access::head_object)
        .op(api::COPY_OBJECT, copy::copy_object)
        .access_async(api::COPY_OBJECT, access::copy_object)
        .op(api::DELETE_OBJECT, delete::delete_object)
        .access_async(api::DELETE_OBJECT, access::delete_object)
        .op(api::DELETE_OBJECTS, delete::delete_objects)
        .access_async(api::DELETE_OBJECTS, access::delete_objects)
}
