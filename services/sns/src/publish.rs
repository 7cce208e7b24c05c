//! `Publish`, `PublishBatch`: one commit, whatever the number of subscribers.
//!
//! A standard topic's message becomes one piece of work. A FIFO topic's message becomes a row of its group and a piece of work for the
//! group: whoever works it takes the group's rows in order.
//!
//! Source: Amazon SNS API Reference, the two operations; Amazon SNS Developer Guide, "Amazon SNS message deduplication for FIFO topics",
//! "Amazon SNS high throughput for FIFO topics". Recorded: the sentences.

use pileus_api_sns as api;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Map;

use crate::error::SnsError;
use crate::keys::{ARCHIVE, DUPLICATES, Duplicate, FIFO, GROUPS, Group};
use crate::message::{self, Message, Written};
use crate::state::{Sns, Topic, millis};
use crate::topic::{Address, attributes::Fifo};
use crate::{mobile, sms, work};

const MAX_ENTRIES: usize = 10;
/// Source: "Amazon SNS message deduplication for FIFO topics".
const DEDUPLICATION_MILLIS: u64 = 300_000;

/// One message as it was sent.
struct Outgoing {
    message: Message,
    bytes: usize,
}

struct Given<'a> {
    message: Option<&'a str>,
    subject: Option<&'a str>,
    structure: Option<&'a str>,
    attributes: Option<&'a Map<api::MessageAttributeValue>>,
    group: Option<&'a str>,
    deduplication_id: Option<&'a str>,
}

impl Given<'_> {
    fn check(&self, cx: &Cx) -> Result<Outgoing, SnsError> {
        let Given { message, subject, structure, attributes, .. } = *self;
        let checked = Written { message, subject, structure, attributes }.check()?;
        check_id(self.group, "MessageGroupId")?;
        check_id(self.deduplication_id, "MessageDeduplicationId")?;
        let message = Message {
            id: cx.ids().uuid(),
            subject: subject.map(str::to_owned),
            body: message.unwrap_or_default().to_owned(),
            is_structured: checked.is_structured,
            attributes: checked.attributes,
            at: cx.now().truncate_to_millis(),
            group: self.group.map(str::to_owned),
            deduplication_id: self.deduplication_id.map(str::to_owned),
            sequence: None,
        };
        Ok(Outgoing { message, bytes: checked.bytes })
    }
}

fn check_id(id: Option<&str>, parameter: &str) -> Result<(), SnsError> {
    match id {
        Some(id) if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let reason = format!(
                "{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            );
            Err(SnsError::reason(parameter, reason))
        }
        _ => Ok(()),
    }
}

/// What the kind of topic asks of a message.
fn check_kind(fifo: Option<Fifo>, message: &Message) -> Result<(), SnsError> {
    let Some(fifo) = fifo else {
        return match &message.deduplication_id {
            Some(_) => Err(SnsError::reason(
                "MessageDeduplicationId",
                "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
            )),
            None => Ok(()),
        };
    };
    if message.group.is_none() {
        return Err(SnsError::invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    if message.deduplication_id.is_none() && !fifo.content_based_deduplication {
        return Err(SnsError::invalid(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ));
    }
    Ok(())
}

/// What the publisher learns.
struct Sent {
    id: String,
    sequence: Option<u64>,
}

/// `10000000000000003000`: twenty digits.
pub fn sequence_number(sequence: u64) -> String {
    format!("{sequence:020}")
}

pub async fn publish(cx: &Cx, input: api::PublishInput) -> Result<api::PublishResponse, SnsError> {
    let given = Given {
        message: input.message.as_deref(),
        subject: input.subject.as_deref(),
        structure: input.message_structure.as_deref(),
        attributes: input.message_attributes.as_ref(),
        group: input.message_group_id.as_deref(),
        deduplication_id: input.message_deduplication_id.as_deref(),
    };
    let targets = [&input.topic_arn, &input.target_arn, &input.phone_number];
    if targets.into_iter().flatten().count() > 1 {
        return Err(SnsError::invalid(
            "TopicArn, TargetArn and PhoneNumber Reason: only one of them may be given",
        ));
    }
    if let Some(number) = &input.phone_number {
        let id = sms::publish(cx, number, given.check(cx)?.message).await?;
        return Ok(api::PublishResponse { message_id: Some(id), sequence_number: None });
    }
    let Some(target) = input.topic_arn.as_deref().or(input.target_arn.as_deref()) else {
        return Err(SnsError::reason("TopicArn or TargetArn", "no value for required parameter"));
    };
    if mobile::is_endpoint_arn(target) {
        let id = mobile::publish(cx, target, given.check(cx)?.message).await?;
        return Ok(api::PublishResponse { message_id: Some(id), sequence_number: None });
    }
    let address = &Address::parse(Some(target))?;
    let outgoing = &given.check(cx)?;
    let sns = cx.state::<Sns>();
    let sent = cx
        .transact(|txn| async move {
            let topic = sns.load_known(&txn, address).await?;
            check_kind(topic.record.attributes.fifo, &outgoing.message)?;
            put(cx, &txn, &topic, &outgoing.message).await
        })
        .await?;
    Ok(api::PublishResponse {
        message_id: Some(sent.id),
        sequence_number: sent.sequence.map(sequence_number),
    })
}

pub async fn publish_batch(
    cx: &Cx,
    input: api::PublishBatchInput,
) -> Result<api::PublishBatchResponse, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let entries = input.publish_batch_request_entries.unwrap_or_default();
    check_entries(&entries)?;
    let mut checked = Vec::new();
    for entry in &entries {
        let given = Given {
            message: entry.message.as_deref(),
            subject: entry.subject.as_deref(),
            structure: entry.message_structure.as_deref(),
            attributes: entry.message_attributes.as_ref(),
            group: entry.message_group_id.as_deref(),
            deduplication_id: entry.message_deduplication_id.as_deref(),
        };
        checked.push((entry.id.clone(), given.check(cx)));
    }
    let bytes: usize = checked.iter().filter_map(|(_, outgoing)| Some(outgoing.as_ref().ok()?.bytes)).sum();
    if bytes > message::MAX_BYTES {
        return Err(SnsError::BatchRequestTooLong);
    }
    let (sns, checked) = (cx.state::<Sns>(), &checked);
    cx.transact(|txn| async move {
        let topic = sns.load_known(&txn, address).await?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (id, outgoing) in checked {
            let outgoing = match outgoing {
                Ok(outgoing) => outgoing,
                Err(error) => {
                    failed.push(failure(id.clone(), error));
                    continue;
                }
            };
            match check_kind(topic.record.attributes.fifo, &outgoing.message) {
                Ok(()) => {
                    let sent = put(cx, &txn, &topic, &outgoing.message).await?;
                    successful.push(api::PublishBatchResultEntry {
                        id: id.clone(),
                        message_id: Some(sent.id),
                        sequence_number: sent.sequence.map(sequence_number),
                    });
                }
                Err(error) => failed.push(failure(id.clone(), &error)),
            }
        }
        Ok(api::PublishBatchResponse { successful: Some(successful), failed: Some(failed) })
    })
    .await
}

fn failure(id: Option<String>, error: &SnsError) -> api::BatchResultErrorEntry {
    api::BatchResultErrorEntry {
        id,
        code: Some(error.entry_code().to_owned()),
        message: Some(error.to_string()),
        sender_fault: Some(true),
    }
}

fn check_entries(entries: &[api::PublishBatchRequestEntry]) -> Result<(), SnsError> {
    if entries.is_empty() {
        return Err(SnsError::EmptyBatchRequest);
    }
    if entries.len() > MAX_ENTRIES {
        return Err(SnsError::TooManyEntriesInBatchRequest);
    }
    let mut ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_deref().unwrap_or_default()).collect();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.bytes().all(is_plain)) {
        return Err(SnsError::InvalidBatchEntryId);
    }
    ids.sort_unstable();
    match ids.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(SnsError::BatchEntryIdsNotDistinct),
        false => Ok(()),
    }
}

