//! Whether a request may pass: IAM, JWT and Lambda authorizers.
//!
//! Source: Developer Guide, "Control access to HTTP APIs with AWS Lambda authorizers", "Control access to HTTP APIs with JWT
//! authorizers in API Gateway", "Control access to HTTP APIs with IAM authorization in API Gateway".

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pileus_core::{Arn, Timestamp};
use pileus_platform::{Access, Cx, DataRequest};
use pileus_wire::protocol::Response;
use serde_json::{Map, Value};

use super::compiled::Stage;
use super::context::{Authorized, Facts};
use super::event::{self, ForAuthorizer};
use super::jwt::{IssuerKeys, Refused, Token};
use super::mapping::{self, Source};
use super::rows::{AuthorizerRow, RouteRow};
use crate::front::message;
use crate::invoke::function::{FunctionCall, invoke, of_uri};
use crate::invoke::{InvokeError, policy};

/// What authorizers have answered: by authorizer and identity.
pub type Remembered = HashMap<String, (Timestamp, Answer)>;

/// Most answers that are kept for one stage.
const MOST_REMEMBERED: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// An authorizer's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Simple { is_authorized: bool, context: Map<String, Value> },
    Policy { document: String, context: Map<String, Value>, principal: Option<String> },
}

/// Why a request does not pass.
pub struct Refusal {
    pub response: Response,
    pub reason: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, text: &str, reason: Option<String>) -> Box<Refusal> {
        Box::new(Refusal { response: message(status, None, text), reason })
    }

    pub fn unauthorized() -> Box<Refusal> {
        Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", None)
    }

    pub fn forbidden(reason: impl Into<String>) -> Box<Refusal> {
        Refusal::new(StatusCode::FORBIDDEN, "Forbidden", Some(reason.into()))
    }

    fn failed(reason: impl Into<String>) -> Box<Refusal> {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", Some(reason.into()))
    }

    fn bearer(status: StatusCode, text: &str, error: Option<(&str, &str)>, scopes: &str) -> Box<Refusal> {
        let mut refusal = Refusal::new(status, text, error.map(|(_, reason)| reason.to_owned()));
        let challenge = match error {
            None => "Bearer".to_owned(),
            Some((code, reason)) => {
                format!(r#"Bearer scope="{scopes}" error="{code}" error_description="{reason}""#)
            }
        };
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            refusal.response.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        refusal
    }
}

/// Lets the request pass, and says who it is.
///
/// # Errors
/// The answer that it gets instead.
pub async fn authorize(
    cx: &Cx,
    request: &DataRequest,
    stage: &Stage,
    route: &RouteRow,
    facts: &Facts,
) -> Result<Authorized, Box<Refusal>> {
    match route.authorization_type.as_deref().unwrap_or("NONE") {
        "NONE" => Ok(Authorized::Nobody),
        "AWS_IAM" => by_iam(request, facts).await,
        kind => {
            let Some(authorizer) = stage.authorizer(route) else {
                return Err(Refusal::failed("the route's authorizer is gone"));
            };
            match kind {
                "JWT" => by_jwt(cx, authorizer, route, facts).await,
                _ => by_function(cx, stage, authorizer, facts).await,
            }
        }
    }
}

/// A signature for `execute-api`, and `execute-api:Invoke` on the path that was asked for.
pub async fn by_iam(request: &DataRequest, facts: &Facts) -> Result<Authorized, Box<Refusal>> {
    let target = &facts.target;
    let caller = request.caller("apigatewaymanagementapi", "PostToConnection", &facts.body).await;
    let caller = caller.map_err(|fault| Refusal::forbidden(fault.message))?;
    if matches!(caller.kind, pileus_platform::CallerKind::Anonymous) {
        return Err(Refusal::forbidden("the request is not signed"));
    }
    let path = target.path.trim_start_matches('/');
    let arn = target.execute_arn(&format!("{}/{}/{path}", facts.stage, facts.method));
    let cx = request.cx(caller.clone(), target.region.clone());
    match cx.is_allowed("apigatewaymanagementapi", &Access::new("execute-api:Invoke", arn)).await {
        Ok(true) => Ok(Authorized::Iam {
            access_key: caller.access_key_id.to_string(),
            account: caller.account.to_string(),
            user_arn: caller.arn.to_string(),
            user_id: caller.user_id.to_string(),
        }),
        Ok(false) => Err(Refusal::forbidden("the caller may not invoke this API")),
        Err(fault) => Err(Refusal::failed(fault.message)),
    }
}

