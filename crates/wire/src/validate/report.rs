//! The walk that an invalid input takes: every violation with its path, in the order AWS reports them.
//!
//! A member's own constraints come first (pattern, enum set, length), then those of what it contains. Elements that are not
//! structures are reported once, at their list or map, with all constraints of the element in brackets.

use std::fmt::Write;

use super::message::{self, Violation};
use super::order::{Table, lower_first};
use super::{Bound, broken_bound, enum_holds, own_constraints_hold, pattern_holds, print};
use crate::schema::{Dialect, Kind, Member, Operation, Shape, ValidationRules};
use crate::value::{ListView, MapView, Struct, View};

/// AWS stops after this many.
const MOST_REPORTED: usize = 10;

/// What an invalid input is refused for.
pub(super) enum Broken {
    Constraints(Vec<Violation>),
    /// Nothing but a pattern that the service has a sentence for.
    Pattern(String),
}

pub(super) fn report(rules: &ValidationRules, operation: &Operation, input: &dyn Struct) -> Broken {
    let mut report = Report { rules, found: Vec::new(), malformed: None, path: String::new() };
    if rules.path_has_input_shape {
        report.path = format!("{}Input", lower_first(operation.name));
    }
    report.structure(operation.input, input);
    match report.malformed {
        Some(text) if report.found.is_empty() => Broken::Pattern(text),
        _ => Broken::Constraints(report.found),
    }
}

struct Report<'a> {
    rules: &'a ValidationRules,
    found: Vec<Violation>,
    /// The first value that is malformed in the service's own words.
    malformed: Option<String>,
    path: String,
}

