//! Requests of awsQuery and ec2Query: form parameters whose dotted names spell the path to a value.
//!
//! Lists come in several spellings, by protocol and age of the client (`Tag.1.Key`, `Tags.member.1.Key`, `Tags.Tag.1.Key`);
//! all are read, in any order and with gaps. Unknown parameters are passed over.

mod write;

use std::borrow::Cow;
use std::cmp::Ordering;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;

use super::{Budget, MAX_DEPTH, mismatch, percent, put_blob, special_float, time};
use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::schema::{Kind, Member, Shape, TimeFormat};
use crate::value::{Document, Slot, Struct, Val};

pub use write::{write_form, write_scalar};

/// Reads the parameters of the query string and of a form body into a structure.
///
/// # Errors
/// `MalformedInput` (awsQuery) or `InvalidParameterValue` (ec2Query), naming the parameter.
pub fn decode(
    protocol: Protocol,
    shape: &'static Shape,
    query: &str,
    body: &[u8],
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    let is_ec2 = protocol == Protocol::Ec2Query;
    let body = std::str::from_utf8(body).map_err(|_| not_text())?;
    let pairs = query.split('&').chain(body.trim_end().split('&')).filter(|pair| !pair.is_empty());
    let mut params = Vec::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent::decode_form(key).ok_or_else(not_text)?;
        params.push(Param { key, value });
    }
    // Stable: of equal names the last one stays last.
    params.sort_by(|a, b| by_segment(&a.key, &b.key));
    let mut reader = Reader { is_ec2, depth: 0, budget: Budget::new(query.len() + body.len()) };
    reader.structure(shape, Group { params: &params, end: None }, into)
}

struct Param<'a> {
    key: Cow<'a, str>,
    /// Still encoded.
    value: &'a str,
}

/// Byte order, except that a dot comes before everything: what shares a path lies together.
fn by_segment(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'.' { 0 } else { u16::from(byte) + 1 };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

/// Parameters whose names share their first `end` bytes (`None`: nothing yet), which end at a dot or at the name's end.
#[derive(Clone, Copy)]
struct Group<'p, 'a> {
    params: &'p [Param<'a>],
    end: Option<usize>,
}

impl<'p, 'a> Group<'p, 'a> {
    /// The last parameter with exactly this name.
    fn own(&self) -> Option<&'p Param<'a>> {
        self.params.iter().take_while(|param| Some(param.key.len()) == self.end).last()
    }

    fn own_text(&self) -> Result<Option<Cow<'a, str>>, Fault> {
        self.own().map(|param| percent::decode_form(param.value).ok_or_else(not_text)).transpose()
    }

    fn has_children(&self) -> bool {
        self.params.last().is_some_and(|param| Some(param.key.len()) != self.end)
    }

    /// The name so far, for messages.
    fn name(&self) -> &str {
        self.params.first().map_or("", |param| &param.key[..self.end.unwrap_or(0)])
    }

    /// One group for each next segment, in order.
    fn children(self) -> impl Iterator<Item = (&'p str, Group<'p, 'a>)> {
        let start = self.end.map_or(0, |end| end + 1);
        let mut rest = self.params;
        std::iter::from_fn(move || {
            while let Some((first, after)) = rest.split_first() {
                let Some(tail) = first.key.get(start..) else {
                    rest = after;
                    continue;
                };
                let segment = tail.split('.').next().unwrap_or(tail);
                let end = start + segment.len();
                let belongs = |param: &Param<'_>| {
                    let bytes = param.key.as_bytes();
                    bytes.get(start..end) == Some(segment.as_bytes())
                        && matches!(bytes.get(end), None | Some(b'.'))
                };
                let count = rest.partition_point(belongs).max(1);
                let group = Group { params: &rest[..count], end: Some(end) };
                rest = &rest[count..];
                return Some((segment, group));
            }
            None
        })
    }
}

struct Reader {
    is_ec2: bool,
    depth: usize,
    budget: Budget,
}

