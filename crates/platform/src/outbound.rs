//! Requests to the world outside, such as for an identity provider's keys.
//!
//! A service names what it wants and whom it trusts; the composition root hands in who fetches it. Tests and the simulator hand in
//! one that needs no network.

use std::time::Duration;

use bytes::Bytes;
use pileus_core::BoxFuture;

/// Fetches documents over HTTPS. Never follows a redirect: a document is where its address says, or it is not there.
pub trait Outbound: Send + Sync + 'static {
    /// # Errors
    /// Every way in which the document did not come, whole, from a server that is trusted.
    fn get(&self, request: HttpsGet) -> BoxFuture<'_, Result<Bytes, OutboundError>>;
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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("{0} is not an address of the form https://host/path")]
    Address(String),
    #[error("the server could not be reached: {0}")]
    Unreachable(String),
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Reaches nothing: for nodes that shall not, and for tests.
pub struct Unconnected;

impl Outbound for Unconnected {
    fn get(&self, _: HttpsGet) -> BoxFuture<'_, Result<Bytes, OutboundError>> {
        Box::pin(async { Err(OutboundError::Unreachable("this node makes no connections".to_owned())) })
    }
}
