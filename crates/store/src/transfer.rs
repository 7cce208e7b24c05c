//! A whole store as one file: how a cloud moves between engines, and what backups are.
//!
//! The file is a stream, so neither side holds more than a chunk: a line that names it, the format's version, a header; then
//! chunks of entries; then the number of entries and the SHA-256 of all that came before. It is checked to its end before
//! anything is written. Versions are not part of it: the target gives out its own.
//!
//! What belongs to running nodes and not to the cloud (leases, heartbeats, reserved versions) is left out.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pileus_core::BoxFuture;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::{Batch, Direction, Durability, KeyRange, Limits, Read, Space, Store, StoreError, Stored, table};

const MAGIC: &[u8; 14] = b"pileus-export\n";
const FORMAT: u32 = 1;
/// Entries of one chunk; a chunk ends with a page of the store as well.
const ENTRIES: usize = 500;
const MAX_HEADER: usize = 64 << 10;
/// A page and its last entry, and the lengths.
const MAX_CHUNK: usize = 16 << 20;
const DIGEST: usize = 32;
/// Row of a store that an import has begun to fill.
const UNFINISHED: &[u8] = b"import/unfinished";

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The release that wrote it.
    pub release: String,
    /// The engine that it was read from.
    pub engine: String,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

impl Stored for Header {}

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("it is not an export of pileus")]
    Foreign,
    #[error("it has format {0}, of a newer release; this one knows {FORMAT}")]
    Newer(u32),
    #[error("it ends too early: the export was not finished, or the file was cut")]
    Cut,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("the target is not empty: it holds {0}")]
    NotEmpty(String),
    #[error("the file: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a cloud keeps beside its store, as rows of the file. The target's store is given them like any other row.
pub trait Beside: Send {
    /// The next row; `None` after the last.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Row>>>;
}

/// The bytes of a file, chunk by chunk, of one moment of a store that may go on changing.
pub struct Export {
    snapshot: Arc<dyn Read>,
    beside: Option<Box<dyn Beside>>,
    /// Where the next chunk begins; `None` when the end has been given out.
    next: Option<(usize, KeyRange)>,
    header: Option<Header>,
    entries: u64,
    hash: digest::Context,
}

impl Export {
    pub fn new(store: &Store, release: &str) -> Result<Export, StoreError> {
        let header = Header {
            release: release.to_owned(),
            engine: store.kv().name().to_owned(),
            created_at: u64::try_from(store.clock().unmoved().as_millis()).unwrap_or(0),
        };
        Ok(Export {
            snapshot: store.kv().snapshot()?,
            beside: None,
            next: Some((0, KeyRange::default())),
            header: Some(header),
            entries: 0,
            hash: digest::Context::new(&digest::SHA256),
        })
    }

    /// The same with rows behind the store's.
    pub fn beside(self, rows: impl Beside + 'static) -> Export {
        Export { beside: Some(Box::new(rows)), ..self }
    }

    /// Entries given out so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// # Errors
    /// `Store`; `File`: what lies beside the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        if let Some(header) = self.header.take() {
            let header = table::encode(&header)?;
            let mut bytes = BytesMut::from(&MAGIC[..]);
            bytes.put_u32(FORMAT);
            bytes.put_u32(header.len() as u32);
            bytes.put_slice(&header);
            return Ok(Some(self.hashed(bytes)));
        }
        while let Some((place, range)) = self.next.take() {
            let Some(&space) = Space::ALL.get(place) else {
                if let Some(chunk) = self.next_beside().await? {
                    self.next = Some((place, range));
                    return Ok(Some(chunk));
                }
                let mut end = BytesMut::new();
                end.put_u32(0);
                end.put_u64(self.entries);
                let _ = self.hashed(end.clone());
                end.put_slice(self.hash.clone().finish().as_ref());
                return Ok(Some(end.freeze()));
            };
            let page = self.snapshot.scan(space, &range, ENTRIES, Direction::Forward).await?;
            self.next = match page.entries.last() {
                Some(last) if page.more => Some((place, range.after(&last.key))),
                _ => Some((place + 1, KeyRange::default())),
            };
            let rows = page.entries.into_iter().map(|entry| (space, entry.key, entry.value));
            let rows = rows.filter(|(space, key, _)| is_of_the_cloud(*space, key)).collect();
            if let Some(chunk) = self.chunk(rows) {
                return Ok(Some(self.hashed(chunk)));
            }
        }
        Ok(None)
    }

    /// Everything to a file, which is complete or absent: written beside, synced and renamed. Readable by its owner alone,
    /// for it holds secrets.
    ///
    /// # Errors
    /// `File`, `Store`.
    pub async fn to_file(mut self, path: &std::path::Path) -> Result<u64, TransferError> {
        let mut file = NewFile::create(path)?;
        while let Some(chunk) = self.next().await? {
            file.write(&chunk)?;
        }
        file.finish()?;
        Ok(self.entries)
    }

    async fn next_beside(&mut self) -> Result<Option<Bytes>, TransferError> {
        let Some(beside) = &mut self.beside else { return Ok(None) };
        let Some(row) = beside.next().await? else { return Ok(None) };
        let chunk = self.chunk(vec![row]);
        Ok(chunk.map(|chunk| self.hashed(chunk)))
    }

    fn chunk(&mut self, rows: Vec<Row>) -> Option<BytesMut> {
        if rows.is_empty() {
            return None;
        }
        self.entries += rows.len() as u64;
        let size: usize = rows.iter().map(|(_, key, value)| 9 + key.len() + value.len()).sum();
        let mut chunk = BytesMut::with_capacity(4 + size);
        chunk.put_u32(size as u32);
        for (space, key, value) in rows {
            chunk.put_u8(space as u8);
            chunk.put_u32(key.len() as u32);
            chunk.put_slice(&key);
            chunk.put_u32(value.len() as u32);
            chunk.put_slice(&value);
        }
        Some(chunk)
    }

    fn hashed(&mut self, bytes: BytesMut) -> Bytes {
        self.hash.update(&bytes);
        bytes.freeze()
    }
}