impl Reader {
    fn name_of(&self, member: &Member) -> &'static str {
        if self.is_ec2 { member.ec2 } else { member.query }
    }

    fn structure(
        &mut self,
        shape: &'static Shape,
        group: Group<'_, '_>,
        into: &mut dyn Struct,
    ) -> Result<(), Fault> {
        self.enter(shape, group)?;
        let members = shape.members();
        for (segment, child) in group.children() {
            let by_query = members.iter().position(|member| self.name_of(member) == segment);
            let found = by_query.or_else(|| members.iter().position(|member| member.name == segment));
            let Some(at) = found else { continue };
            let slot = into.get_mut(at).ok_or_else(|| mismatch(&members[at]))?;
            self.value(&members[at], child, slot)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn value(
        &mut self,
        member: &'static Member,
        group: Group<'_, '_>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        match member.shape.kind {
            Kind::Structure | Kind::Union => {
                if let Some(text) = group.own_text()?.filter(|text| !text.is_empty()) {
                    return Err(self.refuse(group, &text));
                }
                let Slot::Struct(value) = into.slot() else { return Err(mismatch(member)) };
                self.structure(member.shape, group, value)
            }
            Kind::List => self.list(member, group, into),
            Kind::Map => self.map(member, group, into),
            Kind::EventStream => Ok(()),
            _ => self.scalar(member, group, into),
        }
    }

    fn list(
        &mut self,
        member: &'static Member,
        group: Group<'_, '_>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        let Slot::List(list) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape, group)?;
        let element = member.shape.element();
        for (_, item) in self.items(group, &["member", element.query, element.ec2])? {
            self.budget.charge(element.shape)?;
            self.value(element, item, list.push())?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(
        &mut self,
        member: &'static Member,
        group: Group<'_, '_>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        let Slot::Map(map) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape, group)?;
        let (key, value) = member.shape.entry();
        for (_, item) in self.items(group, &["entry"])? {
            self.budget.charge(value.shape)?;
            let named = |name: &str, default: &str| {
                let mut found =
                    item.children().filter(|(segment, _)| *segment == name || *segment == default);
                found.next().map(|(_, group)| group)
            };
            let text = named(self.name_of(key), "key").map(|group| group.own_text()).transpose()?.flatten();
            let Some(text) = text else { continue };
            let slot = map.push(text.into_owned());
            match named(self.name_of(value), "value") {
                Some(group) => self.value(value, group, slot)?,
                // A key alone: an empty value, of which nothing is to be said.
                None => match value.shape.kind {
                    Kind::String | Kind::Structure | Kind::Union | Kind::List | Kind::Map => {
                        let _ = slot.slot();
                    }
                    _ => return Err(self.refuse(item, "")),
                },
            }
        }
        map.finish();
        self.depth -= 1;
        Ok(())
    }

    /// The numbered items of a list or map, with or without a wrapping segment, in numeric order.
    fn items<'p, 'a>(
        &self,
        group: Group<'p, 'a>,
        wrappers: &[&str],
    ) -> Result<Vec<(u64, Group<'p, 'a>)>, Fault> {
        if let Some(text) = group.own_text()?.filter(|text| !text.is_empty()) {
            return Err(self.refuse(group, &text));
        }
        let mut items = Vec::new();
        for (segment, child) in group.children() {
            if let Some(index) = index(segment) {
                items.push((index, child));
            } else if wrappers.contains(&segment) {
                if let Some(text) = child.own_text()?.filter(|text| !text.is_empty()) {
                    return Err(self.refuse(child, &text));
                }
                items.extend(child.children().filter_map(|(segment, item)| Some((index(segment)?, item))));
            }
        }
        items.sort_by_key(|(index, _)| *index);
        Ok(items)
    }

    fn scalar(
        &mut self,
        member: &'static Member,
        group: Group<'_, '_>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        let Some(text) = group.own_text()? else {
            return Err(self.refuse(group, ""));
        };
        if group.has_children() {
            return Err(self.refuse(group, &text));
        }
        let refusal = || self.refuse(group, &text);
        match (member.shape.kind, into.slot()) {
            (Kind::String, Slot::Str(slot)) => *slot = text.into_owned(),
            (Kind::Boolean, Slot::Bool(slot)) => *slot = boolean(&text).ok_or_else(refusal)?,
            (kind, Slot::Int(slot)) => {
                let (min, max) = kind.integer_range();
                let number = text.trim().parse().ok().filter(|n| (min..=max).contains(n));
                *slot = number.ok_or_else(refusal)?;
            }
            (_, Slot::Float(slot)) => {
                *slot = special_float(&text).or_else(|| finite(&text)).ok_or_else(refusal)?;
            }
            (_, Slot::Time(slot)) => {
                let format = member.time_format.unwrap_or(TimeFormat::DateTime);
                *slot = time::parse(&text, format).ok_or_else(refusal)?;
            }
            (Kind::Document, Slot::Document(slot)) => {
                *slot = Document(serde_json::from_str(&text).map_err(|_| refusal())?);
            }
            (Kind::Blob, _) => {
                let bytes = BASE64_STANDARD.decode(&*text).map_err(|_| refusal())?;
                put_blob(member, into, Bytes::from(bytes))?;
            }
            _ => return Err(mismatch(member)),
        }
        Ok(())
    }

    fn enter(&mut self, shape: &'static Shape, group: Group<'_, '_>) -> Result<(), Fault> {
        self.depth += 1;
        self.budget.charge(shape)?;
        if self.depth > MAX_DEPTH { Err(self.refuse(group, "")) } else { Ok(()) }
    }

    /// Chosen: AWS's codes; its texts differ by service and are not known for each.
    fn refuse(&self, group: Group<'_, '_>, value: &str) -> Fault {
        let name = group.name();
        if self.is_ec2 {
            let text = format!("Value ({value}) for parameter {name} is invalid.");
            return Fault::framework("InvalidParameterValue", 400, text);
        }
        Fault::framework(
            "MalformedInput",
            400,
            format!("Value '{value}' of parameter {name} has the wrong type."),
        )
    }
}

fn not_text() -> Fault {
    Fault::framework("MalformedInput", 400, "The request is not UTF-8 text.")
}

fn index(segment: &str) -> Option<u64> {
    segment.bytes().all(|byte| byte.is_ascii_digit()).then(|| segment.parse().ok())?
}

/// `true` and `false` in any case, `1` and `0`.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A decimal number; Rust's own words for special values are not among them.
pub fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}
