//! Carries lifecycle rules out: one pass over a bucket a day, when its midnight (UTC) has passed on the movable clock. Everything that
//! rules end is due at a midnight, so nothing is looked at twice a day; a bucket whose rules changed is looked at at once.
//!
//! A pass goes by pages, keeps its place in the bucket's row, and changes one object in one transaction, which reads the object
//! again. One node at a time, under a lease.
//!
//! Source: Amazon S3 User Guide, "Expiring objects", "Transitioning objects using Amazon S3 Lifecycle".

use std::time::Duration;

use pileus_api_s3 as api;
use pileus_api_s3::LifecycleRule;
use pileus_core::Timestamp;
use pileus_platform::{Caller, Cx, Fault, Platform};
use pileus_store::key::Descending;
use pileus_store::{KeyRange, Lease};

use super::rules::{self, Action, Subject};
use super::{Cursor, WATCHED, Watched};
use crate::bucket::{Bucket, Versioning};
use crate::config::stored;
use crate::data::Freed;
use crate::effects::{self, Event, ObjectChange};
use crate::error::S3Error;
use crate::keys::{CURRENT, OLDER};
use crate::object::write::{self, Bypass};
use crate::version::ObjectVersion;

/// In whose name rules work: what they do is told as theirs, and is not replicated.
pub const PRINCIPAL: &str = "lifecycle.s3.amazonaws.com";
/// Wakes the worker: rules have changed.
pub const TOPIC: &str = "s3/lifecycle";
const LEASE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_secs(60);
/// After a pass that lost its lease, as when the clock was moved under it.
const RETRY: Duration = Duration::from_secs(1);
const PAGE: usize = 250;
const DAY_SECS: i64 = 86_400;
/// Smaller objects stay in their class unless a rule says otherwise. Source: "Transitioning objects", constraints.
const SMALL: u64 = 128 << 10;

pub async fn run(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    loop {
        // The clock may be moved meanwhile: then the next look is due at once.
        let started = platform.clock().now();
        let is_done = tick(&platform).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "lifecycle rules could not be carried out, and are tried again");
            false
        });
        let until = started + if is_done { INTERVAL } else { RETRY };
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

/// Whether all that was to be done is done, here or by another node.
async fn tick(platform: &Platform) -> Result<bool, S3Error> {
    let mut is_done = true;
    let today = platform.clock().now().as_secs().div_euclid(DAY_SECS);
    let mut lease: Option<Lease> = None;
    let mut range = WATCHED.all();
    loop {
        let page = WATCHED.scan(platform.store(), &range, PAGE).await?;
        let Some((last, _)) = page.rows.last() else { break };
        range = range.after(&WATCHED.key(last));
        for (id, watched) in page.rows {
            if watched.done_day >= today {
                continue;
            }
            if lease.is_none() {
                lease = platform.store().lease(TOPIC, LEASE).await?;
            }
            let Some(lease) = &lease else { return Ok(true) };
            match pass(platform, id, watched, today, lease).await {
                Ok(finished) => is_done &= finished,
                Err(error) => {
                    tracing::warn!(bucket = id, %error, "a bucket's lifecycle rules could not be carried out");
                }
            }
        }
        if !page.more {
            break;
        }
    }
    if let Some(lease) = lease {
        lease.release().await?;
    }
    Ok(is_done)
}

/// What a pass knows.
struct Pass {
    cx: Cx,
    bucket: Bucket,
    rules: Vec<LifecycleRule>,
    now: Timestamp,
    moves_small: bool,
    /// No rule takes keys that begin otherwise.
    prefix: String,
}

