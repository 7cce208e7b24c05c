//! `SendMessage`, `SendMessageBatch`.
//!
//! Source: API Reference, "SendMessage", "SendMessageBatch"; Amazon SQS Developer Guide, "Amazon SQS message quotas",
//! "Using the message deduplication ID in Amazon SQS". Recorded: the sentences.

use bytes::Bytes;
use pileus_api_sqs::{
    MessageAttributeValue, MessageSystemAttributeValue, SendMessageBatchRequest,
    SendMessageBatchRequestEntry, SendMessageBatchResult, SendMessageBatchResultEntry, SendMessageRequest,
    SendMessageResult,
};
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Map;

use crate::access;
use crate::error::SqsError;
use crate::keys::DEDUPLICATION;
use crate::limits;
use crate::message::attributes::{self, Attribute, Value, Written};
use crate::message::fifo::{Deduplication, sequence_number};
use crate::message::visibility::State;
use crate::message::{Message, batch};
use crate::order;
use crate::queue::Queue;
use crate::queue::attributes::DeduplicationScope;
use crate::state::{Desk, Sqs, millis};
use crate::throttle::Call;

/// A message as it was sent, before a queue has seen it.
struct Outgoing {
    /// The id it gets if it is new.
    message_id: String,
    body: Bytes,
    delay_seconds: Option<i64>,
    attributes: Option<Map<MessageAttributeValue>>,
    system_attributes: Option<Map<MessageSystemAttributeValue>>,
    deduplication_id: Option<String>,
    group: Option<String>,
}

/// What the sender learns.
struct Sent {
    message_id: String,
    sequence: Option<u64>,
    digests: Digests,
}

#[derive(Clone)]
struct Digests {
    body: String,
    attributes: Option<String>,
    system_attributes: Option<String>,
}

/// A message that the queue accepts.
struct Accepted {
    message: Message,
    delay: u64,
    digests: Digests,
}

pub async fn send_message(cx: &Cx, input: SendMessageRequest) -> Result<SendMessageResult, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let outgoing = Outgoing {
        message_id: cx.ids().uuid(),
        body: input.message_body.unwrap_or_default().into(),
        delay_seconds: input.delay_seconds,
        attributes: input.message_attributes,
        system_attributes: input.message_system_attributes,
        deduplication_id: input.message_deduplication_id,
        group: input.message_group_id,
    };
    let (sqs, outgoing) = (cx.state::<Sqs>(), &outgoing);
    let _turn = match &outgoing.group {
        Some(group) if address.is_fifo() => Some(sqs.group_lock(address, group).lock().await),
        _ => None,
    };
    let call = &Call::new("SendMessage");
    let sent = cx
        .transact(|txn| async move {
            let queue = sqs.load_known(&txn, address).await?;
            sqs.throttle.admit(cx, &queue, call)?;
            let accepted = outgoing.accept(cx, &queue)?;
            put(desk(cx), &txn, &queue, outgoing, accepted).await
        })
        .await?;
    Ok(SendMessageResult {
        md5_of_message_body: Some(sent.digests.body),
        md5_of_message_attributes: sent.digests.attributes,
        md5_of_message_system_attributes: sent.digests.system_attributes,
        message_id: Some(sent.message_id),
        sequence_number: sent.sequence.map(sequence_number),
    })
}

pub async fn send_message_batch(
    cx: &Cx,
    input: SendMessageBatchRequest,
) -> Result<SendMessageBatchResult, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let entries = input.entries.unwrap_or_default();
    batch::check(entries.iter().map(|entry| entry.id.as_deref()), "SendMessageBatchRequestEntry")?;
    let sent: usize = entries.iter().map(size).sum();
    if sent > limits::MAX_BATCH_BYTES {
        return Err(SqsError::BatchRequestTooLong { limit: limits::MAX_BATCH_BYTES, sent });
    }
    let outgoing: Vec<(Option<String>, Outgoing)> =
        entries.into_iter().map(|entry| (entry.id.clone(), Outgoing::of_entry(cx, entry))).collect();
    let (sqs, outgoing) = (cx.state::<Sqs>(), &outgoing);
    let first_group = outgoing.iter().find_map(|(_, outgoing)| outgoing.group.as_deref());
    let _turn = match first_group {
        Some(group) if address.is_fifo() => Some(sqs.group_lock(address, group).lock().await),
        _ => None,
    };
    let call = &Call::new("SendMessage");
    cx.transact(|txn| async move {
        let queue = sqs.load_known(&txn, address).await?;
        sqs.throttle.admit(cx, &queue, call)?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (_, outgoing) in outgoing {
            // What every message of a FIFO queue needs, the whole request is refused for.
            outgoing.check_fifo(&queue).map_err(in_batch)?;
        }
        for (id, outgoing) in outgoing {
            match outgoing.accept(cx, &queue) {
                Ok(accepted) => {
                    let sent = put(desk(cx), &txn, &queue, outgoing, accepted).await?;
                    successful.push(success(id.clone(), sent));
                }
                Err(error) => failed.push(batch::failure(id.clone(), &error)),
            }
        }
        Ok(SendMessageBatchResult {
            successful: (!successful.is_empty()).then_some(successful),
            failed: (!failed.is_empty()).then_some(failed),
        })
    })
    .await
}

