//! Who may connect.
//!
//! Source: Developer Guide, "Control access to WebSocket APIs with AWS Lambda REQUEST authorizers", "Control access to WebSocket APIs with
//! IAM authorization".

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pileus_core::Arn;
use pileus_platform::{Access, CallerKind, Cx, DataRequest};
use pileus_wire::protocol::Response;
use serde_json::{Map, Value, json};

use super::event::{Happening, add_request, context};
use crate::front::{Target, message};
use crate::http::authorize::{Answer, read, says_unauthorized};
use crate::http::compiled::Stage;
use crate::http::context::query_pairs;
use crate::http::rows::{AuthorizerRow, RouteRow};
use crate::invoke::function::{FunctionCall, invoke, of_uri};
use crate::invoke::{InvokeError, policy};

const TIMEOUT: Duration = Duration::from_secs(29);

fn refuse(status: StatusCode, text: &str) -> Box<Response> {
    Box::new(message(status, None, text))
}

fn unauthorized() -> Box<Response> {
    refuse(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn forbidden() -> Box<Response> {
    refuse(StatusCode::FORBIDDEN, "Forbidden")
}

fn failed() -> Box<Response> {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}

/// Lets a client connect, and says what the authorizer says of it, as JSON.
///
/// # Errors
/// The answer that it gets instead.
pub async fn authorize(
    cx: &Cx,
    request: &DataRequest,
    target: &Target,
    stage: &Stage,
    route: &RouteRow,
    happening: &Happening<'_>,
) -> Result<Option<String>, Box<Response>> {
    let arn = target.execute_arn(&format!("{}/$connect", happening.row.stage));
    match route.authorization_type.as_deref().unwrap_or("NONE") {
        "NONE" => Ok(None),
        "AWS_IAM" => {
            let caller = request.caller("apigatewaymanagementapi", "PostToConnection", &Bytes::new()).await;
            let caller = caller.map_err(|_| forbidden())?;
            if caller.kind == CallerKind::Anonymous {
                return Err(forbidden());
            }
            let as_caller = request.cx(caller, target.region.clone());
            let access = Access::new("execute-api:Invoke", arn);
            match as_caller.is_allowed("apigatewaymanagementapi", &access).await {
                Ok(true) => Ok(None),
                Ok(false) => Err(forbidden()),
                Err(_) => Err(failed()),
            }
        }
        _ => match stage.authorizer(route) {
            Some(authorizer) => by_function(cx, target, authorizer, happening, &arn).await,
            None => Err(failed()),
        },
    }
}

/// The value of `route.request.header.Auth` and its like.
fn identity(source: &str, happening: &Happening<'_>) -> Option<String> {
    let (headers, query) = happening.request?;
    let value = if let Some(name) = source.strip_prefix("route.request.header.") {
        headers.get(name)?.to_str().ok()?.to_owned()
    } else if let Some(name) = source.strip_prefix("route.request.querystring.") {
        query_pairs(query).find(|(key, _)| key == name).map(|(_, value)| value)?
    } else if let Some(name) = source.strip_prefix("stageVariables.") {
        happening.variables.get(name)?.clone()
    } else {
        let name = source.strip_prefix("context.")?;
        crate::http::mapping::at_path(&context(happening), name).map(crate::http::context::bare)?
    };
    Some(value).filter(|value| !value.is_empty())
}

async fn by_function(
    cx: &Cx,
    target: &Target,
    authorizer: &AuthorizerRow,
    happening: &Happening<'_>,
    arn: &str,
) -> Result<Option<String>, Box<Response>> {
    let mut sources = authorizer.identity_source.iter().flatten();
    if sources.any(|source| identity(source, happening).is_none()) {
        return Err(unauthorized());
    }
    let mut event = json!({
        "type": "REQUEST",
        "methodArn": arn,
        "requestContext": context(happening),
        "stageVariables": happening.variables,
    });
    if let Some((headers, query)) = happening.request {
        add_request(&mut event, headers, query);
    }
    let function = of_uri(authorizer.authorizer_uri.as_deref().unwrap_or_default()).ok_or_else(failed)?;
    let id = authorizer.authorizer_id.as_deref().unwrap_or_default();
    let source = Arn::parse(&target.execute_arn(&format!("authorizers/{id}"))).map_err(|_| failed())?;
    let call = FunctionCall {
        function,
        payload: event.to_string().into(),
        credentials: authorizer.authorizer_credentials_arn.as_deref(),
        source: &source,
        timeout: TIMEOUT,
    };
    let answer = match invoke(cx, call).await {
        Ok(answer) => read(&answer, false).ok_or_else(failed)?,
        Err(InvokeError::FunctionError(payload)) if says_unauthorized(&payload) => return Err(unauthorized()),
        Err(error) => {
            tracing::warn!(api = %target.id, authorizer = id, %error, "an authorizer gave no answer");
            return Err(failed());
        }
    };
    let Answer::Policy { document, context, principal } = answer else { return Err(failed()) };
    match policy::allows(&document, target.account, arn, &happening.row.source_ip) {
        Some(true) => {
            let mut given: Map<String, Value> = context;
            given.insert("principalId".to_owned(), json!(principal));
            Ok(Some(Value::Object(given).to_string()))
        }
        Some(false) => Err(forbidden()),
        None => Err(failed()),
    }
}
