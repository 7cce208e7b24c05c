//! Every error that a caller of SQS can see: its code, status and sentence.
//!
//! Recorded: the sentences, from AWS's answers in public test recordings of SQS clients, where they are not in the API
//! Reference. Codes are the model's; the codes that the query protocol shows (`AWS.SimpleQueueService.NonExistentQueue`,
//! ..) follow from them in the protocol layer.

use pileus_platform::Fault;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    #[error("A queue already exists with the same name and a different value for attribute {attribute}")]
    QueueNameExists { attribute: &'static str },
    #[error(
        "You must wait 60 seconds after deleting a queue before you can create another with the same name."
    )]
    QueueDeletedRecently,
    #[error("Only one PurgeQueue operation on {queue} is allowed every 60 seconds.")]
    PurgeQueueInProgress { queue: String },
    #[error("{0}")]
    InvalidAttributeName(String),
    #[error("{0}")]
    InvalidAttributeValue(String),
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    #[error("The address {0} is not valid for this endpoint.")]
    InvalidAddress(String),
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )]
    InvalidMessageContents,
    #[error("The input receipt handle \"{0}\" is not a valid receipt handle.")]
    ReceiptHandleIsInvalid(String),
    #[error("There should be at least one {entry} in the request.")]
    EmptyBatchRequest { entry: &'static str },
    #[error("Maximum number of entries per request are 10. You have sent {sent}.")]
    TooManyEntriesInBatchRequest { sent: usize },
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
    )]
    InvalidBatchEntryId,
    #[error("Batch requests cannot be longer than {limit} bytes. You have sent {sent} bytes.")]
    BatchRequestTooLong { limit: usize, sent: usize },
    #[error("The maximum number of in-flight messages of this queue is reached: {limit}.")]
    OverLimit { limit: u64 },
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    UnsupportedOperation(String),
    #[error("Rate exceeded")]
    RequestThrottled,
    #[error("Access to the resource {0} is denied.")]
    AccessDenied(String),
    /// A fault of ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqsError {
    /// `Value {value} for parameter {parameter} is invalid. Reason: {reason}`
    pub fn value(value: impl std::fmt::Display, parameter: &str, reason: impl std::fmt::Display) -> SqsError {
        SqsError::InvalidParameterValue(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
        ))
    }

    /// An attribute of a queue with a value that it cannot have.
    pub fn attribute(name: &str) -> SqsError {
        SqsError::InvalidAttributeValue(format!("Invalid value for the parameter {name}."))
    }

    pub fn unknown_attribute(name: &str) -> SqsError {
        SqsError::InvalidAttributeName(format!("Unknown Attribute {name}."))
    }

    /// The code as the model names it.
    pub fn code(&self) -> &'static str {
        match self {
            SqsError::QueueDoesNotExist => "QueueDoesNotExist",
            SqsError::QueueNameExists { .. } => "QueueNameExists",
            SqsError::QueueDeletedRecently => "QueueDeletedRecently",
            SqsError::PurgeQueueInProgress { .. } => "PurgeQueueInProgress",
            SqsError::InvalidAttributeName(_) => "InvalidAttributeName",
            SqsError::InvalidAttributeValue(_) => "InvalidAttributeValue",
            SqsError::InvalidParameterValue(_) => "InvalidParameterValueException",
            SqsError::MissingParameter(_) => "MissingRequiredParameterException",
            SqsError::InvalidAddress(_) => "InvalidAddress",
            SqsError::InvalidMessageContents => "InvalidMessageContents",
            SqsError::ReceiptHandleIsInvalid(_) => "ReceiptHandleIsInvalid",
            SqsError::EmptyBatchRequest { .. } => "EmptyBatchRequest",
            SqsError::TooManyEntriesInBatchRequest { .. } => "TooManyEntriesInBatchRequest",
            SqsError::BatchEntryIdsNotDistinct(_) => "BatchEntryIdsNotDistinct",
            SqsError::InvalidBatchEntryId => "InvalidBatchEntryId",
            SqsError::BatchRequestTooLong { .. } => "BatchRequestTooLong",
            SqsError::OverLimit { .. } => "OverLimit",
            SqsError::ResourceNotFound(_) => "ResourceNotFoundException",
            SqsError::UnsupportedOperation(_) => "UnsupportedOperation",
            SqsError::RequestThrottled => "RequestThrottled",
            SqsError::AccessDenied(_) => "AccessDenied",
            SqsError::Store(StoreError::Contention { .. } | StoreError::Unavailable { .. }) => {
                "ServiceUnavailable"
            }
            SqsError::Store(_) => "InternalFailure",
        }
    }

    /// The code inside a batch's answer, where the query protocol's names are used on either protocol.
    pub fn entry_code(&self) -> &'static str {
        match self {
            SqsError::InvalidParameterValue(_) => "InvalidParameterValue",
            SqsError::MissingParameter(_) => "MissingParameter",
            other => other.code(),
        }
    }

    /// Whether the caller can mend it.
    pub fn is_sender_fault(&self) -> bool {
        !matches!(self, SqsError::Store(_))
    }

    /// What a caller reads. Faults of ours are told in the log and not to the caller.
    pub fn public_message(&self) -> String {
        match self {
            SqsError::Store(error) => {
                tracing::error!(%error, "the store failed a request");
                "We encountered an internal error. Please try again.".to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl From<SqsError> for Fault {
    fn from(error: SqsError) -> Fault {
        let (code, message) = (error.code(), error.public_message());
        match error {
            SqsError::Store(StoreError::Contention { .. } | StoreError::Unavailable { .. }) => {
                Fault::framework(code, 503, message)
            }
            SqsError::Store(_) => Fault::framework(code, 500, message),
            // These have no shape in the model: the framework's codes.
            SqsError::InvalidParameterValue(_) | SqsError::MissingParameter(_) => {
                Fault::framework(code, 400, message)
            }
            SqsError::AccessDenied(_) => Fault::framework("AccessDeniedException", 403, message),
            _ => Fault::sender(code, message),
        }
    }
}
