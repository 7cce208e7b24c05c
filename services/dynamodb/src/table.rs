//! Tables: how they are kept and described; `DescribeTable`, `ListTables`, `DeleteTable`, `DescribeLimits`,
//! `DescribeEndpoints`.

pub mod count;
pub mod create;
pub mod describe;
pub mod insights;
pub mod policy;
pub mod recovery;
pub mod schema;
pub mod tags;
pub mod time_to_live;
pub mod transition;
pub mod update;
pub mod warm_throughput;

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_api_dynamodb as api;
use pileus_core::{AccountId, Arn, Region};
use pileus_iam::Policy;
use pileus_platform::Cx;
use pileus_store::{KeyRange, Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::backup;
use crate::error::DynamoError;
use crate::global;
use crate::keys::{self, Place, TABLES, TRASH, Trash, WORK};
use crate::state::Dynamo;
use crate::stream;
use crate::table::insights::Insights;
use crate::table::schema::{KeySchema, ScalarKind};
use crate::table::transition::Transition;
use crate::table::warm_throughput::Warm;
use crate::value::{Item, Value};

/// Where a table is: what its ARN says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
}

impl Address {
    /// A table's name, or its ARN.
    ///
    /// # Errors
    /// `ValidationException`
    pub fn parse(cx: &Cx, text: &str) -> Result<Address, DynamoError> {
        if !text.starts_with("arn:") {
            check_name("tableName", "TableName", text)?;
            return Ok(Address { account: cx.account(), region: cx.region().clone(), name: text.to_owned() });
        }
        let invalid = || DynamoError::validation(format!("Invalid table ARN: {text}"));
        let (address, rest) = Address::from_arn(text).ok_or_else(invalid)?;
        if rest.is_some() || address.region != *cx.region() {
            return Err(invalid());
        }
        Ok(address)
    }

    /// The table in the ARN of a table, an index or a stream, and what follows its name.
    pub fn from_arn(text: &str) -> Option<(Address, Option<String>)> {
        let arn = Arn::parse(text).ok().filter(|arn| arn.service() == "dynamodb")?;
        let resource = arn.resource().strip_prefix("table/")?;
        let (name, rest) = match resource.split_once('/') {
            Some((name, rest)) => (name, Some(rest.to_owned())),
            None => (resource, None),
        };
        let address = Address {
            account: AccountId::parse(arn.account())?,
            region: Region::parse(arn.region())?,
            name: name.to_owned(),
        };
        is_name(name).then_some((address, rest))
    }

    pub fn arn(&self) -> Arn {
        let region = &self.region;
        let resource = format!("table/{}", self.name);
        Arn::new(region.partition(), "dynamodb", region.as_str(), self.account.as_str(), &resource)
    }

    pub fn key(&self) -> keys::TableKey {
        (self.account, self.region.clone(), self.name.clone())
    }
}

