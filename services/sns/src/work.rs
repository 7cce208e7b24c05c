//! What SNS has to do: due rows, and who works them.
//!
//! Two families keep what is quick (a message on its way to all subscribers, a group of a FIFO topic, tidying) apart from single deliveries,
//! which may wait long for an endpoint.
//!
//! | Kind        | Payload       | Does                                                                |
//! |-------------|---------------|---------------------------------------------------------------------|
//! | `message`   | `FanOut`      | brings a standard topic's message to every subscriber: `deliver.rs` |
//! | `group`     | `GroupWork`   | brings a FIFO group's messages to every subscriber, in order        |
//! | `replay`    | `ReplayWork`  | brings a part of an archive to one subscriber                       |
//! | `forget`    | key           | forgets a FIFO topic's duplicate                                    |
//! | `pending`   | key           | removes a subscription that was not confirmed in two days           |
//! | `topic`     | `TopicWork`   | removes what a deleted topic has left                               |
//! | `archive`   | `TopicWork`   | removes what is too old from an archive; comes again every hour     |
//! | `deliver`   | `Delivery`    | one attempt at one subscriber                                       |

use std::time::Duration;

use pileus_core::Timestamp;
use pileus_platform::{Cx, Platform};
use pileus_store::due::{Due, Job, NewJob};
use pileus_store::runner::{Failure, Pace, Runner};
use pileus_store::{Direction, KeyRange, Reader as _, Space, StoreError, Stored, Txn, table};
use serde::{Deserialize, Serialize};

use crate::deliver::{self, Delivery, Parcel};
use crate::error::SnsError;
use crate::keys::{
    ARCHIVE, DELIVERIES, DUPLICATES, FIFO, GROUPS, SUBSCRIPTIONS, SubscriptionKey, TOPICS, WORK,
};
use crate::message::Message;
use crate::state::{Topic, millis};
use crate::subscription::{self, Record};
use crate::topic::Address;
use crate::{PRINCIPAL, replay};

/// Source: Amazon SNS API Reference, "ConfirmSubscription": a token is good for two days.
const PENDING_FOR: Duration = Duration::from_secs(2 * 86_400);
const ARCHIVE_SWEEP: Duration = Duration::from_secs(3_600);
/// Rows that one transaction removes.
const SWEPT_AT_ONCE: usize = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanOut {
    pub topic: Address,
    pub topic_id: u64,
    pub message: Message,
}

