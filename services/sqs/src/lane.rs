//! What a node remembers of a queue's order: cursors, claims and wake-ups. All of it may be lost or stale; the transaction
//! that takes a message decides.
//!
//! A queue is consumed from the head of an ordered index, so its head is a graveyard of removed rows. Each stream (one
//! partition of that index) therefore keeps a low-water cursor below which no row exists. It rises with every look at the
//! index and falls when a commit, here or on another node, says that it has put a row below (`Subscription::take_low`). A
//! look that was under way meanwhile learns of that through its cap. Wakes may be lost between nodes, so the cursor falls to
//! zero once in a while.
//!
//! Consumers of one node do not race for the same rows: each claims what it is about to take. On a standard queue a look
//! reads ahead, and the next ones claim from what it read.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pileus_store::cluster::Cluster;
use pileus_store::{Entry, KeyRange, Space, Store, StoreError, Subscription, Topic, Version};
use tokio::sync::watch;

use crate::keys;
use crate::queue::count::Counts;

/// How long a cursor is trusted, in the node's own time.
const TRUST: Duration = Duration::from_secs(60);

/// Rows that a look reads beyond what it wants: at a deep queue, and at any other.
const AHEAD_DEEP: usize = 64;
const AHEAD: usize = 16;
/// What was read ahead may be given out before a row that was put in below it, if that became visible no more than so many
/// milliseconds earlier: sends commit in another order than they came in.
const AHEAD_SLACK: u64 = 1_000;

/// Whether rows may be claimed that an earlier look has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAhead {
    /// Where rows are put before others all the time, or their order binds.
    Never,
    /// The more of them, the deeper the queue.
    Allowed,
}

/// What a consumer wants of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// So many rows, or fewer.
    pub rows: usize,
    /// Only what is there now will do, not what an earlier look has read: a receive without a timeout looks only once.
    pub is_fresh: bool,
}

/// One generation of a queue, as this node knows it.
pub struct Lane {
    streams: Vec<Stream>,
    look_ahead: LookAhead,
    turn: AtomicUsize,
    cluster: Cluster,
    /// The earliest moment at which something that was put aside here becomes visible, for those who wait.
    timer: watch::Sender<u64>,
    /// Messages in flight: counted, then kept up by what this node does.
    in_flight: AtomicI64,
    arrivals: Topic,
    last_count: Mutex<Option<(Counts, Duration)>>,
}

struct Stream {
    prefix: Bytes,
    state: Mutex<StreamState>,
}

struct StreamState {
    subscription: Subscription,
    /// No row lies below, as a suffix of `prefix`.
    low: Bytes,
    /// No row is to be had before this moment.
    quiet_until: u64,
    /// No row lies between what the last look found due and this moment. A receive puts its row ahead and a deletion removes
    /// it there, so the future is a graveyard too.
    next_low: u64,
    /// Looks under way: each with the lowest row that was put in since it began.
    looks: Vec<(u64, Option<Bytes>)>,
    next_look: u64,
    claimed: HashSet<Bytes>,
    checked_at: Duration,
    /// Due rows that a look has read and nobody has claimed, ascending. Some may be gone by now.
    ahead: VecDeque<Row>,
    /// The last look did not see the end of the due rows.
    is_deep: bool,
}

struct Row {
    suffix: Bytes,
    value: Bytes,
    version: Version,
}

/// What a look at a stream found.
pub struct Look {
    pub claims: Vec<Claim>,
    /// When the next row becomes available, as far as the look saw; `u64::MAX`: there is none.
    pub next_at: u64,
}

/// A row that this consumer may try to take, and no other of this node. Dropping it gives it back.
pub struct Claim {
    lane: Arc<Lane>,
    pub stream: usize,
    pub suffix: Bytes,
    pub value: Bytes,
    pub version: Version,
}

impl Lane {
    /// # Arguments
    /// `prefixes`: the streams, each an ordered range of keys in the index space.
    pub fn new(
        store: &Store,
        generation: u64,
        prefixes: impl Iterator<Item = Bytes>,
        look_ahead: LookAhead,
    ) -> Lane {
        let streams = prefixes.map(|prefix| Stream {
            state: Mutex::new(StreamState {
                subscription: store.subscribe(&Topic::new(prefix.clone())),
                low: Bytes::new(),
                quiet_until: 0,
                next_low: 0,
                looks: Vec::new(),
                next_look: 0,
                claimed: HashSet::new(),
                checked_at: Duration::ZERO,
                ahead: VecDeque::new(),
                is_deep: false,
            }),
            prefix,
        });
        Lane {
            streams: streams.collect(),
            look_ahead,
            turn: AtomicUsize::new(0),
            cluster: store.cluster().clone(),
            timer: watch::Sender::new(u64::MAX),
            in_flight: AtomicI64::new(0),
            arrivals: Topic::new(keys::arrivals(generation)),
            last_count: Mutex::new(None),
        }
    }

