//! Who may receive a message, and when. Pure: time is an argument, in milliseconds since 1970.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS visibility timeout", "Amazon SQS delay queues", "Using dead-letter queues
//! in Amazon SQS"; API Reference, "ChangeMessageVisibility".

use crate::error::SqsError;
use crate::limits;

/// Where a message stands between `SendMessage` and `DeleteMessage`: the value of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub sent_at: u64,
    /// From when the message may be received. On a FIFO queue a message that was never received follows the queue's delay
    /// instead, whatever it was when the message was sent.
    pub visible_at: u64,
    /// In this queue.
    pub receive_count: u32,
    /// In the queue that the message was moved here from.
    pub received_before: u32,
    pub first_received_at: u64,
    pub received_at: u64,
    /// Last part of the key of the body.
    pub tail: u32,
    /// The body is in a row of its own.
    pub has_body_apart: bool,
    /// `ChangeMessageVisibility` put the row elsewhere than where the receipt handle says.
    pub is_moved: bool,
}

/// What a receive does with a message that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Deliver,
    /// Past the retention period.
    Expire,
    /// Received too often.
    DeadLetter,
}

/// The rules of a queue that a receive follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub retention: u64,
    /// Of the queue; it holds for messages that are in a FIFO queue already.
    pub delay: u64,
    /// `None` without a dead-letter queue.
    pub max_receive_count: Option<u32>,
}

const FORMAT: u8 = 1;
const ENCODED_LENGTH: usize = 46;

impl State {
    pub fn new(sent_at: u64, visible_at: u64) -> State {
        State {
            sent_at,
            visible_at,
            receive_count: 0,
            received_before: 0,
            first_received_at: 0,
            received_at: 0,
            tail: 0,
            has_body_apart: false,
            is_moved: false,
        }
    }

    /// Whether the retention period is over, also for a message in flight.
    pub fn is_expired(&self, rules: &Rules, now: u64) -> bool {
        self.sent_at.saturating_add(rules.retention) <= now
    }

    /// What becomes of a visible message that a receive meets.
    pub fn fate(&self, rules: &Rules, now: u64) -> Fate {
        match rules.max_receive_count {
            _ if self.is_expired(rules, now) => Fate::Expire,
            Some(max) if self.receive_count >= max => Fate::DeadLetter,
            _ => Fate::Deliver,
        }
    }

    /// After a receive at `now` that hides the message for `timeout`.
    pub fn received(&self, now: u64, timeout: u64) -> State {
        State {
            visible_at: now + timeout,
            receive_count: self.receive_count.saturating_add(1),
            first_received_at: if self.first_received_at == 0 { now } else { self.first_received_at },
            received_at: now,
            is_moved: false,
            ..self.clone()
        }
    }

    /// In all queues that it was in.
    pub fn total_receive_count(&self) -> u32 {
        self.receive_count.saturating_add(self.received_before)
    }

    /// `ChangeMessageVisibility`: restarts the timeout at `now`; zero releases the message.
    ///
    /// # Errors
    /// `InvalidParameterValue` when the message would be in flight for more than twelve hours in all.
    pub fn changed(&self, now: u64, timeout: u64) -> Result<State, SqsError> {
        let limit = limits::TOTAL_VISIBILITY.as_millis() as u64;
        if now + timeout > self.received_at + limit {
            return Err(SqsError::value(
                timeout / 1_000,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        Ok(State { visible_at: now + timeout, ..self.clone() })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED_LENGTH);
        bytes.push(FORMAT);
        bytes.push(u8::from(self.has_body_apart) | u8::from(self.is_moved) << 1);
        for number in [self.sent_at, self.visible_at, self.first_received_at, self.received_at] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.receive_count, self.received_before, self.tail] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// `None`: not a state of this format.
    pub fn decode(bytes: &[u8]) -> Option<State> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        if head[0] != FORMAT || rest.len() != 44 {
            return None;
        }
        let long = |at: usize| rest[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let short = |at: usize| rest[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        Some(State {
            sent_at: long(0)?,
            visible_at: long(8)?,
            first_received_at: long(16)?,
            received_at: long(24)?,
            receive_count: short(32)?,
            received_before: short(36)?,
            tail: short(40)?,
            has_body_apart: head[1] & 1 != 0,
            is_moved: head[1] & 2 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: u64 = 1_700_000_000_000;

    #[test]
    fn a_receive_delivers_expires_or_buries() {
        let rules = Rules { retention: 60_000, delay: 0, max_receive_count: Some(3) };
        let cases = [
            ("new", 0, 0, Fate::Deliver),
            ("third receive", 2, 0, Fate::Deliver),
            ("fourth receive", 3, 0, Fate::DeadLetter),
            ("retention ends", 0, 60_000, Fate::Expire),
            ("just before", 0, 59_999, Fate::Deliver),
            ("expired before it is buried", 3, 60_000, Fate::Expire),
        ];
        for (name, receive_count, age, expected) in cases {
            let state = State { receive_count, ..State::new(T0, T0) };
            assert_eq!(state.fate(&rules, T0 + age), expected, "{name}");
        }
        let state = State { receive_count: 1_000, ..State::new(T0, T0) };
        assert_eq!(state.fate(&Rules { max_receive_count: None, ..rules }, T0), Fate::Deliver);
    }

    #[test]
    fn visibility_changes_within_twelve_hours_of_the_receive() {
        let received = State::new(T0, T0).received(T0, 30_000);
        assert_eq!(
            (received.visible_at, received.receive_count, received.first_received_at),
            (T0 + 30_000, 1, T0)
        );
        let cases = [
            ("zero releases", 10_000, 0, Some(T0 + 10_000)),
            ("the timeout restarts", 10_000, 60_000, Some(T0 + 70_000)),
            ("twelve hours", 0, 43_200_000, Some(T0 + 43_200_000)),
            ("past twelve hours", 1_000, 43_200_000, None),
        ];
        for (name, elapsed, timeout, expected) in cases {
            let got = received.changed(T0 + elapsed, timeout).ok().map(|state| state.visible_at);
            assert_eq!(got, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_state_is_read_back(
            times: [u64; 4], counts: [u32; 3], has_body_apart: bool, is_moved: bool,
        ) {
            let state = State {
                sent_at: times[0],
                visible_at: times[1],
                first_received_at: times[2],
                received_at: times[3],
                receive_count: counts[0],
                received_before: counts[1],
                tail: counts[2],
                has_body_apart,
                is_moved,
            };
            prop_assert_eq!(State::decode(&state.encode()), Some(state));
        }

        #[test]
        fn other_bytes_are_no_state_at_worst(bytes: Vec<u8>) {
            let _ = State::decode(&bytes);
        }
    }
}
