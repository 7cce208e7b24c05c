//! Requests to REST APIs, from the address to the answer.
//!
//! | File | Holds |
//! |---|---|
//! | `compiled.rs` | a deployment and a stage, ready to answer |
//! | `route.rs` | which resource a path means |
//! | `call.rs` | a request, as templates, mappings and functions see it |
//! | `authorize.rs` | resource policies, signatures, authorizers |
//! | `limit.rs` | API keys, usage plans, throttling |
//! | `validate.rs` | request validators |
//! | `cache.rs` | the cache of a stage |
//! | `integrate.rs` | integrations and their mapping |
//! | `proxy.rs`, `stream.rs` | functions as proxies, whole or streamed |
//! | `service.rs` | actions of other services |
//! | `mapping.rs` | `$input`, `$context`, `$util`, `$stageVariables` |
//! | `refusal.rs` | gateway responses |
//! | `log.rs` | execution and access logs |
//! | `test.rs` | `TestInvokeMethod`, `TestInvokeAuthorizer` |

mod authorize;
mod cache;
mod call;
mod compiled;
mod integrate;
mod limit;
pub mod log;
mod mapping;
mod proxy;
mod refusal;
mod route;
mod service;
mod stream;
pub mod test;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pileus_api_apigateway as api;
use pileus_core::AccountId;
use pileus_platform::{Caller, Cx, DataRequest, Fault, Platform, ResourcePolicy, Service};
use pileus_wire::protocol::{Response, ResponseBody};
use pileus_wire::value::Map;
use serde_json::json;

use self::authorize::Answers;
use self::cache::Cache;
use self::call::{Arrival, Call};
use self::compiled::{Compiled, Deployed, Method, Staged};
use self::limit::Buckets;
use self::log::{Destination, Level, Shipper, Trail, part};
use self::refusal::{Refusal, set};
use crate::front::{By, Target, message};
use crate::http::context::query_pairs;

/// Source: "Quotas for configuring and running a REST API in API Gateway" (payload size).
const MAX_BODY: u64 = 10 << 20;

/// What requests need in memory.
pub fn add(service: Service) -> Service {
    service
        .state(Compiled::default())
        .state(Answers::default())
        .state(Buckets::default())
        .state(Cache::default())
        .state(Shipper::default())
        .worker("logs of APIs", log::run)
        .resource_policy(policy)
}

/// This node forgets the answers that it keeps for an API; others do when they see its new version.
pub fn forget(platform: &Platform, api: &str) {
    platform.state::<Cache>().forget(api);
    platform.state::<Answers>().forget(api);
}

/// The resource policy of a deployed API, by an ARN of `execute-api`.
async fn policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "execute-api", _, _, path] = parts[..] else { return Ok(None) };
    let mut path = path.split('/');
    let (Some(api), Some(stage)) = (path.next(), path.next()) else { return Ok(None) };
    let failed = |error: crate::error::GatewayError| Fault::from(error);
    let Some((_, version)) =
        crate::keys::find_api(cx.store(), api).await.map_err(|error| failed(error.into()))?
    else {
        return Ok(None);
    };
    let staged = cx.state::<Compiled>().stage(cx.store(), api, stage, version).await.map_err(failed)?;
    let found = staged.and_then(|staged| staged.deployed.policy.clone());
    Ok(found.map(|policy| ResourcePolicy { name: "API policy".into(), policy, must_allow: false }))
}

fn forbidden() -> Response {
    message(StatusCode::FORBIDDEN, Some("ForbiddenException"), "Forbidden")
}

/// Answers a request whose address means this API.
pub async fn answer(request: DataRequest, target: Target) -> Response {
    let request_id = request.request_id.clone();
    let extended = format!("{}=", request.platform().ids().alphanumeric(15));
    let mut response = serve(request, target, &extended).await;
    set(&mut response, "x-amzn-requestid", &request_id);
    set(&mut response, "x-amz-apigw-id", &extended);
    response
}

