//! `CreateAuthorizer` and its sisters, `ResetAuthorizersCache`.
//!
//! Source: Developer Guide, "Control access to HTTP APIs with JWT authorizers in API Gateway", "Control access to HTTP APIs with AWS
//! Lambda authorizers".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::jwt::is_issuer;
use super::keys::Part;
use super::parts::{Opened, changed, list, load, open, page, room_for};
use super::rows::{AuthorizerRow, Kept, RouteRow, StageRow, show, take};
use crate::error::GatewayError;
use crate::invoke::function::of_uri;
use crate::keys::{Kind, touch};

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: authorizer_credentials_arn, authorizer_id, authorizer_payload_format_version,
            authorizer_result_ttl_in_seconds, authorizer_type, authorizer_uri, enable_simple_responses,
            identity_source, identity_validation_expression, jwt_configuration, name)
    };
}

pub fn check(opened: &Opened, row: &mut AuthorizerRow) -> Result<(), GatewayError> {
    if row.name.as_deref().is_none_or(str::is_empty) {
        return Err(GatewayError::bad("Authorizer name is required."));
    }
    if row.identity_validation_expression.as_deref().is_some_and(|text| !text.is_empty()) {
        return Err(GatewayError::bad("Identity validation expression is not supported"));
    }
    let is_http = opened.kind() == Kind::Http;
    match row.authorizer_type.as_deref() {
        Some("JWT") if is_http => {
            let jwt = row.jwt_configuration.as_ref();
            let issuer = jwt.and_then(|jwt| jwt.issuer.as_deref()).unwrap_or_default();
            if !is_issuer(issuer) {
                return Err(GatewayError::bad(format!(
                    "Caught exception when connecting to {issuer}/.well-known/openid-configuration for issuer {issuer}. Please try again later. Error: Invalid issuer: {issuer}. Issuer must have a valid URL"
                )));
            }
            if jwt.and_then(|jwt| jwt.audience.as_ref()).is_none_or(Vec::is_empty) {
                return Err(GatewayError::bad("Audience list must have at least 1 item"));
            }
            if row.identity_source.as_ref().is_none_or(|sources| sources.len() != 1) {
                return Err(GatewayError::bad("JWT authorizers need exactly one identity source"));
            }
            let uses_lambda = row.authorizer_uri.is_some() || row.authorizer_payload_format_version.is_some();
            if uses_lambda {
                return Err(GatewayError::bad(
                    "AuthorizerUri and AuthorizerPayloadFormatVersion are only valid for REQUEST authorizers",
                ));
            }
        }
        Some("REQUEST") => {
            if of_uri(row.authorizer_uri.as_deref().unwrap_or_default()).is_none() {
                return Err(GatewayError::bad("Invalid Authorizer URI: it must name a Lambda function"));
            }
            if is_http {
                if !matches!(row.authorizer_payload_format_version.as_deref(), Some("1.0" | "2.0")) {
                    return Err(GatewayError::bad(
                        "AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer",
                    ));
                }
                if row.enable_simple_responses == Some(true)
                    && row.authorizer_payload_format_version.as_deref() != Some("2.0")
                {
                    return Err(GatewayError::bad(
                        "EnableSimpleResponses is only supported for payload format version 2.0",
                    ));
                }
                let ttl = *row.authorizer_result_ttl_in_seconds.get_or_insert(0);
                if !(0..=3_600).contains(&ttl) {
                    return Err(GatewayError::bad(
                        "Authorizer result TTL must be between 0 and 3600 seconds",
                    ));
                }
                if ttl > 0 && row.identity_source.as_ref().is_none_or(Vec::is_empty) {
                    return Err(GatewayError::bad("Identity source is required when caching is enabled"));
                }
                row.enable_simple_responses.get_or_insert(false);
            } else if row.enable_simple_responses == Some(true)
                || row.authorizer_payload_format_version.is_some()
            {
                return Err(GatewayError::bad(
                    "EnableSimpleResponses and AuthorizerPayloadFormatVersion are only supported for HTTP APIs",
                ));
            }
            if row.jwt_configuration.is_some() {
                return Err(GatewayError::bad("JwtConfiguration is only valid for JWT authorizers"));
            }
        }
        other => {
            return Err(GatewayError::bad(format!(
                "Invalid authorizer type {}. It must be JWT (HTTP APIs) or REQUEST",
                other.unwrap_or_default()
            )));
        }
    }
    for source in row.identity_source.iter().flatten() {
        let forms = match is_http {
            true => ["$request.header.", "$request.querystring.", "$context.", "$stageVariables."],
            false => ["route.request.header.", "route.request.querystring.", "context.", "stageVariables."],
        };
        if !forms.iter().any(|form| source.strip_prefix(form).is_some_and(|name| !name.is_empty())) {
            return Err(GatewayError::bad(format!("Invalid mapping expression specified: {source}")));
        }
    }
    Ok(())
}

