//! One change of one item: its condition, the entries of indexes, the records of the stream and of point-in-time recovery, the
//! row of its expiry, and the same in every replica of a global table. All of it goes into one commit.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use pileus_core::Timestamp;
use pileus_store::due::NewJob;
use pileus_store::{Space, Txn};

use crate::capacity::{Consumed, write_units};
use crate::error::DynamoError;
use crate::expression::condition::Condition;
use crate::expression::update::Update;
use crate::global;
use crate::item::collection::{self, Growth};
use crate::keys::{self, EXPIRIES};
use crate::state::Dynamo;
use crate::stream::{self, order::Ticket};
use crate::table::schema::EncodedKey;
use crate::table::{Index, Table};
use crate::value::{Item, MAX_ITEM, check_depth, decode_item, encode_item, item_number, item_size};

/// Who causes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Caller,
    /// The item's time to live ran out.
    Expiry,
    /// Another replica of a global table has changed.
    Replica,
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
    /// What an update made.
    pub new: Option<Item>,
    /// Bytes of the item that there is now.
    pub size: usize,
    pub consumed: Consumed,
}

/// The moment and the numbers of one run of a transaction.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub dynamo: &'a Dynamo,
    pub now: Timestamp,
    pub ticket: &'a Ticket<'a>,
    pub origin: Origin,
    /// Other nodes write to the store too.
    pub is_shared: bool,
}

/// An item before and after a change, each with its stored form.
#[derive(Default)]
pub struct Sides<'a> {
    pub old: Option<(&'a Item, &'a Bytes)>,
    pub new: Option<(&'a Item, &'a Bytes)>,
}

impl Sides<'_> {
    /// Whether anything is different afterwards.
    pub fn differ(&self) -> bool {
        self.old.map(|(item, _)| item) != self.new.map(|(item, _)| item)
    }
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
    let before = txn.get(Space::Items, &row).await?;
    let old = before.as_ref().map(|bytes| decode_item(bytes)).transpose()?;
    if let Some(condition) = &change.condition {
        let nothing = Item::new();
        if !condition.holds(old.as_ref().unwrap_or(&nothing)) {
            let item = old.filter(|_| change.shows_item).map(Box::new);
            return Err(DynamoError::ConditionalCheckFailed { item });
        }
    }
    let made = match &change.action {
        Action::Check => {
            return Ok(Applied { consumed: checked(old.as_ref()), old, ..Applied::default() });
        }
        Action::Update(update) => Some(updated(table, update, old.as_ref(), &change.key_item)?),
        Action::Put(_) | Action::Delete => None,
    };
    let new = match &change.action {
        Action::Put(item) => Some(item),
        _ => made.as_ref(),
    };
    let floor = before.as_ref().map_or(0, |bytes| item_number(bytes));
    let has_changed = old.as_ref() != new;
    let number = match table.record.keeps_changes() {
        true if has_changed => {
            let mark = match run.is_shared {
                true => run.dynamo.watermarks.floor(txn, change.generation).await? + spread(&change.key),
                false => 0,
            };
            Some(run.ticket.draw(run.now, floor.max(mark)))
        }
        true => Some(floor),
        false => None,
    };
    let after = new.map(|item| encode_item(item, number));
    let sides = Sides { old: old.as_ref().zip(before.as_ref()), new: new.zip(after.as_ref()) };
    let consumed = write(txn, run, table, &change.key, row, &sides, number).await?;
    if !table.record.replicas.is_empty() {
        global::replicate(txn, run, table, &change.key, sides.new, number).await?;
    }
    let size = new.map_or(0, item_size);
    Ok(Applied { new: made, size, consumed, old })
}

