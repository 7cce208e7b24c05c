//! Every key that SQS writes, and who ranges over it.
//!
//! Messages are kept under their queue's *generation*, a number that a purge replaces: what the old one holds is then out of
//! everyone's sight at once, and the sweeper removes it. All moments are milliseconds since 1970.
//!
//! | Space | Key                                            | Value     | Who ranges over it                            |
//! |-------|------------------------------------------------|-----------|-----------------------------------------------|
//! | meta  | `Qq` account region name                       | `Record`  | `ListQueues`; the sweeper                     |
//! | meta  | `Qd` account region name                       | `Deleted` | the sweeper                                   |
//! | meta  | `Ql` account region dead-letter-queue source   | empty     | `ListDeadLetterSourceQueues`                  |
//! | meta  | `Qt` account region queue started(desc) task   | `Task`    | `ListMessageMoveTasks`                        |
//! | meta  | `Qa` account region queue                      | `Active`  | the mover                                     |
//! | meta  | `Qg` generation                                | `Trash`   | the sweeper                                   |
//! | index | `Qr` generation partition visible-at ordinal tail | `State` | `ReceiveMessage` on a standard queue        |
//! | index | `Qv` generation partition ordinal tail         | moment    | nobody: where `ChangeMessageVisibility` put a row |
//! | index | `Qf` generation partition kind at ticket group | empty     | `ReceiveMessage` on a FIFO queue              |
//! | index | `Qh` generation group                          | `Group`   | the sweeper                                   |
//! | index | `Qm` generation group sequence                 | `State`   | `ReceiveMessage`, `DeleteMessage`: the next of a group |
//! | index | `Qx` generation scope group? id                | `Deduplication` | the sweeper                             |
//! | index | `Qe` generation attempt                        | `Attempt` | the sweeper                                   |
//! | queue | `Qb` generation partition ordinal tail part?   | message   | nobody: headers and body, or a body apart     |

use bytes::Bytes;
use pileus_core::{AccountId, Region};
use pileus_store::key::Descending;
use pileus_store::{KeyBuilder, KeyRange, KeyReader, Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::message::fifo::{Attempt, Deduplication, Group};
use crate::move_task::{Active, Task};
use crate::queue::Record;
use crate::queue::url::Address;

/// How many parts a queue's order is kept in, so that consumers on several nodes seldom meet. Part of the format.
pub const PARTITIONS: u8 = 8;

pub type QueueKey = (AccountId, Region, String);

pub const QUEUES: Table<QueueKey, Record> = Table::new(Space::Meta, *b"Qq");
pub const DELETED: Table<QueueKey, Deleted> = Table::new(Space::Meta, *b"Qd");
pub const SOURCES: Table<(AccountId, Region, String, String), Nothing> = Table::new(Space::Meta, *b"Ql");
pub const TASKS: Table<(AccountId, Region, String, Descending, String), Task> =
    Table::new(Space::Meta, *b"Qt");
pub const ACTIVE: Table<QueueKey, Active> = Table::new(Space::Meta, *b"Qa");
pub const TRASH: Table<u64, Trash> = Table::new(Space::Meta, *b"Qg");
pub const GROUPS: Table<(u64, String), Group> = Table::new(Space::Index, *b"Qh");
pub const DEDUPLICATION: Table<(u64, u8, String, String), Deduplication> = Table::new(Space::Index, *b"Qx");
pub const ATTEMPTS: Table<(u64, String), Attempt> = Table::new(Space::Index, *b"Qe");

/// When a queue of this name was deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deleted {
    pub at: u64,
}

impl Stored for Deleted {}

/// A generation that nobody looks at any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trash {
    pub since: u64,
}

impl Stored for Trash {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nothing {}

impl Stored for Nothing {}

pub fn queue(address: &Address) -> QueueKey {
    (address.account, address.region.clone(), address.name.clone())
}

/// The key of a queue's row.
pub fn queue_row(address: &Address) -> Bytes {
    QUEUES.key(&(address.account, &address.region, address.name.as_str()))
}

/// What waits in a queue: pollers subscribe to it.
pub fn arrivals(generation: u64) -> Bytes {
    tagged(b"Qw", generation).build()
}

/// All rows of one partition of a standard queue, in the order in which they become visible.
pub fn ready(generation: u64, partition: u8) -> Bytes {
    tagged(b"Qr", generation).tag(partition).build()
}

/// What follows `ready` in the key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadySuffix {
    pub visible_at: u64,
    pub ordinal: u64,
    pub tail: u32,
}

impl ReadySuffix {
    pub fn build(&self) -> Bytes {
        KeyBuilder::new().u64(self.visible_at).u64(self.ordinal).u32(self.tail).build()
    }