fn desk(cx: &Cx) -> Desk<'_> {
    Desk { sqs: cx.state::<Sqs>(), store: cx.store(), now: millis(cx.now()) }
}

/// Recorded: what is missing is an invalid value when a batch misses it.
fn in_batch(error: SqsError) -> SqsError {
    match error {
        SqsError::MissingParameter(_) => SqsError::InvalidParameterValue(error.to_string()),
        error => error,
    }
}

fn success(id: Option<String>, sent: Sent) -> SendMessageBatchResultEntry {
    SendMessageBatchResultEntry {
        id,
        message_id: Some(sent.message_id),
        md5_of_message_body: Some(sent.digests.body),
        md5_of_message_attributes: sent.digests.attributes,
        md5_of_message_system_attributes: sent.digests.system_attributes,
        sequence_number: sent.sequence.map(sequence_number),
    }
}

/// Bytes of an entry's body and attributes.
fn size(entry: &SendMessageBatchRequestEntry) -> usize {
    let attribute = |value: &MessageAttributeValue| {
        let text = value.string_value.as_ref().map_or(0, String::len);
        let binary = value.binary_value.as_ref().map_or(0, Bytes::len);
        text + binary + value.data_type.as_ref().map_or(0, String::len)
    };
    let attributes = entry.message_attributes.iter().flat_map(|map| map.iter());
    let attributes: usize = attributes.map(|(name, value)| name.len() + attribute(value)).sum();
    entry.message_body.as_ref().map_or(0, String::len) + attributes
}

/// Puts an accepted message in, unless a FIFO queue knows it already.
async fn put(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    outgoing: &Outgoing,
    accepted: Accepted,
) -> Result<Sent, SqsError> {
    let Accepted { mut message, delay, digests } = accepted;
    let Some(fifo) = &queue.record.attributes.fifo else {
        let state = State::new(desk.now, desk.now + delay);
        order::put(desk, txn, queue, &mut message, &outgoing.body, state).await?;
        return Ok(Sent { message_id: message.id, sequence: None, digests });
    };
    let (scope, group) = match fifo.deduplication_scope {
        DeduplicationScope::Queue => (0u8, String::new()),
        DeduplicationScope::MessageGroup => (1, message.group.clone().unwrap_or_default()),
    };
    let id = message.deduplication_id.clone().unwrap_or_default();
    let key = (queue.record.generation, scope, group, id);
    if let Some(known) = DEDUPLICATION.get(txn, &key).await?.filter(|known| !known.is_over(desk.now)) {
        return Ok(Sent { message_id: known.message_id, sequence: Some(known.sequence), digests });
    }
    order::put(desk, txn, queue, &mut message, &outgoing.body, State::new(desk.now, desk.now)).await?;
    let sequence = message.sequence.unwrap_or_default();
    let known = Deduplication { message_id: message.id.clone(), sequence, at: desk.now };
    DEDUPLICATION.put(txn, &key, &known)?;
    Ok(Sent { message_id: message.id, sequence: Some(sequence), digests })
}

impl Outgoing {
    fn of_entry(cx: &Cx, entry: SendMessageBatchRequestEntry) -> Outgoing {
        Outgoing {
            message_id: cx.ids().uuid(),
            body: entry.message_body.unwrap_or_default().into(),
            delay_seconds: entry.delay_seconds,
            attributes: entry.message_attributes,
            system_attributes: entry.message_system_attributes,
            deduplication_id: entry.message_deduplication_id,
            group: entry.message_group_id,
        }
    }

