//! XML bodies: restXml both ways, and the answers of awsQuery and ec2Query.
//!
//! The reader streams from quick-xml's events into slots. Document type declarations are refused, unknown elements passed
//! over, names compared without their namespace prefix.

mod write;

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use quick_xml::Reader as Events;
use quick_xml::events::{BytesStart, Event};

use super::query::{boolean, finite};
use super::{Budget, MAX_DEPTH, Select, mismatch, put_blob, special_float, time};
use crate::fault::Fault;
use crate::schema::{Kind, Member, Shape, TimeFormat};
use crate::value::{Document, MapMut, Slot, Struct, Val};

pub use write::Writer;

/// Reads a body whose root element is the structure. Whatever the root's name.
///
/// # Errors
/// `MalformedXML`, with the text that S3 gives.
pub fn decode(
    shape: &'static Shape,
    select: Select,
    body: &[u8],
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    let mut reader = Reader::new(body)?;
    let root = reader.root()?;
    reader.structure(shape, select, &root, into)?;
    reader.end()
}

/// Reads a body whose root element is one member's value.
pub fn decode_value(member: &'static Member, body: &[u8], into: &mut dyn Val) -> Result<(), Fault> {
    let mut reader = Reader::new(body)?;
    let root = reader.root()?;
    reader.value(member, &root, into)?;
    reader.end()
}

/// A body that is not XML, or not what the schema wants.
pub fn malformed() -> Fault {
    let text = "The XML you provided was not well-formed or did not validate against our published schema";
    Fault { origin: crate::fault::Origin::Framework, ..Fault::sender("MalformedXML", text).with_status(400) }
}

