//! `CreateApi`, `GetApi`, `GetApis`, `UpdateApi`, `DeleteApi`, `DeleteCorsConfiguration`.
//!
//! Source: API Gateway Version 2 API Reference, "Apis"; Developer Guide, "Create an HTTP API" (quick create), "Configure CORS for HTTP
//! APIs in API Gateway", "Create a WebSocket API in API Gateway".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use super::keys::{APIS, Part, SNAPSHOTS};
use super::parts::{self, Opened, changed, list, open, page};
use super::rows::{
    ApiRow, AuthorizerRow, Cors, DeploymentRow, IntegrationResponseRow, IntegrationRow, Kept, ModelRow,
    RouteResponseRow, RouteRow, StageRow, show, take,
};
use super::{integration, route};
use crate::error::GatewayError;
use crate::keys::{API_IDS, ApiIdRow, Kind, new_api};

/// `https://{id}.execute-api.{region}.amazonaws.com`; `wss://` for WebSocket APIs. With the domain and port by which the client
/// reached us, where that is a domain of ours.
pub fn endpoint(cx: &Cx, id: &str, kind: Kind) -> String {
    let host = cx.origin().host.as_str();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    };
    let domain = cx.platform().config().hosts.domain_of(name).unwrap_or("localhost");
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = match (kind, cx.origin().is_secure || domain.contains("amazonaws")) {
        (Kind::WebSocket, true) => "wss",
        (Kind::WebSocket, false) => "ws",
        (_, true) => "https",
        (_, false) => "http",
    };
    format!("{scheme}://{id}.execute-api.{}.{domain}{port}", cx.region())
}

fn shown(cx: &Cx, opened: &Opened) -> api::Api {
    api::Api {
        api_id: Some(opened.id.clone()),
        api_endpoint: Some(endpoint(cx, &opened.id, opened.kind())),
        ..opened.row.wire()
    }
}

macro_rules! answer {
    ($cx:expr, $opened:expr => $wire:ident) => {{
        let opened = &$opened;
        api::$wire {
            api_id: Some(opened.id.clone()),
            api_endpoint: Some(endpoint($cx, &opened.id, opened.kind())),
            ..show!(opened.row => $wire: api_gateway_managed, api_key_selection_expression, cors_configuration,
                created_date, description, disable_schema_validation, disable_execute_api_endpoint, import_info,
                ip_address_type, name, protocol_type, route_selection_expression, tags, version, warnings)
        }
    }};
}
pub(super) use answer;

/// A new API's row with AWS's defaults.
pub fn defaults(cx: &Cx, kind: Kind) -> ApiRow {
    ApiRow {
        api_gateway_managed: Some(false),
        api_key_selection_expression: Some("$request.header.x-api-key".to_owned()),
        created_date: Some(cx.now()),
        disable_execute_api_endpoint: Some(false),
        ip_address_type: Some("ipv4".to_owned()),
        protocol_type: Some(if kind == Kind::WebSocket { "WEBSOCKET" } else { "HTTP" }.to_owned()),
        route_selection_expression: Some("$request.method $request.path".to_owned()),
        tags: Some(Default::default()),
        ..ApiRow::default()
    }
}

fn check(row: &ApiRow, kind: Kind) -> Result<(), GatewayError> {
    if row.name.as_deref().is_none_or(str::is_empty) {
        return Err(GatewayError::bad("API name is required."));
    }
    if row.name.as_deref().is_some_and(|name| name.chars().count() > 128) {
        return Err(GatewayError::bad("API name must be at most 128 characters."));
    }
    let expression = row.route_selection_expression.as_deref().unwrap_or_default();
    match kind {
        Kind::WebSocket if row.cors_configuration.is_some() => {
            Err(GatewayError::bad("CORS configuration is only supported for HTTP APIs"))
        }
        Kind::WebSocket if expression.is_empty() => {
            Err(GatewayError::bad("Route selection expression is required for API type: WEBSOCKET"))
        }
        Kind::Http if expression != "$request.method $request.path" => Err(GatewayError::bad(
            "Expression provided is not a valid route selection expression for HTTP APIs. Only '$request.method $request.path' is supported",
        )),
        _ => row.cors_configuration.as_ref().map_or(Ok(()), check_cors),
    }
}

