//! Committers: tasks that each put what is queued into one transaction of the database.
//!
//! Commits with range checks have a committer of their own. Those who contend for a key so meet in one batch, and the
//! first of them wins. How a batch becomes a transaction is `batch.rs`; here is what happens around it: it is repeated
//! until it is known to have taken effect or to be impossible.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use pileus_core::Rng;
use pileus_store::{Commit, Outcome, StoreError, Topics, Version};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::batch::{self, Setback};
use crate::error::explain;
use crate::pool::{connection, rest};
use crate::wake::Notifier;

const MAX_REQUESTS: usize = 256; // At most `schema::BLOCK`, the versions of one batch.
const MAX_BYTES: usize = 4 << 20;
const MAX_KEYS: usize = 4_000;
/// How long a batch is held open for those who took part in the last one; little beside a round trip and a flush.
const GATHER: Duration = Duration::from_micros(200);
/// Requests that may wait for a committer; senders beyond it wait in their tasks.
const QUEUE: usize = 1_024;
/// How long a batch is repeated, or its outcome asked for, while the database is away or others are in the way.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(8);

pub struct Request {
    pub commit: Commit,
    pub reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

pub struct Committer {
    pool: Pool,
    topics: Topics,
    notifier: Notifier,
    rng: Arc<dyn Rng>,
    requests: mpsc::Receiver<Request>,
    connection: Option<Object>,
    /// The row of this committer in the database.
    id: i64,
    /// Batches in a row in which nobody won.
    lost: u32,
}

impl Committer {
    pub fn new(
        pool: Pool,
        id: i64,
        topics: Topics,
        notifier: Notifier,
        rng: Arc<dyn Rng>,
    ) -> (Committer, mpsc::Sender<Request>) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Committer { pool, topics, notifier, rng, requests, connection: None, id, lost: 0 }, sender)
    }

    /// Until every sender is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_REQUESTS);
        let mut expected = 0;
        while let Some(first) = self.requests.recv().await {
            self.gather(first, expected, &mut batch).await;
            // Who has lost most often goes first.
            batch.sort_by_key(|request| std::cmp::Reverse(request.commit.seniority.losses));
            expected = batch.len();
            self.commit_batch(&mut batch).await;
        }
    }

    /// What is queued, and for a moment as many as were answered last: they are about to come again, and the first of
    /// them would otherwise have a transaction to itself while the others wait for the disk.
    async fn gather(&mut self, first: Request, expected: usize, batch: &mut Vec<Request>) {
        let begin = Instant::now();
        let (mut bytes, mut keys) = (first.commit.bytes(), weight(&first.commit));
        batch.push(first);
        while batch.len() < MAX_REQUESTS && bytes < MAX_BYTES && keys < MAX_KEYS {
            match self.requests.try_recv() {
                Ok(request) => {
                    bytes += request.commit.bytes();
                    keys += weight(&request.commit);
                    batch.push(request);
                }
                Err(_) if batch.len() < expected && begin.elapsed() < GATHER => {
                    tokio::task::yield_now().await
                }
                Err(_) => return,
            }
        }
    }

    async fn commit_batch(&mut self, batch: &mut Vec<Request>) {
        match self.settle(batch).await {
            Err(Failure::Poisoned(_)) if batch.len() > 1 => {
                // One of them cannot be stored: the others are not to suffer for it.
                for request in std::mem::take(batch) {
                    let mut alone = vec![request];
                    let settled = self.settle(&alone).await;
                    self.answer(&mut alone, settled);
                }
            }
            settled => self.answer(batch, settled),
        }
    }

    /// Repeats the batch until its outcome is known.
    async fn settle(&mut self, batch: &[Request]) -> Result<Vec<Outcome>, Failure> {
        let give_up = Instant::now() + PATIENCE;
        let mut refused = HashSet::new();
        let mut pause = Duration::from_millis(2);
        loop {
            let setback = match self.attempt(batch, &refused).await {
                Ok(outcomes) => return Ok(in_order(batch.len(), &outcomes)),
                Err(setback) => setback,
            };
            let is_late = Instant::now() >= give_up;
            match setback {
                Setback::RangeBroken(index) => {
                    refused.insert(index);
                    continue;
                }
                Setback::Contended(error) if is_late => {
                    tracing::warn!(reason = explain(&error), "a batch gives way to others");
                    return Ok(vec![Outcome::Conflict; batch.len()]);
                }
                Setback::Contended(error) => {
                    tracing::debug!(reason = explain(&error), "a batch starts again");
                }
                Setback::Unknown { base, outcomes, reason } => {
                    tracing::warn!(
                        reason,
                        "the database was lost during a commit; asking whether it took effect"
                    );
                    if self.took_effect(base, give_up.max(Instant::now() + PATIENCE / 2)).await? {
                        return Ok(in_order(batch.len(), &outcomes));
                    }
                }
                Setback::Lost(reason) if is_late => return Err(StoreError::unavailable(reason).into()),
                Setback::Lost(reason) => {
                    tracing::warn!(reason, "the database was lost before a commit; trying again");
                    pause = pause.max(Duration::from_millis(20));
                }
                Setback::Unregistered => {
                    self.register().await?;
                    continue;
                }
                Setback::Data(error) => return Err(Failure::Poisoned(crate::error::unavailable(&error))),
                Setback::Impossible(error) => return Err(error.into()),
            }
            rest(pause / 2 + self.jitter(pause / 2)).await;
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    async fn attempt(
        &mut self,
        batch: &[Request],
        refused: &HashSet<usize>,
    ) -> Result<Vec<(usize, Outcome)>, Setback> {
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => connection(&self.pool).await.map_err(|error| match error {
                StoreError::Closed => Setback::Impossible(error),
                other => Setback::Lost(other.to_string()),
            })?,
        };
        let commits = batch.iter().map(|request| &request.commit);
        let (outcome, is_usable) = batch::attempt(&connection, self.id, commits, refused, ATTEMPT).await;
        if is_usable {
            self.connection = Some(connection);
        } else {
            drop(Object::take(connection)); // Not back to the pool.
        }
        outcome
    }

    /// Whether the batch with these versions was committed. It waits for the lost connection's transaction to end, so that
    /// a "no" stays true: the transaction had locked the row that is asked for before its commit was sent.
    async fn took_effect(&mut self, base: Version, give_up: Instant) -> Result<bool, StoreError> {
        let mut reason = "no answer".to_owned();
        while Instant::now() < give_up {
            let asked = async {
                let connection = connection(&self.pool).await?;
                let sql = "SELECT last FROM pileus_committer WHERE id = $1 FOR UPDATE";
                let row = connection.query_opt(sql, &[&self.id]).await;
                row.map_err(|error| {
                    drop(Object::take(connection));
                    crate::error::unavailable(&error)
                })
            };
            match tokio::time::timeout(ATTEMPT, asked).await {
                Ok(Ok(row)) => {
                    let last = row.map(|row| row.get::<_, i64>(0).cast_unsigned());
                    let is_applied = last == Some(base);
                    tracing::info!(is_applied, "the outcome of the interrupted commit is known");
                    return Ok(is_applied);
                }
                Ok(Err(StoreError::Closed)) => return Err(StoreError::Closed),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = "no answer in time".into(),
            }
            rest(Duration::from_millis(100) + self.jitter(Duration::from_millis(100))).await;
        }
        Err(StoreError::unavailable(format!("whether a commit took effect could not be learnt: {reason}")))
    }

    /// Writes the row that another node has removed because this committer was idle for long.
    async fn register(&self) -> Result<(), StoreError> {
        register(&connection(&self.pool).await?, self.id).await
    }

    /// All at once, the refused too: one that ran again before the batch is visible would lose again.
    fn answer(&mut self, batch: &mut Vec<Request>, settled: Result<Vec<Outcome>, Failure>) {
        let outcomes = match settled {
            Ok(outcomes) => outcomes,
            Err(Failure::Poisoned(error) | Failure::Unavailable(error)) => {
                tracing::error!(%error, commits = batch.len(), "commits could not be made");
                for request in batch.drain(..) {
                    let _ = request.reply.send(Err(error.clone()));
                }
                return;
            }
        };
        let has_winner = outcomes.iter().any(|outcome| *outcome != Outcome::Conflict);
        self.lost = if has_winner { 0 } else { (self.lost + 1).min(8) };
        let mut conflicts = Vec::new();
        for (request, outcome) in batch.drain(..).zip(outcomes) {
            if outcome == Outcome::Conflict {
                conflicts.push(request.reply);
                continue;
            }
            self.topics.fire(&request.commit.notify);
            self.notifier.notify(request.commit.notify);
            let _ = request.reply.send(Ok(outcome)); // Nobody waits for it any more: it is committed all the same.
        }
        if conflicts.is_empty() {
            return;
        }
        // Another node has won, and might win for ever if we were always as fast as it.
        let wait = self.jitter(Duration::from_millis(1) * (self.lost + 1));
        tokio::spawn(async move {
            rest(wait).await;
            for reply in conflicts {
                let _ = reply.send(Ok(Outcome::Conflict));
            }
        });
    }

    fn jitter(&self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.below(most.saturating_add(1)))
    }
}

/// Adds a committer's row, and removes those of committers that were not heard of for a day.
pub async fn register(connection: &Object, id: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO pileus_committer VALUES ($1, 0, now()) ON CONFLICT DO NOTHING";
    connection.execute(sql, &[&id]).await.map_err(|error| crate::error::unavailable(&error))?;
    let old = "DELETE FROM pileus_committer WHERE at < now() - interval '1 day'";
    match connection.execute(old, &[]).await {
        Err(error) if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(crate::error::unavailable(&error))
        }
        _ => Ok(()),
    }
}

enum Failure {
    Unavailable(StoreError),
    /// The database cannot take what one of the commits holds.
    Poisoned(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Unavailable(error)
    }
}

fn weight(commit: &Commit) -> usize {
    commit.checks.len() + commit.writes.len() + commit.ranges.len()
}

/// Those without an outcome were refused before.
fn in_order(count: usize, outcomes: &[(usize, Outcome)]) -> Vec<Outcome> {
    let mut all = vec![Outcome::Conflict; count];
    for (index, outcome) in outcomes {
        all[*index] = outcome.clone();
    }
    all
}
