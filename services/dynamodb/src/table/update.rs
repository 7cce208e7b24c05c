//! `UpdateTable`: billing mode and throughput, global indexes, streams, class, protection.
//!
//! Source: API Reference, "UpdateTable"; Developer Guide, "Managing Global Secondary Indexes in DynamoDB".

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::Txn;

use crate::error::DynamoError;
use crate::global;
use crate::state::Dynamo;
use crate::stream;
use crate::table::create::{
    check_definitions_used, check_projected, push, read_definitions, read_global, read_on_demand,
    read_throughput, stream_settings, wants_kms,
};
use crate::table::{self, Address, Record, Table, Throughput, count, describe, transition, warm_throughput};

/// `UpdateTable`
pub async fn update_table(
    cx: &Cx,
    input: api::UpdateTableInput,
) -> Result<api::UpdateTableOutput, DynamoError> {
    let address = &Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    refuse_unsupported(&input)?;
    let (dynamo, input) = (cx.state::<Dynamo>(), &input);
    let table = cx
        .transact(|txn| async move {
            let table = dynamo.load_named(&txn, address).await?;
            if table.is_restoring() {
                return Err(table::in_use(&address.name, "Attempting to change a table while it is being restored"));
            }
            transition::check(&table, cx.now())?;
            let mut record = table.record.clone();
            record.transition = transition::begin(cx, false);
            let changed = change(cx, &txn, address, &mut record, input).await?;
            if !changed {
                return Err(DynamoError::validation(
                    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required",
                ));
            }
            global::sync(&**cx.rng(), &txn, dynamo, address, &record).await?;
            table::store(&txn, address, &record)?;
            Ok(Table { address: address.clone(), record, policy: None })
        })
        .await?;
    let counts = count::counts(cx, &table).await?;
    let description = describe::describe(&table, &counts, describe::Moment::Updating);
    Ok(api::UpdateTableOutput { table_description: Some(description) })
}

fn refuse_unsupported(input: &api::UpdateTableInput) -> Result<(), DynamoError> {
    let refused = [
        (
            "MultiRegionConsistency STRONG",
            input.multi_region_consistency.as_ref().is_some_and(|wanted| wanted != "EVENTUAL"),
        ),
        ("GlobalTableWitnessUpdates", input.global_table_witness_updates.is_some()),
        ("GlobalTableSettingsReplicationMode", input.global_table_settings_replication_mode.is_some()),
        ("DisassociationProtectionEnabled", input.disassociation_protection_enabled.is_some()),
        ("VectorIndexUpdates", input.vector_index_updates.is_some()),
        ("SSESpecification with a KMS key", wants_kms(input.sse_specification.as_ref())),
    ];
    match refused.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(DynamoError::unsupported(name)),
        None => Ok(()),
    }
}

/// Lays what was asked for over the record; false if nothing was.
async fn change(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    input: &api::UpdateTableInput,
) -> Result<bool, DynamoError> {
    let now = cx.now().as_millis();
    let mut changed = input.sse_specification.is_some();
    warm_throughput::keep(record);
    if let Some(protected) = input.deletion_protection_enabled {
        record.is_protected = protected;
        changed = true;
    }
    if let Some(class) = &input.table_class {
        record.class = Some(class.clone());
        record.class_changed_at = Some(now);
        changed = true;
    }
    changed |= change_billing(record, input, now)?;
    if let Some(limits) = &input.on_demand_throughput {
        record.on_demand = read_on_demand(record.is_on_demand, Some(limits))?;
        changed = true;
    }
    if let Some(wanted) = &input.warm_throughput {
        warm_throughput::raise(record, wanted)?;
        changed = true;
    }
    changed |= change_stream(cx, txn, address, record, input, now).await?;
    changed |= change_indexes(cx, txn, address, record, input, now)?;
    if let Some(updates) = &input.replica_updates {
        global::update::change(cx, txn, address, record, updates).await?;
        changed = true;
    }
    Ok(changed)
}

fn change_billing(record: &mut Record, input: &api::UpdateTableInput, now: i64) -> Result<bool, DynamoError> {
    let wanted = input.provisioned_throughput.as_ref();
    match input.billing_mode.as_deref() {
        Some("PAY_PER_REQUEST") => {
            read_throughput(true, wanted, None)?;
            if !record.is_on_demand {
                record.is_on_demand = true;
                record.on_demand_since = Some(now);
                record.throughput = Throughput::default();
                record.indexes.iter_mut().for_each(|index| index.throughput = Throughput::default());
            }
            return Ok(true);
        }
        Some(_) if record.is_on_demand => {
            record.throughput = read_throughput(false, wanted, None)?;
            record.is_on_demand = false;
            record.on_demand = Default::default();
            let updates = input.global_secondary_index_updates.as_deref().unwrap_or_default();
            for index in record.indexes.iter_mut().filter(|index| index.is_global) {
                let update = updates
                    .iter()
                    .filter_map(|update| update.update.as_ref())
                    .find(|update| update.index_name.as_deref() == Some(&index.name));
                let wanted = update.and_then(|update| update.provisioned_throughput.as_ref());
                index.throughput = read_throughput(false, wanted, Some(&index.name))?;
            }
            return Ok(true);
        }
        _ => {}
    }
    let Some(wanted) = wanted else { return Ok(input.billing_mode.is_some()) };
    let new = read_throughput(record.is_on_demand, Some(wanted), None)?;
    let old = record.throughput;
    if input.billing_mode.is_none() && !record.is_on_demand && (new.read, new.write) == (old.read, old.write)
    {
        return Err(DynamoError::validation(format!(
            "The provisioned throughput for the table will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the table: {}. Requested ReadCapacityUnits: {}. Current WriteCapacityUnits provisioned for the table: {}. Requested WriteCapacityUnits: {}. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
            old.read, new.read, old.write, new.write
        )));
    }
    record.throughput = dated(old, new, now);
    Ok(true)
}

