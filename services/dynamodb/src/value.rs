//! Attribute values: their rules, sizes and stored form. Pure.
//!
//! Source: Amazon DynamoDB Developer Guide, "Supported data types and naming rules", "DynamoDB item sizes and formats",
//! "Constraints in Amazon DynamoDB".

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pileus_api_dynamodb as api;
use pileus_wire::value::Map;

use crate::error::DynamoError;
use crate::number::Number;

/// Bytes of names and values of an item.
pub const MAX_ITEM: usize = 400 * 1_024;
pub const MAX_DEPTH: usize = 32;
/// A list or map counts for this much, and each of its elements for one byte more.
const DOCUMENT_OVERHEAD: usize = 3;

/// The value of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    S(String),
    N(Number),
    B(Bytes),
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Number>),
    Bs(BTreeSet<Bytes>),
    M(BTreeMap<String, Value>),
    L(Vec<Value>),
    Null,
    Bool(bool),
}

/// An item, or part of one: attributes by name.
pub type Item = BTreeMap<String, Value>;
pub type WireItem = Map<api::AttributeValue>;

impl Value {
    /// Reads a value of a request.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words: no or several types, unreadable numbers, empty sets, duplicates, depth.
    pub fn from_wire(value: api::AttributeValue) -> Result<Value, DynamoError> {
        read(value, 1)
    }

    pub fn to_wire(&self) -> api::AttributeValue {
        self.clone().into_wire()
    }

    pub fn into_wire(self) -> api::AttributeValue {
        let mut wire = api::AttributeValue::default();
        match self {
            Value::S(text) => wire.s = Some(text),
            Value::N(number) => wire.n = Some(number.to_string()),
            Value::B(bytes) => wire.b = Some(bytes),
            Value::Ss(set) => wire.ss = Some(set.into_iter().collect()),
            Value::Ns(set) => wire.ns = Some(set.iter().map(Number::to_string).collect()),
            Value::Bs(set) => wire.bs = Some(set.into_iter().collect()),
            Value::M(map) => wire.m = Some(item_into_wire(map)),
            Value::L(list) => wire.l = Some(list.into_iter().map(Value::into_wire).collect()),
            Value::Null => wire.null = Some(true),
            Value::Bool(value) => wire.bool = Some(value),
        }
        wire
    }

