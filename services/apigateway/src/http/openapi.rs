//! `ImportApi`, `ReimportApi`, `ExportApi`: HTTP APIs as OpenAPI 3 documents with API Gateway's extensions.
//!
//! Source: Developer Guide, "Use OpenAPI definitions for HTTP APIs in API Gateway", "OpenAPI extensions for API Gateway", "Export HTTP APIs
//! from API Gateway".

use std::collections::BTreeMap;

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use serde_json::{Map, Value, json};

use super::api::{answer, check_cors, defaults, delete_parts, endpoint};
use super::keys::{APIS, Part};
use super::parts::{Opened, changed, definition, deployed, load, open};
use super::rows::{
    ApiRow, AuthorizerRow, Cors, Definition, IntegrationRow, JwtConfiguration, RouteRow, StageRow, show,
};
use super::{authorizer, integration, route};
use crate::error::GatewayError;
use crate::keys::{ApiIdRow, Kind, new_api};
use crate::rest::yaml;

/// Source: "Quotas for configuring and running an HTTP API" (size of an API definition).
const LONGEST: usize = 6 << 20;
const METHODS: [&str; 8] =
    ["get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method"];
const ANY: &str = "x-amazon-apigateway-any-method";
const INTEGRATION: &str = "x-amazon-apigateway-integration";
const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";
const CORS: &str = "x-amazon-apigateway-cors";
const TAG: &str = "x-amazon-apigateway-tag-value";