async fn pass(
    platform: &Platform,
    id: u64,
    watched: Watched,
    today: i64,
    lease: &Lease,
) -> Result<bool, S3Error> {
    let store = platform.store();
    let bucket = Bucket::find(store, &watched.bucket).await?.filter(|bucket| bucket.id == id);
    let rules = match &bucket {
        Some(bucket) => stored::find::<api::BucketLifecycleConfiguration>(store, bucket).await?,
        None => None,
    };
    let rules = rules.and_then(|found| found.rules).unwrap_or_default();
    let Some(bucket) = bucket.filter(|_| rules::has_work(&rules)) else {
        save(platform, id, Watched { done_day: today, cursor: None, ..watched }).await?;
        return Ok(true);
    };
    let cx = Cx::background(platform, PRINCIPAL, bucket.owner, bucket.region.clone());
    let prefix = common_prefix(&rules);
    let pass = Pass { now: cx.now(), cx, bucket, rules, moves_small: watched.moves_small, prefix };
    // A pass that goes on was begun for its own day; today's begins when it is over.
    let for_day = if watched.cursor.is_some() { watched.cursor_day } else { today };
    let mut cursor = watched.cursor.clone().unwrap_or(Cursor::Current(String::new()));
    loop {
        let next = match cursor {
            Cursor::Current(after) => pass.current(after).await?,
            Cursor::Older(after) => pass.older(after).await?,
            Cursor::Uploads(after) => pass.uploads(after).await?,
        };
        let Some(next) = next else { break };
        cursor = next;
        let place = Watched { cursor: Some(cursor.clone()), cursor_day: for_day, ..watched.clone() };
        save(platform, id, place).await?;
        if !lease.renew().await? {
            return Ok(false);
        }
        tokio::task::yield_now().await;
    }
    save(platform, id, Watched { done_day: for_day, cursor: None, ..watched }).await?;
    Ok(for_day == today)
}

/// Keeps the place, unless the rules were changed or removed meanwhile.
async fn save(platform: &Platform, id: u64, watched: Watched) -> Result<(), S3Error> {
    let watched = &watched;
    platform
        .store()
        .transact(|txn| async move {
            if let Some(now) = WATCHED.get(&txn, &id).await?
                && (now.moves_small, now.generation) == (watched.moves_small, watched.generation)
            {
                WATCHED.put(&txn, &id, watched)?;
            }
            Ok(())
        })
        .await
}

/// What all enabled rules' prefixes begin with.
fn common_prefix(rules: &[LifecycleRule]) -> String {
    let prefix = |rule: &LifecycleRule| {
        let filter = rule.filter.clone().unwrap_or_default();
        let and = filter.and.unwrap_or_default();
        and.prefix.or(filter.prefix).or(rule.prefix.clone()).unwrap_or_default()
    };
    let mut all = rules.iter().filter(|rule| rule.status.as_deref() == Some("Enabled")).map(prefix);
    let first = all.next().unwrap_or_default();
    all.fold(first, |common, other| {
        let same = common.chars().zip(other.chars()).take_while(|(a, b)| a == b);
        same.map(|(c, _)| c).collect()
    })
}

fn subject<'a>(key: &'a str, version: &'a ObjectVersion) -> Subject<'a> {
    Subject {
        key,
        size: version.size,
        tags: &version.tags,
        storage_class: version.storage_class(),
        modified: version.modified,
    }
}

impl Pass {
    /// The rows of a table under the prefix, after a key.
    fn range(&self, all: KeyRange, after: Option<bytes::Bytes>) -> KeyRange {
        match after {
            Some(after) => all.after(&after),
            None => all,
        }
    }

    async fn current(&self, after: String) -> Result<Option<Cursor>, S3Error> {
        let start = CURRENT.builder().key(&(self.bucket.id,)).str_prefix(&self.prefix).build();
        let after = (!after.is_empty()).then(|| CURRENT.key(&(self.bucket.id, after.as_str())));
        let page = CURRENT.scan(self.cx.store(), &self.range(KeyRange::prefix(start), after), PAGE).await?;
        for ((_, key), version) in &page.rows {
            let step = rules::current(&self.rules, subject(key, version));
            let Some(step) = step.filter(|step| step.due <= self.now) else { continue };
            match step.action {
                Action::Expire => self.expire(key, version).await?,
                Action::Transition(class) => self.transition(key, version, &class, true).await?,
            }
        }
        Ok(Some(match page.rows.last() {
            Some(((_, key), _)) if page.more => Cursor::Current(key.clone()),
            _ => Cursor::Older(String::new()),
        }))
    }

