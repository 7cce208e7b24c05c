//! Buckets as this node saw them last, decoded. A request asks for its bucket when it is authorised, when the bucket's policy is
//! looked for, and when it is carried out: all three find the one row that was read.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pileus_platform::Cx;
use pileus_platform::store::{Store, Txn};
use pileus_store::{Reader, StoreError, Version, table};

use crate::bucket::Bucket;
use crate::control::access_point;
use crate::error::S3Error;
use crate::keys::BUCKETS;

/// Rows that are kept decoded. Then all are forgotten, which only costs time.
const MAX_KNOWN: usize = 10_000;

/// Decoded rows by the buckets' names, each beside its version: a row that changed is decoded again. Access points, which can stand
/// where a name does, are not kept.
#[derive(Default)]
pub struct Buckets(RwLock<HashMap<String, Known>>);

#[derive(Clone)]
struct Known {
    version: Version,
    bucket: Arc<Bucket>,
    /// The store's stamp before the row was read last: while it is the same, so is the row.
    stamp: Option<u64>,
}

/// The bucket of this moment: without a read where the store knows that nothing has changed.
///
/// # Errors
/// Faults of the store.
pub async fn find(cx: &Cx, name: &str) -> Result<Option<Arc<Bucket>>, StoreError> {
    cx.state::<Buckets>().find(cx.store(), name).await
}

/// The bucket, for a request that has only just been authorised: that has read the row.
///
/// # Errors
/// `NoSuchBucket`
pub async fn load_authorised(cx: &Cx, name: Option<&str>) -> Result<Arc<Bucket>, S3Error> {
    let (known, name) = (cx.state::<Buckets>(), name.unwrap_or_default());
    if let Some(known) = known.get(name) {
        return Ok(known.bucket);
    }
    known.find(cx.store(), name).await?.ok_or_else(|| no_such(name))
}

/// The bucket in a transaction, tracked: as this node saw it last. The commit checks that it is still so, and the transaction's
/// next run reads.
///
/// # Errors
/// `NoSuchBucket`
pub async fn load_in(cx: &Cx, txn: &Txn, name: &str) -> Result<Arc<Bucket>, S3Error> {
    let known = cx.state::<Buckets>();
    if let Some(known) = known.get(name)
        && txn.assume(BUCKETS.space(), &BUCKETS.key(&name), known.version)
    {
        return Ok(known.bucket);
    }
    known.read(txn, name, None).await?.ok_or_else(|| no_such(name))
}

fn no_such(name: &str) -> S3Error {
    S3Error::NoSuchBucket { bucket: name.to_owned() }
}

impl Buckets {
    fn get(&self, name: &str) -> Option<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    async fn find(&self, store: &Store, name: &str) -> Result<Option<Arc<Bucket>>, StoreError> {
        let stamp = store.stamp(BUCKETS.space());
        match self.get(name) {
            Some(known) if stamp.is_some() && known.stamp == stamp => Ok(Some(known.bucket)),
            _ => self.read(store, name, stamp).await,
        }
    }

    async fn read(
        &self,
        reader: &impl Reader,
        name: &str,
        stamp: Option<u64>,
    ) -> Result<Option<Arc<Bucket>>, StoreError> {
        let Some((bytes, version)) = reader.read_row(BUCKETS.space(), &BUCKETS.key(&name)).await? else {
            if access_point::may_be(name) {
                return Ok(access_point::bucket(reader, name).await?.map(Arc::new));
            }
            self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            return Ok(None);
        };
        if let Some(known) = self.get(name).filter(|known| known.version == version) {
            if stamp.is_some() {
                self.remember(name, Known { stamp, ..known.clone() });
            }
            return Ok(Some(known.bucket));
        }
        let bucket = Arc::new(table::decode::<Bucket>(&bytes)?);
        // What the transaction itself has written has no version yet.
        if version != 0 {
            self.remember(name, Known { version, bucket: bucket.clone(), stamp });
        }
        Ok(Some(bucket))
    }

    /// Whoever read earlier and comes later does not bring an older row back.
    fn remember(&self, name: &str, row: Known) {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rows.get(name).is_some_and(|kept| kept.version > row.version) {
            return;
        }
        if rows.len() >= MAX_KNOWN {
            rows.clear();
        }
        rows.insert(name.to_owned(), row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{Ownership, Versioning};
    use pileus_core::{AccountId, Region, SeededRng, Timestamp};
    use pileus_platform::MovableClock;

    fn memory() -> Store {
        Store::memory(Arc::new(MovableClock::system()), Arc::new(SeededRng::new(1))).unwrap()
    }

    fn bucket(configured: u64) -> Bucket {
        Bucket {
            id: 1,
            name: "b".to_owned(),
            owner: AccountId::DEFAULT,
            region: Region::us_east_1(),
            created: Timestamp::EPOCH,
            versioning: Versioning::Never,
            has_mfa_delete: false,
            has_object_lock: false,
            ownership: Ownership::default(),
            configured,
            via: None,
        }
    }

    async fn write(store: &Store, bucket: &Bucket) {
        let written = store.transact(|txn| async move { bucket.store(&txn) }).await;
        written.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_is_decoded_once_until_it_changes_or_goes() {
        let (store, known) = (memory(), Buckets::default());
        assert!(known.find(&store, "b").await.unwrap().is_none());
        write(&store, &bucket(1)).await;
        let first = known.find(&store, "b").await.unwrap().unwrap();
        let again = known.find(&store, "b").await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        // Another row of the same space: the bucket is read again, and not decoded.
        let other = Bucket { name: "other".to_owned(), ..bucket(0) };
        write(&store, &other).await;
        assert!(Arc::ptr_eq(&first, &known.find(&store, "b").await.unwrap().unwrap()));

        write(&store, &bucket(2)).await;
        assert_eq!(known.find(&store, "b").await.unwrap().unwrap().configured, 2);
        let gone = store.transact(|txn| async move {
            BUCKETS.delete(&txn, &"b");
            Ok::<_, StoreError>(())
        });
        gone.await.unwrap();
        assert!(known.find(&store, "b").await.unwrap().is_none());
        assert!(known.get("b").is_none());
    }

    #[tokio::test]
    async fn a_late_reader_brings_no_older_row_back() {
        let (store, known) = (memory(), Buckets::default());
        write(&store, &bucket(1)).await;
        known.find(&store, "b").await.unwrap();
        let old = known.get("b").unwrap();
        write(&store, &bucket(2)).await;
        known.find(&store, "b").await.unwrap();
        known.remember("b", old);
        assert_eq!(known.get("b").unwrap().bucket.configured, 2);
    }
}
