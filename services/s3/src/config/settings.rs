//! Configurations of which a bucket has one, and which say all in themselves: CORS, website, tags, encryption, logging, acceleration,
//! who pays, and object lock.
//!
//! Source: Amazon S3 API Reference, the pages of the operations. Recorded: the sentences.

use pileus_api_s3 as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::Unit;

use super::stored::{self, Configuration};
use super::{change, missing, refuse};
use crate::bucket::{Bucket, Configured, Versioning};
use crate::error::S3Error;
use crate::logging::{LOGGED, Lines, Logged};
use crate::version::{Retention, RetentionMode};
use crate::{acl, cors, website};

/// Keeps a checked configuration.
async fn put<C: Configuration>(cx: &Cx, bucket: Option<&str>, value: Option<C>) -> Result<Unit, S3Error> {
    let value = &value.ok_or(S3Error::MalformedXml)?;
    change(cx, bucket, |txn, mut bucket| async move {
        stored::put(&txn, &mut bucket, "", value)?;
        Ok(bucket.store(&txn)?)
    })
    .await
}

async fn delete(cx: &Cx, bucket: Option<&str>, kind: Configured) -> Result<Unit, S3Error> {
    change(cx, bucket, |txn, mut bucket| async move {
        if bucket.has(kind) {
            stored::delete(&txn, &mut bucket, kind);
            bucket.store(&txn)?;
        }
        Ok(())
    })
    .await
}

async fn get<C: Configuration>(cx: &Cx, bucket: Option<&str>) -> Result<(Bucket, Option<C>), S3Error> {
    let bucket = Bucket::load(cx.store(), bucket.unwrap_or_default()).await?;
    let found = stored::find(cx.store(), &bucket).await?;
    Ok((bucket, found))
}

