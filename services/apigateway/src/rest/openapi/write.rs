//! An API to an OpenAPI document, 2.0 or 3.0: pure.

use pileus_api_apigateway as api;
use pileus_wire::value::Map;
use serde_json::{Map as JsonMap, Value as Json, json};

use crate::rest::document::{Doc, to_document};
use crate::rest::snapshot::Snapshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Two,
    Three,
}

/// What a document is written from.
struct Writer<'a> {
    snapshot: &'a Snapshot,
    version: Version,
    integrations: bool,
    authorizers: bool,
    validators: bool,
    responses: bool,
}

/// The deployed API. `wanted`: the extensions to tell of; `apigateway` means all of them.
pub fn write(
    snapshot: &Snapshot,
    stage: &api::Stage,
    version: Version,
    wanted: &[&str],
    host: &str,
    parts: &[api::DocumentationPart],
) -> Json {
    let has = |name: &str| wanted.contains(&name) || wanted.contains(&"apigateway");
    let writer = Writer {
        snapshot,
        version,
        integrations: has("integrations"),
        authorizers: has("authorizers"),
        validators: has("validators"),
        responses: has("gatewayresponses"),
    };
    let Doc(own) = &snapshot.api;
    let name = stage.stage_name.as_deref().unwrap_or_default();
    let mut info = json!({ "title": own.name });
    let made = stage.created_date.map(|date| date.to_iso8601());
    info["version"] = own.version.clone().or(made).map_or(Json::Null, Json::from);
    if let Some(description) = &own.description {
        info["description"] = json!(description);
    }
    let mut document = match version {
        Version::Two => json!({
            "swagger": "2.0", "info": info, "host": host, "basePath": format!("/{name}"), "schemes": ["https"],
        }),
        Version::Three => json!({
            "openapi": "3.0.1", "info": info,
            "servers": [{ "url": format!("https://{host}/{{basePath}}"), "variables": { "basePath": { "default": name } } }],
        }),
    };
    document["paths"] = writer.paths();
    let (schemas, schemes) = (writer.schemas(), writer.schemes());
    match version {
        Version::Two => {
            if !schemes.is_empty() {
                document["securityDefinitions"] = Json::Object(schemes);
            }
            document["definitions"] = Json::Object(schemas);
        }
        Version::Three => {
            document["components"] = json!({ "schemas": schemas });
            if !schemes.is_empty() {
                document["components"]["securitySchemes"] = Json::Object(schemes);
            }
        }
    }
    writer.extensions(&mut document);
    if !parts.is_empty() {
        document["x-amazon-apigateway-documentation"] = documentation(parts);
    }
    document
}

fn documentation(parts: &[api::DocumentationPart]) -> Json {
    let parts = parts.iter().map(|part| {
        let properties: Json =
            part.properties.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        json!({ "location": to_document(part)["location"], "properties": properties })
    });
    json!({ "documentationParts": parts.collect::<Vec<_>>() })
}

fn texts(map: Option<&Map<String>>) -> Option<Json> {
    let map = map.filter(|map| !map.is_empty())?;
    Some(Json::Object(map.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()))
}

fn put(object: &mut Json, name: &str, value: Option<impl Into<Json>>) {
    if let Some(value) = value {
        object[name] = value.into();
    }
}

