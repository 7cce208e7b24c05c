//! What an engine implements, and the plain values that pass through it.

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Timestamp};

use crate::{StoreError, Subscription, Topic};

/// The keyspaces, one per access pattern and never one per table, queue or service. Their order is part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Small and hot: resources, identities, configuration.
    Meta = 0,
    /// Large and long-lived: table items, state of executions.
    Items = 1,
    /// Short-lived: messages, pending invocations, the outbox.
    Queue = 2,
    /// Append and trim: streams, logs, metrics, event histories.
    Log = 3,
    /// Small values that point elsewhere: due times, tags, secondary indexes.
    Index = 4,
    /// Metadata of objects.
    Object = 5,
    /// The store's own rows: leases, sequences, versions. Not for services.
    Sys = 6,
}

impl Space {
    pub const ALL: [Space; 7] =
        [Space::Meta, Space::Items, Space::Queue, Space::Log, Space::Index, Space::Object, Space::Sys];

    pub const fn name(self) -> &'static str {
        match self {
            Space::Meta => "meta",
            Space::Items => "items",
            Space::Queue => "queue",
            Space::Log => "log",
            Space::Index => "index",
            Space::Object => "object",
            Space::Sys => "sys",
        }
    }
}

/// The commit number of the last write of a key. No two writes of one key ever share a number, also when it is deleted in
/// between, and later writes of a key have greater ones. Zero is never given out.
pub type Version = u64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub value: Bytes,
    /// Zero for an entry that the reading transaction itself has written.
    pub version: Version,
}

/// Part of a range, in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The range may hold more entries after the last one. A page may end before `limit` when it has become large
    /// (`Limits::max_page_bytes`), so only this tells the end.
    pub more: bool,
}

/// Keys from `start` (included) to `end` (excluded); no `end` is the end of the space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: Option<Bytes>,
}

impl KeyRange {
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> KeyRange {
        KeyRange { start: start.into(), end: Some(end.into()) }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let start = prefix.into();
        let end = prefix_end(&start);
        KeyRange { start, end }
    }

    /// The same range without what lies below `lower`. A scan of anything that is consumed from its head starts here, at
    /// the caller's low-water cursor: removed entries before it would have to be stepped over one by one.
    pub fn starting_at(mut self, lower: impl Into<Bytes>) -> KeyRange {
        self.start = self.start.max(lower.into());
        self
    }

    /// The same range without `key` and what lies below it: the next page of a forward scan.
    pub fn after(self, key: &[u8]) -> KeyRange {
        self.starting_at(successor(key))
    }

    /// The same range without `key` and what lies above it: the next page of a backward scan.
    pub fn before(mut self, key: &[u8]) -> KeyRange {
        let key = Bytes::copy_from_slice(key);
        self.end = Some(match self.end {
            Some(end) => end.min(key),
            None => key,
        });
        self
    }

    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &*self.start && self.end.as_ref().is_none_or(|end| key < &**end)
    }

    /// What was read of this range by a scan that ended with `last` and knew of `more` behind it.
    pub(crate) fn read_part(&self, last: Option<&Bytes>, more: bool, direction: Direction) -> KeyRange {
        match (last, more, direction) {
            (Some(last), true, Direction::Forward) => {
                KeyRange { start: self.start.clone(), end: Some(successor(last)) }
            }
            (Some(last), true, Direction::Backward) => {
                KeyRange { start: last.clone(), end: self.end.clone() }
            }
            _ => self.clone(),
        }
    }
}

impl RangeBounds<[u8]> for KeyRange {
    fn start_bound(&self) -> Bound<&[u8]> {
        Bound::Included(&self.start)
    }
    fn end_bound(&self) -> Bound<&[u8]> {
        match &self.end {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        }
    }
}

/// The least key greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// The least key greater than every key that begins with `prefix`; none when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// What one call may ask for. Services have smaller limits of their own; these exist so that every engine can keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_key: usize,
    pub max_value: usize,
    /// Keys written plus keys and ranges checked.
    pub max_keys_per_txn: usize,
    /// Bytes of the keys and values written.
    pub max_txn_bytes: usize,
    /// A page ends when it has come to this size.
    pub max_page_bytes: usize,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        max_key: 2_048 + 512,
        max_value: 1 << 20,
        max_keys_per_txn: 1_000,
        max_txn_bytes: 4 << 20,
        max_page_bytes: 8 << 20,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Acknowledged once it survives loss of the process and of power.
    #[default]
    Durable,
    /// Acknowledged before: the last moments may be lost, order is kept, and a later durable commit makes it durable too.
    /// For metrics, access logs and what can be derived again.
    Relaxed,
}

/// The commit fails unless the key has this version; `None`: unless it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub space: Space,
    pub key: Bytes,
    pub expected: Option<Version>,
}

