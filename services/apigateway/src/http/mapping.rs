//! Parameter mapping: what an integration changes in a request before it is sent, and in an answer before it is given. Pure.
//!
//! Source: Developer Guide, "Transform API requests and responses for HTTP APIs in API Gateway".

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::context::{Facts, bare, joined, percent_decoded};
use super::rows::IntegrationRow;
use crate::error::GatewayError;

/// What expressions are read from.
pub struct Source<'a> {
    pub facts: &'a Facts,
    /// Headers and body of the integration's answer.
    pub response: Option<(&'a HeaderMap, &'a [u8])>,
}

/// Headers that no mapping may touch.
const RESERVED: [&str; 12] = [
    "access-control-",
    "apigw-",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "forwarded",
    "keep-alive",
    "origin",
    "transfer-encoding",
    "x-amz",
];

fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.iter().any(|own| match own.ends_with('-') || *own == "x-amz" {
        true => name.starts_with(own),
        false => name == *own,
    })
}

/// # Errors
/// `BadRequestException` for a key that is none.
pub fn check(row: &IntegrationRow) -> Result<(), GatewayError> {
    let bad = |key: &str| GatewayError::bad(format!("Invalid mapping expression specified: {key}"));
    if row.integration_subtype.is_none() {
        for (key, value) in row.request_parameters.iter().flatten() {
            let (operation, target) = key.split_once(':').ok_or_else(|| bad(key))?;
            let named = target.strip_prefix("header.").or_else(|| target.strip_prefix("querystring."));
            let is_known = matches!(operation, "append" | "overwrite" | "remove")
                && named.is_some_and(|name| !name.is_empty());
            if !(is_known || (operation == "overwrite" && target == "path")) {
                return Err(bad(key));
            }
            if let Some(name) = target.strip_prefix("header.").filter(|name| is_reserved(name)) {
                return Err(GatewayError::bad(format!("Operations on header {name} are restricted")));
            }
            if operation == "remove" && !matches!(value.as_str(), "" | "''") {
                return Err(bad(key));
            }
        }
    }
    for (status, changes) in row.response_parameters.iter().flatten() {
        if !status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)) {
            return Err(GatewayError::bad("Response parameters are keyed by status codes from 200 to 599"));
        }
        for key in changes.keys() {
            let (operation, target) = key.split_once(':').ok_or_else(|| bad(key))?;
            let is_header = target.strip_prefix("header.").is_some_and(|name| !name.is_empty());
            let is_known = matches!(operation, "append" | "overwrite" | "remove") && is_header;
            if !(is_known || (operation == "overwrite" && target == "statuscode")) {
                return Err(bad(key));
            }
            if let Some(name) = target.strip_prefix("header.").filter(|name| is_reserved(name)) {
                return Err(GatewayError::bad(format!("Operations on header {name} are restricted")));
            }
        }
    }
    Ok(())
}

