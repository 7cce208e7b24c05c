//! `CreateTable`, and what a table's definition must be.
//!
//! Source: API Reference, "CreateTable"; Developer Guide, "Quotas in Amazon DynamoDB". Recorded: sentences and the order of
//! checks, from AWS's answers in public test suites.

use pileus_api_dynamodb as api;
use pileus_platform::Cx;

use crate::error::DynamoError;
use crate::keys::TABLES;
use crate::state::Dynamo;
use crate::stream::{self, View};
use crate::table::schema::{KeyAttribute, KeySchema, ScalarKind};
use crate::table::warm_throughput::Warm;
use crate::table::{
    self, Address, Index, OnDemandLimits, Projection, Record, StreamSettings, Table, Throughput, check_name,
    count, describe, policy, tags, transition, warm_throughput,
};

const MAX_LOCAL: usize = 5;
const MAX_GLOBAL: usize = 20;
const MAX_PROJECTED: usize = 100;

/// `CreateTable`
pub async fn create_table(
    cx: &Cx,
    input: api::CreateTableInput,
) -> Result<api::CreateTableOutput, DynamoError> {
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    if address.account != cx.account() {
        return Err(DynamoError::AccessDenied(format!(
            "A table is created in its own account: {}",
            address.arn()
        )));
    }
    let mut record = read(cx, &input)?;
    let resource_policy = match &input.resource_policy {
        Some(text) => Some(policy::read(cx, text, address.arn().as_str())?),
        None => None,
    };
    record.policy = resource_policy;
    record.transition = transition::begin(cx, true);
    let stream = stream_settings(cx, input.stream_specification.as_ref())?;
    if let Some(stream) = &stream {
        record.latest_stream = Some(stream.label.clone());
    }
    record.stream = stream;
    let (address, record, dynamo) = (&address, &record, cx.state::<Dynamo>());
    cx.transact(|txn| async move {
        if dynamo.find(&txn, address).await?.is_some() {
            return Err(table::in_use(&address.name, "Table already exists"));
        }
        if let Some(settings) = &record.stream {
            stream::open(&txn, address, settings, record, record.created_at).await?;
        }
        TABLES.put(&txn, &address.key(), record)?;
        Ok(())
    })
    .await?;
    let table = Table { address: address.clone(), record: record.clone(), policy: None };
    let description = describe::describe(&table, &count::Counts::default(), describe::Moment::Creating);
    Ok(api::CreateTableOutput { table_description: Some(description) })
}

/// The table that a definition makes, without its stream and policy.
///
/// # Errors
/// `ValidationException`
pub fn read(cx: &Cx, input: &api::CreateTableInput) -> Result<Record, DynamoError> {
    let refused = [
        ("GlobalTableSourceArn", input.global_table_source_arn.is_some()),
        ("GlobalTableSettingsReplicationMode", input.global_table_settings_replication_mode.is_some()),
        ("VectorIndexes", input.vector_indexes.is_some()),
        ("SSESpecification with a KMS key", wants_kms(input.sse_specification.as_ref())),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, is_given)| *is_given) {
        return Err(DynamoError::unsupported(name));
    }
    let now = cx.now().as_millis();
    let is_on_demand = input.billing_mode.as_deref() == Some("PAY_PER_REQUEST");
    let throughput = read_throughput(is_on_demand, input.provisioned_throughput.as_ref(), None)?;
    let definitions = read_definitions(input.attribute_definitions.as_deref().unwrap_or_default())?;
    let schema = read_schema(input.key_schema.as_deref().unwrap_or_default(), &definitions)?;
    let generation = cx.rng().next_u64();
    let indexes = read_indexes(cx, input, is_on_demand, &schema, &definitions)?;
    check_definitions_used(&definitions, &schema, &indexes)?;
    let warm = warm_throughput::initial(input.warm_throughput.as_ref(), is_on_demand, &throughput, None)?;
    let class = input.table_class.clone().filter(|class| class != "STANDARD");
    Ok(Record {
        id: cx.ids().uuid(),
        generation,
        created_at: now,
        definitions,
        schema,
        indexes,
        is_on_demand,
        on_demand_since: is_on_demand.then_some(now),
        throughput,
        on_demand: read_on_demand(is_on_demand, input.on_demand_throughput.as_ref())?,
        stream: None,
        latest_stream: None,
        time_to_live: None,
        tags: tags::read(input.tags.as_deref().unwrap_or_default())?,
        is_protected: input.deletion_protection_enabled.unwrap_or(false),
        class_changed_at: None,
        class,
        policy: None,
        restore: None,
        recovery: None,
        recordings: Vec::new(),
        replicas: Vec::new(),
        filled_from: None,
        global_version: None,
        warm,
        insights: None,
        transition: None,
    })
}

