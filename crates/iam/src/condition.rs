//! Conditions.
//!
//! A condition compares the values that the request has for a key with the values in the policy. Comparing two values has three
//! outcomes: they match, they differ, or the comparison is void because one of them cannot be read (no number, no date, a variable
//! without a value). A positive operator needs a match; a negated one needs every policy value to differ, so that void never satisfies.
//!
//! | key                 | plain          | negated | `...IfExists` | `ForAllValues:`        | `ForAnyValue:`           |
//! |---------------------|----------------|---------|---------------|------------------------|--------------------------|
//! | missing             | false          | true    | true          | true                   | false                    |
//! | one value           | any match      | all differ | as without | as without             | as without               |
//! | multi-valued        | false          | false   | as without    | every value satisfies  | at least one satisfies   |
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Condition operators", "Set operators for multivalued context keys",
//! "Single-valued vs. multivalued context keys".

use std::cmp::Ordering;

use pileus_core::Timestamp;

use crate::Context;
use crate::matching::{Subject, split_arn};
use crate::value::{Decimal, Network, base64, date};
use crate::variables::{ArnPattern, Reading, Template, Variable};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    /// The key as the policy spells it.
    pub(crate) spelling: Box<str>,
    key: Box<str>,
    quantifier: Quantifier,
    negated: bool,
    if_exists: bool,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    None,
    AllValues,
    AnyValue,
}

/// Policy values by the type that the operator compares as; `None` is a value that cannot be read.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text { values: Vec<Template>, lower: bool },
    Number(Compare, Vec<Option<Decimal>>),
    Date(Compare, Vec<Option<Timestamp>>),
    Bool(Vec<Template>),
    Binary(Vec<Option<Vec<u8>>>),
    Network(Vec<Option<Network>>),
    Arn(Vec<Option<ArnPattern>>),
    Null(Vec<bool>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Compare::Equal => order.is_eq(),
            Compare::Less => order.is_lt(),
            Compare::LessOrEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            Compare::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// An operator's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Operator {
    quantifier: Quantifier,
    negated: bool,
    if_exists: bool,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Compare),
    Date(Compare),
    Bool,
    Binary,
    Network,
    Arn,
    Null,
}

impl Operator {
    /// Reads `ForAnyValue:StringLikeIfExists` and the like; `None` when there is no such operator. Letter case does not matter.
    pub(crate) fn parse(name: &str) -> Option<Operator> {
        let lower = name.to_ascii_lowercase();
        let (quantifier, rest) = match lower.split_once(':') {
            None => (Quantifier::None, lower.as_str()),
            Some(("forallvalues", rest)) => (Quantifier::AllValues, rest),
            Some(("foranyvalue", rest)) => (Quantifier::AnyValue, rest),
            Some(_) => return None,
        };
        let (base, if_exists) = rest.strip_suffix("ifexists").map_or((rest, false), |base| (base, true));
        let (family, negated) = family(base)?;
        Some(Operator { quantifier, negated, if_exists, family })
    }

    /// Whether `value` can be read as this operator's type.
    pub(crate) fn can_read(&self, value: &str) -> bool {
        match self.family {
            Family::Date(_) => date(value).is_some(),
            _ => true,
        }
    }
}

fn family(base: &str) -> Option<(Family, bool)> {
    Some(match base {
        "stringequals" => (Family::Equals, false),
        "stringnotequals" => (Family::Equals, true),
        "stringequalsignorecase" => (Family::EqualsIgnoreCase, false),
        "stringnotequalsignorecase" => (Family::EqualsIgnoreCase, true),
        "stringlike" => (Family::Like, false),
        "stringnotlike" => (Family::Like, true),
        "numericequals" => (Family::Number(Compare::Equal), false),
        "numericnotequals" => (Family::Number(Compare::Equal), true),
        "numericlessthan" => (Family::Number(Compare::Less), false),
        "numericlessthanequals" => (Family::Number(Compare::LessOrEqual), false),
        "numericgreaterthan" => (Family::Number(Compare::Greater), false),
        "numericgreaterthanequals" => (Family::Number(Compare::GreaterOrEqual), false),
        "dateequals" => (Family::Date(Compare::Equal), false),
        "datenotequals" => (Family::Date(Compare::Equal), true),
        "datelessthan" => (Family::Date(Compare::Less), false),
        "datelessthanequals" => (Family::Date(Compare::LessOrEqual), false),
        "dategreaterthan" => (Family::Date(Compare::Greater), false),
        "dategreaterthanequals" => (Family::Date(Compare::GreaterOrEqual), false),
        "bool" => (Family::Bool, false),
        "binaryequals" => (Family::Binary, false),
        "ipaddress" => (Family::Network, false),
        "notipaddress" => (Family::Network, true),
        "arnequals" | "arnlike" => (Family::Arn, false),
        "arnnotequals" | "arnnotlike" => (Family::Arn, true),
        "null" => (Family::Null, false),
        _ => return None,
    })
}

