//! Who may call a method: resource policy, signature, or an authorizer.
//!
//! Source: API Gateway Developer Guide, "Control and manage access to REST APIs in API Gateway", "Use API Gateway Lambda authorizers",
//! "Input to an API Gateway Lambda authorizer", "Output from an API Gateway Lambda authorizer", "How API Gateway resource policies affect
//! authorization workflow". Recorded: the sentences.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fancy_regex::Regex;
use pileus_api_apigateway as api;
use pileus_core::{Arn, Timestamp};
use pileus_platform::{Access, Caller, CallerKind, DataRequest};
use serde_json::{Map as JsonMap, Value as Json, json};

use super::call::{Call, multiple, single};
use super::compiled::Method;
use super::proxy;
use super::refusal::Refusal;
use crate::http::context::bare;
use crate::invoke::function::{self, FunctionCall};
use crate::invoke::{InvokeError, policy};

/// What authorizers have answered, until their TTL runs out.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<String, (Timestamp, Arc<Answer>)>>);

const MOST: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(29);
/// Source: "Output from an API Gateway Lambda authorizer" (the policy's size).
const MAX_ANSWER: usize = 64 << 10;

/// An authorizer's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub principal_id: String,
    pub policy: String,
    /// Texts, numbers and booleans.
    pub context: JsonMap<String, Json>,
    pub usage_key: Option<String>,
}

impl Answers {
    fn find(&self, key: &str, now: Timestamp) -> Option<Arc<Answer>> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(until, _)| now < *until).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: String, until: Timestamp, answer: Arc<Answer>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(key, (until, answer));
    }

    /// What is kept of one API.
    pub fn forget(&self, api: &str) {
        let start = format!("{api} ");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !key.starts_with(&start));
    }
}

/// Lets a request pass, or says why not. What it found out is in `$context` afterwards.
///
/// Gives the API key that an authorizer named, and the caller for integrations that act in the caller's name.
///
/// # Errors
/// 401, 403, or 500 for an authorizer that cannot be asked.
pub async fn check(
    call: &mut Call,
    request: Option<&DataRequest>,
    method: &Method,
) -> Result<Option<String>, Refusal> {
    let kind = method.definition.authorization_type.as_deref().unwrap_or("NONE");
    if kind == "AWS_IAM" {
        // A test call of a method is made by one who may do so.
        let Some(request) = request else { return Ok(None) };
        by_signature(call, request).await?;
        return Ok(None);
    }
    if request.is_some() && call.deployed.policy.is_some() {
        by_policy(call).await?;
    }
    match (kind, &method.authorizer) {
        (_, _) if request.is_none() => Ok(None),
        ("CUSTOM", Some(authorizer)) => by_function(call, &authorizer.clone()).await,
        ("NONE", _) => Ok(None),
        ("COGNITO_USER_POOLS", _) => Err(configuration(
            "pileus has no Cognito user pools yet; authorizers of type COGNITO_USER_POOLS let nobody in",
        )),
        (other, _) => Err(configuration(&format!("the method's authorizer ({other}) is not there"))),
    }
}

fn configuration(reason: &str) -> Refusal {
    let mut refusal = Refusal::new("AUTHORIZER_CONFIGURATION_ERROR", "AuthorizerConfigurationException", "")
        .because(reason);
    refusal.message = None;
    refusal
}

async fn by_policy(call: &Call) -> Result<(), Refusal> {
    let access = Access::new("execute-api:Invoke", call.arn(&call.path));
    match call.cx.is_allowed(api::SERVICE, &access).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let text = format!(
                "User: anonymous is not authorized to perform: execute-api:Invoke on resource: {}",
                masked(call)
            );
            Err(Refusal::denied(&text))
        }
        Err(fault) => Err(Refusal::internal(fault.message)),
    }
}

/// AWS hides most of the account in what it tells strangers.
fn masked(call: &Call) -> String {
    let arn = call.arn(&call.path);
    let account = call.context["accountId"].as_str().unwrap_or_default();
    match account.len() {
        12 => arn.replace(account, &format!("********{}", &account[8..])),
        _ => arn,
    }
}

