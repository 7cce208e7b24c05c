//! Token buckets: a rate, and how many may come at once.
//!
//! Source: Developer Guide, "Throttle your HTTP APIs for better throughput in API Gateway". Chosen: every node has buckets of its own,
//! as AWS applies its limits "on a best-effort basis".

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A bucket of tokens; every request takes one.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// Full at `now`, a time that only grows. A rate above zero always lets some request through.
    pub fn new(per_second: f64, burst: f64, now: Duration) -> Bucket {
        Bucket { per_second, burst, state: Mutex::new(State { tokens: burst, at: now }) }
    }

    /// Takes a token; false when there is none.
    pub fn take(&self, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_sub(state.at).as_secs_f64();
        state.tokens = (state.tokens + passed * self.per_second).min(self.burst);
        state.at = state.at.max(now);
        if state.tokens < 1.0 {
            return false;
        }
        state.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let at = Duration::from_millis;
        let bucket = Bucket::new(10.0, 5.0, at(0));
        let passed = |from: u64, requests: usize| (0..requests).filter(|_| bucket.take(at(from))).count();
        assert_eq!(passed(0, 20), 5);
        assert_eq!(passed(100, 20), 1);
        assert_eq!(passed(50, 1), 0, "time does not go back");
        assert_eq!(passed(10_000, 20), 5);
        assert!(!Bucket::new(0.0, 0.0, at(0)).take(at(1_000_000)));
    }
}
