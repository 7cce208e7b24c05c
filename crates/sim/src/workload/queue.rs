//! Producers and consumers of an SQS queue and its dead-letter queue.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_api_sqs as sqs;
use pileus_core::{Rng as _, SeededRng};
use pileus_wire::value::Map;

use crate::cloud::{Call, Cloud, Running, Trouble, account, root};
use crate::workload::Crew;
use crate::workload::ledger::{Held, Ledger, Place, Rules, Tally};

/// How long a drained queue is polled for more, in seconds.
const POLLS: [(Place, u64); 3] = [(Place::Source, 5), (Place::Dead, 2), (Place::Source, 1)];
/// Of the dead-letter queue, in seconds.
const DEAD_VISIBILITY: u64 = 10;
const GROUPS: u64 = 3;

#[derive(Clone)]
pub struct Queue(Arc<Parts>);

struct Parts {
    crew: Crew,
    name: String,
    plan: Plan,
    ledger: Mutex<Ledger>,
}

/// What the seed has chosen for a queue.
#[derive(Debug, Clone, Copy)]
struct Plan {
    is_fifo: bool,
    max_receives: Option<u64>,
    /// Dead letters are moved back now and then.
    has_moves: bool,
    /// In seconds.
    visibility: u64,
    delay: u64,
    producers: u64,
    consumers: u64,
    /// Mean time between two requests of a client.
    pause: Duration,
}

impl Plan {
    fn draw(rng: &SeededRng, is_fifo: bool) -> Plan {
        let pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
        let max_receives = pick(&[0, 0, 1, 2, 4]);
        Plan {
            is_fifo,
            max_receives: (max_receives > 0).then_some(max_receives),
            has_moves: max_receives > 0 && rng.below(2) == 0,
            visibility: pick(&[1, 2, 5, 15]),
            delay: pick(&[0, 0, 1, 5]),
            producers: if is_fifo { GROUPS } else { 1 + rng.below(3) },
            consumers: 1 + rng.below(4),
            pause: Duration::from_millis(pick(&[50, 200, 600])),
        }
    }

    fn attributes(&self, dead: &str) -> Map<String> {
        let mut attributes = vec![
            ("VisibilityTimeout".to_owned(), self.visibility.to_string()),
            ("DelaySeconds".to_owned(), self.delay.to_string()),
        ];
        if let Some(max) = self.max_receives {
            let target = format!("arn:aws:sqs:us-east-1:{}:{dead}", account());
            let policy = format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":{max}}}"#);
            attributes.push(("RedrivePolicy".to_owned(), policy));
        }
        attributes.extend(self.kind());
        attributes.into_iter().collect()
    }

    fn kind(&self) -> Option<(String, String)> {
        self.is_fifo.then(|| ("FifoQueue".to_owned(), "true".to_owned()))
    }
}

impl Queue {
    /// Creates the queues while all is calm.
    pub async fn create(crew: &Crew, name: &str, is_fifo: bool) -> Result<Queue, String> {
        let rng = crew.cloud.world().rng(name, 0);
        let plan = Plan::draw(&rng, is_fifo);
        crew.cloud.world().note(format_args!("{name}: {plan:?}"));
        let rules = Rules { is_fifo, max_receives: plan.max_receives };
        let ledger = Mutex::new(Ledger::new(rules));
        let queue = Queue(Arc::new(Parts { crew: crew.clone(), name: name.to_owned(), plan, ledger }));
        let dead = queue.queue_name(Place::Dead);
        let visibility = ("VisibilityTimeout".to_owned(), DEAD_VISIBILITY.to_string());
        queue.create_one(&rng, &dead, plan.kind().into_iter().chain([visibility]).collect()).await?;
        queue.create_one(&rng, &queue.queue_name(Place::Source), plan.attributes(&dead)).await?;
        Ok(queue)
    }

    async fn create_one(&self, rng: &SeededRng, name: &str, attributes: Map<String>) -> Result<(), String> {
        let cloud = self.cloud();
        let input = sqs::CreateQueueRequest {
            queue_name: Some(name.to_owned()),
            attributes: Some(attributes),
            ..Default::default()
        };
        let call = cloud.call(&cloud.any(rng).await, root(), sqs::CREATE_QUEUE, input).await;
        call.result.map(drop).map_err(|trouble| format!("{name} cannot be created: {trouble:?}"))
    }