pub async fn create_authorizer(
    cx: &Cx,
    input: api::CreateAuthorizerRequest,
) -> Result<api::CreateAuthorizerResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                room_for::<AuthorizerRow>(&txn, &opened, 10).await?;
                let id = cx.ids().lower(6);
                let mut row = AuthorizerRow { authorizer_id: Some(id.clone()), ..Default::default() };
                take!(input => row: authorizer_credentials_arn, authorizer_payload_format_version,
                    authorizer_result_ttl_in_seconds, authorizer_type, authorizer_uri, enable_simple_responses,
                    identity_source, identity_validation_expression, jwt_configuration, name);
                check(&opened, &mut row)?;
                AuthorizerRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => CreateAuthorizerResponse))
}

pub async fn get_authorizer(
    cx: &Cx,
    input: api::GetAuthorizerRequest,
) -> Result<api::GetAuthorizerResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: AuthorizerRow = load(cx.store(), &opened, input.authorizer_id.as_deref()).await?;
    Ok(answer!(row => GetAuthorizerResponse))
}

pub async fn get_authorizers(
    cx: &Cx,
    input: api::GetAuthorizersRequest,
) -> Result<api::GetAuthorizersResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<AuthorizerRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetAuthorizersResponse { items: Some(items), next_token })
}

pub async fn update_authorizer(
    cx: &Cx,
    input: api::UpdateAuthorizerRequest,
) -> Result<api::UpdateAuthorizerResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let mut row: AuthorizerRow = load(&txn, &opened, input.authorizer_id.as_deref()).await?;
                take!(input => row: authorizer_credentials_arn, authorizer_payload_format_version,
                    authorizer_result_ttl_in_seconds, authorizer_type, authorizer_uri, enable_simple_responses,
                    identity_source, identity_validation_expression, jwt_configuration, name);
                check(&opened, &mut row)?;
                let id = row.authorizer_id.clone().unwrap_or_default();
                AuthorizerRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => UpdateAuthorizerResponse))
}

pub async fn delete_authorizer(cx: &Cx, input: api::DeleteAuthorizerRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let row: AuthorizerRow = load(&txn, &opened, input.authorizer_id.as_deref()).await?;
            let routes = list::<RouteRow>(&txn, &opened.id).await?;
            if routes.iter().any(|(_, route)| route.authorizer_id == row.authorizer_id) {
                return Err(GatewayError::Conflict(
                    "Cannot delete authorizer. One or more routes are using it for authorization.".to_owned(),
                ));
            }
            AuthorizerRow::TABLE.delete(&txn, &(opened.id.clone(), row.authorizer_id.unwrap_or_default()));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}

/// `ResetAuthorizersCache`: what authorizers have answered is kept with what nodes have compiled, so that is made anew.
pub async fn reset_authorizers_cache(
    cx: &Cx,
    input: api::ResetAuthorizersCacheRequest,
) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let _: StageRow = load(&txn, &opened, input.stage_name.as_deref()).await?;
            Ok::<_, GatewayError>(touch(&txn, &opened.id, &opened.id_row())?)
        }
    })
    .await?;
    Ok(Unit)
}
