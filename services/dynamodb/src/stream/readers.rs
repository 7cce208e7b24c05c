//! How often a shard may be read, where the operator wants AWS's limits: two readers, five calls a second each.
//!
//! Source: Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams" (no more than two processes should
//! read from a shard at a time). Chosen: the rate, which AWS does not publish for DynamoDB Streams; Kinesis's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::error::DynamoError;

const CALLS_PER_SECOND: u32 = 10;

#[derive(Debug, Default)]
pub struct Readers(Mutex<(i64, HashMap<u64, u32>)>);

impl Readers {
    /// Counts a call.
    ///
    /// # Errors
    /// `LimitExceededException`
    pub fn admit(&self, second: i64, generation: u64) -> Result<(), DynamoError> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != second {
            *window = (second, HashMap::new());
        }
        let calls = window.1.entry(generation).or_default();
        *calls += 1;
        if *calls > CALLS_PER_SECOND {
            return Err(DynamoError::modelled("LimitExceededException", "Rate exceeded for shard"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_call_of_a_second_is_refused() {
        let readers = Readers::default();
        for _ in 0..10 {
            assert!(readers.admit(1, 7).is_ok());
        }
        assert!(readers.admit(1, 7).is_err());
        assert!(readers.admit(1, 8).is_ok());
        assert!(readers.admit(2, 7).is_ok());
    }
}
