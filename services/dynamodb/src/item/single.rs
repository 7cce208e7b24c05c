//! `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`.

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::Space;

use crate::capacity::{self, Consistency, Consumed, Side};
use crate::error::DynamoError;
use crate::expression::path::Projection;
use crate::item::collection;
use crate::item::request::{self, WriteParameters, check_update, shows_item};
use crate::item::write::{self, Action, Applied, Change, Origin, Run};
use crate::keys;
use crate::state::Dynamo;
use crate::stream::read::is_alone;
use crate::table::{Address, Table};
use crate::throttle;
use crate::value::{Item, decode_item, item_from_wire, item_into_wire, item_size};

/// `GetItem`: one point read.
pub async fn get_item(cx: &Cx, input: api::GetItemInput) -> Result<api::GetItemOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let projection = request::projection(
        input.projection_expression,
        input.expression_attribute_names,
        input.attributes_to_get,
    )?;
    let key = item_from_wire(input.key.unwrap_or_default())?;
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let place = table.schema().encode_key(&key)?;
    throttle::admit(cx, &table, None, Side::Read)?;
    let row = keys::item(table.record.generation, &place);
    let item = cx.store().get(Space::Items, &row).await?.map(|bytes| decode_item(&bytes)).transpose()?;
    let units = Consistency::of(input.consistent_read).units(item.as_ref().map_or(0, item_size));
    let consumed = Consumed { table: units, ..Consumed::default() };
    throttle::charge(cx, &table, &consumed, Side::Read);
    Ok(api::GetItemOutput {
        item: item.map(|item| match &projection {
            Some(projection) => item_into_wire(projection.apply(&item)),
            None => item_into_wire(item),
        }),
        consumed_capacity: capacity::report(
            input.return_consumed_capacity.as_deref(),
            &table,
            &name,
            &consumed,
            None,
        ),
    })
}

/// Runs one change in a transaction of its own.
///
/// # Errors
/// As [`write::apply`]; `ResourceNotFoundException`, `ProvisionedThroughputExceededException`
pub async fn run(cx: &Cx, table: &Table, change: &Change) -> Result<Applied, DynamoError> {
    throttle::admit(cx, table, None, Side::Write)?;
    let dynamo = cx.state::<Dynamo>();
    let ticket = dynamo.order.ticket(cx.clock().monotonic());
    let (held, now, address) = (&ticket, cx.now(), &table.address);
    let applied = cx
        .transact(|txn| async move {
            held.restart();
            let table = dynamo.load_known(&txn, address).await?;
            let run =
                Run { dynamo, now, ticket: held, origin: Origin::Caller, is_shared: !is_alone(cx.store()) };
            write::apply(&txn, &run, &table, change).await
        })
        .await;
    dynamo.finish(ticket, applied.is_ok());
    if let Ok(applied) = &applied {
        throttle::charge(cx, table, &applied.consumed, Side::Write);
    }
    applied
}

/// # Errors
/// `ValidationException` for a kind of answer that the operation does not give.
fn check_return_values(wanted: Option<&str>) -> Result<bool, DynamoError> {
    match wanted {
        None | Some("NONE") => Ok(false),
        Some("ALL_OLD") => Ok(true),
        Some(_) => Err(DynamoError::validation("ReturnValues can only be ALL_OLD or NONE")),
    }
}

/// A change that puts a whole item.
///
/// # Errors
/// `ValidationException`
pub fn put(
    table: &Table,
    item: Item,
    parameters: WriteParameters,
    shows: bool,
) -> Result<Change, DynamoError> {
    let (condition, _) = parameters.read()?;
    let key = table.schema().encode_item(&item)?;
    write::check_size(&item)?;
    write::check_index_keys(table, &item)?;
    Ok(Change {
        generation: table.record.generation,
        key,
        key_item: table.schema().pick(&item),
        condition,
        action: Action::Put(item),
        shows_item: shows,
    })
}

/// A change of the item with a key: an update, a deletion or a check.
///
/// # Errors
/// `ValidationException`
pub fn keyed(
    table: &Table,
    key_item: Item,
    parameters: WriteParameters,
    action: Option<Action>,
    shows: bool,
) -> Result<Change, DynamoError> {
    let (condition, update) = parameters.read()?;
    let key = table.schema().encode_key(&key_item)?;
    let action = match action {
        Some(action) => action,
        None => {
            check_update(&update, table.schema())?;
            Action::Update(update)
        }
    };
    Ok(Change { generation: table.record.generation, key, key_item, condition, action, shows_item: shows })
}

