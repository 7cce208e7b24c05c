//! Pollers of DynamoDB streams. A mapping is polled by the node that holds its lease. Records go to the function in the order of the shard;
//! how far it has come is a row, so a node that takes over goes on from there: at least once.
//!
//! | File                 | Holds                                                                    |
//! |----------------------|--------------------------------------------------------------------------|
//! | `stream/settings.rs` | what mappings of streams have beyond those of queues: pure                |
//! | `stream/batch.rs`    | records as functions see them, which go together: pure                    |
//! | `stream/window.rs`   | tumbling windows: pure                                                    |
//!
//! Source: AWS Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB", "Process DynamoDB records with Lambda", "Polling and batching
//! streams".

pub mod batch;
pub mod settings;
pub mod window;

use std::time::Duration;

use futures_util::future::join_all;
use pileus_api_dynamodbstreams as streams;
use pileus_core::{BoxFuture, Timestamp};
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{InvokeResult, ResponseMode};
use pileus_store::{Lease, StoreError, Stored, Txn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::batch::{GivenUp, Record};
use self::settings::StreamSettings;
use self::window::Window;
use super::filter::Pattern;
use super::{Key, MappingRow, arn};
use crate::destination;
use crate::error::LambdaError;
use crate::function::resolve;
use crate::invoke::{Call, pick, run};
use crate::keys::CHECKPOINTS;
use crate::name::FunctionName;
use crate::role;

/// Source: "Polling and batching streams": a shard is looked at four times a second.
const POLL: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
pub const LEASE: Duration = Duration::from_secs(30);

/// How far a mapping has come in a shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The record that was done last; without one, where reading began.
    pub after: Option<String>,
    /// Of a mapping with tumbling windows.
    pub window: Option<Window>,
}

impl Stored for Checkpoint {}

/// Removes how far a mapping has come.
pub async fn forget(txn: &Txn, key: &Key) -> Result<(), StoreError> {
    let rows = CHECKPOINTS.scan(txn, &CHECKPOINTS.under(&(key.2.as_str(),)), 500).await?;
    rows.rows.iter().for_each(|(key, _)| CHECKPOINTS.delete(txn, key));
    Ok(())
}

pub struct Poller {
    pub platform: Platform,
    pub key: Key,
    pub row: MappingRow,
    pub name: FunctionName,
    pub filters: Vec<Pattern>,
    pub settings: StreamSettings,
}

/// A shard while it is read.
struct Shard<'a> {
    poller: &'a Poller,
    lease: &'a Lease,
    id: String,
    checkpoint: Checkpoint,
}

/// Why reading stops: the lease is another's, or something failed.
enum Stop {
    LeaseLost,
    Failed(LambdaError),
}

impl<E: Into<LambdaError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        match error.into() {
            LambdaError::Store(StoreError::Fenced { .. }) => Stop::LeaseLost,
            error => Stop::Failed(error),
        }
    }
}

