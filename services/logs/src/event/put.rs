//! `PutLogEvents`: one transaction, one commit.
//!
//! Source: CloudWatch Logs API Reference, "PutLogEvents", "RejectedLogEventsInfo". Recorded: the sentences.

use std::sync::Arc;

use bytes::Bytes;
use pileus_api_logs::{InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};
use pileus_platform::Cx;
use pileus_store::{Space, StoreError};

use super::chunk::{self, Event};
use super::position::Position;
use crate::address::Address;
use crate::error::LogsError;
use crate::group::Group;
use crate::keys::{self, STATS};
use crate::limits::{EVENT_OVERHEAD, MAX_BATCH_BYTES, MAX_BATCH_SPAN_MS, MAX_FUTURE_MS, MAX_PAST_MS};
use crate::state::{Logs, ORDINAL_STEP, millis};
use crate::stream::{Stats, StreamRecord};
use crate::{subscription, tail};

/// What is kept of a batch, and what is not.
#[derive(Debug, PartialEq)]
struct Sorted {
    events: Vec<Event>,
    rejected: Option<RejectedLogEventsInfo>,
}

/// # Errors
/// `InvalidParameterException`
fn sort_out(batch: Vec<InputLogEvent>, now: i64, oldest_kept: i64) -> Result<Sorted, LogsError> {
    let mut bytes = 0;
    let mut events: Vec<Event> = Vec::with_capacity(batch.len());
    for event in batch {
        let (at, message) = (event.timestamp.unwrap_or_default(), event.message.unwrap_or_default());
        bytes += message.len() + EVENT_OVERHEAD;
        events.push((at, Bytes::from(message)));
    }
    if bytes > MAX_BATCH_BYTES {
        return Err(LogsError::invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {MAX_BATCH_BYTES}"
        )));
    }
    if !events.is_sorted_by_key(|(at, _)| *at) {
        return Err(LogsError::invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let before = |limit: i64| events.iter().take_while(|(at, _)| *at < limit).count();
    let (too_old, expired) = (before(now - MAX_PAST_MS), before(oldest_kept));
    let new = before(now + MAX_FUTURE_MS + 1);
    let index = |count: usize| (count > 0).then_some(count as i64);
    let info = RejectedLogEventsInfo {
        too_new_log_event_start_index: (new < events.len()).then_some(new as i64),
        too_old_log_event_end_index: index(too_old),
        // Those that are too old for everyone are not named twice.
        expired_log_event_end_index: index(expired).filter(|_| expired > too_old),
    };
    let rejected = Some(info).filter(|info| *info != RejectedLogEventsInfo::default());
    let first = too_old.max(expired).min(new);
    events.truncate(new);
    events.drain(..first);
    if let (Some((first, _)), Some((last, _))) = (events.first(), events.last())
        && last - first > MAX_BATCH_SPAN_MS
    {
        return Err(LogsError::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(Sorted { events, rejected })
}

pub async fn put_log_events(cx: &Cx, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = input.log_stream_name.unwrap_or_default();
    if input.entity.is_some() {
        return Err(LogsError::lacking("entities of log events (entity)"));
    }
    let logs = cx.state::<Logs>();
    let group = logs.group(cx.store(), &address).await?;
    let stream = logs.stream(cx.store(), group.id(), &name).await?;
    let now = millis(cx.now());
    let batch = input.log_events.unwrap_or_default();
    let Sorted { events, rejected } = sort_out(batch, now, group.oldest_kept(now))?;
    let first = logs.ordinals(cx.rng().as_ref(), cx.now(), events.len() as u64);
    if !events.is_empty() {
        Batch { cx, address: &address, name: &name, events, now, first }.put(&group, &stream).await?;
    }
    Ok(PutLogEventsResponse {
        next_sequence_token: Some(Position { at: now, ordinal: first, index: 0 }.event_id()),
        rejected_log_events_info: rejected,
        rejected_entity_info: None,
    })
}

struct Batch<'a> {
    cx: &'a Cx,
    address: &'a Address,
    name: &'a str,
    events: Vec<Event>,
    now: i64,
    /// Ordinal of the first chunk.
    first: u64,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    pub lane: u8,
    pub first: i64,
    pub ordinal: u64,
}

impl Batch<'_> {
    async fn put(&self, group: &Arc<Group>, stream: &Arc<StreamRecord>) -> Result<(), LogsError> {
        let (logs, store) = (self.cx.state::<Logs>(), self.cx.store());
        let (lane, runs) = chunk::split(&self.events);
        let chunks: Vec<(Place, Bytes)> = (0u64..)
            .zip(&runs)
            .map(|(i, run)| {
                let place = Place { lane, first: run[0].0, ordinal: self.first + i * ORDINAL_STEP };
                (place, chunk::encode(self.now, run))
            })
            .collect();
        let mut hours: Vec<u32> = runs.iter().map(|run| chunk::hour_of(run[0].0)).collect();
        hours.dedup();
        let bytes = self.events.iter().map(|(_, message)| message.len() + EVENT_OVERHEAD).sum::<usize>();
        let more = Stats {
            last_event: self.events.last().map_or(0, |(at, _)| *at),
            last_ingestion: self.now,
            bytes: bytes as i64,
        };
        let stats = logs.add_stats(store, (group.id(), stream.id), more).await?;
        let (chunks, stats, written) = (&chunks, &stats, &hours);
        store
            .transact(|txn| async move {
                let group = logs.group_as_known(&txn, self.address).await?;
                let stream = logs.stream_as_known(&txn, group.id(), self.name).await?;
                let (group_id, stream_id) = (group.id(), stream.id);
                for (place, row) in chunks {
                    let key = keys::chunk(group_id, stream_id, place.lane, place.first, place.ordinal);
                    // No two batches share an ordinal, unless two nodes drew the same twelve bits.
                    if !txn.put_if_absent(Space::Log, key, row.clone()).await? {
                        return Err(StoreError::Contention { attempts: 1 }.into());
                    }
                }
                // Older hours may have been swept meanwhile, by another node.
                let recent = chunk::hour_of(self.now).saturating_sub(3);
                let is_written = |hour: u32| hour >= recent && logs.knows_hour(stream_id, hour);
                for hour in written.iter().filter(|hour| !is_written(**hour)) {
                    let key = keys::bucket(group_id, *hour, stream_id);
                    txn.put(Space::Index, key, self.name.as_bytes().to_vec());
                }
                STATS.put(&txn, &(group_id, stream_id), stats)?;
                tail::announce(&txn, &group, stream_id, self.name, chunks, self.now)?;
                subscription::enqueue(&txn, self.cx, &group, stream_id, self.name, chunks, &self.events)
            })
            .await?;
        logs.remember_hours(stream.id, hours);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DAY_MS, HOUR_MS};

    const NOW: i64 = 1_700_000_000_000;

    fn batch(times: &[i64]) -> Vec<InputLogEvent> {
        times
            .iter()
            .map(|at| InputLogEvent { timestamp: Some(NOW + at), message: Some("x".into()) })
            .collect()
    }

    #[test]
    fn what_is_too_old_or_too_new_is_left_out_and_named() {
        const DAY: i64 = DAY_MS;
        /// Name, times, retention in days, kept; too new from, too old to, expired to.
        type Case = (&'static str, &'static [i64], i64, usize, [Option<i64>; 3]);
        let cases: [Case; 6] = [
            ("all fit", &[-DAY, 0], 30, 2, [None, None, None]),
            ("the edges", &[-14 * DAY, -14 * DAY + 1], 30, 2, [None, None, None]),
            ("two hours", &[0, 2 * HOUR_MS, 2 * HOUR_MS + 1], 30, 2, [Some(2), None, None]),
            ("too old", &[-15 * DAY, -14 * DAY - 1, 0], 30, 1, [None, Some(2), None]),
            ("expired", &[-15 * DAY, -8 * DAY, -1], 7, 1, [None, Some(1), Some(2)]),
            ("nothing left", &[-15 * DAY, DAY], 7, 0, [Some(1), Some(1), None]),
        ];
        for (name, times, days, kept, [new, old, expired]) in cases {
            let sorted = sort_out(batch(times), NOW, NOW - days * DAY).expect(name);
            assert_eq!(sorted.events.len(), kept, "{name}");
            let info = sorted.rejected.unwrap_or_default();
            let found = [
                info.too_new_log_event_start_index,
                info.too_old_log_event_end_index,
                info.expired_log_event_end_index,
            ];
            assert_eq!(found, [new, old, expired], "{name}");
        }
    }

    #[test]
    fn a_batch_out_of_order_too_long_or_too_large_is_refused() {
        assert!(sort_out(batch(&[1, 0]), NOW, 0).is_err());
        assert!(sort_out(batch(&[-25 * HOUR_MS, 0]), NOW, 0).is_err());
        let sized = |size| vec![InputLogEvent { timestamp: Some(NOW), message: Some("x".repeat(size)) }];
        assert!(sort_out(sized(MAX_BATCH_BYTES - EVENT_OVERHEAD), NOW, 0).is_ok());
        assert!(sort_out(sized(MAX_BATCH_BYTES - EVENT_OVERHEAD + 1), NOW, 0).is_err());
    }
}
