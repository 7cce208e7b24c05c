//! `CreateGlobalTable`, `UpdateGlobalTable`, `DescribeGlobalTable`, `ListGlobalTables`, `DescribeGlobalTableSettings`: version
//! 2017.11.29, whose replicas are tables that were made before, empty and alike.
//!
//! Source: API Reference, "CreateGlobalTable", "UpdateGlobalTable"; Developer Guide, "Global tables version 2017.11.29
//! (Legacy)".

use std::sync::Arc;

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Space, Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::global::there;
use crate::keys::GLOBALS;
use crate::state::Dynamo;
use crate::stream::View;
use crate::table::{self, Address, Replica, Table};

const VERSION: &str = "2017.11.29";

/// A global table as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GlobalRow {
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub regions: Vec<String>,
}

impl Stored for GlobalRow {}

fn missing(name: &str) -> DynamoError {
    DynamoError::modelled("GlobalTableNotFoundException", format!("Global table not found: {name}"))
}

fn describe(
    address: &Address,
    row: &GlobalRow,
    status: &str,
) -> Result<api::GlobalTableDescription, DynamoError> {
    let replica = |region: &String| -> Result<_, DynamoError> {
        Ok(api::ReplicaDescription {
            region_name: Some(region.clone()),
            replica_arn: Some(there(address, region)?.arn().to_string()),
            replica_status: Some("ACTIVE".to_owned()),
            ..api::ReplicaDescription::default()
        })
    };
    Ok(api::GlobalTableDescription {
        replication_group: Some(row.regions.iter().map(replica).collect::<Result<_, _>>()?),
        global_table_arn: Some(arn(address)),
        creation_date_time: Some(Timestamp::from_millis(row.created_at)),
        global_table_status: Some(status.to_owned()),
        global_table_name: Some(address.name.clone()),
    })
}

/// As policies name a global table.
pub fn arn(address: &Address) -> String {
    format!("arn:{}:dynamodb::{}:global-table/{}", address.region.partition(), address.account, address.name)
}

/// The tables that are to be replicas of each other.
///
/// # Errors
/// `TableNotFoundException`; `ValidationException` for tables that are not alike or hold something.
async fn members(
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    regions: &[String],
) -> Result<Vec<Arc<Table>>, DynamoError> {
    let mut all: Vec<Arc<Table>> = Vec::new();
    for region in regions {
        let address = there(address, region)?;
        let table = dynamo.find(txn, &address).await?.filter(|table| !table.is_restoring());
        let table = table.ok_or_else(|| {
            DynamoError::modelled("TableNotFoundException", format!("Table not found: {}", address.arn()))
        })?;
        if table.record.stream.as_ref().is_none_or(|stream| stream.view != View::NewAndOldImages) {
            return Err(DynamoError::validation(format!(
                "Table must have streams enabled with StreamViewType NEW_AND_OLD_IMAGES: {}",
                address.arn()
            )));
        }
        let is_alike = all.first().is_none_or(|first| first.record.schema == table.record.schema);
        if !is_alike {
            return Err(DynamoError::validation("All replicas must have the same key schema"));
        }
        all.push(table);
    }
    Ok(all)
}

async fn check_empty(txn: &Txn, table: &Table) -> Result<(), DynamoError> {
    match txn.scan(Space::Items, &table.place().all(), 1).await?.entries.is_empty() {
        true => Ok(()),
        false => Err(DynamoError::validation(format!(
            "Failed to create a global table: replica {} contains data",
            table.address.arn()
        ))),
    }
}

/// Lets every member know the others.
fn join(txn: &Txn, members: &[Arc<Table>]) -> Result<(), DynamoError> {
    for table in members {
        let mut record = table.record.clone();
        let others = members.iter().filter(|other| other.address.region != table.address.region);
        record.replicas = others
            .map(|other| Replica {
                region: other.address.region.to_string(),
                is_filling: false,
                read_override: None,
                on_demand_read_override: None,
                class: None,
            })
            .collect();
        record.global_version = (members.len() > 1).then(|| VERSION.to_owned());
        table::store(txn, &table.address, &record)?;
    }
    Ok(())
}

