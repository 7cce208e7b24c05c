//! Integrations and their responses: `PutIntegration`, `PutIntegrationResponse` and their sisters.
//!
//! Source: API Gateway API Reference, "PutIntegration", "Integration", "PutIntegrationResponse". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_wire::value::{Map, Unit};

use super::method::{Held, bad_mapping, no_such_method};
use super::patch::{Rule, element, entry, flag, number, patched, text};
use crate::error::GatewayError;

const PATCHES: [Rule; 15] = [
    text("type"),
    text("httpMethod"),
    text("uri"),
    text("credentials"),
    text("passthroughBehavior"),
    text("contentHandling"),
    number("timeoutInMillis"),
    text("connectionType"),
    text("connectionId"),
    text("cacheNamespace"),
    text("responseTransferMode"),
    element("cacheKeyParameters"),
    entry("requestParameters/*"),
    entry("requestTemplates/*"),
    flag("tlsConfig/insecureSkipVerification"),
];
const RESPONSE_PATCHES: [Rule; 4] = [
    text("selectionPattern"),
    text("contentHandling"),
    entry("responseParameters/*"),
    entry("responseTemplates/*"),
];
/// Milliseconds. Source: "Quotas for configuring and running a REST API in API Gateway"; longer ones are for regional APIs after a
/// raise of the quota, which this cloud does not ask for.
const MAX_TIMEOUT: i64 = 300_000;
const MAX_STREAM_TIMEOUT: i64 = 900_000;
const DEFAULT_TIMEOUT: i64 = 29_000;

fn no_such() -> GatewayError {
    GatewayError::NotFound("Invalid Integration identifier specified".to_owned())
}

fn no_such_response() -> GatewayError {
    GatewayError::NotFound("Invalid Response status code specified".to_owned())
}

/// # Errors
/// `BadRequest` for an integration that could never be called, `NotImplemented` for what this cloud lacks.
pub fn check(integration: &api::Integration, method: &api::Method) -> Result<(), GatewayError> {
    let kind = integration.r#type.as_deref().unwrap_or_default();
    let uri = integration.uri.as_deref().unwrap_or_default();
    if integration.connection_type.as_deref() == Some("VPC_LINK") {
        return Err(GatewayError::missing("integrations through a VPC link (connectionType VPC_LINK)"));
    }
    if integration.integration_target.is_some() {
        return Err(GatewayError::missing("integrationTarget of integrations"));
    }
    let has_verb = integration.http_method.as_deref().is_some_and(|verb| !verb.is_empty());
    match kind {
        "MOCK" => {}
        "HTTP" | "HTTP_PROXY" => {
            if !(uri.starts_with("http://")
                || uri.starts_with("https://")
                || uri.starts_with("${stageVariables."))
            {
                return Err(GatewayError::bad("Invalid HTTP endpoint specified for URI"));
            }
            if !has_verb {
                return Err(GatewayError::bad("Enumeration value for HttpMethod must be non-empty"));
            }
        }
        "AWS" | "AWS_PROXY" => {
            if !has_verb {
                return Err(GatewayError::bad("Enumeration value for HttpMethod must be non-empty"));
            }
            let parts: Vec<&str> = uri.splitn(6, ':').collect();
            let is_arn = parts.len() == 6 && parts[0] == "arn" && parts[2] == "apigateway";
            if !is_arn {
                return Err(GatewayError::bad("Invalid ARN specified in the request"));
            }
            if !parts[5].starts_with("path/") && !parts[5].starts_with("action/") {
                return Err(GatewayError::bad("AWS ARN for integration must contain path or action"));
            }
            let is_lambda = uri.contains(":lambda:path/") && uri.contains("/functions/");
            if kind == "AWS_PROXY" && !is_lambda {
                return Err(GatewayError::bad(
                    "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.",
                ));
            }
        }
        other => {
            return Err(GatewayError::bad(format!(
                "1 validation error detected: Value '{other}' at 'putIntegrationInput.type' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]"
            )));
        }
    }
    let credentials = integration.credentials.as_deref().unwrap_or_default();
    if !credentials.is_empty() && !credentials.starts_with("arn:") {
        return Err(GatewayError::bad("Invalid ARN specified in the request"));
    }
    let streams = integration.response_transfer_mode.as_deref() == Some("STREAM");
    if streams && !kind.ends_with("_PROXY") {
        return Err(GatewayError::bad(
            "Response streaming is available for AWS_PROXY and HTTP_PROXY integrations only",
        ));
    }
    let most = if streams { MAX_STREAM_TIMEOUT } else { MAX_TIMEOUT };
    if integration.timeout_in_millis.is_some_and(|timeout| !(50..=most).contains(&timeout)) {
        return Err(GatewayError::bad(format!("Timeout should be between 50 ms and {most} ms")));
    }
    let behaviour = integration.passthrough_behavior.as_deref().unwrap_or("WHEN_NO_MATCH");
    if !matches!(behaviour, "WHEN_NO_MATCH" | "WHEN_NO_TEMPLATES" | "NEVER") {
        return Err(GatewayError::bad(
            "Invalid passthrough behavior specified. Valid options are WHEN_NO_MATCH, WHEN_NO_TEMPLATES, NEVER",
        ));
    }
    for (target, source) in integration.request_parameters.iter().flat_map(Map::iter) {
        check_request_mapping(target, source, method)?;
    }
    Ok(())
}