/// What a document says, without ids: routes name their integration by its place and their authorizer by its name.
#[derive(Debug, Default)]
struct Imported {
    api: ApiRow,
    integrations: Vec<IntegrationRow>,
    authorizers: Vec<AuthorizerRow>,
    routes: Vec<(RouteRow, Option<usize>)>,
    warnings: Vec<String>,
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    let all = value?.as_array()?;
    Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn text_map(value: Option<&Value>) -> Option<BTreeMap<String, String>> {
    let all = value?.as_object()?;
    Some(all.iter().map(|(name, value)| (name.clone(), super::context::bare(value))).collect())
}

fn parse(body: &str) -> Result<Value, GatewayError> {
    if body.len() > LONGEST {
        return Err(GatewayError::bad("The API definition is longer than 6 MB"));
    }
    let document: Value = match body.trim_start().starts_with('{') {
        true => serde_json::from_str(body).map_err(|error| error.to_string()),
        false => yaml::read(body),
    }
    .map_err(|error| GatewayError::bad(format!("Unable to parse OpenAPI document: {error}")))?;
    match text(&document, "openapi") {
        Some(version) if version.starts_with("3.") => Ok(document),
        _ => Err(GatewayError::bad("Only OpenAPI 3.0 definitions are supported for HTTP APIs")),
    }
}

/// Follows `#/components/..`.
fn referred<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn read_cors(value: &Value) -> Cors {
    Cors {
        allow_credentials: value.get("allowCredentials").and_then(Value::as_bool),
        allow_headers: texts(value.get("allowHeaders")),
        allow_methods: texts(value.get("allowMethods")),
        allow_origins: texts(value.get("allowOrigins")),
        expose_headers: texts(value.get("exposeHeaders")),
        max_age: value.get("maxAge").and_then(Value::as_i64),
    }
}

fn read_integration(value: &Value) -> IntegrationRow {
    let responses = value.get("responseParameters").and_then(Value::as_object).map(|all| {
        let one = |(status, changes): (&String, &Value)| Some((status.clone(), text_map(Some(changes))?));
        all.iter().filter_map(one).collect()
    });
    let mut row = IntegrationRow {
        connection_id: text(value, "connectionId"),
        credentials_arn: text(value, "credentials"),
        description: text(value, "description"),
        integration_method: text(value, "httpMethod").map(|method| match method.as_str() {
            ANY => "ANY".to_owned(),
            _ => method,
        }),
        integration_subtype: text(value, "integrationSubtype"),
        integration_type: text(value, "type").map(|kind| kind.to_uppercase()),
        integration_uri: text(value, "uri"),
        request_parameters: text_map(value.get("requestParameters")),
        response_parameters: responses,
        ..integration::defaults(Kind::Http)
    };
    row.connection_type = text(value, "connectionType").or(row.connection_type);
    row.payload_format_version =
        value.get("payloadFormatVersion").map(super::context::bare).or(row.payload_format_version);
    row.timeout_in_millis = value.get("timeoutInMillis").and_then(Value::as_i64).or(row.timeout_in_millis);
    row
}

fn read_authorizer(name: &str, value: &Value) -> AuthorizerRow {
    let sources = match value.get("identitySource") {
        Some(Value::String(all)) => Some(all.split(',').map(|source| source.trim().to_owned()).collect()),
        other => texts(other),
    };
    let jwt = value
        .get("jwtConfiguration")
        .map(|jwt| JwtConfiguration { audience: texts(jwt.get("audience")), issuer: text(jwt, "issuer") });
    AuthorizerRow {
        authorizer_credentials_arn: text(value, "authorizerCredentials"),
        authorizer_payload_format_version: value
            .get("authorizerPayloadFormatVersion")
            .map(super::context::bare),
        authorizer_result_ttl_in_seconds: value.get("authorizerResultTtlInSeconds").and_then(Value::as_i64),
        authorizer_type: text(value, "type").map(|kind| kind.to_uppercase()),
        authorizer_uri: text(value, "authorizerUri"),
        enable_simple_responses: value.get("enableSimpleResponses").and_then(Value::as_bool),
        identity_source: sources,
        jwt_configuration: jwt,
        name: Some(name.to_owned()),
        ..AuthorizerRow::default()
    }
}

/// The path before all others that a document's servers give.
fn base_path(document: &Value) -> String {
    let server = document.pointer("/servers/0");
    let mut url = server.and_then(|server| text(server, "url")).unwrap_or_default();
    for (name, variable) in
        server.and_then(|server| server.get("variables")?.as_object()).into_iter().flatten()
    {
        url = url.replace(&format!("{{{name}}}"), &text(variable, "default").unwrap_or_default());
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => &url,
    };
    path.trim_end_matches('/').to_owned()
}

fn read(document: &Value, basepath: Option<&str>) -> Result<Imported, GatewayError> {
    let base = base_path(document);
    let prefix = match basepath {
        None | Some("ignore") => String::new(),
        Some("prepend") => base,
        Some("split") => base
            .trim_start_matches('/')
            .split_once('/')
            .map(|(_, rest)| format!("/{rest}"))
            .unwrap_or_default(),
        Some(other) => return Err(GatewayError::bad(format!("Invalid basepath specified: {other}"))),
    };
    let info = document.get("info").cloned().unwrap_or_default();
    let mut imported = Imported::default();
    imported.api.name = text(&info, "title");
    imported.api.description = text(&info, "description");
    imported.api.version = info.get("version").map(super::context::bare);
    imported.api.cors_configuration = document.get(CORS).map(read_cors);
    let tags = document.get("tags").and_then(Value::as_array).into_iter().flatten();
    let tags = tags.filter_map(|tag| Some((text(tag, "name")?, text(tag, TAG)?)));
    imported.api.tags = Some(tags.collect());
    for (name, scheme) in
        document.pointer("/components/securitySchemes").and_then(Value::as_object).into_iter().flatten()
    {
        if let Some(value) = scheme.get(AUTHORIZER) {
            imported.authorizers.push(read_authorizer(name, value));
        }
    }
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let key = match (path.as_str(), method) {
                ("/$default" | "$default", ANY) => "$default".to_owned(),
                (path, ANY) => format!("ANY {prefix}{path}"),
                (path, method) => format!("{} {prefix}{path}", method.to_uppercase()),
            };
            let target = operation.get(INTEGRATION).map(|value| {
                let row = read_integration(referred(document, value));
                imported.integrations.push(row);
                imported.integrations.len() - 1
            });
            if target.is_none() {
                imported.warnings.push(format!("No integration defined for route {key}"));
            }
            let mut route = RouteRow {
                route_key: Some(key),
                operation_name: text(operation, "operationId"),
                ..route::defaults()
            };
            secure(document, operation, &imported.authorizers, &mut route)?;
            imported.routes.push((route, target));
        }
    }
    Ok(imported)
}

/// Who may call a route: the operation's own word, else the document's.
fn secure(
    document: &Value,
    operation: &Value,
    authorizers: &[AuthorizerRow],
    route: &mut RouteRow,
) -> Result<(), GatewayError> {
    if operation.pointer("/x-amazon-apigateway-auth/type").and_then(Value::as_str) == Some("AWS_IAM") {
        route.authorization_type = Some("AWS_IAM".to_owned());
        return Ok(());
    }
    let security = operation.get("security").or_else(|| document.get("security")).and_then(Value::as_array);
    let Some((name, scopes)) = security.and_then(|all| all.first()?.as_object()?.iter().next()) else {
        return Ok(());
    };
    let Some(found) = authorizers.iter().find(|row| row.name.as_ref() == Some(name)) else {
        let scheme = document.pointer(&format!("/components/securitySchemes/{name}"));
        let kind = scheme.and_then(|scheme| text(scheme, "x-amazon-apigateway-authtype"));
        return match kind.as_deref() {
            Some("awsSigv4") => {
                route.authorization_type = Some("AWS_IAM".to_owned());
                Ok(())
            }
            _ => Err(GatewayError::bad(format!("Security scheme {name} has no authorizer"))),
        };
    };
    let is_jwt = found.authorizer_type.as_deref() == Some("JWT");
    route.authorization_type = Some(if is_jwt { "JWT" } else { "CUSTOM" }.to_owned());
    route.authorizer_id.clone_from(&found.name);
    route.authorization_scopes = texts(Some(scopes)).filter(|scopes| is_jwt && !scopes.is_empty());
    Ok(())
}

