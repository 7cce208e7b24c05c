//! Events for functions, in payload formats 1.0 and 2.0: pure.
//!
//! Source: Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs in API Gateway".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::context::{Authorized, Facts, common_log_time, query_pairs, text};

/// What a load balancer would add to the headers.
fn added(facts: &Facts) -> [(&'static str, String); 4] {
    let forwarded = match facts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {}", facts.source_ip),
        None => facts.source_ip.clone(),
    };
    [
        ("x-amzn-trace-id", format!("Root={}", facts.trace_id)),
        ("x-forwarded-for", forwarded),
        ("x-forwarded-port", facts.port.clone()),
        ("x-forwarded-proto", if facts.is_secure { "https" } else { "http" }.to_owned()),
    ]
}

/// Headers as an object, several values in one.
struct Headers<'a> {
    facts: &'a Facts,
    with_cookies: bool,
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let headers: &HeaderMap = &self.facts.headers;
        let added = added(self.facts);
        let mut map = serializer.serialize_map(None)?;
        for name in headers.keys() {
            let is_ours = added.iter().any(|(own, _)| *own == name.as_str());
            if is_ours || (*name == header::COOKIE && !self.with_cookies) {
                continue;
            }
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            let Some(first) = values.next() else { continue };
            match values.next() {
                None => map.serialize_entry(name.as_str(), first)?,
                Some(second) => {
                    let all: Vec<&str> = [first, second].into_iter().chain(values).collect();
                    map.serialize_entry(name.as_str(), &all.join(","))?;
                }
            }
        }
        for (name, value) in &added {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event2<'a> {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_source: Option<&'a [String]>,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'a str>,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Map<String, Value>>,
    request_context: Context2<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_parameters: Option<Pairs<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a std::collections::BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context2<'a> {
    account_id: &'a str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: &'a str,
    user_agent: &'a str,
}

/// Several values of a parameter in one.
fn query_object(query: &str) -> Option<Map<String, Value>> {
    let mut parameters = Map::new();
    for (name, value) in query_pairs(query) {
        match parameters.get_mut(&name) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => {
                parameters.insert(name, Value::String(value));
            }
        }
    }
    (!parameters.is_empty()).then_some(parameters)
}

fn cookies(headers: &HeaderMap) -> Vec<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).map(str::trim).filter(|cookie| !cookie.is_empty()).collect()
}

/// Text as it is, everything else in base64.
pub fn body_of(headers: &HeaderMap, body: &[u8]) -> (String, bool) {
    let content_type = text(headers, &header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let is_text = kind.is_empty()
        || kind.starts_with("text/")
        || matches!(kind, "application/json" | "application/javascript" | "application/xml")
        || kind.ends_with("+json")
        || kind.ends_with("+xml");
    match std::str::from_utf8(body) {
        Ok(body) if is_text => (body.to_owned(), false),
        _ => (STANDARD.encode(body), true),
    }
}

fn authorizer2(authorized: &Authorized) -> Option<Value> {
    match authorized {
        Authorized::Nobody => None,
        Authorized::Jwt { claims, scopes } => {
            Some(json!({ "jwt": { "claims": texts(claims), "scopes": scopes } }))
        }
        Authorized::Lambda { context, .. } => Some(json!({ "lambda": context })),
        Authorized::Iam { access_key, account, user_arn, user_id } => Some(json!({ "iam": {
            "accessKey": access_key,
            "accountId": account,
            "callerId": user_id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": user_arn,
            "userId": user_id,
        }})),
    }
}

/// Claims as functions get them: all of them text.
fn texts(claims: &Map<String, Value>) -> Map<String, Value> {
    let as_text = |value: &Value| match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(super::context::bare).collect();
            format!("[{}]", items.join(" "))
        }
        other => super::context::bare(other),
    };
    claims.iter().map(|(name, value)| (name.clone(), Value::String(as_text(value)))).collect()
}

/// For an authorizer instead of an integration.
pub struct ForAuthorizer<'a> {
    pub route_arn: String,
    pub identity_source: &'a [String],
}

/// Payload format 2.0. `authorizer`: the event of a REQUEST authorizer, without a body.
pub fn version2(facts: &Facts, authorizer: Option<&ForAuthorizer<'_>>) -> Vec<u8> {
    let target = &facts.target;
    let (body, is_base64_encoded) = match authorizer {
        Some(_) => (None, None),
        None if facts.body.is_empty() => (None, Some(false)),
        None => {
            let (body, is_base64) = body_of(&facts.headers, &facts.body);
            (Some(body), Some(is_base64))
        }
    };
    let event = Event2 {
        version: "2.0",
        kind: authorizer.map(|_| "REQUEST"),
        route_arn: authorizer.map(|authorizer| authorizer.route_arn.clone()),
        identity_source: authorizer.map(|authorizer| authorizer.identity_source),
        route_key: &facts.route_key,
        raw_path: &facts.raw_path,
        raw_query_string: &facts.query,
        cookies: cookies(&facts.headers),
        headers: Headers { facts, with_cookies: false },
        query_string_parameters: query_object(&facts.query),
        request_context: Context2 {
            account_id: target.account.as_str(),
            api_id: &target.id,
            authorizer: authorizer2(&facts.authorized),
            domain_name: &target.domain_name,
            domain_prefix: target.domain_prefix(),
            http: Http {
                method: facts.method.as_str(),
                path: &facts.raw_path,
                protocol: "HTTP/1.1",
                source_ip: &facts.source_ip,
                user_agent: facts.user_agent(),
            },
            request_id: &facts.request_id,
            route_key: &facts.route_key,
            stage: &facts.stage,
            time: common_log_time(facts.at),
            time_epoch: facts.at.as_millis(),
        },
        path_parameters: (!facts.path_parameters.is_empty()).then(|| Pairs(&facts.path_parameters)),
        stage_variables: (!facts.variables.is_empty()).then_some(&facts.variables),
        body,
        is_base64_encoded,
    };
    serde_json::to_vec(&event).unwrap_or_default()
}

