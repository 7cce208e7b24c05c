//! Every error that a caller of SNS can see: its code, status and sentence.
//!
//! Source: Amazon SNS API Reference, the errors of each operation. Recorded: the sentences, from AWS's answers in public test recordings
//! of SNS clients.

use pileus_platform::Fault;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum SnsError {
    #[error("Invalid parameter: {0}")]
    InvalidParameter(String),
    #[error("{0}")]
    ParameterValueInvalid(String),
    #[error("{0} does not exist")]
    NotFound(&'static str),
    #[error("Resource does not exist")]
    ResourceNotFound,
    #[error("Could not complete request: tag quota of per resource exceeded")]
    TagLimitExceeded,
    #[error("{0}")]
    FilterPolicyLimitExceeded(String),
    #[error("{0}")]
    SubscriptionLimitExceeded(String),
    #[error("{0}")]
    TopicLimitExceeded(String),
    #[error("{0}")]
    InvalidState(String),
    #[error("Endpoint is disabled")]
    EndpointDisabled,
    #[error("Platform application is disabled")]
    PlatformApplicationDisabled,
    #[error("The batch request doesn't contain any entries.")]
    EmptyBatchRequest,
    #[error("The batch request contains more entries than permissible.")]
    TooManyEntriesInBatchRequest,
    #[error("Two or more batch entries in the request have the same Id.")]
    BatchEntryIdsNotDistinct,
    #[error("The Id of a batch entry in a batch request doesn't abide by the specification.")]
    InvalidBatchEntryId,
    #[error("The length of all the messages put together is more than the limit.")]
    BatchRequestTooLong,
    #[error("{0}")]
    Authorization(String),
    #[error("{message}")]
    Verification { message: String, status: &'static str },
    #[error("{0}")]
    UserError(String),
    /// What this cloud lacks, by name.
    #[error("pileus does not implement {0} yet")]
    Missing(String),
    /// From another service that was asked.
    #[error("{0}")]
    Other(Fault),
    /// A fault of ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SnsError {
    /// `Invalid parameter: {text}`
    pub fn invalid(text: impl Into<String>) -> SnsError {
        SnsError::InvalidParameter(text.into())
    }

    /// `Invalid parameter: {parameter} Reason: {reason}`
    pub fn reason(parameter: &str, reason: impl std::fmt::Display) -> SnsError {
        SnsError::InvalidParameter(format!("{parameter} Reason: {reason}"))
    }

    pub fn missing(what: impl Into<String>) -> SnsError {
        SnsError::Missing(what.into())
    }

    pub const NO_TOPIC: SnsError = SnsError::NotFound("Topic");
    pub const NO_SUBSCRIPTION: SnsError = SnsError::NotFound("Subscription");
    pub const NO_ENDPOINT: SnsError = SnsError::NotFound("Endpoint");
    pub const NO_APPLICATION: SnsError = SnsError::NotFound("PlatformApplication");

    /// The error's shape in the model.
    fn shape(&self) -> &'static str {
        match self {
            SnsError::InvalidParameter(_) => "InvalidParameterException",
            SnsError::ParameterValueInvalid(_) => "InvalidParameterValueException",
            SnsError::NotFound(_) => "NotFoundException",
            SnsError::ResourceNotFound => "ResourceNotFoundException",
            SnsError::TagLimitExceeded => "TagLimitExceededException",
            SnsError::FilterPolicyLimitExceeded(_) => "FilterPolicyLimitExceededException",
            SnsError::SubscriptionLimitExceeded(_) => "SubscriptionLimitExceededException",
            SnsError::TopicLimitExceeded(_) => "TopicLimitExceededException",
            SnsError::InvalidState(_) => "InvalidStateException",
            SnsError::EndpointDisabled => "EndpointDisabledException",
            SnsError::PlatformApplicationDisabled => "PlatformApplicationDisabledException",
            SnsError::EmptyBatchRequest => "EmptyBatchRequestException",
            SnsError::TooManyEntriesInBatchRequest => "TooManyEntriesInBatchRequestException",
            SnsError::BatchEntryIdsNotDistinct => "BatchEntryIdsNotDistinctException",
            SnsError::InvalidBatchEntryId => "InvalidBatchEntryIdException",
            SnsError::BatchRequestTooLong => "BatchRequestTooLongException",
            SnsError::Authorization(_) => "AuthorizationErrorException",
            SnsError::Verification { .. } => "VerificationException",
            SnsError::UserError(_) => "UserErrorException",
            SnsError::Missing(_) | SnsError::Other(_) | SnsError::Store(_) => "InternalErrorException",
        }
    }

    /// The code inside a batch's answer.
    pub fn entry_code(&self) -> &'static str {
        match self {
            SnsError::InvalidParameter(_) => "InvalidParameter",
            SnsError::ParameterValueInvalid(_) => "ParameterValueInvalid",
            _ => "InternalError",
        }
    }
}

impl From<Fault> for SnsError {
    fn from(fault: Fault) -> SnsError {
        SnsError::Other(fault)
    }
}

impl From<SnsError> for Fault {
    fn from(error: SnsError) -> Fault {
        match error {
            SnsError::Other(fault) => fault,
            SnsError::Missing(_) => Fault::framework("NotImplemented", 501, error.to_string()),
            SnsError::Store(StoreError::Contention { .. }) => {
                Fault::framework("ServiceUnavailable", 503, "The service is busy. Try again.")
            }
            SnsError::Store(cause) => {
                tracing::error!(error = %cause, "the store failed a request");
                Fault::receiver("InternalErrorException", "An internal error occurred. Try again.")
            }
            SnsError::Verification { message, status } => {
                let members = pileus_api_sns::VerificationException {
                    message: Some(message.clone()),
                    status: Some(status.to_owned()),
                };
                Fault::sender("VerificationException", message).with_members(members)
            }
            other => {
                let text = other.to_string();
                Fault::sender(other.shape(), text)
            }
        }
    }
}
