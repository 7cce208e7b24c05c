//! Layers: `PublishLayerVersion`, `GetLayerVersion`, `GetLayerVersionByArn`, `ListLayers`, `ListLayerVersions`, `DeleteLayerVersion`, and
//! what a function's configuration says of them.
//!
//! Source: AWS Lambda API Reference, "PublishLayerVersion"; Lambda Developer Guide, "Managing Lambda dependencies with layers".
//! Recorded: the sentences.

pub mod permission;

use pileus_api_lambda as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::LambdaError;
use crate::function::code::{self, MAX_UNZIPPED, Source};
use crate::function::settings::MAX_LAYERS;
use crate::function::{Code, LayerUse, modified_text, runtimes};
use crate::keys::{FunctionKey, LAYER_VERSIONS, LAYERS};
use crate::name::LayerName;
use crate::page::Page;
use crate::permission::PolicyRow;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerRow {
    /// Numbers are not used again, also when versions are deleted.
    pub next_version: u64,
}

impl Stored for LayerRow {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerVersionRow {
    pub code: Code,
    pub created: Timestamp,
    pub description: String,
    pub runtimes: Option<Vec<String>>,
    pub architectures: Option<Vec<String>>,
    pub license: Option<String>,
    #[serde(default)]
    pub policy: PolicyRow,
}

impl Stored for LayerVersionRow {}

pub fn key(name: &LayerName) -> FunctionKey {
    (name.account, name.region.clone(), name.name.clone())
}

fn version_key(name: &LayerName, version: u64) -> (pileus_core::AccountId, pileus_core::Region, String, u64) {
    (name.account, name.region.clone(), name.name.clone(), version)
}

fn owner(name: &LayerName, version: u64) -> String {
    name.version_arn(version)
}

/// `PublishLayerVersion`
pub async fn publish_layer_version(
    cx: &Cx,
    input: api::PublishLayerVersionRequest,
) -> Result<api::PublishLayerVersionResponse, LambdaError> {
    let name = &LayerName::parse(cx, input.layer_name.as_deref())?;
    if name.account != cx.account() || name.version.is_some() {
        return Err(LambdaError::invalid(
            "A layer version is published under a layer of the caller's own account.",
        ));
    }
    let unknown = input.compatible_runtimes.iter().flatten().find(|runtime| !runtimes::is_known(runtime));
    if let Some(unknown) = unknown {
        return Err(LambdaError::Validation(format!(
            "Value '[{unknown}]' at 'compatibleRuntimes' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [{}]]",
            runtimes::SUPPORTED.join(", ")
        )));
    }
    let given = input.content.unwrap_or_default();
    let source = Source {
        zip: given.zip_file,
        s3_bucket: given.s3_bucket,
        s3_key: given.s3_key,
        s3_version: given.s3_object_version,
        ..Source::default()
    };
    let row = LayerVersionRow {
        code: code::keep(cx, source, "PublishLayerVersion").await?,
        created: cx.now(),
        description: input.description.unwrap_or_default(),
        runtimes: input.compatible_runtimes,
        architectures: input.compatible_architectures,
        license: input.license_info,
        policy: PolicyRow { revision: cx.ids().uuid(), statements: Vec::new() },
    };
    let row = &row;
    let version = cx
        .transact(|txn| async move {
            let mut layer = LAYERS.get(&txn, &key(name)).await?.unwrap_or(LayerRow { next_version: 1 });
            let version = layer.next_version;
            layer.next_version += 1;
            LAYERS.put(&txn, &key(name), &layer)?;
            LAYER_VERSIONS.put(&txn, &version_key(name, version), row)?;
            code::hold(&txn, &row.code, &owner(name, version))?;
            Ok::<_, LambdaError>(version)
        })
        .await?;
    Ok(api::PublishLayerVersionResponse {
        content: Some(content(row)),
        layer_arn: Some(name.arn()),
        layer_version_arn: Some(name.version_arn(version)),
        description: Some(row.description.clone()),
        created_date: Some(modified_text(row.created)),
        version: Some(number(version)),
        compatible_architectures: row.architectures.clone(),
        compatible_runtimes: row.runtimes.clone(),
        license_info: row.license.clone(),
    })
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Chosen: no `Location`, a presigned link to S3, until there is S3.
fn content(row: &LayerVersionRow) -> api::LayerVersionContentOutput {
    api::LayerVersionContentOutput {
        code_sha256: Some(row.code.sha256()),
        code_size: Some(row.code.size()),
        ..api::LayerVersionContentOutput::default()
    }
}

/// A version's number as a request gives it.
pub fn version_number(given: Option<i64>) -> Result<u64, LambdaError> {
    match given.and_then(|number| u64::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(number),
        _ => Err(LambdaError::invalid("Layer Version Cannot be less than 1.")),
    }
}

/// # Errors
/// `ResourceNotFoundException`
pub async fn load(
    reader: &impl Reader,
    name: &LayerName,
    version: u64,
) -> Result<LayerVersionRow, LambdaError> {
    let found = LAYER_VERSIONS.get(reader, &version_key(name, version)).await?;
    found.ok_or_else(LambdaError::not_there)
}

/// `GetLayerVersion`
pub async fn get_layer_version(
    cx: &Cx,
    input: api::GetLayerVersionRequest,
) -> Result<api::GetLayerVersionResponse, LambdaError> {
    let name = LayerName::parse(cx, input.layer_name.as_deref())?;
    let version = version_number(input.version_number)?;
    show(cx, &name, version).await
}

/// `GetLayerVersionByArn`
pub async fn get_layer_version_by_arn(
    cx: &Cx,
    input: api::GetLayerVersionByArnRequest,
) -> Result<api::GetLayerVersionResponse, LambdaError> {
    let name = LayerName::parse(cx, input.arn.as_deref())?;
    show(cx, &name, name.version.unwrap_or_default()).await
}

async fn show(cx: &Cx, name: &LayerName, version: u64) -> Result<api::GetLayerVersionResponse, LambdaError> {
    let row = load(cx.store(), name, version).await?;
    Ok(api::GetLayerVersionResponse {
        content: Some(content(&row)),
        layer_arn: Some(name.arn()),
        layer_version_arn: Some(name.version_arn(version)),
        description: Some(row.description),
        created_date: Some(modified_text(row.created)),
        version: Some(number(version)),
        compatible_architectures: row.architectures,
        compatible_runtimes: row.runtimes,
        license_info: row.license,
    })
}

/// Which layer versions a list asks for.
struct Wanted<'a> {
    runtime: Option<&'a str>,
    architecture: Option<&'a str>,
}

impl Wanted<'_> {
    fn takes(&self, row: &LayerVersionRow) -> bool {
        let has = |list: &Option<Vec<String>>, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| list.iter().flatten().any(|value| value == wanted))
        };
        has(&row.runtimes, self.runtime) && has(&row.architectures, self.architecture)
    }
}

