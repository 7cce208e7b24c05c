//! `GetSubscriptionAttributes`, `SetSubscriptionAttributes`, and what the attributes mean.
//!
//! Source: Amazon SNS API Reference, "Subscribe", "SetSubscriptionAttributes", "GetSubscriptionAttributes"; Amazon SNS Developer Guide,
//! "Message replay for FIFO topic subscribers", "Amazon SNS dead-letter queues". Recorded: the sentences.

use pileus_api_sns as api;
use pileus_api_sqs as sqs;
use pileus_core::{Arn, Region, Timestamp};
use pileus_platform::Cx;
use pileus_wire::value::{Map, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Protocol, change, parse_arn};
use crate::error::SnsError;
use crate::filter::{self, Scope};
use crate::keys::{SUBSCRIPTIONS, TOPICS};
use crate::state::Sns;
use crate::topic::delivery_policy::HttpPolicy;
use crate::topic::{Address, Record as TopicRecord};
use crate::work;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    pub is_raw: bool,
    pub filter_policy: Option<String>,
    /// `FilterPolicyScope=MessageBody`
    pub filters_body: bool,
    pub delivery_policy: Option<String>,
    /// As it was given.
    pub redrive_policy: Option<String>,
    pub replay_policy: Option<String>,
    /// `Pending`, `In Progress`, `Completed`, `Failed`
    pub replay_status: Option<String>,
}

/// Which part of an archive is sent again. Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    pub from: u64,
    pub to: Option<u64>,
}

impl Attributes {
    /// Sets one attribute; an empty value resets it.
    ///
    /// # Errors
    /// `InvalidParameter`
    pub fn set(&mut self, name: &str, value: &str, protocol: Protocol, is_new: bool) -> Result<(), SnsError> {
        let given = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "RawMessageDelivery" => {
                self.is_raw = match value.to_ascii_lowercase().as_str() {
                    "true" if matches!(protocol, Protocol::Sqs | Protocol::Http | Protocol::Https) => true,
                    "true" => {
                        let reason = format!(
                            "RawMessageDelivery: Delivery protocol [{}] does not support raw message delivery.",
                            protocol.name()
                        );
                        return Err(worded(is_new, &reason));
                    }
                    "false" => false,
                    _ => {
                        let reason =
                            format!("RawMessageDelivery: Invalid value [{value}]. Must be true or false.");
                        return Err(worded(is_new, &reason));
                    }
                };
            }
            "FilterPolicy" => self.filter_policy = given.filter(|policy| policy.trim() != "{}"),
            "FilterPolicyScope" => {
                self.filters_body = match value {
                    "MessageAttributes" => false,
                    "MessageBody" => true,
                    _ => {
                        let reason = format!(
                            "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
                        );
                        return Err(worded(is_new, &reason));
                    }
                };
            }
            "DeliveryPolicy" => {
                if let Some(policy) = &given {
                    HttpPolicy::parse(policy)?;
                }
                if given.is_some() && !protocol.is_http() {
                    return Err(worded(is_new, "DeliveryPolicy: only HTTP and HTTPS subscriptions have one"));
                }
                self.delivery_policy = given;
            }
            "RedrivePolicy" => self.redrive_policy = given,
            "ReplayPolicy" => {
                self.replay_policy = given;
                self.replay_status = self.replay_policy.as_ref().map(|_| "Pending".to_owned());
                self.replay()?;
            }
            "SubscriptionRoleArn" => {
                return Err(SnsError::missing("SubscriptionRoleArn: there is no Firehose yet"));
            }
            _ if is_new => return Err(SnsError::reason("Attributes", format!("Unknown attribute {name}"))),
            _ => return Err(SnsError::invalid("AttributeName")),
        }
        Ok(())
    }

    /// # Errors
    /// What single attributes cannot tell: a filter policy that does not fit its scope.
    pub fn check(&self, is_new: bool) -> Result<(), SnsError> {
        if let Some(policy) = &self.filter_policy {
            filter::parse(policy, self.scope()).map_err(|error| {
                match error.starts_with("Filter policy scope") {
                    true => SnsError::invalid(error),
                    false => worded(is_new, &format!("FilterPolicy: {error}")),
                }
            })?;
        }
        self.dead_letter_queue()?;
        Ok(())
    }

    pub fn scope(&self) -> Scope {
        if self.filters_body { Scope::MessageBody } else { Scope::MessageAttributes }
    }

    /// The queue that takes what cannot be delivered.
    pub fn dead_letter_queue(&self) -> Result<Option<Arn>, SnsError> {
        let Some(policy) = &self.redrive_policy else { return Ok(None) };
        let value: Value = serde_json::from_str(policy)
            .map_err(|_| SnsError::invalid("RedrivePolicy: failed to parse JSON."))?;
        let target = value.get("deadLetterTargetArn").and_then(Value::as_str);
        let target =
            target.ok_or_else(|| SnsError::invalid("RedrivePolicy: deadLetterTargetArn is required"))?;
        let arn = Arn::parse(target).ok().filter(|arn| arn.service() == "sqs");
        arn.map(Some).ok_or_else(|| SnsError::invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn"))
    }

    /// # Errors
    /// `InvalidParameter`
    pub fn replay(&self) -> Result<Option<Replay>, SnsError> {
        let Some(policy) = &self.replay_policy else { return Ok(None) };
        let invalid = || SnsError::invalid("ReplayPolicy");
        let value: Value = serde_json::from_str(policy).map_err(|_| invalid())?;
        if value.get("PointType").and_then(Value::as_str) != Some("Timestamp") {
            return Err(SnsError::reason("ReplayPolicy", "PointType must be Timestamp"));
        }
        let moment = |name: &str| match value.get(name).map(|text| text.as_str().and_then(read_moment)) {
            None => Ok(None),
            Some(Some(moment)) => Ok(Some(moment)),
            Some(None) => Err(SnsError::reason("ReplayPolicy", format!("{name} must be a time in ISO 8601"))),
        };
        let from = moment("StartingPoint")?.ok_or_else(invalid)?;
        let to = moment("EndingPoint")?;
        if to.is_some_and(|to| to <= from) {
            return Err(SnsError::reason("ReplayPolicy", "EndingPoint must be after StartingPoint"));
        }
        Ok(Some(Replay { from, to }))
    }

    /// # Errors
    /// `InvalidParameter` where there is no archive.
    pub fn check_replay(&self, topic: &TopicRecord) -> Result<(), SnsError> {
        if self.replay_policy.is_some() && topic.attributes.archive_days.is_none() {
            let reason = "Topic does not have an ArchivePolicy";
            return Err(SnsError::reason("ReplayPolicy", reason));
        }
        Ok(())
    }

    /// Live messages wait: the replay goes on until it has caught up with them.
    pub fn is_held(&self) -> bool {
        let replays = matches!(self.replay_status.as_deref(), Some("Pending" | "In Progress"));
        replays && matches!(self.replay(), Ok(Some(Replay { to: None, .. })))
    }
}

