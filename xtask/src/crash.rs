//! `cargo xtask crash`: kills a real node with -9 under mixed load, starts it again, and checks every acknowledged write.
//!
//! Each cycle sends to a standard and a FIFO queue, deletes some of what it receives, and creates users; after the restart
//! nothing acknowledged may be gone, nothing deleted may be back, batches are whole, FIFO order holds. Objects (`crash/s3.rs`) are
//! whole, and no file is left of those that are not. The store's own crash suite (`store-torture`: garbage behind the journal, a
//! truncated tail) runs first.

mod s3;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::{process, sh};

#[derive(clap::Args)]
pub struct Args {
    /// How often the node is killed
    #[arg(long, default_value_t = 10)]
    cycles: usize,
    /// fjall or redb
    #[arg(long, default_value = "fjall")]
    engine: String,
    /// Leave out the store's own suite
    #[arg(long)]
    node_only: bool,
    /// debug or release binary
    #[arg(long, default_value = "release")]
    profile: String,
}

impl Args {
    /// What every test run does.
    pub fn short() -> Args {
        Args { cycles: 3, engine: "fjall".to_owned(), node_only: true, profile: "debug".to_owned() }
    }
}

pub fn run(args: &Args) -> Result<(), String> {
    if !args.node_only {
        let cycles = args.cycles.to_string();
        let store = [
            "run",
            "--release",
            "-p",
            "pileus-store",
            "--features",
            "testing",
            "--bin",
            "store-torture",
            "--",
        ];
        sh::run("cargo", store.into_iter().chain(["--engine", &args.engine, "--cycles", &cycles]))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(cycles(args))
}

async fn cycles(args: &Args) -> Result<(), String> {
    let binary = process::binary(&args.profile)?;
    let dir = std::env::temp_dir().join(format!("pileus-crash-{}", std::process::id()));
    let mut known = Known::default();
    for cycle in 0..args.cycles {
        one(&binary, &dir, args, cycle, &mut known).await.map_err(|error| {
            format!("cycle {cycle} ({}): {error}\n  kept: {}", args.engine, dir.display())
        })?;
    }
    println!(
        "{}: {} kills; {} messages, {} ordered messages, {} users, {} changes of objects acknowledged; none lost, none back, order kept",
        args.engine,
        args.cycles,
        known.sent,
        known.ordered,
        known.users.len(),
        known.objects.changes()
    );
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())
}

/// What the node has acknowledged over all cycles.
#[derive(Default)]
struct Known {
    sent: usize,
    ordered: usize,
    users: BTreeSet<String>,
    objects: s3::Known,
}

/// What one burst of load learned.
#[derive(Default)]
struct Burst {
    sent: BTreeSet<String>,
    /// Deletes that were acknowledged.
    deleted: BTreeSet<String>,
    /// Deletes that were asked for: they may or may not have happened.
    doubtful: BTreeSet<String>,
    ordered: BTreeMap<String, u64>,
    users: BTreeSet<String>,
}

async fn one(binary: &Path, dir: &Path, args: &Args, cycle: usize, known: &mut Known) -> Result<(), String> {
    let port = process::free_port()?;
    let mut node = process::pileus(binary, dir, &args.engine, port).await?;
    let standard = create_queue(port, &format!("standard-{cycle}"), false).await?;
    let fifo = create_queue(port, &format!("ordered-{cycle}.fifo"), true).await?;
    s3::create_bucket(port).await?;
    let mut objects = tokio::task::JoinSet::new();
    for worker in 0..3 {
        objects.spawn(s3::load(port, format!("{cycle}/{worker}")));
    }
    let mut loads = tokio::task::JoinSet::new();
    for worker in 0..4 {
        loads.spawn(standard_load(port, standard.clone(), worker));
    }
    loads.spawn(fifo_load(port, fifo.clone()));
    loads.spawn(user_load(port, cycle));
    // Anything between a first commit and a good second of load.
    let life = Duration::from_millis(150 + (cycle as u64 * 397) % 1_300);
    let _ = tokio::time::timeout(life, std::future::pending::<()>()).await;
    node.kill();
    let mut burst = Burst::default();
    while let Some(load) = loads.join_next().await {
        burst.join(load.map_err(|error| error.to_string())?);
    }
    let mut puts = s3::Burst::default();
    while let Some(load) = objects.join_next().await {
        puts.join(load.map_err(|error| error.to_string())??);
    }
    drop(node);
    s3::scrub(binary, dir, &args.engine)?;

    let port = process::free_port()?;
    let _node = process::pileus(binary, dir, &args.engine, port).await?;
    known.sent += burst.sent.len();
    known.ordered += burst.ordered.len();
    known.users.extend(burst.users.iter().cloned());
    check_standard(port, cycle, &burst).await?;
    check_fifo(port, cycle, &burst).await?;
    check_users(port, &known.users).await?;
    s3::check(port, dir, &mut known.objects, puts).await
}

