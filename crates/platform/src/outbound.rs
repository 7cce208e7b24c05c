//! Requests to the world outside: webhooks, HTTP integrations, an identity provider's keys.
//!
//! A service names what it wants and whom it trusts; the composition root hands in who sends it. Tests and the simulator hand in
//! one that needs no network. No redirect is ever followed: a service that wants to follows it by a request of its own, so
//! that its rules about addresses hold for every step.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use pileus_core::BoxFuture;

use crate::body::{Body, BodyError};

/// Sends requests over HTTP and HTTPS.
pub trait Outbound: Send + Sync + 'static {
    /// Sends the request and returns as soon as the head of the answer is there: its body comes as it is read, at most
    /// `max_bytes` of it (then an error of kind `FileTooLarge`). Any status is an answer. `timeout` bounds the time until the
    /// head, not the body.
    ///
    /// # Errors
    /// Every way in which no answer came from a server that is trusted.
    fn open(&self, request: OutboundRequest) -> BoxFuture<'_, Result<Response<Body>, OutboundError>>;

    /// Sends the request and takes the whole answer, whatever its status; `timeout` bounds everything.
    ///
    /// # Errors
    /// As `open`; `TooLong`, `TimedOut` and `Broken` also for the answer's body.
    fn send(&self, request: OutboundRequest) -> BoxFuture<'_, Result<Response<Bytes>, OutboundError>> {
        Box::pin(async move {
            let (timeout, max_bytes) = (request.timeout, request.max_bytes);
            let whole = async {
                let (head, body) = self.open(request).await?.into_parts();
                let body =
                    body.collect(max_bytes as u64).await.map_err(|error| body_error(error, max_bytes))?;
                Ok(Response::from_parts(head, body))
            };
            tokio::time::timeout(timeout, whole).await.unwrap_or(Err(OutboundError::TimedOut))
        })
    }

    /// Hands a mail to the relay that the operator named; false where there is none.
    ///
    /// # Errors
    /// When the relay did not take it.
    fn relay(&self, mail: RelayedMail) -> BoxFuture<'_, Result<bool, OutboundError>> {
        let _ = mail;
        Box::pin(async { Ok(false) })
    }

    /// Fetches a document over HTTPS: it is where its address says, whole and with status 200, or it is not there.
    ///
    /// # Errors
    /// `Unreachable` for all that may be better at another time.
    fn get(&self, request: HttpsGet) -> BoxFuture<'_, Result<Bytes, OutboundError>> {
        Box::pin(async move {
            let malformed = || OutboundError::Address(request.url.clone());
            if !request.url.starts_with("https://") {
                return Err(malformed());
            }
            let get = Request::builder()
                .method(Method::GET)
                .uri(&request.url)
                .header(header::ACCEPT, "application/json")
                .header(header::USER_AGENT, USER_AGENT)
                .body(Bytes::new())
                .map_err(|_| malformed())?;
            let trust = Trust { thumbprints: request.thumbprints, ..Trust::default() };
            let sent = OutboundRequest {
                request: get,
                trust,
                max_bytes: request.max_bytes,
                timeout: request.timeout,
            };
            let answer = match self.send(sent).await {
                Err(OutboundError::TimedOut) => {
                    Err(OutboundError::Unreachable("it took too long".to_owned()))
                }
                Err(OutboundError::Tls(text) | OutboundError::Broken(text)) => {
                    Err(OutboundError::Unreachable(text))
                }
                other => other,
            }?;
            match answer.status() {
                StatusCode::OK => Ok(answer.into_body()),
                status if status.is_server_error() => {
                    Err(OutboundError::Unreachable(format!("it answered {status}")))
                }
                status => Err(OutboundError::Status(status.as_u16())),
            }
        })
    }
}

/// `User-Agent` of requests that are our own, not made in a customer's name.
pub const USER_AGENT: &str = concat!("pileus/", env!("CARGO_PKG_VERSION"));

