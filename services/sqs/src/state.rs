//! What a node keeps in memory for SQS: decoded rows of queues, their lanes, counters. Nothing that another node would need.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_iam::Policy;
use pileus_store::{Reader, Space, Store, StoreError, Txn, Version, table};

use crate::error::SqsError;
use crate::keys::{self, PARTITIONS};
use crate::lane::{Lane, LookAhead};
use crate::message::fifo;
use crate::queue::url::Address;
use crate::queue::{Queue, Record};
use crate::throttle::Throttle;

/// Queues whose rows are kept decoded, and lanes, before the oldest are forgotten.
const MAX_KNOWN: usize = 10_000;
const GROUP_LOCKS: usize = 64;

pub struct Sqs {
    /// Decoded rows, each beside its version: a row that changed is decoded again.
    rows: RwLock<HashMap<Bytes, Known>>,
    lanes: Mutex<HashMap<u64, Arc<Lane>>>,
    last_ordinal: AtomicU64,
    /// Senders to one group wait here for each other, where they would only conflict in the store.
    group_locks: Vec<tokio::sync::Mutex<()>>,
    pub throttle: Throttle,
}

#[derive(Clone)]
struct Known {
    version: Version,
    queue: Arc<Queue>,
    /// The store's stamp before the row was read last: while it is the same, so is the row.
    stamp: Option<u64>,
}

impl Default for Sqs {
    fn default() -> Sqs {
        Sqs {
            rows: RwLock::default(),
            lanes: Mutex::default(),
            last_ordinal: AtomicU64::new(0),
            group_locks: (0..GROUP_LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
            throttle: Throttle::default(),
        }
    }
}

/// What the order of messages is changed with: one moment of one request.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    pub sqs: &'a Sqs,
    pub store: &'a Store,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// Milliseconds since 1970; zero before that.
pub fn millis(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(0)
}

impl Sqs {
    /// The queue at `address`; in a transaction, tracked.
    ///
    /// # Errors
    /// `QueueDoesNotExist`
    pub async fn load(&self, reader: &impl Reader, address: &Address) -> Result<Arc<Queue>, SqsError> {
        self.find(reader, address).await?.ok_or(SqsError::QueueDoesNotExist)
    }

    /// `load`, for a request that has only just been authorised: that read the queue's row.
    ///
    /// # Errors
    /// `QueueDoesNotExist`
    pub async fn load_authorised(&self, store: &Store, address: &Address) -> Result<Arc<Queue>, SqsError> {
        match self.known_row(&keys::queue_row(address)) {
            Some(known) => Ok(known.queue),
            None => self.load(store, address).await,
        }
    }

    pub async fn find(
        &self,
        reader: &impl Reader,
        address: &Address,
    ) -> Result<Option<Arc<Queue>>, StoreError> {
        self.find_row(reader, address, keys::queue_row(address), None).await
    }

    /// `find`, of this moment: without reading where the store knows that nothing has changed.
    pub async fn find_now(&self, store: &Store, address: &Address) -> Result<Option<Arc<Queue>>, StoreError> {
        let (key, stamp) = (keys::queue_row(address), store.stamp(Space::Meta));
        if let Some(known) = self.known_row(&key)
            && stamp.is_some()
            && known.stamp == stamp
        {
            return Ok(Some(known.queue));
        }
        self.find_row(store, address, key, stamp).await
    }

    /// `load`, for a transaction: the queue as this node saw it last, which is when the request was authorised. The commit
    /// checks that it is still so, and the transaction's next run reads.
    ///
    /// # Errors
    /// `QueueDoesNotExist`
    pub async fn load_known(&self, txn: &Txn, address: &Address) -> Result<Arc<Queue>, SqsError> {
        let key = keys::queue_row(address);
        if let Some(known) = self.known_row(&key)
            && txn.assume(Space::Meta, &key, known.version)
        {
            return Ok(known.queue);
        }
        self.find_row(txn, address, key, None).await?.ok_or(SqsError::QueueDoesNotExist)
    }

