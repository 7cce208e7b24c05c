//! `StartMessageMoveTask`, `ListMessageMoveTasks`, `CancelMessageMoveTask`, and the worker that moves.
//!
//! A task moves what is visible in a dead-letter queue to one queue, or each message to the queue that it failed in. Moved
//! messages are new ones: a new id, a new age, never received. Every step moves some messages and counts them in one
//! transaction, so a task goes on where a stopped node left it.
//!
//! Source: API Reference, "StartMessageMoveTask", "ListMessageMoveTasks"; Amazon SQS Developer Guide, "Learn how to configure
//! a dead-letter queue redrive in Amazon SQS". Recorded: the sentences and the tasks' forms.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_sqs::{
    CancelMessageMoveTaskRequest, CancelMessageMoveTaskResult, ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult, ListMessageMoveTasksResultEntry, StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
};
use pileus_core::{Arn, Timestamp};
use pileus_platform::{Cx, Platform};
use pileus_store::key::Descending;
use pileus_store::{KeyRange, Lease, Store, Stored, Txn};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::SqsError;
use crate::keys::{self, ACTIVE, SOURCES, TASKS};
use crate::lane::Want;
use crate::message::visibility::State;
use crate::order::{self, fifo, standard};
use crate::queue::Queue;
use crate::queue::count::count;
use crate::queue::url::Address;
use crate::state::{Desk, Sqs, millis};

/// Wakes the mover.
pub const TOPIC: &str = "sqs/move";
/// Messages of one step.
const STEP: usize = 50;
const LEASE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
/// Between two steps of a task that may only move so many messages a second.
const TICK: Duration = Duration::from_millis(200);
const MAX_RATE: i64 = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub destination: Option<String>,
    pub max_per_second: Option<i64>,
    /// Milliseconds since 1970.
    pub started_at: u64,
    pub status: Status,
    pub moved: i64,
    pub to_move: i64,
    pub failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

impl Stored for Task {}

/// The task that a queue's messages are moved by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Active {
    pub started_at: u64,
    pub task: String,
}

impl Stored for Active {}

type TaskKey = (pileus_core::AccountId, pileus_core::Region, String, Descending, String);

fn task_key(source: &Address, started_at: u64, task: &str) -> TaskKey {
    (source.account, source.region.clone(), source.name.clone(), Descending(started_at), task.to_owned())
}

