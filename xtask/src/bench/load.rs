//! Loads: what each connection does, over and over, until time is up.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client, Prepared};
use crate::process::Process;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    CallerIdentity,
    /// One message of 1 KB to a queue that nobody reads.
    SqsSend,
    /// Send, receive, delete: one cycle counts as one request.
    SqsCycle,
    /// Receive and delete from the queue that `fill` filled.
    SqsCycleDeep,
}

/// What a load reached.
pub struct Figures {
    pub per_second: f64,
    pub cpu_us: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Figures {
    pub fn print(&self, name: &str) {
        println!(
            "{name:<44} {:>12.0} {:>12.1} {:>10.2} {:>10.2}",
            self.per_second,
            self.cpu_us,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3
        );
    }

    fn of(mut latencies: Vec<Duration>, elapsed: Duration, cpu: Duration) -> Figures {
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies.get(index).copied().unwrap_or_default()
        };
        let count = latencies.len().max(1) as f64;
        Figures {
            per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / count,
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

/// Runs the scenario on `clients` connections for `time`, after a short warm-up.
pub async fn run(
    process: &Process,
    scenario: Scenario,
    clients: usize,
    time: Duration,
) -> Result<Figures, String> {
    let queue = match scenario {
        Scenario::CallerIdentity => String::new(),
        Scenario::SqsCycleDeep => create_queue(process.port, "deep").await?,
        other => create_queue(process.port, &format!("bench-{other:?}")).await?,
    };
    for_a_while(process.port, scenario, &queue, clients, time / 10).await?;
    let (cpu, begin) = (process.cpu(), Instant::now());
    let latencies = for_a_while(process.port, scenario, &queue, clients, time).await?;
    Ok(Figures::of(latencies, begin.elapsed(), process.cpu().saturating_sub(cpu)))
}

async fn for_a_while(
    port: u16,
    scenario: Scenario,
    queue: &str,
    clients: usize,
    time: Duration,
) -> Result<Vec<Duration>, String> {
    let end = Instant::now() + time;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let queue = queue.to_owned();
        workers.spawn(async move {
            let mut client = Client::connect(port).await?;
            let calls = Calls::new(&client, &queue)?;
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                calls.once(&mut client, scenario).await?;
                latencies.push(start.elapsed());
            }
            Ok::<_, String>(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(worker) = workers.join_next().await {
        all.extend(worker.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// What a connection sends over and over.
struct Calls {
    identity: Prepared,
    send: Prepared,
    receive: Prepared,
    queue: String,
}

impl Calls {
    fn new(client: &Client, queue: &str) -> Result<Calls, String> {
        let identity = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
        let message = json!({ "QueueUrl": queue, "MessageBody": "x".repeat(1_024) });
        Ok(Calls {
            identity: client.prepare_query("sts", &identity)?,
            send: client.prepare_json("sqs", "AmazonSQS.SendMessage", &message)?,
            receive: client.prepare_json("sqs", "AmazonSQS.ReceiveMessage", &json!({ "QueueUrl": queue }))?,
            queue: queue.to_owned(),
        })
    }

    async fn once(&self, client: &mut Client, scenario: Scenario) -> Result<(), String> {
        match scenario {
            Scenario::CallerIdentity => succeed(client.send_prepared(&self.identity).await?),
            Scenario::SqsSend => succeed(client.send_prepared(&self.send).await?),
            Scenario::SqsCycle => {
                succeed(client.send_prepared(&self.send).await?)?;
                self.receive_and_delete(client).await
            }
            Scenario::SqsCycleDeep => self.receive_and_delete(client).await,
        }
    }

    async fn receive_and_delete(&self, client: &mut Client) -> Result<(), String> {
        let received = expect(client.send_prepared(&self.receive).await?)?;
        let Some(handle) = received["Messages"][0]["ReceiptHandle"].as_str() else { return Ok(()) };
        let body = json!({ "QueueUrl": self.queue, "ReceiptHandle": handle });
        succeed(client.json("sqs", "AmazonSQS.DeleteMessage", &body).await?)
    }
}

fn succeed(answer: Answer) -> Result<(), String> {
    if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
}

fn expect(answer: Answer) -> Result<Value, String> {
    if answer.status == 200 {
        Ok(answer.json())
    } else {
        Err(format!("{}: {}", answer.status, answer.text()))
    }
}

pub async fn create_queue(port: u16, name: &str) -> Result<String, String> {
    let mut client = Client::connect(port).await?;
    let created = client.json("sqs", "AmazonSQS.CreateQueue", &json!({ "QueueName": name })).await?;
    let url = expect(created)?["QueueUrl"].as_str().map(str::to_owned);
    url.ok_or_else(|| "CreateQueue gave no QueueUrl".to_owned())
}

/// The 99th percentile of the time from a send's start to the end of the long poll that it wakes.
pub async fn long_poll_wake(process: &Process, rounds: usize) -> Result<Duration, String> {
    let queue = create_queue(process.port, "bench-wake").await?;
    let (mut receiver, mut sender) =
        (Client::connect(process.port).await?, Client::connect(process.port).await?);
    let mut waits = Vec::new();
    for _ in 0..rounds {
        let body = json!({ "QueueUrl": queue, "WaitTimeSeconds": 20 });
        let poll = tokio::spawn(async move {
            let answer = receiver.json("sqs", "AmazonSQS.ReceiveMessage", &body).await?;
            Ok::<_, String>((receiver, answer, Instant::now()))
        });
        // The poll must be waiting before the message comes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let body = json!({ "QueueUrl": queue, "MessageBody": "x" });
        expect(sender.json("sqs", "AmazonSQS.SendMessage", &body).await?)?;
        let sent = Instant::now();
        let (back, answer, woken) = poll.await.map_err(|error| error.to_string())??;
        receiver = back;
        waits.push(woken.saturating_duration_since(sent));
        let handle = expect(answer)?["Messages"][0]["ReceiptHandle"].as_str().map(str::to_owned);
        let handle = handle.ok_or("a long poll ended without its message")?;
        let body = json!({ "QueueUrl": queue, "ReceiptHandle": handle });
        expect(sender.json("sqs", "AmazonSQS.DeleteMessage", &body).await?)?;
    }
    waits.sort_unstable();
    Ok(waits[waits.len() * 99 / 100])
}

/// Queues `messages` messages of 1 KB in batches of ten.
pub async fn fill(process: &Process, messages: usize, clients: usize) -> Result<Figures, String> {
    let queue = create_queue(process.port, "deep").await?;
    let port = process.port;
    let (cpu, begin) = (process.cpu(), Instant::now());
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let queue = queue.clone();
        workers.spawn(async move {
            let mut client = Client::connect(port).await?;
            let mut latencies = Vec::new();
            for _ in 0..messages / 10 / clients {
                let entry = |id: usize| json!({ "Id": id.to_string(), "MessageBody": "x".repeat(1_024) });
                let entries: Vec<Value> = (0..10).map(entry).collect();
                let start = Instant::now();
                let body = json!({ "QueueUrl": queue, "Entries": entries });
                expect(client.json("sqs", "AmazonSQS.SendMessageBatch", &body).await?)?;
                latencies.push(start.elapsed());
            }
            Ok::<_, String>(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(worker) = workers.join_next().await {
        all.extend(worker.map_err(|error| error.to_string())??);
    }
    Ok(Figures::of(all, begin.elapsed(), process.cpu().saturating_sub(cpu)))
}
