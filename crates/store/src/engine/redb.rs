//! The second durable engine: redb, a copy-on-write B-tree in one file. It keeps the trait honest.
//!
//! Quick repair is on: without it, opening after a crash takes time in proportion to the file. After a write that failed it
//! refuses all others until it is opened again.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ::redb::{
    Database, DatabaseError, Durability as Commit, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    StorageError, TableDefinition, TableError,
};
use bytes::Bytes;
use pileus_core::Clock;

use super::dir::{Current, DataDir};
use super::{DiskOptions, Engine, EngineError, SyncRead, read_page};
use crate::committer::{Changes, join_version, split_version};
use crate::embedded::Embedded;
use crate::{Direction, Durability, Entry, Found, KeyRange, Kv, Page, Space, StoreError};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Opens or creates a store in a directory.
///
/// # Errors
/// `Locked`, `Unusable`, `Unavailable`.
pub fn open(path: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Arc<dyn Kv>, StoreError> {
    let dir = DataDir::open(path, Redb::NAME)?;
    let database = open_database(&dir, options).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error)) => {
            StoreError::unavailable(format!("{}: {error}", path.display()))
        }
        other => StoreError::Unusable { path: path.to_owned(), reason: other.to_string() },
    })?;
    let redb = Redb { current: Current::new(database), dir, options };
    Ok(Arc::new(Embedded::start(redb, clock)?))
}

struct Redb {
    current: Current<Database>,
    dir: DataDir,
    options: DiskOptions,
}

fn open_database(dir: &DataDir, options: DiskOptions) -> Result<Database, DatabaseError> {
    let cache = usize::try_from(options.cache_bytes).unwrap_or(usize::MAX);
    Database::builder().set_cache_size(cache).create(dir.path().join("store.redb"))
}

const fn table(space: Space) -> Definition {
    TableDefinition::new(space.name())
}

fn failed(error: impl Into<::redb::Error>) -> EngineError {
    match error.into() {
        ::redb::Error::PreviousIo => EngineError::unavailable("a write failed before"),
        ::redb::Error::Corrupted(detail) => EngineError::Corrupt(detail),
        other => EngineError::unavailable(other),
    }
}

struct Snapshot {
    transaction: ReadTransaction,
    tables: [OnceLock<Option<Table>>; Space::ALL.len()],
    /// The database is not replaced while this looks at it.
    _database: Arc<Database>,
}

impl Snapshot {
    fn new(database: Arc<Database>) -> Result<Snapshot, EngineError> {
        let transaction = database.begin_read().map_err(failed)?;
        Ok(Snapshot { transaction, tables: Default::default(), _database: database })
    }

    /// None until the space is first written.
    fn table(&self, space: Space) -> Result<Option<&Table>, EngineError> {
        let slot = &self.tables[space as usize];
        if let Some(table) = slot.get() {
            return Ok(table.as_ref());
        }
        let opened = match self.transaction.open_table(table(space)) {
            Ok(table) => Some(table),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(slot.get_or_init(|| opened).as_ref())
    }
}

impl SyncRead for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        let Some(table) = self.table(space)? else { return Ok(None) };
        match table.get(key).map_err(failed)? {
            Some(stored) => split_version(Bytes::copy_from_slice(stored.value())).map(Some),
            None => Ok(None),
        }
    }

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, EngineError> {
        let Some(table) = self.table(space)?.filter(|_| !range.is_empty()) else {
            return Ok(Page::default());
        };
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds = (Bound::Included(&*range.start), end);
        let rows = table.range::<&[u8]>(bounds).map_err(failed)?;
        read_page(rows, limit, direction, |row| Some(read_entry(row)))
    }
}

type Guard = ::redb::AccessGuard<'static, &'static [u8]>;

fn read_entry(entry: Result<(Guard, Guard), StorageError>) -> Result<Entry, EngineError> {
    let (key, stored) = entry.map_err(failed)?;
    let (value, version) = split_version(Bytes::copy_from_slice(stored.value()))?;
    Ok(Entry { key: Bytes::copy_from_slice(key.value()), value, version })
}

impl SyncRead for Redb {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        self.snapshot()?.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Page, EngineError> {
        self.snapshot()?.scan(space, range, limit, direction)
    }
}

impl Engine for Redb {
    const NAME: &'static str = "redb";
    type Snapshot = Snapshot;

    fn snapshot(&self) -> Result<Snapshot, EngineError> {
        Snapshot::new(self.current.get()?)
    }

    fn apply(&self, changes: Changes, durability: Durability) -> Result<(), EngineError> {
        let database = self.current.get()?;
        let mut transaction = database.begin_write().map_err(failed)?;
        let (commit, quick_repair) = match durability {
            Durability::Durable => (Commit::Immediate, true),
            Durability::Relaxed => (Commit::None, false),
        };
        transaction.set_durability(commit).map_err(failed)?;
        transaction.set_quick_repair(quick_repair);
        for (space, changes) in changes.into_spaces() {
            let mut table = transaction.open_table(table(space)).map_err(failed)?;
            for (key, (version, value)) in changes {
                match value {
                    Some(value) => {
                        let stored = join_version(version, &value);
                        table.insert(&*key, &*stored).map_err(failed)?;
                    }
                    None => {
                        table.remove(&*key).map_err(failed)?;
                    }
                }
            }
        }
        transaction.commit().map_err(failed)
    }

    fn recover(&self) -> Result<(), EngineError> {
        self.dir.probe()?;
        self.current.replace(|| open_database(&self.dir, self.options).map_err(failed))
    }

    fn close(&self) -> Result<(), EngineError> {
        let Some(database) = self.current.take() else { return Ok(()) };
        // Makes relaxed commits durable.
        let mut transaction = database.begin_write().map_err(failed)?;
        transaction.set_quick_repair(true);
        transaction.commit().map_err(failed)
    }
}
