//! The default engine: fjall, a log-structured merge tree. One database, one journal, one fsync for all spaces.
//!
//! What measurements and its source taught, and is kept here:
//! - All writes of a batch carry one sequence number, so a key occurs once in a batch (`Changes` sees to that).
//! - A write that fails poisons the database until it is opened again; reads go on.
//! - Its back-pressure waits, inside a commit, for background work. When that work has died of a full disk, it would wait
//!   for ever, so `wait_for_room` waits first, where it can see that.
//! - A journal is removed when every space in it was flushed; an idle space is given a heartbeat to be flushed with.
//! - `Keyspace::clear` is never called.

pub(crate) mod tail;

use std::ops::RangeBounds;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ::fjall::{
    Database, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch as WriteBatch,
    PersistMode, Readable,
};
use bytes::Bytes;
use pileus_core::Clock;

use super::dir::{Current, DataDir, pause};
use super::{DiskOptions, Engine, EngineError, SyncRead, read_page};
use crate::committer::{Changes, join_version, split_version};
use crate::embedded::Embedded;
use crate::{Direction, Durability, Entry, Found, KeyRange, Kv, Page, Space, StoreError, Version};

const MAX_JOURNAL_BYTES: u64 = 256 << 20;
/// Above the size of one batch: a batch that begins in a fresh memtable does not fill it.
const MEMTABLE_BYTES: u64 = 16 << 20;
const ITEMS_MEMTABLE_BYTES: u64 = 32 << 20;
/// Below the counts at which fjall stops a commit (4 memtables, 30 level-0 tables).
const MAX_SEALED_MEMTABLES: usize = 3;
const MAX_L0_TABLES: usize = 26;
/// Journals beyond this are looked into: something keeps the oldest.
const MAX_JOURNALS: usize = 4;
const HEARTBEAT_KEY: &[u8] = b"\0heartbeat";

/// Opens or creates a store in a directory.
///
/// # Errors
/// `Locked`, `Unusable`, `Unavailable`.
pub fn open(path: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Arc<dyn Kv>, StoreError> {
    let dir = DataDir::open(path, Fjall::NAME)?;
    let open = Open::new(&dir, options).or_else(|error| match error {
        ::fjall::Error::JournalRecovery(_) => open_without_last_batch(&dir, options, error),
        error => Err(error),
    });
    let open = open.map_err(|error| match error {
        ::fjall::Error::Locked => StoreError::Locked { path: path.to_owned() },
        ::fjall::Error::Io(error) => StoreError::unavailable(format!("{}: {error}", path.display())),
        other => StoreError::Unusable { path: path.to_owned(), reason: other.to_string() },
    })?;
    let fjall = Fjall { current: Current::new(open), dir, options };
    Ok(Arc::new(Embedded::start(fjall, clock)?))
}

/// After a loss of power: see `tail`.
fn open_without_last_batch(
    dir: &DataDir,
    options: DiskOptions,
    damage: ::fjall::Error,
) -> Result<Open, ::fjall::Error> {
    let Some(cut) = tail::cut_last_batch(&dir.path().join("fjall"))? else { return Err(damage) };
    match Open::new(dir, options) {
        Ok(open) => {
            tracing::error!(
                journal = %cut.journal().display(), at = cut.at(), %damage,
                "the last batch of the journal was damaged before it was acknowledged; it is kept beside, in .cut"
            );
            Ok(open)
        }
        Err(_) => {
            cut.restore()?;
            Err(damage)
        }
    }
}

struct Fjall {
    current: Current<Open>,
    dir: DataDir,
    options: DiskOptions,
}

struct Open {
    /// Made when first written: making one costs about twenty fsyncs, and the first start should not wait for seven.
    spaces: [OnceLock<Keyspace>; Space::ALL.len()],
    /// The number of journals at which the last heartbeat was written.
    journals: AtomicUsize,
    /// Last, so that it is dropped after the handles into it.
    database: Database,
}

impl Open {
    fn new(dir: &DataDir, options: DiskOptions) -> Result<Open, ::fjall::Error> {
        let database = Database::builder(dir.path().join("fjall"))
            .cache_size(options.cache_bytes)
            .worker_threads(options.workers.max(1))
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .manual_journal_persist(true)
            .open()?;
        let spaces: [OnceLock<Keyspace>; Space::ALL.len()] = Default::default();
        for space in Space::ALL {
            if database.keyspace_exists(space.name()) {
                let keyspace = database.keyspace(space.name(), || keyspace_options(space))?;
                spaces[space as usize].get_or_init(|| keyspace);
            }
        }
        Ok(Open { spaces, journals: AtomicUsize::new(MAX_JOURNALS), database })
    }

    /// None until the space is first written.
    fn space(&self, space: Space) -> Option<&Keyspace> {
        self.spaces[space as usize].get()
    }

    /// Called by the committer only.
    fn space_to_write(&self, space: Space) -> Result<&Keyspace, EngineError> {
        if let Some(keyspace) = self.space(space) {
            return Ok(keyspace);
        }
        let keyspace = self.database.keyspace(space.name(), || keyspace_options(space)).map_err(failed)?;
        Ok(self.spaces[space as usize].get_or_init(|| keyspace))
    }

    fn existing(&self) -> impl Iterator<Item = &Keyspace> {
        self.spaces.iter().filter_map(OnceLock::get)
    }

    /// Waits for background work to catch up, unless it has died.
    fn wait_for_room(&self) -> Result<(), EngineError> {
        let full = |keyspace: &Keyspace| {
            keyspace.sealed_memtable_count() >= MAX_SEALED_MEMTABLES
                || keyspace.l0_table_count() >= MAX_L0_TABLES
        };
        while self.existing().any(full) {
            // Fails when the database is poisoned, which is what background work does when it dies.
            self.database.persist(PersistMode::Buffer).map_err(failed)?;
            pause();
        }
        Ok(())
    }

    /// Flushes every space when journals pile up, so that the oldest can go.
    fn tend_journals(&self) -> Result<(), EngineError> {
        let journals = self.database.journal_count();
        let last = self.journals.load(Ordering::Relaxed);
        if journals <= last {
            // Falling again after a heartbeat makes the next rise count.
            self.journals.store(journals.max(MAX_JOURNALS), Ordering::Relaxed);
            return Ok(());
        }
        self.journals.store(journals, Ordering::Relaxed);
        tracing::debug!(journals, "flushing every space to let go of old journals");
        let mut batch = WriteBatch::with_capacity(self.database.clone(), self.spaces.len());
        for keyspace in self.existing() {
            // An empty memtable is not flushed.
            batch.insert(keyspace, Bytes::from_static(HEARTBEAT_KEY), join_version(0, b""));
        }
        batch.durability(Some(PersistMode::Buffer)).commit().map_err(failed)?;
        for keyspace in self.existing() {
            keyspace.rotate_memtable().map_err(failed)?;
        }
        Ok(())
    }
}

fn keyspace_options(space: Space) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().manual_journal_persist(true);
    match space {
        Space::Items => options
            .max_memtable_size(ITEMS_MEMTABLE_BYTES)
            .with_kv_separation(Some(KvSeparationOptions::default())),
        Space::Queue => {
            options.max_memtable_size(MEMTABLE_BYTES).with_kv_separation(Some(KvSeparationOptions::default()))
        }
        Space::Meta | Space::Log | Space::Index | Space::Object | Space::Sys => {
            options.max_memtable_size(MEMTABLE_BYTES)
        }
    }
}

