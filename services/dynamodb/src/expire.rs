//! Expiry: removes items whose time to live ran out, as the service itself.
//!
//! Source: Developer Guide, "Using time to live (TTL) in DynamoDB", "How it works: DynamoDB Time to Live (TTL)" (items whose
//! time lies more than five years back are left alone).

use pileus_platform::Platform;
use pileus_store::Txn;
use pileus_store::due::Job;
use pileus_store::runner::{Failure, Runner};

use crate::error::DynamoError;
use crate::item::write::{self, Action, Change, Origin, Run};
use crate::keys::EXPIRIES;
use crate::state::Dynamo;
use crate::stream::read::is_alone;
use crate::table::Address;
use crate::value::decode_item;

const FIVE_YEARS: i64 = 5 * 365 * 86_400;

/// Waits for expiries, and carries them out.
pub async fn run(platform: Platform) {
    let store = platform.store().clone();
    let handler = move |job: Job| {
        let platform = platform.clone();
        async move { expire(&platform, &job).await.map_err(Failure::new) }
    };
    Runner::new(store, EXPIRIES).on(write::EXPIRE, handler).run(std::future::pending()).await;
}

async fn expire(platform: &Platform, job: &Job) -> Result<(), DynamoError> {
    let dynamo = platform.state::<Dynamo>();
    let ticket = dynamo.order.ticket(platform.clock().monotonic());
    let (held, now) = (&ticket, platform.clock().now());
    let done = platform
        .store()
        .transact(|txn| async move {
            held.restart();
            if !job.claim(&txn).await? {
                return Ok(());
            }
            let run = Run {
                dynamo,
                now,
                ticket: held,
                origin: Origin::Expiry,
                is_shared: !is_alone(platform.store()),
            };
            remove(&txn, &run, dynamo, job).await
        })
        .await;
    dynamo.finish(ticket, done.is_ok());
    done
}

/// Removes the item, if it is still there and its time has still run out.
async fn remove(txn: &Txn, run: &Run<'_>, dynamo: &Dynamo, job: &Job) -> Result<(), DynamoError> {
    let Some((address, None)) = Address::from_arn(&job.destination) else { return Ok(()) };
    let Some(table) = dynamo.find(txn, &address).await? else { return Ok(()) };
    let key_item = decode_item(&job.payload)?;
    let Ok(key) = table.schema().encode_key(&key_item) else { return Ok(()) };
    if write::expiry_id(table.record.generation, &key) != job.id {
        return Ok(()); // Of a table that had the same name.
    }
    let row = crate::keys::item(table.record.generation, &key);
    let Some(bytes) = txn.get(pileus_store::Space::Items, &row).await? else { return Ok(()) };
    let seconds = table.expiry(&decode_item(&bytes)?);
    let is_due = seconds.is_some_and(|at| at <= run.now.as_secs() && at > run.now.as_secs() - FIVE_YEARS);
    if !is_due {
        return Ok(());
    }
    let generation = table.record.generation;
    let change =
        Change { generation, key, key_item, condition: None, action: Action::Delete, shows_item: false };
    write::apply(txn, run, &table, &change).await.map(|_| ())
}
