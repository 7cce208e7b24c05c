//! The sweeper: removes what nobody looks at any more. One node at a time, under a lease; everything it removes is already
//! out of sight, so late is never wrong.

use std::collections::HashMap;
use std::time::Duration;

use pileus_platform::Platform;
use pileus_store::{Batch, Durability, KeyRange, Space, Store};

use crate::error::DynamoError;
use crate::keys::{self, BACKUPS, COPIES, HISTORIES, STREAMS, TOKENS, TRANSFERS, TRASH, Trash};
use crate::stream::{self, RETENTION, order::number_at};

/// Wakes the sweeper: there is a generation to remove.
pub const TOPIC: &str = "dynamodb/sweep";
const LEASE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(60);
const PAGE: usize = 400;
const DAY: Duration = Duration::from_secs(86_400);

/// Up to which numbers this node has removed the records of generations: deleted rows are not stepped over again.
type Swept = HashMap<u64, u64>;

pub async fn run(platform: Platform) {
    let mut swept = Swept::new();
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = sweep(&platform, &mut swept).await {
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

async fn sweep(platform: &Platform, swept: &mut Swept) -> Result<(), DynamoError> {
    let store = platform.store();
    let Some(lease) = store.lease(TOPIC, LEASE).await? else { return Ok(()) };
    let copies = COPIES.scan(store, &COPIES.all(), PAGE).await?.rows;
    let transfers = TRANSFERS.scan(store, &TRANSFERS.all(), PAGE).await?.rows;
    for (generation, _) in TRASH.scan(store, &TRASH.all(), PAGE).await?.rows {
        // A copy of a table that is gone may still be under way.
        if copies.iter().any(|(_, copy)| copy.needs(generation))
            || transfers.iter().any(|(_, transfer)| transfer.needs.contains(&generation))
        {
            continue;
        }
        for (space, range) in keys::of_generation(generation) {
            remove_range(store, space, range).await?;
        }
        store.write(TRASH.delete_in(Batch::new(), &generation), Durability::Durable).await?;
        lease.renew().await?;
    }
    trim_streams(platform, swept).await?;
    trim_histories(platform, swept).await?;
    expire_backups(platform).await?;
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
async fn trim_streams(platform: &Platform, swept: &mut Swept) -> Result<(), DynamoError> {
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
                trim(store, row.generation, number_at(now - RETENTION), swept).await?;
            }
        }
        match page.rows.last() {
            Some((key, _)) if page.more => range = range.after(&STREAMS.key(key)),
            _ => return Ok(()),
        }
    }
}

/// Removes the records of a generation below a number.
async fn trim(store: &Store, generation: u64, end: u64, swept: &mut Swept) -> Result<(), DynamoError> {
    let begin = swept.insert(generation, end).unwrap_or(0);
    let range = keys::records(generation)
        .starting_at(keys::record(generation, begin))
        .before(&keys::record(generation, end));
    match range.is_empty() {
        true => Ok(()),
        false => remove_range(store, Space::Log, range).await,
    }
}

/// Removes changes to which no table can be restored any more.
async fn trim_histories(platform: &Platform, swept: &mut Swept) -> Result<(), DynamoError> {
    let (store, now) = (platform.store(), platform.clock().now());
    let mut range = HISTORIES.all();
    loop {
        let page = HISTORIES.scan(store, &range, PAGE).await?;
        for (generation, history) in &page.rows {
            trim(store, *generation, number_at(now - DAY * history.days), swept).await?;
        }
        match page.rows.last() {
            Some((key, _)) if page.more => range = range.after(&HISTORIES.key(key)),
            _ => return Ok(()),
        }
    }
}

/// Removes backups of deleted tables whose time is over.
async fn expire_backups(platform: &Platform) -> Result<(), DynamoError> {
    let (store, now) = (platform.store(), platform.clock().now().as_millis());
    let mut range = BACKUPS.all();
    loop {
        let page = BACKUPS.scan(store, &range, PAGE).await?;
        for (key, row) in &page.rows {
            if row.expires_at.is_some_and(|at| at <= now) {
                let batch = BACKUPS.delete_in(Batch::new(), key);
                let batch = TRASH.put_in(batch, &row.generation, &Trash {})?;
                store.write(batch, Durability::Durable).await?;
            }
        }
        match page.rows.last() {
            Some((key, _)) if page.more => range = range.after(&BACKUPS.key(key)),
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