impl Poller {
    /// Reads until the lease is lost or it is told to stop.
    pub async fn poll(&self, lease: &Lease, stopped: &mut watch::Receiver<()>) {
        let clock = self.platform.clock().clone();
        let mut pause = FIRST_PAUSE;
        loop {
            let renewing = async {
                loop {
                    clock.sleep_until(clock.now() + LEASE / 3).await;
                    if !matches!(lease.renew().await, Ok(true)) {
                        return;
                    }
                }
            };
            let ended = tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = renewing => return,
                ended = self.read_all(lease) => ended,
            };
            match ended {
                Err(Stop::LeaseLost) => return,
                Ok(()) => pause = FIRST_PAUSE,
                Err(Stop::Failed(error)) => {
                    tracing::warn!(stream = self.row.source, %error, "a stream cannot be read for its function");
                }
            }
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = clock.sleep_until(clock.now() + pause) => {}
            }
            pause = (pause * 2).min(MAX_PAUSE);
            if !matches!(lease.renew().await, Ok(true)) {
                return;
            }
        }
    }

    /// A context of its own for every call: each has its own moment.
    async fn as_role(&self) -> Result<Cx, LambdaError> {
        let (account, region, _) = &self.key;
        let cx = Cx::background(&self.platform, role::PRINCIPAL, *account, region.clone());
        let role = resolve(cx.store(), &self.name).await?.config.role;
        role::assume(&cx, &role, &self.name.name).await
    }

    /// Reads every shard, side by side, to its end if it has one.
    async fn read_all(&self, lease: &Lease) -> Result<(), Stop> {
        let cx = self.as_role().await?;
        let request =
            streams::DescribeStreamInput { stream_arn: Some(self.row.source.clone()), ..Default::default() };
        let stream = cx.call(streams::DESCRIBE_STREAM, request).await.map_err(LambdaError::from)?;
        let shards = stream.stream_description.unwrap_or_default().shards.unwrap_or_default();
        let mut reading: Vec<BoxFuture<'_, Result<(), Stop>>> = Vec::new();
        for id in shards.into_iter().filter_map(|shard| shard.shard_id) {
            let key = (self.key.2.clone(), id.clone());
            let checkpoint =
                CHECKPOINTS.get(&self.platform.store().clone(), &key).await.map_err(LambdaError::from)?;
            let checkpoint = checkpoint.unwrap_or_default();
            let mut shard = Shard { poller: self, lease, id, checkpoint };
            reading.push(Box::pin(async move { shard.read().await }));
        }
        join_all(reading).await.into_iter().collect()
    }

    async fn iterator(&self, shard: &str, after: Option<&str>) -> Result<Option<String>, LambdaError> {
        let cx = self.as_role().await?;
        let request = |kind: &str, after: Option<&str>| streams::GetShardIteratorInput {
            stream_arn: Some(self.row.source.clone()),
            shard_id: Some(shard.to_owned()),
            shard_iterator_type: Some(kind.to_owned()),
            sequence_number: after.map(str::to_owned),
            timestamp: (kind == "AT_TIMESTAMP").then_some(self.settings.since),
        };
        let first = match after {
            Some(after) => request("AFTER_SEQUENCE_NUMBER", Some(after)),
            None if self.settings.starting_position == "LATEST" => request("AT_TIMESTAMP", None),
            None => request("TRIM_HORIZON", None),
        };
        match cx.call(streams::GET_SHARD_ITERATOR, first).await {
            Ok(answer) => Ok(answer.shard_iterator),
            // What was to come next has fallen out of the stream.
            Err(fault) if &*fault.code == "TrimmedDataAccessException" => {
                let oldest = cx.call(streams::GET_SHARD_ITERATOR, request("TRIM_HORIZON", None)).await?;
                Ok(oldest.shard_iterator)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn passes(&self, record: &Record) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(&record.shown))
    }

    /// Runs the function once.
    async fn invoke(&self, event: &Value) -> Result<(InvokeResult, String, String), LambdaError> {
        let (account, region, _) = &self.key;
        let cx = Cx::background(&self.platform, role::PRINCIPAL, *account, region.clone());
        let picked = pick(&cx, cx.store(), &self.name).await?;
        let request_id = cx.request_id().to_owned();
        let call = Call {
            name: &self.name,
            request_id: request_id.clone(),
            payload: event.to_string().into(),
            client_context: None,
            response: ResponseMode::Buffered,
        };
        let outcome = run(&cx, &picked, call).await?;
        Ok((outcome.result, request_id, picked.version))
    }
}

