//! `CreateIntegration` and its sisters, `CreateIntegrationResponse` and its sisters.
//!
//! Source: Developer Guide, "Create integrations for HTTP APIs in API Gateway", "Integrations for WebSocket APIs in API Gateway",
//! "Integration subtype reference".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::keys::Part;
use super::mapping;
use super::parts::{changed, list, load, open, page, room_for};
use super::rows::{IntegrationResponseRow, IntegrationRow, Kept, RouteRow, TlsConfig, show, take};
use super::services;
use crate::error::GatewayError;
use crate::invoke::function::of_uri;
use crate::keys::Kind;

/// Source: "Quotas for configuring and running an HTTP API in API Gateway" (50 ms to 30 s), and for WebSocket APIs (29 s).
pub fn longest_timeout(kind: Kind) -> i64 {
    if kind == Kind::Http { 30_000 } else { 29_000 }
}

pub fn defaults(kind: Kind) -> IntegrationRow {
    let is_websocket = kind == Kind::WebSocket;
    IntegrationRow {
        connection_type: Some("INTERNET".to_owned()),
        payload_format_version: Some("1.0".to_owned()),
        timeout_in_millis: Some(longest_timeout(kind)),
        passthrough_behavior: is_websocket.then(|| "WHEN_NO_MATCH".to_owned()),
        integration_response_selection_expression: is_websocket
            .then(|| "${integration.response.statuscode}".to_owned()),
        ..IntegrationRow::default()
    }
}

/// # Errors
/// `BadRequestException` for what makes no sense; what this cloud lacks, by its name.
pub fn check(cx: &Cx, kind: Kind, row: &IntegrationRow) -> Result<(), GatewayError> {
    let bad = |text: &str| Err(GatewayError::bad(text));
    let integration_type = row.integration_type.as_deref().unwrap_or_default();
    if row.connection_type.as_deref() == Some("VPC_LINK") {
        return Err(GatewayError::missing("private integrations (ConnectionType VPC_LINK)"));
    }
    if !(50..=longest_timeout(kind)).contains(&row.timeout_in_millis.unwrap_or(50)) {
        return Err(GatewayError::bad(format!(
            "Timeout should be between 50 ms and {} ms",
            longest_timeout(kind)
        )));
    }
    if row.credentials_arn.as_deref().is_some_and(|arn| arn.contains("user/*")) {
        return Err(GatewayError::missing(
            "integrations with the caller's own credentials (arn:aws:iam::*:user/*)",
        ));
    }
    let uri = row.integration_uri.as_deref().unwrap_or_default();
    let is_function = of_uri(uri).is_some() || uri.contains("${stageVariables.");
    if kind == Kind::WebSocket {
        return match integration_type {
            "AWS_PROXY" if !is_function => bad("Invalid function ARN or invalid uri"),
            "AWS" if !is_function => Err(GatewayError::missing(
                "integrations of WebSocket APIs with services other than Lambda (IntegrationType AWS)",
            )),
            "AWS" | "HTTP" | "HTTP_PROXY" if uri.is_empty() => bad("Integration URI is required"),
            "AWS_PROXY" | "AWS" | "HTTP" | "HTTP_PROXY" | "MOCK" => Ok(()),
            other => Err(GatewayError::bad(format!("Invalid integration type: {other}"))),
        };
    }
    mapping::check(row)?;
    match (integration_type, row.integration_subtype.as_deref()) {
        ("AWS_PROXY", Some(subtype)) => services::check(cx, row, subtype),
        ("AWS_PROXY", None) if !is_function => bad("Invalid function ARN or invalid uri"),
        ("AWS_PROXY", None) => match row.payload_format_version.as_deref() {
            Some("1.0" | "2.0") => Ok(()),
            _ => bad("Only payload format versions 1.0 and 2.0 are supported for Lambda integrations"),
        },
        ("HTTP_PROXY", None)
            if !(uri.starts_with("http://") || uri.starts_with("https://") || uri.starts_with("${")) =>
        {
            bad("Integration URI must be a valid URL")
        }
        ("HTTP_PROXY", None) if row.integration_method.is_none() => {
            bad("Integration method is required for HTTP_PROXY integrations")
        }
        ("HTTP_PROXY", None) => match row.payload_format_version.as_deref() {
            Some("1.0") => Ok(()),
            _ => bad("Only payload format version 1.0 is supported for HTTP integrations"),
        },
        ("HTTP_PROXY", Some(_)) => bad("Integration subtype is only valid for integration type AWS_PROXY"),
        ("AWS" | "HTTP" | "MOCK", _) => Err(GatewayError::bad(format!(
            "Integration type {integration_type} is not supported for HTTP APIs"
        ))),
        (other, _) => Err(GatewayError::bad(format!("Invalid integration type: {other}"))),
    }
}

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: api_gateway_managed, connection_id, connection_type, content_handling_strategy,
            credentials_arn, description, integration_id, integration_method,
            integration_response_selection_expression, integration_subtype, integration_type, integration_uri,
            passthrough_behavior, payload_format_version, request_parameters, request_templates, response_parameters,
            template_selection_expression, timeout_in_millis, tls_config)
    };
}