impl Writer<'_> {
    fn definitions(&self) -> &'static str {
        match self.version {
            Version::Two => "#/definitions/",
            Version::Three => "#/components/schemas/",
        }
    }

    fn paths(&self) -> Json {
        let mut paths = JsonMap::new();
        let mut resources: Vec<_> = self.snapshot.resources.iter().map(|Doc(resource)| resource).collect();
        resources.sort_by(|a, b| a.path.cmp(&b.path));
        for resource in resources {
            let mut item = json!({});
            for (verb, method) in resource.resource_methods.iter().flat_map(Map::iter) {
                let name = match verb {
                    "ANY" => "x-amazon-apigateway-any-method".to_owned(),
                    verb => verb.to_ascii_lowercase(),
                };
                item[name] = self.operation(method);
            }
            if item.as_object().is_some_and(|item| !item.is_empty()) {
                paths.insert(resource.path.clone().unwrap_or_default(), item);
            }
        }
        Json::Object(paths)
    }

    fn operation(&self, method: &api::Method) -> Json {
        let mut operation = json!({});
        put(&mut operation, "operationId", method.operation_name.clone());
        let mut parameters: Vec<Json> = Vec::new();
        for (name, is_required) in method.request_parameters.iter().flat_map(Map::iter) {
            let Some((place, name)) =
                name.strip_prefix("method.request.").and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let place =
                if place.ends_with("querystring") { "query" } else { place.trim_start_matches("multivalue") };
            let is_required = *is_required || place == "path";
            let mut parameter = json!({ "name": name, "in": place, "required": is_required });
            match self.version {
                Version::Two => parameter["type"] = json!("string"),
                Version::Three => parameter["schema"] = json!({ "type": "string" }),
            }
            parameters.push(parameter);
        }
        self.body(method, &mut operation, &mut parameters);
        if !parameters.is_empty() {
            operation["parameters"] = Json::Array(parameters);
        }
        operation["responses"] = self.responses(method, &mut operation);
        let security = self.security(method);
        if !security.is_empty() {
            operation["security"] = Json::Array(security);
        }
        if self.validators
            && let Some(name) = self.validator(method)
        {
            operation["x-amazon-apigateway-request-validator"] = json!(name);
        }
        if self.integrations
            && let Some(integration) = &method.method_integration
        {
            operation["x-amazon-apigateway-integration"] = integration_of(integration);
        }
        operation
    }

    fn validator(&self, method: &api::Method) -> Option<&str> {
        let wanted = method.request_validator_id.as_ref()?;
        let mut rows = self.snapshot.validators.iter();
        rows.find(|Doc(row)| row.id.as_ref() == Some(wanted)).and_then(|Doc(row)| row.name.as_deref())
    }

    fn body(&self, method: &api::Method, operation: &mut Json, parameters: &mut Vec<Json>) {
        let Some(models) = method.request_models.as_ref().filter(|models| !models.is_empty()) else { return };
        match self.version {
            Version::Two => {
                operation["consumes"] = models.iter().map(|(kind, _)| json!(kind)).collect();
                if let Some((_, model)) = models.iter().next() {
                    let schema = json!({ "$ref": format!("{}{model}", self.definitions()) });
                    parameters
                        .push(json!({ "in": "body", "name": model, "required": true, "schema": schema }));
                }
            }
            Version::Three => {
                operation["requestBody"] = json!({ "content": self.content(models), "required": true });
            }
        }
    }

    fn content(&self, models: &Map<String>) -> Json {
        let content = models.iter().map(|(kind, model)| {
            (kind.to_owned(), json!({ "schema": { "$ref": format!("{}{model}", self.definitions()) } }))
        });
        Json::Object(content.collect())
    }

    fn responses(&self, method: &api::Method, operation: &mut Json) -> Json {
        let mut responses = JsonMap::new();
        for (status, given) in method.method_responses.iter().flat_map(Map::iter) {
            let mut response = json!({ "description": format!("{status} response") });
            let mut headers = JsonMap::new();
            for (name, _) in given.response_parameters.iter().flat_map(Map::iter) {
                let name = name.strip_prefix("method.response.header.").unwrap_or(name);
                let header = match self.version {
                    Version::Two => json!({ "type": "string" }),
                    Version::Three => json!({ "schema": { "type": "string" } }),
                };
                headers.insert(name.to_owned(), header);
            }
            if !headers.is_empty() {
                response["headers"] = Json::Object(headers);
            }
            if let Some(models) = given.response_models.as_ref().filter(|models| !models.is_empty()) {
                match self.version {
                    Version::Two => {
                        operation["produces"] = models.iter().map(|(kind, _)| json!(kind)).collect();
                        if let Some((_, model)) = models.iter().next() {
                            response["schema"] = json!({ "$ref": format!("{}{model}", self.definitions()) });
                        }
                    }
                    Version::Three => response["content"] = self.content(models),
                }
            }
            responses.insert(status.to_owned(), response);
        }
        Json::Object(responses)
    }

    fn authorizer(&self, method: &api::Method) -> Option<&api::Authorizer> {
        let wanted = method.authorizer_id.as_ref()?;
        self.snapshot.authorizers.iter().map(|Doc(row)| row).find(|row| row.id.as_ref() == Some(wanted))
    }

    fn security(&self, method: &api::Method) -> Vec<Json> {
        let mut security = Vec::new();
        match method.authorization_type.as_deref() {
            Some("AWS_IAM") => security.push(json!({ "sigv4": [] })),
            Some("CUSTOM" | "COGNITO_USER_POOLS") => {
                if let Some(name) = self.authorizer(method).and_then(|row| row.name.clone()) {
                    let scopes = method.authorization_scopes.clone().unwrap_or_default();
                    let mut needed = json!({});
                    needed[name] = json!(scopes);
                    security.push(needed);
                }
            }
            _ => {}
        }
        if method.api_key_required == Some(true) {
            security.push(json!({ "api_key": [] }));
        }
        security
    }

    fn schemes(&self) -> JsonMap<String, Json> {
        let methods = || {
            let resources = self.snapshot.resources.iter();
            resources.flat_map(|Doc(resource)| resource.resource_methods.iter().flat_map(Map::iter))
        };
        let mut schemes = JsonMap::new();
        if methods().any(|(_, method)| method.api_key_required == Some(true)) {
            schemes.insert(
                "api_key".to_owned(),
                json!({ "type": "apiKey", "name": "x-api-key", "in": "header" }),
            );
        }
        if methods().any(|(_, method)| method.authorization_type.as_deref() == Some("AWS_IAM")) {
            let scheme = json!({ "type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4" });
            schemes.insert("sigv4".to_owned(), scheme);
        }
        for Doc(authorizer) in &self.snapshot.authorizers {
            let source = authorizer.identity_source.as_deref().unwrap_or_default();
            let header = source.strip_prefix("method.request.header.").filter(|name| !name.contains(','));
            let mut scheme = json!({
                "type": "apiKey", "name": header.unwrap_or("Unused"), "in": "header",
                "x-amazon-apigateway-authtype": authorizer.auth_type.as_deref().unwrap_or("custom"),
            });
            if self.authorizers {
                scheme["x-amazon-apigateway-authorizer"] = authorizer_of(authorizer);
            }
            schemes.insert(authorizer.name.clone().unwrap_or_default(), scheme);
        }
        schemes
    }

    fn schemas(&self) -> JsonMap<String, Json> {
        let models = self.snapshot.models.iter().filter_map(|Doc(model)| {
            let schema: Json = serde_json::from_str(model.schema.as_deref()?).ok()?;
            Some((model.name.clone()?, self.local(schema)))
        });
        models.collect()
    }

    /// References between models become references within the document.
    fn local(&self, schema: Json) -> Json {
        match schema {
            Json::Object(members) => Json::Object(
                members
                    .into_iter()
                    .filter(|(name, _)| name != "$schema")
                    .map(|(name, value)| match value.as_str().and_then(|text| text.split_once("/models/")) {
                        Some((_, model)) if name == "$ref" => {
                            (name, json!(format!("{}{model}", self.definitions())))
                        }
                        _ => (name, self.local(value)),
                    })
                    .collect(),
            ),
            Json::Array(items) => items.into_iter().map(|item| self.local(item)).collect(),
            other => other,
        }
    }

    fn extensions(&self, document: &mut Json) {
        let Doc(own) = &self.snapshot.api;
        if let Some(types) = own.binary_media_types.as_ref().filter(|types| !types.is_empty()) {
            document["x-amazon-apigateway-binary-media-types"] = json!(types);
        }
        put(document, "x-amazon-apigateway-minimum-compression-size", own.minimum_compression_size);
        if let Some(source) = own.api_key_source.as_deref().filter(|source| *source != "HEADER") {
            document["x-amazon-apigateway-api-key-source"] = json!(source);
        }
        if let Some(policy) = own.policy.as_deref().and_then(|text| serde_json::from_str::<Json>(text).ok()) {
            document["x-amazon-apigateway-policy"] = policy;
        }
        if self.responses {
            let mut responses = json!({});
            for Doc(row) in &self.snapshot.responses {
                let mut response = json!({});
                put(&mut response, "statusCode", row.status_code.clone());
                put(&mut response, "responseParameters", texts(row.response_parameters.as_ref()));
                put(&mut response, "responseTemplates", texts(row.response_templates.as_ref()));
                responses[row.response_type.as_deref().unwrap_or_default()] = response;
            }
            if !self.snapshot.responses.is_empty() {
                document["x-amazon-apigateway-gateway-responses"] = responses;
            }
        }
        if self.validators && !self.snapshot.validators.is_empty() {
            let mut validators = json!({});
            for Doc(row) in &self.snapshot.validators {
                validators[row.name.as_deref().unwrap_or_default()] = json!({
                    "validateRequestParameters": row.validate_request_parameters,
                    "validateRequestBody": row.validate_request_body,
                });
            }
            document["x-amazon-apigateway-request-validators"] = validators;
        }
    }
}

