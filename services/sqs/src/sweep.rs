//! The sweeper: removes what nobody looks at any more. One node at a time, under a lease; everything it removes is already
//! out of sight, so late is never wrong.

use std::time::Duration;

use bytes::Bytes;
use pileus_platform::Platform;
use pileus_store::{Batch, Durability, KeyRange, Space, Store, Stored, Table, key::Key};

use crate::error::SqsError;
use crate::keys::{self, ATTEMPTS, DEDUPLICATION, DELETED, GROUPS, PARTITIONS, QUEUES, TASKS, TRASH};
use crate::limits;
use crate::message::fifo;
use crate::move_task::Status;
use crate::order;
use crate::queue::Queue;
use crate::queue::url::Address;
use crate::state::{Desk, Sqs, millis};

/// Wakes the sweeper: there is a generation to remove.
pub const TOPIC: &str = "sqs/sweep";
const LEASE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(60);
const PAGE: usize = 400;
/// How long a finished move task is listed.
const TASK_MEMORY: u64 = 30 * 86_400_000;

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = sweep(&platform).await {
            tracing::warn!(%error, "sweeping queues failed, and is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn sweep(platform: &Platform) -> Result<(), SqsError> {
    let Some(lease) = platform.store().lease(TOPIC, LEASE).await? else { return Ok(()) };
    let desk =
        Desk { sqs: platform.state::<Sqs>(), store: platform.store(), now: millis(platform.clock().now()) };
    remove_trash(desk.store).await?;
    let interval = limits::DELETED_RECENTLY.as_millis() as u64;
    remove_rows(desk.store, &DELETED, DELETED.all(), |deleted| deleted.at + interval <= desk.now).await?;
    remove_rows(desk.store, &TASKS, TASKS.all(), |task| {
        task.status != Status::Running && task.started_at + TASK_MEMORY <= desk.now
    })
    .await?;
    let mut range = QUEUES.all();
    loop {
        let rows = QUEUES.scan(desk.store, &range, PAGE).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&QUEUES.key(last));
        for ((account, region, name), _) in rows.rows {
            let address = Address { account, region, name };
            if let Some(queue) = desk.sqs.find(desk.store, &address).await? {
                sweep_queue(desk, &queue).await?;
            }
        }
        if !lease.renew().await? {
            return Ok(());
        }
    }
    Ok(lease.release().await?)
}

/// Removes the messages of generations that were purged or deleted.
async fn remove_trash(store: &Store) -> Result<(), SqsError> {
    for (generation, _) in TRASH.scan(store, &TRASH.all(), PAGE).await?.rows {
        for (space, range) in keys::of_generation(generation) {
            remove_range(store, space, range).await?;
        }
        store.write(TRASH.delete_in(Batch::new(), &generation), Durability::Durable).await?;
    }
    Ok(())
}

async fn remove_range(store: &Store, space: Space, mut range: KeyRange) -> Result<(), SqsError> {
    loop {
        let page = store.scan(space, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.after(&last.key);
        let batch =
            page.entries.into_iter().fold(Batch::new(), |batch, entry| batch.delete(space, entry.key));
        // A removal that is lost is done again.
        store.write(batch, Durability::Relaxed).await?;
        tokio::task::yield_now().await;
    }
}

/// Removes the rows that `is_over`, if they still are when they go.
async fn remove_rows<K: Key + Sync, V: Stored>(
    store: &Store,
    table: &Table<K, V>,
    mut range: KeyRange,
    is_over: impl Fn(&V) -> bool + Sync,
) -> Result<(), SqsError> {
    let is_over = &is_over;
    loop {
        let rows = table.scan(store, &range, PAGE).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(()) };
        range = range.after(&table.key(last));
        let over: Vec<K> =
            rows.rows.into_iter().filter(|(_, value)| is_over(value)).map(|(key, _)| key).collect();
        if !over.is_empty() {
            let over = &over;
            store
                .transact(|txn| async move {
                    for key in over {
                        if table.get(&txn, key).await?.is_some_and(|value| is_over(&value)) {
                            table.delete(&txn, key);
                        }
                    }
                    Ok::<_, SqsError>(())
                })
                .await?;
        }
        if !rows.more {
            return Ok(());
        }
    }
}

