//! Every error that a caller of CloudWatch Logs can see: its code and sentence.
//!
//! Recorded: the sentences, from AWS's answers in public test recordings of its clients, where they are not in the API
//! Reference.

use pileus_api_logs::{MalformedQueryException, QueryCompileError, QueryCompileErrorLocation};
use pileus_platform::Fault;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error("The specified log group does not exist.")]
    GroupNotFound,
    #[error("The specified log stream does not exist.")]
    StreamNotFound,
    #[error("{0}")]
    NotFound(String),
    #[error("The specified log group already exists")]
    GroupExists,
    #[error("The specified log stream already exists")]
    StreamExists,
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    Validation(String),
    #[error("Resource limit exceeded.")]
    LimitExceeded,
    #[error("{0}")]
    TooManyTags(String),
    #[error("{0}")]
    InvalidOperation(String),
    #[error("{0}")]
    AccessDenied(String),
    /// `start..end` are characters of the query.
    #[error("{message}")]
    MalformedQuery { message: String, start: usize, end: usize },
    /// What this cloud lacks, by name.
    #[error("pileus does not do {0} yet. docs/services/logs.md lists what it does.")]
    NotImplemented(String),
    /// A fault of ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LogsError {
    pub fn invalid(text: impl Into<String>) -> LogsError {
        LogsError::InvalidParameter(text.into())
    }

    pub fn lacking(what: impl Into<String>) -> LogsError {
        LogsError::NotImplemented(what.into())
    }

    pub fn bad_token() -> LogsError {
        LogsError::invalid("The specified nextToken is invalid.")
    }

    fn code(&self) -> &'static str {
        match self {
            LogsError::GroupNotFound | LogsError::StreamNotFound | LogsError::NotFound(_) => {
                "ResourceNotFoundException"
            }
            LogsError::GroupExists | LogsError::StreamExists => "ResourceAlreadyExistsException",
            LogsError::InvalidParameter(_) => "InvalidParameterException",
            LogsError::Validation(_) => "ValidationException",
            LogsError::LimitExceeded => "LimitExceededException",
            LogsError::TooManyTags(_) => "TooManyTagsException",
            LogsError::InvalidOperation(_) => "InvalidOperationException",
            LogsError::AccessDenied(_) => "AccessDeniedException",
            LogsError::MalformedQuery { .. } => "MalformedQueryException",
            LogsError::NotImplemented(_) => "NotImplemented",
            LogsError::Store(_) => "ServiceUnavailableException",
        }
    }
}

impl From<LogsError> for Fault {
    fn from(error: LogsError) -> Fault {
        let (code, message) = (error.code(), error.to_string());
        match error {
            LogsError::NotImplemented(_) => Fault::framework(code, 501, message),
            LogsError::Store(error) => {
                tracing::error!(%error, "the store failed a request");
                Fault::receiver(code, "The service cannot complete the request.")
            }
            LogsError::MalformedQuery { message, start, end } => {
                let location = QueryCompileErrorLocation {
                    start_char_offset: Some(start as i64),
                    end_char_offset: Some(end as i64),
                };
                let compile = QueryCompileError { location: Some(location), message: Some(message.clone()) };
                Fault::sender(code, message)
                    .with_members(MalformedQueryException { query_compile_error: Some(compile) })
            }
            _ => Fault::sender(code, message),
        }
    }
}
