//! What the tests of this crate, and of other engines, share: a clock that is moved by hand, and a store in memory.

pub mod conformance;
pub mod torture;

use std::sync::Arc;
use std::time::Duration;

use pileus_core::{BoxFuture, Clock, SeededRng, Timestamp};
use tokio::sync::watch;

use crate::{Kv, Store, StoreError};

/// Stands still until it is moved.
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock(watch::Sender::new(now))
    }

    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new(Timestamp::from_secs(1_700_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn monotonic(&self) -> Duration {
        self.now().since(Timestamp::EPOCH)
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let mut time = self.0.subscribe();
        Box::pin(async move {
            // Ends early only when the clock is gone, and nobody can wait for it then.
            let _ = time.wait_for(|now| *now >= deadline).await;
        })
    }
}

/// A store over an engine, with chance from a fixed seed.
pub fn store(kv: Arc<dyn Kv>, clock: Arc<ManualClock>) -> Store {
    Store::new(kv, clock, Arc::new(SeededRng::new(1)))
}

pub fn memory() -> Result<(Store, Arc<ManualClock>), StoreError> {
    let clock = Arc::new(ManualClock::default());
    Ok((store(crate::memory::open(clock.clone())?, clock.clone()), clock))
}
