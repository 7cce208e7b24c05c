//! The statements, by space, and how several are sent at once.

use std::future::poll_fn;
use std::sync::LazyLock;
use std::task::Poll;

use deadpool_postgres::Object;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pileus_store::Space;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

/// What is done to the table of one space.
pub struct Sql {
    pub get: String,
    pub lock_share: String,
    pub lock_update: String,
    pub insert: String,
    pub update: String,
    pub delete: String,
    pub versions: String,
    pub versions_to_end: String,
}

pub fn of(space: Space) -> &'static Sql {
    static ALL: LazyLock<[Sql; Space::ALL.len()]> = LazyLock::new(|| Space::ALL.map(Sql::new));
    &ALL[space as usize]
}

impl Sql {
    fn new(space: Space) -> Sql {
        let table = format!("pileus_{}", space.name());
        // The keys come sorted, and the numbering keeps them so: rows are locked in the order of their keys.
        let lock = |mode: &str| {
            format!(
                "SELECT t.i, kv.ver FROM unnest($1::bytea[]) WITH ORDINALITY AS t(k, i) \
                 JOIN {table} AS kv ON kv.k = t.k ORDER BY t.i FOR {mode} OF kv"
            )
        };
        let versions = |end: &str, limit: &str| {
            format!("SELECT k, ver FROM {table} WHERE k >= $1{end} ORDER BY k LIMIT {limit}")
        };
        Sql {
            get: format!("SELECT v, ver FROM {table} WHERE k = $1"),
            lock_share: lock("SHARE"),
            lock_update: lock("UPDATE"),
            insert: format!(
                "INSERT INTO {table} (k, v, ver) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])"
            ),
            update: format!(
                "UPDATE {table} AS kv SET v = t.v, ver = t.ver \
                 FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS t(k, v, ver) WHERE kv.k = t.k"
            ),
            delete: format!("DELETE FROM {table} WHERE k = ANY($1::bytea[])"),
            versions: versions(" AND k < $2", "$3"),
            versions_to_end: versions("", "$2"),
        }
    }
}

pub type Parameter<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Something to send.
pub enum Step<'a> {
    Simple(&'static str),
    Prepared(Statement, Vec<Parameter<'a>>),
}

impl<'a> Step<'a> {
    /// Prepares the statement on this connection, unless that was done before.
    pub async fn prepare(
        connection: &Object,
        sql: &str,
        parameters: Vec<Parameter<'a>>,
    ) -> Result<Step<'a>, Error> {
        Ok(Step::Prepared(connection.prepare_cached(sql).await?, parameters))
    }
}

/// Sends all steps in their order without waiting in between, and returns what each answered.
///
/// A step after a failed one fails too, when they are in a transaction.
pub async fn pipeline(connection: &Object, steps: &[Step<'_>]) -> Vec<Result<Vec<Row>, Error>> {
    let mut running: Vec<_> = steps.iter().map(|step| Progress::Running(send(connection, step))).collect();
    // The first poll of a future sends its message: so they are polled one after the other.
    poll_fn(|context| {
        let mut is_done = true;
        for step in &mut running {
            if let Progress::Running(future) = step {
                match future.poll_unpin(context) {
                    Poll::Ready(answer) => *step = Progress::Done(answer),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running
        .into_iter()
        .filter_map(|step| match step {
            Progress::Done(answer) => Some(answer),
            Progress::Running(_) => None,
        })
        .collect()
}

enum Progress<'a> {
    Running(BoxFuture<'a, Result<Vec<Row>, Error>>),
    Done(Result<Vec<Row>, Error>),
}

fn send<'a>(connection: &'a Object, step: &'a Step<'_>) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
    async move {
        match step {
            Step::Simple(sql) => connection.batch_execute(sql).await.map(|()| Vec::new()),
            Step::Prepared(statement, parameters) => {
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect();
                connection.query(statement, &parameters).await
            }
        }
    }
    .boxed()
}
