//! Requests to function URLs as events, and answers of functions as responses: pure.
//!
//! Source: AWS Lambda Developer Guide, "Invoking Lambda function URLs" (payload format 2.0), "Creating and managing Lambda function
//! URLs" (cross-origin resource sharing).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pileus_core::Timestamp;
use serde_json::{Map, Value, json};

use super::Cors;

/// What an event tells of a request.
pub struct Request<'a> {
    pub method: &'a Method,
    /// As sent.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pub source_ip: String,
    pub is_secure: bool,
    pub url_id: &'a str,
    /// Host without its port.
    pub domain: &'a str,
    pub port: String,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    pub at: Timestamp,
    /// Who signed it; `None` without `AWS_IAM`.
    pub signer: Option<Signer>,
}

pub struct Signer {
    pub access_key: String,
    pub account: String,
    pub user_arn: String,
    pub user_id: String,
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The event of payload format 2.0.
pub fn event(request: &Request<'_>) -> Value {
    let path = percent_decoded(request.path);
    let account = request.signer.as_ref().map_or("anonymous", |signer| signer.account.as_str());
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers_of(request),
        "requestContext": {
            "accountId": account,
            "apiId": request.url_id,
            "domainName": request.domain,
            "domainPrefix": request.url_id,
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": text(request.headers, &header::USER_AGENT).unwrap_or_default(),
            },
            "requestId": request.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": common_log_time(request.at),
            "timeEpoch": request.at.as_millis(),
        },
        "isBase64Encoded": false,
    });
    if let Some(signer) = &request.signer {
        event["requestContext"]["authorizer"] = json!({ "iam": {
            "accessKey": signer.access_key,
            "accountId": signer.account,
            "callerId": signer.user_id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": signer.user_arn,
            "userId": signer.user_id,
        }});
    }
    let cookies: Vec<&str> = request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty())
        .collect();
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    let query = query_parameters(request.query);
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(query);
    }
    if !request.body.is_empty() {
        let (body, is_base64) = body_of(request);
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(is_base64);
    }
    event
}

/// Names in lower case, several values in one, and what a load balancer would add.
fn headers_of(request: &Request<'_>) -> Map<String, Value> {
    let mut headers = Map::new();
    for name in request.headers.keys() {
        if *name == header::COOKIE {
            continue;
        }
        let values: Vec<&str> =
            request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        headers.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    let own = [
        ("x-forwarded-for", request.source_ip.clone()),
        ("x-forwarded-proto", if request.is_secure { "https" } else { "http" }.to_owned()),
        ("x-forwarded-port", request.port.clone()),
        ("x-amzn-trace-id", format!("Root={}", request.trace_id)),
    ];
    for (name, value) in own {
        headers.insert(name.to_owned(), json!(value));
    }
    headers
}

fn query_parameters(query: &str) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
        let (name, value) = (decoded(name), decoded(value));
        let joined = match parameters.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value,
        };
        parameters.insert(name, json!(joined));
    }
    parameters
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Text as it is, everything else in base64.
fn body_of(request: &Request<'_>) -> (String, bool) {
    let content_type = text(request.headers, &header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let is_text = kind.is_empty()
        || kind.starts_with("text/")
        || matches!(kind, "application/json" | "application/javascript" | "application/xml")
        || kind.ends_with("+json")
        || kind.ends_with("+xml");
    match std::str::from_utf8(request.body) {
        Ok(body) if is_text => (body.to_owned(), false),
        _ => (STANDARD.encode(request.body), true),
    }
}

/// `12/Mar/2020:19:03:58 +0000`
fn common_log_time(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = at.civil();
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// Status, headers and body of a response.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(status: StatusCode, body: &Value) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Reply { status, headers, body: body.to_string().into() }
    }

    /// What a function's error looks like from outside.
    pub fn failed() -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Reply { status: StatusCode::BAD_GATEWAY, headers, body: Bytes::from_static(b"Internal Server Error") }
    }
}

/// Status and headers as a function's answer (or the prelude of a streamed one) gives them.
///
/// `None` when they make no sense.
pub fn head(answer: &Value) -> Option<(StatusCode, HeaderMap)> {
    let status = match answer.get("statusCode") {
        None | Some(Value::Null) => 200,
        Some(Value::Number(number)) => u16::try_from(number.as_u64()?).ok()?,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        headers.insert(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value).ok()?);
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie.as_str()?).ok()?);
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // Framing is ours.
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        headers.remove(name);
    }
    Some((StatusCode::from_u16(status).ok()?, headers))
}

/// The response that a function's answer means.
pub fn reply(answer: &[u8]) -> Reply {
    let Ok(parsed) = serde_json::from_slice::<Value>(answer) else { return Reply::failed() };
    // An answer without a status code is the body itself.
    if parsed.get("statusCode").is_none() {
        let mut plain = Reply::json(StatusCode::OK, &Value::Null);
        plain.body = Bytes::copy_from_slice(answer);
        return plain;
    }
    let Some((status, headers)) = head(&parsed) else { return Reply::failed() };
    let body = match parsed.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if parsed.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            match STANDARD.decode(text) {
                Ok(bytes) => bytes.into(),
                Err(_) => return Reply::failed(),
            }
        }
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(other) => other.to_string().into(),
    };
    Reply { status, headers, body }
}

/// Whether a browser asks whether it may ask.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers of cross-origin requests: what the configuration says, not what the function says.
pub fn add_cors(cors: &Cors, request: &HeaderMap, is_preflight: bool, headers: &mut HeaderMap) {
    let Some(origin) = text(request, &header::ORIGIN) else { return };
    let origins = cors.origins.as_deref().unwrap_or_default();
    let all = origins.iter().any(|allowed| allowed == "*");
    if !all && !origins.iter().any(|allowed| matches_origin(allowed, origin)) {
        return;
    }
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let with_credentials = cors.credentials == Some(true);
    let shown = if all && !with_credentials { "*" } else { origin };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, shown.to_owned());
    if shown != "*" {
        set(header::VARY, "Origin".to_owned());
    }
    if with_credentials {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
    }
    let list = |values: &Option<Vec<String>>| {
        values.as_ref().filter(|values| !values.is_empty()).map(|values| values.join(","))
    };
    if !is_preflight {
        if let Some(exposed) = list(&cors.expose) {
            set(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        return;
    }
    if let Some(methods) = list(&cors.methods) {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(allowed) = list(&cors.headers) {
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if let Some(seconds) = cors.max_age {
        set(header::ACCESS_CONTROL_MAX_AGE, seconds.to_string());
    }
}

/// `https://*.example.com` stands for every host below it.
fn matches_origin(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed.eq_ignore_ascii_case(origin),
        Some((before, after)) => {
            origin.len() >= before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests;
