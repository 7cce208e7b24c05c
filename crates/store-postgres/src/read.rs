//! Reads: of this moment, and of the moment of a snapshot.
//!
//! Most transactions read one key. Theirs needs no transaction of the database: it is read as any other (`gather.rs`), and only
//! the second read pins a moment, in which the first is read again.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::{Object, Pool};
use pileus_core::BoxFuture;
use pileus_store::{Direction, Entry, Found, KeyRange, Limits, Page, Read, Space, StoreError, Version};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_postgres::{Error, Row};

use crate::error::{Kind, kind, unavailable};
use crate::gather::Gatherer;
use crate::pool::retrying;
use crate::sql::{self, Parameter, Step, pipeline};

/// Up to so many rows are fetched whole, whatever their size: at most 16 MiB.
const SMALL_PAGE: i64 = 16;
/// No page holds more.
const LARGEST_PAGE: i64 = 1 << 20;
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// One statement that reads.
enum Select<'a> {
    Get(Space, &'a [u8]),
    Many(&'a [(Space, Bytes)]),
    Scan { space: Space, range: &'a KeyRange, limit: i64, direction: Direction },
}

impl Select<'_> {
    async fn step(&self, connection: &Object) -> Result<Step<'_>, Error> {
        match self {
            Select::Get(space, key) => {
                Step::prepare(connection, &sql::of(*space).get, vec![Box::new(*key)]).await
            }
            Select::Many(keys) => {
                let (sql, parameters) = many(keys);
                Step::prepare(connection, &sql, parameters).await
            }
            Select::Scan { space, range, limit, direction } => {
                let mut parameters: Vec<Parameter<'_>> = vec![Box::new(*limit), Box::new(&range.start[..])];
                if let Some(end) = &range.end {
                    parameters.push(Box::new(&end[..]));
                }
                let sql = scan(*space, range.end.is_some(), *limit > SMALL_PAGE, *direction);
                Step::prepare(connection, &sql, parameters).await
            }
        }
    }

    async fn rows(&self, connection: &Object) -> Result<Vec<Row>, Error> {
        let step = self.step(connection).await?;
        pipeline(connection, std::slice::from_ref(&step)).await.remove(0)
    }
}

/// One statement for all spaces, so that all is of one moment. Rows: place among the keys, value, version.
fn many<'a>(keys: &'a [(Space, Bytes)]) -> (String, Vec<Parameter<'a>>) {
    let mut sql = String::new();
    let mut parameters: Vec<Parameter<'a>> = Vec::new();
    for space in Space::ALL {
        let places = keys.iter().enumerate().filter(|(_, (of, _))| *of == space);
        let (places, keys): (Vec<i32>, Vec<&[u8]>) =
            places.map(|(place, (_, key))| (place as i32, &key[..])).unzip();
        if keys.is_empty() {
            continue;
        }
        let (first, second) = (parameters.len() + 1, parameters.len() + 2);
        let union = if parameters.is_empty() { "" } else { " UNION ALL " };
        // Writing to a string cannot fail.
        let _ = write!(
            sql,
            "{union}SELECT t.i, kv.v, kv.ver FROM unnest(${first}::integer[], ${second}::bytea[]) AS t(i, k) \
             JOIN pileus_{} AS kv ON kv.k = t.k",
            space.name()
        );
        parameters.push(Box::new(places));
        parameters.push(Box::new(keys));
    }
    (sql, parameters)
}

/// Rows: key, value, version, whether rows were left out because of their size. A large page is cut by the server: it is
/// not to send what we drop.
fn scan(space: Space, has_end: bool, is_large: bool, direction: Direction) -> String {
    let end = if has_end { " AND k < $3" } else { "" };
    let order = match direction {
        Direction::Forward => "k",
        Direction::Backward => "k DESC",
    };
    let rows =
        format!("SELECT k, v, ver FROM pileus_{} WHERE k >= $2{end} ORDER BY {order} LIMIT $1", space.name());
    if !is_large {
        return rows;
    }
    let bytes = Limits::DEFAULT.max_page_bytes;
    format!(
        "SELECT k, v, ver FROM (SELECT k, v, ver, sum(length(k) + length(v)) OVER (ORDER BY {order} ROWS UNBOUNDED \
         PRECEDING) - length(k) - length(v) AS before FROM ({rows}) AS part) AS sized WHERE before < {bytes} \
         ORDER BY {order}"
    )
}

