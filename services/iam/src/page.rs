//! `Marker` and `MaxItems`.
//!
//! A marker is opaque to callers: which list it belongs to and the key that the page ended with. A list that changes between two
//! pages neither repeats nor skips what stays in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_core::AccountId;
use pileus_store::{KeyRange, Reader, Stored, Table};

use crate::error::IamError;

/// What a caller asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    scope: &'static str,
    limit: usize,
    /// The key that the page before ended with.
    after: Option<String>,
}

const DEFAULT_ITEMS: i64 = 100;
const MAX_ITEMS: i64 = 1_000;

impl Page {
    /// # Arguments
    /// `scope` names the list, so that a marker of another one is refused.
    ///
    /// # Errors
    /// `ValidationError` for a marker that this list did not give out.
    pub fn new(scope: &'static str, marker: Option<&str>, max_items: Option<i64>) -> Result<Page, IamError> {
        let limit = max_items.unwrap_or(DEFAULT_ITEMS).clamp(1, MAX_ITEMS) as usize;
        let after = marker.map(|marker| decode(scope, marker)).transpose()?;
        Ok(Page { scope, limit, after })
    }

    fn marker(&self, last: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}\n{last}", self.scope))
    }

    /// The page of a list that is at hand, in the order of its keys.
    pub fn cut<T>(&self, items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> String) -> Cut<T> {
        let mut keyed: Vec<(String, T)> = items.into_iter().map(|item| (key(&item), item)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(after) = &self.after {
            keyed.retain(|(key, _)| key > after);
        }
        self.truncate(keyed)
    }

    /// `keyed` holds everything after the last page, or at least one item more than the limit.
    fn truncate<T>(&self, mut keyed: Vec<(String, T)>) -> Cut<T> {
        let is_truncated = keyed.len() > self.limit;
        keyed.truncate(self.limit);
        let marker = keyed.last().filter(|_| is_truncated).map(|(last, _)| self.marker(last));
        Cut { items: keyed.into_iter().map(|(_, item)| item).collect(), is_truncated, marker }
    }

    /// The page of an account's rows in the order of their names, of those that `keep` wants.
    pub async fn scan<V: Stored>(
        &self,
        reader: &impl Reader,
        table: Table<(AccountId, String), V>,
        account: AccountId,
        keep: impl Fn(&V) -> bool,
    ) -> Result<Cut<V>, IamError> {
        let mut range = table.under(&(account,));
        if let Some(after) = &self.after {
            range = range.after(&table.key(&(account, after.clone())));
        }
        let mut kept = Vec::new();
        loop {
            let rows = table.scan(reader, &range, self.limit + 1).await?;
            let last = rows.rows.last().map(|(key, _)| table.key(key));
            kept.extend(
                rows.rows.into_iter().filter(|(_, row)| keep(row)).map(|((_, name), row)| (name, row)),
            );
            match last {
                Some(last) if rows.more && kept.len() <= self.limit => range = range.after(&last),
                _ => return Ok(self.truncate(kept)),
            }
        }
    }
}

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut<T> {
    pub items: Vec<T>,
    pub is_truncated: bool,
    pub marker: Option<String>,
}

fn decode(scope: &str, marker: &str) -> Result<String, IamError> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.as_deref().and_then(|text| text.split_once('\n')).filter(|(list, _)| *list == scope);
    let invalid = || IamError::ValidationError("Invalid Marker.".to_owned());
    last.map(|(_, last)| last.to_owned()).ok_or_else(invalid)
}

/// Every row of a range that a quota keeps small.
pub async fn all<K: pileus_store::Key, V: Stored>(
    reader: &impl Reader,
    table: Table<K, V>,
    mut range: KeyRange,
) -> Result<Vec<(K, V)>, IamError> {
    let mut found = Vec::new();
    loop {
        let rows = table.scan(reader, &range, 1_000).await?;
        let last = rows.rows.last().map(|(key, _)| table.key(key));
        found.extend(rows.rows);
        match last {
            Some(last) if rows.more => range = range.after(&last),
            _ => return Ok(found),
        }
    }
}

/// Whether a range holds nothing.
pub async fn is_empty<K: pileus_store::Key, V: Stored>(
    reader: &impl Reader,
    table: Table<K, V>,
    range: KeyRange,
) -> Result<bool, IamError> {
    Ok(table.scan(reader, &range, 1).await?.rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_together_are_the_whole_list(names: std::collections::BTreeSet<String>, size in 1i64..5) {
            let mut marker: Option<String> = None;
            let mut seen = Vec::new();
            loop {
                let page = Page::new("t", marker.as_deref(), Some(size)).unwrap();
                let cut = page.cut(names.iter().cloned(), |name| name.clone());
                prop_assert!(cut.items.len() <= size as usize);
                prop_assert_eq!(cut.marker.is_some(), cut.is_truncated);
                seen.extend(cut.items);
                marker = cut.marker;
                if marker.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_marker_of_another_list_is_refused() {
        let marker = Page::new("users", None, None).unwrap().marker("ann");
        assert_eq!(Page::new("users", Some(&marker), None).unwrap().after.as_deref(), Some("ann"));
        for bad in [("roles", marker.as_str()), ("users", "invalid"), ("users", "")] {
            let error = Page::new(bad.0, Some(bad.1), None).unwrap_err();
            assert_eq!(error.to_string(), "Invalid Marker.");
        }
    }
}
