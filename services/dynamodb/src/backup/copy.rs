//! Copies of all items of a generation: into a backup, or into a table, with the entries of its indexes. A copy that is cut
//! off begins again; what is written twice is the same.

use pileus_platform::Platform;
use pileus_store::{Lease, Space, Store, Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::backup::BackupRow;
use crate::backup::snapshot::{self, Undo, Way};
use crate::error::DynamoError;
use crate::keys::{self, BACKUPS, BackupKey, COPIES, TABLES};
use crate::table::{self, Address, Record, Restore, Table};
use crate::value::{decode_item, item_size};

const PAGE: usize = 500;

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
    #[serde(default)]
    pub undo: Option<Undo>,
}

impl Stored for Copy {}

impl Copy {
    /// Whether a generation must stay until the copy is made.
    pub fn needs(&self, generation: u64) -> bool {
        self.from == generation || self.undo.is_some_and(|undo| undo.history == generation)
    }
}

/// Leaves a copy to the back-filler.
pub fn begin(txn: &Txn, key: &BackupKey, copy: &Copy) -> Result<(), DynamoError> {
    COPIES.put(txn, key, copy)?;
    txn.notify(crate::backfill::TOPIC);
    Ok(())
}

/// Carries out all copies that wait.
pub async fn run(platform: &Platform, lease: &Lease) -> Result<(), DynamoError> {
    for (key, copy) in COPIES.scan(platform.store(), &COPIES.all(), 1_000).await?.rows {
        match copy.goal {
            Goal::Backup => into_backup(platform, lease, &key, &copy).await?,
            Goal::Table => into_table(platform, lease, &key, &copy).await?,
        }
    }
    Ok(())
}

async fn into_backup(
    platform: &Platform,
    lease: &Lease,
    key: &BackupKey,
    copy: &Copy,
) -> Result<(), DynamoError> {
    let store = platform.store();
    let (mut items, mut bytes) = (0, 0);
    if let Some(row) = BACKUPS.get(store, key).await? {
        let way = Way { from: copy.from, into: copy.into };
        snapshot::take(platform, lease, way, &row.record.schema, copy.undo).await?;
        (items, bytes) = weigh(store, copy.into).await?;
    }
    let address = &address(key);
    store
        .transact(|txn| async move {
            if let Some(row) = BACKUPS.get(&txn, key).await? {
                BACKUPS.put(&txn, key, &BackupRow { is_available: true, items, bytes, ..row })?;
            }
            if let Some(undo) = copy.undo {
                end_recording(&txn, address, copy.from, undo.history).await?;
            }
            COPIES.delete(&txn, key);
            Ok(())
        })
        .await
}

/// Changes need no longer be recorded for this copy.
async fn end_recording(
    txn: &Txn,
    address: &Address,
    generation: u64,
    history: u64,
) -> Result<(), DynamoError> {
    let record = TABLES.get(txn, &address.key()).await?.filter(|record| record.generation == generation);
    if let Some(mut record) = record {
        record.recordings.retain(|recording| *recording != history);
        table::store(txn, address, &record)?;
    }
    table::discard(txn, history)
}

fn address(key: &BackupKey) -> Address {
    let (account, region, name, _) = key.clone();
    Address { account, region, name }
}

async fn weigh(store: &Store, generation: u64) -> Result<(u64, u64), DynamoError> {
    let (mut range, mut items, mut bytes) = (keys::items(generation), 0, 0);
    loop {
        let page = store.scan(Space::Items, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok((items, bytes)) };
        range = range.after(&last.key);
        for entry in &page.entries {
            items += 1;
            bytes += item_size(&decode_item(&entry.value)?) as u64;
        }
        tokio::task::yield_now().await;
    }
}

async fn into_table(
    platform: &Platform,
    lease: &Lease,
    key: &BackupKey,
    copy: &Copy,
) -> Result<(), DynamoError> {
    let (store, address) = (platform.store(), &address(key));
    let record = TABLES.get(store, &address.key()).await?.filter(|record| record.generation == copy.into);
    if let Some(record) = record {
        let table = Table { address: address.clone(), record, policy: None };
        let way = Way { from: copy.from, into: copy.into };
        snapshot::take(platform, lease, way, table.schema(), copy.undo).await?;
        snapshot::make_entries(store, lease, &table).await?;
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