pub fn wants_kms(specification: Option<&api::SSESpecification>) -> bool {
    specification.is_some_and(|sse| sse.enabled == Some(true) || sse.kms_master_key_id.is_some())
}

/// Provisioned throughput, zero in on-demand mode. `index`: whose it is, if not the table's.
pub fn read_throughput(
    is_on_demand: bool,
    input: Option<&api::ProvisionedThroughput>,
    index: Option<&str>,
) -> Result<Throughput, DynamoError> {
    let Some(input) = input else {
        return match (is_on_demand, index) {
            (true, _) => Ok(Throughput::default()),
            (false, None) => Err(DynamoError::parameter(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            )),
            (false, Some(index)) => Err(DynamoError::parameter(format_args!(
                "ProvisionedThroughput is not specified for index: {index}"
            ))),
        };
    };
    let (read, write) = (input.read_capacity_units.unwrap_or(0), input.write_capacity_units.unwrap_or(0));
    if is_on_demand {
        // Some tools write zeroes where there is nothing to say.
        if (read, write) == (0, 0) {
            return Ok(Throughput::default());
        }
        return Err(DynamoError::parameter(match index {
            None => "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST".to_owned(),
            Some(index) => format!(
                "ProvisionedThroughput should not be specified for index: {index} when BillingMode is PAY_PER_REQUEST"
            ),
        }));
    }
    for (name, value) in [("ReadCapacityUnits", read), ("WriteCapacityUnits", write)] {
        if value > 1_000_000_000_000 {
            return Err(DynamoError::validation(format!("Given value {value} for {name} is out of bounds")));
        }
    }
    Ok(Throughput { read: read.max(0) as u64, write: write.max(0) as u64, ..Throughput::default() })
}

pub fn read_on_demand(
    is_on_demand: bool,
    input: Option<&api::OnDemandThroughput>,
) -> Result<OnDemandLimits, DynamoError> {
    let Some(input) = input else { return Ok(OnDemandLimits::default()) };
    if !is_on_demand {
        return Err(DynamoError::parameter(
            "OnDemandThroughput can only be specified when BillingMode is PAY_PER_REQUEST",
        ));
    }
    // -1 takes a limit away.
    let limit = |value: Option<i64>| value.filter(|value| *value > 0);
    Ok(OnDemandLimits {
        read: limit(input.max_read_request_units),
        write: limit(input.max_write_request_units),
    })
}

type Definitions = Vec<(String, ScalarKind)>;

pub fn read_definitions(input: &[api::AttributeDefinition]) -> Result<Definitions, DynamoError> {
    let mut definitions = Definitions::new();
    for definition in input {
        let name = definition.attribute_name.clone().unwrap_or_default();
        let kind = definition.attribute_type.as_deref().and_then(ScalarKind::read);
        let kind = kind.ok_or_else(|| DynamoError::parameter("Unknown AttributeType"))?;
        if definitions.iter().any(|(known, _)| *known == name) {
            return Err(DynamoError::parameter(format_args!(
                "Duplicate AttributeName in AttributeDefinitions: {name}"
            )));
        }
        definitions.push((name, kind));
    }
    Ok(definitions)
}

fn undefined(keys: &[&str], definitions: &Definitions) -> DynamoError {
    let defined: Vec<_> = definitions.iter().map(|(name, _)| name.as_str()).collect();
    DynamoError::parameter(format_args!(
        "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
        keys.join(", "),
        defined.join(", ")
    ))
}

/// The keys of a table.
fn read_schema(input: &[api::KeySchemaElement], definitions: &Definitions) -> Result<KeySchema, DynamoError> {
    let names: Vec<&str> = input.iter().filter_map(|element| element.attribute_name.as_deref()).collect();
    let is_defined = |name: &&str| definitions.iter().any(|(known, _)| known == name);
    if names.len() == 2 && !names.iter().all(is_defined) {
        return Err(DynamoError::validation(
            "Invalid KeySchema: Some index key attribute have no definition",
        ));
    }
    read_keys(input, definitions)
}

