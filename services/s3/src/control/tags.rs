//! `TagResource`, `UntagResource`, `ListTagsForResource`: of access points, and of buckets.
//!
//! Source: Amazon S3 API Reference, "TagResource".

use pileus_api_s3 as s3;
use pileus_api_s3control as api;
use pileus_core::Arn;
use pileus_platform::{Access, Cx, Fault};

use super::access_point::{self, ACCESS_POINTS};
use super::account;
use crate::bucket::{Bucket, Configured};
use crate::config::{self, settings, stored};
use crate::error::S3Error;

pub fn needed(
    cx: &Cx,
    action: &'static str,
    of: Option<&str>,
    resource: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    let account = account(cx, of)?;
    Ok(vec![Access::new(action, resource.unwrap_or_default()).owned_by(account)])
}

enum Tagged {
    Bucket(String),
    Point(String),
}

fn read(arn: Option<&str>) -> Result<Tagged, S3Error> {
    let parsed =
        Arn::parse(arn.unwrap_or_default()).map_err(|_| S3Error::invalid("The ARN is not valid."))?;
    match (parsed.region().is_empty(), parsed.resource().split_once('/')) {
        (true, None) => Ok(Tagged::Bucket(parsed.resource().to_owned())),
        (false, Some(("accesspoint", name))) => Ok(Tagged::Point(name.to_owned())),
        _ => Err(S3Error::lacking("tags of other resources than buckets and access points")),
    }
}

type Tags = Vec<(String, String)>;

/// Changes the tags of a resource.
async fn change(
    cx: &Cx,
    of: Option<&str>,
    arn: Option<&str>,
    body: impl Fn(&mut Tags) + Send + Sync,
) -> Result<(), S3Error> {
    let account = account(cx, of)?;
    let body = &body;
    let changed = |mut tags: Tags| -> Result<Tags, S3Error> {
        body(&mut tags);
        settings::check_tags(&shown(&tags), 50)?;
        Ok(tags)
    };
    let changed = &changed;
    match read(arn)? {
        Tagged::Bucket(name) => {
            config::change(cx, Some(&name), |txn, mut bucket| async move {
                if bucket.owner != account {
                    return Err(S3Error::AccessDenied);
                }
                let found = stored::find::<s3::Tagging>(&txn, &bucket).await?.unwrap_or_default();
                let tags = changed(read_tags(found))?;
                if tags.is_empty() {
                    stored::delete(&txn, &mut bucket, Configured::Tagging);
                } else {
                    stored::put(&txn, &mut bucket, "", &s3::Tagging { tag_set: Some(shown(&tags)) })?;
                }
                Ok(bucket.store(&txn)?)
            })
            .await?;
        }
        Tagged::Point(name) => {
            let key = (account, cx.region().clone(), name.clone());
            let point = ACCESS_POINTS.get(cx.store(), &key).await?;
            changed(point.map(|point| point.tags).unwrap_or_default())?;
            access_point::change(cx, account, &name, |point| body(&mut point.tags)).await?;
        }
    }
    Ok(())
}

fn shown(tags: &Tags) -> Vec<s3::Tag> {
    tags.iter().map(|(key, value)| s3::Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn read_tags(found: s3::Tagging) -> Tags {
    let tags = found.tag_set.unwrap_or_default().into_iter();
    tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect()
}

/// `TagResource`
pub async fn tag_resource(
    cx: &Cx,
    input: api::TagResourceRequest,
) -> Result<api::TagResourceResult, S3Error> {
    let given: Tags = input
        .tags
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect();
    change(cx, input.account_id.as_deref(), input.resource_arn.as_deref(), |tags| {
        for (key, value) in &given {
            tags.retain(|(other, _)| other != key);
            tags.push((key.clone(), value.clone()));
        }
    })
    .await?;
    Ok(api::TagResourceResult::default())
}

/// `UntagResource`
pub async fn untag_resource(
    cx: &Cx,
    input: api::UntagResourceRequest,
) -> Result<api::UntagResourceResult, S3Error> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, input.account_id.as_deref(), input.resource_arn.as_deref(), |tags| {
        tags.retain(|(key, _)| !keys.contains(key));
    })
    .await?;
    Ok(api::UntagResourceResult::default())
}

/// `ListTagsForResource`
pub async fn list_tags_for_resource(
    cx: &Cx,
    input: api::ListTagsForResourceRequest,
) -> Result<api::ListTagsForResourceResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let tags = match read(input.resource_arn.as_deref())? {
        Tagged::Bucket(name) => {
            let bucket = Bucket::load(cx.store(), &name).await?;
            read_tags(stored::find::<s3::Tagging>(cx.store(), &bucket).await?.unwrap_or_default())
        }
        Tagged::Point(name) => {
            let found = ACCESS_POINTS.get(cx.store(), &(account, cx.region().clone(), name)).await?;
            found.map(|point| point.tags).unwrap_or_default()
        }
    };
    let tag = |(key, value)| api::Tag { key: Some(key), value: Some(value) };
    Ok(api::ListTagsForResourceResult { tags: Some(tags.into_iter().map(tag).collect()) })
}
