//! What listings and multipart uploads need.

use pileus_api_s3::{
    AbortMultipartUploadRequest, CompleteMultipartUploadRequest, CreateMultipartUploadRequest,
    ListMultipartUploadsRequest, ListObjectVersionsRequest, ListObjectsRequest, ListObjectsV2Request,
    ListPartsRequest, UploadPartCopyRequest, UploadPartRequest,
};
use pileus_platform::{Access, Cx, Fault};

use super::{Making, bucket, making, on_bucket, on_object, source};
use crate::acl::Headers as AclHeaders;

/// What a listing asks for, as condition keys.
fn narrowed(
    mut access: Access,
    prefix: Option<&str>,
    delimiter: Option<&str>,
    limit: Option<i64>,
) -> Vec<Access> {
    let limit = limit.map(|limit| limit.to_string());
    for (key, value) in
        [("s3:prefix", prefix), ("s3:delimiter", delimiter), ("s3:max-keys", limit.as_deref())]
    {
        if let Some(value) = value {
            access = access.with(key, value);
        }
    }
    vec![access]
}

pub async fn list_objects(cx: &Cx, input: &ListObjectsRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let access = on_bucket("s3:ListBucket", &bucket);
    Ok(narrowed(access, input.prefix.as_deref(), input.delimiter.as_deref(), input.max_keys))
}

pub async fn list_objects_v2(cx: &Cx, input: &ListObjectsV2Request) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let access = on_bucket("s3:ListBucket", &bucket);
    Ok(narrowed(access, input.prefix.as_deref(), input.delimiter.as_deref(), input.max_keys))
}

pub async fn list_object_versions(cx: &Cx, input: &ListObjectVersionsRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let access = on_bucket("s3:ListBucketVersions", &bucket);
    Ok(narrowed(access, input.prefix.as_deref(), input.delimiter.as_deref(), input.max_keys))
}

pub async fn list_multipart_uploads(
    cx: &Cx,
    input: &ListMultipartUploadsRequest,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(vec![on_bucket("s3:ListBucketMultipartUploads", &bucket)])
}

pub async fn create_multipart_upload(
    cx: &Cx,
    input: &CreateMultipartUploadRequest,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(making!(input).needed(cx, &bucket, input.key.as_deref().unwrap_or_default()))
}

pub async fn upload_part(cx: &Cx, input: &UploadPartRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(vec![on_object("s3:PutObject", &bucket, input.key.as_deref().unwrap_or_default())])
}

pub async fn upload_part_copy(cx: &Cx, input: &UploadPartCopyRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let making = Making { copy_source: input.copy_source.as_deref(), ..Making::default() };
    let mut needed = making.needed(cx, &bucket, input.key.as_deref().unwrap_or_default());
    let owner = input.expected_source_bucket_owner.as_deref();
    needed.push(source(cx, input.copy_source.as_deref(), owner).await?);
    Ok(needed)
}

pub async fn complete_multipart_upload(
    cx: &Cx,
    input: &CompleteMultipartUploadRequest,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    let making = Making {
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
        ..Making::default()
    };
    Ok(making.needed(cx, &bucket, input.key.as_deref().unwrap_or_default()))
}

pub async fn abort_multipart_upload(
    cx: &Cx,
    input: &AbortMultipartUploadRequest,
) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(vec![on_object("s3:AbortMultipartUpload", &bucket, input.key.as_deref().unwrap_or_default())])
}

pub async fn list_parts(cx: &Cx, input: &ListPartsRequest) -> Result<Vec<Access>, Fault> {
    let bucket = bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(vec![on_object("s3:ListMultipartUploadParts", &bucket, input.key.as_deref().unwrap_or_default())])
}
