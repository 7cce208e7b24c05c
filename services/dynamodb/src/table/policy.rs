//! Resource policies: `PutResourcePolicy`, `GetResourcePolicy`, `DeleteResourcePolicy`. A table's policy also rules its
//! indexes.
//!
//! Source: Developer Guide, "Using resource-based policies for DynamoDB".

use std::sync::Arc;

use pileus_api_dynamodb as api;
use pileus_iam::Policy;
use pileus_platform::{Cx, Fault, ResourcePolicy};

use crate::error::DynamoError;
use crate::state::Dynamo;
use crate::table::{self, Address, ResourcePolicyText, Table};

const MAX_BYTES: usize = 20 * 1_024;

/// Checks a policy's text.
///
/// # Errors
/// `ValidationException`, `LimitExceededException`
pub fn read(cx: &Cx, text: &str, address: &Address) -> Result<ResourcePolicyText, DynamoError> {
    if text.len() > MAX_BYTES {
        return Err(DynamoError::modelled(
            "LimitExceededException",
            format!("Resource-based policy size exceeds the limit of {MAX_BYTES} bytes: {}", address.arn()),
        ));
    }
    Policy::parse(text)
        .map_err(|error| DynamoError::validation(format!("Resource-based policy is malformed: {error}")))?;
    Ok(ResourcePolicyText { text: text.to_owned(), revision: cx.now().as_millis().to_string() })
}

/// The table whose policy a request is about. Streams have none here.
fn address(arn: Option<&str>) -> Result<Address, DynamoError> {
    let arn = arn.unwrap_or_default();
    match Address::from_arn(arn) {
        Some((address, None)) => Ok(address),
        Some((_, Some(rest))) if rest.starts_with("stream/") => {
            Err(DynamoError::unsupported("A resource-based policy of a stream"))
        }
        _ => Err(DynamoError::validation(format!("Invalid ResourceArn: {arn}"))),
    }
}

fn check_revision(table: &Table, expected: Option<&str>) -> Result<(), DynamoError> {
    let Some(expected) = expected else { return Ok(()) };
    let present = table.record.policy.as_ref().map(|policy| policy.revision.as_str());
    if present.unwrap_or("NO_POLICY") == expected {
        return Ok(());
    }
    Err(DynamoError::modelled(
        "PolicyNotFoundException",
        format!(
            "The resource-based policy with the provided RevisionId could not be found: {}",
            table.address.arn()
        ),
    ))
}

pub async fn put_resource_policy(
    cx: &Cx,
    input: api::PutResourcePolicyInput,
) -> Result<api::PutResourcePolicyOutput, DynamoError> {
    let address = &address(input.resource_arn.as_deref())?;
    let policy = &read(cx, input.policy.as_deref().unwrap_or_default(), address)?;
    let (dynamo, expected) = (cx.state::<Dynamo>(), input.expected_revision_id.as_deref());
    cx.transact(|txn| async move {
        let table = dynamo.load_named(&txn, address).await?;
        check_revision(&table, expected)?;
        let mut record = table.record.clone();
        record.policy = Some(policy.clone());
        table::store(&txn, address, &record)
    })
    .await?;
    Ok(api::PutResourcePolicyOutput { revision_id: Some(policy.revision.clone()) })
}

pub async fn get_resource_policy(
    cx: &Cx,
    input: api::GetResourcePolicyInput,
) -> Result<api::GetResourcePolicyOutput, DynamoError> {
    let address = address(input.resource_arn.as_deref())?;
    let table = cx.state::<Dynamo>().load_named(cx.store(), &address).await?;
    let policy = table.record.policy.clone().ok_or_else(|| {
        DynamoError::modelled(
            "PolicyNotFoundException",
            format!("Resource-based policy not found for the provided ResourceArn: {}", address.arn()),
        )
    })?;
    Ok(api::GetResourcePolicyOutput { policy: Some(policy.text), revision_id: Some(policy.revision) })
}

pub async fn delete_resource_policy(
    cx: &Cx,
    input: api::DeleteResourcePolicyInput,
) -> Result<api::DeleteResourcePolicyOutput, DynamoError> {
    let address = &address(input.resource_arn.as_deref())?;
    let (dynamo, expected) = (cx.state::<Dynamo>(), input.expected_revision_id.as_deref());
    let revision = cx
        .transact(|txn| async move {
            let table = dynamo.load_named(&txn, address).await?;
            check_revision(&table, expected)?;
            let mut record = table.record.clone();
            let gone = record.policy.take();
            table::store(&txn, address, &record)?;
            Ok::<_, DynamoError>(gone.map(|policy| policy.revision))
        })
        .await?;
    Ok(api::DeleteResourcePolicyOutput { revision_id: Some(revision.unwrap_or_default()) })
}

/// The policy of the table, or of the table of the index, with this ARN.
pub async fn find(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Some((address, rest)) = Address::from_arn(arn) else { return Ok(None) };
    if rest.is_some_and(|rest| !rest.starts_with("index/")) {
        return Ok(None);
    }
    let table = cx.state::<Dynamo>().find(cx.store(), &address).await?;
    let policy = table.as_ref().and_then(|table| table.policy.clone());
    Ok(policy.map(|policy| ResourcePolicy { name: Arc::from(arn), policy, must_allow: false }))
}
