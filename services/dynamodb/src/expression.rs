//! Expressions: their parsing, typing and evaluation. Pure.
//!
//! | File            | Holds                                                       |
//! |-----------------|-------------------------------------------------------------|
//! | `lexer.rs`      | tokens, and AWS's sentence for a syntax error               |
//! | `placeholder.rs`| `#name` and `:value`, and which of them were used           |
//! | `path.rs`       | document paths: reading, writing, projecting                |
//! | `condition.rs`  | condition and filter expressions                            |
//! | `operand.rs`    | operands and functions of conditions, and their types       |
//! | `update.rs`     | update expressions                                          |
//! | `key.rs`        | key condition expressions                                   |
//! | `reserved.rs`   | words that are no attribute names                           |
//!
//! Source: Amazon DynamoDB Developer Guide, "Using expressions in DynamoDB" and the pages under it. Recorded: sentences of
//! errors, from AWS's answers in public test suites.

pub mod condition;
pub mod key;
pub mod lexer;
pub mod operand;
pub mod path;
pub mod placeholder;
pub mod reserved;
pub mod update;

use crate::error::DynamoError;

/// Bytes of one expression.
const MAX_LENGTH: usize = 4_096;

/// Which parameter an expression came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Condition,
    Filter,
    KeyCondition,
    Projection,
    Update,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Condition => "ConditionExpression",
            Kind::Filter => "FilterExpression",
            Kind::KeyCondition => "KeyConditionExpression",
            Kind::Projection => "ProjectionExpression",
            Kind::Update => "UpdateExpression",
        }
    }

    /// `Invalid UpdateExpression: {text}`
    pub fn invalid(self, text: impl std::fmt::Display) -> DynamoError {
        DynamoError::validation(format!("Invalid {}: {text}", self.name()))
    }

    /// # Errors
    /// `ValidationException` for an empty or too long expression.
    pub fn check_length(self, text: &str) -> Result<(), DynamoError> {
        if text.trim().is_empty() {
            return Err(self.invalid("The expression can not be empty;"));
        }
        if text.len() > MAX_LENGTH {
            return Err(self.invalid(format_args!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            )));
        }
        Ok(())
    }
}
