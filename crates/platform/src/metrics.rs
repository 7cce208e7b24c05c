//! Counters of what the node did, for `/metrics` in Prometheus's text format.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Requests by service, operation and code, with a latency histogram per operation.
#[derive(Default)]
pub struct Metrics {
    operations: RwLock<HashMap<(&'static str, &'static str), Arc<OperationMetrics>>>,
}

#[derive(Default)]
struct OperationMetrics {
    /// One per bound below, and one for all slower.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    total_us: AtomicU64,
    succeeded: AtomicU64,
    /// Error codes are AWS's, so there are few.
    failed: RwLock<HashMap<String, u64>>,
}

const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 20_000_000];
const MAX_CODES: usize = 64;

impl Metrics {
    /// `code` is the error code, `None` for success.
    pub fn record(&self, service: &'static str, operation: &'static str, code: Option<&str>, took: Duration) {
        let metrics = self.operation(service, operation);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS_US.len());
        metrics.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        metrics.total_us.fetch_add(took, Ordering::Relaxed);
        match code {
            None => {
                metrics.succeeded.fetch_add(1, Ordering::Relaxed);
            }
            Some(code) => {
                let mut failed = metrics.failed.write().unwrap_or_else(PoisonError::into_inner);
                let code = if failed.len() < MAX_CODES || failed.contains_key(code) { code } else { "other" };
                *failed.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    fn operation(&self, service: &'static str, operation: &'static str) -> Arc<OperationMetrics> {
        let known = self.operations.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = known.get(&(service, operation)) {
            return metrics.clone();
        }
        drop(known);
        let mut known = self.operations.write().unwrap_or_else(PoisonError::into_inner);
        known.entry((service, operation)).or_default().clone()
    }

    /// The text format that Prometheus reads.
    pub fn render(&self) -> String {
        let known = self.operations.read().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = known.iter().collect();
        sorted.sort_by_key(|(name, _)| **name);
        let mut requests = String::from("# TYPE pileus_requests_total counter\n");
        let mut durations = String::from("# TYPE pileus_request_duration_seconds histogram\n");
        for ((service, operation), metrics) in sorted {
            let labels = format!("service=\"{service}\",operation=\"{operation}\"");
            let succeeded = metrics.succeeded.load(Ordering::Relaxed);
            let _ = writeln!(requests, "pileus_requests_total{{{labels},code=\"ok\"}} {succeeded}");
            let failed = metrics.failed.read().unwrap_or_else(PoisonError::into_inner);
            for (code, count) in failed.iter() {
                let code: String =
                    code.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').collect();
                let _ = writeln!(requests, "pileus_requests_total{{{labels},code=\"{code}\"}} {count}");
            }
            let name = "pileus_request_duration_seconds";
            let mut cumulative = 0;
            for (bucket, bound) in metrics.buckets.iter().zip(BOUNDS_US) {
                cumulative += bucket.load(Ordering::Relaxed);
                let bound = bound as f64 / 1e6;
                let _ = writeln!(durations, "{name}_bucket{{{labels},le=\"{bound}\"}} {cumulative}");
            }
            cumulative += metrics.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
            let sum = metrics.total_us.load(Ordering::Relaxed) as f64 / 1e6;
            let _ = writeln!(durations, "{name}_bucket{{{labels},le=\"+Inf\"}} {cumulative}");
            let _ =
                writeln!(durations, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {cumulative}");
        }
        requests + &durations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered() {
        let metrics = Metrics::default();
        metrics.record("sqs", "SendMessage", None, Duration::from_micros(120));
        metrics.record("sqs", "SendMessage", Some("AccessDenied"), Duration::from_secs(60));
        let text = metrics.render();
        for line in [
            "pileus_requests_total{service=\"sqs\",operation=\"SendMessage\",code=\"ok\"} 1",
            "pileus_requests_total{service=\"sqs\",operation=\"SendMessage\",code=\"AccessDenied\"} 1",
            "pileus_request_duration_seconds_bucket{service=\"sqs\",operation=\"SendMessage\",le=\"0.0001\"} 0",
            "pileus_request_duration_seconds_bucket{service=\"sqs\",operation=\"SendMessage\",le=\"0.00025\"} 1",
            "pileus_request_duration_seconds_bucket{service=\"sqs\",operation=\"SendMessage\",le=\"+Inf\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
