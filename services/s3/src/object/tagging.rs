//! `PutObjectTagging`, `GetObjectTagging`, `DeleteObjectTagging`
//!
//! Source: Amazon S3 API Reference, "PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging".

use pileus_api_s3::{
    DeleteObjectTaggingOutput, DeleteObjectTaggingRequest, GetObjectTaggingOutput, GetObjectTaggingRequest,
    PutObjectTaggingOutput, PutObjectTaggingRequest, Tag, Tagging,
};
use pileus_platform::Cx;

use crate::bucket::Bucket;
use crate::effects::Event;
use crate::error::S3Error;
use crate::object::change::{Named, change};
use crate::object::get;
use crate::object::new::{check_tags, key};
use crate::object::put::shown_version;

/// The pairs of a document.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`, `BadRequest` for too many.
pub fn read(tagging: Option<&Tagging>) -> Result<Vec<(String, String)>, S3Error> {
    let tags = tagging.and_then(|tagging| tagging.tag_set.as_deref()).unwrap_or_default();
    let pair = |tag: &Tag| Some((tag.key.clone()?, tag.value.clone()?));
    let tags: Option<Vec<_>> = tags.iter().map(pair).collect();
    let tags = tags.ok_or(S3Error::MalformedXml)?;
    check_tags(&tags)?;
    Ok(tags)
}

/// `PutObjectTagging`
pub async fn put_object_tagging(
    cx: &Cx,
    input: PutObjectTaggingRequest,
) -> Result<PutObjectTaggingOutput, S3Error> {
    let tags = &read(input.tagging.as_ref())?;
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    let (bucket, version) = change(cx, &named, &[Event::TaggingPut], |_, version| {
        version.tags.clone_from(tags);
        Ok(())
    })
    .await?;
    Ok(PutObjectTaggingOutput { version_id: shown_version(&bucket, &version) })
}

/// `DeleteObjectTagging`
pub async fn delete_object_tagging(
    cx: &Cx,
    input: DeleteObjectTaggingRequest,
) -> Result<DeleteObjectTaggingOutput, S3Error> {
    let named = Named::of(input.bucket.as_deref(), input.key.as_deref(), input.version_id.as_deref())?;
    let (bucket, version) = change(cx, &named, &[Event::TaggingDelete], |_, version| {
        version.tags.clear();
        Ok(())
    })
    .await?;
    Ok(DeleteObjectTaggingOutput { version_id: shown_version(&bucket, &version) })
}

/// `GetObjectTagging`
pub async fn get_object_tagging(
    cx: &Cx,
    input: GetObjectTaggingRequest,
) -> Result<GetObjectTaggingOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let key = key(input.key.as_deref())?;
    let version = get::load(cx, &bucket, key, input.version_id.as_deref(), "GET").await?;
    let tags =
        version.tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(GetObjectTaggingOutput { version_id: shown_version(&bucket, &version), tag_set: Some(tags.collect()) })
}
