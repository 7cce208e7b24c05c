//! Every error that a caller of STS can see.

use pileus_platform::Fault;

#[derive(Debug, thiserror::Error)]
pub enum StsError {
    /// AWS tells the same sentence for a role that is missing, so that nobody learns which exist.
    #[error("{0}")]
    AccessDenied(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("{0}")]
    MalformedPolicyDocument(String),
    #[error("Packed policy consumes {percent}% of allotted space, please use smaller policy.")]
    PackedPolicyTooLarge { percent: i64 },
    /// A web identity token that proves nothing.
    #[error("{0}")]
    InvalidIdentityToken(String),
    // Recorded: the missing space.
    #[error("Token expired: current date/time {now} must be before the expiration date/time{expired}")]
    ExpiredToken { now: i64, expired: i64 },
    /// The identity provider does not answer: worth another try.
    #[error("{0}")]
    IdpCommunication(String),
    // Chosen: the text.
    #[error("The encoded authorization message is not one of this cloud's.")]
    InvalidAuthorizationMessage,
    // Chosen: the texts of these three.
    #[error("Outbound web identity federation is not enabled for this account.")]
    OutboundWebIdentityFederationDisabled,
    #[error("The token would outlive the session that asks for it, which ends in {remaining} seconds.")]
    SessionDurationEscalation { remaining: i64 },
    #[error("The token would have {size} characters, more than {maximum}. Pass fewer tags or audiences.")]
    JwtPayloadSizeExceeded { size: usize, maximum: usize },
    #[error("{0}")]
    NotSupported(String),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<StsError> for Fault {
    fn from(error: StsError) -> Fault {
        let message = error.to_string();
        let sender = |code: &'static str, message| Fault::sender(code, message).with_status(400);
        match error {
            StsError::AccessDenied(_) => Fault::framework("AccessDenied", 403, message),
            StsError::Validation(_) => Fault::framework("ValidationError", 400, message),
            StsError::InvalidParameterValue(_) => Fault::framework("InvalidParameterValue", 400, message),
            StsError::MalformedPolicyDocument(_) => sender("MalformedPolicyDocument", message),
            StsError::PackedPolicyTooLarge { .. } => sender("PackedPolicyTooLarge", message),
            StsError::InvalidIdentityToken(_) => sender("InvalidIdentityToken", message),
            StsError::ExpiredToken { .. } => sender("ExpiredTokenException", message),
            StsError::IdpCommunication(_) => sender("IDPCommunicationError", message),
            StsError::InvalidAuthorizationMessage => sender("InvalidAuthorizationMessageException", message),
            StsError::OutboundWebIdentityFederationDisabled => {
                sender("OutboundWebIdentityFederationDisabledException", message).with_status(403)
            }
            StsError::SessionDurationEscalation { .. } => {
                sender("SessionDurationEscalationException", message).with_status(403)
            }
            StsError::JwtPayloadSizeExceeded { .. } => sender("JWTPayloadSizeExceededException", message),
            StsError::NotSupported(_) => Fault::framework("NotImplemented", 501, message),
            StsError::Fault(fault) => fault,
        }
    }
}
