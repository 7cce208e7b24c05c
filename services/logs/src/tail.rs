//! `StartLiveTail`: events as they come.
//!
//! A session marks its groups as tailed; from then on each batch leaves a row that says where its chunks lie, and wakes the
//! sessions. So sessions see what any node takes in, and groups that nobody tails pay nothing.
//!
//! Source: CloudWatch Logs API Reference, "StartLiveTail" (three hours, 500 events a second, an update each second).

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::future::select_all;
use pileus_api_logs::{
    LiveTailSessionLogEvent, LiveTailSessionMetadata, LiveTailSessionStart, LiveTailSessionUpdate,
    SessionTimeoutException, StartLiveTailRequest, StartLiveTailResponse, StartLiveTailResponseStream,
};
use pileus_platform::{Cx, Fault};
use pileus_store::{Space, Store, Stored, Subscription, Txn, table};
use pileus_wire::value::{Event, EventStream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::address::Address;
use crate::error::LogsError;
use crate::event::chunk;
use crate::event::put::Place;
use crate::event::read::Selection;
use crate::group::{self, Group};
use crate::keys;
use crate::pattern::Pattern;
use crate::state::{Logs, ORDINAL_STEP, millis};

const SESSION: Duration = Duration::from_secs(3 * 3_600);
const MAX_GROUPS: usize = 10;
const MAX_EVENTS: usize = 500;
const INTERVAL: Duration = Duration::from_secs(1);
/// Batches whose commits overtook each other are looked for as far back.
const OVERLAP_MS: i64 = 10_000;
/// Updates that a slow client may be behind before the session waits for it.
const QUEUED: usize = 4;

/// Where a batch lies that came into a tailed group.
#[derive(Debug, Serialize, Deserialize)]
struct Announced {
    stream: u64,
    stream_name: String,
    places: Vec<Place>,
}

impl Stored for Announced {}

/// Tells the sessions of a batch, if the group has any.
pub fn announce(
    txn: &Txn,
    group: &Group,
    stream: u64,
    stream_name: &str,
    chunks: &[(Place, Bytes)],
    now: i64,
) -> Result<(), LogsError> {
    let Some((first, _)) = chunks.first().filter(|_| group.record.tailed_until > now) else { return Ok(()) };
    let places = chunks.iter().map(|(place, _)| *place).collect();
    let announced = Announced { stream, stream_name: stream_name.to_owned(), places };
    txn.put(Space::Queue, keys::tail(group.id(), first.ordinal), table::encode(&announced)?);
    txn.notify(keys::tail_topic(group.id()));
    Ok(())
}

pub async fn start_live_tail(
    cx: &Cx,
    input: StartLiveTailRequest,
) -> Result<StartLiveTailResponse, LogsError> {
    let identifiers = input.log_group_identifiers.unwrap_or_default();
    if identifiers.is_empty() || identifiers.len() > MAX_GROUPS {
        return Err(LogsError::invalid("A live tail session has 1 to 10 log groups."));
    }
    let pattern = input.log_event_filter_pattern;
    let compiled = Pattern::parse(pattern.as_deref().unwrap_or_default())?;
    let (names, prefixes) = (input.log_stream_names, input.log_stream_name_prefixes);
    if names.is_some() && prefixes.is_some() {
        return Err(LogsError::invalid(
            "LogStream names and LogStream name prefixes are mutually exclusive parameters.",
        ));
    }
    if (names.is_some() || prefixes.is_some()) && identifiers.len() > 1 {
        return Err(LogsError::invalid("Log streams can be named for a single log group only."));
    }
    let selections = match (&names, &prefixes) {
        (Some(names), _) => vec![Selection::Names(names.clone())],
        (None, Some(prefixes)) => prefixes.iter().cloned().map(Selection::Prefix).collect(),
        (None, None) => vec![Selection::All],
    };
    let ends_at = cx.now() + SESSION;
    let (until, mut tailed) = (millis(ends_at), Vec::new());
    for identifier in &identifiers {
        if !identifier.starts_with("arn:") {
            return Err(LogsError::invalid("Log groups of a live tail session are named by their ARNs."));
        }
        let address = Address::identified(cx, identifier)?;
        group::change(cx, &address, |record| {
            record.tailed_until = record.tailed_until.max(until);
            Ok(())
        })
        .await?;
        let id = cx.state::<Logs>().group(cx.store(), &address).await?.id();
        let woken = cx.store().subscribe(&keys::tail_topic(id).into());
        tailed.push(Tailed { id, arn: address.arn(), woken, seen: HashSet::new() });
    }
    let (sender, receiver) = mpsc::channel(QUEUED);
    let start = LiveTailSessionStart {
        request_id: Some(cx.request_id().to_owned()),
        session_id: Some(cx.ids().uuid()),
        log_group_identifiers: Some(identifiers),
        log_stream_names: names,
        log_stream_name_prefixes: prefixes,
        log_event_filter_pattern: pattern,
    };
    let began_at = millis(cx.now());
    let session = Session { cx: cx.clone(), sender, tailed, selections, pattern: compiled, began_at, until };
    tokio::spawn(session.run(start));
    Ok(StartLiveTailResponse { response_stream: EventStream::new(Updates(receiver)) })
}

type Item = Result<Event, Fault>;

/// What a session sends, as the stream that the client reads.
struct Updates(mpsc::Receiver<Item>);

impl Stream for Updates {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.poll_recv(context)
    }
}

