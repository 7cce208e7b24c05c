//! Whose turn it is: a transaction that has lost often cannot lose for ever.
//!
//! Within a batch those go first that have lost more often. That is enough as long as the loser comes back in time for
//! the next batch. One that takes longer to run again than others need to write what it reads would lose each time, so after
//! some losses it has a claim (`Seniority`), and when it loses with that, what it relied on is kept for it: commits that would
//! write there wait until it has come back, was dropped, or has kept them waiting for long.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::Request;
use crate::{Commit, KeyRange, Space};

/// Batches and pauses that others wait at most.
const PATIENCE: u32 = 100;

#[derive(Default)]
pub(super) struct Turn {
    held: Option<Held>,
    waiting: Vec<Request>,
}

struct Held {
    claim: Weak<()>,
    keys: BTreeSet<(Space, Bytes)>,
    ranges: Vec<(Space, KeyRange)>,
    patience: u32,
}

impl Held {
    fn belongs_to(&self, commit: &Commit) -> bool {
        let claim = commit.seniority.claim.as_ref();
        claim.is_some_and(|claim| std::ptr::eq(Arc::as_ptr(claim), self.claim.as_ptr()))
    }

    fn is_touched_by(&self, commit: &Commit) -> bool {
        commit.writes.iter().any(|write| {
            self.keys.contains(&(write.space, write.key.clone()))
                || self
                    .ranges
                    .iter()
                    .any(|(space, range)| *space == write.space && range.contains(&write.key))
        })
    }
}

impl Turn {
    /// Somebody waits for somebody else's turn to end.
    pub fn keeps_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Orders a batch, takes out of it those who have to wait, and puts in those who have waited.
    pub fn arrange(&mut self, batch: &mut Vec<Request>) {
        if let Some(held) = &mut self.held {
            held.patience = held.patience.saturating_sub(1);
            let is_back = batch.iter().any(|(commit, _)| held.belongs_to(commit));
            if is_back || held.patience == 0 || held.claim.strong_count() == 0 {
                self.held = None;
                batch.append(&mut self.waiting);
            } else {
                let (waiting, going) =
                    std::mem::take(batch).into_iter().partition(|(commit, _)| held.is_touched_by(commit));
                *batch = going;
                let mut waiting: Vec<Request> = waiting;
                self.waiting.append(&mut waiting);
            }
        }
        if batch.iter().any(|(commit, _)| commit.seniority.losses > 0) {
            batch.sort_by_key(|(commit, _)| std::cmp::Reverse(commit.seniority.losses));
        }
    }

    /// `commit` has lost. If it has a claim and nobody else has the turn, the turn is its own.
    pub fn lost(&mut self, commit: &Commit) {
        let Some(claim) = commit.seniority.claim.as_ref().filter(|_| self.held.is_none()) else { return };
        self.held = Some(Held {
            claim: Arc::downgrade(claim),
            keys: commit.checks.iter().map(|check| (check.space, check.key.clone())).collect(),
            ranges: commit.ranges.iter().map(|check| (check.space, check.range.clone())).collect(),
            patience: PATIENCE,
        });
    }

    /// Nobody waits any longer: the store closes.
    pub fn end_for_all(&mut self, batch: &mut Vec<Request>) {
        self.held = None;
        batch.append(&mut self.waiting);
    }
}
