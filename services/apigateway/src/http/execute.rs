//! Requests to HTTP APIs: stage, route, limits, authorizer, integration, answer.
//!
//! Source: Developer Guide, "Create routes for HTTP APIs in API Gateway", "Create HTTP proxy integrations for HTTP APIs", "Quotas for
//! configuring and running an HTTP API in API Gateway".

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use pileus_core::Arn;
use pileus_platform::body::BodyError;
use pileus_platform::{Caller, Cx, DataRequest};
use pileus_wire::protocol::{Response, ResponseBody};

use super::authorize::authorize;
use super::compiled::{self, CompiledApi, Stage};
use super::context::{Facts, Outcome, percent_decoded};
use super::mapping::{self, Outgoing, Source};
use super::reply::{self, Format, Reply};
use super::router::Matched;
use super::rows::IntegrationRow;
use super::{access_log, cors, event, services};
use crate::front::{By, Target, message, split_first};
use crate::invoke::function::{FunctionCall, invoke, of_uri};
use crate::invoke::{InvokeError, backend};

/// Source: "Quotas for configuring and running an HTTP API" (payload size).
const MAX_BODY: u64 = 10 << 20;
/// A function takes less, with everything that an event adds.
const MAX_EVENT: usize = 6 << 20;

/// The form of AWS's request ids here: eleven bytes in base64.
pub fn request_id(uuid: &str) -> String {
    let digits: String = uuid.chars().filter(|c| *c != '-').take(22).collect();
    STANDARD.encode(hex::decode(digits).unwrap_or_default())
}

fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, None, "Not Found")
}

fn internal() -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, None, "Internal Server Error")
}

/// Answers a request to an HTTP API.
pub async fn answer(mut request: DataRequest, target: Target) -> Response {
    let id = request_id(&request.request_id);
    let mut response = match compiled::find(request.platform(), &target).await {
        Ok(Some(api)) => serve(&mut request, target, &api, &id).await,
        Ok(None) => not_found(),
        Err(error) => {
            tracing::error!(%error, "an HTTP API cannot be read");
            internal()
        }
    };
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers.insert("apigw-requestid", id);
    }
    response
}

/// The stage that a request means, and the path that is left for its routes.
fn stage_of<'a, 't>(api: &'a CompiledApi, target: &'t Target) -> Option<(&'a Stage, &'t str)> {
    if let Some(name) = &target.stage {
        return Some((api.stages.get(name)?, &target.path));
    }
    let (first, rest) = split_first(&target.path);
    let name = percent_decoded(first);
    match (api.stages.get(&name), api.stages.get("$default")) {
        (Some(stage), _) if !name.is_empty() => Some((stage, rest)),
        (_, Some(stage)) => Some((stage, &target.path)),
        _ => None,
    }
}

async fn serve(request: &mut DataRequest, mut target: Target, api: &CompiledApi, id: &str) -> Response {
    if target.by == By::Endpoint && api.row.disable_execute_api_endpoint == Some(true) {
        return not_found();
    }
    let Some((stage, path)) = stage_of(api, &target) else { return not_found() };
    let path = path.to_owned();
    let stage_name = stage.row.stage_name.clone().unwrap_or_default();
    let started = request.platform().clock().monotonic();
    let cx = request.cx(Caller::anonymous(target.account), target.region.clone());
    let inbound = &mut request.inbound;
    let host_port = inbound.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let port = host_port.and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.unwrap_or(if inbound.is_secure { "443" } else { "80" }).to_owned();
    let raw_path = percent_decoded(&target.full_path);
    target.path = path;
    let mut facts = Facts {
        request_id: id.to_owned(),
        method: inbound.method.clone(),
        raw_path,
        query: std::mem::take(&mut inbound.query),
        headers: inbound.headers.clone(),
        body: Bytes::new(),
        source_ip: inbound.peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default(),
        port,
        is_secure: inbound.is_secure,
        at: cx.now(),
        trace_id: cx.trace_id(),
        stage: stage_name,
        variables: stage.row.stage_variables.clone().unwrap_or_default(),
        route_key: String::new(),
        path_parameters: Vec::new(),
        authorized: Default::default(),
        target,
    };
    // The signature is over the query: it goes back for `DataRequest::caller`.
    request.inbound.query.clone_from(&facts.query);
    let mut outcome = Outcome::default();
    let response = routed(&cx, request, stage, &mut facts, &mut outcome).await;
    outcome.status = response.status.as_u16();
    if let ResponseBody::Bytes(body) = &response.body {
        outcome.response_length = body.len();
    }
    let took = |since: Duration| cx.clock().monotonic().saturating_sub(since);
    outcome.response_millis = took(started).as_millis();
    if outcome.error_type.is_none() && outcome.error_message.is_none() && outcome.integration_millis.is_none()
    {
        outcome.error_message = match outcome.status {
            401 => Some("Unauthorized"),
            403 => Some("Forbidden"),
            404 => Some("Not Found"),
            413 => Some("Request Entity Too Large"),
            429 => Some("Too Many Requests"),
            500 => Some("Internal Server Error"),
            503 => Some("Service Unavailable"),
            _ => None,
        };
    }
    access_log::leave(cx.platform(), &stage.row, &facts, &outcome);
    response
}

