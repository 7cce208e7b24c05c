//! Clients of a DynamoDB table: conditional writes, updates and transactions on a few keys, reads of one and of all, and readers
//! of its stream. All that they saw goes into a [`History`]; and every reader of the stream must come by every write once, in the
//! order of its key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_api_dynamodb as api;
use pileus_api_dynamodbstreams as streams;
use pileus_core::{Rng as _, SeededRng};
use pileus_wire::value::Map;

use crate::cloud::{Call, Cloud, Running, Trouble, root};
use crate::workload::Crew;
use crate::workload::history::{History, Key, Operation};

const NAME: &str = "history";
const KEYS: u64 = 3;
const READERS: u64 = 2;
/// Each operation is compared with each other one at the end.
const MAX_OPERATIONS: usize = 2_000;

#[derive(Clone)]
pub struct Table(Arc<Parts>);

struct Parts {
    crew: Crew,
    plan: Plan,
    stream: String,
    shard: String,
    history: Mutex<History>,
}

/// What the seed has chosen.
#[derive(Debug, Clone, Copy)]
struct Plan {
    clients: u64,
    /// Mean time between two requests of a client.
    pause: Duration,
}

/// What a reader of the stream has seen.
#[derive(Default)]
struct Seen(BTreeMap<Key, Vec<String>>);

impl Table {
    /// Creates the table while all is calm.
    pub async fn create(crew: &Crew) -> Result<Table, String> {
        let rng = crew.cloud.world().rng(NAME, 0);
        let pause = [30, 150, 500][rng.below(3) as usize];
        let plan = Plan { clients: 2 + rng.below(4), pause: Duration::from_millis(pause) };
        crew.cloud.world().note(format_args!("{NAME}: {plan:?}"));
        let attribute = |name: &str| api::AttributeDefinition {
            attribute_name: Some(name.to_owned()),
            attribute_type: Some("S".to_owned()),
        };
        let input = api::CreateTableInput {
            table_name: Some(NAME.to_owned()),
            attribute_definitions: Some(vec![attribute("pk")]),
            key_schema: Some(vec![api::KeySchemaElement {
                attribute_name: Some("pk".to_owned()),
                key_type: Some("HASH".to_owned()),
            }]),
            billing_mode: Some("PAY_PER_REQUEST".to_owned()),
            stream_specification: Some(api::StreamSpecification {
                stream_enabled: Some(true),
                stream_view_type: Some("NEW_AND_OLD_IMAGES".to_owned()),
            }),
            ..Default::default()
        };
        let running = crew.cloud.any(&rng).await;
        let made = crew.cloud.call(&running, root(), api::CREATE_TABLE, input).await;
        let made = made.result.map_err(|trouble| format!("the table cannot be created: {trouble:?}"))?;
        let stream = made.table_description.and_then(|table| table.latest_stream_arn);
        let stream = stream.ok_or("the table has no stream")?;
        let input = streams::DescribeStreamInput { stream_arn: Some(stream.clone()), ..Default::default() };
        let described = crew.cloud.call(&running, root(), streams::DESCRIBE_STREAM, input).await;
        let described =
            described.result.map_err(|trouble| format!("the stream is not there: {trouble:?}"))?;
        let shards = described.stream_description.and_then(|stream| stream.shards).unwrap_or_default();
        let shard = shards.first().and_then(|shard| shard.shard_id.clone()).ok_or("there is no shard")?;
        let history = Mutex::default();
        Ok(Table(Arc::new(Parts { crew: crew.clone(), plan, stream, shard, history })))
    }

    /// Sends the clients out.
    pub fn begin(&self) {
        for number in 0..self.0.plan.clients {
            let (table, rng) = (self.clone(), self.cloud().world().rng("history/client", number));
            self.0.crew.spawn(async move { table.work(number, rng).await });
        }
        for number in 0..READERS {
            let (table, rng) = (self.clone(), self.cloud().world().rng("history/reader", number));
            self.0.crew.spawn(async move {
                // Broken rules have been noted; what this reader did not reach is read at the end.
                let _ = table.follow(&rng, number > 0, |table| table.0.crew.is_over()).await;
            });
        }
    }

    async fn work(&self, client: u64, rng: SeededRng) {
        for number in 0u64.. {
            self.0.crew.pause(&rng, self.0.plan.pause).await;
            if self.0.crew.is_over() || self.history().len() >= MAX_OPERATIONS {
                return;
            }
            let running = self.cloud().any(&rng).await;
            let name = format!("{client}-{number}");
            let key = key(rng.below(KEYS));
            match rng.below(8) {
                0 | 1 => self.append(&running, name, key, None).await,
                2 | 3 => self.append_if(&running, &rng, name, key).await,
                4 | 5 => self.append_to_two(&running, name, &rng).await,
                6 => self.read(&running, name, key).await.map(drop).unwrap_or_default(),
                _ => self.read_all(&running, name).await.map(drop).unwrap_or_default(),
            }
        }
    }

