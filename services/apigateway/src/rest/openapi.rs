//! OpenAPI: `ImportRestApi`, `PutRestApi`, `ImportDocumentationParts`, `GetExport`.
//!
//! | File | Holds |
//! |---|---|
//! | `openapi/read.rs` | a document to a [`Definition`]: pure |
//! | `openapi/write.rs` | an API to a document: pure |
//!
//! Source: API Gateway API Reference, "ImportRestApi", "PutRestApi", "GetExport"; API Gateway Developer Guide, "Develop REST APIs using
//! OpenAPI in API Gateway", "OpenAPI extensions for API Gateway".

mod read;
mod write;

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Map;
use serde_json::Value as Json;

use self::read::{BasePath, Definition};
use super::document::Doc;
use super::keys::{APIS, AUTHORIZERS, MODELS, PARTS, RESOURCES, RESPONSES, VALIDATORS};
use super::snapshot::Snapshot;
use super::{
    api as rest_api, authorizer, documentation, gateway_response, integration, model, page, resource, stage,
};
use crate::error::GatewayError;

/// Source: "Quotas for configuring and running a REST API in API Gateway" (size of an API definition).
const LONGEST: usize = 6 << 20;

/// JSON or YAML.
fn parse(body: &[u8]) -> Result<Json, GatewayError> {
    if body.len() > LONGEST {
        return Err(GatewayError::bad("The API definition is longer than 6 MB"));
    }
    let text = std::str::from_utf8(body).map_err(|_| GatewayError::bad("The API definition is not text"))?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| {
            GatewayError::bad(format!("Invalid OpenAPI input. Unable to parse JSON: {error}"))
        });
    }
    super::yaml::read(text)
        .map_err(|error| GatewayError::bad(format!("Invalid OpenAPI input. Unable to parse YAML: {error}")))
}

struct Options {
    base_path: BasePath,
    fails_on_warnings: bool,
    endpoints: Option<Vec<String>>,
}

fn options(parameters: Option<&Map<String>>, fails: Option<bool>) -> Result<Options, GatewayError> {
    let get = |name: &str| parameters.and_then(|map| map.get(name)).map(String::as_str);
    let base_path = match get("basepath").or(get("basePath")) {
        None | Some("ignore") => BasePath::Ignored,
        Some("prepend") => BasePath::Prepended,
        Some("split") => BasePath::Split,
        Some(other) => {
            return Err(GatewayError::bad(format!(
                "Invalid basepath specified: {other}. Must be one of ignore, prepend, split"
            )));
        }
    };
    let endpoints =
        get("endpointConfigurationTypes").map(|types| types.split(',').map(str::to_owned).collect());
    Ok(Options { base_path, fails_on_warnings: fails == Some(true), endpoints })
}

/// # Errors
/// `BadRequest` when there are warnings and they are to fail the import.
fn heeded(definition: Definition, options: &Options) -> Result<Definition, GatewayError> {
    match options.fails_on_warnings && !definition.warnings.is_empty() {
        true => Err(GatewayError::bad(format!(
            "Warnings found during import:\n\t{}",
            definition.warnings.join("\n\t")
        ))),
        false => Ok(definition),
    }
}

pub async fn import_rest_api(
    cx: &Cx,
    input: api::ImportRestApiRequest,
) -> Result<api::RestApi, GatewayError> {
    let options = &options(input.parameters.as_ref(), input.fail_on_warnings)?;
    let document = parse(&input.body.unwrap_or_default())?;
    let document = &document;
    cx.transact(|txn| async move {
        // The id is part of the references between models.
        let draft = api::RestApi { name: Some("imported".to_owned()), ..Default::default() };
        let added = rest_api::add(cx, &txn, draft).await?;
        let id = added.id.clone().unwrap_or_default();
        let definition = read::read(document, &id, options.base_path, || cx.ids().lower(6))?;
        let definition = heeded(definition, options)?;
        let mut api = api::RestApi {
            id: added.id,
            created_date: added.created_date,
            root_resource_id: added.root_resource_id,
            ..definition.api.clone()
        };
        if let Some(types) = &options.endpoints {
            api.endpoint_configuration.get_or_insert_default().types = Some(types.clone());
        }
        let warnings = definition.warnings.clone();
        let api = write_all(cx, &txn, api, definition).await?;
        Ok(api::RestApi { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()), ..api })
    })
    .await
}

