//! Typed tables: a tag in a space, typed keys, versioned values.
//!
//! A stored value is one byte of format version and the value in MessagePack with named fields: compact, self-describing,
//! and tolerant of fields added later (`#[serde(default)]`) or no longer known. A change that this cannot bridge gets a new
//! `VERSION` and an `upgrade` of the old ones, so a reader meets every format that a release has written.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Batch, Direction, Key, KeyBuilder, KeyRange, KeyReader, Reader, Space, StoreError, ToKey, Txn};

/// A value of a table.
pub trait Stored: Serialize + DeserializeOwned {
    /// The format written now.
    const VERSION: u8 = 1;

    /// Reads a value written as an older format. `bytes` is without the version byte.
    fn upgrade(from: u8, bytes: &[u8]) -> Result<Self, StoreError> {
        let _ = bytes;
        let name = std::any::type_name::<Self>();
        Err(StoreError::corrupt(format!(
            "{name} was stored in format {from}, which this release cannot read"
        )))
    }
}

/// Writes a value as tables store it.
pub fn encode<V: Stored>(value: &V) -> Result<Bytes, StoreError> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(V::VERSION);
    rmp_serde::encode::write_named(&mut bytes, value)
        .map_err(|error| StoreError::corrupt(format!("a value cannot be written: {error}")))?;
    Ok(bytes.into())
}

/// Reads a value as tables store it.
pub fn decode<V: Stored>(bytes: &[u8]) -> Result<V, StoreError> {
    match bytes.split_first() {
        Some((version, rest)) if *version == V::VERSION => read_msgpack(rest),
        Some((version, rest)) => V::upgrade(*version, rest),
        None => Err(StoreError::corrupt("a stored value is empty")),
    }
}

/// Reads MessagePack; for `Stored::upgrade`, which first reads the old shape.
pub fn read_msgpack<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, StoreError> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| StoreError::corrupt(format!("{}: {error}", std::any::type_name::<V>())))
}

/// Writes MessagePack with named fields; for a value that stores part of itself so.
pub fn write_msgpack(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| StoreError::corrupt(format!("a value cannot be written: {error}")))
}

/// A table. Const: `const QUEUES: Table<(AccountId, Region, String), Queue> = Table::new(Space::Meta, *b"sq");`
///
/// The two bytes of the tag name the service and its table; no two tables in one space share them.
pub struct Table<K, V> {
    space: Space,
    tag: [u8; 2],
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

/// A page of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<K, V> {
    pub rows: Vec<(K, V)>,
    /// There may be more after the last row: go on with `KeyRange::after(table.key(&last))`.
    pub more: bool,
}

impl<K: Key, V: Stored> Table<K, V> {
    pub const fn new(space: Space, tag: [u8; 2]) -> Table<K, V> {
        Table { space, tag, types: PhantomData }
    }

    pub const fn space(&self) -> Space {
        self.space
    }

    /// The key of a row, or of the first parts of one.
    pub fn key(&self, key: &impl ToKey) -> Bytes {
        self.builder().key(key).build()
    }

    /// Begins a key of this table, for what `Key` cannot say.
    pub fn builder(&self) -> KeyBuilder {
        KeyBuilder::new().raw(&self.tag)
    }

    /// All rows.
    pub fn all(&self) -> KeyRange {
        KeyRange::prefix(self.builder().build())
    }

    /// All rows whose keys begin with these parts.
    pub fn under(&self, parts: &impl ToKey) -> KeyRange {
        KeyRange::prefix(self.key(parts))
    }

    pub async fn get(
        &self,
        reader: &impl Reader,
        key: &impl ToKey<Key = K>,
    ) -> Result<Option<V>, StoreError> {
        let found = reader.read_row(self.space, &self.key(key)).await?;
        found.map(|(bytes, _)| decode(&bytes)).transpose()
    }

    pub fn put(&self, txn: &Txn, key: &impl ToKey<Key = K>, value: &V) -> Result<(), StoreError> {
        txn.put(self.space, self.key(key), encode(value)?);
        Ok(())
    }

    pub fn delete(&self, txn: &Txn, key: &impl ToKey<Key = K>) {
        txn.delete(self.space, self.key(key));
    }

    /// False, and nothing written, if the row exists.
    pub async fn put_if_absent(
        &self,
        txn: &Txn,
        key: &impl ToKey<Key = K>,
        value: &V,
    ) -> Result<bool, StoreError> {
        txn.put_if_absent(self.space, self.key(key), encode(value)?).await
    }