/// What a request gives; an empty credentials ARN takes them away.
macro_rules! take_all {
    ($input:ident => $row:ident) => {
        take!($input => $row: connection_id, connection_type, content_handling_strategy, credentials_arn, description,
            integration_method, integration_subtype, integration_type, integration_uri, passthrough_behavior,
            payload_format_version, request_parameters, request_templates, response_parameters,
            template_selection_expression, timeout_in_millis);
        if let Some(tls) = $input.tls_config.take() {
            $row.tls_config = Some(TlsConfig { server_name_to_verify: tls.server_name_to_verify });
        }
        $row.credentials_arn = $row.credentials_arn.filter(|arn| !arn.is_empty());
    };
}

/// What is not said by the request but follows from it.
pub fn complete(kind: Kind, row: &mut IntegrationRow) {
    let is_lambda = row.integration_type.as_deref() == Some("AWS_PROXY") && row.integration_subtype.is_none();
    if is_lambda && row.integration_method.is_none() {
        row.integration_method = Some("POST".to_owned());
    }
    if kind == Kind::WebSocket
        && row.integration_method.is_none()
        && row.integration_type.as_deref() == Some("AWS")
    {
        row.integration_method = Some("POST".to_owned());
    }
}

pub async fn create_integration(
    cx: &Cx,
    input: api::CreateIntegrationRequest,
) -> Result<api::CreateIntegrationResult, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                room_for::<IntegrationRow>(&txn, &opened, 300).await?;
                let id = cx.ids().lower(7);
                let mut row = IntegrationRow { integration_id: Some(id.clone()), ..defaults(opened.kind()) };
                take_all!(input => row);
                complete(opened.kind(), &mut row);
                check(cx, opened.kind(), &row)?;
                IntegrationRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => CreateIntegrationResult))
}

pub async fn get_integration(
    cx: &Cx,
    input: api::GetIntegrationRequest,
) -> Result<api::GetIntegrationResult, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: IntegrationRow = load(cx.store(), &opened, input.integration_id.as_deref()).await?;
    Ok(answer!(row => GetIntegrationResult))
}

pub async fn get_integrations(
    cx: &Cx,
    input: api::GetIntegrationsRequest,
) -> Result<api::GetIntegrationsResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<IntegrationRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetIntegrationsResponse { items: Some(items), next_token })
}

pub async fn update_integration(
    cx: &Cx,
    input: api::UpdateIntegrationRequest,
) -> Result<api::UpdateIntegrationResult, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let mut row: IntegrationRow = load(&txn, &opened, input.integration_id.as_deref()).await?;
                // Parameters are changed one by one; an empty value takes one away.
                let before = row.request_parameters.take();
                let (given, responses) =
                    (input.request_parameters.is_some(), input.response_parameters.is_some());
                let old_responses = row.response_parameters.clone();
                take_all!(input => row);
                row.request_parameters = match given {
                    false => before,
                    true => {
                        let mut all = before.unwrap_or_default();
                        all.extend(row.request_parameters.take().unwrap_or_default());
                        all.retain(|_, value| !value.is_empty());
                        Some(all)
                    }
                };
                if responses {
                    let mut all = old_responses.unwrap_or_default();
                    all.extend(row.response_parameters.take().unwrap_or_default());
                    all.retain(|_, value| !value.is_empty());
                    row.response_parameters = Some(all);
                }
                complete(opened.kind(), &mut row);
                check(cx, opened.kind(), &row)?;
                let id = row.integration_id.clone().unwrap_or_default();
                IntegrationRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => UpdateIntegrationResult))
}

pub async fn delete_integration(cx: &Cx, input: api::DeleteIntegrationRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let id = input.integration_id.clone().unwrap_or_default();
            let _: IntegrationRow = load(&txn, &opened, Some(&id)).await?;
            let target = format!("integrations/{id}");
            for (_, route) in list::<RouteRow>(&txn, &opened.id).await? {
                if route.target.as_deref() == Some(&target) {
                    return Err(GatewayError::Conflict(format!(
                        "Cannot delete Integration {id} while it is referenced by the route {}",
                        route.route_key.unwrap_or_default()
                    )));
                }
            }
            for (response, _) in list::<IntegrationResponseRow>(&txn, &opened.id).await? {
                if response.split('/').next() == Some(id.as_str()) {
                    IntegrationResponseRow::TABLE.delete(&txn, &(opened.id.clone(), response));
                }
            }
            IntegrationRow::TABLE.delete(&txn, &(opened.id.clone(), id));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}

