//! What extensions of one environment are told by the Telemetry API and the Logs API.

use std::os::fd::OwnedFd;

use super::*;
use crate::telemetry::{Kind, Subscriber, Wish, event, post};

impl Driver {
    pub(super) fn subscribe(
        &mut self,
        identifier: &str,
        wish: Wish,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        let name = self.extensions.values().find(|one| one.is(identifier)).map(|one| one.name.clone());
        let Some(name) = name else {
            let _ = reply.send(Err(Refusal::UNKNOWN_EXTENSION));
            return;
        };
        if !self.machine.takes_registrations() {
            let why = "subscriptions are taken until init is complete";
            let _ = reply.send(Err(Refusal(403, "Forbidden", why)));
            return;
        }
        let kind = match wish.kind {
            Kind::Telemetry => "platform.telemetrySubscription",
            Kind::Logs => "platform.logsSubscription",
        };
        let record = serde_json::json!({"name": name, "state": "Subscribed", "types": wish.types});
        let mut subscriber = Subscriber::new(wish);
        let now = self.monotonic();
        // What came before this extension asked.
        for earlier in &self.earlier {
            subscriber.push(earlier, now);
        }
        self.subscribers.push(subscriber);
        let told = event(self.now(), kind, record);
        self.hand_out(&told);
        let _ = reply.send(Ok(()));
    }

    fn hand_out(&mut self, event: &serde_json::Value) {
        let now = self.monotonic();
        for subscriber in &mut self.subscribers {
            subscriber.push(event, now);
        }
    }

    /// Hands out what was gathered, and sends what is due; everything, when the environment is about to rest.
    pub(super) async fn tell(&mut self, is_last: bool) {
        let gathered = self.log.telemetry.take();
        for event in &gathered {
            self.hand_out(event);
        }
        if self.machine.takes_registrations() {
            self.earlier.extend(gathered);
        } else if !self.earlier.is_empty() || self.subscribers.is_empty() {
            self.earlier = Vec::new();
            if self.subscribers.is_empty() {
                self.log.telemetry.close();
            }
        }
        if self.is_frozen {
            return;
        }
        let (now, time) = (self.monotonic(), self.now());
        for at in 0..self.subscribers.len() {
            let subscriber = &mut self.subscribers[at];
            if !subscriber.due().is_some_and(|due| is_last || due <= now) {
                continue;
            }
            let (Some(batch), port) = (subscriber.take(time), subscriber.wish.port) else { continue };
            self.batches.push_back((port, subscriber.wish.path.clone(), batch));
            // A failure means that the environment is going.
            let _ = self.sandbox.link.send(&Command::Connect { port }, &[]).await;
        }
    }

    /// A connection into the environment for the oldest batch that waits.
    pub(super) fn connected(&mut self, stream: Option<OwnedFd>) {
        let (Some((port, path, batch)), Some(stream)) = (self.batches.pop_front(), stream) else { return };
        tokio::spawn(post(stream.into(), port, path, batch));
    }

    pub(super) fn telemetry_due(&self) -> Option<Duration> {
        if self.is_frozen {
            return None;
        }
        self.subscribers.iter().filter_map(Subscriber::due).min()
    }
}
