//! What reading and changing a version in its place needs.

use pileus_api_s3::{
    DeleteObjectTaggingRequest, GetObjectAclRequest, GetObjectAttributesRequest, GetObjectLegalHoldRequest,
    GetObjectRetentionRequest, GetObjectTaggingRequest, PutObjectAclRequest, PutObjectLegalHoldRequest,
    PutObjectRetentionRequest, PutObjectTaggingRequest, RestoreObjectRequest,
};
use pileus_platform::{Access, Cx, Fault};

use super::{bucket, existing, on_object, with_request_tags};
use crate::object::tagging;

macro_rules! simple {
    ($($name:ident $request:ident $action:literal $of_version:literal;)*) => {$(
        pub async fn $name(cx: &Cx, input: &$request) -> Result<Vec<Access>, Fault> {
            let bucket =
                bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
            let (key, version) = (input.key.as_deref().unwrap_or_default(), input.version_id.as_deref());
            Ok(vec![existing(cx, &bucket, key, $action, $of_version, version).await?])
        }
    )*};
}

simple! {
    get_object_tagging GetObjectTaggingRequest "s3:GetObjectTagging" "s3:GetObjectVersionTagging";
    delete_object_tagging DeleteObjectTaggingRequest "s3:DeleteObjectTagging" "s3:DeleteObjectVersionTagging";
    get_object_acl GetObjectAclRequest "s3:GetObjectAcl" "s3:GetObjectVersionAcl";
    get_object_legal_hold GetObjectLegalHoldRequest "s3:GetObjectLegalHold" "s3:GetObjectLegalHold";
    get_object_retention GetObjectRetentionRequest "s3:GetObjectRetention" "s3:GetObjectRetention";
    restore_object RestoreObjectRequest "s3:RestoreObject" "s3:RestoreObject";
}

pub async fn put_object_tagging(cx: &Cx, input: &PutObjectTaggingRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let (key, version) = (input.key.as_deref().unwrap_or_default(), input.version_id.as_deref());
    let access =
        existing(cx, &bucket, key, "s3:PutObjectTagging", "s3:PutObjectVersionTagging", version).await?;
    let tags = tagging::read(input.tagging.as_ref()).unwrap_or_default();
    Ok(vec![with_request_tags(access, &tags)])
}

pub async fn put_object_acl(cx: &Cx, input: &PutObjectAclRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let (key, version) = (input.key.as_deref().unwrap_or_default(), input.version_id.as_deref());
    let mut access = existing(cx, &bucket, key, "s3:PutObjectAcl", "s3:PutObjectVersionAcl", version).await?;
    let keys = [
        ("s3:x-amz-acl", &input.acl),
        ("s3:x-amz-grant-full-control", &input.grant_full_control),
        ("s3:x-amz-grant-read", &input.grant_read),
        ("s3:x-amz-grant-read-acp", &input.grant_read_acp),
        ("s3:x-amz-grant-write", &input.grant_write),
        ("s3:x-amz-grant-write-acp", &input.grant_write_acp),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            access = access.with(key, value.as_str());
        }
    }
    Ok(vec![access])
}

/// Attributes are of the object, and of its contents.
pub async fn get_object_attributes(
    cx: &Cx,
    input: &GetObjectAttributesRequest,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let (key, version) = (input.key.as_deref().unwrap_or_default(), input.version_id.as_deref());
    Ok(vec![
        existing(cx, &bucket, key, "s3:GetObject", "s3:GetObjectVersion", version).await?,
        existing(cx, &bucket, key, "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", version)
            .await?,
    ])
}

pub async fn put_object_legal_hold(cx: &Cx, input: &PutObjectLegalHoldRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let access = on_object("s3:PutObjectLegalHold", &bucket, input.key.as_deref().unwrap_or_default());
    let status = input.legal_hold.as_ref().and_then(|hold| hold.status.as_deref());
    Ok(vec![match status {
        Some(status) => access.with("s3:object-lock-legal-hold", status),
        None => access,
    }])
}

pub async fn put_object_retention(cx: &Cx, input: &PutObjectRetentionRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let key = input.key.as_deref().unwrap_or_default();
    let mut access = on_object("s3:PutObjectRetention", &bucket, key);
    if let Some(retention) = &input.retention {
        if let Some(mode) = &retention.mode {
            access = access.with("s3:object-lock-mode", mode.as_str());
        }
        if let Some(until) = retention.retain_until_date {
            let days = until.since(cx.now()).as_secs() / 86_400;
            access = access
                .with("s3:object-lock-retain-until-date", until.to_iso8601())
                .with("s3:object-lock-remaining-retention-days", days.to_string());
        }
    }
    let mut needed = vec![access];
    if input.bypass_governance_retention == Some(true) {
        needed.push(on_object("s3:BypassGovernanceRetention", &bucket, key));
    }
    Ok(needed)
}
