//! `TestInvokeMethod`, `TestInvokeAuthorizer`: calls of an API as it is now, without its being deployed.
//!
//! Source: API Gateway API Reference, "TestInvokeMethod", "TestInvokeAuthorizer"; API Gateway Developer Guide, "Use the API Gateway
//! console to test a REST API method".

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pileus_api_apigateway as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_wire::protocol::{Response, ResponseBody};
use pileus_wire::value::Map;
use serde_json::json;

use super::call::{self, Arrival, Call};
use super::compiled::Deployed;
use super::log::{Level, Trail};
use super::{authorize, perform, refuse};
use crate::error::GatewayError;
use crate::http::context::query_pairs;
use crate::rest::api as rest_api;
use crate::rest::snapshot::Snapshot;
use crate::rest::{authorizer, method, resource};

const STAGE: &str = "test-invoke-stage";

type Many = Option<Map<Vec<String>>>;

/// Names with their values, from both ways in which a request gives them.
fn headers_of(single: Option<Map<String>>, many: Many) -> Vec<(String, String)> {
    let many: Vec<(String, String)> = many
        .into_iter()
        .flat_map(|map| map.0)
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
        .collect();
    let single = single.into_iter().flat_map(|map| map.0);
    let single = single.filter(|(name, _)| !many.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)));
    single.chain(many.clone()).collect()
}

fn call_of(
    cx: &Cx,
    api: &str,
    deployed: Arc<Deployed>,
    verb: &str,
    target: &str,
    headers: Vec<(String, String)>,
) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let account = cx.account();
    let arrival = Arrival {
        account: account.as_str(),
        domain_name: "testPrefix.testDomainName",
        full_path: path,
        source_ip: "test-invoke-source-ip".to_owned(),
        user_agent: &cx.origin().user_agent.clone(),
        now: cx.now(),
        protocol: "HTTP/1.1",
    };
    let extended = format!("{}=", cx.ids().alphanumeric(15));
    let mut context = call::context(api, STAGE, verb, &cx.ids().uuid(), &extended, &arrival);
    let identity = &mut context["identity"];
    identity["accountId"] = json!(cx.account().as_str());
    identity["apiKey"] = json!("test-invoke-api-key");
    identity["apiKeyId"] = json!("test-invoke-api-key-id");
    identity["caller"] = json!(&*cx.caller().user_id);
    identity["user"] = json!(&*cx.caller().user_id);
    identity["userArn"] = json!(&*cx.caller().arn);
    context["isCanaryRequest"] = json!(false);
    Call {
        cx: cx.clone(),
        api: api.to_owned(),
        stage: STAGE.to_owned(),
        version: 0,
        deployed,
        is_canary: false,
        verb: verb.to_owned(),
        path: path.to_owned(),
        headers,
        query: query_pairs(query).collect(),
        path_parameters: Vec::new(),
        body: Bytes::new(),
        variables: Map::default(),
        context,
        trail: Trail { level: Level::Info, traces: true, lines: Vec::new() },
    }
}

