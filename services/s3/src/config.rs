//! Everything that is configured on a bucket, and S3 Control.
//!
//! | File                      | Holds                                                                       |
//! |---------------------------|-----------------------------------------------------------------------------|
//! | `config/settings.rs`      | CORS, website, tags, encryption, logging, acceleration, payer, object lock  |
//! | `config/by_id.rs`         | inventory, analytics, metrics, intelligent tiering                          |
//! | `config/versioning.rs`    | versioning and its MFA                                                      |
//! | `config/public_access.rs` | public access blocks, ownership controls                                    |
//! | `config/acl.rs`           | access control lists of buckets                                             |
//! | `config/lifecycle.rs`     | lifecycle rules                                                             |
//! | `config/replication.rs`   | replication rules                                                           |
//! | `config/notification.rs`  | notification rules                                                          |
//! | `config/stored.rs`        | how all of them are kept                                                    |

pub mod acl;
pub mod by_id;
pub mod lifecycle;
pub mod notification;
pub mod public_access;
pub mod replication;
pub mod settings;
pub mod stored;
pub mod versioning;

use std::future::Future;

use pileus_api_s3 as api;
use pileus_platform::store::Txn;
use pileus_platform::{Access, Cx, Fault, Service};
use pileus_wire::value::Unit;

use crate::bucket::Bucket;
use crate::error::S3Error;
use crate::{access, background, hot, known, policy, select, website};

pub const MALFORMED_XML: &str =
    "The XML you provided was not well-formed or did not validate against our published schema";

/// Changes a bucket in a transaction. `body` stores what it changes.
pub async fn change<F, Fut>(cx: &Cx, bucket: Option<&str>, body: F) -> Result<Unit, S3Error>
where
    F: Fn(Txn, Bucket) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), S3Error>> + Send,
{
    let body = &body;
    cx.transact(|txn| async move {
        let bucket = Bucket::load(&txn, bucket.unwrap_or_default()).await?;
        body(txn, bucket).await
    })
    .await?;
    Ok(Unit)
}

/// There is none of this on the bucket.
pub fn missing(code: &'static str, message: &'static str, bucket: &str) -> S3Error {
    S3Error::refused(code, 404, message).with("BucketName", bucket)
}