async fn by_signature(call: &mut Call, request: &DataRequest) -> Result<(), Refusal> {
    let found = request.caller("apigatewaymanagementapi", "PostToConnection", &call.body).await;
    let caller = found.map_err(|fault| {
        let (kind, error_type) = match &*fault.code {
            "ExpiredTokenException" | "ExpiredToken" => ("EXPIRED_TOKEN", "ExpiredTokenException"),
            "UnrecognizedClientException" | "InvalidClientTokenId" => {
                ("ACCESS_DENIED", "UnrecognizedClientException")
            }
            "MissingAuthenticationTokenException" | "MissingAuthenticationToken" => {
                ("MISSING_AUTHENTICATION_TOKEN", "MissingAuthenticationTokenException")
            }
            _ => ("INVALID_SIGNATURE", "InvalidSignatureException"),
        };
        Refusal::new(kind, error_type, &fault.message)
    })?;
    let is_anonymous = matches!(caller.kind, CallerKind::Anonymous);
    if is_anonymous && call.deployed.policy.is_none() {
        return Err(Refusal::missing_token());
    }
    let cx = call.cx.with_caller(caller.clone());
    let access = Access::new("execute-api:Invoke", call.arn(&call.path));
    match cx.is_allowed(api::SERVICE, &access).await {
        Ok(true) => {}
        Ok(false) if is_anonymous => return Err(Refusal::missing_token()),
        Ok(false) => {
            let text = format!(
                "User: {} is not authorized to perform: execute-api:Invoke on resource: {}",
                caller.arn,
                masked(call)
            );
            return Err(Refusal::denied(&text));
        }
        Err(fault) => return Err(Refusal::internal(fault.message)),
    }
    identify(call, &caller);
    call.cx = cx;
    Ok(())
}

fn identify(call: &mut Call, caller: &Caller) {
    let identity = &mut call.context["identity"];
    identity["accountId"] = json!(caller.account.as_str());
    identity["accessKey"] = json!(&*caller.access_key_id);
    identity["caller"] = json!(&*caller.user_id);
    identity["user"] = json!(&*caller.user_id);
    identity["userArn"] = json!(&*caller.arn);
}

/// Asks a function, unless it has answered lately.
async fn by_function(call: &mut Call, authorizer: &api::Authorizer) -> Result<Option<String>, Refusal> {
    let sources = sources(call, authorizer)?;
    let ttl = authorizer.authorizer_result_ttl_in_seconds.unwrap_or(300);
    let id = authorizer.id.as_deref().unwrap_or_default();
    let key = (ttl > 0 && !sources.is_empty())
        .then(|| format!("{} {} {} {id} {}", call.api, call.stage, call.version, json!(sources)));
    let now = call.cx.now();
    let known = key.as_deref().and_then(|key| call.cx.state::<Answers>().find(key, now));
    let answer = match known {
        Some(answer) => answer,
        None => {
            let answer = Arc::new(ask(call, authorizer, sources.first().map_or("", String::as_str)).await?);
            if let Some(key) = key {
                let until = now + Duration::from_secs(u64::try_from(ttl).unwrap_or_default());
                call.cx.state::<Answers>().keep(key, until, answer.clone());
            }
            answer
        }
    };
    let mut known = answer.context.clone();
    known.insert("principalId".to_owned(), json!(answer.principal_id));
    call.context["authorizer"] = Json::Object(known);
    let account = pileus_core::AccountId::parse(call.context["accountId"].as_str().unwrap_or_default());
    let ip = call.context["identity"]["sourceIp"].as_str().unwrap_or_default();
    // The path as it was asked for; its parts decide, the query does not.
    let resource = call.arn(&call.path);
    match policy::allows(&answer.policy, account.unwrap_or(call.cx.account()), &resource, ip) {
        Some(true) => Ok(answer.usage_key.clone()),
        Some(false) => {
            let explicit = answer.policy.contains("\"Deny\"");
            let text = "User is not authorized to access this resource";
            Err(Refusal::denied(&if explicit {
                format!("{text} with an explicit deny in an identity-based policy")
            } else {
                text.to_owned()
            }))
        }
        None => Err(configuration("the authorizer's policy document is none")),
    }
}

/// Asks a function whatever it has answered before.
///
/// # Errors
/// As for requests.
pub async fn try_out(call: &mut Call, authorizer: &api::Authorizer) -> Result<Answer, Refusal> {
    let sources = sources(call, authorizer)?;
    ask(call, authorizer, sources.first().map_or("", String::as_str)).await
}

/// The values that the authorizer needs to know, in their order.
///
/// # Errors
/// 401 when one is missing, or does not look as it must.
fn sources(call: &Call, authorizer: &api::Authorizer) -> Result<Vec<String>, Refusal> {
    let named = authorizer.identity_source.as_deref().unwrap_or_default();
    let mut values = Vec::new();
    for source in named.split(',').map(str::trim).filter(|source| !source.is_empty()) {
        let value = call.source(source).into_iter().next().filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Refusal::unauthorized().because(format!("{source} is missing")))?;
        values.push(value);
    }
    let pattern = authorizer.identity_validation_expression.as_deref().filter(|pattern| !pattern.is_empty());
    if let (Some(pattern), Some(token)) = (pattern, values.first()) {
        let fits =
            Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(token).unwrap_or(false));
        if !fits {
            return Err(Refusal::unauthorized().because("the token does not match the validation expression"));
        }
    }
    Ok(values)
}