async fn by_jwt(
    cx: &Cx,
    authorizer: &AuthorizerRow,
    route: &RouteRow,
    facts: &Facts,
) -> Result<Authorized, Box<Refusal>> {
    let source = Source { facts, response: None };
    let expression =
        authorizer.identity_source.iter().flatten().next().map(String::as_str).unwrap_or_default();
    let given = mapping::value(expression, &source).unwrap_or_default();
    let needed = route.authorization_scopes.as_deref().unwrap_or_default();
    let scopes = needed.join(" ");
    let unauthorized = |refused: Option<Refused>| {
        let error = refused.map(|refused| ("invalid_token", refused.0));
        Refusal::bearer(StatusCode::UNAUTHORIZED, "Unauthorized", error, &scopes)
    };
    let text = match given.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => given[7..].trim(),
        _ => given.trim(),
    };
    if text.is_empty() {
        return Err(unauthorized(None));
    }
    let token = Token::parse(text).map_err(|refused| unauthorized(Some(refused)))?;
    let jwt = authorizer.jwt_configuration.clone().unwrap_or_default();
    let issuer = jwt.issuer.unwrap_or_default();
    let audience = jwt.audience.unwrap_or_default();
    token.check(&issuer, &audience, cx.now()).map_err(|refused| unauthorized(Some(refused)))?;
    let keys = cx.state::<IssuerKeys>();
    keys.verify(cx.platform(), &issuer, &token).await.map_err(|refused| unauthorized(Some(refused)))?;
    let has = token.scopes();
    if !needed.is_empty() && !needed.iter().any(|scope| has.contains(scope)) {
        let error = Some(("insufficient_scope", "the token does not have the required scope"));
        return Err(Refusal::bearer(StatusCode::FORBIDDEN, "Forbidden", error, &scopes));
    }
    Ok(Authorized::Jwt { claims: token.claims, scopes: (!needed.is_empty()).then_some(has) })
}

async fn by_function(
    cx: &Cx,
    stage: &Stage,
    authorizer: &AuthorizerRow,
    facts: &Facts,
) -> Result<Authorized, Box<Refusal>> {
    let source = Source { facts, response: None };
    let mut identity = Vec::new();
    for expression in authorizer.identity_source.iter().flatten() {
        match mapping::value(expression, &source).filter(|value| !value.is_empty()) {
            Some(value) => identity.push(value),
            None => return Err(Refusal::unauthorized()),
        }
    }
    let route_arn = facts.route_arn();
    let ttl = authorizer.authorizer_result_ttl_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let ttl = ttl.filter(|_| !identity.is_empty()).unwrap_or_default();
    let id = authorizer.authorizer_id.as_deref().unwrap_or_default();
    let key = identity.iter().fold(id.to_owned(), |key, value| format!("{key}\u{0}{value}"));
    let known = match ttl {
        0 => None,
        _ => {
            let remembered = stage.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.get(&key).filter(|(until, _)| cx.now() < *until).map(|(_, answer)| answer.clone())
        }
    };
    let answer = match known {
        Some(answer) => answer,
        None => {
            let answer = ask(cx, authorizer, facts, &route_arn, &identity).await?;
            if ttl > 0 {
                let mut remembered = stage.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                if remembered.len() >= MOST_REMEMBERED {
                    remembered.retain(|_, (until, _)| cx.now() < *until);
                }
                if remembered.len() < MOST_REMEMBERED {
                    remembered.insert(key, (cx.now() + Duration::from_secs(ttl), answer.clone()));
                }
            }
            answer
        }
    };
    judge(answer, facts, &route_arn)
}

