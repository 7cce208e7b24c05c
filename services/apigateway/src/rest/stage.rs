//! Stages: `CreateStage`, `GetStage`, `GetStages`, `UpdateStage`, `DeleteStage`, `FlushStageCache`, `FlushStageAuthorizersCache`.
//!
//! Source: API Gateway API Reference, "CreateStage", "Stage", "UpdateStage", "MethodSetting"; "Patch operations". Recorded: the
//! sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::{Map, Unit};
use serde_json::{Value as Json, json};

use super::document::{Doc, of_document, to_document};
use super::keys::{ACCOUNTS, STAGES};
use super::patch::{self, ANY, Kind, REMOVE, REPLACE, Rule, entry, flag, text};
use super::{api as rest_api, deployment, execute, page, tags};
use crate::error::GatewayError;

const PATCHES: [Rule; 18] = [
    text("description"),
    text("deploymentId"),
    flag("cacheClusterEnabled"),
    text("cacheClusterSize"),
    text("clientCertificateId"),
    text("documentationVersion"),
    flag("tracingEnabled"),
    entry("variables/*"),
    entry("accessLogSettings/format"),
    entry("accessLogSettings/destinationArn"),
    Rule { path: "accessLogSettings", operations: REMOVE, kind: Kind::Object },
    Rule { path: "canarySettings/percentTraffic", operations: REPLACE, kind: Kind::Float },
    text("canarySettings/deploymentId"),
    flag("canarySettings/useStageCache"),
    entry("canarySettings/stageVariableOverrides/*"),
    Rule { path: "canarySettings", operations: REMOVE, kind: Kind::Object },
    Rule { path: "variables", operations: REMOVE, kind: Kind::Object },
    // A method's settings, by `~1path/GET`.
    Rule { path: "methodSettings/*", operations: REMOVE, kind: Kind::Object },
];

/// The last two parts of a setting's path, its member, and its kind.
const SETTINGS: [(&str, &str, &str, Kind); 10] = [
    ("metrics", "enabled", "metricsEnabled", Kind::Bool),
    ("logging", "loglevel", "loggingLevel", Kind::Text),
    ("logging", "dataTrace", "dataTraceEnabled", Kind::Bool),
    ("throttling", "burstLimit", "throttlingBurstLimit", Kind::Int),
    ("throttling", "rateLimit", "throttlingRateLimit", Kind::Float),
    ("caching", "enabled", "cachingEnabled", Kind::Bool),
    ("caching", "ttlInSeconds", "cacheTtlInSeconds", Kind::Int),
    ("caching", "dataEncrypted", "cacheDataEncrypted", Kind::Bool),
    ("caching", "requireAuthorizationForCacheControl", "requireAuthorizationForCacheControl", Kind::Bool),
    (
        "caching",
        "unauthorizedCacheControlHeaderStrategy",
        "unauthorizedCacheControlHeaderStrategy",
        Kind::Text,
    ),
];

fn no_such() -> GatewayError {
    GatewayError::NotFound("Invalid stage identifier specified".to_owned())
}

pub async fn load(reader: &impl Reader, api: &str, name: &str) -> Result<api::Stage, GatewayError> {
    let found = STAGES.get(reader, &(api.to_owned(), name.to_owned())).await?;
    found.map(|Doc(row)| row).ok_or_else(no_such)
}