/// `PutBucketCors`
pub async fn put_bucket_cors(cx: &Cx, input: api::PutBucketCorsRequest) -> Result<Unit, S3Error> {
    let given = input.cors_configuration.ok_or(S3Error::MalformedXml)?;
    cors::check(given.cors_rules.as_deref().unwrap_or_default()).map_err(refuse)?;
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketCors`
pub async fn get_bucket_cors(
    cx: &Cx,
    input: api::GetBucketCorsRequest,
) -> Result<api::GetBucketCorsOutput, S3Error> {
    let (bucket, found) = get::<api::CORSConfiguration>(cx, input.bucket.as_deref()).await?;
    let found = found.ok_or_else(|| {
        missing("NoSuchCORSConfiguration", "The CORS configuration does not exist", &bucket.name)
    })?;
    Ok(api::GetBucketCorsOutput { cors_rules: found.cors_rules })
}

/// `DeleteBucketCors`
pub async fn delete_bucket_cors(cx: &Cx, input: api::DeleteBucketCorsRequest) -> Result<Unit, S3Error> {
    delete(cx, input.bucket.as_deref(), Configured::Cors).await
}

/// `PutBucketWebsite`
pub async fn put_bucket_website(cx: &Cx, input: api::PutBucketWebsiteRequest) -> Result<Unit, S3Error> {
    let given = input.website_configuration.ok_or(S3Error::MalformedXml)?;
    website::route::check(&given).map_err(refuse)?;
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketWebsite`
pub async fn get_bucket_website(
    cx: &Cx,
    input: api::GetBucketWebsiteRequest,
) -> Result<api::GetBucketWebsiteOutput, S3Error> {
    let (bucket, found) = get::<api::WebsiteConfiguration>(cx, input.bucket.as_deref()).await?;
    let found = found.ok_or_else(|| {
        missing(
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
            &bucket.name,
        )
    })?;
    Ok(api::GetBucketWebsiteOutput {
        redirect_all_requests_to: found.redirect_all_requests_to,
        index_document: found.index_document,
        error_document: found.error_document,
        routing_rules: found.routing_rules,
    })
}

/// `DeleteBucketWebsite`
pub async fn delete_bucket_website(cx: &Cx, input: api::DeleteBucketWebsiteRequest) -> Result<Unit, S3Error> {
    delete(cx, input.bucket.as_deref(), Configured::Website).await
}

/// `PutBucketTagging`
pub async fn put_bucket_tagging(cx: &Cx, input: api::PutBucketTaggingRequest) -> Result<Unit, S3Error> {
    let given = input.tagging.ok_or(S3Error::MalformedXml)?;
    check_tags(given.tag_set.as_deref().unwrap_or_default(), 50)?;
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketTagging`
pub async fn get_bucket_tagging(
    cx: &Cx,
    input: api::GetBucketTaggingRequest,
) -> Result<api::GetBucketTaggingOutput, S3Error> {
    let (bucket, found) = get::<api::Tagging>(cx, input.bucket.as_deref()).await?;
    let found = found.filter(|tags| tags.tag_set.as_ref().is_some_and(|set| !set.is_empty()));
    let found = found.ok_or_else(|| missing("NoSuchTagSet", "The TagSet does not exist", &bucket.name))?;
    Ok(api::GetBucketTaggingOutput { tag_set: found.tag_set })
}

/// `DeleteBucketTagging`
pub async fn delete_bucket_tagging(cx: &Cx, input: api::DeleteBucketTaggingRequest) -> Result<Unit, S3Error> {
    delete(cx, input.bucket.as_deref(), Configured::Tagging).await
}

/// # Errors
/// `InvalidTag`, `BadRequest` for too many.
pub fn check_tags(tags: &[api::Tag], most: usize) -> Result<(), S3Error> {
    let invalid = |message: &'static str| Err(S3Error::refused("InvalidTag", 400, message));
    if tags.len() > most {
        let message = format!("Bucket tag count cannot be greater than {most}");
        return Err(S3Error::refused("BadRequest", 400, message));
    }
    let is_fine = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
    for (at, tag) in tags.iter().enumerate() {
        let (key, value) = (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref());
        let Some(value) = value else { return Err(S3Error::MalformedXml) };
        if key.is_empty() || key.chars().count() > 128 || !is_fine(key) {
            return invalid("The TagKey you have provided is invalid");
        }
        if value.chars().count() > 256 || !is_fine(value) {
            return invalid("The TagValue you have provided is invalid");
        }
        if key.starts_with("aws:") {
            return invalid("System tags cannot be added/updated by requester");
        }
        if tags[..at].iter().any(|other| other.key.as_deref() == Some(key)) {
            return invalid("Cannot provide multiple Tags with the same key");
        }
    }
    Ok(())
}

/// `PutBucketEncryption`
pub async fn put_bucket_encryption(cx: &Cx, input: api::PutBucketEncryptionRequest) -> Result<Unit, S3Error> {
    let given = input.server_side_encryption_configuration.ok_or(S3Error::MalformedXml)?;
    let [rule] = given.rules.as_deref().unwrap_or_default() else { return Err(S3Error::MalformedXml) };
    if rule.blocked_encryption_types.is_some() {
        return Err(S3Error::lacking("BlockedEncryptionTypes"));
    }
    let default = rule.apply_server_side_encryption_by_default.as_ref();
    match default.and_then(|default| default.sse_algorithm.as_deref()) {
        Some("AES256") if default.is_some_and(|default| default.kms_master_key_id.is_some()) => {
            let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
            return Err(S3Error::argument("ApplyServerSideEncryptionByDefault", "null", message));
        }
        Some("AES256") => {}
        Some(other @ ("aws:kms" | "aws:kms:dsse")) => {
            return Err(S3Error::lacking(format!("encryption by {other}")));
        }
        _ => return Err(S3Error::MalformedXml),
    }
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketEncryption`: every bucket has one.
pub async fn get_bucket_encryption(
    cx: &Cx,
    input: api::GetBucketEncryptionRequest,
) -> Result<api::GetBucketEncryptionOutput, S3Error> {
    let (_, found) = get::<api::ServerSideEncryptionConfiguration>(cx, input.bucket.as_deref()).await?;
    let mut found = found.unwrap_or_else(|| api::ServerSideEncryptionConfiguration {
        rules: Some(vec![api::ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(api::ServerSideEncryptionByDefault {
                sse_algorithm: Some("AES256".to_owned()),
                kms_master_key_id: None,
            }),
            ..api::ServerSideEncryptionRule::default()
        }]),
    });
    for rule in found.rules.iter_mut().flatten() {
        rule.bucket_key_enabled.get_or_insert(false);
    }
    Ok(api::GetBucketEncryptionOutput { server_side_encryption_configuration: Some(found) })
}

/// `DeleteBucketEncryption`: back to the default.
pub async fn delete_bucket_encryption(
    cx: &Cx,
    input: api::DeleteBucketEncryptionRequest,
) -> Result<Unit, S3Error> {
    delete(cx, input.bucket.as_deref(), Configured::Encryption).await
}

/// `PutBucketLogging`; an empty status switches it off.
pub async fn put_bucket_logging(cx: &Cx, input: api::PutBucketLoggingRequest) -> Result<Unit, S3Error> {
    let given = &input.bucket_logging_status.ok_or(S3Error::MalformedXml)?;
    let refused = |message: &'static str| S3Error::refused("InvalidTargetBucketForLogging", 400, message);
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        let Some(enabled) = &given.logging_enabled else {
            stored::delete(&txn, &mut bucket, Configured::Logging);
            LOGGED.delete(&txn, &bucket.id);
            return Ok(bucket.store(&txn)?);
        };
        let name = enabled.target_bucket.as_deref().ok_or(S3Error::MalformedXml)?;
        let Some(target) = Bucket::find(&txn, name).await? else {
            return Err(refused("The target bucket for logging does not exist").with("TargetBucket", name));
        };
        if target.owner != bucket.owner {
            return Err(refused("The owner for the bucket to be logged and the target bucket must be the same."));
        }
        if target.region != bucket.region {
            let message = "Cross S3 location logging not allowed.";
            return Err(S3Error::refused("CrossLocationLoggingProhibitted", 403, message)
                .with("TargetBucketLocation", target.region.as_str()));
        }
        for grant in enabled.target_grants.iter().flatten() {
            if target.ownership == crate::bucket::Ownership::BucketOwnerEnforced {
                return Err(refused("The target bucket has Object Ownership set to bucket owner enforced, and takes no target grants"));
            }
            let as_list = api::AccessControlPolicy {
                grants: Some(vec![api::Grant {
                    grantee: grant.grantee.clone(),
                    permission: grant.permission.clone(),
                }]),
                owner: Some(crate::owner::owner(bucket.owner)),
            };
            let owner = crate::owner::canonical_id(bucket.owner);
            acl::check(&as_list, acl::Of::Object, &owner).map_err(super::acl::refused)?;
        }
        stored::put(&txn, &mut bucket, "", given)?;
        LOGGED.put(&txn, &bucket.id, &Logged { bucket: bucket.name.clone() })?;
        Ok(bucket.store(&txn)?)
    })
    .await?;
    cx.state::<Lines>().want();
    Ok(Unit)
}

