//! A queue's attributes: read, checked, shown. Pure.
//!
//! Source: API Reference, "SetQueueAttributes", "CreateQueue", "GetQueueAttributes". Recorded: the sentences.

use std::ops::RangeInclusive;

use pileus_iam::Policy;
use serde::{Deserialize, Serialize};

use crate::error::SqsError;
use crate::limits;
use crate::queue::redrive::{RedriveAllowPolicy, RedrivePolicy};
use crate::queue::url::Address;

/// What `SetQueueAttributes` can set. Durations in seconds, sizes in bytes, within AWS's bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    pub visibility_timeout: i64,
    pub maximum_message_size: i64,
    pub message_retention_period: i64,
    pub delay_seconds: i64,
    pub receive_message_wait_time: i64,
    pub policy: Option<String>,
    pub redrive_policy: Option<RedrivePolicy>,
    pub redrive_allow_policy: Option<RedriveAllowPolicy>,
    pub kms_master_key_id: Option<String>,
    pub kms_data_key_reuse_period: Option<i64>,
    pub sqs_managed_sse: bool,
    /// Set on a FIFO queue, and only there.
    pub fifo: Option<FifoAttributes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FifoAttributes {
    pub content_based_deduplication: bool,
    pub deduplication_scope: DeduplicationScope,
    pub throughput_limit: ThroughputLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeduplicationScope {
    Queue,
    MessageGroup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThroughputLimit {
    PerQueue,
    PerMessageGroupId,
}

/// Which request sets attributes: a queue's kind is chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Create,
    Change,
}

impl Attributes {
    /// What a queue has when nothing is said.
    pub fn new(is_fifo: bool) -> Attributes {
        let fifo = FifoAttributes {
            content_based_deduplication: false,
            deduplication_scope: DeduplicationScope::Queue,
            throughput_limit: ThroughputLimit::PerQueue,
        };
        Attributes {
            visibility_timeout: 30,
            maximum_message_size: *limits::MAXIMUM_MESSAGE_SIZE.end(),
            message_retention_period: 345_600,
            delay_seconds: 0,
            receive_message_wait_time: 0,
            policy: None,
            redrive_policy: None,
            redrive_allow_policy: None,
            kms_master_key_id: None,
            kms_data_key_reuse_period: None,
            sqs_managed_sse: true,
            fifo: is_fifo.then_some(fifo),
        }
    }

    /// Sets each named attribute; `self` keeps its values when one of them is wrong.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, or `InvalidParameterValue` for the redrive policies.
    pub fn set(
        &mut self,
        changes: &[(&str, &str)],
        queue: &Address,
        setting: Setting,
    ) -> Result<(), SqsError> {
        let mut changed = self.clone();
        for (name, value) in changes {
            changed.set_one(name, value, queue, setting)?;
        }
        changed.settle_encryption(changes)?;
        if let Some(fifo) = &changed.fifo
            && fifo.throughput_limit == ThroughputLimit::PerMessageGroupId
            && fifo.deduplication_scope != DeduplicationScope::MessageGroup
        {
            return Err(SqsError::InvalidAttributeValue(
                "The value perMessageGroupId is allowed for FifoThroughputLimit only when the value of DeduplicationScope is messageGroup.".to_owned(),
            ));
        }
        *self = changed;
        Ok(())
    }

    fn set_one(
        &mut self,
        name: &str,
        value: &str,
        queue: &Address,
        setting: Setting,
    ) -> Result<(), SqsError> {
        let number = |range: &RangeInclusive<i64>| number(name, value, range);
        match name {
            "VisibilityTimeout" => self.visibility_timeout = number(&limits::VISIBILITY_TIMEOUT)?,
            "MaximumMessageSize" => self.maximum_message_size = number(&limits::MAXIMUM_MESSAGE_SIZE)?,
            "MessageRetentionPeriod" => self.message_retention_period = number(&limits::RETENTION_PERIOD)?,
            "DelaySeconds" => self.delay_seconds = number(&limits::DELAY)?,
            "ReceiveMessageWaitTimeSeconds" => self.receive_message_wait_time = number(&limits::WAIT_TIME)?,
            "Policy" => self.policy = read_policy(value)?,
            "RedrivePolicy" => {
                self.redrive_policy =
                    not_empty(value).map(|text| RedrivePolicy::parse(text, queue)).transpose()?;
            }
            "RedriveAllowPolicy" => {
                self.redrive_allow_policy = not_empty(value).map(RedriveAllowPolicy::parse).transpose()?;
            }
            "KmsMasterKeyId" => self.kms_master_key_id = not_empty(value).map(str::to_owned),
            "KmsDataKeyReusePeriodSeconds" => {
                self.kms_data_key_reuse_period = Some(number(&limits::KMS_REUSE_PERIOD)?);
            }
            "SqsManagedSseEnabled" => self.sqs_managed_sse = boolean(name, value)?,
            _ => self.set_fifo(name, value, setting)?,
        }
        Ok(())
    }

    fn set_fifo(&mut self, name: &str, value: &str, setting: Setting) -> Result<(), SqsError> {
        match (name, &mut self.fifo) {
            ("FifoQueue", Some(_)) if value == "true" => Ok(()),
            ("FifoQueue", Some(_)) if setting == Setting::Change => Err(SqsError::InvalidAttributeValue(
                "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
                    .to_owned(),
            )),
            ("ContentBasedDeduplication", Some(fifo)) => {
                fifo.content_based_deduplication = boolean(name, value)?;
                Ok(())
            }
            ("DeduplicationScope", Some(fifo)) => {
                fifo.deduplication_scope = match value {
                    "queue" => DeduplicationScope::Queue,
                    "messageGroup" => DeduplicationScope::MessageGroup,
                    _ => return Err(SqsError::attribute(name)),
                };
                Ok(())
            }
            ("FifoThroughputLimit", Some(fifo)) => {
                fifo.throughput_limit = match value {
                    "perQueue" => ThroughputLimit::PerQueue,
                    "perMessageGroupId" => ThroughputLimit::PerMessageGroupId,
                    _ => return Err(SqsError::attribute(name)),
                };
                Ok(())
            }
            ("DeduplicationScope" | "FifoThroughputLimit", None) => Err(SqsError::InvalidAttributeName(
                format!("You can specify the {name} only when FifoQueue is set to true."),
            )),
            _ => Err(SqsError::unknown_attribute(name)),
        }
    }

    /// A queue is encrypted with SQS's key or with one of KMS; the one named last replaces the other.
    fn settle_encryption(&mut self, changes: &[(&str, &str)]) -> Result<(), SqsError> {
        let (mut names_kms, mut names_sqs) = (false, false);
        for (name, value) in changes {
            names_kms |= *name == "KmsMasterKeyId" && !value.is_empty();
            names_sqs |= *name == "SqsManagedSseEnabled" && *value == "true";
        }
        match (names_kms, names_sqs) {
            (true, true) => Err(SqsError::InvalidAttributeName(
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.".to_owned(),
            )),
            (true, false) => {
                self.sqs_managed_sse = false;
                Ok(())
            }
            (false, true) => {
                (self.kms_master_key_id, self.kms_data_key_reuse_period) = (None, None);
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }

    /// The value of an attribute as text; `None` when it is not set or is not one of these.
    pub fn get(&self, name: &str) -> Option<String> {
        let fifo = self.fifo.as_ref();
        match name {
            "VisibilityTimeout" => Some(self.visibility_timeout.to_string()),
            "MaximumMessageSize" => Some(self.maximum_message_size.to_string()),
            "MessageRetentionPeriod" => Some(self.message_retention_period.to_string()),
            "DelaySeconds" => Some(self.delay_seconds.to_string()),
            "ReceiveMessageWaitTimeSeconds" => Some(self.receive_message_wait_time.to_string()),
            "Policy" => self.policy.clone(),
            "RedrivePolicy" => self.redrive_policy.as_ref().map(|policy| policy.text.clone()),
            "RedriveAllowPolicy" => self.redrive_allow_policy.as_ref().map(|policy| policy.text.clone()),
            "KmsMasterKeyId" => self.kms_master_key_id.clone(),
            "KmsDataKeyReusePeriodSeconds" => {
                let period = self.kms_data_key_reuse_period.or(self.kms_master_key_id.as_ref().map(|_| 300));
                period.map(|seconds| seconds.to_string())
            }
            "SqsManagedSseEnabled" => Some(self.sqs_managed_sse.to_string()),
            "FifoQueue" => fifo.map(|_| "true".to_owned()),
            "ContentBasedDeduplication" => fifo.map(|fifo| fifo.content_based_deduplication.to_string()),
            "DeduplicationScope" => fifo.map(|fifo| {
                match fifo.deduplication_scope {
                    DeduplicationScope::Queue => "queue",
                    DeduplicationScope::MessageGroup => "messageGroup",
                }
                .to_owned()
            }),
            "FifoThroughputLimit" => fifo.map(|fifo| {
                match fifo.throughput_limit {
                    ThroughputLimit::PerQueue => "perQueue",
                    ThroughputLimit::PerMessageGroupId => "perMessageGroupId",
                }
                .to_owned()
            }),
            _ => None,
        }
    }

    /// The first of `names` whose value differs between the two.
    pub fn difference<'a>(
        &self,
        other: &Attributes,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<&'static str> {
        let names: Vec<&str> = names.collect();
        SETTABLE.into_iter().find(|name| names.contains(name) && !same_value(self.get(name), other.get(name)))
    }
}

/// Attributes that can be set, in the order in which `CreateQueue` compares them.
pub const SETTABLE: [&str; 15] = [
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// Attributes that only the service sets.
pub const COMPUTED: [&str; 6] = [
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
];

/// JSON is compared as JSON.
fn same_value(left: Option<String>, right: Option<String>) -> bool {
    let json = |text: &Option<String>| -> Option<serde_json::Value> {
        text.as_ref().filter(|text| text.starts_with('{')).and_then(|text| serde_json::from_str(text).ok())
    };
    left == right || (json(&left).is_some() && json(&left) == json(&right))
}

fn number(name: &str, value: &str, range: &RangeInclusive<i64>) -> Result<i64, SqsError> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| SqsError::attribute(name))
}

fn boolean(name: &str, value: &str) -> Result<bool, SqsError> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(SqsError::attribute(name)),
    }
}

