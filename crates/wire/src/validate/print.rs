//! Values as messages quote them: Java's `toString`.

use std::fmt::Write;

use super::order::{Table, lower_first};
use crate::schema::{Member, Shape};
use crate::value::{MapView, Struct, View};

/// Longer values are cut here, so that a small request cannot make a huge answer. Chosen: AWS's own limit is not known.
const MOST_CHARACTERS: usize = 64 * 1024;

/// `null`, or the value between quotes; `None` if it or anything within it is sensitive.
pub(super) fn quoted(member: &Member, view: View<'_>, java7: bool) -> Option<String> {
    if is_sensitive(member) {
        return None;
    }
    if matches!(view, View::Absent) {
        return Some("null".to_owned());
    }
    let mut printer = Printer { text: String::from("'"), java7 };
    printer.value(member.shape, view).ok()?;
    printer.text.push('\'');
    Some(printer.text)
}

fn is_sensitive(member: &Member) -> bool {
    member.is_sensitive || member.shape.is_sensitive
}

/// Entries of a map in the order of a Java `HashMap`.
pub(super) fn map_order(map: &dyn MapView, java7: bool) -> Vec<usize> {
    let table = Table::with_entries(map.len(), java7);
    let mut order: Vec<usize> = (0..map.len()).collect();
    order.sort_by_key(|i| table.slot(map.entry(*i).0));
    order
}

/// A value that must not be shown.
struct Sensitive;

struct Printer {
    text: String,
    java7: bool,
}

impl Printer {
    fn value(&mut self, shape: &Shape, view: View<'_>) -> Result<(), Sensitive> {
        if self.text.len() > MOST_CHARACTERS {
            return Ok(());
        }
        match view {
            View::Absent => self.text.push_str("null"),
            View::Bool(value) => self.text.push_str(if value { "true" } else { "false" }),
            View::Int(value) => self.display(value),
            View::Float(value) => self.text.push_str(&java_double(value)),
            View::Str(value) => self.string(value),
            View::Blob(bytes) => {
                let length = bytes.len();
                self.display(format_args!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]"));
            }
            View::Time(value) => self.text.push_str(&java_date(value)),
            View::Document(document) => self.display(&document.0),
            View::List(list) => {
                let element = shape.element();
                self.text.push('[');
                for i in 0..list.len() {
                    self.separate(i);
                    self.member(element, list.get(i).view())?;
                }
                self.text.push(']');
            }
            View::Map(map) => {
                let (key, value) = shape.entry();
                self.text.push('{');
                for (nth, i) in map_order(map, self.java7).into_iter().enumerate() {
                    self.separate(nth);
                    let (name, entry) = map.entry(i);
                    self.member(key, View::Str(name))?;
                    self.text.push('=');
                    self.member(value, entry.view())?;
                }
                self.text.push('}');
            }
            View::Struct(value) => self.structure(shape, value)?,
            View::Stream => self.text.push_str("java.io.InputStream"),
        }
        Ok(())
    }

    fn structure(&mut self, shape: &Shape, value: &dyn Struct) -> Result<(), Sensitive> {
        self.text.push_str(shape.name);
        self.text.push('(');
        for (i, member) in shape.members().iter().enumerate() {
            self.separate(i);
            self.text.push_str(&lower_first(member.name));
            self.text.push('=');
            self.member(member, value.get(i).view())?;
        }
        self.text.push(')');
        Ok(())
    }

    fn member(&mut self, member: &Member, view: View<'_>) -> Result<(), Sensitive> {
        if is_sensitive(member) && !matches!(view, View::Absent) {
            return Err(Sensitive);
        }
        self.value(member.shape, view)
    }

    fn separate(&mut self, nth: usize) {
        if nth > 0 {
            self.text.push_str(", ");
        }
    }

    fn string(&mut self, value: &str) {
        let end = (0..=MOST_CHARACTERS.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
        self.text.push_str(&value[..end.unwrap_or(0)]);
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        let written = write!(self.text, "{value}");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
}

/// `Double.toString`: `1.0`, `1.0E10`, `NaN`.
pub(super) fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value.is_nan() || magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

/// `Date.toString` in UTC: `Thu Jan 01 00:00:00 UTC 1970`.
fn java_date(time: pileus_core::Timestamp) -> String {
    let date = time.to_http_date();
    let words: Vec<&str> = date.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [weekday, day, month, year, clock, _] => format!("{weekday} {month} {day} {clock} UTC {year}"),
        _ => date,
    }
}
