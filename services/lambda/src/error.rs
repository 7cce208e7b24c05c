//! Every error that a caller of Lambda can see: its code, status and sentence.
//!
//! Recorded: the sentences, from AWS's answers in public test recordings of Lambda clients, where they are not in the API
//! Reference.

use pileus_platform::Fault;
use pileus_store::StoreError;
use pileus_wire::fault::Origin;

#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("{0}")]
    ResourceConflict(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("{0}")]
    PreconditionFailed(String),
    #[error("{0}")]
    InvalidRequestContent(String),
    /// A constraint of the model that only the service can judge.
    #[error("1 validation error detected: {0}")]
    Validation(String),
    #[error("{0}")]
    RequestTooLarge(String),
    #[error("Request must be smaller than {limit} bytes for the {operation} operation")]
    RequestEntityTooLarge { limit: usize, operation: &'static str },
    #[error("No Provisioned Concurrency Config found for this function")]
    ProvisionedConcurrencyConfigNotFound,
    #[error("The final policy size ({size}) is bigger than the limit (20480).")]
    PolicyLengthExceeded { size: usize },
    #[error("Code storage limit exceeded.")]
    CodeStorageExceeded,
    /// A limit on simultaneous executions, or on requests.
    #[error("Rate Exceeded.")]
    TooManyRequests { reason: &'static str },
    #[error("{0}")]
    InvalidRuntime(String),
    #[error("{0}")]
    AccessDenied(String),
    /// What this cloud lacks, by name.
    #[error("pileus does not do {0} yet. docs/services/lambda.md lists what it does.")]
    NotImplemented(String),
    /// What another service answered.
    #[error("{0}")]
    Fault(Fault),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LambdaError {
    pub fn invalid(text: impl Into<String>) -> LambdaError {
        LambdaError::InvalidParameterValue(text.into())
    }

    pub fn no_function(arn: impl std::fmt::Display) -> LambdaError {
        LambdaError::ResourceNotFound(format!("Function not found: {arn}"))
    }

    pub fn no_alias(arn: impl std::fmt::Display) -> LambdaError {
        LambdaError::ResourceNotFound(format!("Cannot find alias arn: {arn}"))
    }

    /// For what has no sentence of its own.
    pub fn not_there() -> LambdaError {
        LambdaError::ResourceNotFound("The resource you requested does not exist.".to_owned())
    }

    pub fn stale_revision() -> LambdaError {
        LambdaError::PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id".to_owned(),
        )
    }

    pub fn missing(what: &str) -> LambdaError {
        LambdaError::NotImplemented(what.to_owned())
    }

    /// The code as the model names it.
    pub fn code(&self) -> &str {
        match self {
            LambdaError::ResourceNotFound(_) => "ResourceNotFoundException",
            LambdaError::InvalidParameterValue(_) => "InvalidParameterValueException",
            LambdaError::ResourceConflict(_) => "ResourceConflictException",
            LambdaError::ResourceInUse(_) => "ResourceInUseException",
            LambdaError::PreconditionFailed(_) => "PreconditionFailedException",
            LambdaError::InvalidRequestContent(_) => "InvalidRequestContentException",
            LambdaError::Validation(_) => "ValidationException",
            LambdaError::RequestTooLarge(_) => "RequestTooLargeException",
            LambdaError::RequestEntityTooLarge { .. } => "RequestEntityTooLargeException",
            LambdaError::ProvisionedConcurrencyConfigNotFound => {
                "ProvisionedConcurrencyConfigNotFoundException"
            }
            LambdaError::PolicyLengthExceeded { .. } => "PolicyLengthExceededException",
            LambdaError::CodeStorageExceeded => "CodeStorageExceededException",
            LambdaError::TooManyRequests { .. } => "TooManyRequestsException",
            LambdaError::InvalidRuntime(_) => "InvalidRuntimeException",
            LambdaError::AccessDenied(_) => "AccessDeniedException",
            LambdaError::NotImplemented(_) => "NotImplemented",
            LambdaError::Fault(fault) => &fault.code,
            LambdaError::Store(StoreError::Contention { .. }) => "TooManyRequestsException",
            LambdaError::Store(_) | LambdaError::Internal(_) => "ServiceException",
        }
    }
}

impl From<Fault> for LambdaError {
    fn from(fault: Fault) -> LambdaError {
        LambdaError::Fault(fault)
    }
}

impl From<pileus_blobs::BlobError> for LambdaError {
    fn from(error: pileus_blobs::BlobError) -> LambdaError {
        LambdaError::Internal(error.to_string())
    }
}

impl From<LambdaError> for Fault {
    fn from(error: LambdaError) -> Fault {
        let (code, message) = (error.code().to_owned(), error.to_string());
        match error {
            LambdaError::Fault(fault) => fault,
            LambdaError::Store(StoreError::Contention { .. }) => Fault::sender(code, "Rate exceeded"),
            LambdaError::Store(_) | LambdaError::Internal(_) => {
                tracing::error!(error = %message, "a request to Lambda failed within this node");
                Fault::receiver(code, "An error occurred and the request cannot be processed.")
            }
            LambdaError::InvalidRuntime(_) => Fault::receiver(code, message),
            LambdaError::TooManyRequests { reason } => {
                Fault::sender(code, message).with_members(pileus_api_lambda::TooManyRequestsException {
                    reason: Some(reason.to_owned()),
                    ..Default::default()
                })
            }
            LambdaError::RequestEntityTooLarge { .. } => Fault::framework(code, 413, message),
            LambdaError::Validation(_) => {
                Fault { origin: Origin::Validation, ..Fault::framework(code, 400, message) }
            }
            LambdaError::AccessDenied(_) => Fault::framework(code, 403, message),
            LambdaError::NotImplemented(_) => Fault::framework(code, 501, message),
            _ => Fault::sender(code, message),
        }
    }
}
