//! What a bucket's lifecycle rules say of an object, a version, a delete marker, an upload, and from when on. Pure.
//!
//! A number of days ends at the midnight (UTC) that follows it. Of two rules that want different things the object goes rather than
//! moves, moves to the colder class rather than the warmer, and sooner rather than later.
//!
//! Source: Amazon S3 User Guide, "Lifecycle configuration elements", "Examples of S3 Lifecycle configurations"; Amazon S3 API
//! Reference, "PutBucketLifecycleConfiguration".

use pileus_api_s3::{LifecycleRule, Tag};
use pileus_core::Timestamp;

const DAY_SECS: i64 = 86_400;

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key: &'a str,
    /// Bytes.
    pub size: u64,
    pub tags: &'a [(String, String)],
    pub storage_class: &'a str,
    pub modified: Timestamp,
}

/// What is to be done, and from when on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub due: Timestamp,
    pub action: Action,
    pub rule_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Expire,
    /// To this storage class.
    Transition(String),
}

/// The first midnight at or after `days` days from `from`.
pub fn after_days(from: Timestamp, days: i64) -> Timestamp {
    let seconds = from.as_secs().saturating_add(days.saturating_mul(DAY_SECS));
    let whole = seconds.div_euclid(DAY_SECS);
    let is_midnight = seconds.rem_euclid(DAY_SECS) == 0 && from.subsec_nanos() == 0;
    Timestamp::from_secs(if is_midnight { whole } else { whole + 1 } * DAY_SECS)
}

/// How far below the others a class stands: objects only move down.
fn coldness(class: &str) -> u8 {
    match class {
        "STANDARD" | "REDUCED_REDUNDANCY" | "" => 0,
        "STANDARD_IA" => 1,
        "INTELLIGENT_TIERING" => 2,
        "ONEZONE_IA" => 3,
        "GLACIER_IR" => 4,
        "GLACIER" => 5,
        "DEEP_ARCHIVE" => 6,
        _ => 0,
    }
}

fn is_enabled(rule: &LifecycleRule) -> bool {
    rule.status.as_deref() == Some("Enabled")
}

/// Whether a rule's filter takes the object.
pub fn takes(rule: &LifecycleRule, key: &str, size: Option<u64>, tags: &[(String, String)]) -> bool {
    let (mut prefix, mut wanted, mut above, mut below): (_, Vec<&Tag>, _, _) =
        (rule.prefix.as_deref(), vec![], None, None);
    if let Some(filter) = &rule.filter {
        prefix = filter.prefix.as_deref().or(prefix);
        wanted.extend(&filter.tag);
        (above, below) = (filter.object_size_greater_than, filter.object_size_less_than);
        if let Some(and) = &filter.and {
            prefix = and.prefix.as_deref().or(prefix);
            wanted.extend(and.tags.iter().flatten());
            above = and.object_size_greater_than.or(above);
            below = and.object_size_less_than.or(below);
        }
    }
    let has = |tag: &&Tag| {
        tags.iter().any(|(key, value)| {
            Some(key.as_str()) == tag.key.as_deref() && Some(value.as_str()) == tag.value.as_deref()
        })
    };
    let size_fits = match size {
        Some(size) => {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            above.is_none_or(|above| size > above) && below.is_none_or(|below| size < below)
        }
        None => above.is_none() && below.is_none(),
    };
    key.starts_with(prefix.unwrap_or_default()) && size_fits && wanted.iter().all(has)
}

/// What the current version meets, the first first. `is_versioned` does not matter here: the caller writes a delete marker or removes.
pub fn current(rules: &[LifecycleRule], subject: Subject<'_>) -> Option<Step> {
    let mut steps = vec![];
    for rule in rules.iter().filter(|rule| is_enabled(rule)) {
        if !takes(rule, subject.key, Some(subject.size), subject.tags) {
            continue;
        }
        if let Some(expiration) = &rule.expiration {
            let due = match (expiration.days, expiration.date) {
                (Some(days), _) => Some(after_days(subject.modified, days)),
                (None, date) => date,
            };
            steps.extend(due.map(|due| Step { due, action: Action::Expire, rule_id: id(rule) }));
        }
        for transition in rule.transitions.iter().flatten() {
            let due = match (transition.days, transition.date) {
                (Some(days), _) => Some(after_days(subject.modified, days)),
                (None, date) => date,
            };
            let class = transition.storage_class.clone().unwrap_or_default();
            if coldness(&class) > coldness(subject.storage_class) {
                steps.extend(due.map(|due| Step {
                    due,
                    action: Action::Transition(class),
                    rule_id: id(rule),
                }));
            }
        }
    }
    first(steps)
}

