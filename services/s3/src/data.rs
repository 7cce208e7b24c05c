//! The bytes of objects: taken in, given out, removed.
//!
//! Bytes come encrypted to rest (`encryption.rs`): up to 64 KiB in a row of the store, which is written with the version that
//! refers to it; more in a blob, which is finished before that version is committed and deleted after its removal is. A blob
//! whose version was never committed is an orphan that the sweeper finds (`sweep.rs`).

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pileus_platform::blobs::{Blob, BlobError, BlobId, Blobs, Reader as BlobReader};
use pileus_platform::store::{Space, Store, Txn};
use pileus_platform::{Cx, Fault, Ids, Timestamp};
use pileus_store::due::NewJob;
use pileus_store::{StoreError, Stored};
use pileus_wire::checksum::{Algorithm, Checksum, Hasher};
use pileus_wire::value::ByteStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::encryption::{DataKey, FRAME, SEALED_FRAME, Wrapping, sealed_length};
use crate::error::S3Error;
use crate::hot;
use crate::keys::{self, BLOBS, LAYOUT, WORK};
use crate::version::{Encryption, ObjectVersion, Place, Sealed, StoredId, WrappedKey};

/// The area of our blobs.
pub const AREA: &str = "s3";
/// The most that one request may bring.
pub const MAX_PUT: u64 = 5 << 30;
/// The kind of job that removes the parts of a layout.
pub const REMOVE_LAYOUT: &str = "layout";
/// Whoever reads an object of many parts may go on for so long after it was removed.
const READERS_LEAVE: Duration = Duration::from_secs(600);

/// Whose blob it is: what scrub and the sweeper ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlobOwner {
    pub blob: Blob,
    pub bucket: String,
    pub key: String,
}

impl Stored for BlobOwner {}

/// Some parts of an object of many parts, in their order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LayoutRow {
    pub parts: Vec<Extent>,
}

impl Stored for LayoutRow {}

/// A part of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Extent {
    pub number: u32,
    pub size: u64,
    pub place: Place,
    /// In base64, by the object's algorithm.
    #[serde(default)]
    pub checksum: Option<String>,
}

/// Parts in a row of a layout.
pub const PARTS_IN_ROW: usize = 500;

/// A fresh id: first the time, so that what is written together lies together.
pub fn stored_id(ids: &Ids, now: Timestamp) -> StoredId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&nanos(now).to_be_bytes());
    ids.rng().fill(&mut id[8..]);
    id
}

/// Nanoseconds since 1970.
pub fn nanos(moment: Timestamp) -> u64 {
    let seconds = u64::try_from(moment.as_secs()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(moment.subsec_nanos()))
}

/// Bytes that have come, encrypted and on disk, or about to be written with their version.
pub struct Incoming {
    /// Before encryption.
    pub size: u64,
    pub md5: Checksum,
    /// By the algorithm asked for.
    pub checksum: Checksum,
    /// By another one that was asked for besides.
    pub also: Option<Checksum>,
    pub place: Place,
    row: Option<Bytes>,
}

impl Incoming {
    /// Writes what refers to the bytes, in the transaction of their version.
    pub fn keep(&self, txn: &Txn, bucket: &crate::bucket::Bucket, key: &str) -> Result<(), StoreError> {
        match &self.place {
            Place::Row { id, .. } => {
                let bytes = self.row.clone().unwrap_or_default();
                txn.put(Space::Items, keys::bytes(bucket.id, id), bytes);
            }
            Place::Blob(sealed) => {
                let owner =
                    BlobOwner { blob: sealed.blob.clone(), bucket: bucket.name.clone(), key: key.to_owned() };
                BLOBS.put(txn, &sealed.blob.id.as_str(), &owner)?;
            }
            Place::Nothing | Place::Layout { .. } => {}
        }
        Ok(())
    }

