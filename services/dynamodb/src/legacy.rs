//! Parameters from before expressions: `Expected`, `QueryFilter`, `ScanFilter`, `KeyConditions`, `AttributeUpdates`,
//! `AttributesToGet`. Each becomes the expression that it means. Pure.
//!
//! Source: Developer Guide, "Legacy DynamoDB conditional parameters". Recorded: sentences of errors.

use pileus_api_dynamodb as api;
use pileus_wire::value::Map;

use crate::error::DynamoError;
use crate::expression::condition::{Comparator, Condition};
use crate::expression::key::{OnAttribute, SortRange};
use crate::expression::operand::Operand;
use crate::expression::path::{Path, Projection};
use crate::expression::update::{Expr, Update};
use crate::value::Value;

/// `AttributesToGet`
///
/// # Errors
/// `ValidationException` for a name given twice.
pub fn projection(names: Vec<String>) -> Result<Projection, DynamoError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in &names {
        if !seen.insert(name) {
            return Err(DynamoError::parameter(format_args!("Duplicate value in attribute name: {name}")));
        }
    }
    Ok(Projection(names.into_iter().map(Path::attribute).collect()))
}

fn operands(values: Option<Vec<api::AttributeValue>>) -> Result<Vec<Value>, DynamoError> {
    values.unwrap_or_default().into_iter().map(Value::from_wire).collect()
}

fn one_condition(name: &str, operator: &str, values: Vec<Value>) -> Result<Condition, DynamoError> {
    let expected = match operator {
        "NULL" | "NOT_NULL" => 0..=0,
        "BETWEEN" => 2..=2,
        "IN" => 1..=usize::MAX,
        _ => 1..=1,
    };
    if !expected.contains(&values.len()) {
        return Err(DynamoError::parameter(format_args!(
            "Invalid number of argument(s) for the {operator} ComparisonOperator"
        )));
    }
    let is_scalar = |value: &Value| matches!(value, Value::S(_) | Value::N(_) | Value::B(_));
    let needs_scalars =
        matches!(operator, "LT" | "LE" | "GT" | "GE" | "BETWEEN" | "IN" | "CONTAINS" | "NOT_CONTAINS");
    let only_text = operator == "BEGINS_WITH";
    for value in &values {
        let is_text = matches!(value, Value::S(_) | Value::B(_));
        if needs_scalars && !is_scalar(value) || only_text && !is_text {
            return Err(DynamoError::parameter(format_args!(
                "ComparisonOperator {operator} is not valid for {} AttributeValue type",
                value.type_name()
            )));
        }
    }
    let path = || Operand::Path(Path::attribute(name));
    let mut values = values.into_iter().map(Operand::Value);
    let mut next = || values.next().unwrap_or(Operand::Value(Value::Null));
    let compare = |comparator, value| Condition::Compare(comparator, path(), value);
    let exists = Condition::Exists(Path::attribute(name));
    Ok(match operator {
        "EQ" => compare(Comparator::Equal, next()),
        "NE" => compare(Comparator::NotEqual, next()),
        "LT" => compare(Comparator::Less, next()),
        "LE" => compare(Comparator::LessOrEqual, next()),
        "GT" => compare(Comparator::Greater, next()),
        "GE" => compare(Comparator::GreaterOrEqual, next()),
        "BETWEEN" => {
            let (low, high) = (next(), next());
            if let (Some(a), Some(b)) = (low.literal(), high.literal())
                && a.compare(b).is_some_and(std::cmp::Ordering::is_gt)
            {
                return Err(DynamoError::validation(
                    "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
                ));
            }
            Condition::Between(path(), low, high)
        }
        "IN" => Condition::In(path(), values.collect()),
        "NULL" => exists.not(),
        "NOT_NULL" => exists,
        "CONTAINS" => Condition::Contains(path(), next()),
        "NOT_CONTAINS" => Condition::Contains(path(), next()).not(),
        _ => Condition::BeginsWith(path(), next()),
    })
}

fn join(conditions: Vec<Condition>, operator: Option<&str>) -> Option<Condition> {
    conditions.into_iter().reduce(|all, one| if operator == Some("OR") { all.or(one) } else { all.and(one) })
}

/// `QueryFilter` or `ScanFilter`
///
/// # Errors
/// `ValidationException`
pub fn filter(filter: Map<api::Condition>, operator: Option<&str>) -> Result<Option<Condition>, DynamoError> {
    let conditions = filter.0.into_iter().map(|(name, condition)| {
        let values = operands(condition.attribute_value_list)?;
        one_condition(&name, condition.comparison_operator.as_deref().unwrap_or_default(), values)
    });
    Ok(join(conditions.collect::<Result<_, _>>()?, operator))
}

/// `Expected`
///
/// # Errors
/// `ValidationException`
pub fn expected(
    expected: Map<api::ExpectedAttributeValue>,
    operator: Option<&str>,
) -> Result<Option<Condition>, DynamoError> {
    let conditions = expected.0.into_iter().map(|(name, one)| {
        let invalid = |text: &str| Err(DynamoError::parameter(format_args!("{text} for Attribute: {name}")));
        if let Some(comparison) = &one.comparison_operator {
            if one.exists.is_some() {
                return invalid("Exists and ComparisonOperator cannot be used together");
            }
            if one.value.is_some() && one.attribute_value_list.is_some() {
                return invalid("Value and AttributeValueList cannot be used together");
            }
            let values = match one.value {
                Some(value) => vec![Value::from_wire(value)?],
                None => operands(one.attribute_value_list)?,
            };
            return one_condition(&name, comparison, values);
        }
        if one.attribute_value_list.is_some() {
            return invalid("AttributeValueList can only be used with a ComparisonOperator");
        }
        match (one.exists.unwrap_or(true), one.value) {
            (true, Some(value)) => one_condition(&name, "EQ", vec![Value::from_wire(value)?]),
            (true, None) => invalid("Value must be provided when Exists is true"),
            (false, None) => Ok(Condition::Exists(Path::attribute(name)).not()),
            (false, Some(_)) => invalid("Value cannot be used when Exists is false"),
        }
    });
    Ok(join(conditions.collect::<Result<_, _>>()?, operator))
}

