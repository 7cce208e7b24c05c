//! Every error that a caller of API Gateway's control planes can see.

use pileus_api_apigatewayv2 as v2;
use pileus_platform::Fault;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("Too Many Requests")]
    TooManyRequests,
    #[error("{0}")]
    AccessDenied(String),
    /// No client is connected by that id any more.
    #[error("{0}")]
    Gone(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    PayloadTooLarge(String),
    /// What this cloud lacks, by name.
    #[error("pileus does not do {0} yet. docs/services/apigateway.md and apigatewayv2.md list what it does.")]
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

impl GatewayError {
    pub fn bad(text: impl Into<String>) -> GatewayError {
        GatewayError::BadRequest(text.into())
    }

    pub fn missing(what: impl Into<String>) -> GatewayError {
        GatewayError::NotImplemented(what.into())
    }

    /// The code as the models name it.
    pub fn code(&self) -> &str {
        match self {
            GatewayError::NotFound(_) => "NotFoundException",
            GatewayError::BadRequest(_) => "BadRequestException",
            GatewayError::Conflict(_) => "ConflictException",
            GatewayError::LimitExceeded(_) => "LimitExceededException",
            GatewayError::TooManyRequests => "TooManyRequestsException",
            GatewayError::AccessDenied(_) => "AccessDeniedException",
            GatewayError::Gone(_) => "GoneException",
            GatewayError::Forbidden(_) => "ForbiddenException",
            GatewayError::PayloadTooLarge(_) => "PayloadTooLargeException",
            GatewayError::NotImplemented(_) => "NotImplemented",
            GatewayError::Fault(fault) => &fault.code,
            GatewayError::Store(StoreError::Contention { .. }) => "TooManyRequestsException",
            GatewayError::Store(_) | GatewayError::Internal(_) => "InternalServerErrorException",
        }
    }
}

impl From<Fault> for GatewayError {
    fn from(fault: Fault) -> GatewayError {
        GatewayError::Fault(fault)
    }
}

impl From<GatewayError> for Fault {
    fn from(error: GatewayError) -> Fault {
        let (code, message) = (error.code().to_owned(), error.to_string());
        match error {
            GatewayError::Fault(fault) => fault,
            GatewayError::Store(StoreError::Contention { .. }) => {
                Fault::framework(code, 429, "Too Many Requests")
            }
            GatewayError::Store(_) | GatewayError::Internal(_) => {
                tracing::error!(error = %message, "a request to API Gateway failed within this node");
                Fault::framework(code, 500, "Internal server error")
            }
            // The models give them statuses of their own only in part.
            GatewayError::NotFound(_) => Fault::framework(code, 404, message),
            GatewayError::BadRequest(_) => Fault::framework(code, 400, message),
            GatewayError::Conflict(_) => Fault::framework(code, 409, message),
            GatewayError::LimitExceeded(_) | GatewayError::TooManyRequests => {
                Fault::framework(code, 429, message)
            }
            GatewayError::AccessDenied(_) | GatewayError::Forbidden(_) => {
                Fault::framework(code, 403, message)
            }
            GatewayError::Gone(_) => Fault::framework(code, 410, message),
            GatewayError::PayloadTooLarge(_) => Fault::framework(code, 413, message),
            GatewayError::NotImplemented(_) => Fault::framework(code, 501, message),
        }
    }
}

/// What API v2 says of something that is not there.
///
/// Source: "Console: Issue with API Gateway state management (part 2)" (anomalyco/sst 5059), which has the sentence for an API, named by
/// account and id, without a full stop. Chosen: the same for everything else; no report of AWS's own words was found.
pub fn no_such(kind: &str, id: &str) -> GatewayError {
    let message = format!("Invalid {kind} identifier specified {id}");
    let members = v2::NotFoundException { message: None, resource_type: None };
    GatewayError::Fault(Fault::framework("NotFoundException", 404, message).with_members(members))
}
