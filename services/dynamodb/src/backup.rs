//! On-demand backups: `CreateBackup`, `DescribeBackup`, `ListBackups`, `DeleteBackup`, `RestoreTableFromBackup`.
//!
//! A backup holds copies of the items under a generation of its own, so it outlives its table. The back-filler copies, also
//! into a restored table; a restored table is `CREATING` until everything is there.
//!
//! Source: Developer Guide, "Backing up a DynamoDB table", "Restoring a DynamoDB table from a backup"; API Reference,
//! "CreateBackup", "RestoreTableFromBackup".

pub mod copy;

use pileus_api_dynamodb as api;
use pileus_core::{Arn, Timestamp};
use pileus_platform::Cx;
use pileus_store::Stored;
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::{self, BACKUPS, COPIES, TABLES};
use crate::state::Dynamo;
use crate::table::create::{read_throughput, wants_kms};
use crate::table::{self, Address, Record, Restore, Table, count, describe};

/// A backup as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupRow {
    pub name: String,
    /// The table as it was.
    pub record: Record,
    /// Under which the copies are kept.
    pub generation: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub is_available: bool,
    pub items: u64,
    pub bytes: u64,
}

impl Stored for BackupRow {}

/// Which backup: its table, and its own id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupId {
    pub address: Address,
    pub id: String,
}

impl BackupId {
    /// # Errors
    /// `ValidationException`
    pub fn parse(text: &str) -> Result<BackupId, DynamoError> {
        let found = Address::from_arn(text).and_then(|(address, rest)| {
            let id = rest?.strip_prefix("backup/")?.to_owned();
            Some(BackupId { address, id })
        });
        found.ok_or_else(|| DynamoError::validation(format!("Invalid BackupArn: {text}")))
    }

    pub fn key(&self) -> keys::BackupKey {
        let Address { account, region, name } = self.address.clone();
        (account, region, name, self.id.clone())
    }

    fn arn(&self) -> Arn {
        let Address { account, region, name } = &self.address;
        let resource = format!("table/{name}/backup/{}", self.id);
        Arn::new(region.partition(), "dynamodb", region.as_str(), account.as_str(), &resource)
    }

    fn missing(&self) -> DynamoError {
        DynamoError::modelled("BackupNotFoundException", format!("Backup not found: {}", self.arn()))
    }
}

fn details(id: &BackupId, row: &BackupRow, status: Option<&str>) -> api::BackupDetails {
    let status = status.unwrap_or(if row.is_available { "AVAILABLE" } else { "CREATING" });
    api::BackupDetails {
        backup_arn: Some(id.arn().to_string()),
        backup_name: Some(row.name.clone()),
        backup_size_bytes: Some(row.bytes as i64),
        backup_status: Some(status.to_owned()),
        backup_type: Some("USER".to_owned()),
        backup_creation_date_time: Some(Timestamp::from_millis(row.created_at)),
        backup_expiry_date_time: None,
    }
}

