//! Lambda functions as integrations and authorizers.
//!
//! Source: API Gateway Developer Guide, "Lambda proxy integrations in API Gateway", "Create AWS Lambda proxy integrations for HTTP APIs";
//! Lambda Developer Guide, "Invoking a Lambda function using an Amazon API Gateway endpoint" (permissions).

use std::time::Duration;

use bytes::Bytes;
use pileus_api_lambda as lambda;
use pileus_core::Arn;
use pileus_platform::Cx;

use super::{InvokeError, acting, within};

pub struct FunctionCall<'a> {
    /// Name, version or alias by ARN.
    pub function: &'a str,
    pub payload: Bytes,
    /// A role to call with; without one the function's own policy must let API Gateway in.
    pub credentials: Option<&'a str>,
    /// `arn:aws:execute-api:..:{api}/{stage}/{method}/{path}`: what a policy's `aws:SourceArn` is compared with.
    pub source: &'a Arn,
    pub timeout: Duration,
}

/// The function that an integration's address names: its ARN, or `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations`.
pub fn of_uri(uri: &str) -> Option<&str> {
    if uri.starts_with("arn:") && uri.split(':').nth(2) == Some("lambda") {
        return Some(uri);
    }
    let (head, path) = uri.split_once(":path/")?;
    let is_lambda = head.starts_with("arn:") && head.ends_with(":lambda");
    let (_, rest) = path.split_once("/functions/")?;
    let (function, after) =
        rest.split_once("/invocations").or_else(|| rest.split_once("/response-streaming-invocations"))?;
    (is_lambda && after.is_empty()).then_some(function)
}

/// Calls the function and waits for its answer.
///
/// # Errors
/// Every way in which there is none.
pub async fn invoke(cx: &Cx, call: FunctionCall<'_>) -> Result<Bytes, InvokeError> {
    let caller = acting(cx, call.credentials, call.source).await?;
    let input = lambda::InvocationRequest {
        function_name: Some(call.function.to_owned()),
        payload: Some(call.payload),
        ..Default::default()
    };
    let answer = within(cx, call.timeout, async { Ok(caller.call(lambda::INVOKE, input).await?) }).await?;
    let payload = answer.payload.unwrap_or_default();
    match answer.function_error {
        Some(_) => Err(InvokeError::FunctionError(payload)),
        None => Ok(payload),
    }
}

/// Leaves an event for the function (`X-Amz-Invocation-Type: Event`).
///
/// # Errors
/// Every way in which it was not taken.
pub async fn leave_event(cx: &Cx, call: FunctionCall<'_>) -> Result<(), InvokeError> {
    let caller = acting(cx, call.credentials, call.source).await?;
    let input = lambda::InvocationRequest {
        function_name: Some(call.function.to_owned()),
        invocation_type: Some("Event".to_owned()),
        payload: Some(call.payload),
        ..Default::default()
    };
    within(cx, call.timeout, async { Ok(caller.call(lambda::INVOKE, input).await?) }).await?;
    Ok(())
}

/// Calls the function and hands its answer on as it comes; `timeout` bounds the time until it begins.
///
/// # Errors
/// Every way in which there is none.
pub async fn stream(
    cx: &Cx,
    call: FunctionCall<'_>,
) -> Result<lambda::InvokeWithResponseStreamResponse, InvokeError> {
    let caller = acting(cx, call.credentials, call.source).await?;
    let input = lambda::InvokeWithResponseStreamRequest {
        function_name: Some(call.function.to_owned()),
        payload: Some(call.payload),
        ..Default::default()
    };
    let timeout = call.timeout;
    let call = async { Ok(caller.call(lambda::INVOKE_WITH_RESPONSE_STREAM, input).await?) };
    within(cx, timeout, call).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_by_its_arn_or_by_an_address_of_lambda() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f:live";
        let path = |action: &str| {
            format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/{action}")
        };
        assert_eq!(of_uri(arn), Some(arn));
        assert_eq!(of_uri(&path("invocations")), Some(arn));
        assert_eq!(of_uri(&path("other")), None);
        assert_eq!(of_uri("arn:aws:apigateway:us-east-1:sqs:path/1/q"), None);
        assert_eq!(of_uri("https://example.com/functions/x/invocations"), None);
    }
}
