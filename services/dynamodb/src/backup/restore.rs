//! `RestoreTableFromBackup`, `RestoreTableToPointInTime`: always into a new table.
//!
//! Source: Developer Guide, "Restoring a DynamoDB table from a backup", "Restoring a DynamoDB table to a point in time":
//! streams, tags, time to live, policies and protection are not restored; API Reference, "RestoreTableFromBackup",
//! "RestoreTableToPointInTime".

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::Txn;

use crate::backup::snapshot::Undo;
use crate::backup::{BackupId, copy};
use crate::error::DynamoError;
use crate::keys::{BACKUPS, TABLES};
use crate::state::Dynamo;
use crate::table::create::{read_on_demand, read_throughput, wants_kms};
use crate::table::warm_throughput::Warm;
use crate::table::{Address, Index, Record, Restore, Table, count, describe, recovery};

/// What the restored table has otherwise than its source.
struct Overrides {
    billing: Option<String>,
    throughput: Option<api::ProvisionedThroughput>,
    on_demand: Option<api::OnDemandThroughput>,
    global: Option<Vec<api::GlobalSecondaryIndex>>,
    local: Option<Vec<api::LocalSecondaryIndex>>,
}

/// `RestoreTableFromBackup`
pub async fn restore_table_from_backup(
    cx: &Cx,
    input: api::RestoreTableFromBackupInput,
) -> Result<api::RestoreTableFromBackupOutput, DynamoError> {
    refuse(input.vector_index_override.is_some(), input.sse_specification_override.as_ref())?;
    let id = &BackupId::parse(input.backup_arn.as_deref().unwrap_or_default())?;
    let address = &Address::parse(cx, input.target_table_name.as_deref().unwrap_or_default())?;
    let overrides = &Overrides {
        billing: input.billing_mode_override,
        throughput: input.provisioned_throughput_override,
        on_demand: input.on_demand_throughput_override,
        global: input.global_secondary_index_override,
        local: input.local_secondary_index_override,
    };
    let dynamo = cx.state::<Dynamo>();
    let record = cx
        .transact(|txn| async move {
            let row = BACKUPS.get(&txn, &id.key()).await?.ok_or_else(|| id.missing())?;
            if !row.is_available {
                return Err(DynamoError::modelled(
                    "BackupInUseException",
                    format!("Backup is in use: {}", id.arn()),
                ));
            }
            let restore = Restore {
                backup: id.arn().to_string(),
                table: id.address.arn().to_string(),
                at: row.created_at,
                is_running: true,
            };
            let record = restored(cx, &row.record, overrides, restore)?;
            let copy = copy::Copy {
                from: row.generation,
                into: record.generation,
                goal: copy::Goal::Table,
                undo: None,
            };
            begin(&txn, dynamo, address, &record, &copy).await?;
            Ok(record)
        })
        .await?;
    Ok(api::RestoreTableFromBackupOutput { table_description: Some(description(address, record)) })
}

