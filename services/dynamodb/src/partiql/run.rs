//! One statement, carried out: `ExecuteStatement`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_api_dynamodb as api;
use pileus_platform::Cx;

use super::parse::{Returning, Statement};
use crate::capacity::{self, Consistency, Consumed, Side};
use crate::error::DynamoError;
use crate::expression::condition::{Comparator, Condition};
use crate::expression::key::SortRange;
use crate::expression::operand::Operand;
use crate::expression::path::Path;
use crate::item::read::Reading;
use crate::item::request::check_update;
use crate::item::single;
use crate::item::write::{self, Action, Applied, Change};
use crate::keys;
use crate::state::Dynamo;
use crate::table::schema::{KeySchema, encode_partition};
use crate::table::{Address, Index, Table};
use crate::throttle;
use crate::value::{Item, Value, WireItem, check_depth, decode_item, encode_item, item_to_wire};

/// Parameters of a statement.
///
/// # Errors
/// `ValidationException`
pub fn parameters(input: Option<Vec<api::AttributeValue>>) -> Result<Vec<Value>, DynamoError> {
    input.unwrap_or_default().into_iter().map(Value::from_wire).collect()
}

/// A statement as it will be carried out, if it can be read: what authorisation asks about must be what is done.
pub fn outline(text: Option<&str>, values: Option<&Vec<api::AttributeValue>>) -> Option<Statement> {
    Statement::parse(text?, parameters(values.cloned()).ok()?).ok()
}

/// The table of a statement.
///
/// # Errors
/// `ResourceNotFoundException`, `ValidationException`
pub async fn load(cx: &Cx, name: &str) -> Result<Arc<Table>, DynamoError> {
    let address = Address::parse(cx, name)?;
    cx.state::<Dynamo>().load_authorised(cx.store(), &address).await
}

/// The conditions that all have to hold.
fn conjuncts<'a>(condition: &'a Condition, out: &mut Vec<&'a Condition>) {
    match condition {
        Condition::And(left, right) => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        other => out.push(other),
    }
}

/// What a condition says about one key attribute.
fn on_key(condition: &Condition, name: &str, kind: &str) -> Option<SortRange> {
    let is_key =
        |operand: &Operand| matches!(operand, Operand::Path(path) if !path.is_nested() && path.root == name);
    let fits = |value: &Value| value.type_name() == kind;
    match condition {
        Condition::Compare(comparator, left, Operand::Value(value)) if is_key(left) && fits(value) => {
            (*comparator != Comparator::NotEqual).then(|| SortRange::Compare(*comparator, value.clone()))
        }
        Condition::Between(left, Operand::Value(low), Operand::Value(high))
            if is_key(left) && fits(low) && fits(high) =>
        {
            Some(SortRange::Between(low.clone(), high.clone()))
        }
        Condition::BeginsWith(left, Operand::Value(prefix)) if is_key(left) && fits(prefix) => {
            Some(SortRange::BeginsWith(prefix.clone()))
        }
        _ => None,
    }
}

/// The one partition and the range of it that a condition leaves, if it leaves one.
fn partition(schema: &KeySchema, condition: Option<&Condition>) -> Option<(Value, SortRange)> {
    let mut all = Vec::new();
    conjuncts(condition?, &mut all);
    let hash = &schema.partition;
    let value = all.iter().find_map(|one| match on_key(one, &hash.name, hash.kind.name())? {
        SortRange::Compare(Comparator::Equal, value) => Some(value),
        _ => None,
    })?;
    let sort = schema
        .sort
        .as_ref()
        .and_then(|sort| all.iter().find_map(|one| on_key(one, &sort.name, sort.kind.name())));
    Some((value, sort.unwrap_or(SortRange::All)))
}

/// What a statement says that policies may ask about.
#[derive(Debug, Default, PartialEq)]
pub struct Outline {
    /// The partition that it is limited to.
    pub partition: Option<Value>,
    /// Attributes that it names.
    pub attributes: Vec<String>,
    /// For a `SELECT`: whether it reads everything.
    pub is_full_scan: Option<bool>,
    pub select: Option<&'static str>,
}

impl Outline {
    /// Of a statement on a table or index with these keys.
    pub fn of(schema: &KeySchema, statement: &Statement) -> Outline {
        let of_condition = |condition: Option<&Condition>| {
            let partition = partition(schema, condition).map(|(value, _)| value);
            let paths = condition.into_iter().flat_map(|condition| condition.paths());
            let attributes = paths.map(|path| path.root.clone()).collect();
            Outline { partition, attributes, ..Outline::default() }
        };
        match statement {
            Statement::Select { projection, condition, .. } => {
                let mut outline = of_condition(condition.as_ref());
                outline.is_full_scan = Some(outline.partition.is_none());
                outline.select =
                    Some(if projection.is_some() { "SPECIFIC_ATTRIBUTES" } else { "ALL_ATTRIBUTES" });
                let named = projection.iter().flat_map(|projection| projection.attributes());
                outline.attributes.extend(named.map(str::to_owned));
                outline
            }
            Statement::Insert { item, .. } => Outline {
                partition: item.get(&schema.partition.name).cloned(),
                attributes: item.keys().cloned().collect(),
                ..Outline::default()
            },
            Statement::Update { update, condition, .. } => {
                let mut outline = of_condition(Some(condition));
                outline.attributes.extend(update.touched().attributes().map(str::to_owned));
                outline
            }
            Statement::Delete { condition, .. } | Statement::Exists { condition, .. } => {
                of_condition(Some(condition))
            }
        }
    }
}

