//! Rows that become due: `<tag> <shard> <due> <kind> <id>`, the common ground of timers and the outbox.
//!
//! A row is written and removed in transactions; nothing sleeps for it. Runners (`runner.rs`) look at the first rows of
//! their shards. Shards let several nodes share the work; a row's shard follows from its kind and id.
//!
//! A row that failed moves to a later moment, and leaves word at `<tag> <SHARDS> <kind> <id> <due>` of where it is: who knows
//! only the moment that it was added for can still remove it.

use bytes::Bytes;
use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{KeyBuilder, KeyError, KeyRange, KeyReader, Space, StoreError, Stored, Topic, Txn, table};

/// Part of the format: rows are found by it.
pub const SHARDS: u16 = 16;

/// A family of due rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    space: Space,
    tag: [u8; 2],
    name: &'static str,
}

/// A row to add. `kind` picks the handler; `kind`, `id` and `due` together are unique (a second add replaces the first).
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub due: Timestamp,
    /// Where it goes, when the handler needs telling: an ARN, a queue, a node.
    pub destination: &'a str,
    pub payload: &'a [u8],
}

/// A row that a handler is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub kind: String,
    pub id: String,
    pub due: Timestamp,
    pub destination: String,
    pub payload: Bytes,
    /// How often it has failed.
    pub attempts: u32,
    pub(crate) space: Space,
    pub(crate) key: Bytes,
    /// The word that the row left when it moved, and the moment that it was added for.
    pub(crate) moved: Option<(Bytes, Timestamp)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(default)]
    pub destination: String,
    pub payload: Bytes,
    #[serde(default)]
    pub attempts: u32,
    /// The moment that it was added for, where its key says another.
    #[serde(default)]
    pub added_for: Option<Timestamp>,
}

impl Stored for Row {}

impl Due {
    /// `tag` is the family's own within its space; `name` names its leases.
    pub const fn new(space: Space, tag: [u8; 2], name: &'static str) -> Due {
        Due { space, tag, name }
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn space(&self) -> Space {
        self.space
    }

    /// Adds a row in the caller's transaction.
    pub fn add(&self, txn: &Txn, job: &NewJob<'_>) -> Result<(), StoreError> {
        let row = Row {
            destination: job.destination.to_owned(),
            payload: Bytes::copy_from_slice(job.payload),
            attempts: 0,
            added_for: None,
        };
        self.put(txn, shard_of(job.kind, job.id), job.due, job.kind, job.id, &row)
    }

    /// Removes a row in the caller's transaction, if it is there, also when it has failed and waits for its next attempt. A
    /// runner may have begun with it already; a handler that begins with `Job::claim` then does nothing.
    pub async fn remove(&self, txn: &Txn, kind: &str, id: &str, due: Timestamp) -> Result<(), StoreError> {
        let shard = shard_of(kind, id);
        txn.delete(self.space, self.key(shard, due, kind, id));
        let word = self.word(kind, id, due);
        if let Some(moved_to) = txn.get(self.space, &word).await? {
            let moved_to = KeyReader::new(&moved_to).timestamp();
            let moved_to = moved_to.map_err(|_| StoreError::corrupt("the moment of a row is not a time"))?;
            txn.delete(self.space, self.key(shard, moved_to, kind, id));
            txn.delete(self.space, word);
        }
        Ok(())
    }

    /// Puts a row that failed where it waits for its next attempt.
    pub(crate) fn put_again(&self, txn: &Txn, job: &Job, due: Timestamp) -> Result<(), StoreError> {
        let added_for = job.moved.as_ref().map_or(job.due, |(_, added_for)| *added_for);
        let row = Row {
            destination: job.destination.clone(),
            payload: job.payload.clone(),
            attempts: job.attempts.saturating_add(1),
            added_for: Some(added_for),
        };
        txn.delete(self.space, job.key.clone());
        txn.put(
            self.space,
            self.word(&job.kind, &job.id, added_for),
            KeyBuilder::new().timestamp(due).build(),
        );
        self.put(txn, shard_of(&job.kind, &job.id), due, &job.kind, &job.id, &row)
    }

    /// Where a row that was added for `due` says to what moment it has moved.
    fn word(&self, kind: &str, id: &str, due: Timestamp) -> Bytes {
        self.shard(SHARDS).str(kind).str(id).timestamp(due).build()
    }

    pub(crate) fn put(
        &self,
        txn: &Txn,
        shard: u16,
        due: Timestamp,
        kind: &str,
        id: &str,
        row: &Row,
    ) -> Result<(), StoreError> {
        txn.put(self.space, self.key(shard, due, kind, id), table::encode(row)?);
        txn.notify_low(self.topic(shard), u64::try_from(due.as_millis()).unwrap_or(0));
        Ok(())
    }

    pub(crate) fn topic(&self, shard: u16) -> Topic {
        Topic::new(self.shard(shard).build())
    }

    pub(crate) fn range(&self, shard: u16) -> KeyRange {
        KeyRange::prefix(self.shard(shard).build())
    }

    /// Below all rows that are due at `due` or later.
    pub(crate) fn lower_bound(&self, shard: u16, due: Timestamp) -> Bytes {
        self.shard(shard).timestamp(due).build()
    }

    pub(crate) fn read(&self, key: &Bytes, value: &[u8]) -> Result<Job, StoreError> {
        let parts = || -> Result<_, KeyError> {
            let mut reader = KeyReader::new(key);
            reader.fixed::<2>()?;
            reader.u16()?;
            let parts = (reader.timestamp()?, reader.str()?, reader.str()?);
            reader.end().map(|()| parts)
        };
        let (due, kind, id) =
            parts().map_err(|_| StoreError::corrupt(format!("a key of {} is unreadable", self.name)))?;
        let row: Row = table::decode(value)?;
        let Row { destination, payload, attempts, added_for } = row;
        let moved = added_for.map(|added_for| (self.word(&kind, &id, added_for), added_for));
        Ok(Job { kind, id, due, destination, payload, attempts, space: self.space, key: key.clone(), moved })
    }

    fn shard(&self, shard: u16) -> KeyBuilder {
        KeyBuilder::new().raw(&self.tag).u16(shard)
    }

    fn key(&self, shard: u16, due: Timestamp, kind: &str, id: &str) -> Bytes {
        self.shard(shard).timestamp(due).str(kind).str(id).build()
    }
}

impl Job {
    /// Removes the row in the handler's own transaction, so that what the handler does there is done once. False when it
    /// is gone: the work was done or cancelled, do nothing.
    pub async fn claim(&self, txn: &Txn) -> Result<bool, StoreError> {
        let present = txn.get(self.space, &self.key).await?.is_some();
        if present {
            self.keys().for_each(|key| txn.delete(self.space, key));
        }
        Ok(present)
    }
}

impl Job {
    /// What is stored of it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Bytes> {
        let word = self.moved.as_ref().map(|(word, _)| word.clone());
        std::iter::once(self.key.clone()).chain(word)
    }
}

/// FNV-1a: spreads well and never changes.
pub(crate) fn shard_of(kind: &str, id: &str) -> u16 {
    let bytes = kind.bytes().chain([0]).chain(id.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % u64::from(SHARDS)) as u16
}
