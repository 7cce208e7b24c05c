//! Values without generated types: a structure over any shape of a schema, and its JSON form.
//!
//! Operations that we do not implement are decoded, validated and authorised as these; so are calls whose parameters
//! come as JSON (Step Functions, CloudFormation).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use pileus_core::Timestamp;
use serde_json::Value as Json;

use crate::codec::time;
use crate::schema::{Kind, Member, Shape, TimeFormat};
use crate::value::{
    ABSENT, ByteStream, Document, Event, EventStream, ListMut, ListView, MapMut, MapView, Ready, Slot,
    Struct, Val, View, keep_last_of_equal_keys,
};

/// A structure or union of any shape. Holds only the members that were set.
#[derive(Debug)]
pub struct DynStruct {
    shape: &'static Shape,
    /// Member index and value, in the order in which they were first set.
    fields: Vec<(usize, DynValue)>,
}

impl DynStruct {
    pub fn new(shape: &'static Shape) -> DynStruct {
        DynStruct { shape, fields: Vec::new() }
    }

    pub fn shape(&self) -> &'static Shape {
        self.shape
    }
}

impl Struct for DynStruct {
    fn get(&self, i: usize) -> &dyn Val {
        self.fields.iter().find(|(at, _)| *at == i).map_or(&ABSENT as &dyn Val, |(_, value)| value)
    }

    fn get_mut(&mut self, i: usize) -> Option<&mut dyn Val> {
        let member = self.shape.members().get(i)?;
        let found = self.fields.iter().position(|(at, _)| *at == i);
        let at = match found {
            Some(at) => at,
            None => {
                if self.shape.kind == Kind::Union || self.shape.kind == Kind::EventStream {
                    self.fields.clear();
                }
                self.fields.push((i, DynValue::absent(member)));
                self.fields.len() - 1
            }
        };
        Some(&mut self.fields[at].1)
    }

    fn active(&self) -> Option<usize> {
        let is_union = matches!(self.shape.kind, Kind::Union | Kind::EventStream);
        self.fields.first().filter(|_| is_union).map(|(at, _)| *at)
    }
}

/// What sits in one slot.
#[derive(Debug)]
pub struct DynValue {
    member: &'static Member,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Absent,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Blob(Bytes),
    Time(Timestamp),
    Document(Document),
    List(DynList),
    Map(DynMap),
    Struct(DynStruct),
    Bytes(ByteStream),
    Events(EventStream),
}

#[derive(Debug)]
struct DynList {
    element: &'static Member,
    items: Vec<DynValue>,
}

#[derive(Debug)]
struct DynMap {
    value: &'static Member,
    entries: Vec<(String, DynValue)>,
}

impl DynValue {
    fn absent(member: &'static Member) -> DynValue {
        DynValue { member, data: Data::Absent }
    }

    /// The default of the member's kind.
    fn empty(member: &'static Member) -> Data {
        match member.shape.kind {
            Kind::Structure | Kind::Union => Data::Struct(DynStruct::new(member.shape)),
            Kind::List => Data::List(DynList { element: member.shape.element(), items: Vec::new() }),
            Kind::Map => Data::Map(DynMap { value: member.shape.entry().1, entries: Vec::new() }),
            Kind::String => Data::Str(String::new()),
            Kind::Blob if member.is_streaming => Data::Bytes(ByteStream::default()),
            Kind::Blob => Data::Blob(Bytes::new()),
            Kind::Boolean => Data::Bool(false),
            Kind::Byte | Kind::Short | Kind::Integer | Kind::Long => Data::Int(0),
            Kind::Float | Kind::Double => Data::Float(0.0),
            Kind::Timestamp => Data::Time(Timestamp::EPOCH),
            Kind::Document => Data::Document(Document::default()),
            Kind::EventStream => Data::Events(EventStream::default()),
        }
    }
}

