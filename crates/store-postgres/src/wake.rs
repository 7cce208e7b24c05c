//! Wake-ups between nodes.
//!
//! Committers hand over what their commits notify; one task of the node collects it for some milliseconds and sends it in
//! a transaction of its own: `NOTIFY` inside a transaction that writes takes a lock over the whole server at its commit.
//! One connection listens. All of it may fail: whoever waits is woken now and then in any case, often while nobody listens.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use deadpool_postgres::{Object, Pool};
use pileus_core::Rng;
use pileus_store::{Topic, Topics, Wake};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client};

use crate::error::explain;
use crate::pool::{connection, rest};
use crate::url::Settings;

/// How long wakes are collected: after a pause, and while they come all the time. Each message is a transaction of the server,
/// and work for every node.
const COLLECT: Duration = Duration::from_millis(5);
const COLLECT_BUSY: Duration = Duration::from_millis(20);
/// How long a node that was heard of counts, whatever membership says: its row may not be written yet.
const GREETED: Duration = Duration::from_secs(10);
/// PostgreSQL's limit is 8,000 bytes.
const MAX_PAYLOAD: usize = 7_900;
/// How often everyone is woken while notifications arrive, and while they do not.
const POLL_LISTENING: Duration = Duration::from_secs(5);
const POLL_DEAF: Duration = Duration::from_secs(1);
const EVERYTHING: &str = "*";

/// What is to be sent to other nodes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Notifier(Arc<Pending>);

#[derive(Default)]
struct Pending {
    wakes: Mutex<HashMap<Topic, u64>>,
    signal: Notify,
    /// There is nobody to be told, as far as is known.
    is_mute: AtomicBool,
    /// When another node was heard last.
    heard: Mutex<Option<Instant>>,
}

impl Notifier {
    /// Without other nodes nothing is sent. A node that comes greets, so that it misses nothing until others find its row.
    pub fn mute(&self, is_mute: bool) {
        self.0.is_mute.store(is_mute, Ordering::Relaxed);
    }

