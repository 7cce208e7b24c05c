//! Where a cloud keeps its large objects: below its directory, in the database that its nodes share, or in a bucket.
//!
//! A row of the store remembers the bucket, so that a node which looks elsewhere finds that out when it starts, and not when
//! an object is asked for.

use std::io;
use std::sync::Arc;

use pileus_blobs::backend::Backend;
use pileus_blobs::{BlobError, FileBackend, MemoryBackend};
use pileus_blobs_bucket::{Bucket, BucketUrl, ClaimError};
use pileus_core::Ids;
use pileus_platform::BlobRows;
use pileus_store::{Batch, Durability, Space, Store, StoreError};

use crate::config::{Engine, NodeConfig};
use crate::node::blobs_dir;

/// Row of the bucket that holds the large objects; absent when none does.
const PLACE: &[u8] = b"node/blobs-place";
/// Row of the cloud's own name, which the bucket bears as well.
const OWNER: &[u8] = b"node/blobs-owner";
const OWNER_DIGITS: usize = 32;

/// Why a cloud's large objects cannot be reached, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("this cloud keeps its large objects in {0}: start it with that --blobs")]
    InBucket(String),
    #[error("this cloud keeps its large objects in {kept}, not in {asked}: start it with that --blobs")]
    Elsewhere { kept: String, asked: String },
    #[error(
        "this cloud holds large objects already, which a bucket would not have: move it with `pileus admin export` and `pileus admin import --blobs`"
    )]
    NotMoved,
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The place of the large objects of the cloud in `store`, as `config` names it.
///
/// # Errors
/// When they lie elsewhere; when the place cannot be used.
pub async fn open(config: &NodeConfig, store: &Store) -> Result<Arc<dyn Backend>, PlaceError> {
    let kept = store.get(Space::Sys, PLACE).await?.map(|kept| String::from_utf8_lossy(&kept).into_owned());
    let Some(url) = &config.blobs else {
        return match kept {
            Some(kept) => Err(PlaceError::InBucket(kept)),
            None => Ok(own(config, store)?),
        };
    };
    match kept {
        Some(kept) if kept == url.to_string() => {}
        Some(kept) => return Err(PlaceError::Elsewhere { kept, asked: url.to_string() }),
        None if own(config, store)?.areas().await?.is_empty() => {}
        None => return Err(PlaceError::NotMoved),
    }
    Ok(Arc::new(claim(url, store).await?))
}

/// Where large objects lie without a bucket.
fn own(config: &NodeConfig, store: &Store) -> Result<Arc<dyn Backend>, BlobError> {
    Ok(match config.engine {
        Engine::Memory => Arc::new(MemoryBackend::default()),
        Engine::Fjall | Engine::Redb => Arc::new(FileBackend::open(blobs_dir(config))?),
        Engine::Postgres(_) => Arc::new(BlobRows::new(store.clone())),
    })
}

/// Where they lie, unless as rows of the store.
///
/// # Errors
/// As `open`.
pub async fn beside_store(
    config: &NodeConfig,
    store: &Store,
) -> Result<Option<Arc<dyn Backend>>, PlaceError> {
    match (&config.engine, &config.blobs) {
        (Engine::Memory | Engine::Postgres(_), None) => Ok(None),
        _ => open(config, store).await.map(Some),
    }
}

/// Forgets a bucket: what the store holds came from another cloud.
///
/// # Errors
/// The store's.
pub async fn forget(store: &Store) -> Result<(), StoreError> {
    let batch = Batch::new().delete(Space::Sys, PLACE).delete(Space::Sys, OWNER);
    store.write(batch, Durability::Durable).await.map(|_| ())
}

/// Makes the bucket this cloud's, then remembers it.
async fn claim(url: &BucketUrl, store: &Store) -> Result<Bucket, PlaceError> {
    let bucket = Bucket::open(url, store.clock().clone())?;
    let fresh = Ids::new(store.rng().clone()).hex(OWNER_DIGITS);
    let owner = store
        .transact(|tx| {
            let fresh = fresh.clone();
            async move {
                if let Some(owner) = tx.get(Space::Sys, OWNER).await? {
                    return Ok(String::from_utf8_lossy(&owner).into_owned());
                }
                tx.put(Space::Sys, OWNER, fresh.clone().into_bytes());
                Ok::<_, StoreError>(fresh)
            }
        })
        .await?;
    bucket.claim(&owner, url).await?;
    let batch = Batch::new().put(Space::Sys, PLACE, url.to_string().into_bytes());
    store.write(batch, Durability::Durable).await?;
    Ok(bucket)
}

impl From<PlaceError> for io::Error {
    fn from(error: PlaceError) -> io::Error {
        io::Error::other(error)
    }
}