    /// Checks the message against the queue's rules.
    fn accept(&self, cx: &Cx, queue: &Queue) -> Result<Accepted, SqsError> {
        if self.body.is_empty() {
            return Err(SqsError::MissingParameter("MessageBody"));
        }
        let attributes = self.check_attributes()?;
        let limit = queue.record.attributes.maximum_message_size;
        if self.body.len() + attributes::size(&attributes) > limit as usize {
            return Err(SqsError::InvalidParameterValue(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            )));
        }
        let is_text = std::str::from_utf8(&self.body).is_ok_and(attributes::is_allowed_text);
        if !is_text {
            return Err(SqsError::InvalidMessageContents);
        }
        let trace_header = self.check_system_attributes()?;
        let delay = self.check_delay(queue)?;
        self.check_fifo(queue)?;
        let body_md5 = attributes::md5_of_body(&self.body);
        let digests = Digests {
            body: hex::encode(body_md5),
            attributes: attributes::md5(&attributes),
            system_attributes: attributes::md5(&trace_header),
        };
        let message = Message {
            id: self.message_id.clone(),
            sender_id: cx.caller().user_id.to_string(),
            attributes,
            trace_header: trace_header.and_then(|header| match header.value {
                Value::Text(text) => Some(text),
                Value::Binary(_) => None,
            }),
            group: self.group.clone(),
            deduplication_id: self.deduplication_id.clone().or_else(|| self.content_id(queue)),
            sequence: None,
            dead_letter_source: None,
            body_md5: Some(body_md5),
        };
        Ok(Accepted { message, delay, digests })
    }

    fn check_attributes(&self) -> Result<Vec<Attribute>, SqsError> {
        let Some(map) = &self.attributes else { return Ok(Vec::new()) };
        attributes::check_all(map.0.iter().map(|(name, value)| Written {
            name,
            data_type: value.data_type.as_deref(),
            text: value.string_value.as_deref(),
            binary: value.binary_value.as_ref(),
            has_lists: value.string_list_values.is_some() || value.binary_list_values.is_some(),
        }))
    }

    /// The only system attribute that can be sent is X-Ray's trace header, a string.
    fn check_system_attributes(&self) -> Result<Option<Attribute>, SqsError> {
        let mut header = None;
        for (name, value) in self.system_attributes.iter().flat_map(|map| map.iter()) {
            let invalid = |text: String| Err(SqsError::InvalidParameterValue(text));
            if name != "AWSTraceHeader" {
                return invalid(format!("Message system attribute name '{name}' is invalid."));
            }
            if value.data_type.as_deref() != Some("String") {
                return invalid(format!("The message system attribute '{name}' must be of type 'String'."));
            }
            let Some(text) = value.string_value.as_ref().filter(|text| !text.is_empty()) else {
                return invalid(format!(
                    "Message (system) attribute '{name}' must contain a non-empty value of type 'String'."
                ));
            };
            header = Some(Attribute {
                name: name.to_owned(),
                data_type: "String".to_owned(),
                value: Value::Text(text.clone()),
            });
        }
        Ok(header)
    }

    /// In milliseconds: the message's own delay, else the queue's.
    fn check_delay(&self, queue: &Queue) -> Result<u64, SqsError> {
        match self.delay_seconds {
            Some(seconds) if queue.is_fifo() && seconds != 0 => Err(SqsError::value(
                seconds,
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            )),
            Some(seconds) => limits::delay(seconds),
            None => Ok(queue.rules().delay),
        }
    }

    fn check_fifo(&self, queue: &Queue) -> Result<(), SqsError> {
        check_id(self.group.as_deref(), "MessageGroupId")?;
        check_id(self.deduplication_id.as_deref(), "MessageDeduplicationId")?;
        let Some(fifo) = &queue.record.attributes.fifo else {
            return match &self.deduplication_id {
                Some(id) => Err(SqsError::value(
                    id,
                    "MessageDeduplicationId",
                    "The request includes a parameter that is not valid for this queue type.",
                )),
                None => Ok(()),
            };
        };
        if self.group.is_none() {
            return Err(SqsError::MissingParameter("MessageGroupId"));
        }
        if self.deduplication_id.is_none() && !fifo.content_based_deduplication {
            return Err(SqsError::InvalidParameterValue(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly".to_owned(),
            ));
        }
        Ok(())
    }

    /// The SHA-256 of the body, where the queue tells messages apart by their content.
    fn content_id(&self, queue: &Queue) -> Option<String> {
        queue.is_fifo().then(|| hex::encode(ring::digest::digest(&ring::digest::SHA256, &self.body)))
    }
}

fn check_id(id: Option<&str>, parameter: &str) -> Result<(), SqsError> {
    let Some(id) = id else { return Ok(()) };
    if (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let reason =
        format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(SqsError::value(id, parameter, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_and_deduplication_ids_are_printable() {
        let long = "a".repeat(129);
        for (id, valid) in
            [("g", true), ("!~", true), ("", false), ("a b", false), ("ü", false), (&long[..], false)]
        {
            assert_eq!(check_id(Some(id), "MessageGroupId").is_ok(), valid, "{id}");
        }
        assert!(check_id(None, "MessageGroupId").is_ok());
    }
}
