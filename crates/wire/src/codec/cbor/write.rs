//! Values as CBOR. Structures are maps of indefinite length, so that absent members need no counting.

use super::super::{Select, time};
use super::Clock;
use crate::schema::{Kind, Member, Shape};
use crate::value::{Struct, View};
use pileus_core::Timestamp;

/// CBOR as it grows.
pub struct Writer {
    pub out: Vec<u8>,
    pub clock: Clock,
}

impl Writer {
    pub fn new(clock: Clock) -> Writer {
        Writer { out: Vec::with_capacity(256), clock }
    }

    pub fn begin_map(&mut self) {
        self.out.push(0xbf);
    }

    pub fn end_map(&mut self) {
        self.out.push(0xff);
    }

    pub fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn head(&mut self, major: u8, value: u64) {
        let first = major << 5;
        let bytes = value.to_be_bytes();
        match value {
            0..24 => self.out.push(first | value as u8),
            24..=0xff => self.out.extend_from_slice(&[first | 24, value as u8]),
            0x100..=0xffff => {
                self.out.push(first | 25);
                self.out.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(first | 26);
                self.out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.out.push(first | 27);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    fn integer(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_) => self.head(1, !value as u64),
        }
    }

    fn float(&mut self, kind: Kind, value: f64) {
        if kind == Kind::Float {
            self.out.push(0xfa);
            self.out.extend_from_slice(&(value as f32).to_be_bytes());
        } else {
            self.out.push(0xfb);
            self.out.extend_from_slice(&value.to_be_bytes());
        }
    }

    fn moment(&mut self, moment: Timestamp) {
        self.head(6, 1);
        match self.clock {
            Clock::Millis => self.integer(moment.as_millis()),
            Clock::Seconds if moment.subsec_nanos() == 0 => self.integer(moment.as_secs()),
            Clock::Seconds => self.float(Kind::Double, time::to_seconds(moment.truncate_to_millis())),
        }
    }

    pub fn structure(&mut self, shape: &'static Shape, select: Select, value: &dyn Struct) {
        self.begin_map();
        self.members(shape, select, value);
        self.end_map();
    }

    /// The pairs of the members that are present and selected.
    pub fn members(&mut self, shape: &'static Shape, select: Select, value: &dyn Struct) {
        let active = value.active();
        for (i, member) in shape.members().iter().enumerate() {
            if active.is_some_and(|only| only != i) || !select.takes(member) {
                continue;
            }
            let view = value.get(i).view();
            if !matches!(view, View::Absent | View::Stream) {
                self.text(member.json);
                self.value(member, view);
            }
        }
    }

    pub fn value(&mut self, member: &'static Member, view: View<'_>) {
        match view {
            View::Absent | View::Stream => self.out.push(0xf6),
            View::Bool(value) => self.out.push(if value { 0xf5 } else { 0xf4 }),
            View::Int(value) => self.integer(value),
            View::Float(value) => self.float(member.shape.kind, value),
            View::Str(value) => self.text(value),
            View::Blob(value) => {
                self.head(2, value.len() as u64);
                self.out.extend_from_slice(value);
            }
            View::Time(value) => self.moment(value),
            View::Document(value) => self.document(&value.0),
            View::List(list) => {
                let element = member.shape.element();
                self.head(4, list.len() as u64);
                for i in 0..list.len() {
                    self.value(element, list.get(i).view());
                }
            }
            View::Map(map) => {
                let (_, value) = member.shape.entry();
                self.head(5, map.len() as u64);
                for i in 0..map.len() {
                    let (key, val) = map.entry(i);
                    self.text(key);
                    self.value(value, val.view());
                }
            }
            View::Struct(value) => self.structure(member.shape, Select::All, value),
        }
    }

    fn document(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::Null => self.out.push(0xf6),
            serde_json::Value::Bool(value) => self.out.push(if *value { 0xf5 } else { 0xf4 }),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => self.integer(value),
                (_, Some(value)) => self.head(0, value),
                _ => self.float(Kind::Double, number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(items) => {
                self.head(4, items.len() as u64);
                items.iter().for_each(|item| self.document(item));
            }
            serde_json::Value::Object(entries) => {
                self.head(5, entries.len() as u64);
                for (key, value) in entries {
                    self.text(key);
                    self.document(value);
                }
            }
        }
    }
}
