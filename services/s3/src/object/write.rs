//! New versions of objects, and the end of old ones: what a transaction does to the rows of one key.
//!
//! The current version of a key lies in `CURRENT`; the versions before it, and delete markers, in `OLDER`. A key whose latest
//! version is a delete marker has no row in `CURRENT`, so listings never meet it.
//!
//! Source: Amazon S3 User Guide, "How S3 Versioning works", "Working with objects in a versioning-suspended bucket".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use pileus_platform::store::Txn;
use pileus_platform::{Cx, Timestamp};
use pileus_store::key::Descending;
use pileus_store::{Reader, StoreError};

use crate::bucket::{Bucket, Versioning};
use crate::data::{Freed, nanos};
use crate::effects::{self, Event, ObjectChange};
use crate::error::S3Error;
use crate::keys::{CURRENT, NULLS, NullAt, OLDER};
use crate::version::{ObjectVersion, RetentionMode};

/// A version's place among those of its key.
fn next_order(now: Timestamp, latest: Option<u64>) -> u64 {
    nanos(now).max(latest.map_or(0, |latest| latest + 1))
}

/// A version id of 32 characters: its order, and chance.
fn version_id(cx: &Cx, order: u64) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&order.to_be_bytes());
    cx.rng().fill(&mut bytes[8..]);
    BASE64.encode(bytes)
}

/// The order that a version id tells. `None` for what is no id of ours.
fn order_of(version_id: &str) -> Option<u64> {
    let bytes: [u8; 24] = BASE64.decode(version_id).ok()?.try_into().ok()?;
    bytes.first_chunk::<8>().map(|order| u64::from_be_bytes(*order))
}

/// The order of a version that may be gone: `None` for the null version, whose id does not tell it.
pub fn order_of_marker(version_id: &str) -> Option<u64> {
    order_of(version_id)
}

/// Seconds: what S3 tells of times.
pub fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::new(moment.as_secs(), 0)
}

/// The latest row in `OLDER`.
pub async fn latest_older(
    reader: &impl Reader,
    bucket: &Bucket,
    key: &str,
) -> Result<Option<ObjectVersion>, StoreError> {
    if bucket.versioning == Versioning::Never {
        return Ok(None);
    }
    let page = OLDER.scan(reader, &OLDER.under(&(bucket.id, key)), 1).await?;
    Ok(page.rows.into_iter().next().map(|(_, version)| version))
}

/// Makes `new` the current version; its `order` and `version_id` are set here. Conditions have been judged.
///
/// # Errors
/// Faults of the store; what an effect refuses.
pub async fn put(
    cx: &Cx,
    txn: &Txn,
    bucket: &Bucket,
    key: &str,
    present: Option<ObjectVersion>,
    mut new: ObjectVersion,
    event: Event,
) -> Result<(ObjectVersion, Freed), S3Error> {
    let mut freed = Freed::default();
    let latest = match &present {
        Some(present) => Some(present.order),
        None => latest_older(txn, bucket, key).await?.map(|older| older.order),
    };
    new.order = next_order(cx.now(), latest);
    if bucket.versioning == Versioning::Enabled {
        new.version_id = Some(version_id(cx, new.order));
    }
    let change = ObjectChange { bucket, key, event, version: &new };
    let outcome = effects::object_changed(cx, txn, &change).await?;
    if let Some(status) = outcome.replication_status {
        new.replication_status = Some(status.to_owned());
    }
    if let Some(identity) = outcome.identity.filter(|_| bucket.versioning == Versioning::Enabled) {
        new.order = identity.order;
        new.version_id = Some(identity.version_id);
        // A replica that comes late takes its place among the older versions.
        if latest.is_some_and(|latest| latest > new.order) {
            let at = (bucket.id, key, Descending(new.order));
            if let Some(before) = OLDER.get(txn, &at).await? {
                freed.remove(cx, txn, bucket.id, &before.place).await?;
            }
            new.noncurrent_since = Some(cx.now());
            OLDER.put(txn, &at, &new)?;
            return Ok((new, freed));
        }
    }
    match (bucket.versioning, present) {
        (Versioning::Suspended, present) => {
            replace_null(cx, txn, bucket, key, present, &mut freed).await?;
        }
        (_, None) => {}
        (Versioning::Enabled, Some(present)) if present.version_id != new.version_id => {
            age(cx, txn, bucket, key, present)?;
        }
        (_, Some(present)) => freed.remove(cx, txn, bucket.id, &present.place).await?,
    }
    CURRENT.put(txn, &(bucket.id, key), &new)?;
    Ok((new, freed))
}

