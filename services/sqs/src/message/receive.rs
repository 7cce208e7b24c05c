//! `ReceiveMessage`: takes up to ten available messages in flight, and waits for them where asked to.
//!
//! Source: API Reference, "ReceiveMessage"; Amazon SQS Developer Guide, "Amazon SQS short and long polling". Recorded: which
//! attributes are returned for which names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pileus_api_sqs::{
    Message as ReceivedMessage, MessageAttributeValue, ReceiveMessageRequest, ReceiveMessageResult,
};
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Map;
use tokio::sync::watch;

use crate::access;
use crate::error::SqsError;
use crate::lane::{Claim, Lane, Want};
use crate::limits;
use crate::message::attributes::{self, Value, is_asked_for};
use crate::message::fifo::sequence_number;
use crate::order::{self, Delivered, Taken, attempt, fifo, standard};
use crate::queue::Queue;
use crate::queue::count;
use crate::queue::url::Address;
use crate::state::{Desk, Sqs, millis};
use crate::throttle::Call;

/// A receive that tidied looks again, this often at most.
const MAX_ROUNDS: usize = 16;
/// A poller that heard nothing looks again after this long: wakes from other nodes may be lost.
const PATIENCE: Duration = Duration::from_secs(1);

const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

/// What a receive asks for.
struct Wish {
    address: Address,
    max: usize,
    /// In milliseconds; the queue's where absent.
    timeout: Option<u64>,
    attempt_id: Option<String>,
    system_names: Vec<String>,
    names: Vec<String>,
}

pub async fn receive_message(
    cx: &Cx,
    input: ReceiveMessageRequest,
) -> Result<ReceiveMessageResult, SqsError> {
    let sqs = cx.state::<Sqs>();
    let wait = input.wait_time_seconds.map(limits::wait_time).transpose()?;
    let wish = Wish::read(cx, input)?;
    let queue = sqs.load_authorised(cx.store(), &wish.address).await?;
    sqs.throttle.admit(cx, &queue, &Call::new("ReceiveMessage"))?;
    let wait = wait.unwrap_or(queue.record.attributes.receive_message_wait_time as u64 * 1_000);
    let delivered = poll(cx, sqs, queue, &wish, wait).await?;
    let messages: Vec<_> = delivered.into_iter().map(|delivered| wish.show(delivered)).collect();
    Ok(ReceiveMessageResult { messages: (!messages.is_empty()).then_some(messages) })
}

/// Looks for messages until there are some or the time is over.
async fn poll(
    cx: &Cx,
    sqs: &Sqs,
    mut queue: Arc<Queue>,
    wish: &Wish,
    wait: u64,
) -> Result<Vec<Delivered>, SqsError> {
    let deadline = cx.now() + Duration::from_millis(wait);
    loop {
        let lane = sqs.lane(cx.store(), &queue);
        // Subscribe, then look, then wait: what comes in between wakes us.
        let mut wakes = (wait > 0).then(|| (cx.store().subscribe(lane.arrivals()), lane.timer()));
        let generation = queue.record.generation;
        while queue.record.generation == generation {
            let now = cx.clock().now();
            let desk = Desk { sqs, store: cx.store(), now: millis(now) };
            let has_room = has_room(cx, &queue, &lane, wait == 0).await?;
            let (delivered, next_at) =
                if has_room { look(desk, &queue, &lane, &wish.ask()).await? } else { (Vec::new(), u64::MAX) };
            let Some((arrivals, timer)) = wakes.as_mut().filter(|_| delivered.is_empty() && now < deadline)
            else {
                return Ok(delivered);
            };
            let patience = millis(now + PATIENCE).min(next_at.max(desk.now + 1));
            let until = deadline.min(Timestamp::from_millis(patience as i64));
            tokio::select! {
                biased;
                () = arrivals.changed() => {}
                () = earlier(timer, patience) => {}
                () = cx.clock().sleep_until(until) => {}
            }
            queue = sqs.load(cx.store(), &wish.address).await?;
        }
    }
}

