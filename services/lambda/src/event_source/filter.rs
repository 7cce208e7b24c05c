//! Filter patterns of event source mappings: pure.
//!
//! Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function"; Amazon EventBridge User Guide, "Comparison
//! operators for use in event patterns".

use serde_json::{Map, Value};

/// A pattern that was read: names lead to more names or to what a value may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Fields {
        fields: Vec<(String, Node)>,
        any_of: Vec<Vec<Node>>,
    },
    /// Any of these.
    Values(Vec<Test>),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equals(Value),
    Prefix(String),
    Suffix(String),
    IgnoreCase(String),
    Exists(bool),
    Numeric(Vec<(Order, f64)>),
    AnythingBut(Vec<Value>),
    NotPrefix(String),
    NotSuffix(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPattern;

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let value: Value = serde_json::from_str(text).map_err(|_| BadPattern)?;
        match value {
            Value::Object(fields) => Ok(Pattern(read_fields(&fields)?)),
            _ => Err(BadPattern),
        }
    }

    pub fn matches(&self, record: &Value) -> bool {
        fits(&self.0, Some(record))
    }
}

fn read_fields(given: &Map<String, Value>) -> Result<Node, BadPattern> {
    let (mut fields, mut any_of) = (Vec::new(), Vec::new());
    for (name, value) in given {
        match (name.as_str(), value) {
            ("$or", Value::Array(choices)) if choices.len() > 1 => {
                let choices: Result<Vec<Node>, BadPattern> = choices
                    .iter()
                    .map(|choice| choice.as_object().ok_or(BadPattern).and_then(read_fields))
                    .collect();
                any_of.push(choices?);
            }
            (_, Value::Object(inner)) => fields.push((name.clone(), read_fields(inner)?)),
            (_, Value::Array(tests)) if !tests.is_empty() => {
                let tests: Result<Vec<Test>, BadPattern> = tests.iter().map(read_test).collect();
                fields.push((name.clone(), Node::Values(tests?)));
            }
            _ => return Err(BadPattern),
        }
    }
    Ok(Node::Fields { fields, any_of })
}

fn read_test(value: &Value) -> Result<Test, BadPattern> {
    let Value::Object(operator) = value else {
        return if value.is_array() { Err(BadPattern) } else { Ok(Test::Equals(value.clone())) };
    };
    let mut operators = operator.iter();
    let (Some((name, operand)), None) = (operators.next(), operators.next()) else { return Err(BadPattern) };
    let text = || operand.as_str().map(str::to_owned).ok_or(BadPattern);
    match name.as_str() {
        "prefix" => Ok(Test::Prefix(text()?)),
        "suffix" => Ok(Test::Suffix(text()?)),
        "equals-ignore-case" => Ok(Test::IgnoreCase(text()?)),
        "exists" => operand.as_bool().map(Test::Exists).ok_or(BadPattern),
        "numeric" => read_numeric(operand.as_array().ok_or(BadPattern)?),
        "anything-but" => read_anything_but(operand),
        _ => Err(BadPattern),
    }
}

fn read_numeric(operands: &[Value]) -> Result<Test, BadPattern> {
    let mut bounds = Vec::new();
    for pair in operands.chunks(2) {
        let [order, number] = pair else { return Err(BadPattern) };
        let order = match order.as_str() {
            Some("=") => Order::Equal,
            Some("<") => Order::Less,
            Some("<=") => Order::LessOrEqual,
            Some(">") => Order::Greater,
            Some(">=") => Order::GreaterOrEqual,
            _ => return Err(BadPattern),
        };
        bounds.push((order, number.as_f64().ok_or(BadPattern)?));
    }
    if (1..=2).contains(&bounds.len()) { Ok(Test::Numeric(bounds)) } else { Err(BadPattern) }
}

fn read_anything_but(operand: &Value) -> Result<Test, BadPattern> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(Test::AnythingBut(vec![operand.clone()])),
        Value::Array(values) if values.iter().all(|value| value.is_string() || value.is_number()) => {
            Ok(Test::AnythingBut(values.clone()))
        }
        Value::Object(inner) if inner.len() == 1 => {
            let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
            let prefix = text("prefix").map(Test::NotPrefix);
            prefix.or_else(|| text("suffix").map(Test::NotSuffix)).ok_or(BadPattern)
        }
        _ => Err(BadPattern),
    }
}

