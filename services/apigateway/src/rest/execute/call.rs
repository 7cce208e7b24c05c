//! One request to a REST API, in every form in which templates, mappings, functions and logs ask for it.
//!
//! Source: API Gateway Developer Guide, "Variables for data transformations for API Gateway", "Parameter mapping examples for REST
//! APIs", "Set up Lambda proxy integrations".

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_vtl::JsonPath;
use pileus_wire::value::Map;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::compiled::{Deployed, Method};
use super::log::Trail;
use crate::http::context::{bare, common_log_time};

pub struct Call {
    pub cx: Cx,
    pub api: String,
    pub stage: String,
    /// Of the API's row: what is kept in memory is kept under it.
    pub version: pileus_store::Version,
    pub deployed: Arc<Deployed>,
    pub is_canary: bool,
    /// As the client wrote it.
    pub verb: String,
    /// As sent, without the stage.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub path_parameters: Vec<(String, String)>,
    pub body: Bytes,
    pub variables: Map<String>,
    /// `$context`: an object.
    pub context: Json,
    pub trail: Trail,
}

/// What a request brings before anything is known of its resource.
pub struct Arrival<'a> {
    pub account: &'a str,
    pub domain_name: &'a str,
    pub full_path: &'a str,
    pub source_ip: String,
    pub user_agent: &'a str,
    pub now: Timestamp,
    /// `HTTP/1.1`
    pub protocol: &'a str,
}

/// Header names as API Gateway hands them on. Servers here see them in lower case.
///
/// Chosen: those that clients are known to send get the spelling that functions look for; others stay as they are.
pub fn shown_name(name: &HeaderName) -> String {
    const KNOWN: [&str; 31] = [
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Authorization",
        "Cache-Control",
        "Content-Type",
        "Cookie",
        "Host",
        "If-Match",
        "If-Modified-Since",
        "If-None-Match",
        "Origin",
        "Pragma",
        "Range",
        "Referer",
        "User-Agent",
        "Via",
        "X-Amzn-Trace-Id",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Api-Key",
        "X-Requested-With",
        "Content-Length",
        "Content-Encoding",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
        "X-Amz-Invocation-Type",
        "DNT",
    ];
    let text = name.as_str();
    // `x-api-key` is written so in all of AWS's examples.
    let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text)).filter(|_| text != "x-api-key");
    known.map_or_else(|| text.to_owned(), |known| (*known).to_owned())
}

