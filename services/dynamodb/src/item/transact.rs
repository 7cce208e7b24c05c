//! `TransactGetItems`, `TransactWriteItems`: all or nothing, at one moment.
//!
//! Source: API Reference, "TransactWriteItems", "TransactGetItems"; Developer Guide, "Amazon DynamoDB Transactions: How it
//! works".

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::{Space, StoreError};
use pileus_wire::value::Map;
use ring::digest::{SHA256, digest};

use crate::capacity::{self, Consistency, Consumed, Side};
use crate::error::{DynamoError, Reason};
use crate::expression::path::Projection;
use crate::item::collection;
use crate::item::request::{self, WriteParameters, shows_item};
use crate::item::single;
use crate::item::token;
use crate::item::write::{self, Action, Applied, Change, Origin, Run};
use crate::keys;
use crate::state::Dynamo;
use crate::stream::read::is_alone;
use crate::table::schema::EncodedKey;
use crate::table::{Address, Table};
use crate::throttle;
use crate::value::{decode_item, item_from_wire, item_into_wire, item_size};

/// Bytes of all items of one transaction.
const MAX_BYTES: usize = 4 << 20;

/// One action, checked.
pub struct Planned {
    /// As the request names the table.
    pub name: String,
    pub table: Arc<Table>,
    pub change: Change,
}

/// What the checks of one action say: its plan, or why the whole transaction is cancelled.
enum Verdict {
    Fine(Box<Planned>),
    Refused(Reason),
}

async fn load(cx: &Cx, name: Option<String>) -> Result<(String, Arc<Table>), DynamoError> {
    let name = name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    Ok((name, table))
}

/// `TransactWriteItems`
pub async fn transact_write_items(
    cx: &Cx,
    input: api::TransactWriteItemsInput,
) -> Result<api::TransactWriteItemsOutput, DynamoError> {
    let digest = input.client_request_token.is_some().then(|| fingerprint(&input));
    let items = input.transact_items.unwrap_or_default();
    let (mut planned, mut reasons) = (Vec::new(), Vec::new());
    for item in items {
        match plan(cx, item).await? {
            Verdict::Fine(one) => {
                planned.push(*one);
                reasons.push(Reason::default());
            }
            Verdict::Refused(reason) => reasons.push(reason),
        }
    }
    if reasons.iter().any(|reason| reason.code.is_some()) {
        return Err(DynamoError::TransactionCanceled(reasons));
    }
    let token = input.client_request_token.as_deref().zip(digest.as_deref());
    let applied = run(cx, &planned, token).await?;
    let wanted = input.return_consumed_capacity.as_deref();
    let metrics_wanted = input.return_item_collection_metrics.as_deref();
    let mut metrics: Map<Vec<api::ItemCollectionMetrics>> = Map::default();
    for one in &planned {
        let metric = collection::metrics(cx, metrics_wanted, &one.table, &one.change.key_item).await?;
        if let Some(metric) = metric {
            match metrics.0.iter_mut().find(|(name, _)| *name == one.name) {
                Some((_, list)) => list.push(metric),
                None => metrics.0.push((one.name.clone(), vec![metric])),
            }
        }
    }
    Ok(api::TransactWriteItemsOutput {
        consumed_capacity: report(wanted, &planned, &applied, Side::Write),
        item_collection_metrics: (!metrics.is_empty()).then_some(metrics),
    })
}

/// The same for equal requests.
fn fingerprint(input: &api::TransactWriteItemsInput) -> String {
    let text = format!("{:?}", input.transact_items);
    hex::encode(digest(&SHA256, text.as_bytes()))
}

/// Consumed units by table, in the order of the request.
pub fn report(
    wanted: Option<&str>,
    planned: &[Planned],
    applied: &[Applied],
    side: Side,
) -> Option<Vec<api::ConsumedCapacity>> {
    wanted.filter(|wanted| *wanted != "NONE")?;
    let mut sums: Vec<(&Planned, Consumed)> = Vec::new();
    for (one, applied) in planned.iter().zip(applied) {
        let consumed = applied.consumed.clone().times(2.0);
        match sums.iter_mut().find(|(known, _)| known.name == one.name) {
            Some((_, sum)) => sum.add(&consumed),
            None => sums.push((one, consumed)),
        }
    }
    let reports = sums
        .iter()
        .filter_map(|(one, consumed)| capacity::report(wanted, &one.table, &one.name, consumed, Some(side)));
    Some(reports.collect())
}

