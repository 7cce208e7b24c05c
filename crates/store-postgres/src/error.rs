//! What the database's errors mean to us.

use std::error::Error as _;

use pileus_store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Others were in the way. Nothing was applied; the same again may succeed.
    Contention,
    /// The connection, or the server behind it, is of no use any more.
    Broken,
    /// What was sent can never be stored.
    Data,
    /// The server refuses: no space, no permission, a limit.
    Refused,
}

pub fn kind(error: &Error) -> Kind {
    let Some(code) = error.code() else { return Kind::Broken };
    match *code {
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::UNIQUE_VIOLATION => Kind::Contention,
        // A primary that became a replica, a plan of an older schema, a statement that took too long.
        SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::FEATURE_NOT_SUPPORTED
        | SqlState::QUERY_CANCELED
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::IN_FAILED_SQL_TRANSACTION => Kind::Broken,
        _ => match code.code().get(..2) {
            Some("08" | "57" | "25" | "26") => Kind::Broken,
            Some("22" | "54") => Kind::Data,
            _ => Kind::Refused,
        },
    }
}

/// The server has said that the transaction is rolled back: not lost in between, not ended by a shutdown.
pub fn is_definite(error: &Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    error.parsed_severity().map_or(error.severity() == "ERROR", |severity| severity == Severity::Error)
        && error.code() != &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

/// One line with all that is known.
pub fn explain(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

pub fn unavailable(error: &Error) -> StoreError {
    StoreError::unavailable(format!("the database: {}", explain(error)))
}
