//! `Store`: the handle that services hold.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use pileus_core::{Clock, Rng};

use crate::cluster::Cluster;
use crate::kv::SpaceMap;
use crate::txn::{Assumptions, Done};
use crate::{
    Change, Commit, Direction, Durability, Found, KeyRange, Kv, Lease, Limits, Outcome, Page, Seniority,
    Space, StoreError, Subscription, Topic, Txn, Version, Wake, Write,
};

/// Runs of one transaction before `Contention`. In every batch that one of those who contend for a key succeeds which has
/// lost most often, so this is also about how many may contend for one key at a time.
const MAX_ATTEMPTS: u32 = 256;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Parts>);

struct Parts {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    cluster: Cluster,
    /// Tokens of the leases held, by name.
    leases: Mutex<HashMap<String, Version>>,
}

impl Store {
    pub fn new(kv: Arc<dyn Kv>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Store {
        Store(Arc::new(Parts { kv, clock, rng, cluster: Cluster::default(), leases: Mutex::default() }))
    }

    /// An empty store in memory.
    pub fn memory(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Store, StoreError> {
        Ok(Store::new(crate::memory::open(clock.clone())?, clock, rng))
    }

    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.0.kv
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub fn rng(&self) -> &Arc<dyn Rng> {
        &self.0.rng
    }

    /// How background work is divided among the nodes that share this store.
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    pub fn limits(&self) -> Limits {
        self.0.kv.limits()
    }

    /// The present value. Nothing holds it there: a decision to write belongs into `transact`.
    pub async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.kv.get(space, key).await?.map(|(value, _)| value))
    }

    /// The present values, in the order of `keys`, all at one moment.
    pub async fn multi_get(&self, keys: &[(Space, Bytes)]) -> Result<Vec<Found>, StoreError> {
        self.0.kv.multi_get(keys).await
    }

    /// The first `limit` entries of the range, ascending. `Page::more` tells whether to go on (`KeyRange::after`).
    pub async fn scan(&self, space: Space, range: &KeyRange, limit: usize) -> Result<Page, StoreError> {
        self.0.kv.scan(space, range, limit, Direction::Forward).await
    }

    /// The last `limit` entries of the range, descending.
    pub async fn scan_backward(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.kv.scan(space, range, limit, Direction::Backward).await
    }

    /// Runs `run` and commits what it wrote, all or nothing. `run` reads one moment of the store, that of its first read;
    /// when a tracked read has changed by the time of the commit, it runs again on a new moment. So it only reads and
    /// writes: an effect outside goes through the outbox. An error ends the transaction without a trace. A run that wrote
    /// nothing commits nothing. When the returned future is dropped, the transaction may have been committed or not.
    ///
    /// # Errors
    /// What `run` returned; `Contention` after many conflicts; `Fenced` when a lease given to `Txn::fence` was lost; other
    /// errors of the store.
    pub async fn transact<T, E, F, Fut>(&self, mut run: F) -> Result<T, E>
    where
        F: FnMut(Txn) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StoreError>,
    {
        let mut seniority = Seniority::default();
        for attempt in 1..=MAX_ATTEMPTS {
            let assumptions = if attempt == 1 { Assumptions::Taken } else { Assumptions::Refused };
            let txn = Txn::new(self.0.kv.clone(), assumptions);
            let answer = run(txn.clone()).await;
            let Done { mut commit, fences, has_assumed, is_stale } = txn.take();
            drop(txn); // And with it the snapshot: an engine may hold a connection for it.
            if is_stale {
                seniority.lose();
                continue;
            }
            let is_confirmed_by_commit =
                answer.is_ok() && !(commit.writes.is_empty() && commit.notify.is_empty());
            if !is_confirmed_by_commit {
                if has_assumed {
                    continue;
                }
                return answer;
            }
            commit.seniority = seniority.clone();
            if let Outcome::Committed(_) = self.0.kv.commit(commit).await? {
                return answer;
            }
            for (name, token) in fences {
                self.check_fence(name, token).await?;
            }
            seniority.lose();
        }
        Err(StoreError::Contention { attempts: MAX_ATTEMPTS }.into())
    }

