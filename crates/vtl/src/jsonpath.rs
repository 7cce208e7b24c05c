//! JSONPath in Jayway's dialect, as `$input.json` and `$input.path` take it.
//!
//! Source: Jayway JsonPath, "Operators", "Functions", "Filters", "What is Returned When?".

mod filter;
mod parse;

use std::borrow::Cow;

use serde_json::Value as Json;

use filter::Filter;

/// A path, ready to be looked up any number of times.
#[derive(Debug, Clone)]
pub struct JsonPath {
    steps: Vec<Step>,
    function: Option<Function>,
}

#[derive(Debug, Clone)]
enum Step {
    Child(String),
    Children(Vec<String>),
    Wildcard,
    Indexes(Vec<i64>),
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        by: i64,
    },
    Filter(Filter),
    /// `..`: the step on this value and on everything in it.
    Descend(Box<Step>),
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Length,
    Minimum,
    Maximum,
    Average,
    Sum,
    Keys,
    First,
    Last,
}

/// Values looked at before a lookup gives up: paths such as `$..*..*..*` grow beyond any document.
const MAX_VISITS: usize = 2_000_000;

impl JsonPath {
    /// # Errors
    /// What cannot be read, and where.
    pub fn parse(text: &str) -> Result<JsonPath, String> {
        parse::path(text)
    }

    /// Whether it names one value at most.
    pub fn is_definite(&self) -> bool {
        self.function.is_some()
            || self.steps.iter().all(|step| match step {
                Step::Child(_) => true,
                Step::Indexes(indexes) => indexes.len() == 1,
                _ => false,
            })
    }

    /// What the path names: one value for a definite path (`None` if it is not there), else a list.
    pub fn find<'j>(&self, root: &'j Json) -> Option<Cow<'j, Json>> {
        self.find_from(root, root)
    }

    fn find_from<'j>(&self, start: &'j Json, root: &'j Json) -> Option<Cow<'j, Json>> {
        let mut left = MAX_VISITS;
        let mut found = vec![start];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.take(value, root, &mut next, &mut left)?;
            }
            found = next;
        }
        let is_single = self.steps.iter().all(|step| match step {
            Step::Child(_) => true,
            Step::Indexes(indexes) => indexes.len() == 1,
            _ => false,
        });
        let whole = match is_single {
            true => Cow::Borrowed(*found.first()?),
            false => Cow::Owned(Json::Array(found.into_iter().cloned().collect())),
        };
        match self.function {
            Some(function) => function.of(&whole).map(Cow::Owned),
            None => Some(whole),
        }
    }
}

impl Step {
    /// `None` when too much was looked at.
    fn take<'j>(
        &self,
        value: &'j Json,
        root: &'j Json,
        found: &mut Vec<&'j Json>,
        left: &mut usize,
    ) -> Option<()> {
        *left = left.checked_sub(1)?;
        match (self, value) {
            (Step::Child(name), Json::Object(members)) => found.extend(members.get(name)),
            (Step::Children(names), Json::Object(members)) => {
                found.extend(names.iter().filter_map(|name| members.get(name)));
            }
            (Step::Wildcard, Json::Object(members)) => found.extend(members.values()),
            (Step::Wildcard, Json::Array(items)) => found.extend(items),
            (Step::Indexes(indexes), Json::Array(items)) => {
                let at = |index: &i64| items.get(place(items.len(), *index)?);
                found.extend(indexes.iter().filter_map(at));
            }
            (Step::Slice { from, to, by }, Json::Array(items)) => {
                let bound = |index: i64| {
                    let length = items.len() as i64;
                    (if index < 0 { index.saturating_add(length) } else { index }).clamp(0, length) as usize
                };
                let (from, to) = (from.map_or(0, bound), to.map_or(items.len(), bound));
                let step = usize::try_from(*by).unwrap_or(1).max(1);
                found.extend(items.get(from..to).into_iter().flatten().step_by(step));
            }
            (Step::Filter(filter), Json::Array(items)) => {
                for item in items {
                    *left = left.checked_sub(1)?;
                    if filter.takes(item, root) {
                        found.push(item);
                    }
                }
            }
            (Step::Filter(filter), object @ Json::Object(_)) if filter.takes(object, root) => {
                found.push(object)
            }
            (Step::Descend(step), value) => {
                let mut rest = vec![value];
                while let Some(value) = rest.pop() {
                    // A filter below `..` looks into lists only, or it would find each object twice.
                    if !(matches!(**step, Step::Filter(_)) && value.is_object()) {
                        step.take(value, root, found, left)?;
                    }
                    match value {
                        Json::Array(items) => rest.extend(items.iter().rev()),
                        Json::Object(members) => rest.extend(members.values().rev()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Some(())
    }
}

fn place(length: usize, index: i64) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok()
}

impl Function {
    fn of(self, value: &Json) -> Option<Json> {
        let numbers =
            || -> Vec<f64> { value.as_array().into_iter().flatten().filter_map(Json::as_f64).collect() };
        let real = |number: f64| serde_json::Number::from_f64(number).map(Json::Number);
        match self {
            Function::Length => Some(Json::from(match value {
                Json::Array(items) => items.len(),
                Json::Object(members) => members.len(),
                Json::String(text) => text.chars().count(),
                _ => return None,
            })),
            Function::Minimum => real(numbers().into_iter().reduce(f64::min)?),
            Function::Maximum => real(numbers().into_iter().reduce(f64::max)?),
            Function::Sum => real(numbers().into_iter().sum()),
            Function::Average => {
                let numbers = numbers();
                real(numbers.iter().sum::<f64>() / numbers.len() as f64)
            }
            Function::Keys => {
                let members = value.as_object()?;
                Some(Json::Array(members.keys().cloned().map(Json::String).collect()))
            }
            Function::First => value.as_array()?.first().cloned(),
            Function::Last => value.as_array()?.last().cloned(),
        }
    }
}
