//! Which nodes share this store: a row for each, touched once a second on the clock of the store itself.
//!
//! | Space | Key          | Value | Who ranges over it      |
//! |-------|--------------|-------|-------------------------|
//! | sys   | `nd` name    | `Row` | every node, each second |
//!
//! A node that was not heard of for ten seconds is gone: its background work passes on (its leases end by then). Heartbeats
//! do not decide who may write; fencing does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::View;
use crate::{Batch, Durability, Space, Store, StoreError, Stored, Table};

const NODES: Table<String, Row> = Table::new(Space::Sys, *b"nd");
const BEAT: Duration = Duration::from_secs(1);
/// Not heard of for this long: gone.
const GONE: Duration = Duration::from_secs(10);
/// Listed as gone for this long, then forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// No answer of the store for this long: this node cannot serve.
const CUT_OFF: Duration = Duration::from_secs(2);
const MAX_NODES: usize = 1_000;

/// How a node describes itself. Part of the format: releases add fields, and ignore those that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    /// Different for every start.
    instance: String,
    version: String,
    address: String,
    /// Where it runs: no two nodes can be in one place at a time.
    #[serde(default)]
    place: String,
    since: u64,
    seen: u64,
    #[serde(default)]
    draining: bool,
}

impl Stored for Row {}

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Introduction {
    pub name: String,
    /// Different for every start.
    pub instance: String,
    pub version: String,
    pub address: String,
    /// Where it runs, if that can be said so that no two nodes are in one place at a time: a node that finds its own row
    /// of an earlier start need not wait for that to be gone. Empty if not.
    pub place: String,
}

/// A node as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub version: String,
    pub address: String,
    pub since: Timestamp,
    /// How long ago it was heard of, on the store's clock.
    pub seen_ago: Duration,
    pub state: MemberState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    Working,
    Draining,
    Gone,
}

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(
        "a node named {name:?} is already in this cloud (it listens on {address}): choose another --node-name"
    )]
    NameTaken { name: String, address: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// This node's place among those that share the store.
pub struct Membership {
    store: Store,
    me: Introduction,
    since: Timestamp,
    /// When the store last answered, by `Clock::monotonic`.
    heard: Mutex<Duration>,
    draining: AtomicBool,
    /// The log says that this node's clock is wrong.
    is_clock_off: AtomicBool,
}

/// A client's signature may be five minutes old; half of them are for the client's own clock.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// What is wrong with a node's clock, `ours`, beside the store's.
fn clock_fault(ours: Timestamp, stores: Timestamp) -> Option<String> {
    let (ahead, behind) = (ours.since(stores), stores.since(ours));
    let off = ahead.max(behind);
    (off > CLOCK_TOLERANCE).then(|| {
        let side = if ahead > behind { "ahead of" } else { "behind" };
        format!("this node's clock is {} s {side} the database's", off.as_secs())
    })
}

impl Membership {
    /// `None` when the store cannot be shared: there is nobody to meet, and nothing is written.
    ///
    /// # Errors
    /// `NameTaken` when another node that is alive bears the name. To find out may take ten seconds after a node of this
    /// name was killed elsewhere.
    pub async fn join(store: &Store, me: Introduction) -> Result<Option<Membership>, JoinError> {
        let mut first_seen = None;
        let since = loop {
            let Some(now) = now(store).await? else { return Ok(None) };
            let Some(other) = touch(store, &me, now, (now, false)).await? else { break now };
            if *first_seen.get_or_insert(other.seen) != other.seen {
                return Err(JoinError::NameTaken { name: me.name, address: other.address });
            }
            tracing::info!(
                name = me.name,
                "a node of this name was here a moment ago: waiting to see whether it still is"
            );
            let clock = store.clock();
            clock.sleep_until(clock.now() + BEAT * 3 / 2).await;
        };
        let heard = Mutex::new(store.clock().monotonic());
        let membership = Membership {
            store: store.clone(),
            me,
            since,
            heard,
            draining: AtomicBool::new(false),
            is_clock_off: AtomicBool::new(false),
        };
        membership.look(since).await?;
        Ok(Some(membership))
    }

    /// Tells others that this node is here, and learns who else is. Runs until it is dropped.
    pub async fn run(&self) {
        let clock = self.store.clock();
        let mut is_told = false;
        loop {
            clock.sleep_until(clock.now() + BEAT).await;
            match self.beat().await {
                Ok(()) if std::mem::take(&mut is_told) => tracing::info!("the store answers again"),
                Ok(()) => {}
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%error, "other nodes cannot be told that this one is here");
                }
                Err(_) => {}
            }
            if self.silence() > GONE {
                // Others have taken the work over by now.
                self.store.cluster().set(View::Among { me: self.me.name.clone(), working: Vec::new() });
            }
        }
    }

    /// Whether the store answered lately: a node that is cut off from it should not be sent requests.
    pub fn is_connected(&self) -> bool {
        self.silence() <= CUT_OFF
    }

    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        present(&self.store).await
    }

    /// Background work goes to the others; requests are still served.
    pub async fn drain(&self) -> Result<(), StoreError> {
        self.draining.store(true, Ordering::Relaxed);
        self.store.cluster().set(View::Among { me: self.me.name.clone(), working: Vec::new() });
        self.beat().await
    }

    /// The last word of a node that stops.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let name = &self.me.name;
        self.store
            .transact(|txn| async move {
                let is_mine =
                    NODES.get(&txn, name).await?.is_some_and(|row| row.instance == self.me.instance);
                if is_mine {
                    NODES.delete(&txn, name);
                }
                Ok::<_, StoreError>(())
            })
            .await
    }

    fn silence(&self) -> Duration {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.clock().monotonic().saturating_sub(heard)
    }

    async fn beat(&self) -> Result<(), StoreError> {
        let Some(now) = now(&self.store).await? else { return Ok(()) };
        let state = (self.since, self.draining.load(Ordering::Relaxed));
        if let Some(other) = touch(&self.store, &self.me, now, state).await? {
            // This node was silent for so long that another one took its name. It harms nobody: it goes on as a guest.
            tracing::error!(
                name = self.me.name,
                address = other.address,
                "another node has taken this node's name: restart this one under another --node-name"
            );
            self.store.cluster().set(View::Among { me: self.me.name.clone(), working: Vec::new() });
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = self.store.clock().monotonic();
            return Ok(());
        }
        self.look(now).await
    }

    /// Leases and heartbeats follow the store's clock; signatures and moments of messages do not.
    fn compare_clocks(&self, now: Timestamp) {
        let fault = clock_fault(self.store.clock().now(), now);
        let was_off = self.is_clock_off.swap(fault.is_some(), Ordering::Relaxed);
        match fault {
            Some(fault) if !was_off => {
                tracing::warn!("{fault}: signatures and delays are judged by it, so set it right (NTP)");
            }
            None if was_off => tracing::info!("this node's clock agrees with the database's again"),
            _ => {}
        }
    }

    /// Learns who is here, and forgets who has been gone for long.
    async fn look(&self, now: Timestamp) -> Result<(), StoreError> {
        self.compare_clocks(now);
        let (mut working, mut forgotten) = (Vec::new(), Batch::new());
        let mut has_company = false;
        for (name, row) in rows(&self.store).await? {
            if Timestamp::from_millis(row.seen as i64) + FORGOTTEN <= now {
                forgotten = NODES.delete_in(forgotten, &name);
                continue;
            }
            let member = member(name, row, now);
            has_company |= member.state != MemberState::Gone && member.name != self.me.name;
            if member.state == MemberState::Working {
                working.push(member.name);
            }
        }
        if !forgotten.is_empty() {
            self.store.write(forgotten, Durability::Relaxed).await?;
        }
        self.store.kv().has_company(has_company);
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = self.store.clock().monotonic();
        self.store.cluster().set(View::Among { me: self.me.name.clone(), working });
        Ok(())
    }
}