fn description(id: &BackupId, row: &BackupRow, status: Option<&str>) -> api::BackupDescription {
    let record = &row.record;
    let source = api::SourceTableDetails {
        table_name: Some(id.address.name.clone()),
        table_id: Some(record.id.clone()),
        table_arn: Some(id.address.arn().to_string()),
        table_size_bytes: Some(row.bytes as i64),
        key_schema: Some(describe::key_schema(&record.schema)),
        table_creation_date_time: Some(Timestamp::from_millis(record.created_at)),
        provisioned_throughput: Some(api::ProvisionedThroughput {
            read_capacity_units: Some(record.throughput.read as i64),
            write_capacity_units: Some(record.throughput.write as i64),
        }),
        item_count: Some(row.items as i64),
        billing_mode: Some(if record.is_on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" }.to_owned()),
        ..api::SourceTableDetails::default()
    };
    api::BackupDescription {
        backup_details: Some(details(id, row, status)),
        source_table_details: Some(source),
        source_table_feature_details: None,
    }
}

/// `CreateBackup`
pub async fn create_backup(
    cx: &Cx,
    input: api::CreateBackupInput,
) -> Result<api::CreateBackupOutput, DynamoError> {
    let name = input.table_name.unwrap_or_default();
    let address = Address::parse(cx, &name)?;
    let now = cx.now().as_millis();
    let id = &BackupId { address, id: format!("{now:014}-{}", cx.ids().hex(8)) };
    let (dynamo, generation, name) = (cx.state::<Dynamo>(), cx.rng().next_u64(), &input.backup_name);
    let row = cx
        .transact(|txn| async move {
            let table = dynamo.find(&txn, &id.address).await?.filter(|table| !table.is_restoring());
            let table = table.ok_or_else(|| {
                DynamoError::modelled(
                    "TableNotFoundException",
                    format!("Table not found: {}", id.address.name),
                )
            })?;
            let row = BackupRow {
                name: name.clone().unwrap_or_default(),
                record: table.record.clone(),
                generation,
                created_at: now,
                is_available: false,
                items: 0,
                bytes: 0,
            };
            BACKUPS.put(&txn, &id.key(), &row)?;
            let job =
                copy::Copy { from: table.record.generation, into: generation, goal: copy::Goal::Backup };
            copy::begin(&txn, &id.key(), &job)?;
            Ok::<_, DynamoError>(row)
        })
        .await?;
    Ok(api::CreateBackupOutput { backup_details: Some(details(id, &row, None)) })
}

/// `DescribeBackup`
pub async fn describe_backup(
    cx: &Cx,
    input: api::DescribeBackupInput,
) -> Result<api::DescribeBackupOutput, DynamoError> {
    let id = BackupId::parse(input.backup_arn.as_deref().unwrap_or_default())?;
    let row = BACKUPS.get(cx.store(), &id.key()).await?.ok_or_else(|| id.missing())?;
    Ok(api::DescribeBackupOutput { backup_description: Some(description(&id, &row, None)) })
}

/// `DeleteBackup`: not while something is copied into or out of it.
pub async fn delete_backup(
    cx: &Cx,
    input: api::DeleteBackupInput,
) -> Result<api::DeleteBackupOutput, DynamoError> {
    let id = &BackupId::parse(input.backup_arn.as_deref().unwrap_or_default())?;
    let row = cx
        .transact(|txn| async move {
            let row = BACKUPS.get(&txn, &id.key()).await?.ok_or_else(|| id.missing())?;
            let copies = COPIES.scan(&txn, &COPIES.all(), 1_000).await?;
            let uses = |copy: &copy::Copy| copy.from == row.generation || copy.into == row.generation;
            if copies.rows.iter().any(|(_, copy)| uses(copy)) {
                return Err(DynamoError::modelled(
                    "BackupInUseException",
                    format!("Backup is in use: {}", id.arn()),
                ));
            }
            BACKUPS.delete(&txn, &id.key());
            table::discard(&txn, row.generation)?;
            Ok(row)
        })
        .await?;
    Ok(api::DeleteBackupOutput { backup_description: Some(description(id, &row, Some("DELETED"))) })
}

/// `ListBackups`: by table and age.
pub async fn list_backups(
    cx: &Cx,
    input: api::ListBackupsInput,
) -> Result<api::ListBackupsOutput, DynamoError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100) as usize;
    let mut range = match &input.table_name {
        Some(name) => {
            let address = Address::parse(cx, name)?;
            BACKUPS.under(&(address.account, &address.region, address.name.as_str()))
        }
        None => BACKUPS.under(&(cx.account(), cx.region())),
    };
    if let Some(arn) = &input.exclusive_start_backup_arn {
        range = range.after(&BACKUPS.key(&BackupId::parse(arn)?.key()));
    }
    let are_ours = matches!(input.backup_type.as_deref(), None | Some("USER" | "ALL"));
    let mut summaries = Vec::new();
    let mut more = are_ours;
    let mut last = None;
    while more && summaries.len() < limit {
        let page = BACKUPS.scan(cx.store(), &range, limit - summaries.len()).await?;
        more = page.more;
        for (key, row) in page.rows {
            range = range.after(&BACKUPS.key(&key));
            let (account, region, name, id) = key;
            let id = BackupId { address: Address { account, region, name }, id };
            let at = Timestamp::from_millis(row.created_at);
            let is_early = input.time_range_lower_bound.is_some_and(|bound| at < bound);
            let is_late = input.time_range_upper_bound.is_some_and(|bound| at >= bound);
            last = Some(id.arn().to_string());
            if !is_early && !is_late {
                summaries.push(summary(&id, &row));
            }
        }
    }
    Ok(api::ListBackupsOutput {
        backup_summaries: Some(summaries),
        last_evaluated_backup_arn: last.filter(|_| more),
    })
}

