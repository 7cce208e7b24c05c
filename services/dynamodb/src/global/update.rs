//! `ReplicaUpdates` of `UpdateTable`: replicas are added, changed and taken away.
//!
//! Source: API Reference, "ReplicationGroupUpdate", "CreateReplicationGroupMemberAction"; Developer Guide, "Global tables
//! security", "Tutorial: Creating global tables".

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::Txn;

use crate::backup::restore;
use crate::error::DynamoError;
use crate::global::{self, CURRENT, there};
use crate::state::Dynamo;
use crate::stream::{self, View};
use crate::table::{self, Address, Record, Replica, StreamSettings};

/// Lays the updates over the record of the table that was asked.
///
/// # Errors
/// `ValidationException`
pub async fn change(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    updates: &[api::ReplicationGroupUpdate],
) -> Result<(), DynamoError> {
    for update in updates {
        match update {
            api::ReplicationGroupUpdate { create: Some(create), .. } => {
                add(cx, txn, address, record, create).await?;
            }
            api::ReplicationGroupUpdate { update: Some(update), .. } => {
                override_settings(cx, txn, address, record, update).await?;
            }
            api::ReplicationGroupUpdate { delete: Some(delete), .. } => {
                let region = delete.region_name.as_deref().unwrap_or_default();
                remove(cx, txn, address, record, region).await?;
            }
            api::ReplicationGroupUpdate { disassociate: Some(_), .. } => {
                return Err(DynamoError::unsupported("Disassociate of a replica"));
            }
            _ => {
                return Err(DynamoError::parameter(
                    "Exactly one of Create, Update or Delete must be specified in a replica update",
                ));
            }
        }
    }
    Ok(())
}

fn check_ready(record: &Record) -> Result<(), DynamoError> {
    if record.stream.as_ref().is_none_or(|stream| stream.view != View::NewAndOldImages) {
        return Err(DynamoError::validation(
            "Table must have streams enabled with StreamViewType NEW_AND_OLD_IMAGES to be part of a global table",
        ));
    }
    // Automatic scaling of write capacity is what AWS accepts beside.
    if !record.is_on_demand {
        return Err(DynamoError::validation(
            "Table write capacity should either be Pay-Per-Request or AutoScaled.",
        ));
    }
    if record.indexes.iter().any(|index| index.is_backfilling) {
        return Err(DynamoError::validation("Table has an index that is still being created"));
    }
    Ok(())
}

async fn add(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    create: &api::CreateReplicationGroupMemberAction,
) -> Result<(), DynamoError> {
    if create.kms_master_key_id.is_some() {
        return Err(DynamoError::unsupported("KMSMasterKeyId of a replica"));
    }
    check_ready(record)?;
    let dynamo = cx.state::<Dynamo>();
    let region = create.region_name.as_deref().unwrap_or_default();
    let target = there(address, region)?;
    if target.region == address.region || record.replicas.iter().any(|known| known.region == region) {
        return Err(DynamoError::validation(format!(
            "Failed to create a the new replica of table with name: '{}' because one or more replicas already existed as tables.",
            address.name
        )));
    }
    if dynamo.find(txn, &target).await?.is_some() {
        return Err(DynamoError::validation(format!(
            "Failed to create a the new replica of table with name: '{}' because one or more replicas already existed as tables.",
            address.name
        )));
    }
    record.global_version = Some(CURRENT.to_owned());
    let read_override =
        create.provisioned_throughput_override.as_ref().and_then(|one| one.read_capacity_units);
    let mut new = restore::fresh(cx, record);
    new.time_to_live =
        record.time_to_live.clone().map(|ttl| table::TimeToLive { is_backfilling: false, ..ttl });
    new.global_version.clone_from(&record.global_version);
    new.filled_from = Some(address.region.to_string());
    if let Some(class) = &create.table_class_override {
        (new.class, new.class_changed_at) = (Some(class.clone()), Some(new.created_at));
    }
    if let Some(limits) = &create.on_demand_throughput_override {
        new.on_demand.read = limits.max_read_request_units.filter(|limit| *limit > 0);
    }
    override_indexes(&mut new, create.global_secondary_indexes.as_deref().unwrap_or_default())?;
    let settings = StreamSettings {
        generation: cx.rng().next_u64(),
        label: stream::label(cx.now()),
        view: View::NewAndOldImages,
    };
    stream::open(txn, &target, &settings, &new, new.created_at).await?;
    new.latest_stream = Some(settings.label.clone());
    new.stream = Some(settings);

    let this = Replica {
        region: region.to_owned(),
        is_filling: true,
        read_override: read_override.map(|read| read.max(0) as u64),
        on_demand_read_override: new.on_demand.read,
        class: create.table_class_override.clone(),
    };
    let me = Replica {
        region: address.region.to_string(),
        is_filling: false,
        read_override: None,
        on_demand_read_override: record.on_demand.read,
        class: record.class.clone(),
    };
    for replica in &record.replicas {
        let other_address = there(address, &replica.region)?;
        let Some(other) = dynamo.find(txn, &other_address).await? else { continue };
        let mut theirs = other.record.clone();
        theirs.replicas.push(this.clone());
        table::store(txn, &other_address, &theirs)?;
    }
    new.replicas = record.replicas.iter().cloned().chain([me]).collect();
    record.replicas.push(this);
    table::store(txn, &target, &new)?;
    table::backfill(txn, &target)
}

