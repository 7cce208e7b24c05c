//! Wake-ups: "look again", nothing more.
//!
//! A subscription is level-triggered and coalescing: any number of wakes since the last look count as one. It may wake for
//! nothing, and across nodes a wake may be lost; correctness never depends on one. Waiting costs no task and no timer, so
//! thousands of long-pollers may wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::Wake;

/// What is waited for, for instance one queue. Its bytes are chosen by the service, as a key is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Bytes);

impl Topic {
    pub fn new(name: impl Into<Bytes>) -> Topic {
        Topic(name.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&'static str> for Topic {
    fn from(name: &'static str) -> Topic {
        Topic(Bytes::from_static(name.as_bytes()))
    }
}

impl From<String> for Topic {
    fn from(name: String) -> Topic {
        Topic(name.into())
    }
}

impl From<Bytes> for Topic {
    fn from(name: Bytes) -> Topic {
        Topic(name)
    }
}

/// The topics that someone in this process waits for. Cheap to clone; engines fire it after a commit.
#[derive(Clone, Default)]
pub struct Topics(Arc<Table>);

type Table = Mutex<HashMap<Topic, Arc<Channel>>>;

struct Channel {
    /// Counts the wakes.
    generation: AtomicU64,
    low: AtomicU64,
    waiters: Notify,
}

impl Topics {
    pub fn subscribe(&self, topic: &Topic) -> Subscription {
        let mut table = lock(&self.0);
        let channel = table.entry(topic.clone()).or_insert_with(|| {
            Arc::new(Channel {
                generation: AtomicU64::new(0),
                low: AtomicU64::new(u64::MAX),
                waiters: Notify::new(),
            })
        });
        let seen = channel.generation.load(Ordering::Acquire);
        Subscription { channel: channel.clone(), seen, topic: topic.clone(), table: self.0.clone() }
    }

    pub fn fire<'a>(&self, wakes: impl IntoIterator<Item = &'a Wake>) {
        let table = lock(&self.0);
        if table.is_empty() {
            return;
        }
        for wake in wakes {
            if let Some(channel) = table.get(&wake.topic) {
                channel.low.fetch_min(wake.low, Ordering::AcqRel);
                channel.generation.fetch_add(1, Ordering::AcqRel);
                channel.waiters.notify_waiters();
            }
        }
    }

    /// Wakes everyone: for an engine that may have lost wakes of other nodes.
    pub fn fire_all(&self) {
        for channel in lock(&self.0).values() {
            channel.generation.fetch_add(1, Ordering::AcqRel);
            channel.waiters.notify_waiters();
        }
    }

    /// As `fire_all`, after wakes were lost: anything may have been put in anywhere, so cursors fall to their beginnings.
    pub fn fire_all_from_zero(&self) {
        lock(&self.0).values().for_each(|channel| channel.low.store(0, Ordering::Release));
        self.fire_all();
    }

    /// Topics with at least one subscription.
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A place in the row of those who are woken when a topic fires. Subscribe first, then look, then wait.
pub struct Subscription {
    channel: Arc<Channel>,
    seen: u64,
    topic: Topic,
    table: Arc<Table>,
}

impl Subscription {
    /// Returns when the topic has fired since the subscription was made or since the last return.
    pub async fn changed(&mut self) {
        loop {
            // Made before the look: whoever fires in between wakes it.
            let woken = self.channel.waiters.notified();
            let generation = self.channel.generation.load(Ordering::Acquire);
            if std::mem::replace(&mut self.seen, generation) != generation {
                return;
            }
            woken.await;
        }
    }

    /// Whether the topic has fired since the last look, without waiting.
    pub fn take_changed(&mut self) -> bool {
        let generation = self.channel.generation.load(Ordering::Acquire);
        std::mem::replace(&mut self.seen, generation) != generation
    }

    /// The least `low` of all wakes since the last call by any subscription of this topic; `u64::MAX` if there was none.
    ///
    /// A consumer that scans from a cursor learns here that something was inserted before the cursor. It is a hint, lost
    /// like a wake, and meant for topics with one consumer in each process.
    pub fn take_low(&mut self) -> u64 {
        self.channel.low.swap(u64::MAX, Ordering::AcqRel)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        // Two owners are the table and this subscription: it is the last. Nobody joins while the table is locked.
        if Arc::strong_count(&self.channel) == 2
            && let Entry::Occupied(entry) = table.entry(self.topic.clone())
            && Arc::ptr_eq(entry.get(), &self.channel)
        {
            entry.remove();
        }
    }
}

fn lock(table: &Table) -> MutexGuard<'_, HashMap<Topic, Arc<Channel>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn wake(topic: &'static str, low: u64) -> [Wake; 1] {
        [Wake { topic: topic.into(), low }]
    }

    #[test]
    fn wakes_since_the_last_look_count_as_one() {
        let topics = Topics::default();
        let mut subscription = topics.subscribe(&"a".into());
        assert!(subscription.changed().now_or_never().is_none());
        topics.fire(&wake("a", 7));
        topics.fire(&wake("a", 5));
        topics.fire(&wake("b", 1));
        assert!(subscription.changed().now_or_never().is_some());
        assert!(subscription.changed().now_or_never().is_none());
        assert_eq!((subscription.take_low(), subscription.take_low()), (5, u64::MAX));
    }

    #[tokio::test]
    async fn every_waiter_wakes() {
        let topics = Topics::default();
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let mut subscription = topics.subscribe(&"a".into());
                tokio::spawn(async move { subscription.changed().await })
            })
            .collect();
        tokio::task::yield_now().await;
        topics.fire(&wake("a", 0));
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }

    #[test]
    fn a_topic_is_forgotten_with_its_last_subscription() {
        let topics = Topics::default();
        let first = topics.subscribe(&"a".into());
        let second = topics.subscribe(&"a".into());
        drop(first);
        assert_eq!(topics.len(), 1);
        drop(second);
        assert!(topics.is_empty());
    }
}
