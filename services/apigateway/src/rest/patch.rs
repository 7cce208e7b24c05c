//! Patch operations: paths into a resource's document, each with the operations that AWS lets it have. Pure.
//!
//! Source: API Gateway API Reference, "PatchOperation"; "Patch operations" (the table of paths).

use pileus_api_apigateway::PatchOperation;
use serde_json::{Map, Value as Json};

use super::document::{Shaped, of_document, to_document};
use crate::error::GatewayError;

/// A path that may be patched: parts divided by `/`, `*` for any name.
pub struct Rule {
    pub path: &'static str,
    pub operations: &'static [&'static str],
    pub kind: Kind,
}

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Bool,
    Int,
    Float,
    /// A list whose last part of the path, or else the value, names an element.
    Element,
    /// A whole object, which can be removed.
    Object,
}

pub const REPLACE: &[&str] = &["replace"];
pub const ANY: &[&str] = &["add", "remove", "replace"];
pub const LIST: &[&str] = &["add", "remove", "replace"];
pub const REMOVE: &[&str] = &["remove"];

pub const fn text(path: &'static str) -> Rule {
    Rule { path, operations: REPLACE, kind: Kind::Text }
}

pub const fn flag(path: &'static str) -> Rule {
    Rule { path, operations: REPLACE, kind: Kind::Bool }
}

pub const fn number(path: &'static str) -> Rule {
    Rule { path, operations: REPLACE, kind: Kind::Int }
}

/// A text that can also be added and removed: an entry of a map, or an optional member.
pub const fn entry(path: &'static str) -> Rule {
    Rule { path, operations: ANY, kind: Kind::Text }
}

pub const fn element(path: &'static str) -> Rule {
    Rule { path, operations: LIST, kind: Kind::Element }
}

/// The resource with the operations applied, one after another.
///
/// # Errors
/// `BadRequest` for paths that may not be patched, operations that they do not have, and values of other types.
pub fn patched<T: Shaped>(
    resource: &T,
    operations: Option<&Vec<PatchOperation>>,
    rules: &[Rule],
) -> Result<T, GatewayError> {
    let mut document = to_document(resource);
    for operation in operations.into_iter().flatten() {
        apply(&mut document, operation, rules)?;
    }
    of_document(&document)
}

