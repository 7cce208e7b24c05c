//! What goes wrong, and how often: drawn from the seed, so that some simulations are calm and others are not.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pileus_core::{Rng as _, SeededRng};

use crate::world::World;

/// A fault of the store's that no test may miss: proof that the simulation finds what it looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// One commit in a hundred is acknowledged and not applied.
    LosesCommits,
    /// Commits are applied without being validated.
    SkipsChecks,
    /// Reads of the present show what was there a moment ago.
    ReadsThePast,
    /// A lease is given to whoever asks.
    SharesLeases,
}

impl Bug {
    pub const ALL: [(&str, Bug); 4] = [
        ("loses-commits", Bug::LosesCommits),
        ("skips-checks", Bug::SkipsChecks),
        ("reads-the-past", Bug::ReadsThePast),
        ("shares-leases", Bug::SharesLeases),
    ];

    pub fn parse(name: &str) -> Result<Bug, String> {
        let found = Bug::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, bug)| *bug)
            .ok_or_else(|| format!("there is no bug {name:?}: {}", Bug::ALL.map(|(name, _)| name).join(", ")))
    }
}

/// Chances are in ten thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// A read fails, or a commit fails before it reaches the store.
    pub refused: u64,
    /// A commit takes effect and its answer is lost.
    pub lost_reply: u64,
    /// A commit takes effect after the node has given up waiting for it.
    pub late: u64,
    /// A commit is refused although its checks hold, as databases do that serialise by aborting.
    pub conflict: u64,
    pub lost_wake: u64,
    /// The way to the store takes a hundred times as long.
    pub slow: u64,
    pub latency: Duration,
    /// Mean pauses between crashes, cuts and stops of nodes; `None`: none.
    pub crash_every: Option<Duration>,
    pub cut_every: Option<Duration>,
    pub stop_every: Option<Duration>,
    /// How far the clocks of two nodes may be apart.
    pub skew: Duration,
}

impl Rates {
    /// A network that only takes its time.
    pub const CALM: Rates = Rates {
        refused: 0,
        lost_reply: 0,
        late: 0,
        conflict: 0,
        lost_wake: 0,
        slow: 0,
        latency: Duration::from_micros(300),
        crash_every: None,
        cut_every: None,
        stop_every: None,
        skew: Duration::ZERO,
    };

    /// Each kind of trouble is there or not, and rare or frequent, by the seed.
    pub fn draw(world: &World) -> Rates {
        let rng = world.rng("rates", 0);
        let chance = |frequent: u64| match rng.below(3) {
            0 => 0,
            1 => frequent.div_ceil(10),
            _ => frequent,
        };
        let every = |seconds: u64| match rng.below(3) {
            0 => None,
            1 => Some(Duration::from_secs(seconds * 4)),
            _ => Some(Duration::from_secs(seconds)),
        };
        Rates {
            refused: chance(300),
            lost_reply: chance(500),
            late: chance(200),
            conflict: chance(1_000),
            lost_wake: chance(5_000),
            slow: chance(300),
            latency: Duration::from_micros([50, 300, 2_000][rng.below(3) as usize]),
            crash_every: every(6),
            cut_every: every(8),
            stop_every: every(8),
            skew: Duration::from_millis([0, 20, 1_500, 20_000][rng.below(4) as usize]),
        }
    }
}

/// The rates in force, and who is cut off.
pub struct Faults(Mutex<State>);

struct State {
    rates: Rates,
    cut: BTreeSet<usize>,
}

impl Faults {
    pub fn new(rates: Rates) -> Faults {
        Faults(Mutex::new(State { rates, cut: BTreeSet::new() }))
    }

    pub fn set(&self, rates: Rates) {
        self.state().rates = rates;
    }

    pub fn cut(&self, node: usize) {
        self.state().cut.insert(node);
    }

    pub fn heal(&self, node: usize) {
        self.state().cut.remove(&node);
    }

    pub fn is_cut(&self, node: usize) -> bool {
        self.state().cut.contains(&node)
    }

    pub fn draw(&self, rng: &SeededRng, of: impl Fn(&Rates) -> u64) -> bool {
        let chance = of(&self.state().rates);
        chance > 0 && rng.below(10_000) < chance
    }

    /// One way between a node and the store.
    pub fn latency(&self, rng: &SeededRng) -> Duration {
        let Rates { latency, slow, .. } = self.state().rates;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let one = Duration::from_micros(micros / 2 + rng.below(micros));
        if slow > 0 && rng.below(10_000) < slow { one * 100 } else { one }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
