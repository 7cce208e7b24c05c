//! What a caller of each operation must be allowed to do, and where the request belongs.
//!
//! Every check begins with the bucket: one that is not there, is another account's than expected, or lies in another region
//! than the request was signed for ends the request before any policy is asked.
//!
//! Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations"; Service Authorization Reference,
//! "Actions, resources, and condition keys for Amazon S3".

use pileus_api_s3::{CreateBucketRequest, DeleteBucketRequest, GetBucketLocationRequest, HeadBucketRequest};
use pileus_platform::{Access, Cx, Fault};

use crate::bucket::Bucket;
use crate::error::S3Error;

/// The bucket that a request is about.
///
/// # Errors
/// `NoSuchBucket`; `PermanentRedirect` for one of another region; `AccessDenied` when its owner is not the expected one.
pub async fn bucket(cx: &Cx, name: Option<&str>, expected_owner: Option<&str>) -> Result<Bucket, S3Error> {
    let bucket = anywhere(cx, name, expected_owner).await?;
    if bucket.region != *cx.region() {
        return Err(redirect(&bucket).into());
    }
    Ok(bucket)
}

/// As `bucket`, whatever region the request was signed for.
pub async fn anywhere(cx: &Cx, name: Option<&str>, expected_owner: Option<&str>) -> Result<Bucket, S3Error> {
    let bucket = Bucket::load(cx.store(), name.unwrap_or_default()).await?;
    if expected_owner.is_some_and(|expected| expected != bucket.owner.as_str()) {
        return Err(S3Error::AccessDenied);
    }
    Ok(bucket)
}

/// Source: Amazon S3 API Reference, "Error responses"; Amazon S3 User Guide, "Request redirection and the REST API".
fn redirect(bucket: &Bucket) -> Fault {
    let message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.";
    let region = bucket.region.as_str();
    Fault::framework("PermanentRedirect", 301, message)
        .with_extra("Endpoint", format!("{}.s3.{region}.amazonaws.com", bucket.name))
        .with_extra("Bucket", bucket.name.as_str())
        .with_header("x-amz-bucket-region", region)
}

/// An action on a bucket.
pub fn on_bucket(action: &'static str, bucket: &Bucket) -> Access {
    Access::new(action, bucket.arn()).owned_by(bucket.owner)
}

/// An action on an object of a bucket.
pub fn on_object(action: &'static str, bucket: &Bucket, key: &str) -> Access {
    Access::new(action, bucket.object_arn(key)).owned_by(bucket.owner)
}

/// The one action that an operation on a bucket needs: most configurations.
///
/// # Errors
/// As `bucket`.
pub async fn bucket_action(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    expected_owner: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, name, expected_owner).await?;
    Ok(vec![on_bucket(action, &bucket)])
}

pub fn create_bucket(cx: &Cx, input: &CreateBucketRequest) -> Result<Vec<Access>, Fault> {
    let name = input.bucket.as_deref().unwrap_or_default();
    let arn = format!("arn:{}:s3:::{name}", cx.region().partition());
    let constraint =
        input.create_bucket_configuration.as_ref().and_then(|it| it.location_constraint.as_deref());
    let region = constraint.unwrap_or(cx.region().as_str());
    let action = |action| Access::new(action, arn.as_str()).with("s3:locationconstraint", region);
    let mut needed = vec![action("s3:CreateBucket")];
    let grants = [
        &input.grant_full_control,
        &input.grant_read,
        &input.grant_read_acp,
        &input.grant_write,
        &input.grant_write_acp,
    ];
    if input.acl.is_some() || grants.iter().any(|grant| grant.is_some()) {
        needed.push(action("s3:PutBucketAcl"));
    }
    if input.object_lock_enabled_for_bucket == Some(true) {
        needed.push(action("s3:PutBucketObjectLockConfiguration"));
        needed.push(action("s3:PutBucketVersioning"));
    }
    if input.object_ownership.is_some() {
        needed.push(action("s3:PutBucketOwnershipControls"));
    }
    Ok(needed)
}

pub async fn head_bucket(cx: &Cx, input: &HeadBucketRequest) -> Result<Vec<Access>, Fault> {
    bucket_action(cx, "s3:ListBucket", input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await
}

pub async fn delete_bucket(cx: &Cx, input: &DeleteBucketRequest) -> Result<Vec<Access>, Fault> {
    bucket_action(cx, "s3:DeleteBucket", input.bucket.as_deref(), input.expected_bucket_owner.as_deref())
        .await
}

/// A bucket's location is told to any region.
pub async fn get_bucket_location(cx: &Cx, input: &GetBucketLocationRequest) -> Result<Vec<Access>, Fault> {
    let (name, owner) = (input.bucket.as_deref(), input.expected_bucket_owner.as_deref());
    Ok(vec![on_bucket("s3:GetBucketLocation", &anywhere(cx, name, owner).await?)])
}
