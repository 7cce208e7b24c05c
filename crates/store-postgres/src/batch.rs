//! One batch as one transaction: two round trips, or three when ranges are checked.
//!
//! 1. `BEGIN`; lock the guards; lock the keys in order, learning their versions; take a block of versions and note it in
//!    the committer's row; read the ranges.
//! 2. Insert, update, delete; `COMMIT`, unless ranges were checked: they are read again.
//! 3. `COMMIT`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::Object;
use pileus_store::{Commit, KeyRange, Outcome, Space, StoreError, Version};
use tokio_postgres::{Error, Row};

use crate::error::{Kind, explain, is_definite, kind, unavailable};
use crate::guard;
use crate::plan::{Changes, Plan, RangeRows};
use crate::sql::{self, Parameter, Step, pipeline};

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// A batch that need not be durable when it is acknowledged. Its place in the journal is before any later commit.
const RELAXED: &str = "SET LOCAL synchronous_commit = off";
const GUARD: &str = "SELECT id FROM pileus_guard WHERE id = ANY($1::smallint[]) ORDER BY id FOR UPDATE";
const VERSIONS: &str =
    "UPDATE pileus_committer SET last = nextval('pileus_version'), at = now() WHERE id = $1 RETURNING last";

/// Why an attempt did not come to an end.
pub enum Setback {
    /// Nothing was applied; the same again may succeed.
    Contended(Error),
    /// Nothing was applied: the connection was lost before the commit was sent.
    Lost(String),
    /// The connection was lost after the commit was sent; if it took effect, these are the outcomes.
    Unknown { base: Version, outcomes: Outcomes, reason: String },
    /// Nothing was applied: a range of this commit has changed.
    RangeBroken(usize),
    /// Nothing was applied: the committer's row is missing.
    Unregistered,
    /// Nothing was applied: something in the batch cannot be stored.
    Data(Error),
    /// Nothing was applied, and nothing would be.
    Impossible(StoreError),
}

/// What each commit of a batch, by its place, comes to.
pub type Outcomes = Vec<(usize, Outcome)>;

/// What is known when an attempt is cut short.
#[derive(Default)]
struct Progress(Mutex<Option<(Version, Outcomes)>>);

impl Progress {
    fn commit_is_sent(&self, base: Version, outcomes: &[(usize, Outcome)]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((base, outcomes.to_vec()));
    }

    fn setback(&self, reason: String) -> Setback {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((base, outcomes)) => Setback::Unknown { base, outcomes, reason },
            None => Setback::Lost(reason),
        }
    }
}

/// Runs the batch; also tells whether the connection can be used again.
pub async fn attempt<'a>(
    connection: &Object,
    committer: i64,
    commits: impl Iterator<Item = &'a Commit>,
    refused: &HashSet<usize>,
    time: Duration,
) -> (Result<Outcomes, Setback>, bool) {
    let progress = Progress::default();
    let plan = Plan::new(commits, refused);
    let transaction = transaction(connection, committer, plan, &progress);
    let outcome = match tokio::time::timeout(time, transaction).await {
        Ok(outcome) => outcome,
        Err(_) => return (Err(progress.setback("no answer in time".into())), false),
    };
    let is_usable = match &outcome {
        Ok(_) => true,
        Err(Setback::Unknown { .. } | Setback::Lost(_)) => false,
        Err(_) => {
            let ended = tokio::time::timeout(time, connection.batch_execute("ROLLBACK")).await;
            matches!(ended, Ok(Ok(())))
        }
    };
    (outcome, is_usable)
}

async fn transaction(
    connection: &Object,
    committer: i64,
    mut plan: Plan<'_>,
    progress: &Progress,
) -> Result<Outcomes, Setback> {
    let (base, ranges) = lock(connection, committer, &mut plan).await?;
    let outcomes = plan.accept(base, ranges);
    if outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Conflict) {
        connection.batch_execute("ROLLBACK").await.map_err(before_commit)?;
        return Ok(outcomes);
    }
    let changes = plan.changes();
    let mut steps = Vec::new();
    write(connection, &changes, &mut steps).await.map_err(before_commit)?;
    let checks: Vec<_> =
        plan.ranges().map(|check| (check.space, &check.range, plan.rows_to_compare(check))).collect();
    let is_checked = !checks.is_empty();
    for (space, range, rows) in checks {
        steps.push(read_range(connection, space, range, rows).await.map_err(before_commit)?);
    }
    if is_checked {
        let writes = steps.len() - plan.ranges().count();
        let answers = all(pipeline(connection, &steps).await).map_err(before_commit)?;
        let ranges = answers[writes..].iter().map(|rows| range_rows(rows)).collect();
        if let Some(index) = plan.first_broken(&outcomes, ranges) {
            return Err(Setback::RangeBroken(index));
        }
        steps.clear();
    }
    steps.push(Step::Simple("COMMIT"));
    progress.commit_is_sent(base, &outcomes);
    match all(pipeline(connection, &steps).await) {
        Ok(_) => Ok(outcomes),
        Err(error) if is_definite(&error) => Err(before_commit(error)),
        Err(error) => Err(progress.setback(explain(&error))),
    }
}

