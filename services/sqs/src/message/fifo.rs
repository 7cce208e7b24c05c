//! The order of a FIFO queue: groups, their messages, duplicates. Pure.
//!
//! A group's messages are received from its oldest one (its head) on, and never past one that is in flight or delayed. So a
//! group is available when its head is, and a group with a message in flight is blocked, unless that message comes back.
//!
//! Source: Amazon SQS Developer Guide, "FIFO queue delivery logic in Amazon SQS", "Exactly-once processing in Amazon SQS",
//! "Using the message deduplication ID in Amazon SQS", "Using the receive request attempt ID in Amazon SQS".

use pileus_store::Stored;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::message::visibility::{Fate, Rules, State};

/// What the store knows of a message group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// No message has a lower sequence.
    pub head: u64,
    /// The greatest sequence ever given. The row outlives the group's messages for a while, so that sequences grow even
    /// where the clocks of two nodes disagree.
    pub last: u64,
    /// The group's row in the order of groups; `None` when it holds no message.
    pub ready: Option<Ready>,
    pub changed_at: u64,
}

/// Where a group stands in the order of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub partition: u8,
    pub kind: u8,
    pub at: u64,
    pub ticket: u64,
}

/// The head follows the queue's delay, whatever it is by then: `at` is when it was sent.
pub const DELAYED: u8 = 0;
/// `at` is when the head is, or was found, available.
pub const OWN_MOMENT: u8 = 1;

impl Group {
    pub fn new(changed_at: u64) -> Group {
        Group { head: 0, last: 0, ready: None, changed_at }
    }

    /// Whether nobody would miss the row.
    pub fn is_forgettable(&self, now: u64) -> bool {
        self.ready.is_none() && self.changed_at + 2 * limits::DEDUPLICATION_INTERVAL.as_millis() as u64 <= now
    }
}

impl Stored for Group {}

/// Whether the queue's delay still hides a message that nobody received.
pub fn is_delayed(state: &State, rules: &Rules, now: u64) -> bool {
    state.receive_count == 0 && state.sent_at.saturating_add(rules.delay) > now
}

/// Where a group with this head belongs in the order of groups.
pub fn ready(head: &State, rules: &Rules, now: u64, partition: u8, ticket: u64) -> Ready {
    if is_delayed(head, rules, now) {
        return Ready { partition, kind: DELAYED, at: head.sent_at, ticket };
    }
    Ready { partition, kind: OWN_MOMENT, at: head.visible_at.max(now), ticket }
}

/// What a receive of up to `want` messages does with the messages of a group, oldest first. It stops at the first one that
/// must stay as it is.
pub fn receive(members: &[(u64, State)], rules: &Rules, now: u64, want: usize) -> Vec<(usize, Fate)> {
    let mut steps = Vec::new();
    let mut delivered = 0;
    for (at, (_, state)) in members.iter().enumerate() {
        let hidden = is_delayed(state, rules, now) || state.visible_at > now;
        let fate = state.fate(rules, now);
        match fate {
            Fate::Expire => {}
            _ if hidden => break,
            Fate::DeadLetter => {}
            Fate::Deliver if delivered == want => break,
            Fate::Deliver => delivered += 1,
        }
        steps.push((at, fate));
    }
    steps
}

/// A message that was sent, for those who send it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduplication {
    pub message_id: String,
    pub sequence: u64,
    pub at: u64,
}

impl Deduplication {
    pub fn is_over(&self, now: u64) -> bool {
        self.at + limits::DEDUPLICATION_INTERVAL.as_millis() as u64 <= now
    }
}

impl Stored for Deduplication {}

/// What a receive with a `ReceiveRequestAttemptId` gave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: u64,
    pub receipts: Vec<AttemptReceipt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReceipt {
    pub group: String,
    pub sequence: u64,
    pub receive_count: u32,
    pub visible_at: u64,
}

impl Attempt {
    pub fn is_over(&self, now: u64) -> bool {
        self.at + limits::RECEIVE_ATTEMPT_INTERVAL.as_millis() as u64 <= now
    }
}

impl AttemptReceipt {
    /// Whether the message is still as the attempt left it: not deleted, not received again, its visibility not changed,
    /// and not visible again.
    pub fn holds(&self, state: Option<&State>, now: u64) -> bool {
        state.is_some_and(|state| {
            state.receive_count == self.receive_count
                && state.visible_at == self.visible_at
                && state.visible_at > now
        })
    }
}

impl Stored for Attempt {}

/// Twenty digits, growing. Form: chosen; AWS's have twenty too.
pub fn sequence_number(sequence: u64) -> String {
    (10_000_000_000_000_000_000u128 + u128::from(sequence)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const RULES: Rules = Rules { retention: 3_600_000, delay: 0, max_receive_count: Some(2) };

    fn state(receive_count: u32, visible_in: i64) -> State {
        let visible_at = NOW.saturating_add_signed(visible_in);
        State { receive_count, ..State::new(NOW - 10_000, visible_at) }
    }

    #[test]
    fn a_group_is_received_from_its_head_up_to_what_is_hidden() {
        use Fate::{DeadLetter, Deliver, Expire};
        let new = || state(0, -10_000);
        let in_flight = || state(1, 5_000);
        let expired = || State { sent_at: NOW - 3_600_000, ..in_flight() };
        let cases = [
            ("all are new", vec![new(), new()], 10, vec![(0, Deliver), (1, Deliver)]),
            ("no more than wanted", vec![new(), new()], 1, vec![(0, Deliver)]),
            ("the head is in flight", vec![in_flight(), new()], 10, vec![]),
            ("a later one is in flight", vec![new(), in_flight(), new()], 10, vec![(0, Deliver)]),
            (
                "a failed one is buried on the way",
                vec![state(2, 0), new()],
                1,
                vec![(0, DeadLetter), (1, Deliver)],
            ),
            (
                "an expired one goes, in flight or not",
                vec![expired(), new()],
                10,
                vec![(0, Expire), (1, Deliver)],
            ),
        ];
        for (name, members, want, expected) in cases {
            let members: Vec<_> = (0u64..).zip(members).collect();
            assert_eq!(receive(&members, &RULES, NOW, want), expected, "{name}");
        }
    }

    #[test]
    fn the_queues_delay_holds_for_messages_already_sent() {
        let sent = state(0, -10_000);
        for (delay, hidden) in [(0, false), (9_999, false), (10_000, false), (10_001, true)] {
            let rules = Rules { delay, ..RULES };
            assert_eq!(is_delayed(&sent, &rules, NOW), hidden, "{delay}");
            let ready = ready(&sent, &rules, NOW, 0, 1);
            assert_eq!(
                (ready.kind, ready.at),
                if hidden { (DELAYED, sent.sent_at) } else { (OWN_MOMENT, NOW) }
            );
        }
        let received = state(1, 5_000);
        assert_eq!(ready(&received, &Rules { delay: 900_000, ..RULES }, NOW, 0, 1).at, NOW + 5_000);
    }

    #[test]
    fn sequence_numbers_have_twenty_digits() {
        for sequence in [0, 1, NOW * 1_000_000, i64::MAX as u64] {
            assert_eq!(sequence_number(sequence).len(), 20);
        }
        assert!(sequence_number(2) > sequence_number(1));
    }
}
