//! The Telemetry API (2022-07-01) and the Logs API (2020-08-15): what an extension asks to be told, and what it is told. Pure but
//! for `post`.
//!
//! Source: AWS Lambda Developer Guide, "Lambda Telemetry API reference", "Lambda Telemetry API Event schema reference", "Using the Lambda
//! Logs API".

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use pileus_core::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::api::Refusal;

/// Events that wait before anybody has subscribed: an init tells few.
const MOST_BEFORE: usize = 1_000;
/// How long an extension may take to accept a batch.
const POST: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Telemetry,
    Logs,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub kind: Kind,
    /// `platform`, `function`, `extension`
    pub types: Vec<String>,
    pub port: u16,
    pub path: String,
    pub max_items: usize,
    pub max_bytes: usize,
    pub timeout: Duration,
}

/// # Errors
/// `ValidationError` with what is wrong.
pub fn read(kind: Kind, body: &[u8]) -> Result<Wish, Refusal> {
    let refuse = |why: &'static str| Refusal(400, "ValidationError", why);
    let value: Value = serde_json::from_slice(body).map_err(|_| refuse("the body is not JSON"))?;
    let known: &[&str] = match kind {
        Kind::Telemetry => &["2022-07-01", "2022-12-13", "2025-01-29"],
        Kind::Logs => &["2020-08-15", "2021-03-18"],
    };
    let schema = value.get("schemaVersion").map_or(Some(known[0]), Value::as_str);
    if schema.is_none_or(|schema| !known.contains(&schema)) {
        return Err(refuse("schemaVersion is not one of this API's"));
    }
    let types = value.get("types").and_then(Value::as_array).ok_or_else(|| refuse("types are missing"))?;
    let types: Vec<String> = types.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let is_known = |name: &String| matches!(name.as_str(), "platform" | "function" | "extension");
    if types.is_empty() || !types.iter().all(is_known) {
        return Err(refuse("types are platform, function and extension"));
    }
    let text = |name: &str| value.get("destination").and_then(|to| to.get(name)).and_then(Value::as_str);
    if text("protocol") != Some("HTTP") {
        return Err(refuse("destination.protocol: pileus delivers by HTTP"));
    }
    let (port, path) = text("URI")
        .or_else(|| text("uri"))
        .and_then(place)
        .ok_or_else(|| refuse("destination.URI is http://sandbox.localdomain:PORT/.."))?;
    let number = |name: &str, least: u64, most: u64, default: u64| {
        let given = value.get("buffering").and_then(|buffering| buffering.get(name)).and_then(Value::as_u64);
        match given.unwrap_or(default) {
            number if (least..=most).contains(&number) => Ok(number as usize),
            _ => Err(refuse("buffering is out of range")),
        }
    };
    Ok(Wish {
        kind,
        types,
        port,
        path,
        max_items: number("maxItems", 1_000, 10_000, 10_000)?,
        max_bytes: number("maxBytes", 262_144, 1_048_576, 262_144)?,
        timeout: Duration::from_millis(number("timeoutMs", 25, 30_000, 1_000)? as u64),
    })
}

/// Port and path of a place inside of the environment.
fn place(uri: &str) -> Option<(u16, String)> {
    let rest = uri.strip_prefix("http://")?;
    let (authority, path) =
        rest.split_once('/').map_or((rest, String::new()), |(to, path)| (to, path.to_owned()));
    let (host, port) = authority.rsplit_once(':')?;
    let is_inside = matches!(host, "sandbox.localdomain" | "sandbox" | "localhost" | "127.0.0.1");
    let port = port.parse().ok().filter(|port| *port != 0 && *port != crate::launcher::API_PORT)?;
    is_inside.then(|| (port, format!("/{path}")))
}

/// Events on their way to one extension.
pub struct Subscriber {
    pub wish: Wish,
    events: Vec<String>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Duration>,
    dropped: u64,
}

impl Subscriber {
    pub fn new(wish: Wish) -> Subscriber {
        Subscriber { wish, events: Vec::new(), bytes: 0, since: None, dropped: 0 }
    }

    pub fn push(&mut self, event: &Value, now: Duration) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let kind = kind.split('.').next().unwrap_or_default();
        if !self.wish.types.iter().any(|wanted| wanted == kind) {
            return;
        }
        let text = event.to_string();
        // An extension that does not listen costs its events, and no more memory than two batches.
        if self.bytes + text.len() > 2 * self.wish.max_bytes || self.events.len() >= 2 * self.wish.max_items {
            self.dropped += 1;
            return;
        }
        self.bytes += text.len();
        self.events.push(text);
        self.since.get_or_insert(now);
    }

    /// When the next batch is due; `None`: there is nothing.
    pub fn due(&self) -> Option<Duration> {
        let since = self.since?;
        let is_full = self.events.len() >= self.wish.max_items || self.bytes >= self.wish.max_bytes;
        Some(if is_full { since } else { since + self.wish.timeout })
    }

    /// A batch as it is sent.
    pub fn take(&mut self, time: Timestamp) -> Option<Bytes> {
        self.since = None;
        self.bytes = 0;
        let mut events = std::mem::take(&mut self.events);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let record = json!({"reason": "The subscriber did not keep up.", "droppedRecords": dropped});
            events.push(event(time, "platform.logsDropped", record).to_string());
        }
        (!events.is_empty()).then(|| Bytes::from(format!("[{}]", events.join(","))))
    }
}