/// Makes room for a null version: the one that there is goes for good, a current version with an id ages.
async fn replace_null(
    cx: &Cx,
    txn: &Txn,
    bucket: &Bucket,
    key: &str,
    present: Option<ObjectVersion>,
    freed: &mut Freed,
) -> Result<(), S3Error> {
    match present {
        Some(present) if present.version_id.is_none() => {
            freed.remove(cx, txn, bucket.id, &present.place).await?;
            return Ok(());
        }
        Some(present) => age(cx, txn, bucket, key, present)?,
        None => {}
    }
    if let Some(NullAt { order }) = NULLS.get(txn, &(bucket.id, key)).await? {
        let at = (bucket.id, key, Descending(order));
        if let Some(null) = OLDER.get(txn, &at).await? {
            freed.remove(cx, txn, bucket.id, &null.place).await?;
        }
        OLDER.delete(txn, &at);
        NULLS.delete(txn, &(bucket.id, key));
    }
    Ok(())
}

/// The current version becomes an older one.
fn age(cx: &Cx, txn: &Txn, bucket: &Bucket, key: &str, mut present: ObjectVersion) -> Result<(), StoreError> {
    present.noncurrent_since = Some(cx.now());
    if present.version_id.is_none() {
        NULLS.put(txn, &(bucket.id, key), &NullAt { order: present.order })?;
    }
    OLDER.put(txn, &(bucket.id, key, Descending(present.order)), &present)
}

/// Who may remove a locked version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    No,
    /// `x-amz-bypass-governance-retention`, from someone who may.
    Governance,
}

/// What a delete did.
#[derive(Debug, Default)]
pub struct Deleted {
    /// The delete marker that was made, or removed.
    pub marker: Option<ObjectVersion>,
    /// The version that was removed.
    pub version: Option<ObjectVersion>,
    pub freed: Freed,
}

/// Deletes the current version: for good, or by hiding it behind a delete marker.
///
/// # Errors
/// Faults of the store; what an effect refuses.
pub async fn delete_current(
    cx: &Cx,
    txn: &Txn,
    bucket: &Bucket,
    key: &str,
    present: Option<ObjectVersion>,
) -> Result<Deleted, S3Error> {
    let mut deleted = Deleted::default();
    if bucket.versioning == Versioning::Never {
        let Some(present) = present else { return Ok(deleted) };
        let change = ObjectChange { bucket, key, event: Event::RemovedDelete, version: &present };
        effects::object_changed(cx, txn, &change).await?;
        deleted.freed.remove(cx, txn, bucket.id, &present.place).await?;
        CURRENT.delete(txn, &(bucket.id, key));
        deleted.version = Some(present);
        return Ok(deleted);
    }
    let latest = match &present {
        Some(present) => Some(present.order),
        None => latest_older(txn, bucket, key).await?.map(|older| older.order),
    };
    let mut order = next_order(cx.now(), latest);
    let mut id = (bucket.versioning == Versioning::Enabled).then(|| version_id(cx, order));
    let mut marker = marker(cx, bucket, id.clone(), order);
    let change = ObjectChange { bucket, key, event: Event::RemovedByMarker, version: &marker };
    let outcome = effects::object_changed(cx, txn, &change).await?;
    marker.replication_status = outcome.replication_status.map(str::to_owned);
    if let Some(identity) = outcome.identity.filter(|_| id.is_some()) {
        order = identity.order;
        id = Some(identity.version_id);
        (marker.order, marker.version_id) = (order, id.clone());
    }
    let hides = latest.is_none_or(|latest| latest < order);
    match present {
        // A marker that is replicated late hides nothing.
        _ if !hides => {}
        Some(present) if id.is_some() => {
            age(cx, txn, bucket, key, present)?;
            CURRENT.delete(txn, &(bucket.id, key));
        }
        None if id.is_some() => {}
        present => {
            let has_present = present.is_some();
            replace_null(cx, txn, bucket, key, present, &mut deleted.freed).await?;
            NULLS.put(txn, &(bucket.id, key), &NullAt { order })?;
            if has_present {
                CURRENT.delete(txn, &(bucket.id, key));
            }
        }
    }
    OLDER.put(txn, &(bucket.id, key, Descending(order)), &marker)?;
    deleted.marker = Some(marker);
    Ok(deleted)
}

