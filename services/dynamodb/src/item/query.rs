//! `Query`, `Scan`.
//!
//! Source: API Reference, "Query", "Scan"; Developer Guide, "Paginating table query results in DynamoDB". Recorded: sentences
//! of errors.

use pileus_api_dynamodb as api;
use pileus_platform::Cx;

use crate::capacity::{self, Consistency, Side};
use crate::error::DynamoError;
use crate::expression::Kind;
use crate::expression::condition::Condition;
use crate::expression::key::KeyCondition;
use crate::expression::path::Projection;
use crate::expression::placeholder::{Given, Placeholders};
use crate::item::read::Reading;
use crate::keys;
use crate::legacy;
use crate::state::Dynamo;
use crate::table::schema::{EncodedKey, KeySchema, encode_partition};
use crate::table::{self, Address, Index, Projection as Kept, Table};
use crate::throttle;
use crate::value::{Item, item_from_wire, item_into_wire};

/// The index that a request names.
fn find_index<'a>(table: &'a Table, name: Option<&str>) -> Result<Option<&'a Index>, DynamoError> {
    let Some(name) = name else { return Ok(None) };
    let missing = || DynamoError::validation(format!("The table does not have the specified index: {name}"));
    let index = table.index(name).ok_or_else(missing)?;
    if index.is_backfilling {
        return Err(DynamoError::validation(format!(
            "Cannot read from backfilling global secondary index: {name}"
        )));
    }
    Ok(Some(index))
}

/// # Errors
/// `ValidationException` for a consistent read of a global index.
fn consistency(index: Option<&Index>, wanted: Option<bool>) -> Result<Consistency, DynamoError> {
    if wanted == Some(true) && index.is_some_and(|index| index.is_global) {
        return Err(DynamoError::validation(
            "Consistent reads are not supported on global secondary indexes",
        ));
    }
    Ok(Consistency::of(wanted))
}

/// What the answer has.
struct Selection {
    projection: Option<Projection>,
    counts_only: bool,
    fetches: bool,
}

/// Fits `Select` and a projection to each other and to the index.
fn select(
    select: Option<&str>,
    projection: Option<Projection>,
    projection_is_legacy: bool,
    table: &Table,
    index: Option<&Index>,
) -> Result<Selection, DynamoError> {
    let parameter = if projection_is_legacy { "AttributesToGet" } else { "ProjectionExpression" };
    let invalid = |text: String| Err(DynamoError::validation(text));
    match (select, &projection) {
        (Some("COUNT"), Some(_)) => {
            return invalid(format!("Cannot specify the {parameter} when choosing to get only the Count"));
        }
        (Some("ALL_ATTRIBUTES"), Some(_)) => {
            return invalid(format!("Cannot specify the {parameter} when choosing to get ALL_ATTRIBUTES"));
        }
        (Some("ALL_PROJECTED_ATTRIBUTES"), Some(_)) => {
            return invalid(format!(
                "Cannot specify the {parameter} when choosing to get ALL_PROJECTED_ATTRIBUTES"
            ));
        }
        (Some("SPECIFIC_ATTRIBUTES"), None) => {
            return invalid(
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
                    .to_owned(),
            );
        }
        (Some("ALL_PROJECTED_ATTRIBUTES"), None) if index.is_none() => {
            return invalid(
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".to_owned(),
            );
        }
        _ => {}
    }
    let mut fetches = false;
    if let Some(index) = index
        && index.projection != Kept::All
    {
        let is_kept = |name: &str| {
            table.schema().contains(name)
                || index.schema.contains(name)
                || matches!(&index.projection, Kept::Include(names) if names.iter().any(|one| one == name))
        };
        let missing: Vec<&str> =
            projection.iter().flat_map(Projection::attributes).filter(|name| !is_kept(name)).collect();
        if index.is_global {
            if select == Some("ALL_ATTRIBUTES") {
                return Err(DynamoError::parameter(format_args!(
                    "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its projection type is not ALL",
                    index.name
                )));
            }
            if !missing.is_empty() {
                return Err(DynamoError::parameter(format_args!(
                    "Global secondary index {} does not project [{}]",
                    index.name,
                    missing.join(", ")
                )));
            }
        }
        fetches = select == Some("ALL_ATTRIBUTES") || !missing.is_empty();
    }
    Ok(Selection { projection, counts_only: select == Some("COUNT"), fetches })
}

