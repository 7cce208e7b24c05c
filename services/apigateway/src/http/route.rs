//! `CreateRoute` and its sisters, `CreateRouteResponse` and its sisters.
//!
//! Source: Developer Guide, "Create routes for HTTP APIs in API Gateway", "Create routes for WebSocket APIs in API Gateway".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use super::keys::Part;
use super::parts::{Opened, changed, list, load, open, page, room_for};
use super::rows::{AuthorizerRow, IntegrationRow, Kept, RouteResponseRow, RouteRow, show, take};
use crate::error::GatewayError;
use crate::keys::Kind;

pub fn defaults() -> RouteRow {
    RouteRow {
        api_key_required: Some(false),
        authorization_type: Some("NONE".to_owned()),
        ..RouteRow::default()
    }
}

const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// `GET /pets/{id}`, `ANY /{proxy+}`, `$default`; a WebSocket API's keys are words.
///
/// # Errors
/// `BadRequestException`
pub fn check_key(kind: Kind, key: &str) -> Result<(), GatewayError> {
    if kind == Kind::WebSocket {
        return match key.is_empty() || key.len() > 128 {
            true => Err(GatewayError::bad("Route key must not be empty or longer than 128 characters")),
            false => Ok(()),
        };
    }
    if key == "$default" {
        return Ok(());
    }
    let bad = || {
        GatewayError::bad(format!(
            "The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> /<RESOURCE PATH>\" or \"$default\": {key}"
        ))
    };
    let (method, path) = key.split_once(' ').ok_or_else(bad)?;
    if !METHODS.contains(&method) || !path.starts_with('/') {
        return Err(bad());
    }
    let mut names = Vec::new();
    let segments: Vec<&str> = path[1..].split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            if segment.contains(['{', '}']) {
                return Err(bad());
            }
            continue;
        };
        let name = inner.strip_suffix('+').unwrap_or(inner);
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
        if !is_name || names.contains(&name) {
            return Err(bad());
        }
        if inner.ends_with('+') && at + 1 != segments.len() {
            return Err(GatewayError::bad("Greedy path parameters must be the last part of a route's path"));
        }
        names.push(name);
    }
    Ok(())
}

/// Two keys that would match the same requests: variables have no names then.
fn shape(key: &str) -> String {
    let mut shape = String::with_capacity(key.len());
    for (at, segment) in key.split('/').enumerate() {
        if at > 0 {
            shape.push('/');
        }
        shape.push_str(match segment.starts_with('{') {
            true if segment.ends_with("+}") => "{+}",
            true => "{}",
            false => segment,
        });
    }
    shape
}

pub async fn check(txn: &Txn, opened: &Opened, row: &RouteRow) -> Result<(), GatewayError> {
    let key = row.route_key.as_deref().unwrap_or_default();
    check_key(opened.kind(), key)?;
    let same = |other: &RouteRow| {
        other.route_id != row.route_id && shape(other.route_key.as_deref().unwrap_or_default()) == shape(key)
    };
    if list::<RouteRow>(txn, &opened.id).await?.iter().any(|(_, other)| same(other)) {
        return Err(GatewayError::Conflict(format!("Route with key {key} already exists for this API")));
    }
    if let Some(target) = &row.target {
        let id = target
            .strip_prefix("integrations/")
            .ok_or_else(|| GatewayError::bad("Target must be of the form integrations/<integration id>"))?;
        if IntegrationRow::TABLE.get(txn, &(opened.id.clone(), id.to_owned())).await?.is_none() {
            return Err(GatewayError::bad(format!("Invalid integration target specified: {target}")));
        }
    }
    check_authorization(txn, opened, row).await
}

