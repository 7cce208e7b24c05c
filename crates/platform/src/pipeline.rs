//! A request from outside: framed, routed, read, authenticated, decoded; then dispatched and encoded.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pileus_core::{Region, Timestamp};
use pileus_wire::protocol::{Protocol, Request, Response};
use pileus_wire::route::{self, FormPeek, RouteError, Routed};
use pileus_wire::schema::{Operation, Service as Api};
use pileus_wire::sigv4::{self, AuthError, Family, Form, RequestView, SignedRequest};
use pileus_wire::value::{Slot, Struct};
use pileus_wire::{codec, value};

use tracing::Instrument as _;

use crate::authn::{self, Claim};
use crate::body::{Body, BodyError};
use crate::cx::{Cx, Origin, RequestSignature};
use crate::data_plane::{DataRequest, Upgrade};
use crate::edge::{Ending, Exchange};
use crate::payload::{self, Payload};
use crate::platform::Platform;
use crate::{Fault, dispatch};

/// A request as a listener hands it over.
pub struct Inbound {
    pub method: Method,
    /// As sent, still percent-encoded; begins with `/`.
    pub path: String,
    /// Without the `?`.
    pub query: String,
    /// `Host` is set, from `:authority` where the protocol has that instead.
    pub headers: HeaderMap,
    pub body: Body,
    pub peer: Option<SocketAddr>,
    /// Came over TLS.
    pub is_secure: bool,
    /// The connection itself, where the client asks for another protocol on it.
    pub upgrade: Option<Upgrade>,
}

/// Longest body of an operation that is not a stream: the largest that any service takes is Lambda's direct zip upload.
const MAX_BODY: u64 = 70 << 20;

/// What is known about a request so far, for framing whatever goes wrong next.
struct Place {
    api: Option<&'static Api>,
    operation: Option<&'static Operation>,
    protocol: Protocol,
    /// Where somebody asks who it was: see `Ending`.
    ending: Option<Ending>,
}

/// Answers a request. Never fails: every fault becomes the answer that AWS would give.
pub async fn handle(platform: &Platform, inbound: Inbound) -> Response {
    let now = platform.clock().now();
    let request_id: Arc<str> = platform.ids().uuid().into();
    let host = inbound.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Some(plane) = platform.data_plane(host, &inbound.path) {
        let mut response = (plane.answer)(DataRequest::new(platform.clone(), inbound, now, request_id)).await;
        response.headers.insert(header::DATE, date(platform.clock().unmoved()));
        return response;
    }
    let is_head = inbound.method == Method::HEAD;
    let exchange = Exchange::of(platform, &inbound, now, &request_id);
    if let Some(exchange) = exchange.as_ref().filter(|exchange| exchange.method == Method::OPTIONS) {
        for (_, edge) in platform.edges() {
            if let Some(mut response) = edge.preflight(platform, exchange).await {
                response.headers.insert(header::DATE, date(platform.clock().unmoved()));
                return response;
            }
        }
    }
    let started = exchange.as_ref().map(|_| platform.clock().monotonic());
    let mut place = Place {
        api: None,
        operation: None,
        protocol: guess_protocol(&inbound.headers),
        ending: exchange.as_ref().map(|_| Ending::default()),
    };
    let mut response = match answer(platform, inbound, now, &request_id, &mut place).await {
        Ok(response) => response,
        Err(fault) => {
            tracing::debug!(request_id = &*request_id, code = %fault.code, "{}", fault.message);
            if let Some(ending) = &mut place.ending {
                ending.error_code = Some(fault.code.to_string());
            }
            codec::encode_fault(place.api, place.operation, place.protocol, &fault, &request_id, is_head)
        }
    };
    if let (Some(exchange), Some(ending), Some(api)) = (&exchange, &mut place.ending, place.api) {
        ending.operation = place.operation.map(|operation| operation.name);
        ending.took = platform.clock().monotonic().saturating_sub(started.unwrap_or_default());
        if let Some((_, edge)) = platform.edges().find(|(name, _)| *name == api.name) {
            edge.answered(platform, exchange, ending, &mut response).await;
        }
    }
    response.headers.insert(header::DATE, date(platform.clock().unmoved()));
    response
}

/// The `Date` header; written once a second.
fn date(now: Timestamp) -> HeaderValue {
    thread_local! {
        static WRITTEN: RefCell<(i64, HeaderValue)> = const { RefCell::new((i64::MIN, HeaderValue::from_static(""))) };
    }
    WRITTEN.with_borrow_mut(|(second, value)| {
        if *second != now.as_secs() {
            *value = HeaderValue::try_from(now.to_http_date()).expect("an HTTP date is visible ASCII");
            *second = now.as_secs();
        }
        value.clone()
    })
}