/// The versions of a layer, newest first.
async fn versions(
    reader: &impl Reader,
    name: &LayerName,
    wanted: &Wanted<'_>,
) -> Result<Vec<(u64, LayerVersionRow)>, LambdaError> {
    let mut range = LAYER_VERSIONS.under(&(name.account, &name.region, name.name.as_str()));
    let mut found = Vec::new();
    loop {
        let rows = LAYER_VERSIONS.scan(reader, &range, 200).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&LAYER_VERSIONS.key(last));
        let kept = rows.rows.into_iter().filter(|(_, row)| wanted.takes(row));
        found.extend(kept.map(|((_, _, _, version), row)| (version, row)));
        if !rows.more {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

fn item(name: &LayerName, version: u64, row: LayerVersionRow) -> api::LayerVersionsListItem {
    api::LayerVersionsListItem {
        layer_version_arn: Some(name.version_arn(version)),
        version: Some(number(version)),
        description: Some(row.description),
        created_date: Some(modified_text(row.created)),
        compatible_architectures: row.architectures,
        compatible_runtimes: row.runtimes,
        license_info: row.license,
    }
}

/// `ListLayerVersions`: newest first.
pub async fn list_layer_versions(
    cx: &Cx,
    input: api::ListLayerVersionsRequest,
) -> Result<api::ListLayerVersionsResponse, LambdaError> {
    let name = LayerName::parse(cx, input.layer_name.as_deref())?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let wanted = Wanted {
        runtime: input.compatible_runtime.as_deref(),
        architecture: input.compatible_architecture.as_deref(),
    };
    let found = versions(cx.store(), &name, &wanted).await?;
    let (found, next_marker) = page.cut(found, |(version, _)| format!("{:020}", u64::MAX - version));
    let items = found.into_iter().map(|(version, row)| item(&name, version, row)).collect();
    Ok(api::ListLayerVersionsResponse { layer_versions: Some(items), next_marker })
}

/// `ListLayers`: each with its newest version that fits.
pub async fn list_layers(
    cx: &Cx,
    input: api::ListLayersRequest,
) -> Result<api::ListLayersResponse, LambdaError> {
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let wanted = Wanted {
        runtime: input.compatible_runtime.as_deref(),
        architecture: input.compatible_architecture.as_deref(),
    };
    let mut range = LAYERS.under(&(cx.account(), cx.region()));
    if let Some(after) = page.after() {
        range = range.after(&LAYERS.key(&(cx.account(), cx.region(), after)));
    }
    let rows = LAYERS.scan(cx.store(), &range, page.limit()).await?;
    let last = rows.rows.last().map(|((_, _, name), _)| name.clone());
    let mut layers = Vec::new();
    for ((account, region, name), _) in rows.rows {
        let name = LayerName { account, region, name, version: None };
        let Some((version, row)) = versions(cx.store(), &name, &wanted).await?.into_iter().next() else {
            continue;
        };
        layers.push(api::LayersListItem {
            layer_name: Some(name.name.clone()),
            layer_arn: Some(name.arn()),
            latest_matching_version: Some(item(&name, version, row)),
        });
    }
    let next_marker = last.filter(|_| rows.more).map(|last| Page::marker(&last));
    Ok(api::ListLayersResponse { layers: Some(layers), next_marker })
}

/// `DeleteLayerVersion`: functions that use it keep it. One that is not there counts as deleted.
pub async fn delete_layer_version(
    cx: &Cx,
    input: api::DeleteLayerVersionRequest,
) -> Result<Unit, LambdaError> {
    let name = &LayerName::parse(cx, input.layer_name.as_deref())?;
    let version = version_number(input.version_number)?;
    cx.transact(|txn| async move {
        if let Some(row) = LAYER_VERSIONS.get(&txn, &version_key(name, version)).await? {
            code::release(&txn, &row.code, &owner(name, version));
            LAYER_VERSIONS.delete(&txn, &version_key(name, version));
        }
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

/// The layers of a function's configuration. Whether the caller may use them has been judged before.
///
/// # Errors
/// `InvalidParameterValueException`
pub async fn attach(cx: &Cx, arns: Vec<String>) -> Result<Vec<LayerUse>, LambdaError> {
    if arns.len() > MAX_LAYERS {
        return Err(LambdaError::invalid("Cannot reference more than 5 layers."));
    }
    let mut uses = Vec::with_capacity(arns.len());
    let mut seen: Vec<(String, String)> = Vec::new();
    for arn in arns {
        let named = LayerName::from_arn(&arn);
        let Some((name, version)) = named.and_then(|name| name.version.map(|version| (name, version))) else {
            return Err(LambdaError::invalid(format!("Layer version {arn} does not exist.")));
        };
        if name.region != *cx.region() {
            return Err(LambdaError::invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                cx.region()
            )));
        }
        if let Some((_, other)) = seen.iter().find(|(layer, _)| *layer == name.arn()) {
            return Err(LambdaError::invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {other} and {arn} are versions of the same layer."
            )));
        }
        let found = LAYER_VERSIONS.get(cx.store(), &version_key(&name, version)).await?;
        let row =
            found.ok_or_else(|| LambdaError::invalid(format!("Layer version {arn} does not exist.")))?;
        seen.push((name.arn(), arn.clone()));
        uses.push(LayerUse { arn, code: row.code });
    }
    Ok(uses)
}

/// Code and layers together must not unpack to more than a function may have.
pub fn check_size(code: &Code, layers: &[LayerUse]) -> Result<(), LambdaError> {
    let size = layers.iter().fold(code.unzipped, |sum, layer| sum.saturating_add(layer.code.unzipped));
    if size <= MAX_UNZIPPED {
        return Ok(());
    }
    Err(LambdaError::invalid(format!(
        "Function code combined with layers exceeds the maximum allowed size of {MAX_UNZIPPED} bytes. The actual size is {size} bytes."
    )))
}
