//! `CreateStage` and its sisters, `DeleteAccessLogSettings`, `DeleteRouteSettings`.
//!
//! Source: Developer Guide, "Stages for HTTP APIs in API Gateway", "Throttle your HTTP APIs for better throughput in API Gateway",
//! "Configure logging for HTTP APIs in API Gateway".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use super::keys::Part;
use super::parts::{Opened, changed, freeze, list, load, new_deployment, open, page, room_for};
use super::rows::{DeploymentRow, Kept, RouteRow, RouteSettings, StageRow, show, take};
use crate::error::{GatewayError, no_such};
use crate::keys::{Kind, touch};

pub fn defaults(cx: &Cx) -> StageRow {
    StageRow {
        created_date: Some(cx.now()),
        last_updated_date: Some(cx.now()),
        default_route_settings: Some(RouteSettings {
            detailed_metrics_enabled: Some(false),
            ..RouteSettings::default()
        }),
        route_settings: Some(Default::default()),
        stage_variables: Some(Default::default()),
        tags: Some(Default::default()),
        ..StageRow::default()
    }
}

fn check_name(kind: Kind, name: &str) -> Result<(), GatewayError> {
    let is_name = !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match is_name || (name == "$default" && kind == Kind::Http) {
        true => Ok(()),
        false => Err(GatewayError::bad(
            "Stage name only allows a-zA-Z0-9-_ up to 128 characters, or $default for HTTP APIs",
        )),
    }
}

async fn check(txn: &Txn, opened: &Opened, row: &StageRow) -> Result<(), GatewayError> {
    if row.client_certificate_id.is_some() {
        return Err(GatewayError::missing("client certificates of stages (ClientCertificateId)"));
    }
    if let Some(settings) = &row.access_log_settings {
        let arn = settings.destination_arn.as_deref().unwrap_or_default();
        let service = arn.split(':').nth(2);
        if service == Some("firehose") {
            return Err(GatewayError::missing("access logs to Amazon Data Firehose"));
        }
        let group = arn.split_once(":log-group:").map(|(_, group)| group.trim_end_matches(":*"));
        if service != Some("logs") || group.is_none_or(str::is_empty) {
            return Err(GatewayError::bad(
                "Invalid ARN specified in the request. ARNs must start with 'arn:' and name a log group",
            ));
        }
        if settings.format.as_deref().is_none_or(|format| {
            !format.contains("$context.requestId") && !format.contains("$context.extendedRequestId")
        }) {
            return Err(GatewayError::bad(
                "Access log format string must contain at least $context.requestId or $context.extendedRequestId",
            ));
        }
    }
    let settings = row.route_settings.iter().flatten().map(|(key, settings)| (Some(key), settings));
    let all = settings.chain(row.default_route_settings.iter().map(|settings| (None, settings)));
    let routes = list::<RouteRow>(txn, &opened.id).await?;
    for (key, settings) in all {
        if let Some(key) = key
            && !routes.iter().any(|(_, route)| route.route_key.as_deref() == Some(key))
        {
            return Err(GatewayError::NotFound(format!(
                "Unable to find Route by key {key} within the provided RouteSettings"
            )));
        }
        if settings.logging_level.as_deref().is_some_and(|level| level != "OFF") {
            match opened.kind() {
                Kind::Http => {
                    return Err(GatewayError::bad("Execution logs are not supported on protocolType HTTP"));
                }
                _ => return Err(GatewayError::missing("execution logs of WebSocket APIs (LoggingLevel)")),
            }
        }
        if settings.data_trace_enabled == Some(true) {
            return Err(GatewayError::missing("execution logs of WebSocket APIs (DataTraceEnabled)"));
        }
        let negative = settings.throttling_rate_limit.is_some_and(|rate| rate.is_nan() || rate < 0.0)
            || settings.throttling_burst_limit.is_some_and(|burst| burst < 0);
        if negative {
            return Err(GatewayError::bad("Throttling limits must not be negative"));
        }
    }
    for (name, value) in row.stage_variables.iter().flatten() {
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_value =
            value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&byte));
        if !is_name || !is_value || value.len() > 512 {
            return Err(GatewayError::bad(
                "Stage variable names allow A-Za-z0-9_, and values A-Za-z0-9-._~:/?#&=, up to 512 characters",
            ));
        }
    }
    Ok(())
}

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: access_log_settings, api_gateway_managed, auto_deploy, client_certificate_id, created_date,
            default_route_settings, deployment_id, description, last_deployment_status_message, last_updated_date,
            route_settings, stage_name, stage_variables, tags)
    };
}

pub async fn create_stage(
    cx: &Cx,
    input: api::CreateStageRequest,
) -> Result<api::CreateStageResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                room_for::<StageRow>(&txn, &opened, 10).await?;
                let mut row = defaults(cx);
                take!(input => row: access_log_settings, auto_deploy, client_certificate_id, default_route_settings,
                    deployment_id, description, route_settings, stage_name, stage_variables, tags);
                let name = row.stage_name.clone().unwrap_or_default();
                check_name(opened.kind(), &name)?;
                let key = (opened.id.clone(), name);
                if StageRow::TABLE.get(&txn, &key).await?.is_some() {
                    return Err(GatewayError::Conflict("Stage already exists".to_owned()));
                }
                check(&txn, &opened, &row).await?;
                check_deployment(&txn, &opened, &row).await?;
                StageRow::TABLE.put(&txn, &key, &row)?;
                after(&txn, cx, &opened, &row).await?;
                Ok(StageRow::TABLE.get(&txn, &key).await?.unwrap_or(row))
            }
        })
        .await?;
    Ok(answer!(row => CreateStageResponse))
}