/// Whether a row says something of the cloud, rather than of the nodes that run it or of the engine that holds it.
fn is_of_the_cloud(space: Space, key: &[u8]) -> bool {
    let is_running = |key: &[u8]| {
        matches!(key.first(), Some(0 | b'l' | b'x')) || key.starts_with(b"nd") || key == UNFINISHED
    };
    space != Space::Sys || !is_running(key)
}

/// A file that appears under its name when it is complete.
pub struct NewFile {
    file: std::fs::File,
    beside: std::path::PathBuf,
    path: std::path::PathBuf,
}

impl NewFile {
    pub fn create(path: &std::path::Path) -> io::Result<NewFile> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let beside = path.with_file_name(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        Ok(NewFile { file, beside, path: path.to_owned() })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or(std::path::Path::new(".")))?.sync_all()
    }
}

/// Checks a file to its end, and returns its header and the number of its entries.
///
/// # Errors
/// `Foreign`, `Newer`, `Cut`, `Damaged`, `File`.
pub fn check(source: impl io::Read) -> Result<(Header, u64), TransferError> {
    let mut reader = Reader::open(source)?;
    while reader.next_chunk()?.is_some() {}
    Ok((reader.header.clone(), reader.entries))
}

/// Space, key, value.
pub type Row = (Space, Bytes, Bytes);

struct Reader<R> {
    source: R,
    header: Header,
    entries: u64,
    hash: digest::Context,
}

impl<R: io::Read> Reader<R> {
    fn open(mut source: R) -> Result<Reader<R>, TransferError> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut magic = [0; MAGIC.len()];
        match source.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => hash.update(&magic),
            Ok(()) => return Err(TransferError::Foreign),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(TransferError::Foreign),
            Err(error) => return Err(error.into()),
        }
        let format = take(&mut source, &mut hash, 4)?.get_u32();
        if format > FORMAT {
            return Err(TransferError::Newer(format));
        }
        let length = take(&mut source, &mut hash, 4)?.get_u32() as usize;
        if length > MAX_HEADER {
            return Err(TransferError::Damaged("its header is too long"));
        }
        let header = take(&mut source, &mut hash, length)?;
        let header =
            table::decode(&header).map_err(|_| TransferError::Damaged("its header is unreadable"))?;
        Ok(Reader { source, header, entries: 0, hash })
    }

    /// The entries of the next chunk; `None` at the end, which is then known to be whole.
    fn next_chunk(&mut self) -> Result<Option<Vec<Row>>, TransferError> {
        let length = take(&mut self.source, &mut self.hash, 4)?.get_u32() as usize;
        if length == 0 {
            return self.end().map(|()| None);
        }
        if length > MAX_CHUNK {
            return Err(TransferError::Damaged("a part of it is too long"));
        }
        let mut chunk = take(&mut self.source, &mut self.hash, length)?;
        let mut entries = Vec::new();
        while !chunk.is_empty() {
            entries.push(entry(&mut chunk).ok_or(TransferError::Damaged("an entry is unreadable"))?);
        }
        self.entries += entries.len() as u64;
        Ok(Some(entries))
    }

    fn end(&mut self) -> Result<(), TransferError> {
        let count = take(&mut self.source, &mut self.hash, 8)?.get_u64();
        let found = self.hash.clone().finish();
        let expected = take(&mut self.source, &mut self.hash, DIGEST)?;
        if found.as_ref() != &expected[..] || count != self.entries {
            return Err(TransferError::Damaged("its checksum differs"));
        }
        match self.source.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(TransferError::Damaged("something follows its end")),
        }
    }
}

