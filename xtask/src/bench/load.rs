//! Loads: what each connection does, over and over, until time is up.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{self, Wire};
use crate::client::{Answer, Client};
use crate::process::Process;

/// Threads that clients share: more would only take the machine from the server.
const THREADS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    CallerIdentity,
    /// One message of 1 KB to a queue that nobody reads.
    SqsSend,
    /// Send, receive, delete: one cycle counts as one request, once its message was received and deleted.
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

    pub fn of(mut latencies: Vec<Duration>, elapsed: Duration, cpu: Duration) -> Figures {
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
    run_on(&[process], scenario, clients, time).await
}

/// As `run`, the connections spread over several nodes of one cloud. CPU is that of all.
pub async fn run_on(
    processes: &[&Process],
    scenario: Scenario,
    clients: usize,
    time: Duration,
) -> Result<Figures, String> {
    let first = processes.first().ok_or("there is no node to load")?.port;
    let queue = match scenario {
        Scenario::CallerIdentity => String::new(),
        Scenario::SqsCycleDeep => create_queue(first, "deep").await?,
        other => create_queue(first, &format!("bench-{other:?}")).await?,
    };
    let calls = Arc::new(Calls::new(Client::connect(first).await?, queue)?);
    repeat(processes, &Scenic { calls, scenario }, clients, time).await
}

/// What a connection does over and over.
pub trait Work: Clone + Send + 'static {
    /// False when it did not come to its end by `end`: it does not count.
    fn once(&self, wire: &mut Wire, end: Instant) -> impl Future<Output = Result<bool, String>>;
}

/// Does the work on `clients` connections, spread over the processes, for `time`, after a short warm-up. CPU is that of all.
pub async fn repeat(
    processes: &[&Process],
    work: &impl Work,
    clients: usize,
    time: Duration,
) -> Result<Figures, String> {
    let ports: Arc<[u16]> = processes.iter().map(|process| process.port).collect();
    let cpu = || processes.iter().map(|process| process.cpu()).sum::<Duration>();
    for_a_while(&ports, work, clients, time / 10).await?;
    let (before, begin) = (cpu(), Instant::now());
    let latencies = for_a_while(&ports, work, clients, time).await?;
    Ok(Figures::of(latencies, begin.elapsed(), cpu().saturating_sub(before)))
}

async fn for_a_while(
    ports: &Arc<[u16]>,
    work: &impl Work,
    clients: usize,
    time: Duration,
) -> Result<Vec<Duration>, String> {
    let end = Instant::now() + time;
    let (work, ports) = (work.clone(), ports.clone());
    on_threads(clients, move |client| {
        let (work, port) = (work.clone(), ports[client % ports.len()]);
        async move {
            let mut wire = Wire::connect(port).await?;
            let mut latencies = Vec::new();
            loop {
                let start = Instant::now();
                if start >= end {
                    return Ok(latencies);
                }
                if work.once(&mut wire, end).await? {
                    latencies.push(start.elapsed());
                }
            }
        }
    })
    .await
}

/// The calls of a scenario.
#[derive(Clone)]
struct Scenic {
    calls: Arc<Calls>,
    scenario: Scenario,
}

impl Work for Scenic {
    async fn once(&self, wire: &mut Wire, end: Instant) -> Result<bool, String> {
        self.calls.once(wire, self.scenario, end).await
    }
}

/// Runs the clients on threads of their own, a few on each: no connection ever moves to another thread.
pub async fn on_threads<F, Fut>(clients: usize, client: F) -> Result<Vec<Duration>, String>
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Vec<Duration>, String>> + 'static,
{
    let threads = THREADS.min(clients);
    let mut workers = tokio::task::JoinSet::new();
    for thread in 0..threads {
        let client = client.clone();
        workers.spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let clients = (thread..clients).step_by(threads).map(client);
            let done = runtime.block_on(futures_util::future::join_all(clients));
            Ok::<_, String>(done.into_iter().collect::<Result<Vec<_>, String>>()?.concat())
        });
    }
    let mut all = Vec::new();
    while let Some(worker) = workers.join_next().await {
        all.extend(worker.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// What connections send over and over.
struct Calls {
    identity: Vec<u8>,
    send: Vec<u8>,
    receive: Vec<u8>,
    /// Signs what differs each time.
    signer: Client,
    queue: String,
}

impl Calls {
    fn new(signer: Client, queue: String) -> Result<Calls, String> {
        let identity = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
        let message = json!({ "QueueUrl": queue, "MessageBody": "x".repeat(1_024) });
        let receive = json!({ "QueueUrl": queue });
        Ok(Calls {
            identity: signer.prepare_query("sts", &identity)?.to_http1(),
            send: signer.prepare_json("sqs", "AmazonSQS.SendMessage", &message)?.to_http1(),
            receive: signer.prepare_json("sqs", "AmazonSQS.ReceiveMessage", &receive)?.to_http1(),
            signer,
            queue,
        })
    }

    /// False when it did not come to its end: there was no message.
    async fn once(&self, wire: &mut Wire, scenario: Scenario, end: Instant) -> Result<bool, String> {
        match scenario {
            Scenario::CallerIdentity => wire.send(&self.identity).await.map(|_| true),
            Scenario::SqsSend => wire.send(&self.send).await.map(|_| true),
            Scenario::SqsCycle => {
                wire.send(&self.send).await?;
                // A receive may find only what others are taking; a message is there for each of us.
                while !self.receive_and_delete(wire).await? {
                    if Instant::now() >= end {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Scenario::SqsCycleDeep => self.receive_and_delete(wire).await,
        }
    }

    async fn receive_and_delete(&self, wire: &mut Wire) -> Result<bool, String> {
        let received = wire.send(&self.receive).await?;
        let Some(handle) = wire::text_member(received, "ReceiptHandle") else { return Ok(false) };
        let body = json!({ "QueueUrl": self.queue, "ReceiptHandle": handle });
        let delete = self.signer.prepare_json("sqs", "AmazonSQS.DeleteMessage", &body)?.to_http1();
        wire.send(&delete).await.map(|_| true)
    }
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
    let entry = |id: usize| json!({ "Id": id.to_string(), "MessageBody": "x".repeat(1_024) });
    let body = json!({ "QueueUrl": queue, "Entries": (0..10).map(entry).collect::<Vec<Value>>() });
    let signer = Client::connect(process.port).await?;
    let batch = Arc::new(signer.prepare_json("sqs", "AmazonSQS.SendMessageBatch", &body)?.to_http1());
    let (port, batches) = (process.port, messages / 10);
    let (cpu, begin) = (process.cpu(), Instant::now());
    let latencies = on_threads(clients, move |client| {
        let batch = batch.clone();
        async move {
            let mut wire = Wire::connect(port).await?;
            let mut latencies = Vec::new();
            for _ in (client..batches).step_by(clients) {
                let start = Instant::now();
                let answer = wire.send(&batch).await?;
                if answer.windows(8).any(|window| window == b"\"Failed\"") {
                    return Err(String::from_utf8_lossy(answer).into_owned());
                }
                latencies.push(start.elapsed());
            }
            Ok(latencies)
        }
    })
    .await?;
    Ok(Figures::of(latencies, begin.elapsed(), process.cpu().saturating_sub(cpu)))
}
