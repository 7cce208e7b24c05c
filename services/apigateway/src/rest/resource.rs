//! Resources: `CreateResource`, `GetResource`, `GetResources`, `UpdateResource`, `DeleteResource`.
//!
//! Source: API Gateway API Reference, "CreateResource", "Resource". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::Unit;

use super::document::Doc;
use super::keys::RESOURCES;
use super::patch::{Rule, patched, text};
use super::{api as rest_api, page};
use crate::error::GatewayError;

const PATCHES: [Rule; 2] = [text("pathPart"), text("parentId")];
/// Source: "Quotas for configuring and running a REST API in API Gateway".
const MOST: usize = 300;

pub async fn load(reader: &impl Reader, api: &str, id: &str) -> Result<api::Resource, GatewayError> {
    let found = RESOURCES.get(reader, &(api.to_owned(), id.to_owned())).await?;
    found.map(|Doc(row)| row).ok_or_else(no_such)
}

pub fn store(txn: &Txn, api: &str, resource: &api::Resource) -> Result<(), GatewayError> {
    let id = resource.id.clone().unwrap_or_default();
    Ok(RESOURCES.put(txn, &(api.to_owned(), id), &Doc(resource.clone()))?)
}

fn no_such() -> GatewayError {
    GatewayError::NotFound("Invalid Resource identifier specified".to_owned())
}

pub async fn all(reader: &impl Reader, api: &str) -> Result<Vec<api::Resource>, GatewayError> {
    Ok(page::all(reader, RESOURCES, &(api,)).await?.into_iter().map(|Doc(row)| row).collect())
}

/// `{name}` or `{name+}`.
pub fn is_variable(part: &str) -> bool {
    part.starts_with('{') && part.ends_with('}')
}

/// # Errors
/// `BadRequest` unless it is letters, digits and a few signs, or one variable.
pub fn check_part(part: &str) -> Result<(), GatewayError> {
    let inner = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(variable) => variable.strip_suffix('+').unwrap_or(variable),
        None => part,
    };
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '~' | '$' | '@' | ',');
    if !inner.is_empty() && inner.chars().all(allowed) {
        return Ok(());
    }
    Err(GatewayError::bad(
        "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end.",
    ))
}

/// Whether a part can stand under `parent`, beside the resources that do already.
///
/// # Errors
/// `Conflict` for a name that is taken, `BadRequest` for a second variable or anything below a greedy one.
pub fn check_place(
    resources: &[api::Resource],
    parent: &api::Resource,
    part: &str,
    own_id: Option<&str>,
) -> Result<(), GatewayError> {
    check_part(part)?;
    if parent.path_part.as_deref().is_some_and(|part| part.ends_with("+}")) {
        let variable = parent.path_part.as_deref().unwrap_or_default().trim_matches(['{', '}']);
        return Err(GatewayError::bad(format!(
            "Cannot create a child of a resource with a greedy path variable: {variable}"
        )));
    }
    let siblings = resources.iter().filter(|other| {
        other.parent_id.is_some() && other.parent_id == parent.id && other.id.as_deref() != own_id
    });
    for sibling in siblings {
        let other = sibling.path_part.as_deref().unwrap_or_default();
        if other == part {
            return Err(GatewayError::Conflict(format!(
                "Another resource with the same parent already has this name: {part}"
            )));
        }
        if is_variable(other) && is_variable(part) {
            return Err(GatewayError::bad(format!(
                "A sibling ({}) of this resource already has a variable path part -- only one is allowed",
                sibling.id.as_deref().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

pub fn child_path(parent: &str, part: &str) -> String {
    format!("{}/{part}", parent.strip_suffix('/').unwrap_or(parent))
}

pub async fn create_resource(
    cx: &Cx,
    input: api::CreateResourceRequest,
) -> Result<api::Resource, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let (parent_id, part) =
        (input.parent_id.as_deref().unwrap_or_default(), input.path_part.unwrap_or_default());
    let (id, part) = (&cx.ids().lower(6), &part);
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let resources = all(&txn, api).await?;
        let parent = resources.iter().find(|row| row.id.as_deref() == Some(parent_id)).ok_or_else(no_such)?;
        check_place(&resources, parent, part, None)?;
        if resources.len() >= MOST && cx.limits() == pileus_platform::LimitsProfile::Aws {
            return Err(GatewayError::LimitExceeded(format!("Maximum number of resources for this API has been reached. Please contact AWS if you need additional resources. {MOST}")));
        }
        let resource = api::Resource {
            id: Some(id.clone()),
            parent_id: Some(parent_id.to_owned()),
            path_part: Some(part.clone()),
            path: Some(child_path(parent.path.as_deref().unwrap_or_default(), part)),
            resource_methods: None,
        };
        store(&txn, api, &resource)?;
        Ok(resource)
    })
    .await
}

/// `embed=methods` shows the methods whole; without it each is an empty object.
fn shown(mut resource: api::Resource, embed: Option<&Vec<String>>) -> api::Resource {
    let is_whole = embed.into_iter().flatten().any(|what| what == "methods");
    if let Some(methods) = resource.resource_methods.as_mut().filter(|_| !is_whole) {
        methods.0.iter_mut().for_each(|(_, method)| *method = api::Method::default());
    }
    resource
}

pub async fn get_resource(cx: &Cx, input: api::GetResourceRequest) -> Result<api::Resource, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let resource = load(cx.store(), api, input.resource_id.as_deref().unwrap_or_default()).await?;
    Ok(shown(resource, input.embed.as_ref()))
}

pub async fn get_resources(cx: &Cx, input: api::GetResourcesRequest) -> Result<api::Resources, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), RESOURCES, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    let items = rows.into_iter().map(|Doc(row)| shown(row, input.embed.as_ref())).collect();
    Ok(api::Resources { items: Some(items), position })
}