    /// Appends to the list of one key; with `expected`, only if it has that length.
    async fn append(&self, running: &Running, name: String, key: Key, expected: Option<usize>) {
        let update = update(&key, &name, expected);
        let input = api::UpdateItemInput {
            table_name: update.table_name,
            key: update.key,
            update_expression: update.update_expression,
            condition_expression: update.condition_expression,
            expression_attribute_values: update.expression_attribute_values,
            ..Default::default()
        };
        let call = self.cloud().call(running, root(), api::UPDATE_ITEM, input).await;
        self.written(call, Operation { name, appends: vec![key], expected, ..Default::default() });
    }

    /// Reads a list, and appends to it if it is still the same.
    async fn append_if(&self, running: &Running, rng: &SeededRng, name: String, key: Key) {
        let Some(seen) = self.read(running, format!("{name}-read"), key.clone()).await else { return };
        let running = if rng.below(2) == 0 { self.cloud().any(rng).await } else { running.clone() };
        self.append(&running, name, key, Some(seen.len())).await;
    }

    async fn append_to_two(&self, running: &Running, name: String, rng: &SeededRng) {
        let first = rng.below(KEYS);
        let keys = vec![key(first), key((first + 1 + rng.below(KEYS - 1)) % KEYS)];
        let one = |key: &Key| api::TransactWriteItem {
            update: Some(update(key, &name, None)),
            ..api::TransactWriteItem::default()
        };
        let input = api::TransactWriteItemsInput {
            transact_items: Some(keys.iter().map(one).collect()),
            ..Default::default()
        };
        let call = self.cloud().call(running, root(), api::TRANSACT_WRITE_ITEMS, input).await;
        self.written(call, Operation { name, appends: keys, ..Default::default() });
    }

    fn written<T>(&self, call: Call<T>, operation: Operation) {
        let ended = match call.result {
            Ok(_) => Some(call.ended),
            Err(Trouble::Unknown { .. }) => None,
            Err(Trouble::Refused { code, message }) => {
                let is_expected = matches!(
                    code.as_str(),
                    "ConditionalCheckFailedException"
                        | "TransactionCanceledException"
                        | "TransactionConflictException"
                );
                if !is_expected {
                    self.0.crew.check(Err(format!("a write was refused: {code}: {message}")));
                }
                self.history().refuse(operation.name);
                return;
            }
        };
        self.history().add(Operation { began: call.began, ended, ..operation });
    }

    async fn read(&self, running: &Running, name: String, key: Key) -> Option<Vec<String>> {
        let input = api::GetItemInput {
            table_name: Some(NAME.to_owned()),
            key: Some(item_key(&key)),
            consistent_read: Some(true),
            ..Default::default()
        };
        let call = self.cloud().call(running, root(), api::GET_ITEM, input).await;
        let seen = list(call.result.ok()?.item.as_ref());
        let reads = vec![(key, seen.clone())];
        let (began, ended) = (call.began, Some(call.ended));
        self.history().add(Operation { name, began, ended, reads, ..Default::default() });
        Some(seen)
    }

    async fn read_all(&self, running: &Running, name: String) -> Option<BTreeMap<Key, Vec<String>>> {
        let get = |number| api::TransactGetItem {
            get: Some(api::Get {
                table_name: Some(NAME.to_owned()),
                key: Some(item_key(&key(number))),
                ..Default::default()
            }),
        };
        let input = api::TransactGetItemsInput {
            transact_items: Some((0..KEYS).map(get).collect()),
            ..Default::default()
        };
        let call = self.cloud().call(running, root(), api::TRANSACT_GET_ITEMS, input).await;
        let responses = call.result.ok()?.responses.unwrap_or_default();
        let reads: BTreeMap<Key, Vec<String>> =
            responses.iter().zip(0..).map(|(one, number)| (key(number), list(one.item.as_ref()))).collect();
        let (began, ended) = (call.began, Some(call.ended));
        let operation = Operation {
            name,
            began,
            ended,
            reads: reads.clone().into_iter().collect(),
            ..Default::default()
        };
        self.history().add(operation);
        Some(reads)
    }