impl Condition {
    pub(crate) fn new(operator: Operator, key: &str, values: &[String], variables: bool) -> Condition {
        let template = |wildcards: bool, lower: bool| {
            let reading = Reading { variables, wildcards, lower };
            values.iter().map(|value| Template::new(value, reading)).collect::<Vec<_>>()
        };
        let test = match operator.family {
            Family::Equals => Test::Text { values: template(false, false), lower: false },
            Family::EqualsIgnoreCase => Test::Text { values: template(false, true), lower: true },
            Family::Like => Test::Text { values: template(true, false), lower: false },
            Family::Number(compare) => {
                Test::Number(compare, values.iter().map(|value| Decimal::parse(value)).collect())
            }
            Family::Date(compare) => Test::Date(compare, values.iter().map(|value| date(value)).collect()),
            Family::Bool => Test::Bool(template(false, true)),
            Family::Binary => Test::Binary(values.iter().map(|value| base64(value)).collect()),
            Family::Network => Test::Network(values.iter().map(|value| Network::parse(value)).collect()),
            Family::Arn => Test::Arn(values.iter().map(|value| six_segments(value, variables)).collect()),
            Family::Null => Test::Null(
                values.iter().filter_map(|value| value.to_ascii_lowercase().parse().ok()).collect(),
            ),
        };
        Condition {
            spelling: key.into(),
            key: key.to_ascii_lowercase().into(),
            quantifier: operator.quantifier,
            negated: operator.negated,
            if_exists: operator.if_exists,
            test,
        }
    }

    pub(crate) fn is_met(&self, context: &Context) -> bool {
        let values = context.get_lower(&self.key);
        if let Test::Null(expected) = &self.test {
            // A key without any value is as good as absent.
            let absent = values.is_none_or(<[String]>::is_empty);
            return expected.contains(&absent);
        }
        let Some(values) = values else {
            return match self.quantifier {
                Quantifier::AllValues => true,
                Quantifier::AnyValue => false,
                Quantifier::None => self.negated || self.if_exists,
            };
        };
        let satisfied = |value: &String| self.satisfies(value, context);
        match self.quantifier {
            Quantifier::AllValues => values.iter().all(satisfied),
            Quantifier::AnyValue => values.iter().any(satisfied),
            Quantifier::None => context.single_lower(&self.key).is_some() && values.iter().all(satisfied),
        }
    }

    /// Whether one value of the request satisfies the operator.
    fn satisfies(&self, value: &str, context: &Context) -> bool {
        match &self.test {
            Test::Text { values, lower: false } => {
                self.settle(values.iter().map(|v| v.matches(value, context)))
            }
            Test::Text { values, lower: true } => {
                let value = value.to_lowercase();
                self.settle(values.iter().map(|v| v.matches(&value, context)))
            }
            Test::Number(compare, values) => {
                let value = Decimal::parse(value);
                self.settle(values.iter().map(|v| Some(compare.holds(value?.cmp(v.as_ref()?)))))
            }
            Test::Date(compare, values) => {
                let value = date(value);
                self.settle(values.iter().map(|v| Some(compare.holds(value?.cmp(v.as_ref()?)))))
            }
            Test::Bool(values) => {
                let value = value.to_ascii_lowercase();
                let readable = value == "true" || value == "false";
                self.settle(values.iter().map(|v| if readable { v.matches(&value, context) } else { None }))
            }
            Test::Binary(values) => {
                let value = base64(value);
                self.settle(values.iter().map(|v| Some(value.as_ref()? == v.as_ref()?)))
            }
            Test::Network(values) => {
                let value = Network::parse(value);
                self.settle(values.iter().map(|v| Some(v.as_ref()?.contains(value.as_ref()?))))
            }
            Test::Arn(values) => {
                let subject = Subject { text: value, parts: split_arn(value), any_of: None };
                let readable = subject.parts.is_some();
                self.settle(
                    values
                        .iter()
                        .map(|v| if readable { v.as_ref()?.matches(&subject, context) } else { None }),
                )
            }
            Test::Null(_) => false,
        }
    }

    /// A positive operator needs a match; a negated one needs every comparison to differ.
    fn settle(&self, mut outcomes: impl Iterator<Item = Option<bool>>) -> bool {
        match self.negated {
            false => outcomes.any(|outcome| outcome == Some(true)),
            true => outcomes.all(|outcome| outcome == Some(false)),
        }
    }

    pub(crate) fn variables(&self) -> Vec<&Variable> {
        match &self.test {
            Test::Text { values, .. } | Test::Bool(values) => {
                values.iter().flat_map(Template::variables).collect()
            }
            Test::Arn(values) => values.iter().flatten().flat_map(ArnPattern::variables).collect(),
            _ => Vec::new(),
        }
    }
}

/// ARN operators compare six segments; a value with fewer cannot be read.
fn six_segments(value: &str, variables: bool) -> Option<ArnPattern> {
    split_arn(value)?;
    Some(ArnPattern::new(value, variables))
}

#[cfg(test)]
mod tests;
