//! The store that all nodes share: the memory engine, its clock, and wake-ups that travel and get lost.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use pileus_core::{Rng as _, SeededRng, Timestamp};
use pileus_store::{Commit, Kv, Outcome, Read, Space, StoreError, Topics};

use crate::clock::SimClock;
use crate::faults::{Bug, Faults};
use crate::world::{Owner, World};
use pileus_core::Clock as _;

/// The database.
pub struct Server {
    world: World,
    kv: Arc<dyn Kv>,
    clock: SimClock,
    rng: SeededRng,
    bug: Option<Bug>,
    faults: Arc<Faults>,
    /// Whom commits wake: the topics of the nodes that are up.
    listeners: Mutex<Vec<Option<Topics>>>,
    commits: AtomicU64,
}

impl Server {
    pub fn open(world: &World, faults: Arc<Faults>, bug: Option<Bug>) -> Result<Arc<Server>, StoreError> {
        let clock = SimClock::new(world.clone(), Duration::ZERO);
        Ok(Arc::new(Server {
            kv: pileus_store::memory::open(Arc::new(clock.clone()))?,
            world: world.clone(),
            clock,
            rng: world.rng("server", 0),
            bug,
            faults,
            listeners: Mutex::default(),
            commits: AtomicU64::new(0),
        }))
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn bug(&self) -> Option<Bug> {
        self.bug
    }

    /// Reads of the present.
    pub fn present(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    pub fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError> {
        self.kv.snapshot()
    }

    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub fn listen(&self, node: usize, topics: Option<Topics>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.len() <= node {
            listeners.resize_with(node + 1, || None);
        }
        listeners[node] = topics;
    }

    /// Validates and applies, now; the nodes hear of it later, if at all.
    pub fn apply(&self, mut commit: Commit) -> Result<Outcome, StoreError> {
        let wakes = std::mem::take(&mut commit.notify);
        let (checks, writes) = (commit.checks.len() + commit.ranges.len(), commit.writes.len());
        if self.faults.draw(&self.rng, |rates| rates.conflict) {
            return Ok(Outcome::Conflict);
        }
        let is_for_services = commit.writes.iter().any(|write| write.space != Space::Sys);
        match self.bug {
            Some(Bug::LosesCommits) if is_for_services && self.rng.below(100) == 0 => {
                self.world.note(format_args!("the store loses {writes} writes"));
                return Ok(Outcome::Committed(1));
            }
            Some(Bug::SkipsChecks) => {
                commit.checks.clear();
                commit.ranges.clear();
            }
            _ => {}
        }
        let outcome = finish(self.kv.commit(commit));
        if let Ok(Outcome::Committed(version)) = outcome {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.world.note(format_args!("commit {version}: {checks} checks, {writes} writes"));
            self.spread(wakes);
        }
        outcome
    }

    fn spread(&self, wakes: Vec<pileus_store::Wake>) {
        if wakes.is_empty() {
            return;
        }
        let wakes = Arc::new(wakes);
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (node, topics) in listeners.into_iter().enumerate() {
            let Some(topics) = topics else { continue };
            if self.faults.is_cut(node) || self.faults.draw(&self.rng, |rates| rates.lost_wake) {
                continue;
            }
            let (wakes, sleep) = (wakes.clone(), self.world.sleep(self.faults.latency(&self.rng)));
            self.world.spawn(Owner::Store, async move {
                sleep.await;
                topics.fire(wakes.iter());
            });
        }
    }
}

/// Waits for a future that another thread makes ready. The engine's commit thread is the only one there is, and nothing
/// else runs meanwhile, so the order of all that happens stays the seed's.
pub fn finish<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
