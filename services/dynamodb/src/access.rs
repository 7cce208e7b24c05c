//! What a caller of each operation must be allowed to do, and the condition keys that the request gives.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon DynamoDB"; Developer Guide,
//! "Using IAM policy conditions for fine-grained access control", "DynamoDB API permissions: Actions, resources, and
//! conditions reference", "Using IAM with DynamoDB transactions".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_dynamodb as api;
use pileus_platform::{Access, Cx, Fault};
use pileus_wire::value::Map;

use crate::error::DynamoError;
use crate::expression::Kind;
use crate::expression::key::{KeyCondition, SortRange};
use crate::expression::lexer::{Lexer, TokenKind};
use crate::expression::placeholder::{Given, Placeholders};
use crate::legacy;
use crate::partiql::parse::Statement;
use crate::partiql::run;
use crate::state::Dynamo;
use crate::table::Address;
use crate::value::{Value, WireItem};

type Answer = Result<Vec<Access>, Fault>;

/// An action on a table by its name or ARN.
pub fn table(cx: &Cx, action: &'static str, name: Option<&str>) -> Answer {
    let address = Address::parse(cx, name.unwrap_or_default())?;
    Ok(vec![Access::new(action, address.arn().as_str())])
}

/// An action on a table, and on the index that the request names.
pub fn index(cx: &Cx, action: &'static str, name: Option<&str>, index: Option<&str>) -> Answer {
    let mut needed = table(cx, action, name)?;
    if let Some(index) = index {
        let address = Address::parse(cx, name.unwrap_or_default())?;
        needed.push(Access::new(action, format!("{}/index/{index}", address.arn()).as_str()));
    }
    Ok(needed)
}

/// `UpdateTable`, and what replicas need where they are.
pub fn update_table(cx: &Cx, input: &api::UpdateTableInput) -> Answer {
    let mut needed = table(cx, "dynamodb:UpdateTable", input.table_name.as_deref())?;
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    for update in input.replica_updates.iter().flatten() {
        let created = update.create.as_ref().map(|one| ("dynamodb:CreateTableReplica", &one.region_name));
        let deleted = update.delete.as_ref().map(|one| ("dynamodb:DeleteTableReplica", &one.region_name));
        for (action, region) in created.into_iter().chain(deleted) {
            let there = crate::global::there(&address, region.as_deref().unwrap_or_default())?;
            needed.push(Access::new(action, there.arn().as_str()));
        }
    }
    Ok(needed)
}

/// An action on a global table of version 2017.11.29.
pub fn global_table(cx: &Cx, action: &'static str, name: Option<&str>) -> Answer {
    let address = Address::parse(cx, name.unwrap_or_default())?;
    Ok(vec![Access::new(action, crate::global::legacy::arn(&address))])
}

/// An action on whatever has this ARN.
pub fn resource(action: &'static str, arn: Option<&str>) -> Answer {
    Ok(vec![Access::new(action, arn.unwrap_or("*"))])
}

/// An action on the streams of the caller's tables.
pub fn all_streams(cx: &Cx, table: Option<&str>) -> Answer {
    let resource = format!("table/{}/stream/*", table.unwrap_or("*"));
    Ok(vec![Access::new("dynamodb:ListStreams", cx.arn("dynamodb", &resource).as_str())])
}

/// What a request on items says that policies may ask about.
#[derive(Default)]
struct Facts<'a> {
    /// Keys or items: their partition keys lead.
    items: Vec<&'a WireItem>,
    /// Values of partition keys that an expression names.
    leading: Vec<String>,
    attributes: Vec<String>,
    select: Option<&'a str>,
    return_values: Option<&'a str>,
    capacity: Option<&'a str>,
    enclosing: Option<&'static str>,
}

/// Root needs no permission beyond those of resource policies, so nothing is looked up for it.
fn needs_facts(cx: &Cx) -> bool {
    !cx.caller().is_root()
}

