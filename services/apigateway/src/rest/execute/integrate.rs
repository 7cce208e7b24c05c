//! Integrations: from a method request to a method response.
//!
//! Source: API Gateway Developer Guide, "Integrations for REST APIs in API Gateway", "Data transformations for REST APIs in API
//! Gateway", "Method request behavior for payloads without mapping templates for REST APIs in API Gateway", "Content type conversions in
//! API Gateway". Recorded: the sentences.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode};
use pileus_core::Arn;
use pileus_vtl::Template;
use pileus_wire::protocol::Response;
use pileus_wire::value::Map;
use serde_json::{Value as Json, json};

use super::call::{Call, last, of_body};
use super::compiled::{Method, Templates};
use super::log::part;
use super::mapping::Input;
use super::refusal::{Refusal, append, set};
use super::{proxy, service, stream};
use crate::http::context::bare;
use crate::invoke::function::{self, FunctionCall};
use crate::invoke::{InvokeError, backend};

/// What goes to a backend.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub path: Vec<(String, String)>,
    pub body: Bytes,
}

/// What comes back from one.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What selection patterns are compared with, where that is not the status.
    pub message: Option<String>,
}

/// Answers a request by its method's integration.
///
/// # Errors
/// Every way in which there is no answer, as a gateway response.
pub async fn run(call: &mut Call, method: &Method) -> Result<Response, Refusal> {
    match method.kind() {
        "AWS_PROXY" => function_proxy(call, method).await,
        "HTTP_PROXY" => http_proxy(call, method).await,
        _ => mapped(call, method).await,
    }
}

fn failed(error: InvokeError) -> Refusal {
    match error {
        InvokeError::TimedOut => Refusal::timed_out(),
        InvokeError::Address(address) => Refusal::internal(format!("Invalid endpoint address: {address}")),
        InvokeError::Failed(reason) => Refusal::unreachable(reason),
        other => Refusal::internal(other.to_string()),
    }
}

/// The resource as permissions of functions name it: with the request's verb and the resource's path.
pub fn source_arn(call: &Call) -> Result<Arn, Refusal> {
    let path = call.context["resourcePath"].as_str().unwrap_or_default();
    Arn::parse(&call.arn(path)).map_err(|_| Refusal::internal("the method has no ARN"))
}

async fn function_proxy(call: &mut Call, method: &Method) -> Result<Response, Refusal> {
    let uri = call.with_variables(method.integration.uri.as_deref().unwrap_or_default());
    let function = function::of_uri(&uri).ok_or_else(|| {
        Refusal::internal(format!(
            "Execution failed due to configuration error: Invalid endpoint address: {uri}"
        ))
    })?;
    let payload = Bytes::from(proxy::event(call).to_string());
    call.trail.trace(&call.cx, || format!("Endpoint request body after transformations: {}", part(&payload)));
    call.trail.info(&call.cx, || format!("Sending request to {uri}"));
    let source = source_arn(call)?;
    let asked = FunctionCall {
        function,
        payload,
        credentials: method.integration.credentials.as_deref().filter(|role| !role.is_empty()),
        source: &source,
        timeout: method.timeout,
    };
    let binary = accepts_binary(call);
    if method.integration.response_transfer_mode.as_deref() == Some("STREAM") {
        return stream::answer(call, asked).await;
    }
    let answer = function::invoke(&call.cx, asked).await.map_err(|error| match error {
        InvokeError::FunctionError(payload) => {
            Refusal::bad_gateway(format!("Lambda execution failed: {}", part(&payload)))
        }
        InvokeError::Failed(reason) => Refusal::internal(reason),
        other => failed(other),
    })?;
    call.trail
        .trace(&call.cx, || format!("Endpoint response body before transformations: {}", part(&answer)));
    proxy::reply(&answer, binary).ok_or_else(|| {
        Refusal::bad_gateway("Execution failed due to configuration error: Malformed Lambda proxy response")
    })
}

/// The first type that the client accepts decides.
fn accepts_binary(call: &Call) -> bool {
    let accept = call.header("accept").unwrap_or("*/*");
    call.deployed.is_binary(accept.split(',').next().unwrap_or_default())
}

/// The headers that a backend's answer keeps under another name.
const REMAPPED: [&str; 8] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "server",
    "transfer-encoding",
    "www-authenticate",
];
/// Those of a request that are not the backend's.
const NOT_PASSED: [&str; 7] =
    ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect"];

