//! Integrations with services, by their subtype: `SQS-SendMessage`, `EventBridge-PutEvents`, ..
//!
//! Source: Developer Guide, "Integration subtype reference", "Create AWS service integrations for HTTP APIs in API Gateway". Chosen: the
//! answer is the service's own, as JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use pileus_core::Region;
use pileus_platform::Cx;
use pileus_wire::codec;
use pileus_wire::dynamic::DynStruct;
use pileus_wire::protocol::{Protocol, Request, Response};
use serde_json::{Map, Value, json};

use super::mapping::{self, Source};
use super::rows::IntegrationRow;
use crate::PRINCIPAL;
use crate::error::GatewayError;
use crate::invoke::InvokeError;

/// What a subtype calls, and what it takes.
struct Subtype {
    name: &'static str,
    service: &'static str,
    operation: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const SUBTYPES: [Subtype; 10] = [
    Subtype {
        name: "EventBridge-PutEvents",
        service: "events",
        operation: "PutEvents",
        required: &["Detail", "DetailType", "Source"],
        optional: &["Time", "EventBusName", "Resources", "TraceHeader"],
    },
    Subtype {
        name: "SQS-SendMessage",
        service: "sqs",
        operation: "SendMessage",
        required: &["QueueUrl", "MessageBody"],
        optional: &[
            "DelaySeconds",
            "MessageAttributes",
            "MessageDeduplicationId",
            "MessageGroupId",
            "MessageSystemAttributes",
        ],
    },
    Subtype {
        name: "SQS-ReceiveMessage",
        service: "sqs",
        operation: "ReceiveMessage",
        required: &["QueueUrl"],
        optional: &[
            "AttributeNames",
            "MaxNumberOfMessages",
            "MessageAttributeNames",
            "ReceiveRequestAttemptId",
            "VisibilityTimeout",
            "WaitTimeSeconds",
        ],
    },
    Subtype {
        name: "SQS-DeleteMessage",
        service: "sqs",
        operation: "DeleteMessage",
        required: &["ReceiptHandle", "QueueUrl"],
        optional: &[],
    },
    Subtype {
        name: "SQS-PurgeQueue",
        service: "sqs",
        operation: "PurgeQueue",
        required: &["QueueUrl"],
        optional: &[],
    },
    Subtype {
        name: "AppConfig-GetConfiguration",
        service: "appconfig",
        operation: "GetConfiguration",
        required: &["Application", "Environment", "Configuration", "ClientId"],
        optional: &["ClientConfigurationVersion"],
    },
    Subtype {
        name: "Kinesis-PutRecord",
        service: "kinesis",
        operation: "PutRecord",
        required: &["StreamName", "Data", "PartitionKey"],
        optional: &["SequenceNumberForOrdering", "ExplicitHashKey"],
    },
    Subtype {
        name: "StepFunctions-StartExecution",
        service: "stepfunctions",
        operation: "StartExecution",
        required: &["StateMachineArn"],
        optional: &["Name", "Input"],
    },
    Subtype {
        name: "StepFunctions-StartSyncExecution",
        service: "stepfunctions",
        operation: "StartSyncExecution",
        required: &["StateMachineArn"],
        optional: &["Name", "Input", "TraceHeader"],
    },
    Subtype {
        name: "StepFunctions-StopExecution",
        service: "stepfunctions",
        operation: "StopExecution",
        required: &["ExecutionArn"],
        optional: &["Cause", "Error"],
    },
];

const NUMBERS: [&str; 4] = ["DelaySeconds", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds"];
const DOCUMENTS: [&str; 5] =
    ["MessageAttributes", "MessageSystemAttributes", "AttributeNames", "MessageAttributeNames", "Resources"];

fn subtype(name: &str) -> Option<&'static Subtype> {
    SUBTYPES.iter().find(|subtype| subtype.name == name)
}

/// # Errors
/// A subtype that there is not, or that calls what this cloud lacks; parameters that it lacks or does not have; no role.
pub fn check(cx: &Cx, row: &IntegrationRow, name: &str) -> Result<(), GatewayError> {
    let subtype = subtype(name)
        .ok_or_else(|| GatewayError::bad(format!("Invalid integration subtype specified: {name}")))?;
    if !cx.platform().implements(subtype.service, subtype.operation) {
        return Err(GatewayError::missing(format!(
            "integration subtype {name}, for want of {}:{}",
            subtype.service, subtype.operation
        )));
    }
    if row.credentials_arn.is_none() {
        return Err(GatewayError::bad("Credentials ARN is required for AWS service integrations"));
    }
    if row.payload_format_version.as_deref() != Some("1.0") {
        return Err(GatewayError::bad(
            "Only payload format version 1.0 is supported for this integration subtype",
        ));
    }
    let given: &BTreeMap<String, String> = &row.request_parameters.clone().unwrap_or_default();
    if let Some(lacking) = subtype.required.iter().find(|name| !given.contains_key(**name)) {
        return Err(GatewayError::bad(format!(
            "Parameter: {lacking} is required for integration subtype {name}"
        )));
    }
    let is_known = |key: &&String| {
        subtype.required.contains(&key.as_str())
            || subtype.optional.contains(&key.as_str())
            || *key == "Region"
    };
    match given.keys().find(|key| !is_known(key)) {
        Some(other) => {
            Err(GatewayError::bad(format!("Parameter: {other} does not fit schema for Operation: {name}")))
        }
        None => Ok(()),
    }
}

fn member(name: &str, operation: &str) -> String {
    // Step Functions writes its members with a small first letter.
    match operation {
        "StartExecution" | "StartSyncExecution" | "StopExecution" => {
            let mut letters = name.chars();
            letters
                .next()
                .map(|first| first.to_ascii_lowercase().to_string() + letters.as_str())
                .unwrap_or_default()
        }
        _ => name.to_owned(),
    }
}

/// A parameter in the form in which the service takes it.
fn typed(name: &str, text: String) -> Value {
    if NUMBERS.contains(&name)
        && let Ok(number) = text.parse::<i64>()
    {
        return json!(number);
    }
    if DOCUMENTS.contains(&name)
        && let Ok(document) = serde_json::from_str(&text)
    {
        return document;
    }
    match name {
        "Data" => json!(STANDARD.encode(text)),
        _ => Value::String(text),
    }
}

/// Calls the operation with the integration's role, and gives its answer, or its error.
///
/// # Errors
/// What keeps the call from being made at all.
pub async fn call(cx: &Cx, row: &IntegrationRow, source: &Source<'_>) -> Result<Response, InvokeError> {
    let name = row.integration_subtype.as_deref().unwrap_or_default();
    let subtype = subtype(name).ok_or_else(|| InvokeError::Address(name.to_owned()))?;
    let api = pileus_models::service(subtype.service);
    let api = api.ok_or_else(|| InvokeError::Address(subtype.service.to_owned()))?;
    let operation = api.operation(subtype.operation);
    let operation = operation.ok_or_else(|| InvokeError::Address(subtype.operation.to_owned()))?;
    let mut members = Map::new();
    let mut region = None;
    for (name, expression) in row.request_parameters.iter().flatten() {
        let Some(value) = mapping::value(expression, source) else { continue };
        match name.as_str() {
            "Region" => region = Region::parse(&value),
            name => {
                members.insert(member(name, subtype.operation), typed(name, value));
            }
        }
    }
    if subtype.operation == "PutEvents" {
        members = Map::from_iter([("Entries".to_owned(), json!([members]))]);
    }
    let mut input = DynStruct::new(operation.input);
    let headers = HeaderMap::new();
    let request = Request { method: &Method::POST, path: "/", query: "", headers: &headers, labels: &[] };
    let document = Bytes::from(Value::Object(members).to_string());
    let protocol = Protocol::AwsJson10;
    let fail = |fault: &pileus_platform::Fault| {
        codec::encode_fault(Some(api), Some(operation), protocol, fault, cx.request_id(), false)
    };
    if let Err(fault) = codec::decode(api, operation, protocol, &request, document, &mut input) {
        return Ok(fail(&fault));
    }
    let role = row.credentials_arn.as_deref().unwrap_or_default();
    let mut caller = cx.as_role(role, PRINCIPAL, "BackplaneAssumeRoleSession").await?;
    if let Some(region) = region {
        caller = caller.with_region(region);
    }
    Ok(match caller.call_dynamic(subtype.service, subtype.operation, Box::new(input)).await {
        Ok(mut output) => codec::encode(api, operation, protocol, output.as_mut(), cx.request_id()),
        Err(fault) => fail(&fault),
    })
}
