//! Usage plans and their keys: `CreateUsagePlan`, `CreateUsagePlanKey` and their sisters.
//!
//! Source: API Gateway API Reference, "CreateUsagePlan", "UsagePlan", "CreateUsagePlanKey"; "Patch operations". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::{Map, Unit};
use serde_json::{Value as Json, json};

use super::document::{Doc, of_document, to_document};
use super::keys::{KEY_PLANS, PLAN_KEYS, PLANS, STAGES};
use super::patch::{self, ANY, Kind, REMOVE, Rule, text};
use super::{api as rest_api, api_key, page, tags};
use crate::error::GatewayError;

const PATCHES: [Rule; 10] = [
    text("name"),
    text("description"),
    text("productCode"),
    Rule { path: "quota/limit", operations: ANY, kind: Kind::Int },
    Rule { path: "quota/offset", operations: ANY, kind: Kind::Int },
    Rule { path: "quota/period", operations: ANY, kind: Kind::Text },
    Rule { path: "quota", operations: REMOVE, kind: Kind::Object },
    Rule { path: "throttle/rateLimit", operations: ANY, kind: Kind::Float },
    Rule { path: "throttle/burstLimit", operations: ANY, kind: Kind::Int },
    Rule { path: "throttle", operations: REMOVE, kind: Kind::Object },
];

pub async fn load(cx: &Cx, reader: &impl Reader, id: &str) -> Result<api::UsagePlan, GatewayError> {
    let found = PLANS.get(reader, &rest_api::key(cx, id)).await?;
    found
        .map(|Doc(row)| row)
        .ok_or_else(|| GatewayError::NotFound("Invalid Usage Plan ID specified".to_owned()))
}

/// # Errors
/// `BadRequest` for quotas that there cannot be; `NotFound` for stages that there are not.
async fn check(cx: &Cx, txn: &Txn, plan: &api::UsagePlan) -> Result<(), GatewayError> {
    if plan.name.as_deref().unwrap_or_default().is_empty() {
        return Err(GatewayError::bad("Usage Plan name must not be empty"));
    }
    if let Some(quota) = &plan.quota {
        let (limit, offset) = (quota.limit.unwrap_or_default(), quota.offset.unwrap_or_default());
        if limit < 1 {
            return Err(GatewayError::bad("Usage Plan quota must not be less than or equal to zero"));
        }
        let most = match quota.period.as_deref() {
            Some("DAY") => 0,
            Some("WEEK") => 6,
            Some("MONTH") => 27,
            _ => return Err(GatewayError::bad("Usage Plan quota period must be one of DAY, WEEK, MONTH")),
        };
        if !(0..=most).contains(&offset) {
            return Err(GatewayError::bad(format!(
                "Usage Plan quota offset must be zero in the {} period",
                quota.period.as_deref().unwrap_or_default()
            )));
        }
    }
    for throttle in plan.throttle.iter().chain(stage_throttles(plan)) {
        if throttle.burst_limit.is_some_and(|burst| burst < 0)
            || throttle.rate_limit.is_some_and(|rate| rate < 0.0)
        {
            return Err(GatewayError::bad("Usage Plan throttle rate limit must not be negative"));
        }
    }
    for stage in plan.api_stages.iter().flatten() {
        let (id, name) = (stage.api_id.clone().unwrap_or_default(), stage.stage.clone().unwrap_or_default());
        let is_own = rest_api::load(cx, txn, &id).await.is_ok();
        if !is_own || STAGES.get(txn, &(id.clone(), name.clone())).await?.is_none() {
            return Err(GatewayError::NotFound(format!("API Stage not found: {id}:{name}")));
        }
    }
    Ok(())
}

fn stage_throttles(plan: &api::UsagePlan) -> impl Iterator<Item = &api::ThrottleSettings> {
    let stages = plan.api_stages.iter().flatten();
    stages.flat_map(|stage| stage.throttle.iter().flat_map(Map::iter)).map(|(_, throttle)| throttle)
}