/// `2023-09-24T00:00:00.000Z` as milliseconds since 1970.
fn read_moment(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T')?;
    let number = |text: &str| text.parse::<u32>().ok();
    let mut date = date.split('-');
    let (year, month, day) =
        (date.next()?.parse::<i64>().ok()?, number(date.next()?)?, number(date.next()?)?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':');
    let (hour, minute) = (number(clock.next()?)?, number(clock.next()?)?);
    let second = clock.next().map_or(Some(0), number)?;
    let fraction: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let whole = Timestamp::from_civil(year, month, day, hour, minute, second)?;
    Some(u64::try_from(whole.as_millis()).ok()? + fraction)
}

fn worded(is_new: bool, text: &str) -> SnsError {
    if is_new { SnsError::reason("Attributes", text) } else { SnsError::invalid(text) }
}

/// The queue of a redrive policy must be there, in the topic's region and the caller's account.
pub async fn check_redrive(cx: &Cx, attributes: &Attributes, topic: &Address) -> Result<(), SnsError> {
    let Some(queue) = attributes.dead_letter_queue()? else { return Ok(()) };
    let invalid = |reason: &str| SnsError::invalid(format!("RedrivePolicy: {reason}"));
    if queue.region() != topic.region.as_str() {
        return Err(invalid("dead-letter queue must be in the same region as the topic"));
    }
    if topic.is_fifo() && !queue.resource().ends_with(".fifo") && attributes.redrive_policy.is_some() {
        return Err(invalid("must use a FIFO queue as DLQ for a FIFO topic"));
    }
    let region =
        Region::parse(queue.region()).ok_or_else(|| invalid("deadLetterTargetArn is an invalid arn"))?;
    let request = sqs::GetQueueUrlRequest {
        queue_name: Some(queue.resource().to_owned()),
        queue_owner_aws_account_id: Some(queue.account().to_owned()),
    };
    match cx.with_region(region).call(sqs::GET_QUEUE_URL, request).await {
        Ok(_) => Ok(()),
        Err(fault) if &*fault.code == "QueueDoesNotExist" => {
            Err(invalid("deadLetterTargetArn does not exist"))
        }
        // Chosen: who may not look is not told that it is there.
        Err(_) => Ok(()),
    }
}

