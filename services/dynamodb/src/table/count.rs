//! How many items a table and its indexes have. AWS refreshes these figures every six hours; here a table of up to
//! [`EXACT`] items is counted when it is described, and a larger one at most every six hours.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::Store;

use crate::error::DynamoError;
use crate::keys::Place;
use crate::state::Dynamo;
use crate::table::Table;
use crate::value::{decode_item, item_size};

const EXACT: usize = 10_000;
const PAGE: usize = 500;
const REFRESH: Duration = Duration::from_secs(6 * 3_600);

/// Items and bytes of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub items: u64,
    pub bytes: u64,
}

/// Counts of a table and its indexes by their generations.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    by_generation: HashMap<u64, Count>,
    counted_at: Option<Timestamp>,
}

impl Counts {
    pub fn of(&self, generation: u64) -> Count {
        self.by_generation.get(&generation).copied().unwrap_or_default()
    }
}

/// The figures that a description of the table shows.
///
/// # Errors
/// Of the store.
pub async fn counts(cx: &Cx, table: &Table) -> Result<Counts, DynamoError> {
    let dynamo = cx.state::<Dynamo>();
    let generation = table.record.generation;
    let known = dynamo.counts.lock().unwrap_or_else(PoisonError::into_inner).get(&generation).cloned();
    if let Some(known) = known
        && known.counted_at.is_some_and(|at| cx.now().since(at) < REFRESH)
        && known.of(generation).items > EXACT as u64
        && table.record.indexes.iter().all(|index| known.by_generation.contains_key(&index.generation))
    {
        return Ok(known);
    }
    let mut counts = Counts { counted_at: Some(cx.now()), ..Counts::default() };
    let places = table.record.indexes.iter().map(|index| index.place());
    for place in std::iter::once(table.place()).chain(places) {
        counts.by_generation.insert(place.generation, count(cx.store(), place).await?);
    }
    dynamo.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(generation, counts.clone());
    Ok(counts)
}

async fn count(store: &Store, place: Place) -> Result<Count, DynamoError> {
    let (mut range, mut count) = (place.all(), Count::default());
    loop {
        let page = store.scan(place.space(), &range, PAGE).await?;
        for entry in &page.entries {
            count.items += 1;
            count.bytes += item_size(&decode_item(&entry.value)?) as u64;
        }
        match page.entries.last() {
            Some(last) if page.more => range = range.after(&last.key),
            _ => return Ok(count),
        }
        tokio::task::yield_now().await;
    }
}
