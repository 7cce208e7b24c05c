//! Tables to and from Amazon S3: exports of a moment or of what changed between two, and imports into new tables. Both are
//! work in the background, done in the name of the one who asked.
//!
//! | File          | Holds                                                                  |
//! |---------------|------------------------------------------------------------------------|
//! | `export.rs`   | `ExportTableToPointInTime`, `DescribeExport`, `ListExports`             |
//! | `write.rs`    | what an export writes                                                  |
//! | `import.rs`   | `ImportTable`, `DescribeImport`, `ListImports`                          |
//! | `read.rs`     | what an import reads                                                   |
//! | `json.rs`, `ion.rs`, `parse.rs` | items as text, and files of items: pure              |
//! | `bucket.rs`   | what both ask of Amazon S3                                             |
//!
//! Source: Developer Guide, "DynamoDB data export to Amazon S3: how it works", "DynamoDB table export output format", "DynamoDB
//! data import from Amazon S3: how it works", "Amazon S3 import formats for DynamoDB".

pub mod bucket;
pub mod export;
pub mod import;
pub mod ion;
pub mod json;
pub mod parse;
pub mod read;
pub mod write;

use std::time::Duration;

use pileus_core::AccountId;
use pileus_platform::{Caller, CallerKind, Platform, Session};
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::{TRANSFERS, TransferKey};

/// Wakes the worker.
pub const TOPIC: &str = "dynamodb/transfer";
const LEASE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(30);

/// Work to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub goal: Goal,
    /// Generations that must stay until it is done.
    pub needs: Vec<u64>,
}

impl Stored for Transfer {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    Export,
    Import,
}

/// Who asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Requester {
    Root,
    User {
        path: String,
        name: String,
        id: String,
    },
    /// Without its secret, which only signs.
    Session(Box<Session>),
}

impl Requester {
    pub fn of(caller: &Caller) -> Requester {
        if let Some(session) = &caller.session {
            let session = Session { secret_access_key: String::new(), ..(**session).clone() };
            return Requester::Session(Box::new(session));
        }
        match &caller.kind {
            CallerKind::User { path, name } => Requester::User {
                path: path.to_string(),
                name: name.to_string(),
                id: caller.user_id.to_string(),
            },
            _ => Requester::Root,
        }
    }

    pub fn caller(self, account: AccountId) -> Caller {
        match self {
            Requester::Root => Caller::root(account),
            Requester::User { path, name, id } => Caller::user(account, &path, &name, &id),
            Requester::Session(session) => session.caller(),
        }
    }
}

/// Leaves a transfer to the worker.
pub fn begin(txn: &Txn, key: &TransferKey, transfer: &Transfer) -> Result<(), DynamoError> {
    TRANSFERS.put(txn, key, transfer)?;
    txn.notify(TOPIC);
    Ok(())
}

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        if let Err(error) = work(&platform).await {
            tracing::warn!(%error, "an export or import failed, and is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn work(platform: &Platform) -> Result<(), DynamoError> {
    let store = platform.store();
    let Some(lease) = store.lease(TOPIC, LEASE).await? else { return Ok(()) };
    for (key, transfer) in TRANSFERS.scan(store, &TRANSFERS.all(), 1_000).await?.rows {
        match transfer.goal {
            Goal::Export => export::carry_out(platform, &lease, &key).await?,
            Goal::Import => import::carry_out(platform, &lease, &key).await?,
        }
        lease.renew().await?;
    }
    Ok(lease.release().await?)
}
