//! Conformance probes of the codecs: one JSON question, one JSON answer. The model comes with the question.
//!
//! `decode` answers with the parameters that a request carries, `encode` with the response that an output or a fault
//! becomes. Both go the way of every request; only routing is left out, because the question names the operation.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::codec;
use crate::dynamic::{Blobs, DynStruct, from_json, to_json};
use crate::fault::Fault;
use crate::protocol::{Protocol, Request, Response, ResponseBody};
use crate::schema::{Operation, Service, Shape};

/// Answers a question of kind `decode` or `encode`.
///
/// # Errors
/// What is wrong with the question, or the fault that the request met.
pub fn probe(question: &Value) -> Result<Value, String> {
    let service = service(question.get("model").ok_or("no `model`")?)?;
    let name = text(question, "operation")?;
    let operation = service.operation(name).ok_or_else(|| format!("no operation `{name}`"))?;
    let named = question.get("protocol").and_then(Value::as_str).unwrap_or_default();
    let known = service.protocols.iter().copied().find(|protocol| is_named(*protocol, named));
    let protocol = known.or(service.protocols.first().copied()).ok_or("the model names no protocol")?;
    match text(question, "kind")? {
        "decode" => decode(service, operation, protocol, question.get("request").ok_or("no `request`")?),
        "encode" => encode(service, operation, protocol, question),
        other => Err(format!("no kind `{other}`")),
    }
}

fn text<'a>(of: &'a Value, key: &str) -> Result<&'a str, String> {
    of.get(key).and_then(Value::as_str).ok_or_else(|| format!("no `{key}`"))
}

/// Services live for ever, so each model is read once.
fn service(model: &Value) -> Result<&'static Service, String> {
    static KNOWN: LazyLock<Mutex<HashMap<u64, &'static Service>>> = LazyLock::new(Mutex::default);
    let mut hasher = DefaultHasher::new();
    model.to_string().hash(&mut hasher);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(service) = known.get(&hasher.finish()) {
        return Ok(service);
    }
    let service = crate::botocore::load(model)?;
    known.insert(hasher.finish(), service);
    Ok(service)
}

/// `json` is of either version: the model's metadata says which.
fn is_named(protocol: Protocol, name: &str) -> bool {
    match protocol {
        Protocol::AwsJson10 => matches!(name, "json" | "json_1_0"),
        Protocol::AwsJson11 => matches!(name, "json" | "json_1_1"),
        Protocol::RestJson1 => name == "rest-json",
        Protocol::RestXml => name == "rest-xml",
        Protocol::AwsQuery => name == "query",
        Protocol::Ec2Query => name == "ec2",
        Protocol::RpcV2Cbor => name == "smithy-rpc-v2-cbor",
        Protocol::AmzCbor11 => false,
    }
}

fn decode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    request: &Value,
) -> Result<Value, String> {
    let method = Method::from_bytes(text(request, "method")?.as_bytes()).map_err(|_| "no such method")?;
    let uri = text(request, "uri")?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("no header `{name}`"))?;
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
        headers.append(name, value.map_err(|_| "a header's value is no text")?);
    }
    let body = request.get("body_b64").and_then(Value::as_str).unwrap_or_default();
    let body = Bytes::from(BASE64_STANDARD.decode(body).map_err(|_| "`body_b64` is not base64")?);
    let labels = codec::client::labels(operation.uri, path);
    let request = Request { method: &method, path, query, headers: &headers, labels: &labels };
    let mut input = DynStruct::new(operation.input);
    codec::decode(service, operation, protocol, &request, body.clone(), &mut input)
        .map_err(|fault| fault.to_string())?;
    let mut value = to_json(operation.input, &input, Blobs::Text);
    if let (Some(at), Some(entries)) = (codec::streaming_input(operation), value.as_object_mut())
        && !body.is_empty()
    {
        let name = operation.input.members()[at].name;
        entries.insert(name.to_owned(), String::from_utf8_lossy(&body).into());
    }
    Ok(value)
}

fn encode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    question: &Value,
) -> Result<Value, String> {
    const REQUEST_ID: &str = "00000000-0000-0000-0000-000000000000";
    let is_head = operation.method == "HEAD";
    let response = match question.get("failure").filter(|failure| !failure.is_null()) {
        Some(failure) => {
            let fault = fault(service, failure, question.get("status"))?;
            codec::encode_fault(Some(service), Some(operation), protocol, &fault, REQUEST_ID, is_head)
        }
        None => {
            let nothing = Value::Object(Map::new());
            let result = question.get("result").filter(|result| !result.is_null()).unwrap_or(&nothing);
            let mut output = filled(operation.output, result)?;
            codec::encode(service, operation, protocol, &mut output, REQUEST_ID)
        }
    };
    answer(response)
}

fn filled(shape: &'static Shape, members: &Value) -> Result<DynStruct, String> {
    let mut value = DynStruct::new(shape);
    from_json(shape, members, &mut value, Blobs::Text)?;
    Ok(value)
}

fn fault(service: &'static Service, failure: &Value, status: Option<&Value>) -> Result<Fault, String> {
    let code = text(failure, "error")?.to_owned();
    let message = failure.get("message").and_then(Value::as_str).unwrap_or_default();
    let shape = service.error(&code);
    // The question's status overrides the model's.
    let mut fault = Fault::sender(code, message);
    let status = status.and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
    fault.is_sender_fault = status < 500;
    fault.status = status;
    if let (Some(shape), Some(members)) =
        (shape, failure.get("members").filter(|members| members.is_object()))
    {
        fault.members = Some(Box::new(filled(shape, members)?));
    }
    Ok(fault)
}

fn answer(response: Response) -> Result<Value, String> {
    let mut headers = Map::new();
    for name in response.headers.keys() {
        let values =
            response.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        headers.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(", ").into());
    }
    let body = collect(response.body)?;
    let status: StatusCode = response.status;
    Ok(json!({ "status": status.as_u16(), "headers": headers, "body_b64": BASE64_STANDARD.encode(body) }))
}

/// The whole body. Streams here were made from values, so they never wait.
fn collect(body: ResponseBody) -> Result<Vec<u8>, String> {
    let mut stream = match body {
        ResponseBody::Bytes(bytes) => return Ok(bytes.into()),
        ResponseBody::Stream(mut stream) => stream.take().ok_or("the stream was already taken")?,
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut out = Vec::new();
    loop {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(Some(Ok(bytes))) => out.extend_from_slice(&bytes),
            Poll::Ready(Some(Err(error))) => return Err(error.to_string()),
            Poll::Ready(None) => return Ok(out),
            Poll::Pending => return Err("the stream waits".to_owned()),
        }
    }
}
