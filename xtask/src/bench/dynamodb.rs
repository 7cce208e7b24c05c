//! Items of 1 KB: what reading and writing them costs beside a bare answer, and how many are written beside the store's raw group
//! commit; with a few items in the table and, when asked, with many.
//!
//! Every figure is taken over items in all parts of the table, by requests that were signed beforehand; a write replaces an item.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::{self, Figures, Work, on_threads};
use super::wire::Wire;
use super::{bare_hyper, fresh, raw_group_commit, verdict};
use crate::client::Client;
use crate::process::Process;

const TABLE: &str = "bench";
/// Items with one partition key: what a query reads.
const PARTITION: usize = 100;
/// Items of a small table.
const FEW: usize = 10_000;
/// Items of one `BatchWriteItem`.
const BATCH: usize = 25;
/// Bytes of an item beside its keys and its names: 1 KB with them.
const DATA: usize = 960;
/// Requests that are sent in turn, at most.
const READS: usize = 100_000;
const WRITES: usize = 20_000;
/// Connections that read while others write.
const READERS: usize = 4;

pub async fn run(
    binary: &Path,
    dir: &Path,
    clients: usize,
    time: Duration,
    items: usize,
) -> Result<(), String> {
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");
    let server = bare_hyper().await?;
    let signer = Client::connect(server.port).await?;
    let answer = Load::of(vec![bare(&signer, "GetItem", &get(0), "item")?]);
    let answer = answer.run(&server, clients, time).await?;
    answer.print("floor: bare hyper answer, 1 KB");
    let sink = Load::of(vec![bare(&signer, "PutItem", &put(0), "sink")?]).run(&server, clients, time).await?;
    sink.print("floor: bare hyper sink, 1 KB");
    drop(server);
    let raw_rate = raw_group_commit(&dir.join("raw"), clients, time).await?;

    let few = Reached::with(binary, dir, FEW, clients, time).await?;
    let many = match items {
        0 => None,
        items => Some(Reached::with(binary, dir, items, clients, time).await?),
    };

    println!();
    let ratio = few.get.cpu_us / answer.cpu_us;
    verdict("GetItem 1 KB CPU / bare answer", ratio, 2.0, "x", ratio <= 2.0);
    let ratio = few.put.cpu_us / sink.cpu_us;
    verdict("PutItem 1 KB CPU, durable / bare sink", ratio, 4.0, "x", ratio <= 4.0);
    let share = few.put.per_second / raw_rate * 100.0;
    verdict("PutItem rate / raw group commit", share, 60.0, "% (at least)", share >= 60.0);
    let cpu = few.query.cpu_us;
    verdict("Query of 100 items of 1 KB, CPU", cpu, 250.0, "us", cpu <= 250.0);
    let share = few.transact.per_second / raw_rate * 100.0;
    verdict("TransactWriteItems of 3 / raw group commit", share, 40.0, "% (at least)", share >= 40.0);
    let p99 = few.beside.p99.as_secs_f64() * 1e3;
    verdict("GetItem beside 32 writers, p99", p99, 10.0, "ms", p99 <= 10.0);
    if let Some(many) = many {
        many.compare(&few, items);
    }
    Ok(())
}

/// The figures of a table of one size.
struct Reached {
    get: Figures,
    put: Figures,
    query: Figures,
    transact: Figures,
    /// Of `GetItem` while others write.
    beside: Figures,
}