    /// Sends the clients out.
    pub fn begin(&self) {
        for number in 0..self.0.plan.producers {
            let (queue, rng) = (self.clone(), self.rng("producer", number));
            self.0.crew.spawn(async move {
                if queue.0.plan.is_fifo {
                    queue.produce_in_order(number, rng).await;
                } else {
                    queue.produce(number, rng).await;
                }
            });
        }
        if self.0.plan.has_moves {
            let (queue, rng) = (self.clone(), self.rng("mover", 0));
            self.0.crew.spawn(async move { queue.move_back(rng).await });
        }
        for number in 0..self.0.plan.consumers {
            let (queue, rng) = (self.clone(), self.rng("consumer", number));
            self.0.crew.spawn(async move { queue.consume(rng).await });
        }
    }

    async fn produce(&self, producer: u64, rng: SeededRng) {
        for number in 0u64.. {
            self.0.crew.pause(&rng, self.0.plan.pause).await;
            if self.0.crew.is_over() {
                return;
            }
            let running = self.cloud().any(&rng).await;
            if rng.below(3) == 0 {
                self.send_batch(&running, producer, number, 1 + rng.below(10)).await;
                continue;
            }
            let body = format!("{}/{producer}-{number}", self.0.name);
            let delay = (rng.below(4) == 0).then(|| rng.below(10));
            self.ledger().will_send(&body, None, self.not_before(&running, delay));
            let input = sqs::SendMessageRequest {
                queue_url: Some(self.url(Place::Source)),
                message_body: Some(body.clone()),
                delay_seconds: delay.map(|seconds| seconds as i64),
                ..Default::default()
            };
            let call = self.cloud().call(&running, root(), sqs::SEND_MESSAGE, input).await;
            self.sent(&body, call);
        }
    }

    async fn send_batch(&self, running: &Running, producer: u64, number: u64, size: u64) {
        let bodies: Vec<String> =
            (0..size).map(|part| format!("{}/{producer}-{number}.{part}", self.0.name)).collect();
        let not_before = self.not_before(running, None);
        for body in &bodies {
            self.ledger().will_send(body, None, not_before);
        }
        let entry = |(at, body): (usize, &String)| sqs::SendMessageBatchRequestEntry {
            id: Some(at.to_string()),
            message_body: Some(body.clone()),
            ..Default::default()
        };
        let input = sqs::SendMessageBatchRequest {
            queue_url: Some(self.url(Place::Source)),
            entries: Some(bodies.iter().enumerate().map(entry).collect()),
        };
        let call = self.cloud().call(running, root(), sqs::SEND_MESSAGE_BATCH, input).await;
        for sent in call.result.ok().and_then(|result| result.successful).unwrap_or_default() {
            let at: usize = sent.id.as_deref().and_then(|id| id.parse().ok()).unwrap_or_default();
            let held = self.ledger().sent(&bodies[at], sent.message_id.as_deref(), None);
            self.0.crew.check(held);
        }
    }

    /// One group's messages, each sent until it is acknowledged, and some once more.
    async fn produce_in_order(&self, group: u64, rng: SeededRng) {
        let name = format!("g{group}");
        let mut acknowledged = Vec::new();
        for number in 0u64.. {
            self.0.crew.pause(&rng, self.0.plan.pause).await;
            if self.0.crew.is_over() {
                return;
            }
            let body = format!("{}/{name}-{number}", self.0.name);
            loop {
                if self.send_in_order(&rng, &name, &body).await {
                    acknowledged.push(body.clone());
                    break;
                }
                if self.0.crew.is_over() {
                    return;
                }
                self.0.crew.pause(&rng, Duration::from_millis(100)).await;
            }
            let held = self.ledger().check_sequences(&acknowledged);
            self.0.crew.check(held);
            if rng.below(4) == 0 {
                let again = &acknowledged[rng.below(acknowledged.len() as u64) as usize];
                self.send_in_order(&rng, &name, again).await;
            }
        }
    }

    async fn send_in_order(&self, rng: &SeededRng, group: &str, body: &str) -> bool {
        let running = self.cloud().any(rng).await;
        self.ledger().will_send(body, Some(group), self.not_before(&running, None));
        let input = sqs::SendMessageRequest {
            queue_url: Some(self.url(Place::Source)),
            message_body: Some(body.to_owned()),
            message_group_id: Some(group.to_owned()),
            message_deduplication_id: Some(body.to_owned()),
            ..Default::default()
        };
        let call = self.cloud().call(&running, root(), sqs::SEND_MESSAGE, input).await;
        self.sent(body, call)
    }

