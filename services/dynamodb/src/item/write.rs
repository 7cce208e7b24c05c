//! One change of one item: its condition, the entries of indexes, the record of the stream, the row of its expiry. All of it
//! goes into one commit.

use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_store::due::NewJob;
use pileus_store::{Space, Txn};

use crate::capacity::{Consumed, write_units};
use crate::error::DynamoError;
use crate::expression::condition::Condition;
use crate::expression::update::Update;
use crate::keys::{self, EXPIRIES};
use crate::stream::{self, order::Ticket};
use crate::table::schema::EncodedKey;
use crate::table::{Index, Table};
use crate::value::{Item, MAX_ITEM, check_depth, decode_item, encode_item, item_size};

/// Who causes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Caller,
    /// The item's time to live ran out.
    Expiry,
}

#[derive(Debug, Clone)]
pub enum Action {
    Put(Item),
    Update(Update),
    Delete,
    /// Only the condition matters.
    Check,
}

/// A change that a request asks for.
#[derive(Debug, Clone)]
pub struct Change {
    /// The generation of the table for which the key was encoded.
    pub generation: u64,
    pub key: EncodedKey,
    /// The key's attributes.
    pub key_item: Item,
    pub condition: Option<Condition>,
    pub action: Action,
    /// The answer to a failed condition shows the item.
    pub shows_item: bool,
}

/// What a change did.
#[derive(Debug, Default)]
pub struct Applied {
    pub old: Option<Item>,
    pub new: Option<Item>,
    pub consumed: Consumed,
}

/// The moment and the numbers of one run of a transaction.
pub struct Run<'a> {
    pub now: Timestamp,
    pub ticket: &'a Ticket<'a>,
    pub origin: Origin,
}