impl Shard<'_> {
    async fn read(&mut self) -> Result<(), Stop> {
        let poller = self.poller;
        let clock = poller.platform.clock().clone();
        let mut iterator = poller.iterator(&self.id, self.checkpoint.after.as_deref()).await?;
        while let Some(at) = iterator {
            let (records, next) = self.gather(at).await?;
            iterator = next;
            let is_idle = records.is_empty();
            if poller.settings.tumbling_seconds > 0 {
                self.through_windows(records).await?;
            } else if let Some(last) = records.last().map(|record| record.sequence.clone()) {
                let mut lanes: Vec<BoxFuture<'_, Result<(), Stop>>> = Vec::new();
                for lane in batch::lanes(records, poller.settings.parallelization) {
                    lanes.push(Box::pin(Lane { shard: self, records: lane }.work()));
                }
                join_all(lanes).await.into_iter().collect::<Result<(), Stop>>()?;
                self.save(Checkpoint { after: Some(last), window: None }).await?;
            }
            if is_idle && iterator.is_some() {
                clock.sleep_until(clock.now() + POLL).await;
            }
        }
        // A closed shard has no more; the mapping waits for its stream to be another.
        clock.sleep_until(clock.now() + MAX_PAUSE).await;
        Ok(())
    }

    /// The records of one round: what is there, or what comes within the window.
    async fn gather(&self, iterator: String) -> Result<(Vec<Record>, Option<String>), Stop> {
        let poller = self.poller;
        let clock = poller.platform.clock();
        let wanted = poller.row.batch_size.saturating_mul(poller.settings.parallelization) as usize;
        let (mut records, mut next) = (Vec::new(), Some(iterator));
        let mut until: Option<Timestamp> = None;
        while let Some(at) = next.take() {
            let limit = (wanted - records.len()).clamp(1, 1_000);
            let request = streams::GetRecordsInput { shard_iterator: Some(at), limit: Some(limit as i64) };
            let cx = poller.as_role().await?;
            let answer = cx.call(streams::GET_RECORDS, request).await.map_err(LambdaError::from)?;
            let got = answer.records.unwrap_or_default();
            records.extend(got.iter().map(|record| batch::record(record, &poller.row.source)));
            next = answer.next_shard_iterator;
            if records.len() >= wanted || poller.row.window_seconds == 0 || records.is_empty() {
                break;
            }
            let window = Duration::from_secs(u64::from(poller.row.window_seconds));
            let end = *until.get_or_insert_with(|| clock.now() + window);
            if clock.now() >= end {
                break;
            }
            clock.sleep_until((clock.now() + POLL).min(end)).await;
        }
        Ok((records, next))
    }

    /// Notes how far it has come, while the lease is held.
    async fn save(&mut self, checkpoint: Checkpoint) -> Result<(), Stop> {
        let key = &(self.poller.key.2.clone(), self.id.clone());
        let (lease, row) = (self.lease, &checkpoint);
        let saved = self.poller.platform.store().transact(|txn| async move {
            txn.fence(lease);
            CHECKPOINTS.put(&txn, key, row)
        });
        saved.await.map_err(LambdaError::from)?;
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Records one after another, window by window, with the state that the function gives.
    async fn through_windows(&mut self, records: Vec<Record>) -> Result<(), Stop> {
        let seconds = self.poller.settings.tumbling_seconds;
        let mut left = records.as_slice();
        loop {
            let now = self.poller.platform.clock().now();
            let window = match (&self.checkpoint.window, left.first()) {
                (Some(window), _) => window.clone(),
                (None, Some(first)) => Window::of(first.at, seconds),
                (None, None) => return Ok(()),
            };
            let held = window.holds(left, seconds);
            if held > 0 {
                let count = batch::first(&left[..held], self.poller.row.batch_size);
                let (part, rest) = left.split_at(count);
                let after = part.last().map(|record| record.sequence.clone());
                let window = self.in_window(window, part, false).await?;
                self.save(Checkpoint { after, window }).await?;
                left = rest;
                continue;
            }
            // It is over when a later record is there, or its time has passed.
            if left.is_empty() && now < window.end(seconds) {
                return Ok(());
            }
            self.in_window(window, &[], true).await?;
            self.save(Checkpoint { after: self.checkpoint.after.clone(), window: None }).await?;
        }
    }

    /// One batch within a window; the window with its new state.
    async fn in_window(
        &self,
        window: Window,
        records: &[Record],
        is_final: bool,
    ) -> Result<Option<Window>, Stop> {
        let poller = self.poller;
        let seconds = poller.settings.tumbling_seconds;
        let mut window = window;
        let mut left: Vec<Record> = records.iter().filter(|record| poller.passes(record)).cloned().collect();
        if left.is_empty() && !is_final {
            return Ok(Some(window));
        }
        let (mut attempts, mut pause) = (0, FIRST_PAUSE);
        loop {
            let shown: Vec<Value> = left.iter().map(|record| record.shown.clone()).collect();
            let event = window.event(&shown, seconds, &self.id, &poller.row.source, is_final);
            match poller.invoke(&event).await {
                Ok((InvokeResult::Success { payload, .. }, ..)) => {
                    let count = batch::done(&payload, &left, poller.row.reports_failures);
                    let fits = window.take(&payload);
                    if count >= left.len() {
                        return Ok(fits.then_some(window));
                    }
                    left.drain(..count);
                    attempts += 1;
                }
                Ok(_) => attempts += 1,
                Err(error) => self.turned_away(&error),
            }
            if self.is_exhausted(attempts) {
                self.give_up(&left, "RetryAttemptsExhausted", attempts, "", "$LATEST").await?;
                return Ok(Some(window));
            }
            pause = self.rest(pause).await;
        }
    }

    fn is_exhausted(&self, attempts: u32) -> bool {
        let most = self.poller.settings.max_retries;
        most >= 0 && i64::from(attempts) > most
    }

    async fn rest(&self, pause: Duration) -> Duration {
        let clock = self.poller.platform.clock();
        clock.sleep_until(clock.now() + pause).await;
        (pause * 2).min(MAX_PAUSE)
    }

    fn turned_away(&self, error: &LambdaError) {
        if !matches!(error, LambdaError::TooManyRequests { .. }) {
            let poller = self.poller;
            tracing::warn!(function = poller.name.name, mapping = arn(&poller.key), %error, "a batch could not run");
        }
    }

    /// Tells the destination of records that no function will see again.
    async fn give_up(
        &self,
        records: &[Record],
        condition: &'static str,
        attempts: u32,
        request_id: &str,
        version: &str,
    ) -> Result<(), Stop> {
        let poller = self.poller;
        if records.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            function = poller.name.name,
            mapping = arn(&poller.key),
            records = records.len(),
            condition,
            "records of a stream are given up"
        );
        let Some(to) = &poller.settings.on_failure else { return Ok(()) };
        let given_up = GivenUp {
            stream_arn: &poller.row.source,
            shard_id: &self.id,
            function_arn: &poller.row.function_arn,
            request_id,
            condition,
            attempts,
            version,
            records,
        };
        let body = given_up.document(poller.platform.clock().now()).to_string();
        let cx = poller.as_role().await?;
        destination::deliver(&cx, to, body).await?;
        Ok(())
    }
}