/// Returns when something is put aside until a moment before `than`.
async fn earlier(timer: &mut watch::Receiver<u64>, than: u64) {
    while timer.changed().await.is_ok() {
        if *timer.borrow_and_update() < than {
            return;
        }
    }
    // The lane is gone, and with it the queue: its end wakes us otherwise.
    std::future::pending().await
}

/// Whether more messages may be in flight.
///
/// Source: "Amazon SQS standard queue quotas": over the limit, a short poll of a standard queue is an error, and any other
/// receive finds nothing.
async fn has_room(cx: &Cx, queue: &Queue, lane: &Lane, is_short: bool) -> Result<bool, SqsError> {
    let limit = limits::MAX_IN_FLIGHT;
    if !lane.may_have_in_flight(limit) {
        return Ok(true);
    }
    match count::count(cx, queue).await?.in_flight {
        in_flight if in_flight < limit => Ok(true),
        _ if is_short && !queue.is_fifo() => Err(SqsError::OverLimit { limit }),
        _ => Ok(false),
    }
}

/// What a look takes.
pub struct Ask<'a> {
    pub max: usize,
    /// In milliseconds; the queue's where absent.
    pub timeout: Option<u64>,
    pub attempt_id: Option<&'a str>,
}

/// One look: what it takes, and when there may be more.
pub async fn look(
    desk: Desk<'_>,
    queue: &Arc<Queue>,
    lane: &Arc<Lane>,
    ask: &Ask<'_>,
) -> Result<(Vec<Delivered>, u64), SqsError> {
    let timeout = ask.timeout.unwrap_or(queue.visibility_timeout());
    if let Some(id) = ask.attempt_id.filter(|_| queue.is_fifo()) {
        let replayed = desk
            .store
            .transact(|txn| async move {
                let queue = desk.sqs.load(&txn, &queue.address).await?;
                attempt::replay(desk, &txn, &queue, id, timeout).await
            })
            .await?;
        if let Some(delivered) = replayed {
            return Ok((delivered, u64::MAX));
        }
    }
    let mut delivered = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let want = Want { rows: ask.max - delivered.len(), is_fresh: timeout == 0 };
        let (claims, next_at) = order::claim(desk, lane, queue, want).await?;
        if claims.is_empty() {
            return Ok((delivered, next_at));
        }
        let taken = take(desk, queue, ask, &claims, want.rows, timeout).await?;
        let earliest = taken.delivered.iter().map(|delivered| delivered.state.visible_at).min();
        if let Some(moment) = earliest {
            lane.put_aside_until(moment, desk.now);
            lane.add_in_flight(taken.delivered.len() as i64);
        }
        delivered.extend(taken.delivered);
        // With no timeout, what was just taken would be taken again.
        let is_fresh = delivered.is_empty() || timeout > 0;
        if taken.tidied == 0 || delivered.len() == ask.max || !is_fresh {
            return Ok((delivered, desk.now));
        }
    }
    Ok((delivered, desk.now))
}

async fn take(
    desk: Desk<'_>,
    queue: &Arc<Queue>,
    ask: &Ask<'_>,
    claims: &[Claim],
    want: usize,
    timeout: u64,
) -> Result<Taken, SqsError> {
    let generation = queue.record.generation;
    let take = |txn: Txn| async move {
        let queue = desk.sqs.load_known(&txn, &queue.address).await?;
        if queue.record.generation != generation {
            return Ok(Taken::default());
        }
        if !queue.is_fifo() {
            // The loss of power just now would show the messages again: a standard queue may deliver twice.
            txn.relaxed();
            return standard::take(desk, &txn, &queue, claims, timeout).await;
        }
        let taken = fifo::take(desk, &txn, &queue, claims, want, timeout).await?;
        if let Some(id) = ask.attempt_id.filter(|_| !taken.delivered.is_empty()) {
            attempt::record(desk, &txn, &queue, id, &taken.delivered)?;
        }
        Ok(taken)
    };
    desk.store.transact(take).await
}

