//! Every key that DynamoDB writes, and who ranges over it.
//!
//! Items lie under their table's *generation*, entries of an index under the index's, records of a stream under the stream's:
//! numbers drawn when each is made. Deleting one leaves its generation to the sweeper.
//!
//! | Space | Key                                         | Value         | Who ranges over it                            |
//! |-------|---------------------------------------------|---------------|-----------------------------------------------|
//! | meta  | `Dt` account region name                    | `Record`      | `ListTables`                                  |
//! | meta  | `Ds` account region table label             | `StreamRow`   | `ListStreams`; the sweeper                    |
//! | meta  | `Dg` generation                             | `Trash`       | the sweeper                                   |
//! | meta  | `Dw` account region name                    | `Work`        | the back-filler                               |
//! | meta  | `Dk` account region token                   | `Token`       | the sweeper                                   |
//! | meta  | `Db` account region table id                | `BackupRow`   | `ListBackups`                                 |
//! | meta  | `Dc` account region table id                | `Copy`        | the back-filler                               |
//! | meta  | `Dp` account region table id                | `ExportRow`   | `ListExports`                                 |
//! | meta  | `Dm` account region table id                | `ImportRow`   | `ListImports`                                 |
//! | meta  | `Do` account region table id                | `Transfer`    | the worker of exports and imports; the sweeper |
//! | meta  | `Dl` account name                           | `GlobalRow`   | `ListGlobalTables`                            |
//! | meta  | `Dv` generation of a table                  | `Watermark`   | nobody: read by those who write and read records |
//! | meta  | `Dh` generation                             | `History`     | the sweeper                                   |
//! | items | `Di` generation partition sort              | item          | `Query`, `Scan`, back-filling                 |
//! | index | `Dx` generation partition sort item         | projected item | `Query` and `Scan` on an index               |
//! | index | `De` shard due kind id                      | due row       | the runner of expiries                        |
//! | index | `Dz` generation partition                   | bytes of an item collection | nobody: read by its writers     |
//! | log   | `Dr` generation number                      | record        | `GetRecords`; restoring a moment; the sweeper |

use bytes::Bytes;
use pileus_core::{AccountId, Region};
use pileus_store::due::Due;
use pileus_store::{KeyBuilder, KeyRange, Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::backup::BackupRow;
use crate::backup::copy::Copy;
use crate::expression::condition::Comparator;
use crate::expression::key::SortRange;
use crate::global::legacy::GlobalRow;
use crate::item::token::Token;
use crate::stream::StreamRow;
use crate::stream::watermark::Watermark;
use crate::table::Record;
use crate::table::recovery::History;
use crate::table::schema::{EncodedKey, ScalarKind, encode_sort};
use crate::transfer::Transfer;
use crate::transfer::export::ExportRow;
use crate::transfer::import::ImportRow;
use crate::value::Value;

pub type TableKey = (AccountId, Region, String);
/// A backup: its table, and its own id; a copy into a table has no id.
pub type BackupKey = (AccountId, Region, String, String);

/// A stream: its table, and its own label.
pub type StreamKey = (AccountId, Region, String, String);

/// An export or import: its table, and its own id.
pub type TransferKey = (AccountId, Region, String, String);

pub const EXPORTS: Table<TransferKey, ExportRow> = Table::new(Space::Meta, *b"Dp");
pub const IMPORTS: Table<TransferKey, ImportRow> = Table::new(Space::Meta, *b"Dm");
pub const TRANSFERS: Table<TransferKey, Transfer> = Table::new(Space::Meta, *b"Do");
pub const TABLES: Table<TableKey, Record> = Table::new(Space::Meta, *b"Dt");
pub const STREAMS: Table<StreamKey, StreamRow> = Table::new(Space::Meta, *b"Ds");
pub const TRASH: Table<u64, Trash> = Table::new(Space::Meta, *b"Dg");
pub const WORK: Table<TableKey, Work> = Table::new(Space::Meta, *b"Dw");
pub const TOKENS: Table<(AccountId, Region, String), Token> = Table::new(Space::Meta, *b"Dk");
pub const BACKUPS: Table<BackupKey, BackupRow> = Table::new(Space::Meta, *b"Db");
/// Up to which numbers the records of tables are complete, where several nodes share the store.
pub const WATERMARKS: Table<u64, Watermark> = Table::new(Space::Meta, *b"Dv");
/// Global tables of version 2017.11.29.
pub const GLOBALS: Table<(AccountId, String), GlobalRow> = Table::new(Space::Meta, *b"Dl");
/// Records that are kept for point-in-time recovery, by their generation.
pub const HISTORIES: Table<u64, History> = Table::new(Space::Meta, *b"Dh");
pub const COPIES: Table<BackupKey, Copy> = Table::new(Space::Meta, *b"Dc");
/// Items whose time to live runs out.
pub const EXPIRIES: Due = Due::new(Space::Index, *b"De", "dynamodb-expiry");

/// A generation that nobody looks at any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trash {}

impl Stored for Trash {}

/// A table with something to back-fill. The table's own row says what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {}

impl Stored for Work {}

/// Everything that a generation of either kind holds.
pub fn of_generation(generation: u64) -> [(Space, KeyRange); 4] {
    [
        (Space::Items, items(generation)),
        (Space::Index, entries(generation)),
        (Space::Index, KeyRange::prefix(tagged(b"Dz", generation).build())),
        (Space::Log, records(generation)),
    ]
}

fn tagged(tag: &[u8; 2], generation: u64) -> KeyBuilder {
    KeyBuilder::new().raw(tag).u64(generation)
}

/// All items of a table.
pub fn items(generation: u64) -> KeyRange {
    KeyRange::prefix(tagged(b"Di", generation).build())
}

pub fn item(generation: u64, key: &EncodedKey) -> Bytes {
    tagged(b"Di", generation).raw(&key.partition).raw(&key.sort).build()
}

/// All entries of an index.
pub fn entries(generation: u64) -> KeyRange {
    KeyRange::prefix(tagged(b"Dx", generation).build())
}

/// The entry of an item in an index. `has_sort`: whether the index has a sort key, and of what kind.
pub fn entry(generation: u64, key: &EncodedKey, sort: Option<ScalarKind>, item: &EncodedKey) -> Bytes {
    let builder = tagged(b"Dx", generation).raw(&key.partition);
    let builder = match sort {
        Some(ScalarKind::N) => builder.raw(&key.sort),
        Some(_) => builder.bytes(&key.sort),
        None => builder,
    };
    builder.raw(&item.digest()).build()
}

/// The size of an item collection.
pub fn collection(generation: u64, partition: &[u8; 16]) -> Bytes {
    tagged(b"Dz", generation).raw(partition).build()
}

/// All records of a stream.
pub fn records(generation: u64) -> KeyRange {
    KeyRange::prefix(tagged(b"Dr", generation).build())
}

pub fn record(generation: u64, number: u64) -> Bytes {
    tagged(b"Dr", generation).u64(number).build()
}

/// The number at the end of a key of [`record`].
pub fn record_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Where a table's items or an index's entries lie.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub generation: u64,
    pub is_index: bool,
    pub sort: Option<ScalarKind>,
}