    async fn check_fence(&self, name: String, token: Version) -> Result<(), StoreError> {
        let row = self.0.kv.get(Space::Sys, &crate::lease::fence_key(&name)).await?;
        if row.is_some_and(|(_, version)| version == token) {
            Ok(())
        } else {
            Err(StoreError::Fenced { name })
        }
    }

    /// Writes without reading.
    pub async fn write(&self, batch: Batch, durability: Durability) -> Result<Version, StoreError> {
        let Batch { writes, notify } = batch;
        let commit = Commit { writes: last_of_each_key(writes), notify, durability, ..Commit::default() };
        match self.0.kv.commit(commit).await? {
            Outcome::Committed(version) => Ok(version),
            // Nothing was checked, so only an engine that serializes by aborting answers so, after trying for long.
            Outcome::Conflict => Err(StoreError::Contention { attempts: 1 }),
        }
    }

    /// See `Kv::stamp`: take it, then read; what was read is still so while the stamp is the same.
    pub fn stamp(&self, space: Space) -> Option<u64> {
        self.0.kv.stamp(space)
    }

    pub fn subscribe(&self, topic: &Topic) -> Subscription {
        self.0.kv.subscribe(topic)
    }

    /// Takes the lease `name` for `ttl`, unless someone holds it. Renew it after a third of that.
    pub async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let Some(token) = self.0.kv.acquire_lease(name, ttl).await? else { return Ok(None) };
        self.leases().insert(name.to_owned(), token);
        Ok(Some(Lease::new(self.clone(), name.to_owned(), token, ttl)))
    }

    /// Gives back every lease that is held here, so that nobody has to wait for their ends. For a node that stops, once its
    /// background work has.
    pub async fn release_leases(&self) -> Result<(), StoreError> {
        let held: Vec<_> = self.leases().drain().collect();
        let releases = held.iter().map(|(name, token)| self.0.kv.release_lease(name, *token));
        join_all(releases).await.into_iter().collect()
    }

    pub(crate) async fn release_lease(&self, name: &str, token: Version) -> Result<(), StoreError> {
        self.forget_lease(name, token);
        self.0.kv.release_lease(name, token).await
    }

    fn forget_lease(&self, name: &str, token: Version) {
        let mut leases = self.leases();
        if leases.get(name) == Some(&token) {
            leases.remove(name);
        }
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, Version>> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `block` numbers that nobody was given before, greater than all given before. The first is 1. Each call is a durable
    /// commit: take blocks.
    pub async fn sequence(&self, name: &str, block: u64) -> Result<Range<u64>, StoreError> {
        self.0.kv.sequence(name, block).await
    }

    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.kv.close().await
    }
}

/// Writes that depend on nothing read. A key written twice keeps the last.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    writes: Vec<Write>,
    notify: Vec<Wake>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    pub fn put(self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
        self.push(space, key.into(), Change::Put(value.into()))
    }

    pub fn delete(self, space: Space, key: impl Into<Bytes>) -> Batch {
        self.push(space, key.into(), Change::Delete)
    }

    pub fn notify(mut self, topic: impl Into<Topic>) -> Batch {
        self.notify.push(Wake { topic: topic.into(), low: u64::MAX });
        self
    }

    pub fn len(&self) -> usize {
        self.writes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn push(mut self, space: Space, key: Bytes, change: Change) -> Batch {
        self.writes.push(Write { space, key, change });
        self
    }
}

fn last_of_each_key(writes: Vec<Write>) -> Vec<Write> {
    if writes.len() < 2 {
        return writes;
    }
    let mut last = SpaceMap::default();
    for Write { space, key, change } in writes {
        last.space_mut(space).insert(key, change);
    }
    last.into_entries().map(|(space, key, change)| Write { space, key, change }).collect()
}

#[cfg(test)]
mod tests;
