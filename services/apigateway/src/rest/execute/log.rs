//! Execution logs and access logs on their way to CloudWatch Logs, written with the role of the account's settings: a role that may
//! not write logs writes none, as in AWS. A node that is killed loses what waits, a second's lines at most.
//!
//! Source: API Gateway Developer Guide, "Set up CloudWatch logging for REST APIs in API Gateway".

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pileus_api_logs as logs;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::{Cx, Fault, Platform};
use tokio::sync::Notify;

use crate::PRINCIPAL;
use crate::rest::account;

/// Bytes of lines that wait on one node: what comes above is lost, and said once.
const MAX_WAITING: usize = 16 << 20;
/// Source: CloudWatch Logs API Reference, "PutLogEvents".
const MAX_BATCH_BYTES: usize = 900 << 10;
const MAX_BATCH_EVENTS: usize = 5_000;
const OVERHEAD: usize = 26;
/// Longest part of a payload in a line. Source: "Set up CloudWatch logging" (log events are truncated at 1,024 bytes).
pub const MAX_PART: usize = 1_024;

/// The lines of one request's execution.
#[derive(Debug, Default)]
pub struct Trail {
    pub level: Level,
    /// Whole requests and responses are logged, too.
    pub traces: bool,
    pub lines: Vec<(Timestamp, String)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Off,
    Error,
    Info,
}

impl Level {
    pub fn read(text: Option<&str>) -> Level {
        match text {
            Some("INFO") => Level::Info,
            Some("ERROR") => Level::Error,
            _ => Level::Off,
        }
    }
}

impl Trail {
    pub fn info(&mut self, cx: &Cx, line: impl FnOnce() -> String) {
        self.push(cx, Level::Info, line);
    }

    /// What data tracing shows.
    pub fn trace(&mut self, cx: &Cx, line: impl FnOnce() -> String) {
        if self.traces {
            self.push(cx, Level::Info, line);
        }
    }

    pub fn error(&mut self, cx: &Cx, line: impl FnOnce() -> String) {
        self.push(cx, Level::Error, line);
    }

    fn push(&mut self, cx: &Cx, level: Level, line: impl FnOnce() -> String) {
        if self.level >= level {
            self.lines.push((cx.clock().now(), line()));
        }
    }
}

/// The beginning of a payload, as a line shows it.
pub fn part(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_PART)];
    let text = String::from_utf8_lossy(cut);
    if cut.len() < bytes.len() { format!("{text} [TRUNCATED]") } else { text.into_owned() }
}

/// A log stream of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    pub account: AccountId,
    pub region: Region,
    pub group: String,
    pub stream: String,
}

#[derive(Default)]
pub struct Shipper {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    lines: HashMap<Destination, Vec<(Timestamp, String)>>,
    bytes: usize,
    lost: usize,
}

impl Shipper {
    pub fn leave(&self, destination: Destination, lines: Vec<(Timestamp, String)>) {
        let size: usize = lines.iter().map(|(_, line)| line.len() + OVERHEAD).sum();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + size > MAX_WAITING {
            if waiting.lost == 0 {
                tracing::warn!("log lines of APIs come faster than they are stored, and some are lost");
            }
            waiting.lost += lines.len();
            return;
        }
        waiting.bytes += size;
        waiting.lines.entry(destination).or_default().extend(lines);
        drop(waiting);
        self.arrived.notify_one();
    }

    fn take(&self) -> HashMap<Destination, Vec<(Timestamp, String)>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).lines
    }
}

/// Stores what waits, for as long as the node runs.
pub async fn run(platform: Platform) {
    let shipper = platform.state::<Shipper>();
    loop {
        shipper.arrived.notified().await;
        for (destination, lines) in shipper.take() {
            store(&platform, &destination, lines).await;
        }
    }
}

async fn store(platform: &Platform, to: &Destination, mut lines: Vec<(Timestamp, String)>) {
    let cx = Cx::background(platform, PRINCIPAL, to.account, to.region.clone());
    let settings = account::load(platform.store(), to.account, &to.region).await;
    let Some(role) = settings.ok().and_then(|account| account.cloudwatch_role_arn) else { return };
    let Ok(cx) = cx.as_role(&role, PRINCIPAL, "BackplaneAssumeRoleSession").await else {
        tracing::debug!(role, "the role that writes the logs of APIs cannot be assumed");
        return;
    };
    lines.sort_by_key(|(at, _)| *at);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut lines = lines.into_iter().peekable();
    while let Some((at, line)) = lines.next() {
        bytes += line.len() + OVERHEAD;
        batch.push(logs::InputLogEvent { timestamp: Some(at.as_millis()), message: Some(line) });
        let next = lines.peek().map_or(0, |(_, line)| line.len() + OVERHEAD);
        if lines.peek().is_none() || batch.len() >= MAX_BATCH_EVENTS || bytes + next > MAX_BATCH_BYTES {
            if let Err(fault) = put(&cx, to, std::mem::take(&mut batch)).await {
                tracing::debug!(group = to.group, %fault, "log lines of an API are not stored");
            }
            bytes = 0;
        }
    }
}

async fn put(cx: &Cx, to: &Destination, events: Vec<logs::InputLogEvent>) -> Result<(), Fault> {
    let input = logs::PutLogEventsRequest {
        log_group_name: Some(to.group.clone()),
        log_stream_name: Some(to.stream.clone()),
        log_events: Some(events),
        ..Default::default()
    };
    match cx.call(logs::PUT_LOG_EVENTS, input.clone()).await {
        Err(fault) if fault.code == "ResourceNotFoundException" => {
            let stream = || logs::CreateLogStreamRequest {
                log_group_name: Some(to.group.clone()),
                log_stream_name: Some(to.stream.clone()),
            };
            // What is wrong here shows when the lines are written.
            if cx.call(logs::CREATE_LOG_STREAM, stream()).await.is_err() {
                let group = logs::CreateLogGroupRequest {
                    log_group_name: Some(to.group.clone()),
                    ..Default::default()
                };
                let _ = cx.call(logs::CREATE_LOG_GROUP, group).await;
                let _ = cx.call(logs::CREATE_LOG_STREAM, stream()).await;
            }
            cx.call(logs::PUT_LOG_EVENTS, input).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}
