//! Which rule of a bucket replicates an object, and what is refused of a configuration. Pure.
//!
//! Of the rules for one destination the one with the highest priority counts; an object may go to several destinations.
//!
//! Source: Amazon S3 User Guide, "Replication configuration file elements", "What does Amazon S3 replicate?".

use pileus_api_s3::{ReplicationConfiguration, ReplicationRule, Tag};
use pileus_core::Arn;
use serde::{Deserialize, Serialize};

/// What is to be replicated.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key: &'a str,
    pub tags: &'a [(String, String)],
    pub is_delete_marker: bool,
    /// It came here by replication itself.
    pub is_replica: bool,
}

/// Where a change goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub bucket: String,
    /// Who owns the copy, if the rule changes that.
    pub account: Option<String>,
    pub storage_class: Option<String>,
    pub rule_id: String,
}

/// The destinations of a change, in the order of their rules.
pub fn targets(configuration: &ReplicationConfiguration, subject: Subject<'_>) -> Vec<Target> {
    let mut best: Vec<(i64, &ReplicationRule, Target)> = vec![];
    for rule in configuration.rules.iter().flatten() {
        if rule.status.as_deref() != Some("Enabled") || !takes(rule, subject) {
            continue;
        }
        let Some(target) = target(rule) else { continue };
        let priority = rule.priority.unwrap_or(0);
        match best.iter_mut().find(|(_, _, other)| other.bucket == target.bucket) {
            Some(other) if other.0 < priority => *other = (priority, rule, target),
            Some(_) => {}
            None => best.push((priority, rule, target)),
        }
    }
    // A rule decides for its destination before it says what it does with delete markers.
    let goes = |rule: &ReplicationRule| {
        !subject.is_delete_marker || replicates_markers(rule) || (rule.filter.is_none())
    };
    best.into_iter().filter(|(_, rule, _)| goes(rule)).map(|(_, _, target)| target).collect()
}

fn replicates_markers(rule: &ReplicationRule) -> bool {
    rule.delete_marker_replication.as_ref().and_then(|marker| marker.status.as_deref()) == Some("Enabled")
}

fn target(rule: &ReplicationRule) -> Option<Target> {
    let destination = rule.destination.as_ref()?;
    let takes_over = destination.access_control_translation.is_some();
    Some(Target {
        bucket: bucket_name(destination.bucket.as_deref()?)?.to_owned(),
        account: destination.account.clone().filter(|_| takes_over),
        storage_class: destination.storage_class.clone(),
        rule_id: rule.id.clone().unwrap_or_default(),
    })
}

fn takes(rule: &ReplicationRule, subject: Subject<'_>) -> bool {
    if subject.is_replica {
        let follows = rule.source_selection_criteria.as_ref().and_then(|criteria| {
            criteria.replica_modifications.as_ref().and_then(|replicas| replicas.status.as_deref())
        });
        if follows != Some("Enabled") {
            return false;
        }
    }
    let (mut prefix, mut wanted): (_, Vec<&Tag>) = (rule.prefix.as_deref(), vec![]);
    if let Some(filter) = &rule.filter {
        prefix = filter.prefix.as_deref().or(prefix);
        wanted.extend(&filter.tag);
        if let Some(and) = &filter.and {
            prefix = and.prefix.as_deref().or(prefix);
            wanted.extend(and.tags.iter().flatten());
        }
    }
    let has = |tag: &&Tag| {
        subject.tags.iter().any(|(key, value)| {
            Some(key.as_str()) == tag.key.as_deref() && Some(value.as_str()) == tag.value.as_deref()
        })
    };
    // Source: "Replication configuration file elements": a rule with a tag filter replicates no delete markers.
    subject.key.starts_with(prefix.unwrap_or_default())
        && wanted.iter().all(has)
        && (!subject.is_delete_marker || wanted.is_empty())
}

