//! What a caller must be allowed to do: the request's own method on its own address.
//!
//! `UpdateStage` needs `apigateway:PATCH` on `arn:aws:apigateway:us-east-1::/restapis/abc/stages/dev`. The address is read from the
//! model, so nothing is written twice.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon API Gateway Management"; API Gateway
//! Developer Guide, "Control access to a REST API with IAM permissions".

use pileus_api_apigateway as api;
use pileus_platform::{Access, Cx, Fault};
use pileus_wire::schema::Bind;
use pileus_wire::value::{Struct, View};

use crate::PRINCIPAL;

/// The permission that an operation needs with this input, and those for the roles that it hands on.
pub fn of(cx: &Cx, operation: &'static str, input: &dyn Struct) -> Result<Vec<Access>, Fault> {
    let found = pileus_models::service(api::SERVICE).and_then(|api| api.operation(operation));
    let operation = found.ok_or_else(|| Fault::framework("UnknownOperationException", 404, operation))?;
    let mut path = operation.uri.split('?').next().unwrap_or_default().to_owned();
    let mut tags = Vec::new();
    let mut needed = Vec::new();
    for (i, member) in operation.input.members().iter().enumerate() {
        match (&member.bind, input.get(i).view()) {
            (Bind::Label(label), View::Str(value)) => {
                path = path
                    .replace(&format!("{{{label}}}"), &encoded(value))
                    .replace(&format!("{{{label}+}}"), value);
            }
            (_, View::Map(map)) if member.name == "tags" => {
                for at in 0..map.len() {
                    let (key, value) = map.entry(at);
                    if let View::Str(value) = value.view() {
                        tags.push((key.to_owned(), value.to_owned()));
                    }
                }
            }
            (_, View::Str(role)) if is_role(member.name, role) => {
                needed.push(Access::pass_role(role, PRINCIPAL));
            }
            _ => {}
        }
    }
    let (region, partition) = (cx.region(), cx.region().partition());
    let action = format!("apigateway:{}", operation.method);
    let mut access = Access::new(action, format!("arn:{partition}:apigateway:{region}::{path}"));
    for (key, value) in &tags {
        access = access.with(format!("aws:RequestTag/{key}"), value.as_str());
    }
    if !tags.is_empty() {
        access = access.with_many("aws:TagKeys", tags.into_iter().map(|(key, _)| key).collect());
    }
    needed.insert(0, access);
    Ok(needed)
}

/// A role that API Gateway is handed. `arn:aws:iam::*:user/*` means the caller of the API.
fn is_role(member: &str, value: &str) -> bool {
    matches!(member, "credentials" | "authorizerCredentials") && value.contains(":role/")
}

/// Slashes of an ARN in a path are escaped, as in the request itself.
fn encoded(value: &str) -> String {
    value
        .replace('%', "%25")
        .replace('/', "%2F")
        .replace(':', if value.starts_with("arn:") { "%3A" } else { ":" })
}