/// The event that an authorizer is handed.
pub fn event(call: &Call, authorizer: &api::Authorizer, token: &str) -> Json {
    let arn = call.arn(&call.path);
    if authorizer.r#type.as_deref() == Some("TOKEN") {
        return json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": token });
    }
    let variables: JsonMap<String, Json> =
        call.variables.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "type": "REQUEST",
        "methodArn": arn,
        "resource": call.context["resourcePath"],
        "path": call.path,
        "httpMethod": call.verb,
        "headers": single(&call.headers),
        "multiValueHeaders": multiple(&call.headers),
        "queryStringParameters": single(&call.query),
        "multiValueQueryStringParameters": multiple(&call.query),
        "pathParameters": single(&call.path_parameters),
        "stageVariables": variables,
        "requestContext": proxy::request_context(call),
    })
}

async fn ask(call: &Call, authorizer: &api::Authorizer, token: &str) -> Result<Answer, Refusal> {
    let uri = call.with_variables(authorizer.authorizer_uri.as_deref().unwrap_or_default());
    let function =
        function::of_uri(&uri).ok_or_else(|| configuration("the authorizer's URI names no function"))?;
    let payload = Bytes::from(event(call, authorizer, token).to_string());
    let id = authorizer.id.as_deref().unwrap_or_default();
    let region = call.cx.region();
    let source = format!(
        "arn:{}:execute-api:{region}:{}:{}/authorizers/{id}",
        region.partition(),
        call.context["accountId"].as_str().unwrap_or_default(),
        call.api
    );
    let source = Arn::parse(&source).map_err(|_| configuration("the authorizer has no ARN"))?;
    let asked = FunctionCall {
        function,
        payload,
        credentials: authorizer.authorizer_credentials.as_deref().filter(|role| !role.is_empty()),
        source: &source,
        timeout: TIMEOUT,
    };
    let failure = |reason: String| {
        let mut refusal =
            Refusal::new("AUTHORIZER_FAILURE", "AuthorizerFailureException", "").because(reason);
        refusal.message = None;
        refusal
    };
    match function::invoke(&call.cx, asked).await {
        Ok(answer) if answer.len() > MAX_ANSWER => Err(configuration("the authorizer's answer is too long")),
        Ok(answer) => read(&answer)
            .ok_or_else(|| configuration("the authorizer's answer is not in the form that it must have")),
        // A function says so by an error with this text alone.
        Err(InvokeError::FunctionError(payload)) => {
            let error: Json = serde_json::from_slice(&payload).unwrap_or_default();
            match error["errorMessage"].as_str() {
                Some("Unauthorized") => Err(Refusal::unauthorized()),
                _ => Err(failure(format!("the authorizer failed: {}", String::from_utf8_lossy(&payload)))),
            }
        }
        Err(error) => Err(failure(error.to_string())),
    }
}

/// `None` for an answer without a principal or a policy, or with a context that holds more than single values.
pub fn read(answer: &[u8]) -> Option<Answer> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let principal_id = bare(answer.get("principalId").filter(|id| !id.is_null())?);
    let policy = answer.get("policyDocument").filter(|policy| policy.is_object())?.to_string();
    let context = match answer.get("context") {
        None | Some(Json::Null) => JsonMap::new(),
        Some(Json::Object(context)) => context.clone(),
        Some(_) => return None,
    };
    if context.values().any(|value| value.is_object() || value.is_array()) {
        return None;
    }
    // Values arrive as texts.
    let context = context.into_iter().map(|(name, value)| (name, Json::from(bare(&value)))).collect();
    let usage_key = answer.get("usageIdentifierKey").and_then(Json::as_str).map(str::to_owned);
    Some(Answer { principal_id, policy, context, usage_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_a_principal_a_policy_and_flat_values() {
        let policy = json!({"Version": "2012-10-17", "Statement": []});
        let cases = [
            (json!({"principalId": "u", "policyDocument": policy}), true),
            (json!({"principalId": 7, "policyDocument": policy, "context": {"a": 1, "b": true}}), true),
            (json!({"policyDocument": policy}), false),
            (json!({"principalId": "u"}), false),
            (json!({"principalId": "u", "policyDocument": "{}"}), false),
            (json!({"principalId": "u", "policyDocument": policy, "context": {"a": {}}}), false),
            (json!("Unauthorized"), false),
        ];
        for (answer, is_read) in cases {
            assert_eq!(read(answer.to_string().as_bytes()).is_some(), is_read, "{answer}");
        }
        let read = read(
            json!({"principalId": 7, "policyDocument": policy, "context": {"a": 1}}).to_string().as_bytes(),
        );
        let read = read.expect("it is an answer");
        assert_eq!((read.principal_id.as_str(), &read.context["a"]), ("7", &json!("1")));
    }
}