    /// For `Store::write`.
    pub fn put_in(&self, batch: Batch, key: &impl ToKey<Key = K>, value: &V) -> Result<Batch, StoreError> {
        Ok(batch.put(self.space, self.key(key), encode(value)?))
    }

    pub fn delete_in(&self, batch: Batch, key: &impl ToKey<Key = K>) -> Batch {
        batch.delete(self.space, self.key(key))
    }

    /// The first `limit` rows of the range, ascending.
    pub async fn scan(
        &self,
        reader: &impl Reader,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Rows<K, V>, StoreError> {
        self.read(reader, range, limit, Direction::Forward).await
    }

    /// The last `limit` rows of the range, descending.
    pub async fn scan_backward(
        &self,
        reader: &impl Reader,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Rows<K, V>, StoreError> {
        self.read(reader, range, limit, Direction::Backward).await
    }

    async fn read(
        &self,
        reader: &impl Reader,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Rows<K, V>, StoreError> {
        let page = reader.read_page(self.space, range, limit, direction).await?;
        let rows = page.entries.iter().map(|entry| Ok((self.read_key(&entry.key)?, decode(&entry.value)?)));
        Ok(Rows { rows: rows.collect::<Result<_, StoreError>>()?, more: page.more })
    }

    /// The typed key of a stored one.
    pub fn read_key(&self, key: &[u8]) -> Result<K, StoreError> {
        let read = || {
            let mut reader = KeyReader::new(key);
            if reader.fixed::<2>()? != self.tag {
                return Err(crate::KeyError);
            }
            let key = K::decode(&mut reader)?;
            reader.end().map(|()| key)
        };
        read().map_err(|_| StoreError::corrupt(format!("a key of table {:?} has another form", self.tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Queue {
        name: String,
        #[serde(default)]
        delay: Option<u32>,
    }

    impl Stored for Queue {
        const VERSION: u8 = 2;

        fn upgrade(from: u8, bytes: &[u8]) -> Result<Queue, StoreError> {
            match from {
                1 => Ok(Queue { name: read_msgpack::<(String,)>(bytes)?.0, delay: None }),
                other => Err(StoreError::corrupt(format!("format {other}"))),
            }
        }
    }

    const QUEUES: Table<(u64, String), Queue> = Table::new(Space::Meta, *b"tq");

    fn queue(name: &str) -> Queue {
        Queue { name: name.into(), delay: Some(3) }
    }

    #[tokio::test]
    async fn rows_are_written_read_listed_and_removed() {
        let (store, _) = testing::memory().unwrap();
        let done: Result<(), StoreError> = store
            .transact(|txn| async move {
                for (account, name) in [(1u64, "a"), (1, "b"), (2, "c")] {
                    QUEUES.put(&txn, &(account, name), &queue(name))?;
                }
                assert!(!QUEUES.put_if_absent(&txn, &(1u64, "a"), &queue("again")).await?);
                QUEUES.delete(&txn, &(1u64, "b"));
                Ok(())
            })
            .await;
        done.unwrap();
        assert_eq!(QUEUES.get(&store, &(1u64, "a")).await.unwrap(), Some(queue("a")));
        assert_eq!(QUEUES.get(&store, &(1u64, "b")).await.unwrap(), None);
        let of_one = QUEUES.scan(&store, &QUEUES.under(&(1u64,)), 10).await.unwrap();
        assert_eq!(of_one, Rows { rows: vec![((1, "a".into()), queue("a"))], more: false });
        let last = QUEUES.scan_backward(&store, &QUEUES.all(), 1).await.unwrap();
        assert_eq!(last, Rows { rows: vec![((2, "c".into()), queue("c"))], more: true });
    }

    #[test]
    fn older_formats_are_upgraded_and_unknown_ones_and_rubbish_are_errors() {
        #[derive(Serialize)]
        struct Later<'a> {
            added_later: u8,
            name: &'a str,
        }
        let pack = |version: u8, value: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = vec![version];
            value(&mut bytes);
            bytes
        };
        let with_more = pack(2, &|bytes| {
            rmp_serde::encode::write_named(bytes, &Later { added_later: 1, name: "n" }).unwrap();
        });
        let old = pack(1, &|bytes| rmp_serde::encode::write(bytes, &("n",)).unwrap());
        for bytes in [with_more, old] {
            assert_eq!(decode::<Queue>(&bytes).unwrap(), Queue { name: "n".into(), delay: None });
        }
        for bad in [&b""[..], b"\x03\x80", b"\x02", b"\x02\xc1", b"\x02\xdf\xff\xff\xff\xff"] {
            assert!(matches!(decode::<Queue>(bad), Err(StoreError::Corrupt { .. })), "{bad:?}");
        }
    }
}
