//! Pages: a position is the last key of the page before.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use pileus_store::{Key, KeyRange, Reader, Stored, Table, ToKey};

use crate::error::GatewayError;

const DEFAULT: i64 = 25;
const MOST: i64 = 500;

/// One page of the rows whose keys begin with `under`, and the position of the next.
///
/// # Errors
/// `BadRequest` for a position or a limit that there cannot be.
pub async fn of<K: Key, V: Stored>(
    reader: &impl Reader,
    table: Table<K, V>,
    under: &impl ToKey,
    position: Option<&str>,
    limit: Option<i64>,
    mut shows: impl FnMut(&V) -> bool,
) -> Result<(Vec<V>, Option<String>), GatewayError> {
    let limit = limit.unwrap_or(DEFAULT);
    if limit < 1 {
        return Err(GatewayError::bad("Invalid limit specified. Limit must be greater than 0."));
    }
    let limit = usize::try_from(limit.min(MOST)).unwrap_or(MOST as usize);
    let mut range: KeyRange = table.under(under);
    if let Some(position) = position {
        let key = BASE64.decode(position).map_err(|_| GatewayError::bad("Invalid position parameter"))?;
        range = range.after(&key);
    }
    let mut found = Vec::new();
    loop {
        let page = table.scan(reader, &range, limit + 1).await?;
        let mut last = None;
        for (key, value) in page.rows {
            if shows(&value) {
                if found.len() == limit {
                    let position = last.map(|key| BASE64.encode(&key));
                    return Ok((found, position));
                }
                found.push(value);
            }
            last = Some(table.key(&key));
        }
        match last {
            Some(last) if page.more => range = range.after(&last),
            _ => return Ok((found, None)),
        }
    }
}

/// All rows whose keys begin with `under`. For what an API has a few hundred of at most.
///
/// # Errors
/// Those of the store.
pub async fn all<K: Key, V: Stored>(
    reader: &impl Reader,
    table: Table<K, V>,
    under: &impl ToKey,
) -> Result<Vec<V>, GatewayError> {
    let mut range = table.under(under);
    let mut found = Vec::new();
    loop {
        let page = table.scan(reader, &range, 500).await?;
        let last = page.rows.last().map(|(key, _)| table.key(key));
        found.extend(page.rows.into_iter().map(|(_, value)| value));
        match last {
            Some(last) if page.more => range = range.after(&last),
            _ => return Ok(found),
        }
    }
}
