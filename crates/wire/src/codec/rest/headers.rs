//! Members that travel in HTTP headers, both ways.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::mismatch;
use super::super::query::write_scalar;
use super::super::xml::parse_scalar;
use crate::fault::Fault;
use crate::schema::{Bind, Kind, Member, Shape, TimeFormat};
use crate::value::{Slot, Struct, Val, View};

/// Reads the members of `shape` that are bound to headers. `refuse` words the refusal of a text that does not fit.
pub fn read(
    shape: &'static Shape,
    headers: &HeaderMap,
    into: &mut dyn Struct,
    refuse: &dyn Fn(&'static Member, &str, &str) -> Fault,
) -> Result<(), Fault> {
    for (at, member) in shape.members().iter().enumerate() {
        match member.bind {
            Bind::Header(name) => {
                let mut values = headers.get_all(name).iter().map(text_of).peekable();
                if values.peek().is_none() {
                    continue;
                }
                let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
                if member.shape.kind == Kind::List {
                    let values: Vec<_> = values.collect();
                    read_list(member, &values.join(","), slot, &|text| refuse(member, name, text))?;
                } else if let Some(value) = values.next() {
                    read_scalar(member, &value, slot)?.ok_or_else(|| refuse(member, name, &value))?;
                }
            }
            Bind::HeaderPrefix(prefix) => read_prefix(member, prefix, headers, into, at)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_prefix(
    member: &'static Member,
    prefix: &str,
    headers: &HeaderMap,
    into: &mut dyn Struct,
    at: usize,
) -> Result<(), Fault> {
    let (_, value) = member.shape.entry();
    let mut map = None;
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(prefix) else { continue };
        let texts: Vec<_> = headers.get_all(name).iter().map(text_of).collect();
        if map.is_none() {
            let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
            let Slot::Map(found) = slot.slot() else { return Err(mismatch(member)) };
            map = Some(found);
        }
        if let Some(map) = &mut map {
            let slot = map.push(key.to_owned());
            let _ = parse_scalar(value, &texts.join(","), TimeFormat::HttpDate, slot)?;
        }
    }
    Ok(())
}

/// A header's text: UTF-8, or Latin-1 where it is not.
fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text.trim_matches([' ', '\t'])),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

fn read_scalar(member: &'static Member, text: &str, into: &mut dyn Val) -> Result<Option<()>, Fault> {
    if member.is_json_value && member.shape.kind == Kind::String {
        let Ok(bytes) = BASE64_STANDARD.decode(text) else { return Ok(None) };
        let Slot::Str(slot) = into.slot() else { return Err(mismatch(member)) };
        return Ok(String::from_utf8(bytes).ok().map(|json| *slot = json));
    }
    parse_scalar(member, text, TimeFormat::HttpDate, into)
}

fn read_list(
    member: &'static Member,
    text: &str,
    into: &mut dyn Val,
    refuse: &dyn Fn(&str) -> Fault,
) -> Result<(), Fault> {
    let Slot::List(list) = into.slot() else { return Err(mismatch(member)) };
    let element = member.shape.element();
    let has_dates = element.shape.kind == Kind::Timestamp
        && !matches!(element.time_format, Some(TimeFormat::EpochSeconds | TimeFormat::DateTime));
    for item in split(text, has_dates) {
        read_scalar(element, &item, list.push())?.ok_or_else(|| refuse(&item))?;
    }
    Ok(())
}

/// The parts of a comma list; quoted parts may hold commas, and HTTP dates hold one each.
fn split(text: &str, has_dates: bool) -> Vec<Cow<'_, str>> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (item, after) = unquote(quoted);
            items.push(Cow::Owned(item));
            rest = after.split_once(',').map_or("", |(_, after)| after).trim_start();
            continue;
        }
        let comma = rest.find(',').map(|first| match rest[first + 1..].find(',') {
            Some(second) if has_dates => first + 1 + second,
            None if has_dates => rest.len(),
            _ => first,
        });
        let end = comma.unwrap_or(rest.len());
        items.push(Cow::Borrowed(rest[..end].trim()));
        rest = rest.get(end + 1..).unwrap_or("").trim_start();
    }
    items
}