/// The key of the one item that a change is about.
fn whole_key(schema: &KeySchema, condition: &Condition) -> Result<Item, DynamoError> {
    let missing = || {
        DynamoError::validation("Where clause does not contain a mandatory equality on all key attributes")
    };
    let mut all = Vec::new();
    conjuncts(condition, &mut all);
    schema
        .attributes()
        .map(|attribute| {
            let value = all.iter().find_map(|one| match one {
                Condition::Compare(Comparator::Equal, Operand::Path(path), Operand::Value(value))
                    if !path.is_nested() && path.root == attribute.name =>
                {
                    Some(value.clone())
                }
                _ => None,
            });
            Ok((attribute.name.clone(), value.ok_or_else(missing)?))
        })
        .collect()
}

/// The change that a statement asks for; a `SELECT` asks for none.
///
/// # Errors
/// `ValidationException`
pub fn change(table: &Table, statement: Statement, shows_item: bool) -> Result<Change, DynamoError> {
    let (generation, schema) = (table.record.generation, table.schema());
    let exists = || Condition::Exists(Path::attribute(&schema.partition.name));
    let keyed = |condition: Condition, action: Action| -> Result<Change, DynamoError> {
        let key_item = whole_key(schema, &condition)?;
        let key = schema.encode_key(&key_item)?;
        Ok(Change { generation, key, key_item, condition: Some(condition), action, shows_item })
    };
    match statement {
        Statement::Insert { item, .. } => {
            let key = schema.encode_item(&item)?;
            check_depth(&item)?;
            write::check_size(&item)?;
            write::check_index_keys(table, &item)?;
            let (key_item, condition) = (schema.pick(&item), Some(exists().not()));
            Ok(Change { generation, key, key_item, condition, action: Action::Put(item), shows_item })
        }
        Statement::Update { update, condition, .. } => {
            check_update(&update, schema)?;
            keyed(condition, Action::Update(update))
        }
        Statement::Delete { condition, .. } => {
            let mut change = keyed(condition, Action::Delete)?;
            // Deleting what is not there is no error, unless there are other conditions.
            let mut all = Vec::new();
            change.condition.iter().for_each(|condition| conjuncts(condition, &mut all));
            if all.len() == schema.attributes().count() {
                change.condition = None;
            }
            Ok(change)
        }
        Statement::Exists { condition, .. } => keyed(condition, Action::Check),
        Statement::Select { .. } => Err(DynamoError::validation("A SELECT changes nothing")),
    }
}

/// Whether a statement is about one item: its condition gives the whole key.
pub fn names_one_item(table: &Table, statement: &Statement) -> Option<Item> {
    match statement {
        Statement::Select { condition: Some(condition), index: None, .. } => {
            whole_key(table.schema(), condition).ok()
        }
        _ => None,
    }
}

/// What a change answers.
pub fn returned(returning: Option<Returning>, change: &Change, applied: &Applied) -> Option<Item> {
    let touched = |item: &Item| match &change.action {
        Action::Update(update) => update.touched().apply(item),
        _ => item.clone(),
    };
    match returning? {
        Returning::AllOld => applied.old.clone(),
        Returning::AllNew => applied.new.clone(),
        Returning::ModifiedOld => applied.old.as_ref().map(touched),
        Returning::ModifiedNew => applied.new.as_ref().map(touched),
    }
}

/// An item that is there already has an error of its own.
pub fn as_duplicate(is_insert: bool, error: DynamoError) -> DynamoError {
    match error {
        DynamoError::ConditionalCheckFailed { .. } if is_insert => {
            DynamoError::modelled("DuplicateItemException", "Duplicate primary key exists in table")
        }
        other => other,
    }
}

/// What one statement gave.
pub struct Outcome {
    pub table: Arc<Table>,
    pub items: Vec<Item>,
    pub last: Option<Item>,
    pub consumed: Consumed,
}

/// How a `SELECT` is to be read.
#[derive(Default)]
pub struct Options {
    pub is_consistent: Option<bool>,
    pub limit: Option<i64>,
    pub start: Option<Item>,
    pub shows_item: bool,
}

