use super::*;
use serde_json::json;

fn definition(document: &Json, base_path: BasePath) -> Definition {
    let mut count = 0;
    read(document, "abc", base_path, || {
        count += 1;
        format!("id{count}")
    })
    .expect("a definition")
}

#[test]
fn both_versions_define_the_same_api() {
    let integration = json!({
        "type": "aws_proxy", "httpMethod": "POST", "uri": "arn:aws:apigateway:us-east-1:lambda:path/x",
        "responses": {"default": {"statusCode": "200"}, ".*no.*": {"statusCode": 404}},
    });
    let two = json!({
        "swagger": "2.0", "info": {"title": "pets", "version": "1"}, "basePath": "/v1/api",
        "securityDefinitions": {
            "api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
            "sigv4": {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"},
        },
        "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": true, "validateRequestParameters": true}},
        "definitions": {"Pet": {"type": "object"}, "Pets": {"type": "array", "items": {"$ref": "#/definitions/Pet"}}},
        "paths": {"/pets/{id}": {
            "post": {
                "security": [{"api_key": []}, {"sigv4": []}], "x-amazon-apigateway-request-validator": "all",
                "parameters": [
                    {"name": "id", "in": "path", "required": true}, {"name": "q", "in": "query"},
                    {"name": "Pet", "in": "body", "schema": {"$ref": "#/definitions/Pet"}},
                ],
                "responses": {"200": {"description": "ok", "schema": {"$ref": "#/definitions/Pets"}, "headers": {"X-A": {}}}},
                "x-amazon-apigateway-integration": integration.clone(),
            },
        }},
    });
    let three = json!({
        "openapi": "3.0.1", "info": {"title": "pets", "version": "1"},
        "servers": [{"url": "https://x.example.com/{base}", "variables": {"base": {"default": "v1/api"}}}],
        "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": true, "validateRequestParameters": true}},
        "components": {
            "schemas": {"Pet": {"type": "object"}, "Pets": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}},
            "securitySchemes": {
                "api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
                "sigv4": {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"},
            },
        },
        "paths": {"/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": true}],
            "post": {
                "security": [{"api_key": []}, {"sigv4": []}], "x-amazon-apigateway-request-validator": "all",
                "parameters": [{"name": "q", "in": "query"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
                "responses": {"200": {"description": "ok", "headers": {"X-A": {}},
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pets"}}}}},
                "x-amazon-apigateway-integration": integration,
            },
        }},
    });
    let (two, three) = (definition(&two, BasePath::Split), definition(&three, BasePath::Split));
    assert_eq!(two.paths, three.paths);
    assert_eq!(two.models, three.models);
    let (path, methods) = &two.paths[0];
    let method = &methods[0].1;
    assert_eq!((path.as_str(), methods[0].0.as_str()), ("/api/pets/{id}", "POST"));
    assert_eq!(
        (method.authorization_type.as_deref(), method.api_key_required),
        (Some("AWS_IAM"), Some(true))
    );
    assert_eq!(
        method.request_parameters.as_ref().and_then(|map| map.get("method.request.path.id")),
        Some(&true)
    );
    assert_eq!(method.request_validator_id.as_deref(), Some("id1"));
    let responses =
        method.method_integration.as_ref().and_then(|given| given.integration_responses.as_ref()).unwrap();
    assert_eq!(
        responses.get("404").and_then(|response| response.selection_pattern.as_deref()),
        Some(".*no.*")
    );
    let pets = two.models[1].schema.as_deref().unwrap();
    assert!(pets.contains("https://apigateway.amazonaws.com/restapis/abc/models/Pet"), "{pets}");
}

#[test]
fn what_is_no_document_is_refused_and_what_is_strange_warned_of() {
    for bad in [json!({}), json!({"swagger": "1.2"}), json!({"openapi": "3.0.0", "info": {}}), json!([])] {
        assert!(read(&bad, "abc", BasePath::Ignored, String::new).is_err(), "{bad}");
    }
    let odd = json!({
        "openapi": "3.0.0", "info": {"title": "t"}, "x-amazon-apigateway-gateway-responses": {"NONE": {}},
        "paths": {"/": {"get": {"security": [{"gone": []}], "parameters": [{"name": "c", "in": "cookie"}]}}},
    });
    assert_eq!(definition(&odd, BasePath::Ignored).warnings.len(), 3);
}