fn version(row: &Row, column: usize) -> Version {
    row.get::<_, i64>(column).cast_unsigned()
}

fn bytes(row: &Row, column: usize) -> Bytes {
    Bytes::copy_from_slice(row.get(column))
}

fn page(rows: Vec<Row>, limit: i64, wanted: usize) -> Page {
    // One more than wanted was asked for. With size cuts fewer come, and whether more exist is not known: say so.
    let mut page = Page::default();
    let mut size = 0;
    for row in &rows {
        if page.entries.len() >= wanted || size >= Limits::DEFAULT.max_page_bytes {
            page.more = true;
            return page;
        }
        let entry = Entry { key: bytes(row, 0), value: bytes(row, 1), version: version(row, 2) };
        size += entry.key.len() + entry.value.len();
        page.entries.push(entry);
    }
    page.more = limit > SMALL_PAGE && size >= Limits::DEFAULT.max_page_bytes;
    page
}

/// Where statements are run.
trait Runs: Send + Sync {
    fn run<'a>(&'a self, select: Select<'a>) -> BoxFuture<'a, Result<Vec<Row>, StoreError>>;

    fn get_one<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>>;
}

fn found(rows: &[Row]) -> Found {
    rows.first().map(|row| (bytes(row, 0), version(row, 1)))
}

/// The present values, as one statement.
pub async fn many_of(pool: &Pool, keys: &[(Space, Bytes)]) -> Result<Vec<Found>, StoreError> {
    if let [(space, key)] = keys {
        return Ok(vec![found(&run_on(pool, &Select::Get(*space, key)).await?)]);
    }
    in_order(keys, &run_on(pool, &Select::Many(keys)).await?)
}

async fn run_on(pool: &Pool, select: &Select<'_>) -> Result<Vec<Row>, StoreError> {
    retrying(pool, |connection| async move { select.rows(&connection).await }).await
}

async fn multi_get(runs: &impl Runs, keys: &[(Space, Bytes)]) -> Result<Vec<Found>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    in_order(keys, &runs.run(Select::Many(keys)).await?)
}

fn in_order(keys: &[(Space, Bytes)], rows: &[Row]) -> Result<Vec<Found>, StoreError> {
    let mut found = vec![None; keys.len()];
    for row in rows {
        let place = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
        if let Some(slot) = found.get_mut(place) {
            *slot = Some((bytes(row, 1), version(row, 2)));
        }
    }
    Ok(found)
}

async fn read_page(
    runs: &impl Runs,
    space: Space,
    range: &KeyRange,
    wanted: usize,
    direction: Direction,
) -> Result<Page, StoreError> {
    if range.is_empty() {
        return Ok(Page::default());
    }
    let limit =
        i64::try_from(wanted).map_or(LARGEST_PAGE, |wanted| wanted.saturating_add(1).min(LARGEST_PAGE));
    let rows = runs.run(Select::Scan { space, range, limit, direction }).await?;
    let wanted = wanted.min((LARGEST_PAGE - 1) as usize);
    Ok(page(rows, limit, wanted))
}

/// Each read of its own moment.
pub struct Present {
    pub pool: Pool,
    pub gatherer: Gatherer,
}

impl Runs for Present {
    fn run<'a>(&'a self, select: Select<'a>) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move { run_on(&self.pool, &select).await })
    }

    fn get_one<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(self.gatherer.get(space, Bytes::copy_from_slice(key)))
    }
}

/// One read-only transaction of the database, begun together with the first read and ended when this is dropped.
pub struct Snapshot {
    pool: Pool,
    handle: Handle,
    /// Reads what is read first, where that may be all: then there is no transaction.
    gatherer: Option<Gatherer>,
    moment: Mutex<Moment>,
}

enum Moment {
    Open,
    /// One key was read, and had this version.
    First(Space, Bytes, Option<Version>),
    Pinned(Arc<Pinned>),
}

impl Snapshot {
    pub fn new(pool: Pool, handle: Handle) -> Snapshot {
        Snapshot { pool, handle, gatherer: None, moment: Mutex::new(Moment::Open) }
    }

