//! Large objects as rows of the store: for a cloud whose nodes share a database and no disk. A bucket would be cheaper; this
//! needs nothing that is not there.
//!
//! | Row | Key | Value |
//! |---|---|---|
//! | head | area, shard, name | length; a blob exists when its head does |
//! | part | area, chance, number | 512 KiB of its bytes |
//! | unfinished | area, shard, chance | when its writer began |

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pileus_blobs::backend::{Backend, Sink, Source};
use pileus_blobs::{BlobError, BlobId};
use pileus_core::{BoxFuture, Timestamp};
use pileus_store::transfer::Row;
use pileus_store::{Batch, Durability, KeyBuilder, KeyRange, KeyReader, Space, Store, StoreError};
use ring::digest;

const PART: usize = 512 << 10;
/// What a writer left that began longer ago is nobody's.
const ABANDONED: Duration = Duration::from_secs(2 * 86_400);
const PAGE: usize = 500;

pub struct BlobRows(Store);

impl BlobRows {
    /// Bytes of every part but the last.
    pub const PART: usize = PART;

    pub fn new(store: Store) -> BlobRows {
        BlobRows(store)
    }

    /// The row that makes a blob of the parts before it: what an export writes for a blob that lies elsewhere.
    pub fn head_row(id: &BlobId, length: u64) -> Row {
        (Space::Object, head_key(id), Bytes::copy_from_slice(&length.to_be_bytes()))
    }

    /// The row of a part of at most `PART` bytes.
    pub fn part_row(id: &BlobId, number: u32, bytes: Bytes) -> Row {
        (Space::Object, part_key(id.area(), id.chance(), number), bytes)
    }
}

fn failed(error: StoreError) -> BlobError {
    BlobError::Io(std::io::Error::other(error))
}

fn part_key(area: &str, chance: &str, number: u32) -> Bytes {
    KeyBuilder::new().raw(b"Bp").str(area).str(chance).u32(number).build()
}

fn parts(area: &str, chance: &str) -> KeyRange {
    KeyRange::prefix(KeyBuilder::new().raw(b"Bp").str(area).str(chance).build())
}

fn head_key(id: &BlobId) -> Bytes {
    KeyBuilder::new().raw(b"Bh").str(id.area()).str(shard_of(id.chance())).str(id.name()).build()
}

fn unfinished_key(area: &str, chance: &str) -> Bytes {
    KeyBuilder::new().raw(b"Bu").str(area).str(shard_of(chance)).str(chance).build()
}

fn shard_range(tag: &[u8; 2], area: &str, shard: u8) -> KeyRange {
    KeyRange::prefix(KeyBuilder::new().raw(tag).str(area).str(&format!("{shard:02x}")).build())
}

fn shard_of(chance: &str) -> &str {
    chance.get(..2).unwrap_or_default()
}

/// The last text of a key of `texts` texts behind its tag.
fn last_text(key: &[u8], texts: usize) -> Option<String> {
    let mut reader = KeyReader::new(key);
    reader.fixed::<2>().ok()?;
    (0..texts).map(|_| reader.str().ok()).last().flatten()
}

async fn remove(store: &Store, mut range: KeyRange) -> Result<(), BlobError> {
    loop {
        let page = store.scan(Space::Object, &range, 8).await.map_err(failed)?;
        let Some(last) = page.entries.last() else { return Ok(()) };
        range = range.after(&last.key);
        let keys = page.entries.into_iter().map(|entry| entry.key);
        let batch = keys.fold(Batch::new(), |batch, key| batch.delete(Space::Object, key));
        store.write(batch, Durability::Relaxed).await.map_err(failed)?;
    }
}

impl Backend for BlobRows {
    fn create<'a>(
        &'a self,
        area: &'a str,
        chance: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Sink>, BlobError>> {
        Box::pin(async move {
            let began = self.0.clock().unmoved().as_millis().to_be_bytes().to_vec();
            let batch = Batch::new().put(Space::Object, unfinished_key(area, chance), began);
            self.0.write(batch, Durability::Relaxed).await.map_err(failed)?;
            let sink = RowSink {
                store: self.0.clone(),
                area: area.to_owned(),
                chance: chance.to_owned(),
                buffer: BytesMut::new(),
                parts: 0,
                length: 0,
                sum: digest::Context::new(&digest::SHA256),
            };
            Ok(Box::new(sink) as Box<dyn Sink>)
        })
    }