    /// A current version goes: behind a delete marker, or for good.
    async fn expire(&self, key: &str, seen: &ObjectVersion) -> Result<(), S3Error> {
        let cx = &self.cx;
        let freed = cx
            .transact(|txn| async move {
                let bucket = Bucket::load(&txn, &self.bucket.name).await?;
                let present = CURRENT.get(&txn, &(bucket.id, key)).await?;
                let is_same = present.as_ref().is_some_and(|present| present.order == seen.order);
                if bucket.id != self.bucket.id || !is_same {
                    return Ok(Freed::default());
                }
                // A lock outlives rules where there is no marker to hide behind.
                if bucket.versioning == Versioning::Never
                    && write::check_lock(seen, self.now, Bypass::No).is_err()
                {
                    return Ok(Freed::default());
                }
                let deleted = write::delete_current(cx, &txn, &bucket, key, present).await?;
                Ok::<_, S3Error>(deleted.freed)
            })
            .await?;
        freed.delete(cx).await;
        Ok(())
    }

    async fn transition(
        &self,
        key: &str,
        seen: &ObjectVersion,
        class: &str,
        is_current: bool,
    ) -> Result<(), S3Error> {
        if seen.size < SMALL && !self.may_move(class) && !self.names_sizes() {
            return Ok(());
        }
        let cx = &self.cx;
        cx.transact(|txn| async move {
            let found = match is_current {
                true => CURRENT.get(&txn, &(self.bucket.id, key)).await?,
                false => OLDER.get(&txn, &(self.bucket.id, key, Descending(seen.order))).await?,
            };
            let Some(mut version) = found.filter(|version| version.order == seen.order) else {
                return Ok(());
            };
            version.storage_class = Some(class.to_owned());
            let change =
                ObjectChange { bucket: &self.bucket, key, event: Event::Transitioned, version: &version };
            effects::object_changed(cx, &txn, &change).await?;
            write::store(&txn, &self.bucket, key, &version, is_current)?;
            Ok::<_, S3Error>(())
        })
        .await
    }

    /// Whether small objects move to the class: to the archives, where the configuration lets classes decide.
    fn may_move(&self, class: &str) -> bool {
        self.moves_small && ["GLACIER", "DEEP_ARCHIVE"].contains(&class)
    }

    /// Whether a rule speaks of sizes: such rules decide for themselves what is too small.
    fn names_sizes(&self) -> bool {
        self.rules.iter().any(|rule| {
            let filter = rule.filter.clone().unwrap_or_default();
            let and = filter.and.unwrap_or_default();
            filter.object_size_greater_than.or(and.object_size_greater_than).is_some()
                || filter.object_size_less_than.or(and.object_size_less_than).is_some()
        })
    }

    /// Noncurrent versions and lone delete markers, key by key.
    async fn older(&self, after: String) -> Result<Option<Cursor>, S3Error> {
        if self.bucket.versioning == Versioning::Never {
            return Ok(Some(Cursor::Uploads(String::new())));
        }
        let start = OLDER.builder().key(&(self.bucket.id,)).str_prefix(&self.prefix).build();
        let mut range = KeyRange::prefix(start);
        if !after.is_empty() {
            // Past all versions of the key.
            range = range.after(&OLDER.key(&(self.bucket.id, after.as_str(), Descending(0))));
        }
        let page = OLDER.scan(self.cx.store(), &range, PAGE).await?;
        let mut keys: Vec<&str> = page.rows.iter().map(|((_, key, _), _)| key.as_str()).collect();
        keys.dedup();
        let last = keys.last().map(|key| (*key).to_owned());
        for key in keys {
            self.key(key).await?;
        }
        Ok(Some(match last {
            Some(last) if page.more => Cursor::Older(last),
            _ => Cursor::Uploads(String::new()),
        }))
    }

