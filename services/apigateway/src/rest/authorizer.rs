//! Authorizers: `CreateAuthorizer` and its sisters. How they are asked: `execute/authorize.rs`.
//!
//! Source: API Gateway API Reference, "CreateAuthorizer", "Authorizer". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::Unit;

use super::document::Doc;
use super::keys::AUTHORIZERS;
use super::patch::{Rule, element, number, patched, text};
use super::{api as rest_api, page, resource};
use crate::error::GatewayError;

const PATCHES: [Rule; 9] = [
    text("name"),
    text("type"),
    element("providerARNs"),
    text("authType"),
    text("authorizerUri"),
    text("authorizerCredentials"),
    text("identitySource"),
    text("identityValidationExpression"),
    number("authorizerResultTtlInSeconds"),
];
/// Seconds.
const MAX_TTL: i64 = 3_600;
const DEFAULT_TTL: i64 = 300;

pub async fn load(reader: &impl Reader, api: &str, id: &str) -> Result<api::Authorizer, GatewayError> {
    let found = AUTHORIZERS.get(reader, &(api.to_owned(), id.to_owned())).await?;
    let missing = || GatewayError::NotFound("Invalid Authorizer identifier specified".to_owned());
    found.map(|Doc(row)| row).ok_or_else(missing)
}

/// # Errors
/// `BadRequest` for one that could never be asked.
pub fn check(authorizer: &api::Authorizer) -> Result<(), GatewayError> {
    let bad = |text: &str| Err(GatewayError::bad(text));
    let ttl = authorizer.authorizer_result_ttl_in_seconds.unwrap_or(DEFAULT_TTL);
    if !(0..=MAX_TTL).contains(&ttl) {
        return bad("Authorizer result TTL must be between 0 and 3600 seconds");
    }
    let sources = authorizer.identity_source.as_deref().unwrap_or_default();
    match authorizer.r#type.as_deref().unwrap_or_default() {
        "COGNITO_USER_POOLS" => {
            if authorizer.provider_arns.as_ref().is_none_or(Vec::is_empty) {
                return bad("Authorizer type COGNITO_USER_POOLS requires provider ARNs");
            }
        }
        kind @ ("TOKEN" | "REQUEST") => {
            let uri = authorizer.authorizer_uri.as_deref().unwrap_or_default();
            if crate::invoke::function::of_uri(uri).is_none() {
                return bad(
                    "Invalid Authorizer URI: the authorizer URI should be a valid API Gateway ARN that represents a Lambda function invocation.",
                );
            }
            if kind == "REQUEST" && ttl > 0 && sources.is_empty() {
                return bad(
                    "At least one identity source is required when caching is enabled for an authorizer of type REQUEST",
                );
            }
            if kind == "TOKEN" && !sources.starts_with("method.request.header.") {
                return bad(
                    "Identity source of an authorizer of type TOKEN must be a header: method.request.header.{name}",
                );
            }
            let known =
                ["method.request.header.", "method.request.querystring.", "stageVariables.", "context."];
            let mut parts = sources.split(',').map(str::trim).filter(|source| !source.is_empty());
            if parts.any(|source| !known.iter().any(|start| source.starts_with(start))) {
                return bad("Invalid identity source specified");
            }
        }
        "JWT" => return Err(GatewayError::missing("authorizers of type JWT in REST APIs")),
        other => return Err(GatewayError::bad(format!("Invalid authorizer type specified: {other}"))),
    }
    if let Some(pattern) = authorizer.identity_validation_expression.as_deref()
        && fancy_regex::Regex::new(pattern).is_err()
    {
        return bad("Invalid identity validation expression specified");
    }
    Ok(())
}

pub async fn create_authorizer(
    cx: &Cx,
    input: api::CreateAuthorizerRequest,
) -> Result<api::Authorizer, GatewayError> {
    if input.jwt_configuration.is_some() {
        return Err(GatewayError::missing("jwtConfiguration of authorizers"));
    }
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = cx.ids().lower(6);
    let kind = input.r#type.unwrap_or_default();
    let is_pool = kind == "COGNITO_USER_POOLS";
    let default_source =
        (kind == "TOKEN" || is_pool).then(|| "method.request.header.Authorization".to_owned());
    let authorizer = &api::Authorizer {
        id: Some(id.clone()),
        name: input.name,
        auth_type: input
            .auth_type
            .or_else(|| Some(if is_pool { "cognito_user_pools" } else { "custom" }.to_owned())),
        r#type: Some(kind),
        provider_arns: input.provider_arns,
        authorizer_uri: input.authorizer_uri,
        authorizer_credentials: input.authorizer_credentials,
        identity_source: input.identity_source.or(default_source),
        identity_validation_expression: input.identity_validation_expression,
        authorizer_result_ttl_in_seconds: input.authorizer_result_ttl_in_seconds.or(Some(DEFAULT_TTL)),
        jwt_configuration: None,
    };
    check(authorizer)?;
    let id = id.as_str();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let others = page::all(&txn, AUTHORIZERS, &(api,)).await?;
        if others.iter().any(|Doc(other)| other.name == authorizer.name) {
            return Err(GatewayError::bad(
                "Authorizer name must be unique. Authorizer name already exists in this RestApi.",
            ));
        }
        Ok(AUTHORIZERS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(authorizer.clone()))?)
    })
    .await?;
    Ok(authorizer.clone())
}

pub async fn get_authorizer(
    cx: &Cx,
    input: api::GetAuthorizerRequest,
) -> Result<api::Authorizer, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    load(cx.store(), api, input.authorizer_id.as_deref().unwrap_or_default()).await
}

pub async fn get_authorizers(
    cx: &Cx,
    input: api::GetAuthorizersRequest,
) -> Result<api::Authorizers, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), AUTHORIZERS, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    Ok(api::Authorizers { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

pub async fn update_authorizer(
    cx: &Cx,
    input: api::UpdateAuthorizerRequest,
) -> Result<api::Authorizer, GatewayError> {
    let (api, id) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.authorizer_id.as_deref().unwrap_or_default(),
    );
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let after = patched(&load(&txn, api, id).await?, operations, &PATCHES)?;
        check(&after)?;
        AUTHORIZERS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

pub async fn delete_authorizer(cx: &Cx, input: api::DeleteAuthorizerRequest) -> Result<Unit, GatewayError> {
    let (api, id) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.authorizer_id.as_deref().unwrap_or_default(),
    );
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, id).await?;
        let resources = resource::all(&txn, api).await?;
        let mut methods =
            resources.iter().flat_map(|row| row.resource_methods.iter().flat_map(|map| map.iter()));
        if methods.any(|(_, method)| method.authorizer_id.as_deref() == Some(id)) {
            return Err(GatewayError::Conflict(format!(
                "Cannot delete authorizer '{id}', is referenced in method"
            )));
        }
        AUTHORIZERS.delete(&txn, &(api.to_owned(), id.to_owned()));
        Ok(Unit)
    })
    .await
}
