//! REST APIs: `CreateRestApi`, `GetRestApi`, `GetRestApis`, `UpdateRestApi`, `DeleteRestApi`.
//!
//! Source: API Gateway API Reference, "CreateRestApi", "RestApi", "UpdateRestApi". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_iam::Policy;
use pileus_platform::{Cx, Platform};
use pileus_store::{Reader, Store, StoreError, Txn};
use pileus_wire::value::Unit;

use super::document::Doc;
use super::keys::{
    APIS, AUTHORIZERS, DEPLOYMENTS, MODELS, Nothing, Owned, PARTS, RESOURCES, RESPONSES, SNAPSHOTS, STAGES,
    TRASH, VALIDATORS, VERSIONS,
};
use super::patch::{self, Rule, element, entry, flag, text};
use super::{model, page, tags};
use crate::error::GatewayError;
use crate::keys::{API_IDS, ApiIdRow, Kind, MAPPINGS, new_api, touch};

const DEFAULT_ENDPOINT: &str = "EDGE";

const PATCHES: [Rule; 12] = [
    text("name"),
    text("description"),
    text("version"),
    text("policy"),
    text("apiKeySource"),
    Rule { path: "minimumCompressionSize", operations: patch::ANY, kind: patch::Kind::Int },
    flag("disableExecuteApiEndpoint"),
    element("binaryMediaTypes"),
    element("endpointConfiguration/types"),
    element("endpointConfiguration/vpcEndpointIds"),
    text("endpointConfiguration/ipAddressType"),
    entry("tags/*"),
];

pub fn key(cx: &Cx, id: &str) -> Owned {
    (cx.account(), cx.region().clone(), id.to_owned())
}

pub fn id_row(cx: &Cx) -> ApiIdRow {
    ApiIdRow { kind: Kind::Rest, account: cx.account(), region: cx.region().clone() }
}

/// # Errors
/// `NotFound` when the caller's account has no such API in the region.
pub async fn load(cx: &Cx, reader: &impl Reader, id: &str) -> Result<api::RestApi, GatewayError> {
    let found = APIS.get(reader, &key(cx, id)).await?;
    found.map(|Doc(api)| api).ok_or_else(|| no_such(cx, id))
}

pub fn no_such(cx: &Cx, id: &str) -> GatewayError {
    GatewayError::NotFound(format!("Invalid API identifier specified {}:{id}", cx.account()))
}

/// A resource policy; `None` if it is none. `execute-api:/stage/verb/path` in it stands for a whole ARN.
pub fn policy_of(text: &str) -> Option<Policy> {
    Policy::parse(&text.replace("\"execute-api:/", "\"arn:*:execute-api:*:*:*/")).ok()
}

/// Nodes that have compiled the API do so anew.
pub fn changed(cx: &Cx, txn: &Txn, id: &str) -> Result<(), GatewayError> {
    Ok(touch(txn, id, &id_row(cx))?)
}

/// The API as clients see it: AWS gives its policy with the quotes escaped once more.
fn shown(mut api: api::RestApi) -> api::RestApi {
    api.policy = api.policy.map(|policy| policy.replace('\\', "\\\\").replace('"', "\\\""));
    api
}

/// # Errors
/// `BadRequest` for settings that there cannot be; `NotImplemented` for private APIs and their like.
fn check(api: &api::RestApi) -> Result<(), GatewayError> {
    if api.name.as_deref().unwrap_or_default().is_empty() {
        return Err(GatewayError::bad("API name cannot be empty"));
    }
    if let Some(source) =
        api.api_key_source.as_deref().filter(|source| !matches!(*source, "HEADER" | "AUTHORIZER"))
    {
        return Err(GatewayError::bad(format!(
            "1 validation error detected: Value '{source}' at 'createRestApiInput.apiKeySource' failed to satisfy constraint: Member must satisfy enum value set: [AUTHORIZER, HEADER]"
        )));
    }
    if api.minimum_compression_size.is_some_and(|size| !(0..=10_485_760).contains(&size)) {
        return Err(GatewayError::bad("Invalid minimum compression size, must be between 0 and 10485760"));
    }
    if let Some(policy) = api.policy.as_deref().filter(|policy| !policy.is_empty()) {
        policy_of(policy).ok_or_else(|| {
            GatewayError::bad(
                "Invalid policy document. Please check the policy syntax and ensure that Principals are valid.",
            )
        })?;
    }
    let types = api.endpoint_configuration.iter().flat_map(|given| given.types.iter().flatten());
    for kind in types {
        match kind.as_str() {
            "REGIONAL" | "EDGE" => {}
            "PRIVATE" => return Err(GatewayError::missing("private APIs (endpoint type PRIVATE)")),
            other => return Err(GatewayError::bad(format!("Invalid endpoint type {other}"))),
        }
    }
    if api
        .endpoint_configuration
        .as_ref()
        .and_then(|given| given.vpc_endpoint_ids.as_ref())
        .is_some_and(|ids| !ids.is_empty())
    {
        return Err(GatewayError::missing("VPC endpoints of APIs (vpcEndpointIds)"));
    }
    Ok(())
}