    /// The older versions of one key, newest first.
    async fn key(&self, key: &str) -> Result<(), S3Error> {
        let store = self.cx.store();
        let has_current = CURRENT.get(store, &(self.bucket.id, key)).await?.is_some();
        let mut range = OLDER.under(&(self.bucket.id, key));
        let (mut newer, mut at, mut is_alone) = (0, 0, !has_current);
        let mut lone = None;
        // A version stopped being current when the one after it came.
        let mut since = None;
        loop {
            let page = OLDER.scan(store, &range, PAGE).await?;
            for (place, version) in page.rows {
                range = range.after(&OLDER.key(&place));
                let is_latest = at == 0 && !has_current;
                at += 1;
                let stopped = version.noncurrent_since.or(since);
                since = Some(version.modified);
                if is_latest {
                    lone = Some(version);
                    continue;
                }
                is_alone = false;
                let moment = stopped.unwrap_or(version.modified);
                let step = rules::noncurrent(&self.rules, subject(key, &version), moment, newer);
                newer += 1;
                let Some(step) = step.filter(|step| step.due <= self.now) else { continue };
                match step.action {
                    Action::Expire => self.remove(key, &version).await?,
                    Action::Transition(class) if !version.is_delete_marker => {
                        self.transition(key, &version, &class, false).await?;
                    }
                    Action::Transition(_) => {}
                }
            }
            if !page.more {
                break;
            }
        }
        if let Some(marker) = lone.filter(|marker| is_alone && marker.is_delete_marker) {
            let step = rules::lone_marker(&self.rules, key, marker.modified);
            if step.is_some_and(|step| step.due <= self.now) {
                self.remove(key, &marker).await?;
            }
        }
        Ok(())
    }

    /// A version goes for good, unless it is locked.
    async fn remove(&self, key: &str, seen: &ObjectVersion) -> Result<(), S3Error> {
        if write::check_lock(seen, self.now, Bypass::No).is_err() {
            return Ok(());
        }
        let cx = &self.cx;
        let freed = cx
            .transact(|txn| async move {
                let id = seen.version_text();
                let bypass = Bypass::No;
                let deleted = write::delete_version(cx, &txn, &self.bucket, key, id, bypass).await?;
                Ok::<_, S3Error>(deleted.freed)
            })
            .await?;
        freed.delete(cx).await;
        Ok(())
    }

    /// Uploads that nobody completed.
    async fn uploads(&self, after: String) -> Result<Option<Cursor>, S3Error> {
        let cx = self.cx.with_caller(Caller::root(self.bucket.owner));
        if !self.rules.iter().any(|rule| rule.abort_incomplete_multipart_upload.is_some()) {
            return Ok(None);
        }
        let (key_marker, upload_id_marker) = match after.split_once('\n') {
            Some((upload, key)) => (Some(key.to_owned()), Some(upload.to_owned())),
            None => (None, None),
        };
        let input = api::ListMultipartUploadsRequest {
            bucket: Some(self.bucket.name.clone()),
            prefix: Some(self.prefix.clone()).filter(|prefix| !prefix.is_empty()),
            key_marker,
            upload_id_marker,
            ..api::ListMultipartUploadsRequest::default()
        };
        let page = cx.call(api::LIST_MULTIPART_UPLOADS, input).await?;
        for upload in page.uploads.iter().flatten() {
            let (Some(key), Some(id), Some(at)) = (&upload.key, &upload.upload_id, upload.initiated) else {
                continue;
            };
            let step = rules::upload(&self.rules, key, at);
            if step.is_some_and(|step| step.due <= self.now) {
                let input = api::AbortMultipartUploadRequest {
                    bucket: Some(self.bucket.name.clone()),
                    key: Some(key.clone()),
                    upload_id: Some(id.clone()),
                    ..api::AbortMultipartUploadRequest::default()
                };
                let aborted: Result<_, Fault> = cx.call(api::ABORT_MULTIPART_UPLOAD, input).await;
                match aborted {
                    Ok(_) => {}
                    Err(fault) if fault.code == "NoSuchUpload" => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
        }
        let next = match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
            (Some(true), Some(key), Some(upload)) => Some(Cursor::Uploads(format!("{upload}\n{key}"))),
            _ => None,
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::LifecycleRuleFilter;

    #[test]
    fn a_pass_reads_only_keys_that_some_rule_may_take() {
        let rule = |prefix: &str, status: &str| LifecycleRule {
            status: Some(status.into()),
            filter: Some(LifecycleRuleFilter { prefix: Some(prefix.into()), ..Default::default() }),
            ..LifecycleRule::default()
        };
        let cases = [
            (vec![rule("logs/", "Enabled")], "logs/"),
            (vec![rule("logs/a", "Enabled"), rule("logs/b", "Enabled")], "logs/"),
            (vec![rule("logs/a", "Enabled"), rule("x", "Disabled")], "logs/a"),
            (vec![rule("logs/a", "Enabled"), rule("", "Enabled")], ""),
            (vec![], ""),
        ];
        for (rules, expected) in cases {
            assert_eq!(common_prefix(&rules), expected);
        }
    }
}