fn regions(group: Option<Vec<api::Replica>>) -> Vec<String> {
    group.unwrap_or_default().into_iter().filter_map(|replica| replica.region_name).collect()
}

/// `CreateGlobalTable`
pub async fn create_global_table(
    cx: &Cx,
    input: api::CreateGlobalTableInput,
) -> Result<api::CreateGlobalTableOutput, DynamoError> {
    let address = &Address::parse(cx, input.global_table_name.as_deref().unwrap_or_default())?;
    let regions = &regions(input.replication_group);
    let (dynamo, now) = (cx.state::<Dynamo>(), cx.now().as_millis());
    let row = cx
        .transact(|txn| async move {
            let key = (address.account, address.name.clone());
            if GLOBALS.get(&txn, &key).await?.is_some() {
                return Err(DynamoError::modelled(
                    "GlobalTableAlreadyExistsException",
                    format!("Global table with name: '{}' already exists.", address.name),
                ));
            }
            let members = members(&txn, dynamo, address, regions).await?;
            for table in &members {
                check_empty(&txn, table).await?;
            }
            join(&txn, &members)?;
            let row = GlobalRow { created_at: now, regions: regions.clone() };
            GLOBALS.put(&txn, &key, &row)?;
            Ok::<_, DynamoError>(row)
        })
        .await?;
    Ok(api::CreateGlobalTableOutput { global_table_description: Some(describe(address, &row, "CREATING")?) })
}

/// `UpdateGlobalTable`: a new replica is empty, and gets what is written from now on.
pub async fn update_global_table(
    cx: &Cx,
    input: api::UpdateGlobalTableInput,
) -> Result<api::UpdateGlobalTableOutput, DynamoError> {
    let address = &Address::parse(cx, input.global_table_name.as_deref().unwrap_or_default())?;
    let updates = &input.replica_updates.unwrap_or_default();
    let dynamo = cx.state::<Dynamo>();
    let row = cx
        .transact(|txn| async move {
            let key = (address.account, address.name.clone());
            let mut row = GLOBALS.get(&txn, &key).await?.ok_or_else(|| missing(&address.name))?;
            let mut gone = Vec::new();
            for update in updates {
                if let Some(region) = update.create.as_ref().and_then(|create| create.region_name.clone()) {
                    if row.regions.contains(&region) {
                        let text = format!("Replica already exists in region: {region}");
                        return Err(DynamoError::modelled("ReplicaAlreadyExistsException", text));
                    }
                    let added = members(&txn, dynamo, address, std::slice::from_ref(&region)).await?;
                    for table in &added {
                        check_empty(&txn, table).await?;
                    }
                    row.regions.push(region);
                }
                if let Some(region) = update.delete.as_ref().and_then(|delete| delete.region_name.clone()) {
                    if !row.regions.contains(&region) {
                        let text = format!("Replica not found in region: {region}");
                        return Err(DynamoError::modelled("ReplicaNotFoundException", text));
                    }
                    row.regions.retain(|known| *known != region);
                    gone.push(region);
                }
            }
            let left = members(&txn, dynamo, address, &gone).await?;
            left.iter().try_for_each(|table| join(&txn, std::slice::from_ref(table)))?;
            join(&txn, &members(&txn, dynamo, address, &row.regions).await?)?;
            match row.regions.is_empty() {
                true => GLOBALS.delete(&txn, &key),
                false => GLOBALS.put(&txn, &key, &row)?,
            }
            Ok::<_, DynamoError>(row)
        })
        .await?;
    Ok(api::UpdateGlobalTableOutput { global_table_description: Some(describe(address, &row, "UPDATING")?) })
}

/// `DescribeGlobalTable`
pub async fn describe_global_table(
    cx: &Cx,
    input: api::DescribeGlobalTableInput,
) -> Result<api::DescribeGlobalTableOutput, DynamoError> {
    let address = Address::parse(cx, input.global_table_name.as_deref().unwrap_or_default())?;
    let row = GLOBALS.get(cx.store(), &(address.account, address.name.clone())).await?;
    let row = row.ok_or_else(|| missing(&address.name))?;
    Ok(api::DescribeGlobalTableOutput { global_table_description: Some(describe(&address, &row, "ACTIVE")?) })
}