/// The commit fails unless the range holds exactly the keys found in it, at these versions, in ascending order.
///
/// The range is only the part that was read: up to the last entry returned when the scan stopped at its limit. An engine
/// verifies it by reading keys and versions of that part again, so it costs what the scan cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeCheck {
    pub space: Space,
    pub range: KeyRange,
    pub found: Vec<(Bytes, Version)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub space: Space,
    pub key: Bytes,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put(Bytes),
    Delete,
}

/// Wakes the subscribers of a topic once the commit has taken effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    pub topic: Topic,
    /// See `Subscription::take_low`.
    pub low: u64,
}

/// A transaction's outcome, ready to be validated and applied as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    pub checks: Vec<Check>,
    pub ranges: Vec<RangeCheck>,
    /// At most one per key.
    pub writes: Vec<Write>,
    pub notify: Vec<Wake>,
    pub durability: Durability,
    pub seniority: Seniority,
}

/// How often the transaction has lost to others. An engine lets those first that have lost more often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seniority {
    pub losses: u32,
    /// Held by a transaction that has lost so often that others have to wait for it, until it is dropped.
    pub claim: Option<Arc<()>>,
}

impl Seniority {
    /// Losses after which others wait.
    pub const CLAIM: u32 = 8;

    pub fn lose(&mut self) {
        self.losses += 1;
        if self.losses >= Seniority::CLAIM && self.claim.is_none() {
            self.claim = Some(Arc::default());
        }
    }
}

impl Commit {
    /// Bytes of the keys and values written.
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(Write::bytes).sum()
    }

    /// # Errors
    /// `TooLarge`, naming the first limit exceeded.
    pub fn check_limits(&self, limits: &Limits) -> Result<(), StoreError> {
        let over = |what, size, limit| {
            if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
        };
        for write in &self.writes {
            over("a key", write.key.len(), limits.max_key)?;
            if let Change::Put(value) = &write.change {
                over("a value", value.len(), limits.max_value)?;
            }
        }
        let keys = self.writes.len() + self.checks.len() + self.ranges.len();
        over("the number of keys of a transaction", keys, limits.max_keys_per_txn)?;
        over("a transaction", self.bytes(), limits.max_txn_bytes)
    }
}

impl Write {
    pub fn bytes(&self) -> usize {
        self.key.len()
            + match &self.change {
                Change::Put(value) => value.len(),
                Change::Delete => 0,
            }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Applied; every key written has this version now.
    Committed(Version),
    /// A check did not hold; nothing was applied, and a new snapshot shows what changed.
    Conflict,
}

/// Values and versions of one moment (a snapshot) or of the moment of each call (the engine itself). An acknowledged commit
/// is visible to every read that begins after it.
pub trait Read: Send + Sync {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>>;

    /// In the order of `keys`, all at one moment.
    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>>;

    /// The first `limit` entries of the range in the direction given, all at one moment.
    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;
}

/// What is at a key.
pub type Found = Option<(Bytes, Version)>;

/// An engine: memory, fjall, redb, or a database that several nodes share.
pub trait Kv: Read + 'static {
    /// A consistent view of the present, pinned no later than its first read. Short-lived: engines keep replaced values
    /// for it.
    fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError>;

    /// A view for one run of a transaction: as `snapshot`, but any read after the first may fail with `Stale`, and then the
    /// transaction is run again. So an engine for which pinning a moment costs something need not do so for a single read.
    fn transaction_view(&self) -> Result<Arc<dyn Read>, StoreError> {
        self.snapshot()
    }

    /// Validates and applies as one. Commits are serializable. An engine that is told of conflicts faster than it makes
    /// progress (a remote one) waits, with jitter, before it answers `Conflict`; `Store::transact` then runs again at once.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// A number that differs once a commit that wrote to the space was acknowledged: what was read after the same number was seen
    /// is still so. `None` where the store cannot know without asking, because others write to it.
    fn stamp(&self, space: Space) -> Option<u64> {
        let _ = space;
        None
    }

    fn subscribe(&self, topic: &Topic) -> Subscription;

    /// Takes the lease unless someone else holds it; the token is the version of `lease::fence_key(name)`.
    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Version>, StoreError>>;

    /// False when the lease went to someone else.
    fn renew_lease<'a>(
        &'a self,
        name: &'a str,
        token: Version,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    fn release_lease<'a>(&'a self, name: &'a str, token: Version) -> BoxFuture<'a, Result<(), StoreError>>;

