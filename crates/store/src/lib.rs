//! The ordered transactional key-value store under every service.
//!
//! | File            | Holds                                                                          |
//! |-----------------|--------------------------------------------------------------------------------|
//! | `kv.rs`         | `Kv`, what an engine implements; spaces, ranges, pages, commits, limits          |
//! | `store.rs`      | `Store`, the handle services hold: reads, `transact`, `write`, `lease`, `sequence` |
//! | `txn.rs`        | `Txn`, one run of a transaction's closure                                       |
//! | `key.rs`        | order-preserving keys                                                          |
//! | `table.rs`      | typed tables with versioned values                                             |
//! | `topic.rs`      | wake-ups                                                                       |
//! | `lease.rs`      | leases with fencing tokens                                                     |
//! | `membership.rs` | which nodes share the store: heartbeats, names                                  |
//! | `cluster.rs`    | whose turn it is: background work divided among nodes                           |
//! | `sequence.rs`   | blocks of numbers                                                              |
//! | `due.rs`        | rows that become due, and their keys                                            |
//! | `timer.rs`, `outbox.rs` | the two families of due rows                                             |
//! | `runner.rs`     | hands due rows to handlers, shard by shard, under leases                        |
//! | `transfer.rs`   | a whole store as one file: export, import, backup                               |
//! | `embedded.rs`   | what the embedded engines share: `Kv` over an engine in this process            |
//! | `committer.rs`  | group commit                                                                   |
//! | `engine/`       | memory, fjall, redb                                                            |
//! | `error.rs`      | every error                                                                    |
//!
//! Transactions are optimistic and serializable: a closure reads from a snapshot, its tracked reads are checked when it
//! commits, and it runs again if one of them changed. Nothing here assumes that this process is the only one: an engine
//! whose state is shared between nodes implements the same `Kv`.

#[cfg(feature = "bench")]
pub mod bench;
pub mod cluster;
mod committer;
pub mod due;
mod embedded;
mod engine;
mod error;
pub mod key;
mod kv;
pub mod lease;
pub mod membership;
pub mod outbox;
pub mod runner;
mod sequence;
mod store;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timer;
mod topic;
pub mod transfer;
mod txn;

pub use engine::{DiskOptions, fjall, memory, redb};
pub use error::StoreError;
pub use key::{Key, KeyBuilder, KeyError, KeyReader, ToKey};
pub use kv::{
    Change, Check, Commit, Direction, Durability, Entry, Found, KeyRange, Kv, Limits, Outcome, Page,
    RangeCheck, Read, Seniority, Space, Version, Wake, Write,
};
pub use lease::Lease;
pub use store::{Batch, Store};
pub use table::{Stored, Table};
pub use topic::{Subscription, Topic, Topics};
pub use txn::{Reader, Txn, Untracked};
