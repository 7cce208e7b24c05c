//! Where the outcomes of asynchronous invocations go: destinations and dead-letter queues.
//!
//! Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations", "Adding a dead-letter queue". Recorded:
//! the sentences, and the form of a dead letter's attributes.

use pileus_api_lambda as api;
use pileus_api_sns as sns;
use pileus_api_sqs as sqs;
use pileus_core::{Arn, Region, Timestamp};
use pileus_platform::{Access, Cx};
use pileus_wire::value::Map;
use serde_json::{Value, json};

use crate::error::LambdaError;
use crate::keys::FUNCTIONS;
use crate::name::FunctionName;
use crate::role;

pub struct Both<'a> {
    pub on_success: Option<&'a str>,
    pub on_failure: Option<&'a str>,
}

/// A place that outcomes can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Queue(Arn),
    Topic(Arn),
    Function(FunctionName),
}

/// Whether a role may do something. A role that is gone or does not trust Lambda may do nothing.
pub async fn role_may(cx: &Cx, role: &str, access: Access) -> Result<bool, LambdaError> {
    let Ok(as_role) = role::assume(cx, role, "permission-check").await else { return Ok(false) };
    let service = access.action.split(':').next().unwrap_or_default().to_owned();
    Ok(as_role.is_allowed(&service, &access).await?)
}

/// Reads an ARN; `Err` names what this cloud lacks.
fn read(arn: &str) -> Result<Option<Destination>, LambdaError> {
    let Ok(parsed) = Arn::parse(arn) else { return Ok(None) };
    match parsed.service() {
        "sqs" => Ok(Some(Destination::Queue(parsed))),
        "lambda" => Ok(FunctionName::from_arn(arn).map(Destination::Function)),
        "sns" => Ok(Some(Destination::Topic(parsed))),
        "events" => Err(LambdaError::missing("event buses as destinations of Lambda functions")),
        "s3" => Err(LambdaError::missing("S3 buckets as destinations of Lambda functions")),
        _ => Ok(None),
    }
}

/// Checks the destinations of a function.
///
/// # Errors
/// `InvalidParameterValueException`: what is not there, the function itself, what the role may not reach.
pub async fn check(cx: &Cx, own: &FunctionName, role: &str, both: &Both<'_>) -> Result<(), LambdaError> {
    for arn in [both.on_success, both.on_failure].into_iter().flatten() {
        let malformed = || {
            let shown = |name: &str, arn: Option<&str>| match arn {
                Some(arn) => format!("{name}(destination={arn})"),
                None => "null".to_owned(),
            };
            let success = shown("OnSuccess", both.on_success);
            let failure = shown("OnFailure", both.on_failure);
            LambdaError::invalid(format!(
                "The provided destination config DestinationConfig(onSuccess={success}, onFailure={failure}) is invalid."
            ))
        };
        let needed = match read(arn)?.ok_or_else(malformed)? {
            Destination::Queue(queue) => Access::new("sqs:SendMessage", queue.as_str()),
            Destination::Topic(topic) => Access::new("sns:Publish", topic.as_str()),
            Destination::Function(target) => {
                if target.key() == own.key() {
                    return Err(LambdaError::invalid(
                        "You can't specify the function as a destination for itself.",
                    ));
                }
                if FUNCTIONS.get(cx.store(), &target.key()).await?.is_none() {
                    return Err(LambdaError::invalid(format!("The destination ARN {arn} is invalid.")));
                }
                Access::new("lambda:InvokeFunction", arn)
            }
        };
        let action = needed.action.split(':').next_back().unwrap_or_default().to_owned();
        if !role_may(cx, role, needed).await? {
            return Err(LambdaError::invalid(format!(
                "The function's execution role does not have permissions to call {action} on {arn}"
            )));
        }
    }
    Ok(())
}