fn summary(id: &BackupId, row: &BackupRow) -> api::BackupSummary {
    let details = details(id, row, None);
    api::BackupSummary {
        table_name: Some(id.address.name.clone()),
        table_id: Some(row.record.id.clone()),
        table_arn: Some(id.address.arn().to_string()),
        backup_arn: details.backup_arn,
        backup_name: details.backup_name,
        backup_creation_date_time: details.backup_creation_date_time,
        backup_expiry_date_time: None,
        backup_status: details.backup_status,
        backup_type: details.backup_type,
        backup_size_bytes: details.backup_size_bytes,
    }
}

/// `RestoreTableFromBackup`: always into a new table, with the indexes of the old one.
///
/// Source: Developer Guide, "Restoring a DynamoDB table from a backup": streams, tags, time to live, policies and
/// protection are not restored.
pub async fn restore_table_from_backup(
    cx: &Cx,
    input: api::RestoreTableFromBackupInput,
) -> Result<api::RestoreTableFromBackupOutput, DynamoError> {
    let refused = [
        ("GlobalSecondaryIndexOverride", input.global_secondary_index_override.is_some()),
        ("LocalSecondaryIndexOverride", input.local_secondary_index_override.is_some()),
        ("OnDemandThroughputOverride", input.on_demand_throughput_override.is_some()),
        ("VectorIndexOverride", input.vector_index_override.is_some()),
        ("SSESpecificationOverride with a KMS key", wants_kms(input.sse_specification_override.as_ref())),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, is_given)| *is_given) {
        return Err(DynamoError::unsupported(name));
    }
    let id = &BackupId::parse(input.backup_arn.as_deref().unwrap_or_default())?;
    let address = &Address::parse(cx, input.target_table_name.as_deref().unwrap_or_default())?;
    let (dynamo, input) = (cx.state::<Dynamo>(), &input);
    let record = cx
        .transact(|txn| async move {
            let row = BACKUPS.get(&txn, &id.key()).await?.ok_or_else(|| id.missing())?;
            if !row.is_available {
                return Err(DynamoError::modelled(
                    "BackupInUseException",
                    format!("Backup is in use: {}", id.arn()),
                ));
            }
            if dynamo.find(&txn, address).await?.is_some() {
                let text = format!("Table already exists: {}", address.name);
                return Err(DynamoError::modelled("TableAlreadyExistsException", text));
            }
            let record = restored(cx, id, &row, input)?;
            TABLES.put(&txn, &address.key(), &record)?;
            let (from, into) = (row.generation, record.generation);
            let key = (address.account, address.region.clone(), address.name.clone(), String::new());
            copy::begin(&txn, &key, &copy::Copy { from, into, goal: copy::Goal::Table })?;
            Ok(record)
        })
        .await?;
    let table = Table { address: address.clone(), record, policy: None };
    let description = describe::describe(&table, &count::Counts::default(), describe::Moment::Creating);
    Ok(api::RestoreTableFromBackupOutput { table_description: Some(description) })
}

fn restored(
    cx: &Cx,
    id: &BackupId,
    row: &BackupRow,
    input: &api::RestoreTableFromBackupInput,
) -> Result<Record, DynamoError> {
    let mut record = row.record.clone();
    let now = cx.now().as_millis();
    record.id = cx.ids().uuid();
    record.generation = cx.rng().next_u64();
    record.created_at = now;
    for index in &mut record.indexes {
        index.generation = cx.rng().next_u64();
        index.is_backfilling = false;
    }
    (record.stream, record.latest_stream, record.time_to_live, record.policy) = (None, None, None, None);
    record.tags.clear();
    record.is_protected = false;
    match input.billing_mode_override.as_deref() {
        Some("PAY_PER_REQUEST") => {
            record.is_on_demand = true;
            record.on_demand_since = Some(now);
        }
        Some(_) => record.is_on_demand = false,
        None => {}
    }
    let wanted = input.provisioned_throughput_override.as_ref();
    if wanted.is_some() || !record.is_on_demand && row.record.is_on_demand {
        record.throughput = read_throughput(record.is_on_demand, wanted, None)?;
    }
    record.restore = Some(Restore {
        backup: id.arn().to_string(),
        table: id.address.arn().to_string(),
        at: now,
        is_running: true,
    });
    Ok(record)
}
