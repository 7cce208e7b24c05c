//! A lease that every node wants, writes that it fences, and blocks of a sequence.
//!
//! A holder counts on its lease until its time is over, counted from when it asked; nobody else may be given the lease
//! before, unless it has begun to give it back. Holders are crashed, stopped and cut off like any other task: what they
//! write after they lost the lease must not be accepted.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_core::{Rng as _, SeededRng};
use pileus_store::{Lease, Space, StoreError};

use crate::cloud::{Cloud, Running};
use crate::workload::Crew;

const NAME: &str = "simulation/lease";
const SEQUENCE: &str = "simulation/sequence";
const ROW: &[u8] = b"simulation/fenced";
const TTL: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub struct Leases(Arc<Parts>);

struct Parts {
    crew: Crew,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The latest holder that has not begun to give it back: its token, and until when nobody else may be given it.
    holder: Option<(u64, Duration)>,
    highest: u64,
    taken: u64,
    fenced: u64,
    /// Blocks given, and when that was known.
    blocks: Vec<(Range<u64>, Duration)>,
}

impl Leases {
    /// Before the nodes start: each wants the lease.
    pub fn create(crew: &Crew) -> Leases {
        let leases = Leases(Arc::new(Parts { crew: crew.clone(), state: Mutex::default() }));
        let every = leases.clone();
        crew.cloud.add_worker(move |running| every.clone().run(running));
        leases
    }

    async fn run(self, running: Running) {
        let rng = self.cloud().world().rng("lease", running.node as u64);
        while !self.0.crew.is_over() {
            self.0.crew.pause(&rng, Duration::from_millis(500)).await;
            if rng.below(4) == 0 {
                self.take_block(&running, 1 + rng.below(5)).await;
            }
            let began = self.cloud().world().now();
            if let Ok(Some(lease)) = running.store().lease(NAME, TTL).await {
                self.taken(&running, &lease, began);
                self.hold(&running, &rng, lease).await;
            }
        }
    }

    fn taken(&self, running: &Running, lease: &Lease, began: Duration) {
        let (world, token, mut state) = (self.cloud().world(), lease.token(), self.state());
        world.note(format_args!("node {} holds the lease by token {token}", running.node));
        state.taken += 1;
        if let Some((other, until)) = state.holder.filter(|(_, until)| *until > world.now()) {
            let left = until - world.now();
            world.fail(format!("token {token} was given while {other} holds the lease for another {left:?}"));
        }
        if token <= state.highest {
            world.fail(format!("token {token} is not above {}, which was given before", state.highest));
        }
        state.highest = token;
        state.holder = Some((token, began + TTL));
    }

    /// Writes by the lease, renews it or not, gives it back or not.
    async fn hold(&self, running: &Running, rng: &SeededRng, lease: Lease) {
        for _ in 0..rng.below(12) {
            self.0.crew.pause(rng, Duration::from_millis(600)).await;
            match self.write(running, &lease).await {
                Ok(seen) if seen > lease.token() => {
                    let token = lease.token();
                    self.cloud().world().fail(format!("a write fenced by {token} came after one by {seen}"));
                }
                Ok(_) => self.state().fenced += 1,
                Err(StoreError::Fenced { .. }) => return,
                Err(_) => {}
            }
            let began = self.cloud().world().now();
            match lease.renew().await {
                Ok(true) => {
                    let mut state = self.state();
                    if let Some((token, until)) = &mut state.holder
                        && *token == lease.token()
                    {
                        *until = (*until).max(began + TTL);
                    }
                }
                Ok(false) => return,
                Err(_) => {}
            }
        }
        if rng.below(2) == 0 {
            self.give_back(lease.token());
            let _ = lease.release().await; // It ends by itself.
        }
    }

    fn give_back(&self, token: u64) {
        let mut state = self.state();
        if state.holder.is_some_and(|(holder, _)| holder == token) {
            state.holder = None;
        }
    }

    /// Returns the token that wrote last.
    async fn write(&self, running: &Running, lease: &Lease) -> Result<u64, StoreError> {
        running
            .store()
            .transact(|txn| async move {
                txn.fence(lease);
                let last = txn.get_untracked(Space::Items, ROW).await?;
                let last = last.and_then(|row| row.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
                txn.put(Space::Items, ROW, lease.token().to_be_bytes().to_vec());
                Ok(last)
            })
            .await
    }

    async fn take_block(&self, running: &Running, size: u64) {
        let began = self.cloud().world().now();
        let Ok(block) = running.store().sequence(SEQUENCE, size).await else { return };
        let mut state = self.state();
        for (other, known_at) in &state.blocks {
            let is_disjoint = block.end <= other.start || other.end <= block.start;
            if !is_disjoint || (*known_at <= began && block.start < other.end) {
                self.cloud().world().fail(format!("numbers {block:?} were given after {other:?}"));
            }
        }
        state.blocks.push((block, self.cloud().world().now()));
    }

    /// How often the lease was taken, and how much was written by it.
    pub fn counts(&self) -> [u64; 2] {
        let state = self.state();
        [state.taken, state.fenced]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cloud(&self) -> &Cloud {
        &self.0.crew.cloud
    }
}
