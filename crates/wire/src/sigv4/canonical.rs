//! The canonical request and the string to sign.
//!
//! Works on bytes: header values and paths need not be UTF-8.
//!
//! Source: IAM User Guide, "Create a signed AWS API request" (canonical URI, query string, headers).

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;

use super::key::sha256_hex;
use super::{ALGORITHM, Scope};

/// A request as it came over the wire: nothing decoded, nothing normalised.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    pub method: &'a str,
    /// The path as sent, still percent-encoded; empty stands for `/`.
    pub path: &'a str,
    /// What follows `?`, as sent; empty if nothing.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// `:authority` of an HTTP/2 request; stands for `Host` where that header is absent.
    pub authority: Option<&'a str>,
}

/// Without headers and query: they hold signatures and tokens.
impl fmt::Debug for RequestView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestView({} {})", self.method, self.path)
    }
}

/// How a path becomes canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRule {
    /// Encode the encoded path once more, so that `%` becomes `%25`.
    pub double_encode: bool,
    /// Resolve `.` and `..`, drop empty segments.
    pub normalise: bool,
}

impl PathRule {
    /// Object keys may hold `//` and `..`: the path is taken as it is.
    pub const S3: PathRule = PathRule { double_encode: false, normalise: false };
    /// All other services.
    pub const STANDARD: PathRule = PathRule { double_encode: true, normalise: true };
}

/// Clients differ in what they percent-encode on the wire; these are the readings that a verifier tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanonicalForm {
    /// Escapes in the path stay as sent, what is not escaped but should be is; query decoded and encoded again.
    Standard,
    /// Path decoded and encoded again: `%7E` becomes `~`.
    Decoded,
    /// Path and query pairs exactly as sent, pairs sorted.
    AsSent,
}

/// The canonical request. `skip` names query parameters that are not part of it.
pub fn canonical_request(
    request: &RequestView<'_>,
    signed_headers: &[String],
    payload_hash: &str,
    rule: PathRule,
    form: CanonicalForm,
    skip: &[&str],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(canonical_path(request.path, rule, form).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(canonical_query(request.query, form, skip).as_bytes());
    out.push(b'\n');
    for name in signed_headers {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        append_header_values(&mut out, request, name);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    out
}

/// `date` is the request's time as signed (`YYYYMMDDTHHMMSSZ`).
pub fn string_to_sign(date: &str, scope: &Scope, canonical_request: &[u8]) -> String {
    format!(
        "{ALGORITHM}\n{date}\n{}/{}/{}/{}\n{}",
        scope.date,
        scope.region,
        scope.service,
        scope.terminator,
        sha256_hex(canonical_request)
    )
}

/// Values of one name in the order sent, joined by commas, runs of white space folded into one space.
fn append_header_values(out: &mut Vec<u8>, request: &RequestView<'_>, name: &str) {
    let mut found = false;
    for value in request.headers.get_all(name) {
        if found {
            out.push(b',');
        }
        found = true;
        append_folded(out, value.as_bytes());
    }
    if !found && matches!(name, "host" | ":authority") {
        append_folded(out, request.authority.unwrap_or_default().as_bytes());
    }
}

fn append_folded(out: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

pub(super) fn canonical_path(path: &str, rule: PathRule, form: CanonicalForm) -> String {
    let path = if path.is_empty() { "/" } else { path };
    let path = if rule.normalise { Cow::Owned(normalise(path)) } else { Cow::Borrowed(path) };
    match form {
        CanonicalForm::AsSent if !rule.double_encode => path.into_owned(),
        _ if rule.double_encode => encode(path.as_bytes(), Keep { slash: true, escapes: false }),
        CanonicalForm::Decoded => encode(&percent_decode(&path), Keep { slash: true, escapes: false }),
        _ => encode(path.as_bytes(), Keep { slash: true, escapes: true }),
    }
}

/// RFC 3986 "remove dot segments", and empty segments dropped; a trailing slash stays.
fn normalise(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let directory = path.ends_with('/') && !kept.is_empty();
    format!("/{}{}", kept.join("/"), if directory { "/" } else { "" })
}

pub(super) fn canonical_query(query: &str, form: CanonicalForm, skip: &[&str]) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| !skip.contains(name))
        .map(|(name, value)| match form {
            CanonicalForm::AsSent => (Cow::Borrowed(name), Cow::Borrowed(value)),
            _ => (Cow::Owned(reencode(name)), Cow::Owned(reencode(value))),
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn reencode(text: &str) -> String {
    uri_encode(&percent_decode(text))
}

/// Percent-encodes everything but letters, digits, `-`, `.`, `_` and `~`, with uppercase hex.
pub fn uri_encode(bytes: &[u8]) -> String {
    encode(bytes, Keep { slash: false, escapes: false })
}

#[derive(Clone, Copy)]
struct Keep {
    slash: bool,
    escapes: bool,
}

fn encode(bytes: &[u8], keep: Keep) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len() + bytes.len() / 8);
    for (index, &byte) in bytes.iter().enumerate() {
        let escape = keep.escapes && byte == b'%' && is_escape(&bytes[index..]);
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if plain || escape || (keep.slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

fn is_escape(bytes: &[u8]) -> bool {
    bytes.len() >= 3 && bytes[1].is_ascii_hexdigit() && bytes[2].is_ascii_hexdigit()
}

/// Undoes percent-encoding; what is not an escape stays as it is, `+` too.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let rest = &bytes[index..];
        if rest[0] == b'%' && is_escape(rest) {
            out.push(hex_value(rest[1]) << 4 | hex_value(rest[2]));
            index += 3;
        } else {
            out.push(rest[0]);
            index += 1;
        }
    }
    out
}

fn hex_value(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}
