//! Handing an invocation to the runtime, and how it ends: outcome, END and REPORT.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;

impl Driver {
    pub(super) fn deliver(&mut self) {
        if let Some(restore) = self.runtime_restore.take() {
            self.restoring = Some(self.monotonic());
            // One that went away meanwhile is seen by its exit.
            let _ = restore.send(());
            return;
        }
        let Some(running) = &self.job else { return };
        let invocation = &running.job.invocation;
        let deadline = running.deadline.as_millis().to_string();
        let mut headers = HeaderMap::with_capacity(10);
        let pairs = [
            ("content-type", Some("application/json")),
            ("lambda-runtime-aws-request-id", Some(invocation.request_id.as_str())),
            ("lambda-runtime-deadline-ms", Some(deadline.as_str())),
            ("lambda-runtime-invoked-function-arn", Some(invocation.invoked_arn.as_str())),
            ("lambda-runtime-trace-id", Some(running.trace.as_str())),
            ("lambda-runtime-client-context", invocation.client_context.as_deref()),
            ("lambda-runtime-cognito-identity", invocation.cognito_identity.as_deref()),
            ("lambda-runtime-aws-tenant-id", invocation.tenant_id.as_deref()),
        ];
        for (name, value) in pairs {
            // A value that no header can carry (a line break) is left out rather than let into the next line.
            if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let delivery = Delivery { headers, payload: invocation.payload.clone() };
        self.send_invoke_events();
        if let Some(next) = self.runtime_next.take() {
            // A runtime that went away meanwhile is seen by its exit.
            let _ = next.send(delivery);
        }
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        let Some(mut running) = self.job.take() else { return };
        let mut buffer = [0u8; 16 * 1024];
        self.read_output(&mut buffer);
        let now = self.now();
        self.log.end_output(now);
        let answer = running.answer.take();
        let (result, status) = self.result(ending, answer, &running);
        let duration = self.monotonic().saturating_sub(running.started).min(self.most(status));
        let report = InvokeReport {
            duration,
            billed: Duration::from_millis(duration.as_micros().div_ceil(1_000).max(1) as u64),
            init: self.init_took.take().filter(|_| self.spec.initialization == Initialization::OnDemand),
            restore: self.restore_took.take(),
            max_memory_mb: self.max_memory_mb(),
            status,
        };
        let id = running.job.invocation.request_id.clone();
        let error_type = match &result {
            InvokeResult::FunctionError { error_type, .. } => Some(error_type.clone()),
            InvokeResult::Success { .. } => None,
        };
        if !running.has_start_line {
            self.log.start(now, &id, &self.spec.version);
        }
        self.log.end(now, &id, &report, error_type.as_deref(), Some(&running.trace));
        let outcome =
            InvokeOutcome { result, log_tail: self.log.tail(), report, log_stream: self.log.stream.clone() };
        self.log.cut_tail();
        self.log.flush();
        self.engine.finished();
        hand_over(running.job, outcome);
    }

    /// A timed-out invocation took its timeout, whatever the timer's own delay.
    fn most(&self, status: InvokeStatus) -> Duration {
        if status == InvokeStatus::Timeout { self.spec.timeout } else { Duration::MAX }
    }

    fn result(
        &mut self,
        ending: Ending,
        answer: Option<Answer>,
        running: &Running,
    ) -> (InvokeResult, InvokeStatus) {
        let id = &running.job.invocation.request_id;
        let now = self.now();
        let seconds = self.spec.timeout.as_secs_f64();
        let fault = |kind: &str, why: String| {
            let payload = json!({"errorType": kind, "errorMessage": format!("RequestId: {id} Error: {why}")});
            InvokeResult::FunctionError {
                error_type: kind.to_owned(),
                payload: Bytes::from(payload.to_string()),
            }
        };
        match ending {
            Ending::Answered => answered(answer),
            Ending::TimedOut => {
                let time = crate::logs::millis(now);
                self.log.fault(now, format!("{time} {id} Task timed out after {seconds:.2} seconds\n\n"));
                (
                    fault("Sandbox.Timedout", format!("Task timed out after {seconds:.2} seconds")),
                    InvokeStatus::Timeout,
                )
            }
            Ending::Exited(exit) => {
                let why = exit_words(exit);
                self.log.fault(now, format!("RequestId: {id} Error: {why}\nRuntime.ExitError\n"));
                (fault("Runtime.ExitError", why), InvokeStatus::Failure)
            }
            Ending::InitError => match self.init_error.take() {
                Some((error_type, payload)) => {
                    (InvokeResult::FunctionError { error_type, payload }, InvokeStatus::Failure)
                }
                None => (fault("Runtime.Unknown", "Init failed".to_owned()), InvokeStatus::Failure),
            },
            Ending::ExtensionExited(number, exit) => {
                let name = self.extensions.get(&number).map(|one| one.name.clone()).unwrap_or_default();
                let why = format!("Extension {name} exited: {}", exit_words(exit));
                self.log.fault(now, format!("RequestId: {id} Error: {why}\nExtension.Crash\n"));
                (fault("Extension.Crash", why), InvokeStatus::Failure)
            }
            Ending::ExtensionError => {
                let (kind, _) =
                    self.init_error.take().unwrap_or(("Extension.Error".to_owned(), Bytes::new()));
                (fault(&kind, "an extension said that it failed".to_owned()), InvokeStatus::Failure)
            }
            Ending::Lost => {
                (fault("Runtime.ExitError", exit_words(Exit::Signal(libc::SIGKILL))), InvokeStatus::Failure)
            }
        }
    }

    pub(super) fn init_failed(&mut self, ending: Ending, in_invoke: bool) {
        let took = self.monotonic().saturating_sub(self.init_started);
        let mut buffer = [0u8; 16 * 1024];
        self.read_output(&mut buffer);
        let now = self.now();
        let (status, kind) = match ending {
            Ending::TimedOut => ("timeout", None),
            Ending::InitError | Ending::ExtensionError => {
                ("error", self.init_error.as_ref().map(|(kind, _)| kind.clone()))
            }
            Ending::ExtensionExited(..) => ("error", Some("Extension.Crash".to_owned())),
            _ => ("error", Some("Runtime.ExitError".to_owned())),
        };
        let phase = if in_invoke { "invoke" } else { "init" };
        self.log.init_failed(now, took, phase, status, kind.as_deref());
        self.init_started = self.monotonic();
    }

    /// Never more than the function has: what a reader compares with Memory Size.
    fn max_memory_mb(&self) -> u32 {
        let bytes = match &self.sandbox.group {
            Some(group) => group.peak_bytes(),
            None => crate::usage::resident_below(self.sandbox.pid),
        };
        u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX).min(self.spec.memory_mb)
    }
}

