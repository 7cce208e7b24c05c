//! What a caller of each operation must be allowed to do, and where the request belongs.
//!
//! Every check begins with the bucket: one that is not there, is another account's than expected, or lies in another region
//! than the request was signed for ends the request before any policy is asked.
//!
//! Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations"; Service Authorization Reference,
//! "Actions, resources, and condition keys for Amazon S3".

pub mod listing;
pub mod version;

use std::sync::Arc;

use pileus_api_s3::{
    CopyObjectRequest, CreateBucketRequest, DeleteBucketRequest, DeleteObjectRequest, DeleteObjectsRequest,
    GetBucketLocationRequest, GetObjectRequest, HeadBucketRequest, HeadObjectRequest, PutObjectRequest,
};
use pileus_platform::{Access, Cx, Fault, Timestamp};

use crate::acl::Headers as AclHeaders;
use crate::bucket::{Bucket, Configured};
use crate::error::S3Error;
use crate::object::copy::CopySource;
use crate::object::delete::bypass;
use crate::object::new::tags_of_header;
use crate::object::write::{Bypass, find_version};
use crate::{hot, known};

/// The bucket that a request is about.
///
/// # Errors
/// `NoSuchBucket`; `PermanentRedirect` for one of another region; `AccessDenied` when its owner is not the expected one.
pub async fn bucket(
    cx: &Cx,
    name: Option<&str>,
    expected_owner: Option<&str>,
) -> Result<Arc<Bucket>, S3Error> {
    let bucket = anywhere(cx, name, expected_owner).await?;
    // Who neither signs for a region nor sends to one's host is answered wherever the bucket is.
    if bucket.region != *cx.region() && (cx.origin().has_region || cx.origin().host.is_empty()) {
        return Err(redirect(&bucket).into());
    }
    Ok(bucket)
}

/// As `bucket`, whatever region the request was signed for.
pub async fn anywhere(
    cx: &Cx,
    name: Option<&str>,
    expected_owner: Option<&str>,
) -> Result<Arc<Bucket>, S3Error> {
    let name = name.unwrap_or_default();
    let found = known::find(cx, name).await?;
    let bucket = found.ok_or_else(|| S3Error::NoSuchBucket { bucket: name.to_owned() })?;
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
    let arn = bucket.via.clone().unwrap_or_else(|| bucket.arn());
    Access::new(action, arn).owned_by(bucket.owner)
}

/// An action on an object of a bucket.
pub fn on_object(action: &'static str, bucket: &Bucket, key: &str) -> Access {
    let arn = match &bucket.via {
        Some(point) => format!("{point}/object/{key}"),
        None => bucket.object_arn(key),
    };
    Access::new(action, arn).owned_by(bucket.owner)
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
    let bucket = anywhere(cx, name, owner).await?;
    Ok(vec![on_bucket("s3:GetBucketLocation", &bucket)])
}

/// The permissions that an operation on one object needs, with what the request says of it as condition keys.
pub async fn get_object(cx: &Cx, input: &GetObjectRequest) -> Result<Vec<Access>, Fault> {
    let of =
        Target::of(input.bucket.as_deref(), input.expected_bucket_owner.as_deref(), input.key.as_deref());
    of.read(cx, "s3:GetObject", "s3:GetObjectVersion", input.version_id.as_deref()).await
}

pub async fn head_object(cx: &Cx, input: &HeadObjectRequest) -> Result<Vec<Access>, Fault> {
    let of =
        Target::of(input.bucket.as_deref(), input.expected_bucket_owner.as_deref(), input.key.as_deref());
    of.read(cx, "s3:GetObject", "s3:GetObjectVersion", input.version_id.as_deref()).await
}

/// An object that a request names.
pub struct Target<'a> {
    bucket: Option<&'a str>,
    expected_owner: Option<&'a str>,
    key: &'a str,
}

