//! Constraints of the model, checked on decoded values, and AWS's sentences for what breaks them.
//!
//! | File                  | Holds                                                                     |
//! |-----------------------|---------------------------------------------------------------------------|
//! | `validate.rs`         | [`validate`]: the walk that a valid input takes, which allocates nothing  |
//! | `validate/report.rs`  | the walk that an invalid input takes: what is wrong, where, in which order |
//! | `validate/message.rs` | the sentences, and the fault they become                                  |
//! | `validate/order.rs`   | the order of enum values and of several messages                          |
//! | `validate/print.rs`   | values as the sentences quote them                                        |
//! | `validate/pattern.rs` | regular expressions with Java's meaning and bounded work                  |
//!
//! Only inputs are validated: what models say about outputs is not true often enough. Values come from decoders, which
//! bound their depth; the walks here recurse as deep as the value does.

mod message;
pub mod order;
mod pattern;
mod print;
mod report;

pub use pattern::Pattern;
use report::Broken;

use crate::fault::Fault;
use crate::schema::{Bind, Dialect, Kind, Limits, Missing, Operation, Service, Shape};
use crate::value::{Struct, View};

/// Checks `input` against the constraints of `operation`'s input shape: required members, lengths, ranges, patterns and
/// enum values, at every depth.
///
/// # Errors
/// The service's validation fault (see [`crate::schema::ValidationRules`]), naming at most ten violations.
///
/// Recorded: the texts and their order, by the public test suites of emulators that compare themselves with AWS.
pub fn validate(service: &Service, operation: &Operation, input: &dyn Struct) -> Result<(), Fault> {
    if structure_holds(operation.input, input) {
        return Ok(());
    }
    let rules = &service.validation;
    if rules.dialect == Dialect::S3 {
        return s3_document(operation, input);
    }
    if let Missing::Named { code, before, after } = rules.missing
        && let Some(name) = first_missing(operation.input, input)
    {
        let message = format!("{before}{name}{after}");
        return Err(Fault::framework(code, 400, message));
    }
    Err(match report::report(rules, operation, input) {
        Broken::Constraints(violations) => message::fault(service, violations),
        Broken::Pattern(text) => message::refusal(rules, text),
    })
}

/// S3 holds the document of a request against its schema, and nothing else.
///
/// Source: Amazon S3 API Reference, "Error responses".
fn s3_document(operation: &Operation, input: &dyn Struct) -> Result<(), Fault> {
    for (i, member) in operation.input.members().iter().enumerate() {
        if !matches!(member.bind, Bind::Payload | Bind::Body) {
            continue;
        }
        let view = input.get(i).view();
        let is_absent = matches!(view, View::Absent);
        if is_absent && member.is_required && member.bind == Bind::Payload {
            return Err(Fault::framework("MissingRequestBodyError", 400, "Request Body is empty"));
        }
        if if is_absent { !member.is_required } else { holds(member.shape, view) } {
            continue;
        }
        let text =
            "The XML you provided was not well-formed or did not validate against our published schema";
        return Err(Fault::framework("MalformedXML", 400, text));
    }
    Ok(())
}

/// The first required member in declaration order that is absent.
fn first_missing(shape: &Shape, value: &dyn Struct) -> Option<&'static str> {
    let absent = |(i, member): (usize, &'static crate::schema::Member)| {
        (member.is_required && !value.get(i).is_present()).then_some(member.name)
    };
    shape.members().iter().enumerate().find_map(absent)
}

fn structure_holds(shape: &Shape, value: &dyn Struct) -> bool {
    let members = shape.members();
    if shape.kind == Kind::Union {
        let set = value.active().and_then(|i| Some((i, members.get(i)?)));
        return set.is_none_or(|(i, member)| holds(member.shape, value.get(i).view()));
    }
    members.iter().enumerate().all(|(i, member)| match value.get(i).view() {
        View::Absent => !member.is_required,
        view => holds(member.shape, view),
    })
}

/// Whether a present value and all within it satisfy their shapes.
fn holds(shape: &Shape, view: View<'_>) -> bool {
    if !own_constraints_hold(&shape.limits, &view) {
        return false;
    }
    match view {
        View::Struct(value) => structure_holds(shape, value),
        View::List(list) => {
            let element = shape.element().shape;
            (0..list.len()).all(|i| holds(element, list.get(i).view()))
        }
        View::Map(map) => {
            let (key, value) = shape.entry();
            (0..map.len()).all(|i| {
                let (name, entry) = map.entry(i);
                holds(key.shape, View::Str(name)) && holds(value.shape, entry.view())
            })
        }
        _ => true,
    }
}

/// The constraints of the value itself, not of what it contains. An absent value breaks none.
fn own_constraints_hold(limits: &Limits, view: &View<'_>) -> bool {
    let bounded = limits.min.is_some() || limits.max.is_some();
    let size_holds = !bounded || broken_bound(limits, view).is_none();
    match view {
        View::Str(text) => size_holds && enum_holds(limits, text) && pattern_holds(limits, text),
        _ => size_holds,
    }
}

fn enum_holds(limits: &Limits, text: &str) -> bool {
    limits.values.is_empty() || limits.values.contains(&text)
}

fn pattern_holds(limits: &Limits, text: &str) -> bool {
    let Some(source) = limits.pattern else { return true };
    let pattern = limits.regex.get_or_init(|| Pattern::compile(source));
    pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Min,
    Max,
}

/// Which end of the range a length or a number falls over.
fn broken_bound(limits: &Limits, view: &View<'_>) -> Option<Bound> {
    let size = match view {
        View::Str(text) => return broken_length(limits, text),
        View::Blob(bytes) => bytes.len() as f64,
        View::List(list) => list.len() as f64,
        View::Map(map) => map.len() as f64,
        View::Int(number) => *number as f64,
        View::Float(number) => *number,
        _ => return None,
    };
    match (limits.min, limits.max) {
        // Written so that NaN, which is in no range, breaks the bound.
        (Some(min), _) if !matches!(size.partial_cmp(&min), Some(o) if o.is_ge()) => Some(Bound::Min),
        (_, Some(max)) if !matches!(size.partial_cmp(&max), Some(o) if o.is_le()) => Some(Bound::Max),
        _ => None,
    }
}

/// A string's length is its number of characters (Unicode scalar values); they are counted only if the bytes leave doubt.
fn broken_length(limits: &Limits, text: &str) -> Option<Bound> {
    let (fewest, most) = (text.len().div_ceil(4) as f64, text.len() as f64);
    let surely_long_enough = limits.min.is_none_or(|min| fewest >= min);
    let surely_short_enough = limits.max.is_none_or(|max| most <= max);
    if surely_long_enough && surely_short_enough {
        return None;
    }
    let length = text.chars().count() as f64;
    match (limits.min, limits.max) {
        (Some(min), _) if length < min => Some(Bound::Min),
        (_, Some(max)) if length > max => Some(Bound::Max),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
