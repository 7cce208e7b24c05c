//! Access logs: one line a request, in the stage's own form, gathered in memory and written to CloudWatch Logs once a second.
//!
//! Source: Developer Guide, "Configure logging for HTTP APIs in API Gateway". Chosen: lines are written in the account's own name, as
//! enabling logs gives API Gateway the right to; a node that is killed loses the lines of its last second.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pileus_api_logs as logs;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::{Caller, Cx, Platform};

use super::context::{Facts, Outcome};
use super::rows::{AccessLogSettings, StageRow};
use crate::PRINCIPAL;

/// Lines that wait; further ones are dropped, and counted.
const MOST_WAITING: usize = 20_000;
/// Source: CloudWatch Logs API Reference, "PutLogEvents": 10,000 events, 1 MiB with 26 bytes for each.
const MOST_EVENTS: usize = 1_000;
const LONGEST_BATCH: usize = 900 << 10;
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    account: AccountId,
    region: Region,
    group: String,
    stream: String,
}

#[derive(Default)]
pub struct Lines(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    lines: Vec<(Destination, Timestamp, String)>,
    dropped: usize,
}

/// A line in the stage's form; what has no value is `-`.
pub fn render(format: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(format.len() * 2);
    let mut rest = format;
    while let Some(at) = rest.find("$context.") {
        out.push_str(&rest[..at]);
        rest = &rest[at + "$context.".len()..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..length].trim_end_matches('.');
        out.push_str(value(name).as_deref().filter(|value| !value.is_empty()).unwrap_or("-"));
        rest = &rest[name.len()..];
    }
    out.push_str(rest);
    out
}

fn destination(settings: &AccessLogSettings, facts: &Facts) -> Option<Destination> {
    let arn = settings.destination_arn.as_deref()?;
    let (_, group) = arn.split_once(":log-group:")?;
    let group = group.split(':').next().filter(|group| !group.is_empty())?.to_owned();
    let mut parts = arn.split(':').skip(3);
    let region = Region::parse(parts.next()?)?;
    let account = AccountId::parse(parts.next()?)?;
    let stream = format!("{}/{}", facts.target.id, facts.stage.replace('$', ""));
    Some(Destination { account, region, group, stream })
}

/// Leaves a line for a request that was answered.
pub fn leave(platform: &Platform, stage: &StageRow, facts: &Facts, outcome: &Outcome) {
    let Some(settings) = &stage.access_log_settings else { return };
    let Some(destination) = destination(settings, facts) else { return };
    let format = settings.format.as_deref().unwrap_or_default();
    let line = render(format, |name| outcome.variable(name).or_else(|| facts.variable(name)));
    let mut waiting = platform.state::<Lines>().0.lock().unwrap_or_else(PoisonError::into_inner);
    match waiting.lines.len() < MOST_WAITING {
        true => waiting.lines.push((destination, facts.at, line)),
        false => waiting.dropped += 1,
    }
}

/// Writes what waits, once a second.
#[allow(clippy::disallowed_methods)] // a frozen clock must not keep lines back
pub async fn write(platform: Platform) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let waiting = {
            let mut waiting = platform.state::<Lines>().0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        if waiting.dropped > 0 {
            tracing::warn!(lines = waiting.dropped, "access log lines were dropped: too many waited");
        }
        let mut sorted: BTreeMap<Destination, Vec<(Timestamp, String)>> = BTreeMap::new();
        for (destination, at, line) in waiting.lines {
            sorted.entry(destination).or_default().push((at, line));
        }
        for (destination, lines) in sorted {
            put_all(&platform, &destination, lines).await;
        }
    }
}

async fn put_all(platform: &Platform, destination: &Destination, mut lines: Vec<(Timestamp, String)>) {
    let Destination { account, region, group, .. } = destination;
    let cx =
        Cx::background(platform, PRINCIPAL, *account, region.clone()).with_caller(Caller::root(*account));
    lines.sort_by_key(|(at, _)| *at);
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut lines = lines.into_iter().peekable();
    while let Some((at, line)) = lines.next() {
        bytes += line.len() + 26;
        batch.push(logs::InputLogEvent { timestamp: Some(at.as_millis()), message: Some(line) });
        let next = lines.peek().map_or(0, |(_, line)| line.len() + 26);
        if lines.peek().is_none() || batch.len() >= MOST_EVENTS || bytes + next > LONGEST_BATCH {
            if let Err(fault) = put(&cx, destination, std::mem::take(&mut batch)).await {
                tracing::warn!(group, code = %fault.code, "access log lines cannot be written: {}", fault.message);
            }
            bytes = 0;
        }
    }
}

async fn put(
    cx: &Cx,
    destination: &Destination,
    events: Vec<logs::InputLogEvent>,
) -> Result<(), pileus_platform::Fault> {
    let input = logs::PutLogEventsRequest {
        log_group_name: Some(destination.group.clone()),
        log_stream_name: Some(destination.stream.clone()),
        log_events: Some(events),
        ..Default::default()
    };
    match cx.call(logs::PUT_LOG_EVENTS, input.clone()).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.code == "ResourceNotFoundException" => {
            let stream = logs::CreateLogStreamRequest {
                log_group_name: Some(destination.group.clone()),
                log_stream_name: Some(destination.stream.clone()),
            };
            match cx.call(logs::CREATE_LOG_STREAM, stream).await {
                Ok(_) => {}
                Err(fault) if fault.code == "ResourceAlreadyExistsException" => {}
                Err(fault) => return Err(fault),
            }
            cx.call(logs::PUT_LOG_EVENTS, input).await.map(|_| ())
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_what_their_form_names() {
        let value = |name: &str| match name {
            "requestId" => Some("r1".to_owned()),
            "error.message" => Some("no".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        let cases = [
            ("$context.requestId $context.status", "r1 -"),
            (r#"{"id":"$context.requestId","e":"$context.error.message"}"#, r#"{"id":"r1","e":"no"}"#),
            ("$context.requestId.", "r1."),
            ("$context.empty", "-"),
            ("plain $ctx", "plain $ctx"),
        ];
        for (format, expected) in cases {
            assert_eq!(render(format, value), expected, "{format}");
        }
    }
}
