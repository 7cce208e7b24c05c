//! Copies of all items of a generation: into a backup, or out of one into a table, with the entries of its indexes. A copy
//! that is cut off begins again; what is written twice is the same.

use bytes::Bytes;
use pileus_store::{Batch, Durability, Entry, Lease, Space, Store, Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::backup::BackupRow;
use crate::error::DynamoError;
use crate::item::write;
use crate::keys::{self, BACKUPS, BackupKey, COPIES, TABLES};
use crate::table::{Address, Record, Restore, Table};
use crate::value::{decode_item, encode_item, item_size};

const PAGE: usize = 100;
/// Bytes and keys of one write.
const MAX_BYTES: usize = 2 << 20;
const MAX_KEYS: usize = 500;
/// Of a key of an item: the tag and the generation.
const PREFIX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    Backup,
    Table,
}

/// Work to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copy {
    pub from: u64,
    pub into: u64,
    pub goal: Goal,
}

impl Stored for Copy {}

/// Leaves a copy to the back-filler.
pub fn begin(txn: &Txn, key: &BackupKey, copy: &Copy) -> Result<(), DynamoError> {
    COPIES.put(txn, key, copy)?;
    txn.notify(crate::backfill::TOPIC);
    Ok(())
}

/// Carries out all copies that wait.
pub async fn run(store: &Store, lease: &Lease) -> Result<(), DynamoError> {
    for (key, copy) in COPIES.scan(store, &COPIES.all(), 1_000).await?.rows {
        match copy.goal {
            Goal::Backup => into_backup(store, lease, &key, &copy).await?,
            Goal::Table => into_table(store, lease, &key, &copy).await?,
        }
    }
    Ok(())
}

async fn into_backup(store: &Store, lease: &Lease, key: &BackupKey, copy: &Copy) -> Result<(), DynamoError> {
    let (items, bytes) = copy_rows(store, lease, copy, None).await?;
    store
        .transact(|txn| async move {
            if let Some(row) = BACKUPS.get(&txn, key).await? {
                BACKUPS.put(&txn, key, &BackupRow { is_available: true, items, bytes, ..row })?;
            }
            COPIES.delete(&txn, key);
            Ok(())
        })
        .await
}

async fn into_table(store: &Store, lease: &Lease, key: &BackupKey, copy: &Copy) -> Result<(), DynamoError> {
    let (account, region, name, _) = key.clone();
    let address = &Address { account, region, name };
    let record = TABLES.get(store, &address.key()).await?.filter(|record| record.generation == copy.into);
    if let Some(record) = record {
        let table = Table { address: address.clone(), record, policy: None };
        copy_rows(store, lease, copy, Some(&table)).await?;
    }
    store
        .transact(|txn| async move {
            let present = TABLES.get(&txn, &address.key()).await?;
            if let Some(record) = present.filter(|record| record.generation == copy.into) {
                let restore = record.restore.clone().map(|restore| Restore { is_running: false, ..restore });
                TABLES.put(&txn, &address.key(), &Record { restore, ..record })?;
            }
            COPIES.delete(&txn, key);
            Ok(())
        })
        .await
}

/// Copies every item, and makes the entries that it has in the indexes of `table`. Returns items and bytes.
async fn copy_rows(
    store: &Store,
    lease: &Lease,
    copy: &Copy,
    table: Option<&Table>,
) -> Result<(u64, u64), DynamoError> {
    let (mut range, mut items, mut bytes) = (keys::items(copy.from), 0, 0);
    loop {
        let page = store.scan(Space::Items, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok((items, bytes)) };
        range = range.after(&last.key);
        let (mut batch, mut weight) = (Batch::new(), 0);
        for entry in &page.entries {
            let item = decode_item(&entry.value)?;
            items += 1;
            bytes += item_size(&item) as u64;
            for (space, key, value) in rows_of(entry, &item, copy.into, table) {
                if weight + value.len() > MAX_BYTES || batch.len() >= MAX_KEYS {
                    store.write(std::mem::take(&mut batch), Durability::Durable).await?;
                    weight = 0;
                }
                weight += value.len();
                batch = batch.put(space, key, value);
            }
        }
        store.write(batch, Durability::Durable).await?;
        if !lease.renew().await? {
            return Err(DynamoError::corrupt("the lease of the back-filler was lost; another node goes on"));
        }
        tokio::task::yield_now().await;
    }
}

/// The rows that an item becomes.
fn rows_of(
    entry: &Entry,
    item: &crate::value::Item,
    into: u64,
    table: Option<&Table>,
) -> Vec<(Space, Bytes, Bytes)> {
    let mut key = keys::items(into).start.to_vec();
    key.extend_from_slice(entry.key.get(PREFIX..).unwrap_or_default());
    let mut rows = vec![(Space::Items, Bytes::from(key), entry.value.clone())];
    let Some(table) = table else { return rows };
    let Some(place) = table.schema().encode(item) else { return rows };
    for index in &table.record.indexes {
        if let Some((row, projected)) = write::entry(table, index, &place, Some(item)) {
            rows.push((Space::Index, row, encode_item(&projected)));
        }
    }
    rows
}
