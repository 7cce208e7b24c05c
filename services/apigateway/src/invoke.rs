//! Calls that API Gateway makes for an integration or an authorizer.
//!
//! | File                | Holds                                                              |
//! |---------------------|--------------------------------------------------------------------|
//! | `invoke/function.rs`| a Lambda function, by its own policy or with a role                 |
//! | `invoke/backend.rs` | an HTTP backend                                                     |
//! | `invoke/policy.rs`  | what the policies of authorizers allow                              |

pub mod backend;
pub mod function;
pub mod policy;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use pileus_platform::{Cx, Fault};

use crate::PRINCIPAL;

/// Why an integration gave no answer.
#[derive(Debug)]
pub enum InvokeError {
    /// The address names nothing that can be called.
    Address(String),
    /// API Gateway may not: the function's policy does not let it in, or the role cannot be assumed or allows less.
    Forbidden(String),
    /// Longer than the integration's timeout.
    TimedOut,
    /// Too many at a time: Lambda's 429.
    Throttled,
    /// The function ended with an error: its payload.
    FunctionError(bytes::Bytes),
    /// Everything else, in words for the log.
    Failed(String),
}

impl std::fmt::Display for InvokeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InvokeError::Address(text) => write!(f, "Invalid endpoint address: {text}"),
            InvokeError::Forbidden(text) => write!(f, "Invalid permissions on integration target: {text}"),
            InvokeError::TimedOut => f.write_str("Endpoint request timed out"),
            InvokeError::Throttled => {
                f.write_str("The integration target answered that it has too many requests")
            }
            InvokeError::FunctionError(payload) => {
                write!(f, "Lambda function execution failed: {}", String::from_utf8_lossy(payload))
            }
            InvokeError::Failed(text) => f.write_str(text),
        }
    }
}

impl From<Fault> for InvokeError {
    fn from(fault: Fault) -> InvokeError {
        match (&*fault.code, fault.status) {
            ("TooManyRequestsException", _) => InvokeError::Throttled,
            ("AccessDeniedException" | "AccessDenied" | "InvalidClientTokenId", _) | (_, 403) => {
                InvokeError::Forbidden(fault.message)
            }
            _ => InvokeError::Failed(fault.to_string()),
        }
    }
}

/// Who makes the call: API Gateway in the name of `source_arn`, or a role that it was given.
///
/// # Errors
/// `Forbidden` when the role cannot be assumed.
pub async fn acting(
    cx: &Cx,
    credentials: Option<&str>,
    source_arn: &pileus_core::Arn,
) -> Result<Cx, InvokeError> {
    let service = cx.as_service(PRINCIPAL, source_arn);
    match credentials {
        None => Ok(service),
        Some(role) => Ok(service.as_role(role, PRINCIPAL, "BackplaneAssumeRoleSession").await?),
    }
}

/// Gives up after `timeout` on the node's clock. No timer is made for what is ready at once.
///
/// # Errors
/// `TimedOut`
pub async fn within<T>(
    cx: &Cx,
    timeout: Duration,
    work: impl Future<Output = Result<T, InvokeError>>,
) -> Result<T, InvokeError> {
    let mut work = pin!(work);
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return done;
    }
    let late = cx.clock().sleep_until(cx.clock().now() + timeout);
    tokio::select! {
        biased;
        done = work => done,
        () = late => Err(InvokeError::TimedOut),
    }
}