    /// The bytes of a version as bytes of their own, without copying them: the same blob under another name, and the same key to
    /// it. `None` where they have to be copied: they are not in one blob, they would have another ETag or checksum, a customer's key
    /// protects them, or blobs lie where they cannot be linked.
    ///
    /// # Errors
    /// `Blob(NotFound)` when they were removed since the version was read; faults of the disk.
    pub async fn linked(
        cx: &Cx,
        from: &ObjectVersion,
        wrapping: &Wrapping,
        algorithm: Algorithm,
    ) -> Result<Option<Incoming>, S3Error> {
        let is_managed =
            (&from.encryption, wrapping.encryption()) == (&Encryption::Managed, Encryption::Managed);
        let (Place::Blob(sealed), true, None) = (&from.place, is_managed, from.parts) else {
            return Ok(None);
        };
        let kept =
            from.checksum.as_ref().filter(|sum| !sum.is_composite && sum.algorithm == algorithm.name());
        let checksum = kept.and_then(|sum| Checksum::parse(algorithm, &sum.value));
        let md5 = hex::decode(&from.etag).ok();
        let md5 = md5.and_then(|md5| Checksum::parse(Algorithm::Md5, &BASE64.encode(md5)));
        let (Some(checksum), Some(md5)) = (checksum, md5) else { return Ok(None) };
        let Some(blob) = blobs(cx.blobs()).link(&sealed.blob).await? else { return Ok(None) };
        let place = Place::Blob(Sealed { blob, ..sealed.clone() });
        Ok(Some(Incoming { size: from.size, md5, checksum, also: None, place, row: None }))
    }

    /// Nobody will refer to them.
    pub async fn discard(self, cx: &Cx) {
        if let Place::Blob(sealed) = &self.place {
            delete_blob(&blobs(cx.blobs()), &sealed.blob.id).await;
        }
    }
}

pub fn blobs(blobs: &Blobs) -> Blobs {
    blobs.area(AREA)
}

/// Takes a body in. It is whole, proved and durable (or small, and in memory) when this returns.
///
/// # Errors
/// What the body's own proof found; `EntityTooLarge` beyond `limit`; faults of the disk.
pub async fn receive(
    cx: &Cx,
    stream: ByteStream,
    wrapping: &Wrapping,
    algorithm: Algorithm,
    limit: u64,
) -> Result<Incoming, S3Error> {
    receive_with(cx, stream, wrapping, (algorithm, None), limit).await
}

/// As `receive`, with one more checksum computed.
///
/// # Errors
/// As `receive`.
pub async fn receive_with(
    cx: &Cx,
    mut stream: ByteStream,
    wrapping: &Wrapping,
    (algorithm, also): (Algorithm, Option<Algorithm>),
    limit: u64,
) -> Result<Incoming, S3Error> {
    let mut receiver = Receiver::new(cx, algorithm);
    receiver.also = also.map(Hasher::new);
    if let Some(mut stream) = stream.take() {
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(of_stream)?;
            if receiver.size + piece.len() as u64 > limit {
                return Err(too_large(receiver.size + piece.len() as u64, limit));
            }
            receiver.take(cx, piece).await?;
        }
    }
    receiver.finish(cx, wrapping).await
}

