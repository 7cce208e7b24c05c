//! Values as JSON text.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use pileus_core::Timestamp;

use super::super::{Select, special_float_name, time, write_integer};
use crate::schema::{Kind, Member, Shape, TimeFormat};
use crate::value::{Struct, View};

/// Appends an object with the members that are present and selected.
pub fn write_structure(out: &mut Vec<u8>, shape: &'static Shape, select: Select, value: &dyn Struct) {
    out.push(b'{');
    write_members(out, shape, select, value, true);
    out.push(b'}');
}

/// Appends `"name":value` pairs; `is_first` says whether a comma is due before the first one.
pub fn write_members(
    out: &mut Vec<u8>,
    shape: &'static Shape,
    select: Select,
    value: &dyn Struct,
    mut is_first: bool,
) {
    let mut write = |i: usize, member: &'static Member| {
        let view = value.get(i).view();
        if matches!(view, View::Absent | View::Stream) || !select.takes(member) {
            return;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        write_string(out, member.json);
        out.push(b':');
        write_value(out, member, view);
    };
    match value.active() {
        Some(i) => {
            if let Some(member) = shape.members().get(i) {
                write(i, member);
            }
        }
        None => shape.members().iter().enumerate().for_each(|(i, member)| write(i, member)),
    }
}

/// Appends one value; absent ones are `null`.
pub fn write_value(out: &mut Vec<u8>, member: &'static Member, view: View<'_>) {
    match view {
        View::Absent | View::Stream => out.extend_from_slice(b"null"),
        View::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        View::Int(value) => write_integer(out, value),
        View::Float(value) => write_float(out, member.shape.kind, value),
        View::Str(value) => write_string(out, value),
        View::Blob(value) => {
            out.push(b'"');
            write_base64(out, value);
            out.push(b'"');
        }
        View::Time(value) => write_time(out, member, value),
        View::Document(value) => {
            serde_json::to_writer(out, &value.0).expect("a document is JSON and a vector takes all bytes");
        }
        View::List(list) => {
            let element = member.shape.element();
            out.push(b'[');
            for i in 0..list.len() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, element, list.get(i).view());
            }
            out.push(b']');
        }
        View::Map(map) => {
            let (_, value) = member.shape.entry();
            out.push(b'{');
            for i in 0..map.len() {
                let (key, val) = map.entry(i);
                if i > 0 {
                    out.push(b',');
                }
                write_string(out, key);
                out.push(b':');
                write_value(out, value, val.view());
            }
            out.push(b'}');
        }
        View::Struct(value) => write_structure(out, member.shape, Select::All, value),
    }
}

fn write_time(out: &mut Vec<u8>, member: &Member, value: Timestamp) {
    match member.time_format.unwrap_or(TimeFormat::EpochSeconds) {
        TimeFormat::EpochSeconds => time::write(out, value, TimeFormat::EpochSeconds),
        format => {
            out.push(b'"');
            time::write(out, value, format);
            out.push(b'"');
        }
    }
}

fn write_float(out: &mut Vec<u8>, kind: Kind, value: f64) {
    if let Some(name) = special_float_name(value) {
        return write_string(out, name);
    }
    super::super::write_float(out, kind, value);
}

/// Appends base64 text.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64_STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("four bytes of room for every three bytes of input");
    out.truncate(start + written);
}

/// Appends a quoted string; quotes, backslashes and control characters are escaped.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut run = 0;
    loop {
        let at = super::lexer::find_special(bytes, run);
        out.extend_from_slice(&bytes[run..at]);
        let Some(byte) = bytes.get(at).copied() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        run = at + 1;
    }
    out.push(b'"');
}