async fn answer(
    platform: &Platform,
    inbound: Inbound,
    now: Timestamp,
    request_id: &Arc<str>,
    place: &mut Place,
) -> Result<Response, Fault> {
    let Inbound { method, path, query, mut headers, body, peer, is_secure, .. } = inbound;
    let request = Request { method: &method, path: &path, query: &query, headers: &headers, labels: &[] };
    let signed = sigv4::parse(&headers, &query);
    let scope = signed.as_ref().ok().and_then(Option::as_ref).map(|signed| signed.scope.service.as_str());

    // A form says in its body what it asks for; everything else is routed before its body is read.
    let mut body = Reading::NotYet(body);
    let form_bytes =
        if method == Method::POST && is_form(&headers) { Some(body.collect(platform).await?) } else { None };
    let form = form_bytes.as_deref().map(FormPeek::read);
    let hosts = &platform.config().hosts;
    let routed = match route::route(pileus_models::catalog(), hosts, &request, scope, form.as_ref()) {
        Ok(routed) => routed,
        Err(error) => return refuse_route(error, &signed, place),
    };
    let Routed { service: api, operation, protocol, labels, region_hint, .. } = routed;
    (place.api, place.operation, place.protocol) = (Some(api), Some(operation), protocol);

    authn::claim_of(&signed, api, operation, protocol)?;
    let streaming = codec::streaming_input(operation);
    let is_s3 = api.signing_name == "s3";
    if let (true, Some(_), Reading::NotYet(body)) = (is_s3 && method == Method::PUT, streaming, &body) {
        payload::check_length(&headers, body.length)?;
    }
    // A signature covers the whole body unless the request itself says what is covered, as those to S3 do.
    let is_covered = api.name != "s3" && !headers.contains_key("x-amz-content-sha256");
    if streaming.is_none() || is_covered {
        body.collect(platform).await?;
    }
    let region = region(platform, &signed, region_hint);
    let view = RequestView {
        method: method.as_str(),
        path: &path,
        query: &query,
        headers: &headers,
        authority: None,
    };
    let mut origin = origin(&headers, peer, is_secure);
    origin.has_region = region_hint.is_some() || matches!(&signed, Ok(Some(_)));
    if is_s3 {
        origin.signature = signature(&signed, &headers, &query);
    }
    let claim = Claim { api, operation, protocol, view, signed: &signed, body: body.collected(), now };
    let (caller, key) = authn::authenticate_with_key(platform, claim).await?;
    if let Some(ending) = &mut place.ending {
        ending.caller = Some(caller.clone());
    }
    let mut payload = match is_s3 {
        true => {
            let signed = signed.as_ref().ok().and_then(Option::as_ref);
            Some(Payload::of(&mut headers, signed, key)?)
        }
        false => None,
    };

    let mut input = dispatch::new_input(platform, api, operation);
    let mut bytes = body.collected().cloned().unwrap_or_default();
    if let Some(payload) = payload.take_if(|_| streaming.is_none()) {
        bytes = payload.unframe(bytes)?;
        payload::check_digests(operation, &headers, &bytes)?;
    }
    let request = Request { method: &method, path: &path, query: &query, headers: &headers, labels: &labels };
    codec::decode(api, operation, protocol, &request, bytes, input.as_mut())?;
    if let Some(at) = streaming {
        hand_over(input.as_mut(), at, body, payload);
    }

    let origin = Arc::new(origin);
    let cx = Cx::new(platform.clone(), caller, region, now, request_id.clone(), origin);
    let span = tracing::debug_span!("request", request_id = &**request_id, trace = &*cx.trace_id());
    let mut output = dispatch::dispatch(&cx, api, operation, input).instrument(span).await?;
    Ok(codec::encode(api, operation, protocol, output.as_mut(), request_id))
}

/// A body on its way in.
enum Reading {
    NotYet(Body),
    Collected(Bytes),
}

impl Reading {
    async fn collect(&mut self, platform: &Platform) -> Result<Bytes, Fault> {
        if let Reading::NotYet(body) = self {
            let body = std::mem::replace(body, Body::empty());
            let _room = platform.body_room(body.length).await;
            *self = Reading::Collected(body.collect(MAX_BODY).await.map_err(refuse_body)?);
        }
        Ok(self.collected().cloned().unwrap_or_default())
    }

    fn collected(&self) -> Option<&Bytes> {
        match self {
            Reading::Collected(bytes) => Some(bytes),
            Reading::NotYet(_) => None,
        }
    }
}