fn marker(cx: &Cx, bucket: &Bucket, version_id: Option<String>, order: u64) -> ObjectVersion {
    ObjectVersion {
        version_id,
        order,
        is_delete_marker: true,
        ..ObjectVersion::empty(bucket.owner, seconds(cx.now()))
    }
}

/// Deletes one version for good. The version before it becomes current again if it was the latest. What is not there counts
/// as deleted.
///
/// # Errors
/// `AccessDenied` for a locked version; `InvalidArgument` for what is no version id.
pub async fn delete_version(
    cx: &Cx,
    txn: &Txn,
    bucket: &Bucket,
    key: &str,
    version: &str,
    bypass: Bypass,
) -> Result<Deleted, S3Error> {
    let mut deleted = Deleted::default();
    let Some((found, is_current)) = find_version(txn, bucket, key, version).await? else {
        return Ok(deleted);
    };
    check_lock(&found, cx.now(), bypass)?;
    let change = ObjectChange { bucket, key, event: Event::RemovedDelete, version: &found };
    effects::object_changed(cx, txn, &change).await?;
    deleted.freed.remove(cx, txn, bucket.id, &found.place).await?;
    if is_current {
        CURRENT.delete(txn, &(bucket.id, key));
    } else {
        OLDER.delete(txn, &(bucket.id, key, Descending(found.order)));
        if found.version_id.is_none() {
            NULLS.delete(txn, &(bucket.id, key));
        }
    }
    if is_current || CURRENT.get(txn, &(bucket.id, key)).await?.is_none() {
        promote(txn, bucket, key).await?;
    }
    match found.is_delete_marker {
        true => deleted.marker = Some(found),
        false => deleted.version = Some(found),
    }
    Ok(deleted)
}

/// There is no current version: the latest of the older ones becomes it, unless that is a delete marker.
async fn promote(txn: &Txn, bucket: &Bucket, key: &str) -> Result<(), StoreError> {
    let Some(mut latest) = latest_older(txn, bucket, key).await?.filter(|latest| !latest.is_delete_marker)
    else {
        return Ok(());
    };
    OLDER.delete(txn, &(bucket.id, key, Descending(latest.order)));
    if latest.version_id.is_none() {
        NULLS.delete(txn, &(bucket.id, key));
    }
    latest.noncurrent_since = None;
    CURRENT.put(txn, &(bucket.id, key), &latest)
}

/// # Errors
/// `AccessDenied` while a retention or a legal hold forbids to remove the version.
///
/// Source: Amazon S3 User Guide, "Locking objects with Object Lock".
pub fn check_lock(version: &ObjectVersion, now: Timestamp, bypass: Bypass) -> Result<(), S3Error> {
    let is_retained = version.retention.is_some_and(|retention| {
        let may_pass = retention.mode == RetentionMode::Governance && bypass == Bypass::Governance;
        retention.until > now && !may_pass
    });
    if is_retained || version.legal_hold == Some(true) {
        return Err(S3Error::refused(
            "AccessDenied",
            403,
            "Access Denied because object protected by object lock.",
        ));
    }
    Ok(())
}

