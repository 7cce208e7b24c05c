//! Deliveries to SQS.
//!
//! Messages to one queue that are under way together go in batches: who comes while a batch is on its way waits for the next.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS raw message delivery", "Fanout Amazon SNS notifications to Amazon SQS queues",
//! "Amazon SNS dead-letter queues", "Amazon SNS FIFO topics".

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use pileus_api_sqs as sqs;
use pileus_core::{Arn, Region};
use pileus_platform::Cx;
use pileus_wire::value::Map;
use tokio::sync::oneshot;

use super::{Letter, Outcome, Reason};
use crate::envelope::Signature;
use crate::error::SnsError;
use crate::message::{Attribute, Value};
use crate::state::Sns;
use crate::subscription::Subscription;

/// Source: Amazon SQS API Reference, "SendMessageBatch".
pub const MAX_ENTRIES: usize = 10;
const MAX_BATCH_BYTES: usize = 256 << 10;
/// Source: "Amazon SNS raw message delivery": a raw message with more attributes is refused.
const MAX_ATTRIBUTES: usize = 10;

/// What a queue is sent.
#[derive(Debug, Clone, Default)]
pub struct Parcel {
    body: String,
    attributes: Option<Map<sqs::MessageAttributeValue>>,
    group: Option<String>,
    deduplication_id: Option<String>,
}

/// The way to one queue for one topic.
#[derive(Default)]
pub struct Lane {
    waiting: Mutex<VecDeque<(Parcel, oneshot::Sender<Outcome>)>>,
    /// Held by who sends a batch. Fair, so who holds it finds its own parcel among the first.
    turn: tokio::sync::Mutex<()>,
}

impl Lane {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<(Parcel, oneshot::Sender<Outcome>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, cx: &Cx, queue: &Arn, parcel: Parcel) -> Outcome {
        let (sender, mut receiver) = oneshot::channel();
        self.waiting().push_back((parcel, sender));
        loop {
            let _turn = self.turn.lock().await;
            // Whoever had the turn before may have sent it too.
            if let Ok(outcome) = receiver.try_recv() {
                return outcome;
            }
            let (parcels, senders) = self.take();
            if parcels.is_empty() {
                // Who took it was dropped half way: it is tried again.
                return Outcome::Failed(Reason {
                    status: 500,
                    text: "the delivery was interrupted".to_owned(),
                });
            }
            let outcomes = send_all(cx, queue, parcels).await;
            for (sender, outcome) in senders.into_iter().zip(outcomes) {
                // An error: nobody waits for it any more.
                let _ = sender.send(outcome);
            }
        }
    }

