//! Which route a message takes, and what its integration answers.
//!
//! Source: Developer Guide, "Create routes for WebSocket APIs in API Gateway", "Set up a WebSocket API integration responses in API
//! Gateway", "Set up WebSocket API integration requests in API Gateway".

use std::time::Duration;

use bytes::Bytes;
use fancy_regex::Regex;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use pileus_core::Arn;
use pileus_platform::Cx;
use serde_json::Value;

use super::event::{Happening, context, event};
use super::template::{Input, run};
use crate::http::compiled::Stage;
use crate::http::context::bare;
use crate::http::mapping::{address, at_path};
use crate::http::rows::{IntegrationResponseRow, IntegrationRow, RouteRow};
use crate::invoke::function::{FunctionCall, invoke, of_uri};
use crate::invoke::{InvokeError, backend};

/// The value of `$request.body.action`, or of several such in one text: `${request.body.a}-${request.body.b}`. Empty where the
/// message has none.
pub fn select(expression: &str, message: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(message).ok();
    let value = |selection: &str| {
        let path = selection.strip_prefix("request.body").map(|path| path.trim_start_matches('.'));
        match (path, &parsed) {
            (Some(""), _) => message.to_owned(),
            (Some(path), Some(body)) => at_path(body, path).map(bare).unwrap_or_default(),
            _ => String::new(),
        }
    };
    if let Some(selection) = expression.strip_prefix('$').filter(|rest| !rest.starts_with('{')) {
        return value(selection);
    }
    let mut out = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once("${") {
        let (selection, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&value(selection));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The route by its key, and its place.
pub fn by_key<'s>(stage: &'s Stage, key: &str) -> Option<(usize, &'s RouteRow)> {
    stage.definition.routes.iter().enumerate().find(|(_, route)| route.route_key.as_deref() == Some(key))
}

/// The route of a message: by the API's selection expression, else `$default`.
pub fn of_message<'s>(stage: &'s Stage, message: &str) -> Option<(usize, &'s RouteRow)> {
    let expression = stage.definition.route_selection_expression.as_deref().unwrap_or_default();
    let key = select(expression, message);
    let is_own = !matches!(key.as_str(), "" | "$connect" | "$disconnect" | "$default");
    let chosen = if is_own { by_key(stage, &key) } else { None };
    chosen.or_else(|| by_key(stage, "$default"))
}

/// Whether the route's answers go back to the client.
pub fn answers(stage: &Stage, route: &RouteRow) -> bool {
    let id = route.route_id.as_deref().unwrap_or_default();
    route.route_response_selection_expression.as_deref() == Some("$default")
        && stage.definition.route_responses.iter().any(|(parent, _)| parent == id)
}

/// What an integration answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Runs a route's integration; `None` if it has none.
///
/// # Errors
/// Every way in which there is no answer.
pub async fn integrate(
    cx: &Cx,
    stage: &Stage,
    route: &RouteRow,
    happening: &Happening<'_>,
) -> Result<Option<Answer>, InvokeError> {
    let Some(integration) = stage.integration(route) else { return Ok(None) };
    let millis =
        integration.timeout_in_millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(29_000);
    let timeout = Duration::from_millis(millis);
    let uri = integration.integration_uri.as_deref().unwrap_or_default();
    let uri = address(uri, &[], happening.variables);
    let answer = match integration.integration_type.as_deref() {
        Some("AWS_PROXY") => {
            let payload = Bytes::from(event(happening).to_string());
            let answer = function(cx, integration, happening, &uri, payload, timeout).await?;
            return Ok(Some(proxied(&answer)));
        }
        Some("AWS") => {
            let payload = match request_body(integration, happening)? {
                body if body.is_empty() => Bytes::from_static(b"{}"),
                body => Bytes::from(body),
            };
            let answer = function(cx, integration, happening, &uri, payload, timeout).await?;
            Answer { status: 200, body: String::from_utf8_lossy(&answer).into_owned(), ..Answer::default() }
        }
        Some("MOCK") => {
            let body = request_body(integration, happening)?;
            let given: Option<Value> = serde_json::from_str(&body).ok();
            let status = given.as_ref().and_then(|given| given.get("statusCode")).and_then(Value::as_u64);
            let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
            Answer { status, ..Answer::default() }
        }
        Some("HTTP_PROXY") => {
            let body = happening.body.unwrap_or_default().to_owned();
            return backend_answer(cx, integration, happening, &uri, body, timeout).await.map(Some);
        }
        _ => {
            let body = request_body(integration, happening)?;
            backend_answer(cx, integration, happening, &uri, body, timeout).await?
        }
    };
    respond(stage, integration, happening, answer).map(Some)
}