/// # Errors
/// `BadRequest` for what no stage can have; `NotFound` for a deployment that is not there.
async fn check(cx: &Cx, txn: &Txn, api: &str, stage: &api::Stage) -> Result<(), GatewayError> {
    let name = stage.stage_name.as_deref().unwrap_or_default();
    if name.is_empty()
        || name.len() > 128
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    {
        return Err(GatewayError::bad("Stage name only allows a-zA-Z0-9_-"));
    }
    if stage.client_certificate_id.as_deref().is_some_and(|id| !id.is_empty()) {
        return Err(GatewayError::missing("client certificates of stages (clientCertificateId)"));
    }
    let canary = stage.canary_settings.as_ref();
    for id in stage.deployment_id.iter().chain(canary.and_then(|canary| canary.deployment_id.as_ref())) {
        if deployment::load(txn, api, id).await.is_err() {
            return Err(GatewayError::bad("Deployment id does not exist"));
        }
    }
    if canary
        .and_then(|canary| canary.percent_traffic)
        .is_some_and(|percent| !(0.0..=100.0).contains(&percent))
    {
        return Err(GatewayError::bad("Percent traffic must be between 0.0 and 100.0"));
    }
    let variables =
        stage.variables.iter().chain(canary.and_then(|canary| canary.stage_variable_overrides.as_ref()));
    for (name, value) in variables.flat_map(Map::iter) {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(GatewayError::bad(format!(
                "Stage variable name '{name}' may only contain alphanumeric characters and underscores"
            )));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#&=,@*+![]()%\\;$' \"".contains(c);
        if !value.chars().all(allowed) {
            return Err(GatewayError::bad(format!(
                "Stage variable value '{value}' may not contain characters outside of A-Za-z0-9-._~:/?#&=,"
            )));
        }
    }
    let logs = stage.access_log_settings.as_ref();
    if let Some(destination) =
        logs.and_then(|logs| logs.destination_arn.as_deref()).filter(|arn| !arn.is_empty())
    {
        if destination.contains(":firehose:") {
            return Err(GatewayError::missing("access logs to Firehose"));
        }
        if !destination.contains(":logs:") || !destination.contains(":log-group:") {
            return Err(GatewayError::bad(
                "Invalid ARN specified in the request. ARN must be of the form arn:aws:logs:{region}:{account-id}:log-group:{log-group-name}",
            ));
        }
        let format = logs.and_then(|logs| logs.format.as_deref()).unwrap_or_default();
        if !format.is_empty()
            && !format.contains("$context.requestId")
            && !format.contains("$context.extendedRequestId")
        {
            return Err(GatewayError::bad(
                "Access Log format must contain at least $context.requestId or $context.extendedRequestId",
            ));
        }
    }
    let settings = stage.method_settings.iter().flat_map(Map::iter);
    let mut wants_logs =
        logs.is_some_and(|logs| logs.destination_arn.as_deref().is_some_and(|arn| !arn.is_empty()));
    for (_, setting) in settings {
        let level = setting.logging_level.as_deref().unwrap_or("OFF");
        if !matches!(level, "OFF" | "ERROR" | "INFO") {
            return Err(GatewayError::bad(format!(
                "Invalid logging level specified: {level}. Must be one of OFF, ERROR, INFO"
            )));
        }
        wants_logs |= level != "OFF";
        if setting.cache_ttl_in_seconds.is_some_and(|ttl| !(0..=3_600).contains(&ttl)) {
            return Err(GatewayError::bad("Invalid cache TTL, must be between 0 and 3600 seconds"));
        }
    }
    if wants_logs {
        let account = ACCOUNTS.get(txn, &(cx.account(), cx.region().clone())).await?;
        if account.and_then(|Doc(account)| account.cloudwatch_role_arn).is_none() {
            return Err(GatewayError::bad(
                "CloudWatch Logs role ARN must be set in account settings to enable logging",
            ));
        }
    }
    Ok(())
}

/// What follows from the settings of the cache.
fn settle(mut stage: api::Stage) -> api::Stage {
    let is_cached = stage.cache_cluster_enabled == Some(true);
    stage.cache_cluster_enabled = Some(is_cached);
    stage.cache_cluster_status = Some(if is_cached { "AVAILABLE" } else { "NOT_AVAILABLE" }.to_owned());
    if is_cached {
        stage.cache_cluster_size.get_or_insert_with(|| "0.5".to_owned());
    }
    stage.tracing_enabled.get_or_insert(false);
    stage.method_settings.get_or_insert_default();
    stage
}

fn store(txn: &Txn, api: &str, stage: &api::Stage) -> Result<(), GatewayError> {
    let name = stage.stage_name.clone().unwrap_or_default();
    Ok(STAGES.put(txn, &(api.to_owned(), name), &Doc(stage.clone()))?)
}