/// Checks `DeadLetterConfig`; an empty ARN means none.
pub async fn dead_letter(cx: &Cx, arn: Option<String>, role: &str) -> Result<Option<String>, LambdaError> {
    let Some(arn) = arn.filter(|arn| !arn.is_empty()) else { return Ok(None) };
    match Arn::parse(&arn).as_ref().map(Arn::service) {
        Ok("sqs" | "sns") => {}
        _ => return Err(LambdaError::invalid(format!("Invalid dead-letter target: {arn}"))),
    }
    let is_queue = Arn::parse(&arn).is_ok_and(|arn| arn.service() == "sqs");
    let (action, text) = match is_queue {
        true => ("sqs:SendMessage", "SendMessage on SQS"),
        false => ("sns:Publish", "Publish on SNS"),
    };
    if !role_may(cx, role, Access::new(action, arn.as_str())).await? {
        return Err(LambdaError::invalid(format!(
            "The provided execution role does not have permissions to call {text}"
        )));
    }
    Ok(Some(arn))
}

/// How an asynchronous invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub request_id: String,
    /// With the qualifier that was called.
    pub function_arn: String,
    /// `Success`, `RetriesExhausted`, `EventAgeExceeded`, `ZeroReservedConcurrency`
    pub condition: &'static str,
    pub invoke_count: u32,
    /// Version, `Unhandled` or nothing, and what the function answered; `None` if it never ran.
    pub response: Option<(String, Option<String>, Value)>,
}

/// The record that a destination gets.
pub fn record(ended: &Ended, now: Timestamp, request: &[u8]) -> Value {
    let request_payload: Value = serde_json::from_slice(request).unwrap_or(Value::Null);
    let stamp = {
        let whole = now.truncate_to_millis();
        let text = whole.to_iso8601();
        if whole.subsec_nanos() == 0 { text.replace('Z', ".000Z") } else { text }
    };
    let mut record = json!({
        "version": "1.0",
        "timestamp": stamp,
        "requestContext": {
            "requestId": ended.request_id,
            "functionArn": ended.function_arn,
            "condition": ended.condition,
            "approximateInvokeCount": ended.invoke_count,
        },
        "requestPayload": request_payload,
    });
    if let Some((version, error, payload)) = &ended.response {
        record["responseContext"] = json!({ "statusCode": 200, "executedVersion": version });
        if let Some(error) = error {
            record["responseContext"]["functionError"] = json!(error);
        }
        record["responsePayload"] = payload.clone();
    }
    record
}

/// Delivers a record with the function's role.
pub async fn deliver(cx: &Cx, arn: &str, body: String) -> Result<(), LambdaError> {
    match read(arn)? {
        Some(Destination::Queue(queue)) => send(cx, &queue, body, None).await,
        Some(Destination::Topic(topic)) => publish(cx, &topic, body, None).await,
        Some(Destination::Function(_)) => {
            let input = api::InvocationRequest {
                function_name: Some(arn.to_owned()),
                invocation_type: Some("Event".to_owned()),
                payload: Some(body.into()),
                ..api::InvocationRequest::default()
            };
            cx.call(api::INVOKE, input).await?;
            Ok(())
        }
        None => Err(LambdaError::Internal(format!("{arn} is no destination"))),
    }
}

/// Sends an event that failed to its dead-letter queue, with what went wrong in attributes.
pub async fn send_dead_letter(
    cx: &Cx,
    queue: &str,
    body: String,
    request_id: &str,
    error: &str,
) -> Result<(), LambdaError> {
    let queue = Arn::parse(queue).map_err(|error| LambdaError::Internal(error.to_string()))?;
    if queue.service() == "sns" {
        let error: String = error.chars().take(1_024).collect();
        let said = [
            ("RequestID", "String", request_id),
            ("ErrorCode", "Number", "200"),
            ("ErrorMessage", "String", &error),
        ];
        let attribute = |(name, kind, value): (&str, &str, &str)| {
            let value = sns::MessageAttributeValue {
                data_type: Some(kind.to_owned()),
                string_value: Some(value.to_owned()),
                ..sns::MessageAttributeValue::default()
            };
            (name.to_owned(), value)
        };
        let attributes = said.into_iter().filter(|(_, _, value)| !value.is_empty()).map(attribute).collect();
        return publish(cx, &queue, body, Some(attributes)).await;
    }
    let attribute = |kind: &str, value: &str| sqs::MessageAttributeValue {
        data_type: Some(kind.to_owned()),
        string_value: Some(value.to_owned()),
        ..sqs::MessageAttributeValue::default()
    };
    let attributes: Map<sqs::MessageAttributeValue> = [
        ("RequestID".to_owned(), attribute("String", request_id)),
        ("ErrorCode".to_owned(), attribute("Number", "200")),
        // Source: "Adding a dead-letter queue": the first kilobyte of the message.
        ("ErrorMessage".to_owned(), attribute("String", &error.chars().take(1_024).collect::<String>())),
    ]
    .into_iter()
    .filter(|(_, value)| value.string_value.as_ref().is_some_and(|text| !text.is_empty()))
    .collect();
    send(cx, &queue, body, Some(attributes)).await
}

