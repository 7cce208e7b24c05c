//! The conformance probe of kind `sigv4`: a raw request and a context in, signature and its two inputs out.

use http::{HeaderMap, HeaderName, HeaderValue};
use pileus_core::Timestamp;
use serde_json::{Value, json};

use super::canonical::{PathRule, RequestView};
use super::key::sha256_hex;
use super::{Credentials, PayloadMode, Signing, sign};

/// Signs `request` (raw HTTP text) by `context` in header form.
///
/// # Errors
/// A sentence that names the member which is missing or unreadable.
pub fn probe(value: &Value) -> Result<Value, String> {
    let context = value.get("context").ok_or("`context` is missing")?;
    let raw = text(value, "request")?;
    let request = RawRequest::parse(raw)?;
    let credentials = context.get("credentials").ok_or("`credentials` is missing")?;
    let now = parse_time(text(context, "timestamp")?)?;
    let sign_body = flag(context, "sign_body");
    let payload = match request.body.as_bytes() {
        [] => PayloadMode::Absent,
        body => PayloadMode::Sha256(sha256_hex(body)),
    };
    let signing = Signing {
        credentials: Credentials {
            access_key: text(credentials, "access_key_id")?,
            secret_key: text(credentials, "secret_access_key")?,
            session_token: credentials.get("token").and_then(Value::as_str),
        },
        region: text(context, "region")?,
        service: text(context, "service")?,
        now,
        // The suite's paths are meant as not yet encoded, so that one encoding is what the wire would add.
        path: PathRule { double_encode: false, normalise: flag(context, "normalize") },
        payload,
        send_payload_hash: sign_body,
        omit_session_token: flag(context, "omit_session_token"),
    };
    let view = RequestView {
        method: request.method,
        path: request.path,
        query: request.query,
        headers: &request.headers,
        authority: None,
    };
    let signed = sign(&view, &signing);
    Ok(json!({
        "signature": signed.signature,
        "canonical": String::from_utf8_lossy(&signed.canonical_request),
        "sts": signed.string_to_sign,
    }))
}

struct RawRequest<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: HeaderMap,
    body: &'a str,
}

impl<'a> RawRequest<'a> {
    /// The target may hold spaces: it lies between the first and the last one of its line.
    fn parse(raw: &'a str) -> Result<RawRequest<'a>, String> {
        let (line, rest) = raw.split_once('\n').unwrap_or((raw, ""));
        let line = line.trim_end_matches('\r');
        let (method, rest_of_line) = line.split_once(' ').ok_or("the request line has no target")?;
        let target = match rest_of_line.rsplit_once(' ') {
            Some((target, version)) if version.starts_with("HTTP/") => target,
            _ => rest_of_line,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (head, body) = split_head(rest);
        Ok(RawRequest { method, path, query, headers: parse_headers(head)?, body })
    }
}

fn split_head(rest: &str) -> (&str, &str) {
    if let Some(body) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
        return ("", body);
    }
    rest.split_once("\r\n\r\n").or_else(|| rest.split_once("\n\n")).unwrap_or((rest, ""))
}

/// A line that begins with white space continues the one before.
fn parse_headers(head: &str) -> Result<HeaderMap, String> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    let mut headers = HeaderMap::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("not a header: {line}"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|error| error.to_string())?;
        // The signer sets the date from the context.
        if name != "x-amz-date" {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// `2015-08-30T12:36:00Z` or the basic form.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let basic: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Timestamp::parse_basic(&basic).ok_or_else(|| format!("not a timestamp: {text}"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is missing or not a string"))
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}