    /// Reads the stream from its beginning until `is_enough`, and checks that it says what happened.
    async fn follow(
        &self,
        rng: &SeededRng,
        has_pauses: bool,
        mut is_enough: impl FnMut(&Table) -> bool,
    ) -> Option<Seen> {
        let (mut seen, mut after) = (Seen::default(), None::<String>);
        loop {
            if has_pauses {
                self.0.crew.pause(rng, self.0.plan.pause * 4).await;
            } else {
                self.0.crew.pause(rng, self.0.plan.pause).await;
            }
            let is_last = is_enough(self);
            let running = self.cloud().any(rng).await;
            // A new iterator each time: any node may answer, and an iterator may have been lost.
            let kind = if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" };
            let input = streams::GetShardIteratorInput {
                stream_arn: Some(self.0.stream.clone()),
                shard_id: Some(self.0.shard.clone()),
                shard_iterator_type: Some(kind.to_owned()),
                sequence_number: after.clone(),
                ..Default::default()
            };
            let call = self.cloud().call(&running, root(), streams::GET_SHARD_ITERATOR, input).await;
            let mut records = Vec::new();
            if let Some(iterator) = call.result.ok().and_then(|answer| answer.shard_iterator) {
                let input = streams::GetRecordsInput { shard_iterator: Some(iterator), ..Default::default() };
                let call = self.cloud().call(&running, root(), streams::GET_RECORDS, input).await;
                records = call.result.ok().and_then(|answer| answer.records).unwrap_or_default();
            }
            for record in &records {
                let Some(change) = &record.dynamodb else { continue };
                self.0.crew.check(seen.take(change));
                after.clone_from(&change.sequence_number);
            }
            if is_last && records.is_empty() {
                return Some(seen);
            }
        }
    }

    /// After the trouble: one order explains everything, and the stream tells it. Gives the operations and the writes of the history.
    pub async fn finish(&self) -> Result<[usize; 2], String> {
        let rng = self.cloud().world().rng("history/finish", 0);
        let running = self.cloud().any(&rng).await;
        let last = self.read_all(&running, "last".to_owned()).await.ok_or("the table cannot be read")?;
        self.history().check(&last)?;
        let seen = self.follow(&rng, false, |_| true).await.ok_or("the stream cannot be read")?;
        for (key, list) in &last {
            let told = seen.0.get(key).cloned().unwrap_or_default();
            if told != *list {
                return Err(format!("the stream tells {told:?} of {key}, which is {list:?}"));
            }
        }
        let writes = last.values().map(Vec::len).sum();
        Ok([self.history().len(), writes])
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cloud(&self) -> &Cloud {
        &self.0.crew.cloud
    }
}

impl Seen {
    /// A record adds one name to what the last record of its key said.
    fn take(&mut self, change: &streams::StreamRecord) -> Result<(), String> {
        let text = |value: &streams::AttributeValue| value.s.clone();
        let key = change.keys.as_ref().and_then(|keys| keys.get("pk")).and_then(text).unwrap_or_default();
        let names = |image: &Option<Map<streams::AttributeValue>>| -> Vec<String> {
            let list = image.as_ref().and_then(|image| image.get("ops")).and_then(|value| value.l.as_ref());
            list.into_iter().flatten().filter_map(text).collect()
        };
        let (old, new) = (names(&change.old_image), names(&change.new_image));
        let known = self.0.entry(key.clone()).or_default();
        if *known != old || new.len() != old.len() + 1 || !new.starts_with(&old) {
            return Err(format!(
                "a record of {key} leads from {old:?} to {new:?}, and the last one to {known:?}"
            ));
        }
        *known = new;
        Ok(())
    }
}

fn key(number: u64) -> Key {
    format!("k{number}")
}

fn value(text: &str) -> api::AttributeValue {
    api::AttributeValue { s: Some(text.to_owned()), ..Default::default() }
}

fn item_key(key: &str) -> Map<api::AttributeValue> {
    Map(vec![("pk".to_owned(), value(key))])
}

fn list(item: Option<&Map<api::AttributeValue>>) -> Vec<String> {
    let list = item.and_then(|item| item.get("ops")).and_then(|value| value.l.as_ref());
    list.into_iter().flatten().filter_map(|value| value.s.clone()).collect()
}

fn update(key: &str, name: &str, expected: Option<usize>) -> api::Update {
    let of_list = |list| api::AttributeValue { l: Some(list), ..Default::default() };
    let mut values =
        vec![(":none".to_owned(), of_list(Vec::new())), (":new".to_owned(), of_list(vec![value(name)]))];
    let condition = match expected {
        None => None,
        Some(0) => Some("attribute_not_exists(ops)".to_owned()),
        Some(length) => {
            let number = api::AttributeValue { n: Some(length.to_string()), ..Default::default() };
            values.push((":length".to_owned(), number));
            Some("size(ops) = :length".to_owned())
        }
    };
    api::Update {
        table_name: Some(NAME.to_owned()),
        key: Some(item_key(key)),
        update_expression: Some("SET ops = list_append(if_not_exists(ops, :none), :new)".to_owned()),
        condition_expression: condition,
        expression_attribute_values: Some(Map(values)),
        ..Default::default()
    }
}