fn take(
    source: &mut impl io::Read,
    hash: &mut digest::Context,
    length: usize,
) -> Result<Bytes, TransferError> {
    // Not by the length that a damaged file claims, but as far as there is something.
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(TransferError::Cut);
    }
    hash.update(&bytes);
    Ok(bytes.into())
}

fn entry(chunk: &mut Bytes) -> Option<Row> {
    let space = *Space::ALL.get(usize::from(chunk.try_get_u8().ok()?))?;
    let mut part = |limit: usize| {
        let length = chunk.try_get_u32().ok()? as usize;
        (length <= limit && length <= chunk.len()).then(|| chunk.split_to(length))
    };
    Some((space, part(Limits::DEFAULT.max_key)?, part(Limits::DEFAULT.max_value)?))
}

/// Fills a store from a file that `check` has found whole. What the store holds is refused, or removed with `replace`.
/// No node may run on it. `settle` takes from the rows what belongs beside this store; the import counts as unfinished
/// until it is done.
///
/// # Errors
/// `NotEmpty`; and those of `check` and `settle`.
pub async fn import(
    store: &Store,
    source: impl io::Read,
    replace: bool,
    settle: impl AsyncFnOnce(&Store) -> Result<(), TransferError>,
) -> Result<u64, TransferError> {
    let mut reader = Reader::open(source)?;
    if let Some(what) = contents(store).await?.filter(|_| !replace) {
        return Err(TransferError::NotEmpty(what));
    }
    let begin = Batch::new().put(Space::Sys, UNFINISHED, Bytes::new());
    store.write(begin, Durability::Durable).await?;
    clear(store).await?;
    while let Some(entries) = reader.next_chunk()? {
        let mut batch = Batch::new();
        let mut bytes = 0;
        for (space, key, value) in entries {
            let size = key.len() + value.len();
            if bytes + size > Limits::DEFAULT.max_txn_bytes || batch.len() == Limits::DEFAULT.max_keys_per_txn
            {
                store.write(std::mem::take(&mut batch), Durability::Relaxed).await?;
                bytes = 0;
            }
            bytes += size;
            batch = batch.put(space, key, value);
        }
        store.write(batch, Durability::Relaxed).await?;
    }
    settle(store).await?;
    store.write(Batch::new().delete(Space::Sys, UNFINISHED), Durability::Durable).await?;
    Ok(reader.entries)
}

/// Whether an import into this store was interrupted: it holds a part of a cloud.
pub async fn is_unfinished(store: &Store) -> Result<bool, StoreError> {
    Ok(store.get(Space::Sys, UNFINISHED).await?.is_some())
}

/// What a store that is not empty holds, in words. Rows of a node that was started and never used do not count.
async fn contents(store: &Store) -> Result<Option<String>, StoreError> {
    if is_unfinished(store).await? {
        return Ok(Some("a part of another import, which was interrupted".to_owned()));
    }
    for space in Space::ALL.into_iter().filter(|space| *space != Space::Sys) {
        if !store.scan(space, &KeyRange::default(), 1).await?.entries.is_empty() {
            return Ok(Some(format!("rows in its space {:?}", space.name())));
        }
    }
    Ok(None)
}

/// Removes all that an import brings.
async fn clear(store: &Store) -> Result<(), StoreError> {
    for space in Space::ALL {
        remove(store, space, |key| is_of_the_cloud(space, key)).await?;
    }
    Ok(())
}

/// Removes every row but the store's and the nodes' own (leases, sequences, keys of the cloud).
pub async fn wipe(store: &Store) -> Result<(), StoreError> {
    for space in Space::ALL.into_iter().filter(|space| *space != Space::Sys) {
        remove(store, space, |_| true).await?;
    }
    Ok(())
}

async fn remove(store: &Store, space: Space, is_wanted: impl Fn(&[u8]) -> bool) -> Result<(), StoreError> {
    // Each page starts where the last one ended, so that deleted rows are not stepped over again.
    let mut range = KeyRange::default();
    loop {
        let page = store.scan(space, &range, ENTRIES).await?;
        let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else { return Ok(()) };
        let entries = page.entries.into_iter().filter(|entry| is_wanted(&entry.key));
        let batch = entries.fold(Batch::new(), |batch, entry| batch.delete(space, entry.key));
        if !batch.is_empty() {
            store.write(batch, Durability::Durable).await?;
        }
        range = range.after(&last);
        if !page.more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
