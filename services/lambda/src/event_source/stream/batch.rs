//! Batches of a stream's records: the event that a function gets, which records go together, what a failure leaves. Pure.
//!
//! Source: AWS Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB", "Configuring partial batch response with DynamoDB and
//! Lambda", "Retain discarded records with a DynamoDB event source in Lambda". Recorded: the records' form.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_dynamodbstreams as streams;
use pileus_core::Timestamp;
use pileus_wire::value::Map as WireMap;
use serde_json::{Map, Value, json};

use super::super::batch::{Verdict, verdict};

/// A record of a stream as mappings see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub sequence: String,
    pub at: Timestamp,
    /// As functions and filters see it.
    pub shown: Value,
    /// Of the item's key: records of one item stay together.
    pub item: u64,
    pub bytes: usize,
}

/// A record as a function gets it.
pub fn record(record: &streams::Record, stream_arn: &str) -> Record {
    let change = record.dynamodb.clone().unwrap_or_default();
    let at = change.approximate_creation_date_time.unwrap_or(Timestamp::from_secs(0));
    let mut inner = Map::new();
    inner.insert("ApproximateCreationDateTime".to_owned(), json!(at.as_secs()));
    let keys = change.keys.as_ref().map(item).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    Value::Object(keys.clone()).to_string().hash(&mut hasher);
    inner.insert("Keys".to_owned(), keys.into());
    for (name, image) in [("NewImage", &change.new_image), ("OldImage", &change.old_image)] {
        if let Some(image) = image {
            inner.insert(name.to_owned(), item(image).into());
        }
    }
    let sequence = change.sequence_number.clone().unwrap_or_default();
    inner.insert("SequenceNumber".to_owned(), json!(sequence));
    inner.insert("SizeBytes".to_owned(), json!(change.size_bytes));
    inner.insert("StreamViewType".to_owned(), json!(change.stream_view_type));
    let mut shown = json!({
        "eventID": record.event_id,
        "eventName": record.event_name,
        "eventVersion": record.event_version,
        "eventSource": record.event_source,
        "awsRegion": record.aws_region,
        "dynamodb": inner,
        "eventSourceARN": stream_arn,
    });
    if let Some(identity) = &record.user_identity {
        shown["userIdentity"] = json!({ "principalId": identity.principal_id, "type": identity.r#type });
    }
    let bytes = change.size_bytes.and_then(|size| usize::try_from(size).ok()).unwrap_or(0) * 2 + 512;
    Record { sequence, at, shown, item: hasher.finish(), bytes }
}

fn item(item: &WireMap<streams::AttributeValue>) -> Map<String, Value> {
    item.iter().map(|(name, value)| (name.to_owned(), attribute(value))).collect()
}

fn attribute(value: &streams::AttributeValue) -> Value {
    if let Some(text) = &value.s {
        json!({ "S": text })
    } else if let Some(number) = &value.n {
        json!({ "N": number })
    } else if let Some(bytes) = &value.b {
        json!({ "B": STANDARD.encode(bytes) })
    } else if let Some(set) = &value.ss {
        json!({ "SS": set })
    } else if let Some(set) = &value.ns {
        json!({ "NS": set })
    } else if let Some(set) = &value.bs {
        json!({ "BS": set.iter().map(|bytes| STANDARD.encode(bytes)).collect::<Vec<_>>() })
    } else if let Some(map) = &value.m {
        json!({ "M": item(map) })
    } else if let Some(list) = &value.l {
        json!({ "L": list.iter().map(attribute).collect::<Vec<_>>() })
    } else if let Some(is_true) = value.bool {
        json!({ "BOOL": is_true })
    } else {
        json!({ "NULL": true })
    }
}

/// Divides records among so many lanes, each with items of its own, in order.
pub fn lanes(records: Vec<Record>, count: u32) -> Vec<Vec<Record>> {
    let count = count.max(1) as usize;
    let mut lanes: Vec<Vec<Record>> = vec![Vec::new(); count];
    for record in records {
        let at = (record.item % count as u64) as usize;
        lanes[at].push(record);
    }
    lanes.retain(|lane| !lane.is_empty());
    lanes
}

/// Source: "Lambda quotas": what a function may be handed at once.
const MAX_PAYLOAD: usize = 6_000_000;

/// The records that go together first, at most `size`.
pub fn first(records: &[Record], size: u32) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take(size.max(1) as usize).take_while(|record| {
        bytes += record.bytes;
        bytes <= MAX_PAYLOAD
    });
    fits.count().max(1).min(records.len())
}

/// What a function that ended well leaves: the number of records, from the first on, that are done.
pub fn done(answer: &[u8], records: &[Record], reports_failures: bool) -> usize {
    if !reports_failures {
        return records.len();
    }
    let ids: Vec<&str> = records.iter().map(|record| record.sequence.as_str()).collect();
    match verdict(answer, &ids) {
        Verdict::AllDone => records.len(),
        Verdict::NoneDone => 0,
        // All from the least of them on come again.
        Verdict::Except(failed) => ids.iter().position(|id| failed.iter().any(|one| one == id)).unwrap_or(0),
    }
}

/// What is told of records that are given up.
pub struct GivenUp<'a> {
    pub stream_arn: &'a str,
    pub shard_id: &'a str,
    pub function_arn: &'a str,
    pub request_id: &'a str,
    /// `RetryAttemptsExhausted`, `RecordAgeExceeded`
    pub condition: &'static str,
    pub attempts: u32,
    pub version: &'a str,
    pub records: &'a [Record],
}