impl Val for DynValue {
    fn view(&self) -> View<'_> {
        match &self.data {
            Data::Absent => View::Absent,
            Data::Bool(value) => View::Bool(*value),
            Data::Int(value) => View::Int(*value),
            Data::Float(value) => View::Float(*value),
            Data::Str(value) => View::Str(value),
            Data::Blob(value) => View::Blob(value),
            Data::Time(value) => View::Time(*value),
            Data::Document(value) => View::Document(value),
            Data::List(value) => View::List(value),
            Data::Map(value) => View::Map(value),
            Data::Struct(value) => View::Struct(value),
            Data::Bytes(value) => value.view(),
            Data::Events(value) => value.view(),
        }
    }

    fn slot(&mut self) -> Slot<'_> {
        if matches!(self.data, Data::Absent) {
            self.data = DynValue::empty(self.member);
        }
        match &mut self.data {
            Data::Absent => unreachable!("an absent value was just replaced by its kind's default"),
            Data::Bool(value) => Slot::Bool(value),
            Data::Int(value) => Slot::Int(value),
            Data::Float(value) => Slot::Float(value),
            Data::Str(value) => Slot::Str(value),
            Data::Blob(value) => Slot::Blob(value),
            Data::Time(value) => Slot::Time(value),
            Data::Document(value) => Slot::Document(value),
            Data::List(value) => Slot::List(value),
            Data::Map(value) => Slot::Map(value),
            Data::Struct(value) => Slot::Struct(value),
            Data::Bytes(value) => Slot::Bytes(value),
            Data::Events(value) => Slot::Events(value),
        }
    }

    fn clear(&mut self) {
        self.data = Data::Absent;
    }
}

impl ListView for DynList {
    fn len(&self) -> usize {
        self.items.len()
    }
    fn get(&self, i: usize) -> &dyn Val {
        &self.items[i]
    }
}

impl ListMut for DynList {
    fn push(&mut self) -> &mut dyn Val {
        self.items.push(DynValue::absent(self.element));
        self.items.last_mut().expect("an element was just pushed")
    }
}

impl MapView for DynMap {
    fn len(&self) -> usize {
        self.entries.len()
    }
    fn entry(&self, i: usize) -> (&str, &dyn Val) {
        let (key, value) = &self.entries[i];
        (key, value)
    }
}

impl MapMut for DynMap {
    fn push(&mut self, key: String) -> &mut dyn Val {
        self.entries.push((key, DynValue::absent(self.value)));
        &mut self.entries.last_mut().expect("an entry was just pushed").1
    }
    fn finish(&mut self) {
        keep_last_of_equal_keys(&mut self.entries);
    }
}

/// How blobs look in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blobs {
    Base64,
    /// The bytes themselves where they are UTF-8, base64 else.
    Text,
}

/// A structure as JSON: member names as in the model, absent members left out, timestamps as epoch seconds, floats that
/// are not finite as strings. Streams are left out.
pub fn to_json(shape: &'static Shape, value: &dyn Struct, blobs: Blobs) -> Json {
    let active = value.active();
    let members = shape.members().iter().enumerate().filter(|(i, _)| active.is_none_or(|only| only == *i));
    let entries = members.filter_map(|(i, member)| {
        let json = value_to_json(member, value.get(i).view(), blobs)?;
        Some((member.name.to_owned(), json))
    });
    Json::Object(entries.collect())
}

/// One slot as JSON; `None` if it is absent or a stream.
pub fn value_to_json(member: &'static Member, view: View<'_>, blobs: Blobs) -> Option<Json> {
    Some(match view {
        View::Absent | View::Stream => return None,
        View::Bool(value) => Json::Bool(value),
        View::Int(value) => Json::from(value),
        View::Float(value) => float_to_json(value),
        View::Str(value) => Json::from(value),
        View::Blob(value) => match (blobs, std::str::from_utf8(value)) {
            (Blobs::Text, Ok(text)) => Json::from(text),
            _ => Json::from(BASE64_STANDARD.encode(value)),
        },
        View::Time(value) if value.subsec_nanos() == 0 => Json::from(value.as_secs()),
        View::Time(value) => Json::from(time::to_seconds(value)),
        View::Document(value) => value.0.clone(),
        View::List(list) => {
            let element = member.shape.element();
            let items = (0..list.len()).map(|i| value_to_json(element, list.get(i).view(), blobs));
            Json::Array(items.map(|item| item.unwrap_or(Json::Null)).collect())
        }
        View::Map(map) => {
            let (_, value) = member.shape.entry();
            let entries = (0..map.len()).map(|i| {
                let (key, val) = map.entry(i);
                (key.to_owned(), value_to_json(value, val.view(), blobs).unwrap_or(Json::Null))
            });
            Json::Object(entries.collect())
        }
        View::Struct(value) => to_json(member.shape, value, blobs),
    })
}