/// Leads a stage to a new deployment, or makes it; a canary gets its part of the requests beside the deployment before.
pub async fn deploy(
    cx: &Cx,
    txn: &Txn,
    api: &str,
    name: &str,
    deployment: &str,
    input: &api::CreateDeploymentRequest,
) -> Result<(), GatewayError> {
    let found = STAGES.get(txn, &(api.to_owned(), name.to_owned())).await?.map(|Doc(stage)| stage);
    let mut stage = found.unwrap_or_else(|| api::Stage {
        stage_name: Some(name.to_owned()),
        created_date: Some(super::now(cx)),
        ..Default::default()
    });
    match &input.canary_settings {
        Some(canary) if stage.deployment_id.is_some() => {
            stage.canary_settings = Some(api::CanarySettings {
                deployment_id: Some(deployment.to_owned()),
                percent_traffic: canary.percent_traffic.or(Some(0.0)),
                stage_variable_overrides: canary.stage_variable_overrides.clone(),
                use_stage_cache: Some(canary.use_stage_cache.unwrap_or(false)),
            });
        }
        Some(_) => {
            return Err(GatewayError::bad("Cannot create a canary deployment on a stage that has none yet"));
        }
        None => stage.deployment_id = Some(deployment.to_owned()),
    }
    stage.description = input.stage_description.clone().or(stage.description);
    stage.variables = input.variables.clone().or(stage.variables);
    stage.cache_cluster_enabled = input.cache_cluster_enabled.or(stage.cache_cluster_enabled);
    stage.cache_cluster_size = input.cache_cluster_size.clone().or(stage.cache_cluster_size);
    stage.tracing_enabled = input.tracing_enabled.or(stage.tracing_enabled);
    stage.last_updated_date = Some(super::now(cx));
    let stage = settle(stage);
    check(cx, txn, api, &stage).await?;
    store(txn, api, &stage)
}

pub async fn create_stage(cx: &Cx, input: api::CreateStageRequest) -> Result<api::Stage, GatewayError> {
    tags::check(input.tags.as_ref())?;
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let now = super::now(cx);
    let stage = &settle(api::Stage {
        deployment_id: input.deployment_id,
        stage_name: input.stage_name,
        description: input.description,
        cache_cluster_enabled: input.cache_cluster_enabled,
        cache_cluster_size: input.cache_cluster_size,
        variables: input.variables,
        documentation_version: input.documentation_version,
        canary_settings: input.canary_settings,
        tracing_enabled: input.tracing_enabled,
        tags: input.tags.filter(|tags| !tags.is_empty()),
        created_date: Some(now),
        last_updated_date: Some(now),
        ..Default::default()
    });
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        check(cx, &txn, api, stage).await?;
        let key = (api.to_owned(), stage.stage_name.clone().unwrap_or_default());
        if !STAGES.put_if_absent(&txn, &key, &Doc(stage.clone())).await? {
            return Err(GatewayError::Conflict("Stage already exists".to_owned()));
        }
        rest_api::changed(cx, &txn, api)
    })
    .await?;
    Ok(stage.clone())
}

pub async fn get_stage(cx: &Cx, input: api::GetStageRequest) -> Result<api::Stage, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    load(cx.store(), api, input.stage_name.as_deref().unwrap_or_default()).await
}

pub async fn get_stages(cx: &Cx, input: api::GetStagesRequest) -> Result<api::Stages, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let rows = page::all(cx.store(), STAGES, &(api,)).await?.into_iter().map(|Doc(row)| row);
    let wanted = input.deployment_id;
    let item = rows.filter(|stage| wanted.is_none() || stage.deployment_id == wanted).collect();
    Ok(api::Stages { item: Some(item) })
}

