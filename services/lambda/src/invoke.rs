//! `Invoke`, `InvokeAsync`, `InvokeWithResponseStream`, and the one way in which all invocations run.
//!
//! | File              | Holds                                                        |
//! |-------------------|--------------------------------------------------------------|
//! | `invoke/event.rs` | asynchronous events: their queue, retries, what comes after   |
//! | `invoke/stream.rs`| responses that are handed on while the function writes them   |
//!
//! Source: AWS Lambda API Reference, "Invoke", "InvokeWithResponseStream"; Lambda Developer Guide, "Understanding Lambda function
//! invocation methods". Recorded: the sentences.

pub mod event;
pub mod stream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_sandbox::{EngineError, Invocation, InvokeOutcome, InvokeResult, ResponseMode};
use pileus_store::Reader;

use crate::concurrency;
use crate::error::LambdaError;
use crate::function::{Config, FunctionRow, config_of, resolve};
use crate::metrics::{Measurement, Outcome};
use crate::name::FunctionName;
use crate::state::Lambda;

/// Source: "Lambda quotas" (invocation payload).
const MAX_SYNC: usize = 6_291_456;
const MAX_EVENT: usize = 1_048_576;
const MAX_INVOKE_ASYNC: usize = 262_144;

/// One invocation, whoever asks for it.
pub struct Call<'a> {
    /// With the qualifier that was called, if any.
    pub name: &'a FunctionName,
    pub request_id: String,
    pub payload: Bytes,
    pub client_context: Option<String>,
    pub response: ResponseMode,
}

/// What an invocation runs: an alias leads to one of its versions by chance.
pub struct Picked {
    pub function: FunctionRow,
    pub config: Config,
    pub version: String,
}

/// # Errors
/// `ResourceNotFoundException`
pub async fn pick(cx: &Cx, reader: &impl Reader, name: &FunctionName) -> Result<Picked, LambdaError> {
    let resolved = resolve(reader, name).await?;
    let Some(alias) = resolved.alias.filter(|alias| !alias.weights.is_empty()) else {
        let (function, config, version) = (resolved.function, resolved.config, resolved.version);
        return Ok(Picked { function, config, version });
    };
    // 53 bits: every such number is a float of its own.
    let chance = (cx.rng().next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let version = alias.pick(chance).to_owned();
    let config = config_of(reader, name, &resolved.function, &version).await?;
    let config = config.ok_or_else(|| LambdaError::no_function(name.arn_of(&version)))?;
    Ok(Picked { function: resolved.function, config, version })
}

/// Runs an invocation to its end, if there is room for it.
///
/// # Errors
/// `TooManyRequestsException`; what keeps the function from running at all. What the function itself does wrong is an outcome.
pub async fn run(cx: &Cx, picked: &Picked, call: Call<'_>) -> Result<InvokeOutcome, LambdaError> {
    let lambda = cx.state::<Lambda>();
    let Call { name, request_id, payload, client_context, response } = call;
    let key = name.key();
    let measure = |outcome| Measurement {
        account: name.account,
        region: name.region.clone(),
        at: cx.clock().now(),
        function_name: name.name.clone(),
        resource: match &name.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", name.name),
            None => name.name.clone(),
        },
        executed_version: picked.version.clone(),
        outcome,
        concurrent: lambda.admission.running(&key),
    };
    let reserved = picked.function.reserved_concurrency;
    let others = match reserved {
        Some(_) => 0,
        None => concurrency::reserved_in(cx, name.account, &name.region).await?,
    };
    let _permit = lambda
        .admission
        .admit(&key, reserved, others)
        .inspect_err(|_| lambda.metrics.record(&measure(Outcome::Throttled)))?;
    let spec = lambda.spec(cx, name, &picked.function, &picked.version, &picked.config).await?;
    let invocation = Invocation {
        request_id,
        payload,
        invoked_arn: name.qualified_arn(),
        client_context,
        cognito_identity: None,
        trace: Some(format!("Root={};Sampled=0", cx.trace_id())),
        tenant_id: None,
        response,
    };
    let engine = lambda.engine(cx.platform()).await.map_err(refuse)?;
    let outcome = engine.invoke(&spec, invocation).await.map_err(refuse)?;
    lambda.metrics.record(&measure(Outcome::Ran {
        failed: !outcome.result.is_success(),
        duration: outcome.report.duration,
        init: outcome.report.init,
    }));
    Ok(outcome)
}

fn refuse(error: EngineError) -> LambdaError {
    match error {
        EngineError::NoInterpreter { .. } => LambdaError::InvalidRuntime(error.to_string()),
        EngineError::Unsupported(what) => LambdaError::NotImplemented(what),
        EngineError::NoRoom => LambdaError::TooManyRequests { reason: "ConcurrentInvocationLimitExceeded" },
        EngineError::Credentials(why) => {
            tracing::warn!(why, "a function's role gives no credentials");
            LambdaError::AccessDenied(
                "The role defined for the function cannot be assumed by Lambda.".to_owned(),
            )
        }
        EngineError::Isolation { .. } | EngineError::Launch(_) | EngineError::Stopped => {
            LambdaError::Internal(error.to_string())
        }
    }
}