/// With defaults for what was not said, if it can be.
///
/// # Errors
/// As `CreateRestApi`.
pub fn settled(api: api::RestApi) -> Result<api::RestApi, GatewayError> {
    let api = with_defaults(api);
    check(&api).map(|()| api)
}

fn with_defaults(mut api: api::RestApi) -> api::RestApi {
    let endpoint = api.endpoint_configuration.get_or_insert_default();
    if endpoint.types.as_ref().is_none_or(Vec::is_empty) {
        endpoint.types = Some(vec![DEFAULT_ENDPOINT.to_owned()]);
    }
    endpoint.ip_address_type.get_or_insert_with(|| "ipv4".to_owned());
    api.api_key_source.get_or_insert_with(|| "HEADER".to_owned());
    api.disable_execute_api_endpoint.get_or_insert(false);
    api
}

/// The API with its root resource and the two models that AWS gives to each.
pub async fn create_rest_api(
    cx: &Cx,
    input: api::CreateRestApiRequest,
) -> Result<api::RestApi, GatewayError> {
    if input.endpoint_access_mode.is_some() {
        return Err(GatewayError::missing("endpointAccessMode of APIs"));
    }
    if input.security_policy.is_some() {
        return Err(GatewayError::missing("securityPolicy of APIs"));
    }
    tags::check(input.tags.as_ref())?;
    let draft = with_defaults(api::RestApi {
        name: input.name,
        description: input.description,
        version: input.version,
        binary_media_types: input.binary_media_types,
        minimum_compression_size: input.minimum_compression_size,
        api_key_source: input.api_key_source,
        endpoint_configuration: input.endpoint_configuration,
        policy: input.policy.filter(|policy| !policy.is_empty()),
        tags: input.tags.filter(|tags| !tags.is_empty()),
        disable_execute_api_endpoint: input.disable_execute_api_endpoint,
        ..Default::default()
    });
    check(&draft)?;
    let (draft, clone_from) = (&draft, input.clone_from.as_deref());
    let api = cx
        .transact(|txn| async move {
            let mut api = add(cx, &txn, draft.clone()).await?;
            if let Some(from) = clone_from {
                copy(cx, &txn, from, &mut api).await?;
            }
            Ok::<_, GatewayError>(api)
        })
        .await?;
    Ok(shown(api))
}

/// Writes a new API.
///
/// # Errors
/// Those of the store.
pub async fn add(cx: &Cx, txn: &Txn, draft: api::RestApi) -> Result<api::RestApi, GatewayError> {
    let id = new_api(txn, cx.ids(), &id_row(cx)).await?;
    let root = cx.ids().lower(10);
    let api = api::RestApi {
        id: Some(id.clone()),
        created_date: Some(super::now(cx)),
        root_resource_id: Some(root.clone()),
        ..with_defaults(draft)
    };
    check(&api)?;
    let resource = api::Resource { id: Some(root.clone()), path: Some("/".to_owned()), ..Default::default() };
    RESOURCES.put(txn, &(id.clone(), root), &Doc(resource))?;
    for model in model::defaults(cx) {
        MODELS.put(txn, &(id.clone(), model.name.clone().unwrap_or_default()), &Doc(model))?;
    }
    APIS.put(txn, &key(cx, &id), &Doc(api.clone()))?;
    Ok(api)
}

/// `cloneFrom`: everything but deployments, stages and tags.
async fn copy(cx: &Cx, txn: &Txn, from: &str, api: &mut api::RestApi) -> Result<(), GatewayError> {
    let source = load(cx, txn, from).await?;
    let id = api.id.clone().unwrap_or_default();
    let root = api.root_resource_id.take().unwrap_or_default();
    RESOURCES.delete(txn, &(id.clone(), root));
    for Doc(resource) in page::all(txn, RESOURCES, &(from,)).await? {
        RESOURCES.put(txn, &(id.clone(), resource.id.clone().unwrap_or_default()), &Doc(resource))?;
    }
    for Doc(model) in page::all(txn, MODELS, &(from,)).await? {
        MODELS.put(txn, &(id.clone(), model.name.clone().unwrap_or_default()), &Doc(model))?;
    }
    for Doc(row) in page::all(txn, VALIDATORS, &(from,)).await? {
        VALIDATORS.put(txn, &(id.clone(), row.id.clone().unwrap_or_default()), &Doc(row))?;
    }
    for Doc(row) in page::all(txn, AUTHORIZERS, &(from,)).await? {
        AUTHORIZERS.put(txn, &(id.clone(), row.id.clone().unwrap_or_default()), &Doc(row))?;
    }
    for Doc(row) in page::all(txn, RESPONSES, &(from,)).await? {
        RESPONSES.put(txn, &(id.clone(), row.response_type.clone().unwrap_or_default()), &Doc(row))?;
    }
    for Doc(row) in page::all(txn, PARTS, &(from,)).await? {
        PARTS.put(txn, &(id.clone(), row.id.clone().unwrap_or_default()), &Doc(row))?;
    }
    api.root_resource_id = source.root_resource_id;
    api.binary_media_types = api.binary_media_types.take().or(source.binary_media_types);
    api.minimum_compression_size = api.minimum_compression_size.or(source.minimum_compression_size);
    api.policy = api.policy.take().or(source.policy);
    APIS.put(txn, &key(cx, &id), &Doc(api.clone()))?;
    Ok(())
}