/// # Errors
/// `ValidationException` for an item that is too large.
pub fn check_size(item: &Item) -> Result<(), DynamoError> {
    if item_size(item) > MAX_ITEM {
        return Err(DynamoError::validation("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}

/// # Errors
/// `ValidationException` for values that no key of an index may have.
pub fn check_index_keys(table: &Table, item: &Item) -> Result<(), DynamoError> {
    table.record.indexes.iter().try_for_each(|index| index.schema.check_index_key(&index.name, item))
}

/// Makes the change in the transaction.
///
/// # Errors
/// `ConditionalCheckFailedException`; `ValidationException` for an update that cannot be; those of the store.
pub async fn apply(txn: &Txn, run: &Run<'_>, table: &Table, change: &Change) -> Result<Applied, DynamoError> {
    if table.record.generation != change.generation {
        // The table was deleted and made again meanwhile.
        return Err(DynamoError::no_resource());
    }
    let row = keys::item(change.generation, &change.key);
    let old = txn.get(Space::Items, &row).await?.map(|bytes| decode_item(&bytes)).transpose()?;
    if let Some(condition) = &change.condition {
        let nothing = Item::new();
        if !condition.holds(old.as_ref().unwrap_or(&nothing)) {
            let item = old.filter(|_| change.shows_item).map(Box::new);
            return Err(DynamoError::ConditionalCheckFailed { item });
        }
    }
    let new = match &change.action {
        Action::Put(item) => Some(item.clone()),
        Action::Delete => None,
        Action::Check => return Ok(Applied { consumed: checked(old.as_ref()), new: None, old }),
        Action::Update(update) => Some(updated(table, update, old.as_ref(), &change.key_item)?),
    };
    write(txn, run, table, &change.key, row, old.as_ref(), new.as_ref()).await?;
    let consumed = consumed(table, old.as_ref(), new.as_ref());
    Ok(Applied { old, new, consumed })
}

fn checked(old: Option<&Item>) -> Consumed {
    Consumed { table: write_units(old.map_or(0, item_size)), ..Consumed::default() }
}

fn updated(table: &Table, update: &Update, old: Option<&Item>, key: &Item) -> Result<Item, DynamoError> {
    let new = update.apply(old.unwrap_or(key))?;
    check_depth(&new)?;
    if item_size(&new) > MAX_ITEM {
        return Err(DynamoError::validation("Item size to update has exceeded the maximum allowed size"));
    }
    check_index_keys(table, &new)?;
    Ok(new)
}

/// Writes the item, its entries, its record and its expiry.
async fn write(
    txn: &Txn,
    run: &Run<'_>,
    table: &Table,
    key: &EncodedKey,
    row: Bytes,
    old: Option<&Item>,
    new: Option<&Item>,
) -> Result<(), DynamoError> {
    match new {
        Some(item) => txn.put(Space::Items, row, encode_item(item)),
        None if old.is_some() => txn.delete(Space::Items, row),
        // A transaction that writes nothing need not be committed.
        None => {}
    }
    for index in &table.record.indexes {
        let before = entry(table, index, key, old);
        let after = entry(table, index, key, new);
        match (before, after) {
            (Some((gone, _)), Some((row, item))) if gone != row => {
                txn.delete(Space::Index, gone);
                txn.put(Space::Index, row, encode_item(&item));
            }
            (Some((_, before)), Some((row, after))) => {
                if before != after {
                    txn.put(Space::Index, row, encode_item(&after));
                }
            }
            (None, Some((row, item))) => txn.put(Space::Index, row, encode_item(&item)),
            (Some((gone, _)), None) => txn.delete(Space::Index, gone),
            (None, None) => {}
        }
    }
    if let Some(settings) = &table.record.stream {
        let change = stream::Change { old, new, origin: run.origin, now: run.now };
        stream::append(txn, settings, table.schema(), &change, || run.ticket.draw(run.now))?;
    }
    write_expiry(txn, table, key, old, new).await
}

/// The entry that an item has in an index, if it has one.
pub fn entry(table: &Table, index: &Index, key: &EncodedKey, item: Option<&Item>) -> Option<(Bytes, Item)> {
    let projected = index.project(table.schema(), item?)?;
    let encoded = index.schema.encode(&projected)?;
    let sort = index.schema.sort.as_ref().map(|sort| sort.kind);
    Some((keys::entry(index.generation, &encoded, sort, key), projected))
}

pub const EXPIRE: &str = "expire";

/// Names the row of an item's expiry.
pub fn expiry_id(generation: u64, key: &EncodedKey) -> String {
    format!("{generation:016x}{}", hex::encode(key.digest()))
}

async fn write_expiry(
    txn: &Txn,
    table: &Table,
    key: &EncodedKey,
    old: Option<&Item>,
    new: Option<&Item>,
) -> Result<(), DynamoError> {
    let before = old.and_then(|item| table.expiry(item));
    let after = new.and_then(|item| table.expiry(item));
    if before == after {
        return Ok(());
    }
    if let Some(seconds) = before {
        let id = expiry_id(table.record.generation, key);
        EXPIRIES.remove(txn, EXPIRE, &id, Timestamp::from_secs(seconds)).await?;
    }
    match new.zip(after) {
        Some((item, seconds)) => add_expiry(txn, table, key, item, seconds),
        None => Ok(()),
    }
}

/// Has the item looked at when its time runs out.
pub fn add_expiry(
    txn: &Txn,
    table: &Table,
    key: &EncodedKey,
    item: &Item,
    seconds: i64,
) -> Result<(), DynamoError> {
    let id = expiry_id(table.record.generation, key);
    let arn = table.address.arn();
    let payload = encode_item(&table.schema().pick(item));
    let due = Timestamp::from_secs(seconds);
    let job = NewJob { kind: EXPIRE, id: &id, due, destination: arn.as_str(), payload: &payload };
    Ok(EXPIRIES.add(txn, &job)?)
}

/// Units of a write: of the larger of both items, and of each index whose entry changes.
///
/// Source: Developer Guide, "Using Global Secondary Indexes in DynamoDB" (write capacity units).
fn consumed(table: &Table, old: Option<&Item>, new: Option<&Item>) -> Consumed {
    let size = |item: Option<&Item>| item.map_or(0, item_size);
    let mut consumed = Consumed { table: write_units(size(old).max(size(new))), ..Consumed::default() };
    for index in &table.record.indexes {
        let project = |item: Option<&Item>| item.and_then(|item| index.project(table.schema(), item));
        let units = match (project(old), project(new)) {
            (None, None) => 0.0,
            (Some(one), None) | (None, Some(one)) => write_units(item_size(&one)),
            (Some(before), Some(after)) if index.schema.pick(&before) != index.schema.pick(&after) => {
                write_units(item_size(&before)) + write_units(item_size(&after))
            }
            (Some(before), Some(after)) if before != after => {
                write_units(item_size(&before).max(item_size(&after)))
            }
            _ => 0.0,
        };
        consumed.add_index(&index.name, units);
    }
    consumed
}
