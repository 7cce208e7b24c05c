//! Nodes that crash, lose the store, or stop for a while.

use std::time::Duration;

use pileus_core::{Rng as _, SeededRng};

use crate::cloud::Cloud;
use crate::faults::Rates;
use crate::world::Owner;

/// Begins the trouble; it ends by itself once `until` is over.
pub fn begin(cloud: &Cloud, rates: &Rates, until: Duration) {
    let kinds: [(&'static str, Option<Duration>, u64, Kind); 3] = [
        ("crash", rates.crash_every, 3_000, Kind::Crash),
        ("cut", rates.cut_every, 8_000, Kind::Cut),
        ("stop", rates.stop_every, 12_000, Kind::Stop),
    ];
    for (name, every, longest, kind) in kinds {
        let Some(every) = every else { continue };
        let (cloud, rng) = (cloud.clone(), cloud.world().rng(name, 0));
        cloud.world().clone().spawn(Owner::Clients, async move {
            loop {
                cloud.world().sleep(pause(&rng, every)).await;
                if cloud.world().now() >= until {
                    return;
                }
                let node = rng.below(cloud.size() as u64) as usize;
                kind.begin(&cloud, node);
                cloud.world().sleep(Duration::from_millis(1 + rng.below(longest))).await;
                kind.end(&cloud, node);
            }
        });
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Crash,
    Cut,
    Stop,
}

impl Kind {
    fn begin(self, cloud: &Cloud, node: usize) {
        match self {
            Kind::Crash => cloud.crash(node),
            Kind::Cut => {
                cloud.world().note(format_args!("node {node} is cut off from the store"));
                cloud.faults().cut(node);
            }
            Kind::Stop => {
                cloud.world().note(format_args!("node {node} stops"));
                cloud.world().pause(Owner::Node(node));
            }
        }
    }

    fn end(self, cloud: &Cloud, node: usize) {
        match self {
            Kind::Crash => cloud.start(node),
            Kind::Cut => {
                cloud.world().note(format_args!("node {node} reaches the store again"));
                cloud.faults().heal(node);
            }
            Kind::Stop => {
                cloud.world().note(format_args!("node {node} goes on"));
                cloud.world().resume(Owner::Node(node));
            }
        }
    }
}

/// Between nothing and twice the mean.
fn pause(rng: &SeededRng, mean: Duration) -> Duration {
    Duration::from_millis(rng.below(2 * u64::try_from(mean.as_millis()).unwrap_or(u64::MAX).max(1)))
}
