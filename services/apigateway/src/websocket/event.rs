//! What events and templates are told of a connection: pure.
//!
//! Source: Developer Guide, "Set up an integration request in API Gateway for WebSocket APIs", "API Gateway WebSocket API mapping template
//! reference".

use std::collections::BTreeMap;

use http::HeaderMap;
use pileus_core::Timestamp;
use serde_json::{Map, Value, json};

use super::connections::ConnectionRow;
use crate::http::context::{common_log_time, query_pairs};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Connect,
    Message,
    Disconnect,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Connect => "CONNECT",
            EventType::Message => "MESSAGE",
            EventType::Disconnect => "DISCONNECT",
        }
    }
}

/// Something that happened on a connection.
pub struct Happening<'a> {
    pub kind: EventType,
    pub connection_id: &'a str,
    pub row: &'a ConnectionRow,
    pub route_key: &'a str,
    pub request_id: &'a str,
    pub at: Timestamp,
    pub variables: &'a BTreeMap<String, String>,
    pub body: Option<&'a str>,
    /// Of the handshake.
    pub request: Option<(&'a HeaderMap, &'a str)>,
    /// Why the connection ended.
    pub closed: Option<(u16, &'a str)>,
}

/// `requestContext`, which templates see as `$context`.
pub fn context(happening: &Happening<'_>) -> Value {
    let Happening { row, .. } = happening;
    let mut context = json!({
        "routeKey": happening.route_key,
        "eventType": happening.kind.as_str(),
        "extendedRequestId": happening.request_id,
        "requestTime": common_log_time(happening.at),
        "messageDirection": "IN",
        "stage": row.stage,
        "connectedAt": row.connected_at.as_millis(),
        "requestTimeEpoch": happening.at.as_millis(),
        "identity": { "sourceIp": row.source_ip, "userAgent": row.user_agent },
        "requestId": happening.request_id,
        "domainName": row.domain_name,
        "connectionId": happening.connection_id,
        "apiId": row.api_id,
    });
    if happening.kind == EventType::Message {
        context["messageId"] = json!(happening.request_id);
    }
    if let Some((code, reason)) = happening.closed {
        context["disconnectStatusCode"] = json!(code);
        context["disconnectReason"] = json!(reason);
    }
    if let Some(authorizer) =
        row.authorizer.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok())
    {
        context["authorizer"] = authorizer;
    }
    context
}

/// Headers or parameters as the last value of each, and as all of them.
fn single_and_multiple(
    pairs: impl Iterator<Item = (String, String)>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut single, mut multiple): (Map<String, Value>, Map<String, Value>) = Default::default();
    for (name, value) in pairs {
        single.insert(name.clone(), json!(value));
        match multiple.get_mut(&name) {
            Some(Value::Array(values)) => values.push(json!(value)),
            _ => {
                multiple.insert(name, json!([value]));
            }
        }
    }
    (single, multiple)
}

/// Puts headers and parameters of the handshake into an event.
pub fn add_request(event: &mut Value, headers: &HeaderMap, query: &str) {
    let pairs = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let (single, multiple) = single_and_multiple(pairs);
    event["headers"] = Value::Object(single);
    event["multiValueHeaders"] = Value::Object(multiple);
    let (single, multiple) = single_and_multiple(query_pairs(query));
    if !single.is_empty() {
        event["queryStringParameters"] = Value::Object(single);
        event["multiValueQueryStringParameters"] = Value::Object(multiple);
    }
}

/// The event of a Lambda proxy integration.
pub fn event(happening: &Happening<'_>) -> Value {
    let mut event = json!({ "requestContext": context(happening), "isBase64Encoded": false });
    if let Some((headers, query)) = happening.request {
        add_request(&mut event, headers, query);
    }
    if let Some(body) = happening.body {
        event["body"] = json!(body);
    }
    if !happening.variables.is_empty() {
        event["stageVariables"] = json!(happening.variables);
    }
    event
}
