//! Asynchronous events: acknowledged when they are stored, run after that, retried, and told of when they are over.
//!
//! An event is a due row. A function's error puts it back with a pause of one and then two minutes; throttling and faults of this
//! node put it back with growing pauses that do not count as attempts, until the event is too old.
//!
//! Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{InvokeOutcome, ResponseMode};
use pileus_store::due::{Due, Job, NewJob};
use pileus_store::runner::{Failure, Runner};
use pileus_store::{KeyBuilder, Space, Txn};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Picked, pick, run};
use crate::destination::{self, Ended};
use crate::error::LambdaError;
use crate::event_invoke::{self, EventInvokeRow};
use crate::function::resolve;
use crate::metrics::{Measurement, Outcome};
use crate::name::FunctionName;
use crate::role;
use crate::state::Lambda;

const EVENTS: Due = Due::new(Space::Queue, [0, b'F'], "lambda-events");
const INVOKE: &str = "invoke";
const DELIVER: &str = "deliver";
/// A payload up to this size is part of its row; a longer one lies apart, in parts of this size.
const PART: usize = 256 << 10;
/// Attempts to deliver a record before it is given up.
const MAX_DELIVERIES: u32 = 5;
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    /// With the qualifier that was called.
    function_arn: String,
    /// Another function of the same name is another function.
    function_id: String,
    request_id: String,
    accepted: Timestamp,
    /// How often the function ran and failed.
    failures: u32,
    /// In base64; empty when it lies apart.
    payload: String,
    parts: u8,
    client_context: Option<String>,
}

/// A record or a dead letter on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Delivery {
    function_arn: String,
    role: String,
    to: String,
    body: String,
    /// Of a dead letter: the request's id and what went wrong.
    dead_letter: Option<(String, String)>,
}

fn part_key(request_id: &str, part: u8) -> Bytes {
    KeyBuilder::new().raw(b"Fq").str(request_id).tag(part).build()
}

/// Stores an event. When this returns it will run, whatever happens to this node.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn accept(
    cx: &Cx,
    name: &FunctionName,
    payload: Bytes,
    client_context: Option<String>,
) -> Result<(), LambdaError> {
    let resolved = resolve(cx.store(), name).await?;
    let lies_apart = payload.len() > PART;
    let parts = if lies_apart { payload.len().div_ceil(PART) } else { 0 };
    let waiting = &Waiting {
        function_arn: name.qualified_arn(),
        function_id: resolved.function.id,
        request_id: cx.request_id().to_owned(),
        accepted: cx.now(),
        failures: 0,
        payload: if lies_apart { String::new() } else { STANDARD.encode(&payload) },
        parts: u8::try_from(parts).unwrap_or(u8::MAX),
        client_context,
    };
    let payload = &payload;
    cx.transact(|txn| async move {
        if lies_apart {
            for (part, bytes) in (0u8..).zip(payload.chunks(PART)) {
                txn.put(Space::Queue, part_key(&waiting.request_id, part), Bytes::copy_from_slice(bytes));
            }
        }
        enqueue(&txn, waiting, cx.now())
    })
    .await
}

