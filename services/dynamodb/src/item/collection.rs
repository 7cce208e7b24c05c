//! Item collections: the items with one partition key and their entries in local indexes, which together may have 10 GB. Only tables
//! with local indexes have any.
//!
//! A count in the store would be a row that every writer of a collection changes. So each node adds up in memory what its own commits
//! add, and brings it to the store once a minute. What a node that is killed had not brought yet is missing from the count: AWS too
//! calls it an estimate.
//!
//! Source: Developer Guide, "Local secondary indexes", "Item collection size limit"; API Reference, "ItemCollectionMetrics",
//! "TransactWriteItems".

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pileus_api_dynamodb as api;
use pileus_platform::{Cx, Platform};
use pileus_store::{Reader, Space, Store, StoreError};
use pileus_wire::value::Map;

use crate::error::DynamoError;
use crate::keys;
use crate::state::Dynamo;
use crate::table::Table;
use crate::table::schema::encode_partition;
use crate::value::Item;

const GIB: u64 = 1 << 30;
pub const MAX_BYTES: u64 = 10 * GIB;
const INTERVAL: Duration = Duration::from_secs(60);
/// Collections that one transaction brings to the store.
const SAVED_AT_ONCE: usize = 200;
/// Collections that are remembered once they are brought to the store.
const MAX_KNOWN: usize = 100_000;

/// The generation of a table, and a partition of it.
pub type Place = (u64, [u8; 16]);

/// How a transaction changes a collection.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub place: Place,
    pub bytes: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// In the store, as this node saw it last.
    stored: u64,
    /// What this node has committed since.
    since: i64,
}

impl Known {
    fn bytes(self) -> u64 {
        self.stored.saturating_add_signed(self.since)
    }
}

/// The collections that this node has written to.
#[derive(Debug, Default)]
pub struct Collections(Mutex<HashMap<Place, Known>>);

fn read(value: Option<&[u8]>) -> u64 {
    value.and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// A count as it is stored.
pub fn stored(bytes: u64) -> Bytes {
    Bytes::copy_from_slice(&bytes.to_be_bytes())
}

impl Collections {
    fn known(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes a collection has.
    ///
    /// # Errors
    /// Of the store.
    pub async fn size(&self, reader: &impl Reader, place: Place) -> Result<u64, StoreError> {
        if let Some(known) = self.known().get(&place) {
            return Ok(known.bytes());
        }
        let row = keys::collection(place.0, &place.1);
        let value = reader.read_row(Space::Index, &row).await?;
        let stored = read(value.as_ref().map(|(bytes, _)| &bytes[..]));
        // Somebody may have been quicker.
        let mut known = self.known();
        Ok(known.entry(place).or_insert(Known { stored, since: 0 }).bytes())
    }

    /// After a commit: what it added.
    pub fn grow(&self, all: &[Growth]) {
        if all.is_empty() {
            return;
        }
        let mut known = self.known();
        for growth in all {
            known.entry(growth.place).or_default().since += growth.bytes;
        }
    }

    /// Of a table that is gone.
    pub fn forget(&self, generation: u64) {
        self.known().retain(|(other, _), _| *other != generation);
    }

    /// Takes what the store does not know yet.
    fn take_unsaved(&self) -> Vec<Growth> {
        let mut known = self.known();
        let mut all = Vec::new();
        for (place, one) in known.iter_mut().filter(|(_, one)| one.since != 0) {
            all.push(Growth { place: *place, bytes: one.since });
            one.stored = one.bytes();
            one.since = 0;
        }
        if known.len() > MAX_KNOWN {
            known.clear();
        }
        all
    }

    /// Brings to the store what it does not know yet.
    ///
    /// # Errors
    /// Of the store; what could not be brought is kept.
    pub async fn save(&self, store: &Store) -> Result<(), StoreError> {
        let all = self.take_unsaved();
        for (at, part) in all.chunks(SAVED_AT_ONCE).enumerate() {
            let saved = store.transact(|txn| async move {
                let mut sizes = Vec::new();
                for Growth { place, bytes } in part {
                    let row = keys::collection(place.0, &place.1);
                    let before = read(txn.get(Space::Index, &row).await?.as_deref());
                    let after = before.saturating_add_signed(*bytes);
                    match after {
                        0 => txn.delete(Space::Index, row),
                        _ => txn.put(Space::Index, row, stored(after)),
                    }
                    sizes.push((*place, after));
                }
                txn.relaxed();
                Ok::<_, StoreError>(sizes)
            });
            match saved.await {
                // With what other nodes have added.
                Ok(sizes) => {
                    let mut known = self.known();
                    for (place, bytes) in sizes {
                        if let Some(one) = known.get_mut(&place) {
                            one.stored = bytes;
                        }
                    }
                }
                Err(error) => {
                    let left = all.get(at * SAVED_AT_ONCE..).unwrap_or_default();
                    let mut known = self.known();
                    for Growth { place, bytes } in left {
                        let one = known.entry(*place).or_default();
                        one.stored = one.stored.saturating_add_signed(bytes.saturating_neg());
                        one.since += bytes;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Brings counts to the store for as long as the node runs.
pub async fn run(platform: Platform) {
    let dynamo = platform.state::<Dynamo>();
    loop {
        let until = platform.clock().now() + INTERVAL;
        platform.clock().sleep_until(until).await;
        if let Err(error) = dynamo.collections.save(platform.store()).await {
            tracing::warn!(%error, "sizes of item collections were not kept, and are tried again");
        }
    }
}

/// `ItemCollectionSizeLimitExceededException`
pub fn too_large() -> DynamoError {
    DynamoError::modelled("ItemCollectionSizeLimitExceededException", "Collection size exceeded.")
}

/// `ItemCollectionMetrics` after a write, for tables with local indexes.
///
/// # Errors
/// Of the store.
pub async fn metrics(
    cx: &Cx,
    wanted: Option<&str>,
    table: &Table,
    key: &Item,
) -> Result<Option<api::ItemCollectionMetrics>, DynamoError> {
    if wanted != Some("SIZE") || !table.has_local_indexes() {
        return Ok(None);
    }
    let name = &table.schema().partition.name;
    let Some(value) = key.get(name) else { return Ok(None) };
    let place = (table.record.generation, encode_partition(value));
    let bytes = cx.state::<Dynamo>().collections.size(cx.store(), place).await?;
    let least = (bytes / GIB) as f64;
    Ok(Some(api::ItemCollectionMetrics {
        item_collection_key: Some(Map(vec![(name.clone(), value.to_wire())])),
        size_estimate_range_gb: Some(vec![least, least + 1.0]),
    }))
}