/// The value of an expression: `$request.header.name`, `prefix/${request.path.id}`, or plain text.
pub fn value(expression: &str, source: &Source<'_>) -> Option<String> {
    if let Some(selection) = expression.strip_prefix('$').filter(|rest| !rest.starts_with('{')) {
        return selected(selection, source);
    }
    if !expression.contains("${") {
        return Some(expression.to_owned());
    }
    let mut out = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((selection, after)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        out.push_str(&selected(selection, source).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

fn selected(selection: &str, source: &Source<'_>) -> Option<String> {
    let facts = source.facts;
    let (root, rest) = selection.split_once('.').unwrap_or((selection, ""));
    match root {
        "context" => facts.variable(rest),
        "stageVariables" => facts.variables.get(rest).cloned(),
        "request" => {
            let (part, name) = rest.split_once('.').unwrap_or((rest, ""));
            match (part, name) {
                ("header", name) => facts.header(&name.to_ascii_lowercase()),
                ("querystring", name) => facts.query_parameter(name),
                ("path", "") => Some(facts.raw_path.clone()),
                ("path", name) => facts.path_parameter(name).map(str::to_owned),
                ("method", "") => Some(facts.method.to_string()),
                ("body", path) => in_body(&facts.body, path),
                _ => None,
            }
        }
        "response" => {
            let (headers, body) = source.response?;
            let (part, name) = rest.split_once('.').unwrap_or((rest, ""));
            match part {
                "header" => joined(headers, &name.to_ascii_lowercase()),
                "body" => in_body(body, name),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The body, or what a path of names and places leads to in it: `a.b[0].c`.
fn in_body(body: &[u8], path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(String::from_utf8_lossy(body).into_owned());
    }
    let parsed: Value = serde_json::from_slice(body).ok()?;
    at_path(&parsed, path).map(bare)
}

/// Names separated by dots, with places in brackets: `a.b[0].c`. Without `..` and filters, which AWS does not take either.
pub fn at_path<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let mut at = value;
    for step in path.split('.') {
        let (name, places) = match step.find('[') {
            Some(bracket) => step.split_at(bracket),
            None => (step, ""),
        };
        if !name.is_empty() {
            at = at.get(name)?;
        }
        for place in places.split('[').skip(1) {
            let place = place.strip_suffix(']')?;
            at = match place.parse::<usize>() {
                Ok(index) => at.get(index)?,
                Err(_) => at.get(place.trim_matches(['\'', '"']))?,
            };
        }
    }
    Some(at)
}

/// A request on its way to a backend.
#[derive(Debug, Default, PartialEq)]
pub struct Outgoing {
    pub headers: HeaderMap,
    pub query: Vec<(String, String)>,
    /// Instead of what the address says.
    pub path: Option<String>,
}

/// Changes the request as the integration's parameters say.
pub fn request(parameters: &BTreeMap<String, String>, source: &Source<'_>, out: &mut Outgoing) {
    for (key, expression) in parameters {
        let Some((operation, target)) = key.split_once(':') else { continue };
        let given = if operation == "remove" { None } else { value(expression, source) };
        if target == "path" {
            out.path = given.or(out.path.take());
        } else if let Some(name) = target.strip_prefix("header.") {
            change_header(&mut out.headers, operation, name, given);
        } else if let Some(name) = target.strip_prefix("querystring.") {
            change_query(&mut out.query, operation, name, given);
        }
    }
}

/// Changes the answer as the integration's parameters for its status say.
pub fn response(
    parameters: &BTreeMap<String, String>,
    source: &Source<'_>,
    status: &mut StatusCode,
    headers: &mut HeaderMap,
) {
    let mut changed = headers.clone();
    for (key, expression) in parameters {
        let Some((operation, target)) = key.split_once(':') else { continue };
        let given = if operation == "remove" { None } else { value(expression, source) };
        if target == "statuscode" {
            let code = given.and_then(|given| given.parse().ok());
            *status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(*status);
        } else if let Some(name) = target.strip_prefix("header.") {
            change_header(&mut changed, operation, name, given);
        }
    }
    *headers = changed;
}

fn change_header(headers: &mut HeaderMap, operation: &str, name: &str, given: Option<String>) {
    let Ok(name) = HeaderName::try_from(name) else { return };
    let given = given.and_then(|given| HeaderValue::try_from(given).ok());
    match (operation, given) {
        ("append", Some(given)) => {
            headers.append(name, given);
        }
        ("overwrite", Some(given)) => {
            headers.insert(name, given);
        }
        ("remove", _) => {
            headers.remove(name);
        }
        _ => {}
    }
}

/// What is overwritten keeps its place.
fn change_query(query: &mut Vec<(String, String)>, operation: &str, name: &str, given: Option<String>) {
    match (operation, given) {
        ("append", Some(given)) => query.push((name.to_owned(), given)),
        ("overwrite", Some(given)) => match query.iter().position(|(key, _)| key == name) {
            Some(at) => {
                query[at].1 = given;
                let mut index = 0;
                query.retain(|(key, _)| {
                    index += 1;
                    index <= at + 1 || key != name
                });
            }
            None => query.push((name.to_owned(), given)),
        },
        ("remove", _) => query.retain(|(key, _)| key != name),
        _ => {}
    }
}

/// Puts variables of the path (as they were sent) and of the stage into an integration's address.
pub fn address(uri: &str, path: &[(String, String)], variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = rest.find('{') {
        let Some(length) = rest[at..].find('}') else { break };
        let inner = &rest[at + 1..at + length];
        let before = &rest[..at];
        match (before.strip_suffix('$'), inner.strip_prefix("stageVariables.")) {
            (Some(before), Some(name)) => {
                out.push_str(before);
                out.push_str(variables.get(name).map(String::as_str).unwrap_or_default());
            }
            _ => {
                out.push_str(before);
                match path.iter().find(|(name, _)| name == inner.trim_end_matches('+')) {
                    Some((_, value)) => out.push_str(value),
                    None => out.push_str(&rest[at..=at + length]),
                }
            }
        }
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    out
}

/// A query as it is sent.
pub fn write_query(pairs: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        encode_into(&mut out, name);
        out.push('=');
        encode_into(&mut out, value);
    }
    out
}

fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => {
                let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit & 15)]);
                out.extend(['%', hex(byte >> 4), hex(byte)]);
            }
        }
    }
}

