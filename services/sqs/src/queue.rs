//! Queues: `CreateQueue`, `DeleteQueue`, `GetQueueUrl`, `ListQueues`, `PurgeQueue`, and how a queue is kept.

pub mod attributes;
pub mod count;
pub mod dead_letter;
pub mod permission;
pub mod redrive;
pub mod settings;
pub mod tags;
pub mod url;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_sqs::{
    CreateQueueRequest, CreateQueueResult, DeleteQueueRequest, GetQueueUrlRequest, GetQueueUrlResult,
    ListQueuesRequest, ListQueuesResult, PurgeQueueRequest,
};
use pileus_core::AccountId;
use pileus_iam::Policy;
use pileus_platform::ResourcePolicy;
use pileus_platform::{Cx, Fault};
use pileus_store::{KeyRange, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::access;
use crate::error::SqsError;
use crate::keys::{self, DELETED, Deleted, Nothing, QUEUES, SOURCES, TRASH, Trash};
use crate::limits;
use crate::message::visibility::Rules;
use crate::order;
use crate::queue::attributes::{Attributes, Setting};
use crate::queue::url::Address;
use crate::state::{Sqs, millis};

/// A queue as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The queue's own, for as long as it exists.
    pub id: u64,
    /// Under which its messages are kept; a purge replaces it.
    pub generation: u64,
    /// In seconds since 1970.
    pub created_at: i64,
    pub modified_at: i64,
    pub purged_at: Option<u64>,
    pub attributes: Attributes,
    pub tags: BTreeMap<String, String>,
}

impl Stored for Record {}

/// A queue as operations see it.
pub struct Queue {
    pub address: Address,
    pub record: Record,
    pub policy: Option<Arc<Policy>>,
}

impl Queue {
    pub fn is_fifo(&self) -> bool {
        self.record.attributes.fifo.is_some()
    }

    pub fn rules(&self) -> Rules {
        let attributes = &self.record.attributes;
        Rules {
            retention: attributes.message_retention_period as u64 * 1_000,
            delay: attributes.delay_seconds as u64 * 1_000,
            max_receive_count: attributes.redrive_policy.as_ref().map(|policy| policy.max_receive_count),
        }
    }

    /// In milliseconds.
    pub fn visibility_timeout(&self) -> u64 {
        self.record.attributes.visibility_timeout as u64 * 1_000
    }
}

/// Writes a queue's row.
pub fn store(txn: &Txn, address: &Address, record: &Record) -> Result<(), SqsError> {
    Ok(QUEUES.put(txn, &keys::queue(address), record)?)
}

/// Notes which queue takes what `source` fails to process.
pub fn note_dead_letter_queue(
    txn: &Txn,
    source: &Address,
    old: Option<&Attributes>,
    new: Option<&Attributes>,
) -> Result<(), SqsError> {
    let key = |attributes: &Attributes| {
        let policy = attributes.redrive_policy.as_ref()?;
        let target = policy.dead_letter_target.clone();
        Some((source.account, source.region.clone(), target, source.name.clone()))
    };
    if let Some(key) = old.and_then(key) {
        SOURCES.delete(txn, &key);
    }
    if let Some(key) = new.and_then(key) {
        SOURCES.put(txn, &key, &Nothing {})?;
    }
    Ok(())
}

/// A dead-letter queue must exist and accept the source.
pub async fn check_redrive(
    sqs: &Sqs,
    txn: &Txn,
    source: &Address,
    attributes: &Attributes,
) -> Result<(), SqsError> {
    let Some(policy) = &attributes.redrive_policy else { return Ok(()) };
    let invalid = |reason: &str| SqsError::value(&policy.text, "RedrivePolicy", reason);
    let target = policy.target(source);
    // A queue that names itself does not exist yet when it is created.
    let Some(queue) = sqs.find(txn, &target).await? else {
        return Err(invalid("Dead letter target does not exist."));
    };
    match &queue.record.attributes.redrive_allow_policy {
        Some(allow) if !allow.allows(source) => {
            Err(invalid("The dead-letter queue's redrive allow policy does not let this queue use it."))
        }
        _ => Ok(()),
    }
}

/// `CreateQueue`: a queue that exists with the same attributes is answered as if it were new.
pub async fn create_queue(cx: &Cx, input: CreateQueueRequest) -> Result<CreateQueueResult, SqsError> {
    let name = input.queue_name.ok_or(SqsError::MissingParameter("QueueName"))?;
    let changes = input.attributes.unwrap_or_default();
    let is_fifo = changes.get("FifoQueue").is_some_and(|value| value == "true");
    url::check_new_name(&name, is_fifo)?;
    let address = Address { account: cx.account(), region: cx.region().clone(), name };
    let mut attributes = Attributes::new(is_fifo);
    let pairs: Vec<_> = changes.iter().map(|(name, value)| (name, value.as_str())).collect();
    attributes.set(&pairs, &address, Setting::Create)?;
    let tags = tags::merge(BTreeMap::new(), input.tags.unwrap_or_default())?;
    let (sqs, now, id) = (cx.state::<Sqs>(), millis(cx.now()), cx.rng().next_u64());
    let record = Record {
        id,
        generation: id,
        created_at: cx.now().as_secs(),
        modified_at: cx.now().as_secs(),
        purged_at: None,
        attributes,
        tags,
    };
    let (address, record, changes) = (&address, &record, &changes);
    cx.transact(|txn| async move {
        if let Some(existing) = sqs.find(&txn, address).await? {
            let names = changes.iter().map(|(name, _)| name);
            return match existing.record.attributes.difference(&record.attributes, names) {
                Some(attribute) => Err(SqsError::QueueNameExists { attribute }),
                None => Ok(()),
            };
        }
        let key = keys::queue(address);
        if let Some(deleted) = DELETED.get(&txn, &key).await? {
            if deleted.at + limits::DELETED_RECENTLY.as_millis() as u64 > now {
                return Err(SqsError::QueueDeletedRecently);
            }
            DELETED.delete(&txn, &key);
        }
        check_redrive(sqs, &txn, address, &record.attributes).await?;
        note_dead_letter_queue(&txn, address, None, Some(&record.attributes))?;
        store(&txn, address, record)
    })
    .await?;
    Ok(CreateQueueResult { queue_url: Some(address.url(&cx.endpoint())) })
}