/// The bucket's name in its ARN.
pub fn bucket_name(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:")?.split_once(":s3:::")?.1;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// A configuration that parsed: the role it acts with.
///
/// # Errors
/// Code and sentence: `InvalidRequest`, `InvalidArgument`, `MalformedXML`, and `NotImplemented` for what is not here.
pub fn check(configuration: &ReplicationConfiguration) -> Result<(), (&'static str, String)> {
    let malformed = || ("MalformedXML", crate::config::MALFORMED_XML.to_owned());
    let role = configuration.role.as_deref().unwrap_or_default();
    if Arn::parse(role).is_err() || !role.contains(":role/") {
        return Err(("InvalidArgument", "Invalid Role specified in replication configuration".to_owned()));
    }
    let rules = configuration.rules.as_deref().unwrap_or_default();
    if rules.is_empty() || rules.len() > 1_000 {
        return Err(malformed());
    }
    let mut ids: Vec<&str> = vec![];
    let mut priorities: Vec<(i64, &str)> = vec![];
    for rule in rules {
        let destination = rule.destination.as_ref().ok_or_else(malformed)?;
        let bucket = destination.bucket.as_deref().unwrap_or_default();
        if bucket_name(bucket).is_none() {
            return Err(("InvalidArgument", "Invalid bucket ARN".to_owned()));
        }
        if !matches!(rule.status.as_deref(), Some("Enabled" | "Disabled")) {
            return Err(malformed());
        }
        if rule.filter.is_some() {
            if rule.prefix.is_some() {
                return Err(malformed());
            }
            let Some(priority) = rule.priority else {
                return Err((
                    "InvalidRequest",
                    "Priority must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.".to_owned(),
                ));
            };
            if rule.delete_marker_replication.is_none() {
                return Err((
                    "InvalidRequest",
                    "DeleteMarkerReplication must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.".to_owned(),
                ));
            }
            if priorities.contains(&(priority, bucket)) {
                return Err(("InvalidRequest", format!("Found duplicate priority {priority}.")));
            }
            priorities.push((priority, bucket));
            let has_tags = rule
                .filter
                .as_ref()
                .is_some_and(|f| f.tag.is_some() || f.and.as_ref().is_some_and(|and| and.tags.is_some()));
            if has_tags && replicates_markers(rule) {
                return Err((
                    "InvalidRequest",
                    "Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide for more information.".to_owned(),
                ));
            }
        }
        if let Some(id) = rule.id.as_deref() {
            if id.len() > 255 {
                return Err((
                    "InvalidArgument",
                    "ID length should not exceed allowed limit of 255".to_owned(),
                ));
            }
            if ids.contains(&id) {
                return Err((
                    "InvalidRequest",
                    format!("Rule ID must be unique. Found same ID for more than one rule: {id}"),
                ));
            }
            ids.push(id);
        }
        lacking(rule)?;
    }
    Ok(())
}

/// What a rule may ask for and this cloud does not do.
fn lacking(rule: &ReplicationRule) -> Result<(), (&'static str, String)> {
    let destination = rule.destination.clone().unwrap_or_default();
    let existing = rule.existing_object_replication.as_ref().and_then(|e| e.status.as_deref());
    let kms = rule.source_selection_criteria.as_ref().and_then(|criteria| {
        criteria.sse_kms_encrypted_objects.as_ref().and_then(|objects| objects.status.as_deref())
    });
    let missing = if existing == Some("Enabled") {
        "ExistingObjectReplication"
    } else if destination.encryption_configuration.is_some() || kms == Some("Enabled") {
        "replication of objects under KMS keys"
    } else if destination
        .replication_time
        .as_ref()
        .is_some_and(|time| time.status.as_deref() == Some("Enabled"))
    {
        "ReplicationTime"
    } else if destination.metrics.as_ref().is_some_and(|metrics| metrics.status.as_deref() == Some("Enabled"))
    {
        "replication Metrics"
    } else {
        return Ok(());
    };
    Err(("NotImplemented", format!("{missing} is not implemented.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::{
        DeleteMarkerReplication, Destination, ReplicaModifications, ReplicationRuleFilter,
        SourceSelectionCriteria,
    };

    const ROLE: &str = "arn:aws:iam::123456789012:role/r";

    fn rule(id: &str, priority: i64, bucket: &str, prefix: &str) -> ReplicationRule {
        ReplicationRule {
            id: Some(id.into()),
            priority: Some(priority),
            status: Some("Enabled".into()),
            filter: Some(ReplicationRuleFilter { prefix: Some(prefix.into()), ..Default::default() }),
            delete_marker_replication: Some(DeleteMarkerReplication { status: Some("Disabled".into()) }),
            destination: Some(Destination {
                bucket: Some(format!("arn:aws:s3:::{bucket}")),
                ..Destination::default()
            }),
            ..ReplicationRule::default()
        }
    }

    fn with(rules: Vec<ReplicationRule>) -> ReplicationConfiguration {
        ReplicationConfiguration { role: Some(ROLE.into()), rules: Some(rules) }
    }

    #[test]
    fn each_destination_has_the_rule_of_the_highest_priority() {
        let mut cold = rule("cold", 5, "b", "logs/");
        cold.destination.as_mut().unwrap().storage_class = Some("GLACIER".into());
        let mut markers = rule("markers", 1, "c", "");
        markers.delete_marker_replication = Some(DeleteMarkerReplication { status: Some("Enabled".into()) });
        let mut tagged = rule("tagged", 1, "d", "");
        tagged.filter = Some(ReplicationRuleFilter {
            tag: Some(Tag { key: Some("a".into()), value: Some("1".into()) }),
            ..Default::default()
        });
        let mut follows = rule("follows", 1, "e", "");
        follows.source_selection_criteria = Some(SourceSelectionCriteria {
            replica_modifications: Some(ReplicaModifications { status: Some("Enabled".into()) }),
            ..Default::default()
        });
        let configuration = with(vec![rule("warm", 1, "b", ""), cold, markers, tagged, follows]);
        let tags = [("a".to_owned(), "1".to_owned())];
        let subject = |key| Subject { key, tags: &[], is_delete_marker: false, is_replica: false };
        let cases = [
            ("plain", subject("x"), "warm markers follows"),
            ("prefix", subject("logs/x"), "cold markers follows"),
            ("tags", Subject { tags: &tags, ..subject("x") }, "warm markers tagged follows"),
            ("marker", Subject { is_delete_marker: true, ..subject("x") }, "markers"),
            ("replica", Subject { is_replica: true, ..subject("x") }, "follows"),
        ];
        for (name, subject, expected) in cases {
            let got: Vec<_> = targets(&configuration, subject).into_iter().map(|t| t.rule_id).collect();
            assert_eq!(got.join(" "), expected, "{name}");
        }
    }

    #[test]
    fn configurations_that_mean_nothing_are_refused() {
        let mut no_priority = rule("a", 1, "b", "");
        no_priority.priority = None;
        let mut time = rule("a", 1, "b", "");
        time.existing_object_replication =
            Some(pileus_api_s3::ExistingObjectReplication { status: Some("Enabled".into()) });
        let cases = [
            ("fine", with(vec![rule("a", 1, "b", "")]), Ok(())),
            ("no rules", with(vec![]), Err("MalformedXML")),
            ("no role", ReplicationConfiguration { role: None, ..with(vec![]) }, Err("InvalidArgument")),
            ("priority", with(vec![no_priority]), Err("InvalidRequest")),
            ("twice", with(vec![rule("a", 1, "b", ""), rule("b", 1, "b", "")]), Err("InvalidRequest")),
            ("ids", with(vec![rule("a", 1, "b", ""), rule("a", 2, "b", "")]), Err("InvalidRequest")),
            ("bucket", with(vec![rule("a", 1, "", "")]), Err("InvalidArgument")),
            ("lacking", with(vec![time]), Err("NotImplemented")),
        ];
        for (name, configuration, expected) in cases {
            assert_eq!(check(&configuration).map_err(|(code, _)| code), expected, "{name}");
        }
    }
}