impl Place {
    pub fn space(self) -> Space {
        if self.is_index { Space::Index } else { Space::Items }
    }

    pub fn all(self) -> KeyRange {
        if self.is_index { entries(self.generation) } else { items(self.generation) }
    }

    fn partition_prefix(self, partition: &[u8; 16]) -> KeyBuilder {
        let tag = if self.is_index { b"Dx" } else { b"Di" };
        tagged(tag, self.generation).raw(partition)
    }

    /// One of `total` parts of everything, by partition.
    pub fn segment(self, segment: u64, total: u64) -> KeyRange {
        let bound = |number: u64| -> Option<Bytes> {
            let at = (u128::from(number) << 64).div_ceil(u128::from(total.max(1)));
            let at = u64::try_from(at).ok()?;
            let tag = if self.is_index { b"Dx" } else { b"Di" };
            Some(tagged(tag, self.generation).u64(at).build())
        };
        let mut range = self.all();
        if let Some(start) = bound(segment) {
            range = range.starting_at(start);
        }
        if let Some(end) = bound(segment + 1) {
            range = range.before(&end);
        }
        range
    }

    /// The keys of one partition whose sort keys lie in `sort`.
    pub fn range(self, partition: &[u8; 16], sort: &SortRange) -> KeyRange {
        let all = KeyRange::prefix(self.partition_prefix(partition).build());
        let lower = |value: &Value| self.sort_prefix(partition, value);
        let upper = |value: &Value| self.after_sort(partition, value);
        match sort {
            SortRange::All => all,
            SortRange::Compare(Comparator::Equal, value) => {
                all.starting_at(lower(value)).before(&upper(value))
            }
            SortRange::Compare(Comparator::Less, value) => all.before(&lower(value)),
            SortRange::Compare(Comparator::LessOrEqual, value) => all.before(&upper(value)),
            SortRange::Compare(Comparator::Greater, value) => all.starting_at(upper(value)),
            SortRange::Compare(_, value) => all.starting_at(lower(value)),
            SortRange::Between(low, high) => all.starting_at(lower(low)).before(&upper(high)),
            SortRange::BeginsWith(prefix) => {
                let builder = self.partition_prefix(partition);
                let text = encode_sort(prefix);
                let builder = if self.is_index { builder.bytes_prefix(&text) } else { builder.raw(&text) };
                KeyRange::prefix(builder.build())
            }
        }
    }