/// `DeleteQueue`: the name is free again after a minute; the sweeper removes the messages.
pub async fn delete_queue(cx: &Cx, input: DeleteQueueRequest) -> Result<Unit, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let (sqs, now) = (cx.state::<Sqs>(), millis(cx.now()));
    let generation = cx
        .transact(|txn| async move {
            let queue = sqs.load(&txn, address).await?;
            let key = keys::queue(address);
            QUEUES.delete(&txn, &key);
            DELETED.put(&txn, &key, &Deleted { at: now })?;
            note_dead_letter_queue(&txn, address, Some(&queue.record.attributes), None)?;
            discard(&txn, &queue, now)?;
            Ok::<_, SqsError>(queue.record.generation)
        })
        .await?;
    sqs.forget(generation);
    Ok(Unit)
}

/// `PurgeQueue`: every message of the queue is gone at once.
pub async fn purge_queue(cx: &Cx, input: PurgeQueueRequest) -> Result<Unit, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let (sqs, now, generation) = (cx.state::<Sqs>(), millis(cx.now()), cx.rng().next_u64());
    let old = cx
        .transact(|txn| async move {
            let queue = sqs.load(&txn, address).await?;
            let interval = limits::PURGE_INTERVAL.as_millis() as u64;
            if queue.record.purged_at.is_some_and(|at| at + interval > now) {
                return Err(SqsError::PurgeQueueInProgress { queue: address.name.clone() });
            }
            discard(&txn, &queue, now)?;
            let record = Record { generation, purged_at: Some(now), ..queue.record.clone() };
            store(&txn, address, &record)?;
            Ok(queue.record.generation)
        })
        .await?;
    sqs.forget(old);
    Ok(Unit)
}

/// Leaves the queue's messages to the sweeper.
fn discard(txn: &Txn, queue: &Queue, now: u64) -> Result<(), SqsError> {
    TRASH.put(txn, &queue.record.generation, &Trash { since: now })?;
    txn.notify(crate::sweep::TOPIC);
    // Whoever waits for messages looks again, and finds the queue gone or empty.
    order::announce(txn, queue, now);
    Ok(())
}

/// `GetQueueUrl`
pub async fn get_queue_url(cx: &Cx, input: GetQueueUrlRequest) -> Result<GetQueueUrlResult, SqsError> {
    let name = input.queue_name.ok_or(SqsError::MissingParameter("QueueName"))?;
    let owner = input.queue_owner_aws_account_id.filter(|owner| !owner.is_empty());
    let account = match owner {
        Some(owner) => AccountId::parse(&owner).ok_or(SqsError::QueueDoesNotExist)?,
        None => cx.account(),
    };
    if !url::is_name(&name) {
        return Err(SqsError::QueueDoesNotExist);
    }
    let address = Address { account, region: cx.region().clone(), name };
    cx.state::<Sqs>().load(cx.store(), &address).await?;
    Ok(GetQueueUrlResult { queue_url: Some(address.url(&cx.endpoint())) })
}

/// `ListQueues`: by name, up to 1,000 at a time; a token only where the caller asked for pages.
pub async fn list_queues(cx: &Cx, input: ListQueuesRequest) -> Result<ListQueuesResult, SqsError> {
    let limit = limits::max_results(input.max_results)?;
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let start = QUEUES.builder().key(&cx.account()).key(cx.region()).str_prefix(&prefix).build();
    let mut range = KeyRange::prefix(start);
    if let Some(token) = input.next_token.filter(|token| !token.is_empty()) {
        range = range.after(&QUEUES.key(&(cx.account(), cx.region().clone(), read_token(&token)?)));
    }
    let rows = QUEUES.scan(cx.store(), &range, limit).await?;
    let endpoint = cx.endpoint();
    let last = rows.rows.last().map(|((_, _, name), _)| name.clone());
    let urls: Vec<String> = rows
        .rows
        .into_iter()
        .map(|((account, region, name), _)| Address { account, region, name }.url(&endpoint))
        .collect();
    let next_token = last.filter(|_| rows.more && input.max_results.is_some()).map(|name| write_token(&name));
    Ok(ListQueuesResult { queue_urls: (!urls.is_empty()).then_some(urls), next_token })
}

/// A page's end as opaque text.
pub fn write_token(last: &str) -> String {
    STANDARD.encode(last)
}

pub fn read_token(token: &str) -> Result<String, SqsError> {
    let name = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.filter(|name| url::is_name(name))
        .ok_or_else(|| SqsError::InvalidParameterValue("Invalid or expired next token.".to_owned()))
}

/// The policy of the queue with this ARN.
pub async fn policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Some(address) = pileus_core::Arn::parse(arn).ok().and_then(|arn| Address::from_arn(&arn)) else {
        return Ok(None);
    };
    let queue = cx.state::<Sqs>().find_now(cx.store(), &address).await.map_err(SqsError::from)?;
    let policy = queue.and_then(|queue| queue.policy.clone());
    Ok(policy.map(|policy| ResourcePolicy { name: arn.into(), policy, must_allow: false }))
}
