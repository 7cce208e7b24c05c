//! Global tables: replicas of a table in several regions.
//!
//! All regions of a cloud share one store, so a change is written to every replica in its own commit: no replica is ever
//! behind, and two changes of one item are in the same order everywhere, the last writer's being the one that stays. Each
//! replica has its own items, indexes, stream and settings; billing mode, write capacity, global indexes and time to live are
//! the same in all. A new replica is filled by the back-filler, and written to from the commit that makes it.
//!
//! | File        | Holds                                                                             |
//! |-------------|-----------------------------------------------------------------------------------|
//! | `update.rs` | `ReplicaUpdates` of `UpdateTable`                                                 |
//! | `legacy.rs` | `CreateGlobalTable`, `UpdateGlobalTable`, `DescribeGlobalTable`, `ListGlobalTables` |
//!
//! Source: Developer Guide, "Global tables: multi-active, multi-Region replication", "How DynamoDB global tables work".

pub mod legacy;
pub mod update;

use bytes::Bytes;
use pileus_api_dynamodb as api;
use pileus_core::{Region, Rng};
use pileus_platform::Platform;
use pileus_store::{Lease, Space, Txn};

use crate::error::DynamoError;
use crate::item::write::{self, Origin, Run, Sides};
use crate::keys;
use crate::state::Dynamo;
use crate::table::describe::Moment;
use crate::table::schema::EncodedKey;
use crate::table::{self, Address, Record, Replica, Table};
use crate::value::{Item, decode_item, encode_item, item_number};

/// The version that `UpdateTable` makes.
pub const CURRENT: &str = "2019.11.21";

/// The same table in another region.
pub fn there(address: &Address, region: &str) -> Result<Address, DynamoError> {
    let region = Region::parse(region).filter(|region| region.partition() == address.region.partition());
    let region = region
        .ok_or_else(|| DynamoError::parameter("The region of a replica is not one of this partition"))?;
    Ok(Address { region, ..address.clone() })
}

/// Brings a change to all other replicas, in its own commit.
///
/// # Errors
/// Of the store.
pub async fn replicate(
    txn: &Txn,
    run: &Run<'_>,
    table: &Table,
    key: &EncodedKey,
    new: Option<(&Item, &Bytes)>,
    number: Option<u64>,
) -> Result<(), DynamoError> {
    let run = Run { origin: Origin::Replica, ..*run };
    for replica in &table.record.replicas {
        let address = there(&table.address, &replica.region)?;
        let Some(other) = run.dynamo.find_known(txn, &address).await? else { continue };
        let row = keys::item(other.record.generation, key);
        let before = txn.get(Space::Items, &row).await?;
        let old = before.as_ref().map(|bytes| decode_item(bytes)).transpose()?;
        let sides = Sides { old: old.as_ref().zip(before.as_ref()), new };
        write::write(txn, &run, &other, key, row, &sides, number).await?;
    }
    Ok(())
}

/// What a description says of the other replicas.
pub fn describe(table: &Table, moment: Moment) -> Option<Vec<api::ReplicaDescription>> {
    let arn_in = |region: &str| there(&table.address, region).ok().map(|address| address.arn().to_string());
    let all = table.record.replicas.iter().map(|replica| api::ReplicaDescription {
        region_name: Some(replica.region.clone()),
        replica_arn: arn_in(&replica.region),
        replica_status: Some(
            match (replica.is_filling, moment) {
                (true, _) => "CREATING",
                (false, Moment::Deleting) => "DELETING",
                (false, _) => "ACTIVE",
            }
            .to_owned(),
        ),
        provisioned_throughput_override: replica
            .read_override
            .map(|read| api::ProvisionedThroughputOverride { read_capacity_units: Some(read as i64) }),
        on_demand_throughput_override: replica
            .on_demand_read_override
            .map(|read| api::OnDemandThroughputOverride { max_read_request_units: Some(read) }),
        replica_table_class_summary: replica
            .class
            .as_ref()
            .map(|class| api::TableClassSummary { table_class: Some(class.clone()), ..Default::default() }),
        ..api::ReplicaDescription::default()
    });
    (!table.record.replicas.is_empty()).then(|| all.collect())
}

