//! What a node keeps in memory for CloudWatch Logs: decoded rows, hours known to be written down, what streams hold. Nothing
//! that another node would need.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use pileus_core::{Rng, Timestamp};
use pileus_iam::Policy;
use pileus_store::{Reader, Space, Store, StoreError, Txn, Version, table};

use crate::address::Address;
use crate::error::LogsError;
use crate::group::{Group, GroupRecord};
use crate::keys::{GROUPS, STATS, STREAMS};
use crate::stream::{Stats, StreamRecord};

/// Rows of a kind that are kept decoded before all are forgotten.
const MAX_KNOWN: usize = 10_000;
const MAX_HOURS: usize = 100_000;

#[derive(Default)]
pub struct Logs {
    groups: Known<Group>,
    streams: Known<StreamRecord>,
    hours: Mutex<HashSet<(u64, u32)>>,
    stats: Mutex<HashMap<(u64, u64), Stats>>,
    last_ordinal: AtomicU64,
    node: OnceLock<u64>,
    /// The policies of an account in a region as one, beside the versions of their rows.
    pub policies: Mutex<HashMap<(String, String), PolicyOfAccount>>,
}

/// The versions of the rows that a policy was made of, and the policy.
pub type PolicyOfAccount = (Vec<Version>, Option<Arc<Policy>>);

/// Decoded rows, each beside its version: a row that changed is decoded again.
struct Known<T>(RwLock<HashMap<Bytes, (Version, Arc<T>)>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Known(RwLock::default())
    }
}

impl<T> Known<T> {
    fn get(&self, key: &Bytes) -> Option<(Version, Arc<T>)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn find(
        &self,
        reader: &impl Reader,
        key: Bytes,
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let Some((bytes, version)) = reader.read_row(Space::Meta, &key).await? else { return Ok(None) };
        if let Some((_, known)) = self.get(&key).filter(|(known, _)| *known == version) {
            return Ok(Some(known));
        }
        let decoded = Arc::new(decode(&bytes)?);
        // What the transaction itself has written has no version yet.
        if version != 0 {
            let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if rows.len() >= MAX_KNOWN {
                rows.clear();
            }
            rows.insert(key, (version, decoded.clone()));
        }
        Ok(Some(decoded))
    }

    /// As this node saw it last; the commit checks that it is still so, and the transaction's next run reads.
    async fn find_known(
        &self,
        txn: &Txn,
        key: Bytes,
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        if let Some((version, known)) = self.get(&key)
            && txn.assume(Space::Meta, &key, version)
        {
            return Ok(Some(known));
        }
        self.find(txn, key, decode).await
    }
}

/// Milliseconds since 1970.
pub fn millis(moment: Timestamp) -> i64 {
    moment.as_millis()
}

impl Logs {
    /// The group at `address`; in a transaction, tracked.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn group(&self, reader: &impl Reader, address: &Address) -> Result<Arc<Group>, LogsError> {
        self.find_group(reader, address).await?.ok_or(LogsError::GroupNotFound)
    }

    pub async fn find_group(
        &self,
        reader: &impl Reader,
        address: &Address,
    ) -> Result<Option<Arc<Group>>, StoreError> {
        self.groups.find(reader, GROUPS.key(&address.key()), |bytes| read_group(address, bytes)).await
    }

    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn group_as_known(&self, txn: &Txn, address: &Address) -> Result<Arc<Group>, LogsError> {
        let key = GROUPS.key(&address.key());
        let found = self.groups.find_known(txn, key, |bytes| read_group(address, bytes)).await?;
        found.ok_or(LogsError::GroupNotFound)
    }

    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn stream(
        &self,
        reader: &impl Reader,
        group: u64,
        name: &str,
    ) -> Result<Arc<StreamRecord>, LogsError> {
        self.find_stream(reader, group, name).await?.ok_or(LogsError::StreamNotFound)
    }

    pub async fn find_stream(
        &self,
        reader: &impl Reader,
        group: u64,
        name: &str,
    ) -> Result<Option<Arc<StreamRecord>>, StoreError> {
        self.streams.find(reader, STREAMS.key(&(group, name)), table::decode).await
    }

    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn stream_as_known(
        &self,
        txn: &Txn,
        group: u64,
        name: &str,
    ) -> Result<Arc<StreamRecord>, LogsError> {
        let found = self.streams.find_known(txn, STREAMS.key(&(group, name)), table::decode).await?;
        found.ok_or(LogsError::StreamNotFound)
    }

    /// Numbers that grow with every batch that this node takes: microseconds since 1970 above twelve bits of the node's own.
    /// The first of `count`; the next ones are `ORDINAL_STEP` apart.
    pub fn ordinals(&self, rng: &dyn Rng, now: Timestamp, count: u64) -> u64 {
        let node = self.node.get_or_init(|| rng.below(ORDINAL_STEP));
        let micros = u64::try_from(now.as_millis()).unwrap_or(0).saturating_mul(1_000)
            + u64::from(now.subsec_nanos() / 1_000 % 1_000);
        let next = |last: u64| Some(micros.max(last + 1) + count);
        let last = self.last_ordinal.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        (micros.max(last + 1)).saturating_mul(ORDINAL_STEP) | node
    }

    /// Whether a stream's row of the hour was written by this node already. Remember it once it is.
    pub fn knows_hour(&self, stream: u64, hour: u32) -> bool {
        self.hours().contains(&(stream, hour))
    }

    pub fn remember_hours(&self, stream: u64, hours: impl IntoIterator<Item = u32>) {
        let mut known = self.hours();
        if known.len() >= MAX_HOURS {
            known.clear();
        }
        known.extend(hours.into_iter().map(|hour| (stream, hour)));
    }

    /// Forgets which hours were written: the sweeper has removed some.
    pub fn forget_hours(&self) {
        self.hours().clear();
    }

    fn hours(&self) -> MutexGuard<'_, HashSet<(u64, u32)>> {
        self.hours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a batch brings to what its stream holds. The sum is near where several nodes write one stream.
    pub async fn add_stats(&self, store: &Store, key: (u64, u64), more: Stats) -> Result<Stats, StoreError> {
        let is_known = self.all_stats().contains_key(&key);
        let stored = if is_known { None } else { STATS.get(store, &key).await? };
        let mut all = self.all_stats();
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        let sum = all.entry(key).or_insert_with(|| stored.unwrap_or_default());
        sum.add(&more);
        Ok(sum.clone())
    }

    pub fn forget_stats(&self) {
        self.all_stats().clear();
    }

    fn all_stats(&self) -> MutexGuard<'_, HashMap<(u64, u64), Stats>> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Twelve bits of an ordinal are the node's own.
pub const ORDINAL_STEP: u64 = 1 << 12;

fn read_group(address: &Address, bytes: &[u8]) -> Result<Group, StoreError> {
    let record: GroupRecord = table::decode(bytes)?;
    Ok(Group::new(address.clone(), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;

    #[test]
    fn ordinals_grow_also_when_time_stands_still() {
        let (logs, rng) = (Logs::default(), SeededRng::new(1));
        let now = Timestamp::from_secs(1_700_000_000);
        let first = logs.ordinals(&rng, now, 3);
        let second = logs.ordinals(&rng, now, 1);
        let third = logs.ordinals(&rng, now - std::time::Duration::from_secs(1), 1);
        assert!(first + 2 * ORDINAL_STEP < second && second < third);
        assert_eq!(first / ORDINAL_STEP, 1_700_000_000_000_000);
        assert_eq!(first % ORDINAL_STEP, third % ORDINAL_STEP);
    }
}
