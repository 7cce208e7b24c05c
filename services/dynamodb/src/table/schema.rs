//! Key schemas: which attributes identify an item, and how their values become keys of the store. Pure.

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::value::{Item, Value};

pub const MAX_PARTITION_KEY: usize = 2_048;
pub const MAX_SORT_KEY: usize = 1_024;

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalarKind {
    S,
    N,
    B,
}

impl ScalarKind {
    pub fn read(text: &str) -> Option<ScalarKind> {
        Some(match text {
            "S" => ScalarKind::S,
            "N" => ScalarKind::N,
            "B" => ScalarKind::B,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            ScalarKind::S => "S",
            ScalarKind::N => "N",
            ScalarKind::B => "B",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAttribute {
    pub name: String,
    pub kind: ScalarKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySchema {
    pub partition: KeyAttribute,
    pub sort: Option<KeyAttribute>,
}

/// The place of an item: a digest of its partition key, and its sort key in order-preserving form.
///
/// Partitions have no order that a caller may rely on, so the digest both bounds the key's length and spreads a scan's
/// segments evenly. 128 bits of SHA-256: nobody can make two partitions meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedKey {
    pub partition: [u8; 16],
    pub sort: Bytes,
}

impl EncodedKey {
    /// Sixteen bytes that stand for the whole key.
    pub fn digest(&self) -> [u8; 16] {
        short_digest(&[&self.partition[..], &self.sort].concat())
    }
}

fn short_digest(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0u8; 16];
    short.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
    short
}

/// The place of a partition.
pub fn encode_partition(value: &Value) -> [u8; 16] {
    let mut bytes = value.type_name().as_bytes().to_vec();
    bytes.extend_from_slice(&encode_sort(value));
    short_digest(&bytes)
}

/// A key value in the form whose byte order is the order of such values.
pub fn encode_sort(value: &Value) -> Bytes {
    match value {
        Value::S(text) => Bytes::copy_from_slice(text.as_bytes()),
        Value::B(bytes) => bytes.clone(),
        Value::N(number) => Bytes::copy_from_slice(&number.to_key()),
        // No other type is ever a key.
        _ => Bytes::new(),
    }
}

/// What is wrong with the value of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Missing,
    Type(&'static str),
    Empty(&'static str),
    PartitionTooLong,
    SortTooLong,
}

impl KeySchema {
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// The key attributes of an item.
    pub fn pick(&self, item: &Item) -> Item {
        self.attributes()
            .filter_map(|attribute| item.get_key_value(&attribute.name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn fault<'a>(&'a self, item: &Item) -> Option<(&'a KeyAttribute, Fault)> {
        let partition = (&self.partition, Fault::PartitionTooLong, MAX_PARTITION_KEY);
        let sort = self.sort.as_ref().map(|sort| (sort, Fault::SortTooLong, MAX_SORT_KEY));
        for (attribute, too_long, limit) in std::iter::once(partition).chain(sort) {
            let Some(value) = item.get(&attribute.name) else { return Some((attribute, Fault::Missing)) };
            if value.type_name() != attribute.kind.name() {
                return Some((attribute, Fault::Type(value.type_name())));
            }
            match value {
                Value::S(text) if text.is_empty() => return Some((attribute, Fault::Empty("string"))),
                Value::B(bytes) if bytes.is_empty() => return Some((attribute, Fault::Empty("binary"))),
                Value::S(_) | Value::B(_) if value.size() > limit => return Some((attribute, too_long)),
                _ => {}
            }
        }
        None
    }

    /// The place of an item that has these key attributes.
    pub fn encode(&self, item: &Item) -> Option<EncodedKey> {
        if self.fault(item).is_some() {
            return None;
        }
        let partition = encode_partition(item.get(&self.partition.name)?);
        let sort = match &self.sort {
            Some(sort) => encode_sort(item.get(&sort.name)?),
            None => Bytes::new(),
        };
        Some(EncodedKey { partition, sort })
    }

    /// The place of the item with exactly this key.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn encode_key(&self, key: &Item) -> Result<EncodedKey, DynamoError> {
        let mismatch = || DynamoError::validation("The provided key element does not match the schema");
        if key.len() != self.attributes().count() {
            return Err(mismatch());
        }
        match self.fault(key) {
            Some((_, Fault::Missing | Fault::Type(_))) => Err(mismatch()),
            Some((attribute, fault)) => Err(describe(attribute, fault)),
            None => self.encode(key).ok_or_else(mismatch),
        }
    }

    /// The place of a whole item.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn encode_item(&self, item: &Item) -> Result<EncodedKey, DynamoError> {
        match self.fault(item) {
            Some((attribute, fault)) => Err(describe(attribute, fault)),
            None => self.encode(item).ok_or_else(|| DynamoError::corrupt("a checked key has no place")),
        }
    }

    /// Whether an item may have these values in the keys of an index: it need not have them at all.
    ///
    /// # Errors
    /// `ValidationException` in AWS's words.
    pub fn check_index_key(&self, index: &str, item: &Item) -> Result<(), DynamoError> {
        for attribute in self.attributes() {
            let Some(value) = item.get(&attribute.name) else { continue };
            let (name, expected, actual) = (&attribute.name, attribute.kind.name(), value.type_name());
            if actual != expected {
                return Err(DynamoError::parameter(format_args!(
                    "Type mismatch for Index Key {name} Expected: {expected} Actual: {actual} IndexName: {index}"
                )));
            }
            let empty = match value {
                Value::S(text) if text.is_empty() => Some("string"),
                Value::B(bytes) if bytes.is_empty() => Some("binary"),
                _ => None,
            };
            if let Some(what) = empty {
                return Err(DynamoError::validation(format!(
                    "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty {what} value. IndexName: {index}, IndexKey: {name}"
                )));
            }
        }
        match self.fault(item) {
            Some((attribute, fault @ (Fault::PartitionTooLong | Fault::SortTooLong))) => {
                Err(describe(attribute, fault))
            }
            _ => Ok(()),
        }
    }
}

fn describe(attribute: &KeyAttribute, fault: Fault) -> DynamoError {
    let name = &attribute.name;
    match fault {
        Fault::Missing => DynamoError::parameter(format_args!("Missing the key {name} in the item")),
        Fault::Type(actual) => DynamoError::parameter(format_args!(
            "Type mismatch for key {name} expected: {} actual: {actual}",
            attribute.kind.name()
        )),
        Fault::Empty(what) => DynamoError::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}"
        )),
        Fault::PartitionTooLong => DynamoError::parameter(format_args!(
            "Size of hashkey has exceeded the maximum size limit of{MAX_PARTITION_KEY} bytes"
        )),
        Fault::SortTooLong => DynamoError::parameter(format_args!(
            "Aggregated size of all range keys has exceeded the size limit of {MAX_SORT_KEY} bytes"
        )),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::value::tests::{item, n, s};
    use proptest::prelude::*;

    pub fn schema(partition: &str, sort: Option<(&str, ScalarKind)>) -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute { name: name.to_owned(), kind };
        KeySchema {
            partition: attribute(partition, ScalarKind::S),
            sort: sort.map(|(name, kind)| attribute(name, kind)),
        }
    }

    #[test]
    fn faulty_keys_are_refused_in_awss_words() {
        let schema = schema("pk", Some(("sk", ScalarKind::N)));
        let mismatch = "The provided key element does not match the schema";
        let long = "x".repeat(2_049);
        let cases = [
            (item(&[("pk", s("a"))]), mismatch),
            (item(&[("pk", s("a")), ("sk", s("1"))]), mismatch),
            (item(&[("pk", s("a")), ("sk", n("1")), ("x", n("1"))]), mismatch),
            (item(&[("pk", s("a")), ("zz", n("1"))]), mismatch),
            (
                item(&[("pk", s("")), ("sk", n("1"))]),
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk",
            ),
            (
                item(&[("pk", s(&long)), ("sk", n("1"))]),
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(schema.encode_key(&key).expect_err(expected).to_string(), expected);
        }
        let missing = schema.encode_item(&item(&[("pk", s("a"))])).expect_err("missing").to_string();
        assert_eq!(missing, "One or more parameter values were invalid: Missing the key sk in the item");
    }

    proptest! {
        #[test]
        fn sort_keys_of_a_partition_are_in_their_order(a in ".{1,8}", b in ".{1,8}", x in -999i64..999, y in -999i64..999) {
            let text = |v: &str| encode_sort(&s(v));
            prop_assert_eq!(text(&a).cmp(&text(&b)), a.as_bytes().cmp(b.as_bytes()));
            let number = |v: i64| encode_sort(&n(&v.to_string()));
            prop_assert_eq!(number(x).cmp(&number(y)), x.cmp(&y));
        }
    }
}