/// `GetBucketLogging`
pub async fn get_bucket_logging(
    cx: &Cx,
    input: api::GetBucketLoggingRequest,
) -> Result<api::GetBucketLoggingOutput, S3Error> {
    let (_, found) = get::<api::BucketLoggingStatus>(cx, input.bucket.as_deref()).await?;
    Ok(api::GetBucketLoggingOutput { logging_enabled: found.and_then(|found| found.logging_enabled) })
}

/// `PutBucketAccelerateConfiguration`
pub async fn put_bucket_accelerate_configuration(
    cx: &Cx,
    input: api::PutBucketAccelerateConfigurationRequest,
) -> Result<Unit, S3Error> {
    let given = input.accelerate_configuration.ok_or(S3Error::MalformedXml)?;
    if !matches!(given.status.as_deref(), Some("Enabled" | "Suspended")) {
        return Err(S3Error::MalformedXml);
    }
    if input.bucket.as_deref().unwrap_or_default().contains('.') {
        return Err(S3Error::invalid(
            "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names",
        ));
    }
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketAccelerateConfiguration`
pub async fn get_bucket_accelerate_configuration(
    cx: &Cx,
    input: api::GetBucketAccelerateConfigurationRequest,
) -> Result<api::GetBucketAccelerateConfigurationOutput, S3Error> {
    let (_, found) = get::<api::AccelerateConfiguration>(cx, input.bucket.as_deref()).await?;
    let status = found.and_then(|found| found.status);
    Ok(api::GetBucketAccelerateConfigurationOutput { status, request_charged: None })
}

/// `PutBucketRequestPayment`
pub async fn put_bucket_request_payment(
    cx: &Cx,
    input: api::PutBucketRequestPaymentRequest,
) -> Result<Unit, S3Error> {
    let given = input.request_payment_configuration.ok_or(S3Error::MalformedXml)?;
    if !matches!(given.payer.as_deref(), Some("Requester" | "BucketOwner")) {
        return Err(S3Error::MalformedXml);
    }
    put(cx, input.bucket.as_deref(), Some(given)).await
}

/// `GetBucketRequestPayment`
pub async fn get_bucket_request_payment(
    cx: &Cx,
    input: api::GetBucketRequestPaymentRequest,
) -> Result<api::GetBucketRequestPaymentOutput, S3Error> {
    let (_, found) = get::<api::RequestPaymentConfiguration>(cx, input.bucket.as_deref()).await?;
    let payer = found.and_then(|found| found.payer).unwrap_or_else(|| "BucketOwner".to_owned());
    Ok(api::GetBucketRequestPaymentOutput { payer: Some(payer) })
}

/// `PutObjectLockConfiguration`; also switches object lock on for a bucket with versioning.
pub async fn put_object_lock_configuration(
    cx: &Cx,
    input: api::PutObjectLockConfigurationRequest,
) -> Result<api::PutObjectLockConfigurationOutput, S3Error> {
    let given = &input.object_lock_configuration.ok_or(S3Error::MalformedXml)?;
    if given.object_lock_enabled.as_deref() != Some("Enabled") {
        return Err(S3Error::MalformedXml);
    }
    if let Some(rule) = &given.rule {
        let default = rule.default_retention.as_ref().ok_or(S3Error::MalformedXml)?;
        if default.default_event_hold.is_some() {
            return Err(S3Error::lacking("DefaultEventHold"));
        }
        default.mode.as_deref().and_then(RetentionMode::parse).ok_or(S3Error::MalformedXml)?;
        match (default.days, default.years) {
            (Some(_), Some(_)) | (None, None) => return Err(S3Error::MalformedXml),
            (Some(count), None) | (None, Some(count)) if count <= 0 => {
                return Err(S3Error::argument(
                    "Days",
                    count.to_string(),
                    "Default retention period must be a positive integer value.",
                ));
            }
            (Some(36_501..), None) | (None, Some(101..)) => {
                return Err(S3Error::argument(
                    "Days",
                    "",
                    "Default retention period too large: maximum is 100 years.",
                ));
            }
            _ => {}
        }
    }
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        if bucket.versioning != Versioning::Enabled {
            let message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
            return Err(S3Error::refused("InvalidBucketState", 409, message));
        }
        bucket.has_object_lock = true;
        stored::put(&txn, &mut bucket, "", given)?;
        Ok(bucket.store(&txn)?)
    })
    .await?;
    Ok(api::PutObjectLockConfigurationOutput::default())
}

/// `GetObjectLockConfiguration`
pub async fn get_object_lock_configuration(
    cx: &Cx,
    input: api::GetObjectLockConfigurationRequest,
) -> Result<api::GetObjectLockConfigurationOutput, S3Error> {
    let (bucket, found) = get::<api::ObjectLockConfiguration>(cx, input.bucket.as_deref()).await?;
    if !bucket.has_object_lock {
        let message = "Object Lock configuration does not exist for this bucket";
        return Err(missing("ObjectLockConfigurationNotFoundError", message, &bucket.name));
    }
    let found = found.unwrap_or_else(|| api::ObjectLockConfiguration {
        object_lock_enabled: Some("Enabled".to_owned()),
        rule: None,
    });
    Ok(api::GetObjectLockConfigurationOutput { object_lock_configuration: Some(found) })
}

/// The retention that a new version gets when its request names none.
pub async fn default_retention(
    reader: &impl Reader,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Option<Retention>, S3Error> {
    let found = stored::find::<api::ObjectLockConfiguration>(reader, bucket).await?;
    let default = found.and_then(|found| found.rule).and_then(|rule| rule.default_retention);
    let Some(default) = default else { return Ok(None) };
    let days = default.days.or_else(|| default.years.map(|years| years.saturating_mul(365))).unwrap_or(0);
    let until = Timestamp::new(now.as_secs().saturating_add(days.saturating_mul(86_400)), now.subsec_nanos());
    Ok(default.mode.as_deref().and_then(RetentionMode::parse).map(|mode| Retention { mode, until }))
}