    /// `S`, `NS`, ..
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
            Value::Bs(_) => "BS",
            Value::M(_) => "M",
            Value::L(_) => "L",
            Value::Null => "NULL",
            Value::Bool(_) => "BOOL",
        }
    }

    /// Bytes that the value counts for.
    pub fn size(&self) -> usize {
        match self {
            Value::S(text) => text.len(),
            Value::N(number) => number.size(),
            Value::B(bytes) => bytes.len(),
            Value::Ss(set) => set.iter().map(String::len).sum(),
            Value::Ns(set) => set.iter().map(|number| number.size()).sum(),
            Value::Bs(set) => set.iter().map(Bytes::len).sum(),
            Value::M(map) => DOCUMENT_OVERHEAD + item_size(map) + map.len(),
            Value::L(list) => DOCUMENT_OVERHEAD + list.iter().map(|value| value.size() + 1).sum::<usize>(),
            Value::Null | Value::Bool(_) => 1,
        }
    }

    /// What `size()` says of it: characters, bytes or elements; `None` for types without one.
    pub fn length(&self) -> Option<usize> {
        Some(match self {
            Value::S(text) => text.chars().count(),
            Value::B(bytes) => bytes.len(),
            Value::Ss(set) => set.len(),
            Value::Ns(set) => set.len(),
            Value::Bs(set) => set.len(),
            Value::M(map) => map.len(),
            Value::L(list) => list.len(),
            Value::N(_) | Value::Null | Value::Bool(_) => return None,
        })
    }

    /// Order among strings, numbers and binaries of one type.
    pub fn compare(&self, other: &Value) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Value::S(a), Value::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::N(a), Value::N(b)) => Some(a.cmp(b)),
            (Value::B(a), Value::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Value::M(map) => 1 + map.values().map(Value::depth).max().unwrap_or(0),
            Value::L(list) => 1 + list.iter().map(Value::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// `{S:a}`, as AWS's sentences show values.
    pub fn shown(&self) -> String {
        let inner = match self {
            Value::S(text) => text.clone(),
            Value::N(number) => number.to_string(),
            Value::B(bytes) => STANDARD.encode(bytes),
            Value::Bool(value) => value.to_string(),
            Value::Null => "true".to_owned(),
            Value::Ss(set) => format!("[{}]", set.iter().cloned().collect::<Vec<_>>().join(", ")),
            Value::Ns(set) => {
                format!("[{}]", set.iter().map(Number::to_string).collect::<Vec<_>>().join(", "))
            }
            Value::Bs(set) => {
                format!("[{}]", set.iter().map(|bytes| STANDARD.encode(bytes)).collect::<Vec<_>>().join(", "))
            }
            Value::L(list) => format!("[{}]", list.iter().map(Value::shown).collect::<Vec<_>>().join(", ")),
            Value::M(map) => {
                let entries: Vec<_> =
                    map.iter().map(|(name, value)| format!("{name}={}", value.shown())).collect();
                format!("{{{}}}", entries.join(", "))
            }
        };
        format!("{{{}:{inner}}}", self.type_name())
    }
}

fn read(wire: api::AttributeValue, depth: usize) -> Result<Value, DynamoError> {
    let api::AttributeValue { s, n, b, ss, ns, bs, m, l, null, bool } = wire;
    let set = [
        s.is_some(),
        n.is_some(),
        b.is_some(),
        ss.is_some(),
        ns.is_some(),
        bs.is_some(),
        m.is_some(),
        l.is_some(),
        null.is_some(),
        bool.is_some(),
    ]; // fmt: one row per half
    match set.iter().filter(|is_set| **is_set).count() {
        0 => {
            return invalid(
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            );
        }
        1 => {}
        _ => {
            return invalid(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            );
        }
    }
    if depth > MAX_DEPTH + 1 {
        return invalid(TOO_DEEP);
    }
    if let Some(text) = s {
        return Ok(Value::S(text));
    }
    if let Some(number) = n {
        return Ok(Value::N(Number::parse(&number)?));
    }
    if let Some(bytes) = b {
        return Ok(Value::B(bytes));
    }
    if let Some(set) = ss {
        return read_strings(set);
    }
    if let Some(set) = ns {
        return read_numbers(set);
    }
    if let Some(set) = bs {
        return read_binaries(set);
    }
    if let Some(map) = m {
        if depth > MAX_DEPTH {
            return invalid(TOO_DEEP);
        }
        let entries = map.0.into_iter().map(|(name, value)| Ok((name, read(value, depth + 1)?)));
        return Ok(Value::M(entries.collect::<Result<_, DynamoError>>()?));
    }
    if let Some(list) = l {
        if depth > MAX_DEPTH {
            return invalid(TOO_DEEP);
        }
        return Ok(Value::L(list.into_iter().map(|value| read(value, depth + 1)).collect::<Result<_, _>>()?));
    }
    // Recorded: a null of `false` is kept, and answered as `true`.
    Ok(if null.is_some() { Value::Null } else { Value::Bool(bool.unwrap_or_default()) })
}

const TOO_DEEP: &str = "Nesting Levels have exceeded supported limits";

fn invalid<T>(text: impl Into<std::borrow::Cow<'static, str>>) -> Result<T, DynamoError> {
    Err(DynamoError::validation(text))
}

fn read_strings(set: Vec<String>) -> Result<Value, DynamoError> {
    if set.is_empty() {
        return invalid("One or more parameter values were invalid: An string set  may not be empty");
    }
    if set.iter().any(String::is_empty) {
        return invalid(
            "One or more parameter values were invalid: An string set may not have a empty string as a member",
        );
    }
    let unique: BTreeSet<String> = set.iter().cloned().collect();
    if unique.len() != set.len() {
        let shown = set.join(", ");
        return invalid(format!(
            "One or more parameter values were invalid: Input collection [{shown}] contains duplicates."
        ));
    }
    Ok(Value::Ss(unique))
}

fn read_numbers(set: Vec<String>) -> Result<Value, DynamoError> {
    if set.is_empty() {
        return invalid("One or more parameter values were invalid: An number set  may not be empty");
    }
    let numbers: Vec<Number> = set.iter().map(|text| Number::parse(text)).collect::<Result<_, _>>()?;
    let unique: BTreeSet<Number> = numbers.iter().copied().collect();
    if unique.len() != numbers.len() {
        return invalid("Input collection contains duplicates");
    }
    Ok(Value::Ns(unique))
}

fn read_binaries(set: Vec<Bytes>) -> Result<Value, DynamoError> {
    if set.is_empty() {
        return invalid("One or more parameter values were invalid: Binary sets should not be empty");
    }
    if set.iter().any(Bytes::is_empty) {
        return invalid(
            "One or more parameter values were invalid: Binary sets may not contain null or empty values",
        );
    }
    let unique: BTreeSet<Bytes> = set.iter().cloned().collect();
    if unique.len() != set.len() {
        let shown: Vec<_> = set.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        return invalid(format!(
            "One or more parameter values were invalid: Input collection [{}]of type BS contains duplicates.",
            shown.join(", ")
        ));
    }
    Ok(Value::Bs(unique))
}

/// Reads an item or a key of a request.
///
/// # Errors
/// `ValidationException`, as [`Value::from_wire`]
pub fn item_from_wire(item: WireItem) -> Result<Item, DynamoError> {
    item.0.into_iter().map(|(name, value)| Ok((name, Value::from_wire(value)?))).collect()
}

pub fn item_to_wire(item: &Item) -> WireItem {
    item_into_wire(item.clone())
}

pub fn item_into_wire(item: Item) -> WireItem {
    Map(item.into_iter().map(|(name, value)| (name, value.into_wire())).collect())
}

/// Bytes that the attributes count for, names included.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

/// Whether a value that an update made is nested too deep.
///
/// # Errors
/// `ValidationException`
pub fn check_depth(item: &Item) -> Result<(), DynamoError> {
    if item.values().any(|value| value.depth() > MAX_DEPTH) { invalid(TOO_DEEP) } else { Ok(()) }
}

const PLAIN: u8 = 1;
/// With the number of the last change before the attributes.
const NUMBERED: u8 = 2;

/// An item as it is stored; `number`: of the change that made it so, where changes are kept.
pub fn encode_item(item: &Item, number: Option<u64>) -> Bytes {
    let mut out = Vec::with_capacity(item_size(item) + item.len() * 8 + 16);
    match number {
        None => out.push(PLAIN),
        Some(number) => {
            out.push(NUMBERED);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    encode_map(item, &mut out);
    out.into()
}

/// The number of the change that made a stored item; zero if none was kept.
pub fn item_number(bytes: &[u8]) -> u64 {
    match bytes.split_first() {
        Some((&NUMBERED, rest)) => rest.first_chunk().map_or(0, |number| u64::from_be_bytes(*number)),
        _ => 0,
    }
}

/// Reads what [`encode_item`] wrote.
///
/// # Errors
/// Other bytes: a damaged store.
pub fn decode_item(bytes: &[u8]) -> Result<Item, DynamoError> {
    let damaged = || DynamoError::corrupt("an item is unreadable");
    let mut rest = match bytes.split_first() {
        Some((&PLAIN, rest)) => rest,
        Some((&NUMBERED, rest)) => rest.get(8..).ok_or_else(damaged)?,
        _ => return Err(damaged()),
    };
    decode_map(&mut rest).filter(|_| rest.is_empty()).ok_or_else(damaged)
}

fn encode_map(map: &Item, out: &mut Vec<u8>) {
    write_length(map.len(), out);
    for (name, value) in map {
        write_bytes(name.as_bytes(), out);
        encode_value(value, out);
    }
}

fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::S(text) => {
            out.push(b's');
            write_bytes(text.as_bytes(), out);
        }
        Value::N(number) => {
            out.push(b'n');
            number.encode(out);
        }
        Value::B(bytes) => {
            out.push(b'b');
            write_bytes(bytes, out);
        }
        Value::Ss(set) => {
            out.push(b'S');
            write_length(set.len(), out);
            set.iter().for_each(|text| write_bytes(text.as_bytes(), out));
        }
        Value::Ns(set) => {
            out.push(b'N');
            write_length(set.len(), out);
            set.iter().for_each(|number| number.encode(out));
        }
        Value::Bs(set) => {
            out.push(b'B');
            write_length(set.len(), out);
            set.iter().for_each(|bytes| write_bytes(bytes, out));
        }
        Value::M(map) => {
            out.push(b'm');
            encode_map(map, out);
        }
        Value::L(list) => {
            out.push(b'l');
            write_length(list.len(), out);
            list.iter().for_each(|value| encode_value(value, out));
        }
        Value::Null => out.push(b'0'),
        Value::Bool(value) => out.push(if *value { b't' } else { b'f' }),
    }
}

fn decode_map(rest: &mut &[u8]) -> Option<Item> {
    let length = read_length(rest)?;
    let mut map = Item::new();
    for _ in 0..length {
        let name = read_text(rest)?;
        map.insert(name, decode_value(rest)?);
    }
    Some(map)
}

fn decode_value(rest: &mut &[u8]) -> Option<Value> {
    let (tag, tail) = rest.split_first()?;
    *rest = tail;
    Some(match tag {
        b's' => Value::S(read_text(rest)?),
        b'n' => Value::N(read_number(rest)?),
        b'b' => Value::B(Bytes::copy_from_slice(read_bytes(rest)?)),
        b'S' => Value::Ss((0..read_length(rest)?).map(|_| read_text(rest)).collect::<Option<_>>()?),
        b'N' => Value::Ns((0..read_length(rest)?).map(|_| read_number(rest)).collect::<Option<_>>()?),
        b'B' => Value::Bs(
            (0..read_length(rest)?)
                .map(|_| read_bytes(rest).map(Bytes::copy_from_slice))
                .collect::<Option<_>>()?,
        ),
        b'm' => Value::M(decode_map(rest)?),
        b'l' => Value::L((0..read_length(rest)?).map(|_| decode_value(rest)).collect::<Option<_>>()?),
        b'0' => Value::Null,
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        _ => return None,
    })
}

/// Seven bits a byte, low ones first.
fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(rest)?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(read_bytes(rest)?).ok().map(str::to_owned)
}

