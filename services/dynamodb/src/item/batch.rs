//! `BatchGetItem`, `BatchWriteItem`: many requests in one, each on its own.
//!
//! Source: API Reference, "BatchGetItem", "BatchWriteItem".

use std::collections::BTreeSet;

use futures_util::future::join_all;
use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::Space;
use pileus_wire::value::Map;

use crate::capacity::{self, Consistency, Consumed, Side};
use crate::error::DynamoError;
use crate::item::collection;
use crate::item::request::{self, WriteParameters};
use crate::item::single;
use crate::item::write::{Action, Change};
use crate::keys;
use crate::state::Dynamo;
use crate::table::{Address, Table};
use crate::throttle;
use crate::value::{decode_item, item_from_wire, item_into_wire, item_size};

const MAX_READS: usize = 100;
const MAX_WRITES: usize = 25;
/// Bytes of one answer; what does not fit is left for another request.
const MAX_ANSWER: usize = 16 << 20;

fn duplicates() -> DynamoError {
    DynamoError::validation("Provided list of item keys contains duplicates")
}

/// `BatchGetItem`
pub async fn batch_get_item(
    cx: &Cx,
    input: api::BatchGetItemInput,
) -> Result<api::BatchGetItemOutput, DynamoError> {
    let requests = input.request_items.unwrap_or_default();
    let count: usize = requests.iter().map(|(_, one)| one.keys.as_ref().map_or(0, Vec::len)).sum();
    if count > MAX_READS {
        return Err(DynamoError::validation("Too many items requested for the BatchGetItem call"));
    }
    let wanted = input.return_consumed_capacity.as_deref();
    let (mut responses, mut left, mut capacities) = (Map::default(), Map::default(), Vec::new());
    let mut bytes = 0;
    for (name, one) in requests.0 {
        let got = get_from(cx, &name, one, &mut bytes).await?;
        if !got.left.keys.as_ref().is_none_or(Vec::is_empty) {
            left.insert(name.clone(), got.left);
        }
        capacities.extend(capacity::report(wanted, &got.table, &name, &got.consumed, None));
        responses.insert(name, got.items);
    }
    Ok(api::BatchGetItemOutput {
        responses: Some(responses),
        unprocessed_keys: Some(left),
        consumed_capacity: wanted.filter(|wanted| *wanted != "NONE").map(|_| capacities),
    })
}

struct Got {
    table: std::sync::Arc<Table>,
    items: Vec<crate::value::WireItem>,
    left: api::KeysAndAttributes,
    consumed: Consumed,
}

async fn get_from(
    cx: &Cx,
    name: &str,
    one: api::KeysAndAttributes,
    bytes: &mut usize,
) -> Result<Got, DynamoError> {
    let address = Address::parse(cx, name)?;
    let mut left = api::KeysAndAttributes { keys: Some(Vec::new()), ..one.clone() };
    let projection = request::projection(
        one.projection_expression,
        one.expression_attribute_names,
        one.attributes_to_get,
    )?;
    let wire_keys = one.keys.unwrap_or_default();
    let keys = wire_keys.iter().cloned().map(item_from_wire).collect::<Result<Vec<_>, _>>()?;
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let places = keys.iter().map(|key| table.schema().encode_key(key)).collect::<Result<Vec<_>, _>>()?;
    if places.iter().collect::<BTreeSet<_>>().len() != places.len() {
        return Err(duplicates());
    }
    throttle::admit(cx, &table, None, Side::Read)?;
    let rows: Vec<_> =
        places.iter().map(|place| (Space::Items, keys::item(table.record.generation, place))).collect();
    let consistency = Consistency::of(one.consistent_read);
    let (mut items, mut consumed) = (Vec::new(), Consumed::default());
    for (found, key) in cx.store().multi_get(&rows).await?.into_iter().zip(wire_keys) {
        let item = found.map(|(bytes, _)| decode_item(&bytes)).transpose()?;
        let size = item.as_ref().map_or(0, item_size);
        if *bytes + size > MAX_ANSWER {
            left.keys.get_or_insert_default().push(key);
            continue;
        }
        *bytes += size;
        consumed.table += consistency.units(size);
        if let Some(item) = item {
            items.push(match &projection {
                Some(projection) => item_into_wire(projection.apply(&item)),
                None => item_into_wire(item),
            });
        }
    }
    throttle::charge(cx, &table, &consumed, Side::Read);
    Ok(Got { table, items, left, consumed })
}

