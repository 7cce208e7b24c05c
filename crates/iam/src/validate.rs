//! What `iam:CreatePolicy` and its like refuse, in AWS's words.
//!
//! The checks run in AWS's order: syntax, version, principal, what its oldest parser refuses, statement ids, actions, resources. A document
//! that passes compiles (`Policy::parse`).
//!
//! Source: IAM User Guide, "Grammar of the IAM JSON policy language", "Validating IAM policies"; the texts are those that callers of AWS
//! have reported. Chosen: where no report exists, "Syntax errors in policy.".

mod resource;

use crate::condition::Operator;
use crate::document::Json;
use crate::matching::split_arn;
use pileus_core::AccountId;

/// What a document is for; each kind has its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A managed or inline policy of a user, group or role.
    Identity,
    /// A resource's policy. Services check more, with errors of their own.
    Resource,
    /// A role's trust policy.
    Trust,
    /// A permissions boundary: an identity policy in all but its use.
    Boundary,
}

/// The text of a `MalformedPolicyDocument` error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

const SYNTAX: &str = "Syntax errors in policy.";
const LEGACY: &str = "The policy failed legacy parsing";

fn malformed(text: impl Into<String>) -> Malformed {
    Malformed(text.into())
}

fn ensure(holds: bool, text: &str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(malformed(text)) }
}

/// Checks `document` as AWS does when it is saved as a policy of `kind`.
///
/// # Errors
/// AWS's text for the first fault.
pub fn validate(document: &str, kind: DocumentKind) -> Result<(), Malformed> {
    let invalid_json = if kind == DocumentKind::Trust { "This policy contains invalid Json" } else { SYNTAX };
    let document = Json::parse(document).map_err(|_| malformed(invalid_json))?;
    let statements = document_syntax(&document)?;
    let identity = matches!(kind, DocumentKind::Identity | DocumentKind::Boundary);
    if identity {
        let version = document.get("Version").and_then(Json::as_text);
        ensure(version == Some("2012-10-17"), "Policy document must be version 2012-10-17 or greater.")?;
    }
    principals(statements, kind)?;
    legacy(statements)?;
    let resource_fault = resource::first_fault(statements)?;
    statement_ids(statements, identity)?;
    for statement in statements {
        ensure(has_some(statement, "Action"), "Policy statement must contain actions.")?;
    }
    match resource_fault {
        Some(fault) if identity => return Err(fault),
        _ => {}
    }
    actions(statements, kind)?;
    for statement in statements {
        match kind {
            DocumentKind::Trust => {}
            _ => ensure(has_some(statement, "Resource"), "Policy statement must contain resources.")?,
        }
    }
    Ok(())
}

/// The size that counts towards a policy's quota: characters other than white space.
///
/// Source: IAM User Guide, "IAM and AWS STS quotas".
pub fn counted_size(document: &str) -> usize {
    document.chars().filter(|character| !character.is_whitespace()).count()
}

/// Elements and their types; the statements.
fn document_syntax(document: &Json) -> Result<&[Json], Malformed> {
    let elements = document.as_map().ok_or_else(|| malformed(SYNTAX))?;
    for (name, value) in elements {
        let valid = match name.as_str() {
            "Version" => matches!(value.as_text(), Some("2008-10-17" | "2012-10-17")),
            "Id" => value.as_text().is_some(),
            "Statement" => matches!(value, Json::Map(_) | Json::List(_)),
            _ => false,
        };
        ensure(valid, SYNTAX)?;
    }
    let statements = document.get("Statement").ok_or_else(|| malformed(SYNTAX))?.as_items();
    ensure(!statements.is_empty(), SYNTAX)?;
    for statement in statements {
        statement_syntax(statement)?;
    }
    Ok(statements)
}

fn statement_syntax(statement: &Json) -> Result<(), Malformed> {
    let elements = statement.as_map().ok_or_else(|| malformed(SYNTAX))?;
    for (name, value) in elements {
        let valid = match name.as_str() {
            "Sid" => value.as_text().is_some(),
            "Effect" => value
                .as_text()
                .is_some_and(|text| ["allow", "deny"].iter().any(|effect| text.eq_ignore_ascii_case(effect))),
            "Action" | "NotAction" | "Resource" | "NotResource" => all_texts(value),
            "Principal" | "NotPrincipal" => principal_syntax(value),
            "Condition" => condition_syntax(value),
            _ => false,
        };
        ensure(valid, SYNTAX)?;
    }
    let both = |name: &str| statement.get(name).is_some() && statement.get(&format!("Not{name}")).is_some();
    ensure(
        statement.get("Effect").is_some() && !both("Action") && !both("Resource") && !both("Principal"),
        SYNTAX,
    )
}

fn all_texts(value: &Json) -> bool {
    matches!(value, Json::Text(_) | Json::List(_))
        && value.as_items().iter().all(|item| item.as_text().is_some())
}

fn principal_syntax(value: &Json) -> bool {
    let known = |kind: &str| matches!(kind, "AWS" | "Service" | "Federated" | "CanonicalUser");
    match value {
        Json::Text(text) => text == "*",
        Json::Map(kinds) => {
            !kinds.is_empty() && kinds.iter().all(|(kind, names)| known(kind) && all_texts(names))
        }
        _ => false,
    }
}