    pub fn arrivals(&self) -> &Topic {
        &self.arrivals
    }

    /// All streams, beginning with another one each time. Among several nodes each mostly begins with its own share of the
    /// partitions: those who read the same head are in each other's way. Not always, or a queue whose consumers are all on
    /// one node would keep what is not that node's for last.
    pub fn round(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, turn) = (self.streams.len(), self.turn.fetch_add(1, Ordering::Relaxed));
        let kinds = (count / usize::from(keys::PARTITIONS)).max(1);
        let place = if turn % 16 == 0 { None } else { self.cluster.place() };
        let is_own = move |stream: &usize| place.is_none_or(|(place, nodes)| stream / kinds % nodes == place);
        let all = (0..count).map(move |step| (turn + step) % count);
        all.clone().filter(is_own).chain(all.filter(move |stream| !is_own(stream)))
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn prefix(&self, stream: usize) -> &Bytes {
        &self.streams[stream].prefix
    }

    /// The range in which the stream's rows lie. `at`: the node's own time.
    pub fn range(&self, stream: usize, at: Duration) -> KeyRange {
        let stream = &self.streams[stream];
        let mut state = stream.lock();
        state.take_hints(at);
        KeyRange::prefix(stream.prefix.clone()).starting_at(keys::join(&stream.prefix, &state.low))
    }

    /// Claims rows of one stream that lie at or below the moment `upper`.
    pub async fn look(
        self: &Arc<Lane>,
        store: &Store,
        stream: usize,
        upper: u64,
        Want { rows: want, is_fresh }: Want,
    ) -> Result<Look, StoreError> {
        let (this, at) = (&self.streams[stream], store.clock().monotonic());
        let mut claims = Vec::new();
        let (look, (low, next_low), limit) = {
            let mut state = this.lock();
            state.take_hints(at);
            if state.quiet_until > upper {
                return Ok(Look { claims: Vec::new(), next_at: state.quiet_until });
            }
            if is_fresh {
                state.ahead.clear();
            }
            self.claim_ahead(&mut state, stream, want, &mut claims);
            if claims.len() == want {
                return Ok(Look { claims, next_at: upper });
            }
            let ahead = match self.look_ahead {
                LookAhead::Never => 0,
                LookAhead::Allowed if state.is_deep => AHEAD_DEEP,
                LookAhead::Allowed => AHEAD,
            };
            (state.begin(), (state.low.clone(), state.next_low), want + state.claimed.len() + ahead + 1)
        };
        let look = UnderWay { stream: this, id: look };
        let rows = KeyRange::prefix(this.prefix.clone());
        let future = keys::join(&this.prefix, &upper.saturating_add(1).to_be_bytes());
        let due = rows.clone().starting_at(keys::join(&this.prefix, &low)).before(&future);
        let page = store.scan(Space::Index, &due, limit).await?;
        // Only who finds too little asks what comes next.
        let seen = page.entries.len();
        let next = if page.more || seen >= limit.min(want) {
            None
        } else {
            let next_low = keys::join(&this.prefix, &next_low.to_be_bytes());
            let page = store.scan(Space::Index, &rows.starting_at(future).starting_at(next_low), 1).await?;
            Some(page.entries.first().map_or(u64::MAX, |entry| keys::suffix_at(&this.suffix(entry))))
        };

        let mut state = this.lock();
        let cap = state.end(look.id);
        let suffixes: Vec<_> = page.entries.iter().map(|entry| this.suffix(entry)).collect();
        let first = suffixes.first().cloned();
        let next_at =
            next.unwrap_or(if page.more { upper } else { state.next_low.max(upper.saturating_add(1)) });
        let rise = first.clone().unwrap_or_else(|| Bytes::copy_from_slice(&upper.to_be_bytes()));
        match cap {
            Some(cap) => {
                state.next_low = next.map_or(state.next_low, |next| next.min(keys::suffix_at(&cap)));
                state.low = cap.min(rise);
            }
            None => {
                state.next_low = next.unwrap_or(state.next_low);
                state.low = rise;
                state.quiet_until = if first.is_none() { next_at } else { 0 };
            }
        }
        let rows = suffixes.into_iter().zip(page.entries);
        let rows = rows.map(|(suffix, entry)| Row { suffix, value: entry.value, version: entry.version });
        state.ahead = rows.collect();
        state.is_deep = page.more;
        self.claim_ahead(&mut state, stream, want, &mut claims);
        if self.look_ahead == LookAhead::Never {
            state.ahead.clear();
        }
        Ok(Look { claims, next_at })
    }

