//! Extensions of one environment: registration, events, shutdown.
//!
//! Source: AWS Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::*;
use crate::api::Registration;
use crate::environment::{Reason, Subscription};

pub(super) struct Extension {
    pub(super) name: String,
    pub(super) is_external: bool,
    identifier: String,
    /// A parked `GET .../event/next`.
    next: Option<oneshot::Sender<Result<Value, Refusal>>>,
    /// Events that came while it was at work.
    events: VecDeque<Value>,
}

impl Extension {
    pub(super) fn is(&self, identifier: &str) -> bool {
        self.identifier == identifier
    }

    fn send(&mut self, event: Value) {
        match self.next.take() {
            Some(next) => {
                let _ = next.send(Ok(event));
            }
            None => self.events.push_back(event),
        }
    }
}

impl Driver {
    pub(super) async fn start_extensions(&mut self) {
        self.log.telemetry.open();
        self.set_cpu(true);
        for start in self.extension_starts.clone() {
            if self.sandbox.link.send(&Command::Start(start), &[]).await.is_err() {
                self.happen(Event::Gone).await;
                return;
            }
        }
    }

    pub(super) async fn register(
        &mut self,
        name: String,
        events: &[String],
        reply: oneshot::Sender<Result<Registration, Refusal>>,
    ) {
        let is_external = self.external.contains(&name);
        let shutdown = events.iter().any(|event| event == "SHUTDOWN");
        let refusal = if !self.machine.takes_registrations() {
            Some(Refusal::INVALID_STATE)
        } else if self.extensions.values().any(|one| one.name == name) {
            Some(Refusal(403, "Extension.AlreadyRegistered", "an extension of this name is registered"))
        } else if shutdown && !is_external {
            Some(Refusal(
                403,
                "ShutdownEventNotSupportedForInternalExtension",
                "Internal extensions cannot register for the SHUTDOWN event",
            ))
        } else if self.extensions.len() >= 10 {
            Some(Refusal(403, "Extension.TooManyExtensions", "at most ten extensions can register"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let id = self.next_extension;
        self.next_extension += 1;
        let identifier = self.engine.config.ids.uuid();
        let handler = match &self.spec.program {
            crate::Program::Managed { handler, .. } => handler.clone(),
            crate::Program::Image { .. } => String::new(),
        };
        let function =
            json!({"functionName": self.spec.name, "functionVersion": self.spec.version, "handler": handler});
        let extension = Extension {
            name,
            is_external,
            identifier: identifier.clone(),
            next: None,
            events: VecDeque::new(),
        };
        self.extensions.insert(id, extension);
        let _ = reply.send(Ok(Registration { identifier, function }));
        let (now, name) = (self.now(), self.extensions.get(&id).map(|one| one.name.clone()));
        let record = || json!({"name": name, "state": "Ready", "events": events});
        self.log.telemetry.push(now, "platform.extension", record);
        let invoke = events.iter().any(|event| event == "INVOKE");
        self.happen(Event::Registered(id, Subscription { is_external, invoke, shutdown })).await;
    }

    fn extension_of(&mut self, identifier: &str) -> Option<ExtensionId> {
        self.extensions.iter().find(|(_, one)| one.identifier == identifier).map(|(id, _)| *id)
    }

    pub(super) async fn event_next(
        &mut self,
        identifier: &str,
        reply: oneshot::Sender<Result<Value, Refusal>>,
    ) {
        let found = self.extension_of(identifier);
        let Some((id, extension)) = found.and_then(|id| Some((id, self.extensions.get_mut(&id)?))) else {
            let _ = reply.send(Err(Refusal::UNKNOWN_EXTENSION));
            return;
        };
        if let Some(event) = extension.events.pop_front() {
            let _ = reply.send(Ok(event));
            return;
        }
        extension.next = Some(reply);
        self.happen(Event::Waiting(Party::Extension(id))).await;
    }

    pub(super) async fn extension_error(
        &mut self,
        identifier: &str,
        in_init: bool,
        error_type: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        let Some(id) = self.extension_of(identifier) else {
            let _ = reply.send(Err(Refusal::UNKNOWN_EXTENSION));
            return;
        };
        if in_init && !self.machine.takes_registrations() {
            let _ = reply.send(Err(Refusal::INVALID_STATE));
            return;
        }
        let _ = reply.send(Ok(()));
        self.init_error = Some((error_type, Bytes::new()));
        self.happen(Event::ExitError(id)).await;
    }

    pub(super) fn send_invoke_events(&mut self) {
        let Some(running) = &self.job else { return };
        let invocation = &running.job.invocation;
        let event = json!({
            "eventType": "INVOKE",
            "deadlineMs": running.deadline.as_millis(),
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": running.trace},
        });
        let wanted = self.machine.extensions();
        for (id, extension) in &mut self.extensions {
            if wanted.get(id).is_some_and(|subscription| subscription.invoke) {
                extension.send(event.clone());
            }
        }
    }

    pub(super) async fn shut_down(&mut self, reason: Reason) {
        let deadline = self.engine.config.clock.unmoved() + self.machine.grace().unwrap_or_default();
        let reason = match reason {
            Reason::Spindown => "spindown",
            Reason::Timeout => "timeout",
            Reason::Failure => "failure",
        };
        let event =
            json!({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline.as_millis()});
        let wanted = self.machine.extensions();
        for (id, extension) in &mut self.extensions {
            if wanted.get(id).is_some_and(|subscription| subscription.shutdown) {
                extension.send(event.clone());
            }
        }
        let signal = Command::Signal { name: RUNTIME.to_owned(), signal: libc::SIGTERM };
        if self.sandbox.link.send(&signal, &[]).await.is_err() {
            self.happen(Event::Gone).await;
        }
    }
}
