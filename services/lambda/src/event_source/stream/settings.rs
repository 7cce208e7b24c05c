//! What mappings of streams have beyond those of queues: where they begin, how they go on after failures. Pure.
//!
//! Source: AWS Lambda API Reference, "CreateEventSourceMapping"; Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB",
//! "Configuring partial batch response with DynamoDB and Lambda". Recorded: the sentences.

use pileus_api_lambda as api;
use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::LambdaError;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamSettings {
    /// `TRIM_HORIZON` or `LATEST`.
    pub starting_position: String,
    /// When the mapping was made: where `LATEST` begins, however often reading starts anew before the first record.
    pub since: Timestamp,
    /// Batches of one shard that run side by side, each with items of its own.
    pub parallelization: u32,
    /// -1: until they fall out of the stream.
    pub max_age_seconds: i64,
    /// -1: for as long as the records are there.
    pub max_retries: i64,
    pub bisects: bool,
    /// Zero: no windows.
    pub tumbling_seconds: u32,
    /// ARN of where records go that are given up.
    pub on_failure: Option<String>,
}

/// What a request says of them.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub starting_position: Option<String>,
    pub parallelization: Option<i64>,
    pub max_age_seconds: Option<i64>,
    pub max_retries: Option<i64>,
    pub bisects: Option<bool>,
    pub tumbling_seconds: Option<i64>,
    pub destinations: Option<api::DestinationConfig>,
}

/// Source: "CreateEventSourceMapping": the default of `BatchSize` for DynamoDB.
pub const BATCH_SIZE: u32 = 100;
const MAX_BATCH_SIZE: u32 = 1_000;

impl StreamSettings {
    /// # Errors
    /// `InvalidParameterValueException`
    pub fn new(given: &Given, now: Timestamp) -> Result<StreamSettings, LambdaError> {
        let starting_position = match given.starting_position.as_deref() {
            Some(position @ ("TRIM_HORIZON" | "LATEST")) => position.to_owned(),
            Some("AT_TIMESTAMP") => {
                return Err(LambdaError::invalid(
                    "Unsupported starting position for event source type: AT_TIMESTAMP. Please use TRIM_HORIZON or LATEST for DynamoDB streams.",
                ));
            }
            _ => return Err(LambdaError::invalid("StartingPosition is required for DynamoDB streams.")),
        };
        let mut settings = StreamSettings {
            starting_position,
            since: now,
            parallelization: 1,
            max_age_seconds: -1,
            max_retries: -1,
            bisects: false,
            tumbling_seconds: 0,
            on_failure: None,
        };
        settings.change(given)?;
        Ok(settings)
    }

    /// What is not mentioned stays.
    ///
    /// # Errors
    /// `InvalidParameterValueException`
    pub fn change(&mut self, given: &Given) -> Result<(), LambdaError> {
        let small = |value: Option<i64>, field: &mut u32| {
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                *field = value;
            }
        };
        small(given.parallelization, &mut self.parallelization);
        small(given.tumbling_seconds, &mut self.tumbling_seconds);
        self.max_retries = given.max_retries.unwrap_or(self.max_retries);
        self.max_age_seconds = given.max_age_seconds.unwrap_or(self.max_age_seconds);
        self.bisects = given.bisects.unwrap_or(self.bisects);
        if let Some(destinations) = &given.destinations {
            let arn = destinations.on_failure.as_ref().and_then(|place| place.destination.clone());
            self.on_failure = arn.filter(|arn| !arn.is_empty());
            if destinations.on_success.as_ref().is_some_and(|place| place.destination.is_some()) {
                return Err(LambdaError::invalid(
                    "OnSuccess destinations are not supported for event source mappings.",
                ));
            }
        }
        if self.max_age_seconds != -1 && self.max_age_seconds < 60 {
            return Err(LambdaError::invalid(
                "MaximumRecordAgeInSeconds must be -1 or between 60 and 604800.",
            ));
        }
        if self.tumbling_seconds > 0 && self.parallelization > 1 {
            return Err(LambdaError::invalid(
                "Tumbling windows are not supported with a ParallelizationFactor greater than 1.",
            ));
        }
        Ok(())
    }

    /// # Errors
    /// `InvalidParameterValueException`
    pub fn check_batch(&self, batch_size: u32) -> Result<(), LambdaError> {
        if !(1..=MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(LambdaError::invalid(format!(
                "Batch size for DynamoDB streams must be between 1 and {MAX_BATCH_SIZE}."
            )));
        }
        Ok(())
    }

    /// Writes them into an answer.
    pub fn show(&self, answer: &mut api::EventSourceMappingConfiguration) {
        answer.starting_position = Some(self.starting_position.clone());
        answer.parallelization_factor = Some(i64::from(self.parallelization));
        answer.maximum_record_age_in_seconds = Some(self.max_age_seconds);
        answer.maximum_retry_attempts = Some(self.max_retries);
        answer.bisect_batch_on_function_error = Some(self.bisects);
        answer.tumbling_window_in_seconds = Some(i64::from(self.tumbling_seconds));
        answer.last_processing_result = Some("No records processed".to_owned());
        let on_failure = self.on_failure.clone().map(|arn| api::OnFailure { destination: Some(arn) });
        answer.destination_config = Some(api::DestinationConfig { on_failure, ..Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let base = || Given { starting_position: Some("LATEST".to_owned()), ..Given::default() };
        let cases = [
            (base(), true),
            (Given::default(), false),
            (Given { starting_position: Some("AT_TIMESTAMP".into()), ..Given::default() }, false),
            (Given { max_age_seconds: Some(59), ..base() }, false),
            (Given { max_age_seconds: Some(-1), ..base() }, true),
            (Given { tumbling_seconds: Some(30), ..base() }, true),
            (Given { tumbling_seconds: Some(30), parallelization: Some(2), ..base() }, false),
        ];
        for (given, is_valid) in cases {
            assert_eq!(StreamSettings::new(&given, Timestamp::from_secs(0)).is_ok(), is_valid, "{given:?}");
        }
        let settings = StreamSettings::new(&base(), Timestamp::from_secs(0)).unwrap();
        assert!(settings.check_batch(1_000).is_ok() && settings.check_batch(1_001).is_err());
    }
}
