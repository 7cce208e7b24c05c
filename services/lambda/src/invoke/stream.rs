//! `InvokeWithResponseStream`: parts are handed on as the function writes them.
//!
//! Source: AWS Lambda API Reference, "InvokeWithResponseStream"; Lambda Developer Guide, "Response streaming for Lambda functions".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use pileus_api_lambda as api;
use pileus_platform::{Cx, Fault};
use pileus_sandbox::{InvokeOutcome, InvokeResult, ResponseMode, StreamPart};
use pileus_wire::value::{Event, EventStream};
use tokio::sync::{mpsc, oneshot};

use super::{Call, MAX_SYNC, client_context, event_of, pick, run};
use crate::error::LambdaError;
use crate::function::resolve;
use crate::name::FunctionName;

/// Parts that may wait between a function and a slow reader.
const WAITING: usize = 16;

/// A response on its way.
pub struct Streaming {
    pub version: String,
    pub content_type: Option<String>,
    pub parts: mpsc::Receiver<StreamPart>,
    /// A part that came before its head was known.
    pub first: Option<StreamPart>,
    pub outcome: oneshot::Receiver<Result<InvokeOutcome, LambdaError>>,
}

/// Starts an invocation and returns when the function begins to answer, or has ended.
///
/// # Errors
/// What keeps the function from running at all.
pub async fn begin(
    cx: &Cx,
    name: &FunctionName,
    payload: Bytes,
    client_context: Option<String>,
) -> Result<Streaming, LambdaError> {
    let picked = pick(cx, cx.store(), name).await?;
    let version = picked.version.clone();
    let (sender, mut parts) = mpsc::channel(WAITING);
    let (ended, mut outcome) = oneshot::channel();
    let (cx, name) = (cx.clone(), name.clone());
    // The function runs to its end whether or not anyone reads on.
    tokio::spawn(async move {
        let call = Call {
            name: &name,
            request_id: cx.request_id().to_owned(),
            payload,
            client_context,
            response: ResponseMode::Streaming(sender),
        };
        let _ = ended.send(run(&cx, &picked, call).await);
    });
    match parts.recv().await {
        Some(StreamPart::Head { content_type }) => {
            Ok(Streaming { version, content_type, parts, first: None, outcome })
        }
        Some(part) => Ok(Streaming { version, content_type: None, parts, first: Some(part), outcome }),
        // No part at all: it ended, and how is about to be said.
        None => match (&mut outcome).await {
            Ok(Ok(done)) => {
                let (again, outcome) = oneshot::channel();
                let _ = again.send(Ok(done));
                Ok(Streaming { version, content_type: None, parts, first: None, outcome })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LambdaError::Internal("an invocation ended without an outcome".to_owned())),
        },
    }
}

/// `InvokeWithResponseStream`
pub async fn invoke_with_response_stream(
    cx: &Cx,
    input: api::InvokeWithResponseStreamRequest,
) -> Result<api::InvokeWithResponseStreamResponse, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    if input.invocation_type.as_deref() == Some("DryRun") {
        resolve(cx.store(), &name).await?;
        return Ok(api::InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() });
    }
    let payload = event_of(input.payload, "RequestResponse", MAX_SYNC)?;
    let context = client_context(input.client_context)?;
    let wants_tail = input.log_type.as_deref() == Some("Tail");
    let streaming = begin(cx, &name, payload, context).await?;
    let version = streaming.version.clone();
    let content_type = streaming.content_type.clone();
    Ok(api::InvokeWithResponseStreamResponse {
        status_code: Some(200),
        executed_version: Some(version),
        event_stream: EventStream::new(events(streaming, wants_tail)),
        response_stream_content_type: content_type,
    })
}

/// The stream's state: parts, then the last event, then nothing.
enum Step {
    Parts(Box<Streaming>, Option<(String, Bytes)>),
    Over,
}

fn events(
    streaming: Streaming,
    wants_tail: bool,
) -> impl futures_util::Stream<Item = Result<Event, Fault>> + Send + Sync + 'static {
    let start = Step::Parts(Box::new(streaming), None);
    stream::unfold(start, move |step| async move {
        let Step::Parts(mut streaming, mut failure) = step else { return None };
        loop {
            let part = match streaming.first.take() {
                Some(part) => Some(part),
                None => streaming.parts.recv().await,
            };
            match part {
                Some(StreamPart::Data(payload)) if payload.is_empty() => {}
                Some(StreamPart::Data(payload)) => {
                    let update = api::InvokeResponseStreamUpdate { payload: Some(payload) };
                    let event = api::InvokeWithResponseStreamResponseEvent::PayloadChunk(update);
                    return Some((Ok(Box::new(event) as Event), Step::Parts(streaming, failure)));
                }
                Some(StreamPart::Head { .. }) => {}
                Some(StreamPart::Error { error_type, payload }) => failure = Some((error_type, payload)),
                None => {
                    let event = complete(*streaming, failure, wants_tail).await;
                    return Some((event, Step::Over));
                }
            }
        }
    })
}

async fn complete(
    streaming: Streaming,
    failure: Option<(String, Bytes)>,
    wants_tail: bool,
) -> Result<Event, Fault> {
    let outcome = match streaming.outcome.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(Fault::receiver("ServiceException", "an invocation ended without an outcome")),
    };
    let failure = failure.or_else(|| match &outcome.result {
        InvokeResult::FunctionError { error_type, payload } => Some((error_type.clone(), payload.clone())),
        InvokeResult::Success { .. } => None,
    });
    let (error_code, error_details) = failure
        .map(|(_, payload)| {
            (Some("Unhandled".to_owned()), Some(String::from_utf8_lossy(&payload).into_owned()))
        })
        .unwrap_or_default();
    let complete = api::InvokeWithResponseStreamCompleteEvent {
        error_code,
        error_details,
        log_result: wants_tail.then(|| STANDARD.encode(&outcome.log_tail)),
    };
    Ok(Box::new(api::InvokeWithResponseStreamResponseEvent::InvokeComplete(complete)))
}