struct Tailed {
    id: u64,
    arn: String,
    woken: Subscription,
    /// Ordinals that were sent, of the last seconds.
    seen: HashSet<u64>,
}

struct Session {
    cx: Cx,
    sender: mpsc::Sender<Item>,
    tailed: Vec<Tailed>,
    selections: Vec<Selection>,
    pattern: Pattern,
    began_at: i64,
    until: i64,
}

impl Session {
    /// Until the client is gone, or three hours have passed.
    async fn run(mut self, start: LiveTailSessionStart) {
        if !self.send(StartLiveTailResponseStream::SessionStart(start)).await {
            return;
        }
        let clock = self.cx.clock().clone();
        loop {
            let tick = clock.sleep_until(clock.now() + INTERVAL);
            let closed = self.sender.clone();
            let wakes: Vec<_> =
                self.tailed.iter_mut().map(|tailed| Box::pin(tailed.woken.changed())).collect();
            tokio::select! {
                biased;
                () = closed.closed() => return,
                _ = select_all(wakes) => {}
                () = tick => {}
            }
            let now = millis(clock.now());
            if now >= self.until {
                let message = Some("Your Live Tail session has ended.".to_owned());
                let end =
                    StartLiveTailResponseStream::SessionTimeoutException(SessionTimeoutException { message });
                self.send(end).await;
                return;
            }
            let update = match self.update(now).await {
                Ok(update) => update,
                Err(error) => {
                    // The client is gone as well, or it is told.
                    let _ = self.sender.send(Err(error.into())).await;
                    return;
                }
            };
            if !self.send(StartLiveTailResponseStream::SessionUpdate(update)).await {
                return;
            }
        }
    }

    /// False when the client is gone.
    async fn send(&self, event: StartLiveTailResponseStream) -> bool {
        self.sender.send(Ok(Box::new(event))).await.is_ok()
    }

    /// What came since the last update; a part of it if it is too much.
    async fn update(&mut self, now: i64) -> Result<LiveTailSessionUpdate, LogsError> {
        let mut events = Vec::new();
        let from = ordinal_at((now - OVERLAP_MS).max(self.began_at));
        let store = self.cx.store().clone();
        for tailed in &mut self.tailed {
            tailed.seen.retain(|ordinal| *ordinal >= from);
            let mut range = keys::tails_from(tailed.id, from);
            loop {
                let page = store.scan(Space::Queue, &range, 500).await?;
                let Some(last) = page.entries.last() else { break };
                range = range.after(&last.key);
                for entry in &page.entries {
                    let ordinal = entry.key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
                    if ordinal.is_none_or(|ordinal| !tailed.seen.insert(ordinal)) {
                        continue;
                    }
                    let announced: Announced = table::decode(&entry.value)?;
                    if self.selections.iter().any(|selection| selection.takes(&announced.stream_name)) {
                        read(&store, tailed, &announced, &self.pattern, &mut events).await?;
                    }
                }
                if !page.more {
                    break;
                }
            }
        }
        let sampled = events.len() > MAX_EVENTS;
        if sampled {
            let every = events.len().div_ceil(MAX_EVENTS);
            events = events.into_iter().step_by(every).collect();
        }
        events.sort_by_key(|event: &LiveTailSessionLogEvent| event.timestamp);
        Ok(LiveTailSessionUpdate {
            session_metadata: Some(LiveTailSessionMetadata { sampled: Some(sampled) }),
            session_results: Some(events),
        })
    }
}

fn ordinal_at(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000).saturating_mul(ORDINAL_STEP)
}

/// Reads the matching events of a batch.
async fn read(
    store: &Store,
    tailed: &Tailed,
    announced: &Announced,
    pattern: &Pattern,
    events: &mut Vec<LiveTailSessionLogEvent>,
) -> Result<(), LogsError> {
    for place in &announced.places {
        let key = keys::chunk(tailed.id, announced.stream, place.lane, place.first, place.ordinal);
        let Some(row) = store.get(Space::Log, &key).await? else { continue };
        let chunk = chunk::decode(place.first, &row)?;
        for (at, message) in chunk.events {
            let text = String::from_utf8_lossy(&message);
            if pattern.matches(&text) {
                events.push(LiveTailSessionLogEvent {
                    log_stream_name: Some(announced.stream_name.clone()),
                    log_group_identifier: Some(tailed.arn.clone()),
                    message: Some(text.into_owned()),
                    timestamp: Some(at),
                    ingestion_time: Some(chunk.ingested_at),
                });
            }
        }
    }
    Ok(())
}
