//! Tumbling windows: stretches of time, one after another, through which a function carries a state. Pure.
//!
//! Source: AWS Lambda Developer Guide, "Implementing stateful DynamoDB stream processing in Lambda".

use std::time::Duration;

use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::batch::Record;

/// Of a state; a larger one ends its window early.
const MAX_STATE_BYTES: usize = 1 << 20;

/// A window that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: Timestamp,
    /// JSON.
    pub state: String,
}

impl Window {
    /// The window that a moment lies in.
    pub fn of(at: Timestamp, seconds: u32) -> Window {
        let seconds = i64::from(seconds.max(1));
        let start = Timestamp::from_secs(at.as_secs().div_euclid(seconds) * seconds);
        Window { start, state: "{}".to_owned() }
    }

    pub fn end(&self, seconds: u32) -> Timestamp {
        self.start + Duration::from_secs(u64::from(seconds))
    }

    /// How many records, from the first on, belong to this window.
    pub fn holds(&self, records: &[Record], seconds: u32) -> usize {
        let end = self.end(seconds);
        records.iter().take_while(|record| record.at < end).count()
    }

    /// The event for a function.
    pub fn event(
        &self,
        records: &[Value],
        seconds: u32,
        shard_id: &str,
        source_arn: &str,
        is_final: bool,
    ) -> Value {
        let state: Value = serde_json::from_str(&self.state).unwrap_or_else(|_| json!({}));
        json!({
            "Records": records,
            "window": { "start": self.start.to_iso8601(), "end": self.end(seconds).to_iso8601() },
            "state": state,
            "shardId": shard_id,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": is_final,
            "isWindowTerminatedEarly": false,
        })
    }

    /// Takes the state from a function's answer; false when it is too large to be carried on.
    pub fn take(&mut self, answer: &[u8]) -> bool {
        let answer: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
        let state = answer.get("state").filter(|state| state.is_object());
        self.state = state.map_or_else(|| "{}".to_owned(), Value::to_string);
        self.state.len() <= MAX_STATE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_happened_in_it_and_carries_its_state() {
        let record = |at| Record {
            sequence: String::new(),
            at: Timestamp::from_secs(at),
            shown: json!({}),
            item: 0,
            bytes: 1,
        };
        let mut window = Window::of(Timestamp::from_secs(125), 60);
        assert_eq!((window.start.as_secs(), window.end(60).as_secs()), (120, 180));
        assert_eq!(window.holds(&[record(125), record(179), record(180)], 60), 2);
        assert!(window.take(br#"{"state":{"n":2}}"#));
        let event = window.event(&[], 60, "s", "arn", true);
        assert_eq!(event["state"], json!({"n": 2}));
        assert_eq!(event["window"]["start"], "1970-01-01T00:02:00Z");
        assert_eq!(event["isFinalInvokeForWindow"], true);
        assert!(window.take(b"null") && window.state == "{}");
        assert!(!window.take(format!(r#"{{"state":{{"a":"{}"}}}}"#, "x".repeat(MAX_STATE_BYTES)).as_bytes()));
    }
}
