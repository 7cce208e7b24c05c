//! The engine asked in a conformance tool's form: one JSON object with the request and all policies.

use std::sync::Arc;

use pileus_core::AccountId;
use serde_json::Value;

use crate::matching::split_arn;
use crate::{Context, Decision, Level, Named, Policies, Policy, Principal, Request, Scope, evaluate};

/// Answers `Allowed`, `ImplicitlyDenied` or `ExplicitlyDenied`.
///
/// # Errors
/// A text that names the field that is missing or malformed.
pub fn probe(line: &Value) -> Result<&'static str, String> {
    let request = line.get("request").ok_or("request is missing")?;
    let principal = principal(request.get("principal").ok_or("request.principal is missing")?)?;
    let action = text(request, "action")?;
    let resource = request.get("resource").ok_or("request.resource is missing")?;
    let arn = text(resource, "resource")?;
    let context = context(request.get("context"))?;
    let wildcard_only = request.get("wildcardOnlyAction").and_then(Value::as_bool).unwrap_or(false);
    let pattern = arn.contains(['*', '?']) && !wildcard_only;

    let identity = policies(line, "identityPolicies")?;
    let boundary = policies(line, "permissionBoundaries")?;
    let session = policies(line, "sessionPolicy")?;
    let mut resource_policies = policies(line, "resourcePolicy")?;
    resource_policies.extend(policies(line, "resourcePolicies")?);
    let endpoint = policies(line, "endpointPolicies")?;
    let service_control = levels(line, "serviceControlPolicies")?;
    let resource_control = levels(line, "resourceControlPolicies")?;

    let request = Request {
        principal: &principal,
        action,
        resource: arn,
        resource_account: resource.get("accountId").and_then(Value::as_str).and_then(AccountId::parse),
        context: &context,
        scope: if pattern { Scope::AnyOf } else { Scope::Exactly },
    };
    let policies = Policies {
        identity: &identity,
        boundary: &boundary,
        session: &session,
        resource: &resource_policies,
        endpoint: &endpoint,
        service_control: &service_control,
        resource_control: &resource_control,
        resource_must_allow: resource_must_allow(action, arn, !resource_policies.is_empty()),
    };
    Ok(match evaluate(&request, &policies).decision {
        Decision::Allowed => "Allowed",
        Decision::ImplicitlyDenied => "ImplicitlyDenied",
        Decision::ExplicitlyDenied => "ExplicitlyDenied",
    })
}

/// Roles and KMS keys: without their own policy nobody gets in. No role is without a trust policy, so a question about a role that gives
/// none is about the other policies.
fn resource_must_allow(action: &str, arn: &str, has_policy: bool) -> bool {
    let Some([_, service, .., resource]) = split_arn(arn) else { return false };
    let action = action.to_ascii_lowercase();
    let assumes = action.starts_with("sts:assumerole") && service == "iam" && resource.starts_with("role/");
    (assumes && has_policy)
        || (action.starts_with("kms:") && service == "kms" && resource.starts_with("key/"))
}

fn text<'a>(object: &'a Value, field: &str) -> Result<&'a str, String> {
    object.get(field).and_then(Value::as_str).ok_or_else(|| format!("{field} must be a string"))
}

fn principal(value: &Value) -> Result<Principal, String> {
    match value {
        Value::Object(object) if object.get("type").and_then(Value::as_str) == Some("Anonymous") => {
            Ok(Principal::anonymous())
        }
        Value::String(name) if name.starts_with("arn:") => {
            Principal::from_arn(name).ok_or_else(|| format!("{name} is not a principal's ARN"))
        }
        Value::String(name) if name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn") => {
            Ok(Principal::service(name.as_str()))
        }
        Value::String(name) => Ok(Principal::federated(name.as_str())),
        _ => Err("request.principal must be an ARN, a name or {\"type\": \"Anonymous\"}".to_owned()),
    }
}

fn context(value: Option<&Value>) -> Result<Context, String> {
    let mut context = Context::new();
    let entries = match value {
        None | Some(Value::Null) => return Ok(context),
        Some(value) => value.as_object().ok_or("request.context must be an object")?,
    };
    for (key, value) in entries {
        match value {
            Value::Array(values) => {
                let values = values.iter().map(|value| scalar(key, value)).collect::<Result<Vec<_>, _>>()?;
                context.insert_many(key, values);
            }
            single => context.insert(key, scalar(key, single)?),
        }
    }
    Ok(context)
}

fn scalar(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("the context key {key} must be a string or a list of strings")),
    }
}

/// The documents of a field that is absent, a list or a single document.
fn policies(line: &Value, field: &str) -> Result<Vec<Named<Arc<Policy>>>, String> {
    let documents = match line.get(field) {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(documents)) => documents,
        Some(document) => std::slice::from_ref(document),
    };
    let compile = |(index, document): (usize, &Value)| {
        let name = format!("{field}[{index}]");
        let policy = Policy::parse(&document.to_string()).map_err(|error| format!("{name}: {error}"))?;
        Ok(Named::new(name, Arc::new(policy)))
    };
    documents.iter().enumerate().map(compile).collect()
}

fn levels(line: &Value, field: &str) -> Result<Vec<Level>, String> {
    let levels = match line.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value.as_array().ok_or_else(|| format!("{field} must be a list"))?,
    };
    let level = |level: &Value| {
        let name = level.get("orgIdentifier").and_then(Value::as_str).unwrap_or(field);
        Ok(Level { name: name.into(), policies: policies(level, "policies")? })
    };
    levels.iter().map(level).collect()
}

#[cfg(test)]
mod tests;
