//! Rules that all batches share, and how one entry's failure is told.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS batch actions". Recorded: the sentences.

use std::collections::HashSet;

use pileus_api_sqs::BatchResultErrorEntry;

use crate::error::SqsError;
use crate::limits;

/// # Arguments
/// `entry`: the name of the entry's shape, which the error shows.
///
/// # Errors
/// `EmptyBatchRequest`, `TooManyEntriesInBatchRequest`, `InvalidBatchEntryId`, `BatchEntryIdsNotDistinct`
pub fn check<'a>(
    ids: impl ExactSizeIterator<Item = Option<&'a str>>,
    entry: &'static str,
) -> Result<(), SqsError> {
    match ids.len() {
        0 => return Err(SqsError::EmptyBatchRequest { entry }),
        1..=limits::MAX_BATCH_ENTRIES => {}
        sent => return Err(SqsError::TooManyEntriesInBatchRequest { sent }),
    }
    let mut seen = HashSet::new();
    for id in ids {
        let id = id.unwrap_or_default();
        let valid = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !valid || !(1..=80).contains(&id.len()) {
            return Err(SqsError::InvalidBatchEntryId);
        }
        if !seen.insert(id) {
            return Err(SqsError::BatchEntryIdsNotDistinct(id.to_owned()));
        }
    }
    Ok(())
}

pub fn failure(id: Option<String>, error: &SqsError) -> BatchResultErrorEntry {
    BatchResultErrorEntry {
        id,
        sender_fault: Some(error.is_sender_fault()),
        code: Some(error.entry_code().to_owned()),
        message: Some(error.public_message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_one_to_ten_entries_with_ids_of_their_own() {
        let long = "a".repeat(81);
        let eleven = vec!["a"; 11];
        let cases: [(&[&str], Result<(), &str>); 9] = [
            (&["a"], Ok(())),
            (&["a", "B-1_2"], Ok(())),
            (&[&long[..80]], Ok(())),
            (&[], Err("EmptyBatchRequest")),
            (&eleven, Err("TooManyEntriesInBatchRequest")),
            (&["a", "a"], Err("BatchEntryIdsNotDistinct")),
            (&["a:b"], Err("InvalidBatchEntryId")),
            (&[""], Err("InvalidBatchEntryId")),
            (&[&long], Err("InvalidBatchEntryId")),
        ];
        for (ids, expected) in cases {
            let got = check(ids.iter().map(|id| Some(*id)), "Entry").map_err(|error| error.code());
            assert_eq!(got, expected, "{ids:?}");
        }
    }
}