    /// Claims of what was read, until there are `want`.
    fn claim_ahead(
        self: &Arc<Lane>,
        state: &mut StreamState,
        stream: usize,
        want: usize,
        claims: &mut Vec<Claim>,
    ) {
        while claims.len() < want {
            let Some(Row { suffix, value, version }) = state.ahead.pop_front() else { return };
            if state.claimed.insert(suffix.clone()) {
                claims.push(Claim { lane: self.clone(), stream, suffix, value, version });
            }
        }
    }

    /// Tells those who wait that something becomes visible at `moment`.
    pub fn put_aside_until(&self, moment: u64, now: u64) {
        self.timer.send_if_modified(|earliest| {
            let is_news = moment < *earliest || *earliest <= now;
            if is_news {
                *earliest = moment;
            }
            is_news
        });
    }

    pub fn timer(&self) -> watch::Receiver<u64> {
        self.timer.subscribe()
    }

    /// What was counted last, and when in the node's own time.
    pub fn last_count(&self) -> Option<(Counts, Duration)> {
        *self.last_count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_count(&self, counts: Counts, at: Duration) {
        *self.last_count.lock().unwrap_or_else(PoisonError::into_inner) = Some((counts, at));
        self.in_flight.store(counts.in_flight as i64, Ordering::Relaxed);
    }

    /// Keeps the number of messages in flight up.
    pub fn add_in_flight(&self, change: i64) {
        self.in_flight.fetch_add(change, Ordering::Relaxed);
    }

    /// Whether `limit` may be reached: what ran out of its timeout is not noticed before the next count.
    pub fn may_have_in_flight(&self, limit: u64) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= limit as i64
    }
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suffix(&self, entry: &Entry) -> Bytes {
        entry.key.slice(self.prefix.len()..)
    }
}

impl StreamState {
    /// Lowers the cursor to what was put in below it, and to zero where it was trusted for long: a hint may have been lost.
    fn take_hints(&mut self, at: Duration) {
        if at.saturating_sub(self.checked_at) > TRUST {
            self.lower(Bytes::new(), 0);
            self.checked_at = at;
        }
        let moment = self.subscription.take_low();
        if moment != u64::MAX {
            self.lower(Bytes::copy_from_slice(&moment.to_be_bytes()), moment);
        }
    }

    fn lower(&mut self, low: Bytes, moment: u64) {
        for (_, cap) in &mut self.looks {
            *cap = Some(cap.take().map_or_else(|| low.clone(), |cap| cap.min(low.clone())));
        }
        self.quiet_until = self.quiet_until.min(moment);
        self.next_low = self.next_low.min(moment);
        let is_before = |row: &Row| moment.saturating_add(AHEAD_SLACK) < keys::suffix_at(&row.suffix);
        if self.ahead.front().is_some_and(is_before) {
            self.ahead.clear();
        }
        if low < self.low {
            self.low = low;
        }
    }

    fn begin(&mut self) -> u64 {
        self.next_look += 1;
        self.looks.push((self.next_look, None));
        self.next_look
    }

    fn end(&mut self, look: u64) -> Option<Bytes> {
        let at = self.looks.iter().position(|(id, _)| *id == look)?;
        self.looks.swap_remove(at).1
    }
}

/// Forgets a look that ends early.
struct UnderWay<'a> {
    stream: &'a Stream,
    id: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.stream.lock().end(self.id);
    }
}

impl Claim {
    /// The row's key.
    pub fn key(&self) -> Bytes {
        keys::join(self.lane.prefix(self.stream), &self.suffix)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.lane.streams[self.stream].lock().claimed.remove(&self.suffix);
    }
}