/// # Errors
/// `EntityTooLarge`
pub fn too_large(size: u64, limit: u64) -> S3Error {
    S3Error::refused("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
        .with("ProposedSize", size.to_string())
        .with("MaxSizeAllowed", limit.to_string())
}

/// The fault that a stream's error holds.
pub fn of_stream(error: io::Error) -> S3Error {
    match error.downcast::<Fault>() {
        Ok(fault) => fault.into(),
        Err(error) => {
            tracing::debug!(%error, "a body broke off");
            S3Error::refused("IncompleteBody", 400, "The request body terminated unexpectedly")
        }
    }
}

/// A body on its way in: one frame is in memory, what the disk has not taken is in the writer's buffers.
pub struct Receiver {
    key: DataKey,
    frame: Vec<u8>,
    frames: u64,
    writer: Option<pileus_platform::blobs::Writer>,
    md5: Hasher,
    checksum: Hasher,
    also: Option<Hasher>,
    pub size: u64,
}

impl Receiver {
    pub fn new(cx: &Cx, algorithm: Algorithm) -> Receiver {
        Receiver {
            key: DataKey::draw(cx.rng().as_ref()),
            frame: Vec::new(),
            frames: 0,
            writer: None,
            md5: Hasher::new(Algorithm::Md5),
            checksum: Hasher::new(algorithm),
            also: None,
            size: 0,
        }
    }

    /// # Errors
    /// Faults of the disk.
    pub async fn take(&mut self, cx: &Cx, mut piece: Bytes) -> Result<(), S3Error> {
        self.md5.update(&piece);
        self.checksum.update(&piece);
        if let Some(also) = &mut self.also {
            also.update(&piece);
        }
        self.size += piece.len() as u64;
        while !piece.is_empty() {
            if self.frame.len() as u64 == FRAME {
                self.flush(cx).await?;
            }
            if self.frame.capacity() < SEALED_FRAME as usize && self.frame.len() + piece.len() > 4 << 10 {
                self.frame.reserve_exact(SEALED_FRAME as usize - self.frame.len());
            }
            let room = FRAME as usize - self.frame.len();
            self.frame.extend_from_slice(&piece.split_to(room.min(piece.len())));
        }
        Ok(())
    }

    async fn flush(&mut self, cx: &Cx) -> Result<(), S3Error> {
        if self.writer.is_none() {
            self.writer = Some(blobs(cx.blobs()).writer().await?);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let mut frame = std::mem::take(&mut self.frame);
        self.key.seal(self.frames, &mut frame);
        self.frames += 1;
        Ok(writer.write(frame.into()).await?)
    }

    /// # Errors
    /// Faults of the disk.
    pub async fn finish(mut self, cx: &Cx, wrapping: &Wrapping) -> Result<Incoming, S3Error> {
        let mut row = None;
        let place = if self.size == 0 {
            Place::Nothing
        } else if self.writer.is_none() {
            self.key.seal(0, &mut self.frame);
            row = Some(std::mem::take(&mut self.frame).into());
            Place::Row { id: stored_id(cx.ids(), cx.now()), key: wrapping.wrap(cx, &self.key) }
        } else {
            self.flush(cx).await?;
            let writer = self.writer.take();
            let blob = match writer {
                Some(writer) => writer.finish().await?,
                None => return Err(S3Error::Internal("a body lost its writer".to_owned())),
            };
            Place::Blob(Sealed { blob, key: wrapping.wrap(cx, &self.key), size: self.size })
        };
        let (md5, checksum) = (self.md5.finish(), self.checksum.finish());
        let also = self.also.map(Hasher::finish);
        Ok(Incoming { size: self.size, md5, checksum, also, place, row })
    }
}

/// Bytes that nobody refers to any more once the transaction that removed them is committed.
#[derive(Debug, Default)]
pub struct Freed(Vec<BlobId>);

impl Freed {
    /// Removes, with their version, all that a place holds. Its blobs are to be deleted after the commit.
    pub async fn remove(&mut self, cx: &Cx, txn: &Txn, bucket: u64, place: &Place) -> Result<(), StoreError> {
        match place {
            Place::Nothing => {}
            Place::Row { id, .. } => txn.delete(Space::Items, keys::bytes(bucket, id)),
            Place::Blob(sealed) => {
                BLOBS.delete(txn, &sealed.blob.id.as_str());
                self.0.push(sealed.blob.id.clone());
            }
            Place::Layout { id, .. } => remove_layout(cx.now(), txn, bucket, id)?,
        }
        Ok(())
    }

    /// After the commit.
    pub async fn delete(self, cx: &Cx) {
        let blobs = blobs(cx.blobs());
        for id in &self.0 {
            delete_blob(&blobs, id).await;
        }
    }
}

fn remove_layout(now: Timestamp, txn: &Txn, bucket: u64, id: &StoredId) -> Result<(), StoreError> {
    let payload = [&bucket.to_be_bytes()[..], id].concat();
    let job = NewJob {
        kind: REMOVE_LAYOUT,
        id: &hex::encode(id),
        due: now + READERS_LEAVE,
        destination: "",
        payload: &payload,
    };
    WORK.add(txn, &job)
}

/// A blob that stays is an orphan, which the sweeper removes.
pub async fn delete_blob(blobs: &Blobs, id: &BlobId) {
    if let Err(error) = blobs.delete(id).await {
        tracing::warn!(%error, %id, "a blob that nobody refers to stays until the next sweep");
    }
}

/// Streams `range` of the bytes at a place.
///
/// # Errors
/// `Blob(NotFound)` when they were removed since the version was read; faults of the disk; a wrong key.
pub async fn read(
    cx: &Cx,
    bucket: u64,
    place: &Place,
    wrapping: &Wrapping,
    range: Range<u64>,
) -> Result<ByteStream, S3Error> {
    if range.is_empty() {
        return Ok(ByteStream::default());
    }
    match place {
        Place::Nothing => Ok(ByteStream::default()),
        Place::Row { id, key } => Ok(ByteStream::once(read_row(cx, bucket, id, key, wrapping, range).await?)),
        Place::Blob(sealed) => {
            let source = Source::open(cx, sealed, wrapping, range).await?;
            Ok(stream(cx, bucket, wrapping, Cursor { current: Some(source), ..Cursor::default() }))
        }
        Place::Layout { id, starts } => {
            let mut cursor = Cursor { layout: Some((*id, starts.clone())), left: range, ..Cursor::default() };
            cursor.advance(cx, bucket, wrapping).await?;
            Ok(stream(cx, bucket, wrapping, cursor))
        }
    }
}

async fn read_row(
    cx: &Cx,
    bucket: u64,
    id: &StoredId,
    key: &WrappedKey,
    wrapping: &Wrapping,
    range: Range<u64>,
) -> Result<Bytes, S3Error> {
    // What a customer's key protects is read with that key alone.
    let hot = matches!(wrapping, Wrapping::Managed).then(|| cx.state::<hot::Objects>());
    let plain = match hot.and_then(|hot| hot.bytes(id)) {
        Some(plain) => plain,
        None => {
            let sealed = cx.store().get(Space::Items, &keys::bytes(bucket, id)).await?.ok_or_else(gone)?;
            let key = wrapping.unwrap(cx.platform(), key)?;
            let plain = key
                .open(0, BytesMut::from(&sealed[..]))
                .ok_or_else(|| S3Error::Internal("the bytes of an object were changed at rest".to_owned()))?;
            if let Some(hot) = hot {
                hot.offer(id, &plain);
            }
            plain
        }
    };
    let end = (range.end as usize).min(plain.len());
    Ok(plain.slice((range.start as usize).min(end)..end))
}

/// The bytes were removed between the look at their version and theirs: look again.
pub fn gone() -> S3Error {
    S3Error::refused("NoSuchBytes", 500, "We encountered an internal error. Please try again.")
}

/// Whether bytes were missed because their version was replaced meanwhile.
pub fn is_gone(error: &S3Error) -> bool {
    error.code() == "NoSuchBytes" || matches!(error, S3Error::Blob(BlobError::NotFound(_)))
}

/// A blob being read.
struct Source {
    reader: BlobReader,
    key: DataKey,
    /// The next frame's number.
    frame: u64,
    pending: BytesMut,
    /// Bytes of the first frame that nobody asked for.
    skip: usize,
    /// Bytes still to give.
    left: u64,
}

impl Source {
    async fn open(
        cx: &Cx,
        sealed: &Sealed,
        wrapping: &Wrapping,
        range: Range<u64>,
    ) -> Result<Source, S3Error> {
        let key = wrapping.unwrap(cx.platform(), &sealed.key)?;
        let first = range.start / FRAME;
        let at_rest = first * SEALED_FRAME..sealed_length(range.end.next_multiple_of(FRAME).min(sealed.size));
        let reader = blobs(cx.blobs()).reader(&sealed.blob, at_rest).await?;
        Ok(Source {
            reader,
            key,
            frame: first,
            pending: BytesMut::new(),
            skip: (range.start % FRAME) as usize,
            left: range.end - range.start,
        })
    }

    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        while (self.pending.len() as u64) < SEALED_FRAME && self.reader.left() > 0 {
            let Some(piece) = self.reader.next().await.map_err(io::Error::other)? else { break };
            if self.pending.is_empty() {
                self.pending = piece.into();
            } else {
                self.pending.extend_from_slice(&piece);
            }
        }
        let length = self.pending.len().min(SEALED_FRAME as usize);
        let plain = self.key.open(self.frame, self.pending.split_to(length));
        let Some(mut plain) = plain else {
            tracing::error!(frame = self.frame, "the bytes of an object were changed at rest");
            return Err(io::Error::other("the bytes of an object were changed at rest"));
        };
        self.frame += 1;
        let _ = plain.split_to(std::mem::take(&mut self.skip).min(plain.len()));
        plain.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= plain.len() as u64;
        Ok(Some(plain))
    }
}

/// Where a read is.
#[derive(Default)]
struct Cursor {
    current: Option<Source>,
    /// Bytes of one row, ready to give.
    ready: Option<Bytes>,
    layout: Option<(StoredId, Vec<u64>)>,
    /// The part of the object that nobody has begun with.
    left: Range<u64>,
    /// Parts of the layout's row that was read last, with the offsets at which they begin.
    parts: VecDeque<(u64, Extent)>,
}

impl Cursor {
    async fn next(&mut self, cx: &Cx, bucket: u64, wrapping: &Wrapping) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.take() {
                return Ok(Some(bytes));
            }
            if let Some(source) = &mut self.current {
                if let Some(bytes) = source.next().await? {
                    return Ok(Some(bytes));
                }
                self.current = None;
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            self.advance(cx, bucket, wrapping).await.map_err(|error| io::Error::other(error.to_string()))?;
        }
    }

    /// Begins with the part at the start of what is left.
    async fn advance(&mut self, cx: &Cx, bucket: u64, wrapping: &Wrapping) -> Result<(), S3Error> {
        let at = self.left.start;
        while self.parts.front().is_some_and(|(start, part)| start + part.size <= at) {
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            let Some((id, starts)) = &self.layout else { return Err(gone()) };
            let row = starts.partition_point(|start| *start <= at).saturating_sub(1);
            let found = LAYOUT.get(cx.store(), &(*id, row as u32)).await?.ok_or_else(gone)?;
            let mut start = starts.get(row).copied().unwrap_or(0);
            for part in found.parts {
                let size = part.size;
                self.parts.push_back((start, part));
                start += size;
            }
            while self.parts.front().is_some_and(|(start, part)| start + part.size <= at) {
                self.parts.pop_front();
            }
        }
        let Some((start, part)) = self.parts.pop_front() else { return Err(gone()) };
        let end = (start + part.size).min(self.left.end);
        let range = at - start..end - start;
        self.left.start = end;
        match &part.place {
            Place::Row { id, key } => {
                self.ready = Some(read_row(cx, bucket, id, key, wrapping, range).await?);
            }
            Place::Blob(sealed) => self.current = Some(Source::open(cx, sealed, wrapping, range).await?),
            Place::Nothing | Place::Layout { .. } => {}
        }
        Ok(())
    }
}

/// Reads and decrypts in a task of its own, some frames ahead of the connection.
fn stream(cx: &Cx, bucket: u64, wrapping: &Wrapping, mut cursor: Cursor) -> ByteStream {
    const AHEAD: usize = 4;
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let (cx, wrapping) = (cx.clone(), wrapping.clone());
    tokio::spawn(async move {
        loop {
            let next = cursor.next(&cx, bucket, &wrapping).await;
            let is_last = !matches!(next, Ok(Some(_)));
            let Some(item) = next.transpose() else { return };
            if sender.send(item).await.is_err() || is_last {
                return;
            }
        }
    });
    ByteStream::new(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

/// All parts of a layout, in their order.
///
/// # Errors
/// Faults of the store.
pub async fn layout(store: &Store, id: &StoredId, rows: usize) -> Result<Vec<Extent>, StoreError> {
    let mut parts = Vec::new();
    for row in 0..rows {
        if let Some(found) = LAYOUT.get(store, &(*id, row as u32)).await? {
            parts.extend(found.parts);
        }
    }
    Ok(parts)
}
