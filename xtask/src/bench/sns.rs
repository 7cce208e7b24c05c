//! Topics: what a published message costs until it lies in one queue, and how many deliveries a second a hundred queues get.
//!
//! Subscribers take messages raw: another form is signed, and a signature costs what RSA costs, here as on AWS.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Figures, Scenario, create_queue, on_threads};
use super::wire::Wire;
use super::{bare_hyper, fresh, load, raw_group_commit, verdict};
use crate::client::{Answer, Client};
use crate::process::Process;

/// Subscribers of the topic that fans out.
const MANY: usize = 100;
/// Messages a second that make the deliveries of the promise.
const PACE: f64 = 300.0;
/// Longest wait for the last delivery.
const PATIENCE: Duration = Duration::from_secs(120);
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}]}"#;

pub async fn run(binary: &Path, dir: &Path, clients: usize, time: Duration) -> Result<(), String> {
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");
    let server = bare_hyper().await?;
    load::run(&server, Scenario::CallerIdentity, clients, time).await?.print("floor: bare hyper answer");
    drop(server);
    let raw_rate = raw_group_commit(&dir.join("raw"), clients, time).await?;

    let node = fresh(binary, dir, "sns-one").await?;
    let topic = Topic::with_queues(&node, "one", 1, "true").await?;
    topic.publish(&node, clients, 500).await?;
    let messages = (time.as_secs_f64() * 2_000.0) as usize;
    let one = topic.publish(&node, clients, messages).await?;
    one.print("sns Publish 1 KB to one queue, delivered");
    drop(node);

    let node = fresh(binary, dir, "sns-signed").await?;
    let topic = Topic::with_queues(&node, "signed", 1, "false").await?;
    topic.publish(&node, clients, 100).await?;
    let signed = topic.publish(&node, clients, messages / 10).await?;
    signed.print("the same, as a signed notification");
    drop(node);

    let node = fresh(binary, dir, "sns-many").await?;
    let topic = Topic::with_queues(&node, "many", MANY, "true").await?;
    topic.publish(&node, clients, 20).await?;
    let many = topic.publish(&node, clients, (time.as_secs_f64() * PACE) as usize).await?;
    many.print(&format!("sns Publish 1 KB to {MANY} queues, delivered"));

    println!();
    verdict("Publish to one queue, delivered: CPU", one.cpu_us, 150.0, "us", one.cpu_us <= 150.0);
    let (deliveries, limit) = (many.per_second * MANY as f64, raw_rate.min(30_000.0).round());
    let name = format!("deliveries a second, 1:{MANY}");
    verdict(&name, deliveries, limit, "(at least)", deliveries >= limit);
    Ok(())
}

/// A topic and the queues that subscribe to it.
struct Topic {
    arn: String,
    queues: Vec<String>,
}

impl Topic {
    async fn with_queues(node: &Process, name: &str, queues: usize, is_raw: &str) -> Result<Topic, String> {
        let mut client = Client::connect(node.port).await?;
        let created = sns(&mut client, "CreateTopic", &[("Name", name)]).await?;
        let arn = created.split_once("<TopicArn>").and_then(|(_, rest)| rest.split_once('<'));
        let arn = arn.map(|(arn, _)| arn.to_owned()).ok_or("CreateTopic gave no TopicArn")?;
        let mut urls = Vec::new();
        for number in 0..queues {
            let queue = format!("{name}-{number}");
            let url = create_queue(node.port, &queue).await?;
            let body = json!({ "QueueUrl": url, "Attributes": { "Policy": POLICY } });
            expect(client.json("sqs", "AmazonSQS.SetQueueAttributes", &body).await?)?;
            let endpoint = format!("arn:aws:sqs:us-east-1:000000000000:{queue}");
            let parameters = [
                ("TopicArn", arn.as_str()),
                ("Protocol", "sqs"),
                ("Endpoint", &endpoint),
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", is_raw),
            ];
            sns(&mut client, "Subscribe", &parameters).await?;
            urls.push(url);
        }
        Ok(Topic { arn, queues: urls })
    }

    /// Publishes that many messages of 1 KB and waits until every queue has them; what one took, deliveries included.
    async fn publish(&self, node: &Process, clients: usize, messages: usize) -> Result<Figures, String> {
        let mut client = Client::connect(node.port).await?;
        let mut before = Vec::new();
        for queue in &self.queues {
            before.push(depth(&mut client, queue).await?);
        }
        let message = "x".repeat(1_024);
        let parameters = [("TopicArn", self.arn.as_str()), ("Message", &message), ACTION, VERSION];
        let request = client.prepare_query("sns", &parameters)?.to_http1();
        let (port, cpu, begin) = (node.port, node.cpu(), Instant::now());
        let latencies = on_threads(clients, move |client| {
            let request = request.clone();
            async move {
                let mut wire = Wire::connect(port).await?;
                let mut latencies = Vec::new();
                for _ in (client..messages).step_by(clients) {
                    let start = Instant::now();
                    wire.send(&request).await?;
                    latencies.push(start.elapsed());
                }
                Ok(latencies)
            }
        })
        .await?;
        for (queue, before) in self.queues.iter().zip(before) {
            while depth(&mut client, queue).await? < before + messages {
                if begin.elapsed() > PATIENCE {
                    return Err(format!("{queue} did not get its messages"));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(Figures::of(latencies, begin.elapsed(), node.cpu().saturating_sub(cpu)))
    }
}

const ACTION: (&str, &str) = ("Action", "Publish");
const VERSION: (&str, &str) = ("Version", "2010-03-31");

async fn sns(client: &mut Client, action: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
    let parameters = [&[("Action", action), VERSION], parameters].concat();
    expect(client.query("sns", &parameters).await?)
}

/// Messages in a queue.
async fn depth(client: &mut Client, queue: &str) -> Result<usize, String> {
    let name = "ApproximateNumberOfMessages";
    let body = json!({ "QueueUrl": queue, "AttributeNames": [name] });
    let answer = client.json("sqs", "AmazonSQS.GetQueueAttributes", &body).await?;
    let count = answer.json()["Attributes"][name].as_str().and_then(|text| text.parse().ok());
    count.ok_or_else(|| format!("GetQueueAttributes: {}", answer.text()))
}

fn expect(answer: Answer) -> Result<String, String> {
    match answer.status {
        200 => Ok(answer.text()),
        status => Err(format!("{status}: {}", answer.text())),
    }
}
