//! Readers: the events of a stream, or of many streams of a group, one after the other in either direction.
//!
//! A stream's chunks may overlap, so a reader opens every chunk that could hold the next event and gives the least of their
//! heads (the greatest, backward). A group is read hour by hour, so only the streams that have events in an hour are open.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use pileus_store::{Direction, KeyRange, Space, Store, StoreError};

use super::chunk::{self, Chunk, SPANS};
use super::position::{Bounds, Position};
use crate::error::LogsError;
use crate::keys;
use crate::limits::HOUR_MS;
use crate::state::Logs;

/// An event as a reader gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub position: Position,
    pub ingested_at: i64,
    pub message: Bytes,
}

impl Found {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message).into_owned()
    }
}

/// The events of one stream.
pub struct StreamReader<'s> {
    store: &'s Store,
    bounds: Bounds,
    direction: Direction,
    lanes: [Lane; 2],
    open: Vec<Open>,
    /// Bytes of chunks read so far.
    pub read_bytes: usize,
}

/// Chunks of one span that are not open yet.
struct Lane {
    span: i64,
    range: KeyRange,
    waiting: VecDeque<(i64, u64, Bytes)>,
    page: usize,
    is_done: bool,
}

/// A chunk whose events are given one by one.
struct Open {
    ordinal: u64,
    ingested_at: i64,
    /// With their index within the chunk, in the direction of reading.
    events: VecDeque<(u32, i64, Bytes)>,
}

impl Open {
    fn head(&self, direction: Direction) -> Option<Position> {
        let head = match direction {
            Direction::Forward => self.events.front(),
            Direction::Backward => self.events.back(),
        };
        head.map(|(index, at, _)| Position { at: *at, ordinal: self.ordinal, index: *index })
    }
}