async fn routed(
    cx: &Cx,
    request: &mut DataRequest,
    stage: &Stage,
    facts: &mut Facts,
    outcome: &mut Outcome,
) -> Response {
    let cors = stage.definition.cors.as_ref();
    if let Some(cors) = cors
        && cors::is_preflight(&facts.method, &facts.headers)
    {
        let mut response = Response::new(StatusCode::NO_CONTENT, Bytes::new());
        cors::add(cors, &facts.headers, true, &mut response.headers);
        return response;
    }
    let mut response = match stage.router.find(&facts.method, &facts.target.path) {
        Some(matched) => matched_route(cx, request, stage, facts, outcome, matched).await,
        None => not_found(),
    };
    if let Some(cors) = cors {
        cors::add(cors, &facts.headers, false, &mut response.headers);
    }
    response
}

async fn matched_route(
    cx: &Cx,
    request: &mut DataRequest,
    stage: &Stage,
    facts: &mut Facts,
    outcome: &mut Outcome,
    matched: Matched,
) -> Response {
    let Some(route) = stage.route(matched.route) else { return not_found() };
    facts.route_key = route.route_key.clone().unwrap_or_default();
    facts.path_parameters = mapping::decoded(&matched.parameters);
    if !stage.admits(matched.route, cx.clock().monotonic()) {
        return message(StatusCode::TOO_MANY_REQUESTS, None, "Too Many Requests");
    }
    match request.collect(MAX_BODY).await {
        Ok(body) => facts.body = body,
        Err(BodyError::TooLarge { .. }) => {
            return message(StatusCode::PAYLOAD_TOO_LARGE, None, "Request Entity Too Large");
        }
        Err(error) => {
            tracing::debug!(%error, "a request's body did not come");
            return message(StatusCode::BAD_REQUEST, None, "Bad Request");
        }
    }
    match authorize(cx, request, stage, route, facts).await {
        Ok(authorized) => facts.authorized = authorized,
        Err(refusal) => {
            outcome.authorizer_error = refusal.reason;
            return refusal.response;
        }
    }
    let lacking = route.request_parameters.iter().flatten().find(|(key, constraint)| {
        constraint.required == Some(true)
            && mapping::value(&format!("${key}"), &Source { facts, response: None }).is_none()
    });
    if lacking.is_some() {
        return message(StatusCode::BAD_REQUEST, None, "Bad Request");
    }
    // A route without a target has nothing to answer with.
    let Some(integration) = stage.integration(route) else { return internal() };
    let started = cx.clock().monotonic();
    let integrated = integrate(cx, integration, facts, &matched).await;
    outcome.integration_millis = Some(cx.clock().monotonic().saturating_sub(started).as_millis());
    match integrated {
        Ok(mut reply) => {
            outcome.integration_status = Some(reply.status.as_u16());
            let changes = integration.response_parameters.as_ref();
            if let Some(changes) = changes.and_then(|all| all.get(reply.status.as_str())) {
                let (headers, body) = (reply.headers.clone(), reply.body.clone());
                let source = Source { facts, response: Some((&headers, &body)) };
                mapping::response(changes, &source, &mut reply.status, &mut reply.headers);
            }
            let mut response = Response::new(reply.status, reply.body);
            response.headers = reply.headers;
            response
        }
        Err(error) => {
            tracing::warn!(api = %facts.target.id, route = %facts.route_key, request_id = %facts.request_id, %error, "an integration gave no answer");
            outcome.integration_error = Some(error.to_string());
            let (status, text) = match error {
                InvokeError::TimedOut | InvokeError::Throttled => {
                    (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
                }
                InvokeError::Failed(_) if integration.integration_type.as_deref() == Some("HTTP_PROXY") => {
                    (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
                }
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            };
            outcome.error_message = Some(text);
            message(status, None, text)
        }
    }
}

async fn integrate(
    cx: &Cx,
    integration: &IntegrationRow,
    facts: &Facts,
    matched: &Matched,
) -> Result<Reply, InvokeError> {
    let millis =
        integration.timeout_in_millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(30_000);
    let timeout = Duration::from_millis(millis);
    if integration.integration_subtype.is_some() {
        let source = Source { facts, response: None };
        let call = services::call(cx, integration, &source);
        let response = crate::invoke::within(cx, timeout, call).await?;
        let body = match response.body {
            ResponseBody::Bytes(body) => body,
            ResponseBody::Stream(_) => Bytes::new(),
        };
        return Ok(Reply { status: response.status, headers: response.headers, body });
    }
    let uri = integration.integration_uri.as_deref().unwrap_or_default();
    let uri = mapping::address(uri, &matched.parameters, &facts.variables);
    match integration.integration_type.as_deref() {
        Some("AWS_PROXY") => function(cx, integration, facts, &uri, timeout).await,
        _ => proxy(cx, integration, facts, uri, timeout).await,
    }
}

async fn function(
    cx: &Cx,
    integration: &IntegrationRow,
    facts: &Facts,
    uri: &str,
    timeout: Duration,
) -> Result<Reply, InvokeError> {
    let function = of_uri(uri).ok_or_else(|| InvokeError::Address(uri.to_owned()))?;
    let source = Arn::parse(&facts.route_arn()).map_err(|error| InvokeError::Failed(error.to_string()))?;
    let (payload, format) = match integration.payload_format_version.as_deref() {
        Some("2.0") => (event::version2(facts, None), Format::V2),
        _ => (event::version1(facts, None), Format::V1),
    };
    if payload.len() > MAX_EVENT {
        return Err(InvokeError::Failed(format!(
            "an event of {} bytes is too large for a function",
            payload.len()
        )));
    }
    let credentials = integration.credentials_arn.as_deref();
    let call = FunctionCall { function, payload: payload.into(), credentials, source: &source, timeout };
    let answer = invoke(cx, call).await?;
    reply::read(&answer, format)
        .ok_or_else(|| InvokeError::Failed("The response from the Lambda function is malformed".to_owned()))
}

/// Headers that belong to one connection.
const HOP_BY_HOP: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
];

async fn proxy(
    cx: &Cx,
    integration: &IntegrationRow,
    facts: &Facts,
    mut uri: String,
    timeout: Duration,
) -> Result<Reply, InvokeError> {
    let method = match integration.integration_method.as_deref() {
        None | Some("ANY") => facts.method.clone(),
        Some(method) => {
            Method::from_bytes(method.as_bytes()).map_err(|_| InvokeError::Address(method.to_owned()))?
        }
    };
    let mut headers: HeaderMap = facts.headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let host = &facts.target.domain_name;
    let proto = if facts.is_secure { "https" } else { "http" };
    let forwarded = format!("for={};host={host};proto={proto}", facts.source_ip);
    if let Ok(value) = HeaderValue::try_from(forwarded) {
        headers.append(header::FORWARDED, value);
    }
    headers.append(header::VIA, HeaderValue::from_static("HTTP/1.1 AmazonAPIGateway"));
    let mut out = Outgoing { headers, query: Vec::new(), path: None };
    let parameters = integration.request_parameters.as_ref().filter(|parameters| !parameters.is_empty());
    let mut query = facts.query.clone();
    if let Some(parameters) = parameters {
        out.query = super::context::query_pairs(&facts.query).collect();
        mapping::request(parameters, &Source { facts, response: None }, &mut out);
        query = mapping::write_query(&out.query);
    }
    // Chosen: an address without a path behind the catch-all route stands for all paths.
    let after_scheme = uri.find("://").map_or(0, |at| at + 3);
    let has_path = uri[after_scheme..].find('/').is_some_and(|at| after_scheme + at + 1 < uri.len());
    if let Some(path) = &out.path {
        let end = uri[after_scheme..].find(['/', '?']).map_or(uri.len(), |at| after_scheme + at);
        uri.truncate(end);
        uri.push_str(if path.starts_with('/') { "" } else { "/" });
        uri.push_str(path);
    } else if !has_path && facts.route_key == "$default" {
        uri = format!("{}{}", uri.trim_end_matches('/'), facts.target.path);
    }
    if !query.is_empty() {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(&query);
    }
    let mut request = Request::builder().method(method).uri(&uri);
    if let Some(own) = request.headers_mut() {
        *own = out.headers;
    }
    let request = request.body(facts.body.clone()).map_err(|_| InvokeError::Address(uri))?;
    let (head, body) = backend::send(cx, request, timeout).await?.into_parts();
    let mut headers = head.headers;
    reply::clean(&mut headers);
    Ok(Reply { status: head.status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_have_awss_form() {
        let id = request_id("0123abcd-4567-4890-abcd-ef0123456789");
        assert_eq!((id.len(), id.ends_with('=')), (16, true), "{id}");
    }
}