/// `integration.request.{place}.{name}` from `method.request...`, `context...`, `stageVariables...` or a text in quotes.
fn check_request_mapping(target: &str, source: &str, method: &api::Method) -> Result<(), GatewayError> {
    let place = target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'));
    let is_known = place.is_some_and(|(place, name)| {
        matches!(place, "path" | "querystring" | "header" | "multivaluequerystring" | "multivalueheader")
            && !name.is_empty()
    });
    if !is_known {
        return Err(bad_mapping(&format!("Invalid mapping expression specified: {target}")));
    }
    let declared = || method.request_parameters.as_ref().is_some_and(|map| map.get(source).is_some());
    let is_body = source == "method.request.body" || source.starts_with("method.request.body.");
    let is_static = source.len() > 1 && source.starts_with('\'') && source.ends_with('\'');
    if source.starts_with("method.request.") && !is_body && !declared() {
        return Err(bad_mapping(&format!("Invalid mapping expression parameter specified: {source}")));
    }
    if is_static
        || is_body
        || ["method.request.", "context.", "stageVariables."].iter().any(|start| source.starts_with(start))
    {
        return Ok(());
    }
    Err(bad_mapping(&format!("Invalid mapping expression specified: {source}")))
}

fn with_defaults(mut integration: api::Integration, resource: &str) -> api::Integration {
    integration.passthrough_behavior.get_or_insert_with(|| "WHEN_NO_MATCH".to_owned());
    integration.timeout_in_millis.get_or_insert(DEFAULT_TIMEOUT);
    integration.cache_namespace.get_or_insert_with(|| resource.to_owned());
    integration.cache_key_parameters.get_or_insert_default();
    integration
}

pub async fn put_integration(
    cx: &Cx,
    input: api::PutIntegrationRequest,
) -> Result<api::Integration, GatewayError> {
    let resource = input.resource_id.clone().unwrap_or_default();
    let integration = api::Integration {
        r#type: input.r#type,
        http_method: input.integration_http_method,
        uri: input.uri,
        connection_type: input.connection_type,
        connection_id: input.connection_id,
        credentials: input.credentials,
        request_parameters: input.request_parameters,
        request_templates: input.request_templates,
        passthrough_behavior: input.passthrough_behavior,
        content_handling: input.content_handling,
        timeout_in_millis: input.timeout_in_millis,
        cache_namespace: input.cache_namespace,
        cache_key_parameters: input.cache_key_parameters,
        tls_config: input.tls_config,
        response_transfer_mode: input.response_transfer_mode,
        integration_target: input.integration_target,
        integration_responses: None,
    };
    let integration = &with_defaults(integration, &resource);
    let (api, verb, resource) =
        (input.rest_api_id.as_deref(), input.http_method.as_deref(), resource.as_str());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, Some(resource), verb).await?;
        let method = held.method()?;
        check(integration, method)?;
        // The responses of the integration before stay.
        let responses = method.method_integration.take().and_then(|before| before.integration_responses);
        let stored = api::Integration { integration_responses: responses, ..integration.clone() };
        method.method_integration = Some(stored.clone());
        held.store(&txn)?;
        Ok(stored)
    })
    .await
}

fn of(method: &mut api::Method) -> Result<&mut api::Integration, GatewayError> {
    method.method_integration.as_mut().ok_or_else(no_such)
}

pub async fn get_integration(
    cx: &Cx,
    input: api::GetIntegrationRequest,
) -> Result<api::Integration, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let verb = input.http_method.as_deref();
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        of(held.method()?).map(|integration| integration.clone())
    })
    .await
}

