//! Log lines of functions on their way to CloudWatch Logs, written with the function's role: a role that may not write logs writes
//! none, as in AWS.
//!
//! Source: AWS Lambda Developer Guide, "Sending Lambda function logs to CloudWatch Logs".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pileus_api_logs as api;
use pileus_core::{AccountId, Region};
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{LogEvent, LogSink};
use tokio::sync::Notify;

use crate::role;

/// Bytes of log lines that wait on one node: what comes above is lost, and said once.
const MAX_WAITING: usize = 64 << 20;
/// Source: CloudWatch Logs API Reference, "PutLogEvents" (a batch's size and count, and what an event counts beyond its text).
const MAX_BATCH_BYTES: usize = 1_048_576;
const MAX_BATCH_EVENTS: usize = 10_000;
const EVENT_OVERHEAD: usize = 26;

/// Where lines wait. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shipper(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    arrived: Notify,
}

#[derive(Default)]
struct Lines {
    streams: HashMap<Stream, Vec<LogEvent>>,
    bytes: usize,
    lost: u64,
}

/// A log stream, and as whom it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stream {
    account: AccountId,
    region: Region,
    role: Arc<str>,
    function_name: Arc<str>,
    group: String,
    stream: String,
}

/// The log sink of one function.
pub struct Sink {
    pub shipper: Shipper,
    pub account: AccountId,
    pub region: Region,
    pub role: Arc<str>,
    pub function_name: Arc<str>,
}

impl LogSink for Sink {
    fn write(&self, log_group: &str, stream: &str, events: Vec<LogEvent>) {
        let stream = Stream {
            account: self.account,
            region: self.region.clone(),
            role: self.role.clone(),
            function_name: self.function_name.clone(),
            group: log_group.to_owned(),
            stream: stream.to_owned(),
        };
        self.shipper.push(stream, events);
    }
}

impl Shipper {
    fn push(&self, stream: Stream, events: Vec<LogEvent>) {
        let size: usize = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD).sum();
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.bytes + size > MAX_WAITING {
            if lines.lost == 0 {
                tracing::warn!("log lines of functions come faster than they are stored, and some are lost");
            }
            lines.lost += events.len() as u64;
            return;
        }
        lines.bytes += size;
        lines.streams.entry(stream).or_default().extend(events);
        drop(lines);
        self.0.arrived.notify_one();
    }

    fn take(&self) -> HashMap<Stream, Vec<LogEvent>> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.bytes = 0;
        lines.lost = 0;
        std::mem::take(&mut lines.streams)
    }
}

/// Stores what waits, stream by stream, for as long as the node runs.
pub async fn run(platform: Platform) {
    let shipper = platform.state::<crate::state::Lambda>().shipper.clone();
    loop {
        shipper.0.arrived.notified().await;
        for (stream, events) in shipper.take() {
            store(&platform, &stream, events).await;
        }
    }
}

async fn store(platform: &Platform, stream: &Stream, events: Vec<LogEvent>) {
    let cx = Cx::background(platform, role::PRINCIPAL, stream.account, stream.region.clone());
    let Ok(cx) = role::assume(&cx, &stream.role, &stream.function_name).await else { return };
    for batch in batches(events) {
        let request = || api::PutLogEventsRequest {
            log_group_name: Some(stream.group.clone()),
            log_stream_name: Some(stream.stream.clone()),
            log_events: Some(batch.clone()),
            ..api::PutLogEventsRequest::default()
        };
        let mut answer = cx.call(api::PUT_LOG_EVENTS, request()).await.map(|_| ());
        if answer.as_ref().is_err_and(|fault| fault.code == "ResourceNotFoundException") {
            create(&cx, stream).await;
            answer = cx.call(api::PUT_LOG_EVENTS, request()).await.map(|_| ());
        }
        if let Err(fault) = answer {
            tracing::debug!(group = stream.group, %fault, "log lines of a function are not stored");
            return;
        }
    }
}

/// Makes the stream, and the group if it is not there; each if the role may.
async fn create(cx: &Cx, stream: &Stream) {
    let group = api::CreateLogGroupRequest {
        log_group_name: Some(stream.group.clone()),
        ..api::CreateLogGroupRequest::default()
    };
    let new = || api::CreateLogStreamRequest {
        log_group_name: Some(stream.group.clone()),
        log_stream_name: Some(stream.stream.clone()),
    };
    // What is wrong here shows when the lines are written.
    if cx.call(api::CREATE_LOG_STREAM, new()).await.is_err() {
        let _ = cx.call(api::CREATE_LOG_GROUP, group).await;
        let _ = cx.call(api::CREATE_LOG_STREAM, new()).await;
    }
}

/// In the order of their moments, in batches that CloudWatch Logs takes.
fn batches(mut events: Vec<LogEvent>) -> Vec<Vec<api::InputLogEvent>> {
    events.sort_by_key(|event| event.time);
    let (mut all, mut batch, mut size) = (Vec::new(), Vec::new(), 0);
    for event in events {
        // An empty line is no event to CloudWatch Logs.
        if event.message.is_empty() {
            continue;
        }
        let length = event.message.len() + EVENT_OVERHEAD;
        if !batch.is_empty() && (size + length > MAX_BATCH_BYTES || batch.len() == MAX_BATCH_EVENTS) {
            all.push(std::mem::take(&mut batch));
            size = 0;
        }
        size += length;
        batch.push(api::InputLogEvent {
            timestamp: Some(event.time.as_millis()),
            message: Some(event.message),
        });
    }
    if !batch.is_empty() {
        all.push(batch);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::Timestamp;

    #[test]
    fn lines_are_sent_in_order_and_in_batches_that_fit() {
        let line =
            |millis, length| LogEvent { time: Timestamp::from_millis(millis), message: "x".repeat(length) };
        let sent = batches(vec![line(2, 700_000), line(1, 5), line(3, 0), line(4, 700_000)]);
        let shape: Vec<Vec<(i64, usize)>> = sent
            .iter()
            .map(|batch| {
                batch
                    .iter()
                    .map(|event| {
                        (event.timestamp.unwrap_or(0), event.message.as_ref().map_or(0, String::len))
                    })
                    .collect()
            })
            .collect();
        assert_eq!(shape, [vec![(1, 5), (2, 700_000)], vec![(4, 700_000)]]);
        assert_eq!(batches((0..10_001).map(|n| line(n, 1)).collect()).len(), 2);
    }
}
