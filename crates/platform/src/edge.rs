//! What HTTP says of a request that no operation says: for services that answer browsers' cross-origin questions and write access
//! logs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, header};
use pileus_core::{BoxFuture, Timestamp};
use pileus_wire::protocol::Response;

use crate::caller::Caller;
use crate::pipeline::Inbound;
use crate::platform::Platform;

/// A request as it came, kept beside its way through the pipeline.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request_id: Arc<str>,
    pub at: Timestamp,
    pub method: Method,
    pub host: String,
    /// As sent, still percent-encoded.
    pub path: String,
    pub query: String,
    /// `Origin`: a browser asks for a page of another site.
    pub origin: Option<String>,
    /// `Access-Control-Request-Method`: it asks before it asks.
    pub wanted_method: Option<String>,
    /// `Access-Control-Request-Headers`
    pub wanted_headers: String,
    pub referer: String,
    pub user_agent: String,
    pub peer: Option<IpAddr>,
    pub is_secure: bool,
}

/// How it ended.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Our name of the operation, if the request meant one.
    pub operation: Option<&'static str>,
    /// Unless the request was refused before it was known.
    pub caller: Option<Caller>,
    pub error_code: Option<String>,
    pub took: Duration,
}

/// A service's part at the edge.
pub trait Edge: Send + Sync + 'static {
    /// An answer to an `OPTIONS` request, if it is this service's to give.
    fn preflight<'a>(
        &'a self,
        platform: &'a Platform,
        exchange: &'a Exchange,
    ) -> BoxFuture<'a, Option<Response>>;

    /// Whether exchanges without an origin are of interest too.
    fn watches(&self, platform: &Platform) -> bool;

    /// Sees the answer of one of the service's operations before it is sent.
    fn answered<'a>(
        &'a self,
        platform: &'a Platform,
        exchange: &'a Exchange,
        ending: &'a Ending,
        response: &'a mut Response,
    ) -> BoxFuture<'a, ()>;
}

impl Exchange {
    /// `None` when nobody will ask for it: the usual case, which costs nothing.
    pub(crate) fn of(
        platform: &Platform,
        inbound: &Inbound,
        at: Timestamp,
        request_id: &Arc<str>,
    ) -> Option<Exchange> {
        let headers = &inbound.headers;
        let is_crossing = headers.contains_key(header::ORIGIN) || inbound.method == Method::OPTIONS;
        if !is_crossing && !platform.edges().any(|(_, edge)| edge.watches(platform)) {
            return None;
        }
        Some(Exchange {
            request_id: request_id.clone(),
            at,
            method: inbound.method.clone(),
            host: text(headers, &header::HOST).unwrap_or_default(),
            path: inbound.path.clone(),
            query: inbound.query.clone(),
            origin: text(headers, &header::ORIGIN),
            wanted_method: text(headers, &header::ACCESS_CONTROL_REQUEST_METHOD),
            wanted_headers: text(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default(),
            referer: text(headers, &header::REFERER).unwrap_or_default(),
            user_agent: text(headers, &header::USER_AGENT).unwrap_or_default(),
            peer: inbound.peer.map(|peer| peer.ip().to_canonical()),
            is_secure: inbound.is_secure,
        })
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
