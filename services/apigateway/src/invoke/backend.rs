//! HTTP backends.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pileus_platform::{Cx, OutboundError, OutboundRequest};

use super::{InvokeError, within};

/// Source: "Quotas for configuring and running a REST API in API Gateway" (payload size).
pub const MAX_ANSWER: usize = 10 << 20;

/// Sends a request to a backend and takes its whole answer, whatever its status.
///
/// # Errors
/// Every way in which there is none.
pub async fn send(
    cx: &Cx,
    request: Request<Bytes>,
    timeout: Duration,
) -> Result<Response<Bytes>, InvokeError> {
    let outbound = cx.platform().outbound();
    let request = OutboundRequest::new(request, MAX_ANSWER, timeout);
    within(cx, timeout, async { outbound.send(request).await.map_err(InvokeError::from) }).await
}

impl From<OutboundError> for InvokeError {
    fn from(error: OutboundError) -> InvokeError {
        match error {
            OutboundError::TimedOut => InvokeError::TimedOut,
            OutboundError::Address(address) => InvokeError::Address(address),
            other => InvokeError::Failed(other.to_string()),
        }
    }
}
