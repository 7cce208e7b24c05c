//! `PutBucketLifecycleConfiguration`, `GetBucketLifecycleConfiguration`, `DeleteBucketLifecycle`. What the rules mean:
//! `lifecycle/rules.rs`; who carries them out: `lifecycle/worker.rs`.
//!
//! Source: Amazon S3 API Reference, "PutBucketLifecycleConfiguration". Recorded: the sentences.

use pileus_api_s3 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::{change, missing, refuse, stored};
use crate::bucket::{Bucket, Configured};
use crate::error::S3Error;
use crate::lifecycle;

/// `PutBucketLifecycleConfiguration`
pub async fn put_bucket_lifecycle_configuration(
    cx: &Cx,
    input: api::PutBucketLifecycleConfigurationRequest,
) -> Result<api::PutBucketLifecycleConfigurationOutput, S3Error> {
    let mut given = input.lifecycle_configuration.ok_or(S3Error::MalformedXml)?;
    let least = input.transition_default_minimum_object_size.as_deref().unwrap_or(ALL_128K).to_owned();
    if ![ALL_128K, BY_CLASS].contains(&least.as_str()) {
        return Err(S3Error::argument(
            "x-amz-transition-default-minimum-object-size",
            least,
            "Invalid TransitionDefaultMinimumObjectSize found.",
        ));
    }
    check(given.rules.as_deref().unwrap_or_default()).map_err(refuse)?;
    for rule in given.rules.iter_mut().flatten() {
        // Rules without an id are given one.
        rule.id.get_or_insert_with(|| cx.ids().alphanumeric(48));
    }
    let (given, by_class) = (&given, least == BY_CLASS);
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::put(&txn, &mut bucket, "", given)?;
        lifecycle::watch(&txn, &bucket, by_class, cx.now())?;
        Ok(bucket.store(&txn)?)
    })
    .await?;
    Ok(api::PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size: Some(least) })
}

const ALL_128K: &str = "all_storage_classes_128K";
const BY_CLASS: &str = "varies_by_storage_class";

/// `GetBucketLifecycleConfiguration`
pub async fn get_bucket_lifecycle_configuration(
    cx: &Cx,
    input: api::GetBucketLifecycleConfigurationRequest,
) -> Result<api::GetBucketLifecycleConfigurationOutput, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let found = stored::find::<api::BucketLifecycleConfiguration>(cx.store(), &bucket).await?;
    let found = found.ok_or_else(|| {
        let message = "The lifecycle configuration does not exist";
        missing("NoSuchLifecycleConfiguration", message, &bucket.name)
    })?;
    let by_class = lifecycle::moves_small_objects(cx.store(), &bucket).await?;
    let least = if by_class { BY_CLASS } else { ALL_128K };
    Ok(api::GetBucketLifecycleConfigurationOutput {
        rules: found.rules,
        transition_default_minimum_object_size: Some(least.to_owned()),
    })
}

/// `DeleteBucketLifecycle`
pub async fn delete_bucket_lifecycle(
    cx: &Cx,
    input: api::DeleteBucketLifecycleRequest,
) -> Result<Unit, S3Error> {
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        stored::delete(&txn, &mut bucket, Configured::Lifecycle);
        lifecycle::unwatch(&txn, &bucket);
        Ok(bucket.store(&txn)?)
    })
    .await
}

const CLASSES: [&str; 6] =
    ["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE"];

