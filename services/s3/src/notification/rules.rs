//! Which rules of a bucket's notification configuration an event meets, and what is refused of one. Pure.
//!
//! Source: Amazon S3 User Guide, "Amazon S3 Event Notifications", "Supported event types for SQS, SNS, and Lambda", "Configuring event
//! notifications using object key name filtering".

use pileus_api_s3::{NotificationConfiguration, NotificationConfigurationFilter};
use pileus_core::Arn;
use serde::{Deserialize, Serialize};

/// A destination of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Topic,
    Queue,
    Function,
}

/// One rule, whatever its destination.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub kind: Kind,
    pub id: &'a str,
    pub arn: &'a str,
    pub events: &'a [String],
    pub filter: Option<&'a NotificationConfigurationFilter>,
}

/// All rules of a configuration.
pub fn rules(configuration: &NotificationConfiguration) -> impl Iterator<Item = Rule<'_>> {
    fn text(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or_default()
    }
    fn list(list: &Option<Vec<String>>) -> &[String] {
        list.as_deref().unwrap_or_default()
    }
    let topics = configuration.topic_configurations.iter().flatten().map(|rule| Rule {
        kind: Kind::Topic,
        id: text(&rule.id),
        arn: text(&rule.topic_arn),
        events: list(&rule.events),
        filter: rule.filter.as_ref(),
    });
    let queues = configuration.queue_configurations.iter().flatten().map(|rule| Rule {
        kind: Kind::Queue,
        id: text(&rule.id),
        arn: text(&rule.queue_arn),
        events: list(&rule.events),
        filter: rule.filter.as_ref(),
    });
    let functions = configuration.lambda_function_configurations.iter().flatten().map(|rule| Rule {
        kind: Kind::Function,
        id: text(&rule.id),
        arn: text(&rule.lambda_function_arn),
        events: list(&rule.events),
        filter: rule.filter.as_ref(),
    });
    topics.chain(queues).chain(functions)
}

impl Rule<'_> {
    /// Whether the rule wants this event (`s3:ObjectCreated:Put`) of this key.
    pub fn wants(&self, event: &str, key: &str) -> bool {
        self.events.iter().any(|pattern| covers(pattern, event)) && {
            let (prefix, suffix) = affixes(self.filter);
            key.starts_with(prefix) && key.ends_with(suffix)
        }
    }
}

fn covers(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => event.starts_with(start),
        None => pattern == event,
    }
}

