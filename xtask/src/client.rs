//! A signing client over one kept-alive connection, for benchmarks and crash cycles.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pileus_core::Timestamp;
use pileus_wire::sigv4::{Credentials, PayloadMode, RequestView, Signing, sha256_hex, sign};
use serde_json::Value;
use tokio::net::TcpStream;

/// One connection. Reconnect by making another.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// A signed request to `/`.
pub struct Prepared {
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    /// The whole request as HTTP/1.1 writes it.
    pub fn to_http1(&self) -> Vec<u8> {
        let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer, or that there was none.
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub async fn connect(port: u16) -> Result<Client, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Client { sender, host: format!("127.0.0.1:{port}") })
    }

    /// An awsJson 1.0 call.
    pub async fn json(&mut self, service: &str, target: &str, body: &Value) -> Result<Answer, String> {
        let prepared = self.prepare_json(service, target, body)?;
        self.send_prepared(&prepared).await
    }

    /// The same, signed once to be sent many times within its quarter of an hour: the client then costs next to nothing.
    pub fn prepare_json(&self, service: &str, target: &str, body: &Value) -> Result<Prepared, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert("x-amz-target", HeaderValue::from_str(target).map_err(|error| error.to_string())?);
        self.signed(service, headers, Bytes::from(body.to_string()))
    }

    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<Answer, String> {
        self.send("POST", "/", prepared.headers.clone(), prepared.body.clone()).await
    }

    /// An awsQuery call.
    pub async fn query(&mut self, service: &str, parameters: &[(&str, &str)]) -> Result<Answer, String> {
        let prepared = self.prepare_query(service, parameters)?;
        self.send_prepared(&prepared).await
    }

    pub fn prepare_query(&self, service: &str, parameters: &[(&str, &str)]) -> Result<Prepared, String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let sorted: BTreeMap<_, _> = parameters.iter().copied().collect();
        let pairs: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.signed(service, headers, Bytes::from(pairs.join("&")))
    }

    fn signed(&self, service: &str, headers: HeaderMap, body: Bytes) -> Result<Prepared, String> {
        Ok(Prepared { headers: self.sign(service, ("POST", "/", ""), headers, &body)?, body })
    }

    /// The headers of a request of this method, path and query.
    fn sign(
        &self,
        service: &str,
        (method, path, query): (&str, &str, &str),
        mut headers: HeaderMap,
        body: &[u8],
    ) -> Result<HeaderMap, String> {
        headers.insert("host", HeaderValue::from_str(&self.host).map_err(|error| error.to_string())?);
        let credentials = Credentials { access_key: "test", secret_key: "test", session_token: None };
        let payload = PayloadMode::Sha256(sha256_hex(body));
        let signing = Signing::new(credentials, "us-east-1", service, now()).payload(payload);
        let view = RequestView { method, path, query, headers: &headers, authority: None };
        Ok(sign(&view, &signing).headers)
    }

    /// A call to S3. The path and the query are sent as they are.
    pub async fn s3(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let headers = self.sign("s3", (method, path, query), headers, &body)?;
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.send(method, &target, headers, body).await
    }

    /// An unsigned request.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(path).body(Full::new(body));
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        let request = request.map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, body })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(&self.host).map_err(|error| error.to_string())?);
        self.send("GET", path, headers, Bytes::new()).await
    }
}

#[allow(clippy::disallowed_methods)] // a client has a clock of its own
fn now() -> Timestamp {
    Timestamp::EPOCH + std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
