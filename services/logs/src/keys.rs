//! Every key that CloudWatch Logs writes, its value, and who ranges over it.
//!
//! | Table | Key | Value | Ranged over by |
//! |---|---|---|---|
//! | `GROUPS` | account, region, name | the group and its subscription filters | `DescribeLogGroups`, sweeper |
//! | `STREAMS` | group, name | the stream | `DescribeLogStreams` |
//! | `STATS` | group, stream | what a stream holds, nearly | `DescribeLogStreams` by last event |
//! | `METRIC_FILTERS` | group, name | a metric filter | `DescribeMetricFilters` |
//! | `POLICIES` | account, region, name | a resource policy | `DescribeResourcePolicies` |
//! | `QUERIES` | account, region, id | a query of Logs Insights | |
//! | `RECENT` | account, region, newest first, id | nothing | `DescribeQueries`, sweeper |
//! | `RESULTS` | query, part | rows of its answer | `GetQueryResults` |
//! | `DEFINITIONS` | account, region, id | a saved query | `DescribeQueryDefinitions` |
//! | `TRASH` | group, stream | nothing | sweeper |
//! | chunk | group, stream, lane, first time, ordinal | events (`event/chunk.rs`) | readers (`event/read.rs`) |
//! | bucket | group, hour, stream | the stream's name | readers of groups, retention |
//! | tail | group, ordinal | where new chunks lie | `StartLiveTail` |
//!
//! Groups and streams are kept under numbers of their own: a group that is deleted and made again is another one, and the
//! sweeper removes the old rows.