impl<'a> Target<'a> {
    pub fn of(bucket: Option<&'a str>, expected_owner: Option<&'a str>, key: Option<&'a str>) -> Target<'a> {
        Target { bucket, expected_owner, key: key.unwrap_or_default() }
    }

    /// One action on the object, another on a version of it; the object's tags are condition keys.
    ///
    /// # Errors
    /// As `bucket`.
    pub async fn read(
        &self,
        cx: &Cx,
        action: &'static str,
        of_version: &'static str,
        version: Option<&str>,
    ) -> Result<Vec<Access>, Fault> {
        let bucket = bucket(cx, self.bucket, self.expected_owner).await?;
        Ok(vec![existing(cx, &bucket, self.key, action, of_version, version).await?])
    }
}

/// An action on an object that may be there: its tags are condition keys.
pub async fn existing(
    cx: &Cx,
    bucket: &Bucket,
    key: &str,
    action: &'static str,
    of_version: &'static str,
    version: Option<&str>,
) -> Result<Access, S3Error> {
    let mut access = match version {
        None => on_object(action, bucket, key),
        Some(version) => on_object(of_version, bucket, key).with("s3:VersionId", version),
    };
    // The owner's root user is judged by the bucket's policy alone.
    let is_judged =
        !(cx.caller().is_root() && cx.account() == bucket.owner) || bucket.has(Configured::Policy);
    if is_judged {
        let found = match version {
            None => hot::current(cx, bucket.id, key).await?,
            Some(version) => {
                let found = find_version(cx.store(), bucket, key, version).await.unwrap_or_default();
                found.map(|(version, _)| Arc::new(version))
            }
        };
        for (key, value) in found.iter().flat_map(|found| &found.tags) {
            access = access.with(format!("s3:ExistingObjectTag/{key}"), value.as_str());
        }
    }
    Ok(access)
}

/// What a request that makes an object says, as condition keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct Making<'a> {
    pub acl: AclHeaders<'a>,
    pub tagging: Option<&'a str>,
    pub storage_class: Option<&'a str>,
    pub server_side_encryption: Option<&'a str>,
    pub kms_key: Option<&'a str>,
    pub lock_mode: Option<&'a str>,
    pub lock_until: Option<Timestamp>,
    pub legal_hold: Option<&'a str>,
    pub copy_source: Option<&'a str>,
    pub metadata_directive: Option<&'a str>,
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    pub customer_algorithm: Option<&'a str>,
}

/// Of a request whose type has these members.
macro_rules! making {
    ($input:expr) => {
        Making {
            acl: AclHeaders {
                canned: $input.acl.as_deref(),
                full_control: $input.grant_full_control.as_deref(),
                read: $input.grant_read.as_deref(),
                read_acp: $input.grant_read_acp.as_deref(),
                write: None,
                write_acp: $input.grant_write_acp.as_deref(),
            },
            tagging: $input.tagging.as_deref(),
            storage_class: $input.storage_class.as_deref(),
            server_side_encryption: $input.server_side_encryption.as_deref(),
            kms_key: $input.ssekms_key_id.as_deref(),
            customer_algorithm: $input.sse_customer_algorithm.as_deref(),
            lock_mode: $input.object_lock_mode.as_deref(),
            lock_until: $input.object_lock_retain_until_date,
            legal_hold: $input.object_lock_legal_hold_status.as_deref(),
            ..Making::default()
        }
    };
}
pub(crate) use making;