/// `PutItem`
pub async fn put_item(cx: &Cx, input: api::PutItemInput) -> Result<api::PutItemOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let shows_old = check_return_values(input.return_values.as_deref())?;
    let item = item_from_wire(input.item.unwrap_or_default())?;
    let parameters = WriteParameters {
        condition: input.condition_expression,
        names: input.expression_attribute_names,
        values: input.expression_attribute_values,
        expected: input.expected,
        operator: input.conditional_operator,
        ..WriteParameters::default()
    };
    let shows = shows_item(input.return_values_on_condition_check_failure.as_deref());
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let change = put(&table, item, parameters, shows)?;
    let applied = run(cx, &table, &change).await?;
    let wanted = input.return_consumed_capacity.as_deref();
    Ok(api::PutItemOutput {
        attributes: applied.old.filter(|_| shows_old).map(item_into_wire),
        consumed_capacity: capacity::report(wanted, &table, &name, &applied.consumed, None),
        item_collection_metrics: collection::metrics(
            cx,
            input.return_item_collection_metrics.as_deref(),
            &table,
            &change.key_item,
        )
        .await?,
    })
}

/// `DeleteItem`: an item that is not there is no error.
pub async fn delete_item(cx: &Cx, input: api::DeleteItemInput) -> Result<api::DeleteItemOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let shows_old = check_return_values(input.return_values.as_deref())?;
    let key = item_from_wire(input.key.unwrap_or_default())?;
    let parameters = WriteParameters {
        condition: input.condition_expression,
        names: input.expression_attribute_names,
        values: input.expression_attribute_values,
        expected: input.expected,
        operator: input.conditional_operator,
        ..WriteParameters::default()
    };
    let shows = shows_item(input.return_values_on_condition_check_failure.as_deref());
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let change = keyed(&table, key, parameters, Some(Action::Delete), shows)?;
    let applied = run(cx, &table, &change).await?;
    let wanted = input.return_consumed_capacity.as_deref();
    Ok(api::DeleteItemOutput {
        attributes: applied.old.filter(|_| shows_old).map(item_into_wire),
        consumed_capacity: capacity::report(wanted, &table, &name, &applied.consumed, None),
        item_collection_metrics: collection::metrics(
            cx,
            input.return_item_collection_metrics.as_deref(),
            &table,
            &change.key_item,
        )
        .await?,
    })
}

/// `UpdateItem`: makes the item if it is not there.
pub async fn update_item(cx: &Cx, input: api::UpdateItemInput) -> Result<api::UpdateItemOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let key = item_from_wire(input.key.unwrap_or_default())?;
    let parameters = WriteParameters {
        condition: input.condition_expression,
        update: input.update_expression,
        names: input.expression_attribute_names,
        values: input.expression_attribute_values,
        expected: input.expected,
        operator: input.conditional_operator,
        updates: input.attribute_updates,
        is_update: true,
    };
    let shows = shows_item(input.return_values_on_condition_check_failure.as_deref());
    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let change = keyed(&table, key, parameters, None, shows)?;
    let applied = run(cx, &table, &change).await?;
    let touched = match &change.action {
        Action::Update(update) => update.touched(),
        _ => Projection(Vec::new()),
    };
    let wanted = input.return_consumed_capacity.as_deref();
    let consumed_capacity = capacity::report(wanted, &table, &name, &applied.consumed, None);
    let attributes = match input.return_values.as_deref() {
        Some("ALL_OLD") => applied.old,
        Some("ALL_NEW") => applied.new,
        Some("UPDATED_OLD") => applied.old.map(|item| touched.apply(&item)).filter(|item| !item.is_empty()),
        Some("UPDATED_NEW") => applied.new.map(|item| touched.apply(&item)).filter(|item| !item.is_empty()),
        _ => None,
    };
    Ok(api::UpdateItemOutput {
        attributes: attributes.map(item_into_wire),
        consumed_capacity,
        item_collection_metrics: collection::metrics(
            cx,
            input.return_item_collection_metrics.as_deref(),
            &table,
            &change.key_item,
        )
        .await?,
    })
}