/// How far above the watermark the number of an item's record is drawn, at least, in nanoseconds: nodes whose clocks are behind
/// all draw just above it, and would mostly draw the same.
fn spread(key: &EncodedKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() & 0xffff
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

/// Writes the item, its entries, its records and its expiry. Returns the units that this takes: of the larger of both items,
/// and of each index whose entry changes.
///
/// `number`: of the records, for a table that keeps changes.
///
/// Source: Developer Guide, "Using Global Secondary Indexes in DynamoDB" (write capacity units).
pub async fn write(
    txn: &Txn,
    run: &Run<'_>,
    table: &Table,
    key: &EncodedKey,
    row: Bytes,
    sides: &Sides<'_>,
    number: Option<u64>,
) -> Result<Consumed, DynamoError> {
    let (old, new) = (sides.old.map(|(item, _)| item), sides.new.map(|(item, _)| item));
    match sides.new {
        Some((_, bytes)) => txn.put(Space::Items, row, bytes.clone()),
        None if old.is_some() => txn.delete(Space::Items, row),
        // A transaction that writes nothing need not be committed.
        None => {}
    }
    let size = |item: Option<&Item>| item.map_or(0, item_size);
    let mut consumed = Consumed { table: write_units(size(old).max(size(new))), ..Consumed::default() };
    let mut growth = size(new) as i64 - size(old) as i64;
    for index in &table.record.indexes {
        let before = entry(table, index, key, old);
        let after = entry(table, index, key, new);
        if !index.is_global {
            let of = |entry: &Option<(Bytes, Item)>| size(entry.as_ref().map(|(_, item)| item)) as i64;
            growth += of(&after) - of(&before);
        }
        let units = match (before, after) {
            (Some((gone, before)), Some((row, after))) if gone != row => {
                txn.delete(Space::Index, gone);
                txn.put(Space::Index, row, encode_item(&after, None));
                write_units(item_size(&before)) + write_units(item_size(&after))
            }
            (Some((_, before)), Some((row, after))) if before != after => {
                txn.put(Space::Index, row, encode_item(&after, None));
                write_units(item_size(&before).max(item_size(&after)))
            }
            (None, Some((row, after))) => {
                txn.put(Space::Index, row, encode_item(&after, None));
                write_units(item_size(&after))
            }
            (Some((gone, before)), None) => {
                txn.delete(Space::Index, gone);
                write_units(item_size(&before))
            }
            _ => 0.0,
        };
        consumed.add_index(&index.name, units);
    }
    if table.has_local_indexes() {
        grow(txn, run, (table.record.generation, key.partition), growth).await?;
    }
    if let Some(number) = number.filter(|_| sides.differ()) {
        let change = stream::Change { sides, origin: run.origin, now: run.now };
        if let Some(settings) = &table.record.stream {
            stream::append(
                txn,
                settings.generation,
                settings.view,
                table.schema(),
                &change,
                number,
                run.is_shared,
            )?;
        }
        let recovery = table.record.recovery.as_ref().map(|recovery| &recovery.generation);
        for generation in recovery.into_iter().chain(&table.record.recordings) {
            let view = stream::View::NewAndOldImages;
            stream::append(txn, *generation, view, table.schema(), &change, number, run.is_shared)?;
        }
    }
    write_expiry(txn, table, key, old, new).await?;
    Ok(consumed)
}

/// Lets an item collection grow, or shrink, once the transaction is committed.
///
/// # Errors
/// `ItemCollectionSizeLimitExceededException`
async fn grow(txn: &Txn, run: &Run<'_>, place: collection::Place, bytes: i64) -> Result<(), DynamoError> {
    let present = run.dynamo.collections.size(&txn.untracked(), place).await?;
    let mut grown = run.ticket.grown();
    let own: i64 = grown.iter().filter(|one| one.place == place).map(|one| one.bytes).sum();
    if bytes > 0 && present.saturating_add_signed(own.saturating_add(bytes)) > collection::MAX_BYTES {
        return Err(collection::too_large());
    }
    if bytes != 0 {
        grown.push(Growth { place, bytes });
    }
    Ok(())
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
    let payload = encode_item(&table.schema().pick(item), None);
    let due = Timestamp::from_secs(seconds);
    let job = NewJob { kind: EXPIRE, id: &id, due, destination: arn.as_str(), payload: &payload };
    Ok(EXPIRIES.add(txn, &job)?)
}