async fn check_authorization(txn: &Txn, opened: &Opened, row: &RouteRow) -> Result<(), GatewayError> {
    let kind = row.authorization_type.as_deref().unwrap_or("NONE");
    let has_scopes = row.authorization_scopes.as_ref().is_some_and(|scopes| !scopes.is_empty());
    if has_scopes && kind != "JWT" {
        return Err(GatewayError::bad("Authorization scopes are only valid with authorization type JWT"));
    }
    let is_websocket = opened.kind() == Kind::WebSocket;
    if is_websocket && kind != "NONE" && row.route_key.as_deref() != Some("$connect") {
        return Err(GatewayError::bad("Currently, authorization is restricted to the $connect route only"));
    }
    if row.api_key_required == Some(true) {
        return Err(match is_websocket {
            true => GatewayError::missing("API keys of WebSocket APIs (ApiKeyRequired)"),
            false => GatewayError::bad("API keys are not supported for HTTP APIs"),
        });
    }
    let needed = match kind {
        "NONE" | "AWS_IAM" => return Ok(()),
        "JWT" if !is_websocket => "JWT",
        "CUSTOM" => "REQUEST",
        other => return Err(GatewayError::bad(format!("Invalid authorization type: {other}"))),
    };
    let id = row.authorizer_id.clone().unwrap_or_default();
    let authorizer = AuthorizerRow::TABLE.get(txn, &(opened.id.clone(), id.clone())).await?;
    match authorizer {
        Some(found) if found.authorizer_type.as_deref() == Some(needed) => Ok(()),
        _ => Err(GatewayError::bad(format!(
            "Invalid authorizer ID specified. Setting the authorization type to {kind} requires a valid authorizer: {id}"
        ))),
    }
}

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: api_gateway_managed, api_key_required, authorization_scopes, authorization_type,
            authorizer_id, model_selection_expression, operation_name, request_models, request_parameters, route_id,
            route_key, route_response_selection_expression, target)
    };
}

pub async fn create_route(
    cx: &Cx,
    input: api::CreateRouteRequest,
) -> Result<api::CreateRouteResult, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                room_for::<RouteRow>(&txn, &opened, 300).await?;
                let id = cx.ids().lower(7);
                let mut row = RouteRow { route_id: Some(id.clone()), ..defaults() };
                take!(input => row: api_key_required, authorization_scopes, authorization_type, authorizer_id,
                    model_selection_expression, operation_name, request_models, request_parameters, route_key,
                    route_response_selection_expression, target);
                refuse_http_only(&opened, &row)?;
                check(&txn, &opened, &row).await?;
                RouteRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => CreateRouteResult))
}

/// Parts of a route that only WebSocket APIs have.
fn refuse_http_only(opened: &Opened, row: &RouteRow) -> Result<(), GatewayError> {
    let named = [
        ("modelSelectionExpression", row.model_selection_expression.is_some()),
        ("requestModels", row.request_models.as_ref().is_some_and(|models| !models.is_empty())),
        ("routeResponseSelectionExpression", row.route_response_selection_expression.is_some()),
    ];
    match named.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) if opened.kind() == Kind::Http => {
            Err(GatewayError::bad(format!("{name} is not supported for HTTP APIs")))
        }
        _ => Ok(()),
    }
}

pub async fn get_route(cx: &Cx, input: api::GetRouteRequest) -> Result<api::GetRouteResult, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: RouteRow = load(cx.store(), &opened, input.route_id.as_deref()).await?;
    Ok(answer!(row => GetRouteResult))
}

pub async fn get_routes(
    cx: &Cx,
    input: api::GetRoutesRequest,
) -> Result<api::GetRoutesResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<RouteRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetRoutesResponse { items: Some(items), next_token })
}

pub async fn update_route(
    cx: &Cx,
    input: api::UpdateRouteRequest,
) -> Result<api::UpdateRouteResult, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let mut row: RouteRow = load(&txn, &opened, input.route_id.as_deref()).await?;
                take!(input => row: api_key_required, authorization_scopes, authorization_type, authorizer_id,
                    model_selection_expression, operation_name, request_models, request_parameters, route_key,
                    route_response_selection_expression, target);
                refuse_http_only(&opened, &row)?;
                check(&txn, &opened, &row).await?;
                RouteRow::TABLE.put(
                    &txn,
                    &(opened.id.clone(), row.route_id.clone().unwrap_or_default()),
                    &row,
                )?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => UpdateRouteResult))
}

pub async fn delete_route(cx: &Cx, input: api::DeleteRouteRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let id = input.route_id.clone().unwrap_or_default();
            let _: RouteRow = load(&txn, &opened, Some(&id)).await?;
            for (response, _) in list::<RouteResponseRow>(&txn, &opened.id).await? {
                if response.split('/').next() == Some(id.as_str()) {
                    RouteResponseRow::TABLE.delete(&txn, &(opened.id.clone(), response));
                }
            }
            RouteRow::TABLE.delete(&txn, &(opened.id.clone(), id));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_route_request_parameter(
    cx: &Cx,
    input: api::DeleteRouteRequestParameterRequest,
) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let mut row: RouteRow = load(&txn, &opened, input.route_id.as_deref()).await?;
            let key = input.request_parameter_key.unwrap_or_default();
            if row.request_parameters.as_mut().and_then(|all| all.remove(&key)).is_none() {
                return Err(crate::error::no_such("RequestParameter", &key));
            }
            RouteRow::TABLE.put(
                &txn,
                &(opened.id.clone(), row.route_id.clone().unwrap_or_default()),
                &row,
            )?;
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}