/// Source: "Configure CORS for HTTP APIs in API Gateway".
pub fn check_cors(cors: &Cors) -> Result<(), GatewayError> {
    let origins = cors.allow_origins.as_deref().unwrap_or_default();
    if cors.allow_credentials == Some(true) && origins.iter().any(|origin| origin == "*") {
        return Err(GatewayError::bad("allowCredentials cannot be true if allowOrigins contains '*'"));
    }
    let is_origin = |origin: &String| origin == "*" || origin.contains("://");
    if let Some(bad) = origins.iter().find(|origin| !is_origin(origin)) {
        return Err(GatewayError::bad(format!(
            "Invalid format for origin {bad}. Origin should be in format <scheme>://<host>[:port]"
        )));
    }
    match cors.max_age {
        Some(seconds) if !(-1..=86_400).contains(&seconds) => {
            Err(GatewayError::bad("maxAge must be between -1 and 86400"))
        }
        _ => Ok(()),
    }
}

/// `CreateApi`. With `Target` it also makes a route, an integration and a `$default` stage that deploys itself.
pub async fn create_api(
    cx: &Cx,
    mut input: api::CreateApiRequest,
) -> Result<api::CreateApiResponse, GatewayError> {
    let kind = match input.protocol_type.as_deref() {
        Some("HTTP") => Kind::Http,
        Some("WEBSOCKET") => Kind::WebSocket,
        _ => return Err(GatewayError::bad("Invalid protocol specified. Must be one of [HTTP, WEBSOCKET]")),
    };
    let mut row = defaults(cx, kind);
    if kind == Kind::WebSocket {
        row.route_selection_expression = None;
    }
    take!(input => row: api_key_selection_expression, cors_configuration, description, disable_schema_validation,
        disable_execute_api_endpoint, ip_address_type, name, route_selection_expression, tags, version);
    check(&row, kind)?;
    if kind == Kind::WebSocket && (input.target.is_some() || input.route_key.is_some()) {
        return Err(GatewayError::bad("Quick create is only supported for HTTP APIs"));
    }
    if input.route_key.is_some() && input.target.is_none() {
        return Err(GatewayError::bad("Target is required when routeKey is specified"));
    }
    let id_row = ApiIdRow { kind, account: cx.account(), region: cx.region().clone() };
    let opened = cx
        .transact(|txn| {
            let (row, id_row, input) = (row.clone(), id_row.clone(), input.clone());
            async move {
                let id = new_api(&txn, cx.ids(), &id_row).await?;
                let opened = Opened { id, account: id_row.account, region: id_row.region, row };
                APIS.put(&txn, &opened.key(), &opened.row)?;
                if let Some(target) = &input.target {
                    quick_create(&txn, cx, &opened, target, &input).await?;
                }
                Ok::<_, GatewayError>(opened)
            }
        })
        .await?;
    Ok(answer!(cx, opened => CreateApiResponse))
}

async fn quick_create(
    txn: &Txn,
    cx: &Cx,
    opened: &Opened,
    target: &str,
    input: &api::CreateApiRequest,
) -> Result<(), GatewayError> {
    let mut made = IntegrationRow {
        api_gateway_managed: Some(true),
        credentials_arn: input.credentials_arn.clone(),
        integration_uri: Some(target.to_owned()),
        ..integration::defaults(opened.kind())
    };
    match crate::invoke::function::of_uri(target) {
        Some(_) => {
            made.integration_type = Some("AWS_PROXY".to_owned());
            made.integration_method = Some("POST".to_owned());
            made.payload_format_version = Some("2.0".to_owned());
        }
        None => {
            made.integration_type = Some("HTTP_PROXY".to_owned());
            made.integration_method = Some("ANY".to_owned());
            made.payload_format_version = Some("1.0".to_owned());
        }
    }
    integration::check(cx, opened.kind(), &made)?;
    let id = cx.ids().lower(7);
    made.integration_id = Some(id.clone());
    IntegrationRow::TABLE.put(txn, &(opened.id.clone(), id.clone()), &made)?;
    let key = input.route_key.as_deref().unwrap_or("$default");
    route::check_key(opened.kind(), key)?;
    let route_id = cx.ids().lower(7);
    let route = RouteRow {
        api_gateway_managed: Some(true),
        route_id: Some(route_id.clone()),
        route_key: Some(key.to_owned()),
        target: Some(format!("integrations/{id}")),
        ..route::defaults()
    };
    RouteRow::TABLE.put(txn, &(opened.id.clone(), route_id), &route)?;
    let stage = StageRow {
        api_gateway_managed: Some(true),
        auto_deploy: Some(true),
        stage_name: Some("$default".to_owned()),
        ..super::stage::defaults(cx)
    };
    StageRow::TABLE.put(txn, &(opened.id.clone(), "$default".to_owned()), &stage)?;
    changed(txn, cx, opened).await
}

pub async fn get_api(cx: &Cx, input: api::GetApiRequest) -> Result<api::GetApiResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    Ok(answer!(cx, opened => GetApiResponse))
}