/// A function's answer in a proxy integration: status and body, if it has that form.
fn proxied(answer: &[u8]) -> Answer {
    let parsed: Value = serde_json::from_slice(answer).unwrap_or_default();
    let status =
        parsed.get("statusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let mut headers = HeaderMap::new();
    for (name, value) in parsed.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let header = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(bare(value)));
        if let (Ok(name), Ok(value)) = header {
            headers.insert(name, value);
        }
    }
    let body = match parsed.get("body") {
        Some(Value::Null) | None => String::new(),
        Some(body) => bare(body),
    };
    Answer { status: status.unwrap_or(200), headers, body }
}

async fn function(
    cx: &Cx,
    integration: &IntegrationRow,
    happening: &Happening<'_>,
    uri: &str,
    payload: Bytes,
    timeout: Duration,
) -> Result<Bytes, InvokeError> {
    let function = of_uri(uri).ok_or_else(|| InvokeError::Address(uri.to_owned()))?;
    let row = happening.row;
    let source = format!(
        "arn:{}:execute-api:{}:{}:{}/{}/{}",
        row.region.partition(),
        row.region,
        row.account,
        row.api_id,
        row.stage,
        happening.route_key
    );
    let source = Arn::parse(&source).map_err(|error| InvokeError::Failed(error.to_string()))?;
    let credentials = integration.credentials_arn.as_deref();
    invoke(cx, FunctionCall { function, payload, credentials, source: &source, timeout }).await
}

fn template_input<'a>(body: &'a str, context: &'a Value, happening: &'a Happening<'_>) -> Input<'a> {
    Input { body, context, variables: happening.variables }
}

fn failed(error: pileus_vtl::VtlError) -> InvokeError {
    InvokeError::Failed(format!("a template failed: {error}"))
}

/// The message as the integration's template makes it.
fn request_body(integration: &IntegrationRow, happening: &Happening<'_>) -> Result<String, InvokeError> {
    let message = happening.body.unwrap_or_default();
    let templates = integration.request_templates.iter().flatten();
    let expression = integration.template_selection_expression.as_deref().unwrap_or("$default");
    let wanted = match expression.trim_start_matches('\\') {
        "$default" => "$default".to_owned(),
        other => select(other, message),
    };
    let mut by_key = templates.clone().filter(|(key, _)| **key == wanted);
    let mut by_default = templates.filter(|(key, _)| key.as_str() == "$default");
    match by_key.next().or_else(|| by_default.next()) {
        Some((_, template)) => {
            let context = context(happening);
            run(template, &template_input(message, &context, happening)).map_err(failed)
        }
        None if integration.passthrough_behavior.as_deref() == Some("NEVER") => {
            Err(InvokeError::Failed("no template fits the message".to_owned()))
        }
        None => Ok(message.to_owned()),
    }
}

