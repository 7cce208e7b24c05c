//! Requests to function URLs: who may, then the function, then its answer as it is or as it comes.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pileus_api_lambda as api;
use pileus_core::Region;
use pileus_platform::{Access, Caller, Cx, DataRequest};
use pileus_sandbox::{ResponseMode, StreamPart};
use pileus_wire::protocol::{Response, ResponseBody};
use pileus_wire::route::HostKind;
use pileus_wire::value::ByteStream;
use serde_json::{Value, json};

use super::http::{Reply, Request, Signer, add_cors, event, head, is_preflight, reply};
use super::{UrlRow, UrlTarget};
use crate::error::LambdaError;
use crate::invoke::{Call, pick, run, stream as streaming};
use crate::keys::{URL_IDS, URLS, qualified};
use crate::name::FunctionName;

/// Source: "Lambda quotas" (invocation payload).
const MAX_BODY: u64 = 6 << 20;
/// What comes before a prelude's end; no head of a response is longer.
const MAX_PRELUDE: usize = 64 << 10;
const FORBIDDEN: &str = "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";

pub fn owns(host: &HostKind<'_>) -> bool {
    matches!(host, HostKind::LambdaUrl { .. })
}

/// A reply that is no function's.
fn refusal(status: StatusCode, kind: &'static str, message: Option<&str>) -> Reply {
    let mut reply = Reply::json(status, &json!({ "Message": message }));
    reply.headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    reply
}

fn respond(reply: Reply, request_id: &str) -> Response {
    let mut response = Response::new(reply.status, reply.body);
    response.headers = reply.headers;
    name_request(&mut response.headers, request_id);
    response
}

fn name_request(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
}

/// Answers a request to `<id>.lambda-url.<region>.<domain>`.
pub async fn answer(request: DataRequest) -> Response {
    let request_id = request.request_id.clone();
    match serve(request).await {
        Ok(response) => response,
        Err(reply) => respond(*reply, &request_id),
    }
}

struct Found {
    name: FunctionName,
    row: UrlRow,
}

async fn find(request: &DataRequest, id: &str) -> Result<Option<Found>, LambdaError> {
    let store = request.platform().store();
    let Some(UrlTarget { function_arn }) = URL_IDS.get(store, &id.to_ascii_lowercase()).await? else {
        return Ok(None);
    };
    let Some(name) = FunctionName::from_arn(&function_arn) else { return Ok(None) };
    let key = qualified(&name.key(), name.qualifier.as_deref().unwrap_or_default());
    Ok(URLS.get(store, &key).await?.map(|row| Found { name, row }))
}

