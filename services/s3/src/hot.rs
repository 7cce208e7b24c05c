//! Small objects that are read again and again: their versions decoded, their bytes decrypted. Truth is in the store alone: a version
//! is good while its row is the one that it was decoded from, and bytes never change under their id.
//!
//! What is read once is not kept, so a pass over many objects does not drive out the few that are wanted often.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use pileus_platform::Cx;
use pileus_platform::store::Store;
use pileus_store::{Reader as _, StoreError, Version, table};

use crate::keys::CURRENT;
use crate::version::{ObjectVersion, StoredId};

/// Bytes of memory for decoded versions, and for what objects hold.
const MOST_VERSIONS: usize = 2 << 20;
const MOST_BYTES: usize = 6 << 20;
/// Larger ones cost more to send than to read.
const LARGEST: usize = 16 << 10;
/// What a decoded version takes beside its row.
const OVERHEAD: usize = 1_024;
/// How many different things are remembered to have been asked for.
const ASKED: usize = 1_024;

pub struct Objects {
    versions: Kept<Bytes, Arc<Known>>,
    bytes: Kept<StoredId, Bytes>,
}

impl Default for Objects {
    fn default() -> Objects {
        Objects { versions: Kept::of(MOST_VERSIONS), bytes: Kept::of(MOST_BYTES) }
    }
}

struct Known {
    row: Version,
    version: Arc<ObjectVersion>,
    /// The store's stamp before the row was read last: while it is the same, so is the row. `NO_STAMP` where there is none.
    stamp: AtomicU64,
}

const NO_STAMP: u64 = u64::MAX;

/// The current version of a key: without a read where the store knows that nothing has changed.
///
/// # Errors
/// Faults of the store.
pub async fn current(cx: &Cx, bucket: u64, key: &str) -> Result<Option<Arc<ObjectVersion>>, StoreError> {
    cx.state::<Objects>().current(cx.store(), bucket, key).await
}

impl Objects {
    async fn current(
        &self,
        store: &Store,
        bucket: u64,
        key: &str,
    ) -> Result<Option<Arc<ObjectVersion>>, StoreError> {
        let (space, key) = (CURRENT.space(), CURRENT.key(&(bucket, key)));
        let stamp = store.stamp(space).unwrap_or(NO_STAMP);
        let known = self.versions.get(&key);
        if let Some(known) = &known
            && stamp != NO_STAMP
            && known.stamp.load(Ordering::Acquire) == stamp
        {
            return Ok(Some(known.version.clone()));
        }
        let Some((bytes, row)) = store.read_row(space, &key).await? else {
            if known.is_some() {
                self.versions.forget(&key);
            }
            return Ok(None);
        };
        if let Some(known) = known.as_ref().filter(|known| known.row == row) {
            known.stamp.store(stamp, Ordering::Release);
            return Ok(Some(known.version.clone()));
        }
        let version = Arc::new(table::decode::<ObjectVersion>(&bytes)?);
        if known.is_some() || self.versions.was_asked_for(&key) {
            let known = Known { row, version: version.clone(), stamp: AtomicU64::new(stamp) };
            self.versions.keep(key, Arc::new(known), bytes.len() + OVERHEAD);
        }
        Ok(Some(version))
    }

    /// What lies under an id, decrypted.
    pub fn bytes(&self, id: &StoredId) -> Option<Bytes> {
        self.bytes.get(id)
    }

    /// Bytes that were read and decrypted: never those under a customer's key.
    pub fn offer(&self, id: &StoredId, plain: &Bytes) {
        if plain.len() <= LARGEST && self.bytes.was_asked_for(id) {
            self.bytes.keep(*id, plain.clone(), plain.len());
        }
    }
}

/// Values up to so many bytes. Then all are forgotten, which only costs time.
struct Kept<K, V> {
    held: RwLock<Held<K, V>>,
    asked: Vec<AtomicU64>,
    most: usize,
}

