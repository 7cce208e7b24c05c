//! What keeps blobs. `Blobs` is the same over every one.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use pileus_core::BoxFuture;

use crate::{BlobError, BlobId};

/// A place that keeps blobs. A finished blob survives whatever the place promises to survive, and never changes.
pub trait Backend: Send + Sync + 'static {
    /// Begins a blob whose name will end in `chance`. Nothing is visible before `Sink::finish`.
    fn create<'a>(
        &'a self,
        area: &'a str,
        chance: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Sink>, BlobError>>;

    /// How many bytes the blob has; `None` when there is none of that name.
    fn length<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, BlobError>>;

    /// The bytes of `range`, which lies within `length`.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it has another length.
    fn open<'a>(
        &'a self,
        id: &'a BlobId,
        length: u64,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Box<dyn Source>, BlobError>>;

    /// Gives a finished blob a second name, durably, without copying its bytes: each name is deleted by itself. False, and nothing
    /// done, where that cannot be.
    ///
    /// # Errors
    /// `NotFound`
    fn link<'a>(&'a self, from: &'a BlobId, to: &'a BlobId) -> BoxFuture<'a, Result<bool, BlobError>> {
        let _ = (from, to);
        Box::pin(async { Ok(false) })
    }

    /// Deleting what is not there succeeds.
    fn delete<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<(), BlobError>>;

    /// The finished blobs of one of an area's 256 shards, in no order.
    fn list<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<Vec<BlobId>, BlobError>>;

    /// Removes from the shard what writers left that no longer live. How many there were.
    fn discard_unfinished<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<usize, BlobError>>;

    /// Every area that has a blob.
    fn areas(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>>;

    /// Where the blob lies as a file of this machine, if it does.
    fn local_path(&self, id: &BlobId) -> Option<PathBuf>;
}

/// A blob being written. Dropped unfinished, it leaves nothing.
pub trait Sink: Send {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Makes the blob durable under its name. Gives the SHA-256 of its bytes.
    fn finish(self: Box<Self>, id: BlobId) -> BoxFuture<'static, Result<[u8; 32], BlobError>>;
}

/// A blob being read.
pub trait Source: Send {
    /// The next bytes; `None` after the last.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>>;
}