/// `DescribeGlobalTableSettings`
pub async fn describe_global_table_settings(
    cx: &Cx,
    input: api::DescribeGlobalTableSettingsInput,
) -> Result<api::DescribeGlobalTableSettingsOutput, DynamoError> {
    let address = Address::parse(cx, input.global_table_name.as_deref().unwrap_or_default())?;
    let row = GLOBALS.get(cx.store(), &(address.account, address.name.clone())).await?;
    let row = row.ok_or_else(|| missing(&address.name))?;
    let mut settings = Vec::new();
    for region in &row.regions {
        let there = there(&address, region)?;
        let Some(table) = cx.state::<Dynamo>().find(cx.store(), &there).await? else { continue };
        let record = &table.record;
        let indexes = record.indexes.iter().filter(|index| index.is_global).map(|index| {
            api::ReplicaGlobalSecondaryIndexSettingsDescription {
                index_name: Some(index.name.clone()),
                index_status: Some("ACTIVE".to_owned()),
                provisioned_read_capacity_units: Some(index.throughput.read as i64),
                provisioned_write_capacity_units: Some(index.throughput.write as i64),
                ..Default::default()
            }
        });
        let mode = if record.is_on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" };
        settings.push(api::ReplicaSettingsDescription {
            region_name: Some(region.clone()),
            replica_status: Some("ACTIVE".to_owned()),
            replica_billing_mode_summary: Some(api::BillingModeSummary {
                billing_mode: Some(mode.to_owned()),
                last_update_to_pay_per_request_date_time: record.on_demand_since.map(Timestamp::from_millis),
            }),
            replica_provisioned_read_capacity_units: Some(record.throughput.read as i64),
            replica_provisioned_write_capacity_units: Some(record.throughput.write as i64),
            replica_global_secondary_index_settings: Some(indexes.collect()),
            ..Default::default()
        });
    }
    Ok(api::DescribeGlobalTableSettingsOutput {
        global_table_name: Some(address.name),
        replica_settings: Some(settings),
    })
}

/// `ListGlobalTables`: by name; of one region, if one is named.
pub async fn list_global_tables(
    cx: &Cx,
    input: api::ListGlobalTablesInput,
) -> Result<api::ListGlobalTablesOutput, DynamoError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100) as usize;
    let mut range = GLOBALS.under(&(cx.account(),));
    if let Some(start) = &input.exclusive_start_global_table_name {
        range = range.after(&GLOBALS.key(&(cx.account(), start.as_str())));
    }
    let (mut tables, mut more, mut last) = (Vec::new(), true, None);
    while more && tables.len() < limit {
        let page = GLOBALS.scan(cx.store(), &range, limit - tables.len()).await?;
        more = page.more;
        for (key, row) in page.rows {
            range = range.after(&GLOBALS.key(&key));
            last = Some(key.1.clone());
            if input.region_name.as_ref().is_none_or(|region| row.regions.contains(region)) {
                let group = row.regions.into_iter().map(|region| api::Replica { region_name: Some(region) });
                tables.push(api::GlobalTable {
                    global_table_name: Some(key.1),
                    replication_group: Some(group.collect()),
                });
            }
        }
    }
    Ok(api::ListGlobalTablesOutput {
        global_tables: Some(tables),
        last_evaluated_global_table_name: last.filter(|_| more),
    })
}

/// A table that is deleted is no replica any more.
pub async fn forget(txn: &Txn, address: &Address) -> Result<(), DynamoError> {
    let key = (address.account, address.name.clone());
    let Some(mut row) = GLOBALS.get(txn, &key).await? else { return Ok(()) };
    row.regions.retain(|region| region != address.region.as_str());
    match row.regions.is_empty() {
        true => GLOBALS.delete(txn, &key),
        false => GLOBALS.put(txn, &key, &row)?,
    }
    Ok(())
}