fn body_error(error: BodyError, max_bytes: usize) -> OutboundError {
    match error {
        BodyError::TooLarge { .. } => OutboundError::TooLong(max_bytes),
        BodyError::Broken(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            OutboundError::TooLong(max_bytes)
        }
        BodyError::Broken(error) => OutboundError::Broken(error.to_string()),
        BodyError::TimedOut => OutboundError::TimedOut,
    }
}

#[derive(Debug)]
pub struct OutboundRequest {
    /// With an absolute address, `http` or `https`, without a name or password in it. `Host` and `Content-Length` are added.
    pub request: Request<Bytes>,
    pub trust: Trust,
    /// Of the answer's body.
    pub max_bytes: usize,
    /// For name, connection, handshake, request and answer. The connection alone is given up earlier, after the node's own time.
    pub timeout: Duration,
}

impl OutboundRequest {
    /// A request that trusts the public authorities and those of the node.
    pub fn new(request: Request<Bytes>, max_bytes: usize, timeout: Duration) -> OutboundRequest {
        OutboundRequest { request, trust: Trust::default(), max_bytes, timeout }
    }
}

/// Whose certificates are trusted beside the public authorities and those that the node's operator named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// SHA-1 digests (hex) of certificates: the server's own, or one that its chain leads to.
    pub thumbprints: Vec<String>,
    /// Certificates of authorities, as DER.
    pub roots: Vec<Bytes>,
    /// Take any certificate whose name is right (API Gateway's `insecureSkipVerification`).
    pub any_authority: bool,
}

/// A mail in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedMail {
    /// `Name <address>` or an address.
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub body: String,
}

#[derive(Debug, Clone)]
pub struct HttpsGet {
    /// `https://host[:port]/path`
    pub url: String,
    /// SHA-1 digests (hex) of certificates that are trusted beside the public authorities: the server's own, or one that its
    /// chain leads to.
    pub thumbprints: Vec<String>,
    pub max_bytes: usize,
    /// For everything: name, connection, handshake, answer.
    pub timeout: Duration,
}

/// Which addresses a node's own requests may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressPolicy {
    #[default]
    Any,
    /// Only addresses of the public internet: whoever may create a webhook must not reach the operator's own network by it.
    /// Checked on the address that is connected to, after the name was resolved.
    Public,
}

impl AddressPolicy {
    pub fn allows(self, address: IpAddr) -> bool {
        self == AddressPolicy::Any || is_public(address)
    }
}

/// Whether an address is of the public internet: not of this host, a private or shared network, a link, multicast, or kept for
/// documentation and benchmarks.
///
/// Source: IANA special-purpose address registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19));
            !is_special
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            // Global unicast is 2000::/3; in it, documentation (2001:db8::/32) and the ways to IPv4 (6to4, Teredo) are not.
            None => {
                let [first, second, ..] = v6.segments();
                first & 0xe000 == 0x2000
                    && first != 0x2002
                    && !(first == 0x2001 && (second == 0xdb8 || second == 0))
            }
        },
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("{0} is not an address that a request can be sent to")]
    Address(String),
    #[error("this node may not connect to {0}: only public addresses are allowed")]
    Forbidden(String),
    #[error("the server could not be reached: {0}")]
    Unreachable(String),
    #[error("the server took too long")]
    TimedOut,
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    #[error("no secure connection could be made: {0}")]
    Tls(String),
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// From `get` alone.
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Reaches nothing: for nodes that shall not, and for tests.
pub struct Unconnected;

impl Outbound for Unconnected {
    fn open(&self, _: OutboundRequest) -> BoxFuture<'_, Result<Response<Body>, OutboundError>> {
        Box::pin(async { Err(OutboundError::Unreachable("this node makes no connections".to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let cases = [
            ("1.1.1.1", true),
            ("100.63.255.255", true),
            ("192.0.1.1", true),
            ("2606:4700::1", true),
            ("::ffff:8.8.8.8", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("203.0.113.5", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2002:a00:1::", false),
        ];
        for (address, expected) in cases {
            let address = address.parse().unwrap();
            assert_eq!(AddressPolicy::Public.allows(address), expected, "{address}");
            assert!(AddressPolicy::Any.allows(address), "{address}");
        }
    }
}