fn override_indexes(
    record: &mut Record,
    wanted: &[api::ReplicaGlobalSecondaryIndex],
) -> Result<(), DynamoError> {
    for one in wanted {
        let name = one.index_name.as_deref().unwrap_or_default();
        let index = record.indexes.iter_mut().find(|index| index.is_global && index.name == name);
        let index = index.ok_or_else(|| {
            DynamoError::validation(format!("The table does not have the specified index: {name}"))
        })?;
        if let Some(read) =
            one.provisioned_throughput_override.as_ref().and_then(|one| one.read_capacity_units)
        {
            index.throughput.read = read.max(0) as u64;
        }
        if let Some(limits) = &one.on_demand_throughput_override {
            index.on_demand.read = limits.max_read_request_units.filter(|limit| *limit > 0);
        }
    }
    Ok(())
}

fn no_replica(region: &str) -> DynamoError {
    DynamoError::modelled("ReplicaNotFoundException", format!("Replica not found in region: {region}"))
}

async fn override_settings(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    update: &api::UpdateReplicationGroupMemberAction,
) -> Result<(), DynamoError> {
    if update.kms_master_key_id.is_some() {
        return Err(DynamoError::unsupported("KMSMasterKeyId of a replica"));
    }
    let region = update.region_name.as_deref().unwrap_or_default();
    let read = update.provisioned_throughput_override.as_ref().and_then(|one| one.read_capacity_units);
    let on_demand = update.on_demand_throughput_override.as_ref().and_then(|one| one.max_read_request_units);
    let class = update.table_class_override.clone();
    let lay = |theirs: &mut Record| -> Result<(), DynamoError> {
        if let Some(read) = read {
            theirs.throughput.read = read.max(0) as u64;
        }
        if on_demand.is_some() {
            theirs.on_demand.read = on_demand.filter(|limit| *limit > 0);
        }
        if class.is_some() {
            theirs.class.clone_from(&class);
            theirs.class_changed_at = Some(cx.now().as_millis());
        }
        override_indexes(theirs, update.global_secondary_indexes.as_deref().unwrap_or_default())
    };
    let note = |known: &mut Replica| {
        if let Some(read) = read {
            known.read_override = Some(read.max(0) as u64);
        }
        if on_demand.is_some() {
            known.on_demand_read_override = on_demand;
        }
        if class.is_some() {
            known.class.clone_from(&class);
        }
    };
    if region == address.region.as_str() {
        lay(record)?;
    } else {
        let known = record.replicas.iter_mut().find(|known| known.region == region);
        note(known.ok_or_else(|| no_replica(region))?);
    }
    let dynamo = cx.state::<Dynamo>();
    for replica in &record.replicas {
        let other_address = there(address, &replica.region)?;
        let Some(other) = dynamo.find(txn, &other_address).await? else { continue };
        let mut theirs = other.record.clone();
        if replica.region == region {
            lay(&mut theirs)?;
        }
        theirs.replicas.iter_mut().filter(|known| known.region == region).for_each(note);
        table::store(txn, &other_address, &theirs)?;
    }
    Ok(())
}

async fn remove(
    cx: &Cx,
    txn: &Txn,
    address: &Address,
    record: &mut Record,
    region: &str,
) -> Result<(), DynamoError> {
    if !record.replicas.iter().any(|known| known.region == region) {
        return Err(no_replica(region));
    }
    let (dynamo, target) = (cx.state::<Dynamo>(), there(address, region)?);
    if let Some(gone) = dynamo.find(txn, &target).await? {
        if gone.record.is_protected {
            return Err(DynamoError::validation(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
            ));
        }
        global::leave(txn, dynamo, &target, &gone.record).await?;
        table::remove(cx, txn, &gone).await?;
    }
    // `leave` wrote this table's row, which the caller writes again.
    record.replicas.retain(|known| known.region != region);
    Ok(())
}
