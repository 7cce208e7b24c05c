//! Filter policies of subscriptions: pure.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS subscription filter policies", "String value matching", "Numeric value matching", "Key
//! matching", "AND/OR logic", "Filter policy constraints". Recorded: the sentences.

mod parse;

use std::net::IpAddr;

use serde_json::{Map, Value};

pub use parse::{Scope, parse};

/// A policy that was read: every field must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    pub(crate) fields: Vec<Field>,
    /// `$or`: of each list, one policy must hold.
    pub(crate) either: Vec<Vec<Policy>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) rule: Rule,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// What the value may be: one of these.
    Any(Vec<Test>),
    /// A policy for the object under the name.
    Nested(Policy),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Text(String),
    Number(f64),
    /// `true`, `false`, `null`
    Keyword(Value),
    Prefix(String),
    Suffix(String),
    EqualsIgnoreCase(String),
    Wildcard(String),
    Cidr(Network),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    AnythingBut(Vec<Test>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A range of addresses: the bits under the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub(crate) bits: u128,
    pub(crate) prefix: u32,
    pub(crate) is_v4: bool,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address);
        let width = if is_v4 { 32 } else { 128 };
        let shift = width - self.prefix;
        is_v4 == self.is_v4 && (shift >= 128 || bits >> shift == self.bits >> shift)
    }
}

pub(crate) fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    }
}

/// A message attribute as filters see it: its data type and its text; binary ones have none.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub name: &'a str,
    pub data_type: &'a str,
    pub text: Option<&'a str>,
}

impl Policy {
    /// Whether a message with these attributes passes.
    pub fn admits_attributes(&self, attributes: &[Seen<'_>]) -> bool {
        let values: Map<String, Value> = attributes
            .iter()
            .filter_map(|attribute| Some((attribute.name.to_owned(), attribute_value(attribute)?)))
            .collect();
        self.admits(&values)
    }

    /// Whether a message with this body passes. A body that is not a JSON object passes no policy.
    pub fn admits_body(&self, body: &str) -> bool {
        matches!(serde_json::from_str(body), Ok(Value::Object(object)) if self.admits(&object))
    }

    fn admits(&self, object: &Map<String, Value>) -> bool {
        let fields = self.fields.iter().all(|field| field.rule.admits(object.get(&field.name)));
        fields && self.either.iter().all(|choices| choices.iter().any(|choice| choice.admits(object)))
    }
}

/// Numbers compare as numbers, arrays by their elements; binary values count as not there.
fn attribute_value(attribute: &Seen<'_>) -> Option<Value> {
    let text = attribute.text?;
    match attribute.data_type.split('.').next()? {
        "Number" => serde_json::from_str(text.trim()).ok().filter(Value::is_number),
        _ if attribute.data_type == "String.Array" => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
        }
        _ => Some(Value::String(text.to_owned())),
    }
}

impl Rule {
    fn admits(&self, value: Option<&Value>) -> bool {
        match self {
            Rule::Any(tests) => tests.iter().any(|test| test.admits(value)),
            Rule::Nested(policy) => match value {
                Some(Value::Object(object)) => policy.admits(object),
                Some(Value::Array(items)) => {
                    items.iter().any(|item| matches!(item, Value::Object(object) if policy.admits(object)))
                }
                _ => policy.admits(&Map::new()),
            },
        }
    }
}

impl Test {
    fn admits(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Test::Exists(wanted), value) => value.is_some() == *wanted,
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.holds(item)),
            (_, Some(value)) => self.holds(value),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        let text = |test: &dyn Fn(&str) -> bool| value.as_str().is_some_and(test);
        match self {
            Test::Text(wanted) => text(&|text| text == wanted),
            Test::Number(wanted) => value.as_f64().is_some_and(|number| same(number, *wanted)),
            Test::Keyword(wanted) => value == wanted,
            Test::Prefix(prefix) => text(&|text| text.starts_with(prefix.as_str())),
            Test::Suffix(suffix) => text(&|text| text.ends_with(suffix.as_str())),
            Test::EqualsIgnoreCase(wanted) => text(&|text| text.to_lowercase() == wanted.to_lowercase()),
            Test::Wildcard(pattern) => text(&|text| fits_wildcard(text, pattern)),
            Test::Cidr(network) => text(&|text| text.parse().is_ok_and(|address| network.contains(address))),
            Test::Numeric(all) => value
                .as_f64()
                .is_some_and(|number| all.iter().all(|(comparison, bound)| comparison.holds(number, *bound))),
            Test::Exists(wanted) => *wanted,
            Test::AnythingBut(tests) => !tests.iter().any(|test| test.holds(value)),
        }
    }
}

/// Five digits after the point are told apart.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.000_005
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Comparison::Equal => same(number, bound),
            Comparison::Less => number < bound,
            Comparison::LessOrEqual => number <= bound,
            Comparison::Greater => number > bound,
            Comparison::GreaterOrEqual => number >= bound,
        }
    }
}

/// `*` is any text. Each part is found at its first place, so no pattern takes longer than text times pattern.
fn fits_wildcard(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