fn affixes(filter: Option<&NotificationConfigurationFilter>) -> (&str, &str) {
    let rules = filter.and_then(|filter| filter.key.as_ref()).and_then(|key| key.filter_rules.as_deref());
    let value = |wanted: &str| {
        let rule = rules
            .unwrap_or_default()
            .iter()
            .find(|rule| rule.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
        rule.and_then(|rule| rule.value.as_deref()).unwrap_or_default()
    };
    (value("prefix"), value("suffix"))
}

/// The events that can be asked for. The second word says whether this cloud has what they tell of.
pub const EVENTS: [(&str, bool); 31] = [
    ("s3:TestEvent", true),
    ("s3:ReducedRedundancyLostObject", true),
    ("s3:ObjectCreated:*", true),
    ("s3:ObjectCreated:Put", true),
    ("s3:ObjectCreated:Post", true),
    ("s3:ObjectCreated:Copy", true),
    ("s3:ObjectCreated:CompleteMultipartUpload", true),
    ("s3:ObjectRemoved:*", true),
    ("s3:ObjectRemoved:Delete", true),
    ("s3:ObjectRemoved:DeleteMarkerCreated", true),
    ("s3:ObjectRestore:*", true),
    ("s3:ObjectRestore:Post", true),
    ("s3:ObjectRestore:Completed", true),
    ("s3:ObjectRestore:Delete", true),
    ("s3:Replication:*", false),
    ("s3:Replication:OperationFailedReplication", true),
    ("s3:Replication:OperationNotTracked", false),
    ("s3:Replication:OperationMissedThreshold", false),
    ("s3:Replication:OperationReplicatedAfterThreshold", false),
    ("s3:LifecycleTransition", true),
    ("s3:IntelligentTiering", false),
    ("s3:ObjectAcl:Put", true),
    ("s3:LifecycleExpiration:*", true),
    ("s3:LifecycleExpiration:Delete", true),
    ("s3:LifecycleExpiration:DeleteMarkerCreated", true),
    ("s3:ObjectTagging:*", true),
    ("s3:ObjectTagging:Put", true),
    ("s3:ObjectTagging:Delete", true),
    ("s3:ObjectAnnotation:*", false),
    ("s3:ObjectAnnotation:Put", false),
    ("s3:ObjectAnnotation:Delete", false),
];

/// # Errors
/// Code and sentence: `InvalidArgument`, `NotImplemented` for what is not here.
pub fn check(configuration: &NotificationConfiguration) -> Result<(), (&'static str, String)> {
    let invalid = |text: &str| Err(("InvalidArgument", text.to_owned()));
    if configuration.event_bridge_configuration.is_some() {
        return Err(("NotImplemented", "EventBridgeConfiguration is not implemented.".to_owned()));
    }
    let all: Vec<Rule<'_>> = rules(configuration).collect();
    if all.len() > 100 {
        return invalid("The number of notification configurations exceeds the limit of 100");
    }
    for (at, rule) in all.iter().enumerate() {
        let service = match rule.kind {
            Kind::Topic => "sns",
            Kind::Queue => "sqs",
            Kind::Function => "lambda",
        };
        if !Arn::parse(rule.arn).is_ok_and(|arn| arn.service() == service && !arn.region().is_empty()) {
            return invalid("The ARN could not be parsed");
        }
        if rule.kind == Kind::Queue && rule.arn.ends_with(".fifo") {
            return invalid("FIFO SQS queues are not supported.");
        }
        if rule.kind == Kind::Topic && rule.arn.ends_with(".fifo") {
            return invalid("FIFO SNS topics are not supported.");
        }
        if rule.events.is_empty() {
            return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
        }
        for event in rule.events {
            match EVENTS.iter().find(|(name, _)| name == event) {
                Some((_, true)) => {}
                Some((_, false)) => return Err(("NotImplemented", format!("{event} is not implemented."))),
                None => return invalid("The event is not supported for notifications"),
            }
        }
        let filter_rules =
            rule.filter.and_then(|filter| filter.key.as_ref()).and_then(|k| k.filter_rules.as_deref());
        let mut seen = vec![];
        for filter in filter_rules.unwrap_or_default() {
            let name = filter.name.as_deref().unwrap_or_default().to_ascii_lowercase();
            if !["prefix", "suffix"].contains(&name.as_str()) {
                return invalid("filter rule name must be either prefix or suffix");
            }
            if seen.contains(&name) {
                return invalid("Cannot specify more than one prefix rule in a filter.");
            }
            if filter.value.as_ref().is_some_and(|value| value.len() > 1_024) {
                return invalid("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation");
            }
            seen.push(name);
        }
        if all[..at].iter().any(|other| overlap(other, rule)) {
            return invalid(
                "Configurations overlap. Configurations on the same bucket cannot share a common event type.",
            );
        }
        if !rule.id.is_empty() && all[..at].iter().any(|other| other.id == rule.id) {
            return invalid("Same ID used for multiple configurations. IDs must be unique");
        }
    }
    Ok(())
}

/// Whether one event of one key could meet both.
fn overlap(one: &Rule<'_>, other: &Rule<'_>) -> bool {
    let meet = |a: &String, b: &String| covers(a, b) || covers(b, a);
    if !one.events.iter().any(|a| other.events.iter().any(|b| meet(a, b))) {
        return false;
    }
    let ((p1, s1), (p2, s2)) = (affixes(one.filter), affixes(other.filter));
    (p1.starts_with(p2) || p2.starts_with(p1)) && (s1.ends_with(s2) || s2.ends_with(s1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::{FilterRule, QueueConfiguration, S3KeyFilter};

    fn queue(id: &str, events: &[&str], prefix: &str, suffix: &str) -> QueueConfiguration {
        let rule =
            |name: &str, value: &str| FilterRule { name: Some(name.into()), value: Some(value.into()) };
        QueueConfiguration {
            id: Some(id.into()),
            queue_arn: Some("arn:aws:sqs:us-east-1:123456789012:q".into()),
            events: Some(events.iter().map(|event| (*event).to_owned()).collect()),
            filter: Some(NotificationConfigurationFilter {
                key: Some(S3KeyFilter {
                    filter_rules: Some(vec![rule("Prefix", prefix), rule("suffix", suffix)]),
                }),
            }),
        }
    }

    fn of(queues: Vec<QueueConfiguration>) -> NotificationConfiguration {
        NotificationConfiguration {
            queue_configurations: Some(queues),
            ..NotificationConfiguration::default()
        }
    }

    #[test]
    fn a_rule_wants_events_of_its_kinds_and_keys() {
        let configuration = of(vec![
            queue("new", &["s3:ObjectCreated:*"], "in/", ".jpg"),
            queue("gone", &["s3:ObjectRemoved:Delete"], "", ""),
        ]);
        let cases = [
            ("s3:ObjectCreated:Put", "in/a.jpg", "new"),
            ("s3:ObjectCreated:Copy", "in/a.png", ""),
            ("s3:ObjectCreated:Put", "out/a.jpg", ""),
            ("s3:ObjectRemoved:Delete", "x", "gone"),
            ("s3:ObjectRemoved:DeleteMarkerCreated", "x", ""),
        ];
        for (event, key, expected) in cases {
            let got: Vec<_> = rules(&configuration).filter(|r| r.wants(event, key)).map(|r| r.id).collect();
            assert_eq!(got.join(" "), expected, "{event} {key}");
        }
    }

    #[test]
    fn configurations_that_mean_nothing_are_refused() {
        let fifo = QueueConfiguration {
            queue_arn: Some("arn:aws:sqs:us-east-1:123456789012:q.fifo".into()),
            ..queue("a", &["s3:ObjectCreated:Put"], "", "")
        };
        let no_arn = QueueConfiguration {
            queue_arn: Some("q".into()),
            ..queue("a", &["s3:ObjectCreated:Put"], "", "")
        };
        let created = |id, prefix| queue(id, &["s3:ObjectCreated:*"], prefix, "");
        let cases = [
            ("fine", of(vec![created("a", "x/"), created("b", "y/")]), Ok(())),
            ("overlap", of(vec![created("a", "x/"), created("b", "x/y")]), Err("InvalidArgument")),
            (
                "overlap of a star",
                of(vec![created("a", ""), queue("b", &["s3:ObjectCreated:Put"], "", "")]),
                Err("InvalidArgument"),
            ),
            ("ids", of(vec![created("a", "x/"), created("a", "y/")]), Err("InvalidArgument")),
            ("fifo", of(vec![fifo]), Err("InvalidArgument")),
            ("arn", of(vec![no_arn]), Err("InvalidArgument")),
            ("event", of(vec![queue("a", &["s3:Nothing"], "", "")]), Err("InvalidArgument")),
            ("lacking", of(vec![queue("a", &["s3:IntelligentTiering"], "", "")]), Err("NotImplemented")),
        ];
        for (name, configuration, expected) in cases {
            assert_eq!(check(&configuration).map_err(|(code, _)| code), expected, "{name}");
        }
    }
}
