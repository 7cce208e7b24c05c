//! The Runtime API (2018-06-01) and the Extensions API (2020-01-01), served on an environment's own address.
//!
//! A request becomes an [`Input`] of the environment's driver, which answers through a one-shot channel. Whoever reaches this
//! listener is inside of the environment, so no request carries a secret.
//!
//! Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes", "Using the Lambda Extensions API".

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::spec::StreamPart;
use crate::telemetry::{self, Kind, Wish};

/// Largest response: 6 MB and 100 bytes.
pub const MAX_RESPONSE: usize = 6_291_556;
/// Error reports and registrations are small.
const MAX_REPORT: usize = 1 << 20;
/// A streamed response may be this long.
const MAX_STREAM: usize = 200 << 20;

type Reply = Response<Full<Bytes>>;

/// What processes of an environment ask.
pub enum Input {
    Next {
        reply: oneshot::Sender<Delivery>,
    },
    Answer {
        id: String,
        answer: Answer,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// A streamed response begins: where to, or `None` when the invoker wants it whole.
    Stream {
        id: String,
        reply: oneshot::Sender<Result<Option<mpsc::Sender<StreamPart>>, Refusal>>,
    },
    /// The runtime has done its init and wants to hear when it is restored (SnapStart).
    RestoreNext {
        reply: oneshot::Sender<()>,
    },
    /// What runs after a restore failed.
    RestoreError {
        error_type: String,
        payload: Bytes,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    InitError {
        error_type: String,
        payload: Bytes,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Register {
        name: String,
        events: Vec<String>,
        reply: oneshot::Sender<Result<Registration, Refusal>>,
    },
    /// Telemetry API and Logs API.
    Subscribe {
        identifier: String,
        wish: Wish,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    EventNext {
        identifier: String,
        reply: oneshot::Sender<Result<Value, Refusal>>,
    },
    ExtensionError {
        identifier: String,
        in_init: bool,
        error_type: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// How the runtime ended an invocation.
pub enum Answer {
    Response { payload: Bytes, content_type: Option<String> },
    Streamed { error: Option<(String, Bytes)> },
    TooLarge,
    Error { error_type: String, payload: Bytes },
}

pub struct Delivery {
    pub headers: HeaderMap,
    pub payload: Bytes,
}

pub struct Registration {
    pub identifier: String,
    pub function: Value,
}

/// What an API answers instead: status, type, message.
#[derive(Debug, Clone, Copy)]
pub struct Refusal(pub u16, pub &'static str, pub &'static str);

impl Refusal {
    pub const INVALID_REQUEST_ID: Refusal = Refusal(400, "InvalidRequestID", "Invalid request ID");
    pub const INVALID_STATE: Refusal =
        Refusal(403, "InvalidStateTransition", "State transition is not allowed");
    pub const UNKNOWN_EXTENSION: Refusal =
        Refusal(403, "Extension.UnknownExtensionIdentifier", "Unknown extension identifier");
    const GONE: Refusal = Refusal(500, "InternalServerError", "the environment is ending");
    const TOO_LARGE: Refusal =
        Refusal(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes).");

    fn response(self) -> Reply {
        let Refusal(status, kind, message) = self;
        json_response(status, &json!({"errorMessage": message, "errorType": kind}))
    }
}

/// Serves until the listener's environment ends and the task is dropped.
pub async fn serve(listener: TcpListener, driver: mpsc::UnboundedSender<Input>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let _ = stream.set_nodelay(true);
        let driver = driver.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let driver = driver.clone();
                async move { Ok::<_, std::convert::Infallible>(answer(request, &driver).await) }
            });
            // An error here is a process that went away: its pid tells the driver.
            let _ = hyper::server::conn::http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, driver: &mpsc::UnboundedSender<Input>) -> Reply {
    let path = request.uri().path().to_owned();
    let (head, body) = request.into_parts();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let done = match (&head.method, parts.as_slice()) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(driver).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            respond(driver, id, &head.headers, body).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
            fail(driver, id, &head.headers, body).await
        }
        (&Method::GET, ["2018-06-01", "runtime", "restore", "next"]) => {
            ask(driver, |reply| Input::RestoreNext { reply }).await.map(|()| json_response(200, &json!({})))
        }
        (&Method::POST, ["2018-06-01", "runtime", "restore", "error"]) => {
            restore_error(driver, &head.headers, body).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
            init_error(driver, &head.headers, body).await
        }
        (&Method::POST, ["2020-01-01", "extension", "register"]) => {
            register(driver, &head.headers, body).await
        }
        (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => {
            event_next(driver, &head.headers).await
        }
        (&Method::POST, ["2020-01-01", "extension", phase @ ("init" | "exit"), "error"]) => {
            extension_error(driver, &head.headers, *phase == "init").await
        }
        (&Method::PUT, ["2022-07-01", "telemetry"]) => {
            subscribe(driver, Kind::Telemetry, &head.headers, body).await
        }
        (&Method::PUT, ["2020-08-15", "logs"]) => subscribe(driver, Kind::Logs, &head.headers, body).await,
        _ => Err(Refusal(404, "NotFound", "no such path")),
    };
    done.unwrap_or_else(Refusal::response)
}

/// Asks the driver and waits for its word.
async fn ask<T>(
    driver: &mpsc::UnboundedSender<Input>,
    input: impl FnOnce(oneshot::Sender<T>) -> Input,
) -> Result<T, Refusal> {
    let (reply, word) = oneshot::channel();
    driver.send(input(reply)).map_err(|_| Refusal::GONE)?;
    word.await.map_err(|_| Refusal::GONE)
}

fn json_response(status: u16, value: &Value) -> Reply {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn accepted() -> Reply {
    json_response(202, &json!({"status": "OK"}))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// `None`: longer than `most`. What is over is read and thrown away, so that the sender hears the answer.
async fn collect(mut body: Incoming, most: usize) -> Option<Bytes> {
    let mut all = Vec::new();
    let mut length = 0usize;
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            length = length.saturating_add(data.len());
            if length <= most {
                all.extend_from_slice(&data);
            }
        }
    }
    (length <= most).then(|| Bytes::from(all))
}

async fn next(driver: &mpsc::UnboundedSender<Input>) -> Result<Reply, Refusal> {
    let delivery = ask(driver, |reply| Input::Next { reply }).await?;
    let mut response = Response::new(Full::new(delivery.payload));
    *response.headers_mut() = delivery.headers;
    Ok(response)
}

async fn respond(
    driver: &mpsc::UnboundedSender<Input>,
    id: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let id = id.to_owned();
    let content_type = header(headers, "content-type");
    let is_streamed =
        header(headers, "lambda-runtime-function-response-mode").as_deref() == Some("streaming");
    if is_streamed {
        let target = ask(driver, |reply| Input::Stream { id: id.clone(), reply }).await??;
        if let Some(target) = target {
            let error = stream(body, content_type, &target).await;
            ask(driver, |reply| Input::Answer { id, answer: Answer::Streamed { error }, reply }).await??;
            return Ok(accepted());
        }
    }
    let Some(payload) = collect(body, MAX_RESPONSE).await else {
        ask(driver, |reply| Input::Answer { id, answer: Answer::TooLarge, reply }).await??;
        return Err(Refusal::TOO_LARGE);
    };
    let answer = Answer::Response { payload, content_type };
    ask(driver, |reply| Input::Answer { id, answer, reply }).await??;
    Ok(accepted())
}

/// Passes a streamed response on as it is written; gives the error that its trailers tell.
async fn stream(
    mut body: Incoming,
    content_type: Option<String>,
    target: &mpsc::Sender<StreamPart>,
) -> Option<(String, Bytes)> {
    // An invoker that has gone does not stop the function: its words are thrown away.
    let _ = target.send(StreamPart::Head { content_type }).await;
    let mut length = 0usize;
    loop {
        let frame = match body.frame().await {
            None => return None,
            Some(Err(_)) => return Some(("Runtime.TruncatedResponse".to_owned(), Bytes::new())),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                length = length.saturating_add(data.len());
                if length > MAX_STREAM {
                    return Some(("Function.ResponseSizeTooLarge".to_owned(), Bytes::new()));
                }
                let _ = target.send(StreamPart::Data(data)).await;
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { continue };
                let Some(kind) = header(&trailers, "lambda-runtime-function-error-type") else { continue };
                let payload = header(&trailers, "lambda-runtime-function-error-body").unwrap_or_default();
                let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap_or_default();
                return Some((kind, Bytes::from(payload)));
            }
        }
    }
}

async fn fail(
    driver: &mpsc::UnboundedSender<Input>,
    id: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let (error_type, payload) = report(headers, body).await;
    let answer = Answer::Error { error_type, payload };
    ask(driver, |reply| Input::Answer { id: id.to_owned(), answer, reply }).await??;
    Ok(accepted())
}

async fn init_error(
    driver: &mpsc::UnboundedSender<Input>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let (error_type, payload) = report(headers, body).await;
    ask(driver, |reply| Input::InitError { error_type, payload, reply }).await??;
    Ok(accepted())
}

async fn restore_error(
    driver: &mpsc::UnboundedSender<Input>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let (error_type, payload) = report(headers, body).await;
    ask(driver, |reply| Input::RestoreError { error_type, payload, reply }).await??;
    Ok(accepted())
}

/// The error's type, by header, else by its payload, and the payload.
async fn report(headers: &HeaderMap, body: Incoming) -> (String, Bytes) {
    let payload = collect(body, MAX_REPORT).await.unwrap_or_default();
    let named = || {
        let value: Value = serde_json::from_slice(&payload).ok()?;
        Some(value.get("errorType")?.as_str()?.to_owned())
    };
    let kind = named().or_else(|| header(headers, "lambda-runtime-function-error-type"));
    (kind.unwrap_or_else(|| "Runtime.Unknown".to_owned()), payload)
}

async fn register(
    driver: &mpsc::UnboundedSender<Input>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let invalid = Refusal(403, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing");
    let name = header(headers, "lambda-extension-name").filter(|name| !name.is_empty()).ok_or(invalid)?;
    let malformed = Refusal(400, "InvalidRequestFormat", "the body is not a registration");
    let body = collect(body, MAX_REPORT).await.ok_or(malformed)?;
    let value: Value = serde_json::from_slice(&body).map_err(|_| malformed)?;
    let events = value.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let events: Vec<String> = events.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if let Some(_unknown) = events.iter().find(|event| !matches!(event.as_str(), "INVOKE" | "SHUTDOWN")) {
        return Err(Refusal(400, "Extension.InvalidEventType", "events are INVOKE and SHUTDOWN"));
    }
    let registration = ask(driver, |reply| Input::Register { name, events, reply }).await??;
    let mut response = json_response(200, &registration.function);
    if let Ok(value) = http::HeaderValue::from_str(&registration.identifier) {
        response.headers_mut().insert("lambda-extension-identifier", value);
    }
    Ok(response)
}

async fn subscribe(
    driver: &mpsc::UnboundedSender<Input>,
    kind: Kind,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let missing =
        Refusal(403, "Extension.MissingExtensionIdentifier", "Lambda-Extension-Identifier is missing");
    let identifier = header(headers, "lambda-extension-identifier").ok_or(missing)?;
    let malformed = Refusal(400, "ValidationError", "the body is too long");
    let body = collect(body, MAX_REPORT).await.ok_or(malformed)?;
    let wish = telemetry::read(kind, &body)?;
    ask(driver, |reply| Input::Subscribe { identifier, wish, reply }).await??;
    Ok(json_response(200, &json!("OK")))
}

async fn event_next(driver: &mpsc::UnboundedSender<Input>, headers: &HeaderMap) -> Result<Reply, Refusal> {
    let missing =
        Refusal(403, "Extension.MissingExtensionIdentifier", "Lambda-Extension-Identifier is missing");
    let identifier = header(headers, "lambda-extension-identifier").ok_or(missing)?;
    let event = ask(driver, |reply| Input::EventNext { identifier: identifier.clone(), reply }).await??;
    let mut response = json_response(200, &event);
    let number = event.get("requestId").and_then(Value::as_str).unwrap_or(&identifier);
    if let Ok(value) = http::HeaderValue::from_str(number) {
        response.headers_mut().insert("lambda-extension-event-identifier", value);
    }
    Ok(response)
}

async fn extension_error(
    driver: &mpsc::UnboundedSender<Input>,
    headers: &HeaderMap,
    in_init: bool,
) -> Result<Reply, Refusal> {
    let missing =
        Refusal(403, "Extension.MissingExtensionIdentifier", "Lambda-Extension-Identifier is missing");
    let identifier = header(headers, "lambda-extension-identifier").ok_or(missing)?;
    let error_type = header(headers, "lambda-extension-function-error-type")
        .unwrap_or_else(|| "Extension.Unknown".to_owned());
    ask(driver, |reply| Input::ExtensionError { identifier, in_init, error_type, reply }).await??;
    Ok(accepted())
}