/// `PutRestApi`: `merge` (the default) adds to the API and lets the document win; `overwrite` leaves nothing but the document.
pub async fn put_rest_api(cx: &Cx, input: api::PutRestApiRequest) -> Result<api::RestApi, GatewayError> {
    let options = &options(input.parameters.as_ref(), input.fail_on_warnings)?;
    let document = &parse(&input.body.unwrap_or_default())?;
    let id = input.rest_api_id.as_deref().unwrap_or_default();
    let overwrites = input.mode.as_deref() == Some("overwrite");
    cx.transact(|txn| async move {
        let before = rest_api::load(cx, &txn, id).await?;
        let definition = read::read(document, id, options.base_path, || cx.ids().lower(6))?;
        let mut definition = heeded(definition, options)?;
        if overwrites {
            clear(&txn, id, before.root_resource_id.as_deref().unwrap_or_default()).await?;
        } else {
            merge(&txn, id, &mut definition).await?;
        }
        let new = definition.api.clone();
        let api = api::RestApi {
            name: new.name.or(before.name),
            description: new.description.or(before.description),
            version: new.version.or(before.version),
            binary_media_types: new.binary_media_types.or(before.binary_media_types),
            minimum_compression_size: new.minimum_compression_size.or(before.minimum_compression_size),
            api_key_source: new.api_key_source.or(before.api_key_source),
            endpoint_configuration: new.endpoint_configuration.or(before.endpoint_configuration),
            policy: new.policy.or(before.policy),
            disable_execute_api_endpoint: new
                .disable_execute_api_endpoint
                .or(before.disable_execute_api_endpoint),
            id: before.id,
            created_date: before.created_date,
            root_resource_id: before.root_resource_id,
            tags: before.tags,
            ..Default::default()
        };
        let warnings = definition.warnings.clone();
        let api = write_all(cx, &txn, api, definition).await?;
        rest_api::changed(cx, &txn, id)?;
        Ok(api::RestApi { warnings: Some(warnings).filter(|warnings| !warnings.is_empty()), ..api })
    })
    .await
}

/// Takes everything away but the root resource.
async fn clear(txn: &Txn, id: &str, root: &str) -> Result<(), GatewayError> {
    for row in resource::all(txn, id).await? {
        RESOURCES.delete(txn, &(id.to_owned(), row.id.unwrap_or_default()));
    }
    let empty = api::Resource { id: Some(root.to_owned()), path: Some("/".to_owned()), ..Default::default() };
    resource::store(txn, id, &empty)?;
    macro_rules! delete_all {
        ($($table:ident)*) => {
            $(for (key, _) in $table.scan(txn, &$table.under(&(id,)), 1_000).await?.rows {
                $table.delete(txn, &key);
            })*
        };
    }
    delete_all! { MODELS VALIDATORS AUTHORIZERS RESPONSES PARTS }
    Ok(())
}

/// Rows of the API that the document names too keep their ids.
async fn merge(txn: &Txn, id: &str, definition: &mut Definition) -> Result<(), GatewayError> {
    for Doc(known) in page::all(txn, VALIDATORS, &(id,)).await? {
        if let Some(new) = definition.validators.iter_mut().find(|new| new.name == known.name) {
            definition
                .renamed
                .push((new.id.clone().unwrap_or_default(), known.id.clone().unwrap_or_default()));
            new.id = known.id;
        }
    }
    for Doc(known) in page::all(txn, AUTHORIZERS, &(id,)).await? {
        if let Some(new) = definition.authorizers.iter_mut().find(|new| new.name == known.name) {
            definition
                .renamed
                .push((new.id.clone().unwrap_or_default(), known.id.clone().unwrap_or_default()));
            new.id = known.id;
        }
    }
    for Doc(known) in page::all(txn, PARTS, &(id,)).await? {
        if let Some(new) = definition.parts.iter_mut().find(|new| new.location == known.location) {
            new.id = known.id;
        }
    }
    let renamed = definition.renamed.clone();
    let new_id = |old: &mut Option<String>| {
        if let Some((_, new)) = renamed.iter().find(|(known, _)| Some(known) == old.as_ref()) {
            *old = Some(new.clone());
        }
    };
    for (_, methods) in &mut definition.paths {
        for (_, method) in methods {
            new_id(&mut method.request_validator_id);
            new_id(&mut method.authorizer_id);
        }
    }
    Ok(())
}