fn enqueue(txn: &Txn, waiting: &Waiting, due: Timestamp) -> Result<(), LambdaError> {
    let id = format!("{}/{}", waiting.request_id, waiting.failures);
    let payload = encode(waiting)?;
    Ok(EVENTS.add(txn, &NewJob { kind: INVOKE, id: &id, due, destination: "", payload: &payload })?)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, LambdaError> {
    serde_json::to_vec(value).map_err(|error| LambdaError::Internal(error.to_string()))
}

/// Works the events of this cloud for as long as the node runs.
pub async fn work(platform: Platform) {
    let (invoking, delivering) = (platform.clone(), platform.clone());
    Runner::new(platform.store().clone(), EVENTS)
        .on(INVOKE, move |job: Job| {
            let platform = invoking.clone();
            async move { invoke(&platform, &job).await }
        })
        .on(DELIVER, move |job: Job| {
            let platform = delivering.clone();
            async move { deliver(&platform, &job).await }
        })
        .run(std::future::pending())
        .await;
}

/// A fault of ours, or no room: again after a growing pause.
fn later(job: &Job, error: &LambdaError) -> Failure {
    let pause = Duration::from_secs(1 << job.attempts.min(9)).min(MAX_PAUSE);
    Failure { retry_after: Some(pause), ..Failure::new(error) }
}

async fn invoke(platform: &Platform, job: &Job) -> Result<(), Failure> {
    let Ok(waiting) = serde_json::from_slice::<Waiting>(&job.payload) else {
        tracing::error!(id = job.id, "an asynchronous event is unreadable, and is dropped");
        return Ok(());
    };
    let Some(name) = FunctionName::from_arn(&waiting.function_arn) else { return Ok(()) };
    let cx = Cx::background(platform, role::PRINCIPAL, name.account, name.region.clone());
    attempt(&cx, job, waiting, &name).await.map_err(|error| {
        if !matches!(error, LambdaError::TooManyRequests { .. }) {
            tracing::warn!(function = name.name, %error, "an asynchronous event could not run, and is tried again");
        }
        later(job, &error)
    })
}

async fn attempt(cx: &Cx, job: &Job, waiting: Waiting, name: &FunctionName) -> Result<(), LambdaError> {
    let picked = match pick(cx, cx.store(), name).await {
        Ok(picked) if picked.function.id == waiting.function_id => picked,
        // It was deleted, and its events with it.
        Ok(_) | Err(LambdaError::ResourceNotFound(_)) => return drop_event(cx, job, &waiting).await,
        Err(error) => return Err(error),
    };
    let rules = event_invoke::in_force(cx.store(), name).await?;
    let payload = payload(cx, &waiting).await?;
    let event = Event { cx, job, waiting, name, picked, rules, payload };
    let age = cx.now().since(event.waiting.accepted);
    if event.picked.function.reserved_concurrency == Some(0) {
        return event.end("ZeroReservedConcurrency", None).await;
    }
    if age > Duration::from_secs(event.rules.max_age_seconds()) {
        return event.end("EventAgeExceeded", None).await;
    }
    let call = Call {
        name,
        request_id: event.waiting.request_id.clone(),
        payload: event.payload.clone(),
        client_context: event.waiting.client_context.clone(),
        response: ResponseMode::Buffered,
    };
    let outcome = run(cx, &event.picked, call).await;
    let has_succeeded = outcome.as_ref().is_ok_and(|outcome| outcome.result.is_success());
    if !has_succeeded && cx.state::<Lambda>().is_stopping() {
        // The environment went with this node, which says nothing of the function. The row stays, and runs after the next start.
        return std::future::pending().await;
    }
    let outcome = outcome?;
    if has_succeeded {
        return event.end("Success", Some(&outcome)).await;
    }
    event.failed(&outcome).await
}

/// The whole payload, wherever it lies.
async fn payload(cx: &Cx, waiting: &Waiting) -> Result<Bytes, LambdaError> {
    if waiting.parts == 0 {
        let bytes = STANDARD.decode(&waiting.payload);
        return bytes.map(Bytes::from).map_err(|error| LambdaError::Internal(error.to_string()));
    }
    let mut whole = Vec::new();
    for part in 0..waiting.parts {
        let found = cx.store().get(Space::Queue, &part_key(&waiting.request_id, part)).await?;
        let missing = || LambdaError::Internal(format!("part {part} of an event is missing"));
        whole.extend_from_slice(&found.ok_or_else(missing)?);
    }
    Ok(whole.into())
}

async fn drop_event(cx: &Cx, job: &Job, waiting: &Waiting) -> Result<(), LambdaError> {
    cx.transact(|txn| async move {
        if job.claim(&txn).await? {
            remove_parts(&txn, waiting);
        }
        Ok(())
    })
    .await
}

fn remove_parts(txn: &Txn, waiting: &Waiting) {
    for part in 0..waiting.parts {
        txn.delete(Space::Queue, part_key(&waiting.request_id, part));
    }
}

/// An event at work.
struct Event<'a> {
    cx: &'a Cx,
    job: &'a Job,
    waiting: Waiting,
    name: &'a FunctionName,
    picked: Picked,
    rules: EventInvokeRow,
    payload: Bytes,
}