impl GivenUp<'_> {
    pub fn document(&self, now: Timestamp) -> Value {
        let sequence = |record: Option<&Record>| record.map(|record| record.sequence.clone());
        let at = |record: Option<&Record>| record.map(|record| record.at.to_iso8601());
        json!({
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.function_arn,
                "condition": self.condition,
                "approximateInvokeCount": self.attempts,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": self.version,
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": now.truncate_to_millis().to_iso8601(),
            "DDBStreamBatchInfo": {
                "shardId": self.shard_id,
                "startSequenceNumber": sequence(self.records.first()),
                "endSequenceNumber": sequence(self.records.last()),
                "approximateArrivalOfFirstRecord": at(self.records.first()),
                "approximateArrivalOfLastRecord": at(self.records.last()),
                "batchSize": self.records.len(),
                "streamArn": self.stream_arn,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(sequence: &str, item: u64, bytes: usize) -> Record {
        Record { sequence: sequence.into(), at: Timestamp::from_secs(0), shown: json!({}), item, bytes }
    }

    #[test]
    fn a_record_has_the_form_that_functions_expect() {
        let text = |text: &str| streams::AttributeValue { s: Some(text.into()), ..Default::default() };
        let keys: WireMap<streams::AttributeValue> = [("id".to_owned(), text("1"))].into_iter().collect();
        let given = streams::Record {
            event_id: Some("e".into()),
            event_name: Some("INSERT".into()),
            event_version: Some("1.1".into()),
            event_source: Some("aws:dynamodb".into()),
            aws_region: Some("us-east-1".into()),
            dynamodb: Some(streams::StreamRecord {
                approximate_creation_date_time: Some(Timestamp::from_secs(7)),
                keys: Some(keys.clone()),
                new_image: Some(keys),
                sequence_number: Some("42".into()),
                size_bytes: Some(6),
                stream_view_type: Some("NEW_IMAGE".into()),
                ..Default::default()
            }),
            user_identity: None,
        };
        let record = record(&given, "arn:s");
        assert_eq!(
            record.shown,
            json!({
                "eventID": "e",
                "eventName": "INSERT",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 7,
                    "Keys": {"id": {"S": "1"}},
                    "NewImage": {"id": {"S": "1"}},
                    "SequenceNumber": "42",
                    "SizeBytes": 6,
                    "StreamViewType": "NEW_IMAGE",
                },
                "eventSourceARN": "arn:s",
            })
        );
        assert_eq!((record.sequence.as_str(), record.at), ("42", Timestamp::from_secs(7)));
    }

    #[test]
    fn records_of_an_item_stay_together_and_in_order() {
        let records = vec![some("1", 0, 1), some("2", 1, 1), some("3", 2, 1), some("4", 0, 1)];
        let lanes = lanes(records.clone(), 2);
        let sequences =
            |lane: &[Record]| lane.iter().map(|record| record.sequence.clone()).collect::<Vec<_>>();
        assert_eq!(
            lanes.iter().map(|lane| sequences(lane)).collect::<Vec<_>>(),
            [vec!["1", "3", "4"], vec!["2"]]
        );
        assert_eq!(super::lanes(records, 1).len(), 1);
    }

    #[test]
    fn a_batch_is_bounded_by_number_and_bytes() {
        let records = vec![some("1", 0, 4_000_000), some("2", 0, 4_000_000), some("3", 0, 1)];
        assert_eq!([first(&records, 10), first(&records[1..], 10), first(&records[1..], 1)], [1, 2, 1]);
        assert_eq!(first(&[some("1", 0, 9_000_000)], 10), 1);
    }

    #[test]
    fn what_comes_before_the_first_failure_is_done() {
        let records = vec![some("1", 0, 1), some("2", 0, 1), some("3", 0, 1)];
        let cases = [
            ("", true, 3),
            (r#"{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"2"}]}"#, true, 1),
            (r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#, true, 0),
            (r#"{"batchItemFailures":[{"itemIdentifier":"2"}]}"#, false, 3),
        ];
        for (answer, reports, expected) in cases {
            assert_eq!(done(answer.as_bytes(), &records, reports), expected, "{answer}");
        }
    }
}