/// Puts a message in, unless a FIFO topic knows it already.
async fn put(cx: &Cx, txn: &Txn, topic: &Topic, message: &Message) -> Result<Sent, SnsError> {
    let Some(fifo) = topic.record.attributes.fifo else {
        // Nobody to tell: the row that says so is what the commit rests on.
        if topic.record.confirmed > 0 {
            work::fan_out(txn, topic, message)?;
        }
        return Ok(Sent { id: message.id.clone(), sequence: None });
    };
    let group = message.group.clone().unwrap_or_default();
    let deduplication_id = message.deduplication_id.clone().unwrap_or_else(|| content_id(&message.body));
    let scope = if fifo.is_scoped_to_group { group.clone() } else { String::new() };
    let (now, key) = (millis(cx.now()), (topic.record.id, scope, deduplication_id.clone()));
    if let Some(known) = DUPLICATES.get(txn, &key).await?.filter(|known| known.until > now) {
        return Ok(Sent { id: known.message_id, sequence: Some(known.sequence) });
    }
    let of_group = (topic.record.id, group.clone());
    let last = GROUPS.get(txn, &of_group).await?.map_or(0, |group| group.last_sequence);
    // Near the nanoseconds since 1970, in the order of the group.
    let sequence = now.saturating_mul(1_000_000).max(last + 1);
    GROUPS.put(txn, &of_group, &Group { last_sequence: sequence })?;
    let until = now + DEDUPLICATION_MILLIS;
    DUPLICATES.put(txn, &key, &Duplicate { message_id: message.id.clone(), sequence, until })?;
    work::forget_duplicate(txn, &key, until)?;
    let kept =
        Message { sequence: Some(sequence), deduplication_id: Some(deduplication_id), ..message.clone() };
    FIFO.put(txn, &(topic.record.id, group.clone(), sequence), &kept)?;
    if topic.record.attributes.archive_days.is_some() {
        ARCHIVE.put(txn, &(topic.record.id, now, sequence), &kept)?;
    }
    work::deliver_group(txn, topic, &group, cx.now())?;
    Ok(Sent { id: message.id.clone(), sequence: Some(sequence) })
}

/// The SHA-256 of the body, where the topic tells messages apart by their content.
fn content_id(body: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_checked_as_a_whole() {
        let entries = |ids: &[&str]| -> Vec<api::PublishBatchRequestEntry> {
            let entry = |id: &&str| api::PublishBatchRequestEntry {
                id: Some((*id).to_owned()),
                ..Default::default()
            };
            ids.iter().map(entry).collect()
        };
        assert!(check_entries(&entries(&["a", "b"])).is_ok());
        assert!(matches!(check_entries(&entries(&[])), Err(SnsError::EmptyBatchRequest)));
        assert!(matches!(check_entries(&entries(&["a", "a"])), Err(SnsError::BatchEntryIdsNotDistinct)));
        assert!(matches!(check_entries(&entries(&["a b"])), Err(SnsError::InvalidBatchEntryId)));
        assert!(matches!(check_entries(&entries(&["a"; 11])), Err(SnsError::TooManyEntriesInBatchRequest)));
    }

    #[test]
    fn group_and_deduplication_ids_are_printable() {
        for (id, valid) in [("g", true), ("!~", true), ("", false), ("a b", false), ("ü", false)] {
            assert_eq!(check_id(Some(id), "MessageGroupId").is_ok(), valid, "{id}");
        }
        assert_eq!(sequence_number(7).len(), 20);
    }
}
