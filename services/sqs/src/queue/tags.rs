//! `TagQueue`, `UntagQueue`, `ListQueueTags`.
//!
//! Source: API Reference, "TagQueue"; Amazon SQS Developer Guide, "Amazon SQS standard queue quotas" (tags).

use std::collections::BTreeMap;

use pileus_api_sqs::{ListQueueTagsRequest, ListQueueTagsResult, TagQueueRequest, UntagQueueRequest};
use pileus_platform::Cx;
use pileus_wire::value::{Map, Unit};

use crate::access;
use crate::error::SqsError;
use crate::limits;
use crate::queue::{self, Record};
use crate::state::Sqs;

/// Lays new tags over old ones.
///
/// # Errors
/// `InvalidParameterValue`: an empty or too long key, a too long value, or more tags than a queue may have.
pub fn merge(
    mut tags: BTreeMap<String, String>,
    new: Map<String>,
) -> Result<BTreeMap<String, String>, SqsError> {
    for (key, value) in new.0 {
        let length = key.chars().count();
        if length == 0 || length > 128 || key.to_ascii_lowercase().starts_with("aws:") {
            let reason = "A tag key has 1 to 128 characters and does not begin with aws:.";
            return Err(SqsError::value(&key, "Tag.Key", reason));
        }
        if value.chars().count() > 256 {
            return Err(SqsError::value(&value, "Tag.Value", "A tag value has at most 256 characters."));
        }
        tags.insert(key, value);
    }
    if tags.len() > limits::MAX_TAGS {
        let text = format!("Too many tags added for queue: a queue has at most {}.", limits::MAX_TAGS);
        return Err(SqsError::InvalidParameterValue(text));
    }
    Ok(tags)
}

pub async fn tag_queue(cx: &Cx, input: TagQueueRequest) -> Result<Unit, SqsError> {
    let new = input.tags.unwrap_or_default();
    change(cx, input.queue_url.as_deref(), |tags| merge(tags, new.clone())).await
}

pub async fn untag_queue(cx: &Cx, input: UntagQueueRequest) -> Result<Unit, SqsError> {
    let gone = input.tag_keys.unwrap_or_default();
    change(cx, input.queue_url.as_deref(), |mut tags| {
        tags.retain(|key, _| !gone.contains(key));
        Ok(tags)
    })
    .await
}

async fn change(
    cx: &Cx,
    url: Option<&str>,
    change: impl Fn(BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SqsError> + Sync,
) -> Result<Unit, SqsError> {
    let (address, sqs, change) = (&access::address(cx, url)?, cx.state::<Sqs>(), &change);
    cx.transact(|txn| async move {
        let queue = sqs.load(&txn, address).await?;
        let record = Record { tags: change(queue.record.tags.clone())?, ..queue.record.clone() };
        queue::store(&txn, address, &record)
    })
    .await?;
    Ok(Unit)
}

pub async fn list_queue_tags(cx: &Cx, input: ListQueueTagsRequest) -> Result<ListQueueTagsResult, SqsError> {
    let address = access::address(cx, input.queue_url.as_deref())?;
    let queue = cx.state::<Sqs>().load(cx.store(), &address).await?;
    let tags: Map<String> =
        queue.record.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(ListQueueTagsResult { tags: Some(tags) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_replaced_and_bounded() {
        let map = |pairs: &[(&str, &str)]| -> Map<String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let tags = merge(BTreeMap::new(), map(&[("a", "1"), ("b", "")])).expect("valid");
        let tags = merge(tags, map(&[("a", "2")])).expect("valid");
        assert_eq!(tags.get("a").map(String::as_str), Some("2"));
        let long = "k".repeat(129);
        for bad in [("", "v"), ("aws:x", "v"), (&long[..], "v")] {
            assert!(merge(BTreeMap::new(), map(&[bad])).is_err(), "{bad:?}");
        }
        let many: Map<String> = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(merge(BTreeMap::new(), many).is_err());
    }
}