async fn serve(mut request: DataRequest, target: Target, extended: &str) -> Response {
    let platform = request.platform().clone();
    let name = target.stage.clone().unwrap_or_default();
    let found = platform.state::<Compiled>().stage(platform.store(), &target.id, &name, target.version).await;
    let staged = match found {
        Ok(Some(staged)) => staged,
        Ok(None) => return forbidden(),
        Err(error) => {
            tracing::error!(%error, api = target.id, "a stage cannot be read");
            return message(
                StatusCode::INTERNAL_SERVER_ERROR,
                Some("InternalServerErrorException"),
                "Internal server error",
            );
        }
    };
    if staged.deployed.api.disable_execute_api_endpoint == Some(true) && target.by == By::Endpoint {
        return forbidden();
    }
    let cx = request.cx(Caller::anonymous(target.account), target.region.clone());
    let started = platform.clock().monotonic();
    let (deployed, is_canary) = lead(&cx, &staged);
    let mut call = call_of(&cx, &request, &target, &staged, deployed, is_canary, extended);
    let outcome = match request.collect(MAX_BODY).await {
        Ok(body) => {
            call.body = body;
            handle(&mut call, &staged, Some(&request)).await
        }
        Err(_) => Err(Refusal::too_large()),
    };
    let mut response = outcome.unwrap_or_else(|refusal| refuse(&mut call, &refusal));
    compress(&call, &mut response).await;
    let took = platform.clock().monotonic().saturating_sub(started);
    finish(&mut call, &staged, &response, took);
    response
}

fn refuse(call: &mut Call, refusal: &Refusal) -> Response {
    let cx = call.cx.clone();
    call.trail.error(&cx, || refusal.reason.clone());
    if refusal.kind.ends_with("5XX")
        || refusal.kind.contains("CONFIGURATION")
        || refusal.kind == "AUTHORIZER_FAILURE"
    {
        tracing::debug!(api = call.api, stage = call.stage, kind = refusal.kind, "{}", refusal.reason);
    }
    refusal.respond(call)
}

/// The deployment that a request goes to: the canary's for its part of them.
fn lead(cx: &Cx, staged: &Staged) -> (Arc<Deployed>, bool) {
    let percent =
        staged.stage.canary_settings.as_ref().and_then(|canary| canary.percent_traffic).unwrap_or(0.0);
    match &staged.canary {
        Some(canary) if ((cx.rng().next_u64() % 10_000) as f64) < percent * 100.0 => (canary.clone(), true),
        _ => (staged.deployed.clone(), false),
    }
}

/// The stage's variables, with those of the canary before them.
fn variables(stage: &api::Stage, is_canary: bool) -> Map<String> {
    let mut variables = stage.variables.clone().unwrap_or_default();
    let overrides = stage.canary_settings.as_ref().filter(|_| is_canary);
    for (name, value) in
        overrides.iter().flat_map(|canary| canary.stage_variable_overrides.iter()).flat_map(Map::iter)
    {
        variables.insert(name, value.clone());
    }
    variables
}

fn call_of(
    cx: &Cx,
    request: &DataRequest,
    target: &Target,
    staged: &Staged,
    deployed: Arc<Deployed>,
    is_canary: bool,
    extended: &str,
) -> Call {
    let inbound = &request.inbound;
    let mut headers = call::headers_of(&inbound.headers);
    let ip = inbound.peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default();
    let port = request
        .host()
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let forwarded = match call::last(&headers, "x-forwarded-for") {
        Some(before) => format!("{before}, {ip}"),
        None => ip.clone(),
    };
    let trace = call::last(&headers, "x-amzn-trace-id")
        .map_or_else(|| format!("Root={}", cx.trace_id()), str::to_owned);
    let own = [
        ("X-Amzn-Trace-Id", trace.clone()),
        ("X-Forwarded-For", forwarded),
        ("X-Forwarded-Port", port.unwrap_or(if inbound.is_secure { "443" } else { "80" }).to_owned()),
        ("X-Forwarded-Proto", if inbound.is_secure { "https" } else { "http" }.to_owned()),
    ];
    for (name, value) in own {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), value));
    }
    let user_agent = call::last(&headers, "user-agent").unwrap_or_default().to_owned();
    let verb = inbound.method.as_str().to_owned();
    let arrival = Arrival {
        account: target.account.as_str(),
        domain_name: &target.domain_name,
        full_path: &target.full_path,
        source_ip: ip,
        user_agent: &user_agent,
        now: request.now(),
        protocol: "HTTP/1.1",
    };
    let stage = staged.stage.stage_name.clone().unwrap_or_default();
    let mut context = call::context(&target.id, &stage, &verb, &request.request_id, extended, &arrival);
    context["isCanaryRequest"] = json!(is_canary);
    context["deploymentId"] = json!(deployed.id);
    context["xrayTraceId"] = json!(trace);
    Call {
        cx: cx.clone(),
        api: target.id.clone(),
        stage,
        version: staged.version,
        deployed,
        is_canary,
        verb,
        path: target.path.clone(),
        headers,
        query: query_pairs(&inbound.query).collect(),
        path_parameters: Vec::new(),
        body: Bytes::new(),
        variables: variables(&staged.stage, is_canary),
        context,
        trail: Trail::default(),
    }
}