/// The parts of a path: `~1` stands for `/`, `~0` for `~`.
pub fn parts(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// # Errors
/// As [`patched`].
pub fn apply(document: &mut Json, operation: &PatchOperation, rules: &[Rule]) -> Result<(), GatewayError> {
    let path = operation.path.as_deref().unwrap_or_default();
    let op = operation.op.as_deref().unwrap_or_default();
    if !matches!(op, "add" | "remove" | "replace") {
        return Err(GatewayError::bad(format!(
            "Invalid patch operation specified. Must be one of: [add, remove, replace], not '{op}'"
        )));
    }
    let parts = parts(path);
    let found = rules.iter().find(|rule| fits(rule, &parts));
    let Some(rule) = found.filter(|rule| rule.operations.contains(&op)) else {
        let allowed: Vec<String> = rules
            .iter()
            .filter(|rule| rule.operations.contains(&op))
            .map(|rule| format!("/{}", rule.path.replace('*', "{name}")))
            .collect();
        return Err(GatewayError::bad(format!(
            "Invalid patch path  '{path}' specified for op '{op}'. Must be one of: [{}]",
            allowed.join(", ")
        )));
    };
    let value = operation.value.as_deref();
    match rule.kind {
        Kind::Element => change_list(document, rule, &parts, op, value),
        _ if op == "remove" => {
            remove(document, &parts);
            Ok(())
        }
        kind => {
            let value = typed(kind, path, value)?;
            put(document, &parts, value);
            Ok(())
        }
    }
}

fn fits(rule: &Rule, parts: &[String]) -> bool {
    let pattern: Vec<&str> = rule.path.split('/').collect();
    // An element of a list may be in the path or in the value.
    let given = match rule.kind {
        Kind::Element if parts.len() == pattern.len() + 1 => &parts[..pattern.len()],
        _ => parts,
    };
    pattern.len() == given.len()
        && pattern.iter().zip(given).all(|(wanted, part)| *wanted == "*" || wanted == part)
}

fn typed(kind: Kind, path: &str, value: Option<&str>) -> Result<Json, GatewayError> {
    let wrong =
        || GatewayError::bad(format!("Invalid value specified for path {path}: {}", value.unwrap_or("null")));
    let Some(text) = value else {
        return if kind == Kind::Text { Ok(Json::Null) } else { Err(wrong()) };
    };
    Ok(match kind {
        Kind::Bool => Json::Bool(text.eq_ignore_ascii_case("true")),
        Kind::Int => Json::from(text.trim().parse::<i64>().map_err(|_| wrong())?),
        Kind::Float => {
            Json::from(text.trim().parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(wrong)?)
        }
        Kind::Object => return Err(wrong()),
        Kind::Text | Kind::Element => Json::from(text),
    })
}

fn put(document: &mut Json, parts: &[String], value: Json) {
    let Some((last, before)) = parts.split_last() else { return };
    let mut at = document;
    for part in before {
        if !at.is_object() {
            *at = Json::Object(Map::new());
        }
        at = &mut at[part.as_str()];
    }
    if !at.is_object() {
        *at = Json::Object(Map::new());
    }
    at[last.as_str()] = value;
}

fn remove(document: &mut Json, parts: &[String]) {
    let Some((last, before)) = parts.split_last() else { return };
    let mut at = document;
    for part in before {
        match at.get_mut(part) {
            Some(inner) => at = inner,
            None => return,
        }
    }
    if let Some(object) = at.as_object_mut() {
        object.shift_remove(last);
    }
}

fn change_list(
    document: &mut Json,
    rule: &Rule,
    parts: &[String],
    op: &str,
    value: Option<&str>,
) -> Result<(), GatewayError> {
    let depth = rule.path.split('/').count();
    let (list, in_path) = parts.split_at(depth);
    let element = in_path.first().map(String::as_str).or(value);
    let Some(element) = element.filter(|element| !element.is_empty()) else {
        return Err(GatewayError::bad(format!(
            "Invalid patch path specified: /{} names no element",
            parts.join("/")
        )));
    };
    let mut at = &mut *document;
    for part in list {
        if at.is_null() {
            *at = Json::Object(Map::new());
        }
        at = &mut at[part.as_str()];
    }
    if !at.is_array() {
        *at = Json::Array(Vec::new());
    }
    let Some(items) = at.as_array_mut() else { return Ok(()) };
    match op {
        "remove" => items.retain(|item| item.as_str() != Some(element)),
        // A replaced element gives way to the value; without one in the path the list has only the value.
        "replace" => match (in_path.first(), value) {
            (Some(old), Some(new)) => {
                for item in items.iter_mut().filter(|item| item.as_str() == Some(old)) {
                    *item = Json::from(new);
                }
            }
            _ => *items = vec![Json::from(element)],
        },
        _ => {
            if !items.iter().any(|item| item.as_str() == Some(element)) {
                items.push(Json::from(element));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_change_what_their_paths_name() {
        let rules = [
            text("name"),
            flag("on"),
            number("limit"),
            entry("map/*"),
            element("types"),
            element("deep/list"),
        ];
        let cases = [
            // op, path, value, document before, after
            ("replace", "/name", Some("b"), json!({"name": "a"}), Ok(json!({"name": "b"}))),
            ("replace", "/on", Some("true"), json!({}), Ok(json!({"on": true}))),
            ("replace", "/limit", Some("7"), json!({}), Ok(json!({"limit": 7}))),
            ("replace", "/limit", Some("x"), json!({}), Err("Invalid value specified for path /limit: x")),
            (
                "add",
                "/map/application~1json",
                Some("{}"),
                json!({}),
                Ok(json!({"map": {"application/json": "{}"}})),
            ),
            ("remove", "/map/a", None, json!({"map": {"a": "1", "b": "2"}}), Ok(json!({"map": {"b": "2"}}))),
            ("remove", "/map/a", None, json!({}), Ok(json!({}))),
            ("add", "/types/image~1png", None, json!({}), Ok(json!({"types": ["image/png"]}))),
            ("add", "/types", Some("x"), json!({"types": ["x"]}), Ok(json!({"types": ["x"]}))),
            ("remove", "/types/x", None, json!({"types": ["x", "y"]}), Ok(json!({"types": ["y"]}))),
            (
                "replace",
                "/types/x",
                Some("z"),
                json!({"types": ["x", "y"]}),
                Ok(json!({"types": ["z", "y"]})),
            ),
            ("add", "/deep/list", Some("x"), json!({}), Ok(json!({"deep": {"list": ["x"]}}))),
            (
                "add",
                "/name",
                Some("b"),
                json!({}),
                Err(
                    "Invalid patch path  '/name' specified for op 'add'. Must be one of: [/map/{name}, /types, /deep/list]",
                ),
            ),
            (
                "replace",
                "/other",
                Some("b"),
                json!({}),
                Err(
                    "Invalid patch path  '/other' specified for op 'replace'. Must be one of: [/name, /on, /limit, /map/{name}, /types, /deep/list]",
                ),
            ),
            (
                "test",
                "/name",
                None,
                json!({}),
                Err("Invalid patch operation specified. Must be one of: [add, remove, replace], not 'test'"),
            ),
        ];
        for (op, path, value, mut document, expected) in cases {
            let operation = PatchOperation {
                op: Some(op.into()),
                path: Some(path.into()),
                value: value.map(str::to_owned),
                from: None,
            };
            let got = apply(&mut document, &operation, &rules)
                .map(|()| document)
                .map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{op} {path}");
        }
    }
}