async fn http_proxy(call: &mut Call, method: &Method) -> Result<Response, Refusal> {
    let mut out = Outgoing {
        headers: call
            .headers
            .iter()
            .filter(|(name, _)| !NOT_PASSED.iter().any(|own| own.eq_ignore_ascii_case(name)))
            .cloned()
            .collect(),
        query: call.query.clone(),
        path: call.path_parameters.clone(),
        body: call.body.clone(),
    };
    parameters(call, method, &mut out);
    let answer = send(call, method, out).await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = Response::new(status, answer.body);
    for (name, value) in &answer.headers {
        match REMAPPED.contains(&name.as_str()) {
            true if matches!(name.as_str(), "connection" | "transfer-encoding") => {}
            true => append(&mut response, &format!("x-amzn-remapped-{name}"), value),
            false => append(&mut response, name, value),
        }
    }
    Ok(response)
}

/// `requestParameters` of the integration: each a name and where its values come from.
fn parameters(call: &Call, method: &Method, out: &mut Outgoing) {
    for (target, source) in method.integration.request_parameters.iter().flat_map(Map::iter) {
        let values = call.source(source);
        let Some((place, name)) =
            target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let list = match place {
            "header" | "multivalueheader" => &mut out.headers,
            "querystring" | "multivaluequerystring" => &mut out.query,
            _ => &mut out.path,
        };
        if values.is_empty() {
            continue;
        }
        list.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        list.extend(values.into_iter().map(|value| (name.to_owned(), value)));
    }
}

/// `$context.requestOverride`: set by the template, before all else.
fn overridden(overrides: &Json, out: &mut Outgoing) {
    let places = [("header", &mut out.headers), ("querystring", &mut out.query), ("path", &mut out.path)];
    for (place, list) in places {
        for (name, value) in overrides[place].as_object().into_iter().flatten() {
            list.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            match value {
                Json::Array(values) => list.extend(values.iter().map(|value| (name.clone(), bare(value)))),
                value => list.push((name.clone(), bare(value))),
            }
        }
    }
}

/// Everything but proxies: templates on the way there and back.
async fn mapped(call: &mut Call, method: &Method) -> Result<Response, Refusal> {
    let (body, overrides) = request_body(call, method)?;
    call.trail.trace(&call.cx, || format!("Endpoint request body after transformations: {}", part(&body)));
    let mut out = Outgoing { body, path: call.path_parameters.clone(), ..Outgoing::default() };
    parameters(call, method, &mut out);
    overridden(&overrides, &mut out);
    let answer = match method.kind() {
        "MOCK" => mock(&out.body)?,
        "HTTP" => {
            if last(&out.headers, "content-type").is_none() && !out.body.is_empty() {
                out.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            }
            send(call, method, out).await?
        }
        _ => aws(call, method, out).await?,
    };
    call.trail
        .trace(&call.cx, || format!("Endpoint response body before transformations: {}", part(&answer.body)));
    call.context["integration"] = json!({ "status": answer.status });
    response(call, method, &answer)
}

/// The body as the integration gets it, and what its template overrides.
fn request_body(call: &Call, method: &Method) -> Result<(Bytes, Json), Refusal> {
    let content_type = call.content_type();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = if kind.is_empty() { "application/json" } else { kind };
    let is_binary = call.deployed.is_binary(kind) && !call.body.is_empty();
    let given = converted(call.body.clone(), method.integration.content_handling.as_deref(), is_binary)?;
    let template = method
        .templates
        .iter()
        .find(|(known, _)| known.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind));
    let Some((_, template)) = template else {
        let passes = match method.integration.passthrough_behavior.as_deref() {
            Some("NEVER") => false,
            Some("WHEN_NO_TEMPLATES") => method.templates.is_empty(),
            _ => true,
        };
        return if passes { Ok((given, Json::Null)) } else { Err(Refusal::media_type()) };
    };
    let template = template.as_ref().map_err(|error| {
        Refusal::internal(format!(
            "Execution failed due to configuration error: Unable to parse the template: {error}"
        ))
    })?;
    let mapped = Input::of_request(call, &given).run(template).map_err(|error| {
        Refusal::internal(format!(
            "Execution failed due to configuration error: Unable to transform request: {error}"
        ))
    })?;
    Ok((mapped.output.into(), mapped.overrides))
}

/// `contentHandling`, for a body that is binary or text by its content type.
fn converted(body: Bytes, handling: Option<&str>, is_binary: bool) -> Result<Bytes, Refusal> {
    match (handling, is_binary) {
        (Some("CONVERT_TO_TEXT"), true) => Ok(STANDARD.encode(&body).into()),
        (Some("CONVERT_TO_BINARY"), false) if !body.is_empty() => {
            let decoded = STANDARD.decode(body.trim_ascii());
            decoded.map(Bytes::from).map_err(|_| Refusal::internal("Unable to base64 decode the body."))
        }
        _ => Ok(body),
    }
}