    fn known_row(&self, key: &Bytes) -> Option<Known> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn find_row(
        &self,
        reader: &impl Reader,
        address: &Address,
        key: Bytes,
        stamp: Option<u64>,
    ) -> Result<Option<Arc<Queue>>, StoreError> {
        let Some((bytes, version)) = reader.read_row(Space::Meta, &key).await? else {
            if self.known_row(&key).is_some() {
                self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            return Ok(None);
        };
        if let Some(known) = self.known_row(&key).filter(|known| known.version == version) {
            if stamp.is_some() {
                self.remember(key, Known { stamp, ..known.clone() });
            }
            return Ok(Some(known.queue));
        }
        let record: Record = table::decode(&bytes)?;
        let policy = record.attributes.policy.as_deref().map(Policy::parse).transpose();
        let policy = policy.map_err(|error| StoreError::corrupt(format!("a queue's policy: {error}")))?;
        let queue = Arc::new(Queue { address: address.clone(), record, policy: policy.map(Arc::new) });
        // What the transaction itself has written has no version yet.
        if version != 0 {
            self.remember(key, Known { version, queue: queue.clone(), stamp });
        }
        Ok(Some(queue))
    }

    fn remember(&self, key: Bytes, known: Known) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= MAX_KNOWN {
            rows.clear();
        }
        rows.insert(key, known);
    }

    pub fn lane(&self, store: &Store, queue: &Queue) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&queue.record.generation) {
            return lane.clone();
        }
        if lanes.len() >= MAX_KNOWN {
            // Claims and waiters hold their lanes, so only idle ones go.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let generation = queue.record.generation;
        let lane = Arc::new(if queue.is_fifo() {
            let kinds = [fifo::OWN_MOMENT, fifo::DELAYED];
            let streams = (0..PARTITIONS).flat_map(|p| kinds.map(|kind| keys::groups(generation, p, kind)));
            Lane::new(store, generation, streams, LookAhead::Never)
        } else {
            let streams = (0..PARTITIONS).map(|p| keys::ready(generation, p));
            Lane::new(store, generation, streams, LookAhead::Allowed)
        });
        lanes.insert(generation, lane.clone());
        lane
    }

    /// The queue's lane, if this node has one.
    pub fn known_lane(&self, queue: &Queue) -> Option<Arc<Lane>> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(&queue.record.generation).cloned()
    }

    /// Forgets a generation that was purged or deleted here.
    pub fn forget(&self, generation: u64) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&generation);
    }

    /// A number greater than all given before on this node, near the nanoseconds since 1970: orders what happens in one
    /// millisecond.
    pub fn ordinal(&self, now: u64) -> u64 {
        let nanos = now.saturating_mul(1_000_000);
        let next = |last: u64| Some(nanos.max(last + 1));
        let last = self.last_ordinal.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        nanos.max(last + 1)
    }

    /// Which part of a standard queue takes a message. Where this process is the only one, order is kept better in one.
    pub fn partition(&self, store: &Store) -> u8 {
        if is_alone(store) {
            return 0;
        }
        let chance = |parts: u8| store.rng().below(u64::from(parts)) as u8;
        // Among this node's own, where its receives begin: what is sent and received through one node is no other's business.
        let own = store.cluster().place().and_then(|(place, nodes)| {
            let (place, nodes) = (u8::try_from(place).ok()?, u8::try_from(nodes).ok()?);
            (place < PARTITIONS).then(|| place + nodes * chance((PARTITIONS - place).div_ceil(nodes)))
        });
        own.unwrap_or_else(|| chance(PARTITIONS))
    }

    /// Which part of a FIFO queue keeps a group.
    pub fn partition_of_group(&self, store: &Store, group: &str) -> u8 {
        if is_alone(store) { 0 } else { (hash(group) % u64::from(PARTITIONS)) as u8 }
    }

    pub fn group_lock(&self, queue: &Address, group: &str) -> &tokio::sync::Mutex<()> {
        &self.group_locks[hash(&(&queue.name, group)) as usize % GROUP_LOCKS]
    }
}

/// Whether the store belongs to this process. A wrong answer costs order or speed, never a message.
fn is_alone(store: &Store) -> bool {
    matches!(store.kv().name(), "memory" | "fjall" | "redb")
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_grow_within_a_millisecond_and_when_time_stands_still() {
        let sqs = Sqs::default();
        let first = sqs.ordinal(5);
        let second = sqs.ordinal(5);
        let third = sqs.ordinal(6);
        let fourth = sqs.ordinal(1);
        assert!(first < second && second < third && third < fourth);
        assert_eq!(third, 6_000_000);
    }
}
