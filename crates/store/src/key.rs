//! Order-preserving keys: comparing two keys byte by byte compares their parts one by one.
//!
//! Numbers are big-endian. Text and bytes are escaped and terminated (`00` becomes `00 ff`, the end is `00 01`), so a key
//! that begins with the same parts begins with the same bytes, and a part never runs into the next one.

use bytes::Bytes;
use pileus_core::{AccountId, Region, Timestamp};

const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// Writes the parts of a key.
#[derive(Debug, Clone, Default)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    pub fn new() -> KeyBuilder {
        KeyBuilder(Vec::with_capacity(64))
    }

    /// One byte that tells tables, or kinds of key, apart.
    pub fn tag(self, tag: u8) -> KeyBuilder {
        self.raw(&[tag])
    }

    pub fn u16(self, value: u16) -> KeyBuilder {
        self.raw(&value.to_be_bytes())
    }

    pub fn u32(self, value: u32) -> KeyBuilder {
        self.raw(&value.to_be_bytes())
    }

    pub fn u64(self, value: u64) -> KeyBuilder {
        self.raw(&value.to_be_bytes())
    }

    /// Greater numbers come first.
    pub fn reverse_u64(self, value: u64) -> KeyBuilder {
        self.u64(!value)
    }

    pub fn i64(self, value: i64) -> KeyBuilder {
        // Flipping the sign bit puts the negative numbers first.
        self.u64(value as u64 ^ 1 << 63)
    }

    pub fn timestamp(self, moment: Timestamp) -> KeyBuilder {
        self.i64(moment.as_secs()).u32(moment.subsec_nanos())
    }

    pub fn str(self, text: &str) -> KeyBuilder {
        self.bytes(text.as_bytes())
    }

    pub fn bytes(self, bytes: &[u8]) -> KeyBuilder {
        self.bytes_prefix(bytes).raw(&[0, END])
    }

    /// Text without its end: the prefix of all keys whose text begins so. Only as the last part, for a range.
    pub fn str_prefix(self, text: &str) -> KeyBuilder {
        self.bytes_prefix(text.as_bytes())
    }

    pub fn bytes_prefix(mut self, bytes: &[u8]) -> KeyBuilder {
        for byte in bytes {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(ESCAPED_ZERO);
            }
        }
        self
    }

    /// Bytes as they are: of a fixed length, or the last part.
    pub fn raw(mut self, bytes: &[u8]) -> KeyBuilder {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The parts of a typed key.
    pub fn key<K: ToKey + ?Sized>(mut self, key: &K) -> KeyBuilder {
        key.encode(&mut self);
        self
    }

    pub fn build(self) -> Bytes {
        self.0.into()
    }

    fn add(&mut self, write: impl FnOnce(KeyBuilder) -> KeyBuilder) {
        *self = write(std::mem::take(self));
    }
}

/// The bytes are not a key of the parts asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of this form")]
pub struct KeyError;

/// Reads the parts of a key in the order they were written.
#[derive(Debug, Clone)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub fn new(key: &'a [u8]) -> KeyReader<'a> {
        KeyReader(key)
    }

    pub fn tag(&mut self, tag: u8) -> Result<(), KeyError> {
        if self.u8()? == tag { Ok(()) } else { Err(KeyError) }
    }

    pub fn u8(&mut self) -> Result<u8, KeyError> {
        self.fixed().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, KeyError> {
        self.fixed().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, KeyError> {
        self.fixed().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, KeyError> {
        self.fixed().map(u64::from_be_bytes)
    }

    pub fn reverse_u64(&mut self) -> Result<u64, KeyError> {
        self.u64().map(|value| !value)
    }

    pub fn i64(&mut self) -> Result<i64, KeyError> {
        self.u64().map(|value| (value ^ 1 << 63) as i64)
    }

    pub fn timestamp(&mut self) -> Result<Timestamp, KeyError> {
        let seconds = self.i64()?;
        let nanos = self.u32()?;
        if nanos < 1_000_000_000 { Ok(Timestamp::new(seconds, nanos)) } else { Err(KeyError) }
    }

    pub fn str(&mut self) -> Result<String, KeyError> {
        String::from_utf8(self.bytes()?).map_err(|_| KeyError)
    }

    pub fn bytes(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut bytes = Vec::new();
        loop {
            let zero = self.0.iter().position(|byte| *byte == 0).ok_or(KeyError)?;
            bytes.extend_from_slice(&self.0[..zero]);
            let mark = self.0.get(zero + 1).copied();
            self.0 = self.0.get(zero + 2..).unwrap_or_default();
            match mark {
                Some(END) => return Ok(bytes),
                Some(ESCAPED_ZERO) => bytes.push(0),
                _ => return Err(KeyError),
            }
        }
    }

    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(KeyError)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), KeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyError) }
    }
}

/// What writes a typed key, or part of one: the key itself, or a borrowed form (`str` for `String`, references, tuples of
/// such). Tuples are their parts one after the other, so a shorter tuple is a prefix of a longer one.
pub trait ToKey {
    /// The owned form, which `Key` reads back.
    type Key;

    fn encode(&self, key: &mut KeyBuilder);
}