fn read_arn(arn: Option<&str>, parameter: &str) -> Result<Option<Address>, SqsError> {
    let Some(text) = arn else { return Ok(None) };
    let arn = Arn::parse(text).map_err(|_| {
        SqsError::InvalidParameterValue(format!(
            "You must use this format to specify the {parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        ))
    })?;
    Address::from_arn(&arn).map(Some).ok_or_else(|| missing(parameter))
}

fn missing(parameter: &str) -> SqsError {
    SqsError::ResourceNotFound(format!(
        "The resource that you specified for the {parameter} parameter doesn't exist."
    ))
}

async fn find(cx: &Cx, address: &Address, parameter: &str) -> Result<Arc<Queue>, SqsError> {
    cx.state::<Sqs>().find(cx.store(), address).await?.ok_or_else(|| missing(parameter))
}

pub async fn start_message_move_task(
    cx: &Cx,
    input: StartMessageMoveTaskRequest,
) -> Result<StartMessageMoveTaskResult, SqsError> {
    let source = read_arn(input.source_arn.as_deref(), "SourceArn")?;
    let source = &source.ok_or(SqsError::MissingParameter("SourceArn"))?;
    let rate = input.max_number_of_messages_per_second;
    if let Some(rate) = rate.filter(|rate| !(1..=MAX_RATE).contains(rate)) {
        let reason = "Must be between 1 and 500, if provided.";
        return Err(SqsError::value(rate, "MaxNumberOfMessagesPerSecond", reason));
    }
    let queue = find(cx, source, "SourceArn").await?;
    let parts = (source.account, source.region.clone(), source.name.clone());
    if SOURCES.scan(cx.store(), &SOURCES.under(&parts), 1).await?.rows.is_empty() {
        let text = "Source queue must be configured as a Dead Letter Queue.";
        return Err(SqsError::InvalidParameterValue(text.to_owned()));
    }
    let destination = read_arn(input.destination_arn.as_deref(), "DestinationArn")?;
    if let Some(destination) = &destination {
        if find(cx, destination, "DestinationArn").await?.is_fifo() != queue.is_fifo() {
            let text = "Source queue and destination queue must be of the same type.";
            return Err(SqsError::InvalidParameterValue(text.to_owned()));
        }
        if destination == source {
            let text = "Source queue arn and destination queue arn cannot be the same.";
            return Err(SqsError::InvalidParameterValue(text.to_owned()));
        }
    }
    let (id, started_at) = (&cx.ids().uuid(), millis(cx.now()));
    let task = &Task {
        destination: destination.map(|destination| destination.arn().to_string()),
        max_per_second: rate,
        started_at,
        status: Status::Running,
        moved: 0,
        to_move: count(cx, &queue).await?.visible as i64,
        failure: None,
    };
    cx.transact(|txn| async move {
        let key = keys::queue(source);
        let active = Active { started_at, task: id.clone() };
        if !ACTIVE.put_if_absent(&txn, &key, &active).await? {
            return Err(SqsError::InvalidParameterValue(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.".to_owned(),
            ));
        }
        TASKS.put(&txn, &task_key(source, started_at, id), task)?;
        txn.notify(TOPIC);
        Ok(())
    })
    .await?;
    Ok(StartMessageMoveTaskResult { task_handle: Some(write_handle(source, started_at, id)) })
}

pub async fn list_message_move_tasks(
    cx: &Cx,
    input: ListMessageMoveTasksRequest,
) -> Result<ListMessageMoveTasksResult, SqsError> {
    let source = read_arn(input.source_arn.as_deref(), "SourceArn")?;
    let source = source.ok_or(SqsError::MissingParameter("SourceArn"))?;
    let limit = match input.max_results.unwrap_or(1) {
        limit @ 1..=10 => limit as usize,
        other => return Err(SqsError::value(other, "MaxResults", "Must be between 1 and 10, if provided.")),
    };
    find(cx, &source, "SourceArn").await?;
    let parts = (source.account, source.region.clone(), source.name.clone());
    let rows = TASKS.scan(cx.store(), &TASKS.under(&parts), limit).await?;
    let results = rows.rows.into_iter().map(|((_, _, _, started, id), task)| {
        let is_running = task.status == Status::Running;
        ListMessageMoveTasksResultEntry {
            task_handle: is_running.then(|| write_handle(&source, started.0, &id)),
            status: Some(
                match task.status {
                    Status::Running => "RUNNING",
                    Status::Completed => "COMPLETED",
                    Status::Cancelled => "CANCELLED",
                    Status::Failed => "FAILED",
                }
                .to_owned(),
            ),
            source_arn: Some(source.arn().to_string()),
            destination_arn: task.destination,
            max_number_of_messages_per_second: task.max_per_second,
            approximate_number_of_messages_moved: Some(task.moved),
            approximate_number_of_messages_to_move: Some(task.to_move),
            failure_reason: task.failure,
            started_timestamp: Some(task.started_at as i64),
        }
    });
    Ok(ListMessageMoveTasksResult { results: Some(results.collect()) })
}

/// `CancelMessageMoveTask`: what was moved stays moved.
pub async fn cancel_message_move_task(
    cx: &Cx,
    input: CancelMessageMoveTaskRequest,
) -> Result<CancelMessageMoveTaskResult, SqsError> {
    let (source, started_at, id) =
        read_handle(input.task_handle.as_deref().unwrap_or_default()).ok_or_else(|| {
            SqsError::InvalidParameterValue("Value for parameter TaskHandle is invalid.".to_owned())
        })?;
    if source.account != cx.account() {
        return Err(SqsError::AccessDenied(source.arn().to_string()));
    }
    let (source, id) = (&source, &id);
    find(cx, source, "SourceArn").await?;
    let moved = cx
        .transact(|txn| async move {
            let key = task_key(source, started_at, id);
            let none = || SqsError::ResourceNotFound("Task does not exist.".to_owned());
            let mut task = TASKS.get(&txn, &key).await?.ok_or_else(none)?;
            if task.status != Status::Running {
                let text = "Only active tasks can be cancelled.";
                return Err(SqsError::InvalidParameterValue(text.to_owned()));
            }
            task.status = Status::Cancelled;
            TASKS.put(&txn, &key, &task)?;
            ACTIVE.delete(&txn, &keys::queue(source));
            Ok(task.moved)
        })
        .await?;
    Ok(CancelMessageMoveTaskResult { approximate_number_of_messages_moved: Some(moved) })
}

/// The source of a task, for authorisation.
pub fn handle_source(handle: &str) -> Option<String> {
    read_handle(handle).map(|(source, _, _)| source.arn().to_string())
}

fn write_handle(source: &Address, started_at: u64, id: &str) -> String {
    let handle = json!({ "taskId": id, "sourceArn": source.arn().as_str(), "startedAt": started_at });
    STANDARD.encode(handle.to_string())
}

fn read_handle(handle: &str) -> Option<(Address, u64, String)> {
    let value: serde_json::Value = serde_json::from_slice(&STANDARD.decode(handle).ok()?).ok()?;
    let arn = Arn::parse(value.get("sourceArn")?.as_str()?).ok()?;
    let started_at = value.get("startedAt").and_then(serde_json::Value::as_u64).unwrap_or(0);
    Some((Address::from_arn(&arn)?, started_at, value.get("taskId")?.as_str()?.to_owned()))
}

/// The worker: steps through every active task, one node a task.
pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        let wait = match step_all(&platform).await {
            Ok(is_busy) => {
                if is_busy {
                    TICK
                } else {
                    IDLE
                }
            }
            Err(error) => {
                tracing::warn!(%error, "moving messages failed, and is tried again");
                IDLE
            }
        };
        let until = platform.clock().now() + wait;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

/// Whether a task is still to be worked on.
async fn step_all(platform: &Platform) -> Result<bool, SqsError> {
    let mut is_busy = false;
    let mut range = ACTIVE.all();
    loop {
        let rows = ACTIVE.scan(platform.store(), &range, 100).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(is_busy) };
        range = after(range, last);
        for ((account, region, name), active) in rows.rows {
            let source = Address { account, region, name };
            let lease = format!("sqs/move/{}", source.arn());
            // Who holds it works on the task; look again later, in case it stops.
            let Some(lease) = platform.store().lease(&lease, LEASE).await? else {
                is_busy = true;
                continue;
            };
            is_busy |= work(platform, &source, &active, &lease).await?;
            lease.release().await?;
        }
    }
}

fn after(range: KeyRange, last: &keys::QueueKey) -> KeyRange {
    range.after(&ACTIVE.key(last))
}

/// Steps until nothing is left, or the task has moved as much as it may by now.
async fn work(
    platform: &Platform,
    source: &Address,
    active: &Active,
    lease: &Lease,
) -> Result<bool, SqsError> {
    loop {
        match step(platform, source, active, lease).await? {
            Step::Moved => {
                if !lease.renew().await? {
                    return Ok(true);
                }
            }
            Step::Wait => return Ok(true),
            Step::Ended => return Ok(false),
        }
    }
}

enum Step {
    Moved,
    Wait,
    Ended,
}

async fn step(
    platform: &Platform,
    source: &Address,
    active: &Active,
    lease: &Lease,
) -> Result<Step, SqsError> {
    let (sqs, store, now) = (platform.state::<Sqs>(), platform.store(), millis(platform.clock().now()));
    let desk = Desk { sqs, store, now };
    let key = &task_key(source, active.started_at, &active.task);
    let Some(task) = TASKS.get(store, key).await? else { return Ok(Step::Ended) };
    let allowed = match task.max_per_second {
        Some(rate) => {
            let seconds = Timestamp::from_millis(now as i64)
                .since(Timestamp::from_millis(task.started_at as i64))
                .as_secs_f64();
            (seconds * rate as f64) as i64 - task.moved
        }
        None => STEP as i64,
    };
    if allowed <= 0 {
        return Ok(Step::Wait);
    }
    let want = (allowed as usize).min(STEP);
    let Some(queue) = sqs.find(store, source).await? else {
        store
            .transact(|txn| async move {
                txn.fence(lease);
                ACTIVE.delete(&txn, &keys::queue(source));
                Ok::<_, SqsError>(())
            })
            .await?;
        return Ok(Step::Ended);
    };
    let lane = sqs.lane(store, &queue);
    let (claims, _) = order::claim(desk, &lane, &queue, Want { rows: want, is_fresh: false }).await?;
    let claims = &claims;
    let stepped = store
        .transact(|txn| async move {
            txn.fence(lease);
            let Some(mut task) = TASKS.get(&txn, key).await?.filter(|task| task.status == Status::Running)
            else {
                return Ok(Step::Ended);
            };
            let queue = sqs.load(&txn, source).await?;
            let drained = if queue.is_fifo() {
                fifo::drain(desk, &txn, &queue, claims, want).await?
            } else {
                standard::drain(desk, &txn, &queue, claims).await?
            };
            let is_over = claims.is_empty();
            for (message, body) in drained {
                move_one(platform, desk, &txn, &task, message, &body).await?;
                task.moved += 1;
            }
            if is_over {
                task.status = Status::Completed;
                ACTIVE.delete(&txn, &keys::queue(source));
            }
            TASKS.put(&txn, key, &task)?;
            Ok(if is_over { Step::Ended } else { Step::Moved })
        })
        .await;
    match stepped {
        Err(SqsError::QueueDoesNotExist) => fail(store, source, key, lease).await,
        stepped => stepped,
    }
}

/// Ends a task whose destination is gone. Nothing of the step that found it is kept.
async fn fail(store: &Store, source: &Address, key: &TaskKey, lease: &Lease) -> Result<Step, SqsError> {
    store
        .transact(|txn| async move {
            txn.fence(lease);
            if let Some(mut task) = TASKS.get(&txn, key).await?.filter(|task| task.status == Status::Running)
            {
                task.status = Status::Failed;
                task.failure = Some("AWS.SimpleQueueService.NonExistentQueue".to_owned());
                TASKS.put(&txn, key, &task)?;
                ACTIVE.delete(&txn, &keys::queue(source));
            }
            Ok(Step::Ended)
        })
        .await
}

/// Sends a drained message on as a new one.
async fn move_one(
    platform: &Platform,
    desk: Desk<'_>,
    txn: &Txn,
    task: &Task,
    mut message: crate::message::Message,
    body: &bytes::Bytes,
) -> Result<(), SqsError> {
    let destination = task.destination.as_ref().or(message.dead_letter_source.as_ref());
    let address = destination.and_then(|arn| Arn::parse(arn).ok()).and_then(|arn| Address::from_arn(&arn));
    let target = desk.sqs.load(txn, &address.ok_or(SqsError::QueueDoesNotExist)?).await?;
    message.id = platform.ids().uuid();
    message.dead_letter_source = None;
    order::put(desk, txn, &target, &mut message, body, State::new(desk.now, desk.now)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_handle_is_read_back() {
        let arn = Arn::parse("arn:aws:sqs:us-east-1:123456789012:dead").expect("an ARN");
        let source = Address::from_arn(&arn).expect("a queue's");
        let handle = write_handle(&source, 7, "id");
        assert_eq!(read_handle(&handle), Some((source, 7, "id".to_owned())));
        for bad in ["", "!", "e30=", &handle[4..]] {
            assert!(read_handle(bad).is_none(), "{bad}");
        }
    }
}
