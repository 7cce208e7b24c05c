//! `pileus scrub`: reads every object's bytes and compares their checksums, so that a flipped bit is found before somebody
//! needs what it was part of.

use std::time::Duration;

use pileus_platform::blobs::{BlobError, Blobs};
use pileus_platform::store::{KeyRange, Space, Store};
use pileus_store::{Key, StoreError, Table};

use crate::data::blobs;
use crate::keys::{self, BLOBS, CURRENT, OLDER};
use crate::sweep::in_use;
use crate::version::{ObjectVersion, Place};

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The bucket's name, or its number where the bytes are in the store.
    pub bucket: String,
    pub key: String,
    /// The blob, or the version.
    pub what: String,
    pub problem: String,
}

/// What a scrub has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    pub blobs: u64,
    pub bytes: u64,
    /// Objects whose bytes are in the store, which has checksums of its own.
    pub rows: u64,
    pub findings: u64,
}

const PAGE: usize = 500;

/// Looks at everything, and tells what is wrong as it finds it.
///
/// # Errors
/// Faults of the store, and of a disk that cannot be read at all.
pub async fn scrub(
    store: &Store,
    of_node: &Blobs,
    mut tell: impl FnMut(Finding),
) -> Result<Scrubbed, StoreError> {
    let blobs = blobs(of_node);
    let mut scrubbed = Scrubbed::default();
    let mut range = BLOBS.all();
    loop {
        let page = BLOBS.scan(store, &range, PAGE).await?;
        for (id, owner) in page.rows {
            range = range.after(&BLOBS.key(&id.as_str()));
            scrubbed.blobs += 1;
            scrubbed.bytes += owner.blob.length;
            let problem = match blobs.verify(&owner.blob).await {
                Ok(()) => continue,
                Err(BlobError::NotFound(_)) => "its bytes are not there".to_owned(),
                Err(error) => error.to_string(),
            };
            // It may have been deleted while it was read.
            if BLOBS.get(store, &id.as_str()).await?.is_some() {
                scrubbed.findings += 1;
                tell(Finding { bucket: owner.bucket, key: owner.key, what: id, problem });
            }
        }
        if !page.more {
            break;
        }
    }
    rows(store, CURRENT, CURRENT.all(), |(bucket, key)| (*bucket, key), &mut scrubbed, &mut tell).await?;
    rows(store, OLDER, OLDER.all(), |(bucket, key, _)| (*bucket, key), &mut scrubbed, &mut tell).await?;
    Ok(scrubbed)
}

/// Removes blobs that nobody refers to, however young, and what writers left: for a store that nobody uses. How many there were.
///
/// # Errors
/// Faults of the store and the disk, in words.
pub async fn sweep(store: &Store, of_node: &Blobs) -> Result<usize, String> {
    let swept = blobs(of_node).sweep(Duration::ZERO, |ids| in_use(store, ids)).await;
    swept.map(|swept| swept.deleted + swept.unfinished).map_err(|error| error.to_string())
}

/// Versions whose bytes are in the store: whether they are there, in full.
async fn rows<K: Key>(
    store: &Store,
    table: Table<K, ObjectVersion>,
    mut range: KeyRange,
    place: impl Fn(&K) -> (u64, &String),
    scrubbed: &mut Scrubbed,
    tell: &mut impl FnMut(Finding),
) -> Result<(), StoreError> {
    loop {
        let page = table.scan(store, &range, PAGE).await?;
        for (key, version) in &page.rows {
            range = range.after(&table.key(key));
            let Place::Row { id, .. } = &version.place else { continue };
            scrubbed.rows += 1;
            let (bucket, name) = place(key);
            let found = store.get(Space::Items, &keys::bytes(bucket, id)).await?;
            let expected = crate::encryption::sealed_length(version.size);
            let problem = match found {
                Some(bytes) if bytes.len() as u64 == expected => continue,
                Some(bytes) => format!("it has {} bytes at rest, not {expected}", bytes.len()),
                None if table.get(store, key).await?.is_none_or(|now| now.place != version.place) => continue,
                None => "its bytes are not there".to_owned(),
            };
            scrubbed.findings += 1;
            tell(Finding {
                bucket: format!("number {bucket}"),
                key: name.clone(),
                what: format!("version {}", version.version_text()),
                problem,
            });
        }
        if !page.more {
            return Ok(());
        }
    }
}
