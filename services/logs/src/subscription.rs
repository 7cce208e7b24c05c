//! `PutSubscriptionFilter`, `DeleteSubscriptionFilter`, `DescribeSubscriptionFilters`, and the delivery of events to Lambda.
//!
//! A batch that a filter takes leaves a row of work in its own transaction; the row says where the chunks lie, and the delivery
//! reads them from there. Each chunk is one invocation.
//!
//! Source: Amazon CloudWatch Logs User Guide, "Log group-level subscription filters" (what a function is sent); CloudWatch Logs
//! API Reference, "PutSubscriptionFilter". Recorded: the sentences.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pileus_api_lambda::{INVOKE, InvocationRequest};
use pileus_api_logs::{
    DeleteSubscriptionFilterRequest, DescribeSubscriptionFiltersRequest, DescribeSubscriptionFiltersResponse,
    PutSubscriptionFilterRequest, SubscriptionFilter, distribution,
};
use pileus_core::{AccountId, Arn, Region};
use pileus_platform::{Cx, Fault, Platform};
use pileus_store::due::{Job, NewJob};
use pileus_store::runner::Failure;
use pileus_store::{Space, Stored, Txn, table};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::address::Address;
use crate::error::LogsError;
use crate::event::chunk::{self, Event};
use crate::event::position::Position;
use crate::event::put::Place;
use crate::group::{self, Group};
use crate::keys::{self, WORK};
use crate::limits::MAX_SUBSCRIPTION_FILTERS;
use crate::metric_filter::check_class;
use crate::page;
use crate::pattern::Pattern;
use crate::state::{Logs, millis};

/// Kind of the rows of work.
pub const KIND: &str = "subscription";
/// Chunks of one row of work: each is an invocation, and a failure repeats them all.
const CHUNKS_OF_A_ROW: usize = 16;
/// A delivery that does not succeed is tried for as long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// A subscription filter, in the record of its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub name: String,
    pub pattern: String,
    /// A function's ARN.
    pub destination: String,
    pub distribution: String,
    pub created_at: i64,
}

/// What a row of work says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Delivery {
    account: AccountId,
    region: Region,
    group_name: String,
    group: u64,
    stream_name: String,
    stream: u64,
    filter: String,
    chunks: Vec<Place>,
}

impl Stored for Delivery {}

/// Leaves work for the filters that take something of a batch.
pub fn enqueue(
    txn: &Txn,
    cx: &Cx,
    group: &Group,
    stream: u64,
    stream_name: &str,
    chunks: &[(Place, Bytes)],
    events: &[Event],
) -> Result<(), LogsError> {
    for (filter, pattern) in group.record.subscriptions.iter().zip(&group.patterns) {
        let Some(pattern) = pattern else { continue };
        let takes = |message: &[u8]| pattern.matches(&String::from_utf8_lossy(message));
        if !events.iter().any(|(_, message)| takes(message)) {
            continue;
        }
        for part in chunks.chunks(CHUNKS_OF_A_ROW) {
            let delivery = Delivery {
                account: group.address.account,
                region: group.address.region.clone(),
                group_name: group.address.name.clone(),
                group: group.id(),
                stream_name: stream_name.to_owned(),
                stream,
                filter: filter.name.clone(),
                chunks: part.iter().map(|(place, _)| *place).collect(),
            };
            let id = format!("{:x}-{:x}-{}", group.id(), part[0].0.ordinal, filter.name);
            let payload = table::encode(&delivery)?;
            let job = NewJob { kind: KIND, id: &id, due: cx.now(), destination: "", payload: &payload };
            WORK.add(txn, &job)?;
        }
    }
    Ok(())
}