/// The nodes that share a store, seen from outside; none when it cannot be shared.
pub async fn present(store: &Store) -> Result<Vec<Member>, StoreError> {
    let Some(now) = now(store).await? else { return Ok(Vec::new()) };
    Ok(rows(store).await?.into_iter().map(|(name, row)| member(name, row, now)).collect())
}

async fn rows(store: &Store) -> Result<Vec<(String, Row)>, StoreError> {
    Ok(NODES.scan(store, &NODES.all(), MAX_NODES).await?.rows)
}

/// Writes this node's row, unless another one that may be alive holds the name: then its row is returned.
async fn touch(
    store: &Store,
    me: &Introduction,
    now: Timestamp,
    (since, draining): (Timestamp, bool),
) -> Result<Option<Row>, StoreError> {
    store
        .transact(|txn| async move {
            if let Some(other) = NODES.get(&txn, &me.name).await? {
                let is_past = !me.place.is_empty() && other.place == me.place;
                let is_gone = Timestamp::from_millis(other.seen as i64) + GONE <= now;
                if other.instance != me.instance && !is_past && !is_gone {
                    return Ok(Some(other));
                }
            }
            let row = Row {
                instance: me.instance.clone(),
                version: me.version.clone(),
                address: me.address.clone(),
                place: me.place.clone(),
                since: millis(since),
                seen: millis(now),
                draining,
            };
            NODES.put(&txn, &me.name, &row)?;
            txn.relaxed(); // Lost with the power of the store's machine, it is written again a second later.
            Ok(None)
        })
        .await
}

fn member(name: String, row: Row, now: Timestamp) -> Member {
    let seen_ago = now.since(Timestamp::from_millis(row.seen as i64));
    let state = match (seen_ago >= GONE, row.draining) {
        (true, _) => MemberState::Gone,
        (false, true) => MemberState::Draining,
        (false, false) => MemberState::Working,
    };
    let since = Timestamp::from_millis(row.since as i64);
    Member { name, version: row.version, address: row.address, since, seen_ago, state }
}

/// The store's own time; `None` when no other node can share it.
async fn now(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    match store.kv().shared_time() {
        Some(time) => time.await.map(Some),
        None => Ok(None),
    }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