pub async fn create_usage_plan(
    cx: &Cx,
    input: api::CreateUsagePlanRequest,
) -> Result<api::UsagePlan, GatewayError> {
    tags::check(input.tags.as_ref())?;
    let id = cx.ids().lower(6);
    let plan = &api::UsagePlan {
        id: Some(id.clone()),
        name: input.name,
        description: input.description,
        api_stages: Some(input.api_stages.unwrap_or_default()),
        throttle: input.throttle,
        quota: input.quota.map(|quota| api::QuotaSettings { offset: quota.offset.or(Some(0)), ..quota }),
        product_code: None,
        tags: input.tags.filter(|tags| !tags.is_empty()),
    };
    let id = id.as_str();
    cx.transact(|txn| async move {
        check(cx, &txn, plan).await?;
        Ok::<_, GatewayError>(PLANS.put(&txn, &rest_api::key(cx, id), &Doc(plan.clone()))?)
    })
    .await?;
    Ok(plan.clone())
}

pub async fn get_usage_plan(
    cx: &Cx,
    input: api::GetUsagePlanRequest,
) -> Result<api::UsagePlan, GatewayError> {
    load(cx, cx.store(), input.usage_plan_id.as_deref().unwrap_or_default()).await
}

pub async fn get_usage_plans(
    cx: &Cx,
    input: api::GetUsagePlansRequest,
) -> Result<api::UsagePlans, GatewayError> {
    let of_key = match &input.key_id {
        Some(key) => {
            let under = KEY_PLANS.under(&(cx.account(), cx.region().clone(), key.as_str()));
            let rows = KEY_PLANS.scan(cx.store(), &under, 1_000).await?.rows;
            Some(rows.into_iter().map(|((.., plan), _)| plan).collect::<Vec<_>>())
        }
        None => None,
    };
    let shows = |Doc(plan): &Doc<api::UsagePlan>| {
        of_key.as_ref().is_none_or(|plans| plan.id.as_ref().is_some_and(|id| plans.contains(id)))
    };
    let under = (cx.account(), cx.region().clone());
    let (rows, position) =
        page::of(cx.store(), PLANS, &under, input.position.as_deref(), input.limit, shows).await?;
    Ok(api::UsagePlans { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

/// One patch of a plan: a plain one, one of its stages, or of a method's throttle in one of them.
fn apply(document: &mut Json, operation: &api::PatchOperation) -> Result<(), GatewayError> {
    let (op, path) =
        (operation.op.as_deref().unwrap_or_default(), operation.path.as_deref().unwrap_or_default());
    let parts = patch::parts(path);
    let invalid = || GatewayError::bad(format!("Invalid patch path  '{path}' specified for op '{op}'."));
    if parts.first().map(String::as_str) != Some("apiStages") {
        return patch::apply(document, operation, &PATCHES);
    }
    let name = match parts.get(1) {
        Some(name) => name.as_str(),
        None => operation.value.as_deref().unwrap_or_default(),
    };
    let (id, stage) = name.split_once(':').ok_or_else(|| {
        GatewayError::bad("Invalid API Stage specified: it must be of the form {apiId}:{stageName}")
    })?;
    if !document["apiStages"].is_array() {
        document["apiStages"] = json!([]);
    }
    let Some(stages) = document["apiStages"].as_array_mut() else { return Ok(()) };
    let at = stages.iter().position(|known| known["apiId"] == id && known["stage"] == stage);
    match (&parts[1..], op, at) {
        ([] | [_], "add", None) => stages.push(json!({ "apiId": id, "stage": stage })),
        ([] | [_], "add", Some(_)) => {}
        ([] | [_], "remove", Some(at)) => {
            stages.remove(at);
        }
        ([_, word], "remove", Some(at)) if word == "throttle" => {
            stages[at].as_object_mut().and_then(|stage| stage.shift_remove("throttle"));
        }
        ([_, word, resource, verb], "remove", Some(at)) if word == "throttle" => {
            let throttles = stages[at]["throttle"].as_object_mut();
            throttles.and_then(|throttles| throttles.shift_remove(&format!("{resource}/{verb}")));
        }
        ([_, word, resource, verb, limit], "add" | "replace", Some(at)) if word == "throttle" => {
            let text = operation.value.as_deref().unwrap_or_default();
            let value = match limit.as_str() {
                "rateLimit" => text.parse::<f64>().ok().map(Json::from),
                "burstLimit" => text.parse::<i64>().ok().map(Json::from),
                _ => return Err(invalid()),
            };
            let throttles = &mut stages[at]["throttle"];
            if !throttles.is_object() {
                *throttles = json!({});
            }
            throttles[format!("{resource}/{verb}")][limit.as_str()] = value.ok_or_else(invalid)?;
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

pub async fn update_usage_plan(
    cx: &Cx,
    input: api::UpdateUsagePlanRequest,
) -> Result<api::UsagePlan, GatewayError> {
    let id = input.usage_plan_id.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        let mut document = to_document(&load(cx, &txn, id).await?);
        for operation in operations.into_iter().flatten() {
            apply(&mut document, operation)?;
        }
        let after: api::UsagePlan = of_document(&document)?;
        check(cx, &txn, &after).await?;
        PLANS.put(&txn, &rest_api::key(cx, id), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

pub async fn delete_usage_plan(cx: &Cx, input: api::DeleteUsagePlanRequest) -> Result<Unit, GatewayError> {
    let id = input.usage_plan_id.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        let plan = load(cx, &txn, id).await?;
        if plan.api_stages.is_some_and(|stages| !stages.is_empty()) {
            return Err(GatewayError::bad(
                "Cannot delete usage plan: it is associated with API stages. Remove all API stages from the usage plan before deleting",
            ));
        }
        let under = PLAN_KEYS.under(&(cx.account(), cx.region().clone(), id));
        for ((.., key), _) in PLAN_KEYS.scan(&txn, &under, 400).await?.rows {
            api_key::unlink(cx, &txn, id, &key);
        }
        PLANS.delete(&txn, &rest_api::key(cx, id));
        Ok(Unit)
    })
    .await
}

fn no_such_key() -> GatewayError {
    GatewayError::NotFound("Invalid Usage Plan Key identifier specified".to_owned())
}

pub async fn create_usage_plan_key(
    cx: &Cx,
    input: api::CreateUsagePlanKeyRequest,
) -> Result<api::UsagePlanKey, GatewayError> {
    let (id, key) =
        (input.usage_plan_id.as_deref().unwrap_or_default(), input.key_id.as_deref().unwrap_or_default());
    if input.key_type.as_deref() != Some("API_KEY") {
        return Err(GatewayError::bad("Invalid Usage Plan Key type specified: it must be API_KEY"));
    }
    cx.transact(|txn| async move {
        load(cx, &txn, id).await?;
        let key = api_key::load(cx, &txn, key).await?;
        let row = (cx.account(), cx.region().clone(), id.to_owned(), key.id.clone().unwrap_or_default());
        if PLAN_KEYS.get(&txn, &row).await?.is_some() {
            return Err(GatewayError::Conflict(format!(
                "Usage Plan {id} already contains the key {}",
                key.id.unwrap_or_default()
            )));
        }
        api_key::link(cx, &txn, id, &key)
    })
    .await
}

pub async fn get_usage_plan_key(
    cx: &Cx,
    input: api::GetUsagePlanKeyRequest,
) -> Result<api::UsagePlanKey, GatewayError> {
    let (id, key) = (input.usage_plan_id.unwrap_or_default(), input.key_id.unwrap_or_default());
    load(cx, cx.store(), &id).await?;
    let found = PLAN_KEYS.get(cx.store(), &(cx.account(), cx.region().clone(), id, key)).await?;
    found.map(|Doc(row)| row).ok_or_else(no_such_key)
}

pub async fn get_usage_plan_keys(
    cx: &Cx,
    input: api::GetUsagePlanKeysRequest,
) -> Result<api::UsagePlanKeys, GatewayError> {
    let id = input.usage_plan_id.as_deref().unwrap_or_default();
    load(cx, cx.store(), id).await?;
    let name = input.name_query;
    let shows = |Doc(key): &Doc<api::UsagePlanKey>| {
        name.as_ref().is_none_or(|start| key.name.as_deref().unwrap_or_default().starts_with(start))
    };
    let under = (cx.account(), cx.region().clone(), id);
    let (rows, position) =
        page::of(cx.store(), PLAN_KEYS, &under, input.position.as_deref(), input.limit, shows).await?;
    Ok(api::UsagePlanKeys { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

pub async fn delete_usage_plan_key(
    cx: &Cx,
    input: api::DeleteUsagePlanKeyRequest,
) -> Result<Unit, GatewayError> {
    let (id, key) =
        (input.usage_plan_id.as_deref().unwrap_or_default(), input.key_id.as_deref().unwrap_or_default());
    cx.transact(|txn| async move {
        load(cx, &txn, id).await?;
        let row = (cx.account(), cx.region().clone(), id.to_owned(), key.to_owned());
        PLAN_KEYS.get(&txn, &row).await?.ok_or_else(no_such_key)?;
        api_key::unlink(cx, &txn, id, key);
        Ok(Unit)
    })
    .await
}
