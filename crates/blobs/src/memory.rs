//! Blobs in memory, for tests and nodes that keep nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use pileus_core::BoxFuture;
use ring::digest;

use crate::backend::{Backend, Sink, Source};
use crate::{BlobError, BlobId};

/// Gone with the process.
#[derive(Default)]
pub struct MemoryBackend(Arc<Map>);

type Map = Mutex<BTreeMap<BlobId, Bytes>>;

fn lock(map: &Map) -> MutexGuard<'_, BTreeMap<BlobId, Bytes>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for MemoryBackend {
    fn create<'a>(
        &'a self,
        _area: &'a str,
        _chance: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Sink>, BlobError>> {
        let sink = MemorySink { bytes: BytesMut::new(), map: self.0.clone() };
        Box::pin(async { Ok(Box::new(sink) as Box<dyn Sink>) })
    }

    fn length<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        Box::pin(async move { Ok(lock(&self.0).get(id).map(|whole| whole.len() as u64)) })
    }

    fn open<'a>(
        &'a self,
        id: &'a BlobId,
        length: u64,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Box<dyn Source>, BlobError>> {
        Box::pin(async move {
            let whole = lock(&self.0).get(id).cloned().ok_or_else(|| BlobError::NotFound(id.clone()))?;
            let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
            if whole.len() as u64 != length {
                let detail = format!("it has {} bytes, not {length}", whole.len());
                return Err(BlobError::Corrupt { id: id.clone(), detail });
            }
            let part = whole.slice(position(range.start)..position(range.end));
            Ok(Box::new(MemorySource(Some(part).filter(|part| !part.is_empty()))) as Box<dyn Source>)
        })
    }

    fn link<'a>(&'a self, from: &'a BlobId, to: &'a BlobId) -> BoxFuture<'a, Result<bool, BlobError>> {
        Box::pin(async move {
            let mut map = lock(&self.0);
            let whole = map.get(from).cloned().ok_or_else(|| BlobError::NotFound(from.clone()))?;
            map.insert(to.clone(), whole);
            Ok(true)
        })
    }

    fn delete<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            lock(&self.0).remove(id);
            Ok(())
        })
    }

    fn list<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<Vec<BlobId>, BlobError>> {
        let shard = hex::encode([shard]);
        Box::pin(async move {
            let map = lock(&self.0);
            Ok(map.keys().filter(|id| id.area() == area && id.shard() == shard).cloned().collect())
        })
    }

    fn discard_unfinished<'a>(
        &'a self,
        _area: &'a str,
        _shard: u8,
    ) -> BoxFuture<'a, Result<usize, BlobError>> {
        Box::pin(async { Ok(0) })
    }

    fn areas(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        Box::pin(async {
            let mut areas: Vec<String> = lock(&self.0).keys().map(|id| id.area().to_owned()).collect();
            areas.dedup();
            Ok(areas)
        })
    }

    fn local_path(&self, _id: &BlobId) -> Option<PathBuf> {
        None
    }
}

struct MemorySink {
    bytes: BytesMut,
    map: Arc<Map>,
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.bytes.extend_from_slice(&bytes);
        Box::pin(async { Ok(()) })
    }

    fn finish(self: Box<Self>, id: BlobId) -> BoxFuture<'static, Result<[u8; 32], BlobError>> {
        Box::pin(async move {
            let MemorySink { bytes, map } = *self;
            let sum = digest::digest(&digest::SHA256, &bytes);
            lock(&map).insert(id, bytes.freeze());
            Ok(sum.as_ref().try_into().expect("SHA-256 has 32 bytes"))
        })
    }
}

struct MemorySource(Option<Bytes>);

impl Source for MemorySource {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
        let part = self.0.take();
        Box::pin(async { Ok(part) })
    }
}
