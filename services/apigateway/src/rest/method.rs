//! Methods and their responses: `PutMethod`, `PutMethodResponse` and their sisters.
//!
//! Source: API Gateway API Reference, "PutMethod", "PutMethodResponse", "UpdateMethod". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::{Map, Unit};

use super::keys::{AUTHORIZERS, MODELS, VALIDATORS};
use super::patch::{ANY, Kind, Rule, element, entry, flag, patched, text};
use super::{api as rest_api, resource};
use crate::error::GatewayError;

const METHOD_PATCHES: [Rule; 8] = [
    text("authorizationType"),
    text("authorizerId"),
    flag("apiKeyRequired"),
    text("operationName"),
    text("requestValidatorId"),
    Rule { path: "requestParameters/*", operations: ANY, kind: Kind::Bool },
    entry("requestModels/*"),
    element("authorizationScopes"),
];
const RESPONSE_PATCHES: [Rule; 2] =
    [Rule { path: "responseParameters/*", operations: ANY, kind: Kind::Bool }, entry("responseModels/*")];
pub const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "ANY"];

pub fn no_such_method() -> GatewayError {
    GatewayError::NotFound("Invalid Method identifier specified".to_owned())
}

fn no_such_response() -> GatewayError {
    GatewayError::NotFound("Invalid Response status code specified".to_owned())
}

/// A method with the resource that holds it.
pub struct Held {
    pub api: String,
    pub resource: api::Resource,
    pub verb: String,
}

impl Held {
    /// # Errors
    /// `NotFound` for an API or a resource that is not there.
    pub async fn load(
        cx: &Cx,
        txn: &Txn,
        api: Option<&str>,
        resource: Option<&str>,
        verb: Option<&str>,
    ) -> Result<Held, GatewayError> {
        let api = api.unwrap_or_default();
        rest_api::load(cx, txn, api).await?;
        let resource = resource::load(txn, api, resource.unwrap_or_default()).await?;
        Ok(Held { api: api.to_owned(), resource, verb: verb.unwrap_or_default().to_owned() })
    }

    /// # Errors
    /// `NotFound`
    pub fn method(&mut self) -> Result<&mut api::Method, GatewayError> {
        let methods = self.resource.resource_methods.as_mut();
        let found = methods.and_then(|methods| methods.0.iter_mut().find(|(verb, _)| *verb == self.verb));
        found.map(|(_, method)| method).ok_or_else(no_such_method)
    }

    pub fn store(&self, txn: &Txn) -> Result<(), GatewayError> {
        resource::store(txn, &self.api, &self.resource)
    }
}

/// Runs `change` on a method that exists, and stores it.
async fn change<T: Send>(
    cx: &Cx,
    api: Option<&str>,
    resource: Option<&str>,
    verb: Option<&str>,
    change: impl Fn(&mut api::Method) -> Result<T, GatewayError> + Sync,
) -> Result<T, GatewayError> {
    let change = &change;
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let done = change(held.method()?)?;
        held.store(&txn)?;
        Ok(done)
    })
    .await
}

/// # Errors
/// `BadRequest` for parameters, models, validators and authorizers that there are not.
async fn check(txn: &Txn, api: &str, method: &api::Method) -> Result<(), GatewayError> {
    let kind = method.authorization_type.as_deref().unwrap_or_default();
    match kind {
        "NONE" | "AWS_IAM" => {}
        "CUSTOM" | "COGNITO_USER_POOLS" => {
            let id = method.authorizer_id.clone().unwrap_or_default();
            let found = AUTHORIZERS.get(txn, &(api.to_owned(), id)).await?;
            if found.is_none() {
                return Err(GatewayError::bad(
                    "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.",
                ));
            }
        }
        other => {
            return Err(GatewayError::bad(format!(
                "Invalid authorization type specified: {other}. Valid options are NONE, AWS_IAM, CUSTOM, COGNITO_USER_POOLS"
            )));
        }
    }
    for (name, _) in method.request_parameters.iter().flat_map(|map| map.iter()) {
        let place = name.strip_prefix("method.request.").and_then(|rest| rest.split_once('.'));
        if !place.is_some_and(|(place, name)| {
            matches!(place, "path" | "querystring" | "header" | "multivaluequerystring" | "multivalueheader")
                && !name.is_empty()
        }) {
            return Err(bad_mapping(&format!("Invalid mapping expression specified: {name}")));
        }
    }
    for (_, model) in method.request_models.iter().flat_map(|map| map.iter()) {
        check_model(txn, api, model).await?;
    }
    if let Some(id) = method.request_validator_id.as_deref().filter(|id| !id.is_empty()) {
        let found = VALIDATORS.get(txn, &(api.to_owned(), id.to_owned())).await?;
        if found.is_none() {
            return Err(GatewayError::bad("Invalid Request Validator identifier specified"));
        }
    }
    Ok(())
}

async fn check_model(txn: &Txn, api: &str, model: &str) -> Result<(), GatewayError> {
    match MODELS.get(txn, &(api.to_owned(), model.to_owned())).await? {
        Some(_) => Ok(()),
        None => Err(GatewayError::bad(format!("Invalid model identifier specified: {model}"))),
    }
}

/// AWS's sentence around what is wrong with a parameter mapping.
pub fn bad_mapping(error: &str) -> GatewayError {
    GatewayError::bad(format!(
        "Invalid mapping expression specified: Validation Result: warnings : [], errors : [{error}]"
    ))
}