impl Wish {
    fn read(cx: &Cx, input: ReceiveMessageRequest) -> Result<Wish, SqsError> {
        let mut system_names = input.message_system_attribute_names.unwrap_or_default();
        system_names.extend(input.attribute_names.unwrap_or_default());
        let attempt_id = input.receive_request_attempt_id.filter(|id| !id.is_empty());
        if let Some(id) = &attempt_id
            && (id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let reason = "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.";
            return Err(SqsError::value(id, "ReceiveRequestAttemptId", reason));
        }
        let is_known = |name: &String| {
            // Names of queue attributes are accepted here, and name nothing.
            name == "All" || SYSTEM_ATTRIBUTES.contains(&name.as_str()) || is_queue_attribute(name)
        };
        if let Some(unknown) = system_names.iter().find(|name| !is_known(name)) {
            return Err(SqsError::unknown_attribute(unknown));
        }
        Ok(Wish {
            address: access::address(cx, input.queue_url.as_deref())?,
            max: limits::max_number_of_messages(input.max_number_of_messages)?,
            timeout: input.visibility_timeout.map(limits::visibility_timeout).transpose()?,
            attempt_id,
            system_names,
            names: input.message_attribute_names.unwrap_or_default(),
        })
    }

    fn ask(&self) -> Ask<'_> {
        Ask { max: self.max, timeout: self.timeout, attempt_id: self.attempt_id.as_deref() }
    }

    /// The message with what was asked for.
    fn show(&self, delivered: Delivered) -> ReceivedMessage {
        let system: Map<String> = SYSTEM_ATTRIBUTES
            .into_iter()
            .filter(|name| self.system_names.iter().any(|asked| asked == "All" || asked == name))
            .filter_map(|name| Some((name.to_owned(), system_attribute(&delivered, name)?)))
            .collect();
        let receipt_handle = delivered.receipt.to_handle();
        let body_md5 = delivered.message.body_md5.unwrap_or_else(|| attributes::md5_of_body(&delivered.body));
        let asked: Vec<_> =
            delivered.message.attributes.into_iter().filter(|a| is_asked_for(&self.names, &a.name)).collect();
        let md5_of_message_attributes = attributes::md5(&asked);
        let shown: Map<MessageAttributeValue> = asked
            .into_iter()
            .map(|attribute| {
                let (text, binary) = match attribute.value {
                    Value::Text(text) => (Some(text), None),
                    Value::Binary(bytes) => (None, Some(bytes)),
                };
                let value = MessageAttributeValue {
                    string_value: text,
                    binary_value: binary,
                    data_type: Some(attribute.data_type),
                    ..MessageAttributeValue::default()
                };
                (attribute.name, value)
            })
            .collect();
        ReceivedMessage {
            message_id: Some(delivered.message.id),
            receipt_handle: Some(receipt_handle),
            md5_of_body: Some(hex::encode(body_md5)),
            body: Some(text(delivered.body)),
            attributes: (!system.is_empty()).then_some(system),
            md5_of_message_attributes,
            message_attributes: (!shown.is_empty()).then_some(shown),
        }
    }
}

/// A body that was checked when it was sent.
fn text(body: Bytes) -> String {
    String::from_utf8(body.into())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn is_queue_attribute(name: &str) -> bool {
    use crate::queue::attributes::{COMPUTED, SETTABLE};
    COMPUTED.into_iter().chain(SETTABLE).any(|known| known == name)
}

fn system_attribute(delivered: &Delivered, name: &str) -> Option<String> {
    let (message, state) = (&delivered.message, &delivered.state);
    match name {
        "SenderId" => Some(message.sender_id.clone()),
        "SentTimestamp" => Some(state.sent_at.to_string()),
        "ApproximateReceiveCount" => Some(state.total_receive_count().to_string()),
        "ApproximateFirstReceiveTimestamp" => Some(state.first_received_at.to_string()),
        "SequenceNumber" => message.sequence.map(sequence_number),
        "MessageDeduplicationId" => message.deduplication_id.clone(),
        "MessageGroupId" => message.group.clone(),
        "AWSTraceHeader" => message.trace_header.clone(),
        "DeadLetterQueueSourceArn" => message.dead_letter_source.clone(),
        _ => None,
    }
}
