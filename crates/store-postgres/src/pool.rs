//! Connections: made, kept, replaced.
//!
//! There are three pools, because one for all could stand still: commits must go on while every transaction holds its
//! snapshot, and a plain read inside a transaction must not wait for another transaction to end.

use std::future::Future;
use std::time::Duration;

use deadpool_postgres::{Hook, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::join_all;
use pileus_store::StoreError;
use tokio_postgres::{Client, Error};

use crate::error::{explain, unavailable};
use crate::url::Settings;

/// How long a caller waits for a connection.
const WAIT: Duration = Duration::from_secs(5);
/// How long a read may take, a new connection for it included.
const READ: Duration = Duration::from_secs(10);

/// Each is asked for by itself and may be refused: not every engine behind the protocol knows them.
///
/// Every statement finds its rows by key, so a plan that reads a whole table is never right, whatever the statistics say
/// of a table that was empty a minute ago. Timeouts: what a node that was cut off has locked is free again within seconds.
const SESSION: [&str; 10] = [
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_bitmapscan = off",
    "SET jit = off",
    "SET plan_cache_mode = force_generic_plan",
    "SET lock_timeout = '3s'",
    "SET statement_timeout = '15s'",
    "SET tcp_user_timeout = '4s'",
    "SET tcp_keepalives_idle = '2s'",
];

const HOLDS_LOCKS: &str = "SET idle_in_transaction_session_timeout = '2s'";
const HOLDS_NOTHING: &str = "SET idle_in_transaction_session_timeout = '30s'";

#[derive(Clone)]
pub struct Pools {
    pub reads: Pool,
    pub snapshots: Pool,
    pub commits: Pool,
}

impl Pools {
    /// Opens no connection yet. `committers` connections are for commits alone.
    pub fn new(settings: &Settings, committers: usize) -> Result<Pools, StoreError> {
        let third = settings.connections / 3;
        Ok(Pools {
            reads: pool(settings, third, HOLDS_NOTHING)?,
            snapshots: pool(settings, settings.connections - third, HOLDS_NOTHING)?,
            commits: pool(settings, committers, HOLDS_LOCKS)?,
        })
    }

    pub fn close(&self) {
        for pool in [&self.reads, &self.snapshots, &self.commits] {
            pool.close();
        }
    }
}

fn pool(settings: &Settings, size: usize, idle: &'static str) -> Result<Pool, StoreError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(settings.config.clone(), settings.tls.clone(), recycling);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .post_create(Hook::async_fn(move |client, _| {
            Box::pin(async move {
                prepare_session(client).await;
                // Refused by engines that do not know it, like those of `SESSION`.
                client.batch_execute(idle).await.ok();
                Ok(())
            })
        }))
        .build()
        .map_err(StoreError::unavailable)
}

pub async fn prepare_session(client: &Client) {
    join_all(SESSION.iter().map(|setting| client.batch_execute(setting))).await;
}

pub async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => unavailable(&error),
        PoolError::Closed => StoreError::Closed,
        PoolError::Timeout(_) => StoreError::unavailable("the database: no connection was to be had in time"),
        other => StoreError::unavailable(format!("the database: {other}")),
    })
}

/// Runs a read on a connection, and on another one if that is lost: reading twice does no harm.
pub async fn retrying<T, F, Fut>(pool: &Pool, read: F) -> Result<T, StoreError>
where
    F: Fn(Object) -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut last = None;
    let attempts = async {
        let mut pause = Duration::from_millis(10);
        loop {
            match connection(pool).await {
                Ok(connection) => match read(connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) if crate::error::kind(&error) == crate::error::Kind::Broken => {
                        tracing::debug!(reason = explain(&error), "a read is tried on another connection");
                        last = Some(unavailable(&error));
                    }
                    Err(error) => return Err(unavailable(&error)),
                },
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => last = Some(error),
            }
            rest(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    };
    let outcome = tokio::time::timeout(READ, attempts).await;
    match outcome {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(last.unwrap_or_else(|| StoreError::unavailable("the database does not answer in time")))
        }
    }
}

/// A pause in real time: what is waited for is another machine, which does not follow the node's clock.
pub async fn rest(time: Duration) {
    tokio::time::timeout(time, std::future::pending::<()>()).await.ok();
}
