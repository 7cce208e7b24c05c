//! The back-filler: gives items that were there before an index, or before a time to live, their entries. One node at a
//! time, under a lease. Writers keep entries from the moment that the table's row names the index, so the back-filler only
//! has to visit every item once; it starts again after a crash, since an entry that is written twice is the same.

use std::time::Duration;

use pileus_platform::Platform;
use pileus_store::{Entry, Space, Txn};

use crate::error::DynamoError;
use crate::global;
use crate::item::write;
use crate::keys::{self, WORK};
use crate::state::Dynamo;
use crate::table::{self, Address, Table};
use crate::value::{Item, decode_item, encode_item};

/// Wakes the back-filler.
pub const TOPIC: &str = "dynamodb/backfill";
const LEASE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(30);
pub const PAGE: usize = 50;
/// Bytes of items of one transaction.
const MAX_BYTES: usize = 512 << 10;

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = work(&platform).await {
            tracing::warn!(%error, "back-filling an index failed, and is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn work(platform: &Platform) -> Result<(), DynamoError> {
    let (store, dynamo) = (platform.store(), platform.state::<Dynamo>());
    let Some(lease) = store.lease(TOPIC, LEASE).await? else { return Ok(()) };
    crate::backup::copy::run(platform, &lease).await?;
    for ((account, region, name), _) in WORK.scan(store, &WORK.all(), 1_000).await?.rows {
        let address = &Address { account, region, name };
        let table = dynamo.find(store, address).await?;
        if let Some(table) = &table
            && let Some(from) = table.record.filled_from.as_deref().filter(|from| !from.starts_with("arn:"))
        {
            global::fill(platform, &lease, table, from).await?;
        }
        let table = table.filter(|table| table.is_backfilling());
        if let Some(table) = &table {
            let mut range = table.place().all();
            loop {
                let page = store.scan(Space::Items, &range, PAGE).await?;
                let Some(last) = page.entries.last() else { break };
                range = range.after(&last.key);
                for rows in portions(&page.entries) {
                    let rows = &rows;
                    let filled = store.transact(|txn| async move { fill(&txn, dynamo, address, rows).await });
                    filled.await.or_else(gone)?;
                }
                if !lease.renew().await? {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
        let seen = table.as_deref();
        store.transact(|txn| async move { finish(&txn, dynamo, address, seen).await }).await.or_else(gone)?;
    }
    Ok(lease.release().await?)
}

/// Keys of items that are together small enough for one transaction, each with an entry of its size.
pub fn portions(entries: &[Entry]) -> Vec<Vec<bytes::Bytes>> {
    let (mut portions, mut weight) = (vec![Vec::new()], 0);
    for entry in entries {
        if weight + entry.value.len() > MAX_BYTES {
            portions.push(Vec::new());
            weight = 0;
        }
        weight += entry.value.len();
        if let Some(last) = portions.last_mut() {
            last.push(entry.key.clone());
        }
    }
    portions
}

/// A table that was deleted meanwhile needs no filling.
fn gone(error: DynamoError) -> Result<(), DynamoError> {
    if error.code() == "ResourceNotFoundException" { Ok(()) } else { Err(error) }
}

async fn fill(
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    rows: &[bytes::Bytes],
) -> Result<(), DynamoError> {
    let table = dynamo.load(txn, address).await?;
    for row in rows {
        let Some(bytes) = txn.get(Space::Items, row).await? else { continue };
        fill_item(txn, &table, &decode_item(&bytes)?)?;
    }
    Ok(())
}

fn fill_item(txn: &Txn, table: &Table, item: &Item) -> Result<(), DynamoError> {
    let Some(key) = table.schema().encode(item) else { return Ok(()) };
    for index in table.record.indexes.iter().filter(|index| index.is_backfilling) {
        // An item that may not have these keys stays out, as on AWS.
        if let Some((row, projected)) = write::entry(table, index, &key, Some(item)) {
            txn.put(Space::Index, row, encode_item(&projected, None));
        }
    }
    let is_backfilling = table.record.time_to_live.as_ref().is_some_and(|ttl| ttl.is_backfilling);
    match table.expiry(item).filter(|_| is_backfilling) {
        Some(seconds) => write::add_expiry(txn, table, &key, item, seconds),
        None => Ok(()),
    }
}

/// What was filled is active; what was added meanwhile is left to the next pass.
async fn finish(
    txn: &Txn,
    dynamo: &Dynamo,
    address: &Address,
    seen: Option<&Table>,
) -> Result<(), DynamoError> {
    let Some(table) = dynamo.find(txn, address).await? else {
        WORK.delete(txn, &address.key());
        return Ok(());
    };
    let mut record = table.record.clone();
    if let Some(seen) = seen.filter(|seen| seen.record.generation == record.generation) {
        for index in &mut record.indexes {
            if seen.record.indexes.iter().any(|known| known.generation == index.generation) {
                index.is_backfilling = false;
            }
        }
        if let (Some(ttl), Some(known)) = (&mut record.time_to_live, &seen.record.time_to_live)
            && ttl.attribute == known.attribute
        {
            ttl.is_backfilling = false;
        }
        table::store(txn, address, &record)?;
    }
    let is_done = !record.indexes.iter().any(|index| index.is_backfilling)
        && !record.time_to_live.as_ref().is_some_and(|ttl| ttl.is_backfilling);
    if is_done {
        WORK.delete(txn, &address.key());
    } else {
        WORK.put(txn, &address.key(), &keys::Work {})?;
        txn.notify(TOPIC);
    }
    Ok(())
}
