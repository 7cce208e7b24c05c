//! Reading a filter policy, and AWS's sentences about what is wrong with it.

use serde_json::{Map, Value};

use super::{Comparison, Field, Network, Policy, Rule, Test, bits};

/// What a policy is compared with: `FilterPolicyScope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    MessageAttributes,
    MessageBody,
}

/// Source: "Filter policy constraints".
const MAX_COMBINATIONS: u64 = 150;
const MAX_KEYS: usize = 5;
const MAX_BYTES: usize = 256 << 10;
const MAX_NUMBER: f64 = 1e9;
/// Chosen: deeper policies would be over the limit of combinations.
const MAX_DEPTH: usize = 32;

/// Reads a policy. An error is the sentence after `FilterPolicy: `.
pub fn parse(text: &str, scope: Scope) -> Result<Policy, String> {
    if text.len() > MAX_BYTES {
        return Err("Filter policy is too long".to_owned());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    let Value::Object(object) = value else { return Err("failed to parse JSON.".to_owned()) };
    let (policy, combinations) = read_policy(&object, scope, 1)?;
    if keys(&object) > MAX_KEYS {
        return Err(format!("Filter policy can not have more than {MAX_KEYS} keys"));
    }
    if combinations > MAX_COMBINATIONS {
        return Err("Filter policy is too complex".to_owned());
    }
    Ok(policy)
}

/// Leaf names; those under `$or` count as well.
fn keys(object: &Map<String, Value>) -> usize {
    let of = |value: &Value| match value {
        Value::Object(inner) => keys(inner),
        _ => 1,
    };
    object
        .iter()
        .map(|(name, value)| match (name.as_str(), value) {
            ("$or", Value::Array(choices)) => {
                choices.iter().filter_map(Value::as_object).map(keys).max().unwrap_or(0)
            }
            (_, value) => of(value),
        })
        .sum()
}

fn read_policy(object: &Map<String, Value>, scope: Scope, depth: usize) -> Result<(Policy, u64), String> {
    if depth > MAX_DEPTH {
        return Err("Filter policy is too complex".to_owned());
    }
    let (mut policy, mut combinations) = (Policy::default(), 1u64);
    for (name, value) in object {
        let count = if name == "$or" && is_alternatives(value) {
            let (choices, count) = read_alternatives(value, scope, depth)?;
            policy.either.push(choices);
            count
        } else {
            let (rule, count) = read_rule(name, value, scope, depth)?;
            policy.fields.push(Field { name: name.clone(), rule });
            count
        };
        combinations = combinations.saturating_mul(count.max(1));
    }
    Ok((policy, combinations))
}

/// `$or` means a choice when it holds at least two objects; else it is a name like any other.
fn is_alternatives(value: &Value) -> bool {
    value.as_array().is_some_and(|choices| choices.len() >= 2 && choices.iter().all(Value::is_object))
}

fn read_alternatives(value: &Value, scope: Scope, depth: usize) -> Result<(Vec<Policy>, u64), String> {
    let (mut choices, mut combinations) = (Vec::new(), 0u64);
    for choice in value.as_array().into_iter().flatten().filter_map(Value::as_object) {
        let (policy, count) = read_policy(choice, scope, depth + 1)?;
        choices.push(policy);
        combinations = combinations.saturating_add(count);
    }
    Ok((choices, combinations))
}

fn read_rule(name: &str, value: &Value, scope: Scope, depth: usize) -> Result<(Rule, u64), String> {
    match value {
        Value::Array(values) if values.is_empty() => Err("Empty arrays are not allowed".to_owned()),
        Value::Array(values) => {
            let tests = values.iter().map(read_test).collect::<Result<Vec<_>, _>>()?;
            // In a body each value counts once for every level that it lies under.
            let weight = if scope == Scope::MessageBody { depth } else { 1 };
            let count = (tests.len() * weight) as u64;
            Ok((Rule::Any(tests), count))
        }
        Value::Object(_) if scope == Scope::MessageAttributes => {
            Err("Filter policy scope MessageAttributes does not support nested filter policy".to_owned())
        }
        Value::Object(inner) if inner.is_empty() => Err("Empty objects are not allowed".to_owned()),
        Value::Object(inner) => {
            let (policy, count) = read_policy(inner, scope, depth + 1)?;
            Ok((Rule::Nested(policy), count))
        }
        _ => Err(format!("\"{name}\" must be an object or an array")),
    }
}

fn read_test(value: &Value) -> Result<Test, String> {
    match value {
        Value::String(text) => Ok(Test::Text(text.clone())),
        Value::Number(_) => number(value, "Match value").map(Test::Number),
        Value::Bool(_) | Value::Null => Ok(Test::Keyword(value.clone())),
        Value::Object(object) => read_operator(object),
        Value::Array(_) => Err("Match value must be String, number, true, false, or null".to_owned()),
    }
}

fn read_operator(object: &Map<String, Value>) -> Result<Test, String> {
    let mut entries = object.iter();
    let (Some((operator, value)), None) = (entries.next(), entries.next()) else {
        return Err("Only one key allowed in match expression".to_owned());
    };
    match operator.as_str() {
        "anything-but" => anything_but(value),
        "numeric" => numeric(value),
        "exists" => match value {
            Value::Bool(wanted) => Ok(Test::Exists(*wanted)),
            _ => Err("exists match pattern must be either true or false.".to_owned()),
        },
        operator => text_operator(operator, value),
    }
}

fn text_operator(operator: &str, value: &Value) -> Result<Test, String> {
    if !["prefix", "suffix", "equals-ignore-case", "wildcard", "cidr"].contains(&operator) {
        return Err(format!("Unrecognized match type {operator}"));
    }
    let Value::String(text) = value else { return Err(format!("{operator} match pattern must be a string")) };
    Ok(match operator {
        "prefix" if text.is_empty() => return Err("prefix match pattern must not be empty".to_owned()),
        "suffix" if text.is_empty() => return Err("suffix match pattern must not be empty".to_owned()),
        "prefix" => Test::Prefix(text.clone()),
        "suffix" => Test::Suffix(text.clone()),
        "equals-ignore-case" => Test::EqualsIgnoreCase(text.clone()),
        "wildcard" if text.contains("**") => {
            return Err("Consecutive wildcard characters are not allowed".to_owned());
        }
        "wildcard" => Test::Wildcard(text.clone()),
        _ => Test::Cidr(network(text)?),
    })
}

fn network(text: &str) -> Result<Network, String> {
    let malformed = || "Malformed CIDR, one '/' required".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
    let address = address.parse().map_err(|_| format!("Malformed IP address: {address}"))?;
    let (bits, is_v4) = bits(address);
    let prefix: u32 =
        prefix.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
    match is_v4 {
        true if prefix > 32 => Err("IPv4 mask bits must be < 32".to_owned()),
        false if prefix > 128 => Err("IPv6 mask bits must be < 128".to_owned()),
        _ => Ok(Network { bits, prefix, is_v4 }),
    }
}

/// Values, or one operator on text.
fn anything_but(value: &Value) -> Result<Test, String> {
    let tests = match value {
        Value::Array(values) if values.is_empty() => return Err("Empty arrays are not allowed".to_owned()),
        Value::Array(values) => values.iter().map(plain).collect::<Result<Vec<_>, _>>()?,
        Value::Object(object) => {
            let mut entries = object.iter();
            let (Some((operator, value)), None) = (entries.next(), entries.next()) else {
                return Err("Only one key allowed in match expression".to_owned());
            };
            match value {
                Value::Array(values) if !values.is_empty() => {
                    values.iter().map(|value| text_operator(operator, value)).collect::<Result<_, _>>()?
                }
                value => vec![text_operator(operator, value)?],
            }
        }
        value => vec![plain(value)?],
    };
    Ok(Test::AnythingBut(tests))
}

fn plain(value: &Value) -> Result<Test, String> {
    match value {
        Value::String(text) => Ok(Test::Text(text.clone())),
        Value::Number(_) => number(value, "Match value").map(Test::Number),
        _ => Err("Inside anything but list, start|null|boolean is not supported.".to_owned()),
    }
}

fn number(value: &Value, what: &str) -> Result<f64, String> {
    let number = value.as_f64().ok_or_else(|| format!("Value of {what} must be numeric"))?;
    if number.abs() > MAX_NUMBER {
        return Err(format!("Value of {what} must be between -1.0E9 and 1.0E9, inclusive"));
    }
    Ok(number)
}

/// One comparison, or a range from two.
fn numeric(value: &Value) -> Result<Test, String> {
    let Value::Array(parts) = value else { return Err("Value of numeric must be an array.".to_owned()) };
    let mut tests = Vec::new();
    for pair in parts.chunks(2) {
        let Some(operator) = pair[0].as_str() else {
            return Err(format!("Invalid member in numeric match: {}", pair[0]));
        };
        let comparison = match operator {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            other => return Err(format!("Unrecognized numeric range operator: {other}")),
        };
        let bound = pair.get(1).ok_or_else(|| format!("Value of {operator} must be numeric"))?;
        tests.push((comparison, number(bound, operator)?));
    }
    let is_lower = |comparison| matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual);
    let is_upper = |comparison| matches!(comparison, Comparison::Less | Comparison::LessOrEqual);
    match tests.as_slice() {
        [] => Err("Invalid member in numeric match: ]".to_owned()),
        [_] => Ok(Test::Numeric(tests)),
        [(first, low), (second, high)] if is_lower(*first) && is_upper(*second) => {
            if low >= high {
                return Err("Bottom must be less than top".to_owned());
            }
            Ok(Test::Numeric(tests))
        }
        [_, (second, _)] if !is_upper(*second) && *second != Comparison::Equal => {
            Err("Bad numeric range operator".to_owned())
        }
        _ => Err("Too many elements in numeric expression".to_owned()),
    }
}