/// One patch of a stage: a plain one, a copy from the canary, or one of a method's settings.
fn apply(document: &mut Json, operation: &api::PatchOperation) -> Result<(), GatewayError> {
    let path = operation.path.as_deref().unwrap_or_default();
    let op = operation.op.as_deref().unwrap_or_default();
    if op == "copy" {
        let from = operation.from.as_deref().unwrap_or_default();
        let value = match (from, path) {
            ("/canarySettings/deploymentId", "/deploymentId") => {
                document["canarySettings"]["deploymentId"].clone()
            }
            ("/canarySettings/stageVariableOverrides", "/variables") => {
                let mut variables = document["variables"].as_object().cloned().unwrap_or_default();
                let overrides = document["canarySettings"]["stageVariableOverrides"].as_object();
                variables.extend(overrides.cloned().unwrap_or_default());
                Json::Object(variables)
            }
            _ => {
                return Err(GatewayError::bad(format!(
                    "Invalid copy operation specified: from {from} to {path}"
                )));
            }
        };
        document[path.trim_start_matches('/')] = value;
        return Ok(());
    }
    let raw: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    if let [resource, verb, group, name] = raw[..]
        && let Some((_, _, member, kind)) =
            SETTINGS.iter().find(|(g, n, ..)| *g == group && n.eq_ignore_ascii_case(name))
    {
        if op != "replace" && op != "add" {
            return Err(GatewayError::bad(format!("Invalid patch path  '{path}' specified for op '{op}'.")));
        }
        let key = format!("{resource}/{verb}");
        let settings = &mut document["methodSettings"];
        if !settings.is_object() {
            *settings = json!({});
        }
        let setting = &mut settings[key.as_str()];
        let mut given = setting_document(setting);
        let operation = api::PatchOperation {
            op: Some("replace".to_owned()),
            path: Some(format!("/{member}")),
            ..operation.clone()
        };
        patch::apply(&mut given, &operation, &[Rule { path: member, operations: ANY, kind: *kind }])?;
        *setting = given;
        return Ok(());
    }
    if let ([resource, verb], "remove") = (&raw[..], op)
        && super::method::METHODS.contains(verb) | (*verb == "*")
    {
        if let Some(settings) = document["methodSettings"].as_object_mut() {
            settings.shift_remove(&format!("{resource}/{verb}"));
        }
        return Ok(());
    }
    patch::apply(document, operation, &PATCHES)
}

/// A method's settings, with AWS's defaults where nothing was said.
fn setting_document(setting: &Json) -> Json {
    let mut all = json!({
        "metricsEnabled": false, "loggingLevel": "OFF", "dataTraceEnabled": false, "throttlingBurstLimit": 5_000,
        "throttlingRateLimit": 10_000.0, "cachingEnabled": false, "cacheTtlInSeconds": 300, "cacheDataEncrypted": false,
        "requireAuthorizationForCacheControl": true,
        "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
    });
    for (name, value) in setting.as_object().into_iter().flatten() {
        all[name.as_str()] = value.clone();
    }
    all
}

pub async fn update_stage(cx: &Cx, input: api::UpdateStageRequest) -> Result<api::Stage, GatewayError> {
    let (api, name) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.stage_name.as_deref().unwrap_or_default());
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let mut document = to_document(&load(&txn, api, name).await?);
        for operation in operations.into_iter().flatten() {
            apply(&mut document, operation)?;
        }
        let mut stage: api::Stage = settle(of_document(&document)?);
        stage.last_updated_date = Some(super::now(cx));
        check(cx, &txn, api, &stage).await?;
        store(&txn, api, &stage)?;
        rest_api::changed(cx, &txn, api)?;
        Ok(stage)
    })
    .await
}

pub async fn delete_stage(cx: &Cx, input: api::DeleteStageRequest) -> Result<Unit, GatewayError> {
    let (api, name) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.stage_name.as_deref().unwrap_or_default());
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, name).await?;
        STAGES.delete(&txn, &(api.to_owned(), name.to_owned()));
        rest_api::changed(cx, &txn, api)?;
        Ok(Unit)
    })
    .await
}

/// `FlushStageCache`: nodes keep answers under the version of the API, so a new version empties the cache of each.
pub async fn flush_stage_cache(cx: &Cx, input: api::FlushStageCacheRequest) -> Result<Unit, GatewayError> {
    flush(cx, input.rest_api_id, input.stage_name).await
}

/// `FlushStageAuthorizersCache`: as `FlushStageCache`, for what authorizers have answered.
pub async fn flush_stage_authorizers_cache(
    cx: &Cx,
    input: api::FlushStageAuthorizersCacheRequest,
) -> Result<Unit, GatewayError> {
    flush(cx, input.rest_api_id, input.stage_name).await
}

async fn flush(cx: &Cx, api: Option<String>, stage: Option<String>) -> Result<Unit, GatewayError> {
    let (api, stage) = (&api.unwrap_or_default(), &stage.unwrap_or_default());
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, stage).await?;
        rest_api::changed(cx, &txn, api)
    })
    .await?;
    execute::forget(cx.platform(), api);
    Ok(Unit)
}