/// Whether the rules of a configuration mean something.
///
/// # Errors
/// Code and sentence: `MalformedXML`, `InvalidArgument`, `InvalidRequest`.
pub fn check(rules: &[api::LifecycleRule]) -> Result<(), (&'static str, String)> {
    let malformed = || Err(("MalformedXML", super::MALFORMED_XML.to_owned()));
    let invalid = |text: &str| Err(("InvalidArgument", text.to_owned()));
    let request = |text: &str| Err(("InvalidRequest", text.to_owned()));
    if rules.is_empty() || rules.len() > 1_000 {
        return malformed();
    }
    for (at, rule) in rules.iter().enumerate() {
        if !matches!(rule.status.as_deref(), Some("Enabled" | "Disabled")) {
            return malformed();
        }
        if rule.filter.is_some() == rule.prefix.is_some() {
            return malformed();
        }
        if let Some(id) = &rule.id {
            if id.len() > 255 {
                return invalid("ID length should not exceed allowed limit of 255");
            }
            if rules[..at].iter().any(|other| other.id.as_ref() == Some(id)) {
                return invalid(&format!(
                    "Rule ID must be unique. Found same ID for more than one rule: {id}"
                ));
            }
        }
        check_filter(rule)?;
        if let Some(expiration) = &rule.expiration {
            let named = [
                expiration.days.is_some(),
                expiration.date.is_some(),
                expiration.expired_object_delete_marker.is_some(),
            ];
            if named.iter().filter(|named| **named).count() != 1 {
                return malformed();
            }
            if expiration.days.is_some_and(|days| days <= 0) {
                return invalid("'Days' for Expiration action must be a positive integer");
            }
            if expiration.date.is_some_and(|date| date.as_secs() % 86_400 != 0) {
                return invalid("'Date' must be at midnight GMT");
            }
            let has_tags = rule.filter.as_ref().is_some_and(|filter| {
                filter.tag.is_some() || filter.and.as_ref().is_some_and(|and| and.tags.is_some())
            });
            if expiration.expired_object_delete_marker.is_some() && has_tags {
                return request("ExpiredObjectDeleteMarker cannot be specified with Tags.");
            }
        }
        check_transitions(rule)?;
        if let Some(noncurrent) = &rule.noncurrent_version_expiration {
            match noncurrent.noncurrent_days {
                None => return malformed(),
                Some(days) if days <= 0 => {
                    return invalid(
                        "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
                    );
                }
                Some(_) => {}
            }
            if noncurrent.newer_noncurrent_versions.is_some_and(|count| !(1..=100).contains(&count)) {
                return invalid(
                    "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and 100",
                );
            }
        }
        if let Some(abort) = &rule.abort_incomplete_multipart_upload {
            if abort.days_after_initiation.is_none_or(|days| days <= 0) {
                return invalid(
                    "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
                );
            }
            let filter = rule.filter.clone().unwrap_or_default();
            let and = filter.and.clone().unwrap_or_default();
            if filter.tag.is_some() || and.tags.is_some() {
                return request("AbortIncompleteMultipartUpload cannot be specified with Tags.");
            }
        }
        let has_action = rule.expiration.is_some()
            || rule.transitions.as_ref().is_some_and(|list| !list.is_empty())
            || rule.noncurrent_version_transitions.as_ref().is_some_and(|list| !list.is_empty())
            || rule.noncurrent_version_expiration.is_some()
            || rule.abort_incomplete_multipart_upload.is_some();
        if !has_action {
            return request("At least one action needs to be specified in a rule.");
        }
    }
    Ok(())
}

fn check_filter(rule: &api::LifecycleRule) -> Result<(), (&'static str, String)> {
    let Some(filter) = &rule.filter else { return Ok(()) };
    let sized = filter.object_size_greater_than.is_some() || filter.object_size_less_than.is_some();
    let named = [filter.prefix.is_some(), filter.tag.is_some(), filter.and.is_some(), sized];
    let malformed = Err(("MalformedXML", super::MALFORMED_XML.to_owned()));
    if named.iter().filter(|named| **named).count() > 1 {
        return malformed;
    }
    let Some(and) = &filter.and else { return Ok(()) };
    let tags = and.tags.as_deref().unwrap_or_default();
    let parts = usize::from(and.prefix.is_some())
        + tags.len()
        + usize::from(and.object_size_greater_than.is_some())
        + usize::from(and.object_size_less_than.is_some());
    if parts < 2 {
        return malformed;
    }
    for (at, tag) in tags.iter().enumerate() {
        if tags[..at].iter().any(|other| other.key == tag.key) {
            return Err(("InvalidRequest", "Duplicate Tag Keys are not allowed.".to_owned()));
        }
    }
    Ok(())
}