    fn sent(&self, body: &str, call: Call<sqs::SendMessageResult>) -> bool {
        match call.result {
            Ok(sent) => {
                let (id, sequence) = (sent.message_id.as_deref(), sent.sequence_number.as_deref());
                let held = self.ledger().sent(body, id, sequence);
                self.0.crew.check(held);
                true
            }
            Err(Trouble::Refused { code, message }) => {
                self.0.crew.check(Err(format!("a send was refused: {code}: {message}")));
                false
            }
            Err(Trouble::Unknown { .. }) => false,
        }
    }

    /// When a message that is sent now may be delivered at the earliest, in milliseconds by the clock of whoever delivers.
    fn not_before(&self, running: &Running, delay: Option<u64>) -> u64 {
        running.millis() + delay.unwrap_or(self.0.plan.delay) * 1_000
    }

    async fn consume(&self, rng: SeededRng) {
        while !self.0.crew.is_over() {
            self.0.crew.pause(&rng, self.0.plan.pause).await;
            let running = self.cloud().any(&rng).await;
            let place = match self.0.plan.max_receives {
                Some(_) if rng.below(8) == 0 => Place::Dead,
                _ => Place::Source,
            };
            let (most, wait) = (1 + rng.below(10), rng.below(4) * rng.below(4));
            let attempt = (self.0.plan.is_fifo && rng.below(2) == 0)
                .then(|| format!("{}-{}", self.0.name, rng.next_u64()));
            let mut received = self.receive(&running, place, most, wait, None, attempt.clone()).await;
            if received.is_none() && attempt.is_some() {
                // What the first request took, if it took anything, or else something new.
                let running = self.cloud().any(&rng).await;
                received = self.receive(&running, place, most, wait, None, attempt).await;
            }
            for held in received.unwrap_or_default() {
                self.treat(&rng, held).await;
            }
        }
    }

    async fn move_back(&self, rng: SeededRng) {
        while !self.0.crew.is_over() {
            self.0.crew.pause(&rng, Duration::from_secs(3)).await;
            let running = self.cloud().any(&rng).await;
            self.ledger().will_move();
            let source = format!("arn:aws:sqs:us-east-1:{}:{}", account(), self.queue_name(Place::Dead));
            let input = sqs::StartMessageMoveTaskRequest {
                source_arn: Some(source),
                max_number_of_messages_per_second: (rng.below(2) == 0).then(|| 1 + rng.below(20) as i64),
                ..Default::default()
            };
            // One may be running already.
            self.cloud().call(&running, root(), sqs::START_MESSAGE_MOVE_TASK, input).await;
        }
    }

    /// A consumer works on a message for a while, then deletes it, or changes its timeout, or forgets it.
    async fn treat(&self, rng: &SeededRng, held: Held) {
        let visibility = Duration::from_secs(self.0.plan.visibility);
        let work = if rng.below(6) == 0 { visibility } else { visibility / 50 };
        self.0.crew.pause(rng, work).await;
        match rng.below(10) {
            0 => {}
            1 => self.change(rng, &held, rng.below(3) * self.0.plan.visibility).await,
            2 => {
                self.change(rng, &held, self.0.plan.visibility).await;
                self.delete(rng, &held).await;
            }
            _ => self.delete(rng, &held).await,
        }
    }

    /// `None` when there was no answer.
    async fn receive(
        &self,
        running: &Running,
        place: Place,
        most: u64,
        wait: u64,
        timeout: Option<u64>,
        attempt: Option<String>,
    ) -> Option<Vec<Held>> {
        let input = sqs::ReceiveMessageRequest {
            queue_url: Some(self.url(place)),
            max_number_of_messages: Some(most as i64),
            wait_time_seconds: Some(wait as i64),
            visibility_timeout: timeout.map(|seconds| seconds as i64),
            message_system_attribute_names: Some(vec!["All".to_owned()]),
            receive_request_attempt_id: attempt,
            ..Default::default()
        };
        self.ledger().will_receive();
        let call = self.cloud().call(running, root(), sqs::RECEIVE_MESSAGE, input).await;
        let Call { node, began, ended, now, ended_at, result } = call;
        let result = result.map(|result| result.messages.unwrap_or_default());
        let standing = if place == Place::Source { self.0.plan.visibility } else { DEAD_VISIBILITY };
        let timeout = timeout.unwrap_or(standing) * 1_000;
        let has_answer = result.is_ok();
        let call = Call { node, began, ended, now, ended_at, result };
        match self.ledger().received(place, call, timeout) {
            Ok(held) => has_answer.then_some(held),
            Err(broken) => {
                self.0.crew.check(Err(broken));
                None
            }
        }
    }

