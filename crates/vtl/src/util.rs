//! The functions of `$util` that need nothing but their arguments.
//!
//! Source: Amazon API Gateway Developer Guide, "Variables for data transformations for API Gateway" ($util variables).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value as Json;

use crate::VtlError;
use crate::render::text;
use crate::value::{Heap, Value};

/// A method of `$util`.
///
/// # Errors
/// `Failed` for text that is not what the function reads, and for functions that there are not.
pub fn call(name: &str, arguments: &[Value], heap: &mut Heap) -> Result<Value, VtlError> {
    let argument = arguments.first().map(|value| text(heap, value)).unwrap_or_default();
    let made = match name {
        "escapeJavaScript" => escape_javascript(&argument),
        "parseJson" => {
            let json: Json = serde_json::from_str(&argument)
                .map_err(|error| VtlError::failed(format!("$util.parseJson: {error}")))?;
            return heap.from_json(&json);
        }
        "urlEncode" => url_encode(&argument),
        "urlDecode" => url_decode(&argument),
        "base64Encode" => STANDARD.encode(argument),
        "base64Decode" => {
            let trimmed = argument.trim().trim_end_matches('=');
            let bytes = STANDARD_NO_PAD
                .decode(trimmed)
                .map_err(|error| VtlError::failed(format!("$util.base64Decode: {error}")))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        other => return Err(VtlError::failed(format!("$util.{other} is not available"))),
    };
    heap.string(made)
}

/// Quotes, slashes and control characters with a backslash, everything outside ASCII as `\uXXXX`.
pub fn escape_javascript(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(char),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out
}

/// As `java.net.URLEncoder`.
pub fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// As `java.net.URLDecoder`; what is no escape stays.
pub fn url_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