impl Burst {
    fn join(&mut self, other: Burst) {
        self.sent.extend(other.sent);
        self.deleted.extend(other.deleted);
        self.doubtful.extend(other.doubtful);
        self.ordered.extend(other.ordered);
        self.users.extend(other.users);
    }
}

async fn create_queue(port: u16, name: &str, is_fifo: bool) -> Result<String, String> {
    let mut client = Client::connect(port).await?;
    let attributes = match is_fifo {
        true => json!({ "FifoQueue": "true", "ContentBasedDeduplication": "true" }),
        // Received messages come back at once, so that the check sees every one that was not deleted.
        false => json!({ "VisibilityTimeout": "0" }),
    };
    let body = json!({ "QueueName": name, "Attributes": attributes });
    let answer = client.json("sqs", "AmazonSQS.CreateQueue", &body).await?;
    let url = answer.json()["QueueUrl"].as_str().map(str::to_owned);
    url.ok_or_else(|| format!("CreateQueue: {}", answer.text()))
}

/// Batches of three, and now and then a receive with its delete. Ends when the node is gone.
async fn standard_load(port: u16, queue: String, worker: usize) -> Burst {
    let mut burst = Burst::default();
    let Ok(mut client) = Client::connect(port).await else { return burst };
    for number in 0.. {
        let bodies: Vec<String> = (0..3).map(|part| format!("{worker}-{number}-{part}")).collect();
        let entry = |(id, body): (usize, &String)| json!({ "Id": id.to_string(), "MessageBody": body });
        let entries: Vec<Value> = bodies.iter().enumerate().map(entry).collect();
        let body = json!({ "QueueUrl": queue, "Entries": entries });
        match client.json("sqs", "AmazonSQS.SendMessageBatch", &body).await {
            Ok(answer) if answer.status == 200 => burst.sent.extend(bodies),
            _ => return burst,
        }
        if number % 4 == 0 && delete_one(&mut client, &queue, &mut burst).await.is_none() {
            return burst;
        }
    }
    burst
}

async fn delete_one(client: &mut Client, queue: &str, burst: &mut Burst) -> Option<()> {
    let body = json!({ "QueueUrl": queue, "VisibilityTimeout": 30 });
    let received = client.json("sqs", "AmazonSQS.ReceiveMessage", &body).await.ok()?.json();
    let message = &received["Messages"][0];
    let (Some(handle), Some(text)) = (message["ReceiptHandle"].as_str(), message["Body"].as_str()) else {
        return Some(());
    };
    burst.doubtful.insert(text.to_owned());
    let body = json!({ "QueueUrl": queue, "ReceiptHandle": handle });
    let answer = client.json("sqs", "AmazonSQS.DeleteMessage", &body).await.ok()?;
    if answer.status == 200 {
        burst.deleted.insert(text.to_owned());
    }
    Some(())
}

async fn fifo_load(port: u16, queue: String) -> Burst {
    let mut burst = Burst::default();
    let Ok(mut client) = Client::connect(port).await else { return burst };
    for number in 0u64.. {
        let text = format!("{number:08}");
        let body = json!({ "QueueUrl": queue, "MessageBody": text, "MessageGroupId": "g" });
        match client.json("sqs", "AmazonSQS.SendMessage", &body).await {
            Ok(answer) if answer.status == 200 => burst.ordered.insert(text, number),
            _ => return burst,
        };
    }
    burst
}

