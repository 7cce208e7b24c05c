//! Every error that a caller of S3 can see: its code, status and sentence, and what else its document tells.
//!
//! Source: Amazon S3 API Reference, "Error responses". Recorded: the sentences that it does not give.

use std::borrow::Cow;

use pileus_platform::Fault;
use pileus_platform::blobs::BlobError;
use pileus_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    #[error("The specified bucket does not exist")]
    NoSuchBucket { bucket: String },
    #[error("The specified bucket is not valid.")]
    InvalidBucketName { bucket: String },
    #[error(
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
    )]
    BucketAlreadyExists { bucket: String },
    #[error("Your previous request to create the named bucket succeeded and you already own it.")]
    BucketAlreadyOwnedByYou { bucket: String },
    #[error("The bucket you tried to delete is not empty")]
    BucketNotEmpty { bucket: String },
    #[error("The specified key does not exist.")]
    NoSuchKey { key: String },
    #[error("The specified version does not exist.")]
    NoSuchVersion { key: String, version: String },
    #[error(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )]
    NoSuchUpload { upload: String },
    #[error("At least one of the pre-conditions you specified did not hold")]
    PreconditionFailed { condition: &'static str },
    #[error("Not Modified")]
    NotModified,
    #[error("The specified method is not allowed against this resource.")]
    MethodNotAllowed { method: &'static str, resource: &'static str },
    #[error("Access Denied")]
    AccessDenied,
    /// An argument, its value, and what is wrong.
    #[error("{message}")]
    InvalidArgument { name: Cow<'static, str>, value: String, message: Cow<'static, str> },
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    #[error("The XML you provided was not well-formed or did not validate against our published schema")]
    MalformedXml,
    /// What this cloud lacks, by name.
    #[error("A header or query you provided implies functionality that is not implemented: {0}.")]
    NotImplemented(Cow<'static, str>),
    /// A code with its status, sentence and further elements, for what is said in one place only.
    #[error("{message}")]
    Refused {
        code: &'static str,
        status: u16,
        message: Cow<'static, str>,
        extras: Vec<(&'static str, String)>,
    },
    /// Found by another layer.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// Faults of ours.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{0}")]
    Internal(String),
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> S3Error {
        S3Error::Fault(Box::new(fault))
    }
}

impl S3Error {
    pub fn argument(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> S3Error {
        S3Error::InvalidArgument { name: name.into(), value: value.into(), message: message.into() }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error::InvalidRequest(message.into())
    }

    pub fn lacking(what: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error::NotImplemented(what.into())
    }

    pub fn refused(code: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error::Refused { code, status, message: message.into(), extras: Vec::new() }
    }

    /// Adds an element to the error's document.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> S3Error {
        if let S3Error::Refused { extras, .. } = &mut self {
            extras.push((name, value.into()));
        }
        self
    }

    pub fn code(&self) -> &str {
        match self {
            S3Error::NoSuchBucket { .. } => "NoSuchBucket",
            S3Error::InvalidBucketName { .. } => "InvalidBucketName",
            S3Error::BucketAlreadyExists { .. } => "BucketAlreadyExists",
            S3Error::BucketAlreadyOwnedByYou { .. } => "BucketAlreadyOwnedByYou",
            S3Error::BucketNotEmpty { .. } => "BucketNotEmpty",
            S3Error::NoSuchKey { .. } => "NoSuchKey",
            S3Error::NoSuchVersion { .. } => "NoSuchVersion",
            S3Error::NoSuchUpload { .. } => "NoSuchUpload",
            S3Error::PreconditionFailed { .. } => "PreconditionFailed",
            S3Error::NotModified => "NotModified",
            S3Error::MethodNotAllowed { .. } => "MethodNotAllowed",
            S3Error::AccessDenied => "AccessDenied",
            S3Error::InvalidArgument { .. } => "InvalidArgument",
            S3Error::InvalidRequest(_) => "InvalidRequest",
            S3Error::MalformedXml => "MalformedXML",
            S3Error::NotImplemented(_) => "NotImplemented",
            S3Error::Refused { code, .. } => code,
            S3Error::Fault(fault) => &fault.code,
            S3Error::Store(_) => "ServiceUnavailable",
            S3Error::Blob(_) | S3Error::Internal(_) => "InternalError",
        }
    }

    fn status(&self) -> u16 {
        match self {
            S3Error::NoSuchBucket { .. }
            | S3Error::NoSuchKey { .. }
            | S3Error::NoSuchVersion { .. }
            | S3Error::NoSuchUpload { .. } => 404,
            S3Error::BucketAlreadyExists { .. }
            | S3Error::BucketAlreadyOwnedByYou { .. }
            | S3Error::BucketNotEmpty { .. } => 409,
            S3Error::PreconditionFailed { .. } => 412,
            S3Error::NotModified => 304,
            S3Error::MethodNotAllowed { .. } => 405,
            S3Error::AccessDenied => 403,
            S3Error::NotImplemented(_) => 501,
            S3Error::Refused { status, .. } => *status,
            S3Error::Fault(fault) => fault.status,
            S3Error::Store(_) => 503,
            S3Error::Blob(_) | S3Error::Internal(_) => 500,
            S3Error::InvalidBucketName { .. }
            | S3Error::InvalidArgument { .. }
            | S3Error::InvalidRequest(_)
            | S3Error::MalformedXml => 400,
        }
    }

    /// Elements beside the message, and headers.
    fn describe(self, fault: Fault) -> Fault {
        match self {
            S3Error::NoSuchBucket { bucket }
            | S3Error::InvalidBucketName { bucket }
            | S3Error::BucketAlreadyExists { bucket }
            | S3Error::BucketAlreadyOwnedByYou { bucket }
            | S3Error::BucketNotEmpty { bucket } => fault.with_extra("BucketName", bucket),
            S3Error::NoSuchKey { key } => fault.with_extra("Key", key),
            S3Error::NoSuchVersion { key, version } => {
                fault.with_extra("Key", key).with_extra("VersionId", version)
            }
            S3Error::NoSuchUpload { upload } => fault.with_extra("UploadId", upload),
            S3Error::PreconditionFailed { condition } => fault.with_extra("Condition", condition),
            S3Error::MethodNotAllowed { method, resource } => {
                fault.with_extra("Method", method).with_extra("ResourceType", resource)
            }
            S3Error::InvalidArgument { name, value, .. } => {
                fault.with_extra("ArgumentName", name).with_extra("ArgumentValue", value)
            }
            S3Error::Refused { extras, .. } => {
                extras.into_iter().fold(fault, |fault, (name, value)| fault.with_extra(name, value))
            }
            _ => fault,
        }
    }
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Fault {
        let message = match &error {
            S3Error::Store(StoreError::Contention { .. }) => "Please reduce your request rate.".to_owned(),
            S3Error::Store(error) => {
                tracing::error!(%error, "the store failed a request");
                "Service is unable to handle request.".to_owned()
            }
            S3Error::Blob(error) => {
                tracing::error!(%error, "blob storage failed a request");
                "We encountered an internal error. Please try again.".to_owned()
            }
            S3Error::Internal(error) => {
                tracing::error!(%error, "a request failed");
                "We encountered an internal error. Please try again.".to_owned()
            }
            other => other.to_string(),
        };
        let (code, status) = (error.code().to_owned(), error.status());
        match error {
            S3Error::Fault(fault) => *fault,
            S3Error::Store(StoreError::Contention { .. }) => Fault::framework("SlowDown", 503, message),
            error => error.describe(Fault::framework(code, status, message)),
        }
    }
}
