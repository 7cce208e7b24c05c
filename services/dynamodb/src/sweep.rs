//! The sweeper: removes what nobody looks at any more. One node at a time, under a lease; everything it removes is already
//! out of sight, so late is never wrong.

use std::time::Duration;

use pileus_platform::Platform;
use pileus_store::{Batch, Durability, KeyRange, Space, Store};

use crate::error::DynamoError;
use crate::keys::{self, COPIES, STREAMS, TOKENS, TRASH};
use crate::stream::{self, RETENTION, order::number_at};

/// Wakes the sweeper: there is a generation to remove.
pub const TOPIC: &str = "dynamodb/sweep";
const LEASE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(60);
const PAGE: usize = 400;

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = sweep(&platform).await {
            tracing::warn!(%error, "sweeping tables failed, and is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn sweep(platform: &Platform) -> Result<(), DynamoError> {
    let store = platform.store();
    let Some(lease) = store.lease(TOPIC, LEASE).await? else { return Ok(()) };
    let copies = COPIES.scan(store, &COPIES.all(), PAGE).await?.rows;
    for (generation, _) in TRASH.scan(store, &TRASH.all(), PAGE).await?.rows {
        // A backup of a table that is gone may still be under way.
        if copies.iter().any(|(_, copy)| copy.from == generation) {
            continue;
        }
        for (space, range) in keys::of_generation(generation) {
            remove_range(store, space, range).await?;
        }
        store.write(TRASH.delete_in(Batch::new(), &generation), Durability::Durable).await?;
        lease.renew().await?;
    }
    trim_streams(platform).await?;
    forget_tokens(platform).await?;
    Ok(lease.release().await?)
}

async fn remove_range(store: &Store, space: Space, mut range: KeyRange) -> Result<(), DynamoError> {
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

/// Removes records older than a day, and streams that were closed so long ago.
async fn trim_streams(platform: &Platform) -> Result<(), DynamoError> {
    let (store, now) = (platform.store(), platform.clock().now());
    let mut range = STREAMS.all();
    loop {
        let page = STREAMS.scan(store, &range, PAGE).await?;
        for (key, row) in &page.rows {
            let records = keys::records(row.generation);
            if stream::is_over(row, now) {
                remove_range(store, Space::Log, records).await?;
                store.write(STREAMS.delete_in(Batch::new(), key), Durability::Durable).await?;
            } else {
                let end = keys::record(row.generation, number_at(now - RETENTION));
                remove_range(store, Space::Log, records.before(&end)).await?;
            }
        }
        match page.rows.last() {
            Some((key, _)) if page.more => range = range.after(&STREAMS.key(key)),
            _ => return Ok(()),
        }
    }
}

async fn forget_tokens(platform: &Platform) -> Result<(), DynamoError> {
    let (store, now) = (platform.store(), platform.clock().now());
    let mut range = TOKENS.all();
    loop {
        let page = TOKENS.scan(store, &range, PAGE).await?;
        let over = page.rows.iter().filter(|(_, token)| token.is_over(now));
        let batch = over.fold(Batch::new(), |batch, (key, _)| TOKENS.delete_in(batch, key));
        if !batch.is_empty() {
            store.write(batch, Durability::Relaxed).await?;
        }
        match page.rows.last() {
            Some((key, _)) if page.more => range = range.after(&TOKENS.key(key)),
            _ => return Ok(()),
        }
    }
}
