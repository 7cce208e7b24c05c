//! The node's way to the world outside: requests over HTTP/1.1, in the clear or over TLS.
//!
//! Connections are kept for the next request to the same server for half a minute. A request with a trust of its own has a
//! connection of its own, so that nobody else's request goes over it.
//!
//! Trust: the public authorities, those of the node (its own authority), and the certificates that a request names. A thumbprint
//! of the server's own certificate pins it; one of an authority counts only when the server's certificate really leads to it.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::{Authority, Scheme};
use http::{Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyDataStream, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pileus_core::BoxFuture;
use pileus_platform::body::Body;
use pileus_platform::{AddressPolicy, Outbound, OutboundError, OutboundRequest, RelayedMail, Trust};
use pileus_wire::value::ByteStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::smtp::Relay;

/// A server that does not take a connection for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IDLE_PER_SERVER: usize = 32;

/// Sends over HTTP/1.1.
#[derive(Default)]
pub struct HttpClient {
    addresses: AddressPolicy,
    /// Authorities that are trusted beside the public ones.
    roots: Vec<CertificateDer<'static>>,
    relay: Option<Relay>,
    /// Made on first use: most nodes never need them.
    public: OnceLock<Arc<WebPkiServerVerifier>>,
    shared: OnceLock<Pool>,
}

type Pool = Client<Connector, Full<Bytes>>;

impl Outbound for HttpClient {
    fn open(&self, request: OutboundRequest) -> BoxFuture<'_, Result<Response<Body>, OutboundError>> {
        Box::pin(async move {
            let timeout = request.timeout;
            tokio::time::timeout(timeout, self.exchange(request))
                .await
                .unwrap_or(Err(OutboundError::TimedOut))
        })
    }

    fn relay(&self, mail: RelayedMail) -> BoxFuture<'_, Result<bool, OutboundError>> {
        Box::pin(async move {
            let Some(relay) = &self.relay else { return Ok(false) };
            let reached = tokio::time::timeout(CONNECT_TIMEOUT, self.reach(relay));
            match reached.await.unwrap_or(Err(OutboundError::TimedOut))? {
                Stream::Plain(stream) => relay.send(stream.into_inner(), &mail).await?,
                Stream::Tls(stream) => relay.send(stream.into_inner(), &mail).await?,
            }
            Ok(true)
        })
    }
}

impl HttpClient {
    pub fn new(addresses: AddressPolicy, roots: Vec<CertificateDer<'static>>) -> HttpClient {
        HttpClient { addresses, roots, ..HttpClient::default() }
    }

    pub fn with_relay(self, relay: Option<Relay>) -> HttpClient {
        HttpClient { relay, ..self }
    }

    /// A connection to the mail relay, wherever it is: the operator named it.
    async fn reach(&self, relay: &Relay) -> Result<Stream, OutboundError> {
        let mut tls = self.tls(Trust::default())?;
        tls.alpn_protocols.clear();
        let connector = Connector { tls: Arc::new(tls), addresses: AddressPolicy::Any };
        let tcp = connector.dial(&relay.host, relay.port).await?;
        if !relay.is_secure {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        connector.secure(&relay.host, tcp).await
    }

    async fn exchange(&self, request: OutboundRequest) -> Result<Response<Body>, OutboundError> {
        let OutboundRequest { request, trust, max_bytes, .. } = request;
        destination(request.uri())?;
        let pool = self.pool(trust)?;
        let answer = pool.request(request.map(Full::new)).await.map_err(|error| why(&error))?;
        Ok(answer.map(|body| limited(body, max_bytes)))
    }

    fn pool(&self, trust: Trust) -> Result<Pool, OutboundError> {
        if trust != Trust::default() {
            return self.new_pool(trust, 0);
        }
        if let Some(pool) = self.shared.get() {
            return Ok(pool.clone());
        }
        let pool = self.new_pool(trust, MAX_IDLE_PER_SERVER)?;
        Ok(self.shared.get_or_init(|| pool).clone())
    }

    fn new_pool(&self, trust: Trust, max_idle: usize) -> Result<Pool, OutboundError> {
        let connector = Connector { tls: Arc::new(self.tls(trust)?), addresses: self.addresses };
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(max_idle)
            .build(connector))
    }

    fn tls(&self, trust: Trust) -> Result<ClientConfig, OutboundError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).map_err(tls_error)?;
        }
        for root in &trust.roots {
            roots.add(CertificateDer::from(root.to_vec())).map_err(tls_error)?;
        }
        let public = self.public(&provider)?;
        let Trust { thumbprints, any_authority, .. } = trust;
        let verifier = Verifier { public, roots, thumbprints, any_authority };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn public(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, OutboundError> {
        if let Some(verifier) = self.public.get() {
            return Ok(verifier.clone());
        }
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Ok(self
            .public
            .get_or_init(|| verifier.expect("the public authorities are not an empty list"))
            .clone())
    }
}

