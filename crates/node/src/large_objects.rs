//! Large objects on their way between nodes with a directory and files that hold a whole cloud: in such a file they are rows,
//! as in a shared database (`BlobRows`).

use std::io;

use bytes::{Bytes, BytesMut};
use pileus_blobs::backend::{Backend, Source};
use pileus_blobs::{BlobError, BlobId, FileBackend};
use pileus_core::BoxFuture;
use pileus_platform::BlobRows;
use pileus_store::Store;
use pileus_store::transfer::{Beside, Export, Row, TransferError};

use crate::config::{Engine, NodeConfig};
use crate::node::blobs_dir;

/// A whole cloud of this moment: the store's rows, and what lies beside it.
///
/// # Errors
/// `Store`, `File`.
pub fn export(config: &NodeConfig, store: &Store) -> Result<Export, TransferError> {
    let export = Export::new(store, env!("CARGO_PKG_VERSION"))?;
    match files(config)? {
        Some(files) => Ok(export.beside(Rows { files, areas: None, shard: 0, ids: Vec::new(), open: None })),
        None => Ok(export),
    }
}

/// Gives a node with a directory its large objects as files. For `transfer::import`.
///
/// # Errors
/// `File`
pub async fn settle(config: &NodeConfig, store: &Store) -> Result<(), TransferError> {
    let Some(files) = files(config)? else { return Ok(()) };
    each(&files, async |id| files.delete(&id).await).await.map_err(failed)?;
    let rows = BlobRows::new(store.clone());
    each(&rows, async |id| {
        let length = rows.length(&id).await?.ok_or_else(|| BlobError::NotFound(id.clone()))?;
        let mut source = rows.open(&id, length, 0..length).await?;
        let mut sink = files.create(id.area(), id.chance()).await?;
        while let Some(bytes) = source.next().await? {
            sink.write(bytes).await?;
        }
        sink.finish(id.clone()).await?;
        rows.delete(&id).await
    })
    .await
    .map_err(failed)
}

fn files(config: &NodeConfig) -> Result<Option<FileBackend>, TransferError> {
    match config.engine {
        Engine::Fjall | Engine::Redb => Ok(Some(FileBackend::open(blobs_dir(config)).map_err(failed)?)),
        Engine::Memory | Engine::Postgres(_) => Ok(None),
    }
}

fn failed(error: BlobError) -> TransferError {
    TransferError::File(io::Error::other(error))
}

/// Every finished blob, in no order.
async fn each(
    blobs: &impl Backend,
    mut work: impl AsyncFnMut(BlobId) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    for area in blobs.areas().await? {
        for shard in 0..=u8::MAX {
            for id in blobs.list(&area, shard).await? {
                work(id).await?;
            }
        }
    }
    Ok(())
}

/// The files' blobs as rows. They are listed after the store's moment was taken, and blobs are deleted long after their last
/// reference, so what that moment refers to is among them.
struct Rows {
    files: FileBackend,
    /// Areas that are still to come, the present one last.
    areas: Option<Vec<String>>,
    /// The present area's next shard; past the last when it is done.
    shard: u16,
    ids: Vec<BlobId>,
    open: Option<Open>,
}

struct Open {
    id: BlobId,
    length: u64,
    source: Box<dyn Source>,
    /// Given out so far.
    parts: u32,
    buffer: BytesMut,
}

impl Beside for Rows {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Row>>> {
        Box::pin(async { self.next_row().await.map_err(io::Error::other) })
    }
}

impl Rows {
    async fn next_row(&mut self) -> Result<Option<Row>, BlobError> {
        loop {
            if let Some(mut open) = self.open.take() {
                return match open.next_part().await? {
                    Some((number, bytes)) => {
                        let row = BlobRows::part_row(&open.id, number, bytes);
                        self.open = Some(open);
                        Ok(Some(row))
                    }
                    None => Ok(Some(BlobRows::head_row(&open.id, open.length))),
                };
            }
            match self.next_id().await? {
                Some(id) => self.open = Open::of(&self.files, id).await?,
                None => return Ok(None),
            }
        }
    }

    async fn next_id(&mut self) -> Result<Option<BlobId>, BlobError> {
        loop {
            if let Some(id) = self.ids.pop() {
                return Ok(Some(id));
            }
            let areas = match &mut self.areas {
                Some(areas) => areas,
                None => self.areas.insert(self.files.areas().await?),
            };
            let Some(area) = areas.last() else { return Ok(None) };
            match u8::try_from(self.shard) {
                Ok(shard) => {
                    self.ids = self.files.list(area, shard).await?;
                    self.shard += 1;
                }
                Err(_) => {
                    areas.pop();
                    self.shard = 0;
                }
            }
        }
    }
}

impl Open {
    /// `None` for a blob that was deleted since it was listed.
    async fn of(files: &FileBackend, id: BlobId) -> Result<Option<Open>, BlobError> {
        let Some(path) = files.local_path(&id) else { return Ok(None) };
        let length = match tokio::fs::metadata(path).await {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match files.open(&id, length, 0..length).await {
            Ok(source) => Ok(Some(Open { id, length, source, parts: 0, buffer: BytesMut::new() })),
            Err(BlobError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next part with its number; `None` after the last.
    async fn next_part(&mut self) -> Result<Option<(u32, Bytes)>, BlobError> {
        while self.buffer.len() < BlobRows::PART {
            match self.source.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => break,
            }
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let part = self.buffer.split_to(self.buffer.len().min(BlobRows::PART)).freeze();
        self.parts += 1;
        Ok(Some((self.parts - 1, part)))
    }
}
