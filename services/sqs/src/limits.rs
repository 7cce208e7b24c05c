//! AWS's numbers, and the plain checks against them.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS message quotas", "Amazon SQS standard queue quotas", "Amazon SQS FIFO
//! queue quotas"; API Reference, "SetQueueAttributes", "ReceiveMessage".

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::SqsError;

pub const VISIBILITY_TIMEOUT: RangeInclusive<i64> = 0..=43_200;
pub const RETENTION_PERIOD: RangeInclusive<i64> = 60..=1_209_600;
pub const DELAY: RangeInclusive<i64> = 0..=900;
pub const WAIT_TIME: RangeInclusive<i64> = 0..=20;
pub const MAXIMUM_MESSAGE_SIZE: RangeInclusive<i64> = 1_024..=1_048_576;
pub const KMS_REUSE_PERIOD: RangeInclusive<i64> = 60..=86_400;
pub const MAX_RECEIVE_COUNT: RangeInclusive<i64> = 1..=1_000;

/// Bytes of all messages of one batch.
pub const MAX_BATCH_BYTES: usize = 1_048_576;
pub const MAX_BATCH_ENTRIES: usize = 10;
pub const MAX_MESSAGE_ATTRIBUTES: usize = 10;
pub const MAX_IN_FLIGHT: u64 = 120_000;
pub const MAX_TAGS: usize = 50;
/// Statements of a policy made with `AddPermission`. Source: "Amazon SQS policy quotas".
pub const MAX_POLICY_STATEMENTS: usize = 20;
pub const MAX_POLICY_ACTIONS: usize = 7;

/// How long a message may be in flight in all, whatever `ChangeMessageVisibility` asks for.
pub const TOTAL_VISIBILITY: Duration = Duration::from_secs(43_200);
pub const DEDUPLICATION_INTERVAL: Duration = Duration::from_secs(300);
pub const RECEIVE_ATTEMPT_INTERVAL: Duration = Duration::from_secs(300);
pub const PURGE_INTERVAL: Duration = Duration::from_secs(60);
pub const DELETED_RECENTLY: Duration = Duration::from_secs(60);

/// `MaxNumberOfMessages`, 1 if absent.
pub fn max_number_of_messages(value: Option<i64>) -> Result<usize, SqsError> {
    match value.unwrap_or(1) {
        count @ 1..=10 => Ok(count as usize),
        other => Err(SqsError::value(other, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")),
    }
}

/// A timeout in seconds as milliseconds.
pub fn visibility_timeout(value: i64) -> Result<u64, SqsError> {
    milliseconds(value, "VisibilityTimeout", &VISIBILITY_TIMEOUT)
}

pub fn wait_time(value: i64) -> Result<u64, SqsError> {
    milliseconds(value, "WaitTimeSeconds", &WAIT_TIME)
}

pub fn delay(value: i64) -> Result<u64, SqsError> {
    milliseconds(value, "DelaySeconds", &DELAY)
}

fn milliseconds(seconds: i64, parameter: &str, range: &RangeInclusive<i64>) -> Result<u64, SqsError> {
    if range.contains(&seconds) {
        return Ok(seconds as u64 * 1_000);
    }
    let reason = format!("Must be >= {} and <= {}, if provided.", range.start(), range.end());
    Err(SqsError::value(seconds, parameter, reason))
}

/// A page size of the list operations, 1 to 1,000.
pub fn max_results(value: Option<i64>) -> Result<usize, SqsError> {
    match value {
        None => Ok(1_000),
        Some(count @ 1..=1_000) => Ok(count as usize),
        Some(other) => {
            Err(SqsError::value(other, "MaxResults", "MaxResults must be an integer between 1 and 1000."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visibility_timeout_lies_between_zero_and_twelve_hours() {
        assert_eq!(visibility_timeout(0).ok(), Some(0));
        assert_eq!(visibility_timeout(43_200).ok(), Some(43_200_000));
        for bad in [-1, 43_201, i64::MAX, i64::MIN] {
            let message = visibility_timeout(bad).expect_err("out of range").to_string();
            assert_eq!(
                message,
                format!(
                    "Value {bad} for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."
                )
            );
        }
    }

    #[test]
    fn one_to_ten_messages_are_received_at_a_time() {
        assert_eq!(max_number_of_messages(None).ok(), Some(1));
        assert_eq!(max_number_of_messages(Some(10)).ok(), Some(10));
        for bad in [0, 11, -1] {
            assert_eq!(
                max_number_of_messages(Some(bad)).expect_err("out of range").entry_code(),
                "InvalidParameterValue"
            );
        }
    }
}
