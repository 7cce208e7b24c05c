//! Key conditions: one partition, and a range of its sort keys.
//!
//! Source: Amazon DynamoDB Developer Guide, "Key condition expressions for the Query operation in DynamoDB".

use super::Kind;
use super::condition::{Comparator, Condition};
use super::operand::Operand;
use super::path::Path;
use super::placeholder::Placeholders;
use crate::error::DynamoError;
use crate::table::schema::KeySchema;
use crate::value::Value;

/// Which part of a partition a query reads.
#[derive(Debug, Clone, PartialEq)]
pub enum SortRange {
    All,
    Compare(Comparator, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub struct KeyCondition {
    pub partition: Value,
    pub sort: SortRange,
}

/// One condition on one attribute, as found in an expression or a legacy parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct OnAttribute {
    pub name: String,
    pub range: SortRange,
}

impl KeyCondition {
    /// Parses a `KeyConditionExpression`.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn parse(text: &str, placeholders: &Placeholders) -> Result<Vec<OnAttribute>, DynamoError> {
        let condition = Condition::parse(Kind::KeyCondition, text, placeholders)?;
        let mut found = Vec::new();
        collect(&condition, &mut found)?;
        let mut names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DynamoError::validation(
                "KeyConditionExpressions must only contain one condition per key",
            ));
        }
        Ok(found)
    }

    /// Fits conditions to the keys of a table or an index.
    ///
    /// # Errors
    /// `ValidationException`: a key without a condition, a condition on something else, wrong types or operators.
    pub fn fit(mut conditions: Vec<OnAttribute>, schema: &KeySchema) -> Result<KeyCondition, DynamoError> {
        let unsupported = || DynamoError::validation("Query key condition not supported");
        let missed = |name: &str| {
            DynamoError::validation(format!("Query condition missed key schema element: {name}"))
        };
        let hash = &schema.partition;
        let count = conditions.len();
        if count > 1 && schema.sort.is_none() {
            return Err(unsupported());
        }
        let at = conditions.iter().position(|one| one.name == hash.name).ok_or_else(|| missed(&hash.name))?;
        let partition = conditions.swap_remove(at);
        let SortRange::Compare(Comparator::Equal, partition) = partition.range else {
            return Err(unsupported());
        };
        check_type(&partition, hash.kind.name())?;
        if is_empty(&partition) {
            return Err(empty_key(&hash.name, &partition));
        }
        let sort = match (conditions.pop(), &schema.sort) {
            (None, _) => SortRange::All,
            (Some(condition), Some(sort)) if condition.name == sort.name => {
                let operands: Vec<&Value> = match &condition.range {
                    SortRange::All => Vec::new(),
                    SortRange::Compare(_, value) | SortRange::BeginsWith(value) => vec![value],
                    SortRange::Between(low, high) => vec![low, high],
                };
                for operand in operands {
                    check_type(operand, sort.kind.name())?;
                }
                condition.range
            }
            (Some(_), Some(sort)) => return Err(missed(&sort.name)),
            (Some(_), None) => return Err(unsupported()),
        };
        if !conditions.is_empty() {
            return Err(DynamoError::validation("Conditions can be of length 1 or 2 only"));
        }
        Ok(KeyCondition { partition, sort })
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value.length(), Some(0))
}

fn empty_key(name: &str, value: &Value) -> DynamoError {
    let what = if matches!(value, Value::B(_)) { "binary" } else { "string" };
    DynamoError::validation(format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}"
    ))
}

fn check_type(value: &Value, kind: &str) -> Result<(), DynamoError> {
    if value.type_name() == kind {
        return Ok(());
    }
    Err(DynamoError::parameter("Condition parameter type does not match schema type"))
}

fn collect(condition: &Condition, found: &mut Vec<OnAttribute>) -> Result<(), DynamoError> {
    let kind = Kind::KeyCondition;
    let operator = |name: &str| {
        Err(kind.invalid(format_args!("Invalid operator used in KeyConditionExpression: {name}")))
    };
    match condition {
        Condition::And(left, right) => {
            collect(left, found)?;
            collect(right, found)
        }
        Condition::Or(..) => operator("OR"),
        Condition::In(..) => operator("IN"),
        Condition::Not(inner) if matches!(**inner, Condition::Exists(_)) => operator("attribute_not_exists"),
        Condition::Not(_) => operator("NOT"),
        Condition::Exists(_) => operator("attribute_exists"),
        Condition::IsType(..) => operator("attribute_type"),
        Condition::Contains(..) => operator("contains"),
        Condition::Compare(Comparator::NotEqual, ..) => operator("<>"),
        Condition::Compare(comparator, left, right) => {
            let (path, comparator, value) = match (left, right) {
                (Operand::Path(path), Operand::Value(value)) => (path, *comparator, value),
                (Operand::Value(value), Operand::Path(path)) => (path, flipped(*comparator), value),
                _ => return Err(no_key(&[left, right])),
            };
            push(found, path, SortRange::Compare(comparator, value.clone()))
        }
        Condition::Between(operand, low, high) => match (operand, low, high) {
            (Operand::Path(path), Operand::Value(low), Operand::Value(high)) => {
                push(found, path, SortRange::Between(low.clone(), high.clone()))
            }
            _ => Err(no_key(&[operand, low, high])),
        },
        Condition::BeginsWith(operand, prefix) => match (operand, prefix) {
            (Operand::Path(path), Operand::Value(prefix)) => {
                push(found, path, SortRange::BeginsWith(prefix.clone()))
            }
            _ => Err(no_key(&[operand, prefix])),
        },
    }
}

fn push(found: &mut Vec<OnAttribute>, path: &Path, range: SortRange) -> Result<(), DynamoError> {
    if path.is_nested() {
        return Err(
            Kind::KeyCondition.invalid("KeyConditionExpressions cannot have conditions on nested attributes")
        );
    }
    found.push(OnAttribute { name: path.root.clone(), range });
    Ok(())
}

fn no_key(operands: &[&Operand]) -> DynamoError {
    if operands.iter().any(|operand| matches!(operand, Operand::Size(_))) {
        return Kind::KeyCondition.invalid("KeyConditionExpressions cannot contain nested operations");
    }
    let paths = operands.iter().filter(|operand| matches!(operand, Operand::Path(_))).count();
    DynamoError::validation(if paths == 0 {
        "Invalid condition in KeyConditionExpression: No key attribute specified"
    } else {
        "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
    })
}

fn flipped(comparator: Comparator) -> Comparator {
    match comparator {
        Comparator::Less => Comparator::Greater,
        Comparator::LessOrEqual => Comparator::GreaterOrEqual,
        Comparator::Greater => Comparator::Less,
        Comparator::GreaterOrEqual => Comparator::LessOrEqual,
        same => same,
    }
}
