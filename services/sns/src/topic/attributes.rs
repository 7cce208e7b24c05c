//! Attributes of a topic: their names, values and defaults. Pure.
//!
//! Source: Amazon SNS API Reference, "CreateTopic", "SetTopicAttributes", "GetTopicAttributes". Recorded: the sentences, and the policy
//! that a topic is made with.

use std::collections::BTreeMap;

use pileus_iam::{DocumentKind, Policy, validate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Address;
use super::delivery_policy::TopicPolicy;
use crate::error::SnsError;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    pub display_name: String,
    /// Another one than the policy that topics are made with.
    pub policy: Option<String>,
    pub delivery_policy: Option<String>,
    /// `1` or `2`, where it was set.
    pub signature_version: Option<String>,
    pub tracing: Option<String>,
    /// Kept and shown: encryption at rest is the disk's here.
    #[serde(default)]
    pub kms_key: Option<String>,
    pub fifo: Option<Fifo>,
    /// `ArchivePolicy`: days that messages are kept.
    pub archive_days: Option<u16>,
    /// Milliseconds since 1970.
    pub archive_since: Option<u64>,
    /// `SQSFailureFeedbackRoleArn` and its like, as they were set.
    pub feedback: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fifo {
    pub content_based_deduplication: bool,
    /// `FifoThroughputScope=MessageGroup`: messages are the same only within their group.
    pub is_scoped_to_group: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Create,
    Change,
}

/// Protocols with feedback attributes, as the attributes spell them.
pub const FEEDBACK: [&str; 5] = ["HTTP", "Firehose", "Lambda", "Application", "SQS"];
const FEEDBACK_KINDS: [&str; 3] =
    ["SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn"];

impl Attributes {
    pub fn new(is_fifo: bool) -> Attributes {
        Attributes { fifo: is_fifo.then(Fifo::default), ..Attributes::default() }
    }

    /// Sets one attribute; an empty value resets it.
    ///
    /// # Errors
    /// `InvalidParameter`; what this cloud lacks, by name.
    pub fn set(
        &mut self,
        name: &str,
        value: &str,
        address: &Address,
        setting: Setting,
    ) -> Result<(), SnsError> {
        let given = (!value.is_empty()).then(|| value.to_owned());
        let invalid = |reason: &str| SnsError::reason(name, reason);
        match name {
            "DisplayName" => {
                if value.chars().count() > 100 || value.chars().any(char::is_control) {
                    return Err(SnsError::invalid("DisplayName"));
                }
                self.display_name = value.to_owned();
            }
            "Policy" => {
                self.policy = given.filter(|policy| !is_default_policy(policy, address));
                if let Some(policy) = &self.policy {
                    check_policy(policy)?;
                }
            }
            "DeliveryPolicy" => {
                if let Some(policy) = &given {
                    TopicPolicy::parse(policy)?;
                }
                self.delivery_policy = given;
            }
            "SignatureVersion" => match value {
                "1" | "2" => self.signature_version = given,
                _ => return Err(SnsError::invalid("SignatureVersion")),
            },
            "TracingConfig" => match value {
                "" | "PassThrough" => self.tracing = given,
                "Active" => return Err(SnsError::missing("active tracing of topics (AWS X-Ray)")),
                _ => return Err(SnsError::invalid("TracingConfig")),
            },
            "KmsMasterKeyId" => self.kms_key = given,
            "FifoTopic" if setting == Setting::Create => {
                truth(name, value)?;
            }
            "ContentBasedDeduplication" => {
                let fifo = self.fifo.as_mut();
                let fifo = fifo
                    .ok_or_else(|| invalid("Content-based deduplication can only be set for FIFO topics"))?;
                fifo.content_based_deduplication = truth(name, value)?;
            }
            "FifoThroughputScope" => {
                let fifo = self.fifo.as_mut();
                let fifo =
                    fifo.ok_or_else(|| invalid("FifoThroughputScope can only be set for FIFO topics"))?;
                fifo.is_scoped_to_group = match value {
                    "Topic" => false,
                    "MessageGroup" => true,
                    _ => return Err(SnsError::invalid("FifoThroughputScope")),
                };
            }
            "ArchivePolicy" => {
                if self.fifo.is_none() {
                    return Err(invalid("Archive policies can only be set for FIFO topics"));
                }
                self.archive_days = archive_days(value)?;
            }
            name if is_feedback(name) => {
                check_feedback(name, value)?;
                match given {
                    Some(value) => self.feedback.insert(name.to_owned(), value),
                    None => self.feedback.remove(name),
                };
            }
            _ if setting == Setting::Create => {
                return Err(SnsError::reason("Attributes", format!("Unknown attribute {name}")));
            }
            _ => return Err(SnsError::invalid("AttributeName")),
        }
        Ok(())
    }

    /// # Errors
    /// What single attributes cannot tell.
    pub fn check(&self) -> Result<(), SnsError> {
        match &self.delivery_policy {
            Some(policy) => TopicPolicy::parse(policy).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Whether the attributes of these names are the same.
    pub fn agrees<'a>(
        &self,
        other: &Attributes,
        mut names: impl Iterator<Item = &'a str>,
        address: &Address,
    ) -> bool {
        let (own, others) = (self.show(address), other.show(address));
        names.all(|name| own.get(name) == others.get(name))
    }

    /// As `GetTopicAttributes` shows them.
    pub fn show(&self, address: &Address) -> BTreeMap<&str, String> {
        let mut shown = BTreeMap::new();
        shown.insert("DisplayName", self.display_name.clone());
        shown.insert("Policy", self.policy.clone().unwrap_or_else(|| default_policy(address)));
        let effective = TopicPolicy::effective(self.delivery_policy.as_deref());
        shown.insert("EffectiveDeliveryPolicy", effective.to_string());
        let mut optional = |name, value: &Option<String>| {
            if let Some(value) = value {
                shown.insert(name, value.clone());
            }
        };
        optional("DeliveryPolicy", &self.delivery_policy);
        optional("SignatureVersion", &self.signature_version);
        optional("TracingConfig", &self.tracing);
        optional("KmsMasterKeyId", &self.kms_key);
        if let Some(fifo) = self.fifo {
            shown.insert("FifoTopic", "true".to_owned());
            shown.insert("ContentBasedDeduplication", fifo.content_based_deduplication.to_string());
            let scope = if fifo.is_scoped_to_group { "MessageGroup" } else { "Topic" };
            shown.insert("FifoThroughputScope", scope.to_owned());
        }
        if let Some(days) = self.archive_days {
            shown.insert("ArchivePolicy", json!({ "MessageRetentionPeriod": days.to_string() }).to_string());
        }
        for (name, value) in &self.feedback {
            shown.insert(name, value.clone());
        }
        shown
    }

    pub fn signature_version(&self) -> &str {
        self.signature_version.as_deref().unwrap_or("1")
    }

    /// The role and, of successes, the share (in percent) of deliveries by a protocol that are logged.
    pub fn feedback(&self, protocol: &str, is_success: bool) -> Option<(&str, u64)> {
        let kind = if is_success { "Success" } else { "Failure" };
        let role = self.feedback.get(&format!("{protocol}{kind}FeedbackRoleArn"))?;
        let rate = self.feedback.get(&format!("{protocol}SuccessFeedbackSampleRate"));
        let rate = rate.and_then(|rate| rate.parse().ok()).unwrap_or(0);
        Some((role, if is_success { rate } else { 100 }))
    }
}

fn truth(name: &str, value: &str) -> Result<bool, SnsError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(SnsError::invalid(name)),
    }
}

