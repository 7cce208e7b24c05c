//! Numbers in blocks: `sequence/<name>` holds the next number that nobody was given.

use std::ops::Range;

use bytes::Bytes;

use crate::{Change, Check, Commit, KeyBuilder, Kv, Outcome, Space, StoreError, Write};

const TAG: u8 = b's';
const MAX_ATTEMPTS: u32 = 1_000;

pub(crate) async fn take_block<K: Kv + ?Sized>(
    kv: &K,
    name: &str,
    block: u64,
) -> Result<Range<u64>, StoreError> {
    let key = KeyBuilder::new().tag(TAG).str(name).build();
    for _ in 0..MAX_ATTEMPTS {
        let found = kv.get(Space::Sys, &key).await?;
        let next = match &found {
            Some((value, _)) => <[u8; 8]>::try_from(&value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::corrupt(format!("sequence {name:?} is not a number")))?,
            None => 1,
        };
        let end = next
            .checked_add(block)
            .ok_or_else(|| StoreError::corrupt(format!("sequence {name:?} is used up")))?;
        let check =
            Check { space: Space::Sys, key: key.clone(), expected: found.map(|(_, version)| version) };
        let change = Change::Put(Bytes::copy_from_slice(&end.to_be_bytes()));
        let commit = Commit {
            checks: vec![check],
            writes: vec![Write { space: Space::Sys, key: key.clone(), change }],
            ..Commit::default()
        };
        if let Outcome::Committed(_) = kv.commit(commit).await? {
            return Ok(next..end);
        }
    }
    Err(StoreError::Contention { attempts: MAX_ATTEMPTS })
}
