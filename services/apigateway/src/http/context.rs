//! What is known of a request to an API while it is answered, and what `$context` says of it.
//!
//! Source: Developer Guide, "Customize HTTP API access logs" (variables), "Transform API requests and responses for HTTP APIs".

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};
use pileus_core::Timestamp;
use serde_json::{Map, Value};

use crate::front::Target;

/// A request on its way.
pub struct Facts {
    pub target: Target,
    /// `JKJaXmPLvHcESHA=`
    pub request_id: String,
    pub method: Method,
    /// With the stage, decoded.
    pub raw_path: String,
    /// As sent.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub source_ip: String,
    pub port: String,
    pub is_secure: bool,
    pub at: Timestamp,
    pub trace_id: Arc<str>,
    pub stage: String,
    pub variables: BTreeMap<String, String>,
    pub route_key: String,
    /// Decoded.
    pub path_parameters: Vec<(String, String)>,
    pub authorized: Authorized,
}

/// Who was let in, and what the authorizer says of them.
#[derive(Debug, Clone, Default)]
pub enum Authorized {
    #[default]
    Nobody,
    Jwt {
        claims: Map<String, Value>,
        scopes: Option<Vec<String>>,
    },
    Lambda {
        context: Map<String, Value>,
        principal: Option<String>,
    },
    Iam {
        access_key: String,
        account: String,
        user_arn: String,
        user_id: String,
    },
}

/// What became of a request, for its log line.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    pub status: u16,
    pub response_length: usize,
    pub response_millis: u128,
    pub integration_millis: Option<u128>,
    pub integration_status: Option<u16>,
    /// `Forbidden`, `Internal Server Error`, ..
    pub error_message: Option<&'static str>,
    pub error_type: Option<&'static str>,
    pub integration_error: Option<String>,
    pub authorizer_error: Option<String>,
}

pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All values of a header in one.
pub fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut all = values.next()?.to_owned();
    for value in values {
        all.push(',');
        all.push_str(value);
    }
    Some(all)
}

pub fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
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

/// The pairs of a query, decoded, in order.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| match text.contains('+') {
            true => percent_decoded(&text.replace('+', " ")),
            false => percent_decoded(text),
        };
        (decoded(name), decoded(value))
    })
}

/// `12/Mar/2020:19:03:58 +0000`
pub fn common_log_time(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = at.civil();
    let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// A JSON value as text: strings bare, everything else as JSON.
pub fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Facts {
    pub fn user_agent(&self) -> &str {
        text(&self.headers, &header::USER_AGENT).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        joined(&self.headers, name)
    }

    /// Values of the parameter, in one.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let values: Vec<String> =
            query_pairs(&self.query).filter(|(key, _)| key == name).map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    pub fn path_parameter(&self, name: &str) -> Option<&str> {
        self.path_parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `GET /pets/{id}` as the end of an ARN: `{stage}/GET/pets/{id}`; `{stage}/$default`.
    pub fn route_arn(&self) -> String {
        let rest = match self.route_key.split_once(' ') {
            Some((_, path)) => format!("{}/{}{path}", self.stage, self.method),
            None => format!("{}/{}", self.stage, self.route_key),
        };
        self.target.execute_arn(&rest)
    }

    /// The value of `$context.{name}` that does not depend on the answer.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = |text: &str| Some(text.to_owned());
        Some(match name {
            "accountId" => self.target.account.to_string(),
            "apiId" => self.target.id.clone(),
            "awsEndpointRequestId" | "requestId" | "extendedRequestId" => self.request_id.clone(),
            "domainName" => self.target.domain_name.clone(),
            "domainPrefix" => self.target.domain_prefix().to_owned(),
            "httpMethod" => self.method.to_string(),
            "identity.sourceIp" => self.source_ip.clone(),
            "identity.userAgent" => self.user_agent().to_owned(),
            "path" => self.raw_path.clone(),
            "protocol" => "HTTP/1.1".to_owned(),
            "requestTime" => common_log_time(self.at),
            "requestTimeEpoch" => self.at.as_secs().to_string(),
            "routeKey" => self.route_key.clone(),
            "stage" => self.stage.clone(),
            name => {
                return match (
                    &self.authorized,
                    name.strip_prefix("authorizer."),
                    name.strip_prefix("identity."),
                ) {
                    (Authorized::Jwt { claims, .. }, Some(name), _) => {
                        claims.get(name.strip_prefix("claims.").unwrap_or(name)).map(bare)
                    }
                    (Authorized::Lambda { principal, .. }, Some("principalId"), _) => principal.clone(),
                    (Authorized::Lambda { context, .. }, Some(name), _) => context.get(name).map(bare),
                    (Authorized::Iam { user_arn, .. }, _, Some("userArn")) => own(user_arn),
                    (Authorized::Iam { user_id, .. }, _, Some("user" | "caller")) => own(user_id),
                    (Authorized::Iam { account, .. }, _, Some("accountId")) => own(account),
                    (Authorized::Iam { access_key, .. }, _, Some("accessKey")) => own(access_key),
                    _ => None,
                };
            }
        })
    }
}

impl Outcome {
    /// The value of `$context.{name}` that the answer gives.
    pub fn variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "status" => self.status.to_string(),
            "responseLength" => self.response_length.to_string(),
            "responseLatency" => self.response_millis.to_string(),
            "integrationLatency" | "integration.latency" => self.integration_millis?.to_string(),
            "integrationStatus" | "integration.integrationStatus" => self.integration_status?.to_string(),
            "integration.status" => self.integration_status?.to_string(),
            "error.message" => self.error_message?.to_owned(),
            "error.messageString" => format!("\"{}\"", self.error_message?),
            "error.responseType" => self.error_type?.to_owned(),
            "integrationErrorMessage" | "integration.error" => self.integration_error.clone()?,
            "authorizer.error" => self.authorizer_error.clone()?,
            _ => return None,
        })
    }
}
