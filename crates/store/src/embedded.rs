//! `Kv` over an engine in this process: reads return ready futures, commits go to the committer's thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Clock, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::committer::{Committer, Message};
use crate::engine::{Engine, SyncRead};
use crate::kv::{Found, Stamps};
use crate::{
    Change, Check, Commit, Direction, KeyRange, Kv, Outcome, Page, Read, Space, StoreError, Subscription,
    Topic, Topics, Version, Write, lease,
};

pub(crate) struct Embedded<E: Engine> {
    engine: Arc<E>,
    topics: Topics,
    stamps: Arc<Stamps>,
    clock: Arc<dyn Clock>,
    commits: Mutex<Option<mpsc::Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// No other process can hold a lease on this store, so expiry lives in memory; only the fence is a row.
    leases: Mutex<HashMap<String, Held>>,
    /// One at a time: between the commit of a token and its entry in `leases` another would find the lease free.
    acquiring: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Held {
    token: Version,
    expires: Timestamp,
}

impl<E: Engine> Embedded<E> {
    pub fn start(engine: E, clock: Arc<dyn Clock>) -> Result<Embedded<E>, StoreError> {
        let engine = Arc::new(engine);
        let topics = Topics::default();
        let stamps = Arc::<Stamps>::default();
        let (committer, sender) =
            Committer::new(engine.clone(), topics.clone(), stamps.clone(), clock.clone())?;
        let thread = std::thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || committer.run())
            .map_err(StoreError::unavailable)?;
        Ok(Embedded {
            engine,
            topics,
            stamps,
            clock,
            commits: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            leases: Mutex::default(),
            acquiring: tokio::sync::Mutex::default(),
        })
    }

    fn sender(&self) -> Result<mpsc::Sender<Message>, StoreError> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)
    }

    async fn send(&self, commit: Commit) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sender = self.sender()?;
        sender.send(Message::Commit(commit, reply)).await.map_err(|_| StoreError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(engine = E::NAME, "the commit thread panicked");
        }
    }
}

impl<E: Engine> Kv for Embedded<E> {
    fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError> {
        Ok(Arc::new(AtOnce(self.engine.snapshot()?)))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        if let Err(error) = commit.check_limits(&self.limits()) {
            return ready(Err(error));
        }
        Box::pin(self.send(commit))
    }

    fn stamp(&self, space: Space) -> Option<u64> {
        Some(self.stamps.get(space))
    }

    fn subscribe(&self, topic: &Topic) -> Subscription {
        self.topics.subscribe(topic)
    }

    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        Box::pin(async move {
            let _alone = self.acquiring.lock().await;
            let now = self.clock.now();
            if self.held().get(name).is_some_and(|held| held.expires > now) {
                return Ok(None);
            }
            let key = lease::fence_key(name);
            let expected = self.engine.get(Space::Sys, &key)?.map(|(_, version)| version);
            let commit = Commit {
                checks: vec![Check { space: Space::Sys, key: key.clone(), expected }],
                writes: vec![Write { space: Space::Sys, key, change: Change::Put(Bytes::new()) }],
                ..Commit::default()
            };
            let Outcome::Committed(token) = self.send(commit).await? else { return Ok(None) };
            self.held().insert(name.to_owned(), Held { token, expires: now + ttl });
            Ok(Some(token))
        })
    }

    fn renew_lease<'a>(
        &'a self,
        name: &'a str,
        token: Version,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        // Late is not too late as long as nobody else has taken it.
        let expires = self.clock.now() + ttl;
        let mut leases = self.held();
        let held = leases.get_mut(name).filter(|held| held.token == token);
        ready(Ok(held.map(|held| held.expires = expires).is_some()))
    }

    fn release_lease<'a>(&'a self, name: &'a str, token: Version) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mine = self.held().get(name).is_some_and(|held| held.token == token);
            if !mine {
                return Ok(());
            }
            let key = lease::fence_key(name);
            let commit = Commit {
                checks: vec![Check { space: Space::Sys, key: key.clone(), expected: Some(token) }],
                writes: vec![Write { space: Space::Sys, key, change: Change::Delete }],
                ..Commit::default()
            };
            self.send(commit).await?;
            let mut leases = self.held();
            if leases.get(name).is_some_and(|held| held.token == token) {
                leases.remove(name);
            }
            Ok(())
        })
    }

    fn name(&self) -> &'static str {
        E::NAME
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let sender = self.commits.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(sender) = sender else { return Ok(()) };
            let (reply, closed) = oneshot::channel();
            sender.send(Message::Close(reply)).await.map_err(|_| StoreError::Closed)?;
            let result = closed.await.map_err(|_| StoreError::Closed)?;
            self.join();
            result
        })
    }
}

impl<E: Engine> Drop for Embedded<E> {
    fn drop(&mut self) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.join();
    }
}

impl<E: Engine> Read for Embedded<E> {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        ready(self.engine.get(space, key).map_err(StoreError::from))
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        ready(self.engine.snapshot().map_err(StoreError::from).and_then(|snapshot| get_all(&snapshot, keys)))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        ready(self.engine.scan(space, range, limit, direction).map_err(StoreError::from))
    }
}

/// A snapshot of an embedded engine.
struct AtOnce<R: SyncRead>(R);

impl<R: SyncRead> Read for AtOnce<R> {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        ready(self.0.get(space, key).map_err(StoreError::from))
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        ready(get_all(&self.0, keys))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        ready(self.0.scan(space, range, limit, direction).map_err(StoreError::from))
    }
}

fn get_all(read: &impl SyncRead, keys: &[(Space, Bytes)]) -> Result<Vec<Found>, StoreError> {
    keys.iter().map(|(space, key)| read.get(*space, key).map_err(StoreError::from)).collect()
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}
