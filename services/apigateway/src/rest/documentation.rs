//! Documentation: `CreateDocumentationPart`, `CreateDocumentationVersion` and their sisters.
//!
//! Source: API Gateway API Reference, "CreateDocumentationPart", "DocumentationPartLocation", "CreateDocumentationVersion". Recorded: the
//! sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::document::Doc;
use super::keys::{PARTS, STAGES, VERSIONS};
use super::patch::{Rule, patched, text};
use super::{api as rest_api, page};
use crate::error::GatewayError;

const PART_PATCHES: [Rule; 1] = [text("properties")];
const VERSION_PATCHES: [Rule; 1] = [text("description")];

/// A version with the parts as they were.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionRow {
    pub version: Doc<api::DocumentationVersion>,
    pub parts: Vec<Doc<api::DocumentationPart>>,
}

impl Stored for VersionRow {}

async fn load(reader: &impl Reader, api: &str, id: &str) -> Result<api::DocumentationPart, GatewayError> {
    let found = PARTS.get(reader, &(api.to_owned(), id.to_owned())).await?;
    let missing = || GatewayError::NotFound("Invalid Documentation part identifier specified".to_owned());
    found.map(|Doc(row)| row).ok_or_else(missing)
}

pub async fn all(reader: &impl Reader, api: &str) -> Result<Vec<api::DocumentationPart>, GatewayError> {
    Ok(page::all(reader, PARTS, &(api,)).await?.into_iter().map(|Doc(row)| row).collect())
}

/// # Errors
/// `BadRequest` for properties that are no object.
pub fn check(part: &api::DocumentationPart) -> Result<(), GatewayError> {
    let properties = part.properties.as_deref().unwrap_or_default();
    match serde_json::from_str::<Json>(properties) {
        Ok(Json::Object(_)) => Ok(()),
        _ => Err(GatewayError::bad("Documentation part properties must be a JSON object")),
    }
}

pub async fn create_documentation_part(
    cx: &Cx,
    input: api::CreateDocumentationPartRequest,
) -> Result<api::DocumentationPart, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = cx.ids().lower(6);
    let part = &api::DocumentationPart {
        id: Some(id.clone()),
        location: input.location,
        properties: input.properties,
    };
    check(part)?;
    let id = id.as_str();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        if all(&txn, api).await?.iter().any(|other| other.location == part.location) {
            return Err(GatewayError::Conflict(
                "Documentation part already exists for the specified location".to_owned(),
            ));
        }
        Ok(PARTS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(part.clone()))?)
    })
    .await?;
    Ok(part.clone())
}

pub async fn get_documentation_part(
    cx: &Cx,
    input: api::GetDocumentationPartRequest,
) -> Result<api::DocumentationPart, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    load(cx.store(), api, input.documentation_part_id.as_deref().unwrap_or_default()).await
}

pub async fn get_documentation_parts(
    cx: &Cx,
    input: api::GetDocumentationPartsRequest,
) -> Result<api::DocumentationParts, GatewayError> {
    if input.location_status.as_deref() == Some("UNDOCUMENTED") {
        return Err(GatewayError::missing("locationStatus UNDOCUMENTED of documentation parts"));
    }
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (kind, name, path) = (input.r#type, input.name_query, input.path);
    let shows = |Doc(part): &Doc<api::DocumentationPart>| {
        let at = part.location.as_ref();
        let is = |wanted: &Option<String>, own: Option<&String>| wanted.is_none() || wanted.as_ref() == own;
        is(&kind, at.and_then(|at| at.r#type.as_ref()))
            && is(&name, at.and_then(|at| at.name.as_ref()))
            && is(&path, at.and_then(|at| at.path.as_ref()))
    };
    let (rows, position) =
        page::of(cx.store(), PARTS, &(api,), input.position.as_deref(), input.limit, shows).await?;
    Ok(api::DocumentationParts { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

pub async fn update_documentation_part(
    cx: &Cx,
    input: api::UpdateDocumentationPartRequest,
) -> Result<api::DocumentationPart, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = input.documentation_part_id.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let after = patched(&load(&txn, api, id).await?, operations, &PART_PATCHES)?;
        check(&after)?;
        PARTS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

pub async fn delete_documentation_part(
    cx: &Cx,
    input: api::DeleteDocumentationPartRequest,
) -> Result<Unit, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = input.documentation_part_id.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, id).await?;
        PARTS.delete(&txn, &(api.to_owned(), id.to_owned()));
        Ok(Unit)
    })
    .await
}

async fn load_version(reader: &impl Reader, api: &str, version: &str) -> Result<VersionRow, GatewayError> {
    let found = VERSIONS.get(reader, &(api.to_owned(), version.to_owned())).await?;
    found.ok_or_else(|| GatewayError::NotFound("Invalid Documentation version specified".to_owned()))
}

pub async fn create_documentation_version(
    cx: &Cx,
    input: api::CreateDocumentationVersionRequest,
) -> Result<api::DocumentationVersion, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let name = input.documentation_version.clone().unwrap_or_default();
    let version = &api::DocumentationVersion {
        version: Some(name.clone()),
        created_date: Some(super::now(cx)),
        description: input.description,
    };
    let (name, stage) = (name.as_str(), input.stage_name.as_deref());
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let parts: Vec<_> = all(&txn, api).await?.into_iter().map(Doc).collect();
        if parts.is_empty() {
            return Err(GatewayError::bad("No documentation parts found for the API"));
        }
        let row = VersionRow { version: Doc(version.clone()), parts };
        if !VERSIONS.put_if_absent(&txn, &(api.to_owned(), name.to_owned()), &row).await? {
            return Err(GatewayError::Conflict("Documentation version already exists".to_owned()));
        }
        if let Some(stage) = stage {
            let key = (api.to_owned(), stage.to_owned());
            let found = STAGES.get(&txn, &key).await?;
            let missing = || GatewayError::NotFound("Invalid stage identifier specified".to_owned());
            let Doc(mut stage) = found.ok_or_else(missing)?;
            stage.documentation_version = Some(name.to_owned());
            STAGES.put(&txn, &key, &Doc(stage))?;
        }
        Ok(())
    })
    .await?;
    Ok(version.clone())
}

pub async fn get_documentation_version(
    cx: &Cx,
    input: api::GetDocumentationVersionRequest,
) -> Result<api::DocumentationVersion, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let row =
        load_version(cx.store(), api, input.documentation_version.as_deref().unwrap_or_default()).await?;
    Ok(row.version.0)
}

pub async fn get_documentation_versions(
    cx: &Cx,
    input: api::GetDocumentationVersionsRequest,
) -> Result<api::DocumentationVersions, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), VERSIONS, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    Ok(api::DocumentationVersions {
        items: Some(rows.into_iter().map(|row| row.version.0).collect()),
        position,
    })
}

pub async fn update_documentation_version(
    cx: &Cx,
    input: api::UpdateDocumentationVersionRequest,
) -> Result<api::DocumentationVersion, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let version = input.documentation_version.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let mut row = load_version(&txn, api, version).await?;
        row.version = Doc(patched(&row.version.0, operations, &VERSION_PATCHES)?);
        VERSIONS.put(&txn, &(api.to_owned(), version.to_owned()), &row)?;
        Ok(row.version.0)
    })
    .await
}

pub async fn delete_documentation_version(
    cx: &Cx,
    input: api::DeleteDocumentationVersionRequest,
) -> Result<Unit, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let version = input.documentation_version.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load_version(&txn, api, version).await?;
        VERSIONS.delete(&txn, &(api.to_owned(), version.to_owned()));
        Ok(Unit)
    })
    .await
}