/// A version by its id (`null` for the null version), and whether it is the current one.
///
/// # Errors
/// `InvalidArgument` for what is no version id.
pub async fn find_version(
    reader: &impl Reader,
    bucket: &Bucket,
    key: &str,
    version: &str,
) -> Result<Option<(ObjectVersion, bool)>, S3Error> {
    let is_null = version == "null";
    let order = match is_null {
        true => None,
        false => Some(
            order_of(version)
                .ok_or_else(|| S3Error::argument("versionId", version, "Invalid version id specified"))?,
        ),
    };
    let is_same = |found: &ObjectVersion| match is_null {
        true => found.version_id.is_none(),
        false => found.version_id.as_deref() == Some(version),
    };
    let current = CURRENT.get(reader, &(bucket.id, key)).await?;
    if let Some(current) = current.filter(is_same) {
        return Ok(Some((current, true)));
    }
    let order = match order {
        Some(order) => Some(order),
        None => NULLS.get(reader, &(bucket.id, key)).await?.map(|at| at.order),
    };
    let Some(order) = order else { return Ok(None) };
    let older = OLDER.get(reader, &(bucket.id, key, Descending(order))).await?;
    Ok(older.filter(is_same).map(|older| (older, false)))
}

/// Writes a version that was changed in its place: tags, lock, list.
///
/// # Errors
/// Faults of the store.
pub fn store(
    txn: &Txn,
    bucket: &Bucket,
    key: &str,
    version: &ObjectVersion,
    is_current: bool,
) -> Result<(), StoreError> {
    match is_current {
        true => CURRENT.put(txn, &(bucket.id, key), version),
        false => OLDER.put(txn, &(bucket.id, key, Descending(version.order)), version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_in_which_they_were_made_also_on_a_clock_that_went_back() {
        let at = Timestamp::new(10, 5);
        assert_eq!(next_order(at, None), 10_000_000_005);
        assert_eq!(next_order(at, Some(3)), 10_000_000_005);
        assert_eq!(next_order(at, Some(20_000_000_000)), 20_000_000_001);
    }

    #[test]
    fn what_is_no_version_id_has_no_order() {
        for bad in ["", "null", "x", "AAAA", "////////////////////////////////"] {
            assert_eq!(order_of(bad), None, "{bad}");
        }
        assert_eq!(order_of("AAAAAAAAAAcAAAAAAAAAAAAAAAAAAAAA"), Some(7));
    }

    #[test]
    fn locks_hold_until_their_time_or_for_those_who_may_pass() {
        use crate::version::Retention;
        let until = Timestamp::from_secs(100);
        let version = |mode: Option<RetentionMode>, legal_hold| ObjectVersion {
            retention: mode.map(|mode| Retention { mode, until }),
            legal_hold,
            ..ObjectVersion::empty(pileus_core::AccountId::DEFAULT, Timestamp::from_secs(0))
        };
        let cases = [
            (None, None, 50, Bypass::No, true),
            (Some(RetentionMode::Governance), None, 50, Bypass::No, false),
            (Some(RetentionMode::Governance), None, 50, Bypass::Governance, true),
            (Some(RetentionMode::Compliance), None, 50, Bypass::Governance, false),
            (Some(RetentionMode::Compliance), None, 100, Bypass::No, true),
            (None, Some(true), 500, Bypass::Governance, false),
            (None, Some(false), 0, Bypass::No, true),
        ];
        for (mode, hold, now, bypass, may) in cases {
            let checked = check_lock(&version(mode, hold), Timestamp::from_secs(now), bypass);
            assert_eq!(checked.is_ok(), may, "{mode:?} {hold:?} {now} {bypass:?}");
        }
    }
}