/// The attributes that an expression names, at the top of their items.
fn named(expression: Option<&str>, names: Option<&Map<String>>, out: &mut Vec<String>) {
    const KEYWORDS: [&str; 9] = ["AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE"];
    let Some(text) = expression else { return };
    let mut lexer = Lexer::new(Kind::Condition, text);
    let mut follows_dot = false;
    loop {
        let token = lexer.next();
        let is_call = lexer.is_symbol("(") && token.kind == TokenKind::Word;
        let is_keyword = KEYWORDS.iter().any(|word| token.text.eq_ignore_ascii_case(word));
        match token.kind {
            TokenKind::End => return,
            TokenKind::Word if !follows_dot && !is_call && !is_keyword => out.push(token.text.to_owned()),
            TokenKind::Name if !follows_dot => {
                out.extend(names.and_then(|names| names.get(token.text)).cloned());
            }
            _ => {}
        }
        follows_dot = token.text == ".";
    }
}

fn as_text(value: &api::AttributeValue) -> Option<String> {
    value
        .s
        .clone()
        .or_else(|| value.n.clone())
        .or_else(|| value.b.as_ref().map(|bytes| STANDARD.encode(bytes)))
}

/// An action on a table or one of its indexes, with what the request says.
async fn with_facts(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    index: Option<&str>,
    facts: Facts<'_>,
) -> Result<Access, Fault> {
    let address = Address::parse(cx, name.unwrap_or_default())?;
    let arn = match index {
        Some(index) => format!("{}/index/{index}", address.arn()),
        None => address.arn().to_string(),
    };
    let mut access = Access::new(action, arn);
    if !needs_facts(cx) {
        return Ok(access);
    }
    let mut leading = facts.leading;
    let mut attributes = facts.attributes;
    if let Some(table) = cx.state::<Dynamo>().find(cx.store(), &address).await? {
        let partition = &table.schema().partition.name;
        leading.extend(facts.items.iter().filter_map(|item| item.get(partition)).filter_map(as_text));
    }
    attributes.extend(facts.items.iter().flat_map(|item| item.iter().map(|(name, _)| name.to_owned())));
    attributes.sort();
    attributes.dedup();
    if !leading.is_empty() {
        access = access.with_many("dynamodb:LeadingKeys", leading);
    }
    if !attributes.is_empty() {
        access = access.with_many("dynamodb:Attributes", attributes);
    }
    let single = [
        ("dynamodb:Select", facts.select),
        ("dynamodb:ReturnValues", facts.return_values),
        ("dynamodb:ReturnConsumedCapacity", facts.capacity),
        ("dynamodb:EnclosingOperation", facts.enclosing),
    ];
    for (key, value) in single {
        if let Some(value) = value {
            access = access.with(key, value);
        }
    }
    Ok(access)
}

fn read_attributes(
    expression: Option<&str>,
    names: Option<&Map<String>>,
    legacy: Option<&Vec<String>>,
) -> Vec<String> {
    let mut out = legacy.cloned().unwrap_or_default();
    named(expression, names, &mut out);
    out
}

fn read_select(attributes: &[String]) -> Option<&'static str> {
    Some(if attributes.is_empty() { "ALL_ATTRIBUTES" } else { "SPECIFIC_ATTRIBUTES" })
}

pub async fn get_item(cx: &Cx, input: &api::GetItemInput) -> Answer {
    let names = input.expression_attribute_names.as_ref();
    let attributes =
        read_attributes(input.projection_expression.as_deref(), names, input.attributes_to_get.as_ref());
    let facts = Facts {
        items: input.key.iter().collect(),
        select: read_select(&attributes),
        attributes,
        capacity: input.return_consumed_capacity.as_deref(),
        ..Facts::default()
    };
    Ok(vec![with_facts(cx, "dynamodb:GetItem", input.table_name.as_deref(), None, facts).await?])
}

