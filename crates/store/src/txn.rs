//! One run of a transaction: reads of one moment, writes kept until the commit.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use pileus_core::BoxFuture;

use crate::{
    Change, Check, Commit, Direction, Durability, Entry, Found, KeyRange, Kv, Lease, Page, RangeCheck, Read,
    Seniority, Space, Store, StoreError, Topic, Version, Wake, Write,
};

/// What a closure of `Store::transact` reads and writes with. Cheap to clone. Reads see the run's own writes.
#[derive(Clone)]
pub struct Txn(Arc<Parts>);

struct Parts {
    kv: Arc<dyn Kv>,
    /// Pinned by the first read: many transactions need none.
    snapshot: OnceLock<Arc<dyn Read>>,
    assumptions: Assumptions,
    state: Mutex<State>,
}

/// Whether a run takes `Txn::assume`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assumptions {
    Taken,
    Refused,
}

/// What a run leaves.
pub(crate) struct Done {
    pub commit: Commit,
    pub fences: Vec<(String, Version)>,
    /// It rests on an assumption, which only a commit confirms.
    pub has_assumed: bool,
    /// A read failed because its moment was gone: whatever came of it, it runs again.
    pub is_stale: bool,
}

#[derive(Default)]
struct State {
    reads: Keyed<Option<Version>>,
    ranges: Vec<RangeCheck>,
    writes: Keyed<Change>,
    notify: Vec<Wake>,
    fences: Vec<(String, Version)>,
    durability: Durability,
    has_assumed: bool,
    is_stale: bool,
}

/// What belongs to keys, in their order. Most transactions have a handful, and none has more than a thousand.
struct Keyed<V>(Vec<(Space, Bytes, V)>);

impl<V> Default for Keyed<V> {
    fn default() -> Keyed<V> {
        Keyed(Vec::new())
    }
}

impl<V> Keyed<V> {
    fn find(&self, space: Space, key: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|(of, at, _)| of.cmp(&space).then_with(|| at[..].cmp(key)))
    }

    fn get(&self, space: Space, key: &[u8]) -> Option<&V> {
        self.find(space, key).ok().map(|place| &self.0[place].2)
    }

    fn set(&mut self, space: Space, key: Bytes, value: V) {
        match self.find(space, &key) {
            Ok(place) => self.0[place].2 = value,
            Err(place) => self.0.insert(place, (space, key, value)),
        }
    }

    /// What is there already stays.
    fn keep(&mut self, space: Space, key: Bytes, value: V) -> &V {
        let place = self.find(space, &key).unwrap_or_else(|place| {
            self.0.insert(place, (space, key, value));
            place
        });
        &self.0[place].2
    }

    fn range<'a>(&'a self, space: Space, range: &'a KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a V)> {
        let start = self.find(space, &range.start).unwrap_or_else(|place| place);
        let rest = self.0[start..].iter();
        rest.take_while(move |(of, key, _)| *of == space && range.contains(key))
            .map(|(_, key, value)| (key, value))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracking {
    Tracked,
    Untracked,
}

impl Txn {
    pub(crate) fn new(kv: Arc<dyn Kv>, assumptions: Assumptions) -> Txn {
        Txn(Arc::new(Parts { kv, snapshot: OnceLock::new(), assumptions, state: Mutex::default() }))
    }