pub fn event(time: Timestamp, kind: &str, record: Value) -> Value {
    json!({"time": crate::logs::millis(time), "type": kind, "record": record})
}

/// Events that nobody has asked for yet, or that are to be handed out.
#[derive(Default)]
pub struct Gathered {
    /// Nobody will ask any more.
    is_closed: bool,
    events: Vec<Value>,
}

impl Gathered {
    pub fn push(&mut self, time: Timestamp, kind: &str, record: impl FnOnce() -> Value) {
        if !self.is_closed && self.events.len() < MOST_BEFORE {
            self.events.push(event(time, kind, record()));
        }
    }

    pub fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// Init is over, and nobody has subscribed.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.events = Vec::new();
    }

    pub fn open(&mut self) {
        self.is_closed = false;
    }
}

/// Hands a batch to an extension over a connection into its environment.
pub async fn post(stream: std::net::TcpStream, port: u16, path: String, batch: Bytes) {
    let sent = async {
        stream.set_nonblocking(true).ok()?;
        let stream = TcpStream::from_std(stream).ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = tokio::spawn(connection);
        let request = Request::post(path)
            .header(header::HOST, format!("sandbox.localdomain:{port}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(batch))
            .ok()?;
        let answer = sender.send_request(request).await.ok()?;
        connection.abort();
        Some(answer.status())
    };
    // What an extension does with its events is its own affair.
    let _ = tokio::time::timeout(POST, sent).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_names_its_types_and_a_place_inside() {
        let body = |types: &str, uri: &str, extra: &str| {
            format!(
                r#"{{"schemaVersion":"2022-12-13","types":{types},"destination":{{"protocol":"HTTP","URI":"{uri}"}}{extra}}}"#
            )
        };
        let all = r#"["platform","function"]"#;
        let good =
            read(Kind::Telemetry, body(all, "http://sandbox.localdomain:8080/a/b", "").as_bytes()).unwrap();
        assert_eq!((good.port, good.path.as_str(), good.timeout), (8080, "/a/b", Duration::from_secs(1)));
        let buffered = body(all, "http://sandbox:1", r#","buffering":{"timeoutMs":25,"maxItems":1000}"#);
        let buffered = read(Kind::Telemetry, buffered.as_bytes()).unwrap();
        assert_eq!(
            (buffered.timeout.as_millis(), buffered.max_items, buffered.path.as_str()),
            (25, 1_000, "/")
        );
        let bad = [
            body(all, "http://sandbox.localdomain:8080", r#","buffering":{"timeoutMs":1}"#),
            body(all, "http://example.com:8080/", ""),
            body(all, "http://sandbox.localdomain:9001/", ""),
            body(all, "http://sandbox.localdomain/", ""),
            body("[]", "http://sandbox:80", ""),
            body(r#"["other"]"#, "http://sandbox:80", ""),
            "not json".to_owned(),
        ];
        for body in bad {
            assert_eq!(read(Kind::Telemetry, body.as_bytes()).unwrap_err().0, 400, "{body}");
        }
        assert!(read(Kind::Logs, body(all, "http://sandbox:80", "").as_bytes()).is_err(), "another schema");
    }

    #[test]
    fn events_are_sent_when_their_time_has_come_and_lost_ones_are_counted() {
        let body = br#"{"types":["function"],"destination":{"protocol":"HTTP","URI":"http://sandbox:80"}}"#;
        let mut subscriber = Subscriber::new(read(Kind::Telemetry, body).unwrap());
        let time = Timestamp::from_millis(1);
        let second = Duration::from_secs(1);
        assert_eq!(subscriber.due(), None);
        subscriber.push(&event(time, "platform.start", json!({})), second);
        assert_eq!(subscriber.due(), None, "not asked for");
        subscriber.push(&event(time, "function", json!("line")), second);
        assert_eq!(subscriber.due(), Some(2 * second));
        for _ in 0..30_000 {
            subscriber.push(&event(time, "function", json!("x".repeat(100))), second);
        }
        assert_eq!(subscriber.due(), Some(second), "full");
        let batch = String::from_utf8(subscriber.take(time).unwrap().to_vec()).unwrap();
        assert!(batch.starts_with(r#"[{"#) && batch.contains("logsDropped") && batch.len() < 600_000);
        assert!(subscriber.take(time).is_none());
    }
}