/// Writes the parts of an import, with ids.
async fn write(txn: &Txn, cx: &Cx, opened: &Opened, imported: &Imported) -> Result<(), GatewayError> {
    let put_key = |id: &str| (opened.id.clone(), id.to_owned());
    let mut authorizers = BTreeMap::new();
    for row in &imported.authorizers {
        let id = cx.ids().lower(6);
        let mut row = AuthorizerRow { authorizer_id: Some(id.clone()), ..row.clone() };
        authorizer::check(opened, &mut row)?;
        authorizers.insert(row.name.clone(), id.clone());
        AuthorizerRow::TABLE.put(txn, &put_key(&id), &row)?;
    }
    let mut integrations = Vec::new();
    for row in &imported.integrations {
        let id = cx.ids().lower(7);
        let mut row = IntegrationRow { integration_id: Some(id.clone()), ..row.clone() };
        integration::complete(Kind::Http, &mut row);
        integration::check(cx, Kind::Http, &row)?;
        IntegrationRow::TABLE.put(txn, &put_key(&id), &row)?;
        integrations.push(id);
    }
    for (row, target) in &imported.routes {
        let id = cx.ids().lower(7);
        let target = target.and_then(|at| integrations.get(at)).map(|id| format!("integrations/{id}"));
        let authorizer_id =
            authorizers.get(&row.authorizer_id).cloned().filter(|_| row.authorizer_id.is_some());
        let row = RouteRow { route_id: Some(id.clone()), target, authorizer_id, ..row.clone() };
        route::check(txn, opened, &row).await?;
        RouteRow::TABLE.put(txn, &put_key(&id), &row)?;
    }
    changed(txn, cx, opened).await
}

fn accepted(
    body: Option<&str>,
    basepath: Option<&str>,
    fails: Option<bool>,
) -> Result<Imported, GatewayError> {
    let document = parse(body.unwrap_or_default())?;
    let imported = read(&document, basepath)?;
    if fails == Some(true) && !imported.warnings.is_empty() {
        return Err(GatewayError::bad(format!(
            "Warnings found during import: {}",
            imported.warnings.join("; ")
        )));
    }
    if imported.api.name.as_deref().is_none_or(str::is_empty) {
        return Err(GatewayError::bad("API name is required: info.title"));
    }
    imported.api.cors_configuration.as_ref().map_or(Ok(()), check_cors)?;
    Ok(imported)
}

fn merge(row: &mut ApiRow, imported: &Imported) {
    let given = &imported.api;
    row.name.clone_from(&given.name);
    row.description.clone_from(&given.description);
    row.version.clone_from(&given.version);
    row.cors_configuration.clone_from(&given.cors_configuration);
    row.warnings = Some(imported.warnings.clone()).filter(|warnings| !warnings.is_empty());
}

pub async fn import_api(
    cx: &Cx,
    input: api::ImportApiRequest,
) -> Result<api::ImportApiResponse, GatewayError> {
    let imported = &accepted(input.body.as_deref(), input.basepath.as_deref(), input.fail_on_warnings)?;
    let id_row = &ApiIdRow { kind: Kind::Http, account: cx.account(), region: cx.region().clone() };
    let opened = cx
        .transact(|txn| async move {
            let mut row = defaults(cx, Kind::Http);
            merge(&mut row, imported);
            row.tags.clone_from(&imported.api.tags);
            let id = new_api(&txn, cx.ids(), id_row).await?;
            let opened = Opened { id, account: id_row.account, region: id_row.region.clone(), row };
            APIS.put(&txn, &opened.key(), &opened.row)?;
            write(&txn, cx, &opened, imported).await?;
            Ok::<_, GatewayError>(opened)
        })
        .await?;
    Ok(answer!(cx, opened => ImportApiResponse))
}