/// The answer as the integration's response for its status makes it.
fn respond(
    stage: &Stage,
    integration: &IntegrationRow,
    happening: &Happening<'_>,
    answer: Answer,
) -> Result<Answer, InvokeError> {
    let id = integration.integration_id.as_deref().unwrap_or_default();
    let responses = stage.definition.integration_responses.iter().filter(|(parent, _)| parent == id);
    let responses: Vec<&IntegrationResponseRow> = responses.map(|(_, response)| response).collect();
    let status = answer.status.to_string();
    let fits = |response: &&&IntegrationResponseRow| {
        let key = response.integration_response_key.as_deref().unwrap_or_default();
        let pattern = key.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let whole = pattern.and_then(|pattern| Regex::new(&format!("^(?:{pattern})$")).ok());
        whole.is_some_and(|whole| whole.is_match(&status).unwrap_or(false))
    };
    let is_default = |response: &&&IntegrationResponseRow| {
        response.integration_response_key.as_deref() == Some("$default")
    };
    let chosen = responses.iter().find(fits).or_else(|| responses.iter().find(is_default));
    let Some(response) = chosen else { return Ok(answer) };
    let mut templates = response.response_templates.iter().flatten();
    let expression = response.template_selection_expression.as_deref().unwrap_or("$default");
    let wanted = expression.trim_start_matches('\\');
    let found = templates.clone().find(|(key, _)| key.as_str() == wanted).or_else(|| templates.next());
    let Some((_, template)) = found else { return Ok(answer) };
    let context = context(happening);
    let body = run(template, &template_input(&answer.body, &context, happening)).map_err(failed)?;
    Ok(Answer { body, ..answer })
}

async fn backend_answer(
    cx: &Cx,
    integration: &IntegrationRow,
    happening: &Happening<'_>,
    uri: &str,
    body: String,
    timeout: Duration,
) -> Result<Answer, InvokeError> {
    let method =
        integration.integration_method.as_deref().filter(|method| *method != "ANY").unwrap_or("POST");
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| InvokeError::Address(method.to_owned()))?;
    let mut request = Request::builder().method(method).uri(uri);
    let context = context(happening);
    for (key, expression) in integration.request_parameters.iter().flatten() {
        let Some(name) = key.strip_prefix("integration.request.header.") else { continue };
        if let Some(value) = parameter(expression, happening, &context) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Bytes::from(body)).map_err(|_| InvokeError::Address(uri.to_owned()))?;
    let answer = backend::send(cx, request, timeout).await?;
    let (head, body) = answer.into_parts();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// `'text'`, `context.connectionId`, `stageVariables.x`, `route.request.body.a`, `route.request.header.x`.
fn parameter(expression: &str, happening: &Happening<'_>, context: &Value) -> Option<String> {
    if let Some(text) = expression.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(text.to_owned());
    }
    if let Some(name) = expression.strip_prefix("context.") {
        return at_path(context, name).map(bare);
    }
    if let Some(name) = expression.strip_prefix("stageVariables.") {
        return happening.variables.get(name).cloned();
    }
    if let Some(path) = expression.strip_prefix("route.request.body.") {
        let parsed: Value = serde_json::from_str(happening.body?).ok()?;
        return at_path(&parsed, path).map(bare);
    }
    let (headers, query) = happening.request?;
    if let Some(name) = expression.strip_prefix("route.request.header.") {
        return headers.get(name)?.to_str().ok().map(str::to_owned);
    }
    let name = expression.strip_prefix("route.request.querystring.")?;
    crate::http::context::query_pairs(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_routes() {
        let cases = [
            ("$request.body.action", r#"{"action":"send"}"#, "send"),
            ("$request.body.a.b", r#"{"a":{"b":1}}"#, "1"),
            ("${request.body.a}-${request.body.b}", r#"{"a":"x","b":"y"}"#, "x-y"),
            ("$request.body.action", "not json", ""),
            ("$request.body.action", "{}", ""),
            ("$request.body", "whole", "whole"),
            ("fixed", "{}", "fixed"),
        ];
        for (expression, message, expected) in cases {
            assert_eq!(select(expression, message), expected, "{expression} {message}");
        }
    }

    #[test]
    fn answers_of_functions_may_have_a_status_and_a_body() {
        let cases = [
            (r#"{"statusCode":403}"#, 403, ""),
            (r#"{"statusCode":200,"body":"hi"}"#, 200, "hi"),
            ("null", 200, ""),
            (r#""text""#, 200, ""),
            (r#"{"statusCode":70000}"#, 200, ""),
        ];
        for (answer, status, body) in cases {
            let got = proxied(answer.as_bytes());
            assert_eq!((got.status, got.body.as_str()), (status, body), "{answer}");
        }
    }
}
