//! `TagResource`, `UntagResource`, `GetTags`: of APIs, stages and domain names.
//!
//! Source: Developer Guide, "API Gateway resources that can be tagged".

use std::collections::BTreeMap;

use pileus_api_apigatewayv2 as api;
use pileus_core::Arn;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use super::keys::{APIS, Part};
use super::parts::{load, open};
use super::rows::{Kept, StageRow};
use crate::error::GatewayError;
use crate::keys::DOMAINS;

type Tags = BTreeMap<String, String>;

/// Source: "API Gateway tagging restrictions".
const MOST_TAGS: usize = 50;

/// `arn:aws:apigateway:{region}::/apis/{id}`, `../apis/{id}/stages/{name}`, `../domainnames/{name}`
enum Tagged {
    Api(String),
    Stage(String, String),
    Domain(String),
}

fn read(cx: &Cx, arn: Option<&str>) -> Result<Tagged, GatewayError> {
    let bad = || GatewayError::bad(format!("Invalid resource ARN: {}", arn.unwrap_or_default()));
    let parsed = Arn::parse(arn.unwrap_or_default()).map_err(|_| bad())?;
    if parsed.service() != "apigateway" || parsed.region() != cx.region().as_str() {
        return Err(bad());
    }
    let parts: Vec<&str> = parsed.resource().trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["apis", id] => Ok(Tagged::Api(id.to_owned())),
        ["apis", id, "stages", name] => Ok(Tagged::Stage(id.to_owned(), name.to_owned())),
        ["domainnames", name] => Ok(Tagged::Domain(name.to_owned())),
        _ => Err(bad()),
    }
}

/// Reads, changes and writes the tags of a resource.
async fn with_tags(
    cx: &Cx,
    arn: Option<&str>,
    change: impl Fn(&mut Tags) -> Result<(), GatewayError> + Send + Sync,
) -> Result<Tags, GatewayError> {
    let change = &change;
    cx.transact(|txn| async move { changed_tags(&txn, cx, read(cx, arn)?, change).await }).await
}

async fn changed_tags(
    txn: &Txn,
    cx: &Cx,
    tagged: Tagged,
    change: &(impl Fn(&mut Tags) -> Result<(), GatewayError> + Send + Sync),
) -> Result<Tags, GatewayError> {
    match tagged {
        Tagged::Api(id) => {
            let mut opened = open(txn, cx, Some(&id)).await?;
            let tags = opened.row.tags.get_or_insert_default();
            let before = tags.clone();
            change(tags)?;
            let tags = tags.clone();
            if before != tags {
                APIS.put(txn, &opened.key(), &opened.row)?;
            }
            Ok(tags)
        }
        Tagged::Stage(id, name) => {
            let opened = open(txn, cx, Some(&id)).await?;
            let mut row: StageRow = load(txn, &opened, Some(&name)).await?;
            let tags = row.tags.get_or_insert_default();
            let before = tags.clone();
            change(tags)?;
            let tags = tags.clone();
            if before != tags {
                StageRow::TABLE.put(txn, &(opened.id, name), &row)?;
            }
            Ok(tags)
        }
        Tagged::Domain(name) => {
            let row = DOMAINS.get(txn, &name).await?.filter(|row| row.account == cx.account());
            let mut row = row.ok_or_else(super::domain_name::no_domain)?;
            let before = row.tags.clone();
            change(&mut row.tags)?;
            if before != row.tags {
                DOMAINS.put(txn, &name, &row)?;
            }
            Ok(row.tags)
        }
    }
}

pub async fn tag_resource(
    cx: &Cx,
    input: api::TagResourceRequest,
) -> Result<api::TagResourceResponse, GatewayError> {
    let added: Tags = Kept::keep(input.tags.unwrap_or_default());
    if let Some(name) =
        added.keys().find(|name| name.is_empty() || name.len() > 128 || name.starts_with("aws:"))
    {
        return Err(GatewayError::bad(format!("Invalid tag key: {name}")));
    }
    with_tags(cx, input.resource_arn.as_deref(), |tags| {
        tags.extend(added.clone());
        match tags.len() > MOST_TAGS {
            true => Err(GatewayError::bad("A resource can have at most 50 tags")),
            false => Ok(()),
        }
    })
    .await?;
    Ok(api::TagResourceResponse {})
}

pub async fn untag_resource(cx: &Cx, input: api::UntagResourceRequest) -> Result<Unit, GatewayError> {
    let names = input.tag_keys.unwrap_or_default();
    with_tags(cx, input.resource_arn.as_deref(), |tags| {
        tags.retain(|name, _| !names.contains(name));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn get_tags(cx: &Cx, input: api::GetTagsRequest) -> Result<api::GetTagsResponse, GatewayError> {
    let tags = with_tags(cx, input.resource_arn.as_deref(), |_| Ok(())).await?;
    Ok(api::GetTagsResponse { tags: Some(tags.wire()) })
}