    fn hear(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn has_nobody(&self) -> bool {
        self.0.is_mute.load(Ordering::Relaxed) && {
            let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.is_none_or(|heard| heard.elapsed() > GREETED)
        }
    }

    pub fn notify(&self, wakes: Vec<Wake>) {
        if wakes.is_empty() || self.has_nobody() {
            return;
        }
        let mut pending = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        for Wake { topic, low } in wakes {
            let least = pending.entry(topic).or_insert(u64::MAX);
            *least = low.min(*least);
        }
        drop(pending);
        self.0.signal.notify_one();
    }

    fn take(&self) -> HashMap<Topic, u64> {
        std::mem::take(&mut *self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends until `stopped`. What cannot be sent is dropped.
    pub async fn run(self, pool: Pool, node: i64, rng: Arc<dyn Rng>, mut stopped: watch::Receiver<bool>) {
        let mut held: Option<Object> = None;
        let mut sent: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.0.signal.notified() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let is_busy = sent.is_some_and(|sent| sent.elapsed() < 2 * COLLECT_BUSY);
            let collect = if is_busy { COLLECT_BUSY } else { COLLECT };
            rest(collect + Duration::from_micros(rng.below(3_000))).await;
            sent = Some(Instant::now());
            let payloads = encode(node, self.take());
            let sender = match held.take().filter(|connection| !connection.is_closed()) {
                Some(connection) => connection,
                None => match connection(&pool).await {
                    Ok(connection) => {
                        // Nothing is written by it, so nothing waits for the disk.
                        connection.batch_execute("SET synchronous_commit = off").await.ok();
                        connection
                    }
                    Err(error) => {
                        tracing::debug!(%error, "wakes for other nodes are lost");
                        continue;
                    }
                },
            };
            match send(&sender, &payloads).await {
                Ok(()) => held = Some(sender),
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => {
                    tracing::info!("the database has no notifications: nodes poll");
                    return;
                }
                Err(error) => {
                    tracing::debug!(reason = explain(&error), "wakes for other nodes are lost");
                    drop(Object::take(sender));
                }
            }
        }
    }
}

async fn send(connection: &Object, payloads: &[String]) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT pg_notify('pileus', payload) FROM unnest($1::text[]) AS payload";
    let statement = connection.prepare_cached(sql).await?;
    connection.query(&statement, &[&payloads]).await.map(|_| ())
}

/// `node topic:low topic ..`, in as many payloads as needed; topics in base64, `low` in hexadecimal.
fn encode(node: i64, wakes: HashMap<Topic, u64>) -> Vec<String> {
    let begin = node.to_string();
    let mut payloads = vec![begin.clone()];
    for (topic, low) in wakes {
        let mut word = STANDARD_NO_PAD.encode(topic.as_bytes());
        if low != u64::MAX {
            word.push_str(&format!(":{low:x}"));
        }
        if word.len() + begin.len() + 1 > MAX_PAYLOAD {
            word = EVERYTHING.to_owned();
        }
        if payloads.last().is_some_and(|payload| payload.len() + 1 + word.len() > MAX_PAYLOAD) {
            payloads.push(begin.clone());
        }
        if let Some(payload) = payloads.last_mut() {
            payload.push(' ');
            payload.push_str(&word);
        }
    }
    payloads
}

/// Which node has sent it.
fn origin(payload: &str) -> Option<i64> {
    payload.split(' ').next()?.parse().ok()
}

/// What another node has sent; nothing if it is our own, and None if everyone is to look.
fn decode(node: i64, payload: &str) -> Option<Vec<Wake>> {
    let mut words = payload.split(' ');
    if words.next().and_then(|origin| origin.parse().ok()) == Some(node) {
        return Some(Vec::new());
    }
    words
        .map(|word| {
            let (topic, low) = word.split_once(':').unwrap_or((word, "ffffffffffffffff"));
            let topic = Topic::new(Bytes::from(STANDARD_NO_PAD.decode(topic).ok()?));
            Some(Wake { topic, low: u64::from_str_radix(low, 16).ok()? })
        })
        .collect()
}

/// Hears what other nodes send.
pub struct Listener {
    pub settings: Settings,
    pub node: i64,
    pub topics: Topics,
    pub notifier: Notifier,
    pub rng: Arc<dyn Rng>,
}

impl Listener {
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let listening = async {
            let mut is_told = false;
            loop {
                if let Err(reason) = self.listen().await {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::info!(reason, "wakes of other nodes are not heard; waiting tasks poll");
                    }
                } else {
                    is_told = false;
                }
                self.topics.fire_all();
                rest(POLL_DEAF / 2 + self.jitter(POLL_DEAF)).await;
            }
        };
        tokio::select! {
            () = listening => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    /// Until the connection is lost.
    async fn listen(&self) -> Result<(), String> {
        let connected = self.settings.config.connect(self.settings.tls.clone()).await;
        let (client, mut driver) = connected.map_err(|error| explain(&error))?;
        let (sender, mut messages) = mpsc::channel(256);
        let driving = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| driver.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message
                    && sender.send(notification).await.is_err()
                {
                    return;
                }
            }
        });
        let _ends_with_us = Abort(driving.abort_handle());
        self.begin(&client).await?;
        // Whatever was sent before is not heard.
        self.topics.fire_all_from_zero();
        loop {
            let poll = POLL_LISTENING * 3 / 4 + self.jitter(POLL_LISTENING / 2);
            match tokio::time::timeout(poll, messages.recv()).await {
                Ok(Some(notification)) => {
                    if origin(notification.payload()) != Some(self.node) {
                        self.notifier.hear();
                    }
                    match decode(self.node, notification.payload()) {
                        Some(wakes) => self.topics.fire(&wakes),
                        None => self.topics.fire_all(),
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => self.topics.fire_all(),
            }
        }
    }

    async fn begin(&self, client: &Client) -> Result<(), String> {
        crate::pool::prepare_session(client).await;
        let greeting = format!("LISTEN pileus; SELECT pg_notify('pileus', '{}')", self.node);
        client.batch_execute(&greeting).await.map_err(|error| explain(&error))
    }

    fn jitter(&self, most: Duration) -> Duration {
        Duration::from_millis(self.rng.below(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }
}

struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_node_sends_another_hears_and_it_does_not() {
        let mut wakes = HashMap::from([(Topic::from("a"), 7), (Topic::from("b"), u64::MAX)]);
        wakes.insert(Topic::new(vec![0, 255, b' ']), 0);
        for number in 0..500 {
            wakes.insert(Topic::from(format!("queue number {number}")), u64::MAX);
        }
        let payloads = encode(3, wakes.clone());
        assert!(payloads.len() > 1 && payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        let heard: Vec<Wake> = payloads.iter().flat_map(|payload| decode(4, payload).unwrap()).collect();
        assert_eq!(heard.len(), wakes.len());
        assert_eq!(heard.into_iter().map(|wake| (wake.topic, wake.low)).collect::<HashMap<_, _>>(), wakes);
        assert!(payloads.iter().all(|payload| decode(3, payload) == Some(vec![])));
    }

    #[test]
    fn a_topic_too_long_to_send_wakes_everyone() {
        let wakes = HashMap::from([(Topic::new(vec![1; 9_000]), 7)]);
        let payloads = encode(3, wakes);
        assert_eq!(payloads.iter().map(|payload| decode(4, payload)).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn foreign_payloads_do_no_harm() {
        for payload in ["", "x", "5 %%%", "5 YQ:zz", "99999999999999999999999 YQ"] {
            let _ = decode(4, payload);
        }
    }
}
