//! Deliveries to Lambda: asynchronous invocations. The function's own retries and destinations come after.
//!
//! Source: AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications".

use pileus_api_lambda as lambda;
use pileus_core::{Arn, Region};
use pileus_platform::Cx;

use super::{Letter, Outcome};
use crate::envelope::Signature;
use crate::subscription::Subscription;

pub async fn invoke(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    body: &str,
    signature: Option<&Signature>,
) -> Outcome {
    let event =
        letter.notification(cx, &own.arn, body, signature, |notification| notification.event(&own.arn));
    let input = lambda::InvocationRequest {
        function_name: Some(own.record.endpoint.clone()),
        invocation_type: Some("Event".to_owned()),
        payload: Some(event.to_string().into()),
        ..lambda::InvocationRequest::default()
    };
    let region = Arn::parse(&own.record.endpoint).ok().and_then(|arn| Region::parse(arn.region()));
    let cx = region.map_or_else(|| cx.clone(), |region| cx.with_region(region));
    match cx.call(lambda::INVOKE, input).await {
        Ok(answer) => {
            let status = answer.status_code.and_then(|status| u16::try_from(status).ok()).unwrap_or(202);
            Outcome::Done { status, answer: "{}".to_owned() }
        }
        Err(fault) => Outcome::of_fault(&fault),
    }
}