/// Writes a definition over an API: resources are made where their paths are not there yet.
async fn write_all(
    cx: &Cx,
    txn: &Txn,
    api: api::RestApi,
    definition: Definition,
) -> Result<api::RestApi, GatewayError> {
    let id = api.id.clone().unwrap_or_default();
    let key = |name: &Option<String>| (id.clone(), name.clone().unwrap_or_default());
    for new in &definition.models {
        model::check(new)?;
        MODELS.put(txn, &key(&new.name), &Doc(new.clone()))?;
    }
    for new in &definition.validators {
        VALIDATORS.put(txn, &key(&new.id), &Doc(new.clone()))?;
    }
    for new in &definition.authorizers {
        authorizer::check(new)?;
        AUTHORIZERS.put(txn, &key(&new.id), &Doc(new.clone()))?;
    }
    for new in &definition.responses {
        gateway_response::check(new)?;
        RESPONSES.put(txn, &key(&new.response_type), &Doc(new.clone()))?;
    }
    for new in &definition.parts {
        documentation::check(new)?;
        PARTS.put(txn, &key(&new.id), &Doc(new.clone()))?;
    }
    let mut resources = resource::all(txn, &id).await?;
    for (path, methods) in definition.paths {
        let at = place(cx, &mut resources, &path)?;
        for (verb, method) in methods {
            if let Some(given) = &method.method_integration {
                integration::check(given, &method)?;
            }
            resources[at].resource_methods.get_or_insert_default().insert(verb, method);
        }
    }
    for resource in &resources {
        resource::store(txn, &id, resource)?;
    }
    let api = rest_api::settled(api)?;
    APIS.put(txn, &rest_api::key(cx, &id), &Doc(api.clone()))?;
    Ok(api)
}

/// The resource of a path, made with those above it if it is not there.
fn place(cx: &Cx, resources: &mut Vec<api::Resource>, path: &str) -> Result<usize, GatewayError> {
    let no_root = || GatewayError::Internal("an API without its root resource".to_owned());
    let mut at = resources.iter().position(|row| row.path.as_deref() == Some("/")).ok_or_else(no_root)?;
    let mut so_far = String::from("/");
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far = resource::child_path(&so_far, part);
        at = match resources.iter().position(|row| row.path.as_deref() == Some(&so_far)) {
            Some(known) => known,
            None => {
                resource::check_place(resources, &resources[at], part, None)?;
                resources.push(api::Resource {
                    id: Some(cx.ids().lower(6)),
                    parent_id: resources[at].id.clone(),
                    path_part: Some(part.to_owned()),
                    path: Some(so_far.clone()),
                    resource_methods: None,
                });
                resources.len() - 1
            }
        };
    }
    Ok(at)
}

