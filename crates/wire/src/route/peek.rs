//! What is looked at before anything is verified.

use std::borrow::Cow;

use super::rest::decode;
use crate::protocol::Request;

/// `Action` and `Version` of a form-encoded body or a query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormPeek {
    pub action: Option<String>,
    pub version: Option<String>,
}

impl FormPeek {
    /// Of a body; nothing if it is not UTF-8.
    pub fn read(body: &[u8]) -> FormPeek {
        std::str::from_utf8(body).map_or_else(|_| FormPeek::default(), FormPeek::of)
    }

    /// The first of each in `Name=value&..`.
    pub fn of(form: &str) -> FormPeek {
        let mut peek = FormPeek::default();
        for pair in form.split('&') {
            let slot = match pair.split_once('=') {
                Some(("Action", value)) => (&mut peek.action, value),
                Some(("Version", value)) => (&mut peek.version, value),
                _ => continue,
            };
            if let (slot @ None, value) = slot {
                *slot = decode(value).map(Cow::into_owned);
            }
            if peek.action.is_some() && peek.version.is_some() {
                break;
            }
        }
        peek
    }
}

/// The service in the credential scope of an `Authorization` header or a presigned query, unverified.
pub fn scope_of<'a>(request: &Request<'a>) -> Option<&'a str> {
    let header = request.header("authorization").and_then(|text| text.split_once("Credential="));
    let credential = match header {
        Some((_, rest)) => rest.split([',', ' ']).next()?,
        None => {
            let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(name, _)| *name == "X-Amz-Credential")?.1
        }
    };
    // Access key, date, region, service, `aws4_request`; slashes come encoded in a query. Access keys have no slash.
    let credential = credential.strip_suffix("aws4_request").unwrap_or(credential);
    let service = after_last_slash(trim_slash(credential)?)?;
    (!service.is_empty()).then_some(service)
}

fn trim_slash(text: &str) -> Option<&str> {
    text.strip_suffix('/').or_else(|| text.strip_suffix("%2F")).or_else(|| text.strip_suffix("%2f"))
}

fn after_last_slash(text: &str) -> Option<&str> {
    let slash = text.rfind('/').map(|at| at + 1);
    let encoded = text.rfind("%2F").max(text.rfind("%2f")).map(|at| at + 3);
    slash.max(encoded).map(|at| &text[at..])
}