async fn serve(mut request: DataRequest) -> Result<Response, Box<Reply>> {
    let host = request.host().to_owned();
    let (domain, port) = match host.rsplit_once(':') {
        Some((domain, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (domain, Some(port)),
        _ => (host.as_str(), None),
    };
    let id = domain.split('.').next().unwrap_or_default();
    let nothing = || Box::new(refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", None));
    let Found { name, row } =
        find(&request, id).await.map_err(|error| Box::new(fault(error)))?.ok_or_else(nothing)?;
    if let Some(cors) = &row.cors
        && is_preflight(&request.inbound.method, &request.inbound.headers)
    {
        let mut reply = Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        add_cors(cors, &request.inbound.headers, true, &mut reply.headers);
        return Ok(respond(reply, &request.request_id));
    }
    let too_large = || {
        Box::new(refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", Some("Request Too Long")))
    };
    let body = request.collect(MAX_BODY).await.map_err(|_| too_large())?;
    let (cx, caller) = authorise(&request, &name, &row, &body).await?;
    let signer = row.needs_iam.then(|| Signer {
        access_key: caller.access_key_id.to_string(),
        account: caller.account.to_string(),
        user_arn: caller.arn.to_string(),
        user_id: caller.user_id.to_string(),
    });
    let inbound = &request.inbound;
    let default_port = if inbound.is_secure { "443" } else { "80" };
    let trace_id = cx.trace_id();
    let event = event(&Request {
        method: &inbound.method,
        path: &inbound.path,
        query: &inbound.query,
        headers: &inbound.headers,
        body: &body,
        source_ip: inbound.peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default(),
        is_secure: inbound.is_secure,
        url_id: &row.id,
        domain,
        port: port.unwrap_or(default_port).to_owned(),
        request_id: &request.request_id,
        trace_id: &trace_id,
        at: request.now(),
        signer,
    });
    let payload = Bytes::from(event.to_string());
    let mut response = match row.streams {
        false => buffered(&cx, &name, payload, &request.request_id).await,
        true => streamed(&cx, &name, payload).await,
    }
    .map_err(|error| Box::new(fault(error)))?;
    if let Some(cors) = &row.cors {
        add_cors(cors, &request.inbound.headers, false, &mut response.headers);
    }
    name_request(&mut response.headers, &request.request_id);
    Ok(response)
}

/// Who asks, and whether they may: without `AWS_IAM` everyone is nobody, and the function's policy must let nobody in.
async fn authorise(
    request: &DataRequest,
    name: &FunctionName,
    row: &UrlRow,
    body: &Bytes,
) -> Result<(Cx, Caller), Box<Reply>> {
    let forbidden = || Box::new(refusal(StatusCode::FORBIDDEN, "AccessDeniedException", Some(FORBIDDEN)));
    let caller = match row.needs_iam {
        true => request.caller(api::SERVICE, "Invoke", body).await.map_err(|fault| {
            Box::new(refusal(StatusCode::FORBIDDEN, "InvalidSignatureException", Some(&fault.message)))
        })?,
        false => Caller::anonymous(name.account),
    };
    let region: Region = name.region.clone();
    let cx = request.cx(caller.clone(), region);
    let kind = if row.needs_iam { "AWS_IAM" } else { "NONE" };
    // Source: AWS Lambda Developer Guide, "Control access to Lambda function URLs": both are needed.
    for action in ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] {
        let access = Access::new(action, name.qualified_arn())
            .with("lambda:FunctionUrlAuthType", kind)
            .with("lambda:InvokedViaFunctionUrl", "true");
        let allowed = cx.is_allowed(api::SERVICE, &access).await;
        if !allowed.map_err(|error| Box::new(fault(error.into())))? {
            return Err(forbidden());
        }
    }
    Ok((cx, caller))
}

fn fault(error: LambdaError) -> Reply {
    match error {
        LambdaError::TooManyRequests { reason } => {
            let body = json!({ "Reason": reason, "Type": "User", "message": error.to_string() });
            let mut reply = Reply::json(StatusCode::TOO_MANY_REQUESTS, &body);
            reply.headers.insert("x-amzn-errortype", HeaderValue::from_static("TooManyRequestsException"));
            reply
        }
        LambdaError::ResourceNotFound(_) => refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", None),
        error => {
            tracing::warn!(%error, "a function URL could not be answered");
            Reply::failed()
        }
    }
}

async fn buffered(
    cx: &Cx,
    name: &FunctionName,
    payload: Bytes,
    request_id: &str,
) -> Result<Response, LambdaError> {
    let picked = pick(cx, cx.store(), name).await?;
    let call = Call {
        name,
        request_id: request_id.to_owned(),
        payload,
        client_context: None,
        response: ResponseMode::Buffered,
    };
    let outcome = run(cx, &picked, call).await?;
    let reply = match outcome.result.is_success() {
        true => reply(outcome.result.payload()),
        false => Reply::failed(),
    };
    let mut response = Response::new(reply.status, reply.body);
    response.headers = reply.headers;
    Ok(response)
}

async fn streamed(cx: &Cx, name: &FunctionName, payload: Bytes) -> Result<Response, LambdaError> {
    let mut begun = streaming::begin(cx, name, payload, None).await?;
    let has_prelude =
        begun.content_type.as_deref() == Some("application/vnd.awslambda.http-integration-response");
    let failed = || {
        let reply = Reply::failed();
        let mut response = Response::new(reply.status, reply.body);
        response.headers = reply.headers;
        response
    };
    let first;
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    if has_prelude {
        let Some((given, rest)) = prelude(&mut begun).await else { return Ok(failed()) };
        let Some(given) = head(&given) else { return Ok(failed()) };
        (status, headers) = given;
        first = rest;
    } else {
        match next(&mut begun).await {
            Some(Ok(data)) => first = data,
            Some(Err(())) => return Ok(failed()),
            None => {
                // It ended without a part: what it said is in the outcome, or it failed.
                let outcome = begun.outcome.await;
                let outcome =
                    outcome.map_err(|_| LambdaError::Internal("an invocation was lost".to_owned()))??;
                if !outcome.result.is_success() {
                    return Ok(failed());
                }
                return Ok(Response::new(StatusCode::OK, outcome.result.payload().clone()));
            }
        }
        let kind = begun.content_type.clone().and_then(|kind| HeaderValue::try_from(kind).ok());
        let kind = kind.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let body = stream::unfold((Some(first), begun), |(first, mut begun)| async move {
        if let Some(first) = first.filter(|first| !first.is_empty()) {
            return Some((Ok(first), (None, begun)));
        }
        match next(&mut begun).await? {
            Ok(data) => Some((Ok(data), (None, begun))),
            // The client must see that the rest is missing.
            Err(()) => Some((Err(std::io::Error::other("the function failed")), (None, begun))),
        }
    });
    Ok(Response { status, headers, body: ResponseBody::Stream(ByteStream::new(body)) })
}

/// The next data of a response; `Err` when the function failed on the way.
async fn next(begun: &mut streaming::Streaming) -> Option<Result<Bytes, ()>> {
    loop {
        let part = match begun.first.take() {
            Some(part) => part,
            None => begun.parts.recv().await?,
        };
        match part {
            StreamPart::Head { .. } => {}
            StreamPart::Data(data) if data.is_empty() => {}
            StreamPart::Data(data) => return Some(Ok(data)),
            StreamPart::Error { .. } => return Some(Err(())),
        }
    }
}

/// Status and headers as JSON, ended by eight zero bytes; and what came after them.
async fn prelude(begun: &mut streaming::Streaming) -> Option<(Value, Bytes)> {
    let mut seen = BytesMut::new();
    loop {
        if let Some(at) = seen.windows(8).position(|window| window == [0; 8]) {
            let given = serde_json::from_slice(&seen[..at]).ok()?;
            return Some((given, seen.freeze().slice(at + 8..)));
        }
        if seen.len() > MAX_PRELUDE {
            return None;
        }
        seen.extend_from_slice(&next(begun).await?.ok()?);
    }
}
