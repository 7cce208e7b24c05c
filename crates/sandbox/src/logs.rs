//! What an environment logs: the function's own lines, and the platform's START, END, REPORT and INIT lines.
//!
//! Source: AWS Lambda Developer Guide, "Sending Lambda function logs to CloudWatch Logs", and recordings (facts of the project).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::Timestamp;
use serde_json::{Value, json};

use crate::spec::{InvokeReport, InvokeStatus, LogEvent, LogFormat, LogSink};
use crate::telemetry::Gathered;

/// Our own runtime clients mark records of several lines: this, a length of four bytes, the text. Whatever else is written is
/// cut into lines.
pub const RECORD: &[u8; 4] = b"\x1ePLR";
/// `LogResult` holds this much.
const TAIL: usize = 4_096;
/// Longest event that CloudWatch Logs takes.
const MAX_EVENT: usize = 256 * 1024 - 26;

/// Cuts a stream of output into events. Pure.
#[derive(Default)]
pub struct Splitter {
    pending: Vec<u8>,
}

impl Splitter {
    /// Takes what was written and gives back the events that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut at = 0;
        while let Some(length) = self.complete(at, &mut events) {
            at += length;
        }
        self.pending.drain(..at);
        if self.pending.len() > MAX_EVENT && !self.pending.starts_with(RECORD) {
            events.extend(self.finish());
        }
        events
    }

    /// What has no end yet: the function stopped writing.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| text(&rest))
    }

    /// Takes one event from `at`; gives its length with its border.
    fn complete(&self, at: usize, events: &mut Vec<String>) -> Option<usize> {
        let rest = self.pending.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some(record) = rest.strip_prefix(RECORD.as_slice()) {
            let length = u32::from_be_bytes(record.get(..4)?.try_into().ok()?) as usize;
            if length <= 16 * MAX_EVENT {
                let body = record.get(4..4 + length)?;
                events.extend(body.chunks(MAX_EVENT).map(text));
                return Some(8 + length);
            }
        }
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        events.extend(rest[..end].chunks(MAX_EVENT).map(text));
        if end == 0 {
            events.push(String::new());
        }
        Some(end + 1)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The log of one environment.
pub struct Log {
    sink: Arc<dyn LogSink>,
    group: String,
    pub stream: String,
    format: LogFormat,
    memory_mb: u32,
    splitter: Splitter,
    tail: Vec<u8>,
    pending: Vec<LogEvent>,
    hides_platform_info: bool,
    /// For extensions that asked to be told.
    pub telemetry: Gathered,
}

impl Log {
    pub fn new(spec: &crate::FunctionSpec, stream: String) -> Log {
        let hides = spec.log_format == LogFormat::Json && spec.system_log_level.as_deref() == Some("WARN");
        Log {
            sink: spec.logs.clone(),
            group: spec.log_group.clone(),
            stream,
            format: spec.log_format,
            memory_mb: spec.memory_mb,
            splitter: Splitter::default(),
            tail: Vec::new(),
            pending: Vec::new(),
            hides_platform_info: hides,
            telemetry: Gathered::default(),
        }
    }

    /// Hands on what has gathered.
    pub fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.sink.write(&self.group, &self.stream, std::mem::take(&mut self.pending));
        }
    }

    pub fn output(&mut self, now: Timestamp, bytes: &[u8]) {
        for line in self.splitter.feed(bytes) {
            self.telemetry.push(now, "function", || json!(line));
            self.push(now, line, true);
        }
    }

    pub fn end_output(&mut self, now: Timestamp) {
        if let Some(line) = self.splitter.finish() {
            self.push(now, line, true);
        }
    }

    fn push(&mut self, time: Timestamp, message: String, is_line: bool) {
        self.tail.extend_from_slice(message.as_bytes());
        if is_line {
            self.tail.push(b'\n');
        }
        if self.tail.len() > 4 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        if !message.is_empty() {
            self.pending.push(LogEvent { time, message });
        }
    }

    /// The last 4 KB since `start`.
    pub fn tail(&self) -> Bytes {
        Bytes::copy_from_slice(&self.tail[self.tail.len().saturating_sub(TAIL)..])
    }

    fn platform(&mut self, now: Timestamp, kind: &str, line: String, record: Value) {
        self.telemetry.push(now, &format!("platform.{kind}"), || record.clone());
        match self.format {
            LogFormat::Text => self.push(now, line, false),
            LogFormat::Json if self.hides_platform_info => {}
            LogFormat::Json => {
                let event =
                    json!({"time": millis(now), "type": format!("platform.{kind}"), "record": record});
                self.push(now, event.to_string(), true);
            }
        }
    }

    pub fn init_start(&mut self, now: Timestamp, runtime: &str, initialization: &str) {
        let arn = format!("arn:aws:lambda:::runtime:{runtime}");
        let line = format!("INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {arn}\n");
        let record = json!({"initializationType": initialization, "phase": "init", "runtimeVersion": runtime, "runtimeVersionArn": arn});
        self.platform(now, "initStart", line, record);
    }

    /// INIT_REPORT of an init that failed.
    pub fn init_failed(
        &mut self,
        now: Timestamp,
        took: Duration,
        phase: &str,
        status: &str,
        error_type: Option<&str>,
    ) {
        let kind = error_type.map(|kind| format!("\tError Type: {kind}")).unwrap_or_default();
        let line = format!(
            "INIT_REPORT Init Duration: {:.2} ms\tPhase: {phase}\tStatus: {status}{kind}\n",
            ms(took)
        );
        let record = json!({"phase": phase, "status": status, "errorType": error_type, "metrics": {"durationMs": two(took)}});
        self.platform(now, "initReport", line, record);
    }

    /// Told to extensions alone.
    pub fn init_done(&mut self, now: Timestamp, took: Duration, initialization: &str, phase: &str) {
        self.telemetry.push(
            now,
            "platform.initRuntimeDone",
            || json!({"initializationType": initialization, "phase": phase, "status": "success"}),
        );
        self.telemetry.push(now, "platform.initReport", || {
            let metrics = json!({"durationMs": two(took)});
            json!({"initializationType": initialization, "phase": phase, "status": "success", "metrics": metrics})
        });
    }

    pub fn start(&mut self, now: Timestamp, request_id: &str, version: &str) {
        let line = format!("START RequestId: {request_id} Version: {version}\n");
        self.platform(now, "start", line, json!({"requestId": request_id, "version": version}));
    }

    /// A failure that the function could not log itself.
    pub fn fault(&mut self, now: Timestamp, line: String) {
        self.push(now, line, false);
    }

    /// A new invocation: `tail` tells from here on.
    pub fn cut_tail(&mut self) {
        self.tail.clear();
    }

    pub fn end(
        &mut self,
        now: Timestamp,
        request_id: &str,
        report: &InvokeReport,
        error_type: Option<&str>,
        trace: Option<&str>,
    ) {
        if self.format == LogFormat::Text {
            self.push(now, format!("END RequestId: {request_id}\n"), false);
        }
        let status = match report.status {
            InvokeStatus::Success => "success",
            InvokeStatus::Timeout => "timeout",
            InvokeStatus::Error | InvokeStatus::Failure => "error",
        };
        self.telemetry.push(now, "platform.runtimeDone", || {
            json!({"requestId": request_id, "status": status, "metrics": {"durationMs": two(report.duration)}})
        });
        let mut line = format!(
            "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
            ms(report.duration),
            report.billed.as_millis(),
            self.memory_mb,
            report.max_memory_mb
        );
        let mut metrics = json!({"durationMs": two(report.duration), "billedDurationMs": report.billed.as_millis() as u64,
            "memorySizeMB": self.memory_mb, "maxMemoryUsedMB": report.max_memory_mb});
        if let Some(init) = report.init {
            line.push_str(&format!("Init Duration: {:.2} ms\t", ms(init)));
            metrics["initDurationMs"] = json!(two(init));
        }
        if let Some(restore) = report.restore {
            let billed = restore.as_micros().div_ceil(1_000);
            line.push_str(&format!(
                "Restore Duration: {:.2} ms\tBilled Restore Duration: {billed} ms\t",
                ms(restore)
            ));
            metrics["restoreDurationMs"] = json!(two(restore));
            metrics["billedRestoreDurationMs"] = json!(billed as u64);
        }
        match report.status {
            InvokeStatus::Timeout => line.push_str("Status: timeout\t"),
            InvokeStatus::Failure => {
                line.push_str(&format!("Status: error\tError Type: {}\t", error_type.unwrap_or("Unknown")));
            }
            InvokeStatus::Success | InvokeStatus::Error => {}
        }
        line.push('\n');
        if let Some(trace) = trace.filter(|trace| trace.contains("Sampled=1")) {
            let root = trace.split(';').find_map(|part| part.strip_prefix("Root=")).unwrap_or_default();
            line.push_str(&format!("XRAY TraceId: {root}\tSampled: true\t\n"));
        }
        let record = json!({"requestId": request_id, "metrics": metrics, "status": status});
        self.platform(now, "report", line, record);
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn two(duration: Duration) -> f64 {
    (ms(duration) * 1_000.0).round() / 1_000.0
}

/// With three digits always, as in AWS's JSON logs.
pub fn millis(time: Timestamp) -> String {
    let (year, month, day, hour, minute, second) = time.civil();
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        time.subsec_nanos() / 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines_and_records_wherever_it_is_broken() {
        let mut whole = b"one\ntwo\n".to_vec();
        whole.extend_from_slice(RECORD);
        whole.extend_from_slice(&9u32.to_be_bytes());
        whole.extend_from_slice(b"three\nand");
        whole.extend_from_slice(b"four\nlast");
        for cut in 0..whole.len() {
            let mut splitter = Splitter::default();
            let mut events = splitter.feed(&whole[..cut]);
            events.extend(splitter.feed(&whole[cut..]));
            events.extend(splitter.finish());
            assert_eq!(events, ["one", "two", "three\nand", "four", "last"], "cut at {cut}");
        }
    }

    #[test]
    fn a_forged_record_of_any_length_neither_panics_nor_holds_the_log_up() {
        let mut splitter = Splitter::default();
        let mut forged = RECORD.to_vec();
        forged.extend_from_slice(&u32::MAX.to_be_bytes());
        forged.extend_from_slice(b"x\nnext\n");
        assert_eq!(splitter.feed(&forged).len(), 2);
    }
}
