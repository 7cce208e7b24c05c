//! Values as text, as Java writes them: `[a, b]`, `{a=b}`, `1.0`; lists of a JSON document as JSON.

use std::fmt::Write as _;

use crate::value::{Heap, MAX_DEPTH, Value};

/// Appends the text of a value. Null is nothing at the top, and `null` inside another value.
pub fn render(heap: &Heap, value: &Value, out: &mut String) {
    if !matches!(value, Value::Null) {
        inner(heap, value, MAX_DEPTH, out);
    }
}

pub fn text(heap: &Heap, value: &Value) -> String {
    let mut out = String::new();
    render(heap, value, &mut out);
    out
}

fn inner(heap: &Heap, value: &Value, depth: usize, out: &mut String) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&float(*value)),
        Value::Str(text) => out.push_str(text),
        Value::List(id) if heap.is_json(*id) => {
            if let Some(json) = heap.to_json(value) {
                let _ = write!(out, "{json}");
            }
        }
        Value::List(id) => {
            out.push('[');
            for (at, item) in heap.items(*id).iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                inner(heap, item, depth, out);
                if out.len() > LONGEST {
                    return;
                }
            }
            out.push(']');
        }
        Value::Map(id) => {
            out.push('{');
            for (at, (key, item)) in heap.entries(*id).iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(key);
                out.push('=');
                inner(heap, item, depth, out);
                if out.len() > LONGEST {
                    return;
                }
            }
            out.push('}');
        }
        Value::Host(_) => out.push_str("{}"),
    }
}

/// A list that holds itself twice would be printed 2^128 times. No output may be this long anyway.
const LONGEST: usize = 32 << 20;

/// As `Double.toString`.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => scientific,
    }
}