/// What a version that is no longer current meets. `since` is when it stopped being current; `newer` how many noncurrent versions are
/// newer than it.
pub fn noncurrent(
    rules: &[LifecycleRule],
    subject: Subject<'_>,
    since: Timestamp,
    newer: u64,
) -> Option<Step> {
    let mut steps = vec![];
    for rule in rules.iter().filter(|rule| is_enabled(rule)) {
        if !takes(rule, subject.key, Some(subject.size), subject.tags) {
            continue;
        }
        let is_beyond = |keep: Option<i64>| newer >= u64::try_from(keep.unwrap_or(0)).unwrap_or(0);
        if let Some(expiration) = &rule.noncurrent_version_expiration
            && is_beyond(expiration.newer_noncurrent_versions)
        {
            let due = after_days(since, expiration.noncurrent_days.unwrap_or(0));
            steps.push(Step { due, action: Action::Expire, rule_id: id(rule) });
        }
        for transition in rule.noncurrent_version_transitions.iter().flatten() {
            let class = transition.storage_class.clone().unwrap_or_default();
            if is_beyond(transition.newer_noncurrent_versions)
                && coldness(&class) > coldness(subject.storage_class)
            {
                let due = after_days(since, transition.noncurrent_days.unwrap_or(0));
                steps.push(Step { due, action: Action::Transition(class), rule_id: id(rule) });
            }
        }
    }
    first(steps)
}

/// When a delete marker goes that is the only version left of its key. `Expiration` in days or by date removes it as well.
pub fn lone_marker(rules: &[LifecycleRule], key: &str, modified: Timestamp) -> Option<Step> {
    let steps =
        rules.iter().filter(|rule| is_enabled(rule) && takes(rule, key, None, &[])).filter_map(|rule| {
            let expiration = rule.expiration.as_ref()?;
            let due = match (expiration.expired_object_delete_marker, expiration.days, expiration.date) {
                (Some(true), _, _) => modified,
                (_, Some(days), _) => after_days(modified, days),
                (_, None, date) => date?,
            };
            Some(Step { due, action: Action::Expire, rule_id: id(rule) })
        });
    first(steps.collect())
}

/// When an upload that nobody completed is given up.
pub fn upload(rules: &[LifecycleRule], key: &str, initiated: Timestamp) -> Option<Step> {
    let steps =
        rules.iter().filter(|rule| is_enabled(rule) && takes(rule, key, None, &[])).filter_map(|rule| {
            let days = rule.abort_incomplete_multipart_upload.as_ref()?.days_after_initiation?;
            Some(Step { due: after_days(initiated, days), action: Action::Expire, rule_id: id(rule) })
        });
    first(steps.collect())
}

fn id(rule: &LifecycleRule) -> String {
    rule.id.clone().unwrap_or_default()
}

/// The earliest; of those that are due together removal, then the coldest class.
fn first(steps: Vec<Step>) -> Option<Step> {
    let rank = |step: &Step| match &step.action {
        Action::Expire => 0,
        Action::Transition(class) => 10 - coldness(class),
    };
    steps.into_iter().min_by_key(|step| (step.due, rank(step)))
}

/// `x-amz-expiration` of a current version; `None` when no rule removes it.
pub fn expiration_header(rules: &[LifecycleRule], subject: Subject<'_>) -> Option<String> {
    let only: Vec<LifecycleRule> = rules
        .iter()
        .filter(|rule| rule.expiration.is_some())
        .map(|rule| LifecycleRule { transitions: None, ..rule.clone() })
        .collect();
    let step = current(&only, subject)?;
    Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", step.due.to_http_date(), escape(&step.rule_id)))
}

/// `x-amz-abort-date` and `x-amz-abort-rule-id` of an upload.
pub fn abort_headers(
    rules: &[LifecycleRule],
    key: &str,
    initiated: Timestamp,
) -> Option<(Timestamp, String)> {
    upload(rules, key, initiated).map(|step| (step.due, step.rule_id))
}

/// Whether any rule ends or moves anything: if none does the bucket need not be looked through.
pub fn has_work(rules: &[LifecycleRule]) -> bool {
    rules.iter().any(is_enabled)
}

fn escape(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