fn judge(answer: Answer, facts: &Facts, route_arn: &str) -> Result<Authorized, Box<Refusal>> {
    match answer {
        Answer::Simple { is_authorized: true, context } => {
            Ok(Authorized::Lambda { context, principal: None })
        }
        Answer::Simple { is_authorized: false, .. } => Err(Refusal::forbidden("the authorizer says no")),
        Answer::Policy { document, context, principal } => {
            match policy::allows(&document, facts.target.account, route_arn, &facts.source_ip) {
                Some(true) => Ok(Authorized::Lambda { context, principal }),
                Some(false) => Err(Refusal::forbidden("the authorizer's policy does not allow it")),
                None => Err(Refusal::failed("the authorizer's policy is malformed")),
            }
        }
    }
}

async fn ask(
    cx: &Cx,
    authorizer: &AuthorizerRow,
    facts: &Facts,
    route_arn: &str,
    identity: &[String],
) -> Result<Answer, Box<Refusal>> {
    let uri = authorizer.authorizer_uri.as_deref().unwrap_or_default();
    let function = of_uri(uri).ok_or_else(|| Refusal::failed("the authorizer names no function"))?;
    let id = authorizer.authorizer_id.as_deref().unwrap_or_default();
    let source = Arn::parse(&facts.target.execute_arn(&format!("authorizers/{id}")));
    let source = source.map_err(|_| Refusal::failed("the authorizer has no ARN"))?;
    let given = ForAuthorizer { route_arn: route_arn.to_owned(), identity_source: identity };
    let payload = match authorizer.authorizer_payload_format_version.as_deref() {
        Some("1.0") => event::version1(facts, Some(&given)),
        _ => event::version2(facts, Some(&given)),
    };
    let call = FunctionCall {
        function,
        payload: payload.into(),
        credentials: authorizer.authorizer_credentials_arn.as_deref(),
        source: &source,
        timeout: TIMEOUT,
    };
    match invoke(cx, call).await {
        Ok(answer) => {
            let is_simple = authorizer.enable_simple_responses == Some(true);
            read(&answer, is_simple).ok_or_else(|| Refusal::failed("the authorizer's answer is malformed"))
        }
        Err(InvokeError::FunctionError(payload)) if says_unauthorized(&payload) => {
            Err(Refusal::unauthorized())
        }
        Err(error) => {
            tracing::warn!(api = %facts.target.id, authorizer = id, %error, "an authorizer gave no answer");
            Err(Refusal::failed(error.to_string()))
        }
    }
}

/// An error with this message is a refusal.
pub fn says_unauthorized(payload: &Bytes) -> bool {
    let parsed: Option<Value> = serde_json::from_slice(payload).ok();
    parsed.as_ref().and_then(|error| error.get("errorMessage")).and_then(Value::as_str)
        == Some("Unauthorized")
}

/// An authorizer's answer, simple or with a policy.
pub fn read(answer: &[u8], is_simple: bool) -> Option<Answer> {
    let parsed: Map<String, Value> = serde_json::from_slice(answer).ok()?;
    let context = match parsed.get("context") {
        None | Some(Value::Null) => Map::new(),
        Some(context) => context.as_object()?.clone(),
    };
    if is_simple {
        let is_authorized = parsed.get("isAuthorized")?.as_bool()?;
        return Some(Answer::Simple { is_authorized, context });
    }
    let document = parsed.get("policyDocument").filter(|document| document.is_object())?.to_string();
    let principal = parsed.get("principalId").and_then(Value::as_str).map(str::to_owned);
    Some(Answer::Policy { document, context, principal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_authorizers_are_simple_or_hold_a_policy() {
        let cases = [
            (r#"{"isAuthorized":true,"context":{"a":1}}"#, true, true),
            (r#"{"isAuthorized":"yes"}"#, true, false),
            (r#"{"policyDocument":{"Statement":[]},"principalId":"p"}"#, false, true),
            (r#"{"isAuthorized":true}"#, false, false),
            (r#"{"policyDocument":"text"}"#, false, false),
            (r#"{"isAuthorized":true,"context":[]}"#, true, false),
            ("null", true, false),
        ];
        for (answer, is_simple, is_read) in cases {
            assert_eq!(read(answer.as_bytes(), is_simple).is_some(), is_read, "{answer}");
        }
        assert!(says_unauthorized(&Bytes::from_static(br#"{"errorMessage":"Unauthorized"}"#)));
        assert!(!says_unauthorized(&Bytes::from_static(br#"{"errorMessage":"other"}"#)));
    }
}