pub async fn get_rest_api(cx: &Cx, input: api::GetRestApiRequest) -> Result<api::RestApi, GatewayError> {
    Ok(shown(load(cx, cx.store(), &input.rest_api_id.unwrap_or_default()).await?))
}

pub async fn get_rest_apis(cx: &Cx, input: api::GetRestApisRequest) -> Result<api::RestApis, GatewayError> {
    let under = (cx.account(), cx.region().clone());
    let (rows, position) =
        page::of(cx.store(), APIS, &under, input.position.as_deref(), input.limit, |_| true).await?;
    let items = rows.into_iter().map(|Doc(api)| shown(api)).collect();
    Ok(api::RestApis { items: Some(items), position })
}

pub async fn update_rest_api(
    cx: &Cx,
    input: api::UpdateRestApiRequest,
) -> Result<api::RestApi, GatewayError> {
    let id = input.rest_api_id.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    // One kind of endpoint gives way to another: `replace /endpointConfiguration/types/EDGE REGIONAL`.
    let api = cx
        .transact(|txn| async move {
            let before = load(cx, &txn, id).await?;
            let mut api = patch::patched(&before, operations, &PATCHES)?;
            api.policy = api.policy.filter(|policy| !policy.is_empty());
            check(&api)?;
            APIS.put(&txn, &key(cx, id), &Doc(api.clone()))?;
            changed(cx, &txn, id)?;
            Ok::<_, GatewayError>(api)
        })
        .await?;
    Ok(shown(api))
}

/// `DeleteRestApi`: it is gone at once; its rows go afterwards.
pub async fn delete_rest_api(cx: &Cx, input: api::DeleteRestApiRequest) -> Result<Unit, GatewayError> {
    let id = &input.rest_api_id.unwrap_or_default();
    cx.transact(|txn| async move {
        load(cx, &txn, id).await?;
        let mappings = MAPPINGS.scan(&txn, &MAPPINGS.all(), 1_000).await?;
        if mappings.rows.iter().any(|(_, mapping)| mapping.api_id == *id) {
            return Err(GatewayError::bad(
                "Base path mappings for this API must be removed before it is deleted",
            ));
        }
        APIS.delete(&txn, &key(cx, id));
        API_IDS.delete(&txn, id);
        TRASH.put(&txn, id, &Nothing {})?;
        Ok(())
    })
    .await?;
    sweep(cx.store(), id).await?;
    Ok(Unit)
}

/// Removes the rows of an API that is deleted.
async fn sweep(store: &Store, id: &str) -> Result<(), StoreError> {
    macro_rules! clear {
        ($($table:ident)*) => {
            $(loop {
                let page = $table.scan(store, &$table.under(&(id,)), 200).await?;
                let keys: Vec<_> = page.rows.into_iter().map(|(key, _)| key).collect();
                let keys = &keys;
                if keys.is_empty() {
                    break;
                }
                store.transact(|txn| async move {
                    keys.iter().for_each(|key| $table.delete(&txn, key));
                    Ok::<_, StoreError>(())
                }).await?;
                if !page.more {
                    break;
                }
            })*
        };
    }
    clear! { RESOURCES DEPLOYMENTS SNAPSHOTS STAGES MODELS VALIDATORS AUTHORIZERS RESPONSES PARTS VERSIONS }
    let id = &id.to_owned();
    store
        .transact(|txn| async move {
            TRASH.delete(&txn, id);
            Ok::<_, StoreError>(())
        })
        .await
}

/// Removes what a node that stopped has left of deleted APIs. Any number of nodes may do so at once.
pub async fn sweep_all(platform: Platform) {
    let store = platform.store();
    let found = match TRASH.scan(store, &TRASH.all(), 1_000).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "deleted APIs cannot be read");
            return;
        }
    };
    for (id, _) in found.rows {
        if let Err(error) = sweep(store, &id).await {
            tracing::warn!(%error, api = id, "the rows of a deleted API stay");
        }
    }
    std::future::pending::<()>().await;
}