fn not_empty(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

fn read_policy(value: &str) -> Result<Option<String>, SqsError> {
    let Some(text) = not_empty(value) else { return Ok(None) };
    Policy::parse(text).map_err(|_| SqsError::attribute("Policy"))?;
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::Arn;

    fn queue(name: &str) -> Address {
        let arn = Arn::parse(&format!("arn:aws:sqs:us-east-1:123456789012:{name}")).expect("an ARN");
        Address::from_arn(&arn).expect("a queue's")
    }

    fn set(name: &str, changes: &[(&str, &str)], setting: Setting) -> Result<Attributes, SqsError> {
        let queue = queue(name);
        let mut attributes = Attributes::new(queue.is_fifo());
        attributes.set(changes, &queue, setting).map(|()| attributes)
    }

    #[test]
    fn numbers_are_bound_as_on_aws() {
        let cases = [
            ("VisibilityTimeout", 0, 43_200),
            ("MaximumMessageSize", 1_024, 1_048_576),
            ("MessageRetentionPeriod", 60, 1_209_600),
            ("DelaySeconds", 0, 900),
            ("ReceiveMessageWaitTimeSeconds", 0, 20),
            ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
        ];
        for (name, low, high) in cases {
            for (value, fits) in [(low, true), (high, true), (low - 1, false), (high + 1, false)] {
                let got = set("jobs", &[(name, &value.to_string())], Setting::Change);
                assert_eq!(
                    got.as_ref().ok().and_then(|a| a.get(name)),
                    fits.then(|| value.to_string()),
                    "{name}"
                );
                if let Err(error) = got {
                    assert_eq!(error.code(), "InvalidAttributeValue");
                    assert_eq!(error.to_string(), format!("Invalid value for the parameter {name}."));
                }
            }
            assert!(set("jobs", &[(name, "ten")], Setting::Change).is_err());
        }
    }

    #[test]
    fn attributes_of_the_other_kind_of_queue_are_refused() {
        let cases = [
            (
                "jobs",
                "ContentBasedDeduplication",
                "true",
                Setting::Create,
                "Unknown Attribute ContentBasedDeduplication.",
            ),
            ("jobs", "FifoQueue", "false", Setting::Create, "Unknown Attribute FifoQueue."),
            ("jobs", "FifoQueue", "true", Setting::Change, "Unknown Attribute FifoQueue."),
            (
                "jobs.fifo",
                "FifoQueue",
                "false",
                Setting::Change,
                "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
            ),
            (
                "jobs",
                "DeduplicationScope",
                "queue",
                Setting::Change,
                "You can specify the DeduplicationScope only when FifoQueue is set to true.",
            ),
            ("jobs", "QueueArn", "x", Setting::Change, "Unknown Attribute QueueArn."),
            ("jobs", "Nonsense", "x", Setting::Change, "Unknown Attribute Nonsense."),
            (
                "jobs.fifo",
                "DeduplicationScope",
                "group",
                Setting::Change,
                "Invalid value for the parameter DeduplicationScope.",
            ),
        ];
        for (queue, name, value, setting, expected) in cases {
            assert_eq!(set(queue, &[(name, value)], setting).expect_err(name).to_string(), expected);
        }
    }

    #[test]
    fn one_kind_of_encryption_replaces_the_other() {
        let kms = set("jobs", &[("KmsMasterKeyId", "alias/a")], Setting::Change).expect("valid");
        assert_eq!(kms.get("SqsManagedSseEnabled").as_deref(), Some("false"));
        assert_eq!(kms.get("KmsDataKeyReusePeriodSeconds").as_deref(), Some("300"));
        let mut back = kms.clone();
        back.set(&[("SqsManagedSseEnabled", "true")], &queue("jobs"), Setting::Change).expect("valid");
        assert_eq!(back.get("KmsMasterKeyId"), None);
        let both = set("jobs", &[("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")], Setting::Change);
        assert_eq!(both.expect_err("both").code(), "InvalidAttributeName");
    }

    #[test]
    fn high_throughput_needs_deduplication_by_group() {
        let scope = ("DeduplicationScope", "messageGroup");
        let limit = ("FifoThroughputLimit", "perMessageGroupId");
        assert!(set("jobs.fifo", &[scope, limit], Setting::Create).is_ok());
        assert!(set("jobs.fifo", &[limit], Setting::Create).is_err());
    }

    #[test]
    fn an_empty_value_takes_a_policy_away() {
        let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let mut attributes = Attributes::new(false);
        attributes.policy = Some(policy.to_owned());
        attributes
            .set(&[("Policy", ""), ("RedrivePolicy", "")], &queue("jobs"), Setting::Change)
            .expect("valid");
        assert_eq!(attributes.policy, None);
        assert!(set("jobs", &[("Policy", "{nonsense")], Setting::Change).is_err());
    }

    #[test]
    fn only_named_attributes_differ() {
        let (left, mut right) = (Attributes::new(false), Attributes::new(false));
        right.delay_seconds = 5;
        assert_eq!(left.difference(&right, ["VisibilityTimeout"].into_iter()), None);
        assert_eq!(
            left.difference(&right, ["VisibilityTimeout", "DelaySeconds"].into_iter()),
            Some("DelaySeconds")
        );
    }
}
