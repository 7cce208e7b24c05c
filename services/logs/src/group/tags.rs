//! `TagResource`, `UntagResource`, `ListTagsForResource`, and their elder kin `TagLogGroup`, `UntagLogGroup`,
//! `ListTagsLogGroup`.
//!
//! Source: CloudWatch Logs API Reference, "TagResource" (at most 50 tags).

use std::collections::BTreeMap;

use pileus_api_logs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest,
    ListTagsLogGroupResponse, TagLogGroupRequest, TagResourceRequest, UntagLogGroupRequest,
    UntagResourceRequest,
};
use pileus_platform::Cx;
use pileus_wire::value::{Map, Unit};

use crate::address::Address;
use crate::error::LogsError;
use crate::limits;
use crate::state::Logs;

use super::change;

/// Lays new tags over old ones.
///
/// # Errors
/// `InvalidParameterException` for AWS's own prefix, `TooManyTagsException`.
pub fn merge(
    mut tags: BTreeMap<String, String>,
    new: Map<String>,
    group: &str,
) -> Result<BTreeMap<String, String>, LogsError> {
    for (key, value) in new.0 {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(LogsError::invalid("A tag key must not begin with aws:."));
        }
        tags.insert(key, value);
    }
    if tags.len() > limits::MAX_TAGS {
        return Err(LogsError::TooManyTags(format!(
            "The resource {group} can have at most {} tags.",
            limits::MAX_TAGS
        )));
    }
    Ok(tags)
}

async fn tag(cx: &Cx, address: &Address, new: Map<String>) -> Result<Unit, LogsError> {
    change(cx, address, |record| {
        record.tags = merge(record.tags.clone(), new.clone(), &address.name)?;
        Ok(())
    })
    .await
}

async fn untag(cx: &Cx, address: &Address, gone: Vec<String>) -> Result<Unit, LogsError> {
    change(cx, address, |record| {
        record.tags.retain(|key, _| !gone.contains(key));
        Ok(())
    })
    .await
}

async fn list(cx: &Cx, address: &Address) -> Result<Map<String>, LogsError> {
    let group = cx.state::<Logs>().group(cx.store(), address).await?;
    Ok(group.record.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

pub async fn tag_resource(cx: &Cx, input: TagResourceRequest) -> Result<Unit, LogsError> {
    let address = Address::identified(cx, &input.resource_arn.unwrap_or_default())?;
    tag(cx, &address, input.tags.unwrap_or_default()).await
}

pub async fn untag_resource(cx: &Cx, input: UntagResourceRequest) -> Result<Unit, LogsError> {
    let address = Address::identified(cx, &input.resource_arn.unwrap_or_default())?;
    untag(cx, &address, input.tag_keys.unwrap_or_default()).await
}

pub async fn list_tags_for_resource(
    cx: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, LogsError> {
    let address = Address::identified(cx, &input.resource_arn.unwrap_or_default())?;
    Ok(ListTagsForResourceResponse { tags: Some(list(cx, &address).await?) })
}

pub async fn tag_log_group(cx: &Cx, input: TagLogGroupRequest) -> Result<Unit, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    tag(cx, &address, input.tags.unwrap_or_default()).await
}

pub async fn untag_log_group(cx: &Cx, input: UntagLogGroupRequest) -> Result<Unit, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    untag(cx, &address, input.tags.unwrap_or_default()).await
}

pub async fn list_tags_log_group(
    cx: &Cx,
    input: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    Ok(ListTagsLogGroupResponse { tags: Some(list(cx, &address).await?) })
}