    async fn delete(&self, rng: &SeededRng, held: &Held) {
        let running = self.cloud().any(rng).await;
        self.ledger().will_delete(held, self.cloud().world().now());
        let input = sqs::DeleteMessageRequest {
            queue_url: Some(self.url(held.place)),
            receipt_handle: Some(held.handle.clone()),
        };
        let call = self.cloud().call(&running, root(), sqs::DELETE_MESSAGE, input).await;
        self.ledger().deleted(held, &call);
    }

    async fn change(&self, rng: &SeededRng, held: &Held, seconds: u64) {
        let running = self.cloud().any(rng).await;
        self.ledger().will_change(held, running.millis(), seconds * 1_000);
        let input = sqs::ChangeMessageVisibilityRequest {
            queue_url: Some(self.url(held.place)),
            receipt_handle: Some(held.handle.clone()),
            visibility_timeout: Some(seconds as i64),
        };
        let call = self.cloud().call(&running, root(), sqs::CHANGE_MESSAGE_VISIBILITY, input).await;
        self.ledger().changed(held, &call, seconds * 1_000);
    }

    /// Whether it takes longer to come to rest: a worker that missed a wake-up looks for tasks once a minute, and the lease of
    /// one that crashed has to end.
    pub fn has_moves(&self) -> bool {
        self.0.plan.has_moves
    }

    /// When all is calm again: what must be there is there, as often as the queues say.
    pub async fn finish(&self) -> Result<Tally, String> {
        let rng = self.rng("finish", 0);
        let running = self.cloud().any(&rng).await;
        let counted = self.count(&running, Place::Source).await? + self.count(&running, Place::Dead).await?;
        let mut drained = BTreeSet::new();
        for (place, wait) in POLLS {
            self.drain(&running, place, wait, &mut drained).await?;
        }
        let left = self.count(&running, Place::Source).await? + self.count(&running, Place::Dead).await?;
        let ledger = self.ledger();
        let lost: Vec<&str> =
            ledger.must_exist().into_iter().filter(|body| !drained.contains(*body)).collect();
        let lost_count = lost.len();
        if let Some(first) = lost.first() {
            return Err(format!("{lost_count} acknowledged messages are lost, among them {first}"));
        }
        if drained.len() as u64 != counted || left != 0 {
            let drained = drained.len();
            return Err(format!(
                "{}: {counted} messages were counted, {drained} were there, {left} are left",
                self.0.name
            ));
        }
        Ok(ledger.tally)
    }

    /// Receives and deletes until nothing comes any more.
    async fn drain(
        &self,
        running: &Running,
        place: Place,
        wait: u64,
        drained: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let rng = self.rng("drain", place as u64);
        loop {
            let held = self.receive(running, place, 10, wait, Some(600), None).await;
            let held = held.unwrap_or_default();
            if held.is_empty() {
                return Ok(());
            }
            for held in held {
                if !drained.insert(held.body.clone()) {
                    return Err(format!("{} is in the queues twice", held.body));
                }
                self.delete(&rng, &held).await;
            }
        }
    }

    /// All messages of a queue, by its attributes.
    async fn count(&self, running: &Running, place: Place) -> Result<u64, String> {
        let names = ["", "NotVisible", "Delayed"].map(|kind| format!("ApproximateNumberOfMessages{kind}"));
        let input = sqs::GetQueueAttributesRequest {
            queue_url: Some(self.url(place)),
            attribute_names: Some(names.to_vec()),
        };
        let call = self.cloud().call(running, root(), sqs::GET_QUEUE_ATTRIBUTES, input).await;
        let attributes = call.result.map_err(|trouble| format!("no count: {trouble:?}"))?.attributes;
        let attributes = attributes.unwrap_or_default();
        let numbers = names.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok());
        Ok(numbers.sum())
    }

    fn queue_name(&self, place: Place) -> String {
        let kind = if self.0.plan.is_fifo { ".fifo" } else { "" };
        match place {
            Place::Source => format!("{}{kind}", self.0.name),
            Place::Dead => format!("{}-dead{kind}", self.0.name),
        }
    }

    fn url(&self, place: Place) -> String {
        format!("http://localhost:4566/{}/{}", account(), self.queue_name(place))
    }

    fn cloud(&self) -> &Cloud {
        &self.0.crew.cloud
    }

    fn rng(&self, role: &str, number: u64) -> SeededRng {
        self.cloud().world().rng(&format!("{}/{role}", self.0.name), number)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