struct Held<K, V> {
    values: HashMap<K, (V, usize)>,
    size: usize,
}

impl<K: Hash + Eq, V: Clone> Kept<K, V> {
    fn of(most: usize) -> Kept<K, V> {
        let held = Held { values: HashMap::new(), size: 0 };
        Kept { held: RwLock::new(held), asked: (0..ASKED).map(|_| AtomicU64::new(0)).collect(), most }
    }

    fn get(&self, key: &K) -> Option<V> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.values.get(key).map(|(value, _)| value.clone())
    }

    /// Whether it was asked for before, not long ago.
    fn was_asked_for(&self, key: &K) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish() | 1;
        self.asked[(hash >> 32) as usize % ASKED].swap(hash, Ordering::Relaxed) == hash
    }

    fn keep(&self, key: K, value: V, size: usize) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.size + size > self.most {
            held.values.clear();
            held.size = 0;
        }
        let before = held.values.insert(key, (value, size)).map_or(0, |(_, size)| size);
        held.size = held.size + size - before;
    }

    fn forget(&self, key: &K) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let size = held.values.remove(key).map_or(0, |(_, size)| size);
        held.size -= size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::{AccountId, SeededRng, Timestamp};
    use pileus_platform::MovableClock;

    async fn put(store: &Store, key: &'static str, etag: &'static str) {
        let mut version = ObjectVersion::empty(AccountId::DEFAULT, Timestamp::EPOCH);
        version.etag = etag.to_owned();
        let version = &version;
        let put = store.transact(|txn| async move { CURRENT.put(&txn, &(1u64, key), version) });
        put.await.unwrap();
    }

    #[tokio::test]
    async fn a_version_is_decoded_once_until_its_row_changes_or_goes() {
        let store = Store::memory(Arc::new(MovableClock::system()), Arc::new(SeededRng::new(1))).unwrap();
        let objects = Objects::default();
        let read = async || objects.current(&store, 1, "k").await.unwrap();
        assert!(read().await.is_none());
        put(&store, "k", "1").await;
        let (once, twice, again) = (read().await.unwrap(), read().await.unwrap(), read().await.unwrap());
        assert!(!Arc::ptr_eq(&once, &twice) && Arc::ptr_eq(&twice, &again));
        // Another row of the same space: the version is read again, and not decoded.
        put(&store, "other", "1").await;
        assert!(Arc::ptr_eq(&twice, &read().await.unwrap()));
        put(&store, "k", "2").await;
        assert_eq!(read().await.unwrap().etag, "2");
        let gone = store.transact(|txn| async move {
            CURRENT.delete(&txn, &(1u64, "k"));
            Ok::<_, StoreError>(())
        });
        gone.await.unwrap();
        assert!(read().await.is_none());
        assert_eq!(objects.versions.held.read().unwrap().size, 0);
    }

    #[test]
    fn bytes_are_kept_when_they_are_read_again_and_never_more_than_there_is_room_for() {
        let objects = Objects::default();
        let plain = Bytes::from(vec![1; LARGEST]);
        let id = |number: usize| [[0; 8], number.to_be_bytes()].concat().try_into().unwrap();
        objects.offer(&id(0), &plain);
        assert_eq!(objects.bytes(&id(0)), None);
        objects.offer(&id(0), &plain);
        assert_eq!(objects.bytes(&id(0)), Some(plain.clone()));
        for number in 1..2_000 {
            objects.offer(&id(number), &plain);
            objects.offer(&id(number), &plain);
            let held = objects.bytes.held.read().unwrap();
            assert_eq!(held.size, held.values.len() * LARGEST);
            assert!(held.size <= MOST_BYTES, "{number}");
        }
        let large = Bytes::from(vec![1; LARGEST + 1]);
        objects.offer(&id(9_999), &large);
        objects.offer(&id(9_999), &large);
        assert_eq!(objects.bytes(&id(9_999)), None);
    }
}