fn answered(answer: Option<Answer>) -> (InvokeResult, InvokeStatus) {
    let too_large = || {
        let kind = "Function.ResponseSizeTooLarge";
        let message = format!(
            "Response payload size exceeded maximum allowed payload size ({} bytes).",
            crate::api::MAX_RESPONSE
        );
        let payload = json!({"errorType": kind, "errorMessage": message});
        InvokeResult::FunctionError { error_type: kind.to_owned(), payload: Bytes::from(payload.to_string()) }
    };
    match answer {
        Some(Answer::Response { payload, content_type }) => {
            (InvokeResult::Success { payload, content_type }, InvokeStatus::Success)
        }
        Some(Answer::Streamed { error: Some((error_type, payload)) })
        | Some(Answer::Error { error_type, payload }) => {
            (InvokeResult::FunctionError { error_type, payload }, InvokeStatus::Error)
        }
        Some(Answer::TooLarge) => (too_large(), InvokeStatus::Error),
        Some(Answer::Streamed { error: None }) | None => {
            (InvokeResult::Success { payload: Bytes::new(), content_type: None }, InvokeStatus::Success)
        }
    }
}

fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Status(0) => "Runtime exited without providing a reason".to_owned(),
        Exit::Status(number) => format!("Runtime exited with error: exit status {number}"),
        Exit::Signal(number) => {
            let name = match number {
                libc::SIGKILL => "killed",
                libc::SIGSEGV => "segmentation fault",
                libc::SIGABRT => "aborted",
                libc::SIGTERM => "terminated",
                libc::SIGBUS => "bus error",
                libc::SIGILL => "illegal instruction",
                libc::SIGFPE => "floating point exception",
                libc::SIGSYS => "bad system call",
                _ => "unknown",
            };
            format!("Runtime exited with error: signal: {name}")
        }
    }
}

/// To the invoker. One that reads a stream gets an answer that was not streamed as a stream of one part.
fn hand_over(job: Job, mut outcome: InvokeOutcome) {
    let ResponseMode::Streaming(parts) = job.invocation.response else {
        let _ = job.reply.send(Ok(outcome));
        return;
    };
    tokio::spawn(async move {
        match &mut outcome.result {
            InvokeResult::Success { payload, content_type } if !payload.is_empty() => {
                let head = StreamPart::Head { content_type: content_type.take() };
                let _ = parts.send(head).await;
                let _ = parts.send(StreamPart::Data(std::mem::take(payload))).await;
            }
            InvokeResult::Success { .. } => {}
            InvokeResult::FunctionError { error_type, payload } => {
                let part = StreamPart::Error { error_type: error_type.clone(), payload: payload.clone() };
                let _ = parts.send(part).await;
            }
        }
        drop(parts);
        let _ = job.reply.send(Ok(outcome));
    });
}