/// `ReimportApi`: the document replaces everything but stages and deployments.
pub async fn reimport_api(
    cx: &Cx,
    input: api::ReimportApiRequest,
) -> Result<api::ReimportApiResponse, GatewayError> {
    let imported = &accepted(input.body.as_deref(), input.basepath.as_deref(), input.fail_on_warnings)?;
    let id = input.api_id.as_deref();
    let opened = cx
        .transact(|txn| async move {
            let mut opened = open(&txn, cx, id).await?;
            if opened.kind() != Kind::Http {
                return Err(GatewayError::bad("Only HTTP APIs can be imported"));
            }
            merge(&mut opened.row, imported);
            APIS.put(&txn, &opened.key(), &opened.row)?;
            delete_parts(&txn, &opened.id).await?;
            write(&txn, cx, &opened, imported).await?;
            Ok(opened)
        })
        .await?;
    Ok(answer!(cx, opened => ReimportApiResponse))
}

/// An API as a document.
fn document(opened: &Opened, url: &str, definition: &Definition, with_extensions: bool) -> Value {
    let row = &opened.row;
    let mut document = json!({
        "openapi": "3.0.1",
        "info": { "title": row.name, "version": row.version.clone().unwrap_or_else(|| "1.0".to_owned()) },
        "servers": [{ "url": url }],
        "paths": {},
    });
    if let Some(description) = &row.description {
        document["info"]["description"] = json!(description);
    }
    for route in &definition.routes {
        let key = route.route_key.as_deref().unwrap_or_default();
        let (method, path) = key.split_once(' ').unwrap_or(("ANY", "/$default"));
        let method = if method == "ANY" { ANY.to_owned() } else { method.to_lowercase() };
        let mut operation =
            json!({ "responses": { "default": { "description": format!("Default response for {key}") } } });
        if let Some(name) = &route.operation_name {
            operation["operationId"] = json!(name);
        }
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let names: Vec<Value> = names
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        if !names.is_empty() {
            operation["parameters"] = json!(names);
        }
        let authorizer = definition
            .authorizers
            .iter()
            .find(|row| row.authorizer_id == route.authorizer_id && route.authorizer_id.is_some());
        if let Some(name) = authorizer.and_then(|row| row.name.clone()) {
            let scopes = route.authorization_scopes.clone().unwrap_or_default();
            operation["security"] = json!([Map::from_iter([(name, json!(scopes))])]);
        }
        let id = route.target.as_deref().and_then(|target| target.strip_prefix("integrations/"));
        let integration =
            definition.integrations.iter().find(|row| row.integration_id.as_deref() == id && id.is_some());
        if with_extensions {
            if let Some(row) = integration {
                operation[INTEGRATION] = write_integration(row);
            }
            if route.authorization_type.as_deref() == Some("AWS_IAM") {
                operation["x-amazon-apigateway-auth"] = json!({ "type": "AWS_IAM" });
            }
        }
        document["paths"][path][method] = operation;
    }
    for row in &definition.authorizers {
        let name = row.name.clone().unwrap_or_default();
        let mut scheme = match row.authorizer_type.as_deref() {
            Some("JWT") => json!({ "type": "oauth2", "flows": {} }),
            _ => json!({ "type": "apiKey", "name": "Authorization", "in": "header" }),
        };
        if with_extensions {
            scheme[AUTHORIZER] = write_authorizer(row);
        }
        document["components"]["securitySchemes"][name] = scheme;
    }
    if with_extensions {
        if let Some(cors) = &definition.cors {
            document[CORS] = present(json!({
                "allowCredentials": cors.allow_credentials, "allowHeaders": cors.allow_headers,
                "allowMethods": cors.allow_methods, "allowOrigins": cors.allow_origins,
                "exposeHeaders": cors.expose_headers, "maxAge": cors.max_age,
            }));
        }
        document["x-amazon-apigateway-importexport-version"] = json!("1.0");
    }
    document
}

/// Without the members that say nothing.
fn present(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    value
}

fn write_integration(row: &IntegrationRow) -> Value {
    let method = row.integration_method.as_deref().map(|method| if method == "ANY" { ANY } else { method });
    present(json!({
        "type": row.integration_type.as_deref().map(str::to_lowercase),
        "integrationSubtype": row.integration_subtype,
        "httpMethod": method,
        "uri": row.integration_uri,
        "connectionType": row.connection_type,
        "credentials": row.credentials_arn,
        "description": row.description,
        "payloadFormatVersion": row.payload_format_version,
        "requestParameters": row.request_parameters,
        "responseParameters": row.response_parameters,
        "timeoutInMillis": row.timeout_in_millis,
    }))
}