pub async fn put_item(cx: &Cx, input: &api::PutItemInput) -> Answer {
    let mut attributes = Vec::new();
    let names = input.expression_attribute_names.as_ref();
    named(input.condition_expression.as_deref(), names, &mut attributes);
    attributes.extend(input.expected.iter().flat_map(|map| map.iter().map(|(name, _)| name.to_owned())));
    let facts = Facts {
        items: input.item.iter().collect(),
        attributes,
        return_values: Some(input.return_values.as_deref().unwrap_or("NONE")),
        capacity: input.return_consumed_capacity.as_deref(),
        ..Facts::default()
    };
    Ok(vec![with_facts(cx, "dynamodb:PutItem", input.table_name.as_deref(), None, facts).await?])
}

pub async fn delete_item(cx: &Cx, input: &api::DeleteItemInput) -> Answer {
    let mut attributes = Vec::new();
    let names = input.expression_attribute_names.as_ref();
    named(input.condition_expression.as_deref(), names, &mut attributes);
    attributes.extend(input.expected.iter().flat_map(|map| map.iter().map(|(name, _)| name.to_owned())));
    let facts = Facts {
        items: input.key.iter().collect(),
        attributes,
        return_values: Some(input.return_values.as_deref().unwrap_or("NONE")),
        capacity: input.return_consumed_capacity.as_deref(),
        ..Facts::default()
    };
    Ok(vec![with_facts(cx, "dynamodb:DeleteItem", input.table_name.as_deref(), None, facts).await?])
}

pub async fn update_item(cx: &Cx, input: &api::UpdateItemInput) -> Answer {
    let mut attributes = Vec::new();
    let names = input.expression_attribute_names.as_ref();
    named(input.condition_expression.as_deref(), names, &mut attributes);
    named(input.update_expression.as_deref(), names, &mut attributes);
    attributes.extend(input.expected.iter().flat_map(|map| map.iter().map(|(name, _)| name.to_owned())));
    attributes
        .extend(input.attribute_updates.iter().flat_map(|map| map.iter().map(|(name, _)| name.to_owned())));
    let facts = Facts {
        items: input.key.iter().collect(),
        attributes,
        return_values: Some(input.return_values.as_deref().unwrap_or("NONE")),
        capacity: input.return_consumed_capacity.as_deref(),
        ..Facts::default()
    };
    Ok(vec![with_facts(cx, "dynamodb:UpdateItem", input.table_name.as_deref(), None, facts).await?])
}

/// The partition key that a query names, read as the handler will read it.
async fn query_leading(cx: &Cx, input: &api::QueryInput) -> Result<Vec<String>, DynamoError> {
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let Some(table) = cx.state::<Dynamo>().find(cx.store(), &address).await? else { return Ok(Vec::new()) };
    let schema = match input.index_name.as_deref().and_then(|name| table.index(name)) {
        Some(index) => &index.schema,
        None => table.schema(),
    };
    let conditions = match (&input.key_condition_expression, &input.key_conditions) {
        (Some(text), _) => {
            let given = Given { expressions: &[(Kind::KeyCondition.name(), true)], legacy: &[] };
            let (names, values) =
                (input.expression_attribute_names.clone(), input.expression_attribute_values.clone());
            KeyCondition::parse(text, &Placeholders::read(names, values, &given)?)?
        }
        (None, Some(conditions)) => legacy::key_conditions(conditions.clone())?,
        (None, None) => Vec::new(),
    };
    let values = conditions.into_iter().filter(|one| one.name == schema.partition.name).filter_map(|one| {
        match one.range {
            SortRange::Compare(_, value) => as_text(&Value::to_wire(&value)),
            _ => None,
        }
    });
    Ok(values.collect())
}

