//! Every error that a caller of DynamoDB can see: its code, status and sentence.
//!
//! Recorded: sentences of `ValidationException` come from AWS's answers in public test recordings of DynamoDB clients.

use std::borrow::Cow;

use pileus_api_dynamodb as api;
use pileus_platform::{Fault, FaultOrigin};
use pileus_store::StoreError;

use crate::value::{Item, item_into_wire};

#[derive(Debug, thiserror::Error)]
pub enum DynamoError {
    #[error("{0}")]
    Validation(Cow<'static, str>),
    /// One of the model's error shapes that has a message and nothing else.
    #[error("{message}")]
    Modelled { code: &'static str, message: Cow<'static, str> },
    #[error("The conditional request failed")]
    ConditionalCheckFailed { item: Option<Box<Item>> },
    #[error("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes(.0))]
    TransactionCanceled(Vec<Reason>),
    #[error("{0}")]
    AccessDenied(String),
    /// A fault of ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one action of a transaction did or did not stand in its way.
#[derive(Debug, Clone, Default)]
pub struct Reason {
    /// `ConditionalCheckFailed`; `None` for an action that was fine.
    pub code: Option<&'static str>,
    pub message: Option<String>,
    pub item: Option<Item>,
}

fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code.unwrap_or("None")).collect::<Vec<_>>().join(", ")
}

impl DynamoError {
    pub fn validation(text: impl Into<Cow<'static, str>>) -> DynamoError {
        DynamoError::Validation(text.into())
    }

    /// `One or more parameter values were invalid: {text}`
    pub fn parameter(text: impl std::fmt::Display) -> DynamoError {
        DynamoError::Validation(format!("One or more parameter values were invalid: {text}").into())
    }

    pub fn modelled(code: &'static str, message: impl Into<Cow<'static, str>>) -> DynamoError {
        DynamoError::Modelled { code, message: message.into() }
    }

    pub fn no_resource() -> DynamoError {
        DynamoError::modelled("ResourceNotFoundException", "Requested resource not found")
    }

    pub fn no_table(name: &str) -> DynamoError {
        let text = format!("Requested resource not found: Table: {name} not found");
        DynamoError::modelled("ResourceNotFoundException", text)
    }

    /// What AWS's service does and this one does not.
    pub fn unsupported(what: &str) -> DynamoError {
        DynamoError::parameter(format!("{what} is not supported here"))
    }

    pub fn corrupt(text: &str) -> DynamoError {
        DynamoError::Store(StoreError::corrupt(text))
    }

    pub fn code(&self) -> &'static str {
        match self {
            DynamoError::Validation(_) => "ValidationException",
            DynamoError::Modelled { code, .. } => code,
            DynamoError::ConditionalCheckFailed { .. } => "ConditionalCheckFailedException",
            DynamoError::TransactionCanceled(_) => "TransactionCanceledException",
            DynamoError::AccessDenied(_) => "AccessDeniedException",
            DynamoError::Store(StoreError::Contention { .. }) => "TransactionConflictException",
            // A transaction that changes more rows than one commit can hold.
            DynamoError::Store(StoreError::TooLarge { .. }) => "ValidationException",
            DynamoError::Store(_) => "InternalServerError",
        }
    }

    /// What a caller reads. Faults of ours are told in the log and not to the caller.
    pub fn public_message(&self) -> String {
        match self {
            DynamoError::Store(StoreError::Contention { .. }) => {
                "Transaction is ongoing for the item".to_owned()
            }
            DynamoError::Store(error @ StoreError::TooLarge { .. }) => {
                format!("The request changes too much at once: {error}")
            }
            DynamoError::Store(error) => {
                tracing::error!(%error, "the store failed a request");
                "Internal server error".to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl From<DynamoError> for Fault {
    fn from(error: DynamoError) -> Fault {
        let (code, message) = (error.code(), error.public_message());
        match error {
            DynamoError::Validation(_) => {
                Fault { origin: FaultOrigin::Validation, ..Fault::sender(code, message).with_status(400) }
            }
            DynamoError::ConditionalCheckFailed { item } => {
                let item = item.map(|item| item_into_wire(*item));
                Fault::sender(code, message.clone())
                    .with_members(api::ConditionalCheckFailedException { message: Some(message), item })
            }
            DynamoError::TransactionCanceled(reasons) => {
                let reasons = reasons.into_iter().map(|reason| api::CancellationReason {
                    item: reason.item.map(item_into_wire),
                    code: Some(reason.code.unwrap_or("None").to_owned()),
                    message: reason.message,
                });
                Fault::sender(code, message.clone()).with_members(api::TransactionCanceledException {
                    message: Some(message),
                    cancellation_reasons: Some(reasons.collect()),
                })
            }
            DynamoError::AccessDenied(_) => Fault::framework(code, 400, message),
            DynamoError::Store(StoreError::Contention { .. }) => Fault::sender(code, message),
            DynamoError::Store(_) => Fault::receiver(code, message),
            DynamoError::Modelled { .. } => Fault::sender(code, message),
        }
    }
}
