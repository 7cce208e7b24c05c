//! The node's way to the world outside: single requests over HTTPS, each on a connection of its own.
//!
//! Trust: the public authorities, and the certificates that a request names by thumbprint. A thumbprint of the server's own
//! certificate pins it; one of an authority counts only when the server's certificate really leads to that authority.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use pileus_core::BoxFuture;
use pileus_platform::{HttpsGet, Outbound, OutboundError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Fetches over HTTP/1.1 and TLS.
#[derive(Default)]
pub struct HttpsClient {
    /// Made on first use: most nodes never need them.
    public: OnceLock<Arc<WebPkiServerVerifier>>,
}

impl Outbound for HttpsClient {
    fn get(&self, request: HttpsGet) -> BoxFuture<'_, Result<Bytes, OutboundError>> {
        Box::pin(async move {
            match tokio::time::timeout(request.timeout, self.fetch(&request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(OutboundError::Unreachable("it took too long".to_owned())),
            }
        })
    }
}

fn unreachable(error: impl std::fmt::Display) -> OutboundError {
    OutboundError::Unreachable(error.to_string())
}

impl HttpsClient {
    async fn fetch(&self, request: &HttpsGet) -> Result<Bytes, OutboundError> {
        let malformed = || OutboundError::Address(request.url.clone());
        let uri: Uri = request.url.parse().map_err(|_| malformed())?;
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(malformed)?;
        if uri.scheme_str() != Some("https") {
            return Err(malformed());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| malformed())?;

        let stream =
            TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await.map_err(unreachable)?;
        let tls = TlsConnector::from(Arc::new(self.tls(&request.thumbprints)?));
        let stream = tls.connect(name, stream).await.map_err(refused_or_unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        // Ends with the exchange: when the sender and the answer's body are dropped.
        tokio::spawn(connection);

        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let get = Request::get(target)
            .header(header::HOST, authority.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("pileus/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| malformed())?;
        let answer = sender.send_request(get).await.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_server_error() => return Err(unreachable(format!("it answered {status}"))),
            status => return Err(OutboundError::Status(status.as_u16())),
        }
        let body = Limited::new(answer.into_body(), request.max_bytes).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| {
            let is_too_long = error.downcast_ref::<LengthLimitError>().is_some();
            if is_too_long { OutboundError::TooLong(request.max_bytes) } else { unreachable(error) }
        })
    }

    fn tls(&self, thumbprints: &[String]) -> Result<ClientConfig, OutboundError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier { public: self.public(&provider)?, thumbprints: thumbprints.to_vec() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unreachable)?
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

fn refused_or_unreachable(error: io::Error) -> OutboundError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    match cause.or_else(|| error.source().and_then(|cause| cause.downcast_ref::<TlsError>())) {
        Some(refused @ TlsError::InvalidCertificate(_)) => OutboundError::Untrusted(refused.to_string()),
        _ => unreachable(error),
    }
}

/// Public authorities first, then the named certificates.
#[derive(Debug)]
struct Verifier {
    public: Arc<WebPkiServerVerifier>,
    thumbprints: Vec<String>,
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
        if self.names(end_entity) {
            return Ok(());
        }
        let mut authorities = RootCertStore::empty();
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
