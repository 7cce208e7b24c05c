//! What a node keeps in memory for SNS: decoded topics with their subscriptions, lanes to queues, the key that messages are signed with.
//! Nothing that another node would need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_iam::Policy;
use pileus_store::{KeyRange, Reader, Space, Store, StoreError, Txn, Version, table};
use tokio::sync::OnceCell;

use crate::deliver::queue::Lane;
use crate::error::SnsError;
use crate::keys::{SUBSCRIPTIONS, TOPICS};
use crate::signature::Signer;
use crate::subscription::Subscription;
use crate::topic::{Address, Record};

/// Topics that are kept decoded, and lanes, before all are forgotten.
const MAX_KNOWN: usize = 10_000;
/// Subscriptions of one topic that are kept decoded; of more, each message reads them again, page by page.
const MAX_SUBSCRIPTIONS: usize = 10_000;
pub const PAGE: usize = 500;

#[derive(Default)]
pub struct Sns {
    topics: RwLock<HashMap<Bytes, Known>>,
    lanes: Mutex<HashMap<(String, String), Arc<Lane>>>,
    groups: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// When each HTTP subscription may be sent the next message, where its policy limits them.
    pub paces: Mutex<HashMap<String, Timestamp>>,
    pub signer: OnceCell<Arc<Signer>>,
}

struct Known {
    topic: Arc<Topic>,
    /// The store's stamp before the row was read last: while it is the same, so is the row.
    stamp: Option<u64>,
}

/// A topic as operations see it.
pub struct Topic {
    pub address: Address,
    pub record: Record,
    /// Another one than the policy that topics are made with.
    pub policy: Option<Arc<Policy>>,
    pub version: Version,
    subscriptions: OnceCell<Option<Arc<Vec<Subscription>>>>,
}

/// Milliseconds since 1970; zero before that.
pub fn millis(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(0)
}

impl Sns {
    pub async fn find(
        &self,
        reader: &impl Reader,
        address: &Address,
    ) -> Result<Option<Arc<Topic>>, StoreError> {
        self.find_row(reader, address, TOPICS.key(&address.key()), None).await
    }

    /// `find`, of this moment: without reading where the store knows that nothing has changed.
    pub async fn find_now(&self, store: &Store, address: &Address) -> Result<Option<Arc<Topic>>, StoreError> {
        let (key, stamp) = (TOPICS.key(&address.key()), store.stamp(Space::Meta));
        if stamp.is_some() {
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = topics.get(&key).filter(|known| known.stamp == stamp) {
                return Ok(Some(known.topic.clone()));
            }
        }
        self.find_row(store, address, key, stamp).await
    }

    async fn find_row(
        &self,
        reader: &impl Reader,
        address: &Address,
        key: Bytes,
        stamp: Option<u64>,
    ) -> Result<Option<Arc<Topic>>, StoreError> {
        let Some((bytes, version)) = reader.read_row(Space::Meta, &key).await? else {
            return Ok(None);
        };
        if let Some(topic) = self.known(&key).filter(|topic| topic.version == version) {
            if stamp.is_some() {
                self.remember(key, Known { topic: topic.clone(), stamp });
            }
            return Ok(Some(topic));
        }
        let record: Record = table::decode(&bytes)?;
        let policy = record.attributes.policy.as_deref().map(Policy::parse).transpose();
        let policy = policy.map_err(|error| StoreError::corrupt(format!("a topic's policy: {error}")))?;
        let policy = policy.map(Arc::new);
        let subscriptions = OnceCell::new();
        let topic = Arc::new(Topic { address: address.clone(), record, policy, version, subscriptions });
        // What the transaction itself has written has no version yet.
        if version != 0 {
            self.remember(key, Known { topic: topic.clone(), stamp });
        }
        Ok(Some(topic))
    }

    fn remember(&self, key: Bytes, known: Known) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= MAX_KNOWN {
            topics.clear();
        }
        topics.insert(key, known);
    }

    /// # Errors
    /// `NotFound`
    pub async fn load(&self, reader: &impl Reader, address: &Address) -> Result<Arc<Topic>, SnsError> {
        self.find(reader, address).await?.ok_or(SnsError::NO_TOPIC)
    }

    /// `load`, for a transaction: the topic as this node saw it last, which is when the request was authorised. The commit checks
    /// that it is still so, and the transaction's next run reads.
    ///
    /// # Errors
    /// `NotFound`
    pub async fn load_known(&self, txn: &Txn, address: &Address) -> Result<Arc<Topic>, SnsError> {
        let key = TOPICS.key(&address.key());
        if let Some(topic) = self.known(&key)
            && txn.assume(Space::Meta, &key, topic.version)
        {
            return Ok(topic);
        }
        self.load(txn, address).await
    }

    fn known(&self, key: &Bytes) -> Option<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(key).map(|known| known.topic.clone())
    }

    /// The way to a queue for messages of one topic.
    pub fn lane(&self, topic: &str, queue: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_KNOWN {
            // Whoever sends holds its lane, so only idle ones go.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        lanes.entry((topic.to_owned(), queue.to_owned())).or_default().clone()
    }

    /// Held by who delivers a group of a FIFO topic.
    pub fn group(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.len() >= MAX_KNOWN {
            groups.retain(|_, group| Arc::strong_count(group) > 1);
        }
        groups.entry(id.to_owned()).or_default().clone()
    }
}

impl Topic {
    /// The topic's subscriptions, as they were at its version or later; `None` when there are too many to be kept.
    pub async fn subscriptions(&self, store: &Store) -> Result<Option<Arc<Vec<Subscription>>>, SnsError> {
        let all = self.subscriptions.get_or_try_init(|| async {
            let mut all = Vec::new();
            let mut range = Some(self.all());
            while let Some(next) = range {
                let (page, rest) = self.page(store, next).await?;
                all.extend(page);
                if all.len() > MAX_SUBSCRIPTIONS {
                    return Ok::<_, SnsError>(None);
                }
                range = rest;
            }
            Ok(Some(Arc::new(all)))
        });
        Ok(all.await?.clone())
    }

    pub fn all(&self) -> KeyRange {
        SUBSCRIPTIONS.under(&(self.address.account, &self.address.region, self.address.name.as_str()))
    }

    /// Some of the subscriptions in `range`, and where the next ones are.
    pub async fn page(
        &self,
        store: &Store,
        range: KeyRange,
    ) -> Result<(Vec<Subscription>, Option<KeyRange>), SnsError> {
        let rows = SUBSCRIPTIONS.scan(store, &range, PAGE).await?;
        let last = rows.rows.last().map(|(key, _)| SUBSCRIPTIONS.key(key));
        let rest = last.filter(|_| rows.more).map(|last| range.after(&last));
        // Rows of a topic that had the same name may still wait to be swept.
        let own = rows.rows.into_iter().filter(|(_, record)| record.topic_id == self.record.id);
        Ok((own.map(|(_, record)| Subscription::new(record)).collect(), rest))
    }
}
