//! `UpdateTimeToLive`, `DescribeTimeToLive`.
//!
//! Source: API Reference, "UpdateTimeToLive"; Developer Guide, "Using time to live (TTL) in DynamoDB".

use pileus_api_dynamodb as api;
use pileus_platform::Cx;

use crate::error::DynamoError;
use crate::global;
use crate::state::Dynamo;
use crate::table::{self, Address, TimeToLive};

pub async fn update_time_to_live(
    cx: &Cx,
    input: api::UpdateTimeToLiveInput,
) -> Result<api::UpdateTimeToLiveOutput, DynamoError> {
    let address = &Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let specification = input.time_to_live_specification.unwrap_or_default();
    let attribute = &specification.attribute_name.clone().unwrap_or_default();
    let (dynamo, enabled) = (cx.state::<Dynamo>(), specification.enabled.unwrap_or(false));
    cx.transact(|txn| async move {
        let table = dynamo.load_named(&txn, address).await?;
        let mut record = table.record.clone();
        match (&record.time_to_live, enabled) {
            (Some(_), true) => return Err(DynamoError::validation("TimeToLive is already enabled")),
            (None, false) => return Err(DynamoError::validation("TimeToLive is already disabled")),
            (Some(present), false) if present.attribute != *attribute => {
                return Err(DynamoError::validation(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {}",
                    present.attribute
                )));
            }
            (Some(_), false) => record.time_to_live = None,
            (None, true) => {
                record.time_to_live = Some(TimeToLive { attribute: attribute.clone(), is_backfilling: true });
                table::backfill(&txn, address)?;
            }
        }
        global::sync(&**cx.rng(), &txn, dynamo, address, &record).await?;
        table::store(&txn, address, &record)
    })
    .await?;
    Ok(api::UpdateTimeToLiveOutput { time_to_live_specification: Some(specification) })
}

pub async fn describe_time_to_live(
    cx: &Cx,
    input: api::DescribeTimeToLiveInput,
) -> Result<api::DescribeTimeToLiveOutput, DynamoError> {
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let table = cx.state::<Dynamo>().load_named(cx.store(), &address).await?;
    let (status, attribute) = match &table.record.time_to_live {
        None => ("DISABLED", None),
        Some(ttl) if ttl.is_backfilling => ("ENABLING", Some(ttl.attribute.clone())),
        Some(ttl) => ("ENABLED", Some(ttl.attribute.clone())),
    };
    Ok(api::DescribeTimeToLiveOutput {
        time_to_live_description: Some(api::TimeToLiveDescription {
            time_to_live_status: Some(status.to_owned()),
            attribute_name: attribute,
        }),
    })
}
