//! JSON bodies: awsJson 1.0 and 1.1, and the bodies and document payloads of restJson1.
//!
//! The reader goes from text to slots without a tree between them. Unknown members are passed over, the last of equal
//! keys counts, null is absent except in sparse collections, numbers keep all 64 bits.

mod lexer;
mod write;

use lexer::{Lexer, MAX_DEPTH, Malformed};

use super::coercion::{self, Found, Place};
use super::{Budget, Select, mismatch, put_blob, special_float, time};
use crate::fault::Fault;
use crate::schema::{Coercion, Kind, Member, Service, Shape, TimeFormat};
use crate::value::{Document, Slot, Struct, Val};

pub use write::{write_base64, write_members, write_string, write_structure, write_value};

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        coercion::malformed()
    }
}

/// Reads a body into a structure. An empty body is an empty object.
///
/// # Errors
/// `SerializationException` in the words of the service's framework; without text when the body is not JSON.
pub fn decode(
    service: &'static Service,
    shape: &'static Shape,
    select: Select,
    body: &[u8],
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    let mut reader = Reader::new(service, body)?;
    if reader.lexer.is_at_end() {
        return if body.iter().all(u8::is_ascii_whitespace) { Ok(()) } else { Err(coercion::malformed()) };
    }
    if reader.lexer.peek()? == b'n' {
        return Err(coercion::malformed());
    }
    reader.structure(shape, select, into, Place::Member)?;
    reader.end()
}

/// Reads a body that is one member's value.
pub fn decode_value(
    service: &'static Service,
    member: &'static Member,
    body: &[u8],
    into: &mut dyn Val,
) -> Result<(), Fault> {
    let mut reader = Reader::new(service, body)?;
    if reader.lexer.peek()? == b'n' {
        reader.lexer.word("null")?;
    } else {
        reader.value(member, into, Place::Member)?;
    }
    reader.end()
}

