//! A policy document, compiled for repeated evaluation.
//!
//! `Policy::parse` reads documents of every kind and refuses what has no meaning (an unknown element, operator or effect); what a kind of
//! policy may hold is `validate`'s business.
//!
//! Source: IAM User Guide, "Grammar of the IAM JSON policy language", "IAM JSON policy elements reference".

use std::collections::BTreeMap;

use crate::condition::{Condition, Operator};
use crate::document::Json;
use crate::matching::{Pattern, Subject};
use crate::principal::{Named, Principals};
use crate::variables::{ArnPattern, Variable};
use crate::{Context, Request};

/// A compiled policy. Immutable; share it in an `Arc`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(crate) statements: Vec<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    pub(crate) sid: Option<Box<str>>,
    pub(crate) effect: Effect,
    pub(crate) principals: Option<Principals>,
    actions: Actions,
    /// `None` means the resource that the policy is attached to.
    resources: Option<Resources>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
struct Actions {
    not: bool,
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq)]
struct Resources {
    not: bool,
    patterns: Vec<ArnPattern>,
}

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    /// An element is missing, unknown or of the wrong type; the text names it.
    #[error("{0}")]
    Element(String),
}

fn wrong(text: impl Into<String>) -> PolicyError {
    PolicyError::Element(text.into())
}

impl Policy {
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let document = Json::parse(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        Policy::compile(&document)
    }

    /// The number of statements.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The context keys that the policy reads, in conditions and variables, each spelled as it first occurs, in order of their lower case.
    pub fn context_keys(&self) -> Vec<&str> {
        let mut keys: BTreeMap<String, &str> = BTreeMap::new();
        for statement in &self.statements {
            let resources = statement.resources.iter().flat_map(|resources| &resources.patterns);
            let in_resources =
                resources.flat_map(ArnPattern::variables).map(|Variable { spelling, .. }| &**spelling);
            let in_conditions = statement.conditions.iter().flat_map(|condition| {
                let variables = condition.variables().into_iter().map(|variable| &*variable.spelling);
                std::iter::once(&*condition.spelling).chain(variables)
            });
            for spelling in in_resources.chain(in_conditions) {
                keys.entry(spelling.to_ascii_lowercase()).or_insert(spelling);
            }
        }
        keys.into_values().collect()
    }

