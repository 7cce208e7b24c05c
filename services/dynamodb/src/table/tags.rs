//! `TagResource`, `UntagResource`, `ListTagsOfResource`.
//!
//! Source: Developer Guide, "Adding tags and labels to resources in DynamoDB" (restrictions).

use std::collections::BTreeMap;

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use crate::error::DynamoError;
use crate::state::Dynamo;
use crate::table::{self, Address};

const MAX_TAGS: usize = 50;
const PAGE: usize = 50;

type Tags = BTreeMap<String, String>;

/// # Errors
/// `ValidationException`: too many tags, keys of AWS's own, or a key twice.
pub fn read(input: &[api::Tag]) -> Result<Tags, DynamoError> {
    let mut tags = Tags::new();
    for tag in input {
        let key = tag.key.clone().unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(DynamoError::parameter(format_args!("Tag keys may not begin with aws: {key}")));
        }
        if tags.insert(key.clone(), tag.value.clone().unwrap_or_default()).is_some() {
            return Err(DynamoError::parameter(format_args!("Duplicate tag key: {key}")));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), DynamoError> {
    if tags.len() <= MAX_TAGS {
        return Ok(());
    }
    Err(DynamoError::parameter(format_args!("Too many tags: a resource has at most {MAX_TAGS}")))
}

/// The table that an ARN names.
fn address(arn: Option<&str>) -> Result<Address, DynamoError> {
    let arn = arn.unwrap_or_default();
    match Address::from_arn(arn) {
        Some((address, None)) => Ok(address),
        _ => Err(DynamoError::validation(format!(
            "Invalid TableArn: Invalid ResourceArn provided as input {arn}"
        ))),
    }
}

fn missing(address: &Address) -> DynamoError {
    let text = format!("Requested resource not found: ResourcArn: {} not found", address.arn());
    DynamoError::modelled("ResourceNotFoundException", text)
}

async fn change(cx: &Cx, arn: Option<&str>, change: impl Fn(&mut Tags) + Sync) -> Result<Unit, DynamoError> {
    let (address, dynamo, change) = (&address(arn)?, cx.state::<Dynamo>(), &change);
    cx.transact(|txn| async move {
        let table = dynamo.find(&txn, address).await?.ok_or_else(|| missing(address))?;
        let mut record = table.record.clone();
        change(&mut record.tags);
        check_count(&record.tags)?;
        table::store(&txn, address, &record)
    })
    .await?;
    Ok(Unit)
}

pub async fn tag_resource(cx: &Cx, input: api::TagResourceInput) -> Result<Unit, DynamoError> {
    let new = read(input.tags.as_deref().unwrap_or_default())?;
    change(cx, input.resource_arn.as_deref(), |tags| tags.extend(new.clone())).await
}

pub async fn untag_resource(cx: &Cx, input: api::UntagResourceInput) -> Result<Unit, DynamoError> {
    let gone = input.tag_keys.unwrap_or_default();
    change(cx, input.resource_arn.as_deref(), |tags| tags.retain(|key, _| !gone.contains(key))).await
}

/// `ListTagsOfResource`: a page is all that a table can have.
pub async fn list_tags_of_resource(
    cx: &Cx,
    input: api::ListTagsOfResourceInput,
) -> Result<api::ListTagsOfResourceOutput, DynamoError> {
    let address = address(input.resource_arn.as_deref())?;
    if input.next_token.is_some() {
        return Err(DynamoError::validation("Invalid NextToken"));
    }
    let table = cx.state::<Dynamo>().find(cx.store(), &address).await?.ok_or_else(|| missing(&address))?;
    let tags = table
        .record
        .tags
        .iter()
        .take(PAGE)
        .map(|(key, value)| api::Tag { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(api::ListTagsOfResourceOutput { tags: Some(tags.collect()), next_token: None })
}
