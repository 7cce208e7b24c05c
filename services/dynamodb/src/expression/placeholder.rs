//! `ExpressionAttributeNames` and `ExpressionAttributeValues`, and which of them an expression has used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use pileus_wire::value::Map;

use super::Kind;
use crate::error::DynamoError;
use crate::value::{Value, WireItem};

/// What the placeholders of one request stand for.
#[derive(Debug, Default)]
pub struct Placeholders {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
    used_names: RefCell<BTreeSet<String>>,
    used_values: RefCell<BTreeSet<String>>,
}

/// Which parameters a request had, for AWS's checks of what goes together.
pub struct Given<'a> {
    /// Expressions by their names, and whether they were given.
    pub expressions: &'a [(&'static str, bool)],
    /// Legacy parameters, likewise.
    pub legacy: &'a [(&'static str, bool)],
}

impl Placeholders {
    /// Reads and checks both maps.
    ///
    /// # Errors
    /// `ValidationException`: mixed styles, placeholders without expressions, empty maps, malformed keys or values.
    pub fn read(
        names: Option<Map<String>>,
        values: Option<WireItem>,
        given: &Given<'_>,
    ) -> Result<Placeholders, DynamoError> {
        given.check(names.is_some(), values.is_some())?;
        let mut placeholders = Placeholders::default();
        if let Some(names) = names {
            if names.is_empty() {
                return Err(DynamoError::validation("ExpressionAttributeNames must not be empty"));
            }
            for (key, name) in names.0 {
                check_key("ExpressionAttributeNames", '#', &key)?;
                if name.is_empty() || name.len() > 65_535 {
                    let what = if name.is_empty() {
                        "must not be empty".to_owned()
                    } else {
                        "has exceeded the maximum allowed size".to_owned()
                    };
                    let text = format!(
                        "ExpressionAttributeNames contains invalid value: attribute name {what}; key: {key}"
                    );
                    return Err(DynamoError::validation(text));
                }
                placeholders.names.insert(key, name);
            }
        }
        if let Some(values) = values {
            if values.is_empty() {
                return Err(DynamoError::validation("ExpressionAttributeValues must not be empty"));
            }
            for (key, value) in values.0 {
                check_key("ExpressionAttributeValues", ':', &key)?;
                let value = Value::from_wire(value).map_err(|error| {
                    DynamoError::validation(format!(
                        "ExpressionAttributeValues contains invalid value: {error} for key {key}"
                    ))
                })?;
                placeholders.values.insert(key, value);
            }
        }
        Ok(placeholders)
    }

    pub fn name(&self, kind: Kind, placeholder: &str) -> Result<String, DynamoError> {
        self.used_names.borrow_mut().insert(placeholder.to_owned());
        self.names.get(placeholder).cloned().ok_or_else(|| {
            kind.invalid(format_args!(
                "An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
            ))
        })
    }

    pub fn value(&self, kind: Kind, placeholder: &str) -> Result<Value, DynamoError> {
        self.used_values.borrow_mut().insert(placeholder.to_owned());
        self.values.get(placeholder).cloned().ok_or_else(|| {
            kind.invalid(format_args!(
                "An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            ))
        })
    }

    /// Once all expressions are parsed.
    ///
    /// # Errors
    /// `ValidationException` for placeholders that no expression has used.
    pub fn check_all_used(&self) -> Result<(), DynamoError> {
        let unused = |what: &str, keys: Vec<&str>| {
            let text =
                format!("Value provided in {what} unused in expressions: keys: {{{}}}", keys.join(", "));
            Err(DynamoError::validation(text))
        };
        let (names, values) = (self.used_names.borrow(), self.used_values.borrow());
        let idle: Vec<_> =
            self.names.keys().filter(|key| !names.contains(*key)).map(String::as_str).collect();
        if !idle.is_empty() {
            return unused("ExpressionAttributeNames", idle);
        }
        let idle: Vec<_> =
            self.values.keys().filter(|key| !values.contains(*key)).map(String::as_str).collect();
        if !idle.is_empty() {
            return unused("ExpressionAttributeValues", idle);
        }
        Ok(())
    }
}

fn check_key(map: &str, sign: char, key: &str) -> Result<(), DynamoError> {
    let rest = key.strip_prefix(sign);
    let is_name =
        |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if rest.is_some_and(is_name) {
        return Ok(());
    }
    Err(DynamoError::validation(format!("{map} contains invalid key: Syntax error; key: \"{key}\"")))
}

impl Given<'_> {
    fn check(&self, has_names: bool, has_values: bool) -> Result<(), DynamoError> {
        let present = |parameters: &[(&'static str, bool)]| -> Vec<&'static str> {
            parameters.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect()
        };
        let (expressions, legacy) = (present(self.expressions), present(self.legacy));
        if !expressions.is_empty() && !legacy.is_empty() {
            return Err(DynamoError::validation(format!(
                "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {{{}}} Expression parameters: {{{}}}",
                legacy.join(", "),
                expressions.join(", ")
            )));
        }
        if has_names && expressions.is_empty() {
            return Err(DynamoError::validation(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        let with_values: Vec<_> =
            self.expressions.iter().filter(|(name, _)| *name != Kind::Projection.name()).collect();
        if has_values && !with_values.is_empty() && with_values.iter().all(|(_, is_given)| !is_given) {
            let names: Vec<_> = with_values.iter().map(|(name, _)| *name).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            return Err(DynamoError::validation(format!(
                "ExpressionAttributeValues can only be specified when using expressions: {} {verb} null",
                names.join(" and ")
            )));
        }
        Ok(())
    }
}
