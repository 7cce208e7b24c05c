//! Every error that a caller of IAM can see.
//!
//! The sentences are AWS's own, because scripts and infrastructure tools match on them. Source: IAM API Reference, "Errors" of each
//! operation (codes and status); the texts are those that AWS's service answers with.

use pileus_platform::Fault;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum IamError {
    #[error("{0}")]
    AccessDenied(String),
    #[error("{0}")]
    DeleteConflict(&'static str),
    #[error("{0}")]
    DuplicateCertificate(String),
    #[error("The SSH public key is already associated with the user.")]
    DuplicateSshPublicKey,
    #[error("{0}")]
    EntityAlreadyExists(String),
    #[error("Authentication code for device is not valid.")]
    InvalidAuthenticationCode,
    // Chosen: both texts.
    #[error("Outbound web identity federation is not enabled for this account.")]
    FeatureDisabled,
    #[error("Outbound web identity federation is already enabled for this account.")]
    FeatureEnabled,
    #[error("{0}")]
    InvalidInput(String),
    #[error("The public key is malformed or otherwise invalid.")]
    InvalidPublicKey,
    #[error("{0}")]
    InvalidUserType(&'static str),
    #[error("The private key does not match the certificate.")]
    KeyPairMismatch,
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    MalformedCertificate(String),
    #[error("{0}")]
    MalformedPolicyDocument(String),
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    NotSupportedService(String),
    #[error("{0}")]
    PasswordPolicyViolation(&'static str),
    #[error("{0}")]
    PolicyNotAttachable(String),
    #[error("The credential report has expired. Generate a new one.")]
    ReportExpired,
    #[error("No report exists. Generate one first.")]
    ReportNotPresent,
    #[error("{0}")]
    UnmodifiableEntity(String),
    #[error("The public key's encoding is not the one that was asked for.")]
    UnrecognizedPublicKeyEncoding,
    #[error("{0}")]
    ValidationError(String),
    /// A parameter or a part of an operation that this release lacks: refused by name.
    #[error("pileus does not implement {0} yet")]
    NotImplemented(&'static str),
    /// A fault of ours: logged in full, sent as `ServiceFailure`.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IamError {
    /// Code on the wire and HTTP status.
    pub fn code(&self) -> (&'static str, u16) {
        match self {
            IamError::AccessDenied(_) => ("AccessDenied", 403),
            IamError::DeleteConflict(_) => ("DeleteConflict", 409),
            IamError::DuplicateCertificate(_) => ("DuplicateCertificate", 409),
            IamError::DuplicateSshPublicKey => ("DuplicateSSHPublicKey", 400),
            IamError::EntityAlreadyExists(_) => ("EntityAlreadyExists", 409),
            IamError::InvalidAuthenticationCode => ("InvalidAuthenticationCode", 403),
            IamError::FeatureDisabled => ("FeatureDisabled", 404),
            IamError::FeatureEnabled => ("FeatureEnabled", 409),
            IamError::InvalidInput(_) => ("InvalidInput", 400),
            IamError::InvalidPublicKey => ("InvalidPublicKey", 400),
            IamError::InvalidUserType(_) => ("InvalidUserType", 400),
            IamError::KeyPairMismatch => ("KeyPairMismatch", 400),
            IamError::LimitExceeded(_) => ("LimitExceeded", 409),
            IamError::MalformedCertificate(_) => ("MalformedCertificate", 400),
            IamError::MalformedPolicyDocument(_) => ("MalformedPolicyDocument", 400),
            IamError::NoSuchEntity(_) => ("NoSuchEntity", 404),
            IamError::NotSupportedService(_) => ("NotSupportedService", 404),
            IamError::PasswordPolicyViolation(_) => ("PasswordPolicyViolation", 400),
            IamError::PolicyNotAttachable(_) => ("PolicyNotAttachable", 400),
            IamError::ReportExpired => ("ReportExpired", 410),
            IamError::ReportNotPresent => ("ReportNotPresent", 410),
            IamError::UnmodifiableEntity(_) => ("UnmodifiableEntity", 400),
            IamError::UnrecognizedPublicKeyEncoding => ("UnrecognizedPublicKeyEncoding", 400),
            IamError::ValidationError(_) => ("ValidationError", 400),
            IamError::NotImplemented(_) => ("NotImplemented", 501),
            IamError::Store(StoreError::Contention { .. }) => ("ConcurrentModification", 409),
            IamError::Store(StoreError::Unavailable { .. }) => ("ServiceUnavailable", 503),
            IamError::Store(_) => ("ServiceFailure", 500),
        }
    }

    pub fn no_user(name: &str) -> IamError {
        IamError::NoSuchEntity(format!("The user with name {name} cannot be found."))
    }

    pub fn no_group(name: &str) -> IamError {
        IamError::NoSuchEntity(format!("The group with name {name} cannot be found."))
    }

    pub fn no_role(name: &str) -> IamError {
        IamError::NoSuchEntity(format!("The role with name {name} cannot be found."))
    }

    pub fn no_instance_profile(name: &str) -> IamError {
        IamError::NoSuchEntity(format!("Instance Profile {name} cannot be found."))
    }

    pub fn no_policy(arn: &str) -> IamError {
        IamError::NoSuchEntity(format!("Policy {arn} was not found."))
    }

    pub fn no_attachable_policy(arn: &str) -> IamError {
        IamError::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable."))
    }

    pub fn no_policy_version(arn: &str, version: &str) -> IamError {
        IamError::NoSuchEntity(format!("Policy {arn} version {version} does not exist or is not attachable."))
    }

    pub fn no_access_key(id: &str) -> IamError {
        IamError::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
    }

    pub fn no_login_profile(user: &str) -> IamError {
        IamError::NoSuchEntity(format!("Login Profile for User {user} cannot be found."))
    }

    pub fn invalid_arn(arn: &str) -> IamError {
        IamError::ValidationError(format!("ARN {arn} is not valid."))
    }

    pub fn quota(name: &str, limit: usize) -> IamError {
        IamError::LimitExceeded(format!("Cannot exceed quota for {name}: {limit}"))
    }

    /// A required member that validation has already demanded.
    pub fn missing(member: &str) -> IamError {
        IamError::ValidationError(format!("The request must contain the parameter {member}."))
    }
}

impl From<IamError> for Fault {
    fn from(error: IamError) -> Fault {
        let (code, status) = error.code();
        if status < 500 {
            return Fault::sender(code, error.to_string()).with_status(status);
        }
        let message = match &error {
            IamError::Store(store) => {
                tracing::error!(error = %store, "the identity store failed");
                "The request processing has failed because of an unknown error.".to_owned()
            }
            _ => error.to_string(),
        };
        Fault::receiver(code, message).with_status(status)
    }
}