fn fits(node: &Node, value: Option<&Value>) -> bool {
    match node {
        Node::Fields { fields, any_of } => {
            let object = value.and_then(Value::as_object);
            let inner = |name: &str| object.and_then(|object| object.get(name));
            fields.iter().all(|(name, node)| fits(node, inner(name)))
                && any_of.iter().all(|choices| choices.iter().any(|choice| fits(choice, value)))
        }
        Node::Values(tests) => match value {
            // One element that fits is enough.
            Some(Value::Array(elements)) if !elements.is_empty() => {
                tests.iter().any(|test| elements.iter().any(|element| passes(test, Some(element))))
            }
            value => tests.iter().any(|test| passes(test, value)),
        },
    }
}

fn passes(test: &Test, value: Option<&Value>) -> bool {
    let text = value.and_then(Value::as_str);
    match test {
        Test::Exists(expected) => value.is_some() == *expected,
        Test::Equals(expected) => value.is_some_and(|value| is_equal(value, expected)),
        Test::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
        Test::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
        Test::IgnoreCase(other) => text.is_some_and(|text| text.to_lowercase() == other.to_lowercase()),
        Test::AnythingBut(values) => {
            value.is_some_and(|value| !values.iter().any(|other| is_equal(value, other)))
        }
        Test::NotPrefix(prefix) => text.is_some_and(|text| !text.starts_with(prefix)),
        Test::NotSuffix(suffix) => text.is_some_and(|text| !text.ends_with(suffix)),
        Test::Numeric(bounds) => value.and_then(Value::as_f64).is_some_and(|number| {
            bounds.iter().all(|(order, bound)| match order {
                Order::Equal => number == *bound,
                Order::Less => number < *bound,
                Order::LessOrEqual => number <= *bound,
                Order::Greater => number > *bound,
                Order::GreaterOrEqual => number >= *bound,
            })
        }),
    }
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_pattern_says_what_values_may_be() {
        let cases = [
            (json!({"a": [1]}), json!({"a": 1}), true),
            (json!({"a": [1]}), json!({"a": 1.0}), true),
            (json!({"a": [1]}), json!({"a": 2}), false),
            (json!({"a": [1, "x"]}), json!({"a": "x"}), true),
            (json!({"a": [null]}), json!({"a": null}), true),
            (json!({"a": [null]}), json!({}), false),
            (json!({"a": {"b": ["x"]}}), json!({"a": {"b": "x", "c": 1}}), true),
            (json!({"a": {"b": ["x"]}}), json!({"a": "x"}), false),
            (json!({"a": ["x"]}), json!({"a": ["w", "x"]}), true),
            (json!({"a": [{"prefix": "ab"}]}), json!({"a": "abc"}), true),
            (json!({"a": [{"suffix": "bc"}]}), json!({"a": "abc"}), true),
            (json!({"a": [{"equals-ignore-case": "ABC"}]}), json!({"a": "abc"}), true),
            (json!({"a": [{"anything-but": ["x", 1]}]}), json!({"a": "y"}), true),
            (json!({"a": [{"anything-but": ["x", 1]}]}), json!({"a": 1}), false),
            (json!({"a": [{"anything-but": "x"}]}), json!({}), false),
            (json!({"a": [{"anything-but": {"prefix": "x"}}]}), json!({"a": "xy"}), false),
            (json!({"a": [{"exists": true}]}), json!({"a": 0}), true),
            (json!({"a": [{"exists": false}]}), json!({"a": 0}), false),
            (json!({"a": [{"exists": false}]}), json!({}), true),
            (json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 5}), true),
            (json!({"a": [{"numeric": [">", 0, "<=", 5]}]}), json!({"a": 0}), false),
            (json!({"a": [{"numeric": ["=", 5]}]}), json!({"a": "5"}), false),
            (json!({"$or": [{"a": [1]}, {"b": [2]}]}), json!({"b": 2}), true),
            (json!({"$or": [{"a": [1]}, {"b": [2]}]}), json!({"b": 3}), false),
            (json!({}), json!({"a": 1}), true),
        ];
        for (pattern, record, expected) in cases {
            let read = Pattern::parse(&pattern.to_string()).expect("a pattern");
            assert_eq!(read.matches(&record), expected, "{pattern} on {record}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let bad = [
            "",
            "[]",
            "\"a\"",
            r#"{"a": "x"}"#,
            r#"{"a": []}"#,
            r#"{"a": [[1]]}"#,
            r#"{"a": [{"prefix": 1}]}"#,
            r#"{"a": [{"numeric": [">"]}]}"#,
            r#"{"a": [{"numeric": []}]}"#,
            r#"{"a": [{"like": "x"}]}"#,
            r#"{"$or": [{"a": [1]}]}"#,
        ];
        for text in bad {
            assert_eq!(Pattern::parse(text), Err(BadPattern), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = Pattern::parse(&text);
        }
    }
}
