//! Resource policies: `PutResourcePolicy`, `GetResourcePolicy`, `DeleteResourcePolicy`. A table's policy also rules its
//! indexes; a stream has one of its own.
//!
//! Source: Developer Guide, "Using resource-based policies for DynamoDB", "Attach a resource-based policy to a DynamoDB stream".

use std::sync::Arc;

use pileus_api_dynamodb as api;
use pileus_iam::Policy;
use pileus_platform::{Cx, Fault, ResourcePolicy};
use pileus_store::{Reader, StoreError, Txn};

use crate::error::DynamoError;
use crate::keys::{STREAMS, StreamKey};
use crate::state::Dynamo;
use crate::stream::{self, StreamRow};
use crate::table::{self, Address, Record, ResourcePolicyText, Table};

const MAX_BYTES: usize = 20 * 1_024;

/// Checks a policy's text.
///
/// # Errors
/// `ValidationException`, `LimitExceededException`
pub fn read(cx: &Cx, text: &str, arn: &str) -> Result<ResourcePolicyText, DynamoError> {
    if text.len() > MAX_BYTES {
        return Err(DynamoError::modelled(
            "LimitExceededException",
            format!("Resource-based policy size exceeds the limit of {MAX_BYTES} bytes: {arn}"),
        ));
    }
    Policy::parse(text)
        .map_err(|error| DynamoError::validation(format!("Resource-based policy is malformed: {error}")))?;
    Ok(ResourcePolicyText { text: text.to_owned(), revision: cx.now().as_millis().to_string() })
}

/// Whose policy a request is about: a table's, or a stream's, which outlives its table.
struct Target<'a> {
    arn: &'a str,
    address: Address,
    stream: Option<StreamKey>,
}