/// The method that a request means, found or refused.
fn find(call: &mut Call) -> Result<Arc<Method>, Refusal> {
    let deployed = call.deployed.clone();
    let (at, parameters) = deployed.routes.find(&call.path).ok_or_else(Refusal::missing_token)?;
    let resource = deployed.resources.get(at).ok_or_else(Refusal::missing_token)?;
    let method = resource.methods.get(&call.verb).or_else(|| resource.methods.get("ANY"));
    let method = method.ok_or_else(Refusal::missing_token)?.clone();
    call.found(resource, &method, parameters);
    Ok(method)
}

async fn handle(
    call: &mut Call,
    staged: &Staged,
    request: Option<&DataRequest>,
) -> Result<Response, Refusal> {
    let method = find(call)?;
    if let Some(setting) = staged.setting(&method) {
        call.trail.level = Level::read(setting.logging_level.as_deref());
        call.trail.traces = setting.data_trace_enabled == Some(true);
    }
    perform(call, Some(staged), &method, request).await
}

/// A request whose method is known. Without a stage it is a test call: nobody is asked, and nothing is counted or kept.
async fn perform(
    call: &mut Call,
    staged: Option<&Staged>,
    method: &Method,
    request: Option<&DataRequest>,
) -> Result<Response, Refusal> {
    let cx = call.cx.clone();
    let id = call.context["requestId"].as_str().unwrap_or_default().to_owned();
    call.trail.info(&cx, || format!("Starting execution for request: {id}"));
    let (verb, path) = (call.verb.clone(), call.context["resourcePath"].clone());
    call.trail
        .info(&cx, || format!("HTTP Method: {verb}, Resource Path: {}", path.as_str().unwrap_or_default()));
    if call.trail.traces {
        let body = part(&call.body);
        let (path, query) = (json!(call::single(&call.path_parameters)), json!(call::single(&call.query)));
        let headers = json!(call::single(&call.headers));
        call.trail.trace(&cx, || format!("Method request path: {path}"));
        call.trail.trace(&cx, || format!("Method request query string: {query}"));
        call.trail.trace(&cx, || format!("Method request headers: {headers}"));
        call.trail.trace(&cx, || format!("Method request body before transformations: {body}"));
    }
    let key = authorize::check(call, request, method).await?;
    if let Some(staged) = staged {
        limit::check(call, staged, method, key).await?;
    }
    decompress(call).await?;
    validate::check(call, method)?;
    let plan = match staged {
        Some(staged) => cache::plan(call, staged, method).await?,
        None => None,
    };
    if let Some(kept) = plan.as_ref().and_then(|plan| plan.answer(call)) {
        call.trail.info(&cx, || "The answer was in the cache".to_owned());
        return Ok(kept);
    }
    let started = cx.clock().monotonic();
    let mut response = integrate::run(call, method).await?;
    let took = cx.clock().monotonic().saturating_sub(started);
    let status = response.status.as_u16();
    if !call.context["integration"].is_object() {
        call.context["integration"] = json!({ "status": status });
    }
    call.context["integration"]["latency"] = json!(took.as_millis() as u64);
    call.context["integrationLatency"] = json!(took.as_millis() as u64);
    if method.kind().starts_with("AWS") {
        let trace = call.header("x-amzn-trace-id").unwrap_or_default().to_owned();
        set(&mut response, "x-amzn-trace-id", &trace);
    }
    if let Some(plan) = &plan {
        plan.keep(call, &mut response);
    }
    call.trail.info(&cx, || "Successfully completed execution".to_owned());
    call.trail.info(&cx, || format!("Method completed with status: {status}"));
    Ok(response)
}