use bytes::Bytes;
use pileus_core::{AccountId, Region};
use pileus_store::due::Due;
use pileus_store::key::Descending;
use pileus_store::{KeyBuilder, KeyRange, KeyReader, Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::group::GroupRecord;
use crate::metric_filter::MetricFilterRecord;
use crate::query::definition::DefinitionRecord;
use crate::query::job::{QueryRecord, ResultPart};
use crate::resource_policy::PolicyRecord;
use crate::stream::{Stats, StreamRecord};

pub type Named = (AccountId, Region, String);

pub const GROUPS: Table<Named, GroupRecord> = Table::new(Space::Meta, *b"Lg");
pub const STREAMS: Table<(u64, String), StreamRecord> = Table::new(Space::Meta, *b"Ls");
pub const STATS: Table<(u64, u64), Stats> = Table::new(Space::Index, *b"La");
pub const METRIC_FILTERS: Table<(u64, String), MetricFilterRecord> = Table::new(Space::Meta, *b"Lm");
pub const POLICIES: Table<Named, PolicyRecord> = Table::new(Space::Meta, *b"Lp");
pub const QUERIES: Table<Named, QueryRecord> = Table::new(Space::Items, *b"Lq");
pub const RECENT: Table<(AccountId, Region, Descending, String), Nothing> = Table::new(Space::Index, *b"Lq");
pub const RESULTS: Table<(String, u32), ResultPart> = Table::new(Space::Items, *b"Lr");
pub const DEFINITIONS: Table<Named, DefinitionRecord> = Table::new(Space::Meta, *b"Ld");
/// A stream of zero is the whole group.
pub const TRASH: Table<(u64, u64), Nothing> = Table::new(Space::Meta, *b"Lx");

/// What a change here causes elsewhere or later: deliveries to subscriptions, queries to run.
pub const WORK: Due = Due::new(Space::Queue, *b"Lw", "logs-work");

/// A row that says all in its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nothing {}

impl Stored for Nothing {}

const CHUNK: &[u8; 2] = b"Le";
const BUCKET: &[u8; 2] = b"Lb";
const TAIL: &[u8; 2] = b"Lt";

/// The chunks of a stream in one lane, from `first` to before `end` (times of their first events).
pub fn chunks(group: u64, stream: u64, lane: u8, first: i64, end: i64) -> KeyRange {
    let at = |time: i64| lane_prefix(group, stream, lane).i64(time).build();
    KeyRange::new(at(first), at(end))
}

pub fn chunk(group: u64, stream: u64, lane: u8, first: i64, ordinal: u64) -> Bytes {
    lane_prefix(group, stream, lane).i64(first).u64(ordinal).build()
}

/// The time of a chunk's first event and the chunk's ordinal, from the end of its key.
pub fn chunk_start(key: &[u8]) -> Option<(i64, u64)> {
    let mut reader = KeyReader::new(key.get(key.len().checked_sub(16)?..)?);
    Some((reader.i64().ok()?, reader.u64().ok()?))
}

fn lane_prefix(group: u64, stream: u64, lane: u8) -> KeyBuilder {
    KeyBuilder::new().raw(CHUNK).u64(group).u64(stream).tag(lane)
}

pub fn bucket(group: u64, hour: u32, stream: u64) -> Bytes {
    KeyBuilder::new().raw(BUCKET).u64(group).u32(hour).u64(stream).build()
}

/// The streams that have events in one hour.
pub fn bucket_streams(group: u64, hour: u32) -> KeyRange {
    KeyRange::prefix(KeyBuilder::new().raw(BUCKET).u64(group).u32(hour).build())
}

/// The hours of a group from `first` to `last`, both included.
pub fn buckets(group: u64, first: u32, last: u32) -> KeyRange {
    let prefix = || KeyBuilder::new().raw(BUCKET).u64(group);
    let after = KeyRange::prefix(prefix().u32(last).build()).end;
    KeyRange { start: prefix().u32(first).build(), end: after }
}

/// Hour and stream of a bucket's row.
pub fn read_bucket(key: &[u8]) -> Option<(u32, u64)> {
    let mut reader = KeyReader::new(key);
    reader.fixed::<2>().ok()?;
    reader.u64().ok()?;
    Some((reader.u32().ok()?, reader.u64().ok()?))
}

pub fn tail(group: u64, ordinal: u64) -> Bytes {
    KeyBuilder::new().raw(TAIL).u64(group).u64(ordinal).build()
}

/// What was put into a group under live tail, from `ordinal` on.
pub fn tails_from(group: u64, ordinal: u64) -> KeyRange {
    KeyRange::prefix(KeyBuilder::new().raw(TAIL).u64(group).build()).starting_at(tail(group, ordinal))
}

/// Wakes the sessions that tail a group.
pub fn tail_topic(group: u64) -> String {
    format!("logs/tail/{group}")
}

/// Everything of a stream that the sweeper removes by range.
pub fn of_stream(group: u64, stream: u64) -> KeyRange {
    KeyRange::prefix(KeyBuilder::new().raw(CHUNK).u64(group).u64(stream).build())
}

/// Everything of a group.
pub fn of_group(group: u64) -> Vec<(Space, KeyRange)> {
    let tagged = |tag: &[u8; 2]| KeyRange::prefix(KeyBuilder::new().raw(tag).u64(group).build());
    vec![
        (Space::Log, tagged(CHUNK)),
        (Space::Index, tagged(BUCKET)),
        (Space::Queue, tagged(TAIL)),
        (STREAMS.space(), STREAMS.under(&(group,))),
        (STATS.space(), STATS.under(&(group,))),
        (METRIC_FILTERS.space(), METRIC_FILTERS.under(&(group,))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_chunks_sort_by_time_and_are_read_back() {
        let keys = [chunk(1, 2, 0, -5, 9), chunk(1, 2, 0, 5, 1), chunk(1, 2, 0, 5, 2), chunk(1, 2, 1, 0, 0)];
        assert!(keys.is_sorted());
        assert_eq!(chunk_start(&keys[0]), Some((-5, 9)));
        let range = chunks(1, 2, 0, 5, 6);
        assert_eq!(keys.each_ref().map(|key| range.contains(key)), [false, true, true, false]);
        assert_eq!(chunk_start(b"short"), None);
    }

    #[test]
    fn a_group_holds_all_that_is_kept_under_it() {
        let keys = [
            (Space::Log, chunk(7, 1, 0, 1, 1)),
            (Space::Index, bucket(7, 3, 1)),
            (Space::Queue, tail(7, 1)),
            (Space::Meta, STREAMS.key(&(7u64, "s"))),
            (Space::Index, STATS.key(&(7u64, 1u64))),
            (Space::Meta, METRIC_FILTERS.key(&(7u64, "f"))),
        ];
        for (space, key) in keys {
            let holds =
                |group| of_group(group).iter().any(|(of, range)| *of == space && range.contains(&key));
            assert!(holds(7) && !holds(8), "{key:?}");
        }
        assert_eq!(read_bucket(&bucket(7, 3, 1)), Some((3, 1)));
        assert!(buckets(7, 2, 3).contains(&bucket(7, 3, u64::MAX)));
        assert!(!buckets(7, 2, 3).contains(&bucket(7, 4, 0)));
    }
}