impl<'a> Target<'a> {
    /// # Errors
    /// `ValidationException`
    fn parse(arn: Option<&'a str>) -> Result<Target<'a>, DynamoError> {
        let arn = arn.unwrap_or_default();
        let invalid = || DynamoError::validation(format!("Invalid ResourceArn: {arn}"));
        let (address, rest) = Address::from_arn(arn).ok_or_else(invalid)?;
        let stream = match rest.as_deref() {
            None => None,
            Some(rest) => Some(stream_key(&address, rest).ok_or_else(invalid)?),
        };
        Ok(Target { arn, address, stream })
    }

    /// # Errors
    /// `ResourceNotFoundException`
    async fn load(&self, cx: &Cx, reader: &impl Reader) -> Result<Owner, DynamoError> {
        let Some(key) = &self.stream else {
            return Ok(Owner::Table(cx.state::<Dynamo>().load_named(reader, &self.address).await?));
        };
        let row = STREAMS.get(reader, key).await?.filter(|row| !stream::is_over(row, cx.now()));
        row.map(|row| Owner::Stream(Box::new(row))).ok_or_else(|| stream::not_found(self.arn))
    }

    /// # Errors
    /// `PolicyNotFoundException` for another revision than the expected one.
    fn check_revision(&self, owner: &Owner, expected: Option<&str>) -> Result<(), DynamoError> {
        let Some(expected) = expected else { return Ok(()) };
        if owner.policy().map_or("NO_POLICY", |policy| policy.revision.as_str()) == expected {
            return Ok(());
        }
        Err(DynamoError::modelled(
            "PolicyNotFoundException",
            format!(
                "The resource-based policy with the provided RevisionId could not be found: {}",
                self.arn
            ),
        ))
    }

    fn store(&self, txn: &Txn, owner: &Owner, policy: Option<ResourcePolicyText>) -> Result<(), DynamoError> {
        match (owner, &self.stream) {
            (Owner::Stream(row), Some(key)) => {
                Ok(STREAMS.put(txn, key, &StreamRow { policy, ..(**row).clone() })?)
            }
            (Owner::Table(table), _) => {
                table::store(txn, &self.address, &Record { policy, ..table.record.clone() })
            }
            (Owner::Stream(_), None) => Ok(()),
        }
    }
}

/// What a policy is kept with.
enum Owner {
    Table(Arc<Table>),
    Stream(Box<StreamRow>),
}

impl Owner {
    fn policy(&self) -> Option<&ResourcePolicyText> {
        match self {
            Owner::Table(table) => table.record.policy.as_ref(),
            Owner::Stream(row) => row.policy.as_ref(),
        }
    }
}

/// The stream that an ARN names after its table.
fn stream_key(address: &Address, rest: &str) -> Option<StreamKey> {
    let label = rest.strip_prefix("stream/").filter(|label| !label.is_empty())?;
    Some((address.account, address.region.clone(), address.name.clone(), label.to_owned()))
}

pub async fn put_resource_policy(
    cx: &Cx,
    input: api::PutResourcePolicyInput,
) -> Result<api::PutResourcePolicyOutput, DynamoError> {
    let target = &Target::parse(input.resource_arn.as_deref())?;
    let policy = &read(cx, input.policy.as_deref().unwrap_or_default(), target.arn)?;
    let expected = input.expected_revision_id.as_deref();
    cx.transact(|txn| async move {
        let owner = target.load(cx, &txn).await?;
        target.check_revision(&owner, expected)?;
        target.store(&txn, &owner, Some(policy.clone()))
    })
    .await?;
    Ok(api::PutResourcePolicyOutput { revision_id: Some(policy.revision.clone()) })
}

pub async fn get_resource_policy(
    cx: &Cx,
    input: api::GetResourcePolicyInput,
) -> Result<api::GetResourcePolicyOutput, DynamoError> {
    let target = Target::parse(input.resource_arn.as_deref())?;
    let owner = target.load(cx, cx.store()).await?;
    let policy = owner.policy().cloned().ok_or_else(|| {
        DynamoError::modelled(
            "PolicyNotFoundException",
            format!("Resource-based policy not found for the provided ResourceArn: {}", target.arn),
        )
    })?;
    Ok(api::GetResourcePolicyOutput { policy: Some(policy.text), revision_id: Some(policy.revision) })
}

pub async fn delete_resource_policy(
    cx: &Cx,
    input: api::DeleteResourcePolicyInput,
) -> Result<api::DeleteResourcePolicyOutput, DynamoError> {
    let target = &Target::parse(input.resource_arn.as_deref())?;
    let expected = input.expected_revision_id.as_deref();
    let revision = cx
        .transact(|txn| async move {
            let owner = target.load(cx, &txn).await?;
            target.check_revision(&owner, expected)?;
            target.store(&txn, &owner, None)?;
            Ok::<_, DynamoError>(owner.policy().map(|policy| policy.revision.clone()))
        })
        .await?;
    Ok(api::DeleteResourcePolicyOutput { revision_id: Some(revision.unwrap_or_default()) })
}

/// The policy of the table, of the table of the index, or of the stream with this ARN.
pub async fn find(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Some((address, rest)) = Address::from_arn(arn) else { return Ok(None) };
    let policy = match rest.as_deref() {
        Some(rest) if !rest.starts_with("index/") => match stream_key(&address, rest) {
            Some(key) => of_stream(cx, &key).await?,
            None => None,
        },
        _ => {
            let table = cx.state::<Dynamo>().find_now(cx.store(), &address).await?;
            table.and_then(|table| table.policy.clone())
        }
    };
    Ok(policy.map(|policy| ResourcePolicy { name: Arc::from(arn), policy, must_allow: false }))
}

async fn of_stream(cx: &Cx, key: &StreamKey) -> Result<Option<Arc<Policy>>, DynamoError> {
    let row = STREAMS.get(cx.store(), key).await?.filter(|row| !stream::is_over(row, cx.now()));
    let Some(text) = row.and_then(|row| row.policy) else { return Ok(None) };
    let policy = Policy::parse(&text.text);
    let policy = policy.map_err(|error| StoreError::corrupt(format!("a stream's policy: {error}")))?;
    Ok(Some(Arc::new(policy)))
}