/// What a pure check refused.
pub fn refuse((code, message): (&'static str, String)) -> S3Error {
    match code {
        "MalformedXML" => S3Error::MalformedXml,
        "InvalidRequest" => S3Error::invalid(message),
        "NotImplemented" => S3Error::refused(code, 501, message),
        _ => S3Error::refused(code, 400, message),
    }
}

/// Operations on a bucket that need one action on it.
macro_rules! on_bucket {
    ($service:ident, $($operation:ident $request:ident $action:literal $handler:path;)*) => {{
        let mut service = $service;
        $({
            async fn needed(cx: &Cx, input: &api::$request) -> Result<Vec<Access>, Fault> {
                let (name, owner) = (input.bucket.as_deref(), input.expected_bucket_owner.as_deref());
                access::bucket_action(cx, $action, name, owner).await
            }
            service = service.op(api::$operation, $handler).access_async(api::$operation, needed);
        })*
        service
    }};
}

/// Adds the operations of bucket configurations.
pub fn operations(service: Service) -> Service {
    let service = service
        .state(policy::Compiled::default())
        .state(known::Buckets::default())
        .state(hot::Objects::default())
        .resource_policy(policy::resource_policy)
        .op(api::PUT_BUCKET_REPLICATION, replication::put_bucket_replication)
        .access_async(api::PUT_BUCKET_REPLICATION, replication::needed);
    website::serve::add(background::add(select::add(by_id(rules(settings(service))))))
}

/// Adds the operations of S3 Control.
pub fn control(service: Service) -> Service {
    crate::control::add(service)
}

fn settings(service: Service) -> Service {
    on_bucket! { service,
        PUT_BUCKET_VERSIONING PutBucketVersioningRequest "s3:PutBucketVersioning" versioning::put_bucket_versioning;
        GET_BUCKET_VERSIONING GetBucketVersioningRequest "s3:GetBucketVersioning" versioning::get_bucket_versioning;
        PUT_BUCKET_POLICY PutBucketPolicyRequest "s3:PutBucketPolicy" policy::put_bucket_policy;
        GET_BUCKET_POLICY GetBucketPolicyRequest "s3:GetBucketPolicy" policy::get_bucket_policy;
        DELETE_BUCKET_POLICY DeleteBucketPolicyRequest "s3:DeleteBucketPolicy" policy::delete_bucket_policy;
        GET_BUCKET_POLICY_STATUS GetBucketPolicyStatusRequest "s3:GetBucketPolicyStatus"
            policy::get_bucket_policy_status;
        PUT_PUBLIC_ACCESS_BLOCK PutPublicAccessBlockRequest "s3:PutBucketPublicAccessBlock"
            public_access::put_public_access_block;
        GET_PUBLIC_ACCESS_BLOCK GetPublicAccessBlockRequest "s3:GetBucketPublicAccessBlock"
            public_access::get_public_access_block;
        DELETE_PUBLIC_ACCESS_BLOCK DeletePublicAccessBlockRequest "s3:PutBucketPublicAccessBlock"
            public_access::delete_public_access_block;
        PUT_BUCKET_OWNERSHIP_CONTROLS PutBucketOwnershipControlsRequest "s3:PutBucketOwnershipControls"
            public_access::put_bucket_ownership_controls;
        GET_BUCKET_OWNERSHIP_CONTROLS GetBucketOwnershipControlsRequest "s3:GetBucketOwnershipControls"
            public_access::get_bucket_ownership_controls;
        DELETE_BUCKET_OWNERSHIP_CONTROLS DeleteBucketOwnershipControlsRequest "s3:PutBucketOwnershipControls"
            public_access::delete_bucket_ownership_controls;
        PUT_BUCKET_ACL PutBucketAclRequest "s3:PutBucketAcl" acl::put_bucket_acl;
        GET_BUCKET_ACL GetBucketAclRequest "s3:GetBucketAcl" acl::get_bucket_acl;
        PUT_BUCKET_CORS PutBucketCorsRequest "s3:PutBucketCORS" settings::put_bucket_cors;
        GET_BUCKET_CORS GetBucketCorsRequest "s3:GetBucketCORS" settings::get_bucket_cors;
        DELETE_BUCKET_CORS DeleteBucketCorsRequest "s3:PutBucketCORS" settings::delete_bucket_cors;
        PUT_BUCKET_WEBSITE PutBucketWebsiteRequest "s3:PutBucketWebsite" settings::put_bucket_website;
        GET_BUCKET_WEBSITE GetBucketWebsiteRequest "s3:GetBucketWebsite" settings::get_bucket_website;
        DELETE_BUCKET_WEBSITE DeleteBucketWebsiteRequest "s3:DeleteBucketWebsite" settings::delete_bucket_website;
        PUT_BUCKET_TAGGING PutBucketTaggingRequest "s3:PutBucketTagging" settings::put_bucket_tagging;
        GET_BUCKET_TAGGING GetBucketTaggingRequest "s3:GetBucketTagging" settings::get_bucket_tagging;
        DELETE_BUCKET_TAGGING DeleteBucketTaggingRequest "s3:PutBucketTagging" settings::delete_bucket_tagging;
        PUT_BUCKET_ENCRYPTION PutBucketEncryptionRequest "s3:PutEncryptionConfiguration"
            settings::put_bucket_encryption;
        GET_BUCKET_ENCRYPTION GetBucketEncryptionRequest "s3:GetEncryptionConfiguration"
            settings::get_bucket_encryption;
        DELETE_BUCKET_ENCRYPTION DeleteBucketEncryptionRequest "s3:PutEncryptionConfiguration"
            settings::delete_bucket_encryption;
        PUT_BUCKET_LOGGING PutBucketLoggingRequest "s3:PutBucketLogging" settings::put_bucket_logging;
        GET_BUCKET_LOGGING GetBucketLoggingRequest "s3:GetBucketLogging" settings::get_bucket_logging;
        PUT_BUCKET_ACCELERATE_CONFIGURATION PutBucketAccelerateConfigurationRequest "s3:PutAccelerateConfiguration"
            settings::put_bucket_accelerate_configuration;
        GET_BUCKET_ACCELERATE_CONFIGURATION GetBucketAccelerateConfigurationRequest "s3:GetAccelerateConfiguration"
            settings::get_bucket_accelerate_configuration;
        PUT_BUCKET_REQUEST_PAYMENT PutBucketRequestPaymentRequest "s3:PutBucketRequestPayment"
            settings::put_bucket_request_payment;
        GET_BUCKET_REQUEST_PAYMENT GetBucketRequestPaymentRequest "s3:GetBucketRequestPayment"
            settings::get_bucket_request_payment;
        PUT_OBJECT_LOCK_CONFIGURATION PutObjectLockConfigurationRequest "s3:PutBucketObjectLockConfiguration"
            settings::put_object_lock_configuration;
        GET_OBJECT_LOCK_CONFIGURATION GetObjectLockConfigurationRequest "s3:GetBucketObjectLockConfiguration"
            settings::get_object_lock_configuration;
    }
}

fn rules(service: Service) -> Service {
    on_bucket! { service,
        PUT_BUCKET_LIFECYCLE_CONFIGURATION PutBucketLifecycleConfigurationRequest "s3:PutLifecycleConfiguration"
            lifecycle::put_bucket_lifecycle_configuration;
        GET_BUCKET_LIFECYCLE_CONFIGURATION GetBucketLifecycleConfigurationRequest "s3:GetLifecycleConfiguration"
            lifecycle::get_bucket_lifecycle_configuration;
        DELETE_BUCKET_LIFECYCLE DeleteBucketLifecycleRequest "s3:PutLifecycleConfiguration"
            lifecycle::delete_bucket_lifecycle;
        GET_BUCKET_REPLICATION GetBucketReplicationRequest "s3:GetReplicationConfiguration"
            replication::get_bucket_replication;
        DELETE_BUCKET_REPLICATION DeleteBucketReplicationRequest "s3:PutReplicationConfiguration"
            replication::delete_bucket_replication;
        PUT_BUCKET_NOTIFICATION_CONFIGURATION PutBucketNotificationConfigurationRequest "s3:PutBucketNotification"
            notification::put_bucket_notification_configuration;
        GET_BUCKET_NOTIFICATION_CONFIGURATION GetBucketNotificationConfigurationRequest "s3:GetBucketNotification"
            notification::get_bucket_notification_configuration;
    }
}

fn by_id(service: Service) -> Service {
    on_bucket! { service,
        PUT_BUCKET_INVENTORY_CONFIGURATION PutBucketInventoryConfigurationRequest "s3:PutInventoryConfiguration"
            by_id::put_bucket_inventory_configuration;
        GET_BUCKET_INVENTORY_CONFIGURATION GetBucketInventoryConfigurationRequest "s3:GetInventoryConfiguration"
            by_id::get_bucket_inventory_configuration;
        DELETE_BUCKET_INVENTORY_CONFIGURATION DeleteBucketInventoryConfigurationRequest
            "s3:PutInventoryConfiguration" by_id::delete_bucket_inventory_configuration;
        LIST_BUCKET_INVENTORY_CONFIGURATIONS ListBucketInventoryConfigurationsRequest
            "s3:GetInventoryConfiguration" by_id::list_bucket_inventory_configurations;
        PUT_BUCKET_ANALYTICS_CONFIGURATION PutBucketAnalyticsConfigurationRequest "s3:PutAnalyticsConfiguration"
            by_id::put_bucket_analytics_configuration;
        GET_BUCKET_ANALYTICS_CONFIGURATION GetBucketAnalyticsConfigurationRequest "s3:GetAnalyticsConfiguration"
            by_id::get_bucket_analytics_configuration;
        DELETE_BUCKET_ANALYTICS_CONFIGURATION DeleteBucketAnalyticsConfigurationRequest
            "s3:PutAnalyticsConfiguration" by_id::delete_bucket_analytics_configuration;
        LIST_BUCKET_ANALYTICS_CONFIGURATIONS ListBucketAnalyticsConfigurationsRequest
            "s3:GetAnalyticsConfiguration" by_id::list_bucket_analytics_configurations;
        PUT_BUCKET_METRICS_CONFIGURATION PutBucketMetricsConfigurationRequest "s3:PutMetricsConfiguration"
            by_id::put_bucket_metrics_configuration;
        GET_BUCKET_METRICS_CONFIGURATION GetBucketMetricsConfigurationRequest "s3:GetMetricsConfiguration"
            by_id::get_bucket_metrics_configuration;
        DELETE_BUCKET_METRICS_CONFIGURATION DeleteBucketMetricsConfigurationRequest "s3:PutMetricsConfiguration"
            by_id::delete_bucket_metrics_configuration;
        LIST_BUCKET_METRICS_CONFIGURATIONS ListBucketMetricsConfigurationsRequest "s3:GetMetricsConfiguration"
            by_id::list_bucket_metrics_configurations;
        PUT_BUCKET_INTELLIGENT_TIERING_CONFIGURATION PutBucketIntelligentTieringConfigurationRequest
            "s3:PutIntelligentTieringConfiguration" by_id::put_bucket_intelligent_tiering_configuration;
        GET_BUCKET_INTELLIGENT_TIERING_CONFIGURATION GetBucketIntelligentTieringConfigurationRequest
            "s3:GetIntelligentTieringConfiguration" by_id::get_bucket_intelligent_tiering_configuration;
        DELETE_BUCKET_INTELLIGENT_TIERING_CONFIGURATION DeleteBucketIntelligentTieringConfigurationRequest
            "s3:PutIntelligentTieringConfiguration" by_id::delete_bucket_intelligent_tiering_configuration;
        LIST_BUCKET_INTELLIGENT_TIERING_CONFIGURATIONS ListBucketIntelligentTieringConfigurationsRequest
            "s3:GetIntelligentTieringConfiguration" by_id::list_bucket_intelligent_tiering_configurations;
    }
}
