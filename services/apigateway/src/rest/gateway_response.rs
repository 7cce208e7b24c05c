//! Gateway responses: what API Gateway answers itself. `PutGatewayResponse` and its sisters.
//!
//! Source: API Gateway Developer Guide, "Gateway response types for API Gateway"; API Reference, "PutGatewayResponse".

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::{Map, Unit};

use super::document::Doc;
use super::keys::RESPONSES;
use super::patch::{Rule, entry, patched, text};
use super::{api as rest_api, page};
use crate::error::GatewayError;

const PATCHES: [Rule; 3] = [text("statusCode"), entry("responseParameters/*"), entry("responseTemplates/*")];

/// Each type with its status; an empty one means that of the default, or of the cause.
pub const TYPES: [(&str, &str); 21] = [
    ("ACCESS_DENIED", "403"),
    ("API_CONFIGURATION_ERROR", "500"),
    ("AUTHORIZER_CONFIGURATION_ERROR", "500"),
    ("AUTHORIZER_FAILURE", "500"),
    ("BAD_REQUEST_BODY", "400"),
    ("BAD_REQUEST_PARAMETERS", "400"),
    ("DEFAULT_4XX", ""),
    ("DEFAULT_5XX", ""),
    ("EXPIRED_TOKEN", "403"),
    ("INTEGRATION_FAILURE", "504"),
    ("INTEGRATION_TIMEOUT", "504"),
    ("INVALID_API_KEY", "403"),
    ("INVALID_SIGNATURE", "403"),
    ("MISSING_AUTHENTICATION_TOKEN", "403"),
    ("QUOTA_EXCEEDED", "429"),
    ("REQUEST_TOO_LARGE", "413"),
    ("RESOURCE_NOT_FOUND", "404"),
    ("THROTTLED", "429"),
    ("UNAUTHORIZED", "401"),
    ("UNSUPPORTED_MEDIA_TYPE", "415"),
    ("WAF_FILTERED", "403"),
];
pub const DEFAULT_TEMPLATE: &str = "{\"message\":$context.error.messageString}";

/// What a type answers unless it is changed.
pub fn default(kind: &str) -> Option<api::GatewayResponse> {
    let (name, status) = TYPES.iter().find(|(name, _)| *name == kind)?;
    let templates: Map<String> =
        [("application/json".to_owned(), DEFAULT_TEMPLATE.to_owned())].into_iter().collect();
    Some(api::GatewayResponse {
        response_type: Some((*name).to_owned()),
        status_code: (!status.is_empty()).then(|| (*status).to_owned()),
        response_parameters: Some(Map::default()),
        response_templates: Some(templates),
        default_response: Some(true),
    })
}

fn no_such(kind: &str) -> GatewayError {
    GatewayError::bad(format!(
        "1 validation error detected: Value '{kind}' at 'responseType' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
        TYPES.map(|(name, _)| name).join(", ")
    ))
}

async fn load(reader: &impl Reader, api: &str, kind: &str) -> Result<api::GatewayResponse, GatewayError> {
    match RESPONSES.get(reader, &(api.to_owned(), kind.to_owned())).await? {
        Some(Doc(row)) => Ok(row),
        None => default(kind).ok_or_else(|| no_such(kind)),
    }
}

/// # Errors
/// `BadRequest` for parameters that are no `gatewayresponse.header.{name}`.
pub fn check(response: &api::GatewayResponse) -> Result<(), GatewayError> {
    for (name, _) in response.response_parameters.iter().flat_map(Map::iter) {
        if name.strip_prefix("gatewayresponse.header.").is_none_or(str::is_empty) {
            return Err(GatewayError::bad(format!(
                "Invalid mapping expression specified: {name}. Must be gatewayresponse.header.{{name}}"
            )));
        }
    }
    Ok(())
}

pub async fn put_gateway_response(
    cx: &Cx,
    input: api::PutGatewayResponseRequest,
) -> Result<api::GatewayResponse, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let kind = input.response_type.unwrap_or_default();
    let default = default(&kind).ok_or_else(|| no_such(&kind))?;
    let response = &api::GatewayResponse {
        response_type: Some(kind),
        status_code: input.status_code.or(default.status_code),
        response_parameters: input.response_parameters.or(default.response_parameters),
        response_templates: input.response_templates.or(default.response_templates),
        default_response: Some(false),
    };
    check(response)?;
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let kind = response.response_type.clone().unwrap_or_default();
        Ok::<_, GatewayError>(RESPONSES.put(&txn, &(api.to_owned(), kind), &Doc(response.clone()))?)
    })
    .await?;
    Ok(response.clone())
}

pub async fn get_gateway_response(
    cx: &Cx,
    input: api::GetGatewayResponseRequest,
) -> Result<api::GatewayResponse, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    load(cx.store(), api, input.response_type.as_deref().unwrap_or_default()).await
}

/// `GetGatewayResponses`: every type, changed or not; AWS gives them on one page.
pub async fn get_gateway_responses(
    cx: &Cx,
    input: api::GetGatewayResponsesRequest,
) -> Result<api::GatewayResponses, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let own = page::all(cx.store(), RESPONSES, &(api,)).await?;
    let items = TYPES.iter().filter_map(|(kind, _)| {
        let changed = own.iter().find(|Doc(row)| row.response_type.as_deref() == Some(kind));
        changed.map(|Doc(row)| row.clone()).or_else(|| default(kind))
    });
    Ok(api::GatewayResponses { items: Some(items.collect()), position: None })
}

pub async fn update_gateway_response(
    cx: &Cx,
    input: api::UpdateGatewayResponseRequest,
) -> Result<api::GatewayResponse, GatewayError> {
    let (api, kind) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.response_type.as_deref().unwrap_or_default(),
    );
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let mut after = patched(&load(&txn, api, kind).await?, operations, &PATCHES)?;
        after.default_response = Some(false);
        check(&after)?;
        RESPONSES.put(&txn, &(api.to_owned(), kind.to_owned()), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

pub async fn delete_gateway_response(
    cx: &Cx,
    input: api::DeleteGatewayResponseRequest,
) -> Result<Unit, GatewayError> {
    let (api, kind) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.response_type.as_deref().unwrap_or_default(),
    );
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let key = (api.to_owned(), kind.to_owned());
        if RESPONSES.get(&txn, &key).await?.is_none() {
            return Err(GatewayError::NotFound("Gateway response type not defined on api".to_owned()));
        }
        RESPONSES.delete(&txn, &key);
        Ok(Unit)
    })
    .await
}