    fn snapshot(&self) -> Result<&Arc<dyn Read>, StoreError> {
        if let Some(snapshot) = self.0.snapshot.get() {
            return Ok(snapshot);
        }
        let snapshot = self.0.kv.transaction_view()?;
        Ok(self.0.snapshot.get_or_init(|| snapshot))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tracked: if the key is written by someone else before the commit, the transaction runs again.
    pub async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read(space, key, Tracking::Tracked).await?.map(|(value, _)| value))
    }

    /// As a tracked read of a key that was read before the transaction and had this version then, without reading it again.
    /// The commit checks it. A run that assumed wrongly, failed or wrote nothing is run again, and then this is false: read.
    pub fn assume(&self, space: Space, key: &Bytes, version: Version) -> bool {
        let mut state = self.state();
        if self.0.assumptions == Assumptions::Refused || state.writes.get(space, key).is_some() {
            return false;
        }
        state.has_assumed = true;
        *state.reads.keep(space, key.clone(), Some(version)) == Some(version)
    }

    /// As a tracked read that found nothing, without reading: if the key is there by the commit, the transaction runs again.
    /// For a key that each run makes anew.
    pub fn expect_absent(&self, space: Space, key: Bytes) {
        self.state().reads.keep(space, key, None);
    }

    /// Not tracked: for what the outcome does not depend on, or what another tracked read implies.
    pub async fn get_untracked(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read(space, key, Tracking::Untracked).await?.map(|(value, _)| value))
    }

    /// The first `limit` entries, ascending. Tracked: if a key of the part that was read is written, removed or added
    /// before the commit, the transaction runs again. Give the range a lower bound near its first entry: the commit reads
    /// the part again, with all that was removed from it lately.
    pub async fn scan(&self, space: Space, range: &KeyRange, limit: usize) -> Result<Page, StoreError> {
        self.read_range(space, range, limit, Direction::Forward, Tracking::Tracked).await
    }

    /// The last `limit` entries, descending; tracked.
    pub async fn scan_backward(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read_range(space, range, limit, Direction::Backward, Tracking::Tracked).await
    }

    pub async fn scan_untracked(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, StoreError> {
        self.read_range(space, range, limit, direction, Tracking::Untracked).await
    }

    /// The same transaction, reading without tracking.
    pub fn untracked(&self) -> Untracked {
        Untracked(self.clone())
    }

    pub fn put(&self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.state().writes.set(space, key.into(), Change::Put(value.into()));
    }

    pub fn delete(&self, space: Space, key: impl Into<Bytes>) {
        self.state().writes.set(space, key.into(), Change::Delete);
    }

    /// False, and nothing written, if the key exists.
    pub async fn put_if_absent(
        &self,
        space: Space,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<bool, StoreError> {
        let key = key.into();
        let absent = self.get(space, &key).await?.is_none();
        if absent {
            self.put(space, key, value);
        }
        Ok(absent)
    }

    /// Wakes the topic's subscribers after the commit.
    pub fn notify(&self, topic: impl Into<Topic>) {
        self.notify_low(topic, u64::MAX);
    }

    /// Also tells where to look: see `Subscription::take_low`.
    pub fn notify_low(&self, topic: impl Into<Topic>, low: u64) {
        let topic = topic.into();
        let mut state = self.state();
        match state.notify.iter_mut().find(|wake| wake.topic == topic) {
            Some(wake) => wake.low = wake.low.min(low),
            None => state.notify.push(Wake { topic, low }),
        }
    }

    /// The commit may be acknowledged before it is durable.
    pub fn relaxed(&self) {
        self.state().durability = Durability::Relaxed;
    }

    /// The commit fails with `Fenced` unless the lease is still held.
    pub fn fence(&self, lease: &Lease) {
        self.state().fences.push((lease.name().to_owned(), lease.token()));
    }

    async fn read(&self, space: Space, key: &[u8], tracking: Tracking) -> Result<Found, StoreError> {
        if let Some(change) = self.state().writes.get(space, key) {
            return Ok(match change {
                Change::Put(value) => Some((value.clone(), 0)),
                Change::Delete => None,
            });
        }
        let found = self.noting_staleness(self.snapshot()?.get(space, key).await)?;
        if tracking == Tracking::Tracked {
            let version = found.as_ref().map(|(_, version)| *version);
            // What was assumed stays: if it was wrong, the run must not commit.
            let mut state = self.state();
            state.reads.keep(space, Bytes::copy_from_slice(key), version);
        }
        Ok(found)
    }

    fn noting_staleness<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(answer, Err(StoreError::Stale)) {
            self.state().is_stale = true;
        }
        answer
    }

    async fn read_range(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
        tracking: Tracking,
    ) -> Result<Page, StoreError> {
        // Each of our own writes in the range can hide one stored entry, so read that many more.
        let own = self.state().writes.range(space, range).count();
        let stored = self.snapshot()?.scan(space, range, limit.saturating_add(own), direction).await;
        let stored = self.noting_staleness(stored)?;
        let (page, read) = self.merge(space, range, stored.clone(), limit, direction);
        if tracking == Tracking::Tracked {
            let inside = stored.entries.iter().filter(|entry| read.contains(&entry.key));
            let mut found: Vec<_> = inside.map(|entry| (entry.key.clone(), entry.version)).collect();
            if direction == Direction::Backward {
                found.reverse();
            }
            self.state().ranges.push(RangeCheck { space, range: read, found });
        }
        Ok(page)
    }

    /// Lays our own writes over the stored entries; also returns the part of the range that the page depends on.
    fn merge(
        &self,
        space: Space,
        range: &KeyRange,
        stored: Page,
        limit: usize,
        direction: Direction,
    ) -> (Page, KeyRange) {
        let known = range.read_part(stored.entries.last().map(|entry| &entry.key), stored.more, direction);
        let state = self.state();
        let mut merged: std::collections::BTreeMap<Bytes, Entry> =
            stored.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for (key, change) in state.writes.range(space, &known) {
            match change {
                Change::Put(value) => {
                    merged.insert(key.clone(), Entry { key: key.clone(), value: value.clone(), version: 0 });
                }
                Change::Delete => {
                    merged.remove(key);
                }
            }
        }
        let more = stored.more || merged.len() > limit;
        let mut entries: Vec<Entry> = merged.into_values().collect();
        if direction == Direction::Backward {
            entries.reverse();
        }
        let cut = entries.len() > limit;
        entries.truncate(limit);
        let read = if cut {
            range.read_part(entries.last().map(|entry| &entry.key), true, direction)
        } else {
            known
        };
        (Page { entries, more }, read)
    }

    /// What the run wrote and depends on; leaves the transaction empty.
    pub(crate) fn take(&self) -> Done {
        let state = std::mem::take(&mut *self.state());
        let mut checks: Vec<Check> = Vec::with_capacity(state.reads.0.len() + state.fences.len());
        checks.extend(state.fences.iter().map(|(name, token)| Check {
            space: Space::Sys,
            key: crate::lease::fence_key(name),
            expected: Some(*token),
        }));
        let reads = state.reads.0.into_iter();
        checks.extend(reads.map(|(space, key, expected)| Check { space, key, expected }));
        let writes = state.writes.0.into_iter();
        let commit = Commit {
            checks,
            ranges: state.ranges,
            writes: writes.map(|(space, key, change)| Write { space, key, change }).collect(),
            notify: state.notify,
            durability: state.durability,
            seniority: Seniority::default(),
        };
        Done { commit, fences: state.fences, has_assumed: state.has_assumed, is_stale: state.is_stale }
    }
}

/// What a `Table` reads from: a transaction (tracked), `Txn::untracked`, or the store itself.
pub trait Reader: Sync {
    /// The version is zero for what the reading transaction itself has written.
    fn read_row<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>>;

    fn read_key<'a>(
        &'a self,
        space: Space,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move { Ok(self.read_row(space, key).await?.map(|(value, _)| value)) })
    }

    fn read_page<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;
}

impl Reader for Txn {
    fn read_row<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(self.read(space, key, Tracking::Tracked))
    }

    fn read_page<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.read_range(space, range, limit, direction, Tracking::Tracked))
    }
}

/// A transaction that reads without tracking.
#[derive(Clone)]
pub struct Untracked(Txn);

impl Reader for Untracked {
    fn read_row<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(self.0.read(space, key, Tracking::Untracked))
    }

    fn read_page<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.0.scan_untracked(space, range, limit, direction))
    }
}

impl Reader for Store {
    fn read_row<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        self.kv().get(space, key)
    }

    fn read_page<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.kv().scan(space, range, limit, direction)
    }
}
