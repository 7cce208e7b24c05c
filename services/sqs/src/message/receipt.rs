//! Receipt handles: opaque text that finds one receipt of one message again. Pure.
//!
//! A handle says where the message's row was put by the receive, so deleting needs no index by message id, and how often
//! the message had been received by then, so a handle of an earlier receive is told from the latest one.
//!
//! Source: API Reference, "DeleteMessage": the latest handle must be given. Form: chosen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::SqsError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The queue's, for as long as it exists.
    pub queue_id: u64,
    /// The queue's since its last purge.
    pub generation: u64,
    pub receive_count: u32,
    pub place: Place,
}

/// Where the row of a message in flight is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Standard { partition: u8, visible_at: u64, ordinal: u64, tail: u32 },
    Fifo { sequence: u64, group: String },
}

const STANDARD_TAG: u8 = 1;
const FIFO_TAG: u8 = 2;

impl Receipt {
    pub fn to_handle(&self) -> String {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(match self.place {
            Place::Standard { .. } => STANDARD_TAG,
            Place::Fifo { .. } => FIFO_TAG,
        });
        bytes.extend_from_slice(&self.queue_id.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.receive_count.to_be_bytes());
        match &self.place {
            Place::Standard { partition, visible_at, ordinal, tail } => {
                bytes.push(*partition);
                bytes.extend_from_slice(&visible_at.to_be_bytes());
                bytes.extend_from_slice(&ordinal.to_be_bytes());
                bytes.extend_from_slice(&tail.to_be_bytes());
            }
            Place::Fifo { sequence, group } => {
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(group.as_bytes());
            }
        }
        bytes.extend_from_slice(&check_sum(&bytes));
        STANDARD.encode(bytes)
    }

    /// # Errors
    /// `ReceiptHandleIsInvalid` unless the handle was made by `to_handle` for a queue of this id.
    pub fn parse(handle: &str, queue_id: u64) -> Result<Receipt, SqsError> {
        let receipt = Receipt::read(handle).filter(|receipt| receipt.queue_id == queue_id);
        receipt.ok_or_else(|| SqsError::ReceiptHandleIsInvalid(handle.chars().take(1_024).collect()))
    }

    fn read(handle: &str) -> Option<Receipt> {
        // The longest group is 128 characters, so longer text need not be looked at.
        let bytes = (handle.len() <= 512).then(|| STANDARD.decode(handle).ok())??;
        let (bytes, sum) = bytes.split_last_chunk::<4>()?;
        if *sum != check_sum(bytes) {
            return None;
        }
        let (tag, rest) = bytes.split_first()?;
        let (queue_id, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (receive_count, rest) = rest.split_first_chunk()?;
        let place = match *tag {
            STANDARD_TAG => {
                let (partition, rest) = rest.split_first()?;
                let (visible_at, rest) = rest.split_first_chunk()?;
                let (ordinal, rest) = rest.split_first_chunk()?;
                Place::Standard {
                    partition: *partition,
                    visible_at: u64::from_be_bytes(*visible_at),
                    ordinal: u64::from_be_bytes(*ordinal),
                    tail: u32::from_be_bytes(rest.try_into().ok()?),
                }
            }
            FIFO_TAG => {
                let (sequence, rest) = rest.split_first_chunk()?;
                let group = String::from_utf8(rest.to_vec()).ok()?;
                Place::Fifo { sequence: u64::from_be_bytes(*sequence), group }
            }
            _ => return None,
        };
        Some(Receipt {
            queue_id: u64::from_be_bytes(*queue_id),
            generation: u64::from_be_bytes(*generation),
            receive_count: u32::from_be_bytes(*receive_count),
            place,
        })
    }
}

/// Not secret: it tells text that was cut or mistyped from a handle.
fn check_sum(bytes: &[u8]) -> [u8; 4] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut sum = [0; 4];
    sum.copy_from_slice(&digest.as_ref()[..4]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Place> {
        prop_oneof![
            any::<(u8, u64, u64, u32)>().prop_map(|(partition, visible_at, ordinal, tail)| Place::Standard {
                partition,
                visible_at,
                ordinal,
                tail
            }),
            (any::<u64>(), "[a-z!]{1,128}").prop_map(|(sequence, group)| Place::Fifo { sequence, group }),
        ]
    }

    proptest! {
        #[test]
        fn a_handle_is_read_back_for_its_own_queue_only(
            queue_id: u64, generation: u64, receive_count: u32, place in places(),
        ) {
            let receipt = Receipt { queue_id, generation, receive_count, place };
            let handle = receipt.to_handle();
            prop_assert_eq!(Receipt::parse(&handle, queue_id).ok(), Some(receipt));
            prop_assert!(Receipt::parse(&handle, queue_id ^ 1).is_err());
            prop_assert!(Receipt::parse(&handle[1..], queue_id).is_err());
        }

        #[test]
        fn other_text_is_no_handle(text in ".{0,200}") {
            prop_assert!(Receipt::parse(&text, 0).is_err());
        }
    }
}
