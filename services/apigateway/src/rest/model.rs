//! Models and request validators: `CreateModel`, `GetModelTemplate`, `CreateRequestValidator` and their sisters.
//!
//! Source: API Gateway API Reference, "CreateModel", "GetModelTemplate", "CreateRequestValidator". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::Unit;
use serde_json::{Value as Json, json};

use super::document::Doc;
use super::keys::{MODELS, VALIDATORS};
use super::patch::{Rule, flag, patched, text};
use super::schema::Schema;
use super::{api as rest_api, page, resource};
use crate::error::GatewayError;

const MODEL_PATCHES: [Rule; 2] = [text("description"), text("schema")];
const VALIDATOR_PATCHES: [Rule; 3] =
    [text("name"), flag("validateRequestBody"), flag("validateRequestParameters")];

/// The models that every API begins with.
pub fn defaults(cx: &Cx) -> [api::Model; 2] {
    let model = |name: &str, description: &str, schema: Json| api::Model {
        id: Some(cx.ids().lower(6)),
        name: Some(name.to_owned()),
        description: Some(description.to_owned()),
        schema: Some(serde_json::to_string_pretty(&schema).unwrap_or_default()),
        content_type: Some("application/json".to_owned()),
    };
    let draft = "http://json-schema.org/draft-04/schema#";
    [
        model(
            "Empty",
            "This is a default empty schema model",
            json!({
                "$schema": draft, "title": "Empty Schema", "type": "object"
            }),
        ),
        model(
            "Error",
            "This is a default error schema model",
            json!({
                "$schema": draft, "title": "Error Schema", "type": "object",
                "properties": { "message": { "type": "string" } }
            }),
        ),
    ]
}

fn no_such(name: &str) -> GatewayError {
    GatewayError::NotFound(format!("Invalid model name specified: {name}"))
}

async fn load(reader: &impl Reader, api: &str, name: &str) -> Result<api::Model, GatewayError> {
    let found = MODELS.get(reader, &(api.to_owned(), name.to_owned())).await?;
    found.map(|Doc(model)| model).ok_or_else(|| no_such(name))
}

/// # Errors
/// `BadRequest` for schemas that are no JSON, or say what no schema says.
pub fn check(model: &api::Model) -> Result<(), GatewayError> {
    let name = model.name.as_deref().unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(GatewayError::bad("Model name must be alphanumeric"));
    }
    let is_json = model.content_type.as_deref().is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
    let Some(schema) = model.schema.as_deref().filter(|schema| !schema.is_empty() && is_json) else {
        return Ok(());
    };
    let parsed: Json =
        serde_json::from_str(schema).map_err(|_| GatewayError::bad("Model schema is not valid JSON"))?;
    Schema::read(&parsed).map(|_| ()).map_err(|error| {
        GatewayError::bad(format!(
            "Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified. {error}]"
        ))
    })
}

pub async fn create_model(cx: &Cx, input: api::CreateModelRequest) -> Result<api::Model, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let model = &api::Model {
        id: Some(cx.ids().lower(6)),
        name: input.name,
        description: input.description,
        schema: input.schema,
        content_type: input.content_type,
    };
    check(model)?;
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let name = model.name.clone().unwrap_or_default();
        match MODELS.put_if_absent(&txn, &(api.to_owned(), name), &Doc(model.clone())).await? {
            true => Ok(()),
            false => Err(GatewayError::Conflict("Model name already exists for this REST API".to_owned())),
        }
    })
    .await?;
    Ok(model.clone())
}

/// `flatten` puts the models that a model refers to into its own schema.
pub async fn get_model(cx: &Cx, input: api::GetModelRequest) -> Result<api::Model, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let mut model = load(cx.store(), api, input.model_name.as_deref().unwrap_or_default()).await?;
    if input.flatten == Some(true) {
        let all = all(cx.store(), api).await?;
        let schema = model.schema.as_deref().and_then(|schema| serde_json::from_str(schema).ok());
        model.schema = schema.map(|schema: Json| super::schema::flatten(&schema, &all).to_string());
    }
    Ok(model)
}

pub async fn all(reader: &impl Reader, api: &str) -> Result<Vec<api::Model>, GatewayError> {
    Ok(page::all(reader, MODELS, &(api,)).await?.into_iter().map(|Doc(model)| model).collect())
}