fn authorizer_of(row: &api::Authorizer) -> Json {
    let mut written = json!({ "type": row.r#type.as_deref().unwrap_or_default().to_ascii_lowercase() });
    put(&mut written, "authorizerUri", row.authorizer_uri.clone());
    put(&mut written, "authorizerCredentials", row.authorizer_credentials.clone());
    put(&mut written, "identitySource", row.identity_source.clone());
    put(&mut written, "identityValidationExpression", row.identity_validation_expression.clone());
    put(&mut written, "authorizerResultTtlInSeconds", row.authorizer_result_ttl_in_seconds);
    put(&mut written, "providerARNs", row.provider_arns.clone());
    written
}

fn integration_of(row: &api::Integration) -> Json {
    let mut written = json!({ "type": row.r#type.as_deref().unwrap_or_default().to_ascii_lowercase() });
    put(&mut written, "httpMethod", row.http_method.clone());
    put(&mut written, "uri", row.uri.clone());
    put(&mut written, "credentials", row.credentials.clone());
    put(&mut written, "requestParameters", texts(row.request_parameters.as_ref()));
    put(&mut written, "requestTemplates", texts(row.request_templates.as_ref()));
    put(
        &mut written,
        "passthroughBehavior",
        row.passthrough_behavior.as_deref().map(str::to_ascii_lowercase),
    );
    put(&mut written, "contentHandling", row.content_handling.clone());
    put(&mut written, "timeoutInMillis", row.timeout_in_millis);
    put(
        &mut written,
        "cacheKeyParameters",
        row.cache_key_parameters.clone().filter(|names| !names.is_empty()),
    );
    put(&mut written, "responseTransferMode", row.response_transfer_mode.clone());
    if let Some(responses) = row.integration_responses.as_ref().filter(|responses| !responses.is_empty()) {
        let mut all = json!({});
        for (_, response) in responses.iter() {
            let mut one = json!({ "statusCode": response.status_code });
            put(&mut one, "responseParameters", texts(response.response_parameters.as_ref()));
            put(&mut one, "responseTemplates", texts(response.response_templates.as_ref()));
            put(&mut one, "contentHandling", response.content_handling.clone());
            all[response
                .selection_pattern
                .as_deref()
                .filter(|pattern| !pattern.is_empty())
                .unwrap_or("default")] = one;
        }
        written["responses"] = all;
    }
    written
}