    pub fn parse(suffix: &[u8]) -> Option<ReadySuffix> {
        let mut reader = KeyReader::new(suffix);
        let suffix = ReadySuffix {
            visible_at: reader.u64().ok()?,
            ordinal: reader.u64().ok()?,
            tail: reader.u32().ok()?,
        };
        reader.end().ok().map(|()| suffix)
    }
}

pub fn join(prefix: &[u8], suffix: &[u8]) -> Bytes {
    KeyBuilder::new().raw(prefix).raw(suffix).build()
}

/// Where `ChangeMessageVisibility` put the row of a message.
pub fn moved(generation: u64, partition: u8, ordinal: u64, tail: u32) -> Bytes {
    tagged(b"Qv", generation).tag(partition).u64(ordinal).u32(tail).build()
}

/// Groups of one partition of a FIFO queue: those whose next message follows the queue's delay, by when it was sent; or
/// those whose next message has a moment of its own, by that.
pub fn groups(generation: u64, partition: u8, kind: u8) -> Bytes {
    tagged(b"Qf", generation).tag(partition).tag(kind).build()
}

/// What follows `groups` in the key of a row.
pub fn group_suffix(at: u64, ticket: u64, group: &str) -> Bytes {
    KeyBuilder::new().u64(at).u64(ticket).str(group).build()
}

/// The group in a suffix.
pub fn suffix_group(suffix: &[u8]) -> Option<String> {
    let mut reader = KeyReader::new(suffix);
    reader.u64().ok()?;
    reader.u64().ok()?;
    reader.str().ok()
}

/// The moment with which both kinds of suffix begin.
pub fn suffix_at(suffix: &[u8]) -> u64 {
    KeyReader::new(suffix).u64().unwrap_or(0)
}

pub fn member(generation: u64, group: &str, sequence: u64) -> Bytes {
    tagged(b"Qm", generation).str(group).u64(sequence).build()
}

/// The messages of a group from `first` on.
pub fn members_from(generation: u64, group: &str, first: u64) -> KeyRange {
    let prefix = tagged(b"Qm", generation).str(group).build();
    KeyRange::prefix(prefix).starting_at(member(generation, group, first))
}

/// All messages of a FIFO queue.
pub fn members(generation: u64) -> KeyRange {
    KeyRange::prefix(tagged(b"Qm", generation).build())
}

/// The sequence number at the end of a key of `member`.
pub fn member_sequence(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Headers and body of a message.
pub fn body(generation: u64, partition: u8, ordinal: u64, tail: u32) -> Bytes {
    tagged(b"Qb", generation).tag(partition).u64(ordinal).u32(tail).build()
}

/// The body alone, where it is too large for the row of the headers.
pub fn body_apart(body: &[u8]) -> Bytes {
    KeyBuilder::new().raw(body).tag(1).build()
}

/// Everything that a generation holds.
pub fn of_generation(generation: u64) -> impl Iterator<Item = (Space, KeyRange)> {
    let index = [b"Qr", b"Qv", b"Qf", b"Qh", b"Qm", b"Qx", b"Qe"].into_iter().map(|tag| (Space::Index, tag));
    index
        .chain([(Space::Queue, b"Qb")])
        .map(move |(space, tag)| (space, KeyRange::prefix(tagged(tag, generation).build())))
}

fn tagged(tag: &[u8; 2], generation: u64) -> KeyBuilder {
    KeyBuilder::new().raw(tag).u64(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_partition_are_ordered_by_the_moment_they_become_visible() {
        let key =
            |visible_at, ordinal| join(&ready(7, 1), &ReadySuffix { visible_at, ordinal, tail: 9 }.build());
        assert!(key(1, 5) < key(2, 0) && key(2, 0) < key(2, 1));
        assert!(KeyRange::prefix(ready(7, 1)).contains(&key(u64::MAX, u64::MAX)));
        let suffix = ReadySuffix { visible_at: 3, ordinal: 4, tail: 5 };
        assert_eq!(ReadySuffix::parse(&suffix.build()), Some(suffix));
        assert_eq!(suffix_at(&suffix.build()), 3);
    }

    #[test]
    fn a_generation_holds_all_that_is_kept_under_it() {
        let group = "g\u{0}1";
        let keys = [
            ready(7, 0),
            moved(7, 0, 1, 2),
            groups(7, 3, 1),
            GROUPS.key(&(7u64, group)),
            member(7, group, 1),
            DEDUPLICATION.key(&(7u64, 0u8, "", "id")),
            ATTEMPTS.key(&(7u64, "a")),
            body_apart(&body(7, 0, 1, 2)),
        ];
        for key in keys {
            assert!(of_generation(7).any(|(_, range)| range.contains(&key)), "{key:?}");
            assert!(!of_generation(8).any(|(_, range)| range.contains(&key)), "{key:?}");
        }
        assert_eq!(suffix_group(&group_suffix(1, 2, group)).as_deref(), Some(group));
        assert_eq!(member_sequence(&member(7, group, 9)), Some(9));
    }
}