/// A typed key that can be read back.
pub trait Key: ToKey<Key = Self> + Sized {
    fn decode(key: &mut KeyReader<'_>) -> Result<Self, KeyError>;
}

/// A number whose greater values come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Descending(pub u64);

macro_rules! key_parts {
    ($($type:ty: |$value:ident, $key:ident| $write:expr, |$reader:ident| $read:expr;)*) => {$(
        impl ToKey for $type {
            type Key = Self;
            fn encode(&self, key: &mut KeyBuilder) {
                let $value = self;
                key.add(|$key| $write);
            }
        }
        impl Key for $type {
            fn decode($reader: &mut KeyReader<'_>) -> Result<Self, KeyError> {
                $read
            }
        }
    )*};
}

key_parts! {
    u8: |v, key| key.tag(*v), |key| key.u8();
    u16: |v, key| key.u16(*v), |key| key.u16();
    u32: |v, key| key.u32(*v), |key| key.u32();
    u64: |v, key| key.u64(*v), |key| key.u64();
    i64: |v, key| key.i64(*v), |key| key.i64();
    Descending: |v, key| key.reverse_u64(v.0), |key| key.reverse_u64().map(Descending);
    Timestamp: |v, key| key.timestamp(*v), |key| key.timestamp();
    String: |v, key| key.str(v), |key| key.str();
    Vec<u8>: |v, key| key.bytes(v), |key| key.bytes();
    Bytes: |v, key| key.bytes(v), |key| key.bytes().map(Bytes::from);
    AccountId: |v, key| key.raw(v.as_bytes()), |key| read_account(key);
    Region: |v, key| key.str(v.as_str()), |key| Region::parse(&key.str()?).ok_or(KeyError);
}

fn read_account(key: &mut KeyReader<'_>) -> Result<AccountId, KeyError> {
    let digits = key.fixed::<12>()?;
    std::str::from_utf8(&digits).ok().and_then(AccountId::parse).ok_or(KeyError)
}

impl ToKey for str {
    type Key = String;
    fn encode(&self, key: &mut KeyBuilder) {
        key.add(|key| key.str(self));
    }
}

impl<K: ToKey + ?Sized> ToKey for &K {
    type Key = K::Key;
    fn encode(&self, key: &mut KeyBuilder) {
        (**self).encode(key);
    }
}

impl<const N: usize> ToKey for [u8; N] {
    type Key = Self;
    fn encode(&self, key: &mut KeyBuilder) {
        key.add(|key| key.raw(self));
    }
}

impl<const N: usize> Key for [u8; N] {
    fn decode(key: &mut KeyReader<'_>) -> Result<Self, KeyError> {
        key.fixed()
    }
}

macro_rules! key_tuples {
    ($(($($part:ident),*))*) => {$(
        impl<$($part: ToKey),*> ToKey for ($($part,)*) {
            type Key = ($($part::Key,)*);
            #[allow(non_snake_case, unused_variables)]
            fn encode(&self, key: &mut KeyBuilder) {
                let ($($part,)*) = self;
                $($part.encode(key);)*
            }
        }
        impl<$($part: Key),*> Key for ($($part,)*) {
            #[allow(unused_variables)]
            fn decode(key: &mut KeyReader<'_>) -> Result<Self, KeyError> {
                Ok(($($part::decode(key)?,)*))
            }
        }
    )*};
}

key_tuples! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Parts = (Vec<u8>, u64, i64, String, Timestamp);

    fn parts() -> impl Strategy<Value = Parts> {
        let bytes = prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xfe, 0xff]), 0..5);
        let moment = (any::<i64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n));
        (bytes, 0u64..3, -2i64..2, "[\u{0}a-c]{0,3}", moment)
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_parts_do(a in parts(), b in parts()) {
            prop_assert_eq!(KeyBuilder::new().key(&a).build().cmp(&KeyBuilder::new().key(&b).build()), a.cmp(&b));
        }

        #[test]
        fn keys_are_read_back(a in parts(), newest: u64) {
            let key = KeyBuilder::new().tag(7).key(&a).reverse_u64(newest).raw(b"tail").build();
            let mut reader = KeyReader::new(&key);
            reader.tag(7).unwrap();
            prop_assert_eq!(Parts::decode(&mut reader), Ok(a));
            prop_assert_eq!(reader.reverse_u64(), Ok(newest));
            prop_assert_eq!(reader.end(), Err(KeyError));
            prop_assert_eq!(reader.rest(), b"tail");
        }

        #[test]
        fn a_text_prefix_is_a_prefix_of_the_key(text in "[\u{0}ab]{0,4}", prefix in "[\u{0}ab]{0,3}") {
            let key = KeyBuilder::new().str(&text).build();
            let range = crate::KeyRange::prefix(KeyBuilder::new().str_prefix(&prefix).build());
            prop_assert_eq!(range.contains(&key), text.starts_with(&prefix));
        }

        #[test]
        fn reading_foreign_bytes_is_an_error_at_worst(bytes: Vec<u8>) {
            let mut reader = KeyReader::new(&bytes);
            while Parts::decode(&mut reader).is_ok() {}
        }

        #[test]
        fn greater_descending_numbers_come_first(a: u64, b: u64) {
            let key = |value| KeyBuilder::new().key(&Descending(value)).build();
            prop_assert_eq!(key(a).cmp(&key(b)), b.cmp(&a));
        }
    }
}
