//! The backend over a bucket.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload};
use pileus_blobs::backend::{Backend, Sink, Source};
use pileus_blobs::{BlobError, BlobId};
use pileus_core::{BoxFuture, Clock, Timestamp};

use crate::upload::Upload;
use crate::url::{BucketUrl, Keys};

/// Bytes of every part of an upload but the last, and the most that a blob has whose bytes are one object with its name.
pub(crate) const PART: usize = 5 << 20;
/// Bytes that lie apart and have no blob after so long are what a dead writer left.
const ABANDONED: Duration = Duration::from_secs(2 * 86_400);

/// Blobs in a bucket, or below a folder of it. Durable as the bucket is.
pub struct Bucket {
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
}

/// The bucket with the names in it.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    folder: String,
}

/// Why a bucket cannot be a cloud's.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("the bucket {place} cannot be used: {reason}")]
    Unusable { place: String, reason: String },
    #[error(
        "the bucket {place} holds the large objects of another cloud: give this one another bucket or folder"
    )]
    Taken { place: String },
}

impl Bucket {
    /// The bucket that `url` names, with keys from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`), or by the role of the machine where there are none. Nothing is sent yet.
    ///
    /// # Errors
    /// `Unusable`: a certificate that cannot be read, settings that the client refuses.
    pub fn open(url: &BucketUrl, clock: Arc<dyn Clock>) -> Result<Bucket, ClaimError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let keys = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        let keys = keys.map(|(id, secret)| Keys { id, secret, session_token: variable("AWS_SESSION_TOKEN") });
        let unusable = |reason| ClaimError::Unusable { place: url.to_string(), reason };
        let store =
            url.builder(keys).map_err(unusable)?.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Bucket::over(Arc::new(store), &url.folder, clock))
    }

    /// # Arguments
    /// `folder`: where in the store; empty: at its root.
    pub fn over(store: Arc<dyn ObjectStore>, folder: &str, clock: Arc<dyn Clock>) -> Bucket {
        Bucket { place: Arc::new(Place { store, folder: folder.to_owned() }), clock }
    }

    /// Makes the bucket that of the cloud `owner`, unless another's it is. Also proves that it can be reached and written.
    ///
    /// # Errors
    /// `Taken`; `Unusable` with the server's reason.
    pub async fn claim(&self, owner: &str, place: &BucketUrl) -> Result<(), ClaimError> {
        let unusable = |error: object_store::Error| ClaimError::Unusable {
            place: place.to_string(),
            reason: words(&error),
        };
        let path = self.place.path(&["owner"]);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.place.store.put_opts(&path, owner.to_owned().into(), options).await {
            Ok(_) => return Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(unusable(error)),
        }
        let found = self.place.store.get(&path).await.map_err(unusable)?.bytes().await.map_err(unusable)?;
        match found == owner {
            true => Ok(()),
            false => Err(ClaimError::Taken { place: place.to_string() }),
        }
    }

    async fn list_names(&self, path: &Path) -> Result<Vec<(String, Timestamp)>, BlobError> {
        let listed: BoxStream<'_, _> = self.place.store.list(Some(path));
        listed
            .map_ok(|object| {
                let name = object.location.filename().unwrap_or_default().to_owned();
                (name, Timestamp::from_millis(object.last_modified.timestamp_millis()))
            })
            .try_collect()
            .await
            .map_err(failed)
    }
}

impl Place {
    fn path(&self, parts: &[&str]) -> Path {
        Path::from_iter(self.folder.split('/').filter(|part| !part.is_empty()).chain(parts.iter().copied()))
    }

    pub(crate) fn blob(&self, id: &BlobId) -> Path {
        self.path(&["blobs", id.area(), shard(id.chance()), id.name()])
    }

    pub(crate) fn apart(&self, area: &str, chance: &str) -> Path {
        self.path(&["parts", area, shard(chance), chance])
    }
}

fn shard(chance: &str) -> &str {
    chance.get(..2).unwrap_or_default()
}

pub(crate) fn failed(error: object_store::Error) -> BlobError {
    BlobError::Io(io::Error::other(words(&error)))
}

