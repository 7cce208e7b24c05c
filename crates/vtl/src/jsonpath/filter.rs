//! `[?(..)]`

use std::borrow::Cow;
use std::cmp::Ordering;

use fancy_regex::Regex;
use serde_json::Value as Json;

use super::JsonPath;

#[derive(Debug, Clone)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Exists(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Here(JsonPath),
    Root(JsonPath),
    Literal(Json),
    Pattern(Regex),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    Size,
    Empty,
}

impl Operand {
    fn value<'j>(&'j self, here: &'j Json, root: &'j Json) -> Option<Cow<'j, Json>> {
        match self {
            Operand::Here(path) => path.find_from(here, root),
            Operand::Root(path) => path.find_from(root, root),
            Operand::Literal(value) => Some(Cow::Borrowed(value)),
            Operand::Pattern(_) => None,
        }
    }
}

impl Filter {
    pub(super) fn takes(&self, here: &Json, root: &Json) -> bool {
        match self {
            Filter::Any(filters) => filters.iter().any(|filter| filter.takes(here, root)),
            Filter::All(filters) => filters.iter().all(|filter| filter.takes(here, root)),
            Filter::Not(filter) => !filter.takes(here, root),
            Filter::Exists(operand) => operand.value(here, root).is_some(),
            Filter::Compare(left, comparison, right) => {
                let left = left.value(here, root);
                if let Operand::Pattern(pattern) = right {
                    let text = left.as_deref().and_then(Json::as_str);
                    return text.is_some_and(|text| pattern.is_match(text).unwrap_or(false));
                }
                comparison.holds(left.as_deref(), right.value(here, root).as_deref())
            }
        }
    }
}

impl Comparison {
    fn holds(self, left: Option<&Json>, right: Option<&Json>) -> bool {
        let order = || order(left?, right?);
        match self {
            Comparison::Equal => left.is_some() && equal(left, right),
            Comparison::NotEqual => !equal(left, right),
            Comparison::Less => order().is_some_and(Ordering::is_lt),
            Comparison::LessOrEqual => order().is_some_and(Ordering::is_le),
            Comparison::Greater => order().is_some_and(Ordering::is_gt),
            Comparison::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Comparison::In => left.is_some() && among(left, right),
            Comparison::NotIn => !among(left, right),
            Comparison::Contains => match left {
                Some(Json::String(text)) => {
                    right.and_then(Json::as_str).is_some_and(|part| text.contains(part))
                }
                Some(Json::Array(_)) => among(right, left),
                _ => false,
            },
            Comparison::Size => {
                left.and_then(size).is_some_and(|size| right.and_then(Json::as_u64) == Some(size))
            }
            Comparison::Empty => {
                let is_empty = left.and_then(size).map(|size| size == 0);
                is_empty.is_some() && is_empty == right.and_then(Json::as_bool)
            }
            Comparison::Matches => false,
        }
    }
}

fn size(value: &Json) -> Option<u64> {
    match value {
        Json::Array(items) => Some(items.len() as u64),
        Json::String(text) => Some(text.chars().count() as u64),
        _ => None,
    }
}

fn equal(left: Option<&Json>, right: Option<&Json>) -> bool {
    match (left, right) {
        (Some(Json::Number(left)), Some(Json::Number(right))) => left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}

fn among(value: Option<&Json>, list: Option<&Json>) -> bool {
    let items = list.and_then(Json::as_array).into_iter().flatten();
    items.map(Some).any(|item| equal(item, value))
}

fn order(left: &Json, right: &Json) -> Option<Ordering> {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Json::String(left), Json::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