    /// For a transaction: it may be told that its moment is gone.
    pub fn of_transaction(pool: Pool, handle: Handle, gatherer: Gatherer) -> Snapshot {
        Snapshot { gatherer: Some(gatherer), ..Snapshot::new(pool, handle) }
    }

    /// Chooses the moment: what `first` and then `select` read of it. Until that has succeeded none is chosen, so it may try
    /// again.
    async fn pin(
        &self,
        first: Option<&Select<'_>>,
        select: &Select<'_>,
    ) -> Result<(Arc<Pinned>, Vec<Row>, Vec<Row>), StoreError> {
        retrying(&self.pool, |connection| async move {
            let pinned = Pinned { connection: Arc::new(connection), handle: self.handle.clone() };
            let mut steps = vec![Step::Simple(BEGIN)];
            if let Some(first) = first {
                steps.push(first.step(&pinned.connection).await?);
            }
            steps.push(select.step(&pinned.connection).await?);
            let answers = pipeline(&pinned.connection, &steps).await;
            let mut answers: Vec<_> = answers.into_iter().collect::<Result<_, Error>>()?;
            let rows = answers.pop().unwrap_or_default();
            let before = if first.is_some() { answers.pop().unwrap_or_default() } else { Vec::new() };
            Ok((Arc::new(pinned), before, rows))
        })
        .await
    }

    /// What a lost moment is to the one who reads.
    fn lost(&self, error: &Error) -> StoreError {
        if self.gatherer.is_some() && kind(error) == Kind::Broken {
            StoreError::Stale
        } else {
            unavailable(error)
        }
    }
}

impl Runs for Snapshot {
    fn run<'a>(&'a self, select: Select<'a>) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let mut moment = self.moment.lock().await;
            match &*moment {
                Moment::Pinned(pinned) => {
                    let pinned = pinned.clone();
                    drop(moment);
                    // Its moment is gone with its connection: only the whole transaction can run again.
                    select.rows(&pinned.connection).await.map_err(|error| self.lost(&error))
                }
                Moment::First(space, key, read) => {
                    let (space, key, read) = (*space, key.clone(), *read);
                    let (pinned, before, rows) = self.pin(Some(&Select::Get(space, &key)), &select).await?;
                    if found(&before).map(|(_, version)| version) != read {
                        return Err(StoreError::Stale);
                    }
                    *moment = Moment::Pinned(pinned);
                    Ok(rows)
                }
                Moment::Open => {
                    let (pinned, _, rows) = self.pin(None, &select).await?;
                    *moment = Moment::Pinned(pinned);
                    Ok(rows)
                }
            }
        })
    }

    fn get_one<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(async move {
            if let Some(gatherer) = &self.gatherer {
                let mut moment = self.moment.lock().await;
                if matches!(&*moment, Moment::Open) {
                    let key = Bytes::copy_from_slice(key);
                    let found = gatherer.get(space, key.clone()).await?;
                    *moment = Moment::First(space, key, found.as_ref().map(|(_, version)| *version));
                    return Ok(found);
                }
            }
            Ok(found(&self.run(Select::Get(space, key)).await?))
        })
    }
}

/// A connection with a transaction on it. It goes back to the pool without one, however this ends.
struct Pinned {
    connection: Arc<Object>,
    handle: Handle,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        self.handle.spawn(async move {
            if connection.batch_execute("ROLLBACK").await.is_err() {
                // Not back to the pool. By now we are gone, and this is the only owner.
                drop(Arc::into_inner(connection).map(Object::take));
            }
        });
    }
}

macro_rules! read_by_statements {
    ($type:ty) => {
        impl Read for $type {
            fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
                self.get_one(space, key)
            }

            fn multi_get<'a>(
                &'a self,
                keys: &'a [(Space, Bytes)],
            ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
                Box::pin(multi_get(self, keys))
            }

            fn scan<'a>(
                &'a self,
                space: Space,
                range: &'a KeyRange,
                limit: usize,
                direction: Direction,
            ) -> BoxFuture<'a, Result<Page, StoreError>> {
                Box::pin(read_page(self, space, range, limit, direction))
            }
        }
    };
}

read_by_statements!(Present);
read_by_statements!(Snapshot);
