//! The sentences, and the fault they become.

use std::fmt::Write;

use super::order::{enum_order, lower_first};
use super::print;
use crate::fault::{Fault, Origin};
use crate::schema::{Dialect, Kind, Limits, Service, Shape, ValidationRules};
use crate::value::{ABSENT, ListView, Struct, Val, View};

pub(super) const NOT_NULL: &str = "Member must not be null";

/// One broken constraint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Violation {
    pub path: String,
    /// `null` or the value in quotes; `None`: it is not shown.
    pub value: Option<String>,
    pub length: Option<usize>,
    /// From `Member must` on.
    pub constraint: String,
}

pub(super) fn pattern(limits: &Limits) -> String {
    format!("Member must satisfy regular expression pattern: {}", limits.pattern.unwrap_or_default())
}

pub(super) fn enum_set(rules: &ValidationRules, limits: &Limits) -> String {
    if rules.hides_enum_values {
        return "Member must satisfy enum value set".to_owned();
    }
    let values = match rules.dialect {
        _ if !limits.printed_values.is_empty() => limits.printed_values.clone(),
        Dialect::Smithy => limits.values.clone(),
        Dialect::Classic | Dialect::Redacted | Dialect::S3 => enum_order(&limits.values),
    };
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

pub(super) fn bound(rules: &ValidationRules, shape: &Shape, is_max: bool) -> String {
    if rules.dialect == Dialect::Smithy {
        return smithy_bound(shape);
    }
    let what = if is_number(shape.kind) { "value" } else { "length" };
    let (word, limit) = if is_max { ("less", shape.limits.max) } else { ("greater", shape.limits.min) };
    format!(
        "Member must have {what} {word} than or equal to {}",
        number(shape.kind, limit.unwrap_or_default())
    )
}

fn smithy_bound(shape: &Shape) -> String {
    let what = if is_number(shape.kind) { "be" } else { "have length" };
    let show = |limit: f64| number(shape.kind, limit);
    match (shape.limits.min, shape.limits.max) {
        (Some(min), Some(max)) => {
            format!("Member must {what} between {} and {}, inclusive", show(min), show(max))
        }
        (Some(min), None) => format!("Member must {what} greater than or equal to {}", show(min)),
        (None, max) => format!("Member must {what} less than or equal to {}", show(max.unwrap_or_default())),
    }
}

/// All constraints of an element, whichever is broken: the upper bound, the lower, the pattern or the enum set.
pub(super) fn brackets(rules: &ValidationRules, subject: &str, shape: &Shape) -> String {
    let limits = &shape.limits;
    let mut parts = Vec::new();
    if limits.max.is_some() {
        parts.push(bound(rules, shape, true));
    }
    if limits.min.is_some() {
        parts.push(bound(rules, shape, false));
    }
    if limits.pattern.is_some() {
        parts.push(pattern(limits));
    }
    if !limits.values.is_empty() {
        parts.push(enum_set(rules, limits));
    }
    if rules.brackets_end_with_null {
        parts.push(NOT_NULL.to_owned());
    }
    format!("{subject} satisfy constraint: [{}]", parts.join(", "))
}

fn is_number(kind: Kind) -> bool {
    kind.is_integer() || matches!(kind, Kind::Float | Kind::Double)
}

fn number(kind: Kind, value: f64) -> String {
    match kind {
        Kind::Float | Kind::Double => print::java_double(value),
        _ => format!("{}", value as i64),
    }
}

/// The fault that names all violations.
pub(super) fn fault(service: &Service, violations: Vec<Violation>) -> Fault {
    let rules = &service.validation;
    let smithy = rules.dialect == Dialect::Smithy;
    let plural = if violations.len() == 1 { "" } else { "s" };
    let stop = if smithy { '.' } else { ':' };
    let mut text = format!("{} validation error{plural} detected{stop} ", violations.len());
    for (i, violation) in violations.iter().enumerate() {
        if i > 0 {
            text.push_str("; ");
        }
        sentence(&mut text, violation, smithy);
    }
    let fault = refusal(rules, text);
    match FieldList::new(service, violations).filter(|_| smithy) {
        Some(members) => fault.with_members(members),
        None => fault,
    }
}

pub(super) fn refusal(rules: &ValidationRules, text: String) -> Fault {
    Fault { origin: Origin::Validation, ..Fault::sender(rules.code, text) }.with_status(400)
}

/// The sentence that the service has for a malformed value of `member`.
pub(super) fn malformed(rules: &ValidationRules, member: &str) -> Option<String> {
    let own = rules.malformed.iter().find(|own| own.members.contains(&member))?;
    Some(format!("{}{}{}", own.before, lower_first(member), own.after))
}

fn sentence(text: &mut String, violation: &Violation, smithy: bool) {
    let Violation { path, value, length, constraint } = violation;
    text.push_str("Value ");
    if let Some(value) = value {
        text.push_str(value);
        text.push(' ');
    }
    if let (true, Some(length)) = (smithy && constraint.starts_with("Member must have length"), length) {
        let written = write!(text, "with length {length} ");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    text.push_str("at '");
    text.push_str(path);
    text.push_str("' failed to satisfy constraint: ");
    text.push_str(constraint);
}

/// The members of the newer framework's `ValidationException`: one entry of path and message for each violation.
struct FieldList {
    at: usize,
    fields: Fields,
}

struct Fields(Vec<Field>);

struct Field {
    path_at: usize,
    message_at: usize,
    path: String,
    message: String,
}

impl FieldList {
    /// `None` if the service's error shape has no such list.
    fn new(service: &Service, violations: Vec<Violation>) -> Option<FieldList> {
        let shape = service.error(service.validation.code)?;
        let (at, list) = shape.member("fieldList")?;
        if list.shape.kind != Kind::List {
            return None;
        }
        let entry = list.shape.element().shape;
        let (path_at, _) = entry.member("path").or_else(|| entry.member("name"))?;
        let (message_at, _) = entry.member("message")?;
        let field = |violation: Violation| {
            let mut message = String::new();
            sentence(&mut message, &violation, true);
            Field { path_at, message_at, path: violation.path, message }
        };
        Some(FieldList { at, fields: Fields(violations.into_iter().map(field).collect()) })
    }
}

impl Struct for FieldList {
    fn get(&self, i: usize) -> &dyn Val {
        if i == self.at { &self.fields } else { &ABSENT }
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut dyn Val> {
        None
    }
}

impl Val for Fields {
    fn view(&self) -> View<'_> {
        View::List(self)
    }
    fn slot(&mut self) -> crate::value::Slot<'_> {
        unreachable!("a fault's members are only looked at")
    }
}

impl ListView for Fields {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, i: usize) -> &dyn Val {
        &self.0[i]
    }
}

impl Struct for Field {
    fn get(&self, i: usize) -> &dyn Val {
        match i {
            i if i == self.path_at => &self.path,
            i if i == self.message_at => &self.message,
            _ => &ABSENT,
        }
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut dyn Val> {
        None
    }
}
