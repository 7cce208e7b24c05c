//! PartiQL: `ExecuteStatement`, `BatchExecuteStatement`, `ExecuteTransaction`.
//!
//! | File       | Holds                                                  |
//! |------------|--------------------------------------------------------|
//! | `lexer.rs` | tokens: pure                                           |
//! | `parse.rs` | statements, as the expressions that they mean: pure    |
//! | `run.rs`   | one statement, carried out                             |
//! | `batch.rs` | many statements in one request                         |
//!
//! Source: Amazon DynamoDB Developer Guide, "PartiQL - a SQL-compatible query language for Amazon DynamoDB" and the pages
//! under it.

pub mod batch;
pub mod lexer;
pub mod parse;
pub mod run;

use crate::error::DynamoError;

/// `ValidationException` for a statement that cannot be read.
pub fn malformed(text: impl std::fmt::Display) -> DynamoError {
    DynamoError::validation(format!("Statement wasn't well formed, can't be processed: {text}"))
}
