//! Group commit: one thread that validates and applies everything for an embedded engine.
//!
//! It takes all requests that are queued (there is no timer: the previous fsync is the batching window), validates each in
//! order against the engine plus what this batch has accepted before it, applies the accepted ones as **one** atomic batch
//! with one fsync, and only then answers all of them, the refused too: a refused transaction that ran again before the
//! batch is visible would read the same old values and lose again. Those that have lost before go first (`turn`).

mod acknowledge;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pileus_core::Clock;
use tokio::sync::{mpsc, oneshot};

use self::acknowledge::{Acknowledgement, Acknowledger};
use self::turn::Turn;
use crate::engine::{Engine, EngineError};
use crate::kv::{Change, Check, Direction, KeyRange, RangeCheck, SpaceMap, Stamps};
use crate::{Commit, Durability, Outcome, Space, StoreError, Topics, Version};

const MAX_REQUESTS: usize = 256;
const MAX_BYTES: usize = 4 << 20;
/// Requests that may wait for the thread; senders beyond it wait in their tasks.
const QUEUE: usize = 1_024;
/// Versions are reserved in blocks, so that a reopened engine knows a number above all that were given out.
const VERSION_BLOCK: u64 = 1 << 20;
/// While commits wait for another's turn, the thread looks this often whether it has ended.
const TURN: Duration = Duration::from_millis(1);
/// After a failure the engine is given time before it is opened again.
const RECOVER_EVERY: Duration = Duration::from_millis(500);
const VERSION_KEY: &[u8] = b"\0versions";