/// The error with its causes, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Backend for Bucket {
    fn create<'a>(
        &'a self,
        area: &'a str,
        chance: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Sink>, BlobError>> {
        let upload = Upload::new(self.place.clone(), area, chance);
        Box::pin(async move { Ok(Box::new(upload) as Box<dyn Sink>) })
    }

    fn length<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        Box::pin(async move {
            let store = &self.place.store;
            let length = match store.head(&self.place.blob(id)).await {
                Ok(meta) if meta.size > 0 => return Ok(Some(meta.size)),
                Ok(_) => store.head(&self.place.apart(id.area(), id.chance())).await.map(|meta| meta.size),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            match length {
                Ok(length) => Ok(Some(length)),
                Err(object_store::Error::NotFound { .. }) => Ok(Some(0)),
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn open<'a>(
        &'a self,
        id: &'a BlobId,
        length: u64,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Box<dyn Source>, BlobError>> {
        Box::pin(async move {
            let lies_apart = length > PART as u64;
            let path =
                if lies_apart { self.place.apart(id.area(), id.chance()) } else { self.place.blob(id) };
            // No range of S3's is empty: ask for the head alone.
            let is_empty = range.is_empty();
            let options = GetOptions {
                head: is_empty,
                range: (!is_empty).then_some(GetRange::Bounded(range)),
                ..GetOptions::default()
            };
            let got = match self.place.store.get_opts(&path, options).await {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => return Err(BlobError::NotFound(id.clone())),
                // A blob that is shorter than the range's begin says so by its length.
                Err(error) => match self.length(id).await? {
                    Some(found) if found != length => return Err(corrupt(id, found, length)),
                    _ => return Err(failed(error)),
                },
            };
            if got.meta.size != length {
                return Err(corrupt(id, got.meta.size, length));
            }
            let stream = if is_empty { futures_util::stream::empty().boxed() } else { got.into_stream() };
            Ok(Box::new(Download(stream)) as Box<dyn Source>)
        })
    }

    fn delete<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(async move {
            // The name first: without it, what lies apart is nobody's.
            for path in [self.place.blob(id), self.place.apart(id.area(), id.chance())] {
                match self.place.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(())
        })
    }

    fn list<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<Vec<BlobId>, BlobError>> {
        Box::pin(async move {
            let path = self.place.path(&["blobs", area, &format!("{shard:02x}")]);
            let names = self.list_names(&path).await?;
            Ok(names.into_iter().filter_map(|(name, _)| BlobId::parse(&format!("{area}/{name}"))).collect())
        })
    }

    fn discard_unfinished<'a>(&'a self, area: &'a str, shard: u8) -> BoxFuture<'a, Result<usize, BlobError>> {
        Box::pin(async move {
            let path = self.place.path(&["parts", area, &format!("{shard:02x}")]);
            let limit = self.clock.unmoved() - ABANDONED;
            let mut old = self.list_names(&path).await?;
            old.retain(|(_, modified)| *modified <= limit);
            if old.is_empty() {
                return Ok(0);
            }
            // Listed after what lies apart: whoever was named in between is among them.
            let named = self.list(area, shard).await?;
            let named: HashSet<&str> = named.iter().map(BlobId::chance).collect();
            let mut discarded = 0;
            for (chance, _) in old.iter().filter(|(chance, _)| !named.contains(chance.as_str())) {
                self.place.store.delete(&self.place.apart(area, chance)).await.map_err(failed)?;
                discarded += 1;
            }
            Ok(discarded)
        })
    }

    fn areas(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        Box::pin(async move {
            let path = self.place.path(&["blobs"]);
            let listed = self.place.store.list_with_delimiter(Some(&path)).await.map_err(failed)?;
            let names = listed.common_prefixes.iter().filter_map(|prefix| prefix.filename());
            Ok(names.map(str::to_owned).collect())
        })
    }

    fn local_path(&self, _id: &BlobId) -> Option<PathBuf> {
        None
    }
}

fn corrupt(id: &BlobId, found: u64, length: u64) -> BlobError {
    BlobError::Corrupt { id: id.clone(), detail: format!("it has {found} bytes, not {length}") }
}

struct Download(BoxStream<'static, object_store::Result<Bytes>>);

impl Source for Download {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
        Box::pin(async move {
            loop {
                match self.0.try_next().await.map_err(failed)? {
                    Some(bytes) if bytes.is_empty() => {}
                    other => return Ok(other),
                }
            }
        })
    }
}

/// One object of bytes that are in memory.
pub(crate) async fn put(place: &Place, path: &Path, bytes: Bytes) -> Result<(), BlobError> {
    place.store.put(path, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
    Ok(())
}