async fn sweep_queue(desk: Desk<'_>, queue: &Queue) -> Result<(), SqsError> {
    let generation = queue.record.generation;
    if !queue.is_fifo() {
        for partition in 0..PARTITIONS {
            expire_partition(desk, queue, partition).await?;
        }
        return Ok(());
    }
    for partition in 0..PARTITIONS {
        for kind in [fifo::OWN_MOMENT, fifo::DELAYED] {
            expire_groups(desk, queue, partition, kind).await?;
        }
    }
    let (store, now) = (desk.store, desk.now);
    remove_rows(store, &DEDUPLICATION, DEDUPLICATION.under(&generation), |known| known.is_over(now)).await?;
    remove_rows(store, &ATTEMPTS, ATTEMPTS.under(&generation), |attempt| attempt.is_over(now)).await?;
    remove_rows(store, &GROUPS, GROUPS.under(&generation), |group| group.is_forgettable(now)).await
}

/// Where rows of a stream may begin, as far as this node knows.
fn rows(desk: Desk<'_>, queue: &Queue, stream: usize, prefix: Bytes) -> KeyRange {
    match desk.sqs.known_lane(queue) {
        Some(lane) => lane.range(stream, desk.store.clock().monotonic()),
        None => KeyRange::prefix(prefix),
    }
}

/// Removes expired messages at the head of a partition. Those further back wait for the ones before them: they are out of
/// every answer already.
async fn expire_partition(desk: Desk<'_>, queue: &Queue, partition: u8) -> Result<(), SqsError> {
    let (rules, prefix) = (queue.rules(), keys::ready(queue.record.generation, partition));
    let mut range = rows(desk, queue, usize::from(partition), prefix.clone());
    loop {
        let page = desk.store.scan(Space::Index, &range, PAGE / 4).await?;
        let mut expired = Vec::new();
        for entry in &page.entries {
            if order::decode(&entry.value)?.is_expired(&rules, desk.now) {
                expired.push(entry.clone());
            }
        }
        let Some(last) = page.entries.last().filter(|_| !expired.is_empty()) else { return Ok(()) };
        range = range.after(&last.key);
        let (expired, prefix) = (&expired, &prefix);
        desk.store
            .transact(|txn| async move {
                let queue = desk.sqs.load(&txn, &queue.address).await?;
                for entry in expired {
                    order::standard::remove_row(
                        &txn,
                        &queue,
                        partition,
                        &entry.key[prefix.len()..],
                        &entry.value,
                    )
                    .await?;
                }
                Ok::<_, SqsError>(())
            })
            .await
            .or_else(gone)?;
    }
}

/// Removes expired messages at the heads of groups.
async fn expire_groups(desk: Desk<'_>, queue: &Queue, partition: u8, kind: u8) -> Result<(), SqsError> {
    let prefix = keys::groups(queue.record.generation, partition, kind);
    let stream = usize::from(partition) * 2 + usize::from(kind == fifo::DELAYED);
    let mut range = rows(desk, queue, stream, prefix.clone());
    loop {
        let page = desk.store.scan(Space::Index, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.after(&last.key);
        for entry in &page.entries {
            let Some(name) = keys::suffix_group(&entry.key[prefix.len()..]) else { continue };
            let name = &name;
            let expired = desk
                .store
                .transact(|txn| async move {
                    let queue = desk.sqs.load(&txn, &queue.address).await?;
                    order::fifo::expire(desk, &txn, &queue, name).await
                })
                .await;
            expired.map(|_| ()).or_else(gone)?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// A queue that was deleted meanwhile needs no sweeping.
fn gone(error: SqsError) -> Result<(), SqsError> {
    match error {
        SqsError::QueueDoesNotExist => Ok(()),
        error => Err(error),
    }
}