pub async fn get_apis(cx: &Cx, input: api::GetApisRequest) -> Result<api::GetApisResponse, GatewayError> {
    let (account, region) = (cx.account(), cx.region().clone());
    let under = APIS.under(&(account, region.clone()));
    let rows = APIS.scan(cx.store(), &under, parts::MOST_PARTS).await?.rows;
    let items = rows.into_iter().map(|((_, _, id), row)| {
        (id.clone(), shown(cx, &Opened { id, account, region: region.clone(), row }))
    });
    let (items, next_token) =
        page(items.collect(), input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetApisResponse { items: Some(items), next_token })
}

/// `UpdateApi`. `Target`, `RouteKey` and `CredentialsArn` change what quick create made.
pub async fn update_api(
    cx: &Cx,
    input: api::UpdateApiRequest,
) -> Result<api::UpdateApiResponse, GatewayError> {
    let opened = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let mut opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let row = &mut opened.row;
                take!(input => row: api_key_selection_expression, cors_configuration, description,
                    disable_schema_validation, disable_execute_api_endpoint, ip_address_type, name,
                    route_selection_expression, version);
                check(&opened.row, opened.kind())?;
                APIS.put(&txn, &opened.key(), &opened.row)?;
                change_quick(&txn, &opened, &input).await?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(opened)
            }
        })
        .await?;
    Ok(answer!(cx, opened => UpdateApiResponse))
}

async fn change_quick(txn: &Txn, opened: &Opened, input: &api::UpdateApiRequest) -> Result<(), GatewayError> {
    if input.target.is_none() && input.route_key.is_none() && input.credentials_arn.is_none() {
        return Ok(());
    }
    let managed = |flag: Option<bool>| flag == Some(true);
    let integrations = list::<IntegrationRow>(txn, &opened.id).await?;
    let routes = list::<RouteRow>(txn, &opened.id).await?;
    let integration = integrations.into_iter().find(|(_, row)| managed(row.api_gateway_managed));
    let route = routes.into_iter().find(|(_, row)| managed(row.api_gateway_managed));
    let (Some((id, mut integration)), Some((route_id, mut route))) = (integration, route) else {
        return Err(GatewayError::bad("The API was not made by quick create, or its parts are gone."));
    };
    if let Some(target) = &input.target {
        integration.integration_uri = Some(target.clone());
    }
    if let Some(role) = &input.credentials_arn {
        integration.credentials_arn = Some(role.clone()).filter(|role| !role.is_empty());
    }
    if let Some(key) = &input.route_key {
        route::check_key(opened.kind(), key)?;
        route.route_key = Some(key.clone());
    }
    IntegrationRow::TABLE.put(txn, &(opened.id.clone(), id), &integration)?;
    RouteRow::TABLE.put(txn, &(opened.id.clone(), route_id), &route)?;
    Ok(())
}

pub async fn delete_api(cx: &Cx, input: api::DeleteApiRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let id = input.api_id.clone();
        async move {
            let opened = open(&txn, cx, id.as_deref()).await?;
            APIS.delete(&txn, &opened.key());
            API_IDS.delete(&txn, &opened.id);
            delete_parts(&txn, &opened.id).await?;
            delete_all::<StageRow>(&txn, &opened.id).await?;
            for (deployment, _) in list::<DeploymentRow>(&txn, &opened.id).await? {
                SNAPSHOTS.delete(&txn, &(opened.id.clone(), deployment));
            }
            delete_all::<DeploymentRow>(&txn, &opened.id).await
        }
    })
    .await?;
    Ok(Unit)
}

/// All but stages and deployments: what an import replaces.
pub async fn delete_parts(txn: &Txn, id: &str) -> Result<(), GatewayError> {
    delete_all::<RouteRow>(txn, id).await?;
    delete_all::<IntegrationRow>(txn, id).await?;
    delete_all::<IntegrationResponseRow>(txn, id).await?;
    delete_all::<RouteResponseRow>(txn, id).await?;
    delete_all::<AuthorizerRow>(txn, id).await?;
    delete_all::<ModelRow>(txn, id).await
}

async fn delete_all<P: Part>(txn: &Txn, id: &str) -> Result<(), GatewayError> {
    for (part, _) in list::<P>(txn, id).await? {
        P::TABLE.delete(txn, &(id.to_owned(), part));
    }
    Ok(())
}

pub async fn delete_cors_configuration(
    cx: &Cx,
    input: api::DeleteCorsConfigurationRequest,
) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let id = input.api_id.clone();
        async move {
            let mut opened = open(&txn, cx, id.as_deref()).await?;
            opened.row.cors_configuration = None;
            APIS.put(&txn, &opened.key(), &opened.row)?;
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}
