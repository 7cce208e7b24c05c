//! Operands of conditions, their functions, and what may be an operand of what.
//!
//! Source: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions in DynamoDB".

use super::Kind;
use super::lexer::{Lexer, TokenKind};
use super::path::{Deferred, Path, parse_path};
use super::placeholder::Placeholders;
use crate::error::DynamoError;
use crate::value::{Item, Value};

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Path(Path),
    Value(Value),
    Size(Box<Operand>),
}

impl Operand {
    pub fn resolve<'a>(&'a self, item: &'a Item) -> Option<std::borrow::Cow<'a, Value>> {
        use std::borrow::Cow;
        match self {
            Operand::Path(path) => path.find(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(inner) => {
                let length = inner.resolve(item)?.length()?;
                Some(Cow::Owned(Value::N(crate::number::Number::from_u64(length as u64))))
            }
        }
    }

    pub fn shown(&self) -> String {
        match self {
            Operand::Path(path) => path.shown(),
            Operand::Value(value) => value.shown(),
            Operand::Size(inner) => format!("size({})", inner.shown()),
        }
    }

    pub fn paths<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Operand::Path(path) => out.push(path),
            Operand::Value(_) => {}
            Operand::Size(inner) => inner.paths(out),
        }
    }

    pub fn literal(&self) -> Option<&Value> {
        if let Operand::Value(value) = self { Some(value) } else { None }
    }
}

pub const CONDITION_FUNCTIONS: [&str; 5] =
    ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"];
const UPDATE_FUNCTIONS: [&str; 2] = ["if_not_exists", "list_append"];

pub fn is_function(name: &str) -> bool {
    name == "size" || CONDITION_FUNCTIONS.contains(&name) || UPDATE_FUNCTIONS.contains(&name)
}

/// Reads a path, a value, or `size(..)`.
pub fn parse_operand(
    lexer: &mut Lexer<'_>,
    placeholders: &Placeholders,
    deferred: &mut Deferred,
) -> Result<Operand, DynamoError> {
    let token = lexer.peek();
    match token.kind {
        TokenKind::Value => {
            lexer.next();
            Ok(Operand::Value(placeholders.value(lexer.kind, token.text).unwrap_or_else(|error| {
                deferred.note(error);
                Value::Null
            })))
        }
        TokenKind::Word if is_call(lexer) => {
            let (name, mut operands) = parse_call(lexer, placeholders, deferred)?;
            let kind = lexer.kind;
            if !is_function(name) {
                deferred.note(kind.invalid(format_args!("Invalid function name; function: {name}")));
            } else if name != "size" {
                deferred.note(kind.invalid(format_args!(
                    "The function is not allowed to be used this way in an expression; function: {name}"
                )));
            } else {
                check_count(kind, name, &operands, 1, deferred);
                if let Some(value) = operands.first().and_then(Operand::literal)
                    && value.length().is_none()
                {
                    deferred.note(wrong_type(kind, name, value));
                }
            }
            let first =
                if operands.is_empty() { Operand::Value(Value::Null) } else { operands.swap_remove(0) };
            Ok(Operand::Size(Box::new(first)))
        }
        _ => Ok(Operand::Path(parse_path(lexer, placeholders, deferred)?)),
    }
}

/// A word and an opening parenthesis.
pub fn is_call(lexer: &Lexer<'_>) -> bool {
    let next = lexer.peek_second();
    lexer.peek().kind == TokenKind::Word && next.kind == TokenKind::Symbol && next.text == "("
}

/// `name(operand, ..)`
pub fn parse_call<'a>(
    lexer: &mut Lexer<'a>,
    placeholders: &Placeholders,
    deferred: &mut Deferred,
) -> Result<(&'a str, Vec<Operand>), DynamoError> {
    let name = lexer.next().text;
    lexer.expect_symbol("(")?;
    let mut operands = vec![parse_operand(lexer, placeholders, deferred)?];
    while lexer.take_symbol(",") {
        operands.push(parse_operand(lexer, placeholders, deferred)?);
    }
    lexer.expect_symbol(")")?;
    Ok((name, operands))
}

pub fn check_count(kind: Kind, name: &str, operands: &[Operand], count: usize, deferred: &mut Deferred) {
    if operands.len() != count {
        deferred.note(kind.invalid(format_args!(
            "Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {}",
            operands.len()
        )));
    }
}

pub fn wrong_type(kind: Kind, name: &str, value: &Value) -> DynamoError {
    kind.invalid(format_args!(
        "Incorrect operand type for operator or function; operator or function: {name}, operand type: {}",
        value.type_name()
    ))
}

/// A comparison of an operand with itself says nothing.
pub fn check_first_distinct(
    kind: Kind,
    name: &str,
    first: &Operand,
    others: &[&Operand],
    deferred: &mut Deferred,
) {
    if matches!(first, Operand::Path(_)) && others.contains(&first) {
        deferred.note(kind.invalid(format_args!(
            "The first operand must be distinct from the remaining operands for this operator or function; operator: {name}, first operand: {}",
            first.shown()
        )));
    }
}