    fn length<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        Box::pin(async move {
            let head = self.0.get(Space::Object, &head_key(id)).await.map_err(failed)?;
            Ok(head.and_then(|head| head[..].try_into().ok()).map(u64::from_be_bytes))
        })
    }

    fn open<'a>(
        &'a self,
        id: &'a BlobId,
        length: u64,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Box<dyn Source>, BlobError>> {
        Box::pin(async move {
            let found = self.length(id).await?.ok_or_else(|| BlobError::NotFound(id.clone()))?;
            if found != length {
                let detail = format!("it has {found} bytes, not {length}");
                return Err(BlobError::Corrupt { id: id.clone(), detail });
            }
            Ok(Box::new(RowSource { store: self.0.clone(), id: id.clone(), rest: range }) as Box<dyn Source>)
        })
    }

    fn delete<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            let batch = Batch::new().delete(Space::Object, head_key(id));
            self.0.write(batch, Durability::Durable).await.map_err(failed)?;
            remove(&self.0, parts(id.area(), id.chance())).await
        })
    }

    fn list<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<Vec<BlobId>, BlobError>> {
        Box::pin(async move {
            let (mut range, mut ids) = (shard_range(b"Bh", area, shard), Vec::new());
            loop {
                let page = self.0.scan(Space::Object, &range, PAGE).await.map_err(failed)?;
                let Some(last) = page.entries.last() else { return Ok(ids) };
                range = range.after(&last.key);
                let names = page.entries.iter().filter_map(|entry| last_text(&entry.key, 3));
                ids.extend(names.filter_map(|name| BlobId::parse(&format!("{area}/{name}"))));
            }
        })
    }

    fn discard_unfinished<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<usize, BlobError>> {
        Box::pin(async move {
            let now = self.0.clock().unmoved();
            let page = self.0.scan(Space::Object, &shard_range(b"Bu", area, shard), PAGE).await;
            let mut discarded = 0;
            for entry in page.map_err(failed)?.entries {
                let began = <[u8; 8]>::try_from(&entry.value[..]).map_or(0, i64::from_be_bytes);
                if now.since(Timestamp::from_millis(began)) < ABANDONED {
                    continue;
                }
                if let Some(chance) = last_text(&entry.key, 3) {
                    remove(&self.0, parts(area, &chance)).await?;
                }
                let batch = Batch::new().delete(Space::Object, entry.key);
                self.0.write(batch, Durability::Relaxed).await.map_err(failed)?;
                discarded += 1;
            }
            Ok(discarded)
        })
    }

    fn areas(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        Box::pin(async move {
            let (mut range, mut areas) = (KeyRange::prefix(Bytes::from_static(b"Bh")), Vec::new());
            loop {
                let page = self.0.scan(Space::Object, &range, 1).await.map_err(failed)?;
                let Some(area) = page.entries.first().and_then(|entry| last_text(&entry.key, 1)) else {
                    return Ok(areas);
                };
                let own = KeyRange::prefix(KeyBuilder::new().raw(b"Bh").str(&area).build());
                areas.push(area);
                let Some(end) = own.end else { return Ok(areas) };
                range = range.starting_at(end);
            }
        })
    }

    fn local_path(&self, _id: &BlobId) -> Option<PathBuf> {
        None
    }
}

/// A blob being written. What an unfinished one leaves goes with a sweep, once it is old.
struct RowSink {
    store: Store,
    area: String,
    chance: String,
    buffer: BytesMut,
    parts: u32,
    length: u64,
    sum: digest::Context,
}

impl RowSink {
    async fn write_part(&mut self, length: usize) -> Result<(), BlobError> {
        let part = self.buffer.split_to(length).freeze();
        self.sum.update(&part);
        self.length += part.len() as u64;
        let batch = Batch::new().put(Space::Object, part_key(&self.area, &self.chance, self.parts), part);
        self.parts += 1;
        // The head's commit is durable, and with it all that came before.
        self.store.write(batch, Durability::Relaxed).await.map(|_| ()).map_err(failed)
    }
}

impl Sink for RowSink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            self.buffer.extend_from_slice(&bytes);
            while self.buffer.len() >= PART {
                self.write_part(PART).await?;
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>, id: BlobId) -> BoxFuture<'static, Result<[u8; 32], BlobError>> {
        Box::pin(async move {
            let left = self.buffer.len();
            if left > 0 {
                self.write_part(left).await?;
            }
            let batch = Batch::new()
                .put(Space::Object, head_key(&id), self.length.to_be_bytes().to_vec())
                .delete(Space::Object, unfinished_key(&self.area, &self.chance));
            self.store.write(batch, Durability::Durable).await.map_err(failed)?;
            let sum = self.sum.clone().finish();
            Ok(sum.as_ref().try_into().expect("SHA-256 has 32 bytes"))
        })
    }
}

