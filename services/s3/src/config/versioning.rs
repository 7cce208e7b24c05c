//! `PutBucketVersioning`, `GetBucketVersioning`, and the code of a device that guards deletions.
//!
//! Source: Amazon S3 API Reference, "PutBucketVersioning", "GetBucketVersioning"; Amazon S3 User Guide, "Configuring MFA delete".

use pileus_api_s3 as api;
use pileus_platform::{CallerKind, Cx, MfaCheck};
use pileus_wire::value::Unit;

use super::change;
use crate::bucket::{Bucket, Configured, Versioning};
use crate::error::S3Error;

/// `PutBucketVersioning`
pub async fn put_bucket_versioning(cx: &Cx, input: api::PutBucketVersioningRequest) -> Result<Unit, S3Error> {
    let given = &input.versioning_configuration.unwrap_or_default();
    let versioning = match given.status.as_deref() {
        Some("Enabled") => Some(Versioning::Enabled),
        Some("Suspended") => Some(Versioning::Suspended),
        Some(_) => return Err(S3Error::MalformedXml),
        None => None,
    };
    let mfa_delete = match given.mfa_delete.as_deref() {
        Some("Enabled") => Some(true),
        Some("Disabled") => Some(false),
        Some(_) => return Err(S3Error::MalformedXml),
        None => None,
    };
    let Some(versioning) = versioning else {
        return Err(S3Error::refused(
            "IllegalVersioningConfigurationException",
            400,
            "The Versioning element must be specified",
        ));
    };
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let wants_mfa = mfa_delete.is_some_and(|wanted| wanted != bucket.has_mfa_delete);
    if wants_mfa || bucket.has_mfa_delete {
        check_mfa(cx, input.mfa.as_deref()).await?;
    }
    let bucket = input.bucket.as_deref();
    change(cx, bucket, |txn, mut bucket| async move {
        let state = |message: &'static str| S3Error::refused("InvalidBucketState", 409, message);
        if versioning == Versioning::Suspended {
            if bucket.has_object_lock {
                return Err(state(
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                ));
            }
            if bucket.has(Configured::Replication) {
                return Err(state(
                    "A replication configuration is present on this bucket, so you cannot change the versioning state. To change the versioning state, first delete the replication configuration.",
                ));
            }
        }
        bucket.versioning = versioning;
        bucket.has_mfa_delete = mfa_delete.unwrap_or(bucket.has_mfa_delete);
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// `GetBucketVersioning`
pub async fn get_bucket_versioning(
    cx: &Cx,
    input: api::GetBucketVersioningRequest,
) -> Result<api::GetBucketVersioningOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let status = match bucket.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some("Enabled".to_owned()),
        Versioning::Suspended => Some("Suspended".to_owned()),
    };
    let mfa_delete = bucket.has_mfa_delete.then(|| "Enabled".to_owned());
    Ok(api::GetBucketVersioningOutput { status, mfa_delete })
}

/// Takes `x-amz-mfa`: a device's serial number (or ARN), a space, and a code that it shows. Only the root user has this right.
///
/// # Errors
/// `AccessDenied` without a code, for a wrong one, and for everyone but the root user.
pub async fn check_mfa(cx: &Cx, header: Option<&str>) -> Result<(), S3Error> {
    let denied = |message: &'static str| S3Error::refused("AccessDenied", 403, message);
    let needed = "Mfa Authentication must be used for this request";
    let Some((serial, code)) = header.and_then(|header| header.trim().rsplit_once(' ')) else {
        return Err(denied(needed));
    };
    let caller = cx.caller();
    if caller.kind != CallerKind::Root || caller.session.is_some() {
        return Err(denied("This operation may only be performed by the bucket owner"));
    }
    match cx.platform().identities().verify_mfa(caller, serial.trim(), code, cx.now()).await? {
        MfaCheck::Accepted => Ok(()),
        MfaCheck::WrongCode | MfaCheck::NoSuchDevice => Err(denied(needed)),
    }
}