impl Reached {
    /// Fills a table and measures it.
    async fn with(
        binary: &Path,
        dir: &Path,
        items: usize,
        clients: usize,
        time: Duration,
    ) -> Result<Reached, String> {
        let node = fresh(binary, dir, &format!("dynamodb-{items}")).await?;
        let signer = Arc::new(Client::connect(node.port).await?);
        create_table(&node).await?;
        fill(&node, &signer, items, clients)
            .await?
            .print(&format!("BatchWriteItem of {BATCH}, {items} items"));
        let some = |most: usize| (0..most.min(items)).map(move |turn| spread(turn, items));
        let reads = some(READS).map(|item| request(&signer, "GetItem", &get(item)));
        let reads = Load::of(reads.collect::<Result<_, _>>()?);
        let figures = reads.run(&node, clients, time).await?;
        figures.print("dynamodb GetItem 1 KB");
        let partitions = items / PARTITION;
        let queries = (0..partitions.min(READS)).map(|turn| query(spread(turn, partitions)));
        let queries = queries.map(|body| request(&signer, "Query", &body));
        let queries = Load { check: whole, ..Load::of(queries.collect::<Result<_, _>>()?) };
        let queried = queries.run(&node, clients, time).await?;
        queried.print(&format!("dynamodb Query of {PARTITION} items of 1 KB"));
        let writes = some(WRITES).map(|item| request(&signer, "PutItem", &put(item)));
        let writes = Load::of(writes.collect::<Result<_, _>>()?);
        let written = writes.run(&node, clients, time).await?;
        written.print("dynamodb PutItem 1 KB, durable");
        let written_at_once: Vec<usize> = some(WRITES).collect();
        let transactions = written_at_once.chunks_exact(3).map(|items| {
            let puts = items.iter().map(|item| json!({ "Put": put(*item) }));
            let body = json!({ "TransactItems": puts.collect::<Vec<Value>>() });
            request(&signer, "TransactWriteItems", &body)
        });
        let transactions = Load::of(transactions.collect::<Result<_, _>>()?);
        let transact = transactions.run(&node, clients, time).await?;
        transact.print("dynamodb TransactWriteItems of 3 x 1 KB");
        let (beside, writing) =
            tokio::join!(reads.run(&node, READERS, time), writes.run(&node, clients, time));
        let (beside, _) = (beside?, writing?);
        println!(
            "{:<44} {:>12.0} {:>12} {:>10.2} {:>10.2}",
            format!("dynamodb GetItem, {clients} writers beside it"),
            beside.per_second,
            "",
            beside.p50.as_secs_f64() * 1e3,
            beside.p99.as_secs_f64() * 1e3
        );
        println!("   the node has {:.1} MiB, at most {:.1} MiB", node.rss_mib(), node.peak_mib());
        Ok(Reached { get: figures, put: written, query: queried, transact, beside })
    }

    /// Against those of a small table.
    fn compare(&self, few: &Reached, items: usize) {
        let rows = [
            ("GetItem CPU", self.get.cpu_us / few.get.cpu_us),
            ("PutItem CPU", self.put.cpu_us / few.put.cpu_us),
            ("PutItem rate", few.put.per_second / self.put.per_second),
            ("Query CPU", self.query.cpu_us / few.query.cpu_us),
            ("TransactWriteItems rate", few.transact.per_second / self.transact.per_second),
        ];
        for (name, times) in rows {
            let name = format!("{name}, {items} items / {FEW}");
            verdict(&name, times, 1.5, "x", times <= 1.5);
        }
        let p99 = self.beside.p99.as_secs_f64() * 1e3;
        verdict(&format!("GetItem beside writers, {items} items, p99"), p99, 15.0, "ms", p99 <= 15.0);
    }
}

/// Requests that connections send in turn.
#[derive(Clone)]
struct Load {
    requests: Arc<Vec<Vec<u8>>>,
    turn: Arc<AtomicUsize>,
    check: fn(&[u8]) -> Result<(), String>,
}

impl Load {
    fn of(requests: Vec<Vec<u8>>) -> Load {
        Load { requests: Arc::new(requests), turn: Arc::default(), check: |_| Ok(()) }
    }

    /// On `clients` connections for `time`, after a short warm-up.
    async fn run(&self, process: &Process, clients: usize, time: Duration) -> Result<Figures, String> {
        load::repeat(&[process], self, clients, time).await
    }
}

impl Work for Load {
    async fn once(&self, wire: &mut Wire, _: Instant) -> Result<bool, String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.requests.len();
        (self.check)(wire.send(&self.requests[turn]).await?)?;
        Ok(true)
    }
}