/// The template of a mock says which status it has.
fn mock(body: &[u8]) -> Result<Answer, Refusal> {
    let status = match serde_json::from_slice::<Json>(body) {
        Ok(document) => document.get("statusCode").map(bare).and_then(|status| status.parse().ok()),
        // The names of members need no quotes there.
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            text.split_once("statusCode").and_then(|(_, rest)| {
                let rest = rest.trim_start_matches(['"', '\'', ':', ' ', '\t', '\n', '\r']);
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                rest[..end].parse().ok()
            })
        }
    };
    let status = status.ok_or_else(|| {
        Refusal::internal("Execution failed due to configuration error: Unable to parse statusCode. It should be an integer and defined in request template.")
    })?;
    Ok(Answer { status, headers: Vec::new(), body: Bytes::new(), message: None })
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// `a=b&c=d`
pub fn query_text(query: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

/// The integration's address with its variables: greedy ones keep their slashes.
pub fn address(call: &Call, uri: &str, path: &[(String, String)]) -> String {
    let mut address = call.with_variables(uri);
    for (name, value) in path {
        let escaped: Vec<String> = value.split('/').map(encoded).collect();
        address = address.replace(&format!("{{{name}}}"), &escaped.join("/"));
        address = address.replace(&format!("{{{name}+}}"), &escaped.join("/"));
    }
    address
}

async fn send(call: &mut Call, method: &Method, out: Outgoing) -> Result<Answer, Refusal> {
    let mut address = address(call, method.integration.uri.as_deref().unwrap_or_default(), &out.path);
    if !out.query.is_empty() {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(&query_text(&out.query));
    }
    let verb = match method.integration.http_method.as_deref() {
        None | Some("" | "ANY") => call.verb.as_str(),
        Some(verb) => verb,
    };
    call.trail.info(&call.cx, || format!("Sending request to {address}"));
    let mut request = Request::builder().method(verb).uri(&address);
    for (name, value) in &out.headers {
        request = request.header(name, value);
    }
    let own = [
        ("x-amzn-apigateway-api-id", call.api.clone()),
        ("user-agent", format!("AmazonAPIGateway_{}", call.api)),
    ];
    for (name, value) in own {
        if last(&out.headers, name).is_none() {
            request = request.header(name, value);
        }
    }
    let request = request.body(out.body).map_err(|error| {
        Refusal::internal(format!(
            "Execution failed due to configuration error: Invalid endpoint address: {error}"
        ))
    })?;
    if method.integration.tls_config.as_ref().and_then(|tls| tls.insecure_skip_verification) == Some(true) {
        return Err(Refusal::configuration("pileus does not do tlsConfig.insecureSkipVerification yet"));
    }
    let started = call.cx.clock().monotonic();
    let answer = backend::send(&call.cx, request, method.timeout).await.map_err(failed)?;
    let took = call.cx.clock().monotonic().saturating_sub(started);
    call.trail.info(&call.cx, || {
        format!(
            "Received response. Status: {}, Integration latency: {} ms",
            answer.status().as_u16(),
            took.as_millis()
        )
    });
    let (parts, body) = answer.into_parts();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), body, message: None })
}

/// A function, or an action of any other service.
async fn aws(call: &mut Call, method: &Method, out: Outgoing) -> Result<Answer, Refusal> {
    let uri = address(call, method.integration.uri.as_deref().unwrap_or_default(), &out.path);
    call.trail.info(&call.cx, || format!("Sending request to {uri}"));
    let Some(function) = function::of_uri(&uri) else {
        return service::call(call, method, &uri, out).await;
    };
    let source = source_arn(call)?;
    let payload = if out.body.is_empty() { Bytes::from_static(b"{}") } else { out.body };
    let asked = FunctionCall {
        function,
        payload,
        credentials: method.integration.credentials.as_deref().filter(|role| !role.is_empty()),
        source: &source,
        timeout: method.timeout,
    };
    if last(&out.headers, "x-amz-invocation-type").is_some_and(|kind| kind.eq_ignore_ascii_case("event")) {
        function::leave_event(&call.cx, asked).await.map_err(failed)?;
        return Ok(Answer { status: 202, headers: Vec::new(), body: Bytes::new(), message: None });
    }
    match function::invoke(&call.cx, asked).await {
        // What did not fail matches the response without a pattern.
        Ok(body) => Ok(Answer { status: 200, headers: Vec::new(), body, message: Some(String::new()) }),
        Err(InvokeError::FunctionError(body)) => {
            let document: Json = serde_json::from_slice(&body).unwrap_or_default();
            let message = document.get("errorMessage").map(bare).unwrap_or_default();
            Ok(Answer { status: 200, headers: Vec::new(), body, message: Some(message) })
        }
        Err(InvokeError::Failed(reason)) => Err(Refusal::internal(reason)),
        Err(error) => Err(failed(error)),
    }
}

