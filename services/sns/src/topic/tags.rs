//! `TagResource`, `UntagResource`, `ListTagsForResource`.
//!
//! Source: Amazon SNS API Reference, the three operations; Amazon SNS Developer Guide, "Amazon SNS topic tagging".

use std::collections::BTreeMap;

use pileus_api_sns as api;
use pileus_platform::Cx;

use super::{Address, change};
use crate::error::SnsError;
use crate::keys::TOPICS;

const MAX_TAGS: usize = 50;

/// Lays new tags over old ones.
///
/// # Errors
/// `InvalidParameter`, `TagLimitExceeded`
pub fn merge(
    mut tags: BTreeMap<String, String>,
    new: Vec<api::Tag>,
) -> Result<BTreeMap<String, String>, SnsError> {
    let mut seen = Vec::new();
    for tag in new {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let length = key.chars().count();
        if length == 0 || length > 128 || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(SnsError::reason(
                "Tags",
                "A tag key has 1 to 128 characters and does not begin with aws:",
            ));
        }
        if value.chars().count() > 256 {
            return Err(SnsError::reason("Tags", "A tag value has at most 256 characters"));
        }
        if seen.contains(&key) {
            return Err(SnsError::reason("Tags", "Duplicated keys are not allowed."));
        }
        tags.insert(key.clone(), value);
        seen.push(key);
    }
    if tags.len() > MAX_TAGS { Err(SnsError::TagLimitExceeded) } else { Ok(tags) }
}

/// Tags know another error for what is not there.
fn resource(error: SnsError) -> SnsError {
    match error {
        SnsError::NotFound(_) => SnsError::ResourceNotFound,
        other => other,
    }
}

pub async fn tag_resource(
    cx: &Cx,
    input: api::TagResourceRequest,
) -> Result<api::TagResourceResponse, SnsError> {
    let address = Address::parse(input.resource_arn.as_deref())?;
    let new = input.tags.unwrap_or_default();
    let changed = change(cx, &address, |_, record| {
        record.tags = merge(record.tags.clone(), new.clone())?;
        Ok(())
    });
    changed.await.map_err(resource)?;
    Ok(api::TagResourceResponse {})
}

pub async fn untag_resource(
    cx: &Cx,
    input: api::UntagResourceRequest,
) -> Result<api::UntagResourceResponse, SnsError> {
    let address = Address::parse(input.resource_arn.as_deref())?;
    let gone = input.tag_keys.unwrap_or_default();
    let changed = change(cx, &address, |_, record| {
        record.tags.retain(|key, _| !gone.contains(key));
        Ok(())
    });
    changed.await.map_err(resource)?;
    Ok(api::UntagResourceResponse {})
}

pub async fn list_tags_for_resource(
    cx: &Cx,
    input: api::ListTagsForResourceRequest,
) -> Result<api::ListTagsForResourceResponse, SnsError> {
    let address = Address::parse(input.resource_arn.as_deref())?;
    let record = TOPICS.get(cx.store(), &address.key()).await?.ok_or(SnsError::ResourceNotFound)?;
    let tags = record.tags.into_iter().map(|(key, value)| api::Tag { key: Some(key), value: Some(value) });
    Ok(api::ListTagsForResourceResponse { tags: Some(tags.collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_replaced_and_bounded() {
        let tag = |key: &str, value: &str| api::Tag { key: Some(key.into()), value: Some(value.into()) };
        let tags = merge(BTreeMap::new(), vec![tag("a", "1"), tag("b", "")]).unwrap();
        let tags = merge(tags, vec![tag("a", "2")]).unwrap();
        assert_eq!(tags.get("a").map(String::as_str), Some("2"));
        for bad in [vec![tag("", "v")], vec![tag("aws:x", "v")], vec![tag("a", "1"), tag("a", "2")]] {
            assert!(merge(BTreeMap::new(), bad).is_err());
        }
        let many = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert!(matches!(merge(BTreeMap::new(), many), Err(SnsError::TagLimitExceeded)));
    }
}