fn tls_error(error: TlsError) -> OutboundError {
    OutboundError::Tls(error.to_string())
}

fn unreachable(error: impl std::fmt::Display) -> OutboundError {
    OutboundError::Unreachable(error.to_string())
}

/// The scheme and the server of an address that we can send to.
fn destination(uri: &Uri) -> Result<(&Scheme, &Authority), OutboundError> {
    let scheme = uri.scheme().filter(|scheme| **scheme == Scheme::HTTP || **scheme == Scheme::HTTPS);
    let authority = uri.authority().filter(|authority| {
        let text = authority.as_str();
        !text.contains('@') && !authority.host().is_empty() && !text.ends_with(':')
    });
    scheme.zip(authority).ok_or_else(|| OutboundError::Address(uri.to_string()))
}

/// What stopped an exchange: our own connector's reason, else a connection that broke.
fn why(error: &hyper_util::client::legacy::Error) -> OutboundError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(reason) = inner.downcast_ref::<OutboundError>() {
            return reason.clone();
        }
        cause = inner.source();
    }
    let text = error.source().map_or_else(|| error.to_string(), |inner| format!("{error}: {inner}"));
    OutboundError::Broken(text)
}

/// The answer's body, which fails once it is longer than `max_bytes`.
fn limited(body: hyper::body::Incoming, max_bytes: usize) -> Body {
    let length = body.size_hint().exact();
    let mut left = max_bytes;
    let stream = BodyDataStream::new(body).map(move |frame| {
        let frame = frame.map_err(io::Error::other)?;
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("over {max_bytes} bytes"));
        left = left.checked_sub(frame.len()).ok_or_else(too_long)?;
        Ok(frame)
    });
    Body::new(ByteStream::new(stream), length)
}

/// Makes connections: name, address policy, TCP, TLS.
#[derive(Clone)]
struct Connector {
    tls: Arc<ClientConfig>,
    addresses: AddressPolicy,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = OutboundError;
    type Future = BoxFuture<'static, Result<Stream, OutboundError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(&uri));
            connected.await.unwrap_or(Err(OutboundError::TimedOut))
        })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Stream, OutboundError> {
        let (scheme, authority) = destination(uri)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_secure = *scheme == Scheme::HTTPS;
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let tcp = self.dial(host, port).await?;
        // Small requests and answers must not wait for one another.
        tcp.set_nodelay(true).map_err(unreachable)?;
        if !is_secure {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        self.secure(host, tcp).await
    }

    async fn secure(&self, host: &str, tcp: TcpStream) -> Result<Stream, OutboundError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| OutboundError::Address(host.to_owned()))?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(handshake_error)?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }

    /// Connects to the first address of `host` that is allowed and takes it.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, OutboundError> {
        let mut outcome = OutboundError::Unreachable(format!("{host} has no address"));
        for address in resolve(host, port).await.map_err(unreachable)? {
            if !self.addresses.allows(address.ip()) {
                outcome = OutboundError::Forbidden(host.to_owned());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => outcome = unreachable(error),
            }
        }
        Err(outcome)
    }
}

/// The addresses of a name. `localhost` and names below it are this host, whatever a name server says (RFC 6761).
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        return Ok(here.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

fn handshake_error(error: io::Error) -> OutboundError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    match cause.or_else(|| error.source().and_then(|cause| cause.downcast_ref::<TlsError>())) {
        Some(refused @ TlsError::InvalidCertificate(_)) => OutboundError::Untrusted(refused.to_string()),
        _ => OutboundError::Tls(error.to_string()),
    }
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Public authorities first, then the node's and the request's own, then the named certificates.
#[derive(Debug)]
struct Verifier {
    public: Arc<WebPkiServerVerifier>,
    roots: RootCertStore,
    thumbprints: Vec<String>,
    any_authority: bool,
}

impl Verifier {
    fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.thumbprints.iter().any(|thumbprint| thumbprint.eq_ignore_ascii_case(&digest))
    }

    fn verify_named(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let server = ParsedCertificate::try_from(end_entity)?;
        verify_server_name(&server, server_name)?;
        if self.any_authority || self.names(end_entity) {
            return Ok(());
        }
        let mut authorities = self.roots.clone();
        for certificate in intermediates.iter().filter(|certificate| self.names(certificate)) {
            authorities.add(certificate.clone().into_owned())?;
        }
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&server, &authorities, intermediates, now, algorithms.all)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let public =
            self.public.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        public.or_else(|refused| {
            self.verify_named(end_entity, intermediates, server_name, now).map_err(|_| refused)?;
            Ok(ServerCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.public.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.public.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.public.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