/// An event as a function gets it: JSON; nothing means an empty object.
fn event_of(payload: Option<Bytes>, kind: &str, limit: usize) -> Result<Bytes, LambdaError> {
    let payload = payload.filter(|payload| !payload.is_empty()).unwrap_or_else(|| Bytes::from_static(b"{}"));
    if payload.len() > limit {
        return Err(LambdaError::RequestTooLarge(format!(
            "{} byte payload is too large for the {kind} invocation type (limit {limit} bytes)",
            payload.len()
        )));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        Ok(_) => Ok(payload),
        Err(error) => Err(LambdaError::InvalidRequestContent(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))),
    }
}

/// `X-Amz-Client-Context`: JSON in base64.
fn client_context(given: Option<String>) -> Result<Option<String>, LambdaError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    let text = STANDARD.decode(&given).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match text {
        Some(text) => Ok(Some(text)),
        None => Err(LambdaError::InvalidRequestContent(
            "Client context must be a valid Base64-encoded JSON object.".to_owned(),
        )),
    }
}

/// `Invoke`: waits for the answer, leaves an event, or only asks whether it might.
pub async fn invoke(cx: &Cx, input: api::InvocationRequest) -> Result<api::InvocationResponse, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    if input.durable_execution_name.is_some() {
        return Err(LambdaError::missing("durable executions of Lambda functions"));
    }
    if input.tenant_id.is_some() {
        return Err(LambdaError::invalid(
            "The request contains a tenant id, and the function has no tenant isolation.",
        ));
    }
    match input.invocation_type.as_deref().unwrap_or("RequestResponse") {
        "Event" => {
            let payload = event_of(input.payload, "Event", MAX_EVENT)?;
            let context = client_context(input.client_context)?;
            event::accept(cx, &name, payload, context).await?;
            Ok(api::InvocationResponse { status_code: Some(202), ..Default::default() })
        }
        "DryRun" => {
            resolve(cx.store(), &name).await?;
            Ok(api::InvocationResponse { status_code: Some(204), ..Default::default() })
        }
        _ => {
            let payload = event_of(input.payload, "RequestResponse", MAX_SYNC)?;
            let context = client_context(input.client_context)?;
            let picked = pick(cx, cx.store(), &name).await?;
            let call = Call {
                name: &name,
                request_id: cx.request_id().to_owned(),
                payload,
                client_context: context,
                response: ResponseMode::Buffered,
            };
            let outcome = run(cx, &picked, call).await?;
            let wants_tail = input.log_type.as_deref() == Some("Tail");
            Ok(answer(outcome, picked.version, wants_tail))
        }
    }
}

fn answer(outcome: InvokeOutcome, version: String, wants_tail: bool) -> api::InvocationResponse {
    let failed = !outcome.result.is_success();
    let payload = match outcome.result {
        InvokeResult::Success { payload, .. } | InvokeResult::FunctionError { payload, .. } => payload,
    };
    api::InvocationResponse {
        status_code: Some(200),
        function_error: failed.then(|| "Unhandled".to_owned()),
        log_result: wants_tail.then(|| STANDARD.encode(&outcome.log_tail)),
        payload: Some(payload),
        executed_version: Some(version),
        durable_execution_arn: None,
    }
}

/// `InvokeAsync`, which `Invoke` has replaced.
pub async fn invoke_async(
    cx: &Cx,
    mut input: api::InvokeAsyncRequest,
) -> Result<api::InvokeAsyncResponse, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), None)?;
    let mut payload = Vec::new();
    if let Some(mut stream) = input.invoke_args.take() {
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| LambdaError::InvalidRequestContent(error.to_string()))?;
            payload.extend_from_slice(&part);
            if payload.len() > MAX_INVOKE_ASYNC {
                break;
            }
        }
    }
    let payload = event_of(Some(payload.into()), "Event", MAX_INVOKE_ASYNC).map_err(|error| match error {
        // The operation's model has no other word for it.
        LambdaError::RequestTooLarge(text) => LambdaError::InvalidRequestContent(text),
        other => other,
    })?;
    event::accept(cx, &name, payload, None).await?;
    Ok(api::InvokeAsyncResponse { status: Some(202) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_bounded_size_and_nothing_means_an_empty_object() {
        let event = |text: &'static str| event_of(Some(Bytes::from_static(text.as_bytes())), "Event", 8);
        assert_eq!(event("").expect("fine"), "{}");
        assert_eq!(event_of(None, "Event", 8).expect("fine"), "{}");
        assert_eq!(event("\"text\"").expect("fine"), "\"text\"");
        assert!(matches!(event("not json"), Err(LambdaError::InvalidRequestContent(_))));
        let said = event("\"1234567\"").expect_err("too long").to_string();
        assert_eq!(said, "9 byte payload is too large for the Event invocation type (limit 8 bytes)");
    }

    #[test]
    fn a_client_context_is_json_in_base64() {
        assert_eq!(client_context(None).expect("none"), None);
        assert_eq!(client_context(Some("eyJhIjoxfQ==".into())).expect("fine").as_deref(), Some("{\"a\":1}"));
        for bad in ["{}", "bm90IGpzb24="] {
            assert!(client_context(Some(bad.into())).is_err(), "{bad}");
        }
    }
}
