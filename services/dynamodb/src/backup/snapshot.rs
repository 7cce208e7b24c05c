//! What a table held at one moment, under a generation of its own: the items as they are now, and then every later change
//! undone, the last one first. Writers go on meanwhile: what they change is in the log that is undone.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_platform::Platform;
use pileus_store::{Batch, Durability, Lease, Space, Store, table as rows};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::item::{collection, write};
use crate::keys;
use crate::state::Dynamo;
use crate::stream::ChangeRow;
use crate::stream::order::number_at;
use crate::stream::read::is_alone;
use crate::stream::watermark;
use crate::table::Table;
use crate::table::schema::KeySchema;
use crate::value::{decode_item, encode_item, item_size};

const PAGE: usize = 100;
/// Bytes and keys of one write.
const MAX_BYTES: usize = 2 << 20;
const MAX_KEYS: usize = 500;
/// Of a key of an item: the tag and the generation.
const PREFIX: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Which changes are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The generation that holds them.
    pub history: u64,
    /// Milliseconds since 1970; those of this millisecond stay. `None`: all of them.
    pub until: Option<i64>,
}

/// From which generation into which.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub from: u64,
    pub into: u64,
}

/// The number of the first change after a moment.
pub fn number_after(until: i64) -> u64 {
    number_at(Timestamp::from_millis(until.saturating_add(1)))
}

/// Fills the generation `way.into`.
///
/// # Errors
/// Of the store; when the lease is lost.
pub async fn take(
    platform: &Platform,
    lease: &Lease,
    way: Way,
    schema: &KeySchema,
    undo: Option<Undo>,
) -> Result<(), DynamoError> {
    if let Some(until) = undo.and_then(|undo| undo.until) {
        settle(platform, lease, way.from, until).await?;
    }
    copy_items(platform.store(), lease, way).await?;
    match undo {
        Some(undo) => undo_changes(platform.store(), lease, way.into, schema, undo).await,
        None => Ok(()),
    }
}

/// Waits until nothing that belongs to the moment can still be committed.
pub async fn settle(platform: &Platform, lease: &Lease, table: u64, until: i64) -> Result<(), DynamoError> {
    if !is_alone(platform.store()) {
        return watermark::raise(platform.store(), table, number_after(until)).await;
    }
    let order = &platform.state::<Dynamo>().order;
    loop {
        let clock = platform.clock();
        if order.horizon(clock.now(), clock.monotonic()) >= number_after(until) {
            return Ok(());
        }
        keep(lease).await?;
        clock.sleep_until(clock.now() + PAUSE).await;
    }
}

async fn keep(lease: &Lease) -> Result<(), DynamoError> {
    match lease.renew().await? {
        true => Ok(()),
        false => Err(DynamoError::corrupt("the lease of the work was lost; another node goes on")),
    }
}