/// Where a page begins: the place of the item with these keys.
fn start(
    table: &Table,
    index: Option<&Index>,
    key: &Item,
    mismatch: impl Fn() -> DynamoError,
) -> Result<(bytes::Bytes, EncodedKey), DynamoError> {
    let item_key = table.schema().pick(key);
    let place = table.schema().encode_key(&item_key).map_err(|_| mismatch())?;
    let Some(index) = index else {
        if key.len() != item_key.len() {
            return Err(mismatch());
        }
        return Ok((keys::item(table.record.generation, &place), place));
    };
    let index_key = index.schema.pick(key);
    let is_foreign = |name: &String| !item_key.contains_key(name) && !index_key.contains_key(name);
    if key.keys().any(is_foreign) {
        return Err(mismatch());
    }
    let encoded = index.schema.encode_key(&index_key).map_err(|_| mismatch())?;
    let sort = index.schema.sort.as_ref().map(|sort| sort.kind);
    Ok((keys::entry(index.generation, &encoded, sort, &place), encoded))
}

/// # Errors
/// `ValidationException` for a filter on a key.
fn check_filter(filter: Option<&Condition>, schema: &KeySchema) -> Result<(), DynamoError> {
    for path in filter.iter().flat_map(|filter| filter.paths()) {
        if schema.contains(&path.root) {
            return Err(DynamoError::validation(format!(
                "Filter Expression can only contain non-primary key attributes: Primary key attribute: {}",
                path.root
            )));
        }
    }
    Ok(())
}