fn write_authorizer(row: &AuthorizerRow) -> Value {
    let jwt = row.jwt_configuration.as_ref();
    present(json!({
        "type": row.authorizer_type.as_deref().map(str::to_lowercase),
        "identitySource": row.identity_source.as_ref().map(|sources| sources.join(",")),
        "jwtConfiguration": jwt.map(|jwt| json!({ "audience": jwt.audience, "issuer": jwt.issuer })),
        "authorizerUri": row.authorizer_uri,
        "authorizerCredentials": row.authorizer_credentials_arn,
        "authorizerPayloadFormatVersion": row.authorizer_payload_format_version,
        "authorizerResultTtlInSeconds": row.authorizer_result_ttl_in_seconds,
        "enableSimpleResponses": row.enable_simple_responses,
    }))
}

pub async fn export_api(
    cx: &Cx,
    input: api::ExportApiRequest,
) -> Result<api::ExportApiResponse, GatewayError> {
    if input.specification.as_deref() != Some("OAS30") {
        return Err(GatewayError::bad("Invalid specification: only OAS30 is supported"));
    }
    if input.export_version.as_deref().is_some_and(|version| version != "1.0") {
        return Err(GatewayError::bad("Invalid export version: only 1.0 is supported"));
    }
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    if opened.kind() != Kind::Http {
        return Err(GatewayError::bad("Only HTTP APIs can be exported"));
    }
    let mut url = endpoint(cx, &opened.id, Kind::Http);
    let definition = match &input.stage_name {
        None => definition(cx.store(), &opened.id, &opened.row).await?,
        Some(name) => {
            let stage: StageRow = load(cx.store(), &opened, Some(name)).await?;
            if name != "$default" {
                url = format!("{url}/{name}");
            }
            let deployed = deployed(cx.store(), &opened.id, &opened.row, &stage).await?;
            deployed.map(|definition| (*definition).clone()).unwrap_or_default()
        }
    };
    let document = document(&opened, &url, &definition, input.include_extensions != Some(false));
    let body = match input.output_type.as_deref() {
        Some("JSON") => document.to_string(),
        Some("YAML") => yaml::write(&document),
        _ => return Err(GatewayError::bad("Invalid output type: it must be JSON or YAML")),
    };
    Ok(api::ExportApiResponse { body: Some(body.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_into_routes_integrations_and_authorizers() {
        let document = json!({
            "openapi": "3.0.1",
            "info": { "title": "pets", "version": "2" },
            "servers": [{ "url": "https://h/{stage}/v1", "variables": { "stage": { "default": "dev" } } }],
            "paths": {
                "/pets/{id}": { "get": {
                    "operationId": "GetPet",
                    "security": [{ "jwt": ["read"] }],
                    INTEGRATION: { "$ref": "#/components/x-amazon-apigateway-integrations/one" },
                } },
                "/$default": { ANY: {} },
            },
            "components": {
                "securitySchemes": { "jwt": { "type": "oauth2", AUTHORIZER: {
                    "type": "jwt", "identitySource": "$request.header.Authorization",
                    "jwtConfiguration": { "audience": ["a"], "issuer": "https://i" },
                } } },
                "x-amazon-apigateway-integrations": { "one": {
                    "type": "aws_proxy", "uri": "arn:aws:lambda:us-east-1:000000000000:function:f",
                    "payloadFormatVersion": "2.0",
                } },
            },
            CORS: { "allowOrigins": ["*"], "maxAge": 5 },
        });
        let imported = read(&document, Some("prepend")).unwrap();
        let keys: Vec<_> =
            imported.routes.iter().map(|(route, _)| route.route_key.as_deref().unwrap()).collect();
        assert_eq!(keys, ["GET /dev/v1/pets/{id}", "$default"]);
        let (route, target) = &imported.routes[0];
        assert_eq!((route.authorization_type.as_deref(), target), (Some("JWT"), &Some(0)));
        assert_eq!(route.authorization_scopes, Some(vec!["read".to_owned()]));
        assert_eq!(imported.integrations[0].payload_format_version.as_deref(), Some("2.0"));
        assert_eq!(imported.warnings, ["No integration defined for route $default"]);
        assert_eq!(imported.api.cors_configuration.unwrap().max_age, Some(5));
        let split = read(&document, Some("split")).unwrap();
        assert_eq!(split.routes[0].0.route_key.as_deref(), Some("GET /v1/pets/{id}"));
        for bad in ["", "{", r#"{"swagger":"2.0"}"#, "[]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
