//! Responses, as functions give them: pure.
//!
//! Source: Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs in API Gateway" (response formats).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

/// Status, headers and body of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Which inference a function's answer is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A status code is needed.
    V1,
    /// An answer without a status code is the body.
    V2,
}

fn status(value: &Value) -> Option<StatusCode> {
    let code = match value {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    StatusCode::from_u16(code).ok().filter(|status| status.as_u16() >= 200)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The response that an answer means; `None` when it means none.
pub fn read(answer: &[u8], format: Format) -> Option<Reply> {
    let parsed: Value = serde_json::from_slice(answer).ok()?;
    if format == Format::V2 && parsed.get("statusCode").is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = match parsed {
            Value::String(text) => text.into(),
            _ => Bytes::copy_from_slice(answer),
        };
        return Some(Reply { status: StatusCode::OK, headers, body });
    }
    let answer = parsed.as_object()?;
    let status = status(answer.get("statusCode")?)?;
    let mut headers = HeaderMap::new();
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let Some(value) = text(value) else { continue };
        headers.insert(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value).ok()?);
    }
    for (name, values) in answer.get("multiValueHeaders").and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        headers.remove(&name);
        for value in values.as_array()?.iter().filter_map(text) {
            headers.append(name.clone(), HeaderValue::try_from(value).ok()?);
        }
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie.as_str()?).ok()?);
    }
    let body = match answer.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if answer.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            STANDARD.decode(text).ok()?.into()
        }
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(other) => other.to_string().into(),
    };
    if !headers.contains_key(header::CONTENT_TYPE) && !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    clean(&mut headers);
    Some(Reply { status, headers, body })
}

/// Framing is ours.
pub fn clean(headers: &mut HeaderMap) {
    for name in
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, header::TE]
    {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_their_format_says() {
        let cases: [(&str, Format, Option<(u16, &str, &str)>); 12] = [
            (r#"{"message":"hi"}"#, Format::V2, Some((200, "application/json", r#"{"message":"hi"}"#))),
            (r#""hi""#, Format::V2, Some((200, "application/json", "hi"))),
            ("null", Format::V2, Some((200, "application/json", "null"))),
            (r#"{"message":"hi"}"#, Format::V1, None),
            (r#"{"statusCode":201,"body":"x"}"#, Format::V1, Some((201, "text/plain;charset=UTF-8", "x"))),
            (r#"{"statusCode":"404"}"#, Format::V2, Some((404, "", ""))),
            (
                r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true,"headers":{"Content-Type":"a/b"}}"#,
                Format::V2,
                Some((200, "a/b", "hi")),
            ),
            (r#"{"statusCode":200,"body":"***","isBase64Encoded":true}"#, Format::V2, None),
            (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, Format::V2, None),
            (r#"{"statusCode":99}"#, Format::V2, None),
            (r#"{"statusCode":[]}"#, Format::V2, None),
            ("not json", Format::V2, None),
        ];
        for (answer, format, expected) in cases {
            let got = read(answer.as_bytes(), format).map(|reply| {
                let kind = reply.headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
                (
                    reply.status.as_u16(),
                    kind.unwrap_or_default(),
                    String::from_utf8(reply.body.to_vec()).unwrap(),
                )
            });
            let expected = expected.map(|(status, kind, body)| (status, kind.to_owned(), body.to_owned()));
            assert_eq!(got, expected, "{answer}");
        }
    }

    #[test]
    fn cookies_and_several_values_become_several_headers() {
        let answer = r#"{"statusCode":200,"cookies":["a=1","b=2"],"headers":{"n":5,"x":"1"},"multiValueHeaders":{"x":["2","3"]}}"#;
        let reply = read(answer.as_bytes(), Format::V2).unwrap();
        let all = |name: &str| {
            reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((all("set-cookie"), all("n"), all("x")), (vec!["a=1", "b=2"], vec!["5"], vec!["2", "3"]));
    }
}