    /// `block` numbers that nobody was given before, greater than all given before. The first is 1.
    fn sequence<'a>(&'a self, name: &'a str, block: u64) -> BoxFuture<'a, Result<Range<u64>, StoreError>> {
        Box::pin(crate::sequence::take_block(self, name, block))
    }

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }

    /// The time that all nodes of this store agree on: leases and heartbeats follow it. `None` when no other node can share
    /// the store.
    fn shared_time(&self) -> Option<BoxFuture<'_, Result<Timestamp, StoreError>>> {
        None
    }

    /// Whether other nodes were heard of: without them nobody need be told of wake-ups.
    fn has_company(&self, company: bool) {
        let _ = company;
    }

    /// The engine's name, for logs and `status`.
    fn name(&self) -> &'static str;

    /// Finishes what is queued and lets go of files and connections. Later calls answer `Closed`.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// How often each space was written to.
#[derive(Debug, Default)]
pub(crate) struct Stamps([AtomicU64; Space::ALL.len()]);

impl Stamps {
    pub fn get(&self, space: Space) -> u64 {
        self.0[space as usize].load(Ordering::Acquire)
    }

    /// Before the commit is acknowledged.
    pub fn advance(&self, space: Space) {
        self.0[space as usize].fetch_add(1, Ordering::AcqRel);
    }
}

/// One ordered map per space.
#[derive(Debug)]
pub(crate) struct SpaceMap<V>([BTreeMap<Bytes, V>; Space::ALL.len()]);

impl<V> Default for SpaceMap<V> {
    fn default() -> Self {
        SpaceMap(std::array::from_fn(|_| BTreeMap::new()))
    }
}

impl<V> SpaceMap<V> {
    pub fn space(&self, space: Space) -> &BTreeMap<Bytes, V> {
        &self.0[space as usize]
    }

    pub fn space_mut(&mut self, space: Space) -> &mut BTreeMap<Bytes, V> {
        &mut self.0[space as usize]
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Option<&V> {
        self.space(space).get(key)
    }

    /// The entries in the range, ascending. An empty range is no error.
    pub fn range(&self, space: Space, range: &KeyRange) -> std::collections::btree_map::Range<'_, Bytes, V> {
        if range.is_empty() {
            return self
                .space(space)
                .range::<[u8], _>((Bound::Excluded(&b""[..]), Bound::Included(&b""[..])));
        }
        self.space(space).range::<[u8], _>((range.start_bound(), range.end_bound()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(BTreeMap::len).sum()
    }

    /// The maps of the spaces that hold something.
    pub fn into_spaces(self) -> impl Iterator<Item = (Space, BTreeMap<Bytes, V>)> {
        Space::ALL.into_iter().zip(self.0).filter(|(_, map)| !map.is_empty())
    }

    pub fn into_entries(self) -> impl Iterator<Item = (Space, Bytes, V)> {
        self.into_spaces()
            .flat_map(|(space, map)| map.into_iter().map(move |(key, value)| (space, key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_range_holds_exactly_the_keys_with_the_prefix(
            prefix in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xfe, 0xff]), 0..4),
            key in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xfe, 0xff]), 0..6),
        ) {
            prop_assert_eq!(KeyRange::prefix(prefix.clone()).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn narrowed_ranges_lose_only_what_was_cut(start: Vec<u8>, end: Vec<u8>, cut: Vec<u8>, key: Vec<u8>) {
            let range = KeyRange::new(start, end);
            let inside = range.contains(&key);
            prop_assert_eq!(range.clone().after(&cut).contains(&key), inside && key > cut);
            prop_assert_eq!(range.clone().before(&cut).contains(&key), inside && key < cut);
            prop_assert_eq!(range.starting_at(cut.clone()).contains(&key), inside && key >= cut);
        }
    }

    #[test]
    fn a_commit_over_a_limit_is_named() {
        let limits =
            Limits { max_key: 4, max_value: 8, max_keys_per_txn: 2, max_txn_bytes: 12, ..Limits::DEFAULT };
        let put = |key: &str, size: usize| Write {
            space: Space::Meta,
            key: Bytes::copy_from_slice(key.as_bytes()),
            change: Change::Put(vec![0; size].into()),
        };
        let cases = [
            ("fits", vec![put("key", 8)], None),
            ("key", vec![put("keyes", 1)], Some("a key")),
            ("value", vec![put("k", 9)], Some("a value")),
            (
                "keys",
                vec![put("a", 1), put("b", 1), put("c", 1)],
                Some("the number of keys of a transaction"),
            ),
            ("bytes", vec![put("a", 8), put("b", 8)], Some("a transaction")),
        ];
        for (name, writes, expected) in cases {
            let got = Commit { writes, ..Commit::default() }.check_limits(&limits);
            let what = got.err().map(|error| match error {
                StoreError::TooLarge { what, .. } => what,
                other => panic!("{other}"),
            });
            assert_eq!(what, expected, "{name}");
        }
    }
}