/// `UpdateResource`: a new name or place, with everything below it.
pub async fn update_resource(
    cx: &Cx,
    input: api::UpdateResourceRequest,
) -> Result<api::Resource, GatewayError> {
    let (api, id) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.resource_id.as_deref().unwrap_or_default());
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let mut resources = all(&txn, api).await?;
        let before = resources.iter().find(|row| row.id.as_deref() == Some(id)).ok_or_else(no_such)?;
        if before.parent_id.is_none() {
            return Err(GatewayError::bad("Root resource cannot be updated"));
        }
        let mut after = patched(before, operations, &PATCHES)?;
        let parent = resources.iter().find(|row| row.id == after.parent_id).ok_or_else(no_such)?;
        let (old, part) =
            (before.path.clone().unwrap_or_default(), after.path_part.clone().unwrap_or_default());
        let below = format!("{old}/");
        if parent.path.as_deref().is_some_and(|path| path == old || path.starts_with(&below)) {
            return Err(GatewayError::bad("Resource cannot be moved below itself"));
        }
        check_place(&resources, parent, &part, Some(id))?;
        let new = child_path(parent.path.as_deref().unwrap_or_default(), &part);
        for child in &mut resources {
            let path = child.path.clone().unwrap_or_default();
            if let Some(rest) = path.strip_prefix(&below) {
                child.path = Some(format!("{new}/{rest}"));
                store(&txn, api, child)?;
            }
        }
        after.path = Some(new);
        store(&txn, api, &after)?;
        Ok(after)
    })
    .await
}

/// `DeleteResource`: with everything below it.
pub async fn delete_resource(cx: &Cx, input: api::DeleteResourceRequest) -> Result<Unit, GatewayError> {
    let (api, id) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.resource_id.as_deref().unwrap_or_default());
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let resources = all(&txn, api).await?;
        let found = resources.iter().find(|row| row.id.as_deref() == Some(id)).ok_or_else(no_such)?;
        if found.parent_id.is_none() {
            return Err(GatewayError::bad("Root resource cannot be deleted"));
        }
        let below = format!("{}/", found.path.as_deref().unwrap_or_default());
        for row in &resources {
            let path = row.path.as_deref().unwrap_or_default();
            if row.id.as_deref() == Some(id) || path.starts_with(&below) {
                RESOURCES.delete(&txn, &(api.to_owned(), row.id.clone().unwrap_or_default()));
            }
        }
        Ok(Unit)
    })
    .await
}