async fn send(
    cx: &Cx,
    queue: &Arn,
    body: String,
    attributes: Option<Map<sqs::MessageAttributeValue>>,
) -> Result<(), LambdaError> {
    let region = Region::parse(queue.region()).unwrap_or_else(|| cx.region().clone());
    let input = sqs::SendMessageRequest {
        queue_url: Some(queue_url(cx, queue)),
        message_body: Some(body),
        message_attributes: attributes,
        ..sqs::SendMessageRequest::default()
    };
    cx.with_region(region).call(sqs::SEND_MESSAGE, input).await?;
    Ok(())
}

async fn publish(
    cx: &Cx,
    topic: &Arn,
    body: String,
    attributes: Option<Map<sns::MessageAttributeValue>>,
) -> Result<(), LambdaError> {
    let region = Region::parse(topic.region()).unwrap_or_else(|| cx.region().clone());
    let input = sns::PublishInput {
        topic_arn: Some(topic.to_string()),
        message: Some(body),
        message_attributes: attributes,
        ..sns::PublishInput::default()
    };
    cx.with_region(region).call(sns::PUBLISH, input).await?;
    Ok(())
}

/// The URL that names the queue with this ARN.
pub fn queue_url(cx: &Cx, queue: &Arn) -> String {
    format!("{}/{}/{}", cx.endpoint(), queue.account(), queue.resource())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_the_request_and_what_became_of_it() {
        let ended = Ended {
            request_id: "id".into(),
            function_arn: "arn:f:$LATEST".into(),
            condition: "RetriesExhausted",
            invoke_count: 3,
            response: Some(("$LATEST".into(), Some("Unhandled".into()), json!({"errorMessage": "no"}))),
        };
        let got = record(&ended, Timestamp::from_secs(1_440_938_160), b"{\"a\":1}");
        assert_eq!(
            got,
            json!({
                "version": "1.0",
                "timestamp": "2015-08-30T12:36:00.000Z",
                "requestContext": {
                    "requestId": "id",
                    "functionArn": "arn:f:$LATEST",
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": {"a": 1},
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
                "responsePayload": {"errorMessage": "no"},
            })
        );
        let never = Ended { condition: "ZeroReservedConcurrency", invoke_count: 0, response: None, ..ended };
        let got = record(&never, Timestamp::from_millis(1), b"not json");
        assert_eq!((got.get("responseContext"), got.get("requestPayload")), (None, Some(&Value::Null)));
    }

    #[test]
    fn queues_and_functions_are_destinations_and_others_are_named() {
        assert!(matches!(read("arn:aws:sqs:us-east-1:123456789012:q"), Ok(Some(Destination::Queue(_)))));
        assert!(matches!(
            read("arn:aws:lambda:us-east-1:123456789012:function:f:prod"),
            Ok(Some(Destination::Function(_)))
        ));
        assert!(matches!(read("arn:aws:iam:us-east-1:123456789012:x"), Ok(None)));
        assert!(matches!(read("arn:aws:sns:us-east-1:123456789012:t"), Ok(Some(Destination::Topic(_)))));
    }
}