macro_rules! response {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: content_handling_strategy, integration_response_id, integration_response_key,
            response_parameters, response_templates, template_selection_expression)
    };
}

fn nested(parent: Option<&str>, id: Option<&str>) -> String {
    format!("{}/{}", parent.unwrap_or_default(), id.unwrap_or_default())
}

/// `$default`, or a pattern between slashes.
fn check_response(row: &IntegrationResponseRow) -> Result<(), GatewayError> {
    let key = row.integration_response_key.as_deref().unwrap_or_default();
    let is_pattern = key.len() > 2 && key.starts_with('/') && key.ends_with('/');
    match key == "$default" || is_pattern {
        true => Ok(()),
        false => Err(GatewayError::bad(
            "Integration response key must be $default or a regular expression between slashes",
        )),
    }
}

pub async fn create_integration_response(
    cx: &Cx,
    input: api::CreateIntegrationResponseRequest,
) -> Result<api::CreateIntegrationResponseResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                if opened.kind() != Kind::WebSocket {
                    return Err(GatewayError::bad(
                        "Integration responses are only supported for WebSocket APIs",
                    ));
                }
                let _: IntegrationRow = load(&txn, &opened, input.integration_id.as_deref()).await?;
                let id = cx.ids().lower(7);
                let key = nested(input.integration_id.as_deref(), Some(&id));
                let mut row =
                    IntegrationResponseRow { integration_response_id: Some(id), ..Default::default() };
                take!(input => row: content_handling_strategy, integration_response_key, response_parameters,
                    response_templates, template_selection_expression);
                check_response(&row)?;
                let parent = nested(input.integration_id.as_deref(), None);
                let others = list::<IntegrationResponseRow>(&txn, &opened.id).await?;
                if others.iter().any(|(id, other)| {
                    id.starts_with(&parent) && other.integration_response_key == row.integration_response_key
                }) {
                    return Err(GatewayError::Conflict(
                        "An integration response with this key already exists".to_owned(),
                    ));
                }
                IntegrationResponseRow::TABLE.put(&txn, &(opened.id.clone(), key), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok(row)
            }
        })
        .await?;
    Ok(response!(row => CreateIntegrationResponseResponse))
}

pub async fn get_integration_response(
    cx: &Cx,
    input: api::GetIntegrationResponseRequest,
) -> Result<api::GetIntegrationResponseResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let key = nested(input.integration_id.as_deref(), input.integration_response_id.as_deref());
    let row: IntegrationResponseRow = load(cx.store(), &opened, Some(&key)).await?;
    Ok(response!(row => GetIntegrationResponseResponse))
}

pub async fn get_integration_responses(
    cx: &Cx,
    input: api::GetIntegrationResponsesRequest,
) -> Result<api::GetIntegrationResponsesResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let _: IntegrationRow = load(cx.store(), &opened, input.integration_id.as_deref()).await?;
    let parent = nested(input.integration_id.as_deref(), None);
    let rows = list::<IntegrationResponseRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().filter(|(id, _)| id.starts_with(&parent)).map(|(id, row)| (id, row.wire()));
    let (items, next_token) =
        page(items.collect(), input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetIntegrationResponsesResponse { items: Some(items), next_token })
}

pub async fn update_integration_response(
    cx: &Cx,
    input: api::UpdateIntegrationResponseRequest,
) -> Result<api::UpdateIntegrationResponseResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let key = nested(input.integration_id.as_deref(), input.integration_response_id.as_deref());
                let mut row: IntegrationResponseRow = load(&txn, &opened, Some(&key)).await?;
                take!(input => row: content_handling_strategy, integration_response_key, response_parameters,
                    response_templates, template_selection_expression);
                check_response(&row)?;
                IntegrationResponseRow::TABLE.put(&txn, &(opened.id.clone(), key), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(response!(row => UpdateIntegrationResponseResponse))
}

pub async fn delete_integration_response(
    cx: &Cx,
    input: api::DeleteIntegrationResponseRequest,
) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let key = nested(input.integration_id.as_deref(), input.integration_response_id.as_deref());
            let _: IntegrationResponseRow = load(&txn, &opened, Some(&key)).await?;
            IntegrationResponseRow::TABLE.delete(&txn, &(opened.id.clone(), key));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}