pub async fn update_integration(
    cx: &Cx,
    input: api::UpdateIntegrationRequest,
) -> Result<api::Integration, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, operations) = (input.http_method.as_deref(), input.patch_operations.as_ref());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let method = held.method()?;
        let after = patched(of(method)?, operations, &PATCHES)?;
        check(&after, method)?;
        method.method_integration = Some(after.clone());
        held.store(&txn)?;
        Ok(after)
    })
    .await
}

pub async fn delete_integration(cx: &Cx, input: api::DeleteIntegrationRequest) -> Result<Unit, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let verb = input.http_method.as_deref();
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let method = held.method().map_err(|_| no_such_method())?;
        method.method_integration.take().ok_or_else(no_such)?;
        held.store(&txn)?;
        Ok(Unit)
    })
    .await
}

/// `method.response.header.{name}` from `integration.response...`, `context...`, `stageVariables...` or a text in quotes.
fn check_response(response: &api::IntegrationResponse, method: &api::Method) -> Result<(), GatewayError> {
    let status = response.status_code.as_deref().unwrap_or_default();
    let declared = method.method_responses.as_ref().and_then(|responses| responses.get(status));
    for (target, source) in response.response_parameters.iter().flat_map(Map::iter) {
        let is_header = target.strip_prefix("method.response.header.").is_some_and(|name| !name.is_empty());
        if !is_header {
            return Err(bad_mapping(&format!("Invalid mapping expression specified: {target}")));
        }
        let parameters = declared.and_then(|response| response.response_parameters.as_ref());
        if parameters.is_none_or(|parameters| parameters.get(target).is_none()) {
            return Err(bad_mapping(&format!("Invalid mapping expression parameter specified: {target}")));
        }
        let is_static = source.len() > 1 && source.starts_with('\'') && source.ends_with('\'');
        let is_known = [
            "integration.response.header.",
            "integration.response.multivalueheader.",
            "integration.response.body",
            "context.",
            "stageVariables.",
        ];
        if !is_static && !is_known.iter().any(|start| source.starts_with(start)) {
            return Err(bad_mapping(&format!("Invalid mapping expression specified: {source}")));
        }
    }
    if let Some(pattern) = response.selection_pattern.as_deref()
        && fancy_regex::Regex::new(pattern).is_err()
    {
        return Err(GatewayError::bad(format!("Invalid selection pattern specified: {pattern}")));
    }
    Ok(())
}

pub async fn put_integration_response(
    cx: &Cx,
    input: api::PutIntegrationResponseRequest,
) -> Result<api::IntegrationResponse, GatewayError> {
    let status = input.status_code.clone().unwrap_or_default();
    let response = &api::IntegrationResponse {
        status_code: Some(status.clone()),
        selection_pattern: input.selection_pattern,
        response_parameters: input.response_parameters,
        response_templates: input.response_templates,
        content_handling: input.content_handling,
    };
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), status.as_str());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let method = held.method()?;
        check_response(response, method)?;
        of(method)?.integration_responses.get_or_insert_default().insert(status, response.clone());
        held.store(&txn)
    })
    .await?;
    Ok(response.clone())
}

fn response<'m>(
    method: &'m mut api::Method,
    status: Option<&str>,
) -> Result<&'m mut api::IntegrationResponse, GatewayError> {
    let responses = of(method)?.integration_responses.iter_mut().flat_map(|map| map.0.iter_mut());
    let mut found = responses.filter(|(code, _)| Some(code.as_str()) == status);
    found.next().map(|(_, response)| response).ok_or_else(no_such_response)
}

pub async fn get_integration_response(
    cx: &Cx,
    input: api::GetIntegrationResponseRequest,
) -> Result<api::IntegrationResponse, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), input.status_code.as_deref());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        response(held.method()?, status).map(|response| response.clone())
    })
    .await
}

pub async fn update_integration_response(
    cx: &Cx,
    input: api::UpdateIntegrationResponseRequest,
) -> Result<api::IntegrationResponse, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), input.status_code.as_deref());
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let method = held.method()?;
        let after = patched(response(method, status)?, operations, &RESPONSE_PATCHES)?;
        check_response(&after, method)?;
        *response(method, status)? = after.clone();
        held.store(&txn)?;
        Ok(after)
    })
    .await
}

pub async fn delete_integration_response(
    cx: &Cx,
    input: api::DeleteIntegrationResponseRequest,
) -> Result<Unit, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), input.status_code.as_deref());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let method = held.method()?;
        response(method, status)?;
        if let Some(responses) = &mut of(method)?.integration_responses {
            responses.0.retain(|(code, _)| Some(code.as_str()) != status);
        }
        held.store(&txn)?;
        Ok(Unit)
    })
    .await
}