/// A stage that deploys itself has no deployment chosen for it; any other has one that exists, if it has one.
async fn check_deployment(txn: &Txn, opened: &Opened, row: &StageRow) -> Result<(), GatewayError> {
    let Some(id) = &row.deployment_id else { return Ok(()) };
    if row.auto_deploy == Some(true) {
        return Err(GatewayError::bad("Deployment ID cannot be set on stages with AutoDeploy enabled"));
    }
    match DeploymentRow::TABLE.get(txn, &(opened.id.clone(), id.clone())).await? {
        Some(_) => Ok(()),
        None => Err(no_such("Deployment", id)),
    }
}

async fn after(txn: &Txn, cx: &Cx, opened: &Opened, row: &StageRow) -> Result<(), GatewayError> {
    match row.auto_deploy {
        Some(true) => changed(txn, cx, opened).await,
        _ => Ok(touch(txn, &opened.id, &opened.id_row())?),
    }
}

pub async fn get_stage(cx: &Cx, input: api::GetStageRequest) -> Result<api::GetStageResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: StageRow = load(cx.store(), &opened, input.stage_name.as_deref()).await?;
    Ok(answer!(row => GetStageResponse))
}

pub async fn get_stages(
    cx: &Cx,
    input: api::GetStagesRequest,
) -> Result<api::GetStagesResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<StageRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetStagesResponse { items: Some(items), next_token })
}

pub async fn update_stage(
    cx: &Cx,
    input: api::UpdateStageRequest,
) -> Result<api::UpdateStageResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let before: StageRow = load(&txn, &opened, input.stage_name.as_deref()).await?;
                let mut row = before.clone();
                let variables = row.stage_variables.take();
                let chosen = input.deployment_id.is_some();
                take!(input => row: access_log_settings, auto_deploy, client_certificate_id, default_route_settings,
                    deployment_id, description, stage_variables);
                // Variables and settings are changed one by one; an empty value takes a variable away.
                let mut all = variables.unwrap_or_default();
                all.extend(row.stage_variables.take().unwrap_or_default());
                all.retain(|_, value| !value.is_empty());
                row.stage_variables = Some(all);
                if let Some(settings) = input.route_settings.take() {
                    let settings: std::collections::BTreeMap<String, RouteSettings> = Kept::keep(settings);
                    row.route_settings.get_or_insert_default().extend(settings);
                }
                row.last_updated_date = Some(cx.now());
                check(&txn, &opened, &row).await?;
                if chosen {
                    check_deployment(&txn, &opened, &row).await?;
                }
                let stops_following = before.auto_deploy == Some(true) && row.auto_deploy != Some(true);
                if stops_following && !chosen {
                    // It answered by what is there; from now on by what was there.
                    let id = row.deployment_id.clone().unwrap_or_else(|| cx.ids().lower(6));
                    freeze(&txn, &opened, &id).await?;
                    DeploymentRow::TABLE.put(&txn, &(opened.id.clone(), id.clone()), &new_deployment(&id, cx.now()))?;
                    row.deployment_id = Some(id);
                }
                let key = (opened.id.clone(), row.stage_name.clone().unwrap_or_default());
                StageRow::TABLE.put(&txn, &key, &row)?;
                if before.auto_deploy != Some(true) && row.auto_deploy == Some(true) {
                    changed(&txn, cx, &opened).await?;
                } else {
                    touch(&txn, &opened.id, &opened.id_row())?;
                }
                Ok::<_, GatewayError>(StageRow::TABLE.get(&txn, &key).await?.unwrap_or(row))
            }
        })
        .await?;
    Ok(answer!(row => UpdateStageResponse))
}

pub async fn delete_stage(cx: &Cx, input: api::DeleteStageRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let name = input.stage_name.clone().unwrap_or_default();
            let _: StageRow = load(&txn, &opened, Some(&name)).await?;
            StageRow::TABLE.delete(&txn, &(opened.id.clone(), name));
            Ok::<_, GatewayError>(touch(&txn, &opened.id, &opened.id_row())?)
        }
    })
    .await?;
    Ok(Unit)
}

async fn change(
    cx: &Cx,
    api: Option<&str>,
    stage: Option<&str>,
    change: impl Fn(&mut StageRow) -> Result<(), GatewayError> + Send + Sync,
) -> Result<Unit, GatewayError> {
    let change = &change;
    cx.transact(|txn| async move {
        let opened = open(&txn, cx, api).await?;
        let mut row: StageRow = load(&txn, &opened, stage).await?;
        change(&mut row)?;
        StageRow::TABLE.put(&txn, &(opened.id.clone(), row.stage_name.clone().unwrap_or_default()), &row)?;
        Ok::<_, GatewayError>(touch(&txn, &opened.id, &opened.id_row())?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_access_log_settings(
    cx: &Cx,
    input: api::DeleteAccessLogSettingsRequest,
) -> Result<Unit, GatewayError> {
    change(cx, input.api_id.as_deref(), input.stage_name.as_deref(), |row| {
        row.access_log_settings = None;
        Ok(())
    })
    .await
}

pub async fn delete_route_settings(
    cx: &Cx,
    input: api::DeleteRouteSettingsRequest,
) -> Result<Unit, GatewayError> {
    let key = input.route_key.clone().unwrap_or_default();
    change(cx, input.api_id.as_deref(), input.stage_name.as_deref(), |row| {
        match row.route_settings.as_mut().and_then(|all| all.remove(&key)) {
            Some(_) => Ok(()),
            None => Err(no_such("RouteSettings", &key)),
        }
    })
    .await
}
