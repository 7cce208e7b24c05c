//! Properties and methods of values, by the names that Java gives them.

mod collection;
mod string;

use crate::VtlError;
use crate::render::text;
use crate::value::{Heap, Value};

/// Methods that nobody has give null.
pub(crate) fn call(
    heap: &mut Heap,
    steps: &mut u64,
    of: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, VtlError> {
    match (name, arguments) {
        ("toString", []) => {
            let shown = text(heap, of);
            return heap.string(shown);
        }
        ("equals", [other]) => return Ok(Value::Bool(equal(heap, of, other))),
        ("hashCode", []) => return Ok(Value::Int(hash(&text(heap, of)))),
        _ => {}
    }
    match of {
        Value::Str(text) => string::call(heap, steps, &text.clone(), name, arguments),
        Value::List(list) => collection::on_list(heap, *list, name, arguments),
        Value::Map(map) => collection::on_map(heap, *map, name, arguments),
        Value::Int(_) | Value::Float(_) => Ok(on_number(of, name, arguments)),
        Value::Bool(value) => Ok(match (name, arguments) {
            ("booleanValue", []) => Value::Bool(*value),
            ("compareTo", [Value::Bool(other)]) => Value::Int(i64::from(*value) - i64::from(*other)),
            _ => Value::Null,
        }),
        Value::Null | Value::Host(_) => Ok(Value::Null),
    }
}

pub(crate) fn property(heap: &Heap, of: &Value, name: &str) -> Value {
    match of {
        Value::Map(map) => match heap.get(*map, name) {
            Some(value) => value.clone(),
            None if name == "empty" => Value::Bool(heap.entries(*map).is_empty()),
            None => Value::Null,
        },
        Value::List(list) if name == "empty" => Value::Bool(heap.items(*list).is_empty()),
        Value::Str(text) if name == "empty" => Value::Bool(text.is_empty()),
        Value::Str(text) if name == "bytes" => Value::Int(text.len() as i64),
        _ => Value::Null,
    }
}

/// The place that an index means; below zero it counts from the end.
pub(crate) fn position(length: usize, at: i64) -> Option<usize> {
    let at = if at < 0 { at.checked_add(i64::try_from(length).ok()?)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

/// `==`: numbers by value, values of one kind by content, others by their text.
pub(crate) fn equal(heap: &Heap, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Str(left), Value::Str(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            crate::eval::number(left) == crate::eval::number(right)
        }
        (Value::List(left), Value::List(right)) if left == right => true,
        (Value::Map(left), Value::Map(right)) if left == right => true,
        _ => text(heap, left) == text(heap, right),
    }
}

/// As `String.hashCode`.
fn hash(text: &str) -> i64 {
    i64::from(
        text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit))),
    )
}

fn on_number(of: &Value, name: &str, arguments: &[Value]) -> Value {
    let (whole, real) = match of {
        Value::Int(value) => (*value, *value as f64),
        Value::Float(value) => (*value as i64, *value),
        _ => return Value::Null,
    };
    match (name, arguments) {
        ("intValue" | "longValue" | "shortValue" | "byteValue", []) => Value::Int(whole),
        ("doubleValue" | "floatValue", []) => Value::Float(real),
        ("isNaN", []) => Value::Bool(real.is_nan()),
        ("compareTo", [other]) => match crate::eval::number(other).and_then(|other| real.partial_cmp(&other))
        {
            Some(order) => Value::Int(order as i64),
            None => Value::Null,
        },
        // The static methods of `Integer` and its like, which templates reach through any number.
        ("parseInt" | "parseLong" | "valueOf", [Value::Str(text)]) if matches!(of, Value::Int(_)) => {
            text.trim().parse().map_or(Value::Null, Value::Int)
        }
        ("parseDouble" | "parseFloat" | "valueOf", [Value::Str(text)]) => {
            text.trim().parse().map_or(Value::Null, Value::Float)
        }
        ("valueOf", [value @ (Value::Int(_) | Value::Float(_))]) => value.clone(),
        ("max", [Value::Int(a), Value::Int(b)]) => Value::Int(*a.max(b)),
        ("min", [Value::Int(a), Value::Int(b)]) => Value::Int(*a.min(b)),
        _ => Value::Null,
    }
}