pub async fn get_models(cx: &Cx, input: api::GetModelsRequest) -> Result<api::Models, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), MODELS, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    Ok(api::Models { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

pub async fn update_model(cx: &Cx, input: api::UpdateModelRequest) -> Result<api::Model, GatewayError> {
    let (api, name) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.model_name.as_deref().unwrap_or_default());
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let after = patched(&load(&txn, api, name).await?, operations, &MODEL_PATCHES)?;
        check(&after)?;
        MODELS.put(&txn, &(api.to_owned(), name.to_owned()), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

/// `DeleteModel`: only when no method names it, nor another model.
pub async fn delete_model(cx: &Cx, input: api::DeleteModelRequest) -> Result<Unit, GatewayError> {
    let (api, name) =
        (input.rest_api_id.as_deref().unwrap_or_default(), input.model_name.as_deref().unwrap_or_default());
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load(&txn, api, name).await?;
        check_unused(&txn, api, name).await?;
        MODELS.delete(&txn, &(api.to_owned(), name.to_owned()));
        Ok(Unit)
    })
    .await
}

async fn check_unused(txn: &Txn, api: &str, name: &str) -> Result<(), GatewayError> {
    for resource in resource::all(txn, api).await? {
        for (_, method) in resource.resource_methods.iter().flat_map(|methods| methods.iter()) {
            let of_request = method.request_models.iter().flat_map(|models| models.iter());
            let responses = method.method_responses.iter().flat_map(|responses| responses.iter());
            let of_response = responses
                .flat_map(|(_, response)| response.response_models.iter().flat_map(|models| models.iter()));
            if of_request.chain(of_response).any(|(_, model)| model == name) {
                return Err(GatewayError::Conflict(format!(
                    "Cannot delete model '{name}', is referenced in method {}",
                    method.http_method.as_deref().unwrap_or_default()
                )));
            }
        }
    }
    let reference = format!("/models/{name}\"");
    let other = all(txn, api).await?.into_iter().find(|other| {
        other.name.as_deref() != Some(name)
            && other.schema.as_deref().is_some_and(|schema| schema.contains(&reference))
    });
    match other {
        Some(other) => Err(GatewayError::Conflict(format!(
            "Cannot delete model '{name}', is referenced in model '{}'",
            other.name.unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

/// `GetModelTemplate`: a mapping template that makes an object of the model's form.
pub async fn get_model_template(
    cx: &Cx,
    input: api::GetModelTemplateRequest,
) -> Result<api::Template, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let model = load(cx.store(), api, input.model_name.as_deref().unwrap_or_default()).await?;
    let schema: Json =
        model.schema.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    Ok(api::Template { value: Some(super::schema::template(&schema)) })
}

fn no_such_validator() -> GatewayError {
    GatewayError::NotFound("Invalid Request Validator identifier specified".to_owned())
}

async fn load_validator(
    reader: &impl Reader,
    api: &str,
    id: &str,
) -> Result<api::RequestValidator, GatewayError> {
    let found = VALIDATORS.get(reader, &(api.to_owned(), id.to_owned())).await?;
    found.map(|Doc(row)| row).ok_or_else(no_such_validator)
}

pub async fn create_request_validator(
    cx: &Cx,
    input: api::CreateRequestValidatorRequest,
) -> Result<api::RequestValidator, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = cx.ids().lower(6);
    let validator = &api::RequestValidator {
        id: Some(id.clone()),
        name: input.name,
        validate_request_body: Some(input.validate_request_body.unwrap_or(false)),
        validate_request_parameters: Some(input.validate_request_parameters.unwrap_or(false)),
    };
    let id = id.as_str();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        Ok::<_, GatewayError>(VALIDATORS.put(
            &txn,
            &(api.to_owned(), id.to_owned()),
            &Doc(validator.clone()),
        )?)
    })
    .await?;
    Ok(validator.clone())
}

pub async fn get_request_validator(
    cx: &Cx,
    input: api::GetRequestValidatorRequest,
) -> Result<api::RequestValidator, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    load_validator(cx.store(), api, input.request_validator_id.as_deref().unwrap_or_default()).await
}

pub async fn get_request_validators(
    cx: &Cx,
    input: api::GetRequestValidatorsRequest,
) -> Result<api::RequestValidators, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    rest_api::load(cx, cx.store(), api).await?;
    let (rows, position) =
        page::of(cx.store(), VALIDATORS, &(api,), input.position.as_deref(), input.limit, |_| true).await?;
    Ok(api::RequestValidators { items: Some(rows.into_iter().map(|Doc(row)| row).collect()), position })
}

pub async fn update_request_validator(
    cx: &Cx,
    input: api::UpdateRequestValidatorRequest,
) -> Result<api::RequestValidator, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = input.request_validator_id.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        let after = patched(&load_validator(&txn, api, id).await?, operations, &VALIDATOR_PATCHES)?;
        VALIDATORS.put(&txn, &(api.to_owned(), id.to_owned()), &Doc(after.clone()))?;
        Ok(after)
    })
    .await
}

pub async fn delete_request_validator(
    cx: &Cx,
    input: api::DeleteRequestValidatorRequest,
) -> Result<Unit, GatewayError> {
    let api = input.rest_api_id.as_deref().unwrap_or_default();
    let id = input.request_validator_id.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        rest_api::load(cx, &txn, api).await?;
        load_validator(&txn, api, id).await?;
        let resources = resource::all(&txn, api).await?;
        let mut methods =
            resources.iter().flat_map(|row| row.resource_methods.iter().flat_map(|map| map.iter()));
        if methods.any(|(_, method)| method.request_validator_id.as_deref() == Some(id)) {
            return Err(GatewayError::Conflict(format!(
                "Cannot delete request validator '{id}', is referenced by a method"
            )));
        }
        VALIDATORS.delete(&txn, &(api.to_owned(), id.to_owned()));
        Ok(Unit)
    })
    .await
}
