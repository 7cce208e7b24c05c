//! Chunks: runs of events that are stored as one row. Pure.
//!
//! A batch is cut into chunks that lie within one hour, hold about 128 KiB, and span at most a second, or, when that would
//! make too many, 150 seconds. Chunks of either span lie in a lane of their own. So a reader that wants the events of a moment
//! knows how far before it the chunks may begin that hold them.

use bytes::Bytes;
use pileus_store::StoreError;

use crate::limits::HOUR_MS;

/// The longest span of a lane's chunks, in milliseconds.
pub const SPANS: [i64; 2] = [1_000, 150_000];
/// More chunks than this make the batch take the wider lane. Below the number of keys of a transaction, with room for others.
const MAX_NARROW: usize = 600;
const CHUNK_BYTES: usize = 128 << 10;
const FORMAT: u8 = 1;

/// An event: when, and what.
pub type Event = (i64, Bytes);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub ingested_at: i64,
    pub events: Vec<Event>,
}

/// Cuts a batch in order of time into runs. Gives the lane that all of them belong to.
pub fn split(events: &[Event]) -> (u8, Vec<&[Event]>) {
    let narrow = cut(events, SPANS[0]);
    if narrow.len() <= MAX_NARROW { (0, narrow) } else { (1, cut(events, SPANS[1])) }
}

fn cut(mut events: &[Event], span: i64) -> Vec<&[Event]> {
    let mut runs = Vec::new();
    while let Some((first, _)) = events.first() {
        let mut bytes = 0;
        let fits = |(at, message): &&Event| {
            bytes += message.len() + 8;
            at - first <= span && hour_of(*at) == hour_of(*first) && bytes <= CHUNK_BYTES
        };
        let length = events.iter().take_while(fits).count().max(1);
        let (run, rest) = events.split_at(length);
        runs.push(run);
        events = rest;
    }
    runs
}

/// Hours since 1970.
pub fn hour_of(at: i64) -> u32 {
    u32::try_from(at.div_euclid(HOUR_MS)).unwrap_or(if at < 0 { 0 } else { u32::MAX })
}

/// Format, ingestion time, then for each event the time since the one before, the length, the message.
pub fn encode(ingested_at: i64, events: &[Event]) -> Bytes {
    let size = events.iter().map(|(_, message)| message.len() + 6).sum::<usize>();
    let mut out = Vec::with_capacity(size + 24);
    out.push(FORMAT);
    out.extend_from_slice(&ingested_at.to_be_bytes());
    let mut before = events.first().map_or(0, |(at, _)| *at);
    for (at, message) in events {
        put_number(&mut out, u64::try_from(at - before).unwrap_or(0));
        put_number(&mut out, message.len() as u64);
        out.extend_from_slice(message);
        before = *at;
    }
    out.into()
}

/// `first` is the time of the first event, from the row's key. Messages share the row's bytes.
pub fn decode(first: i64, row: &Bytes) -> Result<Chunk, StoreError> {
    let corrupt = || StoreError::corrupt("a chunk of log events is unreadable");
    let (&format, head) = row.split_first().ok_or_else(corrupt)?;
    let ingested_at = head.first_chunk::<8>().ok_or_else(corrupt)?;
    if format != FORMAT {
        return Err(corrupt());
    }
    let mut rest = row.slice(9..);
    let (mut at, mut events) = (first, Vec::new());
    while !rest.is_empty() {
        let passed = take_number(&mut rest).ok_or_else(corrupt)?;
        let length = take_number(&mut rest).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= rest.len()).ok_or_else(corrupt)?;
        at = i64::try_from(passed).ok().and_then(|passed| at.checked_add(passed)).ok_or_else(corrupt)?;
        events.push((at, rest.split_to(length)));
    }
    Ok(Chunk { ingested_at: i64::from_be_bytes(*ingested_at), events })
}

/// Seven bits a byte, the least first.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(from: &mut Bytes) -> Option<u64> {
    let mut number = 0;
    for (i, byte) in from.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            let _ = from.split_to(i + 1);
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch() -> impl Strategy<Value = Vec<Event>> {
        prop::collection::vec((0i64..90_000, 0usize..60_000), 0..60).prop_map(|steps| {
            let mut at = 1_700_000_000_000;
            let mut next = |(step, length): (i64, usize)| {
                at += step;
                (at, Bytes::from(vec![b'x'; length]))
            };
            steps.into_iter().map(&mut next).collect()
        })
    }

    proptest! {
        #[test]
        fn a_batch_is_cut_into_runs_that_keep_its_order_and_their_lanes_span(events in batch()) {
            let (lane, runs) = split(&events);
            let joined: Vec<Event> = runs.concat();
            prop_assert_eq!(&joined, &events);
            for run in runs {
                let (first, last) = (run[0].0, run[run.len() - 1].0);
                prop_assert!(last - first <= SPANS[usize::from(lane)] && hour_of(first) == hour_of(last));
                let bytes: usize = run.iter().map(|(_, message)| message.len()).sum();
                prop_assert!(run.len() == 1 || bytes <= CHUNK_BYTES);
                let chunk = decode(first, &encode(7, run)).unwrap();
                prop_assert_eq!(chunk, Chunk { ingested_at: 7, events: run.to_vec() });
            }
        }

        #[test]
        fn foreign_bytes_are_an_error_at_worst(bytes: Vec<u8>) {
            let _ = decode(0, &bytes.into());
        }
    }

    #[test]
    fn a_sparse_batch_takes_the_wide_lane_and_stays_within_a_transaction() {
        let events: Vec<Event> =
            (0..10_000).map(|i| (1_700_000_000_000 + i * 8_640, Bytes::from_static(b"x"))).collect();
        let (lane, runs) = split(&events);
        assert_eq!(lane, 1);
        assert!(runs.len() < 650, "{}", runs.len());
    }

    #[test]
    fn the_largest_event_fits_a_row() {
        let events = [(i64::MAX, Bytes::from(vec![b'x'; 1_048_576 - 26]))];
        assert!(encode(i64::MAX, &events).len() <= 1 << 20);
    }
}