/// `RestoreTableToPointInTime`: the items as they were at a second of the last days.
pub async fn restore_table_to_point_in_time(
    cx: &Cx,
    input: api::RestoreTableToPointInTimeInput,
) -> Result<api::RestoreTableToPointInTimeOutput, DynamoError> {
    refuse(input.vector_index_override.is_some(), input.sse_specification_override.as_ref())?;
    let named = input.source_table_arn.as_deref().or(input.source_table_name.as_deref());
    let Some(named) = named else {
        return Err(DynamoError::validation("Either SourceTableArn or SourceTableName must be specified"));
    };
    let source = &Address::parse(cx, named)?;
    let address = &Address::parse(cx, input.target_table_name.as_deref().unwrap_or_default())?;
    let wanted = match (input.restore_date_time, input.use_latest_restorable_time) {
        (Some(_), Some(true)) => {
            return Err(DynamoError::validation(
                "Only one of RestoreDateTime and UseLatestRestorableTime can be specified",
            ));
        }
        (None, Some(true)) => None,
        (Some(moment), _) => Some(moment),
        (None, _) => {
            return Err(DynamoError::validation(
                "Either RestoreDateTime or UseLatestRestorableTime must be specified",
            ));
        }
    };
    let overrides = &Overrides {
        billing: input.billing_mode_override,
        throughput: input.provisioned_throughput_override,
        on_demand: input.on_demand_throughput_override,
        global: input.global_secondary_index_override,
        local: input.local_secondary_index_override,
    };
    let dynamo = cx.state::<Dynamo>();
    let record = cx
        .transact(|txn| async move {
            let table = dynamo.find(&txn, source).await?.filter(|table| !table.is_restoring());
            let table = table.ok_or_else(|| recovery::no_table(&source.name))?;
            let (undo, moment) = undo(&table, wanted, cx.now())?;
            let restore = Restore {
                backup: String::new(),
                table: source.arn().to_string(),
                at: moment.as_millis(),
                is_running: true,
            };
            let record = restored(cx, &table.record, overrides, restore)?;
            let copy = copy::Copy {
                from: table.record.generation,
                into: record.generation,
                goal: copy::Goal::Table,
                undo: Some(undo),
            };
            begin(&txn, dynamo, address, &record, &copy).await?;
            Ok::<_, DynamoError>(record)
        })
        .await?;
    Ok(api::RestoreTableToPointInTimeOutput { table_description: Some(description(address, record)) })
}

/// What leads back to a moment; the latest one if none is wanted.
///
/// # Errors
/// `PointInTimeRecoveryUnavailableException`, `InvalidRestoreTimeException`
pub fn undo(
    table: &Table,
    wanted: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Undo, Timestamp), DynamoError> {
    let unavailable = || {
        DynamoError::modelled(
            "PointInTimeRecoveryUnavailableException",
            format!("Point in time recovery is not enabled for table '{}'", table.address.name),
        )
    };
    let settings = table.record.recovery.as_ref().ok_or_else(unavailable)?;
    let window = recovery::window(settings, now);
    let moment = wanted.unwrap_or(window.latest);
    if moment < window.earliest_second() || moment > window.latest {
        return Err(DynamoError::modelled(
            "InvalidRestoreTimeException",
            "An invalid restore time was specified. RestoreDateTime must be between EarliestRestorableDateTime and LatestRestorableDateTime.",
        ));
    }
    let until = moment.max(window.earliest);
    Ok((Undo { history: settings.generation, until: Some(until.as_millis()) }, moment))
}

fn refuse(has_vector_indexes: bool, encryption: Option<&api::SSESpecification>) -> Result<(), DynamoError> {
    if has_vector_indexes {
        return Err(DynamoError::unsupported("VectorIndexOverride"));
    }
    match wants_kms(encryption) {
        true => Err(DynamoError::unsupported("SSESpecificationOverride with a KMS key")),
        false => Ok(()),
    }
}

/// Makes the table's row and leaves the rest to the back-filler.
async fn begin(
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    record: &Record,
    copy: &copy::Copy,
) -> Result<(), DynamoError> {
    if dynamo.find(txn, address).await?.is_some() {
        let text = format!("Table already exists: {}", address.name);
        return Err(DynamoError::modelled("TableAlreadyExistsException", text));
    }
    TABLES.put(txn, &address.key(), record)?;
    let key = (address.account, address.region.clone(), address.name.clone(), String::new());
    copy::begin(txn, &key, copy)
}

fn description(address: &Address, record: Record) -> api::TableDescription {
    let table = Table { address: address.clone(), record, policy: None };
    describe::describe(&table, &count::Counts::default(), describe::Moment::Creating)
}