/// Payload format 1.0.
pub fn version1(facts: &Facts, authorizer: Option<&ForAuthorizer<'_>>) -> Vec<u8> {
    let target = &facts.target;
    let mut multi_headers = Map::new();
    for name in facts.headers.keys() {
        let values: Vec<&str> =
            facts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        multi_headers.insert(name.as_str().to_owned(), json!(values));
    }
    for (name, value) in added(facts) {
        multi_headers.insert(name.to_owned(), json!([value]));
    }
    let last = |values: &Value| values.as_array().and_then(|all| all.last().cloned()).unwrap_or_default();
    let headers: Map<String, Value> =
        multi_headers.iter().map(|(name, values)| (name.clone(), last(values))).collect();
    let mut multi_query: Map<String, Value> = Map::new();
    for (name, value) in query_pairs(&facts.query) {
        match multi_query.get_mut(&name) {
            Some(Value::Array(values)) => values.push(Value::String(value)),
            _ => {
                multi_query.insert(name, json!([value]));
            }
        }
    }
    let query: Map<String, Value> =
        multi_query.iter().map(|(name, values)| (name.clone(), last(values))).collect();
    let resource = facts.route_key.split_once(' ').map_or(facts.route_key.as_str(), |(_, path)| path);
    let or_null = |map: Map<String, Value>| if map.is_empty() { Value::Null } else { Value::Object(map) };
    let pairs = |pairs: &[(String, String)]| {
        or_null(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
    };
    let iam = match &facts.authorized {
        Authorized::Iam { access_key, account, user_arn, user_id } => {
            Some((access_key, account, user_arn, user_id))
        }
        _ => None,
    };
    let mut context = json!({
        "accountId": target.account.as_str(),
        "apiId": target.id,
        "domainName": target.domain_name,
        "domainPrefix": target.domain_prefix(),
        "extendedRequestId": facts.request_id,
        "httpMethod": facts.method.as_str(),
        "identity": {
            "accessKey": iam.map(|(access_key, ..)| access_key),
            "accountId": iam.map(|(_, account, ..)| account),
            "caller": iam.map(|(_, _, _, user_id)| user_id),
            "cognitoAmr": null,
            "cognitoAuthenticationProvider": null,
            "cognitoAuthenticationType": null,
            "cognitoIdentityId": null,
            "cognitoIdentityPoolId": null,
            "principalOrgId": null,
            "sourceIp": facts.source_ip,
            "user": iam.map(|(_, _, _, user_id)| user_id),
            "userAgent": facts.user_agent(),
            "userArn": iam.map(|(_, _, user_arn, _)| user_arn),
        },
        "path": facts.raw_path,
        "protocol": "HTTP/1.1",
        "requestId": facts.request_id,
        "requestTime": common_log_time(facts.at),
        "requestTimeEpoch": facts.at.as_millis(),
        "resourceId": facts.route_key,
        "resourcePath": resource,
        "stage": facts.stage,
    });
    match &facts.authorized {
        Authorized::Jwt { claims, scopes } => {
            context["authorizer"] = json!({ "claims": texts(claims), "scopes": scopes });
        }
        Authorized::Lambda { context: given, principal } => {
            let mut given = given.clone();
            if let Some(principal) = principal {
                given.insert("principalId".to_owned(), json!(principal));
            }
            context["authorizer"] = Value::Object(given);
        }
        Authorized::Nobody | Authorized::Iam { .. } => {}
    }
    let variables: Map<String, Value> =
        facts.variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut event = json!({
        "version": "1.0",
        "resource": resource,
        "path": facts.raw_path,
        "httpMethod": facts.method.as_str(),
        "headers": headers,
        "multiValueHeaders": multi_headers,
        "queryStringParameters": or_null(query),
        "multiValueQueryStringParameters": or_null(multi_query),
        "requestContext": context,
        "pathParameters": pairs(&facts.path_parameters),
        "stageVariables": or_null(variables),
    });
    match authorizer {
        Some(authorizer) => {
            event["type"] = json!("REQUEST");
            event["methodArn"] = json!(authorizer.route_arn);
            event["identitySource"] = json!(authorizer.identity_source.join(","));
            event["authorizationToken"] = json!(authorizer.identity_source.join(","));
        }
        None => {
            let (body, is_base64) = match facts.body.is_empty() {
                true => (Value::Null, false),
                false => {
                    let (body, is_base64) = body_of(&facts.headers, &facts.body);
                    (Value::String(body), is_base64)
                }
            };
            event["body"] = body;
            event["isBase64Encoded"] = json!(is_base64);
        }
    }
    event.to_string().into_bytes()
}