fn check_transitions(rule: &api::LifecycleRule) -> Result<(), (&'static str, String)> {
    let malformed = || Err(("MalformedXML", super::MALFORMED_XML.to_owned()));
    let invalid = |text: String| Err(("InvalidArgument", text));
    let expires = rule.expiration.as_ref().and_then(|expiration| expiration.days);
    for transition in rule.transitions.iter().flatten() {
        let class = transition.storage_class.as_deref().unwrap_or_default();
        if !CLASSES.contains(&class) || transition.days.is_some() == transition.date.is_some() {
            return malformed();
        }
        if let Some(days) = transition.days {
            if days < 0 {
                return invalid("'Days' in Transition action must be nonnegative".to_owned());
            }
            if days < 30 && ["STANDARD_IA", "ONEZONE_IA"].contains(&class) {
                return invalid(format!(
                    "'Days' in Transition action must be greater than or equal to 30 for storageClass '{class}'"
                ));
            }
            if expires.is_some_and(|expires| expires <= days) {
                let prefix = rule.prefix.as_deref().unwrap_or_default();
                return invalid(format!(
                    "'Days' in the Expiration action for filter '(prefix={prefix})' must be greater than 'Days' in the Transition action"
                ));
            }
        }
        if transition.date.is_some_and(|date| date.as_secs() % 86_400 != 0) {
            return invalid("'Date' must be at midnight GMT".to_owned());
        }
    }
    for transition in rule.noncurrent_version_transitions.iter().flatten() {
        let class = transition.storage_class.as_deref().unwrap_or_default();
        match transition.noncurrent_days {
            _ if !CLASSES.contains(&class) => return malformed(),
            None => return malformed(),
            Some(days) if days < 30 && ["STANDARD_IA", "ONEZONE_IA"].contains(&class) => {
                return invalid(format!(
                    "'NoncurrentDays' in NoncurrentVersionTransition action must be greater than or equal to 30 for storageClass '{class}'"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, Transition};

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let fine = LifecycleRule {
            id: Some("a".into()),
            status: Some("Enabled".into()),
            filter: Some(LifecycleRuleFilter::default()),
            expiration: Some(LifecycleExpiration { days: Some(1), ..Default::default() }),
            ..LifecycleRule::default()
        };
        let to = |class: &str, days| Transition {
            storage_class: Some(class.into()),
            days: Some(days),
            ..Transition::default()
        };
        let no_action = LifecycleRule { expiration: None, ..fine.clone() };
        let both = LifecycleRule { prefix: Some(String::new()), ..fine.clone() };
        let zero = LifecycleRule {
            expiration: Some(LifecycleExpiration { days: Some(0), ..Default::default() }),
            ..fine.clone()
        };
        let late = LifecycleRule { transitions: Some(vec![to("GLACIER", 5)]), ..fine.clone() };
        let soon = LifecycleRule { transitions: Some(vec![to("STANDARD_IA", 5)]), ..no_action.clone() };
        let unknown = LifecycleRule { transitions: Some(vec![to("COLD", 5)]), ..no_action.clone() };
        let cases = [
            ("fine", vec![fine.clone()], Ok(())),
            ("none", vec![], Err("MalformedXML")),
            ("ids", vec![fine.clone(), fine.clone()], Err("InvalidArgument")),
            ("no action", vec![no_action], Err("InvalidRequest")),
            ("filter and prefix", vec![both], Err("MalformedXML")),
            ("zero days", vec![zero], Err("InvalidArgument")),
            ("goes before it moves", vec![late], Err("InvalidArgument")),
            ("too soon", vec![soon], Err("InvalidArgument")),
            ("no such class", vec![unknown], Err("MalformedXML")),
        ];
        for (name, rules, expected) in cases {
            assert_eq!(check(&rules).map_err(|(code, _)| code), expected, "{name}");
        }
    }
}
