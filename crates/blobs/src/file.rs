//! Blobs as files: `<root>/<area>/<shard>/<name>`, and `<chance>.part` beside them while they are written.
//!
//! A blob becomes visible by a rename within its folder, after its bytes are on disk, and is acknowledged after the folder
//! is. So a name that exists has all its bytes, whenever the power goes.

mod reader;
mod writer;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pileus_core::BoxFuture;

use crate::backend::{Backend, Sink, Source};
use crate::{BlobError, BlobId};
use reader::FileSource;
use writer::FileSink;

const PART: &str = ".part";

/// Files below a directory that no other process uses: the node's lock on its data directory sees to that.
pub struct FileBackend {
    root: PathBuf,
    live: Live,
}

/// The unfinished files that a writer of this process still holds.
#[derive(Clone, Default)]
struct Live(Arc<Mutex<HashSet<PathBuf>>>);

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileBackend {
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<FileBackend, BlobError> {
        let root = root.into();
        make_folder(&root)?;
        Ok(FileBackend { root, live: Live::default() })
    }

    fn path(&self, id: &BlobId) -> PathBuf {
        let mut path = self.folder(id.area(), id.shard());
        path.push(id.name());
        path
    }

    fn folder(&self, area: &str, shard: &str) -> PathBuf {
        let mut path = self.root.join(area);
        path.push(shard);
        path
    }
}

impl Backend for FileBackend {
    fn create<'a>(
        &'a self,
        area: &'a str,
        chance: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Sink>, BlobError>> {
        let folder = self.folder(area, &chance[..2]);
        let part = folder.join(format!("{chance}{PART}"));
        Box::pin(async move {
            let live = self.live.clone();
            let sink = blocking(move || FileSink::create(folder, part, live)).await?;
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn length<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        let path = self.path(id);
        Box::pin(async {
            match blocking(move || fs::metadata(path)).await {
                Ok(metadata) => Ok(Some(metadata.len())),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn open<'a>(
        &'a self,
        id: &'a BlobId,
        length: u64,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Box<dyn Source>, BlobError>> {
        let path = self.path(id);
        Box::pin(async move {
            let opened = blocking(move || {
                let file = File::open(path)?;
                let found = file.metadata()?.len();
                Ok((file, found))
            });
            let (file, found) = opened.await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => BlobError::NotFound(id.clone()),
                _ => BlobError::Io(error),
            })?;
            if found != length {
                let detail = format!("it has {found} bytes, not {length}");
                return Err(BlobError::Corrupt { id: id.clone(), detail });
            }
            Ok(Box::new(FileSource::new(file, range)) as Box<dyn Source>)
        })
    }

    fn link<'a>(&'a self, from: &'a BlobId, to: &'a BlobId) -> BoxFuture<'a, Result<bool, BlobError>> {
        let (old, new) = (self.path(from), self.path(to));
        let folder = self.folder(to.area(), to.shard());
        Box::pin(async move {
            let linked = blocking(move || {
                make_folder(&folder)?;
                fs::hard_link(old, new)?;
                sync_folder(&folder)
            });
            match linked.await {
                Ok(()) => Ok(true),
                Err(error) if cannot_link(error.kind()) => Ok(false),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::NotFound(from.clone())),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn delete<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<(), BlobError>> {
        let path = self.path(id);
        // The folder is not synced: a deleted file that a power cut brings back is an orphan like any other.
        Box::pin(async { Ok(blocking(move || remove(&path)).await?) })
    }

    fn list<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<Vec<BlobId>, BlobError>> {
        let folder = self.folder(area, &hex::encode([shard]));
        Box::pin(async move {
            let names = blocking(move || names(&folder)).await?;
            Ok(names.iter().filter_map(|name| BlobId::parse(&format!("{area}/{name}"))).collect())
        })
    }

    fn discard_unfinished<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<usize, BlobError>> {
        let folder = self.folder(area, &hex::encode([shard]));
        let live = self.live.clone();
        Box::pin(async {
            let discard = move || {
                let mut discarded = 0;
                for name in names(&folder)?.into_iter().filter(|name| name.ends_with(PART)) {
                    let path = folder.join(name);
                    if !live.lock().contains(&path) {
                        remove(&path)?;
                        discarded += 1;
                    }
                }
                Ok(discarded)
            };
            Ok(blocking(discard).await?)
        })
    }

    fn areas(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        let root = self.root.clone();
        Box::pin(async { Ok(blocking(move || names(&root)).await?) })
    }

    fn local_path(&self, id: &BlobId) -> Option<PathBuf> {
        Some(self.path(id))
    }
}

/// Runs `work` where waiting for the disk holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// File systems without hard links, and files that have as many as can be.
fn cannot_link(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TooManyLinks
            | ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::CrossesDevices
    )
}

/// Names in a folder that may not be there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder and those above it, each durable in its parent.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent.unwrap_or(Path::new(".")))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