/// `ImportDocumentationParts`: the parts of `x-amazon-apigateway-documentation` alone.
pub async fn import_documentation_parts(
    cx: &Cx,
    input: api::ImportDocumentationPartsRequest,
) -> Result<api::DocumentationPartIds, GatewayError> {
    let document = parse(&input.body.unwrap_or_default())?;
    let id = input.rest_api_id.as_deref().unwrap_or_default();
    let overwrites = input.mode.as_deref() == Some("overwrite");
    let parts = read::documentation(&document, &mut || cx.ids().lower(6));
    let warnings = match parts.is_empty() {
        true => vec!["The document has no documentation parts".to_owned()],
        false => Vec::new(),
    };
    if input.fail_on_warnings == Some(true)
        && let Some(first) = warnings.first()
    {
        return Err(GatewayError::bad(first.clone()));
    }
    let parts = &parts;
    let ids = cx
        .transact(|txn| async move {
            rest_api::load(cx, &txn, id).await?;
            let known = documentation::all(&txn, id).await?;
            if overwrites {
                for part in &known {
                    PARTS.delete(&txn, &(id.to_owned(), part.id.clone().unwrap_or_default()));
                }
            }
            let mut ids = Vec::new();
            for part in parts {
                documentation::check(part)?;
                let same = known.iter().find(|known| known.location == part.location).filter(|_| !overwrites);
                let part_id = same.map_or(&part.id, |known| &known.id).clone().unwrap_or_default();
                let row = api::DocumentationPart { id: Some(part_id.clone()), ..part.clone() };
                PARTS.put(&txn, &(id.to_owned(), part_id.clone()), &Doc(row))?;
                ids.push(part_id);
            }
            Ok::<_, GatewayError>(ids)
        })
        .await?;
    Ok(api::DocumentationPartIds { ids: Some(ids), warnings: Some(warnings) })
}

/// `GetExport`: what a stage leads to, as OpenAPI 2.0 or 3.0, in JSON or YAML.
pub async fn get_export(cx: &Cx, input: api::GetExportRequest) -> Result<api::ExportResponse, GatewayError> {
    let id = input.rest_api_id.unwrap_or_default();
    rest_api::load(cx, cx.store(), &id).await?;
    let stage = stage::load(cx.store(), &id, input.stage_name.as_deref().unwrap_or_default()).await?;
    let version = match input.export_type.as_deref() {
        Some("oas30") => write::Version::Three,
        Some("swagger") => write::Version::Two,
        other => {
            return Err(GatewayError::bad(format!(
                "No API exporter for type '{}'",
                other.unwrap_or_default()
            )));
        }
    };
    let deployment = stage.deployment_id.clone().unwrap_or_default();
    let snapshot = Snapshot::load(cx.store(), &id, &deployment).await?;
    let snapshot = snapshot
        .ok_or_else(|| GatewayError::NotFound("Invalid Deployment identifier specified".to_owned()))?;
    let extensions =
        input.parameters.as_ref().and_then(|map| map.get("extensions")).cloned().unwrap_or_default();
    let wanted: Vec<&str> = extensions.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|name| {
        !matches!(
            **name,
            "integrations"
                | "apigateway"
                | "authorizers"
                | "documentation"
                | "validators"
                | "gatewayresponses"
                | "postman"
        )
    }) {
        return Err(GatewayError::bad(format!("Invalid extension specified: {unknown}")));
    }
    if wanted.contains(&"postman") {
        return Err(GatewayError::missing("exports for Postman (extensions=postman)"));
    }
    let parts = match wanted.contains(&"documentation") {
        true => documentation::all(cx.store(), &id).await?,
        false => Vec::new(),
    };
    let host = host_of(cx, &id);
    let document = write::write(&snapshot, &stage, version, &wanted, &host, &parts);
    let is_yaml = input.accepts.as_deref().is_some_and(|accepts| accepts.contains("yaml"));
    let (content_type, body, extension) = match is_yaml {
        true => ("application/yaml", super::yaml::write(&document), "yaml"),
        false => ("application/json", serde_json::to_string_pretty(&document).unwrap_or_default(), "json"),
    };
    let kind = if version == write::Version::Three { "oas30" } else { "swagger" };
    let file = format!("{kind}_{}.{extension}", super::now(cx).to_iso8601());
    Ok(api::ExportResponse {
        content_type: Some(content_type.to_owned()),
        content_disposition: Some(format!("attachment; filename=\"{file}\"")),
        body: Some(body.into()),
    })
}

/// The API's own host, as clients of this node reach it.
pub fn host_of(cx: &Cx, id: &str) -> String {
    let endpoint = cx.endpoint();
    let rest = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
    let port =
        rest.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = rest.strip_suffix(&port).unwrap_or(rest);
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let domain = cx.platform().config().hosts.domain_of(host).filter(|_| !is_address).unwrap_or("localhost");
    format!("{id}.execute-api.{}.{domain}{port}", cx.region())
}
