//! `TagResource`, `UntagResource`, `GetTags`: of APIs, stages, API keys and usage plans, by ARN.
//!
//! Source: API Gateway Developer Guide, "Tagging API Gateway resources"; API Reference, "TagResource".

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::{Map, Unit};

use super::document::Doc;
use super::keys::{API_KEYS, APIS, PLANS, STAGES};
use super::{api as rest_api, domain};
use crate::error::GatewayError;

const MOST: usize = 50;

/// # Errors
/// `BadRequest` for keys and values that are too long or not the customer's to use.
pub fn check(tags: Option<&Map<String>>) -> Result<(), GatewayError> {
    let Some(tags) = tags else { return Ok(()) };
    if tags.len() > MOST {
        return Err(GatewayError::bad(format!("Resource cannot have more than {MOST} tags")));
    }
    for (key, value) in tags.iter() {
        if key.is_empty() || key.chars().count() > 128 || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(GatewayError::bad(format!("Invalid tag key: {key}")));
        }
        if value.chars().count() > 256 {
            return Err(GatewayError::bad(format!("Invalid tag value for the key {key}")));
        }
    }
    Ok(())
}

/// Reads the tags of a resource, and changes them if `change` does.
async fn with(
    cx: &Cx,
    txn: &Txn,
    arn: &str,
    change: impl Fn(&mut Map<String>) -> bool,
) -> Result<Map<String>, GatewayError> {
    let invalid = || GatewayError::bad("Invalid resource ARN specified in the request");
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, _, "apigateway", region, _, path] = parts[..] else { return Err(invalid()) };
    if region != cx.region().as_str() {
        return Err(invalid());
    }
    let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    macro_rules! of {
        ($table:ident, $key:expr) => {{
            let key = $key;
            let found = $table.get(txn, &key).await?;
            let Some(Doc(mut row)) = found else {
                return Err(GatewayError::NotFound("Invalid resource identifier specified".to_owned()));
            };
            let mut tags = row.tags.take().unwrap_or_default();
            if change(&mut tags) {
                row.tags = Some(tags.clone()).filter(|tags| !tags.is_empty());
                $table.put(txn, &key, &Doc(row))?;
            }
            Ok(tags)
        }};
    }
    match path[..] {
        ["restapis", id] => of!(APIS, rest_api::key(cx, id)),
        ["restapis", id, "stages", stage] => {
            rest_api::load(cx, txn, id).await?;
            of!(STAGES, (id.to_owned(), stage.to_owned()))
        }
        ["apikeys", id] => of!(API_KEYS, rest_api::key(cx, id)),
        ["usageplans", id] => of!(PLANS, rest_api::key(cx, id)),
        ["domainnames", name] => domain::with_tags(cx, txn, name, change).await,
        _ => Err(invalid()),
    }
}

pub async fn get_tags(cx: &Cx, input: api::GetTagsRequest) -> Result<api::Tags, GatewayError> {
    let arn = input.resource_arn.as_deref().unwrap_or_default();
    let tags = cx.transact(|txn| async move { with(cx, &txn, arn, |_| false).await }).await?;
    Ok(api::Tags { tags: Some(tags) })
}

pub async fn tag_resource(cx: &Cx, input: api::TagResourceRequest) -> Result<Unit, GatewayError> {
    check(input.tags.as_ref())?;
    let (arn, new) = (input.resource_arn.as_deref().unwrap_or_default(), &input.tags.unwrap_or_default());
    let tags = cx
        .transact(|txn| async move {
            with(cx, &txn, arn, |tags| {
                new.iter().for_each(|(key, value)| tags.insert(key, value.clone()));
                true
            })
            .await
        })
        .await?;
    check(Some(&tags))?;
    Ok(Unit)
}

pub async fn untag_resource(cx: &Cx, input: api::UntagResourceRequest) -> Result<Unit, GatewayError> {
    let (arn, keys) =
        (input.resource_arn.as_deref().unwrap_or_default(), &input.tag_keys.unwrap_or_default());
    cx.transact(|txn| async move {
        with(cx, &txn, arn, |tags| {
            tags.0.retain(|(key, _)| !keys.contains(key));
            true
        })
        .await
    })
    .await?;
    Ok(Unit)
}
