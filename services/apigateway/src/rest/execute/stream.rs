//! Streamed answers of functions: status and headers first, then the body as it comes.
//!
//! Source: API Gateway Developer Guide, "Set up a Lambda proxy integration with payload response streaming in API Gateway".

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use pileus_api_lambda as lambda;
use pileus_platform::Fault;
use pileus_wire::protocol::{Response, ResponseBody};
use pileus_wire::value::{BoxStream, ByteStream, Event};
use serde_json::Value as Json;

use super::call::Call;
use super::refusal::{Refusal, append, set};
use crate::http::context::bare;
use crate::invoke::InvokeError;
use crate::invoke::function::{self, FunctionCall};

/// What comes before the body: JSON, ended by eight zero bytes.
const MAX_HEAD: usize = 64 << 10;

/// # Errors
/// As for buffered answers; what goes wrong later ends the stream.
pub async fn answer(call: &Call, asked: FunctionCall<'_>) -> Result<Response, Refusal> {
    let begun = function::stream(&call.cx, asked).await.map_err(|error| match error {
        InvokeError::TimedOut => Refusal::timed_out(),
        other => Refusal::internal(other.to_string()),
    })?;
    let mut begun = begun;
    let mut events =
        begun.event_stream.take().ok_or_else(|| Refusal::bad_gateway("the function streamed nothing"))?;
    let mut seen = BytesMut::new();
    let (head, rest) = loop {
        if let Some(at) = seen.windows(8).position(|window| window == [0; 8]) {
            let head = seen.split_to(at).freeze();
            break (head, seen.freeze().slice(8..));
        }
        if seen.len() > MAX_HEAD {
            return Err(malformed());
        }
        match next(&mut events).await {
            Some(Ok(bytes)) => seen.extend_from_slice(&bytes),
            _ => return Err(malformed()),
        }
    };
    let head: Json = serde_json::from_slice(&head).map_err(|_| malformed())?;
    let status = head.get("statusCode").map_or(Some(200), |status| bare(status).parse().ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(malformed)?;
    let mut response = Response::new(status, Bytes::new());
    set(&mut response, "content-type", "application/octet-stream");
    for (name, value) in head["headers"].as_object().into_iter().flatten() {
        set(&mut response, name, &bare(value));
    }
    for (name, values) in head["multiValueHeaders"].as_object().into_iter().flatten() {
        values.as_array().into_iter().flatten().for_each(|value| append(&mut response, name, &bare(value)));
    }
    for cookie in head["cookies"].as_array().into_iter().flatten() {
        append(&mut response, "set-cookie", &bare(cookie));
    }
    for name in ["content-length", "transfer-encoding", "connection"] {
        response.headers.remove(name);
    }
    let body = stream::unfold((Some(rest), events), |(first, mut events)| async move {
        if let Some(first) = first.filter(|first| !first.is_empty()) {
            return Some((Ok(first), (None, events)));
        }
        next(&mut events).await.map(|part| (part, (None, events)))
    });
    response.body = ResponseBody::Stream(ByteStream::new(body));
    Ok(response)
}

fn malformed() -> Refusal {
    Refusal::bad_gateway("Execution failed due to configuration error: Malformed Lambda streaming response")
}

/// The next part of the body; an error when the function failed on the way.
async fn next(events: &mut BoxStream<Event, Fault>) -> Option<Result<Bytes, std::io::Error>> {
    loop {
        let event = match events.next().await? {
            Ok(event) => event,
            Err(fault) => return Some(Err(std::io::Error::other(fault.to_string()))),
        };
        let event: Box<dyn std::any::Any> = event;
        match event.downcast::<lambda::InvokeWithResponseStreamResponseEvent>().map(|event| *event) {
            Ok(lambda::InvokeWithResponseStreamResponseEvent::PayloadChunk(chunk)) => {
                return Some(Ok(chunk.payload.unwrap_or_default()));
            }
            Ok(lambda::InvokeWithResponseStreamResponseEvent::InvokeComplete(end)) => {
                let error = end.error_code?;
                return Some(Err(std::io::Error::other(error)));
            }
            _ => {}
        }
    }
}