/// Puts the unread body into the input's streaming member.
fn hand_over(input: &mut dyn Struct, at: usize, body: Reading, payload: Option<Payload>) {
    let body = match body {
        Reading::NotYet(body) => body,
        Reading::Collected(bytes) => Body::from_bytes(bytes),
    };
    let stream = match payload {
        Some(payload) => payload.stream(body),
        None => body.into_stream(),
    };
    if let Some(Slot::Bytes(slot)) = input.get_mut(at).map(value::Val::slot) {
        *slot = stream;
    }
}

fn refuse_body(error: BodyError) -> Fault {
    match error {
        BodyError::TooLarge { .. } => {
            Fault::framework("RequestEntityTooLarge", 413, "Request must be smaller than 73400320 bytes.")
        }
        BodyError::TimedOut => Fault::framework(
            "RequestTimeout",
            400,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
        BodyError::Broken(_) => Fault::framework(
            "IncompleteBody",
            400,
            "The request body terminated unexpectedly before its declared length.",
        ),
    }
}

/// A request that means nothing is still told first that its signature cannot be read.
fn refuse_route(
    error: RouteError,
    signed: &Result<Option<SignedRequest>, AuthError>,
    place: &mut Place,
) -> Result<Response, Fault> {
    place.api = error.service();
    if let Some(protocol) = error.protocol() {
        place.protocol = protocol;
    }
    match (signed, place.api, error.verbatim()) {
        (Err(broken), Some(api), _) => Err(authn::to_fault(broken, authn::family(api, place.protocol))),
        (Err(broken), None, _) => Err(authn::to_fault(broken, Family::Json)),
        (Ok(_), _, Some(response)) => Ok(response),
        (Ok(_), _, None) => Err(error.into_fault()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    content_type.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

/// Before routing only the content type tells how a client wants its error written.
fn guess_protocol(headers: &HeaderMap) -> Protocol {
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    if headers.get("smithy-protocol").is_some_and(|value| value == "rpc-v2-cbor") {
        return Protocol::RpcV2Cbor;
    }
    match text(header::CONTENT_TYPE) {
        kind if kind.starts_with("application/x-amz-json-1.0") => Protocol::AwsJson10,
        kind if kind.starts_with("application/x-amz-json-1.1") => Protocol::AwsJson11,
        kind if kind.starts_with("application/x-amz-cbor-1.1") => Protocol::AmzCbor11,
        kind if kind.starts_with("application/x-www-form-urlencoded") => Protocol::AwsQuery,
        kind if kind.starts_with("application/json") => Protocol::RestJson1,
        _ => Protocol::RestXml,
    }
}

fn region(
    platform: &Platform,
    signed: &Result<Option<SignedRequest>, AuthError>,
    hint: Option<&str>,
) -> Region {
    let scope = signed.as_ref().ok().and_then(Option::as_ref).and_then(|s| Region::parse(&s.scope.region));
    scope.or_else(|| Region::parse(hint?)).unwrap_or_else(|| platform.config().default_region.clone())
}

/// What S3's condition keys tell of a signature.
fn signature(
    signed: &Result<Option<SignedRequest>, AuthError>,
    headers: &HeaderMap,
    query: &str,
) -> Option<RequestSignature> {
    let of = |form: Form| if form == Form::Header { "REST-HEADER" } else { "REST-QUERY-STRING" };
    match signed {
        Ok(Some(signed)) => Some(RequestSignature {
            form: of(signed.form),
            version: sigv4::ALGORITHM,
            signed_at: Some(signed.time),
            content_sha256: Some(signed.payload.as_str().to_owned()).filter(|text| !text.is_empty()),
        }),
        Err(AuthError::SigV2) => pileus_wire::sigv2::parse(headers, query).map(|signed| RequestSignature {
            form: of(signed.form),
            version: "AWS",
            signed_at: None,
            content_sha256: None,
        }),
        _ => None,
    }
}

pub(crate) fn origin(headers: &HeaderMap, peer: Option<SocketAddr>, is_secure: bool) -> Origin {
    let text = |name: header::HeaderName| match headers.get(name) {
        Some(value) => value
            .to_str()
            .map_or_else(|_| String::from_utf8_lossy(value.as_bytes()).into_owned(), str::to_owned),
        None => String::new(),
    };
    Origin {
        source_ip: peer.map(|peer| peer.ip().to_canonical()),
        user_agent: text(header::USER_AGENT),
        is_secure,
        host: text(header::HOST),
        referer: text(header::REFERER),
        signature: None,
        has_region: false,
    }
}

/// A plain answer outside of any AWS protocol: control endpoints.
pub fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(status, body.into());
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