pub async fn put_method(cx: &Cx, input: api::PutMethodRequest) -> Result<api::Method, GatewayError> {
    let verb = input.http_method.clone().unwrap_or_default();
    if !METHODS.contains(&verb.as_str()) {
        return Err(GatewayError::bad(format!(
            "Invalid HttpMethod specified. Valid options are {}",
            METHODS.join(",")
        )));
    }
    let method = api::Method {
        http_method: Some(verb.clone()),
        authorization_type: input.authorization_type,
        authorizer_id: input.authorizer_id,
        api_key_required: Some(input.api_key_required.unwrap_or(false)),
        request_validator_id: input.request_validator_id,
        operation_name: input.operation_name,
        request_parameters: input.request_parameters,
        request_models: input.request_models,
        authorization_scopes: input.authorization_scopes,
        ..Default::default()
    };
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (method, verb) = (&method, verb.as_str());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, Some(verb)).await?;
        if held.method().is_ok() {
            return Err(GatewayError::Conflict("Method already exists for this resource".to_owned()));
        }
        check(&txn, &held.api, method).await?;
        held.resource.resource_methods.get_or_insert_default().insert(verb, method.clone());
        held.store(&txn)
    })
    .await?;
    Ok(method.clone())
}

pub async fn get_method(cx: &Cx, input: api::GetMethodRequest) -> Result<api::Method, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let verb = input.http_method.as_deref();
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        held.method().map(|method| method.clone())
    })
    .await
}

pub async fn update_method(cx: &Cx, input: api::UpdateMethodRequest) -> Result<api::Method, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, operations) = (input.http_method.as_deref(), input.patch_operations.as_ref());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        let after = patched(held.method()?, operations, &METHOD_PATCHES)?;
        check(&txn, &held.api, &after).await?;
        *held.method()? = after.clone();
        held.store(&txn)?;
        Ok(after)
    })
    .await
}

pub async fn delete_method(cx: &Cx, input: api::DeleteMethodRequest) -> Result<Unit, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let verb = input.http_method.as_deref();
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        held.method()?;
        if let Some(methods) = &mut held.resource.resource_methods {
            methods.0.retain(|(name, _)| Some(name.as_str()) != verb);
        }
        held.store(&txn)?;
        Ok(Unit)
    })
    .await
}

/// # Errors
/// `BadRequest` for names that are no `method.response.header.name`.
fn check_response(parameters: Option<&Map<bool>>) -> Result<(), GatewayError> {
    for (name, _) in parameters.into_iter().flat_map(Map::iter) {
        if name.strip_prefix("method.response.header.").is_none_or(str::is_empty) {
            return Err(bad_mapping(&format!("Invalid mapping expression specified: {name}")));
        }
    }
    Ok(())
}

pub async fn put_method_response(
    cx: &Cx,
    input: api::PutMethodResponseRequest,
) -> Result<api::MethodResponse, GatewayError> {
    check_response(input.response_parameters.as_ref())?;
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), input.status_code.clone().unwrap_or_default());
    let response = api::MethodResponse {
        status_code: Some(status.clone()),
        response_parameters: input.response_parameters,
        response_models: input.response_models,
    };
    let (response, status) = (&response, status.as_str());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        for (_, model) in response.response_models.iter().flat_map(|map| map.iter()) {
            check_model(&txn, &held.api, model).await?;
        }
        let responses = held.method()?.method_responses.get_or_insert_default();
        if responses.get(status).is_some() {
            return Err(GatewayError::Conflict("Response already exists for this resource".to_owned()));
        }
        responses.insert(status, response.clone());
        held.store(&txn)
    })
    .await?;
    Ok(response.clone())
}

fn response<'m>(
    method: &'m mut api::Method,
    status: Option<&str>,
) -> Result<&'m mut api::MethodResponse, GatewayError> {
    let responses = method.method_responses.iter_mut().flat_map(|map| map.0.iter_mut());
    let mut found = responses.filter(|(code, _)| Some(code.as_str()) == status);
    found.next().map(|(_, response)| response).ok_or_else(no_such_response)
}

pub async fn get_method_response(
    cx: &Cx,
    input: api::GetMethodResponseRequest,
) -> Result<api::MethodResponse, GatewayError> {
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    let (verb, status) = (input.http_method.as_deref(), input.status_code.as_deref());
    cx.transact(|txn| async move {
        let mut held = Held::load(cx, &txn, api, resource, verb).await?;
        response(held.method()?, status).map(|response| response.clone())
    })
    .await
}

pub async fn update_method_response(
    cx: &Cx,
    input: api::UpdateMethodResponseRequest,
) -> Result<api::MethodResponse, GatewayError> {
    let status = input.status_code.as_deref();
    let operations = input.patch_operations.as_ref();
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    change(cx, api, resource, input.http_method.as_deref(), |method| {
        let found = response(method, status)?;
        *found = patched(found, operations, &RESPONSE_PATCHES)?;
        check_response(found.response_parameters.as_ref())?;
        Ok(found.clone())
    })
    .await
}

pub async fn delete_method_response(
    cx: &Cx,
    input: api::DeleteMethodResponseRequest,
) -> Result<Unit, GatewayError> {
    let status = input.status_code.as_deref();
    let (api, resource) = (input.rest_api_id.as_deref(), input.resource_id.as_deref());
    change(cx, api, resource, input.http_method.as_deref(), |method| {
        response(method, status)?;
        if let Some(responses) = &mut method.method_responses {
            responses.0.retain(|(code, _)| Some(code.as_str()) != status);
        }
        Ok(Unit)
    })
    .await
}
