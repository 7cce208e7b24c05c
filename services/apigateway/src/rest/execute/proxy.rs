//! Lambda proxy integrations: a request as an event, an answer as a response. Pure but for [`Call`].
//!
//! Source: API Gateway Developer Guide, "Lambda proxy integrations in API Gateway" (input and output format), "Binary media types for
//! REST APIs in API Gateway".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use pileus_wire::protocol::Response;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::call::{Call, multiple, single};
use super::refusal::{append, set};

/// `requestContext` of events.
pub fn request_context(call: &Call) -> Json {
    let mut context = call.context.clone();
    if let Some(members) = context.as_object_mut() {
        for own in ["xrayTraceId", "isCanaryRequest", "error", "integration"] {
            members.shift_remove(own);
        }
    }
    context
}

fn or_null(map: JsonMap<String, Json>) -> Json {
    if map.is_empty() { Json::Null } else { Json::Object(map) }
}

/// Payload format 1.0.
pub fn event(call: &Call) -> Json {
    let is_binary = call.deployed.is_binary(call.content_type()) && !call.body.is_empty();
    let body = match (call.body.is_empty(), is_binary) {
        (true, _) => Json::Null,
        (false, true) => Json::from(STANDARD.encode(&call.body)),
        (false, false) => Json::from(String::from_utf8_lossy(&call.body)),
    };
    let variables: JsonMap<String, Json> =
        call.variables.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    // The path as the client sent it, without the stage, decoded but for its slashes.
    json!({
        "resource": call.context["resourcePath"],
        "path": crate::http::context::percent_decoded(&call.path),
        "httpMethod": call.verb,
        "headers": or_null(single(&call.headers)),
        "multiValueHeaders": or_null(multiple(&call.headers)),
        "queryStringParameters": or_null(single(&call.query)),
        "multiValueQueryStringParameters": or_null(multiple(&call.query)),
        "pathParameters": or_null(single(&call.path_parameters)),
        "stageVariables": or_null(variables),
        "requestContext": request_context(call),
        "body": body,
        "isBase64Encoded": is_binary,
    })
}

/// The response that an answer means; `None` if it is malformed.
pub fn reply(answer: &[u8], accepts_binary: bool) -> Option<Response> {
    let parsed: Json = serde_json::from_slice(answer).ok()?;
    let members = parsed.as_object()?;
    const KNOWN: [&str; 5] = ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"];
    if members.keys().any(|name| !KNOWN.contains(&name.as_str())) {
        return None;
    }
    let status = match members.get("statusCode") {
        None | Some(Json::Null) => 200,
        Some(Json::Number(number)) => u16::try_from(number.as_u64()?).ok()?,
        Some(Json::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    let is_base64 = match members.get("isBase64Encoded") {
        None | Some(Json::Null) => false,
        Some(Json::Bool(is)) => *is,
        Some(Json::String(text)) => text == "true",
        Some(_) => return None,
    };
    let body = match members.get("body") {
        None | Some(Json::Null) => Bytes::new(),
        Some(Json::String(text)) if is_base64 && accepts_binary => STANDARD.decode(text).ok()?.into(),
        Some(Json::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(_) => return None,
    };
    let mut response = Response::new(StatusCode::from_u16(status).ok()?, body);
    set(&mut response, "content-type", "application/json");
    match members.get("headers") {
        None | Some(Json::Null) => {}
        Some(Json::Object(headers)) => {
            for (name, value) in headers {
                set(&mut response, name, &single_value(value)?);
            }
        }
        Some(_) => return None,
    }
    match members.get("multiValueHeaders") {
        None | Some(Json::Null) => {}
        Some(Json::Object(headers)) => {
            for (name, values) in headers {
                // Both are merged; of one name the several values count.
                if let Ok(name) = http::HeaderName::try_from(name.as_str()) {
                    response.headers.remove(name);
                }
                for value in values.as_array()? {
                    append(&mut response, name, &single_value(value)?);
                }
            }
        }
        Some(_) => return None,
    }
    // Framing is ours.
    for name in ["content-length", "transfer-encoding", "connection"] {
        response.headers.remove(name);
    }
    Some(response)
}

/// A header's value, as AWS takes them: texts, numbers and booleans.
fn single_value(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        Json::Null => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_wire::protocol::ResponseBody;

    #[test]
    fn an_answer_is_a_response_or_malformed() {
        let cases = [
            // answer, status and body
            (json!({"statusCode": 201, "body": "x"}), Some((201, "x"))),
            (json!({"statusCode": "404", "body": null}), Some((404, ""))),
            (json!({"body": "x"}), Some((200, "x"))),
            (json!({}), Some((200, ""))),
            (json!({"statusCode": 200, "body": "aGk=", "isBase64Encoded": true}), Some((200, "hi"))),
            (json!({"statusCode": 200, "body": "!", "isBase64Encoded": true}), None),
            (json!({"statusCode": 200, "body": {"a": 1}}), None),
            (json!({"statusCode": "x"}), None),
            (json!({"statusCode": 99_999}), None),
            (json!({"statusCode": 200, "extra": 1}), None),
            (json!({"statusCode": 200, "headers": {"a": {}}}), None),
            (json!({"statusCode": 200, "headers": {"a": 1, "b": true}}), Some((200, ""))),
            (json!("text"), None),
            (json!(null), None),
        ];
        for (answer, expected) in cases {
            let got = reply(answer.to_string().as_bytes(), true).map(|response| {
                let ResponseBody::Bytes(body) = response.body else { panic!("a buffered answer") };
                (response.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
            });
            let got = got.as_ref().map(|(status, body)| (*status, body.as_str()));
            assert_eq!(got, expected, "{answer}");
        }
        assert!(reply(b"not json", true).is_none());
        let several =
            json!({"headers": {"X-A": "1", "Content-Length": "9"}, "multiValueHeaders": {"x-a": ["2", "3"]}});
        let response = reply(several.to_string().as_bytes(), true).unwrap();
        let values: Vec<_> = response.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["2", "3"]);
        assert!(!response.headers.contains_key("content-length"));
    }
}
