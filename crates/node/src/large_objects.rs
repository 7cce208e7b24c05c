//! Large objects on their way between a cloud that keeps them beside its store and files that hold a whole cloud: in such a
//! file they are rows, as in a shared database (`BlobRows`).

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pileus_blobs::backend::{Backend, Source};
use pileus_blobs::{BlobError, BlobId};
use pileus_core::BoxFuture;
use pileus_platform::BlobRows;
use pileus_store::Store;
use pileus_store::transfer::{Beside, Export, Row, TransferError};

use crate::blob_place;
use crate::config::NodeConfig;

/// A whole cloud of this moment: the store's rows, and what lies beside it.
///
/// # Errors
/// `Store`, `File`.
pub async fn export(config: &NodeConfig, store: &Store) -> Result<Export, TransferError> {
    let export = Export::new(store, env!("CARGO_PKG_VERSION"))?;
    match blob_place::beside_store(config, store).await.map_err(io::Error::from)? {
        Some(blobs) => Ok(export.beside(Rows { blobs, areas: None, shard: 0, ids: Vec::new(), open: None })),
        None => Ok(export),
    }
}

/// Gives a cloud whose large objects lie beside its store what came as rows. For `transfer::import`.
///
/// # Errors
/// `File`
pub async fn settle(config: &NodeConfig, store: &Store) -> Result<(), TransferError> {
    blob_place::forget(store).await?;
    let rows = BlobRows::new(store.clone());
    let Some(blobs) = blob_place::beside_store(config, store).await.map_err(io::Error::from)? else {
        return Ok(());
    };
    each(blobs.as_ref(), async |id| blobs.delete(&id).await).await.map_err(failed)?;
    each(&rows, async |id| {
        let length = rows.length(&id).await?.ok_or_else(|| BlobError::NotFound(id.clone()))?;
        let mut source = rows.open(&id, length, 0..length).await?;
        let mut sink = blobs.create(id.area(), id.chance()).await?;
        while let Some(bytes) = source.next().await? {
            sink.write(bytes).await?;
        }
        sink.finish(id.clone()).await?;
        rows.delete(&id).await
    })
    .await
    .map_err(failed)
}

fn failed(error: BlobError) -> TransferError {
    TransferError::File(io::Error::other(error))
}

/// Every finished blob, in no order.
async fn each(
    blobs: &dyn Backend,
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

/// Blobs from beside the store as rows. They are listed after the store's moment was taken, and blobs are deleted long after their last
/// reference, so what that moment refers to is among them.
struct Rows {
    blobs: Arc<dyn Backend>,
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
                Some(id) => self.open = Open::of(self.blobs.as_ref(), id).await?,
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
                None => self.areas.insert(self.blobs.areas().await?),
            };
            let Some(area) = areas.last() else { return Ok(None) };
            match u8::try_from(self.shard) {
                Ok(shard) => {
                    self.ids = self.blobs.list(area, shard).await?;
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
    async fn of(blobs: &dyn Backend, id: BlobId) -> Result<Option<Open>, BlobError> {
        let Some(length) = blobs.length(&id).await? else { return Ok(None) };
        match blobs.open(&id, length, 0..length).await {
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