    fn take(&self) -> (Vec<Parcel>, Vec<oneshot::Sender<Outcome>>) {
        let mut waiting = self.waiting();
        let (mut parcels, mut senders, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((parcel, _)) = waiting.front() {
            bytes += parcel.body.len();
            if !parcels.is_empty() && (parcels.len() == MAX_ENTRIES || bytes > MAX_BATCH_BYTES) {
                break;
            }
            let Some((parcel, sender)) = waiting.pop_front() else { break };
            parcels.push(parcel);
            senders.push(sender);
        }
        (parcels, senders)
    }
}

/// The URL that names the queue with this ARN.
pub fn queue_url(cx: &Cx, queue: &Arn) -> String {
    format!("{}/{}/{}", cx.endpoint(), queue.account(), queue.resource())
}

fn in_region_of(cx: &Cx, queue: &Arn) -> Cx {
    match Region::parse(queue.region()) {
        Some(region) => cx.with_region(region),
        None => cx.clone(),
    }
}

/// One message, on its own or with others that go to the queue at the same time.
pub async fn send(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    body: &str,
    signature: Option<&Signature>,
) -> Outcome {
    let queue = match queue_of(own) {
        Ok(queue) => queue,
        Err(outcome) => return outcome,
    };
    match parcel(cx, letter, own, body, signature, &queue) {
        Ok(parcel) => {
            let lane = cx.state::<Sns>().lane(&letter.topic_arn, &own.record.endpoint);
            lane.send(cx, &queue, parcel).await
        }
        Err(outcome) => outcome,
    }
}

/// Messages of one group, in order: an outcome for each, up to the first that failed.
pub async fn send_in_order(cx: &Cx, own: &Subscription, letters: &[Letter<'_>]) -> Vec<Outcome> {
    let queue = match queue_of(own) {
        Ok(queue) => queue,
        Err(outcome) => return vec![outcome; letters.len()],
    };
    let mut outcomes = Vec::new();
    let mut batch: Vec<Parcel> = Vec::new();
    for letter in letters {
        let body = letter.message.body_for("sqs");
        match parcel(cx, letter, own, &body, None, &queue) {
            Ok(parcel) => {
                let bytes: usize = batch.iter().map(|parcel| parcel.body.len()).sum();
                if bytes + parcel.body.len() > MAX_BATCH_BYTES || batch.len() == MAX_ENTRIES {
                    outcomes.extend(send_all(cx, &queue, std::mem::take(&mut batch)).await);
                }
                batch.push(parcel);
            }
            Err(outcome) => {
                outcomes.extend(send_all(cx, &queue, std::mem::take(&mut batch)).await);
                outcomes.push(outcome);
            }
        }
    }
    outcomes.extend(send_all(cx, &queue, batch).await);
    outcomes
}

/// A document that asks a queue's owner to confirm.
pub async fn send_document(cx: &Cx, own: &Subscription, topic_arn: &str, document: String) -> Outcome {
    let queue = match queue_of(own) {
        Ok(queue) => queue,
        Err(outcome) => return outcome,
    };
    let is_fifo = queue.resource().ends_with(".fifo");
    let parcel = Parcel {
        body: document,
        group: is_fifo.then(|| topic_arn.chars().take(128).collect()),
        deduplication_id: is_fifo.then(|| cx.ids().uuid()),
        attributes: None,
    };
    one_of(send_all(cx, &queue, vec![parcel]).await)
}

/// What could not be delivered, to the dead-letter queue, with what went wrong in attributes.
pub async fn bury(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    queue: &Arn,
    reason: &Reason,
) -> Result<Outcome, SnsError> {
    let body = letter.message.body_for(own.record.protocol.name());
    let signature = if own.record.attributes.is_raw { None } else { letter.signature(cx, &body).await? };
    let mut parcel = match parcel(cx, letter, own, &body, signature.as_ref(), queue) {
        Ok(parcel) => parcel,
        Err(_) => Parcel { body, ..Parcel::default() },
    };
    let text = |kind: &str, value: &str| sqs::MessageAttributeValue {
        data_type: Some(kind.to_owned()),
        string_value: Some(value.chars().take(1_024).collect()),
        ..sqs::MessageAttributeValue::default()
    };
    let mut attributes = parcel.attributes.take().unwrap_or_default();
    if attributes.len() + 3 <= MAX_ATTRIBUTES {
        attributes.insert("RequestID", text("String", &cx.ids().uuid()));
        attributes.insert("ErrorCode", text("Number", &reason.status.to_string()));
        attributes.insert("ErrorMessage", text("String", &reason.text));
    }
    parcel.attributes = Some(attributes);
    Ok(one_of(send_all(cx, queue, vec![parcel]).await))
}

fn one_of(outcomes: Vec<Outcome>) -> Outcome {
    let nothing = || Outcome::Failed(Reason { status: 500, text: "nothing was sent".to_owned() });
    outcomes.into_iter().next().unwrap_or_else(nothing)
}

fn queue_of(own: &Subscription) -> Result<Arn, Outcome> {
    let malformed =
        |_| Outcome::Refused(Reason { status: 400, text: format!("{} is not a queue", own.record.endpoint) });
    Arn::parse(&own.record.endpoint).map_err(malformed)
}

fn parcel(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    body: &str,
    signature: Option<&Signature>,
    queue: &Arn,
) -> Result<Parcel, Outcome> {
    let is_raw = own.record.attributes.is_raw;
    let message = letter.message;
    if is_raw && message.attributes.len() > MAX_ATTRIBUTES {
        let text = format!("raw messages have at most {MAX_ATTRIBUTES} attributes");
        return Err(Outcome::Refused(Reason { status: 400, text }));
    }
    let document =
        || letter.notification(cx, &own.arn, body, signature, |notification| notification.document());
    let attributes = is_raw.then(|| message.attributes.iter().map(attribute).collect::<Map<_>>());
    // Of a FIFO queue both are asked for; a standard queue takes the group alone.
    let is_fifo = queue.resource().ends_with(".fifo");
    Ok(Parcel {
        body: if is_raw { body.to_owned() } else { document() },
        attributes: attributes.filter(|attributes| !attributes.is_empty()),
        group: message.group.clone().or_else(|| is_fifo.then(|| message.id.clone())),
        deduplication_id: is_fifo
            .then(|| message.deduplication_id.clone().unwrap_or_else(|| message.id.clone())),
    })
}

fn attribute(attribute: &Attribute) -> (String, sqs::MessageAttributeValue) {
    let (text, binary) = match &attribute.value {
        Value::Text(text) => (Some(text.clone()), None),
        Value::Binary(bytes) => (None, Some(bytes.clone())),
    };
    let value = sqs::MessageAttributeValue {
        data_type: Some(attribute.data_type.clone()),
        string_value: text,
        binary_value: binary,
        ..sqs::MessageAttributeValue::default()
    };
    (attribute.name.clone(), value)
}

fn done(message_id: Option<String>) -> Outcome {
    let answer = serde_json::json!({ "sqsMessageId": message_id }).to_string();
    Outcome::Done { status: 200, answer }
}

/// As many outcomes as parcels.
async fn send_all(cx: &Cx, queue: &Arn, parcels: Vec<Parcel>) -> Vec<Outcome> {
    let cx = in_region_of(cx, queue);
    let url = Some(queue_url(&cx, queue));
    let count = parcels.len();
    if count <= 1 {
        let Some(parcel) = parcels.into_iter().next() else { return Vec::new() };
        let input = sqs::SendMessageRequest {
            queue_url: url,
            message_body: Some(parcel.body),
            message_attributes: parcel.attributes,
            message_group_id: parcel.group,
            message_deduplication_id: parcel.deduplication_id,
            ..sqs::SendMessageRequest::default()
        };
        return vec![match cx.call(sqs::SEND_MESSAGE, input).await {
            Ok(sent) => done(sent.message_id),
            Err(fault) => Outcome::of_fault(&fault),
        }];
    }
    let entry = |(at, parcel): (usize, Parcel)| sqs::SendMessageBatchRequestEntry {
        id: Some(at.to_string()),
        message_body: Some(parcel.body),
        message_attributes: parcel.attributes,
        message_group_id: parcel.group,
        message_deduplication_id: parcel.deduplication_id,
        ..sqs::SendMessageBatchRequestEntry::default()
    };
    let entries = parcels.into_iter().enumerate().map(entry).collect();
    let input = sqs::SendMessageBatchRequest { queue_url: url, entries: Some(entries) };
    let answer = match cx.call(sqs::SEND_MESSAGE_BATCH, input).await {
        Ok(answer) => answer,
        Err(fault) => return vec![Outcome::of_fault(&fault); count],
    };
    let mut outcomes = vec![
        Outcome::Failed(Reason {
            status: 500,
            text: "the queue did not answer for this message".to_owned()
        });
        count
    ];
    let at =
        |id: &Option<String>| id.as_deref().and_then(|id| id.parse::<usize>().ok()).filter(|at| *at < count);
    for sent in answer.successful.into_iter().flatten() {
        if let Some(at) = at(&sent.id) {
            outcomes[at] = done(sent.message_id);
        }
    }
    for failed in answer.failed.into_iter().flatten() {
        let Some(at) = at(&failed.id) else { continue };
        let text = format!("{}: {}", failed.code.unwrap_or_default(), failed.message.unwrap_or_default());
        outcomes[at] = match failed.sender_fault {
            Some(true) => Outcome::Refused(Reason { status: 400, text }),
            _ => Outcome::Failed(Reason { status: 500, text }),
        };
    }
    outcomes
}