/// When capacity went up or down last.
fn dated(old: Throughput, new: Throughput, now: i64) -> Throughput {
    let went_up = new.read > old.read || new.write > old.write;
    let went_down = new.read < old.read || new.write < old.write;
    Throughput {
        increased_at: if went_up { Some(now) } else { old.increased_at },
        decreased_at: if went_down { Some(now) } else { old.decreased_at },
        ..new
    }
}

async fn change_stream(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    input: &api::UpdateTableInput,
    now: i64,
) -> Result<bool, DynamoError> {
    let Some(specification) = &input.stream_specification else { return Ok(false) };
    match (stream_settings(cx, Some(specification))?, record.stream.take()) {
        (Some(_), Some(_)) => Err(DynamoError::validation(
            "Table already has an enabled stream: TableName: ".to_owned() + &address.name,
        )),
        (None, None) => Err(DynamoError::validation(
            "Table has no stream to disable: TableName: ".to_owned() + &address.name,
        )),
        (Some(new), None) => {
            stream::open(txn, address, &new, record, now).await?;
            record.latest_stream = Some(new.label.clone());
            record.stream = Some(new);
            Ok(true)
        }
        (None, Some(_)) if !record.replicas.is_empty() => Err(DynamoError::validation(
            "The stream of a table that is part of a global table cannot be disabled: TableName: ".to_owned()
                + &address.name,
        )),
        (None, Some(old)) => {
            stream::close(txn, address, &old.label, now).await?;
            Ok(true)
        }
    }
}

fn change_indexes(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    input: &api::UpdateTableInput,
    now: i64,
) -> Result<bool, DynamoError> {
    let Some(updates) = &input.global_secondary_index_updates else { return Ok(false) };
    let is_structural =
        |update: &&api::GlobalSecondaryIndexUpdate| update.create.is_some() || update.delete.is_some();
    if updates.iter().filter(is_structural).count() > 1 {
        return Err(DynamoError::modelled(
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        ));
    }
    for update in updates {
        match (&update.create, &update.delete, &update.update) {
            (Some(create), None, None) => {
                if record.indexes.iter().any(|index| index.is_backfilling) {
                    return Err(table::in_use(
                        &address.name,
                        "Attempting to create an index while another one is being created",
                    ));
                }
                merge_definitions(record, input)?;
                let mut index = read_global(cx, create, record.is_on_demand, &record.definitions)?;
                index.is_backfilling = true;
                push(&mut record.indexes, index)?;
                if record.indexes.iter().filter(|index| index.is_global).count() > 20 {
                    return Err(DynamoError::modelled(
                        "LimitExceededException",
                        "Subscriber limit exceeded: GlobalSecondaryIndex count exceeds the per-table limit of 20",
                    ));
                }
                check_projected(&record.indexes)?;
                check_definitions_used(&record.definitions, &record.schema, &record.indexes)?;
                table::backfill(txn, address)?;
            }
            (None, Some(delete), None) => {
                let name = delete.index_name.clone().unwrap_or_default();
                let at = record.indexes.iter().position(|index| index.is_global && index.name == name);
                let at = at.ok_or_else(|| no_index(&name))?;
                let index = record.indexes.remove(at);
                table::discard(txn, index.generation)?;
                drop_unused_definitions(record);
            }
            (None, None, Some(update)) => {
                let name = update.index_name.clone().unwrap_or_default();
                let is_on_demand = record.is_on_demand;
                let index = record.indexes.iter_mut().find(|index| index.is_global && index.name == name);
                let index = index.ok_or_else(|| no_index(&name))?;
                if let Some(wanted) = &update.provisioned_throughput {
                    let new = read_throughput(is_on_demand, Some(wanted), Some(&name))?;
                    index.throughput = dated(index.throughput, new, now);
                }
                if let Some(wanted) = &update.warm_throughput {
                    warm_throughput::raise_index(index, is_on_demand, wanted)?;
                }
                if let Some(limits) = &update.on_demand_throughput {
                    index.on_demand = read_on_demand(is_on_demand, Some(limits))?;
                }
            }
            _ => {
                return Err(DynamoError::parameter(
                    "Only one global secondary index update per index is allowed simultaneously",
                ));
            }
        }
    }
    Ok(true)
}

/// `ResourceNotFoundException`
pub fn no_index(name: &str) -> DynamoError {
    DynamoError::modelled(
        "ResourceNotFoundException",
        format!("Requested resource not found: Index: {name} not found"),
    )
}

/// A new index's keys are defined with it; what is defined already keeps its type.
fn merge_definitions(record: &mut Record, input: &api::UpdateTableInput) -> Result<(), DynamoError> {
    for (name, kind) in read_definitions(input.attribute_definitions.as_deref().unwrap_or_default())? {
        match record.definitions.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if *known != kind => {
                return Err(DynamoError::parameter(format_args!(
                    "Cannot change the type of attribute {name}, which is defined already"
                )));
            }
            Some(_) => {}
            None => record.definitions.push((name, kind)),
        }
    }
    Ok(())
}

fn drop_unused_definitions(record: &mut Record) {
    let (schema, indexes) = (&record.schema, &record.indexes);
    record
        .definitions
        .retain(|(name, _)| schema.contains(name) || indexes.iter().any(|index| index.schema.contains(name)));
}
