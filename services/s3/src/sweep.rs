//! What is removed behind the scenes: parts of uploads that are over, layouts of objects that are gone, uploads of buckets that
//! are, and blobs that nobody refers to. All of it is out of sight already, so late is never wrong.

use std::collections::HashSet;
use std::time::Duration;

use pileus_platform::Platform;
use pileus_platform::blobs::BlobId;
use pileus_platform::store::runner::{Failure, Runner};
use pileus_platform::store::{Space, Store};
use pileus_store::due::Job;
use pileus_store::{StoreError, Txn};

use crate::data::{REMOVE_LAYOUT, blobs, delete_blob};
use crate::error::S3Error;
use crate::keys::{self, BLOBS, LAYOUT, PARTS, UPLOADS, WORK};
use crate::multipart::upload::{Kept, REMOVE_PARTS, remove_parts};
use crate::version::{Place, StoredId};

/// The kind of job that ends the uploads of a bucket that is gone.
pub const REMOVE_UPLOADS: &str = "uploads";
const SWEEP: &str = "s3/sweep";
const LEASE: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(6 * 3_600);
/// How old a blob without an owner must be: far more than passes between its end and the commit that refers to it.
const AGE: Duration = Duration::from_secs(86_400);
/// Parts removed in one transaction.
const BATCH: usize = 200;

/// Does the work that is due, until the node stops.
pub async fn work(platform: Platform) {
    let (for_parts, for_layouts, for_uploads) = (platform.clone(), platform.clone(), platform.clone());
    Runner::new(platform.store().clone(), WORK)
        .on(REMOVE_PARTS, move |job| {
            let platform = for_parts.clone();
            Box::pin(async move { clear_parts(&platform, &job).await.map_err(Failure::new) })
        })
        .on(REMOVE_LAYOUT, move |job| {
            let platform = for_layouts.clone();
            Box::pin(async move { clear_layout(&platform, &job).await.map_err(Failure::new) })
        })
        .on(REMOVE_UPLOADS, move |job| {
            let platform = for_uploads.clone();
            Box::pin(async move { clear_uploads(&platform, &job).await.map_err(Failure::new) })
        })
        .run(std::future::pending())
        .await;
}

/// Removes blobs that nobody refers to, for as long as the node runs; one node at a time.
pub async fn sweep(platform: Platform) {
    loop {
        platform.clock().sleep_until(platform.clock().now() + INTERVAL).await;
        let Ok(Some(lease)) = platform.store().lease(SWEEP, LEASE).await else { continue };
        let store = platform.store();
        if let Err(error) = blobs(platform.blobs()).sweep(AGE, |ids| in_use(store, ids)).await {
            tracing::warn!(%error, "blobs that nobody refers to could not be removed, and it is tried again");
        }
        let _ = lease.release().await;
    }
}

/// Those that somebody refers to.
pub async fn in_use(store: &Store, ids: Vec<BlobId>) -> Result<HashSet<BlobId>, S3Error> {
    let keys: Vec<_> = ids.iter().map(|id| (BLOBS.space(), BLOBS.key(&id.as_str()))).collect();
    let found = store.multi_get(&keys).await?;
    Ok(ids.into_iter().zip(found).filter_map(|(id, found)| found.map(|_| id)).collect())
}

/// Bucket and id of a job.
fn read(job: &Job) -> Option<(u64, StoredId, &[u8])> {
    let (bucket, rest) = job.payload.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    Some((u64::from_be_bytes(*bucket), *id, rest))
}

/// Removes what a part holds; its blob is to be deleted after the commit.
fn free(txn: &Txn, bucket: u64, place: &Place, freed: &mut Vec<BlobId>) {
    match place {
        Place::Row { id, .. } => txn.delete(Space::Items, keys::bytes(bucket, id)),
        Place::Blob(sealed) => {
            BLOBS.delete(txn, &sealed.blob.id.as_str());
            freed.push(sealed.blob.id.clone());
        }
        Place::Nothing | Place::Layout { .. } => {}
    }
}

async fn delete(platform: &Platform, freed: Vec<BlobId>) {
    let blobs = blobs(platform.blobs());
    for id in &freed {
        delete_blob(&blobs, id).await;
    }
}

async fn clear_parts(platform: &Platform, job: &Job) -> Result<(), S3Error> {
    let Some((bucket, upload, bits)) = read(job) else { return Ok(()) };
    let kept = &Kept::read(bits);
    loop {
        let (is_last, freed) = platform
            .store()
            .transact(|txn| async move {
                let page = PARTS.scan(&txn, &PARTS.under(&(upload,)), BATCH).await?;
                let mut freed = Vec::new();
                for ((_, number), part) in &page.rows {
                    PARTS.delete(&txn, &(upload, *number));
                    if !kept.has(*number) {
                        free(&txn, bucket, &part.place, &mut freed);
                    }
                }
                Ok::<_, StoreError>((!page.more, freed))
            })
            .await?;
        delete(platform, freed).await;
        if is_last {
            return Ok(());
        }
    }
}

async fn clear_layout(platform: &Platform, job: &Job) -> Result<(), S3Error> {
    let Some((bucket, id, _)) = read(job) else { return Ok(()) };
    loop {
        let (is_last, freed) = platform
            .store()
            .transact(|txn| async move {
                let page = LAYOUT.scan(&txn, &LAYOUT.under(&(id,)), 1).await?;
                let mut freed = Vec::new();
                for ((_, row), layout) in &page.rows {
                    layout.parts.iter().for_each(|part| free(&txn, bucket, &part.place, &mut freed));
                    LAYOUT.delete(&txn, &(id, *row));
                }
                Ok::<_, StoreError>((!page.more, freed))
            })
            .await?;
        delete(platform, freed).await;
        if is_last {
            return Ok(());
        }
    }
}

async fn clear_uploads(platform: &Platform, job: &Job) -> Result<(), S3Error> {
    let Some(bucket) = job.payload.first_chunk::<8>().map(|bucket| u64::from_be_bytes(*bucket)) else {
        return Ok(());
    };
    let now = platform.clock().now();
    loop {
        let is_last = platform
            .store()
            .transact(|txn| async move {
                let page = UPLOADS.scan(&txn, &UPLOADS.under(&(bucket,)), BATCH).await?;
                for ((_, key, upload_id), upload) in &page.rows {
                    UPLOADS.delete(&txn, &(bucket, key.as_str(), upload_id.as_str()));
                    remove_parts(&txn, now, bucket, &upload.id, &Kept::none())?;
                }
                Ok::<_, StoreError>(!page.more)
            })
            .await?;
        if is_last {
            return Ok(());
        }
    }
}
