//! The store on PostgreSQL's protocol: how several nodes share one state.
//!
//! | File           | Holds                                                                             |
//! |----------------|-----------------------------------------------------------------------------------|
//! | `engine.rs`    | `Kv` over a database                                                               |
//! | `read.rs`      | reads and snapshots                                                                |
//! | `gather.rs`    | reads that come together, as one statement                                         |
//! | `committer.rs` | group commit: tasks that take what is queued, and repeat it until it is done        |
//! | `batch.rs`     | one batch as one transaction of the database                                       |
//! | `plan.rs`      | what a batch locks, accepts and writes: pure                                        |
//! | `guard.rs`     | which rows batches with range checks lock                                          |
//! | `wake.rs`      | wake-ups between nodes                                                             |
//! | `schema.rs`    | the tables, and their migration                                                    |
//! | `sql.rs`       | the statements, and pipelining                                                     |
//! | `pool.rs`, `url.rs`, `tls.rs`, `error.rs` | connections                                            |
//! | `testing.rs`   | a PostgreSQL server for tests                                                      |
//!
//! # Why commits are serializable
//!
//! Batches run at `READ COMMITTED`: each statement sees what was committed when it began. PostgreSQL's own `SERIALIZABLE`
//! is not used, because it watches pages of indexes: two batches of hundreds of keys would nearly always seem to be in
//! conflict. Instead:
//!
//! 1. **Keys** checked or written are locked, in one order, until the end: shared if only checked. Their versions are
//!    compared after that. An absent key cannot be locked; whoever relies on its absence inserts a row there (and removes
//!    it, if it is not to stay). An insert waits for another transaction's insert of the key, and if that commits the
//!    batch starts again. So commits without ranges are two-phase locking: their order is the order in which they end.
//! 2. **Ranges** are read again after everything else is locked and written. Let `T` have checked a range and `U` have
//!    changed it unseen, so that `T` comes before `U`. `U` ended after `T` read the range, so after `T` had all its locks.
//!    Could anything put `U` before `T`? Only that `T` replaces, or reads, what `U` read or wrote under a lock: then `T`
//!    got its lock after `U` had ended, or `U` saw what `T` wrote: both contradict. Or that `U` too has checked a range
//!    that `T` changes: locks say nothing there.
//! 3. **Guards** exclude just this: two batches that check ranges, one of which changes what the other ranges over, lock
//!    one guard row at least before all else, and run one after the other. Batches without ranges need no guard.
//!
//! What is not promised: a transaction that only reads may see `U` of (2) and not yet `T`. Each of them is committed, and
//! a transaction that writes would have its reads checked.
//!
//! **Versions** come from a sequence, in blocks of one batch, taken when the locks are held: whoever locks a key later
//! has a greater version. The one exception is harmless: of commits under way at the same time, one that puts an absent
//! key without having read it may come last and have the smaller version if a third has removed the key in between. No
//! two writes share a version in any case, and what is compared by size, the tokens of leases, is always read first.
//!
//! **A lost connection** leaves open whether a commit took effect only if it was sent. The committer's own row, changed
//! in the transaction before, is then read under a lock, which waits for the old transaction's end; after a "no" the
//! batch is repeated. If nothing can be learnt for ten seconds, the answer is `Unavailable`, which promises nothing.
//!
//! **Nodes that vanish** hold locks no longer than `idle_in_transaction_session_timeout`, two seconds.
//!
//! Only the portable part of the protocol is needed: no advisory locks, no stored code; notifications are an optimisation.

mod batch;
mod committer;
mod engine;
mod error;
mod gather;
mod guard;
mod plan;
mod pool;
mod read;
mod schema;
mod sql;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod url;
mod wake;

pub use engine::{Postgres, open};