async fn user_load(port: u16, cycle: usize) -> Burst {
    let mut burst = Burst::default();
    let Ok(mut client) = Client::connect(port).await else { return burst };
    for number in 0.. {
        let name = format!("u-{cycle}-{number}");
        let parameters = [("Action", "CreateUser"), ("Version", "2010-05-08"), ("UserName", name.as_str())];
        match client.query("iam", &parameters).await {
            Ok(answer) if answer.status == 200 => burst.users.insert(name),
            _ => return burst,
        };
    }
    burst
}

/// Receives until the queue is empty; each message is hidden once seen.
async fn drain(port: u16, queue: &str) -> Result<Vec<String>, String> {
    let mut client = Client::connect(port).await?;
    let mut bodies = Vec::new();
    let mut empty = 0;
    while empty < 12 {
        let body = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600 });
        let answer = client.json("sqs", "AmazonSQS.ReceiveMessage", &body).await?;
        if answer.status != 200 {
            return Err(format!("ReceiveMessage: {}", answer.text()));
        }
        let answer = answer.json();
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        for message in messages {
            bodies.push(message["Body"].as_str().unwrap_or_default().to_owned());
            if queue.ends_with(".fifo") {
                // The group's next message comes only when this one is gone.
                let handle = message["ReceiptHandle"].as_str().unwrap_or_default();
                let body = json!({ "QueueUrl": queue, "ReceiptHandle": handle });
                client.json("sqs", "AmazonSQS.DeleteMessage", &body).await?;
            }
        }
    }
    Ok(bodies)
}

async fn check_standard(port: u16, cycle: usize, burst: &Burst) -> Result<(), String> {
    let queue = create_queue(port, &format!("standard-{cycle}"), false).await?;
    // Messages that were in flight come back when their 30 seconds are over.
    advance(port, 31).await?;
    let present: BTreeSet<String> = drain(port, &queue).await?.into_iter().collect();
    let lost: Vec<_> = burst
        .sent
        .iter()
        .filter(|body| !present.contains(*body) && !burst.doubtful.contains(*body))
        .collect();
    if !lost.is_empty() {
        return Err(format!(
            "{} acknowledged messages are lost: {:?}",
            lost.len(),
            &lost[..lost.len().min(5)]
        ));
    }
    let back: Vec<_> = burst.deleted.intersection(&present).collect();
    if !back.is_empty() {
        return Err(format!("deleted messages are back: {back:?}"));
    }
    // A batch that was not acknowledged is there whole or not at all.
    let mut batches: BTreeMap<&str, usize> = BTreeMap::new();
    for body in present.union(&burst.doubtful) {
        *batches.entry(body.rsplit_once('-').map_or("", |(batch, _)| batch)).or_default() += 1;
    }
    match batches.iter().find(|(_, parts)| **parts != 3) {
        Some((batch, parts)) => Err(format!("batch {batch} is torn: {parts} of 3 messages")),
        None => Ok(()),
    }
}

async fn check_fifo(port: u16, cycle: usize, burst: &Burst) -> Result<(), String> {
    let queue = create_queue(port, &format!("ordered-{cycle}.fifo"), true).await?;
    let bodies = drain(port, &queue).await?;
    if !bodies.is_sorted() {
        return Err("the order of a FIFO group is broken".to_owned());
    }
    let present: BTreeSet<&String> = bodies.iter().collect();
    match burst.ordered.keys().find(|body| !present.contains(body)) {
        Some(lost) => Err(format!("ordered message {lost} is lost")),
        None => Ok(()),
    }
}

async fn check_users(port: u16, users: &BTreeSet<String>) -> Result<(), String> {
    let mut client = Client::connect(port).await?;
    for name in users {
        let parameters = [("Action", "GetUser"), ("Version", "2010-05-08"), ("UserName", name.as_str())];
        let answer = client.query("iam", &parameters).await?;
        if answer.status != 200 {
            return Err(format!("user {name} is lost: {}", answer.text()));
        }
    }
    Ok(())
}

async fn advance(port: u16, seconds: u32) -> Result<(), String> {
    let mut client = Client::connect(port).await?;
    let body = bytes::Bytes::from(json!({ "advance_seconds": seconds }).to_string());
    let mut headers = http::HeaderMap::new();
    headers.insert("host", http::HeaderValue::from_static("localhost"));
    let answer = client.send("POST", "/_pileus/clock", headers, body).await?;
    if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
}