/// The first round trip: the first version to give out, and what the checked ranges hold.
async fn lock(
    connection: &Object,
    committer: i64,
    plan: &mut Plan<'_>,
) -> Result<(Version, Vec<RangeRows>), Setback> {
    let runs = plan.runs();
    let mut steps = vec![Step::Simple(BEGIN)];
    if plan.is_relaxed() {
        steps.push(Step::Simple(RELAXED));
    }
    if plan.ranges().next().is_some() {
        let ranges = plan.ranges().map(|check| (check.space, &check.range));
        let slots = guard::slots(ranges, plan.written());
        steps.push(Step::prepare(connection, GUARD, vec![Box::new(slots)]).await.map_err(before_commit)?);
    }
    let first_lock = steps.len();
    for run in &runs {
        let sql = sql::of(run.space);
        let sql = if run.is_written { &sql.lock_update } else { &sql.lock_share };
        steps.push(Step::prepare(connection, sql, vec![Box::new(&run.keys)]).await.map_err(before_commit)?);
    }
    let versions = steps.len();
    steps.push(Step::prepare(connection, VERSIONS, vec![Box::new(committer)]).await.map_err(before_commit)?);
    for check in plan.ranges() {
        let rows = check.found.len() + 1;
        steps.push(read_range(connection, check.space, &check.range, rows).await.map_err(before_commit)?);
    }
    let answers = all(pipeline(connection, &steps).await).map_err(before_commit)?;
    for (run, rows) in runs.iter().zip(&answers[first_lock..]) {
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            if let Some(key) = run.keys.get(place) {
                plan.locked(run.space, key, row.get::<_, i64>(1).cast_unsigned());
            }
        }
    }
    let Some(row) = answers[versions].first() else { return Err(Setback::Unregistered) };
    let base = row.get::<_, i64>(0).cast_unsigned();
    if plan.newest() >= base {
        return Err(Setback::Impossible(StoreError::corrupt(format!(
            "the database gives out version {base} but holds version {}: its sequence pileus_version was set back, \
             or is cached by its sessions",
            plan.newest()
        ))));
    }
    Ok((base, answers[versions + 1..].iter().map(|rows| range_rows(rows)).collect()))
}

async fn write<'a>(
    connection: &Object,
    changes: &'a [(Space, Changes<'a>)],
    steps: &mut Vec<Step<'a>>,
) -> Result<(), Error> {
    for (space, changes) in changes {
        let sql = sql::of(*space);
        for (sql, rows) in [(&sql.insert, &changes.inserts), (&sql.update, &changes.updates)] {
            if !rows.keys.is_empty() {
                let parameters: Vec<Parameter<'a>> =
                    vec![Box::new(&rows.keys), Box::new(&rows.values), Box::new(&rows.versions)];
                steps.push(Step::prepare(connection, sql, parameters).await?);
            }
        }
    }
    // After all inserts: the rows that only held a place go again.
    for (space, changes) in changes {
        if !changes.deletes.is_empty() {
            let sql = &sql::of(*space).delete;
            steps.push(Step::prepare(connection, sql, vec![Box::new(&changes.deletes)]).await?);
        }
    }
    Ok(())
}

async fn read_range<'a>(
    connection: &Object,
    space: Space,
    range: &'a KeyRange,
    rows: usize,
) -> Result<Step<'a>, Error> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let sql = sql::of(space);
    match &range.end {
        Some(end) => {
            let parameters: Vec<Parameter<'a>> =
                vec![Box::new(&range.start[..]), Box::new(&end[..]), Box::new(rows)];
            Step::prepare(connection, &sql.versions, parameters).await
        }
        None => {
            let parameters: Vec<Parameter<'a>> = vec![Box::new(&range.start[..]), Box::new(rows)];
            Step::prepare(connection, &sql.versions_to_end, parameters).await
        }
    }
}

fn range_rows(rows: &[Row]) -> RangeRows {
    rows.iter()
        .map(|row| (Bytes::copy_from_slice(row.get(0)), row.get::<_, i64>(1).cast_unsigned()))
        .collect()
}

/// The first error is the cause of those after it.
fn all(answers: Vec<Result<Vec<Row>, Error>>) -> Result<Vec<Vec<Row>>, Error> {
    answers.into_iter().collect()
}

/// What an error means while the commit was not sent, or the server has said that it rolled back.
fn before_commit(error: Error) -> Setback {
    match kind(&error) {
        Kind::Contention => Setback::Contended(error),
        Kind::Broken => Setback::Lost(explain(&error)),
        Kind::Data => Setback::Data(error),
        Kind::Refused => Setback::Impossible(unavailable(&error)),
    }
}
