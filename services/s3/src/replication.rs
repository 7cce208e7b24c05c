//! Replication: which changes go to which buckets, and the worker that copies them.
//!
//! | File                    | Holds                                       |
//! |-------------------------|---------------------------------------------|
//! | `replication/rules.rs`  | which rule of a bucket takes a change: pure |

pub mod rules;