fn condition_syntax(value: &Json) -> bool {
    let scalar = |value: &Json| matches!(value, Json::Text(_) | Json::Number(_) | Json::Bool(_));
    let Some(operators) = value.as_map() else { return false };
    operators.iter().all(|(operator, keys)| {
        let Some(keys) = keys.as_map() else { return false };
        // An operator without keys is never looked up.
        (keys.is_empty() || Operator::parse(operator).is_some())
            && keys.iter().all(|(_, values)| values.as_items().iter().all(scalar))
    })
}

fn principals(statements: &[Json], kind: DocumentKind) -> Result<(), Malformed> {
    for statement in statements {
        let principal = statement.get("Principal").or_else(|| statement.get("NotPrincipal"));
        match kind {
            DocumentKind::Identity | DocumentKind::Boundary => {
                ensure(principal.is_none(), "Policy document should not specify a principal.")?;
            }
            DocumentKind::Resource => ensure(principal.is_some(), "Missing required field Principal")?,
            DocumentKind::Trust => {
                for name in ["Resource", "NotResource", "NotPrincipal"] {
                    ensure(statement.get(name).is_none(), &format!("Has prohibited field {name}"))?;
                }
                trusted(principal.ok_or_else(|| malformed("Missing required field Principal"))?)?;
            }
        }
    }
    Ok(())
}

/// AWS accounts and identities of a trust policy must at least have their form; whether they exist, the service checks.
fn trusted(principal: &Json) -> Result<(), Malformed> {
    let Some(names) = principal.get("AWS") else { return Ok(()) };
    for name in names.as_items().iter().filter_map(Json::as_text) {
        let account_arn = |[_, service, region, account, _]: [&str; 5]| {
            matches!(service, "iam" | "sts") && region.is_empty() && AccountId::parse(account).is_some()
        };
        let unique_id =
            name.len() >= 16 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let valid = name == "*"
            || unique_id
            || AccountId::parse(name).is_some()
            || split_arn(name).is_some_and(account_arn);
        ensure(valid, &format!("Invalid principal in policy: \"AWS\":\"{name}\""))?;
    }
    Ok(())
}

/// The effect's letter case, and dates.
fn legacy(statements: &[Json]) -> Result<(), Malformed> {
    for statement in statements {
        ensure(matches!(statement.get("Effect").and_then(Json::as_text), Some("Allow" | "Deny")), LEGACY)?;
        let operators = statement.get("Condition").and_then(Json::as_map).unwrap_or_default();
        for (name, keys) in operators {
            let Some(operator) = Operator::parse(name) else { continue };
            let values = keys.as_map().unwrap_or_default().iter().flat_map(|(_, values)| values.as_items());
            for value in values {
                let text = match value {
                    Json::Text(text) | Json::Number(text) => text,
                    _ => continue,
                };
                ensure(operator.can_read(text), LEGACY)?;
            }
        }
    }
    Ok(())
}

fn statement_ids(statements: &[Json], alphanumeric: bool) -> Result<(), Malformed> {
    let mut seen = std::collections::HashSet::new();
    for sid in statements.iter().filter_map(|statement| statement.get("Sid")?.as_text()) {
        ensure(
            !alphanumeric || sid.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        )?;
        ensure(sid.is_empty() || seen.insert(sid), "Statement IDs (SID) in a single policy must be unique.")?;
    }
    Ok(())
}

/// Whether the statement has `name` or its negation, with at least one value.
fn has_some(statement: &Json, name: &str) -> bool {
    let element = statement.get(name).or_else(|| statement.get(&format!("Not{name}")));
    element.is_some_and(|element| !element.as_items().is_empty())
}

fn actions(statements: &[Json], kind: DocumentKind) -> Result<(), Malformed> {
    for statement in statements {
        for name in ["Action", "NotAction"] {
            let texts = statement.get(name).map(Json::as_items).unwrap_or_default();
            for action in texts.iter().filter_map(Json::as_text) {
                action_form(action)?;
                if kind == DocumentKind::Trust {
                    ensure(
                        may_be_trusted(action),
                        "AssumeRole policy may only specify STS AssumeRole actions.",
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn action_form(action: &str) -> Result<(), Malformed> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    ensure(!name.contains(':'), "Actions/Condition can contain only one colon.")?;
    let valid = vendor == "*"
        || vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    ensure(valid, &format!("Vendor {vendor} is not valid"))
}

/// Source: IAM User Guide, "Request temporary security credentials", "Pass session tags in AWS STS".
fn may_be_trusted(action: &str) -> bool {
    let lower = action.to_ascii_lowercase();
    let known = [
        "assumerole",
        "assumerolewithsaml",
        "assumerolewithwebidentity",
        "tagsession",
        "setsourceidentity",
        "setcontext",
    ];
    lower == "sts:*"
        || lower
            .strip_prefix("sts:")
            .is_some_and(|name| known.contains(&name) || name.starts_with("assumerole"))
}

#[cfg(test)]
mod tests;
