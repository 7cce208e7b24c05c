//! API keys, usage plans and throttling.
//!
//! Source: API Gateway Developer Guide, "Usage plans and API keys for REST APIs in API Gateway", "Throttle requests to your REST APIs
//! for better throughput in API Gateway". Chosen: every node has token buckets of its own, as AWS applies its limits "on a best-effort
//! basis"; quotas are counted in the store, exactly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pileus_api_apigateway as api;
use pileus_platform::LimitsProfile;
use pileus_wire::value::Map;
use serde_json::json;

use super::call::Call;
use super::compiled::{Method, Staged};
use super::refusal::Refusal;
use crate::error::GatewayError;
use crate::http::throttle::Bucket;
use crate::rest::account::{ACCOUNT_BURST, ACCOUNT_RATE};
use crate::rest::document::Doc;
use crate::rest::keys::{API_KEYS, KEY_PLANS, KEY_VALUES, PLANS};
use crate::rest::usage;

/// The buckets of usage plans on this node: one for each plan and key, and for each method that a plan limits.
#[derive(Default)]
pub struct Buckets(Mutex<HashMap<String, (String, Arc<Bucket>)>>);

/// Buckets kept at a time; beyond, all are full again.
const MOST: usize = 100_000;

impl Buckets {
    /// The bucket of this name. One whose limits have changed begins anew.
    fn find(&self, call: &Call, name: String, limits: &api::ThrottleSettings) -> Option<Arc<Bucket>> {
        let (rate, burst) = (limits.rate_limit?, limits.burst_limit.unwrap_or_default());
        let made_of = format!("{rate} {burst}");
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.clear();
        }
        let now = call.cx.clock().monotonic();
        let entry =
            buckets.entry(name).or_insert_with(|| (String::new(), Arc::new(Bucket::new(0.0, 0.0, now))));
        if entry.0 != made_of {
            *entry = (made_of, Arc::new(Bucket::new(rate, burst as f64, now)));
        }
        Some(entry.1.clone())
    }
}

fn failed(error: GatewayError) -> Refusal {
    Refusal::internal(error.to_string())
}

/// Takes the request's key, counts it, and holds it to the limits of plan, method and stage.
///
/// `given`: the key that an authorizer named.
///
/// # Errors
/// 403 without a key that may call the stage; 429 beyond a limit.
pub async fn check(
    call: &mut Call,
    staged: &Staged,
    method: &Method,
    given: Option<String>,
) -> Result<(), Refusal> {
    if method.definition.api_key_required == Some(true) {
        let from_authorizer = call.deployed.api.api_key_source.as_deref() == Some("AUTHORIZER");
        let value = if from_authorizer { given } else { call.header("x-api-key").map(str::to_owned) };
        by_key(call, method, &value.ok_or_else(Refusal::forbidden_key)?).await?;
    }
    by_stage(call, staged, method)
}

/// The stage's own limits hold for each of its methods.
fn by_stage(call: &Call, staged: &Staged, method: &Method) -> Result<(), Refusal> {
    let now = call.cx.clock().monotonic();
    let setting = staged.setting(method);
    let rate = setting.and_then(|setting| setting.throttling_rate_limit);
    let burst = setting.and_then(|setting| setting.throttling_burst_limit);
    // The account's own quota is one of AWS's.
    if rate.is_none() && burst.is_none() && call.cx.limits() != LimitsProfile::Aws {
        return Ok(());
    }
    let (rate, burst) = (rate.unwrap_or(ACCOUNT_RATE), burst.unwrap_or(ACCOUNT_BURST));
    // Minus one stands for no limit of its own.
    if rate < 0.0 || burst < 0 {
        return Ok(());
    }
    match staged.bucket(&method.setting, rate, burst as f64, now).take(now) {
        true => Ok(()),
        false => Err(Refusal::throttled()),
    }
}

/// The key must be enabled and belong to a plan with this stage.
async fn by_key(call: &mut Call, method: &Method, value: &str) -> Result<(), Refusal> {
    let cx = call.cx.clone();
    let store = cx.store();
    let account = pileus_core::AccountId::parse(call.context["accountId"].as_str().unwrap_or_default());
    let account = account.unwrap_or(cx.account());
    let owned = |id: &str| (account, cx.region().clone(), id.to_owned());
    let found = KEY_VALUES.get(store, &owned(value)).await.map_err(|error| failed(error.into()))?;
    let id = found.ok_or_else(Refusal::forbidden_key)?.id;
    let key = API_KEYS.get(store, &owned(&id)).await.map_err(|error| failed(error.into()))?;
    let Some(Doc(key)) = key.filter(|Doc(key)| key.enabled == Some(true)) else {
        return Err(Refusal::forbidden_key());
    };
    let plans =
        KEY_PLANS.scan(store, &KEY_PLANS.under(&(account, cx.region().clone(), id.as_str())), 100).await;
    let mut chosen = None;
    for ((.., plan), _) in plans.map_err(|error| failed(error.into()))?.rows {
        let plan = PLANS.get(store, &owned(&plan)).await.map_err(|error| failed(error.into()))?;
        let Some(Doc(plan)) = plan else { continue };
        let stages = plan.api_stages.iter().flatten();
        let mut own = stages.filter(|stage| {
            stage.api_id.as_deref() == Some(&call.api) && stage.stage.as_deref() == Some(&call.stage)
        });
        if let Some(stage) = own.next().cloned() {
            chosen = Some((plan, stage));
            break;
        }
    }
    let (plan, stage) = chosen.ok_or_else(Refusal::forbidden_key)?;
    call.context["identity"]["apiKey"] = json!(value);
    call.context["identity"]["apiKeyId"] = json!(id);
    let _ = key;
    throttle(call, method, &plan, &stage, &id)?;
    let plan_id = plan.id.clone().unwrap_or_default();
    let (plan_id, quota, id, now) = (plan_id.as_str(), plan.quota.as_ref(), id.as_str(), cx.now());
    let counted = cx
        .transact(|txn| async move {
            // What was counted last may be lost with a node; what was answered was not worth an fsync each.
            txn.relaxed();
            usage::count(&txn, plan_id, quota, id, now).await
        })
        .await;
    match counted.map_err(failed)? {
        true => Ok(()),
        false => Err(Refusal::quota()),
    }
}

/// The plan's limit for a key, and the one of this method in it.
fn throttle(
    call: &Call,
    method: &Method,
    plan: &api::UsagePlan,
    stage: &api::ApiStage,
    key: &str,
) -> Result<(), Refusal> {
    let buckets = call.cx.state::<Buckets>();
    let plan_id = plan.id.as_deref().unwrap_or_default();
    let path = call.context["resourcePath"].as_str().unwrap_or_default();
    let verb = method.definition.http_method.as_deref().unwrap_or_default();
    let name = format!("{path}/{verb}");
    let own = stage.throttle.as_ref().and_then(|map: &Map<_>| map.get(&name));
    let limits = match own {
        Some(own) => Some((format!("{plan_id} {key} {}:{} {name}", call.api, call.stage), own)),
        None => plan.throttle.as_ref().map(|limits| (format!("{plan_id} {key}"), limits)),
    };
    let Some((name, limits)) = limits else { return Ok(()) };
    let Some(bucket) = buckets.find(call, name, limits) else { return Ok(()) };
    match bucket.take(call.cx.clock().monotonic()) {
        true => Ok(()),
        false => Err(Refusal::throttled()),
    }
}
