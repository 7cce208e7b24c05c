//! Clocks: virtual time, seen by each node with an error of its own.

use std::time::Duration;

use pileus_core::{BoxFuture, Clock, Timestamp};

use crate::world::World;

/// When simulations begin.
pub const BEGINNING: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Virtual time, `ahead` of the store's. Nodes that are behind have a smaller number, none a negative one.
#[derive(Clone)]
pub struct SimClock {
    world: World,
    ahead: Duration,
}

impl SimClock {
    pub fn new(world: World, ahead: Duration) -> SimClock {
        SimClock { world, ahead }
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(0)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        BEGINNING + self.ahead + self.world.now()
    }

    fn monotonic(&self) -> Duration {
        self.world.now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(self.world.sleep_until(deadline.since(BEGINNING + self.ahead)))
    }
}