/// A template for what the client accepts, else for JSON, else the first.
fn pick<'t>(
    templates: &'t Templates,
    accept: &str,
) -> Option<&'t (String, Result<std::sync::Arc<Template>, String>)> {
    let accepted = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let mut accepted =
        accepted.filter_map(|kind| templates.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind)));
    accepted
        .next()
        .or_else(|| templates.iter().find(|(known, _)| known == "application/json"))
        .or_else(|| templates.first())
}

/// The integration response that an answer selects, carried out.
fn response(call: &mut Call, method: &Method, answer: &Answer) -> Result<Response, Refusal> {
    let status = answer.status.to_string();
    let compared = answer.message.as_deref().unwrap_or(&status);
    let by_pattern = method.responses.iter().find(|response| {
        response
            .pattern
            .as_ref()
            .is_some_and(|pattern| !compared.is_empty() && pattern.is_match(compared).unwrap_or(false))
    });
    let chosen = by_pattern.or_else(|| method.responses.iter().find(|response| response.pattern.is_none()));
    let chosen = chosen.ok_or_else(|| {
        Refusal::internal(format!("Execution failed due to configuration error: No match for output mapping and no default output mapping configured. Endpoint Response Status Code: {status}"))
    })?;
    let is_binary = call.deployed.is_binary(last(&answer.headers, "content-type").unwrap_or_default());
    let body = converted(answer.body.clone(), chosen.definition.content_handling.as_deref(), is_binary)?;
    let accept = call.header("accept").unwrap_or_default().to_owned();
    let (body, kind, overrides) = match pick(&chosen.templates, &accept) {
        None => (body, None, Json::Null),
        Some((kind, template)) => {
            let template = template.as_ref().map_err(|error| {
                Refusal::internal(format!(
                    "Execution failed due to configuration error: Unable to parse the template: {error}"
                ))
            })?;
            let mapped = Input::of_response(call, &body).run(template).map_err(|error| {
                Refusal::internal(format!(
                    "Execution failed due to configuration error: Unable to transform response: {error}"
                ))
            })?;
            let converted = match chosen.definition.content_handling.as_deref() {
                Some("CONVERT_TO_BINARY") => {
                    STANDARD.decode(mapped.output.trim()).map_or_else(|_| mapped.output.into(), Bytes::from)
                }
                _ => mapped.output.into(),
            };
            (converted, Some(kind.as_str()), mapped.overrides)
        }
    };
    let status = overrides.get("status").map(bare).or_else(|| chosen.definition.status_code.clone());
    let status =
        status.and_then(|status| status.parse().ok()).and_then(|status| StatusCode::from_u16(status).ok());
    let status =
        status.ok_or_else(|| Refusal::internal("the integration response has no status that HTTP knows"))?;
    let mut response = Response::new(status, body);
    set(&mut response, "content-type", kind.unwrap_or("application/json"));
    for (target, source) in chosen.definition.response_parameters.iter().flat_map(Map::iter) {
        let Some(name) = target.strip_prefix("method.response.header.") else { continue };
        let mut values = of_answer(call, answer, source).into_iter();
        if let Some(first) = values.next() {
            set(&mut response, name, &first);
            values.for_each(|value| append(&mut response, name, &value));
        }
    }
    for (name, value) in overrides["header"].as_object().into_iter().flatten() {
        match value {
            Json::Array(values) => values.iter().for_each(|value| append(&mut response, name, &bare(value))),
            value => set(&mut response, name, &bare(value)),
        }
    }
    Ok(response)
}

/// `integration.response.{header,multivalueheader}.name`, `integration.response.body[.path]`, or what requests have too.
fn of_answer(call: &Call, answer: &Answer, source: &str) -> Vec<String> {
    let Some(rest) = source.strip_prefix("integration.response.") else { return call.source(source) };
    let all = |name: &str| {
        let named = answer.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    match rest.split_once('.') {
        Some(("header", name)) => all(name).pop().into_iter().collect(),
        Some(("multivalueheader", name)) => all(name),
        Some(("body", path)) => of_body(&answer.body, path).into_iter().collect(),
        None if rest == "body" => vec![String::from_utf8_lossy(&answer.body).into_owned()],
        _ => Vec::new(),
    }
}
