//! Deployments: `CreateDeployment`, `GetDeployment`, `GetDeployments`, `UpdateDeployment`, `DeleteDeployment`.
//!
//! Source: API Gateway API Reference, "CreateDeployment"; API Gateway Developer Guide, "Deploy REST APIs in API Gateway", "Create a
//! canary release deployment". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Reader;
use pileus_wire::value::{Map, Unit};

use super::document::Doc;
use super::keys::{DEPLOYMENTS, STAGES};
use super::patch::{Rule, patched, text};
use super::snapshot::Snapshot;
use super::{api as rest_api, page, stage};
use crate::error::GatewayError;

const PATCHES: [Rule; 1] = [text("description")];

fn no_such() -> GatewayError {
    GatewayError::NotFound("Invalid Deployment identifier specified".to_owned())
}

pub async fn load(reader: &impl Reader, api: &str, id: &str) -> Result<api::Deployment, GatewayError> {
    let found = DEPLOYMENTS.get(reader, &(api.to_owned(), id.to_owned())).await?;
    found.map(|Doc(row)| row).ok_or_else(no_such)
}

/// # Errors
/// `BadRequest` for an API that has no methods, or methods without integrations.
fn check(snapshot: &Snapshot) -> Result<(), GatewayError> {
    let mut methods = snapshot
        .resources
        .iter()
        .flat_map(|Doc(resource)| resource.resource_methods.iter().flat_map(|methods| methods.iter()))
        .peekable();
    if methods.peek().is_none() {
        return Err(GatewayError::bad("The REST API doesn't contain any methods"));
    }
    if methods.any(|(_, method)| method.method_integration.is_none()) {
        return Err(GatewayError::bad("No integration defined for method"));
    }
    Ok(())
}

/// The API as it is now, kept; and its stage, if one is named, led to it.
pub async fn create_deployment(
    cx: &Cx,
    input: api::CreateDeploymentRequest,
) -> Result<api::Deployment, GatewayError> {
    let api = input.rest_api_id.clone().unwrap_or_default();
    let id = cx.ids().lower(6);
    let deployment = &api::Deployment {
        id: Some(id.clone()),
        description: input.description.clone(),
        created_date: Some(super::now(cx)),
        api_summary: None,
    };
    let (api, id, input) = (api.as_str(), id.as_str(), &input);
    cx.transact(|txn| async move {
        let snapshot = Snapshot::take(&txn, rest_api::load(cx, &txn, api).await?).await?;
        check(&snapshot)?;
        snapshot.store(&txn, api, id)?;
        let summary = api::Deployment { api_summary: Some(summary(&snapshot)), ..deployment.clone() };
        DEPLOYMENTS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(summary))?;
        if let Some(name) = input.stage_name.as_deref().filter(|name| !name.is_empty()) {
            stage::deploy(cx, &txn, api, name, id, input).await?;
        } else if input.canary_settings.is_some() {
            return Err(GatewayError::bad("Stage name is required for a canary deployment"));
        }
        rest_api::changed(cx, &txn, api)
    })
    .await?;
    Ok(deployment.clone())
}

/// Paths, their methods, and who may call each.
fn summary(snapshot: &Snapshot) -> Map<Map<api::MethodSnapshot>> {
    let paths = snapshot.resources.iter().filter_map(|Doc(resource)| {
        let methods = resource.resource_methods.as_ref().filter(|methods| !methods.is_empty())?;
        let methods = methods.iter().map(|(verb, method)| {
            let summary = api::MethodSnapshot {
                authorization_type: method.authorization_type.clone(),
                api_key_required: method.api_key_required,
            };
            (verb.to_owned(), summary)
        });
        Some((resource.path.clone().unwrap_or_default(), methods.collect()))
    });
    paths.collect()
}

fn shown(mut deployment: api::Deployment, embed: Option<&Vec<String>>) -> api::Deployment {
    if !embed.into_iter().flatten().any(|what| what == "apisummary") {
        deployment.api_summary = None;
    }
    deployment
}

pub async fn get_deployment(
    cx: &Cx,
    input: api::GetDeploymentRequest,
) -> Result<api::Deployment, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let found = load(cx.store(), api, input.deployment_id.as_deref().unwrap_or_default()).await?;
    Ok(shown(found, input.embed.as_ref()))
}

pub async fn get_deployments(
    cx: &Cx,
    input: api::GetDeploymentsRequest,
) -> Result<api::Deployments, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), DEPLOYMENTS, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    Ok(api::Deployments {
        items: Some(rows.into_iter().map(|Doc(row)| shown(row, None)).collect()),
        position,
    })
}

pub async fn update_deployment(
    cx: &Cx,
    input: api::UpdateDeploymentRequest,
) -> Result<api::Deployment, GatewayError> {
    let (api, id) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.deployment_id.as_deref().unwrap_or_default(),
    );
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let after = patched(&load(&txn, api, id).await?, operations, &PATCHES)?;
        DEPLOYMENTS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(after.clone()))?;
        Ok(shown(after, None))
    })
    .await
}

pub async fn delete_deployment(cx: &Cx, input: api::DeleteDeploymentRequest) -> Result<Unit, GatewayError> {
    let (api, id) = (
        input.rest_api_id.as_deref().unwrap_or_default(),
        input.deployment_id.as_deref().unwrap_or_default(),
    );
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, id).await?;
        for Doc(stage) in page::all(&txn, STAGES, &(api,)).await? {
            let canary = stage.canary_settings.as_ref().and_then(|canary| canary.deployment_id.as_deref());
            if stage.deployment_id.as_deref() == Some(id) || canary == Some(id) {
                return Err(GatewayError::bad(
                    "Active stages pointing to this deployment must be moved or deleted",
                ));
            }
        }
        DEPLOYMENTS.delete(&txn, &(api.to_owned(), id.to_owned()));
        Snapshot::delete(&txn, api, id).await?;
        Ok(Unit)
    })
    .await
}
