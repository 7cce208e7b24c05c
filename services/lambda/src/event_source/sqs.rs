//! Pollers of SQS queues, and which poller a mapping has. A mapping is polled by the node that holds its lease; batches run side by side, few at first and more while
//! there is enough to do.
//!
//! A message stays in the queue, out of sight, while its function runs, and is deleted after it: a node that dies in between leaves it
//! to the visibility timeout.
//!
//! Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Configuring scaling behavior for SQS event source mappings".

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pileus_api_sqs as sqs;
use pileus_core::{Arn, Timestamp};
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{InvokeResult, ResponseMode};
use pileus_store::Lease;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::batch::{self, Verdict};
use super::filter::Pattern;
use super::{Key, MappingRow, TOPIC, arn, stream};
use crate::destination::queue_url;
use crate::error::LambdaError;
use crate::function::resolve;
use crate::invoke::{Call, pick, run};
use crate::keys::MAPPINGS;
use crate::name::FunctionName;
use crate::role;

const LEASE: Duration = Duration::from_secs(30);
/// Between attempts to take a lease that another holds.
const LEASE_PAUSE: Duration = Duration::from_secs(2);
/// How often mappings are looked for, beyond wake-ups.
const RESCAN: Duration = Duration::from_secs(30);
/// Of one receive, which waits for messages.
const WAIT_SECONDS: i64 = 20;
const RECEIVE_MAX: u32 = 10;
/// Source: "Lambda quotas": what a function may be handed at once.
const MAX_PAYLOAD: usize = 6_000_000;
/// Source: "Configuring scaling behavior for SQS event source mappings": where polling begins, and its end.
const FIRST_CONCURRENCY: usize = 5;
const MAX_CONCURRENCY: usize = 1_000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Runs the pollers of this node for as long as it runs.
pub async fn work(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    // Dropping a sender stops its poller.
    let mut pollers: HashMap<Key, (MappingRow, AbortHandle, watch::Sender<()>)> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        match enabled(&platform).await {
            Ok(wanted) => {
                pollers.retain(|key, (row, task, _)| wanted.get(key) == Some(row) && !task.is_finished());
                for (key, row) in wanted {
                    pollers.entry(key).or_insert_with_key(|key| {
                        let (stop, stopped) = watch::channel(());
                        let task = tasks.spawn(hold(platform.clone(), key.clone(), row.clone(), stopped));
                        (row, task, stop)
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "event source mappings cannot be read, and are tried again"),
        }
        while tasks.try_join_next().is_some() {}
        let until = platform.clock().now() + RESCAN;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn enabled(platform: &Platform) -> Result<HashMap<Key, MappingRow>, LambdaError> {
    let mut range = MAPPINGS.all();
    let mut found = HashMap::new();
    loop {
        let rows = MAPPINGS.scan(platform.store(), &range, 500).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(found) };
        range = range.after(&MAPPINGS.key(last));
        found.extend(rows.rows.into_iter().filter(|(_, row)| row.is_enabled));
        if !rows.more {
            return Ok(found);
        }
    }
}

/// Polls a mapping while this node holds its lease, until it is told to stop.
async fn hold(platform: Platform, key: Key, row: MappingRow, mut stopped: watch::Receiver<()>) {
    let Some((queue, name)) = Arn::parse(&row.source).ok().zip(FunctionName::from_arn(&row.function_arn))
    else {
        return;
    };
    let filters: Vec<Pattern> = row.filters.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let lease_name = format!("lambda/{}", key.2);
    let reader = match row.stream.clone() {
        Some(settings) => {
            let platform = platform.clone();
            Reader::Stream(Box::new(stream::Poller { platform, key, row, name, filters, settings }))
        }
        None => {
            Reader::Queue(Arc::new(Poller { platform: platform.clone(), key, row, queue, name, filters }))
        }
    };
    loop {
        let taken = platform.store().lease(&lease_name, LEASE).await;
        match taken {
            Ok(Some(lease)) => {
                match &reader {
                    Reader::Queue(poller) => poller.poll(&lease, &mut stopped).await,
                    Reader::Stream(poller) => poller.poll(&lease, &mut stopped).await,
                }
                if stopped.has_changed().is_err() {
                    // Whoever polls the mapping as it is now need not wait for the lease to end.
                    let _ = lease.release().await;
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the lease of an event source mapping cannot be taken"),
        }
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = platform.clock().sleep_until(platform.clock().now() + LEASE_PAUSE) => {}
        }
    }
}

/// What reads the source of a mapping.
enum Reader {
    Queue(Arc<Poller>),
    Stream(Box<stream::Poller>),
}

struct Poller {
    platform: Platform,
    key: Key,
    row: MappingRow,
    queue: Arn,
    name: FunctionName,
    filters: Vec<Pattern>,
}

/// What became of a batch, as far as the next ones are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Ran,
    /// There was no room, or the node failed: slower.
    TurnedAway,
}

impl Poller {
    /// Receives and hands on until the lease is lost or it is told to stop. Batches that run then run on.
    async fn poll(self: &Arc<Self>, lease: &Lease, stopped: &mut watch::Receiver<()>) {
        let clock = self.platform.clock().clone();
        let most = self.row.max_concurrency.map_or(MAX_CONCURRENCY, |limit| limit as usize);
        let mut limit = FIRST_CONCURRENCY.min(most);
        let mut pause = FIRST_PAUSE;
        let mut running: JoinSet<Done> = JoinSet::new();
        let mut renew_at = clock.now() + LEASE / 3;
        let mut receiving = Box::pin(self.gather());
        let mut paused_until: Option<Timestamp> = None;
        loop {
            if clock.now() >= renew_at {
                if !matches!(lease.renew().await, Ok(true)) {
                    running.detach_all();
                    return;
                }
                renew_at = clock.now() + LEASE / 3;
            }
            let may_receive = running.len() < limit && paused_until.is_none_or(|until| clock.now() >= until);
            let wake_at = paused_until.map_or(renew_at, |until| until.min(renew_at)).max(clock.now());
            let wake_at = if may_receive { renew_at } else { wake_at };
            tokio::select! {
            biased;
                _ = stopped.changed() => {
                    running.detach_all();
                    return;
                }
                Some(done) = running.join_next(), if !running.is_empty() => match done {
                    Ok(Done::Ran) => {
                        pause = FIRST_PAUSE;
                        paused_until = None;
                    }
                    Ok(Done::TurnedAway) | Err(_) => {
                        limit = (limit / 2).max(1);
                        paused_until = Some(clock.now() + pause);
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                },
                gathered = &mut receiving, if may_receive => {
                    receiving = Box::pin(self.gather());
                    match gathered {
                        Ok(messages) if messages.is_empty() => {}
                        Ok(messages) => {
                            let poller = self.clone();
                            running.spawn(async move { poller.handle(messages).await });
                            if running.len() >= limit {
                                limit = (limit * 2).min(most);
                            }
                        }
                        Err(error) => {
                            tracing::warn!(queue = self.queue.as_str(), %error, "a queue cannot be polled for its function");
                            paused_until = Some(clock.now() + pause);
                            pause = (pause * 2).min(MAX_PAUSE);
                        }
                    }
                },
                () = clock.sleep_until(wake_at) => {}
            }
        }
    }

    /// A context of its own for every call: each has its own moment.
    async fn as_role(&self) -> Result<(Cx, String), LambdaError> {
        let (account, region, _) = &self.key;
        let cx = Cx::background(&self.platform, role::PRINCIPAL, *account, region.clone());
        let role = resolve(cx.store(), &self.name).await?.config.role;
        let as_role = role::assume(&cx, &role, &self.name.name).await?;
        let url = queue_url(&cx, &self.queue);
        Ok((as_role, url))
    }

    /// The messages of one batch: what one receive gives, or what comes within the window.
    async fn gather(&self) -> Result<Vec<sqs::Message>, LambdaError> {
        let clock = self.platform.clock().clone();
        let (size, window) = (self.row.batch_size, Duration::from_secs(u64::from(self.row.window_seconds)));
        let mut messages = self.receive(size.min(RECEIVE_MAX), WAIT_SECONDS).await?;
        if messages.is_empty() || window.is_zero() {
            return Ok(messages);
        }
        let until = clock.now() + window;
        let mut bytes: usize = messages.iter().map(size_of).sum();
        while messages.len() < size as usize && bytes < MAX_PAYLOAD - (1 << 20) {
            let left = until.since(clock.now());
            if left.is_zero() {
                break;
            }
            let wait = i64::try_from(left.as_secs()).unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS);
            let room = u32::try_from(size as usize - messages.len()).unwrap_or(RECEIVE_MAX);
            let more = self.receive(room.min(RECEIVE_MAX), wait).await?;
            if more.is_empty() && wait == 0 {
                // Less than a second is left, too short for a receive that waits.
                clock.sleep_until(until).await;
            }
            bytes += more.iter().map(size_of).sum::<usize>();
            messages.extend(more);
        }
        Ok(messages)
    }

    async fn receive(&self, count: u32, wait: i64) -> Result<Vec<sqs::Message>, LambdaError> {
        let (cx, url) = self.as_role().await?;
        let request = sqs::ReceiveMessageRequest {
            queue_url: Some(url),
            max_number_of_messages: Some(i64::from(count)),
            wait_time_seconds: Some(wait),
            message_system_attribute_names: Some(vec!["All".to_owned()]),
            message_attribute_names: Some(vec!["All".to_owned()]),
            ..sqs::ReceiveMessageRequest::default()
        };
        Ok(cx.call(sqs::RECEIVE_MESSAGE, request).await?.messages.unwrap_or_default())
    }

    /// Filters, invokes, deletes what is done.
    async fn handle(&self, messages: Vec<sqs::Message>) -> Done {
        let region = self.key.1.as_str();
        let (mut records, mut kept, mut done): (Vec<Value>, Vec<sqs::Message>, Vec<sqs::Message>) =
            (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let record = batch::record(&message, &self.row.source, region);
            match batch::passes(&self.filters, &record) {
                true => {
                    records.push(record);
                    kept.push(message);
                }
                // What no function wants is done with.
                false => done.push(message),
            }
        }
        let mut outcome = Done::Ran;
        if !records.is_empty() {
            match self.invoke(&json!({ "Records": records }), &kept).await {
                Ok(finished) => done.extend(finished),
                Err(LambdaError::TooManyRequests { .. }) => outcome = Done::TurnedAway,
                Err(error) => {
                    tracing::warn!(function = self.name.name, mapping = arn(&self.key), %error, "a batch could not run");
                    outcome = Done::TurnedAway;
                }
            }
        }
        if let Err(error) = self.delete(done).await {
            tracing::warn!(queue = self.queue.as_str(), %error, "messages that are done could not be deleted, and come again");
        }
        outcome
    }

    /// Runs the function; the messages that it is done with.
    async fn invoke(
        &self,
        event: &Value,
        messages: &[sqs::Message],
    ) -> Result<Vec<sqs::Message>, LambdaError> {
        let (account, region, _) = &self.key;
        let cx = Cx::background(&self.platform, role::PRINCIPAL, *account, region.clone());
        let picked = pick(&cx, cx.store(), &self.name).await?;
        let call = Call {
            name: &self.name,
            request_id: cx.request_id().to_owned(),
            payload: event.to_string().into(),
            client_context: None,
            response: ResponseMode::Buffered,
        };
        let outcome = run(&cx, &picked, call).await?;
        let InvokeResult::Success { payload, .. } = outcome.result else { return Ok(Vec::new()) };
        if !self.row.reports_failures {
            return Ok(messages.to_vec());
        }
        let ids: Vec<&str> = messages.iter().filter_map(|message| message.message_id.as_deref()).collect();
        Ok(match batch::verdict(&payload, &ids) {
            Verdict::AllDone => messages.to_vec(),
            Verdict::NoneDone => Vec::new(),
            Verdict::Except(failed) => {
                let is_done = |message: &&sqs::Message| {
                    message.message_id.as_ref().is_some_and(|id| !failed.contains(id))
                };
                messages.iter().filter(is_done).cloned().collect()
            }
        })
    }

    async fn delete(&self, messages: Vec<sqs::Message>) -> Result<(), LambdaError> {
        if messages.is_empty() {
            return Ok(());
        }
        let (cx, url) = self.as_role().await?;
        for part in messages.chunks(10) {
            let entries = (0..)
                .zip(part)
                .map(|(at, message)| sqs::DeleteMessageBatchRequestEntry {
                    id: Some(format!("{at}")),
                    receipt_handle: message.receipt_handle.clone(),
                })
                .collect();
            let request =
                sqs::DeleteMessageBatchRequest { queue_url: Some(url.clone()), entries: Some(entries) };
            cx.call(sqs::DELETE_MESSAGE_BATCH, request).await?;
        }
        Ok(())
    }
}

/// Of a message within an event, roughly.
fn size_of(message: &sqs::Message) -> usize {
    message.body.as_ref().map_or(0, String::len) + 1_024
}