impl Event<'_> {
    /// The function failed: again after a pause, or it is over.
    async fn failed(mut self, outcome: &InvokeOutcome) -> Result<(), LambdaError> {
        self.waiting.failures += 1;
        let pause = Duration::from_secs(if self.waiting.failures == 1 { 60 } else { 120 });
        let now = self.cx.clock().now();
        if self.waiting.failures > self.rules.max_retries() {
            return self.end("RetriesExhausted", Some(outcome)).await;
        }
        let too_old = (now + pause).since(self.waiting.accepted).as_secs() > self.rules.max_age_seconds();
        if too_old {
            return self.end("EventAgeExceeded", Some(outcome)).await;
        }
        let (waiting, job) = (&self.waiting, self.job);
        self.cx
            .transact(|txn| async move {
                match job.claim(&txn).await? {
                    true => enqueue(&txn, waiting, now + pause),
                    false => Ok(()),
                }
            })
            .await
    }

    /// The event is over: its row goes, and what tells of it is sent, in one transaction.
    async fn end(&self, condition: &'static str, outcome: Option<&InvokeOutcome>) -> Result<(), LambdaError> {
        let deliveries = &self.deliveries(condition, outcome);
        let (waiting, job, now) = (&self.waiting, self.job, self.cx.clock().now());
        self.cx
            .transact(|txn| async move {
                if !job.claim(&txn).await? {
                    return Ok(());
                }
                remove_parts(&txn, waiting);
                for (at, delivery) in deliveries.iter().enumerate() {
                    let payload = encode(delivery)?;
                    if payload.len() >= 1_000_000 {
                        tracing::warn!(
                            to = delivery.to,
                            "a record of an invocation is too long to be delivered"
                        );
                        continue;
                    }
                    let id = format!("{}/{at}", waiting.request_id);
                    let (kind, payload) = (DELIVER, payload.as_slice());
                    EVENTS
                        .add(&txn, &NewJob { kind, id: &id, due: now, destination: &delivery.to, payload })?;
                }
                Ok::<_, LambdaError>(())
            })
            .await?;
        if condition != "Success" && !deliveries.is_empty() {
            measure(self.cx, self.name, &self.picked.version, Outcome::DeadLettered);
        }
        Ok(())
    }

    /// What is sent where: a destination gets a record, a dead-letter queue the event itself.
    fn deliveries(&self, condition: &'static str, outcome: Option<&InvokeOutcome>) -> Vec<Delivery> {
        let failed = condition != "Success";
        let destination = if failed { &self.rules.on_failure } else { &self.rules.on_success };
        let response = outcome.map(|outcome| {
            let payload = serde_json::from_slice(outcome.result.payload()).unwrap_or(Value::Null);
            let error = (!outcome.result.is_success()).then(|| "Unhandled".to_owned());
            (self.picked.version.clone(), error, payload)
        });
        let error = response.as_ref().and_then(|(_, _, payload)| payload.get("errorMessage"));
        let error = error.and_then(Value::as_str).unwrap_or_default().to_owned();
        let base = |to: &String, body, dead_letter| Delivery {
            function_arn: self.waiting.function_arn.clone(),
            role: self.picked.config.role.clone(),
            to: to.clone(),
            body,
            dead_letter,
        };
        let mut deliveries = Vec::new();
        if let Some(to) = destination {
            let function_arn = match self.name.qualifier {
                Some(_) => self.waiting.function_arn.clone(),
                None => self.name.arn_of(crate::name::LATEST),
            };
            let ended = Ended {
                request_id: self.waiting.request_id.clone(),
                function_arn,
                condition,
                invoke_count: self.waiting.failures + u32::from(!failed),
                response,
            };
            let record = destination::record(&ended, self.cx.clock().now(), &self.payload);
            deliveries.push(base(to, record.to_string(), None));
        }
        if failed && let Some(to) = &self.picked.config.dead_letter {
            let body = String::from_utf8_lossy(&self.payload).into_owned();
            deliveries.push(base(to, body, Some((self.waiting.request_id.clone(), error))));
        }
        deliveries
    }
}

fn measure(cx: &Cx, name: &FunctionName, version: &str, outcome: Outcome) {
    cx.state::<Lambda>().metrics.record(&Measurement {
        account: name.account,
        region: name.region.clone(),
        at: cx.clock().now(),
        function_name: name.name.clone(),
        resource: name.name.clone(),
        executed_version: version.to_owned(),
        outcome,
        concurrent: 0,
    });
}

async fn deliver(platform: &Platform, job: &Job) -> Result<(), Failure> {
    let Ok(delivery) = serde_json::from_slice::<Delivery>(&job.payload) else { return Ok(()) };
    let Some(name) = FunctionName::from_arn(&delivery.function_arn) else { return Ok(()) };
    let cx = Cx::background(platform, role::PRINCIPAL, name.account, name.region.clone());
    let Err(error) = deliver_once(&cx, &name, &delivery).await else { return Ok(()) };
    if job.attempts + 1 < MAX_DELIVERIES {
        return Err(later(job, &error));
    }
    tracing::warn!(function = name.name, to = delivery.to, %error, "what became of an event could not be delivered");
    measure(&cx, &name, "", Outcome::DeliveryFailed);
    Ok(())
}

async fn deliver_once(cx: &Cx, name: &FunctionName, delivery: &Delivery) -> Result<(), LambdaError> {
    let cx = role::assume(cx, &delivery.role, &name.name).await?;
    match &delivery.dead_letter {
        Some((request_id, error)) => {
            let body = delivery.body.clone();
            destination::send_dead_letter(&cx, &delivery.to, body, request_id, error).await
        }
        None => destination::deliver(&cx, &delivery.to, delivery.body.clone()).await,
    }
}