/// `Query`
pub async fn query(cx: &Cx, input: api::QueryInput) -> Result<api::QueryOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    if let Some(index) = &input.index_name {
        table::check_name("indexName", "IndexName", index)?;
    }
    let given = Given {
        expressions: &[
            (Kind::Projection.name(), input.projection_expression.is_some()),
            (Kind::Filter.name(), input.filter_expression.is_some()),
            (Kind::KeyCondition.name(), input.key_condition_expression.is_some()),
        ],
        legacy: &[
            ("AttributesToGet", input.attributes_to_get.is_some()),
            ("QueryFilter", input.query_filter.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
            ("KeyConditions", input.key_conditions.is_some() && input.key_condition_expression.is_some()),
        ],
    };
    let placeholders =
        Placeholders::read(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let start_key = input.exclusive_start_key.map(item_from_wire).transpose()?;
    let conditions = match (&input.key_condition_expression, input.key_conditions) {
        (Some(text), _) => KeyCondition::parse(text, &placeholders)?,
        (None, Some(conditions)) => legacy::key_conditions(conditions)?,
        (None, None) => {
            return Err(DynamoError::validation(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
            ));
        }
    };
    let filter = match (&input.filter_expression, input.query_filter) {
        (Some(text), _) => Some(Condition::parse(Kind::Filter, text, &placeholders)?),
        (None, Some(filter)) => legacy::filter(filter, input.conditional_operator.as_deref())?,
        (None, None) => None,
    };
    let is_legacy = input.attributes_to_get.is_some();
    let projection = match (&input.projection_expression, input.attributes_to_get) {
        (Some(text), _) => Some(Projection::parse(text, &placeholders)?),
        (None, Some(names)) => Some(legacy::projection(names)?),
        (None, None) => None,
    };
    placeholders.check_all_used()?;

    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let index = find_index(&table, input.index_name.as_deref())?;
    let consistency = consistency(index, input.consistent_read)?;
    let schema = index.map_or(table.schema(), |index| &index.schema);
    let condition = KeyCondition::fit(conditions, schema)?;
    check_filter(filter.as_ref(), schema)?;
    let selection = select(input.select.as_deref(), projection, is_legacy, &table, index)?;
    let place = index.map_or_else(|| table.place(), Index::place);
    let partition = encode_partition(&condition.partition);
    let mut range = place.range(&partition, &condition.sort);
    let is_backward = input.scan_index_forward == Some(false);
    if let Some(key) = &start_key {
        let mismatch = || DynamoError::validation("The provided starting key is invalid");
        let (row, encoded) = start(&table, index, key, mismatch)?;
        if encoded.partition != partition || !range.contains(&row) {
            return Err(DynamoError::validation(
                "The provided starting key is outside query boundaries based on provided conditions",
            ));
        }
        range = if is_backward { range.before(&row) } else { range.after(&row) };
    }
    throttle::admit(cx, &table, input.index_name.as_deref(), Side::Read)?;
    let reading = Reading {
        table: &table,
        index,
        range,
        is_backward,
        limit: input.limit.map(|limit| limit.max(1) as usize),
        filter: filter.as_ref(),
        consistency,
        fetches: selection.fetches,
    };
    let page = reading.run(cx).await?;
    throttle::charge(cx, &table, &page.consumed, Side::Read);
    let wanted = input.return_consumed_capacity.as_deref();
    Ok(api::QueryOutput {
        count: Some(page.items.len() as i64),
        scanned_count: Some(page.scanned as i64),
        last_evaluated_key: page.last.map(item_into_wire),
        consumed_capacity: capacity::report(wanted, &table, &name, &page.consumed, None),
        items: answer(&selection, page.items),
    })
}

fn answer(selection: &Selection, items: Vec<Item>) -> Option<Vec<crate::value::WireItem>> {
    let wire = |item: Item| match &selection.projection {
        Some(projection) => item_into_wire(projection.apply(&item)),
        None => item_into_wire(item),
    };
    (!selection.counts_only).then(|| items.into_iter().map(wire).collect())
}

/// # Errors
/// `ValidationException` for half of a segment, or one beyond the last.
fn segment(input: &api::ScanInput) -> Result<Option<(u64, u64)>, DynamoError> {
    match (input.segment, input.total_segments) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(DynamoError::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(DynamoError::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(segment), Some(total)) if segment >= total => Err(DynamoError::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => Ok(Some((segment.max(0) as u64, total.max(1) as u64))),
    }
}

/// `Scan`
pub async fn scan(cx: &Cx, input: api::ScanInput) -> Result<api::ScanOutput, DynamoError> {
    let name = input.table_name.clone().unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let segment = segment(&input)?;
    let given = Given {
        expressions: &[
            (Kind::Projection.name(), input.projection_expression.is_some()),
            (Kind::Filter.name(), input.filter_expression.is_some()),
        ],
        legacy: &[
            ("AttributesToGet", input.attributes_to_get.is_some()),
            ("ScanFilter", input.scan_filter.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
    };
    let placeholders =
        Placeholders::read(input.expression_attribute_names, input.expression_attribute_values, &given)?;
    let start_key = input.exclusive_start_key.map(item_from_wire).transpose()?;
    let filter = match (&input.filter_expression, input.scan_filter) {
        (Some(text), _) => Some(Condition::parse(Kind::Filter, text, &placeholders)?),
        (None, Some(filter)) => legacy::filter(filter, input.conditional_operator.as_deref())?,
        (None, None) => None,
    };
    let is_legacy = input.attributes_to_get.is_some();
    let projection = match (&input.projection_expression, input.attributes_to_get) {
        (Some(text), _) => Some(Projection::parse(text, &placeholders)?),
        (None, Some(names)) => Some(legacy::projection(names)?),
        (None, None) => None,
    };
    placeholders.check_all_used()?;

    let table = cx.state::<Dynamo>().load_authorised(cx.store(), &address).await?;
    let index = find_index(&table, input.index_name.as_deref())?;
    let consistency = consistency(index, input.consistent_read)?;
    let selection = select(input.select.as_deref(), projection, is_legacy, &table, index)?;
    let place = index.map_or_else(|| table.place(), Index::place);
    let mut range = segment.map_or_else(|| place.all(), |(segment, total)| place.segment(segment, total));
    if let Some(key) = &start_key {
        let mismatch = || {
            DynamoError::validation(
                "The provided starting key is invalid: The provided key element does not match the schema",
            )
        };
        let (row, _) = start(&table, index, key, mismatch)?;
        if !range.contains(&row) {
            return Err(DynamoError::validation(
                "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment.",
            ));
        }
        range = range.after(&row);
    }
    throttle::admit(cx, &table, input.index_name.as_deref(), Side::Read)?;
    let reading = Reading {
        table: &table,
        index,
        range,
        is_backward: false,
        limit: input.limit.map(|limit| limit.max(1) as usize),
        filter: filter.as_ref(),
        consistency,
        fetches: selection.fetches,
    };
    let page = reading.run(cx).await?;
    throttle::charge(cx, &table, &page.consumed, Side::Read);
    let wanted = input.return_consumed_capacity.as_deref();
    Ok(api::ScanOutput {
        count: Some(page.items.len() as i64),
        scanned_count: Some(page.scanned as i64),
        last_evaluated_key: page.last.map(item_into_wire),
        consumed_capacity: capacity::report(wanted, &table, &name, &page.consumed, None),
        items: answer(&selection, page.items),
    })
}
