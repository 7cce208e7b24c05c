//! Runners: they hand due rows to handlers.
//!
//! Each shard is worked by the holder of its lease. A pass scans from a low-water cursor in memory, never from the shard's
//! beginning, where the rows that are done have left their tombstones. Rows added before the cursor are announced by the
//! wake-up (`Subscription::take_low`); announcements lost between nodes are made good by a scan from the beginning now and
//! then. The handled row is removed after its handler, so a crash in between means that it runs again.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use pileus_core::{BoxFuture, Timestamp};
use tokio::sync::watch;

use crate::due::{Due, Job, SHARDS};
use crate::kv::successor;
use crate::txn::Assumptions;
use crate::{
    Change, Check, Commit, Durability, KeyRange, Lease, Space, Store, StoreError, Subscription, Txn, Version,
    Write,
};

/// Does what a row asks for. It may be asked more than once.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Job) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    fn handle(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self(job))
    }
}

/// Why a row has to be handled again, and when if not after the usual pause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    pub reason: String,
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub fn new(reason: impl std::fmt::Display) -> Failure {
        Failure { reason: reason.to_string(), retry_after: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error)
    }
}

/// `Pace::slack` where other nodes write: how far their clocks may be behind, and how long a wake-up may take.
const SHARED_SLACK: Duration = Duration::from_secs(2);

/// How a runner works.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows of one shard that are handled at a time.
    pub parallel: usize,
    /// A node that is gone is replaced after this long.
    pub lease: Duration,
    /// The pause after the first failure; it doubles with every further one.
    pub first_retry: Duration,
    pub max_retry: Duration,
    /// How often a shard is scanned from its beginning.
    pub rescan: Duration,
    /// How far behind the present other nodes may add rows unannounced. Zero when no other node writes.
    pub slack: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            parallel: 16,
            lease: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            max_retry: Duration::from_secs(300),
            rescan: Duration::from_secs(60),
            slack: Duration::ZERO,
        }
    }
}

/// Works a family of due rows: `Runner::new(store, TIMERS).on("kind", handler).run(stop)`.
pub struct Runner {
    store: Store,
    due: Due,
    handlers: HashMap<String, Arc<dyn Handler>>,
    pace: Pace,
}

impl Runner {
    pub fn new(store: Store, due: Due) -> Runner {
        let slack = if store.kv().shared_time().is_some() { SHARED_SLACK } else { Duration::ZERO };
        let pace = Pace { slack, ..Pace::default() };
        Runner { store, due, handlers: HashMap::new(), pace }
    }

    pub fn pace(mut self, pace: Pace) -> Runner {
        self.pace = pace;
        self
    }

    pub fn on(mut self, kind: impl Into<String>, handler: impl Handler) -> Runner {
        self.handlers.insert(kind.into(), Arc::new(handler));
        self
    }

    /// Runs until `stop` is ready. Handlers that run then are dropped: their rows are handled again.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let stopping = watch::Sender::new(false);
        let work = join_all((0..SHARDS).map(|shard| self.work_shard(shard, stopping.subscribe())));
        let stop = async {
            stop.await;
            stopping.send_replace(true);
        };
        futures_util::future::join(stop, work).await;
    }

    async fn work_shard(&self, shard: u16, mut stopping: watch::Receiver<bool>) {
        let name = format!("{}/{shard}", self.due.name());
        let mut turn = self.store.cluster().turn(name.clone());
        loop {
            let claim = tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                claim = turn.come(&self.store) => claim,
            };
            let worked = match self.store.lease(&name, self.pace.lease).await {
                Ok(Some(lease)) => {
                    let leave = turn.over(&self.store, claim);
                    Shard::new(self, shard, lease).work(&mut stopping, leave).await
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            let pause = match worked {
                Ok(()) => self.pace.lease / 3,
                Err(error) => {
                    tracing::warn!(%error, runner = self.due.name(), shard, "due rows cannot be worked; trying again");
                    self.pace.first_retry
                }
            };
            let rested = self.store.clock().sleep_until(self.store.clock().now() + pause);
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                () = rested => {}
            }
        }
    }

    /// Hands one row to its handler, and removes or reschedules it. False when that could not be written.
    async fn work_row(&self, job: Job, version: Version, fence: Check) -> (Bytes, bool) {
        let key = job.key.clone();
        let outcome = match self.handlers.get(&job.kind) {
            Some(handler) => handler.handle(job.clone()).await,
            None => Err(Failure {
                reason: format!("no handler of kind {:?} is known to this node", job.kind),
                retry_after: Some(self.pace.max_retry),
            }),
        };
        let written = match outcome {
            Ok(()) => self.remove(&job, version, fence).await,
            Err(failure) => self.reschedule(&job, &failure, version, fence).await,
        };
        if let Err(error) = &written {
            tracing::warn!(%error, kind = job.kind, id = job.id, "a handled row could not be removed; it runs again");
            // A store that takes no writes is not asked again at once.
            let clock = self.store.clock();
            clock.sleep_until(clock.now() + self.pace.first_retry).await;
        }
        (key, written.is_ok())
    }

    async fn remove(&self, job: &Job, version: Version, fence: Check) -> Result<(), StoreError> {
        let row = Check { space: job.space, key: job.key.clone(), expected: Some(version) };
        let deletes = job.keys().map(|key| Write { space: job.space, key, change: Change::Delete });
        // It may come back after a crash, like any row that is handled again.
        let durability = Durability::Relaxed;
        let commit =
            Commit { checks: vec![fence, row], writes: deletes.collect(), durability, ..Commit::default() };
        // A conflict: the handler has claimed it, or written it anew, or the shard is someone else's by now.
        self.store.kv().commit(commit).await.map(|_| ())
    }

    async fn reschedule(
        &self,
        job: &Job,
        failure: &Failure,
        version: Version,
        fence: Check,
    ) -> Result<(), StoreError> {
        let pause = failure.retry_after.unwrap_or_else(|| self.pause_after(job.attempts));
        let due = self.store.clock().now() + pause;
        tracing::warn!(
            kind = job.kind,
            id = job.id,
            attempts = job.attempts + 1,
            reason = failure.reason,
            ?pause,
            "a due row failed; it is tried again"
        );
        let txn = Txn::new(self.store.kv().clone(), Assumptions::Refused);
        self.due.put_again(&txn, job, due)?;
        let mut commit = txn.take().commit;
        commit.checks =
            vec![fence, Check { space: job.space, key: job.key.clone(), expected: Some(version) }];
        self.store.kv().commit(commit).await.map(|_| ())
    }

    /// Doubles with every failure, plus up to a quarter by chance.
    fn pause_after(&self, attempts: u32) -> Duration {
        let doubled = self.pace.first_retry.saturating_mul(1 << attempts.min(20));
        let pause = doubled.min(self.pace.max_retry);
        let quarter = u64::try_from(pause.as_millis() / 4).unwrap_or(u64::MAX);
        pause + Duration::from_millis(self.store.rng().below(quarter.saturating_add(1)))
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more: the runner itself is gone.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A shard while its lease is held.
struct Shard<'r> {
    runner: &'r Runner,
    lease: Lease,
    shard: u16,
    range: KeyRange,
    /// No row below it waits, as far as this node knows.
    cursor: Bytes,
    busy: HashSet<Bytes>,
    subscription: Subscription,
    renew_at: Timestamp,
    rescan_at: Timestamp,
}