pub async fn get_subscription_attributes(
    cx: &Cx,
    input: api::GetSubscriptionAttributesInput,
) -> Result<api::GetSubscriptionAttributesResponse, SnsError> {
    let key = parse_arn(input.subscription_arn.as_deref())?;
    let record = SUBSCRIPTIONS.get(cx.store(), &key).await?.ok_or(SnsError::NO_SUBSCRIPTION)?;
    let topic = TOPICS.get(cx.store(), &record.topic.key()).await?;
    let attributes = &record.attributes;
    let mut shown: Map<String> = Map::default();
    let mut show = |name: &str, value: String| shown.insert(name, value);
    show("SubscriptionArn", record.arn());
    show("TopicArn", record.topic.arn().to_string());
    show("Owner", record.owner.to_string());
    show("Protocol", record.protocol.name().to_owned());
    show("Endpoint", record.endpoint.clone());
    show("SubscriptionPrincipal", record.principal.clone());
    show("RawMessageDelivery", attributes.is_raw.to_string());
    show("PendingConfirmation", (!record.is_confirmed).to_string());
    show("ConfirmationWasAuthenticated", record.was_authenticated.to_string());
    if let Some(policy) = &attributes.filter_policy {
        show("FilterPolicy", policy.clone());
        let scope = if attributes.filters_body { "MessageBody" } else { "MessageAttributes" };
        show("FilterPolicyScope", scope.to_owned());
    }
    if record.protocol.is_http() {
        let of_topic = topic.as_ref().and_then(|topic| topic.attributes.delivery_policy.as_deref());
        let effective = HttpPolicy::effective(attributes.delivery_policy.as_deref(), of_topic);
        show("EffectiveDeliveryPolicy", effective.show().to_string());
    }
    let optional = [
        ("DeliveryPolicy", &attributes.delivery_policy),
        ("RedrivePolicy", &attributes.redrive_policy),
        ("ReplayPolicy", &attributes.replay_policy),
        ("ReplayStatus", &attributes.replay_status),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            show(name, value.clone());
        }
    }
    Ok(api::GetSubscriptionAttributesResponse { attributes: Some(shown) })
}

pub async fn set_subscription_attributes(
    cx: &Cx,
    input: api::SetSubscriptionAttributesInput,
) -> Result<Unit, SnsError> {
    let key = &parse_arn(input.subscription_arn.as_deref())?;
    let name = &input.attribute_name.unwrap_or_default();
    let value = &input.attribute_value.unwrap_or_default();
    let known = SUBSCRIPTIONS.get(cx.store(), key).await?.ok_or(SnsError::NO_SUBSCRIPTION)?;
    let mut attributes = known.attributes.clone();
    attributes.set(name, value, known.protocol, false)?;
    attributes.check(false)?;
    if name == "RedrivePolicy" {
        check_redrive(cx, &attributes, &known.topic).await?;
    }
    if name == "ReplayPolicy" {
        let topic = cx.state::<Sns>().load(cx.store(), &known.topic).await?;
        attributes.check_replay(&topic.record)?;
    }
    change(cx, key, |txn, record| {
        record.attributes.set(name, value, record.protocol, false)?;
        record.attributes.check(false)?;
        if name == "ReplayPolicy" && record.attributes.replay_policy.is_some() {
            work::replay(txn, record, cx.now())?;
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_by_name_and_protocol() {
        let redrive = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:q"}"#;
        let cases = [
            ("RawMessageDelivery", "true", Protocol::Sqs, true),
            ("RawMessageDelivery", "true", Protocol::Lambda, false),
            ("RawMessageDelivery", "yes", Protocol::Sqs, false),
            ("FilterPolicy", r#"{"a":["b"]}"#, Protocol::Sqs, true),
            ("FilterPolicy", r#"{"a":"b"}"#, Protocol::Sqs, false),
            ("FilterPolicy", r#"{"a":{"b":["c"]}}"#, Protocol::Sqs, false),
            ("FilterPolicyScope", "MessageBody", Protocol::Sqs, true),
            ("FilterPolicyScope", "Body", Protocol::Sqs, false),
            ("DeliveryPolicy", r#"{"throttlePolicy":{"maxReceivesPerSecond":1}}"#, Protocol::Http, true),
            ("DeliveryPolicy", r#"{"throttlePolicy":{"maxReceivesPerSecond":1}}"#, Protocol::Sqs, false),
            ("RedrivePolicy", redrive, Protocol::Sqs, true),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"x"}"#, Protocol::Sqs, false),
            (
                "ReplayPolicy",
                r#"{"PointType":"Timestamp","StartingPoint":"2023-09-24T00:00:00.000Z"}"#,
                Protocol::Sqs,
                true,
            ),
            ("ReplayPolicy", r#"{"PointType":"Offset","StartingPoint":"0"}"#, Protocol::Sqs, false),
            ("Colour", "red", Protocol::Sqs, false),
        ];
        for (name, value, protocol, is_valid) in cases {
            let mut attributes = Attributes::default();
            let outcome = attributes.set(name, value, protocol, true).and_then(|()| attributes.check(true));
            assert_eq!(outcome.is_ok(), is_valid, "{name}={value}: {outcome:?}");
        }
    }

    #[test]
    fn moments_of_a_replay_are_read() {
        let cases = [
            ("1970-01-01T00:00:01.500Z", Some(1_500)),
            ("1970-01-01T00:01:00Z", Some(60_000)),
            ("1970-01-02T00:00", Some(86_400_000)),
            ("yesterday", None),
            ("1970-13-01T00:00:00Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read_moment(text), expected, "{text}");
        }
    }
}