/// Delivers what a row of work names. What is gone meanwhile (the group, the filter, the events) needs no delivery.
pub async fn deliver(platform: Platform, job: Job) -> Result<(), Failure> {
    let delivery: Delivery = table::decode(&job.payload)?;
    let (logs, store) = (platform.state::<Logs>(), platform.store());
    let address = Address {
        account: delivery.account,
        region: delivery.region.clone(),
        name: delivery.group_name.clone(),
    };
    let Some(group) = logs.find_group(store, &address).await?.filter(|group| group.id() == delivery.group)
    else {
        return Ok(());
    };
    let filters = group.record.subscriptions.iter().zip(&group.patterns);
    let found = filters.into_iter().find(|(filter, _)| filter.name == delivery.filter);
    let Some((filter, Some(pattern))) = found else { return Ok(()) };
    let cx = Cx::background(&platform, PRINCIPAL, delivery.account, delivery.region.clone());
    for place in &delivery.chunks {
        let key = keys::chunk(delivery.group, delivery.stream, place.lane, place.first, place.ordinal);
        let Some(row) = store.get(Space::Log, &key).await? else { continue };
        let Some(payload) = payload(&delivery, place, &row, pattern)? else { continue };
        if let Err(fault) = invoke(&cx, &address, &filter.destination, "Event", payload).await {
            let waited = platform.clock().now().since(job.due);
            if fault.is_sender_fault && fault.status != 429 && waited > GIVE_UP_AFTER {
                tracing::warn!(%fault, filter = filter.name, group = address.name, "log events are not delivered: given up");
                return Ok(());
            }
            return Err(Failure::new(fault));
        }
    }
    Ok(())
}

