//! Up to which number the records of a table are complete, where several nodes write to one store.
//!
//! A node cannot know what another one is about to commit. So a reader that wants to go further first raises the table's
//! watermark, a row that every writer's transaction has read and above which it draws its numbers: what commits afterwards
//! conflicts, runs again, and lies above. The row is written only when there is something new to read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pileus_store::{Reader as _, Space, Store, Stored, Txn, Version, table as rows};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::WATERMARKS;

/// A watermark as it is stored.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Watermark {
    pub number: u64,
}

impl Stored for Watermark {}

/// Watermarks that a node remembers before it forgets all.
const MAX_KNOWN: usize = 10_000;

/// The watermarks of tables as this node saw them last, by the tables' generations.
#[derive(Debug, Default)]
pub struct Watermarks(Mutex<HashMap<u64, (Version, u64)>>);

impl Watermarks {
    /// The watermark above which a transaction draws its numbers.
    ///
    /// # Errors
    /// Of the store.
    pub async fn floor(&self, txn: &Txn, table: u64) -> Result<u64, DynamoError> {
        let key = WATERMARKS.key(&table);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&table).copied();
        if let Some((version, number)) = known
            && txn.assume(Space::Meta, &key, version)
        {
            return Ok(number);
        }
        let Some((bytes, version)) = txn.read_row(Space::Meta, &key).await? else { return Ok(0) };
        let Watermark { number } = rows::decode(&bytes)?;
        if version != 0 {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_KNOWN {
                all.clear();
            }
            all.insert(table, (version, number));
        }
        Ok(number)
    }
}

/// The watermark as it is.
///
/// # Errors
/// Of the store.
pub async fn get(store: &Store, table: u64) -> Result<u64, DynamoError> {
    Ok(WATERMARKS.get(store, &table).await?.map_or(0, |watermark| watermark.number))
}

/// From now on nothing is committed at or below `number`.
///
/// # Errors
/// Of the store.
pub async fn raise(store: &Store, table: u64, number: u64) -> Result<(), DynamoError> {
    store.transact(|txn| async move { lift(&txn, table, number).await }).await
}

/// As `raise`, with the commit of a transaction.
///
/// # Errors
/// Of the store.
pub async fn lift(txn: &Txn, table: u64, number: u64) -> Result<(), DynamoError> {
    if WATERMARKS.get(txn, &table).await?.is_none_or(|known| known.number < number) {
        WATERMARKS.put(txn, &table, &Watermark { number })?;
    }
    Ok(())
}