impl Stored for FanOut {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupWork {
    pub topic: Address,
    pub topic_id: u64,
    pub group: String,
}

impl Stored for GroupWork {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayWork {
    pub topic: Address,
    pub id: String,
    /// The policy that it follows: another one has work of its own.
    pub policy: String,
    /// The archive's row that was brought last.
    pub after: Option<(u64, u64)>,
}

impl Stored for ReplayWork {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicWork {
    pub topic: Address,
    pub topic_id: u64,
}

impl Stored for TopicWork {}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    topic: Address,
    id: String,
}

impl Stored for Pending {}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forget {
    key: (u64, String, String),
    group: (u64, String),
}

impl Stored for Forget {}

fn add<T: Stored>(
    txn: &Txn,
    family: Due,
    kind: &'static str,
    id: &str,
    due: Timestamp,
    payload: &T,
) -> Result<(), SnsError> {
    let payload = table::encode(payload)?;
    Ok(family.add(txn, &NewJob { kind, id, due, destination: "", payload: &payload })?)
}

/// A standard topic's message to all its subscribers.
pub fn fan_out(txn: &Txn, topic: &Topic, message: &Message) -> Result<(), SnsError> {
    let work = FanOut { topic: topic.address.clone(), topic_id: topic.record.id, message: message.clone() };
    add(txn, WORK, "message", &message.id, message.at, &work)
}

/// What waits in a FIFO topic's group. Its shard follows from the group, so one node at a time delivers it.
pub fn deliver_group(txn: &Txn, topic: &Topic, group: &str, now: Timestamp) -> Result<(), SnsError> {
    let work = GroupWork { topic: topic.address.clone(), topic_id: topic.record.id, group: group.to_owned() };
    add(txn, WORK, "group", &format!("{:016x}/{group}", topic.record.id), now, &work)
}

pub fn forget_duplicate(txn: &Txn, key: &(u64, String, String), until: u64) -> Result<(), SnsError> {
    let due = Timestamp::from_millis(i64::try_from(until).unwrap_or(i64::MAX));
    let work = Forget { key: key.clone(), group: (key.0, key.1.clone()) };
    add(txn, WORK, "forget", &format!("{:016x}/{}/{}", key.0, key.1, key.2), due, &work)
}

pub fn deliver_later(txn: &Txn, delivery: &Delivery, due: Timestamp) -> Result<(), SnsError> {
    add(txn, DELIVERIES, "deliver", &delivery.id(), due, delivery)
}

/// Asks an endpoint to confirm its subscription.
pub fn confirm(txn: &Txn, record: &Record, cx: &Cx) -> Result<(), SnsError> {
    let parcel = Parcel::Confirm { id: cx.ids().uuid(), at: cx.now() };
    deliver_later(txn, &Delivery::new(record, parcel, cx.now()), cx.now())
}

/// Tells an endpoint that somebody followed its link.
pub fn tell_unsubscribed(txn: &Txn, record: &Record, cx: &Cx) -> Result<(), SnsError> {
    let parcel = Parcel::Unsubscribed { id: cx.ids().uuid(), at: cx.now(), record: Box::new(record.clone()) };
    deliver_later(txn, &Delivery::new(record, parcel, cx.now()), cx.now())
}

pub fn expire_pending(txn: &Txn, record: &Record, now: Timestamp) -> Result<(), SnsError> {
    let work = Pending { topic: record.topic.clone(), id: record.id.clone() };
    add(txn, WORK, "pending", &record.id, now + PENDING_FOR, &work)
}

pub fn sweep_topic(txn: &Txn, topic: &Address, topic_id: u64, now: Timestamp) -> Result<(), SnsError> {
    let work = TopicWork { topic: topic.clone(), topic_id };
    add(txn, WORK, "topic", &format!("{topic_id:016x}"), now, &work)
}

pub fn sweep_archive(txn: &Txn, topic: &Address, topic_id: u64, now: Timestamp) -> Result<(), SnsError> {
    let work = TopicWork { topic: topic.clone(), topic_id };
    add(txn, WORK, "archive", &format!("{topic_id:016x}"), now + ARCHIVE_SWEEP, &work)
}

pub fn replay(txn: &Txn, record: &Record, now: Timestamp) -> Result<(), SnsError> {
    let policy = record.attributes.replay_policy.clone().unwrap_or_default();
    let work = ReplayWork { topic: record.topic.clone(), id: record.id.clone(), policy, after: None };
    add(txn, WORK, "replay", &record.id, now, &work)
}

/// Works the quick ones for as long as the node runs.
pub async fn run(platform: Platform) {
    let slack = Pace::default().slack;
    let runner = Runner::new(platform.store().clone(), WORK);
    let runner = match platform.store().kv().shared_time() {
        None => runner.pace(Pace { parallel: 32, slack, ..Pace::default() }),
        Some(_) => runner,
    };
    let on = |handle: fn(Cx, Job) -> pileus_core::BoxFuture<'static, Result<(), Failure>>| {
        let platform = platform.clone();
        move |job: Job| handle(context(&platform), job)
    };
    runner
        .on("message", on(|cx, job| Box::pin(async move { deliver::fan_out(&cx, &job, read(&job)?).await })))
        .on("group", on(|cx, job| Box::pin(async move { deliver::group(&cx, &job, read(&job)?).await })))
        .on("replay", on(|cx, job| Box::pin(async move { replay::work(&cx, &job, read(&job)?).await })))
        .on("forget", on(|cx, job| Box::pin(async move { forget(&cx, &job, read(&job)?).await })))
        .on("pending", on(|cx, job| Box::pin(async move { pending(&cx, read(&job)?).await })))
        .on("topic", on(|cx, job| Box::pin(async move { topic(&cx, read(&job)?).await })))
        .on("archive", on(|cx, job| Box::pin(async move { archive(&cx, &job, read(&job)?).await })))
        .run(std::future::pending())
        .await;
}

/// Works single deliveries for as long as the node runs.
pub async fn run_deliveries(platform: Platform) {
    let runner = Runner::new(platform.store().clone(), DELIVERIES);
    runner
        .on("deliver", move |job: Job| {
            let cx = context(&platform);
            async move { deliver::attempt(&cx, &job, read(&job)?).await }
        })
        .run(std::future::pending())
        .await;
}

/// As SNS, in no account yet: each piece of work names its own.
fn context(platform: &Platform) -> Cx {
    let region = platform.config().default_region.clone();
    Cx::background(platform, PRINCIPAL, pileus_core::AccountId::DEFAULT, region)
}

fn read<T: Stored>(job: &Job) -> Result<T, Failure> {
    table::decode(&job.payload).map_err(Failure::new)
}

fn failed(error: SnsError) -> Failure {
    Failure::new(error)
}

async fn forget(cx: &Cx, job: &Job, work: Forget) -> Result<(), Failure> {
    let (now, work) = (millis(cx.clock().now()), &work);
    cx.transact(|txn| async move {
        if !job.claim(&txn).await? {
            return Ok(());
        }
        if DUPLICATES.get(&txn, &work.key).await?.is_some_and(|known| known.until <= now) {
            DUPLICATES.delete(&txn, &work.key);
        }
        // A number that is long past is below every new one.
        let before = now.saturating_sub(60_000).saturating_mul(1_000_000);
        if GROUPS.get(&txn, &work.group).await?.is_some_and(|group| group.last_sequence < before) {
            GROUPS.delete(&txn, &work.group);
        }
        Ok::<_, StoreError>(())
    })
    .await
    .map_err(Failure::new)
}

async fn pending(cx: &Cx, work: Pending) -> Result<(), Failure> {
    let key: SubscriptionKey =
        (work.topic.account, work.topic.region.clone(), work.topic.name.clone(), work.id);
    let key = &key;
    cx.transact(|txn| async move {
        match SUBSCRIPTIONS.get(&txn, key).await? {
            Some(record) if !record.is_confirmed => subscription::remove(&txn, &record).await,
            _ => Ok(()),
        }
    })
    .await
    .map_err(failed)
}

/// Removes subscriptions, messages, duplicates and the archive of a topic that is gone.
async fn topic(cx: &Cx, work: TopicWork) -> Result<(), Failure> {
    let TopicWork { topic, topic_id } = &work;
    let all = SUBSCRIPTIONS.under(&(topic.account, &topic.region, topic.name.as_str()));
    let mut range = Some(all);
    while let Some(next) = range {
        let rows = SUBSCRIPTIONS.scan(cx.store(), &next, SWEPT_AT_ONCE / 4).await.map_err(Failure::new)?;
        let last = rows.rows.last().map(|(key, _)| SUBSCRIPTIONS.key(key));
        range = last.filter(|_| rows.more).map(|last| next.after(&last));
        let old = &rows
            .rows
            .into_iter()
            .map(|(_, row)| row)
            .filter(|row| row.topic_id == *topic_id)
            .collect::<Vec<_>>();
        cx.transact(|txn| async move {
            old.iter().for_each(|record| subscription::forget(&txn, record));
            Ok::<_, StoreError>(())
        })
        .await
        .map_err(Failure::new)?;
    }
    let ranges = [
        (Space::Queue, FIFO.under(&(*topic_id,))),
        (Space::Log, ARCHIVE.under(&(*topic_id,))),
        (Space::Index, DUPLICATES.under(&(*topic_id,))),
        (Space::Index, GROUPS.under(&(*topic_id,))),
    ];
    for (space, range) in ranges {
        sweep(cx, space, range).await.map_err(Failure::new)?;
    }
    Ok(())
}

/// Removes all rows of a range that nobody writes to any more.
async fn sweep(cx: &Cx, space: Space, range: KeyRange) -> Result<(), StoreError> {
    let mut range = range;
    loop {
        let page = cx.store().read_page(space, &range, SWEPT_AT_ONCE, Direction::Forward).await?;
        let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else { return Ok(()) };
        let keys = &page.entries;
        cx.transact(|txn| async move {
            keys.iter().for_each(|entry| txn.delete(space, entry.key.clone()));
            txn.relaxed();
            Ok::<_, StoreError>(())
        })
        .await?;
        if !page.more {
            return Ok(());
        }
        range = range.after(&last);
    }
}

/// Removes what is older than the policy says, and comes again.
async fn archive(cx: &Cx, job: &Job, work: TopicWork) -> Result<(), Failure> {
    let record = TOPICS.get(cx.store(), &work.topic.key()).await.map_err(Failure::new)?;
    let Some(record) = record.filter(|record| record.id == work.topic_id) else { return Ok(()) };
    let now = cx.clock().now();
    let kept = u64::from(record.attributes.archive_days.unwrap_or(0)) * 86_400_000;
    let before = millis(now).saturating_sub(kept);
    let old = ARCHIVE.under(&(work.topic_id,)).before(&ARCHIVE.key(&(work.topic_id, before)));
    sweep(cx, Space::Log, old).await.map_err(Failure::new)?;
    if record.attributes.archive_days.is_none() {
        return Ok(());
    }
    let work = &work;
    cx.transact(|txn| async move {
        match job.claim(&txn).await? {
            true => sweep_archive(&txn, &work.topic, work.topic_id, now),
            false => Ok(()),
        }
    })
    .await
    .map_err(failed)
}
