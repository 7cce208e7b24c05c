//! The sweeper: removes what retention, deletion and time have put out of sight. One node at a time, under a lease; late is
//! never wrong, for readers hide what is to go.

use std::time::Duration;

use pileus_platform::Platform;
use pileus_store::{Batch, Durability, KeyRange, Lease, Space, Store};

use crate::error::LogsError;
use crate::event::chunk::{SPANS, hour_of};
use crate::group::GroupRecord;
use crate::keys::{self, GROUPS, QUERIES, RECENT, RESULTS, STATS, TRASH};
use crate::limits::{DAY_MS, HOUR_MS};
use crate::state::{Logs, millis};

/// Wakes the sweeper: something was deleted.
pub const TOPIC: &str = "logs/sweep";
const LEASE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(60);
const PAGE: usize = 400;
/// How long the answer of a query is kept.
const QUERY_MEMORY_MS: i64 = 7 * DAY_MS;
/// How long a session of live tail may take to read what is new.
const TAIL_MEMORY_MS: i64 = 60_000;

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = sweep(&platform).await {
            tracing::warn!(%error, "sweeping logs failed, and is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn sweep(platform: &Platform) -> Result<(), LogsError> {
    let store = platform.store();
    let Some(lease) = store.lease(TOPIC, LEASE).await? else { return Ok(()) };
    let (logs, now) = (platform.state::<Logs>(), millis(platform.clock().now()));
    remove_trash(logs, store).await?;
    remove_queries(store, now).await?;
    let mut range = GROUPS.all();
    loop {
        let rows = GROUPS.scan(store, &range, PAGE).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&GROUPS.key(last));
        for (_, record) in &rows.rows {
            sweep_group(logs, store, record, now, &lease).await?;
        }
        if !rows.more || !lease.renew().await? {
            break;
        }
    }
    Ok(lease.release().await?)
}

/// Removes what was kept under groups and streams that were deleted.
async fn remove_trash(logs: &Logs, store: &Store) -> Result<(), LogsError> {
    for ((group, stream), _) in TRASH.scan(store, &TRASH.all(), PAGE).await?.rows {
        if stream == 0 {
            for (space, range) in keys::of_group(group) {
                remove_range(store, space, range).await?;
            }
        } else {
            remove_range(store, Space::Log, keys::of_stream(group, stream)).await?;
            remove_hours(store, group, stream).await?;
        }
        logs.forget_stats();
        store.write(TRASH.delete_in(Batch::new(), &(group, stream)), Durability::Durable).await?;
    }
    Ok(())
}

/// Removes a deleted stream from the hours of its group.
async fn remove_hours(store: &Store, group: u64, stream: u64) -> Result<(), LogsError> {
    let mut range = keys::buckets(group, 0, u32::MAX);
    loop {
        let page = store.scan(Space::Index, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.after(&last.key);
        let own = page.entries.into_iter().map(|entry| entry.key);
        let own = own.filter(|key| keys::read_bucket(key).is_some_and(|(_, other)| other == stream));
        let batch = own.fold(Batch::new(), |batch, key| batch.delete(Space::Index, key));
        if !batch.is_empty() {
            store.write(batch, Durability::Relaxed).await?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Gives the bytes of the values that went.
async fn remove_range(store: &Store, space: Space, mut range: KeyRange) -> Result<usize, LogsError> {
    let mut removed = 0;
    loop {
        let page = store.scan(space, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(removed) };
        range = range.after(&last.key);
        removed += page.entries.iter().map(|entry| entry.value.len()).sum::<usize>();
        let batch =
            page.entries.into_iter().fold(Batch::new(), |batch, entry| batch.delete(space, entry.key));
        // A removal that is lost is done again.
        store.write(batch, Durability::Relaxed).await?;
        tokio::task::yield_now().await;
        if !page.more {
            return Ok(removed);
        }
    }
}

/// Carries out the retention of a group, hour by hour, and forgets what live tail has read.
async fn sweep_group(
    logs: &Logs,
    store: &Store,
    record: &GroupRecord,
    now: i64,
    lease: &Lease,
) -> Result<(), LogsError> {
    let group = record.id;
    if record.tailed_until > 0 {
        let before = u64::try_from(now - TAIL_MEMORY_MS).unwrap_or(0).saturating_mul(1_000);
        let end = keys::tail(group, before.saturating_mul(crate::state::ORDINAL_STEP));
        remove_range(store, Space::Queue, KeyRange { end: Some(end), ..keys::tails_from(group, 0) }).await?;
    }
    let Some(days) = record.retention_days else { return Ok(()) };
    let oldest = now - days * DAY_MS;
    // The hour that the boundary lies in is still read.
    let Some(last) = hour_of(oldest).checked_sub(1) else { return Ok(()) };
    let mut range = keys::buckets(group, 0, last);
    let mut removed = 0;
    loop {
        let page = store.scan(Space::Index, &range, PAGE).await?;
        let Some(end) = page.entries.last() else { break };
        range = range.after(&end.key);
        for entry in &page.entries {
            let Some((hour, stream)) = keys::read_bucket(&entry.key) else { continue };
            let start = i64::from(hour) * HOUR_MS;
            let mut bytes = 0;
            for lane in 0..SPANS.len() as u8 {
                let chunks = keys::chunks(group, stream, lane, start, start + HOUR_MS);
                bytes += remove_range(store, Space::Log, chunks).await?;
            }
            let (key, bytes) = (&entry.key, bytes as i64);
            store
                .transact(|txn| async move {
                    if let Some(mut stats) = STATS.get(&txn, &(group, stream)).await? {
                        stats.bytes = (stats.bytes - bytes).max(0);
                        STATS.put(&txn, &(group, stream), &stats)?;
                    }
                    txn.delete(Space::Index, key.clone());
                    Ok::<_, LogsError>(())
                })
                .await?;
            removed += 1;
        }
        if !page.more || !lease.renew().await? {
            break;
        }
    }
    if removed > 0 {
        logs.forget_hours();
        logs.forget_stats();
        tracing::debug!(group, hours = removed, "log events past their retention are gone");
    }
    Ok(())
}

/// Removes the answers of old queries.
async fn remove_queries(store: &Store, now: i64) -> Result<(), LogsError> {
    let mut range = RECENT.all();
    loop {
        let rows = RECENT.scan(store, &range, PAGE).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(()) };
        range = range.after(&RECENT.key(last));
        for ((account, region, started, id), _) in &rows.rows {
            if i64::try_from(started.0).unwrap_or(i64::MAX) > now - QUERY_MEMORY_MS {
                continue;
            }
            remove_range(store, RESULTS.space(), RESULTS.under(&(id,))).await?;
            let batch = RECENT.delete_in(Batch::new(), &(*account, region, *started, id));
            let batch = QUERIES.delete_in(batch, &(*account, region, id));
            store.write(batch, Durability::Relaxed).await?;
        }
        if !rows.more {
            return Ok(());
        }
    }
}