async fn copy_items(store: &Store, lease: &Lease, way: Way) -> Result<(), DynamoError> {
    let mut range = keys::items(way.from);
    let prefix = keys::items(way.into).start;
    loop {
        let page = store.scan(Space::Items, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.after(&last.key);
        let mut writer = Writer::new(store);
        for entry in &page.entries {
            let key = [&prefix[..], entry.key.get(PREFIX..).unwrap_or_default()].concat();
            writer.put(Space::Items, key.into(), Some(entry.value.clone())).await?;
        }
        writer.finish().await?;
        keep(lease).await?;
        tokio::task::yield_now().await;
    }
}

async fn undo_changes(
    store: &Store,
    lease: &Lease,
    into: u64,
    schema: &KeySchema,
    undo: Undo,
) -> Result<(), DynamoError> {
    let first = undo.until.map_or(0, number_after);
    let mut range = keys::records(undo.history).starting_at(keys::record(undo.history, first));
    loop {
        let page = store.scan_backward(Space::Log, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.before(&last.key);
        // The last one that is undone of a key is the one that counts.
        let mut before: HashMap<Bytes, Option<Bytes>> = HashMap::new();
        for entry in &page.entries {
            let change: ChangeRow = rows::decode(&entry.value)?;
            let damaged = || DynamoError::corrupt("a record of a change has no key");
            let place = schema.encode(&decode_item(&change.keys)?).ok_or_else(damaged)?;
            before.insert(keys::item(into, &place), change.old);
        }
        let mut writer = Writer::new(store);
        for (row, old) in before {
            writer.put(Space::Items, row, old).await?;
        }
        writer.finish().await?;
        keep(lease).await?;
        tokio::task::yield_now().await;
    }
}

/// Makes the entries that the items of a table have in all its indexes.
///
/// # Errors
/// Of the store; when the lease is lost.
pub async fn make_entries(store: &Store, lease: &Lease, table: &Table) -> Result<(), DynamoError> {
    if table.record.indexes.is_empty() {
        return Ok(());
    }
    let mut range = table.place().all();
    // Items of one collection lie together.
    let mut tally = Tally { generation: table.record.generation, ..Tally::default() };
    loop {
        let page = store.scan(Space::Items, &range, PAGE).await?;
        let mut writer = Writer::new(store);
        let Some(last) = page.entries.last() else {
            if table.has_local_indexes() {
                tally.write(&mut writer).await?;
            }
            return writer.finish().await;
        };
        range = range.after(&last.key);
        for entry in &page.entries {
            let item = decode_item(&entry.value)?;
            let Some(place) = table.schema().encode(&item) else { continue };
            if table.has_local_indexes() && tally.partition != Some(place.partition) {
                tally.write(&mut writer).await?;
                tally = Tally { partition: Some(place.partition), bytes: 0, ..tally };
            }
            tally.bytes += item_size(&item) as u64;
            for index in &table.record.indexes {
                if let Some((row, projected)) = write::entry(table, index, &place, Some(&item)) {
                    if !index.is_global {
                        tally.bytes += item_size(&projected) as u64;
                    }
                    writer.put(Space::Index, row, Some(encode_item(&projected, None))).await?;
                }
            }
        }
        writer.finish().await?;
        keep(lease).await?;
        tokio::task::yield_now().await;
    }
}

/// The size of the item collection that is being copied.
#[derive(Debug, Default)]
struct Tally {
    generation: u64,
    partition: Option<[u8; 16]>,
    bytes: u64,
}

impl Tally {
    async fn write(&self, writer: &mut Writer<'_>) -> Result<(), DynamoError> {
        let Some(partition) = &self.partition else { return Ok(()) };
        let row = keys::collection(self.generation, partition);
        writer.put(Space::Index, row, Some(collection::stored(self.bytes))).await
    }
}

/// Rows on their way into the store, in writes that are not too large.
pub struct Writer<'a> {
    store: &'a Store,
    batch: Batch,
    weight: usize,
}

impl Writer<'_> {
    pub fn new(store: &Store) -> Writer<'_> {
        Writer { store, batch: Batch::new(), weight: 0 }
    }

    /// A row with this value, or none.
    ///
    /// # Errors
    /// Of the store.
    pub async fn put(&mut self, space: Space, key: Bytes, value: Option<Bytes>) -> Result<(), DynamoError> {
        let weight = key.len() + value.as_ref().map_or(0, Bytes::len);
        if self.weight + weight > MAX_BYTES || self.batch.len() >= MAX_KEYS {
            self.flush().await?;
        }
        self.weight += weight;
        let batch = std::mem::take(&mut self.batch);
        self.batch = match value {
            Some(value) => batch.put(space, key, value),
            None => batch.delete(space, key),
        };
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), DynamoError> {
        self.weight = 0;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.store.write(batch, Durability::Durable).await?;
        }
        Ok(())
    }

    /// # Errors
    /// Of the store.
    pub async fn finish(mut self) -> Result<(), DynamoError> {
        self.flush().await
    }
}