/// Gives all other replicas the settings that a global table has everywhere.
///
/// # Errors
/// Of the store.
pub async fn sync(
    rng: &dyn Rng,
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    record: &Record,
) -> Result<(), DynamoError> {
    for replica in &record.replicas {
        let address = there(address, &replica.region)?;
        let Some(other) = dynamo.find(txn, &address).await? else { continue };
        let mut theirs = other.record.clone();
        theirs.is_on_demand = record.is_on_demand;
        theirs.on_demand_since = record.on_demand_since;
        theirs.throughput.write = record.throughput.write;
        theirs.warm = record.warm;
        if replica.read_override.is_none() {
            theirs.throughput.read = record.throughput.read;
        }
        theirs.definitions = record.definitions.clone();
        let is_kept = |name: &str| record.indexes.iter().any(|index| index.name == name);
        for gone in theirs.indexes.iter().filter(|index| !is_kept(&index.name)) {
            table::discard(txn, gone.generation)?;
        }
        theirs.indexes.retain(|index| is_kept(&index.name));
        let mut must_fill = false;
        for index in &record.indexes {
            match theirs.indexes.iter_mut().find(|known| known.name == index.name) {
                Some(known) => {
                    known.throughput = index.throughput;
                    known.warm = index.warm;
                }
                None => {
                    let generation = rng.next_u64();
                    let (is_backfilling, insights) = (true, None);
                    theirs.indexes.push(table::Index {
                        generation,
                        is_backfilling,
                        insights,
                        ..index.clone()
                    });
                    must_fill = true;
                }
            }
        }
        let attribute = |record: &Record| record.time_to_live.as_ref().map(|ttl| ttl.attribute.clone());
        if attribute(&theirs) != attribute(record) {
            theirs.time_to_live =
                attribute(record).map(|attribute| table::TimeToLive { attribute, is_backfilling: true });
            must_fill |= theirs.time_to_live.is_some();
        }
        table::store(txn, &address, &theirs)?;
        if must_fill {
            table::backfill(txn, &address)?;
        }
    }
    Ok(())
}

/// Takes a table out of its global table: the others no longer know it.
///
/// # Errors
/// Of the store.
pub async fn leave(
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    record: &Record,
) -> Result<(), DynamoError> {
    for replica in &record.replicas {
        let other_address = there(address, &replica.region)?;
        let Some(other) = dynamo.find(txn, &other_address).await? else { continue };
        let mut theirs = other.record.clone();
        theirs.replicas.retain(|known| known.region != address.region.as_str());
        table::store(txn, &other_address, &theirs)?;
    }
    Ok(())
}

/// Fills a new replica with the items of another one, then tells all that it is whole.
///
/// # Errors
/// Of the store; when the lease is lost.
pub async fn fill(platform: &Platform, lease: &Lease, table: &Table, from: &str) -> Result<(), DynamoError> {
    let (store, dynamo) = (platform.store(), platform.state::<Dynamo>());
    let (source, target) = (&there(&table.address, from)?, &table.address);
    let Some(there) = dynamo.find(store, source).await? else { return Ok(()) };
    let mut range = there.place().all();
    loop {
        let page = store.scan(Space::Items, &range, crate::backfill::PAGE).await?;
        let Some(last) = page.entries.last() else { break };
        range = range.after(&last.key);
        for rows in crate::backfill::portions(&page.entries) {
            let rows = &rows;
            let filled =
                store.transact(|txn| async move { fill_rows(&txn, dynamo, source, target, rows).await });
            filled.await?;
        }
        if !lease.renew().await? {
            return Err(DynamoError::corrupt("the lease of the back-filler was lost; another node goes on"));
        }
        tokio::task::yield_now().await;
    }
    store
        .transact(|txn| async move {
            let Some(own) = dynamo.find(&txn, target).await? else { return Ok(()) };
            let mut record = own.record.clone();
            record.filled_from = None;
            for replica in &record.replicas {
                let address = self::there(target, &replica.region)?;
                let Some(other) = dynamo.find(&txn, &address).await? else { continue };
                let mut theirs = other.record.clone();
                let known = theirs.replicas.iter_mut().filter(|known| known.region == target.region.as_str());
                known.for_each(|known: &mut Replica| known.is_filling = false);
                table::store(&txn, &address, &theirs)?;
            }
            table::store(&txn, target, &record)
        })
        .await
}

/// Items of the source that the new replica does not have yet. Both are written together from now on, so what the
/// transaction finds is what belongs there.
async fn fill_rows(
    txn: &Txn,
    dynamo: &Dynamo,
    source: &Address,
    target: &Address,
    rows: &[Bytes],
) -> Result<(), DynamoError> {
    let Some(table) = dynamo.find(txn, target).await? else { return Ok(()) };
    if dynamo.find(txn, source).await?.is_none() {
        return Ok(());
    }
    for row in rows {
        let Some(bytes) = txn.get(Space::Items, row).await? else { continue };
        let item = decode_item(&bytes)?;
        let Some(key) = table.schema().encode(&item) else { continue };
        let own = keys::item(table.record.generation, &key);
        if txn.get(Space::Items, &own).await?.is_some() {
            continue;
        }
        txn.put(Space::Items, own, encode_item(&item, Some(item_number(&bytes))));
        for index in &table.record.indexes {
            if let Some((row, projected)) = write::entry(&table, index, &key, Some(&item)) {
                txn.put(Space::Index, row, encode_item(&projected, None));
            }
        }
        if let Some(seconds) = table.expiry(&item) {
            write::add_expiry(txn, &table, &key, &item, seconds)?;
        }
    }
    Ok(())
}
