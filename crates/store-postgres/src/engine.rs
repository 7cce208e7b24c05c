//! `Kv` over a database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Rng, Timestamp};
use pileus_store::lease::rows;
use pileus_store::{
    Commit, Direction, Found, KeyRange, Kv, Outcome, Page, Read, Space, StoreError, Subscription, Topic,
    Topics, Version,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::committer::{Committer, Request, register};
use crate::error::{explain, unavailable};
use crate::gather::Gatherer;
use crate::pool::{Pools, connection, retrying};
use crate::read::{Present, Snapshot};
use crate::schema;
use crate::url::Settings;
use crate::wake::{Listener, Notifier};

/// One for commits without range checks and one for those with; the notifier's; one to ask for lost outcomes.
const CONNECTIONS: usize = 4;

/// A database that nodes share.
pub struct Postgres {
    pools: Pools,
    present: Present,
    topics: Topics,
    notifier: Notifier,
    handle: Handle,
    /// None: closed.
    committers: Mutex<Option<Committers>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// One for all commits without range checks: a second shares neither the first one's flush nor its batch, and was a
/// quarter slower. Those with range checks wait for guards, and keep nobody else waiting.
struct Committers {
    points: mpsc::Sender<Request>,
    ranges: mpsc::Sender<Request>,
}

/// Opens the database at `url`, and makes or migrates its tables. Background tasks run on the present runtime, which must
/// outlive the store. `rng` is for jitter. Times are the database's; waits for it are real time.
///
/// # Errors
/// `Unavailable`, in one line: the URL, the server or its schema cannot be used.
pub async fn open(url: &str, rng: Arc<dyn Rng>) -> Result<Arc<dyn Kv>, StoreError> {
    Ok(Arc::new(Postgres::open(url, rng).await?))
}

impl Postgres {
    pub async fn open(url: &str, rng: Arc<dyn Rng>) -> Result<Postgres, StoreError> {
        let settings = Settings::parse(url)?;
        let at_place =
            |reason: String| StoreError::unavailable(format!("the database at {}: {reason}", settings.place));
        let connected = settings.config.connect(settings.tls.clone()).await;
        let (mut client, driver) = connected.map_err(|error| at_place(explain(&error)))?;
        let driving = tokio::spawn(driver);
        let prepared = schema::prepare(&mut client).await;
        drop(client);
        driving.abort();
        prepared.map_err(|error| match error {
            StoreError::Unavailable { reason } => at_place(reason.to_string()),
            other => other,
        })?;
        let pools = Pools::new(&settings, CONNECTIONS)?;
        Postgres::start(settings, pools, rng).await
    }

    async fn start(settings: Settings, pools: Pools, rng: Arc<dyn Rng>) -> Result<Postgres, StoreError> {
        let (topics, notifier, stop) = (Topics::default(), Notifier::default(), watch::Sender::new(false));
        let first = connection(&pools.commits).await?;
        let mut tasks = Vec::new();
        let mut start = async || -> Result<mpsc::Sender<Request>, StoreError> {
            let id = party(&first).await?;
            register(&first, id).await?;
            let (committer, sender) =
                Committer::new(pools.commits.clone(), id, topics.clone(), notifier.clone(), rng.clone());
            tasks.push(tokio::spawn(committer.run()));
            Ok(sender)
        };
        let committers = Committers { points: start().await?, ranges: start().await? };
        let node = party(&first).await?;
        tokio::spawn(notifier.clone().run(pools.commits.clone(), node, rng.clone(), stop.subscribe()));
        let listener = Listener { settings, node, topics: topics.clone(), notifier: notifier.clone(), rng };
        tokio::spawn(listener.run(stop.subscribe()));
        Ok(Postgres {
            present: Present {
                pool: pools.reads.clone(),
                gatherer: Gatherer::new(pools.reads.clone(), Handle::current()),
            },
            pools,
            topics,
            notifier,
            handle: Handle::current(),
            committers: Mutex::new(Some(committers)),
            tasks: Mutex::new(tasks),
            stop,
        })
    }

    fn sender(&self, commit: &Commit) -> Result<mpsc::Sender<Request>, StoreError> {
        let committers = self.committers.lock().unwrap_or_else(PoisonError::into_inner);
        let committers = committers.as_ref().ok_or(StoreError::Closed)?;
        Ok(if commit.ranges.is_empty() { committers.points.clone() } else { committers.ranges.clone() })
    }

    async fn send(&self, commit: Commit) -> Result<Outcome, StoreError> {
        let sender = self.sender(&commit)?;
        let (reply, answer) = oneshot::channel();
        sender.send(Request { commit, reply }).await.map_err(|_| StoreError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The database's time: the only one that all nodes agree on.
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let row = retrying(&self.pools.reads, |connection| async move {
            let statement = connection.prepare_cached(sql).await?;
            connection.query_one(&statement, &[]).await
        });
        Ok(Timestamp::from_millis(row.await?.get(0)))
    }
}

async fn party(connection: &deadpool_postgres::Object) -> Result<i64, StoreError> {
    let row = connection.query_one("SELECT nextval('pileus_party')", &[]).await;
    Ok(row.map_err(|error| unavailable(&error))?.get(0))
}

impl Kv for Postgres {
    fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError> {
        Ok(Arc::new(Snapshot::new(self.pools.snapshots.clone(), self.handle.clone())))
    }

    fn transaction_view(&self) -> Result<Arc<dyn Read>, StoreError> {
        let (pool, handle) = (self.pools.snapshots.clone(), self.handle.clone());
        Ok(Arc::new(Snapshot::of_transaction(pool, handle, self.present.gatherer.clone())))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        if let Err(error) = commit.check_limits(&self.limits()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(self.send(commit))
    }

    fn subscribe(&self, topic: &Topic) -> Subscription {
        self.topics.subscribe(topic)
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        Box::pin(async move { rows::acquire(self, name, ttl, self.now().await?).await })
    }

    fn renew_lease<'a>(
        &'a self,
        name: &'a str,
        token: Version,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { rows::renew(self, name, token, ttl, self.now().await?).await })
    }

    fn release_lease<'a>(&'a self, name: &'a str, token: Version) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(rows::release(self, name, token))
    }

    fn shared_time(&self) -> Option<BoxFuture<'_, Result<Timestamp, StoreError>>> {
        Some(Box::pin(self.now()))
    }

    fn has_company(&self, company: bool) {
        self.notifier.mute(!company);
    }

    fn name(&self) -> &'static str {
        "postgres"
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            drop(self.committers.lock().unwrap_or_else(PoisonError::into_inner).take());
            let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            for task in tasks {
                if task.await.is_err() {
                    tracing::error!("a committer panicked");
                }
            }
            self.stop.send_replace(true);
            self.pools.close();
            Ok(())
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Read for Postgres {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        self.present.get(space, key)
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        self.present.multi_get(keys)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.present.scan(space, range, limit, direction)
    }
}