pub struct Reader<'a> {
    events: Events<&'a [u8]>,
    depth: usize,
    budget: Budget,
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Result<Reader<'a>, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut events = Events::from_str(text);
        events.config_mut().expand_empty_elements = true;
        Ok(Reader { events, depth: 0, budget: Budget::new(body.len()) })
    }

    fn next(&mut self) -> Result<Event<'a>, Fault> {
        self.events.read_event().map_err(|_| malformed())
    }

    /// The next child's start; `None` when the element ends. Text between children is passed over.
    pub fn child(&mut self) -> Result<Option<BytesStart<'a>>, Fault> {
        loop {
            match self.next()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End(_) => return Ok(None),
                Event::Eof | Event::DocType(_) => return Err(malformed()),
                _ => {}
            }
        }
    }

    pub fn root(&mut self) -> Result<BytesStart<'a>, Fault> {
        loop {
            match self.next()? {
                Event::Start(start) => return Ok(start),
                Event::Text(text) if text.trim_matches(['\u{feff}', ' ', '\n', '\r', '\t']).is_empty() => {}
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// Nothing but white space and comments may follow the root element.
    fn end(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                Event::Eof => return Ok(()),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// The text of the element that just started, up to its end. Child elements are refused.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.next()? {
                Event::Text(part) => append(&mut text, normalize(part.into_inner())),
                Event::CData(part) => append(&mut text, part.into_inner()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => text.to_mut().push(character),
                    Ok(None) => {
                        let name = reference.into_inner();
                        let value =
                            quick_xml::escape::resolve_predefined_entity(&name).ok_or_else(malformed)?;
                        text.to_mut().push_str(value);
                    }
                    Err(_) => return Err(malformed()),
                },
                Event::End(_) => return Ok(text),
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// Passes over the element that just started.
    pub fn skip(&mut self) -> Result<(), Fault> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.next()? {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Eof | Event::DocType(_) => return Err(malformed()),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn structure(
        &mut self,
        shape: &'static Shape,
        select: Select,
        start: &BytesStart<'_>,
        into: &mut dyn Struct,
    ) -> Result<(), Fault> {
        self.enter(shape)?;
        attributes(shape, start, into)?;
        let members = shape.members();
        let mut next = 0;
        let mut seen_flat_map = false;
        while let Some(child) = self.child()? {
            let name = child.local_name();
            let name = name.as_ref();
            let is_named = |member: &Member| {
                local(member.xml) == name && !member.is_xml_attribute && select.takes(member)
            };
            let found = match members.get(next) {
                Some(member) if is_named(member) => Some(next),
                _ => members.iter().position(is_named),
            };
            let Some(at) = found else {
                self.skip()?;
                continue;
            };
            let member = &members[at];
            let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
            match (member.shape.kind, member.is_flattened) {
                (Kind::List, true) => {
                    let Slot::List(list) = slot.slot() else { return Err(mismatch(member)) };
                    let element = member.shape.element();
                    self.budget.charge(element.shape)?;
                    self.value(element, &child, list.push())?;
                    next = at;
                }
                (Kind::Map, true) => {
                    let Slot::Map(map) = slot.slot() else { return Err(mismatch(member)) };
                    seen_flat_map = true;
                    self.entry(member, map)?;
                    next = at;
                }
                _ => {
                    if shape.kind != Kind::Union && slot.is_present() {
                        slot.clear();
                    }
                    self.value(member, &child, slot)?;
                    next = at + 1;
                }
            }
        }
        if seen_flat_map {
            finish_flat_maps(shape, into);
        }
        self.depth -= 1;
        Ok(())
    }

    pub fn value(
        &mut self,
        member: &'static Member,
        start: &BytesStart<'_>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        match member.shape.kind {
            Kind::Structure | Kind::Union => {
                let Slot::Struct(value) = into.slot() else { return Err(mismatch(member)) };
                self.structure(member.shape, Select::All, start, value)
            }
            Kind::List => self.list(member, into),
            Kind::Map => {
                let Slot::Map(map) = into.slot() else { return Err(mismatch(member)) };
                self.enter(member.shape)?;
                while let Some(child) = self.child()? {
                    if child.local_name().as_ref() == "entry" {
                        self.entry(member, map)?;
                    } else {
                        self.skip()?;
                    }
                }
                map.finish();
                self.depth -= 1;
                Ok(())
            }
            Kind::EventStream => self.skip(),
            _ => {
                let text = self.text()?;
                parse_scalar(member, &text, TimeFormat::DateTime, into)?.ok_or_else(malformed)
            }
        }
    }

    fn list(&mut self, member: &'static Member, into: &mut dyn Val) -> Result<(), Fault> {
        let Slot::List(list) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape)?;
        let element = member.shape.element();
        while let Some(child) = self.child()? {
            let name = child.local_name();
            if name.as_ref() == local(element.xml) || name.as_ref() == "member" {
                self.budget.charge(element.shape)?;
                self.value(element, &child, list.push())?;
            } else {
                self.skip()?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// One `<entry><key>..</key><value>..</value></entry>`, in either order of key and value.
    fn entry(&mut self, member: &'static Member, map: &mut dyn MapMut) -> Result<(), Fault> {
        let (key, value) = member.shape.entry();
        self.budget.charge(value.shape)?;
        let mut text = None;
        let mut early = None;
        let mut has_value = false;
        while let Some(child) = self.child()? {
            let name = child.local_name();
            if name.as_ref() == local(key.xml) {
                text = Some(self.text()?.into_owned());
            } else if name.as_ref() == local(value.xml) && !has_value {
                has_value = true;
                match text.take() {
                    Some(text) => self.value(value, &child, map.push(text))?,
                    // The value first: rare, and only then is its text read twice.
                    None => early = Some((child.clone().into_owned(), self.raw(&child)?)),
                }
            } else {
                self.skip()?;
            }
        }
        match (early, text) {
            (Some((start, raw)), Some(text)) => {
                let mut reader = Reader::new(raw.as_bytes())?;
                reader.depth = self.depth;
                reader.root()?;
                reader.value(value, &start, map.push(text))
            }
            (None, Some(text)) if value.shape.kind == Kind::String => {
                let _ = map.push(text).slot();
                Ok(())
            }
            (None, None) if has_value => Ok(()),
            _ => Err(malformed()),
        }
    }

    /// The text of a whole element that just started, its tags included.
    fn raw(&mut self, start: &BytesStart<'_>) -> Result<String, Fault> {
        let inner = self.events.read_text(start.name()).map_err(|_| malformed())?;
        let name = String::from_utf8_lossy(start.name().as_ref().as_bytes()).into_owned();
        Ok(format!("<{name}>{}</{name}>", &*inner))
    }

    fn enter(&mut self, shape: &'static Shape) -> Result<(), Fault> {
        self.depth += 1;
        self.budget.charge(shape)?;
        if self.depth > MAX_DEPTH { Err(malformed()) } else { Ok(()) }
    }
}

fn attributes(shape: &'static Shape, start: &BytesStart<'_>, into: &mut dyn Struct) -> Result<(), Fault> {
    for (at, member) in shape.members().iter().enumerate().filter(|(_, member)| member.is_xml_attribute) {
        let found = start.attributes().flatten().find(|attribute| {
            attribute.key.as_ref() == member.xml || attribute.key.local_name().as_ref() == local(member.xml)
        });
        let Some(attribute) = found else { continue };
        let text = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|_| malformed())?;
        let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
        parse_scalar(member, &text, TimeFormat::DateTime, slot)?.ok_or_else(malformed)?;
    }
    Ok(())
}

fn finish_flat_maps(shape: &'static Shape, into: &mut dyn Struct) {
    for (at, member) in shape.members().iter().enumerate() {
        if member.is_flattened
            && member.shape.kind == Kind::Map
            && into.get(at).is_present()
            && let Some(Slot::Map(map)) = into.get_mut(at).map(Val::slot)
        {
            map.finish();
        }
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn append<'a>(text: &mut Cow<'a, str>, part: Cow<'a, str>) {
    if text.is_empty() {
        *text = part;
    } else {
        text.to_mut().push_str(&part);
    }
}

/// Line ends in text are one line feed, as XML wants.
fn normalize(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text }
}

/// A scalar from its text, as XML, headers, labels and query parameters carry it; `None` if the text does not fit.
///
/// # Errors
/// When the slot is not of the schema's kind.
pub fn parse_scalar(
    member: &'static Member,
    text: &str,
    default: TimeFormat,
    into: &mut dyn Val,
) -> Result<Option<()>, Fault> {
    let fits = match (member.shape.kind, into.slot()) {
        (Kind::String, Slot::Str(slot)) => {
            text.clone_into(slot);
            true
        }
        (Kind::Boolean, Slot::Bool(slot)) => boolean(text).map(|value| *slot = value).is_some(),
        (kind, Slot::Int(slot)) => {
            let (min, max) = kind.integer_range();
            let number = text.trim().parse().ok().filter(|n| (min..=max).contains(n));
            number.map(|value| *slot = value).is_some()
        }
        (_, Slot::Float(slot)) => {
            special_float(text).or_else(|| finite(text)).map(|value| *slot = value).is_some()
        }
        (_, Slot::Time(slot)) => {
            let format = member.time_format.unwrap_or(default);
            time::parse(text, format).map(|value| *slot = value).is_some()
        }
        (Kind::Document, Slot::Document(slot)) => {
            serde_json::from_str(text).map(|value| *slot = Document(value)).is_ok()
        }
        (Kind::Blob, _) => match BASE64_STANDARD.decode(text.trim()) {
            Ok(bytes) => {
                put_blob(member, into, Bytes::from(bytes))?;
                true
            }
            Err(_) => false,
        },
        _ => return Err(mismatch(member)),
    };
    Ok(fits.then_some(()))
}