fn is_feedback(name: &str) -> bool {
    FEEDBACK
        .iter()
        .any(|protocol| name.strip_prefix(protocol).is_some_and(|kind| FEEDBACK_KINDS.contains(&kind)))
}

fn check_feedback(name: &str, value: &str) -> Result<(), SnsError> {
    if name.starts_with("Firehose") && !value.is_empty() {
        return Err(SnsError::missing(format!("{name}: there is no Firehose yet")));
    }
    let is_valid = match name.ends_with("SampleRate") {
        true => value.is_empty() || value.parse().is_ok_and(|rate: u8| rate <= 100),
        false => value.is_empty() || (value.starts_with("arn:") && value.contains(":role/")),
    };
    if is_valid { Ok(()) } else { Err(SnsError::invalid(name)) }
}

/// Source: Amazon SNS Developer Guide, "Message archiving for FIFO topic owners": 1 to 365 days.
fn archive_days(value: &str) -> Result<Option<u16>, SnsError> {
    let invalid = || SnsError::invalid("ArchivePolicy");
    if value.is_empty() {
        return Ok(None);
    }
    let policy: Value = serde_json::from_str(value).map_err(|_| invalid())?;
    let policy = policy.as_object().ok_or_else(invalid)?;
    if policy.is_empty() {
        return Ok(None);
    }
    let days = policy.get("MessageRetentionPeriod").filter(|_| policy.len() == 1).ok_or_else(invalid)?;
    let days = days.as_u64().or_else(|| days.as_str()?.parse().ok()).ok_or_else(invalid)?;
    match days {
        1..=365 => Ok(Some(days as u16)),
        _ => Err(SnsError::reason("ArchivePolicy", "MessageRetentionPeriod must be between 1 and 365 days")),
    }
}