/// Decoded names and values of path parameters.
pub fn decoded(raw: &[(String, String)]) -> Vec<(String, String)> {
    raw.iter().map(|(name, value)| (name.clone(), percent_decoded(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_take_variables_of_the_path_and_the_stage() {
        let path = [("proxy".to_owned(), "a/b%20c".to_owned()), ("id".to_owned(), "7".to_owned())];
        let variables = BTreeMap::from([("host".to_owned(), "example.com".to_owned())]);
        let cases = [
            ("https://${stageVariables.host}/x/{proxy}", "https://example.com/x/a/b%20c"),
            ("https://h/{id}/{other}", "https://h/7/{other}"),
            ("https://h/{proxy+}", "https://h/a/b%20c"),
            ("https://h/{", "https://h/{"),
            ("arn:f:${stageVariables.none}", "arn:f:"),
        ];
        for (uri, expected) in cases {
            assert_eq!(address(uri, &path, &variables), expected, "{uri}");
        }
    }

    #[test]
    fn paths_lead_into_bodies() {
        let body = json!({ "a": { "b": [1, { "c": "x" }] }, "d e": true });
        let cases = [
            ("a.b[1].c", Some(json!("x"))),
            ("a.b[0]", Some(json!(1))),
            ("['d e']", Some(json!(true))),
            ("a.c", None),
            ("a.b[9]", None),
            ("a.b[", None),
        ];
        for (path, expected) in cases {
            assert_eq!(at_path(&body, path).cloned(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_overwritten_in_a_query_keeps_its_place() {
        let pairs = |text: &str| super::super::context::query_pairs(text).collect::<Vec<_>>();
        let cases = [
            ("overwrite", Some("x"), "a=1&q=2&b=3&q=4", "a=1&q=x&b=3"),
            ("overwrite", Some("x"), "a=1", "a=1&q=x"),
            ("overwrite", None, "a=1&q=2", "a=1&q=2"),
            ("append", Some("x"), "q=2&b=3", "q=2&b=3&q=x"),
            ("append", None, "q=2", "q=2"),
            ("remove", None, "q=1&a=1&q=2", "a=1"),
        ];
        for (operation, given, before, after) in cases {
            let mut query = pairs(before);
            change_query(&mut query, operation, "q", given.map(str::to_owned));
            assert_eq!(query, pairs(after), "{operation} {before}");
        }
    }

    #[test]
    fn headers_that_are_the_gateways_are_not_mapped() {
        let row = |key: &str, value: &str| IntegrationRow {
            request_parameters: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            ..IntegrationRow::default()
        };
        let good = [
            ("append:header.x", "$context.requestId"),
            ("remove:querystring.q", "''"),
            ("overwrite:path", "/x"),
        ];
        let bad = [
            ("header.x", "1"),
            ("append:path", "/x"),
            ("overwrite:header.authorization", "x"),
            ("append:header.x-amz-date", "x"),
            ("remove:header.x", "value"),
            ("append:header.", "x"),
        ];
        assert!(good.iter().all(|(key, value)| check(&row(key, value)).is_ok()));
        for (key, value) in bad {
            assert!(check(&row(key, value)).is_err(), "{key}");
        }
    }
}