/// Makes all changes in one commit.
///
/// # Errors
/// `TransactionCanceledException` with a reason for each action; `IdempotentParameterMismatchException`.
pub async fn run(
    cx: &Cx,
    planned: &[Planned],
    token: Option<(&str, &str)>,
) -> Result<Vec<Applied>, DynamoError> {
    let places: BTreeSet<(u64, &EncodedKey)> =
        planned.iter().map(|one| (one.change.generation, &one.change.key)).collect();
    if places.len() != planned.len() {
        return Err(DynamoError::validation(
            "Transaction request cannot include multiple operations on one item",
        ));
    }
    for one in planned {
        throttle::admit(cx, &one.table, None, Side::Write)?;
    }
    let dynamo = cx.state::<Dynamo>();
    let ticket = dynamo.order.ticket(cx.clock().monotonic());
    let (held, now) = (&ticket, cx.now());
    let applied = cx
        .transact(|txn| async move {
            held.restart();
            if let Some((token, digest)) = token
                && token::claim(cx, &txn, token, digest).await?
            {
                return Ok(planned.iter().map(|_| Applied::default()).collect());
            }
            let run =
                Run { dynamo, now, ticket: held, origin: Origin::Caller, is_shared: !is_alone(cx.store()) };
            let (mut all, mut reasons, mut bytes) = (Vec::new(), Vec::new(), 0);
            for one in planned {
                let table = dynamo.load_known(&txn, &one.table.address).await?;
                match write::apply(&txn, &run, &table, &one.change).await {
                    Ok(applied) => {
                        bytes += applied.size;
                        all.push(applied);
                        reasons.push(Reason::default());
                    }
                    Err(error) => reasons.push(reason(error)?),
                }
            }
            if reasons.iter().any(|reason| reason.code.is_some()) {
                return Err(DynamoError::TransactionCanceled(reasons));
            }
            if bytes > MAX_BYTES {
                return Err(DynamoError::validation(
                    "Transaction Exceeds the maximum aggregate size of 4 MB of the items in the transaction",
                ));
            }
            Ok(all)
        })
        .await;
    dynamo.finish(ticket, applied.is_ok());
    match applied {
        Ok(applied) => {
            for (one, applied) in planned.iter().zip(&applied) {
                throttle::charge(cx, &one.table, &applied.consumed.clone().times(2.0), Side::Write);
            }
            Ok(applied)
        }
        // Many transactions wanted the same items for too long.
        Err(DynamoError::Store(StoreError::Contention { .. })) => {
            let conflict = Reason {
                code: Some("TransactionConflict"),
                message: Some("Transaction is ongoing for the item".to_owned()),
                item: None,
            };
            Err(DynamoError::TransactionCanceled(planned.iter().map(|_| conflict.clone()).collect()))
        }
        Err(error) => Err(error),
    }
}

/// Why an action stands in the way of its transaction; errors of another kind end the request.
fn reason(error: DynamoError) -> Result<Reason, DynamoError> {
    let message = Some(error.public_message());
    match error {
        DynamoError::ConditionalCheckFailed { item } => {
            Ok(Reason { code: Some("ConditionalCheckFailed"), message, item: item.map(|item| *item) })
        }
        DynamoError::Validation(_) => Ok(Reason { code: Some("ValidationError"), message, item: None }),
        DynamoError::Modelled { code: "ItemCollectionSizeLimitExceededException", .. } => {
            Ok(Reason { code: Some("ItemCollectionSizeLimitExceeded"), message, item: None })
        }
        other => Err(other),
    }
}

async fn plan(cx: &Cx, item: api::TransactWriteItem) -> Result<Verdict, DynamoError> {
    let api::TransactWriteItem { condition_check, put, delete, update } = item;
    match (condition_check, put, delete, update) {
        (Some(check), None, None, None) => {
            let (name, table) = load(cx, check.table_name).await?;
            let parameters = WriteParameters {
                condition: check.condition_expression,
                names: check.expression_attribute_names,
                values: check.expression_attribute_values,
                ..WriteParameters::default()
            };
            let shows = shows_item(check.return_values_on_condition_check_failure.as_deref());
            let key = item_from_wire(check.key.unwrap_or_default())?;
            let change = single::keyed(&table, key, parameters, Some(Action::Check), shows);
            verdict(name, table, change)
        }
        (None, Some(put), None, None) => {
            let (name, table) = load(cx, put.table_name).await?;
            let parameters = WriteParameters {
                condition: put.condition_expression,
                names: put.expression_attribute_names,
                values: put.expression_attribute_values,
                ..WriteParameters::default()
            };
            let shows = shows_item(put.return_values_on_condition_check_failure.as_deref());
            let item = item_from_wire(put.item.unwrap_or_default())?;
            let change = single::put(&table, item, parameters, shows);
            verdict(name, table, change)
        }
        (None, None, Some(delete), None) => {
            let (name, table) = load(cx, delete.table_name).await?;
            let parameters = WriteParameters {
                condition: delete.condition_expression,
                names: delete.expression_attribute_names,
                values: delete.expression_attribute_values,
                ..WriteParameters::default()
            };
            let shows = shows_item(delete.return_values_on_condition_check_failure.as_deref());
            let key = item_from_wire(delete.key.unwrap_or_default())?;
            let change = single::keyed(&table, key, parameters, Some(Action::Delete), shows);
            verdict(name, table, change)
        }
        (None, None, None, Some(update)) => {
            let (name, table) = load(cx, update.table_name).await?;
            let parameters = WriteParameters {
                condition: update.condition_expression,
                update: update.update_expression,
                names: update.expression_attribute_names,
                values: update.expression_attribute_values,
                is_update: true,
                ..WriteParameters::default()
            };
            let shows = shows_item(update.return_values_on_condition_check_failure.as_deref());
            let key = item_from_wire(update.key.unwrap_or_default())?;
            let change = single::keyed(&table, key, parameters, None, shows);
            verdict(name, table, change)
        }
        _ => {
            Err(DynamoError::validation("TransactItems can only contain one of Check, Put, Update or Delete"))
        }
    }
}

