//! `java.lang.String`. Positions count UTF-16 units there and characters here: they differ beyond the basic plane only.

use std::sync::Arc;

use fancy_regex::Regex;

use crate::VtlError;
use crate::render::text as shown;
use crate::value::{Heap, Value};

/// What a regular expression costs to compile, in steps.
const REGEX_STEPS: u64 = 2_000;

pub(super) fn call(
    heap: &mut Heap,
    steps: &mut u64,
    text: &Arc<str>,
    name: &str,
    arguments: &[Value],
) -> Result<Value, VtlError> {
    // Work grows with the text, whatever the method.
    *steps = steps.checked_sub(1 + text.len() as u64 / 64).ok_or(VtlError::Limit("steps"))?;
    let argument = |at: usize| arguments.get(at).map(|value| shown(heap, value)).unwrap_or_default();
    let (first, second) = (argument(0), argument(1));
    let made = match (name, arguments) {
        ("length", []) => return Ok(Value::Int(text.chars().count() as i64)),
        ("isEmpty", []) => return Ok(Value::Bool(text.is_empty())),
        ("contains", [_]) => return Ok(Value::Bool(text.contains(&first))),
        ("startsWith", [_]) => return Ok(Value::Bool(text.starts_with(&first))),
        ("endsWith", [_]) => return Ok(Value::Bool(text.ends_with(&first))),
        ("equalsIgnoreCase", [_]) => return Ok(Value::Bool(text.to_lowercase() == first.to_lowercase())),
        ("compareTo", [_]) => return Ok(Value::Int((**text).cmp(first.as_str()) as i64)),
        ("compareToIgnoreCase", [_]) => {
            return Ok(Value::Int(text.to_lowercase().cmp(&first.to_lowercase()) as i64));
        }
        ("indexOf", [_]) => return Ok(Value::Int(index(text, text.find(&first)))),
        ("indexOf", [_, Value::Int(from)]) => {
            let from = offset(text, *from);
            return Ok(Value::Int(index(text, text[from..].find(&first).map(|at| at + from))));
        }
        ("lastIndexOf", [_]) => return Ok(Value::Int(index(text, text.rfind(&first)))),
        ("charAt", [Value::Int(at)]) => match usize::try_from(*at).ok().and_then(|at| text.chars().nth(at)) {
            Some(char) => char.to_string(),
            None => return Ok(Value::Null),
        },
        ("substring", [Value::Int(from)]) => match usize::try_from(*from) {
            Ok(from) if from <= text.chars().count() => text.chars().skip(from).collect(),
            _ => return Ok(Value::Null),
        },
        ("substring" | "subSequence", [Value::Int(from), Value::Int(to)]) => {
            match (usize::try_from(*from), usize::try_from(*to)) {
                (Ok(from), Ok(to)) if from <= to && to <= text.chars().count() => {
                    text.chars().skip(from).take(to - from).collect()
                }
                _ => return Ok(Value::Null),
            }
        }
        ("concat", [_]) => format!("{text}{first}"),
        ("toLowerCase", []) => text.to_lowercase(),
        ("toUpperCase", []) => text.to_uppercase(),
        ("trim", []) => text.trim_matches(|c: char| c <= ' ').to_owned(),
        ("strip", []) => text.trim().to_owned(),
        ("intern", []) => return Ok(Value::Str(text.clone())),
        ("repeat", [Value::Int(count)]) => {
            let count = usize::try_from(*count).unwrap_or_default();
            heap.charge(text.len().saturating_mul(count))?;
            text.repeat(count)
        }
        ("replace", [_, _]) => {
            heap.charge(grown(text.len(), first.len(), second.len()))?;
            text.replace(&first, &second)
        }
        ("replaceAll", [_, _]) => {
            heap.charge(grown(text.len(), 1, second.len()))?;
            regex(&first, steps)?.replace_all(text, replacement(&second)).into_owned()
        }
        ("replaceFirst", [_, _]) => regex(&first, steps)?.replace(text, replacement(&second)).into_owned(),
        ("matches", [_]) => {
            let whole = regex(&format!("^(?:{first})$"), steps)?;
            return Ok(Value::Bool(whole.is_match(&**text).unwrap_or(false)));
        }
        ("split", [_]) => return split(heap, steps, text, &first, 0),
        ("split", [_, Value::Int(limit)]) => return split(heap, steps, text, &first, *limit),
        ("toCharArray", []) => {
            let characters = text.chars().map(|char| Value::text(char.to_string())).collect();
            return heap.list(characters);
        }
        ("codePointAt", [Value::Int(at)]) => {
            let char = usize::try_from(*at).ok().and_then(|at| text.chars().nth(at));
            return Ok(char.map_or(Value::Null, |char| Value::Int(i64::from(u32::from(char)))));
        }
        // Static methods of `String` that templates reach through any string.
        ("valueOf", [_]) => first,
        ("join", [_, Value::List(list)]) => {
            let parts: Vec<String> = heap.items(*list).iter().map(|item| shown(heap, item)).collect();
            parts.join(&first)
        }
        ("format", _) => return Err(VtlError::failed("String.format is not available")),
        _ => return Ok(Value::Null),
    };
    heap.string(made)
}

/// How long a text can become when parts of it are replaced.
fn grown(length: usize, part: usize, by: usize) -> usize {
    length.saturating_add((length / part.max(1) + 1).saturating_mul(by))
}

fn index(text: &str, at: Option<usize>) -> i64 {
    at.map_or(-1, |at| text[..at].chars().count() as i64)
}

/// The byte that a position means; the end if it lies beyond.
fn offset(text: &str, position: i64) -> usize {
    let position = usize::try_from(position).unwrap_or_default();
    text.char_indices().nth(position).map_or(text.len(), |(at, _)| at)
}

fn regex(pattern: &str, steps: &mut u64) -> Result<Regex, VtlError> {
    *steps = steps.checked_sub(REGEX_STEPS).ok_or(VtlError::Limit("steps"))?;
    Regex::new(pattern)
        .map_err(|error| VtlError::failed(format!("the regular expression {pattern}: {error}")))
}

/// Java writes groups as `$1` and escapes with a backslash; here they are `${1}` and `$$`.
fn replacement(java: &str) -> String {
    let mut out = String::with_capacity(java.len());
    let mut rest = java.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\\' => match rest.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => {}
            },
            '$' => {
                let mut group = String::new();
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    group.push(digit);
                }
                match group.is_empty() {
                    true => out.push_str("$$"),
                    false => out.push_str(&format!("${{{group}}}")),
                }
            }
            other => out.push(other),
        }
    }
    out
}

/// `split(regex, limit)`: without a limit, empty parts at the end are left out.
fn split(heap: &mut Heap, steps: &mut u64, text: &str, pattern: &str, limit: i64) -> Result<Value, VtlError> {
    let regex = regex(pattern, steps)?;
    let mut parts: Vec<&str> = Vec::new();
    let mut from = 0;
    for found in regex.find_iter(text) {
        let Ok(found) = found else { break };
        if limit > 0 && parts.len() as i64 >= limit - 1 {
            break;
        }
        // A match of nothing at the beginning makes no part.
        if found.end() == 0 {
            continue;
        }
        if found.start() == found.end() && found.start() >= text.len() {
            continue;
        }
        parts.push(&text[from..found.start()]);
        from = found.end();
    }
    parts.push(&text[from..]);
    if limit == 0 {
        while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    heap.charge(parts.iter().map(|part| part.len() + 16).sum())?;
    let parts = parts.into_iter().map(Value::text).collect();
    heap.list(parts)
}