/// `Mon Jan 01 00:00:00 UTC 2024`
fn moment(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = at.civil();
    let name = DAYS.get(at.weekday() as usize).copied().unwrap_or_default();
    let month = MONTHS.get((month as usize).saturating_sub(1)).copied().unwrap_or_default();
    format!("{name} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

fn log_of(call: &Call) -> String {
    let id = call.context["requestId"].as_str().unwrap_or_default();
    let lines = call.trail.lines.iter().map(|(at, line)| format!("{} : {line}\n", moment(*at)));
    format!("Execution log for request {id}\n{}", lines.collect::<String>())
}

async fn body_of(response: &mut Response) -> Bytes {
    match &mut response.body {
        ResponseBody::Bytes(bytes) => bytes.clone(),
        ResponseBody::Stream(stream) => {
            let mut all = BytesMut::new();
            if let Some(mut stream) = stream.take() {
                while let Some(Ok(bytes)) = stream.next().await {
                    all.extend_from_slice(&bytes);
                    if all.len() > super::MAX_BODY as usize {
                        break;
                    }
                }
            }
            all.freeze()
        }
    }
}

pub async fn test_invoke_method(
    cx: &Cx,
    input: api::TestInvokeMethodRequest,
) -> Result<api::TestInvokeMethodResponse, GatewayError> {
    if input.client_certificate_id.is_some() {
        return Err(GatewayError::missing("client certificates (clientCertificateId)"));
    }
    let started = cx.clock().monotonic();
    let id = input.rest_api_id.unwrap_or_default();
    let snapshot = Snapshot::take(cx.store(), rest_api::load(cx, cx.store(), &id).await?).await?;
    let wanted = resource::load(cx.store(), &id, input.resource_id.as_deref().unwrap_or_default()).await?;
    let verb = input.http_method.unwrap_or_default();
    let deployed = Arc::new(Deployed::new("", &snapshot));
    let found = deployed.resources.iter().find(|known| Some(&known.id) == wanted.id.as_ref());
    let method =
        found.and_then(|found| found.methods.get(&verb)).cloned().ok_or_else(method::no_such_method)?;
    let resource_path = wanted.path.clone().unwrap_or_default();
    let target = input.path_with_query_string.filter(|path| !path.is_empty()).unwrap_or(resource_path);
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    let headers = headers_of(input.headers, input.multi_value_headers);
    let sent_as = if verb == "ANY" { "GET" } else { verb.as_str() };
    let mut call = call_of(cx, &id, deployed.clone(), sent_as, &target, headers);
    call.body = input.body.unwrap_or_default().into();
    call.variables = input.stage_variables.unwrap_or_default();
    let parameters = deployed.routes.find(&call.path).map(|(_, parameters)| parameters).unwrap_or_default();
    if let Some(found) = found {
        call.found(found, &method, parameters);
    }
    let outcome = perform(&mut call, None, &method, None).await;
    let mut response = outcome.unwrap_or_else(|refusal| {
        let response = refuse(&mut call, &refusal);
        call.trail.info(cx, || format!("Method completed with status: {}", response.status.as_u16()));
        response
    });
    let body = body_of(&mut response).await;
    let mut headers: Map<String> = Map::default();
    let mut many: Map<Vec<String>> = Map::default();
    for name in response.headers.keys() {
        let shown = call::shown_name(name);
        let values = response.headers.get_all(name).iter();
        let values: Vec<String> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        headers.insert(shown.clone(), values.last().cloned().unwrap_or_default());
        many.insert(shown, values);
    }
    let took = cx.clock().monotonic().saturating_sub(started);
    Ok(api::TestInvokeMethodResponse {
        status: Some(i64::from(response.status.as_u16())),
        body: Some(String::from_utf8_lossy(&body).into_owned()),
        headers: Some(headers),
        multi_value_headers: Some(many),
        log: Some(log_of(&call)),
        latency: i64::try_from(took.as_millis()).ok(),
    })
}

/// What an authorizer answers to a request. AWS tells the answer itself, whatever it allows.
pub async fn test_invoke_authorizer(
    cx: &Cx,
    input: api::TestInvokeAuthorizerRequest,
) -> Result<api::TestInvokeAuthorizerResponse, GatewayError> {
    let started = cx.clock().monotonic();
    let id = input.rest_api_id.unwrap_or_default();
    let snapshot = Snapshot::take(cx.store(), rest_api::load(cx, cx.store(), &id).await?).await?;
    let authorizer =
        authorizer::load(cx.store(), &id, input.authorizer_id.as_deref().unwrap_or_default()).await?;
    if !matches!(authorizer.r#type.as_deref(), Some("TOKEN" | "REQUEST")) {
        return Err(GatewayError::missing("tests of authorizers of type COGNITO_USER_POOLS"));
    }
    let target =
        input.path_with_query_string.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let headers = headers_of(input.headers, input.multi_value_headers);
    let mut call = call_of(cx, &id, Arc::new(Deployed::new("", &snapshot)), "GET", &target, headers);
    call.body = input.body.unwrap_or_default().into();
    call.variables = input.stage_variables.unwrap_or_default();
    for (name, value) in input.additional_context.into_iter().flat_map(|map| map.0) {
        call.context[name] = json!(value);
    }
    let asked = authorize::try_out(&mut call, &authorizer).await;
    let took = cx.clock().monotonic().saturating_sub(started);
    let latency = i64::try_from(took.as_millis()).ok();
    Ok(match asked {
        Ok(answer) => api::TestInvokeAuthorizerResponse {
            client_status: Some(0),
            log: Some(log_of(&call)),
            latency,
            principal_id: Some(answer.principal_id),
            policy: Some(answer.policy),
            authorization: None,
            claims: None,
        },
        Err(refusal) => {
            let response = refuse(&mut call, &refusal);
            api::TestInvokeAuthorizerResponse {
                client_status: Some(i64::from(response.status.as_u16())),
                log: Some(log_of(&call)),
                latency,
                ..Default::default()
            }
        }
    })
}
