//! Rows in the order of their keys, read ahead a page at a time. A seek drops what was read and goes on behind it, so what a
//! common prefix stands for is stepped over, not read.

use std::collections::VecDeque;

use pileus_platform::store::{KeyRange, Store};
use pileus_store::{Key, StoreError, Stored, Table, table};

/// A cursor over a table.
pub struct Rows<'s, K, V> {
    store: &'s Store,
    table: Table<K, V>,
    range: KeyRange,
    page: VecDeque<(K, bytes::Bytes)>,
    has_more: bool,
    size: usize,
}

impl<'s, K: Key, V: Stored> Rows<'s, K, V> {
    /// `size`: rows of a page.
    pub fn new(store: &'s Store, table: Table<K, V>, range: KeyRange, size: usize) -> Rows<'s, K, V> {
        Rows { store, table, range, page: VecDeque::new(), has_more: true, size: size.max(1) }
    }

    /// The key of the next row.
    pub async fn peek(&mut self) -> Result<Option<&K>, StoreError> {
        while self.page.is_empty() && self.has_more && !self.range.is_empty() {
            let page = self.store.scan(self.table.space(), &self.range, self.size).await?;
            self.has_more = page.more;
            if let Some(last) = page.entries.last() {
                self.range = std::mem::replace(&mut self.range, KeyRange::prefix(bytes::Bytes::new()))
                    .after(&last.key);
            }
            for entry in page.entries {
                self.page.push_back((self.table.read_key(&entry.key)?, entry.value));
            }
        }
        Ok(self.page.front().map(|(key, _)| key))
    }

    /// The next row, which `peek` has found.
    pub fn take(&mut self) -> Result<Option<(K, V)>, StoreError> {
        self.page.pop_front().map(|(key, value)| Ok((key, table::decode(&value)?))).transpose()
    }

    /// Steps over the rows whose keys lie below `to`, which `is_below` tells of those that were read.
    pub fn seek(&mut self, to: bytes::Bytes, is_below: impl Fn(&K) -> bool) {
        while self.page.front().is_some_and(|(key, _)| is_below(key)) {
            self.page.pop_front();
        }
        if self.page.is_empty() && self.has_more && to > self.range.start {
            self.range.start = to;
        }
    }
}

/// The first key behind all that begin with `prefix`.
pub fn behind(prefix: bytes::Bytes) -> bytes::Bytes {
    KeyRange::prefix(prefix).end.unwrap_or_default()
}