/// The keys of a table or an index.
fn read_keys(input: &[api::KeySchemaElement], definitions: &Definitions) -> Result<KeySchema, DynamoError> {
    let names: Vec<&str> = input.iter().filter_map(|element| element.attribute_name.as_deref()).collect();
    let kinds: Vec<&str> = input.iter().filter_map(|element| element.key_type.as_deref()).collect();
    let invalid = |text: &str| DynamoError::validation(format!("Invalid KeySchema: {text}"));
    if names.is_empty() || kinds.len() != names.len() {
        return Err(DynamoError::parameter("Missing required parameter in input: \"KeySchema\""));
    }
    if names.len() > 2 {
        return Err(DynamoError::validation(format!(
            "1 validation error detected: Value '{}' at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2",
            names.len()
        )));
    }
    let attribute = |name: &str| -> Result<KeyAttribute, DynamoError> {
        let found = definitions.iter().find(|(known, _)| known == name);
        let (name, kind) = found.ok_or_else(|| undefined(&names, definitions))?;
        Ok(KeyAttribute { name: name.clone(), kind: *kind })
    };
    for name in &names {
        attribute(name)?;
    }
    if names.len() == 2 && names[0] == names[1] {
        return Err(DynamoError::validation(
            "Both the Hash Key and the Range Key element in the KeySchema have the same name",
        ));
    }
    if kinds[0] != "HASH" {
        return Err(invalid("The first KeySchemaElement is not a HASH key type"));
    }
    if kinds.get(1).is_some_and(|kind| *kind != "RANGE") {
        return Err(invalid("The second KeySchemaElement is not a RANGE key type"));
    }
    let sort = names.get(1).map(|name| attribute(name)).transpose()?;
    Ok(KeySchema { partition: attribute(names[0])?, sort })
}

fn read_indexes(
    cx: &Cx,
    input: &api::CreateTableInput,
    is_on_demand: bool,
    schema: &KeySchema,
    definitions: &Definitions,
) -> Result<Vec<Index>, DynamoError> {
    let mut indexes = Vec::new();
    if let Some(local) = &input.local_secondary_indexes {
        if local.is_empty() {
            return Err(DynamoError::parameter("List of LocalSecondaryIndexes is empty"));
        }
        if schema.sort.is_none() {
            return Err(DynamoError::parameter(
                "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
            ));
        }
        for index in local {
            let name = index.index_name.clone().unwrap_or_default();
            let keys = read_keys(index.key_schema.as_deref().unwrap_or_default(), definitions)?;
            if keys.sort.is_none() {
                return Err(DynamoError::parameter(format_args!(
                    "Index KeySchema does not have a range key for index: {name}"
                )));
            }
            if keys.partition != schema.partition {
                return Err(DynamoError::parameter(format_args!(
                    "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index hash key: {}, table hash key: {}",
                    keys.partition.name, schema.partition.name
                )));
            }
            let projection = read_projection(index.projection.as_ref())?;
            push(&mut indexes, new_index(cx, name, false, keys, projection, Throughput::default()))?;
        }
        if local.len() > MAX_LOCAL {
            return Err(DynamoError::parameter(
                "Number of LocalSecondaryIndexes exceeds per-table limit of 5",
            ));
        }
    }
    if let Some(global) = &input.global_secondary_indexes {
        if global.is_empty() {
            return Err(DynamoError::parameter("List of GlobalSecondaryIndexes is empty"));
        }
        for index in global {
            let create = api::CreateGlobalSecondaryIndexAction {
                index_name: index.index_name.clone(),
                key_schema: index.key_schema.clone(),
                projection: index.projection.clone(),
                provisioned_throughput: index.provisioned_throughput.clone(),
                on_demand_throughput: index.on_demand_throughput.clone(),
                warm_throughput: index.warm_throughput.clone(),
            };
            push(&mut indexes, read_global(cx, &create, is_on_demand, definitions)?)?;
        }
        if global.len() > MAX_GLOBAL {
            return Err(DynamoError::parameter(
                "GlobalSecondaryIndex count exceeds the per-table limit of 20",
            ));
        }
    }
    check_projected(&indexes)?;
    Ok(indexes)
}

/// # Errors
/// `ValidationException` when all indexes together project more than a hundred attributes by name.
pub fn check_projected(indexes: &[Index]) -> Result<(), DynamoError> {
    let projected: usize = indexes
        .iter()
        .map(|index| if let Projection::Include(names) = &index.projection { names.len() } else { 0 })
        .sum();
    if projected > MAX_PROJECTED {
        return Err(DynamoError::parameter(format_args!(
            "The number of projected non-key attributes exceeds the per-table limit of {MAX_PROJECTED}"
        )));
    }
    Ok(())
}

/// # Errors
/// `ValidationException` for an index whose name is taken.
pub fn push(indexes: &mut Vec<Index>, index: Index) -> Result<(), DynamoError> {
    if indexes.iter().any(|known| known.name == index.name) {
        return Err(DynamoError::parameter(format_args!("Duplicate index name: {}", index.name)));
    }
    indexes.push(index);
    Ok(())
}