impl<'s> StreamReader<'s> {
    pub fn new(
        store: &'s Store,
        group: u64,
        stream: u64,
        bounds: Bounds,
        direction: Direction,
    ) -> StreamReader<'s> {
        let lane = |lane: u8| {
            let span = SPANS[usize::from(lane)];
            let (first, end) = (bounds.from.at.saturating_sub(span), bounds.to.at.saturating_add(1));
            let range = keys::chunks(group, stream, lane, first, end);
            Lane { span, range, waiting: VecDeque::new(), page: 2, is_done: bounds.is_empty() }
        };
        let lanes = [lane(0), lane(1)];
        StreamReader { store, bounds, direction, lanes, open: Vec::new(), read_bytes: 0 }
    }

    pub async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        let direction = self.direction;
        loop {
            let heads = self.open.iter().enumerate().filter_map(|(i, open)| Some((open.head(direction)?, i)));
            let best = match direction {
                Direction::Forward => heads.min(),
                Direction::Backward => heads.max(),
            };
            if self.open_next(best.map(|(position, _)| position)).await? {
                continue;
            }
            let Some((position, at)) = best else { return Ok(None) };
            let open = &mut self.open[at];
            let taken = match direction {
                Direction::Forward => open.events.pop_front(),
                Direction::Backward => open.events.pop_back(),
            };
            let ingested_at = open.ingested_at;
            if open.events.is_empty() {
                self.open.swap_remove(at);
            }
            let Some((_, _, message)) = taken else { continue };
            return Ok(Some(Found { position, ingested_at, message }));
        }
    }

    /// Opens one chunk that may hold an event before `best` (after it, backward), if there is one.
    async fn open_next(&mut self, best: Option<Position>) -> Result<bool, StoreError> {
        for lane in &mut self.lanes {
            self.read_bytes += lane.fill(self.store, self.direction).await?;
            let Some((first, ordinal, _)) = lane.waiting.front() else { continue };
            let is_needed = match (best, self.direction) {
                (None, _) => true,
                (Some(best), Direction::Forward) => {
                    Position { at: *first, ordinal: *ordinal, index: 0 } < best
                }
                (Some(best), Direction::Backward) => first.saturating_add(lane.span) >= best.at,
            };
            if is_needed && let Some((first, ordinal, row)) = lane.waiting.pop_front() {
                let Chunk { ingested_at, events } = chunk::decode(first, &row)?;
                let numbered = (0u32..).zip(events).map(|(index, (at, message))| (index, at, message));
                let bounds = self.bounds;
                let inside = numbered
                    .filter(|(index, at, _)| bounds.contains(Position { at: *at, ordinal, index: *index }));
                let events: VecDeque<_> = inside.collect();
                if !events.is_empty() {
                    self.open.push(Open { ordinal, ingested_at, events });
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Lane {
    /// Reads the next page of chunks when none waits. Gives its size in bytes.
    async fn fill(&mut self, store: &Store, direction: Direction) -> Result<usize, StoreError> {
        if self.is_done || !self.waiting.is_empty() {
            return Ok(0);
        }
        let page = match direction {
            Direction::Forward => store.scan(Space::Log, &self.range, self.page).await?,
            Direction::Backward => store.scan_backward(Space::Log, &self.range, self.page).await?,
        };
        // Many readers want a single event; those that go on read more at a time.
        self.page = (self.page * 2).min(32);
        let range = std::mem::take(&mut self.range);
        match page.entries.last() {
            Some(last) if page.more => {
                self.range = match direction {
                    Direction::Forward => range.after(&last.key),
                    Direction::Backward => range.before(&last.key),
                };
            }
            _ => self.is_done = true,
        }
        let mut bytes = 0;
        for entry in page.entries {
            bytes += entry.value.len();
            let (first, ordinal) = keys::chunk_start(&entry.key)
                .ok_or_else(|| StoreError::corrupt("a key of log events is unreadable"))?;
            self.waiting.push_back((first, ordinal, entry.value));
        }
        Ok(bytes)
    }
}

/// Which streams of a group are read.
pub enum Selection {
    All,
    Names(Vec<String>),
    Prefix(String),
}

impl Selection {
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Selection::All => true,
            Selection::Names(names) => names.iter().any(|wanted| wanted == name),
            Selection::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

/// The events of many streams of a group, merged.
pub struct GroupReader<'s> {
    logs: &'s Logs,
    store: &'s Store,
    group: u64,
    selection: &'s Selection,
    bounds: Bounds,
    direction: Direction,
    /// The hours that are still to be read, both ends included; none left when `first > last`.
    hours: (u32, u32),
    streams: Vec<(String, u64, StreamReader<'s>)>,
    heads: BinaryHeap<Head>,
    read_bytes: usize,
}

/// The next event of a stream: the least key first.
type Head = Reverse<(Key, usize, Held)>;
type Key = [u64; 3];

/// Carried by a heap entry, and equal to every other.
struct Held(Found);

impl PartialEq for Held {
    fn eq(&self, _: &Held) -> bool {
        true
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, _: &Held) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

fn order(position: Position, direction: Direction) -> Key {
    let key = [position.at as u64 ^ 1 << 63, position.ordinal, u64::from(position.index)];
    match direction {
        Direction::Forward => key,
        Direction::Backward => key.map(|part| !part),
    }
}

impl<'s> GroupReader<'s> {
    pub fn new(
        logs: &'s Logs,
        store: &'s Store,
        group: u64,
        selection: &'s Selection,
        bounds: Bounds,
        direction: Direction,
    ) -> GroupReader<'s> {
        let hours = if bounds.is_empty() {
            (1, 0)
        } else {
            (chunk::hour_of(bounds.from.at), chunk::hour_of(bounds.to.at))
        };
        GroupReader {
            logs,
            store,
            group,
            selection,
            bounds,
            direction,
            hours,
            streams: Vec::new(),
            heads: BinaryHeap::new(),
            read_bytes: 0,
        }
    }

    /// Bytes of chunks read so far.
    pub fn read_bytes(&self) -> usize {
        self.read_bytes + self.streams.iter().map(|(_, _, reader)| reader.read_bytes).sum::<usize>()
    }

    /// The next event, with the name and the number of its stream.
    pub async fn next(&mut self) -> Result<Option<(&str, u64, Found)>, LogsError> {
        while self.heads.is_empty() {
            if !self.open_hour().await? {
                return Ok(None);
            }
        }
        let Some(Reverse((_, at, Held(found)))) = self.heads.pop() else { return Ok(None) };
        self.push_head(at).await?;
        let (name, stream, _) = &self.streams[at];
        Ok(Some((name, *stream, found)))
    }

    async fn push_head(&mut self, at: usize) -> Result<(), LogsError> {
        if let Some(found) = self.streams[at].2.next().await? {
            let key = order(found.position, self.direction);
            self.heads.push(Reverse((key, at, Held(found))));
        }
        Ok(())
    }

    /// Goes on to the next hour that has events. False after the last.
    async fn open_hour(&mut self) -> Result<bool, LogsError> {
        let (first, last) = self.hours;
        if first > last {
            return Ok(false);
        }
        let range = keys::buckets(self.group, first, last);
        let page = match self.direction {
            Direction::Forward => self.store.scan(Space::Index, &range, 1).await?,
            Direction::Backward => self.store.scan_backward(Space::Index, &range, 1).await?,
        };
        let hour = page.entries.first().and_then(|entry| keys::read_bucket(&entry.key));
        let Some((hour, _)) = hour else {
            self.hours = (1, 0);
            return Ok(false);
        };
        self.hours = match self.direction {
            Direction::Forward => hour.checked_add(1).map_or((1, 0), |next| (next, last)),
            Direction::Backward => hour.checked_sub(1).map_or((1, 0), |next| (first, next)),
        };
        self.read_bytes = self.read_bytes();
        self.streams.clear();
        let start = i64::from(hour) * HOUR_MS;
        let within =
            Bounds { from: Position::first_at(start), to: Position::first_at(start.saturating_add(HOUR_MS)) };
        let bounds = self.bounds.and(within);
        let mut range = keys::bucket_streams(self.group, hour);
        loop {
            let page = self.store.scan(Space::Index, &range, 1_000).await?;
            let Some(last) = page.entries.last() else { break };
            range = range.after(&last.key);
            for entry in &page.entries {
                let Some((_, stream)) = keys::read_bucket(&entry.key) else { continue };
                let name = String::from_utf8_lossy(&entry.value).into_owned();
                // A deleted stream's rows wait for the sweeper; one of the same name has another number.
                let known = self.logs.find_stream(self.store, self.group, &name).await?;
                if self.selection.takes(&name) && known.is_some_and(|record| record.id == stream) {
                    let reader = StreamReader::new(self.store, self.group, stream, bounds, self.direction);
                    self.streams.push((name, stream, reader));
                }
            }
            if !page.more {
                break;
            }
        }
        for at in 0..self.streams.len() {
            self.push_head(at).await?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pileus_core::SeededRng;
    use pileus_platform::MovableClock;
    use pileus_store::{Batch, Durability};
    use proptest::prelude::*;

    use super::*;

    async fn read_all(store: &Store, bounds: Bounds, direction: Direction) -> Vec<(i64, u64, u32)> {
        let mut reader = StreamReader::new(store, 1, 2, bounds, direction);
        let mut found = Vec::new();
        while let Some(Found { position, .. }) = reader.next().await.expect("readable") {
            found.push((position.at, position.ordinal, position.index));
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn overlapping_batches_are_read_in_order_in_either_direction(
            batches in prop::collection::vec(prop::collection::vec(0i64..9_000_000, 1..40), 1..12),
            wide in prop::collection::vec(0i64..9_000_000, 700..900),
            from in 0i64..9_000_000,
            length in 0i64..9_000_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let clock = Arc::new(MovableClock::system());
                let store = Store::memory(clock, Arc::new(SeededRng::new(1))).unwrap();
                let mut expected = Vec::new();
                let mut ordinal = 0;
                for mut times in batches.into_iter().chain([wide]) {
                    times.sort_unstable();
                    let events: Vec<chunk::Event> = times.iter().map(|at| (*at, Bytes::from("x"))).collect();
                    let (lane, runs) = chunk::split(&events);
                    let mut batch = Batch::new();
                    for run in runs {
                        ordinal += 1;
                        let key = keys::chunk(1, 2, lane, run[0].0, ordinal);
                        batch = batch.put(Space::Log, key, chunk::encode(0, run));
                        expected.extend((0u32..).zip(run).map(|(index, (at, _))| (*at, ordinal, index)));
                    }
                    store.write(batch, Durability::Durable).await.unwrap();
                }
                expected.sort_unstable();
                let all = Bounds { from: Position::first_at(i64::MIN), to: Position::END };
                let part = Bounds { from: Position::first_at(from), to: Position::first_at(from + length) };
                for bounds in [all, part] {
                    let mut inside = expected.clone();
                    inside.retain(|(at, ordinal, index)| {
                        bounds.contains(Position { at: *at, ordinal: *ordinal, index: *index })
                    });
                    assert_eq!(read_all(&store, bounds, Direction::Forward).await, inside);
                    inside.reverse();
                    assert_eq!(read_all(&store, bounds, Direction::Backward).await, inside);
                }
            });
        }
    }
}