/// A query's answer has the whole partition.
fn whole(answer: &[u8]) -> Result<(), String> {
    let count = format!("\"Count\":{PARTITION}");
    match answer.windows(count.len()).any(|window| window == count.as_bytes()) {
        true => Ok(()),
        false => Err(format!("a query found other than {PARTITION} items")),
    }
}

fn request(signer: &Client, operation: &str, body: &Value) -> Result<Vec<u8>, String> {
    let target = format!("DynamoDB_20120810.{operation}");
    Ok(signer.prepare_json("dynamodb", &target, body)?.to_http1())
}

/// The same request to the floor.
fn bare(signer: &Client, operation: &str, body: &Value, path: &str) -> Result<Vec<u8>, String> {
    let request = request(signer, operation, body)?;
    Ok([format!("POST /{path}").as_bytes(), &request["POST /".len()..]].concat())
}

/// Turns visit all parts of what there is, each item once.
fn spread(turn: usize, all: usize) -> usize {
    // A prime, so unless it divides `all` it visits each.
    turn.wrapping_mul(7_919_999) % all.max(1)
}

fn key(item: usize) -> Value {
    let (partition, sort) = (item / PARTITION, item % PARTITION);
    json!({ "pk": { "S": format!("partition-{partition:08}") }, "sk": { "N": sort.to_string() } })
}

fn get(item: usize) -> Value {
    json!({ "TableName": TABLE, "Key": key(item), "ConsistentRead": true })
}

fn put(item: usize) -> Value {
    json!({ "TableName": TABLE, "Item": whole_item(item) })
}

fn query(partition: usize) -> Value {
    json!({
        "TableName": TABLE,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": { ":pk": key(partition * PARTITION)["pk"] },
    })
}

fn whole_item(item: usize) -> Value {
    let mut whole = key(item);
    whole["data"] = json!({ "S": text(item) });
    whole
}

/// Text that little can be saved of.
fn text(item: usize) -> String {
    let mut state = (item as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let words = (0..DATA.div_ceil(16)).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    });
    let mut text: String = words.collect();
    text.truncate(DATA);
    text
}

async fn create_table(node: &Process) -> Result<(), String> {
    let body = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "pk", "AttributeType": "S" },
            { "AttributeName": "sk", "AttributeType": "N" },
        ],
        "KeySchema": [
            { "AttributeName": "pk", "KeyType": "HASH" },
            { "AttributeName": "sk", "KeyType": "RANGE" },
        ],
    });
    let mut client = Client::connect(node.port).await?;
    let answer = client.json("dynamodb", "DynamoDB_20120810.CreateTable", &body).await?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("CreateTable: {status} {}", answer.text())),
    }
}

/// Writes items 0 to `items`; a figure of batches.
async fn fill(node: &Process, signer: &Arc<Client>, items: usize, clients: usize) -> Result<Figures, String> {
    let (port, batches) = (node.port, items.div_ceil(BATCH));
    let (signer, cpu, begin) = (signer.clone(), node.cpu(), Instant::now());
    let latencies = on_threads(clients, move |client| {
        let signer = signer.clone();
        async move {
            let mut wire = Wire::connect(port).await?;
            let mut latencies = Vec::new();
            for batch in (client..batches).step_by(clients) {
                // In no order of keys, as items come.
                let part = (batch * BATCH..((batch + 1) * BATCH).min(items)).map(|turn| spread(turn, items));
                let puts = part.map(|item| json!({ "PutRequest": { "Item": whole_item(item) } }));
                let body = json!({ "RequestItems": { TABLE: puts.collect::<Vec<Value>>() } });
                let request = request(&signer, "BatchWriteItem", &body)?;
                let start = Instant::now();
                let answer = wire.send(&request).await?;
                latencies.push(start.elapsed());
                if !answer.windows(21).any(|window| window == b"\"UnprocessedItems\":{}") {
                    return Err(format!("BatchWriteItem left: {}", String::from_utf8_lossy(answer)));
                }
            }
            Ok(latencies)
        }
    })
    .await?;
    Ok(Figures::of(latencies, begin.elapsed(), node.cpu().saturating_sub(cpu)))
}