/// Carries out a statement.
///
/// # Errors
/// Those of the operation that it stands for.
pub async fn execute(cx: &Cx, statement: Statement, options: Options) -> Result<Outcome, DynamoError> {
    let table = load(cx, statement.table()).await?;
    if statement.is_read() {
        return select(cx, table, statement, options).await;
    }
    let is_insert = matches!(statement, Statement::Insert { .. });
    let returning = match &statement {
        Statement::Update { returning, .. } | Statement::Delete { returning, .. } => *returning,
        Statement::Exists { .. } => {
            return Err(DynamoError::validation("EXISTS can only be used in a transaction"));
        }
        _ => None,
    };
    let change = change(&table, statement, options.shows_item)?;
    let applied = single::run(cx, &table, &change).await.map_err(|error| as_duplicate(is_insert, error))?;
    let items = returned(returning, &change, &applied).into_iter().collect();
    Ok(Outcome { table, items, last: None, consumed: applied.consumed })
}

async fn select(
    cx: &Cx,
    table: Arc<Table>,
    statement: Statement,
    options: Options,
) -> Result<Outcome, DynamoError> {
    let Statement::Select { index, projection, condition, order, .. } = statement else {
        return Err(DynamoError::corrupt("a read is a SELECT"));
    };
    let index = match &index {
        Some(name) => Some(table.index(name).filter(|index| !index.is_backfilling).ok_or_else(|| {
            DynamoError::validation(format!("The table does not have the specified index: {name}"))
        })?),
        None => None,
    };
    if options.is_consistent == Some(true) && index.is_some_and(|index| index.is_global) {
        return Err(DynamoError::validation(
            "Consistent reads are not supported on global secondary indexes",
        ));
    }
    let schema = index.map_or(table.schema(), |index| &index.schema);
    let place = index.map_or_else(|| table.place(), Index::place);
    let bounds = partition(schema, condition.as_ref());
    let mut range = match &bounds {
        Some((value, sort)) => place.range(&encode_partition(value), sort),
        None => place.all(),
    };
    let is_backward = match &order {
        Some((name, is_down)) if bounds.is_some() && schema.contains(name) => *is_down,
        Some(_) => {
            return Err(DynamoError::validation(
                "Must have WHERE clause in the statement when using ORDER BY clause, and order by a key of its partition.",
            ));
        }
        None => false,
    };
    if let Some(start) = &options.start {
        let row = row_of(&table, index, start).ok_or_else(|| DynamoError::validation("Invalid NextToken"))?;
        range = if is_backward { range.before(&row) } else { range.after(&row) };
    }
    throttle::admit(cx, &table, index.map(|index| index.name.as_str()), Side::Read)?;
    let reading = Reading {
        table: &table,
        index,
        range,
        is_backward,
        limit: options.limit.map(|limit| limit.max(1) as usize),
        filter: condition.as_ref(),
        consistency: Consistency::of(options.is_consistent),
        fetches: index
            .is_some_and(|index| !index.is_global && index.projection != crate::table::Projection::All),
    };
    let page = reading.run(cx).await?;
    throttle::charge(cx, &table, &page.consumed, Side::Read);
    let items = match &projection {
        Some(projection) => page.items.iter().map(|item| projection.apply(item)).collect(),
        None => page.items,
    };
    Ok(Outcome { items, last: page.last, consumed: page.consumed, table })
}

/// Where the item with these keys lies.
fn row_of(table: &Table, index: Option<&Index>, key: &Item) -> Option<bytes::Bytes> {
    let place = table.schema().encode(key)?;
    let Some(index) = index else { return Some(keys::item(table.record.generation, &place)) };
    let sort = index.schema.sort.as_ref().map(|sort| sort.kind);
    Some(keys::entry(index.generation, &index.schema.encode(key)?, sort, &place))
}

pub fn to_wire(items: &[Item]) -> Vec<WireItem> {
    items.iter().map(item_to_wire).collect()
}

/// `ExecuteStatement`
pub async fn execute_statement(
    cx: &Cx,
    input: api::ExecuteStatementInput,
) -> Result<api::ExecuteStatementOutput, DynamoError> {
    let text = input.statement.unwrap_or_default();
    let statement = Statement::parse(&text, parameters(input.parameters)?)?;
    let name = statement.table().to_owned();
    let start = match &input.next_token {
        Some(token) => {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok();
            let item = bytes.and_then(|bytes| decode_item(&bytes).ok());
            Some(item.ok_or_else(|| DynamoError::validation("Invalid NextToken"))?)
        }
        None => None,
    };
    let options = Options {
        is_consistent: input.consistent_read,
        limit: input.limit,
        start,
        shows_item: input.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD"),
    };
    let outcome = execute(cx, statement, options).await?;
    let wanted = input.return_consumed_capacity.as_deref();
    Ok(api::ExecuteStatementOutput {
        items: Some(to_wire(&outcome.items)),
        next_token: outcome.last.as_ref().map(|last| URL_SAFE_NO_PAD.encode(encode_item(last, None))),
        consumed_capacity: capacity::report(wanted, &outcome.table, &name, &outcome.consumed, None),
        last_evaluated_key: outcome.last.as_ref().map(item_to_wire),
    })
}