pub(crate) enum Message {
    Commit(Commit, oneshot::Sender<Result<Outcome, StoreError>>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// What one batch writes: for each key its new version and value.
pub(crate) type Changes = SpaceMap<(Version, Option<Bytes>)>;

/// What the checks of one batch have read: many commits check the same rows.
type Known = SpaceMap<Option<Version>>;

pub(crate) struct Committer<E: Engine> {
    engine: Arc<E>,
    acknowledger: Acknowledger,
    stamps: Arc<Stamps>,
    clock: Arc<dyn Clock>,
    requests: mpsc::Receiver<Message>,
    last_version: Version,
    /// Versions up to here are reserved in the engine.
    reserved: Version,
    /// When the engine failed or was last tried again.
    failed_at: Option<Duration>,
    turn: Turn,
}

enum Next {
    Message(Message),
    /// Nothing came for a moment.
    Pause,
    /// Nothing will come any more.
    Ended,
}

type Request = (Commit, oneshot::Sender<Result<Outcome, StoreError>>);

impl<E: Engine> Committer<E> {
    pub fn new(
        engine: Arc<E>,
        topics: Topics,
        stamps: Arc<Stamps>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Committer<E>, mpsc::Sender<Message>), StoreError> {
        let reserved = match engine.get(Space::Sys, VERSION_KEY).map_err(StoreError::from)? {
            Some((value, _)) => <[u8; 8]>::try_from(&value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::corrupt("the reserved versions are not a number"))?,
            None => 0,
        };
        let (sender, requests) = mpsc::channel(QUEUE);
        let committer = Committer {
            engine,
            acknowledger: Acknowledger::new(topics),
            stamps,
            clock,
            requests,
            last_version: reserved,
            reserved,
            failed_at: None,
            turn: Turn::default(),
        };
        Ok((committer, sender))
    }

    /// Runs until it is closed or every sender is gone.
    pub fn run(mut self) {
        let mut batch: Vec<Request> = Vec::with_capacity(MAX_REQUESTS);
        let mut closing = None;
        while closing.is_none() {
            match self.next() {
                Next::Message(Message::Commit(commit, reply)) => batch.push((commit, reply)),
                Next::Message(Message::Close(reply)) => closing = Some(reply),
                Next::Pause => {}
                Next::Ended => break,
            }
            let mut bytes = batch.first().map_or(0, |(commit, _)| commit.bytes());
            // Those who were answered a moment ago are about to come again: let them, so that more share the fsync.
            for is_last in [false, true] {
                while closing.is_none() && batch.len() < MAX_REQUESTS && bytes < MAX_BYTES {
                    match self.requests.try_recv() {
                        Ok(Message::Commit(commit, reply)) => {
                            bytes += commit.bytes();
                            batch.push((commit, reply));
                        }
                        Ok(Message::Close(reply)) => closing = Some(reply),
                        Err(_) => break,
                    }
                }
                if !is_last {
                    std::thread::yield_now();
                }
            }
            if closing.is_some() {
                self.turn.end_for_all(&mut batch);
            }
            self.turn.arrange(&mut batch);
            if !batch.is_empty() {
                self.commit_batch(&mut batch);
            }
        }
        self.requests.close();
        let closed = self.engine.close().map_err(StoreError::from);
        if let Err(error) = &closed {
            tracing::error!(%error, engine = E::NAME, "the store did not close cleanly; the journal will be replayed");
        }
        if let Some(reply) = closing {
            let _ = reply.send(closed);
        }
    }

    /// What comes next; does not wait for ever while others wait for a turn to end.
    fn next(&mut self) -> Next {
        if self.turn.keeps_waiting() {
            return match self.requests.try_recv() {
                Ok(message) => Next::Message(message),
                Err(mpsc::error::TryRecvError::Empty) => {
                    std::thread::park_timeout(TURN);
                    Next::Pause
                }
                Err(mpsc::error::TryRecvError::Disconnected) => Next::Ended,
            };
        }
        self.requests.blocking_recv().map_or(Next::Ended, Next::Message)
    }

    fn commit_batch(&mut self, batch: &mut Vec<Request>) {
        if let Err(error) = self.recover_if_failed() {
            return refuse(batch, &error);
        }
        let mut changes = Changes::default();
        let mut known = Known::default();
        let mut durability = Durability::Relaxed;
        let mut answers = Vec::with_capacity(batch.len());
        for (commit, _) in &mut *batch {
            match self.accept(commit, &mut changes, &mut known) {
                Ok(outcome) => {
                    if outcome != Outcome::Conflict && commit.durability == Durability::Durable {
                        durability = Durability::Durable;
                    }
                    if outcome == Outcome::Conflict {
                        self.turn.lost(commit);
                    }
                    answers.push(outcome);
                }
                Err(error) => return self.fail(batch, &error),
            }
        }
        if !changes.is_empty() {
            self.reserve_versions(&mut changes);
            let written = Space::ALL.map(|space| !changes.space(space).is_empty());
            let applied = self.engine.apply(changes, durability);
            // Also after a failure: part of it may come to light when the engine is opened again.
            Space::ALL
                .into_iter()
                .zip(written)
                .filter(|(_, is)| *is)
                .for_each(|(space, _)| self.stamps.advance(space));
            if let Err(error) = applied {
                return self.fail(batch, &error);
            }
        }
        let done = batch.drain(..).zip(answers);
        let acknowledgements = done.map(|((commit, reply), outcome)| {
            let wakes = if outcome == Outcome::Conflict { Vec::new() } else { commit.notify };
            Acknowledgement { reply, outcome, wakes }
        });
        self.acknowledger.send(acknowledgements.collect());
    }

    /// Validates one commit and adds its writes, or leaves no trace.
    fn accept(
        &mut self,
        commit: &mut Commit,
        changes: &mut Changes,
        known: &mut Known,
    ) -> Result<Outcome, EngineError> {
        for check in &commit.checks {
            if !self.holds(check, changes, known)? {
                return Ok(Outcome::Conflict);
            }
        }
        for check in &commit.ranges {
            if !self.range_holds(check, changes)? {
                return Ok(Outcome::Conflict);
            }
        }
        self.last_version += 1;
        for write in commit.writes.drain(..) {
            let value = match write.change {
                Change::Put(value) => Some(value),
                Change::Delete => None,
            };
            changes.space_mut(write.space).insert(write.key, (self.last_version, value));
        }
        Ok(Outcome::Committed(self.last_version))
    }

    fn holds(&self, check: &Check, changes: &Changes, known: &mut Known) -> Result<bool, EngineError> {
        let present = match changes.get(check.space, &check.key) {
            Some((version, value)) => value.as_ref().map(|_| *version),
            None => match known.get(check.space, &check.key) {
                Some(present) => *present,
                None => {
                    let present = self.engine.version(check.space, &check.key)?;
                    known.space_mut(check.space).insert(check.key.clone(), present);
                    present
                }
            },
        };
        Ok(present == check.expected)
    }

    fn range_holds(&self, check: &RangeCheck, changes: &Changes) -> Result<bool, EngineError> {
        // Whatever this batch has accepted is newer than what the transaction read.
        if changes.range(check.space, &check.range).next().is_some() {
            return Ok(false);
        }
        let mut found = check.found.iter();
        let mut range = check.range.clone();
        loop {
            // One more than found, to see a key that was added behind the last.
            let limit = found.len() + 1;
            let page = self.engine.scan(check.space, &range, limit, Direction::Forward)?;
            for entry in &page.entries {
                match found.next() {
                    Some((key, version)) if *key == entry.key && *version == entry.version => {}
                    _ => return Ok(false),
                }
            }
            match page.entries.last() {
                Some(last) if page.more => range = KeyRange::after(range, &last.key),
                _ => return Ok(found.len() == 0),
            }
        }
    }

    fn reserve_versions(&mut self, changes: &mut Changes) {
        if self.last_version <= self.reserved {
            return;
        }
        self.reserved = self.last_version + VERSION_BLOCK;
        let value = Bytes::copy_from_slice(&self.reserved.to_be_bytes());
        let key = Bytes::from_static(VERSION_KEY);
        changes.space_mut(Space::Sys).insert(key, (self.last_version, Some(value)));
    }

    fn fail(&mut self, batch: &mut Vec<Request>, error: &EngineError) {
        tracing::error!(
            %error, engine = E::NAME, commits = batch.len(),
            "the store refuses writes until its disk works again; nothing acknowledged is lost"
        );
        // What the failed batch used is not used again, and the reservation may not have been written.
        self.reserved = 0;
        self.failed_at = Some(self.clock.monotonic());
        refuse(batch, &StoreError::from(error.clone()));
    }

    fn recover_if_failed(&mut self) -> Result<(), StoreError> {
        let Some(failed_at) = self.failed_at else { return Ok(()) };
        let now = self.clock.monotonic();
        if now < failed_at + RECOVER_EVERY {
            return Err(StoreError::unavailable("the last write failed; waiting before the next attempt"));
        }
        self.failed_at = Some(now);
        self.engine.recover()?;
        Space::ALL.into_iter().for_each(|space| self.stamps.advance(space));
        self.failed_at = None;
        tracing::info!(engine = E::NAME, "the store accepts writes again");
        Ok(())
    }
}

fn refuse(batch: &mut Vec<Request>, error: &StoreError) {
    for (_, reply) in batch.drain(..) {
        let _ = reply.send(Err(error.clone()));
    }
}

/// Durable engines keep each value behind its version, eight big-endian bytes.
pub(crate) fn join_version(version: Version, value: &[u8]) -> Bytes {
    let mut stored = BytesMut::with_capacity(8 + value.len());
    stored.put_u64(version);
    stored.put_slice(value);
    stored.freeze()
}

pub(crate) fn split_version(stored: Bytes) -> Result<(Bytes, Version), EngineError> {
    match stored.first_chunk::<8>() {
        Some(version) => Ok((stored.slice(8..), u64::from_be_bytes(*version))),
        None => Err(EngineError::Corrupt("a value is shorter than its version".into())),
    }
}