/// What a function is sent: the matching events of a chunk, as JSON, gzipped, in base64. `None` when none matches.
fn payload(
    delivery: &Delivery,
    place: &Place,
    row: &Bytes,
    pattern: &Pattern,
) -> Result<Option<Bytes>, Failure> {
    let chunk = chunk::decode(place.first, row)?;
    let numbered = (0u32..).zip(chunk.events);
    let events: Vec<_> = numbered
        .filter_map(|(index, (at, message))| {
            let text = String::from_utf8_lossy(&message);
            let position = Position { at, ordinal: place.ordinal, index };
            let event = || json!({"id": position.event_id(), "timestamp": at, "message": text});
            pattern.matches(&text).then(event)
        })
        .collect();
    if events.is_empty() {
        return Ok(None);
    }
    let data = json!({
        "messageType": "DATA_MESSAGE",
        "owner": delivery.account.as_str(),
        "logGroup": delivery.group_name,
        "logStream": delivery.stream_name,
        "subscriptionFilters": [delivery.filter],
        "logEvents": events,
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    let zipped = gzip.write_all(data.to_string().as_bytes()).and_then(|()| gzip.finish());
    let zipped = zipped.map_err(Failure::new)?;
    Ok(Some(json!({"awslogs": {"data": BASE64.encode(zipped)}}).to_string().into()))
}

const PRINCIPAL: &str = "logs.amazonaws.com";

/// Invokes a function as CloudWatch Logs on behalf of a group. Functions trust the service by its name or, as the user guide
/// has it, by its name in their region.
async fn invoke(cx: &Cx, group: &Address, function: &str, kind: &str, payload: Bytes) -> Result<(), Fault> {
    let source = Arn::parse(&format!("{}:*", group.arn()))
        .map_err(|error| Fault::receiver("InternalFailure", error.to_string()))?;
    let mut answer = Ok(());
    for principal in [PRINCIPAL, regional(&group.region)] {
        let input = InvocationRequest {
            function_name: Some(function.to_owned()),
            invocation_type: Some(kind.to_owned()),
            payload: Some(payload.clone()),
            ..InvocationRequest::default()
        };
        answer = cx.as_service(principal, &source).call(INVOKE, input).await.map(|_| ());
        if !answer.as_ref().is_err_and(|fault| fault.code.starts_with("AccessDenied")) {
            break;
        }
    }
    answer
}

/// `logs.us-east-1.amazonaws.com`, kept for ever: a principal's name is static, and regions are few.
fn regional(region: &Region) -> &'static str {
    const MAX_REGIONS: usize = 64;
    static NAMES: Mutex<Option<HashMap<Region, &'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_with(HashMap::new);
    if let Some(name) = names.get(region) {
        return name;
    }
    if names.len() >= MAX_REGIONS {
        return PRINCIPAL;
    }
    let name: &'static str = format!("logs.{}.amazonaws.com", region.as_str()).leak();
    names.insert(region.clone(), name);
    name
}

pub async fn put_subscription_filter(
    cx: &Cx,
    input: PutSubscriptionFilterRequest,
) -> Result<Unit, LogsError> {
    if input.apply_on_transformed_logs == Some(true) {
        return Err(LogsError::lacking("subscription filters on transformed logs (applyOnTransformedLogs)"));
    }
    if input.field_selection_criteria.is_some() || input.emit_system_fields.is_some() {
        return Err(LogsError::lacking(
            "subscription filters with field selection criteria or system fields",
        ));
    }
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let pattern = input.filter_pattern.unwrap_or_default();
    Pattern::parse(&pattern)?;
    let destination = input.destination_arn.unwrap_or_default();
    check_destination(cx, &destination, input.role_arn.as_deref())?;
    let logs = cx.state::<Logs>();
    check_class(&logs.group(cx.store(), address).await?.record)?;
    if let Err(fault) = invoke(cx, address, &destination, "DryRun", Bytes::from_static(b"{}")).await {
        tracing::debug!(%fault, destination, "the destination of a subscription filter cannot be invoked");
        return Err(LogsError::invalid(
            "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your function.",
        ));
    }
    let filter = &Subscription {
        name: input.filter_name.unwrap_or_default(),
        pattern,
        destination,
        distribution: input.distribution.unwrap_or_else(|| distribution::BY_LOG_STREAM.to_owned()),
        created_at: millis(cx.now()),
    };
    group::change(cx, address, |record| {
        let position = record.subscriptions.iter().position(|present| present.name == filter.name);
        match position {
            Some(at) => {
                let created_at = record.subscriptions[at].created_at;
                record.subscriptions[at] = Subscription { created_at, ..filter.clone() };
            }
            None if record.subscriptions.len() >= MAX_SUBSCRIPTION_FILTERS => {
                return Err(LogsError::LimitExceeded);
            }
            None => record.subscriptions.push(filter.clone()),
        }
        Ok(())
    })
    .await
}

/// # Errors
/// `InvalidParameterException`, `AccessDeniedException`; 501 for destinations that are not functions.
fn check_destination(cx: &Cx, destination: &str, role: Option<&str>) -> Result<(), LogsError> {
    let arn = Arn::parse(destination)
        .map_err(|_| LogsError::invalid("The specified destinationArn is not a valid ARN."))?;
    match arn.service() {
        "lambda" if arn.account() != cx.account().as_str() => Err(LogsError::AccessDenied(
            "Cross-account lambda invocation passing is not allowed. You must use DestinationPolicies to create cross account lambda triggers."
                .to_owned(),
        )),
        "lambda" if role.is_some() => Err(LogsError::invalid(
            "destinationArn for vendor lambda cannot be used with roleArn",
        )),
        "lambda" => Ok(()),
        vendor @ ("kinesis" | "firehose") if role.is_none() => Err(LogsError::invalid(format!(
            "destinationArn for vendor {vendor} cannot be used without roleArn"
        ))),
        vendor @ ("kinesis" | "firehose" | "logs") => {
            Err(LogsError::lacking(format!("delivery of subscriptions to destinations of {vendor}")))
        }
        vendor => Err(LogsError::invalid(format!("destinationArn of vendor {vendor} is not supported"))),
    }
}

pub async fn delete_subscription_filter(
    cx: &Cx,
    input: DeleteSubscriptionFilterRequest,
) -> Result<Unit, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = input.filter_name.unwrap_or_default();
    group::change(cx, &address, |record| {
        let before = record.subscriptions.len();
        record.subscriptions.retain(|filter| filter.name != name);
        if record.subscriptions.len() == before {
            let text = "The specified subscription filter does not exist.";
            return Err(LogsError::NotFound(text.to_owned()));
        }
        Ok(())
    })
    .await
}