/// Records that go to the function one batch after another.
struct Lane<'a> {
    shard: &'a Shard<'a>,
    records: Vec<Record>,
}

/// A part of a lane that is still to be done.
struct Part {
    records: Vec<Record>,
    attempts: u32,
}

impl Lane<'_> {
    async fn work(self) -> Result<(), Stop> {
        let size = self.shard.poller.row.batch_size;
        let mut left = self.records.as_slice();
        while !left.is_empty() {
            let (part, rest) = left.split_at(batch::first(left, size));
            let wanted = part.iter().filter(|record| self.shard.poller.passes(record)).cloned().collect();
            bring(self.shard, wanted).await?;
            left = rest;
        }
        Ok(())
    }
}

/// One batch, until it is done or given up.
async fn bring(shard: &Shard<'_>, records: Vec<Record>) -> Result<(), Stop> {
    let poller = shard.poller;
    let mut parts = vec![Part { records, attempts: 0 }];
    let mut pause = FIRST_PAUSE;
    while let Some(mut part) = parts.pop() {
        give_up_old(shard, &mut part).await?;
        if part.records.is_empty() {
            continue;
        }
        let shown: Vec<&Value> = part.records.iter().map(|record| &record.shown).collect();
        let (request_id, version) = match poller.invoke(&json!({ "Records": shown })).await {
            Ok((InvokeResult::Success { payload, .. }, request_id, version)) => {
                let count = batch::done(&payload, &part.records, poller.row.reports_failures);
                part.records.drain(..count);
                if part.records.is_empty() {
                    pause = FIRST_PAUSE;
                    continue;
                }
                (request_id, version)
            }
            Ok((_, request_id, version)) => (request_id, version),
            Err(error) => {
                shard.turned_away(&error);
                parts.push(part);
                pause = shard.rest(pause).await;
                continue;
            }
        };
        if poller.settings.bisects && part.records.len() > 1 {
            // Halves are not counted as attempts.
            let second = part.records.split_off(part.records.len() / 2);
            parts.push(Part { records: second, attempts: part.attempts });
            parts.push(part);
            continue;
        }
        part.attempts += 1;
        if shard.is_exhausted(part.attempts) {
            shard
                .give_up(&part.records, "RetryAttemptsExhausted", part.attempts, &request_id, &version)
                .await?;
            continue;
        }
        parts.push(part);
        pause = shard.rest(pause).await;
    }
    Ok(())
}

/// Takes out the records that are older than the mapping wants them.
async fn give_up_old(shard: &Shard<'_>, part: &mut Part) -> Result<(), Stop> {
    let Ok(max_age) = u64::try_from(shard.poller.settings.max_age_seconds) else { return Ok(()) };
    let now = shard.poller.platform.clock().now();
    let count = part.records.iter().take_while(|record| now.since(record.at).as_secs() > max_age).count();
    let old: Vec<Record> = part.records.drain(..count).collect();
    shard.give_up(&old, "RecordAgeExceeded", part.attempts, "", "$LATEST").await
}
