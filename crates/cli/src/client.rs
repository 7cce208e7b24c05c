//! A few lines of HTTP for asking the node on this machine.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Sends a request to a control endpoint and reads the JSON (or the text) that it answers.
///
/// # Errors
/// A sentence for the operator, also for an answer that is not a success.
pub fn ask(port: u16, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(send(port, method, path, body))
}

async fn send(port: u16, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = stream
        .map_err(|error| format!("no node answers on port {port} ({error}). Start one with `pileus up`"))?;
    let failed = |error: hyper::Error| format!("the node on port {port} broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection);
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("localhost:{port}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(failed)?.to_bytes();
    let answer = match serde_json::from_slice::<Value>(&bytes) {
        Ok(answer) => answer,
        Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    };
    if status.is_success() {
        return Ok(answer);
    }
    let message = answer.get("error").and_then(Value::as_str).unwrap_or("it gave no reason");
    Err(format!("the node answered {status}: {message}"))
}