pub async fn query(cx: &Cx, input: &api::QueryInput) -> Answer {
    let names = input.expression_attribute_names.as_ref();
    let mut attributes =
        read_attributes(input.projection_expression.as_deref(), names, input.attributes_to_get.as_ref());
    let select = input.select.as_deref().or(read_select(&attributes));
    named(input.filter_expression.as_deref(), names, &mut attributes);
    named(input.key_condition_expression.as_deref(), names, &mut attributes);
    // What is wrong with the condition is the handler's to say; a policy that asks for keys finds none.
    let leading = match needs_facts(cx) {
        true => query_leading(cx, input).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let facts = Facts {
        leading,
        attributes,
        select,
        capacity: input.return_consumed_capacity.as_deref(),
        ..Facts::default()
    };
    let (table, index) = (input.table_name.as_deref(), input.index_name.as_deref());
    Ok(vec![with_facts(cx, "dynamodb:Query", table, index, facts).await?])
}

pub async fn scan(cx: &Cx, input: &api::ScanInput) -> Answer {
    let names = input.expression_attribute_names.as_ref();
    let mut attributes =
        read_attributes(input.projection_expression.as_deref(), names, input.attributes_to_get.as_ref());
    let select = input.select.as_deref().or(read_select(&attributes));
    named(input.filter_expression.as_deref(), names, &mut attributes);
    let facts =
        Facts { attributes, select, capacity: input.return_consumed_capacity.as_deref(), ..Facts::default() };
    let (table, index) = (input.table_name.as_deref(), input.index_name.as_deref());
    Ok(vec![with_facts(cx, "dynamodb:Scan", table, index, facts).await?])
}

pub async fn batch_get_item(cx: &Cx, input: &api::BatchGetItemInput) -> Answer {
    let mut all = Vec::new();
    for (name, one) in input.request_items.iter().flat_map(Map::iter) {
        let names = one.expression_attribute_names.as_ref();
        let attributes =
            read_attributes(one.projection_expression.as_deref(), names, one.attributes_to_get.as_ref());
        let facts = Facts {
            items: one.keys.iter().flatten().collect(),
            select: read_select(&attributes),
            attributes,
            capacity: input.return_consumed_capacity.as_deref(),
            ..Facts::default()
        };
        all.push(with_facts(cx, "dynamodb:BatchGetItem", Some(name), None, facts).await?);
    }
    Ok(all)
}

pub async fn batch_write_item(cx: &Cx, input: &api::BatchWriteItemInput) -> Answer {
    let mut all = Vec::new();
    for (name, writes) in input.request_items.iter().flat_map(Map::iter) {
        let items = writes.iter().flat_map(|write| {
            let put = write.put_request.as_ref().and_then(|put| put.item.as_ref());
            let delete = write.delete_request.as_ref().and_then(|delete| delete.key.as_ref());
            put.into_iter().chain(delete)
        });
        let facts = Facts {
            items: items.collect(),
            capacity: input.return_consumed_capacity.as_deref(),
            ..Facts::default()
        };
        all.push(with_facts(cx, "dynamodb:BatchWriteItem", Some(name), None, facts).await?);
    }
    Ok(all)
}

pub async fn transact_get_items(cx: &Cx, input: &api::TransactGetItemsInput) -> Answer {
    let mut all = Vec::new();
    for get in input.transact_items.iter().flatten().filter_map(|item| item.get.as_ref()) {
        let names = get.expression_attribute_names.as_ref();
        let attributes = read_attributes(get.projection_expression.as_deref(), names, None);
        let facts = Facts {
            items: get.key.iter().collect(),
            select: read_select(&attributes),
            attributes,
            enclosing: Some("TransactGetItems"),
            ..Facts::default()
        };
        all.push(with_facts(cx, "dynamodb:GetItem", get.table_name.as_deref(), None, facts).await?);
    }
    Ok(all)
}

pub async fn transact_write_items(cx: &Cx, input: &api::TransactWriteItemsInput) -> Answer {
    let mut all = Vec::new();
    for item in input.transact_items.iter().flatten() {
        let api::TransactWriteItem { condition_check, put, delete, update } = item;
        let mut attributes = Vec::new();
        let (action, table, key) = if let Some(check) = condition_check {
            let names = check.expression_attribute_names.as_ref();
            named(check.condition_expression.as_deref(), names, &mut attributes);
            ("dynamodb:ConditionCheckItem", &check.table_name, &check.key)
        } else if let Some(put) = put {
            let names = put.expression_attribute_names.as_ref();
            named(put.condition_expression.as_deref(), names, &mut attributes);
            ("dynamodb:PutItem", &put.table_name, &put.item)
        } else if let Some(delete) = delete {
            let names = delete.expression_attribute_names.as_ref();
            named(delete.condition_expression.as_deref(), names, &mut attributes);
            ("dynamodb:DeleteItem", &delete.table_name, &delete.key)
        } else if let Some(update) = update {
            let names = update.expression_attribute_names.as_ref();
            named(update.condition_expression.as_deref(), names, &mut attributes);
            named(update.update_expression.as_deref(), names, &mut attributes);
            ("dynamodb:UpdateItem", &update.table_name, &update.key)
        } else {
            continue;
        };
        let facts = Facts {
            items: key.iter().collect(),
            attributes,
            enclosing: Some("TransactWriteItems"),
            ..Facts::default()
        };
        all.push(with_facts(cx, action, table.as_deref(), None, facts).await?);
    }
    Ok(all)
}

/// What a PartiQL statement needs: the action of its kind. One that cannot be read needs nothing, and does nothing.
async fn statement(
    cx: &Cx,
    text: Option<&String>,
    parameters: Option<&Vec<api::AttributeValue>>,
) -> Result<Option<Access>, Fault> {
    let Some(statement) = run::outline(text.map(String::as_str), parameters) else { return Ok(None) };
    let action = match &statement {
        Statement::Select { .. } => "dynamodb:PartiQLSelect",
        Statement::Insert { .. } => "dynamodb:PartiQLInsert",
        Statement::Update { .. } => "dynamodb:PartiQLUpdate",
        Statement::Delete { .. } => "dynamodb:PartiQLDelete",
        Statement::Exists { .. } => "dynamodb:ConditionCheckItem",
    };
    let address = Address::parse(cx, statement.table())?;
    let index = match &statement {
        Statement::Select { index, .. } => index.as_deref(),
        _ => None,
    };
    let arn = match index {
        Some(index) => format!("{}/index/{index}", address.arn()),
        None => address.arn().to_string(),
    };
    let mut access = Access::new(action, arn);
    if !needs_facts(cx) {
        return Ok(Some(access));
    }
    let Some(table) = cx.state::<Dynamo>().find(cx.store(), &address).await? else { return Ok(Some(access)) };
    let schema = index.and_then(|name| table.index(name)).map_or(table.schema(), |index| &index.schema);
    let mut outline = run::Outline::of(schema, &statement);
    if let Some(leading) = outline.partition.as_ref().and_then(|value| as_text(&value.to_wire())) {
        access = access.with_many("dynamodb:LeadingKeys", vec![leading]);
    }
    outline.attributes.sort();
    outline.attributes.dedup();
    if !outline.attributes.is_empty() {
        access = access.with_many("dynamodb:Attributes", outline.attributes);
    }
    if let Some(is_full_scan) = outline.is_full_scan {
        access = access.with("dynamodb:FullTableScan", is_full_scan.to_string());
    }
    if let Some(select) = outline.select {
        access = access.with("dynamodb:Select", select);
    }
    Ok(Some(access))
}

pub async fn execute_statement(cx: &Cx, input: &api::ExecuteStatementInput) -> Answer {
    let needed = statement(cx, input.statement.as_ref(), input.parameters.as_ref()).await?;
    Ok(needed.into_iter().collect())
}

pub async fn batch_execute_statement(cx: &Cx, input: &api::BatchExecuteStatementInput) -> Answer {
    let mut all = Vec::new();
    for one in input.statements.iter().flatten() {
        all.extend(statement(cx, one.statement.as_ref(), one.parameters.as_ref()).await?);
    }
    Ok(all)
}

pub async fn execute_transaction(cx: &Cx, input: &api::ExecuteTransactionInput) -> Answer {
    let mut all = Vec::new();
    for one in input.transact_statements.iter().flatten() {
        let needed = statement(cx, one.statement.as_ref(), one.parameters.as_ref()).await?;
        all.extend(needed.map(|access| access.with("dynamodb:EnclosingOperation", "ExecuteTransaction")));
    }
    Ok(all)
}
