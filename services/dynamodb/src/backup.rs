//! On-demand backups: `CreateBackup`, `DescribeBackup`, `ListBackups`, `DeleteBackup`.
//!
//! A backup holds copies of the items under a generation of its own, so it outlives its table. It shows the moment at which it
//! was asked for: while the back-filler copies, changes are recorded, and undone in the copy. The back-filler also fills
//! restored tables; a restored table is `CREATING` until everything is there.
//!
//! Source: Developer Guide, "Backing up a DynamoDB table", "Point-in-time backups for DynamoDB" (backups of deleted tables);
//! API Reference, "CreateBackup".

pub mod copy;
pub mod restore;
pub mod snapshot;

use std::time::Duration;

use pileus_api_dynamodb as api;
use pileus_core::{Arn, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::{self, BACKUPS, COPIES};
use crate::state::Dynamo;
use crate::table::{self, Address, Record, describe};

/// How long the backup of a deleted table is kept.
const SYSTEM_LIFE: Duration = Duration::from_secs(35 * 86_400);

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
    /// Of a table that was deleted while point-in-time recovery was on: when it is removed. Milliseconds since 1970.
    #[serde(default)]
    pub expires_at: Option<i64>,
}

impl Stored for BackupRow {}

impl BackupRow {
    fn kind(&self) -> &'static str {
        if self.expires_at.is_some() { "SYSTEM" } else { "USER" }
    }
}

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

    pub fn arn(&self) -> Arn {
        let Address { account, region, name } = &self.address;
        let resource = format!("table/{name}/backup/{}", self.id);
        Arn::new(region.partition(), "dynamodb", region.as_str(), account.as_str(), &resource)
    }

    pub fn missing(&self) -> DynamoError {
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
        backup_type: Some(row.kind().to_owned()),
        backup_creation_date_time: Some(Timestamp::from_millis(row.created_at)),
        backup_expiry_date_time: row.expires_at.map(Timestamp::from_millis),
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
        source_table_feature_details: Some(features(record)),
    }
}

/// The settings that a backup tells of beside the table's own.
fn features(record: &Record) -> api::SourceTableFeatureDetails {
    let projection = describe::projection;
    let local: Vec<_> = record
        .indexes
        .iter()
        .filter(|index| !index.is_global)
        .map(|index| api::LocalSecondaryIndexInfo {
            index_name: Some(index.name.clone()),
            key_schema: Some(describe::key_schema(&index.schema)),
            projection: Some(projection(&index.projection)),
        })
        .collect();
    let global: Vec<_> = record
        .indexes
        .iter()
        .filter(|index| index.is_global)
        .map(|index| api::GlobalSecondaryIndexInfo {
            index_name: Some(index.name.clone()),
            key_schema: Some(describe::key_schema(&index.schema)),
            projection: Some(projection(&index.projection)),
            provisioned_throughput: Some(api::ProvisionedThroughput {
                read_capacity_units: Some(index.throughput.read as i64),
                write_capacity_units: Some(index.throughput.write as i64),
            }),
            on_demand_throughput: describe::on_demand(&index.on_demand),
        })
        .collect();
    api::SourceTableFeatureDetails {
        local_secondary_indexes: (!local.is_empty()).then_some(local),
        global_secondary_indexes: (!global.is_empty()).then_some(global),
        stream_description: record.stream.as_ref().map(|stream| api::StreamSpecification {
            stream_enabled: Some(true),
            stream_view_type: Some(stream.view.name().to_owned()),
        }),
        time_to_live_description: record.time_to_live.as_ref().map(|ttl| api::TimeToLiveDescription {
            time_to_live_status: Some("ENABLED".to_owned()),
            attribute_name: Some(ttl.attribute.clone()),
        }),
        ..api::SourceTableFeatureDetails::default()
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
    let (dynamo, name) = (cx.state::<Dynamo>(), &input.backup_name);
    let (generation, recording) = (cx.rng().next_u64(), cx.rng().next_u64());
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
                expires_at: None,
            };
            BACKUPS.put(&txn, &id.key(), &row)?;
            let mut record = table.record.clone();
            record.recordings.push(recording);
            table::store(&txn, &id.address, &record)?;
            let job = copy::Copy {
                from: table.record.generation,
                into: generation,
                goal: copy::Goal::Backup,
                undo: Some(snapshot::Undo { history: recording, until: None }),
            };
            copy::begin(&txn, &id.key(), &job)?;
            Ok::<_, DynamoError>(row)
        })
        .await?;
    Ok(api::CreateBackupOutput { backup_details: Some(details(id, &row, None)) })
}

/// The backup that is left of a table with point-in-time recovery when it is deleted: its items, as they lie.
pub fn keep_deleted(
    txn: &Txn,
    address: &Address,
    record: &Record,
    now: Timestamp,
    id: &str,
) -> Result<(), DynamoError> {
    let id = BackupId { address: address.clone(), id: format!("{:014}-{id}", now.as_millis()) };
    let row = BackupRow {
        name: format!("{}$DeletedTableBackup", address.name),
        record: record.clone(),
        generation: record.generation,
        created_at: now.as_millis(),
        is_available: true,
        items: 0,
        bytes: 0,
        expires_at: Some((now + SYSTEM_LIFE).as_millis()),
    };
    Ok(BACKUPS.put(txn, &id.key(), &row)?)
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
            if row.expires_at.is_some() {
                return Err(DynamoError::validation(format!(
                    "A backup of type SYSTEM is removed when it expires: {}",
                    id.arn()
                )));
            }
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
    let wanted = input.backup_type.as_deref().unwrap_or("USER");
    let mut summaries = Vec::new();
    let mut more = true;
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
            if !is_early && !is_late && (wanted == "ALL" || wanted == row.kind()) {
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
        backup_expiry_date_time: details.backup_expiry_date_time,
        backup_status: details.backup_status,
        backup_type: details.backup_type,
        backup_size_bytes: details.backup_size_bytes,
    }
}