fn failed(error: ::fjall::Error) -> EngineError {
    match error {
        ::fjall::Error::Io(error) => EngineError::unavailable(error),
        ::fjall::Error::Poisoned => EngineError::unavailable("a background write failed before"),
        other => EngineError::unavailable(other),
    }
}

struct Snapshot {
    view: ::fjall::Snapshot,
    open: Arc<Open>,
}

impl SyncRead for Snapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        let Some(keyspace) = self.open.space(space) else { return Ok(None) };
        match self.view.get(keyspace, key).map_err(failed)? {
            Some(stored) => split_version(stored.into()).map(Some),
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
        let Some(keyspace) = self.open.space(space).filter(|_| !range.is_empty()) else {
            return Ok(Page::default());
        };
        let bounds = (range.start_bound(), range.end_bound());
        read_page(self.view.range::<&[u8], _>(keyspace, bounds), limit, direction, read_entry)
    }
}

fn read_entry(guard: Guard) -> Option<Result<Entry, EngineError>> {
    let read = || {
        let (key, stored) = guard.into_inner().map_err(failed)?;
        let (value, version) = split_version(stored.into())?;
        Ok(Entry { key: key.into(), value, version })
    };
    // A heartbeat is the only row of version zero.
    Some(read()).filter(|entry| !entry.as_ref().is_ok_and(|entry| entry.version == 0))
}

impl SyncRead for Fjall {
    fn get(&self, space: Space, key: &[u8]) -> Result<Found, EngineError> {
        // Through a snapshot, or a batch that is being applied could be seen in part.
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

impl Engine for Fjall {
    const NAME: &'static str = "fjall";
    type Snapshot = Snapshot;

    fn snapshot(&self) -> Result<Snapshot, EngineError> {
        let open = self.current.get()?;
        Ok(Snapshot { view: open.database.snapshot(), open })
    }

    fn version(&self, space: Space, key: &[u8]) -> Result<Option<Version>, EngineError> {
        let open = self.current.get()?;
        let Some(keyspace) = open.space(space) else { return Ok(None) };
        match keyspace.get(key).map_err(failed)? {
            Some(stored) => split_version(stored.into()).map(|(_, version)| Some(version)),
            None => Ok(None),
        }
    }

    fn apply(&self, changes: Changes, durability: Durability) -> Result<(), EngineError> {
        let open = self.current.get()?;
        open.wait_for_room()?;
        let mut batch = WriteBatch::with_capacity(open.database.clone(), changes.len());
        for (space, changes) in changes.into_spaces() {
            let keyspace = open.space_to_write(space)?;
            for (key, (version, value)) in changes {
                match value {
                    Some(value) => batch.insert(keyspace, key, join_version(version, &value)),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        let mode = match durability {
            Durability::Durable => PersistMode::SyncData,
            Durability::Relaxed => PersistMode::Buffer,
        };
        batch.durability(Some(mode)).commit().map_err(failed)?;
        if let Err(error) = open.tend_journals() {
            // The batch itself is in; the next one meets the same fault and reports it.
            tracing::warn!(%error, "old journals could not be flushed");
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), EngineError> {
        self.dir.probe()?;
        self.current.replace(|| Open::new(&self.dir, self.options).map_err(failed))
    }

    fn close(&self) -> Result<(), EngineError> {
        match self.current.take() {
            Some(open) => open.database.persist(PersistMode::SyncAll).map_err(failed),
            None => Ok(()),
        }
    }
}