fn float_to_json(value: f64) -> Json {
    match serde_json::Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => Json::from("NaN"),
        None if value > 0.0 => Json::from("Infinity"),
        None => Json::from("-Infinity"),
    }
}

/// Fills a structure from JSON as [`to_json`] writes it. Nulls and unknown members are passed over.
///
/// # Errors
/// The path of the first value whose type does not fit, and what was expected there.
pub fn from_json(
    shape: &'static Shape,
    json: &Json,
    into: &mut dyn Struct,
    blobs: Blobs,
) -> Result<(), String> {
    let object = json.as_object().ok_or_else(|| format!("{}: expected an object", shape.name))?;
    for (i, member) in shape.members().iter().enumerate() {
        let Some(value) = object.get(member.name).filter(|value| !value.is_null()) else { continue };
        let slot = into.get_mut(i).ok_or_else(|| format!("{}: no such field", member.name))?;
        value_from_json(member, value, slot, blobs).map_err(|error| format!("{}.{error}", shape.name))?;
    }
    Ok(())
}

/// Fills one slot from JSON that is not null.
pub fn value_from_json(
    member: &'static Member,
    json: &Json,
    into: &mut dyn Val,
    blobs: Blobs,
) -> Result<(), String> {
    let wrong = |expected: &str| format!("{}: expected {expected}", member.name);
    match into.slot() {
        Slot::Bool(slot) => *slot = json.as_bool().ok_or_else(|| wrong("a boolean"))?,
        Slot::Int(slot) => *slot = integer(json).ok_or_else(|| wrong("an integer"))?,
        Slot::Float(slot) => *slot = float(json).ok_or_else(|| wrong("a number"))?,
        Slot::Str(slot) => *slot = json.as_str().ok_or_else(|| wrong("a string"))?.to_owned(),
        Slot::Blob(slot) => *slot = blob(json, blobs).ok_or_else(|| wrong("a blob"))?,
        Slot::Time(slot) => *slot = moment(json).ok_or_else(|| wrong("a timestamp"))?,
        Slot::Document(slot) => *slot = Document(json.clone()),
        Slot::List(list) => {
            let element = member.shape.element();
            for item in json.as_array().ok_or_else(|| wrong("a list"))? {
                if !item.is_null() {
                    value_from_json(element, item, list.push(), blobs)?;
                } else if member.shape.is_sparse {
                    list.push();
                }
            }
        }
        Slot::Map(map) => {
            let (_, value) = member.shape.entry();
            for (key, item) in json.as_object().ok_or_else(|| wrong("a map"))? {
                if !item.is_null() {
                    value_from_json(value, item, map.push(key.clone()), blobs)?;
                } else if member.shape.is_sparse {
                    map.push(key.clone());
                }
            }
        }
        Slot::Struct(value) => from_json(member.shape, json, value, blobs)?,
        Slot::Bytes(slot) => {
            let bytes = blob(json, blobs).ok_or_else(|| wrong("a blob"))?;
            *slot = ByteStream::once(bytes);
        }
        Slot::Events(slot) => {
            let items = json.as_array().ok_or_else(|| wrong("a list of events"))?;
            let mut events = Vec::new();
            for item in items {
                let mut event = DynStruct::new(member.shape);
                from_json(member.shape, item, &mut event, blobs)?;
                events.push(Box::new(event) as Event);
            }
            *slot = EventStream::new(Ready::new(events));
        }
    }
    Ok(())
}

fn integer(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64))
}

fn float(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_str().and_then(crate::codec::special_float))
}

fn blob(json: &Json, blobs: Blobs) -> Option<Bytes> {
    let text = json.as_str()?;
    match blobs {
        Blobs::Text => Some(Bytes::copy_from_slice(text.as_bytes())),
        Blobs::Base64 => BASE64_STANDARD.decode(text).ok().map(Bytes::from),
    }
}

fn moment(json: &Json) -> Option<Timestamp> {
    match json {
        Json::Number(number) => time::parse_epoch(&number.to_string()),
        Json::String(text) => time::parse(text, TimeFormat::DateTime),
        _ => None,
    }
}