macro_rules! response {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: model_selection_expression, response_models, response_parameters, route_response_id,
            route_response_key)
    };
}

fn nested(parent: Option<&str>, id: &str) -> String {
    format!("{}/{id}", parent.unwrap_or_default())
}

pub async fn create_route_response(
    cx: &Cx,
    input: api::CreateRouteResponseRequest,
) -> Result<api::CreateRouteResponseResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                if opened.kind() != Kind::WebSocket {
                    return Err(GatewayError::bad("Route responses are only supported for WebSocket APIs"));
                }
                let _: RouteRow = load(&txn, &opened, input.route_id.as_deref()).await?;
                let id = cx.ids().lower(7);
                let key = nested(input.route_id.as_deref(), &id);
                let mut row = RouteResponseRow { route_response_id: Some(id), ..Default::default() };
                take!(input => row: model_selection_expression, response_models, response_parameters, route_response_key);
                if row.route_response_key.as_deref() != Some("$default") {
                    return Err(GatewayError::bad("Route response key must be $default"));
                }
                RouteResponseRow::TABLE.put(&txn, &(opened.id.clone(), key), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok(row)
            }
        })
        .await?;
    Ok(response!(row => CreateRouteResponseResponse))
}

pub async fn get_route_response(
    cx: &Cx,
    input: api::GetRouteResponseRequest,
) -> Result<api::GetRouteResponseResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let key = nested(input.route_id.as_deref(), input.route_response_id.as_deref().unwrap_or_default());
    let row: RouteResponseRow = load(cx.store(), &opened, Some(&key)).await?;
    Ok(response!(row => GetRouteResponseResponse))
}

pub async fn get_route_responses(
    cx: &Cx,
    input: api::GetRouteResponsesRequest,
) -> Result<api::GetRouteResponsesResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let _: RouteRow = load(cx.store(), &opened, input.route_id.as_deref()).await?;
    let parent = nested(input.route_id.as_deref(), "");
    let rows = list::<RouteResponseRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().filter(|(id, _)| id.starts_with(&parent)).map(|(id, row)| (id, row.wire()));
    let (items, next_token) =
        page(items.collect(), input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetRouteResponsesResponse { items: Some(items), next_token })
}

pub async fn update_route_response(
    cx: &Cx,
    input: api::UpdateRouteResponseRequest,
) -> Result<api::UpdateRouteResponseResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let key = nested(input.route_id.as_deref(), input.route_response_id.as_deref().unwrap_or_default());
                let mut row: RouteResponseRow = load(&txn, &opened, Some(&key)).await?;
                take!(input => row: model_selection_expression, response_models, response_parameters, route_response_key);
                RouteResponseRow::TABLE.put(&txn, &(opened.id.clone(), key), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(response!(row => UpdateRouteResponseResponse))
}

pub async fn delete_route_response(
    cx: &Cx,
    input: api::DeleteRouteResponseRequest,
) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let key =
                nested(input.route_id.as_deref(), input.route_response_id.as_deref().unwrap_or_default());
            let _: RouteResponseRow = load(&txn, &opened, Some(&key)).await?;
            RouteResponseRow::TABLE.delete(&txn, &(opened.id.clone(), key));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_http_routes_are_a_method_and_a_path_or_the_default() {
        let good =
            ["$default", "GET /", "ANY /{proxy+}", "POST /a/{b}/c", "GET /a.b/{x-y}", "ANY /a/{b}/{c+}"];
        let bad = [
            "",
            "GET",
            "get /",
            "GET x",
            "FETCH /x",
            "GET /{a+}/b",
            "GET /{}",
            "GET /{a}/{a}",
            "GET /x{a}",
            "$connect",
        ];
        for key in good {
            assert!(check_key(Kind::Http, key).is_ok(), "{key}");
        }
        for key in bad {
            assert!(check_key(Kind::Http, key).is_err(), "{key}");
        }
        assert!(check_key(Kind::WebSocket, "$connect").is_ok());
        assert_eq!(shape("GET /a/{b}/{c+}"), shape("GET /a/{x}/{y+}"));
        assert_ne!(shape("GET /a/{b}"), shape("GET /a/{b+}"));
    }
}
