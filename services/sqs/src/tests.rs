//! The order of messages on a store in memory, without a node: what the operations do inside their transactions.

mod fifo;
mod standard;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{Arn, BoxFuture, Clock, Ids, SeededRng, Timestamp};
use pileus_store::Store;

use crate::error::SqsError;
use crate::message::receive::{self, Ask};
use crate::message::visibility::State;
use crate::message::{Message, change_visibility, delete};
use crate::order::{self, Delivered};
use crate::queue::attributes::{Attributes, Setting};
use crate::queue::url::Address;
use crate::queue::{self, Queue, Record};
use crate::state::{Desk, Sqs};

const T0: u64 = 1_700_000_000_000;

/// Stands still until it is moved.
struct StillClock(Mutex<Timestamp>);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// A store with queues in it, and a moment.
struct World {
    store: Store,
    sqs: Sqs,
    ids: Ids,
    now: AtomicU64,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(StillClock(Mutex::new(Timestamp::from_millis(T0 as i64))));
        let rng = Arc::new(SeededRng::new(7));
        let store = Store::memory(clock, rng.clone()).unwrap();
        World { store, sqs: Sqs::default(), ids: Ids::new(rng), now: AtomicU64::new(T0) }
    }

    fn desk(&self) -> Desk<'_> {
        Desk { sqs: &self.sqs, store: &self.store, now: self.now.load(Ordering::Relaxed) }
    }

    fn advance(&self, milliseconds: u64) {
        self.now.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn back(&self, milliseconds: u64) {
        self.now.fetch_sub(milliseconds, Ordering::Relaxed);
    }

    fn address(name: &str) -> Address {
        let arn = Arn::parse(&format!("arn:aws:sqs:us-east-1:123456789012:{name}")).unwrap();
        Address::from_arn(&arn).unwrap()
    }

    /// Makes a queue, or sets attributes of one.
    async fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> Address {
        let address = &World::address(name);
        let known = self.sqs.find(&self.store, address).await.unwrap();
        let id = self.ids.rng().next_u64();
        let mut record = known.map_or_else(
            || Record {
                id,
                generation: id,
                created_at: 0,
                modified_at: 0,
                purged_at: None,
                attributes: Attributes::new(address.is_fifo()),
                tags: Default::default(),
            },
            |queue| queue.record.clone(),
        );
        record.attributes.set(attributes, address, Setting::Change).unwrap();
        let record = &record;
        self.store.transact(|txn| async move { queue::store(&txn, address, record) }).await.unwrap();
        address.clone()
    }

    async fn load(&self, address: &Address) -> Arc<Queue> {
        self.sqs.load(&self.store, address).await.unwrap()
    }

    async fn send(&self, address: &Address, group: Option<&str>, body: &str, delay: u64) {
        let desk = self.desk();
        let message = &Message {
            id: self.ids.uuid(),
            sender_id: "sender".to_owned(),
            attributes: Vec::new(),
            trace_header: None,
            group: group.map(str::to_owned),
            deduplication_id: None,
            sequence: None,
            dead_letter_source: None,
            body_md5: None,
        };
        let body = &Bytes::copy_from_slice(body.as_bytes());
        self.store
            .transact(|txn| async move {
                let queue = self.sqs.load(&txn, address).await?;
                let mut message = message.clone();
                order::put(desk, &txn, &queue, &mut message, body, State::new(desk.now, desk.now + delay))
                    .await
            })
            .await
            .unwrap();
    }

    async fn receive(&self, address: &Address, max: usize, timeout: u64) -> Vec<Delivered> {
        let queue = &self.load(address).await;
        let lane = &self.sqs.lane(&self.store, queue);
        let ask = Ask { max, timeout: Some(timeout), attempt_id: None };
        receive::look(self.desk(), queue, lane, &ask).await.unwrap().0
    }

    async fn bodies(&self, address: &Address, max: usize, timeout: u64) -> Vec<String> {
        let delivered = self.receive(address, max, timeout).await;
        delivered.iter().map(body).collect()
    }

    async fn delete(&self, address: &Address, handle: &str) -> Result<bool, SqsError> {
        let desk = self.desk();
        self.store
            .transact(|txn| async move {
                let queue = self.sqs.load(&txn, address).await?;
                delete::delete(desk, &txn, &queue, handle).await
            })
            .await
    }

    async fn change(&self, address: &Address, handle: &str, timeout: u64) -> Result<u64, SqsError> {
        let desk = self.desk();
        self.store
            .transact(|txn| async move {
                let queue = self.sqs.load(&txn, address).await?;
                change_visibility::change(desk, &txn, &queue, handle, timeout).await
            })
            .await
    }
}

fn body(delivered: &Delivered) -> String {
    String::from_utf8(delivered.body.to_vec()).unwrap()
}

fn handles(delivered: &[Delivered]) -> Vec<String> {
    delivered.iter().map(|delivered| delivered.receipt.to_handle()).collect()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