struct RowSource {
    store: Store,
    id: BlobId,
    rest: Range<u64>,
}

impl Source for RowSource {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let damaged =
                |detail: &str| BlobError::Corrupt { id: self.id.clone(), detail: detail.to_owned() };
            let number = u32::try_from(self.rest.start / PART as u64).map_err(|_| damaged("too long"))?;
            let key = part_key(self.id.area(), self.id.chance(), number);
            let part = self.store.get(Space::Object, &key).await.map_err(failed)?;
            let part = part.ok_or_else(|| damaged("a part is missing"))?;
            let start = (self.rest.start % PART as u64) as usize;
            let wanted = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            let end = part.len().min(start.saturating_add(wanted));
            if start >= end {
                return Err(damaged("a part is too short"));
            }
            self.rest.start += (end - start) as u64;
            Ok(Some(part.slice(start..end)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use pileus_blobs::Blobs;
    use pileus_core::{Clock, Rng, SeededRng};

    use super::*;
    use crate::MovableClock;

    fn blobs() -> (Blobs, Store) {
        let clock: Arc<dyn Clock> = Arc::new(MovableClock::system());
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(1));
        let store = Store::memory(clock.clone(), rng.clone()).expect("a store in memory");
        (Blobs::new(Arc::new(BlobRows::new(store.clone())), clock, rng).area("test"), store)
    }

    async fn rows(store: &Store) -> usize {
        store.scan(Space::Object, &KeyRange::default(), 1_000).await.expect("a scan").entries.len()
    }

    #[tokio::test]
    async fn what_is_written_in_pieces_is_read_in_ranges_and_deleted_whole() {
        let (blobs, store) = blobs();
        for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 17] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31) as u8).collect();
            let mut writer = blobs.writer().await.expect("a writer");
            for piece in bytes.chunks(100_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.expect("written");
            }
            let blob = writer.finish().await.expect("finished");
            assert_eq!(blobs.read(&blob, u64::MAX).await.expect("read"), bytes, "{length}");
            let range = length / 3..length / 3 + PART + 5;
            let mut reader = blobs.reader(&blob, range.start as u64..range.end as u64).await.expect("open");
            let mut part = Vec::new();
            while let Some(piece) = reader.next().await.expect("read") {
                part.extend_from_slice(&piece);
            }
            assert_eq!(part, bytes[range.start..range.end.min(length)], "{length}");
            blobs.delete(&blob.id).await.expect("deleted");
            assert!(matches!(blobs.verify(&blob).await, Err(BlobError::NotFound(_))));
            assert_eq!(rows(&store).await, 0, "{length}");
        }
    }

    #[tokio::test]
    async fn a_sweep_keeps_what_is_referred_to_and_a_living_writer() {
        let (blobs, store) = blobs();
        let kept = blobs.put(Bytes::from_static(b"kept")).await.expect("put");
        let orphan = blobs.put(Bytes::from_static(b"orphan")).await.expect("put");
        let other = blobs.area("other").put(Bytes::from_static(b"other")).await.expect("put");
        let mut writer = blobs.writer().await.expect("a writer");
        let known: HashSet<BlobId> = [kept.id.clone()].into();
        let answer = |ids: Vec<BlobId>| {
            let known: HashSet<BlobId> = ids.into_iter().filter(|id| known.contains(id)).collect();
            async move { Ok::<_, BlobError>(known) }
        };
        let swept = blobs.sweep(Duration::ZERO, answer).await.expect("swept");
        assert_eq!((swept.asked, swept.deleted, swept.unfinished), (2, 1, 0));
        blobs.verify(&kept).await.expect("kept");
        blobs.verify(&other).await.expect("another area");
        assert!(matches!(blobs.verify(&orphan).await, Err(BlobError::NotFound(_))));
        writer.write(Bytes::from_static(b"slow")).await.expect("written");
        let slow = writer.finish().await.expect("finished");
        assert_eq!(blobs.read(&slow, 4).await.expect("read"), "slow");
        blobs.clear().await.expect("cleared");
        assert_eq!(rows(&store).await, 0);
    }
}