/// What is wrong with one action's items cancels the transaction; what is wrong with its expressions ends the request.
fn verdict(
    name: String,
    table: Arc<Table>,
    change: Result<Change, DynamoError>,
) -> Result<Verdict, DynamoError> {
    match change {
        Ok(change) => Ok(Verdict::Fine(Box::new(Planned { name, table, change }))),
        Err(DynamoError::Validation(text)) if is_about_items(&text) => Ok(Verdict::Refused(Reason {
            code: Some("ValidationError"),
            message: Some(text.into_owned()),
            item: None,
        })),
        Err(error) => Err(error),
    }
}

fn is_about_items(text: &str) -> bool {
    text.starts_with("The provided key element")
        || text.starts_with("Item size")
        || text.starts_with("One or more parameter values")
}

/// One read, checked.
struct PlannedGet {
    name: String,
    table: Arc<Table>,
    place: EncodedKey,
    projection: Option<Projection>,
}

/// `TransactGetItems`: what was there at one moment.
pub async fn transact_get_items(
    cx: &Cx,
    input: api::TransactGetItemsInput,
) -> Result<api::TransactGetItemsOutput, DynamoError> {
    let mut planned = Vec::new();
    for item in input.transact_items.unwrap_or_default() {
        let get = item.get.unwrap_or_default();
        let projection =
            request::projection(get.projection_expression, get.expression_attribute_names, None)?;
        let key = item_from_wire(get.key.unwrap_or_default())?;
        let (name, table) = load(cx, get.table_name).await?;
        let place = table.schema().encode_key(&key)?;
        throttle::admit(cx, &table, None, Side::Read)?;
        planned.push(PlannedGet { name, table, place, projection });
    }
    let places: BTreeSet<_> = planned.iter().map(|one| (one.table.record.generation, &one.place)).collect();
    if places.len() != planned.len() {
        return Err(DynamoError::validation(
            "Transaction request cannot include multiple operations on one item",
        ));
    }
    let rows: Vec<_> = planned
        .iter()
        .map(|one| (Space::Items, keys::item(one.table.record.generation, &one.place)))
        .collect();
    let (mut responses, mut bytes) = (Vec::new(), 0);
    let mut consumed: Vec<(String, Arc<Table>, Consumed)> = Vec::new();
    for (found, one) in cx.store().multi_get(&rows).await?.into_iter().zip(planned) {
        let item = found.map(|(bytes, _)| decode_item(&bytes)).transpose()?;
        let size = item.as_ref().map_or(0, item_size);
        bytes += size;
        let units = Consumed { table: Consistency::Transactional.units(size), ..Consumed::default() };
        throttle::charge(cx, &one.table, &units, Side::Read);
        match consumed.iter_mut().find(|(name, ..)| *name == one.name) {
            Some((.., sum)) => sum.add(&units),
            None => consumed.push((one.name, one.table, units)),
        }
        responses.push(api::ItemResponse {
            item: item.map(|item| match &one.projection {
                Some(projection) => item_into_wire(projection.apply(&item)),
                None => item_into_wire(item),
            }),
        });
    }
    if bytes > MAX_BYTES {
        return Err(DynamoError::validation(
            "Transaction Exceeds the maximum aggregate size of 4 MB of the items in the transaction",
        ));
    }
    let wanted = input.return_consumed_capacity.as_deref();
    let reports = consumed
        .iter()
        .filter_map(|(name, table, units)| capacity::report(wanted, table, name, units, Some(Side::Read)));
    Ok(api::TransactGetItemsOutput {
        consumed_capacity: wanted.filter(|wanted| *wanted != "NONE").map(|_| reports.collect()),
        responses: Some(responses),
    })
}
