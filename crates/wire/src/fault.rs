//! An error that a caller sees, before a protocol frames it.

use std::borrow::Cow;
use std::fmt;

use crate::value::Struct;

/// Code, status, text, and what else the error shape carries.
pub struct Fault {
    /// Error shape's name or code, as AWS documents it: `QueueDoesNotExist`.
    pub code: Cow<'static, str>,
    /// Empty: the member is left out.
    pub message: String,
    /// HTTP status; zero: what the model says of `code`, else 400 or 500 by `is_sender_fault`.
    pub status: u16,
    pub is_sender_fault: bool,
    pub origin: Origin,
    /// Values of the modelled error shape's members.
    pub members: Option<Box<dyn Struct>>,
    /// Unmodelled elements, such as S3's `BucketName`: siblings of the message.
    pub extras: Vec<(Cow<'static, str>, String)>,
    /// Headers of the answer, with lower-case names: `x-amz-bucket-region`.
    pub headers: Vec<(&'static str, String)>,
}

/// Which layer found the fault: services prefix `__type` by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service's own behaviour, with an error shape of its model.
    Modelled,
    /// Constraint validation (`com.amazon.coral.validate#`).
    Validation,
    /// The framework: serialization, signatures, unknown operations (`com.amazon.coral.service#`).
    Framework,
    /// Throttling and overload (`com.amazon.coral.availability#`).
    Availability,
}

impl Fault {
    /// A fault of the caller's that the service itself reports; the status comes from the model, else 400.
    pub fn sender(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Fault {
        Fault {
            code: code.into(),
            message: message.into(),
            status: 0,
            is_sender_fault: true,
            origin: Origin::Modelled,
            members: None,
            extras: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// A fault of ours; the status comes from the model, else 500.
    pub fn receiver(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Fault {
        Fault { is_sender_fault: false, ..Fault::sender(code, message) }
    }

    /// A fault of the caller's that the framework reports with a fixed status.
    pub fn framework(code: impl Into<Cow<'static, str>>, status: u16, message: impl Into<String>) -> Fault {
        Fault {
            status,
            origin: Origin::Framework,
            is_sender_fault: status < 500,
            ..Fault::sender(code, message)
        }
    }

    pub fn with_status(mut self, status: u16) -> Fault {
        self.status = status;
        self
    }

    pub fn with_members(mut self, members: impl Struct) -> Fault {
        self.members = Some(Box::new(members));
        self
    }

    pub fn with_extra(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Fault {
        self.extras.push((name.into(), value.into()));
        self
    }

    /// `name` in lower case. A value that no header can have is left out of the answer.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Fault {
        self.headers.push((name, value.into()));
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}