    pub(crate) fn compile(document: &Json) -> Result<Policy, PolicyError> {
        let elements = document.as_map().ok_or_else(|| wrong("a policy must be a JSON object"))?;
        let mut variables = false;
        let mut statements = None;
        for (name, value) in elements {
            match name.as_str() {
                "Version" => {
                    variables = match value.as_text() {
                        Some("2012-10-17") => true,
                        Some("2008-10-17") => false,
                        _ => return Err(wrong("Version must be 2008-10-17 or 2012-10-17")),
                    }
                }
                "Id" => drop(value.as_text().ok_or_else(|| wrong("Id must be a string"))?),
                "Statement" => statements = Some(value),
                other => return Err(wrong(format!("unknown element {other:?}"))),
            }
        }
        let statements = statements.ok_or_else(|| wrong("Statement is missing"))?.as_items();
        let statements = statements.iter().map(|statement| Statement::compile(statement, variables));
        Ok(Policy { statements: statements.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn compile(statement: &Json, variables: bool) -> Result<Statement, PolicyError> {
        let elements = statement.as_map().ok_or_else(|| wrong("a statement must be a JSON object"))?;
        let (mut sid, mut effect, mut principals, mut actions, mut resources) =
            (None, None, None, None, None);
        let mut conditions = Vec::new();
        let twice = |element: &str| wrong(format!("{element} and Not{element} may not occur together"));
        for (name, value) in elements {
            match name.as_str() {
                "Sid" => sid = Some(value.as_text().ok_or_else(|| wrong("Sid must be a string"))?.into()),
                "Effect" => {
                    effect = match value.as_text() {
                        Some("Allow") => Some(Effect::Allow),
                        Some("Deny") => Some(Effect::Deny),
                        _ => return Err(wrong("Effect must be Allow or Deny")),
                    }
                }
                "Principal" | "NotPrincipal" => {
                    let element = Principals { not: name == "NotPrincipal", named: named_principals(value)? };
                    if principals.replace(element).is_some() {
                        return Err(twice("Principal"));
                    }
                }
                "Action" | "NotAction" => {
                    let patterns = texts(name, value)?.into_iter().map(action_pattern).collect();
                    if actions.replace(Actions { not: name == "NotAction", patterns }).is_some() {
                        return Err(twice("Action"));
                    }
                }
                "Resource" | "NotResource" => {
                    let patterns = texts(name, value)?
                        .into_iter()
                        .map(|text| ArnPattern::new(text, variables))
                        .collect();
                    if resources.replace(Resources { not: name == "NotResource", patterns }).is_some() {
                        return Err(twice("Resource"));
                    }
                }
                "Condition" => conditions = compile_conditions(value, variables)?,
                other => return Err(wrong(format!("unknown element {other:?} in a statement"))),
            }
        }
        Ok(Statement {
            sid,
            effect: effect.ok_or_else(|| wrong("Effect is missing"))?,
            principals,
            actions: actions.ok_or_else(|| wrong("a statement must have Action or NotAction"))?,
            resources,
            conditions,
        })
    }

    /// Whether action, resource and conditions fit; the principal is another question.
    pub(crate) fn fits(&self, request: &Request<'_>, subject: &Subject<'_>) -> bool {
        self.actions.fit(request.action)
            && self
                .resources
                .as_ref()
                .is_none_or(|resources| resources.fit(self.effect, subject, request.context))
            && self.conditions.iter().all(|condition| condition.is_met(request.context))
    }
}

impl Actions {
    fn fit(&self, action: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches_lower(action)) != self.not
    }
}

impl Resources {
    fn fit(&self, effect: Effect, subject: &Subject<'_>, context: &Context) -> bool {
        // About one resource, meeting and covering are the same. About any of many, an Allow needs one and a Deny needs all.
        let meets = matches!((effect, self.not), (Effect::Allow, false) | (Effect::Deny, true));
        let mut found = false;
        for pattern in &self.patterns {
            let outcome =
                if meets { pattern.meets(subject, context) } else { pattern.covers(subject, context) };
            match outcome {
                Some(true) => found = true,
                Some(false) => {}
                // A variable without a value makes an exclusion, and with it the statement, meaningless.
                None if self.not => return false,
                None => {}
            }
            if found && !self.not {
                return true;
            }
        }
        found != self.not
    }
}

/// `service:Action` in lower case. Only the name may have wildcards, or everything may be `*`.
fn action_pattern(text: &str) -> Pattern {
    let lower = text.to_ascii_lowercase();
    match lower.split_once(':') {
        Some((service, _)) if service == "*" || !service.contains(['*', '?']) => Pattern::wildcards(&lower),
        None if !lower.is_empty() && lower.bytes().all(|byte| byte == b'*') => Pattern::wildcards("*"),
        // Not an action: as a literal with a character that no action has, it matches nothing.
        _ => Pattern::from_code(vec![0]),
    }
}

fn texts<'a>(name: &str, value: &'a Json) -> Result<Vec<&'a str>, PolicyError> {
    let text = |item: &'a Json| item.as_text().ok_or_else(|| wrong(format!("{name} must hold strings")));
    value.as_items().iter().map(text).collect()
}

fn named_principals(value: &Json) -> Result<Vec<Named>, PolicyError> {
    if let Some(text) = value.as_text() {
        return match text {
            "*" => Ok(vec![Named::Everyone]),
            _ => Err(wrong("Principal must be \"*\" or an object")),
        };
    }
    let entries = value.as_map().ok_or_else(|| wrong("Principal must be \"*\" or an object"))?;
    let mut named = Vec::new();
    for (kind, value) in entries {
        let make: fn(&str) -> Named = match kind.as_str() {
            "AWS" => Named::aws,
            "Service" => |name| Named::Service(name.into()),
            "Federated" => |name| Named::Federated(name.into()),
            "CanonicalUser" => |name| Named::CanonicalUser(name.into()),
            other => return Err(wrong(format!("unknown kind of principal {other:?}"))),
        };
        named.extend(texts(kind, value)?.into_iter().map(make));
    }
    Ok(named)
}

fn compile_conditions(value: &Json, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let operators = value.as_map().ok_or_else(|| wrong("Condition must be an object"))?;
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let keys = keys.as_map().ok_or_else(|| wrong(format!("{name} must be an object")))?;
        if keys.is_empty() {
            continue;
        }
        let operator =
            Operator::parse(name).ok_or_else(|| wrong(format!("unknown condition operator {name:?}")))?;
        for (key, values) in keys {
            let values = values.as_items().iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            conditions.push(Condition::new(operator, key, &values, variables));
        }
    }
    Ok(conditions)
}

/// Quotation marks are optional around numbers and booleans.
fn scalar(value: &Json) -> Result<String, PolicyError> {
    match value {
        Json::Text(text) | Json::Number(text) => Ok(text.clone()),
        Json::Bool(value) => Ok(value.to_string()),
        _ => Err(wrong("a condition's value must be a string, a number or a boolean")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