/// A body that was sent compressed, for an API that compresses.
async fn decompress(call: &mut Call) -> Result<(), Refusal> {
    use std::io::Read as _;
    let is_on = call.deployed.api.minimum_compression_size.is_some();
    let encoding = call.header("content-encoding").unwrap_or_default().to_ascii_lowercase();
    if !is_on || call.body.is_empty() || !matches!(encoding.as_str(), "gzip" | "deflate") {
        return Ok(());
    }
    let mut plain = Vec::new();
    let bytes = call.body.clone();
    let read = match encoding.as_str() {
        "gzip" => flate2::read::GzDecoder::new(bytes.as_ref()).take(MAX_BODY + 1).read_to_end(&mut plain),
        _ => flate2::read::ZlibDecoder::new(bytes.as_ref()).take(MAX_BODY + 1).read_to_end(&mut plain),
    };
    if read.is_err() {
        return Err(Refusal::new(
            "BAD_REQUEST_BODY",
            "BadRequestException",
            "Could not parse request body into json",
        ));
    }
    if plain.len() as u64 > MAX_BODY {
        return Err(Refusal::too_large());
    }
    call.body = plain.into();
    call.headers.retain(|(name, _)| {
        !name.eq_ignore_ascii_case("content-encoding") && !name.eq_ignore_ascii_case("content-length")
    });
    Ok(())
}

/// Compresses an answer, for a client that takes it so and an API that is told to.
async fn compress(call: &Call, response: &mut Response) {
    use std::io::Write as _;
    let Some(least) = call.deployed.api.minimum_compression_size else { return };
    let accepts =
        call.header("accept-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("gzip"));
    let ResponseBody::Bytes(body) = &response.body else { return };
    let is_long = i64::try_from(body.len()).unwrap_or(i64::MAX) >= least;
    if !accepts || !is_long || body.is_empty() || response.headers.contains_key(header::CONTENT_ENCODING) {
        return;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if encoder.write_all(body).is_err() {
        return;
    }
    if let Ok(bytes) = encoder.finish() {
        response.body = ResponseBody::Bytes(bytes.into());
        response.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Logs what was done.
fn finish(call: &mut Call, staged: &Staged, response: &Response, took: Duration) {
    let destination = |group: String| Destination {
        account: AccountId::parse(call.context["accountId"].as_str().unwrap_or_default())
            .unwrap_or(call.cx.account()),
        region: call.cx.region().clone(),
        group,
        stream: format!("{:016x}{:016x}", hash(&call.api), hash(&call.stage)),
    };
    if !call.trail.lines.is_empty() {
        let group = format!("API-Gateway-Execution-Logs_{}/{}", call.api, call.stage);
        let id = call.context["requestId"].as_str().unwrap_or_default();
        let lines = call.trail.lines.iter().map(|(at, line)| (*at, format!("({id}) {line}"))).collect();
        call.cx.state::<Shipper>().leave(destination(group), lines);
    }
    let Some(settings) = &staged.stage.access_log_settings else { return };
    let group = settings.destination_arn.as_deref().and_then(|arn| arn.split_once(":log-group:"));
    let Some((_, group)) = group else { return };
    let destination = destination(group.split(':').next().unwrap_or_default().to_owned());
    let length = match &response.body {
        ResponseBody::Bytes(body) => body.len(),
        ResponseBody::Stream(_) => 0,
    };
    call.context["status"] = json!(response.status.as_u16());
    call.context["responseLength"] = json!(length);
    call.context["responseLatency"] = json!(took.as_millis() as u64);
    let line = call.fill(settings.format.as_deref().unwrap_or_default(), "-");
    call.cx.state::<Shipper>().leave(destination, vec![(call.cx.now(), line)]);
}

/// FNV-1a: streams are named by it, so that every node writes into the same one.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
