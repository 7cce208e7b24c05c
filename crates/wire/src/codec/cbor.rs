//! CBOR bodies: rpc-v2-cbor, and the `x-amz-cbor-1.1` of older Kinesis clients, which differs in its timestamps alone.
//!
//! Source: RFC 8949; Smithy, "Smithy RPC v2 CBOR protocol".

mod lexer;
mod write;

use bytes::Bytes;
use lexer::{Item, Lexer};

use super::coercion::{self, Found, Place};
use super::{Budget, MAX_DEPTH, mismatch, put_blob, time};
use crate::fault::Fault;
use crate::protocol::Protocol;
use crate::schema::{Coercion, Kind, Member, Service, Shape};
use crate::value::{Document, Slot, Struct, Val};
use pileus_core::Timestamp;

pub use write::Writer;

/// The body is not CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        coercion::malformed()
    }
}

/// What a tag-1 number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Seconds,
    Millis,
}

impl Clock {
    pub fn of(protocol: Protocol) -> Clock {
        if protocol == Protocol::AmzCbor11 { Clock::Millis } else { Clock::Seconds }
    }
}

/// Reads a body into a structure. An empty body is an empty map.
///
/// # Errors
/// `SerializationException` in the words of the service's framework; without text when the body is not CBOR.
pub fn decode(
    service: &'static Service,
    shape: &'static Shape,
    clock: Clock,
    body: &[u8],
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    if body.is_empty() {
        return Ok(());
    }
    let lexer = Lexer::new(body);
    let mut reader = Reader { service, clock, lexer, depth: 0, budget: Budget::new(body.len()) };
    match reader.lexer.item()? {
        Item::Map(length) => reader.structure(shape, length, into)?,
        other => return Err(reader.refuse(shape, other, Place::Member)),
    }
    if reader.lexer.is_at_end() { Ok(()) } else { Err(coercion::malformed()) }
}

struct Reader<'a> {
    service: &'static Service,
    clock: Clock,
    lexer: Lexer<'a>,
    depth: usize,
    budget: Budget,
}

