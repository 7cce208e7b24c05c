//! Leases: at most one holder of a name, and a token that proves it.
//!
//! A holder that was paused for longer than its lease does not know that it lost it. So every write that a lease protects
//! carries the token as a check of the transaction (`Txn::fence`): it is the version of the row `lease/<name>`, which
//! changes with every new holder. Only expiry depends on time, and only on one clock: the database's, or the process's
//! when the engine is embedded.

use std::time::Duration;

use bytes::Bytes;
use pileus_core::Timestamp;

use crate::{
    Change, Check, Commit, KeyBuilder, KeyReader, Kv, Outcome, Space, Store, StoreError, Version, Write,
};

const FENCE: u8 = b'l';
const EXPIRY: u8 = b'x';

/// The row whose version is the token of the present holder.
pub fn fence_key(name: &str) -> Bytes {
    KeyBuilder::new().tag(FENCE).str(name).build()
}

fn expiry_key(name: &str) -> Bytes {
    KeyBuilder::new().tag(EXPIRY).str(name).build()
}

/// A lease held. It ends by itself when it is not renewed; dropping it does not release it.
pub struct Lease {
    store: Store,
    name: String,
    token: Version,
    ttl: Duration,
}

impl Lease {
    pub(crate) fn new(store: Store, name: String, token: Version, ttl: Duration) -> Lease {
        Lease { store, name, token, ttl }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Greater for every new holder.
    pub fn token(&self) -> Version {
        self.token
    }

    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// False when the lease went to someone else: stop at once.
    pub async fn renew(&self) -> Result<bool, StoreError> {
        self.store.kv().renew_lease(&self.name, self.token, self.ttl).await
    }

    pub async fn release(&self) -> Result<(), StoreError> {
        self.store.release_lease(&self.name, self.token).await
    }
}

/// Leases as rows, for engines that several nodes share. `now` is the database's time.
pub mod rows {
    use super::*;

    /// Nobody but the holder writes these rows while the lease is held.
    const MAX_ATTEMPTS: u32 = 16;

    pub async fn acquire<K: Kv + ?Sized>(
        kv: &K,
        name: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Version>, StoreError> {
        let keys = [(Space::Sys, fence_key(name)), (Space::Sys, expiry_key(name))];
        let mut found = kv.multi_get(&keys).await?;
        let (expiry, fence) = (found.pop().flatten(), found.pop().flatten());
        if let Some((value, _)) = &expiry
            && read_expiry(value)? > now
        {
            return Ok(None);
        }
        let [(_, fence_key), (_, expiry_key)] = keys;
        let commit = Commit {
            checks: vec![
                check(fence_key.clone(), fence.map(|(_, version)| version)),
                check(expiry_key.clone(), expiry.map(|(_, version)| version)),
            ],
            writes: vec![put(fence_key, Bytes::new()), put(expiry_key, write_expiry(now + ttl))],
            ..Commit::default()
        };
        Ok(match kv.commit(commit).await? {
            Outcome::Committed(token) => Some(token),
            Outcome::Conflict => None,
        })
    }

    /// The end only moves forward: a renewal that was given up, and takes effect after a later one, changes nothing.
    pub async fn renew<K: Kv + ?Sized>(
        kv: &K,
        name: &str,
        token: Version,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [(Space::Sys, fence_key(name)), (Space::Sys, expiry_key(name))];
        for _ in 0..MAX_ATTEMPTS {
            let mut found = kv.multi_get(&keys).await?;
            let (expiry, fence) = (found.pop().flatten(), found.pop().flatten());
            if fence.is_none_or(|(_, version)| version != token) {
                return Ok(false);
            }
            if let Some((value, _)) = &expiry
                && read_expiry(value)? >= now + ttl
            {
                return Ok(true);
            }
            let commit = Commit {
                checks: vec![
                    check(fence_key(name), Some(token)),
                    check(expiry_key(name), expiry.map(|(_, version)| version)),
                ],
                writes: vec![put(expiry_key(name), write_expiry(now + ttl))],
                ..Commit::default()
            };
            if kv.commit(commit).await? != Outcome::Conflict {
                return Ok(true);
            }
        }
        Err(StoreError::Contention { attempts: MAX_ATTEMPTS })
    }

    pub async fn release<K: Kv + ?Sized>(kv: &K, name: &str, token: Version) -> Result<(), StoreError> {
        let delete = |key| Write { space: Space::Sys, key, change: Change::Delete };
        let commit = Commit {
            checks: vec![check(fence_key(name), Some(token))],
            writes: vec![delete(fence_key(name)), delete(expiry_key(name))],
            ..Commit::default()
        };
        kv.commit(commit).await.map(|_| ())
    }

    fn check(key: Bytes, expected: Option<Version>) -> Check {
        Check { space: Space::Sys, key, expected }
    }

    fn put(key: Bytes, value: Bytes) -> Write {
        Write { space: Space::Sys, key, change: Change::Put(value) }
    }

    fn write_expiry(expires: Timestamp) -> Bytes {
        KeyBuilder::new().timestamp(expires).build()
    }

    fn read_expiry(value: &[u8]) -> Result<Timestamp, StoreError> {
        KeyReader::new(value)
            .timestamp()
            .map_err(|_| StoreError::corrupt("the expiry of a lease is not a time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::time::Duration;

    #[tokio::test]
    async fn a_lease_in_rows_has_one_holder_until_it_ends_or_is_released() {
        let (store, _) = testing::memory().unwrap();
        let kv = &**store.kv();
        let (ttl, start) = (Duration::from_secs(10), Timestamp::from_secs(1_000));
        let after = |seconds| start + Duration::from_secs(seconds);
        let first = rows::acquire(kv, "a", ttl, start).await.unwrap().unwrap();
        assert_eq!(rows::acquire(kv, "a", ttl, after(9)).await.unwrap(), None);
        assert!(rows::renew(kv, "a", first, ttl, after(9)).await.unwrap());
        assert_eq!(rows::acquire(kv, "a", ttl, after(18)).await.unwrap(), None);
        let second = rows::acquire(kv, "a", ttl, after(19)).await.unwrap().unwrap();
        assert!(second > first);
        assert!(!rows::renew(kv, "a", first, ttl, after(19)).await.unwrap());
        assert!(rows::renew(kv, "a", second, ttl, after(15)).await.unwrap());
        assert_eq!(rows::acquire(kv, "a", ttl, after(28)).await.unwrap(), None, "no renewal takes time away");
        rows::release(kv, "a", first).await.unwrap();
        assert_eq!(rows::acquire(kv, "a", ttl, after(20)).await.unwrap(), None);
        rows::release(kv, "a", second).await.unwrap();
        let third = rows::acquire(kv, "a", ttl, after(20)).await.unwrap().unwrap();
        assert!(third > second);
    }
}