/// The text up to the closing quote, backslashes resolved, and what follows.
fn unquote(text: &str) -> (String, &str) {
    let mut item = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (item, &text[at + 1..]),
            '\\' => item.extend(characters.next().map(|(_, character)| character)),
            _ => item.push(character),
        }
    }
    (item, "")
}

/// Adds the members of `value` that are bound to headers.
///
/// # Errors
/// `InternalFailure`, naming the member whose name or text no header can carry. The others are written.
pub fn write(shape: &'static Shape, value: &dyn Struct, headers: &mut HeaderMap) -> Result<(), Fault> {
    let (mut done, mut text) = (Ok(()), Vec::new());
    for (at, member) in shape.members().iter().enumerate() {
        match (&member.bind, value.get(at).view()) {
            (_, View::Absent) => {}
            (Bind::Header(name), view) => {
                text.clear();
                header_text(&mut text, member, view);
                done = done.and(append(headers, name, &text).ok_or(member));
            }
            (Bind::HeaderPrefix(prefix), View::Map(map)) => {
                let (_, value) = member.shape.entry();
                for i in 0..map.len() {
                    let (key, val) = map.entry(i);
                    text.clear();
                    write_scalar(&mut text, value, val.view(), TimeFormat::HttpDate);
                    done = done.and(append(headers, &format!("{prefix}{key}"), &text).ok_or(member));
                }
            }
            _ => {}
        }
    }
    done.map_err(|member| {
        let text = format!("The answer's `{}` does not fit into a header.", member.name);
        Fault::framework("InternalFailure", 500, text)
    })
}

fn append(headers: &mut HeaderMap, name: &str, text: &[u8]) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    headers.append(name, HeaderValue::from_bytes(text).ok()?);
    Some(())
}

fn header_text(out: &mut Vec<u8>, member: &'static Member, view: View<'_>) {
    match view {
        View::List(list) => {
            let element = member.shape.element();
            for i in 0..list.len() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                let mut item = Vec::new();
                scalar_text(&mut item, element, list.get(i).view());
                let is_plain = element.shape.kind != Kind::String
                    || !(item.is_empty()
                        || item.iter().any(|byte| b"\",\\".contains(byte))
                        || is_padded(&item));
                if is_plain {
                    out.extend_from_slice(&item);
                } else {
                    out.push(b'"');
                    for byte in item {
                        if matches!(byte, b'"' | b'\\') {
                            out.push(b'\\');
                        }
                        out.push(byte);
                    }
                    out.push(b'"');
                }
            }
        }
        view => scalar_text(out, member, view),
    }
}

fn is_padded(text: &[u8]) -> bool {
    text.first() == Some(&b' ') || text.last() == Some(&b' ')
}

fn scalar_text(out: &mut Vec<u8>, member: &'static Member, view: View<'_>) {
    match view {
        View::Str(text) if member.is_json_value => {
            out.extend_from_slice(BASE64_STANDARD.encode(text).as_bytes());
        }
        view => write_scalar(out, member, view, TimeFormat::HttpDate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_split_at_commas_outside_quotes() {
        let cases = [
            ("a, b,c", false, vec!["a", "b", "c"]),
            ("\"b,c\", \"\\\"def\\\"\", a", false, vec!["b,c", "\"def\"", "a"]),
            (
                "Mon, 16 Dec 2019 23:48:18 GMT, Tue, 17 Dec 2019 23:48:18 GMT",
                true,
                vec!["Mon, 16 Dec 2019 23:48:18 GMT", "Tue, 17 Dec 2019 23:48:18 GMT"],
            ),
            ("", false, vec![]),
            ("\"open", false, vec!["open"]),
        ];
        for (text, has_dates, expected) in cases {
            assert_eq!(split(text, has_dates), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_list_splits(text in "\\PC{0,40}", has_dates in any::<bool>()) {
            let _ = split(&text, has_dates);
        }
    }
}