impl Reader<'_> {
    /// The pairs of a map that has begun; `length` is `None` if it ends with a break.
    fn structure(
        &mut self,
        shape: &'static Shape,
        length: Option<u64>,
        into: &mut dyn Struct,
    ) -> Result<(), Fault> {
        self.enter(shape)?;
        let members = shape.members();
        let mut next = 0;
        let mut left = length;
        while self.lexer.more(&mut left)? {
            let key = self.lexer.text()?;
            let found = match members.get(next) {
                Some(member) if member.json == key => Some(next),
                _ => members.iter().position(|member| member.json == key),
            };
            match found {
                Some(at) => {
                    next = at + 1;
                    self.member(shape, at, into)?;
                }
                None => self.lexer.skip(MAX_DEPTH - self.depth)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn member(&mut self, shape: &'static Shape, at: usize, into: &mut dyn Struct) -> Result<(), Fault> {
        let member = &shape.members()[at];
        if self.lexer.null() {
            if into.get(at).is_present() {
                into.get_mut(at).ok_or_else(|| mismatch(member))?.clear();
            }
            return Ok(());
        }
        let has_several = shape.kind == Kind::Union
            && self.service.coercion != Coercion::DynamoDb
            && into.active().is_some_and(|active| active != at);
        if has_several {
            return Err(coercion::malformed());
        }
        let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
        if slot.is_present() && shape.kind != Kind::Union {
            slot.clear();
        }
        self.value(member, slot, Place::Member)
    }

    /// A value that is not null.
    fn value(&mut self, member: &'static Member, into: &mut dyn Val, place: Place) -> Result<(), Fault> {
        let shape = member.shape;
        if matches!(shape.kind, Kind::Document | Kind::EventStream) {
            let json = self.lexer.document(MAX_DEPTH - self.depth)?;
            if let Slot::Document(slot) = into.slot() {
                *slot = Document(json);
            }
            return Ok(());
        }
        match (shape.kind, self.lexer.item()?) {
            (Kind::String, Item::Text(text)) => {
                let Slot::Str(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = text.into_owned();
            }
            (Kind::Structure | Kind::Union, Item::Map(length)) => {
                let Slot::Struct(value) = into.slot() else { return Err(mismatch(member)) };
                return self.structure(shape, length, value);
            }
            (Kind::List, Item::List(length)) => return self.list(member, length, into),
            (Kind::Map, Item::Map(length)) => return self.map(member, length, into),
            (Kind::Boolean, Item::Bool(value)) => {
                let Slot::Bool(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = value;
            }
            (kind, Item::Integer(value)) if kind.is_integer() => {
                let Slot::Int(slot) = into.slot() else { return Err(mismatch(member)) };
                let (min, max) = kind.integer_range();
                *slot = value.clamp(i128::from(min), i128::from(max)) as i64;
            }
            // A cast from a float saturates and drops the fraction.
            (kind, Item::Float(value)) if kind.is_integer() => {
                let Slot::Int(slot) = into.slot() else { return Err(mismatch(member)) };
                let (min, max) = kind.integer_range();
                *slot = (value as i64).clamp(min, max);
            }
            (Kind::Float | Kind::Double, Item::Float(value)) => {
                let Slot::Float(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = value;
            }
            (Kind::Float | Kind::Double, Item::Integer(value)) => {
                let Slot::Float(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = value as f64;
            }
            (Kind::Blob, Item::Bytes(bytes)) => put_blob(member, into, Bytes::from(bytes.into_owned()))?,
            (Kind::Timestamp, Item::Integer(value)) => {
                let Slot::Time(slot) = into.slot() else { return Err(mismatch(member)) };
                let number = i64::try_from(value).map_err(|_| Malformed)?;
                *slot = match self.clock {
                    Clock::Seconds => Timestamp::from_secs(number),
                    Clock::Millis => Timestamp::from_millis(number),
                };
            }
            (Kind::Timestamp, Item::Float(value)) => {
                let Slot::Time(slot) = into.slot() else { return Err(mismatch(member)) };
                let seconds = if self.clock == Clock::Millis { value / 1_000.0 } else { value };
                *slot = time::from_seconds(seconds).ok_or(Malformed)?;
            }
            (_, other) => return Err(self.refuse(shape, other, place)),
        }
        Ok(())
    }

    fn list(
        &mut self,
        member: &'static Member,
        length: Option<u64>,
        into: &mut dyn Val,
    ) -> Result<(), Fault> {
        let Slot::List(list) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape)?;
        let element = member.shape.element();
        let mut left = length;
        while self.lexer.more(&mut left)? {
            self.budget.charge(element.shape)?;
            if !self.lexer.null() {
                self.value(element, list.push(), Place::Element)?;
            } else if member.shape.is_sparse {
                list.push();
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, member: &'static Member, length: Option<u64>, into: &mut dyn Val) -> Result<(), Fault> {
        let Slot::Map(map) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape)?;
        let (_, value) = member.shape.entry();
        let mut left = length;
        while self.lexer.more(&mut left)? {
            self.budget.charge(value.shape)?;
            let key = self.lexer.text()?;
            if !self.lexer.null() {
                self.value(value, map.push(key.into_owned()), Place::Element)?;
            } else if member.shape.is_sparse {
                map.push(key.into_owned());
            }
        }
        map.finish();
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self, shape: &'static Shape) -> Result<(), Fault> {
        self.depth += 1;
        self.budget.charge(shape)?;
        if self.depth >= MAX_DEPTH { Err(coercion::malformed()) } else { Ok(()) }
    }

    fn refuse(&self, shape: &'static Shape, item: Item<'_>, place: Place) -> Fault {
        let found = match &item {
            Item::Integer(_) => Found::Integer,
            Item::Float(_) => Found::Decimal,
            Item::Bool(value) => Found::Bool(*value),
            Item::Text(text) => Found::Text(text),
            Item::List(_) => Found::List,
            Item::Map(_) => Found::Map,
            Item::Bytes(_) | Item::Null => return coercion::malformed(),
        };
        coercion::refuse(self.service, shape, found, place)
    }
}
