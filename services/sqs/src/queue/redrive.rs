//! `RedrivePolicy` and `RedriveAllowPolicy`: which queue takes what a consumer could not process. Pure.
//!
//! Source: Amazon SQS Developer Guide, "Using dead-letter queues in Amazon SQS"; API Reference, "SetQueueAttributes".

use pileus_core::Arn;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SqsError;
use crate::limits;
use crate::queue::url::Address;

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePolicy {
    pub dead_letter_target: String,
    pub max_receive_count: u32,
    /// The JSON as it was set, which is how it is shown.
    pub text: String,
}

impl RedrivePolicy {
    /// # Errors
    /// `InvalidParameterValue`: not a JSON map, no or a wrong ARN, no count or one outside 1 to 1,000.
    pub fn parse(text: &str, source: &Address) -> Result<RedrivePolicy, SqsError> {
        let invalid = |reason: &str| SqsError::value(text, "RedrivePolicy", reason);
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text) else {
            return Err(invalid("Redrive policy is not a valid JSON map."));
        };
        let missing =
            |name: &str| invalid(&format!("Redrive policy does not contain mandatory attribute: {name}."));
        let target = map.get("deadLetterTargetArn").ok_or_else(|| missing("deadLetterTargetArn"))?;
        let count = map.get("maxReceiveCount").ok_or_else(|| missing("maxReceiveCount"))?;
        let target =
            target.as_str().and_then(|arn| Arn::parse(arn).ok()).and_then(|arn| Address::from_arn(&arn));
        let target = target.ok_or_else(|| invalid("Invalid value for deadLetterTargetArn."))?;
        let number = match count {
            Value::Number(number) => number.as_i64(),
            Value::String(digits) => digits.parse().ok(),
            _ => None,
        };
        let max_receive_count =
            number.filter(|number| limits::MAX_RECEIVE_COUNT.contains(number)).ok_or_else(|| {
                let shown = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
                invalid(&format!(
                    "Invalid value for maxReceiveCount: {shown}, valid values are from 1 to 1000 both inclusive."
                ))
            })?;
        if target.account != source.account || target.region != source.region {
            return Err(invalid("Dead-letter target owner should be same as the source."));
        }
        if target.is_fifo() != source.is_fifo() {
            return Err(invalid("Dead-letter queue must be same type of queue as the source."));
        }
        Ok(RedrivePolicy {
            dead_letter_target: target.name,
            max_receive_count: max_receive_count as u32,
            text: text.to_owned(),
        })
    }

    pub fn target(&self, source: &Address) -> Address {
        Address { name: self.dead_letter_target.clone(), ..source.clone() }
    }
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveAllowPolicy {
    permission: Permission,
    sources: Vec<String>,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Permission {
    AllowAll,
    DenyAll,
    ByQueue,
}

impl RedriveAllowPolicy {
    /// # Errors
    /// `InvalidParameterValue` unless `redrivePermission` is `allowAll`, `denyAll`, or `byQueue` with one to ten
    /// `sourceQueueArns`.
    pub fn parse(text: &str) -> Result<RedriveAllowPolicy, SqsError> {
        let invalid = || {
            let reason =
                "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.";
            SqsError::value(text, "RedriveAllowPolicy", reason)
        };
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text) else {
            return Err(invalid());
        };
        if map.keys().any(|key| key != "redrivePermission" && key != "sourceQueueArns") {
            return Err(invalid());
        }
        let sources = match map.get("sourceQueueArns") {
            None => None,
            Some(Value::Array(arns)) => {
                let arns: Option<Vec<String>> =
                    arns.iter().map(|arn| arn.as_str().map(str::to_owned)).collect();
                Some(arns.ok_or_else(invalid)?)
            }
            Some(_) => return Err(invalid()),
        };
        let (permission, sources) = match (map.get("redrivePermission").and_then(Value::as_str), sources) {
            (Some("allowAll"), None) => (Permission::AllowAll, Vec::new()),
            (Some("denyAll"), None) => (Permission::DenyAll, Vec::new()),
            (Some("byQueue"), Some(sources)) if (1..=10).contains(&sources.len()) => {
                (Permission::ByQueue, sources)
            }
            _ => return Err(invalid()),
        };
        Ok(RedriveAllowPolicy { permission, sources, text: text.to_owned() })
    }

    pub fn allows(&self, source: &Address) -> bool {
        match self.permission {
            Permission::AllowAll => true,
            Permission::DenyAll => false,
            Permission::ByQueue => self.sources.iter().any(|arn| *arn == source.arn().as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Address {
        let arn = Arn::parse(&format!("arn:aws:sqs:us-east-1:123456789012:{name}")).expect("an ARN");
        Address::from_arn(&arn).expect("a queue's")
    }

    #[test]
    fn a_redrive_policy_names_a_queue_of_the_same_kind_owner_and_region() {
        let dead = "arn:aws:sqs:us-east-1:123456789012:dead";
        let cases = [
            (format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":3}}"#), "jobs", Ok(3)),
            (format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"5"}}"#), "jobs", Ok(5)),
            (
                format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":0}}"#),
                "jobs",
                Err("maxReceiveCount: 0,"),
            ),
            (
                format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":1001}}"#),
                "jobs",
                Err("maxReceiveCount: 1001,"),
            ),
            (
                format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"x"}}"#),
                "jobs",
                Err("maxReceiveCount: x,"),
            ),
            (
                format!(r#"{{"deadLetterTargetArn":"{dead}"}}"#),
                "jobs",
                Err("mandatory attribute: maxReceiveCount"),
            ),
            (r#"{"maxReceiveCount":1}"#.to_owned(), "jobs", Err("mandatory attribute: deadLetterTargetArn")),
            (
                r#"{"deadLetterTargetArn":"dummy","maxReceiveCount":42}"#.to_owned(),
                "jobs",
                Err("Invalid value for deadLetterTargetArn."),
            ),
            (
                format!(r#"{{"deadLetterTargetArn":"{dead}","maxReceiveCount":3}}"#),
                "jobs.fifo",
                Err("same type of queue"),
            ),
            (
                r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:210987654321:dead","maxReceiveCount":3}"#
                    .to_owned(),
                "jobs",
                Err("owner"),
            ),
            ("[]".to_owned(), "jobs", Err("not a valid JSON map")),
            ("{".to_owned(), "jobs", Err("not a valid JSON map")),
        ];
        for (text, source, expected) in cases {
            match (RedrivePolicy::parse(&text, &queue(source)), expected) {
                (Ok(policy), Ok(count)) => assert_eq!(policy.max_receive_count, count),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_redrive_allow_policy_opens_a_queue_to_all_none_or_some() {
        let jobs = queue("jobs").arn();
        let cases = [
            (r#"{"redrivePermission":"allowAll"}"#.to_owned(), Some(true)),
            (r#"{"redrivePermission":"denyAll"}"#.to_owned(), Some(false)),
            (format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":["{jobs}"]}}"#), Some(true)),
            (r#"{"redrivePermission":"byQueue","sourceQueueArns":["arn:other"]}"#.to_owned(), Some(false)),
            (r#"{"redrivePermission":"byQueue","sourceQueueArns":[]}"#.to_owned(), None),
            (r#"{"redrivePermission":"byQueue"}"#.to_owned(), None),
            (r#"{"redrivePermission":"allowAll","sourceQueueArns":["a"]}"#.to_owned(), None),
            (r#"{"redrivePermission":"some"}"#.to_owned(), None),
            (r#"{"redrivePermission":"allowAll","more":1}"#.to_owned(), None),
            ("no".to_owned(), None),
        ];
        for (text, expected) in cases {
            let got = RedriveAllowPolicy::parse(&text).ok().map(|policy| policy.allows(&queue("jobs")));
            assert_eq!(got, expected, "{text}");
        }
    }
}
