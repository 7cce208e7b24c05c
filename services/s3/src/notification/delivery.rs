//! Destinations of events: whether they take them, and sending. S3 calls them in its own name, so their policies must let
//! `s3.amazonaws.com` in; the bucket is the source of the call.
//!
//! Source: Amazon S3 User Guide, "Granting permissions to publish event notification messages to a destination".

use pileus_api_lambda as lambda;
use pileus_api_sns as sns;
use pileus_api_sqs as sqs;
use pileus_core::{AccountId, Arn, Region};
use pileus_platform::{Access, Caller, Cx, Fault};

use serde::{Deserialize, Serialize};

use super::rules::Kind;
use crate::bucket::Bucket;
use crate::error::S3Error;

const PRINCIPAL: &str = "s3.amazonaws.com";

/// The bucket whose events they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub bucket: String,
    pub owner: AccountId,
    pub region: Region,
}

impl Source {
    pub fn of(bucket: &Bucket) -> Source {
        Source { bucket: bucket.name.clone(), owner: bucket.owner, region: bucket.region.clone() }
    }
}

/// The context of calls that S3 makes because of a bucket.
fn as_bucket(cx: &Cx, from: &Source, destination: &Arn) -> Cx {
    let source = Arn::new(from.region.partition(), "s3", "", "", &from.bucket);
    let region = Region::parse(destination.region()).unwrap_or_else(|| from.region.clone());
    cx.with_caller(Caller::service(PRINCIPAL, from.owner)).as_service(PRINCIPAL, &source).with_region(region)
}

/// What `PutBucketNotificationConfiguration` says of a destination that does not take events.
///
/// Recorded.
pub fn not_valid(arn: &str, reason: &impl std::fmt::Display) -> S3Error {
    tracing::debug!(arn, %reason, "a destination does not take events");
    S3Error::argument(arn.to_owned(), "null", "Unable to validate the following destination configurations")
}

/// Whether a destination is there and lets S3 in.
///
/// # Errors
/// `InvalidArgument`
pub async fn check(cx: &Cx, from: &Source, kind: Kind, arn: &str) -> Result<(), S3Error> {
    let parsed = Arn::parse(arn).map_err(|error| not_valid(arn, &error))?;
    if parsed.region() != from.region.as_str() {
        return Err(not_valid(arn, &"it lies in another region"));
    }
    let (service, action) = match kind {
        Kind::Queue => ("sqs", "sqs:SendMessage"),
        Kind::Topic => ("sns", "sns:Publish"),
        Kind::Function => ("lambda", "lambda:InvokeFunction"),
    };
    let as_bucket = as_bucket(cx, from, &parsed);
    if as_bucket.is_allowed(service, &Access::new(action, arn)).await? {
        return Ok(());
    }
    Err(not_valid(arn, &"its policy does not let S3 in"))
}

/// Sends a message.
///
/// # Errors
/// What the destination answers.
pub async fn deliver(cx: &Cx, from: &Source, kind: Kind, arn: &str, message: &str) -> Result<(), Fault> {
    let parsed = Arn::parse(arn).map_err(|error| Fault::sender("InvalidArgument", error.to_string()))?;
    let cx = as_bucket(cx, from, &parsed);
    match kind {
        Kind::Queue => {
            let input = sqs::SendMessageRequest {
                queue_url: Some(format!("{}/{}/{}", cx.endpoint(), parsed.account(), parsed.resource())),
                message_body: Some(message.to_owned()),
                ..sqs::SendMessageRequest::default()
            };
            cx.call(sqs::SEND_MESSAGE, input).await?;
        }
        Kind::Topic => {
            let input = sns::PublishInput {
                topic_arn: Some(arn.to_owned()),
                message: Some(message.to_owned()),
                subject: Some("Amazon S3 Notification".to_owned()),
                ..sns::PublishInput::default()
            };
            cx.call(sns::PUBLISH, input).await?;
        }
        Kind::Function => {
            let input = lambda::InvocationRequest {
                function_name: Some(arn.to_owned()),
                invocation_type: Some("Event".to_owned()),
                payload: Some(bytes::Bytes::copy_from_slice(message.as_bytes())),
                ..lambda::InvocationRequest::default()
            };
            cx.call(lambda::INVOKE, input).await?;
        }
    }
    Ok(())
}

/// `x-amz-id-2` as events tell it: opaque, of the request.
pub fn host_id(cx: &Cx) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("pileus {}", cx.request_id()))
}
