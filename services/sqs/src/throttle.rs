//! AWS's request rates of FIFO queues, where the operator wants them.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS FIFO queue quotas", "Troubleshoot FIFO throttling issues in Amazon SQS":
//! 300 calls a second for each action of a queue, a batch being one call; a high-throughput queue has a far higher quota,
//! which is not enforced here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pileus_platform::{Cx, LimitsProfile};

use crate::error::SqsError;
use crate::queue::Queue;
use crate::queue::attributes::ThroughputLimit;

const CALLS_PER_SECOND: u32 = 300;

/// One call, which counts once however often its transaction runs.
pub struct Call {
    action: &'static str,
    is_counted: AtomicBool,
}

impl Call {
    pub fn new(action: &'static str) -> Call {
        Call { action, is_counted: AtomicBool::new(false) }
    }
}

/// Calls of this second, by queue and action.
#[derive(Default)]
pub struct Throttle(Mutex<Window>);

#[derive(Default)]
struct Window {
    second: i64,
    calls: HashMap<(u64, &'static str), u32>,
}

impl Throttle {
    /// Counts a call.
    ///
    /// # Errors
    /// `RequestThrottled` beyond AWS's quota, when the node enforces AWS's quotas.
    pub fn admit(&self, cx: &Cx, queue: &Queue, call: &Call) -> Result<(), SqsError> {
        let limit = queue.record.attributes.fifo.as_ref().map(|fifo| fifo.throughput_limit);
        if cx.limits() != LimitsProfile::Aws || limit != Some(ThroughputLimit::PerQueue) {
            return Ok(());
        }
        if call.is_counted.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // A refused transaction may run again, and is refused again.
        let admitted = self.count(cx.now().as_secs(), queue.record.id, call.action);
        admitted.inspect_err(|_| call.is_counted.store(false, Ordering::Relaxed))
    }

    fn count(&self, second: i64, queue: u64, action: &'static str) -> Result<(), SqsError> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            *window = Window { second, calls: HashMap::new() };
        }
        let calls = window.calls.entry((queue, action)).or_default();
        *calls += 1;
        if *calls > CALLS_PER_SECOND { Err(SqsError::RequestThrottled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_301_within_a_second_is_throttled() {
        let throttle = Throttle::default();
        for _ in 0..300 {
            assert!(throttle.count(1, 7, "SendMessage").is_ok());
        }
        assert!(throttle.count(1, 7, "SendMessage").is_err());
        assert!(throttle.count(1, 7, "ReceiveMessage").is_ok());
        assert!(throttle.count(1, 8, "SendMessage").is_ok());
        assert!(throttle.count(2, 7, "SendMessage").is_ok());
    }
}
