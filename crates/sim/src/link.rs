//! A node's way to the store: the `Kv` that its `Store` is made of, with a network in between.
//!
//! Every call takes time and may fail. A commit is a message to the store: once sent it takes effect there or not whatever
//! becomes of the node, which may have crashed, given up, or never get the answer.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use pileus_core::{BoxFuture, Rng as _, SeededRng, Timestamp};
use pileus_store::lease::rows;
use pileus_store::{
    Commit, Direction, Found, KeyRange, Kv, Outcome, Page, Read, Space, StoreError, Subscription, Topic,
    Topics, Version,
};
use tokio::sync::oneshot;

use crate::faults::{Bug, Faults};
use crate::server::{Server, finish};
use crate::world::{Owner, World};

/// How long a node waits for the store.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a stale view is kept, where the store has that bug.
const STALE: Duration = Duration::from_secs(2);

/// A node's connections to the store.
pub struct Link(Arc<Parts>);

struct Parts {
    world: World,
    server: Arc<Server>,
    faults: Arc<Faults>,
    node: usize,
    rng: SeededRng,
    topics: Topics,
    past: Mutex<Option<(Duration, Arc<dyn Read>)>>,
}

impl Link {
    /// `life` counts the starts of the node: each draws its own faults.
    pub fn new(world: &World, server: &Arc<Server>, faults: &Arc<Faults>, node: usize, life: u64) -> Link {
        let topics = Topics::default();
        server.listen(node, Some(topics.clone()));
        let number = node as u64 * 1_000 + life;
        Link(Arc::new(Parts {
            world: world.clone(),
            server: server.clone(),
            faults: faults.clone(),
            node,
            rng: world.rng("link", number),
            topics,
            past: Mutex::default(),
        }))
    }
}

impl Parts {
    /// The way there.
    async fn request(&self) -> Result<(), StoreError> {
        if self.faults.is_cut(self.node) {
            self.world.sleep(PATIENCE).await;
            return Err(StoreError::unavailable("the store does not answer"));
        }
        self.world.sleep(self.faults.latency(&self.rng)).await;
        if self.faults.draw(&self.rng, |rates| rates.refused) {
            return Err(StoreError::unavailable("the connection was refused"));
        }
        Ok(())
    }

    /// The way back.
    async fn reply(&self) -> Result<(), StoreError> {
        self.world.sleep(self.faults.latency(&self.rng)).await;
        if self.faults.is_cut(self.node) {
            self.world.sleep(PATIENCE).await;
            return Err(StoreError::unavailable("the store does not answer"));
        }
        Ok(())
    }

    async fn read<T>(&self, read: impl FnOnce(&dyn Read) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.request().await?;
        let answer = match self.past()? {
            Some(past) => read(&*past),
            None => read(&**self.server.present()),
        }?;
        self.reply().await?;
        Ok(answer)
    }

    /// What reads of the present see instead of it, where the store has that bug.
    fn past(&self) -> Result<Option<Arc<dyn Read>>, StoreError> {
        if self.server.bug() != Some(Bug::ReadsThePast) {
            return Ok(None);
        }
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.world.now();
        let is_over = past.as_ref().is_none_or(|(taken, _)| now.saturating_sub(*taken) > STALE);
        if is_over {
            *past = Some((now, self.server.snapshot()?));
        }
        Ok(past.as_ref().map(|(_, view)| view.clone()))
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome, StoreError> {
        self.request().await?;
        let delay = if self.faults.draw(&self.rng, |rates| rates.late) {
            PATIENCE + Duration::from_millis(self.rng.below(4_000))
        } else {
            Duration::ZERO
        };
        let back = self.faults.latency(&self.rng);
        let is_lost = self.faults.draw(&self.rng, |rates| rates.lost_reply);
        let (answer, answered) = oneshot::channel();
        let (world, server, faults, node) =
            (self.world.clone(), self.server.clone(), self.faults.clone(), self.node);
        self.world.spawn(Owner::Store, async move {
            world.sleep(delay).await;
            let outcome = server.apply(commit);
            if is_lost {
                world.note(format_args!("the answer to node {node} is lost"));
                return;
            }
            world.sleep(back).await;
            if !faults.is_cut(node) {
                let _ = answer.send(outcome); // Nobody waits any more: it crashed, or gave up.
            }
        });
        // A lost answer is a connection that breaks (at once) or one that is silent (until the patience ends).
        match select(answered, Box::pin(self.world.sleep(PATIENCE))).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(_), _)) => Err(StoreError::unavailable("the connection broke during a commit")),
            Either::Right(_) => Err(StoreError::unavailable("the store does not answer")),
        }
    }
}

impl Kv for Link {
    fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError> {
        Ok(Arc::new(Snapshot { link: self.0.clone(), view: OnceLock::new() }))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        if let Err(error) = commit.check_limits(&self.limits()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(self.0.commit(commit))
    }

    fn subscribe(&self, topic: &Topic) -> Subscription {
        self.0.topics.subscribe(topic)
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        Box::pin(async move {
            let now = self.0.read(|_| Ok(self.0.server.now())).await?;
            let now = match self.0.server.bug() {
                Some(Bug::SharesLeases) => now + Duration::from_secs(86_400),
                _ => now,
            };
            rows::acquire(self, name, ttl, now).await
        })
    }

    fn renew_lease<'a>(
        &'a self,
        name: &'a str,
        token: Version,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let now = self.0.read(|_| Ok(self.0.server.now())).await?;
            rows::renew(self, name, token, ttl, now).await
        })
    }

    fn release_lease<'a>(&'a self, name: &'a str, token: Version) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(rows::release(self, name, token))
    }

    fn shared_time(&self) -> Option<BoxFuture<'_, Result<Timestamp, StoreError>>> {
        Some(Box::pin(self.0.read(|_| Ok(self.0.server.now()))))
    }

    fn name(&self) -> &'static str {
        "simulated"
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Read for Link {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(self.0.read(move |view| finish(view.get(space, key))))
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        Box::pin(self.0.read(move |view| finish(view.multi_get(keys))))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.0.read(move |view| finish(view.scan(space, range, limit, direction))))
    }
}

/// A view that is pinned by its first read.
struct Snapshot {
    link: Arc<Parts>,
    view: OnceLock<Arc<dyn Read>>,
}

impl Snapshot {
    async fn read<T>(&self, read: impl FnOnce(&dyn Read) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.link.request().await?;
        let answer = match self.view.get() {
            Some(view) => read(&**view),
            None => {
                let view = self.link.server.snapshot()?;
                read(&**self.view.get_or_init(|| view))
            }
        }?;
        self.link.reply().await?;
        Ok(answer)
    }
}

impl Read for Snapshot {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        Box::pin(self.read(move |view| finish(view.get(space, key))))
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        Box::pin(self.read(move |view| finish(view.multi_get(keys))))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.read(move |view| finish(view.scan(space, range, limit, direction))))
    }
}
