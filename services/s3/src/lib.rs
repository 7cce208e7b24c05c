//! Amazon S3, and S3 Control.
//!
//! | File | Holds |
//! |------|-------|
//! | `bucket.rs` | `CreateBucket`, `HeadBucket`, `ListBuckets`, `DeleteBucket`, `GetBucketLocation`; `bucket/name.rs`: names, pure |
//! | `object/put.rs`, `get.rs`, `copy.rs`, `delete.rs` | `PutObject`, `GetObject`, `HeadObject`, `CopyObject`, `DeleteObject`, `DeleteObjects` |
//! | `object/new.rs`, `write.rs`, `range.rs` | what a request says of a new object; the rows of one key; ranges |
//! | `object/tagging.rs`, `lock.rs`, `lists.rs`, `attributes.rs`, `restore.rs` | tags, retention and legal hold, access control lists, `GetObjectAttributes`, `RestoreObject` |
//! | `post.rs` | `PostObject`: uploads by a browser's form |
//! | `multipart/` | multipart uploads |
//! | `list/` | listings |
//! | `data.rs`, `encryption.rs` | the bytes of objects, and their encryption at rest |
//! | `checksum.rs`, `condition.rs` | checksums and conditions of requests: pure |
//! | `sweep.rs`, `scrub.rs` | what is removed behind the scenes; `pileus scrub` |
//! | `version.rs` | a version of an object as it is stored: pure |
//! | `access.rs` | what a caller must be allowed to do |
//! | `effects.rs` | what a change of an object or a bucket causes: called inside the change's transaction |
//! | `owner.rs` | canonical user ids: pure |
//! | `config.rs`, `config/` | everything that is configured on a bucket |
//! | `known.rs`, `hot.rs` | kept in memory: decoded rows of buckets; small objects that are read often |
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
mod hot;
mod inventory;
mod keys;
mod known;
mod lifecycle;
mod list;
mod logging;
mod multipart;
mod notification;
mod object;
mod owner;
mod policy;
mod post;
mod replication;
pub mod scrub;
mod select;
mod sweep;
mod version;
mod website;

use pileus_api_s3 as api;
use pileus_platform::{Access, Service};

use crate::access::{listing, version as needed};
use crate::multipart::{complete, part, upload};
use crate::object::{attributes, copy, delete, get, lists as acls, lock, put, restore, tagging};

pub use crate::error::S3Error;

/// S3 as this node answers it.
pub fn service() -> Service {
    config::operations(versions(uploads(lists(objects(buckets(Service::new(api::SERVICE)))))))
        .worker("s3-work", sweep::work)
        .worker("s3-sweeper", sweep::sweep)
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

fn lists(service: Service) -> Service {
    service
        .op(api::LIST_OBJECTS, list::objects::list_objects)
        .access_async(api::LIST_OBJECTS, listing::list_objects)
        .op(api::LIST_OBJECTS_V2, list::objects::list_objects_v2)
        .access_async(api::LIST_OBJECTS_V2, listing::list_objects_v2)
        .op(api::LIST_OBJECT_VERSIONS, list::versions::list_object_versions)
        .access_async(api::LIST_OBJECT_VERSIONS, listing::list_object_versions)
        .op(api::LIST_MULTIPART_UPLOADS, list::uploads::list_multipart_uploads)
        .access_async(api::LIST_MULTIPART_UPLOADS, listing::list_multipart_uploads)
}

fn uploads(service: Service) -> Service {
    service
        .op(api::CREATE_MULTIPART_UPLOAD, upload::create_multipart_upload)
        .access_async(api::CREATE_MULTIPART_UPLOAD, listing::create_multipart_upload)
        .op(api::UPLOAD_PART, part::upload_part)
        .access_async(api::UPLOAD_PART, listing::upload_part)
        .op(api::UPLOAD_PART_COPY, part::upload_part_copy)
        .access_async(api::UPLOAD_PART_COPY, listing::upload_part_copy)
        .op(api::LIST_PARTS, part::list_parts)
        .access_async(api::LIST_PARTS, listing::list_parts)
        .op(api::COMPLETE_MULTIPART_UPLOAD, complete::complete_multipart_upload)
        .access_async(api::COMPLETE_MULTIPART_UPLOAD, listing::complete_multipart_upload)
        .op(api::ABORT_MULTIPART_UPLOAD, upload::abort_multipart_upload)
        .access_async(api::ABORT_MULTIPART_UPLOAD, listing::abort_multipart_upload)
}

fn versions(service: Service) -> Service {
    service
        // The form says who signed, so the operation itself asks whether they may.
        .op(api::POST_OBJECT, post::post_object)
        .access(api::POST_OBJECT, |_, _| Ok(Vec::new()))
        .op(api::GET_OBJECT_ATTRIBUTES, attributes::get_object_attributes)
        .access_async(api::GET_OBJECT_ATTRIBUTES, needed::get_object_attributes)
        .op(api::PUT_OBJECT_TAGGING, tagging::put_object_tagging)
        .access_async(api::PUT_OBJECT_TAGGING, needed::put_object_tagging)
        .op(api::GET_OBJECT_TAGGING, tagging::get_object_tagging)
        .access_async(api::GET_OBJECT_TAGGING, needed::get_object_tagging)
        .op(api::DELETE_OBJECT_TAGGING, tagging::delete_object_tagging)
        .access_async(api::DELETE_OBJECT_TAGGING, needed::delete_object_tagging)
        .op(api::PUT_OBJECT_RETENTION, lock::put_object_retention)
        .access_async(api::PUT_OBJECT_RETENTION, needed::put_object_retention)
        .op(api::GET_OBJECT_RETENTION, lock::get_object_retention)
        .access_async(api::GET_OBJECT_RETENTION, needed::get_object_retention)
        .op(api::PUT_OBJECT_LEGAL_HOLD, lock::put_object_legal_hold)
        .access_async(api::PUT_OBJECT_LEGAL_HOLD, needed::put_object_legal_hold)
        .op(api::GET_OBJECT_LEGAL_HOLD, lock::get_object_legal_hold)
        .access_async(api::GET_OBJECT_LEGAL_HOLD, needed::get_object_legal_hold)
        .op(api::PUT_OBJECT_ACL, acls::put_object_acl)
        .access_async(api::PUT_OBJECT_ACL, needed::put_object_acl)
        .op(api::GET_OBJECT_ACL, acls::get_object_acl)
        .access_async(api::GET_OBJECT_ACL, needed::get_object_acl)
        .op(api::RESTORE_OBJECT, restore::restore_object)
        .access_async(api::RESTORE_OBJECT, needed::restore_object)
}