impl Making<'_> {
    /// `s3:PutObject`, and what the headers need besides.
    pub fn needed(&self, cx: &Cx, bucket: &Bucket, key: &str) -> Vec<Access> {
        let action = |action: &'static str| self.describe(cx, on_object(action, bucket, key));
        let mut needed = vec![action("s3:PutObject")];
        if !self.acl.is_empty() {
            needed.push(action("s3:PutObjectAcl"));
        }
        if self.tagging.is_some_and(|tagging| !tagging.is_empty()) {
            needed.push(action("s3:PutObjectTagging"));
        }
        if self.lock_mode.is_some() {
            needed.push(action("s3:PutObjectRetention"));
        }
        if self.legal_hold.is_some() {
            needed.push(action("s3:PutObjectLegalHold"));
        }
        needed
    }

    fn describe(&self, cx: &Cx, mut access: Access) -> Access {
        let keys = [
            ("s3:x-amz-acl", self.acl.canned),
            ("s3:x-amz-grant-full-control", self.acl.full_control),
            ("s3:x-amz-grant-read", self.acl.read),
            ("s3:x-amz-grant-read-acp", self.acl.read_acp),
            ("s3:x-amz-grant-write-acp", self.acl.write_acp),
            ("s3:x-amz-storage-class", self.storage_class),
            ("s3:x-amz-server-side-encryption", self.server_side_encryption),
            ("s3:x-amz-server-side-encryption-aws-kms-key-id", self.kms_key),
            ("s3:x-amz-server-side-encryption-customer-algorithm", self.customer_algorithm),
            ("s3:object-lock-mode", self.lock_mode),
            ("s3:object-lock-legal-hold", self.legal_hold),
            ("s3:x-amz-copy-source", self.copy_source),
            ("s3:x-amz-metadata-directive", self.metadata_directive),
            ("s3:if-match", self.if_match),
            ("s3:if-none-match", self.if_none_match),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                access = access.with(key, value);
            }
        }
        if let Some(until) = self.lock_until {
            let days = until.since(cx.now()).as_secs() / 86_400;
            access = access
                .with("s3:object-lock-retain-until-date", until.to_iso8601())
                .with("s3:object-lock-remaining-retention-days", days.to_string());
        }
        if let Some(Ok(tags)) = self.tagging.map(tags_of_header) {
            access = with_request_tags(access, &tags);
        }
        access
    }
}

/// Tags that a request brings, as condition keys.
pub fn with_request_tags(mut access: Access, tags: &[(String, String)]) -> Access {
    if tags.is_empty() {
        return access;
    }
    for (key, value) in tags {
        access = access.with(format!("s3:RequestObjectTag/{key}"), value.as_str());
    }
    access.with_many("s3:RequestObjectTagKeys", tags.iter().map(|(key, _)| key.clone()).collect())
}

pub async fn put_object(cx: &Cx, input: &PutObjectRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let making = Making {
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
        ..making!(input)
    };
    Ok(making.needed(cx, &bucket, input.key.as_deref().unwrap_or_default()))
}

/// Reading the source, and making the copy.
pub async fn copy_object(cx: &Cx, input: &CopyObjectRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let making = Making {
        copy_source: input.copy_source.as_deref(),
        metadata_directive: input.metadata_directive.as_deref(),
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
        ..making!(input)
    };
    let mut needed = making.needed(cx, &bucket, input.key.as_deref().unwrap_or_default());
    let owner = input.expected_source_bucket_owner.as_deref();
    needed.push(source(cx, input.copy_source.as_deref(), owner).await?);
    Ok(needed)
}

/// Reading the source of a copy, which may be of any region.
pub async fn source(cx: &Cx, source: Option<&str>, expected_owner: Option<&str>) -> Result<Access, S3Error> {
    let source = CopySource::parse(source)?;
    let from = anywhere(cx, Some(&source.bucket), expected_owner).await?;
    let version = source.version.as_deref();
    existing(cx, &from, &source.key, "s3:GetObject", "s3:GetObjectVersion", version).await
}

pub async fn delete_object(cx: &Cx, input: &DeleteObjectRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let (key, version) = (input.key.as_deref().unwrap_or_default(), input.version_id.as_deref());
    Ok(to_delete(cx, &bucket, key, version, bypass(input.bypass_governance_retention)).await?)
}

/// Deleting an object or a version of it.
pub async fn to_delete(
    cx: &Cx,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    bypass: Bypass,
) -> Result<Vec<Access>, S3Error> {
    let delete = existing(cx, bucket, key, "s3:DeleteObject", "s3:DeleteObjectVersion", version).await?;
    let mut needed = vec![delete];
    if bypass == Bypass::Governance && version.is_some() {
        needed.push(on_object("s3:BypassGovernanceRetention", bucket, key));
    }
    Ok(needed)
}

/// Each key is judged by itself; the bucket must be there, and here.
pub async fn delete_objects(cx: &Cx, input: &DeleteObjectsRequest) -> Result<Vec<Access>, Fault> {
    bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(Vec::new())
}
