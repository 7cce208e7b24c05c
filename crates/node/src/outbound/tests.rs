use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use pileus_platform::HttpsGet;

use super::*;

/// A server that shows `chain` and answers every request with `answer`; gives its address.
async fn serve(chain: Vec<CertificateDer<'static>>, key: &KeyPair, answer: &'static str) -> String {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("https://localhost:{port}/keys")
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority { params, key, certificate }
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        (certificate.der().clone(), key)
    }
}

fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

async fn get(url: &str, thumbprints: Vec<String>) -> Result<Bytes, OutboundError> {
    let request =
        HttpsGet { url: url.to_owned(), thumbprints, max_bytes: 100, timeout: Duration::from_secs(20) };
    HttpClient::default().get(request).await
}

#[tokio::test]
async fn a_named_certificate_is_trusted_and_nothing_that_only_stands_beside_it() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("localhost");
    let (forged, forged_key) = stranger.issue("localhost");
    let (misnamed, misnamed_key) = authority.issue("elsewhere.example.com");
    let of = |certificate| vec![thumbprint(certificate)];
    let chain = |own: &CertificateDer<'static>| vec![own.clone(), authority.certificate.clone()];
    let cases = [
        ("the server's own", chain(&certificate), &key, of(&certificate), true),
        ("its authority's", chain(&certificate), &key, of(&authority.certificate), true),
        ("none", chain(&certificate), &key, vec![], false),
        ("another's", chain(&certificate), &key, of(&stranger.certificate), false),
        ("an authority that never issued it", chain(&forged), &forged_key, of(&authority.certificate), false),
        ("a certificate for another name", chain(&misnamed), &misnamed_key, of(&misnamed), false),
        (
            "its authority's, for another name",
            chain(&misnamed),
            &misnamed_key,
            of(&authority.certificate),
            false,
        ),
    ];
    for (name, chain, key, thumbprints, is_trusted) in cases {
        let url = serve(chain, key, FINE).await;
        match get(&url, thumbprints).await {
            Ok(body) => assert!(is_trusted && body == "{}", "{name}"),
            Err(OutboundError::Untrusted(_)) => assert!(!is_trusted, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[tokio::test]
async fn only_a_whole_document_from_its_own_address_is_taken() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://localhost/\r\ncontent-length: 0\r\n\r\n";
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n.....................................................................................................";
    let broken = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}";
    let cases = [
        (moved, Some(OutboundError::Status(302))),
        (missing, Some(OutboundError::Status(404))),
        (long, Some(OutboundError::TooLong(100))),
        (broken, None),
        (cut, None),
        ("nonsense", None),
    ];
    for (answer, expected) in cases {
        let url = serve(vec![certificate.clone()], &key, answer).await;
        let error = get(&url, vec![thumbprint(&certificate)]).await.expect_err(answer);
        match expected {
            Some(expected) => assert_eq!(error, expected, "{answer}"),
            None => assert!(matches!(error, OutboundError::Unreachable(_)), "{answer}: {error}"),
        }
    }
}

#[tokio::test]
async fn addresses_of_other_kinds_are_refused() {
    for url in
        ["http://localhost/", "file:///etc/passwd", "https://", "https://ann@localhost/", "localhost", ""]
    {
        assert_eq!(get(url, vec![]).await, Err(OutboundError::Address(url.to_owned())), "{url}");
    }
    let nobody = get("https://localhost:1/", vec![]).await;
    assert!(matches!(nobody, Err(OutboundError::Unreachable(_))), "{nobody:?}");
}

/// A server in the clear that answers each request of a connection with the request's own first line; tells how many
/// connections came.
async fn echo() -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                while let Ok(read @ 1..) = stream.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    if text.contains("/hang") {
                        std::future::pending::<()>().await;
                    }
                    let body = text.lines().next().unwrap_or_default().to_owned()
                        + text.rsplit("\r\n\r\n").next().unwrap_or_default();
                    let answer =
                        format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (format!("http://a.localhost:{port}"), connections)
}

fn post(url: String, max_bytes: usize, timeout: Duration) -> OutboundRequest {
    let request = http::Request::post(url).body(Bytes::from_static(b"+body")).unwrap();
    OutboundRequest::new(request, max_bytes, timeout)
}

#[tokio::test]
async fn any_status_is_an_answer_and_a_connection_serves_the_next_request() {
    let (url, connections) = echo().await;
    let client = HttpClient::default();
    for _ in 0..3 {
        let answer =
            client.send(post(format!("{url}/hook?x=1"), 100, Duration::from_secs(20))).await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.body(), "POST /hook?x=1 HTTP/1.1+body");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    let long = client.send(post(url, 10, Duration::from_secs(20))).await;
    assert_eq!(long.map(|_| ()), Err(OutboundError::TooLong(10)));
}

#[tokio::test]
async fn each_way_to_fail_has_its_name() {
    let (url, _) = echo().await;
    let second = Duration::from_secs(20);
    let hung = HttpClient::default().send(post(format!("{url}/hang"), 10, Duration::from_millis(50))).await;
    assert_eq!(hung.map(|_| ()), Err(OutboundError::TimedOut));
    let client = HttpClient::new(AddressPolicy::Public, Vec::new());
    let private = client.send(post(url, 10, second)).await;
    assert_eq!(private.map(|_| ()), Err(OutboundError::Forbidden("a.localhost".to_owned())));
    let client = HttpClient::default();
    let nobody = client.send(post("http://127.0.0.1:1/".to_owned(), 10, second)).await;
    assert!(matches!(nobody, Err(OutboundError::Unreachable(_))), "{nobody:?}");
    let named = client.send(post("http://ann:secret@127.0.0.1:1/".to_owned(), 10, second)).await;
    assert!(matches!(named, Err(OutboundError::Address(_))), "{named:?}");
}

#[tokio::test]
async fn roots_are_trusted_when_the_node_or_the_request_names_them() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let url = serve(vec![certificate, authority.certificate.clone()], &key, FINE).await;
    let request = |trust| {
        let request = http::Request::get(&url).body(Bytes::new()).unwrap();
        OutboundRequest { request, trust, max_bytes: 10, timeout: Duration::from_secs(20) }
    };
    let named = Trust { roots: vec![authority.certificate.to_vec().into()], ..Trust::default() };
    let any = Trust { any_authority: true, ..Trust::default() };
    let of_node = HttpClient::new(AddressPolicy::Any, vec![authority.certificate.clone()]);
    let plain = HttpClient::default();
    let cases = [
        ("nobody names it", &plain, Trust::default(), false),
        ("the request names it", &plain, named, true),
        ("the request takes any", &plain, any, true),
        ("the node names it", &of_node, Trust::default(), true),
    ];
    for (name, client, trust, is_trusted) in cases {
        match client.send(request(trust)).await {
            Ok(answer) => assert!(is_trusted && answer.body() == "{}", "{name}"),
            Err(OutboundError::Untrusted(_)) => assert!(!is_trusted, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