pub fn is_name(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// # Errors
/// `ValidationException`: a table's or index's name of the wrong length or with other characters.
pub fn check_name(member: &str, parameter: &str, name: &str) -> Result<(), DynamoError> {
    if is_name(name) {
        return Ok(());
    }
    if !(3..=255).contains(&name.len()) {
        let text = format!("{parameter} must be at least 3 characters long and at most 255 characters long");
        return Err(DynamoError::validation(text));
    }
    Err(DynamoError::validation(format!(
        "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    )))
}

/// What is paid for, and so what is throttled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    pub read: u64,
    pub write: u64,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub increased_at: Option<i64>,
    #[serde(default)]
    pub decreased_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandLimits {
    pub read: Option<i64>,
    pub write: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Projection {
    All,
    KeysOnly,
    Include(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub name: String,
    /// Under which its entries are kept.
    pub generation: u64,
    pub is_global: bool,
    pub schema: KeySchema,
    pub projection: Projection,
    pub throughput: Throughput,
    #[serde(default)]
    pub on_demand: OnDemandLimits,
    /// Until every item that was there before it has its entry.
    #[serde(default)]
    pub is_backfilling: bool,
    #[serde(default)]
    pub warm: Warm,
    #[serde(default)]
    pub insights: Option<Insights>,
}

impl Index {
    pub fn place(&self) -> Place {
        Place {
            generation: self.generation,
            is_index: true,
            sort: self.schema.sort.as_ref().map(|sort| sort.kind),
        }
    }

    /// What the index keeps of an item; `None` for an item without its keys.
    pub fn project(&self, table: &KeySchema, item: &Item) -> Option<Item> {
        if self.schema.attributes().any(|attribute| !item.contains_key(&attribute.name)) {
            return None;
        }
        let extra = match &self.projection {
            Projection::All => return Some(item.clone()),
            Projection::KeysOnly => &[][..],
            Projection::Include(names) => names,
        };
        let is_kept = |name: &str| {
            table.contains(name) || self.schema.contains(name) || extra.iter().any(|one| one == name)
        };
        let kept = item.iter().filter(|(name, _)| is_kept(name));
        Some(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeToLive {
    pub attribute: String,
    /// Until every item that was there before has been looked at.
    pub is_backfilling: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSettings {
    pub generation: u64,
    pub label: String,
    pub view: stream::View,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcePolicyText {
    pub text: String,
    pub revision: String,
}

/// Where a restored table came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// ARN; empty for another moment of a table, or an import.
    pub backup: String,
    /// ARN; empty for an import.
    pub table: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Until every item is there.
    pub is_running: bool,
}

/// A table as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// Under which its items are kept.
    pub generation: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub definitions: Vec<(String, ScalarKind)>,
    pub schema: KeySchema,
    pub indexes: Vec<Index>,
    pub is_on_demand: bool,
    /// When it was switched to on-demand mode last.
    pub on_demand_since: Option<i64>,
    pub throughput: Throughput,
    #[serde(default)]
    pub on_demand: OnDemandLimits,
    pub stream: Option<StreamSettings>,
    /// Also of a stream that was switched off.
    pub latest_stream: Option<String>,
    pub time_to_live: Option<TimeToLive>,
    pub tags: BTreeMap<String, String>,
    pub is_protected: bool,
    pub class: Option<String>,
    pub class_changed_at: Option<i64>,
    pub policy: Option<ResourcePolicyText>,
    #[serde(default)]
    pub restore: Option<Restore>,
    /// Set while point-in-time recovery is on.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// Generations under which changes are recorded while backups are made.
    #[serde(default)]
    pub recordings: Vec<u64>,
    /// The other members of a global table.
    #[serde(default)]
    pub replicas: Vec<Replica>,
    /// Where its items come from, until all are there: the region of another replica, or the ARN of an import.
    #[serde(default)]
    pub filled_from: Option<String>,
    /// `2019.11.21` or `2017.11.29`
    #[serde(default)]
    pub global_version: Option<String>,
    #[serde(default)]
    pub warm: Warm,
    #[serde(default)]
    pub insights: Option<Insights>,
    #[serde(default)]
    pub transition: Option<Transition>,
}

impl Stored for Record {}

impl Record {
    /// Whether changes leave records, and so have numbers.
    pub fn keeps_changes(&self) -> bool {
        self.stream.is_some() || self.recovery.is_some() || !self.recordings.is_empty()
    }
}

/// Point-in-time recovery of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Under which the changes are kept.
    pub generation: u64,
    /// When it was switched on: milliseconds since 1970.
    pub since: i64,
    /// How long changes are kept, 1 to 35.
    pub days: u32,
}

/// Another member of a global table, as this one knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    pub region: String,
    /// Until it has all items.
    pub is_filling: bool,
    #[serde(default)]
    pub read_override: Option<u64>,
    #[serde(default)]
    pub on_demand_read_override: Option<i64>,
    #[serde(default)]
    pub class: Option<String>,
}

/// A table as operations see it.
#[derive(Debug)]
pub struct Table {
    pub address: Address,
    pub record: Record,
    pub policy: Option<Arc<Policy>>,
}

impl Table {
    pub fn schema(&self) -> &KeySchema {
        &self.record.schema
    }

    pub fn place(&self) -> Place {
        Place {
            generation: self.record.generation,
            is_index: false,
            sort: self.schema().sort.as_ref().map(|sort| sort.kind),
        }
    }

    pub fn index(&self, name: &str) -> Option<&Index> {
        self.record.indexes.iter().find(|index| index.name == name)
    }

    pub fn has_local_indexes(&self) -> bool {
        self.record.indexes.iter().any(|index| !index.is_global)
    }

    /// When an item expires, in seconds since 1970, if the table says that items do and this one says when.
    pub fn expiry(&self, item: &Item) -> Option<i64> {
        match item.get(&self.record.time_to_live.as_ref()?.attribute)? {
            Value::N(number) => number.as_i64().filter(|seconds| (0..1 << 40).contains(seconds)),
            _ => None,
        }
    }

    /// Whether items are still on their way out of a backup, a file or another replica.
    pub fn is_restoring(&self) -> bool {
        self.record.restore.as_ref().is_some_and(|restore| restore.is_running)
            || self.record.filled_from.is_some()
    }

    pub fn is_backfilling(&self) -> bool {
        self.record.indexes.iter().any(|index| index.is_backfilling)
            || self.record.time_to_live.as_ref().is_some_and(|ttl| ttl.is_backfilling)
    }
}

/// Writes a table's row.
pub fn store(txn: &Txn, address: &Address, record: &Record) -> Result<(), DynamoError> {
    Ok(TABLES.put(txn, &address.key(), record)?)
}

/// Leaves everything that a generation holds to the sweeper.
pub fn discard(txn: &Txn, generation: u64) -> Result<(), DynamoError> {
    TRASH.put(txn, &generation, &Trash {})?;
    txn.notify(crate::sweep::TOPIC);
    Ok(())
}

/// Leaves work on what is there already to the back-filler.
pub fn backfill(txn: &Txn, address: &Address) -> Result<(), DynamoError> {
    WORK.put(txn, &address.key(), &keys::Work {})?;
    txn.notify(crate::backfill::TOPIC);
    Ok(())
}

/// `DescribeTable`
pub async fn describe_table(
    cx: &Cx,
    input: api::DescribeTableInput,
) -> Result<api::DescribeTableOutput, DynamoError> {
    let address = Address::parse(cx, &input.table_name.unwrap_or_default())?;
    let table = cx.state::<Dynamo>().load_named(cx.store(), &address).await?;
    let counts = count::counts(cx, &table).await?;
    let moment = transition::moment(&table, cx.now());
    Ok(api::DescribeTableOutput { table: Some(describe::describe(&table, &counts, moment)) })
}

/// `ListTables`: by name, up to 100 at a time.
pub async fn list_tables(cx: &Cx, input: api::ListTablesInput) -> Result<api::ListTablesOutput, DynamoError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100) as usize;
    let mut range: KeyRange = TABLES.under(&(cx.account(), cx.region()));
    if let Some(start) = input.exclusive_start_table_name {
        range = range.after(&TABLES.key(&(cx.account(), cx.region(), start.as_str())));
    }
    let rows = TABLES.scan(cx.store(), &range, limit).await?;
    let names: Vec<String> = rows.rows.into_iter().map(|((_, _, name), _)| name).collect();
    let last_evaluated_table_name = names.last().filter(|_| rows.more).cloned();
    Ok(api::ListTablesOutput { table_names: Some(names), last_evaluated_table_name })
}

/// `DeleteTable`: the name is free again at once; the sweeper removes the items. Records of its stream stay for a day.
pub async fn delete_table(
    cx: &Cx,
    input: api::DeleteTableInput,
) -> Result<api::DeleteTableOutput, DynamoError> {
    let address = &Address::parse(cx, &input.table_name.unwrap_or_default())?;
    let dynamo = cx.state::<Dynamo>();
    let table = cx
        .transact(|txn| async move {
            let table = dynamo.load_named(&txn, address).await?;
            if table.record.is_protected {
                return Err(DynamoError::validation(
                    "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
                ));
            }
            transition::check(&table, cx.now())?;
            if table.is_restoring() {
                return Err(in_use(&address.name, "Attempting to delete a table while it is being restored"));
            }
            if table.record.indexes.iter().any(|index| index.is_backfilling) {
                return Err(in_use(&address.name, "Attempting to delete a table while an index is being created"));
            }
            global::leave(&txn, dynamo, address, &table.record).await?;
            remove(cx, &txn, &table).await?;
            Ok(table)
        })
        .await?;
    dynamo.collections.forget(table.record.generation);
    let counts = count::Counts::default();
    let description = describe::describe(&table, &counts, describe::Moment::Deleting);
    Ok(api::DeleteTableOutput { table_description: Some(description) })
}

/// Removes a table's row, and leaves the rest to the sweeper; with point-in-time recovery, a backup stays.
///
/// # Errors
/// Of the store.
pub async fn remove(cx: &Cx, txn: &Txn, table: &Table) -> Result<(), DynamoError> {
    let (address, mut record) = (&table.address, table.record.clone());
    TABLES.delete(txn, &address.key());
    WORK.delete(txn, &address.key());
    match record.recovery.is_some() {
        true => {
            recovery::end(txn, &mut record)?;
            backup::keep_deleted(txn, address, &record, cx.now(), &cx.ids().hex(8))?;
        }
        false => discard(txn, record.generation)?,
    }
    for index in &record.indexes {
        discard(txn, index.generation)?;
    }
    global::legacy::forget(txn, address).await?;
    match &record.stream {
        Some(stream) => stream::close(txn, address, &stream.label, cx.now().as_millis()).await,
        None => Ok(()),
    }
}

/// `ResourceInUseException`
pub fn in_use(table: &str, what: &str) -> DynamoError {
    DynamoError::modelled("ResourceInUseException", format!("{what}: {table}"))
}

/// `DescribeLimits`: AWS's quotas of an account.
pub async fn describe_limits(
    _: &Cx,
    _: api::DescribeLimitsInput,
) -> Result<api::DescribeLimitsOutput, DynamoError> {
    Ok(api::DescribeLimitsOutput {
        account_max_read_capacity_units: Some(80_000),
        account_max_write_capacity_units: Some(80_000),
        table_max_read_capacity_units: Some(40_000),
        table_max_write_capacity_units: Some(40_000),
    })
}

/// `DescribeEndpoints`: this node.
pub async fn describe_endpoints(
    cx: &Cx,
    _: api::DescribeEndpointsRequest,
) -> Result<api::DescribeEndpointsResponse, DynamoError> {
    let endpoint = cx.endpoint();
    let address = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host).to_owned();
    let endpoint = api::Endpoint { address: Some(address), cache_period_in_minutes: Some(1_440) };
    Ok(api::DescribeEndpointsResponse { endpoints: Some(vec![endpoint]) })
}
