//! What a caller of each operation must be allowed to do.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Lambda".

use pileus_api_lambda as api;
use pileus_core::Arn;
use pileus_platform::{Access, Cx, Fault};

use crate::error::LambdaError;
use crate::event_source;
use crate::keys::{FUNCTIONS, MAPPINGS};
use crate::name::{FunctionName, LayerName};
use crate::role::PRINCIPAL;

/// An action on a function, version or alias as the request names it; its tags are condition keys.
pub async fn function(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    let name = FunctionName::parse(cx, name, qualifier)?;
    Ok(vec![on(cx, action, &name).await?])
}

async fn on(cx: &Cx, action: &'static str, name: &FunctionName) -> Result<Access, Fault> {
    let mut access = Access::new(action, name.qualified_arn());
    let row = FUNCTIONS.get(cx.store(), &name.key()).await.map_err(LambdaError::from)?;
    for (key, value) in row.map(|row| row.tags).unwrap_or_default() {
        access = access.with(format!("aws:ResourceTag/{key}"), value);
    }
    Ok(access)
}

fn with_tags(mut access: Access, tags: &Option<pileus_wire::value::Map<String>>) -> Access {
    let Some(tags) = tags.as_ref().filter(|tags| !tags.is_empty()) else { return access };
    for (key, value) in tags.iter() {
        access = access.with(format!("aws:RequestTag/{key}"), value.as_str());
    }
    access.with_many("aws:TagKeys", tags.iter().map(|(key, _)| key.to_owned()).collect())
}

/// The layers that a configuration names: each must be open to the caller.
fn layers(access: Access, layers: Option<&Vec<String>>) -> Vec<Access> {
    let Some(layers) = layers.filter(|layers| !layers.is_empty()) else { return vec![access] };
    let reads = layers.iter().map(|arn| Access::new("lambda:GetLayerVersion", arn.as_str()));
    [access.with_many("lambda:Layer", layers.clone())].into_iter().chain(reads).collect()
}

pub async fn create_function(cx: &Cx, input: &api::CreateFunctionRequest) -> Result<Vec<Access>, Fault> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let access = with_tags(Access::new("lambda:CreateFunction", name.arn()), &input.tags);
    let mut needed = layers(access, input.layers.as_ref());
    needed.push(Access::pass_role(input.role.as_deref().unwrap_or_default(), PRINCIPAL));
    Ok(needed)
}

pub async fn update_configuration(
    cx: &Cx,
    input: &api::UpdateFunctionConfigurationRequest,
) -> Result<Vec<Access>, Fault> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), None)?;
    let access = on(cx, "lambda:UpdateFunctionConfiguration", &name).await?;
    let mut needed = layers(access, input.layers.as_ref());
    needed.extend(input.role.as_deref().map(|role| Access::pass_role(role, PRINCIPAL)));
    Ok(needed)
}

pub async fn add_permission(cx: &Cx, input: &api::AddPermissionRequest) -> Result<Vec<Access>, Fault> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let access = on(cx, "lambda:AddPermission", &name).await?;
    let mut access = access.with("lambda:Principal", input.principal.as_deref().unwrap_or_default());
    if let Some(kind) = &input.function_url_auth_type {
        access = access.with("lambda:FunctionUrlAuthType", kind.as_str());
    }
    Ok(vec![access])
}

/// An action on a layer.
pub fn layer(cx: &Cx, action: &'static str, name: Option<&str>) -> Result<Vec<Access>, Fault> {
    Ok(vec![Access::new(action, LayerName::parse(cx, name)?.arn())])
}

/// An action on a version of a layer.
pub fn layer_version(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    version: Option<i64>,
) -> Result<Vec<Access>, Fault> {
    let name = LayerName::parse(cx, name)?;
    let version = version.and_then(|version| u64::try_from(version).ok()).or(name.version);
    Ok(vec![Access::new(action, name.version_arn(version.unwrap_or_default()))])
}

/// An action on an event source mapping; the function that it calls is a condition key.
pub async fn mapping(cx: &Cx, action: &'static str, uuid: Option<&str>) -> Result<Vec<Access>, Fault> {
    let key = event_source::key(cx, uuid);
    let row = MAPPINGS.get(cx.store(), &key).await.map_err(LambdaError::from)?;
    let mut access = Access::new(action, event_source::arn(&key));
    if let Some(row) = row {
        access = access.with("lambda:FunctionArn", row.function_arn.as_str());
        for (key, value) in row.tags {
            access = access.with(format!("aws:ResourceTag/{key}"), value);
        }
    }
    Ok(vec![access])
}

pub async fn create_mapping(
    cx: &Cx,
    input: &api::CreateEventSourceMappingRequest,
) -> Result<Vec<Access>, Fault> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), None)?;
    let access =
        Access::any("lambda:CreateEventSourceMapping").with("lambda:FunctionArn", name.qualified_arn());
    Ok(vec![with_tags(access, &input.tags)])
}

/// An action on whatever has tags.
pub async fn tagged(cx: &Cx, action: &'static str, resource: Option<&str>) -> Result<Access, Fault> {
    let arn = resource.unwrap_or_default();
    match FunctionName::from_arn(arn) {
        Some(name) => on(cx, action, &name).await,
        None if Arn::parse(arn).is_ok() => Ok(Access::new(action, arn)),
        None => Ok(Access::any(action)),
    }
}

pub async fn tag_resource(cx: &Cx, input: &api::TagResourceRequest) -> Result<Vec<Access>, Fault> {
    let access = tagged(cx, "lambda:TagResource", input.resource.as_deref()).await?;
    Ok(vec![with_tags(access, &input.tags)])
}

pub async fn untag_resource(cx: &Cx, input: &api::UntagResourceRequest) -> Result<Vec<Access>, Fault> {
    let access = tagged(cx, "lambda:UntagResource", input.resource.as_deref()).await?;
    Ok(vec![access.with_many("aws:TagKeys", input.tag_keys.clone().unwrap_or_default())])
}

pub async fn list_tags(cx: &Cx, input: &api::ListTagsRequest) -> Result<Vec<Access>, Fault> {
    Ok(vec![tagged(cx, "lambda:ListTags", input.resource.as_deref()).await?])
}