struct Reader<'a> {
    service: &'static Service,
    lexer: Lexer<'a>,
    depth: usize,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn new(service: &'static Service, body: &'a [u8]) -> Result<Reader<'a>, Fault> {
        Ok(Reader { service, lexer: Lexer::new(body)?, depth: 0, budget: Budget::new(body.len()) })
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.lexer.is_at_end() { Ok(()) } else { Err(coercion::malformed()) }
    }

    fn structure(
        &mut self,
        shape: &'static Shape,
        select: Select,
        into: &mut dyn Struct,
        place: Place,
    ) -> Result<(), Fault> {
        if self.lexer.peek()? != b'{' {
            return Err(self.refuse(shape, place));
        }
        self.enter(shape)?;
        self.lexer.expect(b'{')?;
        if !self.lexer.take(b'}')? {
            let members = shape.members();
            let mut next = 0;
            loop {
                let key = self.lexer.key()?;
                // Clients mostly send members in the model's order: look at the next one first.
                let is_named = |member: &Member| member.json == key && select.takes(member);
                let found = match members.get(next) {
                    Some(member) if is_named(member) => Some(next),
                    _ => members.iter().position(is_named),
                };
                match found {
                    Some(at) => {
                        next = at + 1;
                        self.member(shape, at, into)?;
                    }
                    None => {
                        self.lexer.skip()?;
                    }
                }
                if !self.lexer.more(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn member(&mut self, shape: &'static Shape, at: usize, into: &mut dyn Struct) -> Result<(), Fault> {
        let member = &shape.members()[at];
        if self.lexer.peek()? == b'n' {
            self.lexer.word("null")?;
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
        let next = self.lexer.peek()?;
        match (shape.kind, next) {
            (Kind::String, b'"') => {
                let Slot::Str(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = self.lexer.string()?.into_owned();
            }
            (Kind::Structure | Kind::Union, b'{') => {
                let Slot::Struct(value) = into.slot() else { return Err(mismatch(member)) };
                return self.structure(shape, Select::All, value, place);
            }
            (Kind::List, b'[') => return self.list(member, into),
            (Kind::Map, b'{') => return self.map(member, into),
            (kind, b'-' | b'0'..=b'9') if kind.is_integer() => {
                let Slot::Int(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = self.lexer.number()?.truncate(kind.integer_range());
            }
            (Kind::Boolean, b't' | b'f') => {
                let Slot::Bool(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = next == b't';
                self.lexer.word(if next == b't' { "true" } else { "false" })?;
            }
            (Kind::Blob, b'"') => {
                let bytes = coercion::base64_to_bytes(self.service, &self.lexer.string()?)?;
                put_blob(member, into, bytes)?;
            }
            (Kind::Float | Kind::Double, b'-' | b'0'..=b'9') => {
                let Slot::Float(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = self.lexer.number()?.as_f64();
            }
            (Kind::Timestamp, b'-' | b'0'..=b'9') => {
                let Slot::Time(slot) = into.slot() else { return Err(mismatch(member)) };
                let number = self.lexer.number()?;
                *slot = time::parse_epoch(number.text).ok_or(Malformed)?;
            }
            (Kind::Document, _) => {
                let text = self.lexer.skip()?;
                let Slot::Document(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = Document(serde_json::from_str(text).map_err(|_| Malformed)?);
            }
            (Kind::EventStream, _) => {
                self.lexer.skip()?;
            }
            _ => return self.convert(member, into, place),
        }
        Ok(())
    }

    /// A scalar of another type than the model's: converted where AWS does.
    fn convert(&mut self, member: &'static Member, into: &mut dyn Val, place: Place) -> Result<(), Fault> {
        let shape = member.shape;
        let is_free = self.service.coercion == Coercion::Jackson;
        match self.lexer.peek()? {
            b'"' => {
                let text = self.lexer.string()?;
                let refusal = || coercion::refuse(self.service, shape, Found::Text(&text), place);
                match (shape.kind, into.slot()) {
                    (Kind::Boolean, Slot::Bool(slot)) => {
                        *slot = coercion::text_to_bool(&text).ok_or_else(refusal)?;
                    }
                    (Kind::Float | Kind::Double, Slot::Float(slot)) => {
                        let number = || text.parse().ok().filter(|_| is_free);
                        *slot = special_float(&text).or_else(number).ok_or_else(refusal)?;
                    }
                    (Kind::Timestamp, Slot::Time(slot)) => {
                        let format = member.time_format.unwrap_or(TimeFormat::DateTime);
                        *slot = time::parse(&text, format).ok_or_else(refusal)?;
                    }
                    (kind, Slot::Int(slot)) if kind.is_integer() => {
                        let (min, max) = kind.integer_range();
                        let number = text.parse::<i64>().ok().filter(|n| is_free && (min..=max).contains(n));
                        *slot = number.ok_or_else(refusal)?;
                    }
                    _ => return Err(refusal()),
                }
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                let number = self.lexer.number()?;
                match into.slot() {
                    Slot::Str(slot) if is_free => *slot = number.text.to_owned(),
                    Slot::Bool(slot) if !number.is_integer && self.service.coercion == Coercion::Coral => {
                        *slot = number.as_f64() != 0.0;
                    }
                    _ => {
                        let found = if number.is_integer { Found::Integer } else { Found::Decimal };
                        return Err(coercion::refuse(self.service, shape, found, place));
                    }
                }
                Ok(())
            }
            next @ (b't' | b'f') if is_free && shape.kind == Kind::String => {
                let word = if next == b't' { "true" } else { "false" };
                self.lexer.word(word)?;
                let Slot::Str(slot) = into.slot() else { return Err(mismatch(member)) };
                *slot = word.to_owned();
                Ok(())
            }
            _ => Err(self.refuse(shape, place)),
        }
    }

    fn list(&mut self, member: &'static Member, into: &mut dyn Val) -> Result<(), Fault> {
        let Slot::List(list) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape)?;
        self.lexer.expect(b'[')?;
        if !self.lexer.take(b']')? {
            let element = member.shape.element();
            loop {
                self.budget.charge(element.shape)?;
                if self.lexer.peek()? == b'n' {
                    self.lexer.word("null")?;
                    if member.shape.is_sparse {
                        list.push();
                    }
                } else {
                    self.value(element, list.push(), Place::Element)?;
                }
                if !self.lexer.more(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, member: &'static Member, into: &mut dyn Val) -> Result<(), Fault> {
        let Slot::Map(map) = into.slot() else { return Err(mismatch(member)) };
        self.enter(member.shape)?;
        self.lexer.expect(b'{')?;
        if !self.lexer.take(b'}')? {
            let (_, value) = member.shape.entry();
            loop {
                self.budget.charge(value.shape)?;
                let key = self.lexer.key()?;
                if self.lexer.peek()? == b'n' {
                    self.lexer.word("null")?;
                    if member.shape.is_sparse {
                        map.push(key.into_owned());
                    }
                } else {
                    self.value(value, map.push(key.into_owned()), Place::Element)?;
                }
                if !self.lexer.more(b'}')? {
                    break;
                }
            }
            map.finish();
        }
        self.depth -= 1;
        Ok(())
    }

    fn enter(&mut self, shape: &'static Shape) -> Result<(), Fault> {
        self.depth += 1;
        self.budget.charge(shape)?;
        if self.depth > MAX_DEPTH { Err(coercion::malformed()) } else { Ok(()) }
    }

    /// The refusal of whatever comes next; that it is not JSON at all takes precedence.
    fn refuse(&mut self, shape: &'static Shape, place: Place) -> Fault {
        let Ok(text) = self.lexer.skip() else { return coercion::malformed() };
        let found = match text.as_bytes()[0] {
            b'{' => Found::Map,
            b'[' => Found::List,
            b'"' => Found::Text(text.trim_matches('"')),
            b't' | b'f' => Found::Bool(text == "true"),
            _ if text.contains(['.', 'e', 'E']) => Found::Decimal,
            _ => Found::Integer,
        };
        coercion::refuse(self.service, shape, found, place)
    }
}