impl Report<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= MOST_REPORTED
    }

    fn structure(&mut self, shape: &Shape, value: &dyn Struct) {
        for i in self.order(shape, value) {
            if self.is_full() {
                return;
            }
            let member = &shape.members()[i];
            let before = self.path.len();
            self.step_into(member.name);
            match value.get(i).view() {
                View::Absent if member.is_required && shape.kind != Kind::Union => {
                    self.add(member, View::Absent, message::NOT_NULL.to_owned());
                }
                View::Absent => {}
                view => {
                    self.own(member, &view);
                    self.within(member, view);
                }
            }
            self.path.truncate(before);
        }
    }

    /// Indices of the members in the order of their messages.
    fn order(&self, shape: &Shape, value: &dyn Struct) -> Vec<usize> {
        if shape.kind == Kind::Union {
            return value.active().filter(|i| *i < shape.members().len()).into_iter().collect();
        }
        let mut order: Vec<usize> = (0..shape.members().len()).collect();
        if self.rules.dialect != Dialect::Smithy {
            let table = Table::with_entries(order.len(), self.rules.java7_order);
            order.sort_by_key(|i| table.slot(&lower_first(shape.members()[*i].name)));
        }
        order
    }

    fn step_into(&mut self, name: &str) {
        if self.rules.dialect == Dialect::Smithy {
            self.path.push('/');
            // JSON Pointer escapes its two special characters.
            self.path.push_str(&name.replace('~', "~0").replace('/', "~1"));
            return;
        }
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&lower_first(name));
    }

    fn step_into_element(&mut self, at: impl std::fmt::Display) {
        let infallible = if self.rules.dialect == Dialect::Smithy {
            write!(self.path, "/{at}")
        } else {
            write!(self.path, ".{at}.member")
        };
        debug_assert!(infallible.is_ok(), "writing to a string cannot fail");
    }

    /// The constraints of the value in a member's slot, not of what it contains.
    fn own(&mut self, member: &Member, view: &View<'_>) {
        let limits = &member.shape.limits;
        if let View::Str(text) = view {
            if !pattern_holds(limits, text) {
                match message::malformed(self.rules, member.name) {
                    Some(text) => self.malformed = self.malformed.take().or(Some(text)),
                    None => self.add(member, copy(view), message::pattern(limits)),
                }
            }
            if !enum_holds(limits, text) {
                self.add(member, copy(view), message::enum_set(self.rules, limits));
            }
        }
        if let Some(bound) = broken_bound(limits, view) {
            let text = message::bound(self.rules, member.shape, bound == Bound::Max);
            self.add(member, copy(view), text);
        }
    }

    fn within(&mut self, member: &Member, view: View<'_>) {
        match view {
            View::Struct(value) => self.structure(member.shape, value),
            View::List(list) => self.list(member, list),
            View::Map(map) => self.map(member, map),
            _ => {}
        }
    }

    fn list(&mut self, member: &Member, list: &dyn ListView) {
        let element = member.shape.element();
        let broken = |i: usize| !own_constraints_hold(&element.shape.limits, &list.get(i).view());
        if self.rules.dialect == Dialect::Smithy {
            self.each_element(element, list, true);
            return;
        }
        if (0..list.len()).any(broken) {
            let text = message::brackets(self.rules, "Member must", element.shape);
            self.add(member, View::List(list), text);
        }
        self.each_element(element, list, false);
    }

    fn each_element(&mut self, element: &Member, list: &dyn ListView, with_own: bool) {
        if !with_own && !has_insides(element.shape) {
            return;
        }
        for i in 0..list.len() {
            if self.is_full() {
                return;
            }
            let before = self.path.len();
            let first = if self.rules.dialect == Dialect::Smithy { 0 } else { 1 };
            self.step_into_element(i + first);
            let view = list.get(i).view();
            if with_own {
                self.own(element, &view);
            }
            self.within(element, view);
            self.path.truncate(before);
        }
    }

    fn map(&mut self, member: &Member, map: &dyn MapView) {
        let (key, value) = member.shape.entry();
        let smithy = self.rules.dialect == Dialect::Smithy;
        let broken_key = |i: usize| !own_constraints_hold(&key.shape.limits, &View::Str(map.entry(i).0));
        let broken_value = |i: usize| !own_constraints_hold(&value.shape.limits, &map.entry(i).1.view());
        if (0..map.len()).any(broken_key) {
            let text = message::brackets(self.rules, "Map keys must", key.shape);
            self.add(member, View::Map(map), text);
        }
        if !smithy && (0..map.len()).any(broken_value) {
            let text = message::brackets(self.rules, "Map value must", value.shape);
            self.add(member, View::Map(map), text);
        }
        if !smithy && !has_insides(value.shape) {
            return;
        }
        for i in print::map_order(map, self.rules.java7_order) {
            if self.is_full() {
                return;
            }
            let (name, entry) = map.entry(i);
            let before = self.path.len();
            self.step_into_element(name);
            let view = entry.view();
            if smithy {
                self.own(value, &view);
            }
            self.within(value, view);
            self.path.truncate(before);
        }
    }

    fn add(&mut self, member: &Member, view: View<'_>, constraint: String) {
        if self.is_full() {
            return;
        }
        let length = length_of(&view);
        let value = match self.rules.dialect {
            Dialect::Classic => print::quoted(member, view, self.rules.java7_order),
            Dialect::Redacted | Dialect::Smithy | Dialect::S3 => None,
        };
        self.found.push(Violation { path: self.path.clone(), value, length, constraint });
    }
}

fn has_insides(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::Structure | Kind::Union | Kind::List | Kind::Map)
}

fn length_of(view: &View<'_>) -> Option<usize> {
    match view {
        View::Str(text) => Some(text.chars().count()),
        View::Blob(bytes) => Some(bytes.len()),
        View::List(list) => Some(list.len()),
        View::Map(map) => Some(map.len()),
        _ => None,
    }
}

/// Views are references; this makes another.
fn copy<'a>(view: &View<'a>) -> View<'a> {
    match view {
        View::Absent => View::Absent,
        View::Bool(value) => View::Bool(*value),
        View::Int(value) => View::Int(*value),
        View::Float(value) => View::Float(*value),
        View::Str(value) => View::Str(value),
        View::Blob(value) => View::Blob(value),
        View::Time(value) => View::Time(*value),
        View::Document(value) => View::Document(value),
        View::List(value) => View::List(*value),
        View::Map(value) => View::Map(*value),
        View::Struct(value) => View::Struct(*value),
        View::Stream => View::Stream,
    }
}