/// A new global index.
///
/// # Errors
/// `ValidationException`
pub fn read_global(
    cx: &Cx,
    input: &api::CreateGlobalSecondaryIndexAction,
    is_on_demand: bool,
    definitions: &Definitions,
) -> Result<Index, DynamoError> {
    let name = input.index_name.clone().unwrap_or_default();
    let keys = read_keys(input.key_schema.as_deref().unwrap_or_default(), definitions)?;
    let projection = read_projection(input.projection.as_ref())?;
    let throughput = read_throughput(is_on_demand, input.provisioned_throughput.as_ref(), Some(&name))?;
    check_name("indexName", "IndexName", &name)?;
    let warm = input.warm_throughput.as_ref();
    let warm = warm_throughput::initial(warm, is_on_demand, &throughput, Some(&name))?;
    let mut index = new_index(cx, name, true, keys, projection, throughput);
    index.warm = warm;
    index.on_demand = read_on_demand(is_on_demand, input.on_demand_throughput.as_ref())?;
    Ok(index)
}

fn new_index(
    cx: &Cx,
    name: String,
    is_global: bool,
    schema: KeySchema,
    projection: Projection,
    throughput: Throughput,
) -> Index {
    Index {
        name,
        generation: cx.rng().next_u64(),
        is_global,
        schema,
        projection,
        throughput,
        on_demand: OnDemandLimits::default(),
        is_backfilling: false,
        warm: Warm::default(),
        insights: None,
    }
}

fn read_projection(input: Option<&api::Projection>) -> Result<Projection, DynamoError> {
    let kind = input.and_then(|projection| projection.projection_type.as_deref());
    let names = input.and_then(|projection| projection.non_key_attributes.clone());
    match (kind, names) {
        (None, _) => Err(DynamoError::parameter("Unknown ProjectionType: null")),
        (Some("INCLUDE"), Some(names)) => Ok(Projection::Include(names)),
        (Some("INCLUDE"), None) => {
            Err(DynamoError::parameter("ProjectionType is INCLUDE, but NonKeyAttributes is not specified"))
        }
        (Some(kind), Some(_)) => Err(DynamoError::parameter(format_args!(
            "ProjectionType is {kind}, but NonKeyAttributes is specified"
        ))),
        (Some("ALL"), None) => Ok(Projection::All),
        (Some(_), None) => Ok(Projection::KeysOnly),
    }
}

/// # Errors
/// `ValidationException` for a definition that is no key of anything.
pub fn check_definitions_used(
    definitions: &Definitions,
    schema: &KeySchema,
    indexes: &[Index],
) -> Result<(), DynamoError> {
    let is_used =
        |name: &str| schema.contains(name) || indexes.iter().any(|index| index.schema.contains(name));
    if definitions.iter().all(|(name, _)| is_used(name)) {
        return Ok(());
    }
    if indexes.is_empty() {
        return Err(DynamoError::parameter(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    let mut used: Vec<&str> = schema.attributes().map(|attribute| attribute.name.as_str()).collect();
    for name in indexes.iter().flat_map(|index| index.schema.attributes()).map(|one| one.name.as_str()) {
        if !used.contains(&name) {
            used.push(name);
        }
    }
    let defined: Vec<_> = definitions.iter().map(|(name, _)| name.as_str()).collect();
    Err(DynamoError::parameter(format_args!(
        "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
        defined.join(", "),
        used.join(", ")
    )))
}

/// The stream that a request asks for.
///
/// # Errors
/// `ValidationException`: a view type without a stream, or a stream without one.
pub fn stream_settings(
    cx: &Cx,
    input: Option<&api::StreamSpecification>,
) -> Result<Option<StreamSettings>, DynamoError> {
    let Some(input) = input else { return Ok(None) };
    match (input.stream_enabled.unwrap_or(false), input.stream_view_type.as_deref()) {
        (true, Some(view)) => {
            let view = View::read(view).ok_or_else(|| DynamoError::parameter("Unknown StreamViewType"))?;
            let label = stream::label(cx.now());
            Ok(Some(StreamSettings { generation: cx.rng().next_u64(), label, view }))
        }
        (true, None) => {
            Err(DynamoError::parameter("StreamViewType must be specified when StreamEnabled is true"))
        }
        (false, Some(_)) => {
            Err(DynamoError::parameter("StreamViewType must not be specified when StreamEnabled is false"))
        }
        (false, None) => Ok(None),
    }
}