/// A new table like an old one.
pub fn fresh(cx: &Cx, old: &Record) -> Record {
    let mut record = old.clone();
    record.id = cx.ids().uuid();
    record.generation = cx.rng().next_u64();
    record.created_at = cx.now().as_millis();
    for index in &mut record.indexes {
        index.generation = cx.rng().next_u64();
        index.is_backfilling = false;
        index.insights = None;
    }
    record.insights = None;
    record.transition = None;
    (record.stream, record.latest_stream, record.time_to_live, record.policy) = (None, None, None, None);
    (record.recovery, record.restore, record.filled_from, record.global_version) = (None, None, None, None);
    record.replicas.clear();
    record.recordings.clear();
    record.tags.clear();
    record.is_protected = false;
    record
}

fn restored(cx: &Cx, old: &Record, overrides: &Overrides, restore: Restore) -> Result<Record, DynamoError> {
    let mut record = fresh(cx, old);
    // Nobody has warmed the new table.
    record.warm = Warm::default();
    record.indexes.iter_mut().for_each(|index| index.warm = Warm::default());
    match overrides.billing.as_deref() {
        Some("PAY_PER_REQUEST") => {
            record.is_on_demand = true;
            record.on_demand_since = Some(record.created_at);
        }
        Some(_) => record.is_on_demand = false,
        None => {}
    }
    let is_on_demand = record.is_on_demand;
    let wanted = overrides.throughput.as_ref();
    if wanted.is_some() || is_on_demand != old.is_on_demand {
        record.throughput = read_throughput(is_on_demand, wanted, None)?;
    }
    if overrides.on_demand.is_some() || !is_on_demand {
        record.on_demand = read_on_demand(is_on_demand, overrides.on_demand.as_ref())?;
    }
    if let Some(wanted) = &overrides.global {
        let of = |index: &api::GlobalSecondaryIndex| (index.index_name.clone(), index.key_schema.clone());
        check_known(&record.indexes, true, wanted.iter().map(of))?;
        record.indexes.retain(|index| {
            !index.is_global || wanted.iter().any(|one| one.index_name.as_deref() == Some(&index.name))
        });
    }
    if let Some(wanted) = &overrides.local {
        let of = |index: &api::LocalSecondaryIndex| (index.index_name.clone(), index.key_schema.clone());
        check_known(&record.indexes, false, wanted.iter().map(of))?;
        record.indexes.retain(|index| {
            index.is_global || wanted.iter().any(|one| one.index_name.as_deref() == Some(&index.name))
        });
    }
    for index in record.indexes.iter_mut().filter(|index| index.is_global) {
        let mut given = overrides.global.iter().flatten();
        let given = given.find(|one| one.index_name.as_deref() == Some(&index.name));
        let wanted = given.and_then(|one| one.provisioned_throughput.as_ref());
        if wanted.is_some() || is_on_demand != old.is_on_demand {
            index.throughput = read_throughput(is_on_demand, wanted, Some(&index.name))?;
        }
        let limits = given.and_then(|one| one.on_demand_throughput.as_ref());
        if limits.is_some() || !is_on_demand {
            index.on_demand = read_on_demand(is_on_demand, limits)?;
        }
    }
    let (schema, indexes) = (&record.schema, &record.indexes);
    record
        .definitions
        .retain(|(name, _)| schema.contains(name) || indexes.iter().any(|index| index.schema.contains(name)));
    record.restore = Some(restore);
    Ok(record)
}

/// Indexes of a restored table are some of those that the source has.
///
/// # Errors
/// `ValidationException`
fn check_known(
    indexes: &[Index],
    is_global: bool,
    wanted: impl Iterator<Item = (Option<String>, Option<Vec<api::KeySchemaElement>>)>,
) -> Result<(), DynamoError> {
    for (name, keys) in wanted {
        let name = name.unwrap_or_default();
        let known = indexes.iter().find(|index| index.is_global == is_global && index.name == name);
        let is_same = known.is_some_and(|index| Some(describe::key_schema(&index.schema)) == keys);
        if !is_same {
            return Err(DynamoError::parameter(format_args!(
                "The override of an index must match an index of the source table: {name}"
            )));
        }
    }
    Ok(())
}
