//! Reading a range of a table or an index, page by page.

use pileus_platform::Cx;
use pileus_store::{KeyRange, Space};

use crate::capacity::{Consistency, Consumed};
use crate::error::DynamoError;
use crate::expression::condition::Condition;
use crate::keys;
use crate::table::{Index, Table};
use crate::value::{Item, decode_item, item_size};

/// Bytes of items that one request looks at.
const MAX_BYTES: usize = 1 << 20;
const FIRST_PAGE: usize = 128;
const LATER_PAGE: usize = 256;

/// What to read.
pub struct Reading<'a> {
    pub table: &'a Table,
    pub index: Option<&'a Index>,
    pub range: KeyRange,
    pub is_backward: bool,
    /// Items to look at, whether they pass the filter or not.
    pub limit: Option<usize>,
    pub filter: Option<&'a Condition>,
    pub consistency: Consistency,
    /// The answer needs attributes that the index does not keep.
    pub fetches: bool,
}

/// What was read.
#[derive(Default)]
pub struct Page {
    /// Those that passed the filter.
    pub items: Vec<Item>,
    pub scanned: usize,
    /// The key of the last item looked at, if there may be more.
    pub last: Option<Item>,
    pub consumed: Consumed,
}

impl Reading<'_> {
    /// # Errors
    /// Of the store.
    pub async fn run(mut self, cx: &Cx) -> Result<Page, DynamoError> {
        let place = self.index.map_or_else(|| self.table.place(), Index::place);
        let (mut page, mut bytes, mut fetched) = (Page::default(), 0, Vec::new());
        let mut want = FIRST_PAGE;
        if self.range.is_empty() {
            return Ok(self.finish(page, 0, &fetched));
        }
        loop {
            let left = self.limit.map_or(usize::MAX, |limit| limit - page.scanned);
            let count = want.min(left);
            let stored = match self.is_backward {
                true => cx.store().scan_backward(place.space(), &self.range, count).await?,
                false => cx.store().scan(place.space(), &self.range, count).await?,
            };
            want = LATER_PAGE;
            let last = stored.entries.last().map(|entry| entry.key.clone());
            for entry in stored.entries {
                let mut item = decode_item(&entry.value)?;
                bytes += item_size(&item);
                page.scanned += 1;
                let is_last = bytes > MAX_BYTES || self.limit == Some(page.scanned);
                if is_last {
                    page.last = Some(self.key_of(&item));
                }
                if self.fetches {
                    item = self.fetch(cx, &item, &mut fetched).await?;
                }
                if self.filter.is_none_or(|filter| filter.holds(&item)) {
                    page.items.push(item);
                }
                if is_last {
                    return Ok(self.finish(page, bytes, &fetched));
                }
            }
            match last {
                Some(last) if stored.more => {
                    self.range = match self.is_backward {
                        true => self.range.before(&last),
                        false => self.range.after(&last),
                    };
                }
                _ => return Ok(self.finish(page, bytes, &fetched)),
            }
        }
    }

    /// The keys of the index and of the table: where to go on.
    fn key_of(&self, item: &Item) -> Item {
        let mut key = self.table.schema().pick(item);
        if let Some(index) = self.index {
            key.extend(index.schema.pick(item));
        }
        key
    }

    /// The whole item behind an entry of a local index.
    async fn fetch(&self, cx: &Cx, entry: &Item, fetched: &mut Vec<usize>) -> Result<Item, DynamoError> {
        let damaged = || DynamoError::corrupt("an index entry has no key");
        let key = self.table.schema().encode(entry).ok_or_else(damaged)?;
        let row = keys::item(self.table.record.generation, &key);
        let item = match cx.store().get(Space::Items, &row).await? {
            Some(bytes) => decode_item(&bytes)?,
            None => entry.clone(),
        };
        fetched.push(item_size(&item));
        Ok(item)
    }

    fn finish(&self, mut page: Page, bytes: usize, fetched: &[usize]) -> Page {
        let units = if bytes == 0 && page.scanned == 0 {
            // Looking in vain costs as little as it can.
            self.consistency.units(0)
        } else {
            self.consistency.units(bytes)
        };
        match self.index {
            Some(index) => {
                page.consumed.add_index(&index.name, units);
                page.consumed.table = fetched.iter().map(|bytes| self.consistency.units(*bytes)).sum();
            }
            None => page.consumed.table = units,
        }
        page
    }
}