    /// At or below every key with this sort key.
    fn sort_prefix(self, partition: &[u8; 16], value: &Value) -> Bytes {
        let builder = self.partition_prefix(partition);
        let sort = encode_sort(value);
        match (self.is_index, self.sort) {
            (true, Some(ScalarKind::S | ScalarKind::B)) => builder.bytes(&sort),
            _ => builder.raw(&sort),
        }
        .build()
    }

    /// Above every key with this sort key, and at or below every greater one.
    fn after_sort(self, partition: &[u8; 16], value: &Value) -> Bytes {
        let prefix = self.sort_prefix(partition, value);
        if self.is_index {
            // The entry ends with sixteen bytes of the item's digest.
            KeyBuilder::new().raw(&prefix).raw(&[0xff; 17]).build()
        } else {
            KeyBuilder::new().raw(&prefix).raw(&[0]).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::schema::encode_partition;
    use crate::value::tests::{n, s};
    use proptest::prelude::*;

    fn place(is_index: bool, sort: ScalarKind) -> Place {
        Place { generation: 7, is_index, sort: Some(sort) }
    }

    fn key(is_index: bool, kind: ScalarKind, value: &Value) -> Bytes {
        let key = EncodedKey { partition: encode_partition(&s("p")), sort: encode_sort(value) };
        if is_index { entry(7, &key, Some(kind), &key) } else { item(7, &key) }
    }

    type Test = Box<dyn Fn(&Value) -> bool>;

    fn ranges(a: &Value, b: &Value) -> Vec<(SortRange, Test)> {
        use std::cmp::Ordering::*;
        let (x, low, high) = (a.clone(), a.clone(), b.clone());
        let by = |value: Value, test: fn(std::cmp::Ordering) -> bool| -> Test {
            Box::new(move |other| other.compare(&value).is_some_and(test))
        };
        vec![
            (SortRange::Compare(Comparator::Equal, x.clone()), by(x.clone(), |o| o == Equal)),
            (SortRange::Compare(Comparator::Less, x.clone()), by(x.clone(), |o| o == Less)),
            (SortRange::Compare(Comparator::LessOrEqual, x.clone()), by(x.clone(), |o| o != Greater)),
            (SortRange::Compare(Comparator::Greater, x.clone()), by(x.clone(), |o| o == Greater)),
            (SortRange::Compare(Comparator::GreaterOrEqual, x.clone()), by(x, |o| o != Less)),
            (
                SortRange::Between(low.clone(), high.clone()),
                Box::new(move |v| {
                    v.compare(&low).is_some_and(|o| o != Less)
                        && v.compare(&high).is_some_and(|o| o != Greater)
                }),
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_range_holds_the_sort_keys_that_it_means(a in "[\u{0}-\u{2}a]{1,3}", b in "[\u{0}-\u{2}a]{1,3}", v in "[\u{0}-\u{2}a]{1,3}", index: bool) {
            for (range, expected) in ranges(&s(&a), &s(&b)) {
                let stored = place(index, ScalarKind::S).range(&encode_partition(&s("p")), &range);
                prop_assert_eq!(stored.contains(&key(index, ScalarKind::S, &s(&v))), expected(&s(&v)), "{:?} {:?}", range, v);
            }
            let begins = place(index, ScalarKind::S).range(&encode_partition(&s("p")), &SortRange::BeginsWith(s(&a)));
            prop_assert_eq!(begins.contains(&key(index, ScalarKind::S, &s(&v))), v.starts_with(&a));
        }

        #[test]
        fn a_range_holds_the_numbers_that_it_means(a in -20i64..20, b in -20i64..20, v in -20i64..20, index: bool) {
            let number = |value: i64| n(&value.to_string());
            for (range, expected) in ranges(&number(a), &number(b)) {
                let stored = place(index, ScalarKind::N).range(&encode_partition(&s("p")), &range);
                prop_assert_eq!(stored.contains(&key(index, ScalarKind::N, &number(v))), expected(&number(v)), "{:?} {:?}", range, v);
            }
        }

        #[test]
        fn every_item_lies_in_exactly_one_segment(p in "[a-z]{1,4}", total in 1u64..9) {
            let key = item(7, &EncodedKey { partition: encode_partition(&s(&p)), sort: Bytes::new() });
            let place = Place { generation: 7, is_index: false, sort: None };
            let holding = (0..total).filter(|segment| place.segment(*segment, total).contains(&key)).count();
            prop_assert_eq!(holding, 1);
        }
    }
}
