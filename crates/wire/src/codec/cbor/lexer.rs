//! CBOR, item by item. Nothing is allocated by a length that the body merely claims.

use std::borrow::Cow;

use super::Malformed;

const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// A data item; of collections only the head. Tags are passed over.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<'a> {
    Integer(i128),
    Float(f64),
    Bool(bool),
    /// Also `undefined`.
    Null,
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    /// Number of elements; `None`: up to a break.
    List(Option<u64>),
    /// Number of pairs; `None`: up to a break.
    Map(Option<u64>),
}

/// A cursor over CBOR.
pub struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(bytes: &'a [u8]) -> Lexer<'a> {
        Lexer { bytes, at: 0 }
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Whether a collection goes on; counts `left` down or takes the break.
    pub fn more(&mut self, left: &mut Option<u64>) -> Result<bool, Malformed> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if *self.bytes.get(self.at).ok_or(Malformed)? == BREAK => {
                self.at += 1;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Takes a null or undefined if it is next.
    pub fn null(&mut self) -> bool {
        let is_null = matches!(self.bytes.get(self.at), Some(0xf6 | 0xf7));
        self.at += usize::from(is_null);
        is_null
    }

    pub fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        match self.item()? {
            Item::Text(text) => Ok(text),
            _ => Err(Malformed),
        }
    }

    pub fn item(&mut self) -> Result<Item<'a>, Malformed> {
        loop {
            let first = *self.bytes.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            let (major, info) = (first >> 5, first & 31);
            if major == 7 {
                return self.simple(info);
            }
            let length = self.argument(info)?;
            return Ok(match (major, length) {
                (0, Some(value)) => Item::Integer(i128::from(value)),
                (1, Some(value)) => Item::Integer(-1 - i128::from(value)),
                (2, Some(length)) => Item::Bytes(Cow::Borrowed(self.slice(length)?)),
                (2, None) => Item::Bytes(Cow::Owned(self.chunks(2)?)),
                (3, Some(length)) => Item::Text(Cow::Borrowed(
                    std::str::from_utf8(self.slice(length)?).map_err(|_| Malformed)?,
                )),
                (3, None) => {
                    Item::Text(Cow::Owned(String::from_utf8(self.chunks(3)?).map_err(|_| Malformed)?))
                }
                (4, length) => Item::List(length),
                (5, length) => Item::Map(length),
                (6, Some(_)) => continue,
                _ => return Err(Malformed),
            });
        }
    }

    fn simple(&mut self, info: u8) -> Result<Item<'a>, Malformed> {
        Ok(match info {
            20 => Item::Bool(false),
            21 => Item::Bool(true),
            22 | 23 => Item::Null,
            25 => Item::Float(half(self.unsigned(2)? as u16)),
            26 => Item::Float(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            27 => Item::Float(f64::from_bits(self.unsigned(8)?)),
            _ => return Err(Malformed),
        })
    }

    /// The number behind an initial byte; `None`: indefinite.
    fn argument(&mut self, info: u8) -> Result<Option<u64>, Malformed> {
        match info {
            0..24 => Ok(Some(u64::from(info))),
            24..28 => self.unsigned(1 << (info - 24)).map(Some),
            INDEFINITE => Ok(None),
            _ => Err(Malformed),
        }
    }

    fn unsigned(&mut self, width: u64) -> Result<u64, Malformed> {
        Ok(self.slice(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn slice(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let slice = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(slice)
    }

    /// The definite strings of one major type up to a break.
    fn chunks(&mut self, major: u8) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        loop {
            let first = *self.bytes.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            if first == BREAK {
                return Ok(out);
            }
            let length = if first >> 5 == major { self.argument(first & 31)? } else { None };
            out.extend_from_slice(self.slice(length.ok_or(Malformed)?)?);
        }
    }

    /// Takes a whole item, nested at most `depth` deep.
    pub fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        match self.item()? {
            Item::List(mut left) => {
                while self.more(&mut left)? {
                    self.skip(depth)?;
                }
            }
            Item::Map(mut left) => {
                while self.more(&mut left)? {
                    self.item().and_then(|key| if is_collection(&key) { Err(Malformed) } else { Ok(()) })?;
                    self.skip(depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A free-form value; byte strings become base64, numbers that JSON cannot hold null.
    pub fn document(&mut self, depth: usize) -> Result<serde_json::Value, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        Ok(match self.item()? {
            Item::Null => serde_json::Value::Null,
            Item::Bool(value) => value.into(),
            Item::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => (value as f64).into(),
            },
            Item::Float(value) => value.into(),
            Item::Text(text) => text.into_owned().into(),
            Item::Bytes(bytes) => {
                let mut text = Vec::new();
                crate::codec::json::write_base64(&mut text, &bytes);
                String::from_utf8_lossy(&text).into_owned().into()
            }
            Item::List(mut left) => {
                let mut items = Vec::new();
                while self.more(&mut left)? {
                    items.push(self.document(depth)?);
                }
                items.into()
            }
            Item::Map(mut left) => {
                let mut entries = serde_json::Map::new();
                while self.more(&mut left)? {
                    let key = self.text()?.into_owned();
                    entries.insert(key, self.document(depth)?);
                }
                entries.into()
            }
        })
    }
}

fn is_collection(item: &Item<'_>) -> bool {
    matches!(item, Item::List(_) | Item::Map(_))
}

/// A half-precision float.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1_024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_floats_are_read() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, expected) in cases {
            assert_eq!(half(bits), expected, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn indefinite_lengths_and_tags_are_read() {
        let mut lexer = Lexer::new(&[0x7f, 0x61, b'a', 0x62, b'b', b'c', 0xff, 0xc1, 0x1a, 0, 0, 1, 0]);
        assert_eq!(lexer.item(), Ok(Item::Text("abc".into())));
        assert_eq!(lexer.item(), Ok(Item::Integer(256)));
        assert!(lexer.is_at_end());
    }

    #[test]
    fn claimed_lengths_are_not_believed() {
        for bytes in
            [&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x7a, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(Lexer::new(bytes).item(), Err(Malformed));
        }
        let mut nested = vec![0x81; 100_000];
        nested.push(0);
        assert_eq!(Lexer::new(&nested).skip(super::super::MAX_DEPTH), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_skipped_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Lexer::new(&bytes).skip(64);
            let _ = Lexer::new(&bytes).document(64);
        }
    }
}