/// # Errors
/// `InvalidParameter`
pub fn check_policy(text: &str) -> Result<(), SnsError> {
    if text.len() > 30_720 {
        return Err(SnsError::reason("Policy", "Policy is larger than 30720 bytes"));
    }
    let invalid = |error: &dyn std::fmt::Display| SnsError::invalid(format!("Policy Error: {error}"));
    validate(text, DocumentKind::Resource).map_err(|error| invalid(&error))?;
    Policy::parse(text).map_err(|error| invalid(&error))?;
    let policy: Value = serde_json::from_str(text).map_err(|error| invalid(&error))?;
    for statement in statements(&policy) {
        let actions = match statement.get("Action") {
            Some(Value::String(action)) => vec![action.clone()],
            Some(Value::Array(actions)) => {
                actions.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let is_ours = |action: &String| action == "*" || action.to_ascii_lowercase().starts_with("sns:");
        if !actions.iter().all(is_ours) {
            return Err(SnsError::invalid("Policy statement action out of service scope!"));
        }
    }
    Ok(())
}

/// The statements of a policy, one or many.
pub fn statements(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ => Vec::new(),
    }
}

/// The policy that topics are made with.
pub fn default_policy(address: &Address) -> String {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": [
                "SNS:GetTopicAttributes",
                "SNS:SetTopicAttributes",
                "SNS:AddPermission",
                "SNS:RemovePermission",
                "SNS:DeleteTopic",
                "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic",
                "SNS:Publish",
            ],
            "Resource": address.arn().as_str(),
            "Condition": { "StringEquals": { "AWS:SourceOwner": address.account.as_str() } },
        }],
    })
    .to_string()
}

fn is_default_policy(text: &str, address: &Address) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    parse(text).is_some_and(|policy| Some(policy) == parse(&default_policy(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Address {
        Address::from_arn(&format!("arn:aws:sns:us-east-1:123456789012:{name}")).unwrap()
    }

    #[test]
    fn values_are_checked_by_name() {
        let role = "arn:aws:iam::123456789012:role/log";
        let ours = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:Publish","Resource":"*"}]}"#;
        let others = ours.replace("sns:Publish", "sqs:SendMessage");
        // name, value, of a FIFO topic, whether it is taken
        let cases = [
            ("DisplayName", "News", false, true),
            ("DisplayName", &"x".repeat(101), false, false),
            ("Policy", ours, false, true),
            ("Policy", &others, false, false),
            ("Policy", "{", false, false),
            ("SignatureVersion", "2", false, true),
            ("SignatureVersion", "3", false, false),
            ("TracingConfig", "PassThrough", false, true),
            ("TracingConfig", "Active", false, false),
            ("KmsMasterKeyId", "alias/aws/sns", false, true),
            ("ContentBasedDeduplication", "true", true, true),
            ("ContentBasedDeduplication", "true", false, false),
            ("FifoThroughputScope", "MessageGroup", true, true),
            ("FifoThroughputScope", "Queue", true, false),
            ("ArchivePolicy", r#"{"MessageRetentionPeriod":"30"}"#, true, true),
            ("ArchivePolicy", r#"{"MessageRetentionPeriod":366}"#, true, false),
            ("ArchivePolicy", r#"{"MessageRetentionPeriod":"30"}"#, false, false),
            ("SQSFailureFeedbackRoleArn", role, false, true),
            ("SQSSuccessFeedbackSampleRate", "101", false, false),
            ("LambdaSuccessFeedbackRoleArn", "role", false, false),
            ("FirehoseSuccessFeedbackRoleArn", role, false, false),
            ("Colour", "red", false, false),
        ];
        for (name, value, is_fifo, is_taken) in cases {
            let address = topic(if is_fifo { "t.fifo" } else { "t" });
            let mut attributes = Attributes::new(is_fifo);
            let outcome = attributes.set(name, value, &address, Setting::Change);
            assert_eq!(outcome.is_ok(), is_taken, "{name}={value}: {outcome:?}");
        }
    }

    #[test]
    fn the_policy_that_a_topic_is_made_with_is_not_kept() {
        let address = topic("t");
        let mut attributes = Attributes::new(false);
        attributes.set("Policy", &default_policy(&address), &address, Setting::Change).unwrap();
        assert_eq!(attributes.policy, None);
        assert!(attributes.show(&address)["Policy"].contains("__default_policy_ID"));
    }

    #[test]
    fn feedback_is_by_protocol_and_outcome() {
        let mut attributes = Attributes::new(false);
        let role = "arn:aws:iam::123456789012:role/log".to_owned();
        attributes.feedback.insert("SQSSuccessFeedbackRoleArn".into(), role.clone());
        assert_eq!(attributes.feedback("SQS", true), Some((role.as_str(), 0)));
        attributes.feedback.insert("SQSSuccessFeedbackSampleRate".into(), "50".into());
        assert_eq!(attributes.feedback("SQS", true), Some((role.as_str(), 50)));
        assert_eq!(attributes.feedback("SQS", false), None);
    }
}
