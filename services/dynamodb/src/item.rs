//! Items: their operations, and what these have in common.
//!
//! | File          | Holds                                                       |
//! |---------------|-------------------------------------------------------------|
//! | `single.rs`   | `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`            |
//! | `write.rs`    | one change of one item, with all that follows from it       |
//! | `request.rs`  | conditions, updates and projections of requests             |
//! | `read.rs`     | reading a range page by page                                |
//! | `query.rs`    | `Query`, `Scan`                                             |
//! | `collection.rs` | `ItemCollectionMetrics`, and how large a collection may be |
//! | `batch.rs`    | `BatchGetItem`, `BatchWriteItem`                            |
//! | `transact.rs` | `TransactGetItems`, `TransactWriteItems`                    |
//! | `token.rs`    | client tokens of transactions                               |

pub mod batch;
pub mod collection;
pub mod query;
pub mod read;
pub mod request;
pub mod single;
pub mod token;
pub mod transact;
pub mod write;
