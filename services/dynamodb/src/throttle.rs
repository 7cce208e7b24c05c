//! Provisioned throughput as token buckets with burst, where the operator wants AWS's limits. On-demand tables are held to
//! their own maximum, if they have one.
//!
//! Source: Developer Guide, "DynamoDB burst and adaptive capacity" (unused capacity of the last 300 seconds).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pileus_platform::{Cx, LimitsProfile};

use crate::capacity::{Consumed, Side};
use crate::error::DynamoError;
use crate::state::Dynamo;
use crate::table::{OnDemandLimits, Table, Throughput};

const BURST_SECONDS: f64 = 300.0;

/// Buckets by generation and side.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<HashMap<(u64, bool), Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    units: f64,
    rate: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, rate: f64, at: Duration) {
        let elapsed = at.saturating_sub(self.at).as_secs_f64();
        self.rate = rate;
        self.units = (self.units + elapsed * rate).min(rate * BURST_SECONDS);
        self.at = at;
    }
}

/// The place of a rate and its units a second.
type Rated = (u64, f64);

fn rate(is_on_demand: bool, throughput: &Throughput, limits: &OnDemandLimits, side: Side) -> Option<f64> {
    match (is_on_demand, side) {
        (false, Side::Read) => Some(throughput.read as f64),
        (false, Side::Write) => Some(throughput.write as f64),
        (true, Side::Read) => limits.read.map(|limit| limit as f64),
        (true, Side::Write) => limits.write.map(|limit| limit as f64),
    }
}

/// The limited places of a table: itself (with its local indexes) and its global indexes.
fn rated(table: &Table, index: Option<&str>, side: Side) -> Option<Rated> {
    let record = &table.record;
    match index.and_then(|name| table.index(name)).filter(|index| index.is_global) {
        Some(index) => rate(record.is_on_demand, &index.throughput, &index.on_demand, side)
            .map(|rate| (index.generation, rate)),
        None => rate(record.is_on_demand, &record.throughput, &record.on_demand, side)
            .map(|rate| (record.generation, rate)),
    }
}

impl Buckets {
    /// Whether anything may be taken at all: a bucket may go below zero by one request, whose size is not known before.
    fn is_open(&self, (generation, rate): Rated, side: Side, at: Duration) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((generation, side == Side::Write)).or_insert(Bucket {
            units: rate * BURST_SECONDS,
            rate,
            at,
        });
        bucket.refill(rate, at);
        bucket.units > 0.0
    }

    fn take(&self, generation: u64, side: Side, units: f64) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&(generation, side == Side::Write)) {
            bucket.units -= units;
        }
    }
}

/// Before a request: whether the table, the index that it reads, and the indexes that a write changes have capacity left.
///
/// # Errors
/// `ProvisionedThroughputExceededException`
pub fn admit(cx: &Cx, table: &Table, index: Option<&str>, side: Side) -> Result<(), DynamoError> {
    if cx.limits() != LimitsProfile::Aws {
        return Ok(());
    }
    let buckets = &cx.state::<Dynamo>().buckets;
    // In the cloud's time, which a test may move.
    let at = Duration::from_millis(u64::try_from(cx.now().as_millis()).unwrap_or(0));
    let global = table.record.indexes.iter().filter(|index| side == Side::Write && index.is_global);
    let places = std::iter::once(rated(table, index, side))
        .chain(global.map(|index| rated(table, Some(&index.name), side)));
    for place in places.flatten() {
        if !buckets.is_open(place, side, at) {
            return Err(exceeded());
        }
    }
    Ok(())
}

/// After a request: what it used.
pub fn charge(cx: &Cx, table: &Table, consumed: &Consumed, side: Side) {
    if cx.limits() != LimitsProfile::Aws {
        return;
    }
    let buckets = &cx.state::<Dynamo>().buckets;
    buckets.take(table.record.generation, side, consumed.table);
    for (name, units) in &consumed.indexes {
        if let Some((generation, _)) = rated(table, Some(name), side) {
            buckets.take(generation, side, *units);
        }
    }
}

/// `ProvisionedThroughputExceededException`
pub fn exceeded() -> DynamoError {
    DynamoError::modelled(
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_five_minutes_of_its_rate_and_fills_again() {
        let buckets = Buckets::default();
        let at = Duration::from_secs;
        assert!(buckets.is_open((7, 10.0), Side::Read, at(0)));
        buckets.take(7, Side::Read, 2_999.0);
        assert!(buckets.is_open((7, 10.0), Side::Read, at(0)));
        buckets.take(7, Side::Read, 11.0);
        assert!(!buckets.is_open((7, 10.0), Side::Read, at(0)));
        assert!(!buckets.is_open((7, 10.0), Side::Read, at(1)));
        assert!(buckets.is_open((7, 10.0), Side::Read, at(2)));
        assert!(buckets.is_open((7, 10.0), Side::Write, at(0)));
        assert!(buckets.is_open((8, 10.0), Side::Read, at(0)));
    }
}
