//! `TagResource`, `UntagResource`, `ListTags`: of functions and event source mappings.
//!
//! Source: AWS Lambda API Reference, "TagResource"; Lambda Developer Guide, "Using tags on Lambda functions". Recorded: the sentences.

use std::collections::BTreeMap;

use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::{Map, Unit};

use crate::error::LambdaError;
use crate::event_source;
use crate::function::FunctionRow;
use crate::keys::MAPPINGS;
use crate::name::FunctionName;

pub type Tags = BTreeMap<String, String>;

const MAX_TAGS: usize = 50;

/// Lays new tags over old ones.
///
/// # Errors
/// `InvalidParameterValueException`: more than fifty, or names that belong to AWS.
pub fn merge(mut tags: Tags, new: Option<Map<String>>) -> Result<Tags, LambdaError> {
    for (key, value) in new.unwrap_or_default().0 {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(LambdaError::invalid("System tags cannot be added/updated by requester."));
        }
        tags.insert(key, value);
    }
    if tags.len() > MAX_TAGS {
        return Err(LambdaError::invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(tags)
}

/// What can have tags.
enum Tagged {
    Function(FunctionName),
    Mapping(event_source::Key),
}

fn tagged(resource: Option<&str>) -> Result<Tagged, LambdaError> {
    let arn = resource.unwrap_or_default();
    if let Some(key) = event_source::key_of_arn(arn) {
        return Ok(Tagged::Mapping(key));
    }
    if arn.contains(":code-signing-config:") || arn.contains(":capacity-provider:") {
        return Err(LambdaError::not_there());
    }
    let name = FunctionName::from_arn(arn).ok_or_else(|| {
        LambdaError::invalid(format!("The value '{arn}' is not the ARN of a resource that has tags."))
    })?;
    if name.qualifier.is_some() {
        return Err(LambdaError::invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    Ok(Tagged::Function(name))
}

async fn change(
    cx: &Cx,
    resource: Option<&str>,
    change: impl Fn(Tags) -> Result<Tags, LambdaError> + Sync,
) -> Result<Unit, LambdaError> {
    let (tagged, change) = (&tagged(resource)?, &change);
    cx.transact(|txn| async move { change_in(cx, &txn, tagged, change).await }).await?;
    Ok(Unit)
}

async fn change_in(
    cx: &Cx,
    txn: &Txn,
    tagged: &Tagged,
    change: &(impl Fn(Tags) -> Result<Tags, LambdaError> + Sync),
) -> Result<(), LambdaError> {
    match tagged {
        Tagged::Function(name) => {
            let mut row = FunctionRow::load(txn, name).await?;
            row.tags = change(row.tags)?;
            row.touch(cx);
            row.put(txn, name)
        }
        Tagged::Mapping(key) => {
            let mut row = MAPPINGS.get(txn, key).await?.ok_or_else(LambdaError::not_there)?;
            row.tags = change(row.tags)?;
            Ok(MAPPINGS.put(txn, key, &row)?)
        }
    }
}

/// `TagResource`
pub async fn tag_resource(cx: &Cx, input: api::TagResourceRequest) -> Result<Unit, LambdaError> {
    let new = input.tags;
    if new.as_ref().is_none_or(Map::is_empty) {
        return Err(LambdaError::invalid("An error occurred and the request cannot be processed."));
    }
    change(cx, input.resource.as_deref(), |tags| merge(tags, new.clone())).await
}

/// `UntagResource`
pub async fn untag_resource(cx: &Cx, input: api::UntagResourceRequest) -> Result<Unit, LambdaError> {
    let gone = input.tag_keys.unwrap_or_default();
    change(cx, input.resource.as_deref(), |mut tags| {
        tags.retain(|key, _| !gone.contains(key));
        Ok(tags)
    })
    .await
}

/// `ListTags`
pub async fn list_tags(cx: &Cx, input: api::ListTagsRequest) -> Result<api::ListTagsResponse, LambdaError> {
    let tags = match tagged(input.resource.as_deref())? {
        Tagged::Function(name) => FunctionRow::load(cx.store(), &name).await?.tags,
        Tagged::Mapping(key) => {
            MAPPINGS.get(cx.store(), &key).await?.ok_or_else(LambdaError::not_there)?.tags
        }
    };
    Ok(api::ListTagsResponse { tags: Some(tags.into_iter().collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_replaced_and_bounded() {
        let map = |pairs: &[(&str, &str)]| -> Option<Map<String>> {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let tags = merge(Tags::new(), map(&[("a", "1"), ("b", "")])).expect("fine");
        let tags = merge(tags, map(&[("a", "2")])).expect("fine");
        assert_eq!(tags.get("a").map(String::as_str), Some("2"));
        assert!(merge(Tags::new(), map(&[("AWS:x", "1")])).is_err());
        let many: Map<String> = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(merge(Tags::new(), Some(many)).is_err());
    }
}
