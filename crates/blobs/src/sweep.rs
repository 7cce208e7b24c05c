//! Removes what nobody refers to.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use crate::{BlobError, BlobId, Blobs};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs looked at that are old enough.
    pub asked: usize,
    pub deleted: usize,
    /// Unfinished writes of a process that is gone.
    pub unfinished: usize,
}

/// How many ids one question holds.
const QUESTION: usize = 500;

impl Blobs {
    /// Deletes blobs of this area that were finished at least `age` ago and that nobody refers to, and what dead writers
    /// left. `referenced` is given ids and answers which of them the store refers to. `age` covers the time between a blob's
    /// end and the commit that refers to it: a day is plenty.
    ///
    /// # Errors
    /// What `referenced` returned, and the disk's: the rest is not swept.
    pub async fn sweep<F, Fut, E>(&self, age: Duration, mut referenced: F) -> Result<Swept, E>
    where
        F: FnMut(Vec<BlobId>) -> Fut,
        Fut: Future<Output = Result<HashSet<BlobId>, E>>,
        E: From<BlobError>,
    {
        let limit = self.parts.clock.unmoved() - age;
        let backend = &self.parts.backend;
        let mut swept = Swept::default();
        for shard in 0..=u8::MAX {
            swept.unfinished += backend.discard_unfinished(self.area, shard).await?;
            let mut old = backend.list(self.area, shard).await?;
            old.retain(|id| id.finished_at() <= limit);
            for ids in old.chunks(QUESTION) {
                swept.asked += ids.len();
                let kept = referenced(ids.to_vec()).await?;
                for id in ids.iter().filter(|id| !kept.contains(id)) {
                    backend.delete(id).await?;
                    swept.deleted += 1;
                }
            }
        }
        if swept.deleted + swept.unfinished > 0 {
            tracing::info!(area = self.area, ?swept, "blobs that nobody refers to are gone");
        }
        Ok(swept)
    }

    /// Deletes every finished blob of every area: the state is being reset.
    pub async fn clear(&self) -> Result<(), BlobError> {
        let backend = &self.parts.backend;
        for area in backend.areas().await? {
            for shard in 0..=u8::MAX {
                for id in backend.list(&area, shard).await? {
                    backend.delete(&id).await?;
                }
            }
        }
        Ok(())
    }
}
