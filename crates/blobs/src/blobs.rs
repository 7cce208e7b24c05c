//! `Blobs`: the handle that services hold.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pileus_core::{Clock, Ids, Rng};
use ring::digest;

use crate::backend::{Backend, Sink, Source};
use crate::id::{CHANCE, is_area};
use crate::{Blob, BlobError, BlobId, FileBackend, MemoryBackend};

/// The blobs of one area. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    pub(crate) parts: Arc<Parts>,
    pub(crate) area: &'static str,
}

pub(crate) struct Parts {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) clock: Arc<dyn Clock>,
    ids: Ids,
}

/// The area of a handle that was not given one.
const COMMON: &str = "common";

impl Blobs {
    pub fn new(backend: Arc<dyn Backend>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Blobs {
        Blobs { parts: Arc::new(Parts { backend, clock, ids: Ids::new(rng) }), area: COMMON }
    }

    /// Blobs in memory, gone with the process.
    pub fn memory(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Blobs {
        Blobs::new(Arc::new(MemoryBackend::default()), clock, rng)
    }

    /// Blobs as files below `root`, which no other process uses.
    ///
    /// # Errors
    /// `Io` when the directory cannot be made.
    pub fn files(
        root: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Blobs, BlobError> {
        Ok(Blobs::new(Arc::new(FileBackend::open(root)?), clock, rng))
    }

    /// The blobs of a service: what it writes lies apart, and its sweeps see nothing else.
    ///
    /// # Panics
    /// When the name is not of lower-case letters, digits and hyphens: a fault in the code that names it.
    pub fn area(&self, area: &'static str) -> Blobs {
        assert!(is_area(area), "{area:?} is no name of an area");
        Blobs { parts: self.parts.clone(), area }
    }

    /// Begins a blob.
    pub async fn writer(&self) -> Result<Writer, BlobError> {
        let chance = self.parts.ids.hex(CHANCE);
        let sink = self.parts.backend.create(self.area, &chance).await?;
        Ok(Writer { blobs: self.clone(), chance, sink, length: 0, limit: u64::MAX })
    }

    /// Writes a blob that is in memory already.
    pub async fn put(&self, bytes: Bytes) -> Result<Blob, BlobError> {
        let mut writer = self.writer().await?;
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// The same bytes as a blob of its own, without copying them; `None` where the place that keeps blobs cannot do that, and they
    /// have to be copied. Durable when this returns; for its reference see `Writer::finish`.
    ///
    /// # Errors
    /// `NotFound`
    pub async fn link(&self, blob: &Blob) -> Result<Option<Blob>, BlobError> {
        let id = BlobId::new(self.area, self.parts.clock.unmoved(), &self.parts.ids.hex(CHANCE));
        let is_linked = self.parts.backend.link(&blob.id, &id).await?;
        Ok(is_linked.then(|| Blob { id, ..blob.clone() }))
    }

    /// Streams part of a blob. `range` is cut to the blob's length. A range is not checked against the checksum.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when the blob has another length than it was written with.
    pub async fn reader(&self, blob: &Blob, range: Range<u64>) -> Result<Reader, BlobError> {
        let end = range.end.min(blob.length);
        let range = range.start.min(end)..end;
        let left = range.end - range.start;
        let source = self.parts.backend.open(&blob.id, blob.length, range).await?;
        Ok(Reader { source, left })
    }

    /// The whole blob, checked against its checksum.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`; `TooLarge` when it has more than `limit` bytes, before any is read.
    pub async fn read(&self, blob: &Blob, limit: u64) -> Result<Bytes, BlobError> {
        if blob.length > limit {
            return Err(BlobError::TooLarge { limit });
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(blob.length).unwrap_or(0));
        self.check(blob, |part| whole.extend_from_slice(part)).await?;
        Ok(whole.freeze())
    }

    /// Reads the whole blob and compares its checksum: finds a flipped bit.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub async fn verify(&self, blob: &Blob) -> Result<(), BlobError> {
        self.check(blob, |_| ()).await
    }

    async fn check(&self, blob: &Blob, mut each: impl FnMut(&[u8])) -> Result<(), BlobError> {
        let mut reader = self.reader(blob, 0..u64::MAX).await?;
        let mut sum = digest::Context::new(&digest::SHA256);
        while let Some(part) = reader.next().await? {
            sum.update(&part);
            each(&part);
        }
        if sum.finish().as_ref() == blob.sha256 {
            return Ok(());
        }
        Err(BlobError::Corrupt { id: blob.id.clone(), detail: "its checksum differs".to_owned() })
    }

    /// Deletes a blob, after the transaction that dropped the last reference to it. What is not there counts as deleted.
    /// Whoever reads it now may go on.
    pub async fn delete(&self, id: &BlobId) -> Result<(), BlobError> {
        self.parts.backend.delete(id).await
    }

    /// Where the blob lies as a file of this machine, to unpack or map it; `None` when it has to be read through `reader`.
    /// The file must not be changed.
    pub fn local_path(&self, id: &BlobId) -> Option<PathBuf> {
        self.parts.backend.local_path(id)
    }
}

/// A blob being written; memory stays bounded however long it gets. Dropped unfinished, it leaves nothing.
pub struct Writer {
    blobs: Blobs,
    chance: String,
    sink: Box<dyn Sink>,
    length: u64,
    limit: u64,
}

impl Writer {
    /// Refuses more than `limit` bytes.
    pub fn limited(self, limit: u64) -> Writer {
        Writer { limit, ..self }
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// # Errors
    /// `TooLarge`, `Io`: the writer is of no more use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.length > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        self.sink.write(bytes).await
    }

    /// The blob is whole and durable when this returns. Its reference is to be committed within an hour, far less than the
    /// age from which sweeps take it for an orphan.
    pub async fn finish(self) -> Result<Blob, BlobError> {
        let id = BlobId::new(self.blobs.area, self.blobs.parts.clock.unmoved(), &self.chance);
        let sha256 = self.sink.finish(id.clone()).await?;
        Ok(Blob { id, length: self.length, sha256 })
    }
}

/// Part of a blob, piece by piece.
pub struct Reader {
    source: Box<dyn Source>,
    left: u64,
}

impl Reader {
    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let part = self.source.next().await?;
        self.left = self.left.saturating_sub(part.as_ref().map_or(0, |part| part.len() as u64));
        Ok(part)
    }
}