/// `KeyConditions`
///
/// # Errors
/// `ValidationException`
pub fn key_conditions(conditions: Map<api::Condition>) -> Result<Vec<OnAttribute>, DynamoError> {
    if conditions.is_empty() || conditions.len() > 2 {
        return Err(DynamoError::validation("Conditions can be of length 1 or 2 only"));
    }
    conditions
        .0
        .into_iter()
        .map(|(name, condition)| {
            let values = operands(condition.attribute_value_list)?;
            let operator = condition.comparison_operator.unwrap_or_default();
            let range = match one_condition(&name, &operator, values)? {
                Condition::Compare(Comparator::NotEqual, ..) => None,
                Condition::Compare(comparator, _, Operand::Value(value)) => {
                    Some(SortRange::Compare(comparator, value))
                }
                Condition::Between(_, Operand::Value(low), Operand::Value(high)) => {
                    Some(SortRange::Between(low, high))
                }
                Condition::BeginsWith(_, Operand::Value(prefix)) => Some(SortRange::BeginsWith(prefix)),
                _ => None,
            };
            let range = range.ok_or_else(|| {
                DynamoError::validation("Attempted conditional constraint is not an indexable operation")
            })?;
            Ok(OnAttribute { name, range })
        })
        .collect()
}

/// `AttributeUpdates`
///
/// # Errors
/// `ValidationException`
pub fn updates(updates: Map<api::AttributeValueUpdate>) -> Result<Update, DynamoError> {
    let mut update = Update::default();
    for (name, one) in updates.0 {
        let path = Path::attribute(&name);
        let value = one.value.map(Value::from_wire).transpose()?;
        let wrong = |action: &str, value: &Value| {
            Err(DynamoError::parameter(format_args!(
                "{action} action is not supported for the type {}",
                value.type_name()
            )))
        };
        match (one.action.as_deref().unwrap_or("PUT"), value) {
            ("DELETE", None) => update.remove.push(path),
            (action, None) => {
                return Err(DynamoError::parameter(format_args!(
                    "Only DELETE action is allowed when no attribute value is specified; attribute: {name}, action: {action}"
                )));
            }
            ("PUT", Some(value)) => update.set.push((path, Expr::Value(value))),
            ("DELETE", Some(value)) => match value {
                Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => update.delete.push((path, value)),
                other => return wrong("DELETE", &other),
            },
            (_, Some(Value::L(list))) => {
                let present = Expr::IfNotExists(path.clone(), Box::new(Expr::Value(Value::L(Vec::new()))));
                let appended = Expr::ListAppend(Box::new(present), Box::new(Expr::Value(Value::L(list))));
                update.set.push((path, appended));
            }
            (_, Some(value)) => match value {
                Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => update.add.push((path, value)),
                other => return wrong("ADD", &other),
            },
        }
    }
    Ok(update)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::{item, n, s};

    fn condition(operator: &str, values: &[Value]) -> api::Condition {
        api::Condition {
            comparison_operator: Some(operator.to_owned()),
            attribute_value_list: Some(values.iter().map(Value::to_wire).collect()),
        }
    }

    #[test]
    fn each_operator_means_what_it_did() {
        let present = item(&[("a", n("5")), ("t", s("hello"))]);
        let cases = [
            ("a", "EQ", vec![n("5")], true),
            ("a", "NE", vec![n("5")], false),
            ("a", "BETWEEN", vec![n("1"), n("5")], true),
            ("a", "IN", vec![n("1"), n("5")], true),
            ("z", "NULL", vec![], true),
            ("a", "NOT_NULL", vec![], true),
            ("t", "CONTAINS", vec![s("ell")], true),
            ("t", "NOT_CONTAINS", vec![s("ell")], false),
            ("t", "BEGINS_WITH", vec![s("he")], true),
        ];
        for (name, operator, values, expected) in cases {
            let map = Map(vec![(name.to_owned(), condition(operator, &values))]);
            let all = filter(map, None).unwrap().expect("one condition");
            assert_eq!(all.holds(&present), expected, "{operator}");
        }
    }

    #[test]
    fn updates_become_what_an_expression_would_be() {
        let put = |action: &str, value: Option<Value>| api::AttributeValueUpdate {
            action: Some(action.to_owned()),
            value: value.map(|value| value.to_wire()),
        };
        let map = Map(vec![
            ("a".to_owned(), put("ADD", Some(n("2")))),
            ("b".to_owned(), put("PUT", Some(s("x")))),
            ("c".to_owned(), put("DELETE", None)),
            ("l".to_owned(), put("ADD", Some(Value::L(vec![s("y")])))),
        ]);
        let after = updates(map).unwrap().apply(&item(&[("a", n("1")), ("c", s("gone"))])).unwrap();
        assert_eq!(after, item(&[("a", n("3")), ("b", s("x")), ("l", Value::L(vec![s("y")]))]));
        assert!(updates(Map(vec![("a".to_owned(), put("ADD", Some(s("x"))))])).is_err());
    }
}
