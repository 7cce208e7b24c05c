//! What clients do to the cloud, and what must hold whatever happens to it.
//!
//! | File        | Invariants                                                                                     |
//! |-------------|------------------------------------------------------------------------------------------------|
//! | `ledger.rs` | of messages: none lost, none early, none twice at a time, order, duplicates, dead letters      |
//! | `queue.rs`  | the clients of an SQS queue of either kind, who keep a ledger                                   |
//! | `access.rs` | a change of a policy or a key is seen by every request that begins after its acknowledgement    |
//! | `jobs.rs`   | outbox and timers: at least once, never early, once where the handler claims, never when cancelled |
//! | `table.rs`  | the clients of a DynamoDB table and of its stream: every write once in the stream, in order    |
//! | `history.rs` | of their operations: strictly serializable                                                    |
//! | `lease.rs`  | one holder at a time; fenced writes in the order of the tokens; no number given twice           |

pub mod access;
pub mod history;
pub mod jobs;
pub mod lease;
pub mod ledger;
pub mod queue;
pub mod table;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pileus_core::{Rng as _, SeededRng};

use crate::cloud::Cloud;
use crate::world::Owner;

/// Clients that work until a moment, and then come home.
#[derive(Clone)]
pub struct Crew {
    pub cloud: Cloud,
    pub until: Duration,
    out: Arc<AtomicUsize>,
}

impl Crew {
    pub fn new(cloud: &Cloud, until: Duration) -> Crew {
        Crew { cloud: cloud.clone(), until, out: Arc::default() }
    }

    pub fn spawn(&self, client: impl Future<Output = ()> + Send + 'static) {
        self.out.fetch_add(1, Ordering::Relaxed);
        let out = self.out.clone();
        self.cloud.world().spawn(Owner::Clients, async move {
            client.await;
            out.fetch_sub(1, Ordering::Relaxed);
        });
    }

    pub fn is_over(&self) -> bool {
        self.cloud.world().now() >= self.until
    }

    /// Pauses for up to twice `mean`.
    pub async fn pause(&self, rng: &SeededRng, mean: Duration) {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        self.cloud.world().sleep(Duration::from_micros(rng.below(2 * micros + 1))).await;
    }

    /// Returns when all have come home.
    pub async fn home(&self) {
        while self.out.load(Ordering::Relaxed) > 0 {
            self.cloud.world().sleep(Duration::from_millis(100)).await;
        }
    }

    /// Notes a broken invariant.
    pub fn check(&self, held: Result<(), String>) {
        if let Err(broken) = held {
            self.cloud.world().fail(broken);
        }
    }
}
