//! API keys: `CreateApiKey`, `ImportApiKeys`, `GetApiKey`, `GetApiKeys`, `UpdateApiKey`, `DeleteApiKey`.
//!
//! Source: API Gateway API Reference, "CreateApiKey", "ApiKey"; API Gateway Developer Guide, "API Gateway API key file format".
//! Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::Unit;

use super::document::Doc;
use super::keys::{API_KEYS, KEY_PLANS, KEY_VALUES, Name, Nothing, PLAN_KEYS, PLANS};
use super::patch::{Rule, flag, patched, text};
use super::{api as rest_api, page, tags};
use crate::error::GatewayError;

const PATCHES: [Rule; 4] = [text("name"), text("description"), flag("enabled"), text("customerId")];
/// Source: "CreateApiKey" (value).
const SHORTEST: usize = 20;
const LONGEST: usize = 128;

pub async fn load(cx: &Cx, reader: &impl Reader, id: &str) -> Result<api::ApiKey, GatewayError> {
    let found = API_KEYS.get(reader, &rest_api::key(cx, id)).await?;
    found
        .map(|Doc(row)| row)
        .ok_or_else(|| GatewayError::NotFound("Invalid API Key identifier specified".to_owned()))
}

fn shown(mut key: api::ApiKey, with_value: bool) -> api::ApiKey {
    if !with_value {
        key.value = None;
    }
    key
}

/// Writes a new key.
///
/// # Errors
/// `Conflict` when another has the value.
async fn add(cx: &Cx, txn: &Txn, key: &api::ApiKey) -> Result<(), GatewayError> {
    let (id, value) = (key.id.clone().unwrap_or_default(), key.value.clone().unwrap_or_default());
    if !(SHORTEST..=LONGEST).contains(&value.len()) {
        return Err(GatewayError::bad(format!("API Key value should be at least {SHORTEST} characters")));
    }
    let is_new = KEY_VALUES.put_if_absent(txn, &rest_api::key(cx, &value), &Name { id: id.clone() }).await?;
    if !is_new {
        return Err(GatewayError::Conflict("API Key already exists".to_owned()));
    }
    Ok(API_KEYS.put(txn, &rest_api::key(cx, &id), &Doc(key.clone()))?)
}

pub async fn create_api_key(cx: &Cx, input: api::CreateApiKeyRequest) -> Result<api::ApiKey, GatewayError> {
    if input.stage_keys.is_some_and(|keys| !keys.is_empty()) {
        return Err(GatewayError::missing("stageKeys of API keys; usage plans lead keys to stages"));
    }
    tags::check(input.tags.as_ref())?;
    let now = super::now(cx);
    let key = &api::ApiKey {
        id: Some(cx.ids().lower(10)),
        value: Some(
            input.value.filter(|value| !value.is_empty()).unwrap_or_else(|| cx.ids().alphanumeric(40)),
        ),
        name: input.name,
        customer_id: input.customer_id,
        description: input.description,
        enabled: Some(input.enabled.unwrap_or(false)),
        created_date: Some(now),
        last_updated_date: Some(now),
        stage_keys: Some(Vec::new()),
        tags: input.tags.filter(|tags| !tags.is_empty()),
    };
    cx.transact(|txn| async move { add(cx, &txn, key).await }).await?;
    Ok(key.clone())
}