impl<'r> Shard<'r> {
    fn new(runner: &'r Runner, shard: u16, lease: Lease) -> Shard<'r> {
        let now = runner.store.clock().now();
        let range = runner.due.range(shard);
        Shard {
            subscription: runner.store.subscribe(&runner.due.topic(shard)),
            cursor: range.start.clone(),
            range,
            busy: HashSet::new(),
            renew_at: now + runner.pace.lease / 3,
            rescan_at: now + runner.pace.rescan,
            runner,
            lease,
            shard,
        }
    }

    /// Until the lease is lost, the runner is stopped, or `leave` says that the shard is another node's and what was begun
    /// has ended.
    async fn work(
        mut self,
        stopping: &mut watch::Receiver<bool>,
        leave: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        let clock = self.runner.store.clock().clone();
        let mut running = FuturesUnordered::new();
        let mut leave = std::pin::pin!(leave);
        let mut is_leaving = false;
        loop {
            let mut look_at = if is_leaving { self.renew_at } else { self.renew_at.min(self.rescan_at) };
            let picked = if is_leaving { Vec::new() } else { self.pick(&mut look_at).await? };
            for (job, version) in picked {
                let fence = Check {
                    space: Space::Sys,
                    key: crate::lease::fence_key(self.lease.name()),
                    expected: Some(self.lease.token()),
                };
                running.push(self.runner.work_row(job, version, fence));
            }
            if is_leaving && running.is_empty() {
                return self.lease.release().await;
            }
            tokio::select! {
                biased;
                () = stopped(stopping) => return self.lease.release().await,
                () = &mut leave, if !is_leaving => is_leaving = true,
                Some((key, done)) = running.next(), if !running.is_empty() => {
                    self.busy.remove(&key);
                    if !done {
                        self.cursor = self.cursor.clone().min(key);
                    }
                }
                () = self.subscription.changed() => {}
                () = clock.sleep_until(look_at) => {}
            }
            let now = clock.now();
            if now >= self.renew_at {
                if !self.lease.renew().await? {
                    return Ok(());
                }
                self.renew_at = now + self.runner.pace.lease / 3;
            }
        }
    }

    /// The rows to begin now; `look_at` becomes the time of the next one if that is sooner.
    async fn pick(&mut self, look_at: &mut Timestamp) -> Result<Vec<(Job, Version)>, StoreError> {
        let Runner { store, due, pace, .. } = self.runner;
        let now = store.clock().now();
        let low = self.subscription.take_low();
        if let Ok(low) = i64::try_from(low) {
            self.lower_cursor(due.lower_bound(self.shard, Timestamp::from_millis(low)));
        }
        if !pace.slack.is_zero() {
            self.lower_cursor(due.lower_bound(self.shard, now - pace.slack));
        }
        if now >= self.rescan_at {
            self.rescan_at = now + pace.rescan;
            self.cursor = self.range.start.clone();
        }
        let mut picked = Vec::new();
        let free = pace.parallel.saturating_sub(self.busy.len());
        if free == 0 {
            return Ok(picked); // The next that ends looks again.
        }
        let range = self.range.clone().starting_at(self.cursor.clone());
        let page = store.scan(due.space(), &range, self.busy.len() + free).await?;
        for entry in &page.entries {
            if self.busy.contains(&entry.key) {
                continue;
            }
            let job = match due.read(&entry.key, &entry.value) {
                Ok(job) => job,
                Err(error) => {
                    tracing::error!(%error, runner = due.name(), key = ?entry.key, "a due row is skipped");
                    self.cursor = successor(&entry.key);
                    continue;
                }
            };
            if job.due > now {
                *look_at = job.due.min(*look_at);
                return Ok(picked);
            }
            self.cursor = successor(&entry.key);
            self.busy.insert(entry.key.clone());
            picked.push((job, entry.version));
        }
        if page.more && picked.len() < free {
            *look_at = now;
        }
        Ok(picked)
    }

    fn lower_cursor(&mut self, to: Bytes) {
        self.cursor = self.cursor.clone().min(to);
    }
}

#[cfg(test)]
mod tests;