/// One write of a batch, checked.
struct Planned {
    name: String,
    table: std::sync::Arc<Table>,
    change: Change,
    request: api::WriteRequest,
}

/// `BatchWriteItem`
pub async fn batch_write_item(
    cx: &Cx,
    input: api::BatchWriteItemInput,
) -> Result<api::BatchWriteItemOutput, DynamoError> {
    let requests = input.request_items.unwrap_or_default();
    let count: usize = requests.iter().map(|(_, writes)| writes.len()).sum();
    if count > MAX_WRITES {
        return Err(DynamoError::validation("Too many items requested for the BatchWriteItem call"));
    }
    let mut planned = Vec::new();
    for (name, writes) in requests.0 {
        let address = Address::parse(cx, &name)?;
        let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
        for request in writes {
            let change = plan(&table, request.clone())?;
            planned.push(Planned { name: name.clone(), table: table.clone(), change, request });
        }
    }
    let places: BTreeSet<_> = planned.iter().map(|one| (one.change.generation, &one.change.key)).collect();
    if places.len() != planned.len() {
        return Err(duplicates());
    }
    let written = join_all(planned.iter().map(|one| single::run(cx, &one.table, &one.change))).await;
    let mut left: Map<Vec<api::WriteRequest>> = Map::default();
    let mut metrics: Map<Vec<api::ItemCollectionMetrics>> = Map::default();
    let mut consumed: Vec<(String, std::sync::Arc<Table>, Consumed)> = Vec::new();
    let metrics_wanted = input.return_item_collection_metrics.as_deref();
    let total = planned.len();
    let mut throttled = 0;
    for (one, outcome) in planned.into_iter().zip(written) {
        match outcome {
            Ok(applied) => {
                let metric =
                    collection::metrics(cx, metrics_wanted, &one.table, &one.change.key_item).await?;
                if let Some(metric) = metric {
                    push(&mut metrics, &one.name, metric);
                }
                match consumed.iter_mut().find(|(name, ..)| *name == one.name) {
                    Some((.., sum)) => sum.add(&applied.consumed),
                    None => consumed.push((one.name, one.table, applied.consumed)),
                }
            }
            Err(error) if error.code() == "ProvisionedThroughputExceededException" => {
                throttled += 1;
                push(&mut left, &one.name, one.request);
            }
            Err(error) => return Err(error),
        }
    }
    if throttled == total && total > 0 {
        return Err(throttle::exceeded());
    }
    let wanted = input.return_consumed_capacity.as_deref();
    let capacities = consumed
        .iter()
        .filter_map(|(name, table, consumed)| capacity::report(wanted, table, name, consumed, None));
    Ok(api::BatchWriteItemOutput {
        unprocessed_items: Some(left),
        item_collection_metrics: (!metrics.is_empty()).then_some(metrics),
        consumed_capacity: wanted.filter(|wanted| *wanted != "NONE").map(|_| capacities.collect()),
    })
}

fn push<T>(map: &mut Map<Vec<T>>, name: &str, value: T) {
    match map.0.iter_mut().find(|(known, _)| known == name) {
        Some((_, list)) => list.push(value),
        None => map.0.push((name.to_owned(), vec![value])),
    }
}

fn plan(table: &Table, request: api::WriteRequest) -> Result<Change, DynamoError> {
    let nothing = WriteParameters::default;
    match (request.put_request, request.delete_request) {
        (Some(put), None) => {
            single::put(table, item_from_wire(put.item.unwrap_or_default())?, nothing(), false)
        }
        (None, Some(delete)) => {
            let key = item_from_wire(delete.key.unwrap_or_default())?;
            single::keyed(table, key, nothing(), Some(Action::Delete), false)
        }
        (Some(_), Some(_)) => Err(DynamoError::validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
        )),
        (None, None) => Err(DynamoError::validation(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        )),
    }
}