fn read_number(rest: &mut &[u8]) -> Option<Number> {
    let (number, tail) = Number::decode(rest)?;
    *rest = tail;
    Some(number)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn s(text: &str) -> Value {
        Value::S(text.to_owned())
    }

    pub fn n(text: &str) -> Value {
        Value::N(Number::parse(text).unwrap())
    }

    pub fn item(pairs: &[(&str, Value)]) -> Item {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            ".{0,6}".prop_map(Value::S),
            (-1_000i64..1_000).prop_map(|value| n(&value.to_string())),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Value::B(bytes.into())),
            prop::collection::btree_set("[a-c]{1,2}", 1..4).prop_map(Value::Ss),
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::L),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4).prop_map(Value::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_survives_the_wire_and_the_store(value in any_value()) {
            prop_assert_eq!(&Value::from_wire(value.to_wire()).unwrap(), &value);
            let item = item(&[("a", value.clone()), ("b", value)]);
            prop_assert_eq!(&decode_item(&encode_item(&item, None)).unwrap(), &item);
            let numbered = encode_item(&item, Some(7));
            prop_assert_eq!((decode_item(&numbered).unwrap(), item_number(&numbered)), (item, 7));
        }

        #[test]
        fn foreign_bytes_are_an_error_at_worst(bytes: Vec<u8>) {
            let _ = decode_item(&bytes);
        }
    }

    #[test]
    fn sizes_count_names_values_and_overhead() {
        let cases = [
            (s("héllo"), 6),
            (n("123"), 3),
            (Value::Bool(true), 1),
            (Value::Null, 1),
            (Value::L(vec![]), 3),
            (Value::L(vec![s("ab")]), 6),
            (Value::M(item(&[("k", s("ab"))])), 7),
        ];
        for (value, size) in cases {
            assert_eq!(value.size(), size, "{value:?}");
        }
        assert_eq!(item_size(&item(&[("id", s("1")), ("name", n("12"))])), 3 + 6);
    }

    #[test]
    fn thirty_two_levels_are_accepted_and_no_more() {
        let nested = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::L(vec![inner]));
        assert!(Value::from_wire(nested(32).to_wire()).is_ok());
        assert!(Value::from_wire(nested(33).to_wire()).is_err());
        assert!(check_depth(&item(&[("a", nested(32))])).is_ok());
        assert!(check_depth(&item(&[("a", nested(33))])).is_err());
    }

    #[test]
    fn malformed_values_are_refused_in_awss_words() {
        let empty = api::AttributeValue::default;
        let cases = [
            (
                empty(),
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ),
            (
                api::AttributeValue { s: Some("a".into()), n: Some("1".into()), ..empty() },
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            ),
            (
                api::AttributeValue { ss: Some(vec!["a".into(), "a".into()]), ..empty() },
                "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
            ),
            (
                api::AttributeValue { ns: Some(vec!["1".into(), "1.0".into()]), ..empty() },
                "Input collection contains duplicates",
            ),
            (
                api::AttributeValue { ss: Some(vec![]), ..empty() },
                "One or more parameter values were invalid: An string set  may not be empty",
            ),
        ];
        for (wire, expected) in cases {
            assert_eq!(Value::from_wire(wire).expect_err(expected).to_string(), expected);
        }
    }
}
