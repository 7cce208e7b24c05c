//! An OpenAPI document, 2.0 or 3.0, to what it defines: pure.

use pileus_api_apigateway as api;
use pileus_wire::value::Map;
use serde_json::{Map as JsonMap, Value as Json};

use crate::error::GatewayError;
use crate::rest::gateway_response;

/// What becomes of `basePath`, or of the path of the first server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasePath {
    Ignored,
    Prepended,
    /// As prepended, without its first part.
    Split,
}

#[derive(Debug, Default)]
pub struct Definition {
    pub api: api::RestApi,
    /// Paths in their order, and their methods by verb.
    pub paths: Vec<(String, Vec<(String, api::Method)>)>,
    pub models: Vec<api::Model>,
    pub validators: Vec<api::RequestValidator>,
    pub authorizers: Vec<api::Authorizer>,
    pub responses: Vec<api::GatewayResponse>,
    pub parts: Vec<api::DocumentationPart>,
    pub warnings: Vec<String>,
    /// Ids that give way to those of rows that are there already.
    pub renamed: Vec<(String, String)>,
}

const VERBS: [&str; 8] =
    ["get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"];

fn text(value: &Json, name: &str) -> Option<String> {
    value.get(name).and_then(Json::as_str).map(str::to_owned)
}

fn flag(value: &Json, name: &str) -> Option<bool> {
    match value.get(name)? {
        Json::Bool(value) => Some(*value),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn number(value: &Json, name: &str) -> Option<i64> {
    match value.get(name)? {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn members<'j>(value: &'j Json, name: &str) -> impl Iterator<Item = (&'j String, &'j Json)> {
    value.get(name).and_then(Json::as_object).into_iter().flatten()
}

/// Names with texts; other values as JSON.
fn texts(value: &Json, name: &str) -> Option<Map<String>> {
    let map = value.get(name)?.as_object()?;
    Some(map.iter().map(|(name, value)| (name.clone(), crate::http::context::bare(value))).collect())
}

fn list(value: &Json, name: &str) -> Option<Vec<String>> {
    let items = value.get(name)?.as_array()?;
    Some(items.iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

/// # Errors
/// `BadRequest` for what is no OpenAPI document of a version that there is.
pub fn read(
    document: &Json,
    api_id: &str,
    base_path: BasePath,
    mut new_id: impl FnMut() -> String,
) -> Result<Definition, GatewayError> {
    let is_three = text(document, "openapi").is_some_and(|version| version.starts_with("3."));
    let is_two = text(document, "swagger").is_some_and(|version| version.starts_with("2."));
    if !is_three && !is_two {
        return Err(GatewayError::bad("Invalid OpenAPI input."));
    }
    let mut reader = Reader { document, api_id, new_id: &mut new_id, definition: Definition::default() };
    reader.settings()?;
    reader.validators();
    reader.models();
    reader.security();
    reader.gateway_responses();
    reader.definition.parts = documentation(document, reader.new_id);
    reader.paths(&base(document, base_path))?;
    Ok(reader.definition)
}

/// What stands before every path.
fn base(document: &Json, base_path: BasePath) -> String {
    let server = &document["servers"][0];
    let mut url = text(server, "url").unwrap_or_default();
    for (name, variable) in members(server, "variables") {
        url = url.replace(&format!("{{{name}}}"), &text(variable, "default").unwrap_or_default());
    }
    let after_host = url
        .split_once("://")
        .map_or(url.as_str(), |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let own = text(document, "basePath").unwrap_or_else(|| after_host.to_owned());
    let mut parts: Vec<&str> = own.split('/').filter(|part| !part.is_empty()).collect();
    match base_path {
        BasePath::Ignored => parts.clear(),
        BasePath::Split if !parts.is_empty() => {
            parts.remove(0);
        }
        _ => {}
    }
    parts.iter().map(|part| format!("/{part}")).collect()
}

/// `x-amazon-apigateway-documentation`
pub fn documentation(document: &Json, new_id: &mut dyn FnMut() -> String) -> Vec<api::DocumentationPart> {
    let parts = document["x-amazon-apigateway-documentation"]["documentationParts"].as_array();
    let parts = parts.into_iter().flatten().map(|part| {
        let at = &part["location"];
        api::DocumentationPart {
            id: Some(new_id()),
            location: Some(api::DocumentationPartLocation {
                r#type: text(at, "type"),
                path: text(at, "path"),
                method: text(at, "method"),
                status_code: text(at, "statusCode"),
                name: text(at, "name"),
            }),
            properties: Some(part["properties"].to_string()),
        }
    });
    parts.collect()
}

struct Reader<'d> {
    document: &'d Json,
    api_id: &'d str,
    new_id: &'d mut dyn FnMut() -> String,
    definition: Definition,
}

impl Reader<'_> {
    fn settings(&mut self) -> Result<(), GatewayError> {
        let document = self.document;
        let info = &document["info"];
        let of_endpoint = document.get("x-amazon-apigateway-endpoint-configuration");
        let of_servers = document["servers"][0].get("x-amazon-apigateway-endpoint-configuration");
        let endpoint = of_endpoint.or(of_servers);
        let types = endpoint.and_then(|endpoint| list(endpoint, "types"));
        self.definition.api = api::RestApi {
            name: text(info, "title"),
            description: text(info, "description"),
            version: text(info, "version"),
            binary_media_types: list(document, "x-amazon-apigateway-binary-media-types"),
            minimum_compression_size: number(document, "x-amazon-apigateway-minimum-compression-size"),
            api_key_source: text(document, "x-amazon-apigateway-api-key-source"),
            policy: document.get("x-amazon-apigateway-policy").map(Json::to_string),
            endpoint_configuration: types
                .map(|types| api::EndpointConfiguration { types: Some(types), ..Default::default() }),
            disable_execute_api_endpoint: endpoint
                .and_then(|endpoint| flag(endpoint, "disableExecuteApiEndpoint")),
            ..Default::default()
        };
        if endpoint.is_some_and(|endpoint| endpoint.get("vpcEndpointIds").is_some()) {
            return Err(GatewayError::missing("VPC endpoints of APIs (vpcEndpointIds)"));
        }
        if self.definition.api.name.is_none() {
            return Err(GatewayError::bad("Invalid OpenAPI input: info.title is missing"));
        }
        Ok(())
    }

    fn validators(&mut self) {
        for (name, validator) in members(self.document, "x-amazon-apigateway-request-validators") {
            self.definition.validators.push(api::RequestValidator {
                id: Some((self.new_id)()),
                name: Some(name.clone()),
                validate_request_body: Some(flag(validator, "validateRequestBody").unwrap_or(false)),
                validate_request_parameters: Some(
                    flag(validator, "validateRequestParameters").unwrap_or(false),
                ),
            });
        }
    }

    /// References within the document become those between models of an API.
    fn schema(&self, schema: &Json) -> Json {
        match schema {
            Json::Object(members) => Json::Object(
                members
                    .iter()
                    .map(|(name, value)| match value.as_str().filter(|_| name == "$ref") {
                        Some(reference) => (name.clone(), Json::from(self.reference(reference))),
                        None => (name.clone(), self.schema(value)),
                    })
                    .collect(),
            ),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.schema(item)).collect()),
            other => other.clone(),
        }
    }

    fn reference(&self, reference: &str) -> String {
        let name =
            reference.strip_prefix("#/definitions/").or(reference.strip_prefix("#/components/schemas/"));
        match name {
            Some(name) => format!(
                "https://apigateway.amazonaws.com/restapis/{}/models/{}",
                self.api_id,
                alphanumeric(name)
            ),
            None => reference.to_owned(),
        }
    }

    fn model(&mut self, name: &str, schema: &Json) {
        self.definition.models.push(api::Model {
            id: Some((self.new_id)()),
            name: Some(name.to_owned()),
            description: text(schema, "description"),
            schema: Some(self.schema(schema).to_string()),
            content_type: Some("application/json".to_owned()),
        });
    }

    fn models(&mut self) {
        let document = self.document;
        let schemas = members(document, "definitions").chain(members(&document["components"], "schemas"));
        for (name, schema) in schemas {
            self.model(&alphanumeric(name), schema);
        }
    }

    /// The model that a schema means: one that has a name, or a new one.
    fn model_of(&mut self, schema: &Json) -> Option<String> {
        if let Some(reference) = text(schema, "$ref") {
            return reference.rsplit('/').next().map(alphanumeric);
        }
        if schema.as_object().is_none_or(JsonMap::is_empty) {
            return None;
        }
        let name = format!("Model{}", (self.new_id)());
        self.model(&name, schema);
        Some(name)
    }

    fn schemes(&self) -> impl Iterator<Item = (&String, &Json)> {
        members(self.document, "securityDefinitions")
            .chain(members(&self.document["components"], "securitySchemes"))
    }

    fn security(&mut self) {
        let mut authorizers = Vec::new();
        for (name, scheme) in self.schemes() {
            let Some(given) = scheme.get("x-amazon-apigateway-authorizer") else { continue };
            let kind = text(given, "type").unwrap_or_default().to_ascii_uppercase();
            let header = text(scheme, "name").unwrap_or_else(|| "Authorization".to_owned());
            let default_source = (kind != "REQUEST").then(|| format!("method.request.header.{header}"));
            authorizers.push(api::Authorizer {
                id: None,
                name: Some(name.clone()),
                auth_type: text(scheme, "x-amazon-apigateway-authtype"),
                r#type: Some(kind),
                provider_arns: list(given, "providerARNs"),
                authorizer_uri: text(given, "authorizerUri"),
                authorizer_credentials: text(given, "authorizerCredentials"),
                identity_source: text(given, "identitySource").or(default_source),
                identity_validation_expression: text(given, "identityValidationExpression"),
                authorizer_result_ttl_in_seconds: number(given, "authorizerResultTtlInSeconds").or(Some(300)),
                jwt_configuration: None,
            });
        }
        for mut authorizer in authorizers {
            authorizer.id = Some((self.new_id)());
            self.definition.authorizers.push(authorizer);
        }
    }

    fn gateway_responses(&mut self) {
        for (kind, given) in members(self.document, "x-amazon-apigateway-gateway-responses") {
            let Some(default) = gateway_response::default(kind) else {
                self.definition.warnings.push(format!("Unknown gateway response type {kind}, ignoring."));
                continue;
            };
            let status = given.get("statusCode").map(crate::http::context::bare);
            self.definition.responses.push(api::GatewayResponse {
                response_type: Some(kind.clone()),
                status_code: status.or(default.status_code),
                response_parameters: texts(given, "responseParameters").or(default.response_parameters),
                response_templates: texts(given, "responseTemplates").or(default.response_templates),
                default_response: Some(false),
            });
        }
    }

    fn paths(&mut self, base: &str) -> Result<(), GatewayError> {
        let document = self.document;
        for (path, item) in members(document, "paths") {
            let mut methods = Vec::new();
            for verb in VERBS {
                let Some(operation) = item.get(verb) else { continue };
                let shown = if verb.starts_with("x-") { "ANY".to_owned() } else { verb.to_ascii_uppercase() };
                let method = self.method(&shown, item, operation)?;
                methods.push((shown, method));
            }
            let path = format!("{base}/{}", path.trim_matches('/'));
            self.definition.paths.push((path, methods));
        }
        Ok(())
    }

    /// A parameter, or what it refers to.
    fn resolved<'j>(&'j self, value: &'j Json) -> &'j Json {
        let pointer =
            value.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }

    fn method(&mut self, verb: &str, item: &Json, operation: &Json) -> Result<api::Method, GatewayError> {
        let mut method = api::Method {
            http_method: Some(verb.to_owned()),
            operation_name: text(operation, "operationId"),
            authorization_type: Some("NONE".to_owned()),
            api_key_required: Some(false),
            ..Default::default()
        };
        self.parameters(&mut method, item, operation);
        self.responses(&mut method, operation);
        self.secure(&mut method, operation);
        let validator = text(operation, "x-amazon-apigateway-request-validator")
            .or_else(|| text(self.document, "x-amazon-apigateway-request-validator"));
        let validator = validator.and_then(|name| {
            self.definition.validators.iter().find(|known| known.name.as_deref() == Some(&name))
        });
        method.request_validator_id = validator.and_then(|validator| validator.id.clone());
        if let Some(given) = operation.get("x-amazon-apigateway-integration") {
            method.method_integration = Some(integration(self.resolved(given), self.api_id));
        }
        Ok(method)
    }

    fn parameters(&mut self, method: &mut api::Method, item: &Json, operation: &Json) {
        let of = |value: &Json| value.get("parameters").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut parameters: Map<bool> = Map::default();
        let mut models: Map<String> = Map::default();
        let consumes = list(operation, "consumes").or_else(|| list(self.document, "consumes"));
        let consumes = consumes.unwrap_or_else(|| vec!["application/json".to_owned()]);
        for given in of(item).into_iter().chain(of(operation)) {
            let parameter = self.resolved(&given).clone();
            let name = text(&parameter, "name").unwrap_or_default();
            let is_required = flag(&parameter, "required").unwrap_or(false);
            let place = match parameter["in"].as_str() {
                Some("query") => "querystring",
                Some(place @ ("path" | "header")) => place,
                Some("body") => {
                    if let Some(model) = self.model_of(&parameter["schema"]) {
                        consumes.iter().for_each(|kind| models.insert(kind, model.clone()));
                    }
                    continue;
                }
                other => {
                    let place = other.unwrap_or("nowhere").to_owned();
                    self.definition
                        .warnings
                        .push(format!("Parameter {name} in {place} is not supported, ignoring."));
                    continue;
                }
            };
            parameters.insert(format!("method.request.{place}.{name}"), is_required);
        }
        let body = self.resolved(&operation["requestBody"]).clone();
        for (kind, content) in members(&body, "content") {
            if let Some(model) = self.model_of(&content["schema"]) {
                models.insert(kind, model);
            }
        }
        method.request_parameters = Some(parameters).filter(|map| !map.is_empty());
        method.request_models = Some(models).filter(|map| !map.is_empty());
    }

    fn responses(&mut self, method: &mut api::Method, operation: &Json) {
        let mut responses: Map<api::MethodResponse> = Map::default();
        let produces = list(operation, "produces").or_else(|| list(self.document, "produces"));
        let produces = produces.unwrap_or_else(|| vec!["application/json".to_owned()]);
        for (status, given) in members(operation, "responses") {
            if status.parse::<u16>().is_err() {
                continue;
            }
            let given = self.resolved(given).clone();
            let mut models: Map<String> = Map::default();
            if let Some(model) = given.get("schema").and_then(|schema| self.model_of(schema)) {
                produces.iter().for_each(|kind| models.insert(kind, model.clone()));
            }
            for (kind, content) in members(&given, "content") {
                if let Some(model) = self.model_of(&content["schema"]) {
                    models.insert(kind, model);
                }
            }
            let headers: Map<bool> = members(&given, "headers")
                .map(|(name, _)| (format!("method.response.header.{name}"), false))
                .collect();
            let response = api::MethodResponse {
                status_code: Some(status.clone()),
                response_parameters: Some(headers).filter(|map| !map.is_empty()),
                response_models: Some(models).filter(|map| !map.is_empty()),
            };
            responses.insert(status, response);
        }
        method.method_responses = Some(responses).filter(|map| !map.is_empty());
    }

    fn secure(&mut self, method: &mut api::Method, operation: &Json) {
        let needed =
            operation.get("security").or_else(|| self.document.get("security")).and_then(Json::as_array);
        let needed: Vec<(String, Json)> = needed
            .into_iter()
            .flatten()
            .filter_map(Json::as_object)
            .flatten()
            .map(|(name, scopes)| (name.clone(), scopes.clone()))
            .collect();
        for (name, scopes) in needed {
            let scheme = self.schemes().find(|(known, _)| **known == name).map(|(_, scheme)| scheme.clone());
            let Some(scheme) = scheme else {
                self.definition
                    .warnings
                    .push(format!("Security requirement {name} is not defined, ignoring."));
                continue;
            };
            let kind = text(&scheme, "x-amazon-apigateway-authtype").unwrap_or_default();
            let authorizer =
                self.definition.authorizers.iter().find(|known| known.name.as_deref() == Some(&name));
            match (authorizer, kind.to_ascii_lowercase().as_str()) {
                (Some(authorizer), _) => {
                    let is_pool = authorizer.r#type.as_deref() == Some("COGNITO_USER_POOLS");
                    let kind = if is_pool { "COGNITO_USER_POOLS" } else { "CUSTOM" };
                    method.authorization_type = Some(kind.to_owned());
                    method.authorizer_id = authorizer.id.clone();
                    let scopes = scopes.as_array().into_iter().flatten().filter_map(Json::as_str);
                    let scopes: Vec<String> = scopes.map(str::to_owned).collect();
                    method.authorization_scopes = Some(scopes).filter(|scopes| !scopes.is_empty());
                }
                (None, "awssigv4") => method.authorization_type = Some("AWS_IAM".to_owned()),
                (None, _) if scheme["type"] == "apiKey" => method.api_key_required = Some(true),
                (None, _) => {
                    self.definition
                        .warnings
                        .push(format!("Security requirement {name} is not supported, ignoring."));
                }
            }
        }
    }
}

fn alphanumeric(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// `x-amazon-apigateway-integration`
fn integration(given: &Json, resource: &str) -> api::Integration {
    let mut responses: Map<api::IntegrationResponse> = Map::default();
    for (pattern, response) in members(given, "responses") {
        let status = response.get("statusCode").map_or_else(|| "200".to_owned(), crate::http::context::bare);
        let pattern = Some(pattern.clone()).filter(|pattern| pattern != "default");
        let read = api::IntegrationResponse {
            status_code: Some(status.clone()),
            selection_pattern: pattern,
            response_parameters: texts(response, "responseParameters"),
            response_templates: texts(response, "responseTemplates"),
            content_handling: text(response, "contentHandling"),
        };
        responses.insert(status, read);
    }
    api::Integration {
        r#type: text(given, "type").map(|kind| kind.to_ascii_uppercase()),
        http_method: text(given, "httpMethod").map(|verb| verb.to_ascii_uppercase()),
        uri: text(given, "uri"),
        connection_type: text(given, "connectionType"),
        connection_id: text(given, "connectionId"),
        credentials: text(given, "credentials"),
        request_parameters: texts(given, "requestParameters"),
        request_templates: texts(given, "requestTemplates"),
        passthrough_behavior: Some(
            text(given, "passthroughBehavior")
                .map_or_else(|| "WHEN_NO_MATCH".to_owned(), |text| text.to_ascii_uppercase()),
        ),
        content_handling: text(given, "contentHandling"),
        timeout_in_millis: number(given, "timeoutInMillis").or(Some(29_000)),
        cache_namespace: text(given, "cacheNamespace").or_else(|| Some(resource.to_owned())),
        cache_key_parameters: list(given, "cacheKeyParameters").or(Some(Vec::new())),
        integration_responses: Some(responses).filter(|map| !map.is_empty()),
        tls_config: flag(&given["tlsConfig"], "insecureSkipVerification")
            .map(|skips| api::TlsConfig { insecure_skip_verification: Some(skips) }),
        response_transfer_mode: text(given, "responseTransferMode"),
        integration_target: text(given, "integrationTarget"),
    }
}

#[cfg(test)]
mod tests;