/// Headers in the order in which they came.
pub fn headers_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "connection" | "transfer-encoding" | "keep-alive"));
    shown
        .map(|(name, value)| (shown_name(name), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// The last value of a name, whatever its case.
pub fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The last value of each name.
pub fn single(pairs: &[(String, String)]) -> JsonMap<String, Json> {
    pairs.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect()
}

/// All values of each name.
pub fn multiple(pairs: &[(String, String)]) -> JsonMap<String, Json> {
    let mut map: JsonMap<String, Json> = JsonMap::new();
    for (name, value) in pairs {
        let values = map.entry(name.clone()).or_insert_with(|| Json::Array(Vec::new()));
        if let Some(values) = values.as_array_mut() {
            values.push(Json::from(value.as_str()));
        }
    }
    map
}

/// The parts of `$context` that a request has from its beginning.
pub fn context(
    api: &str,
    stage: &str,
    verb: &str,
    request_id: &str,
    extended: &str,
    from: &Arrival<'_>,
) -> Json {
    json!({
        "accountId": from.account,
        "apiId": api,
        "domainName": from.domain_name,
        "domainPrefix": from.domain_name.split('.').next().unwrap_or_default(),
        "extendedRequestId": extended,
        "httpMethod": verb,
        "identity": {
            "cognitoIdentityPoolId": null, "accountId": null, "cognitoIdentityId": null, "caller": null,
            "sourceIp": from.source_ip, "principalOrgId": null, "accessKey": null,
            "cognitoAuthenticationType": null, "cognitoAuthenticationProvider": null, "userArn": null,
            "userAgent": from.user_agent, "user": null,
        },
        "path": from.full_path,
        "protocol": from.protocol,
        "requestId": request_id,
        "requestTime": common_log_time(from.now),
        "requestTimeEpoch": from.now.as_millis(),
        "stage": stage,
    })
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        last(&self.headers, name)
    }

    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// `$context.identity.sourceIp` or any other variable below `$context`, by its path.
    pub fn context_value(&self, path: &str) -> Option<&Json> {
        path.split('.').try_fold(&self.context, |at, part| at.get(part))
    }

    /// The resource and the method that were found.
    pub fn found(
        &mut self,
        resource: &super::compiled::Resource,
        method: &Method,
        parameters: Vec<(String, String)>,
    ) {
        self.path_parameters = parameters;
        self.context["resourceId"] = json!(resource.id);
        self.context["resourcePath"] = json!(resource.path);
        self.context["deploymentId"] = json!(self.deployed.id);
        if let Some(name) = &method.definition.operation_name {
            self.context["operationName"] = json!(name);
        }
    }

    /// `arn:aws:execute-api:us-east-1:123456789012:api/stage/VERB/path`
    pub fn arn(&self, path: &str) -> String {
        let region = self.cx.region();
        format!(
            "arn:{}:execute-api:{region}:{}:{}/{}/{}/{}",
            region.partition(),
            self.context["accountId"].as_str().unwrap_or_default(),
            self.api,
            self.stage,
            self.verb,
            path.strip_prefix('/').unwrap_or(path)
        )
    }

    /// What a source of a parameter mapping gives: all values, or none.
    ///
    /// `method.request.{header,querystring,path,multivalueheader,multivaluequerystring}.name`, `method.request.body[.path]`,
    /// `context.name`, `stageVariables.name`, `'text'`.
    pub fn source(&self, source: &str) -> Vec<String> {
        if let Some(text) = source.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            return vec![text.to_owned()];
        }
        if let Some(path) = source.strip_prefix("context.") {
            return self.context_value(path).filter(|value| !value.is_null()).map(bare).into_iter().collect();
        }
        if let Some(name) = source.strip_prefix("stageVariables.") {
            return self.variables.get(name).cloned().into_iter().collect();
        }
        let Some(rest) = source.strip_prefix("method.request.") else { return Vec::new() };
        let all = |pairs: &[(String, String)], name: &str, ignores_case: bool| {
            let fits =
                |known: &str| if ignores_case { known.eq_ignore_ascii_case(name) } else { known == name };
            pairs.iter().filter(|(known, _)| fits(known)).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let one = |mut values: Vec<String>| values.pop().into_iter().collect();
        match rest.split_once('.') {
            Some(("header", name)) => one(all(&self.headers, name, true)),
            Some(("multivalueheader", name)) => all(&self.headers, name, true),
            Some(("querystring", name)) => one(all(&self.query, name, false)),
            Some(("multivaluequerystring", name)) => all(&self.query, name, false),
            Some(("path", name)) => one(all(&self.path_parameters, name, false)),
            Some(("body", path)) => of_body(&self.body, path).into_iter().collect(),
            None if rest == "body" => vec![String::from_utf8_lossy(&self.body).into_owned()],
            _ => Vec::new(),
        }
    }

    /// `$context.x`, `$stageVariables.x` and `$method.request..` in a text, each with its value or a hyphen; nothing else is a
    /// template there.
    pub fn fill(&self, text: &str, missing: &str) -> String {
        let mut out = String::with_capacity(text.len() + 64);
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let formal = rest.strip_prefix('{');
            let name_text = formal.unwrap_or(rest);
            let end = name_text
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
                .unwrap_or(name_text.len());
            let name = name_text[..end].trim_end_matches(['.', '-']);
            let known = ["context.", "stageVariables.", "method.request."]
                .iter()
                .any(|start| name.starts_with(start));
            if !known {
                out.push('$');
                continue;
            }
            match self.source(name).first() {
                Some(value) => out.push_str(value),
                None => out.push_str(missing),
            }
            rest = &name_text[name.len()..];
            if formal.is_some() {
                rest = rest.strip_prefix('}').unwrap_or(rest);
            }
        }
        out.push_str(rest);
        out
    }

    /// `${stageVariables.name}` in an address.
    pub fn with_variables(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${stageVariables.") {
            out.push_str(before);
            match after.split_once('}') {
                Some((name, after)) => {
                    out.push_str(self.variables.get(name).map_or("", String::as_str));
                    rest = after;
                }
                None => {
                    out.push_str("${stageVariables.");
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// A JSON path into a body, as text.
pub fn of_body(body: &[u8], path: &str) -> Option<String> {
    let document: Json = serde_json::from_slice(body).ok()?;
    let path = if path.starts_with('$') { path.to_owned() } else { format!("$.{path}") };
    let path = JsonPath::parse(&path).ok()?;
    path.find(&document).filter(|found| !found.is_null()).map(|found| bare(&found))
}
