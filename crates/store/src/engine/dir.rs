//! The data directory of a durable engine: who has it open, what is in it, whether its disk works, and the open database,
//! which can be replaced while the node runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::EngineError;
use crate::StoreError;

/// Names the engine and the version of our own layout inside it.
const FORMAT: &str = "pileus-store 1";
/// As much as one batch may need.
const PROBE_BYTES: usize = 8 << 20;

/// A data directory that no other process has open. Unlocked when dropped.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if need be.
    ///
    /// # Errors
    /// `Locked`; `Unusable` when another engine or a later release wrote it; `Unavailable`.
    pub fn open(path: &Path, engine: &str) -> Result<DataDir, StoreError> {
        let failed = |error: std::io::Error| StoreError::unavailable(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("LOCK"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let expected = format!("{FORMAT} {engine}\n");
        match std::fs::read_to_string(path.join("FORMAT")) {
            Ok(format) if format == expected => {}
            Ok(format) => {
                let reason = format!("it holds {:?}, not {:?}", format.trim_end(), expected.trim_end());
                return Err(StoreError::Unusable { path: path.to_owned(), reason });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write_format(path, &expected).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a batch could be written now.
    pub fn probe(&self) -> Result<(), EngineError> {
        let path = self.path.join("PROBE");
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&vec![0xa5; PROBE_BYTES])?;
            file.sync_data()
        };
        let written = write();
        let removed = std::fs::remove_file(&path);
        written.and(removed).map_err(EngineError::unavailable)
    }
}

/// Complete or absent: written beside, synced and renamed.
fn write_format(directory: &Path, text: &str) -> std::io::Result<()> {
    let beside = directory.join("FORMAT.new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, directory.join("FORMAT"))?;
    File::open(directory)?.sync_all()
}

/// The open database; none while it is being replaced, or when opening it again has failed.
pub(crate) struct Current<T>(RwLock<Option<Arc<T>>>);

impl<T> Current<T> {
    pub fn new(open: T) -> Current<T> {
        Current(RwLock::new(Some(Arc::new(open))))
    }

    pub fn get(&self) -> Result<Arc<T>, EngineError> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| EngineError::unavailable("the database is being opened again"))
    }

    /// Closes the database once its last reader is gone, and opens it again.
    pub fn replace(&self, open: impl FnOnce() -> Result<T, EngineError>) -> Result<(), EngineError> {
        if let Some(old) = self.take() {
            let old = wait_for_readers(old).map_err(|old| {
                self.set(old);
                EngineError::unavailable("readers hold the database that has to be opened again")
            })?;
            drop(old);
        }
        self.set(Arc::new(open()?));
        Ok(())
    }

    /// Lets go of the database; readers may still hold it for a while.
    pub fn take(&self) -> Option<Arc<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, open: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
    }
}

fn wait_for_readers<T>(mut shared: Arc<T>) -> Result<T, Arc<T>> {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        match Arc::try_unwrap(shared) {
            Ok(alone) => return Ok(alone),
            Err(still_shared) => shared = still_shared,
        }
        pause();
    }
    Err(shared)
}

/// Real time for the disk or for other threads, on the committer's own thread; the injected clock may stand still.
pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}