/// `ImportApiKeys`: a line for each key, the first one with the names of the columns.
pub async fn import_api_keys(
    cx: &Cx,
    input: api::ImportApiKeysRequest,
) -> Result<api::ApiKeyIds, GatewayError> {
    if input.format.as_deref() != Some("csv") {
        return Err(GatewayError::bad("Invalid format specified. The only format is csv"));
    }
    let body = input.body.unwrap_or_default();
    let text = std::str::from_utf8(&body).map_err(|_| GatewayError::bad("The API key file is not text"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<String> =
        lines.next().unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let column = |name: &str| columns.iter().position(|column| column == name);
    let (Some(name), Some(value)) = (column("name"), column("key")) else {
        return Err(GatewayError::bad("The API key file needs the columns name and key"));
    };
    let now = super::now(cx);
    let (mut keys, mut plans) = (Vec::new(), Vec::new());
    for line in lines {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).map(|cell| (*cell).to_owned());
        let enabled = cell(column("enabled")).is_none_or(|cell| !cell.eq_ignore_ascii_case("false"));
        keys.push(api::ApiKey {
            id: Some(cx.ids().lower(10)),
            value: cell(Some(value)),
            name: cell(Some(name)),
            description: cell(column("description")),
            enabled: Some(enabled),
            created_date: Some(now),
            last_updated_date: Some(now),
            stage_keys: Some(Vec::new()),
            ..Default::default()
        });
        plans.push(cell(column("usageplanids")).unwrap_or_default());
    }
    let (keys, plans) = (&keys, &plans);
    let fails = input.fail_on_warnings == Some(true);
    let warnings = cx
        .transact(|txn| async move {
            let mut warnings = Vec::new();
            for (key, plans) in keys.iter().zip(plans) {
                add(cx, &txn, key).await?;
                for plan in plans.split([';', '|', ' ']).filter(|plan| !plan.is_empty()) {
                    if PLANS.get(&txn, &rest_api::key(cx, plan)).await?.is_none() {
                        warnings.push(format!("Usage plan {plan} does not exist"));
                        continue;
                    }
                    link(cx, &txn, plan, key)?;
                }
            }
            match warnings.first() {
                Some(first) if fails => Err(GatewayError::bad(first.clone())),
                _ => Ok(warnings),
            }
        })
        .await?;
    let ids = keys.iter().filter_map(|key| key.id.clone()).collect();
    Ok(api::ApiKeyIds { ids: Some(ids), warnings: Some(warnings) })
}

/// Puts a key into a usage plan.
pub fn link(cx: &Cx, txn: &Txn, plan: &str, key: &api::ApiKey) -> Result<api::UsagePlanKey, GatewayError> {
    let id = key.id.clone().unwrap_or_default();
    let row = api::UsagePlanKey {
        id: Some(id.clone()),
        r#type: Some("API_KEY".to_owned()),
        name: key.name.clone(),
        value: key.value.clone(),
    };
    let (account, region) = (cx.account(), cx.region().clone());
    PLAN_KEYS.put(txn, &(account, region.clone(), plan.to_owned(), id.clone()), &Doc(row.clone()))?;
    KEY_PLANS.put(txn, &(account, region, id, plan.to_owned()), &Nothing {})?;
    Ok(row)
}

pub fn unlink(cx: &Cx, txn: &Txn, plan: &str, key: &str) {
    let (account, region) = (cx.account(), cx.region().clone());
    PLAN_KEYS.delete(txn, &(account, region.clone(), plan.to_owned(), key.to_owned()));
    KEY_PLANS.delete(txn, &(account, region, key.to_owned(), plan.to_owned()));
}

pub async fn get_api_key(cx: &Cx, input: api::GetApiKeyRequest) -> Result<api::ApiKey, GatewayError> {
    let key = load(cx, cx.store(), input.api_key.as_deref().unwrap_or_default()).await?;
    Ok(shown(key, input.include_value == Some(true)))
}

pub async fn get_api_keys(cx: &Cx, input: api::GetApiKeysRequest) -> Result<api::ApiKeys, GatewayError> {
    let (name, customer) = (input.name_query, input.customer_id);
    let shows = |Doc(key): &Doc<api::ApiKey>| {
        let fits_name =
            name.as_ref().is_none_or(|start| key.name.as_deref().unwrap_or_default().starts_with(start));
        fits_name && (customer.is_none() || key.customer_id == customer)
    };
    let under = (cx.account(), cx.region().clone());
    let (rows, position) =
        page::of(cx.store(), API_KEYS, &under, input.position.as_deref(), input.limit, shows).await?;
    let with_values = input.include_values == Some(true);
    let items = rows.into_iter().map(|Doc(key)| shown(key, with_values)).collect();
    Ok(api::ApiKeys { items: Some(items), position, warnings: None })
}

pub async fn update_api_key(cx: &Cx, input: api::UpdateApiKeyRequest) -> Result<api::ApiKey, GatewayError> {
    let id = input.api_key.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        let mut after = patched(&load(cx, &txn, id).await?, operations, &PATCHES)?;
        after.last_updated_date = Some(super::now(cx));
        API_KEYS.put(&txn, &rest_api::key(cx, id), &Doc(after.clone()))?;
        Ok(shown(after, false))
    })
    .await
}

pub async fn delete_api_key(cx: &Cx, input: api::DeleteApiKeyRequest) -> Result<Unit, GatewayError> {
    let id = input.api_key.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        let key = load(cx, &txn, id).await?;
        API_KEYS.delete(&txn, &rest_api::key(cx, id));
        KEY_VALUES.delete(&txn, &rest_api::key(cx, &key.value.unwrap_or_default()));
        let under = KEY_PLANS.under(&(cx.account(), cx.region().clone(), id));
        for ((.., plan), _) in KEY_PLANS.scan(&txn, &under, 1_000).await?.rows {
            unlink(cx, &txn, &plan, id);
        }
        Ok(Unit)
    })
    .await
}