pub async fn describe_subscription_filters(
    cx: &Cx,
    input: DescribeSubscriptionFiltersRequest,
) -> Result<DescribeSubscriptionFiltersResponse, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    let group = cx.state::<Logs>().group(cx.store(), &address).await?;
    let prefix = input.filter_name_prefix.unwrap_or_default();
    let after = page::read(input.next_token.as_deref())?;
    let mut filters: Vec<&Subscription> = group
        .record
        .subscriptions
        .iter()
        .filter(|filter| filter.name.starts_with(&prefix))
        .filter(|filter| after.as_ref().is_none_or(|after| filter.name > *after))
        .collect();
    filters.sort_by(|a, b| a.name.cmp(&b.name));
    let limit = page::limit(input.limit);
    let more = filters.len() > limit;
    filters.truncate(limit);
    let next_token = page::next(more, filters.last().map(|filter| filter.name.as_str()));
    let filters = filters.into_iter().map(|filter| SubscriptionFilter {
        filter_name: Some(filter.name.clone()),
        log_group_name: Some(address.name.clone()),
        filter_pattern: Some(filter.pattern.clone()),
        destination_arn: Some(filter.destination.clone()),
        distribution: Some(filter.distribution.clone()),
        apply_on_transformed_logs: Some(false),
        creation_time: Some(filter.created_at),
        ..SubscriptionFilter::default()
    });
    Ok(DescribeSubscriptionFiltersResponse { subscription_filters: Some(filters.collect()), next_token })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_function_is_sent_the_matching_events_zipped() {
        let place = Place { lane: 0, first: 1_000, ordinal: 7 };
        let delivery = Delivery {
            account: AccountId::DEFAULT,
            region: Region::us_east_1(),
            group_name: "/app".to_owned(),
            group: 1,
            stream_name: "s".to_owned(),
            stream: 2,
            filter: "errors".to_owned(),
            chunks: vec![place],
        };
        let events =
            [(1_000, Bytes::from("fine")), (1_001, Bytes::from("ERROR é")), (1_002, Bytes::from("ERROR"))];
        let row = chunk::encode(5, &events);
        let pattern = Pattern::parse("ERROR").expect("a pattern");
        let payload = payload(&delivery, &place, &row, &pattern).expect("a chunk").expect("two match");
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        let zipped = BASE64.decode(payload["awslogs"]["data"].as_str().expect("text")).expect("base64");
        let mut data = String::new();
        GzDecoder::new(&zipped[..]).read_to_string(&mut data).expect("gzip");
        let id = |index, at| Position { at, ordinal: 7, index }.event_id();
        let expected = json!({
            "messageType": "DATA_MESSAGE",
            "owner": "000000000000",
            "logGroup": "/app",
            "logStream": "s",
            "subscriptionFilters": ["errors"],
            "logEvents": [
                {"id": id(1, 1_001), "timestamp": 1_001, "message": "ERROR é"},
                {"id": id(2, 1_002), "timestamp": 1_002, "message": "ERROR"},
            ],
        });
        assert_eq!(serde_json::from_str::<Value>(&data).expect("JSON"), expected);
        let none = Pattern::parse("WARN").expect("a pattern");
        assert!(super::payload(&delivery, &place, &row, &none).expect("a chunk").is_none());
    }

    #[test]
    fn the_services_name_in_a_region_is_made_once() {
        let region = Region::us_east_1();
        assert_eq!(regional(&region), "logs.us-east-1.amazonaws.com");
        assert!(std::ptr::eq(regional(&region), regional(&region)));
    }
}
