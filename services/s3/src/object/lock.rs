//! `PutObjectRetention`, `GetObjectRetention`, `PutObjectLegalHold`, `GetObjectLegalHold`
//!
//! Source: Amazon S3 API Reference, "PutObjectRetention", "PutObjectLegalHold"; Amazon S3 User Guide, "Locking objects with Object
//! Lock". Recorded: the sentences.

use pileus_api_s3::{
    GetObjectLegalHoldOutput, GetObjectLegalHoldRequest, GetObjectRetentionOutput, GetObjectRetentionRequest,
    ObjectLockLegalHold, ObjectLockRetention, PutObjectLegalHoldOutput, PutObjectLegalHoldRequest,
    PutObjectRetentionOutput, PutObjectRetentionRequest,
};
use pileus_platform::{Cx, Timestamp};

use crate::bucket::Bucket;
use crate::error::S3Error;
use crate::object::change::{Named, change};
use crate::object::delete::bypass;
use crate::object::get;
use crate::object::new::{key, retention};
use crate::object::write::Bypass;
use crate::version::{Retention, RetentionMode};

fn check_bucket(bucket: &Bucket) -> Result<(), S3Error> {
    match bucket.has_object_lock {
        true => Ok(()),
        false => Err(S3Error::invalid("Bucket is missing Object Lock Configuration")),
    }
}

/// Whether a version's retention may become another.
///
/// # Errors
/// `AccessDenied` for a shorter or weaker one while the present one holds.
fn may_become(
    present: Option<Retention>,
    new: Option<Retention>,
    now: Timestamp,
    bypass: Bypass,
) -> Result<(), S3Error> {
    let Some(present) = present.filter(|present| present.until > now) else { return Ok(()) };
    let is_longer = new.is_some_and(|new| new.until >= present.until);
    let is_firm = new.is_some_and(|new| new.mode == RetentionMode::Compliance || new.mode == present.mode);
    let may_pass = present.mode == RetentionMode::Governance && bypass == Bypass::Governance;
    if (is_longer && is_firm) || may_pass {
        return Ok(());
    }
    Err(S3Error::refused("AccessDenied", 403, "Access Denied because object protected by object lock."))
}

/// `PutObjectRetention`: an empty document removes the retention.
pub async fn put_object_retention(
    cx: &Cx,
    input: PutObjectRetentionRequest,
) -> Result<PutObjectRetentionOutput, S3Error> {
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    let asked = input.retention.clone().unwrap_or_default();
    if asked.event_hold.is_some() || asked.event_hold_duration.is_some() {
        return Err(S3Error::lacking("EventHold"));
    }
    let new = match (asked.mode.as_deref(), asked.retain_until_date) {
        (Some(mode), Some(until)) if RetentionMode::parse(mode).is_some() => {
            Some(retention(mode, until, cx.now())?)
        }
        (None, None) => None,
        _ => return Err(S3Error::MalformedXml),
    };
    let bypass = bypass(input.bypass_governance_retention);
    change(cx, &named, &[], |bucket, version| {
        check_bucket(bucket)?;
        may_become(version.retention, new, cx.now(), bypass)?;
        version.retention = new;
        Ok(())
    })
    .await?;
    Ok(PutObjectRetentionOutput::default())
}

fn no_lock() -> S3Error {
    S3Error::refused(
        "NoSuchObjectLockConfiguration",
        404,
        "The specified object does not have a ObjectLock configuration",
    )
}

/// `GetObjectRetention`
pub async fn get_object_retention(
    cx: &Cx,
    input: GetObjectRetentionRequest,
) -> Result<GetObjectRetentionOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    check_bucket(&bucket)?;
    let key = key(input.key.as_deref())?;
    let version = get::load(cx, &bucket, key, input.version_id.as_deref(), "GET").await?;
    let retention = version.retention.ok_or_else(no_lock)?;
    let shown = ObjectLockRetention {
        mode: Some(retention.mode.as_str().to_owned()),
        retain_until_date: Some(retention.until),
        ..ObjectLockRetention::default()
    };
    Ok(GetObjectRetentionOutput { retention: Some(shown) })
}

/// `PutObjectLegalHold`
pub async fn put_object_legal_hold(
    cx: &Cx,
    input: PutObjectLegalHoldRequest,
) -> Result<PutObjectLegalHoldOutput, S3Error> {
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    let hold = match input.legal_hold.as_ref().and_then(|hold| hold.status.as_deref()) {
        Some("ON") => true,
        Some("OFF") => false,
        _ => return Err(S3Error::MalformedXml),
    };
    change(cx, &named, &[], |bucket, version| {
        check_bucket(bucket)?;
        version.legal_hold = Some(hold);
        Ok(())
    })
    .await?;
    Ok(PutObjectLegalHoldOutput::default())
}

/// `GetObjectLegalHold`
pub async fn get_object_legal_hold(
    cx: &Cx,
    input: GetObjectLegalHoldRequest,
) -> Result<GetObjectLegalHoldOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    check_bucket(&bucket)?;
    let key = key(input.key.as_deref())?;
    let version = get::load(cx, &bucket, key, input.version_id.as_deref(), "GET").await?;
    let hold = version.legal_hold.ok_or_else(no_lock)?;
    let status = if hold { "ON" } else { "OFF" };
    Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status: Some(status.to_owned()) }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_grows_and_does_not_shrink() {
        use RetentionMode::{Compliance, Governance};
        let of = |mode, until| Some(Retention { mode, until: Timestamp::from_secs(until) });
        let cases = [
            ("first", None, of(Governance, 10), Bypass::No, true),
            ("longer", of(Governance, 100), of(Governance, 110), Bypass::No, true),
            ("shorter", of(Governance, 100), of(Governance, 90), Bypass::No, false),
            ("shorter with bypass", of(Governance, 100), of(Governance, 90), Bypass::Governance, true),
            ("none with bypass", of(Governance, 100), None, Bypass::Governance, true),
            ("firmer", of(Governance, 100), of(Compliance, 100), Bypass::No, true),
            ("weaker", of(Compliance, 100), of(Governance, 200), Bypass::Governance, false),
            ("shorter compliance", of(Compliance, 100), of(Compliance, 90), Bypass::Governance, false),
            ("ended", of(Compliance, 40), None, Bypass::No, true),
        ];
        for (name, present, new, bypass, may) in cases {
            assert_eq!(may_become(present, new, Timestamp::from_secs(50), bypass).is_ok(), may, "{name}");
        }
    }
}
