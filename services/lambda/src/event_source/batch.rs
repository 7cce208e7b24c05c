//! Batches of SQS messages: the event that a function gets, and what its answer says of single messages. Pure.
//!
//! Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", "Handling errors for an SQS event source in Lambda". Recorded:
//! the records' form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_sqs as sqs;
use serde_json::{Map, Value, json};

use super::filter::Pattern;

/// A message as a record of the event.
pub fn record(message: &sqs::Message, source_arn: &str, region: &str) -> Value {
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .flat_map(|attributes| attributes.iter())
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let own: Map<String, Value> = message
        .message_attributes
        .iter()
        .flat_map(|attributes| attributes.iter())
        .map(|(name, value)| (name.to_owned(), attribute(value)))
        .collect();
    let mut record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": own,
        "md5OfBody": message.md5_of_body,
    });
    if let Some(digest) = &message.md5_of_message_attributes {
        record["md5OfMessageAttributes"] = json!(digest);
    }
    record["eventSource"] = json!("aws:sqs");
    record["eventSourceARN"] = json!(source_arn);
    record["awsRegion"] = json!(region);
    record
}

fn attribute(value: &sqs::MessageAttributeValue) -> Value {
    let mut shown = json!({
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value.data_type,
    });
    if let Some(text) = &value.string_value {
        shown["stringValue"] = json!(text);
    }
    if let Some(bytes) = &value.binary_value {
        shown["binaryValue"] = json!(STANDARD.encode(bytes));
    }
    shown
}

/// Whether a record passes the filters. Patterns see the body as JSON where it is some.
pub fn passes(filters: &[Pattern], record: &Value) -> bool {
    if filters.is_empty() {
        return true;
    }
    let mut seen = record.clone();
    if let Some(body) = record.get("body").and_then(Value::as_str)
        && let Ok(parsed) = serde_json::from_str::<Value>(body)
        && parsed.is_object()
    {
        seen["body"] = parsed;
    }
    filters.iter().any(|filter| filter.matches(&seen))
}

/// Which messages of a batch are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    AllDone,
    /// Those with these ids come again.
    Except(Vec<String>),
    NoneDone,
}

/// Reads `batchItemFailures` from the answer of a function that reports them.
///
/// An answer that makes no sense, or names a message that was not in the batch, means that all failed.
pub fn verdict(answer: &[u8], ids: &[&str]) -> Verdict {
    let answer: Value = match answer {
        b"" => Value::Null,
        answer => match serde_json::from_slice(answer) {
            Ok(answer) => answer,
            Err(_) => return Verdict::NoneDone,
        },
    };
    let failures = match &answer {
        Value::Null => return Verdict::AllDone,
        Value::Object(fields) => fields.get("batchItemFailures"),
        _ => None,
    };
    let failures = match failures {
        None | Some(Value::Null) => {
            return if answer.is_object() { Verdict::AllDone } else { Verdict::NoneDone };
        }
        Some(Value::Array(failures)) if failures.is_empty() => return Verdict::AllDone,
        Some(Value::Array(failures)) => failures,
        Some(_) => return Verdict::NoneDone,
    };
    let mut failed = Vec::with_capacity(failures.len());
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            Some(id) if ids.contains(&id) => failed.push(id.to_owned()),
            _ => return Verdict::NoneDone,
        }
    }
    Verdict::Except(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_form_that_functions_expect() {
        let message = sqs::Message {
            message_id: Some("id".into()),
            receipt_handle: Some("handle".into()),
            md5_of_body: Some("md5".into()),
            body: Some("hello".into()),
            attributes: Some([("SentTimestamp".to_owned(), "1".to_owned())].into_iter().collect()),
            message_attributes: Some(
                [(
                    "a".to_owned(),
                    sqs::MessageAttributeValue {
                        data_type: Some("String".into()),
                        string_value: Some("x".into()),
                        ..Default::default()
                    },
                )]
                .into_iter()
                .collect(),
            ),
            ..Default::default()
        };
        assert_eq!(
            record(&message, "arn:q", "us-east-1"),
            json!({
                "messageId": "id",
                "receiptHandle": "handle",
                "body": "hello",
                "attributes": {"SentTimestamp": "1"},
                "messageAttributes": {
                    "a": {"stringValue": "x", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
                },
                "md5OfBody": "md5",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:q",
                "awsRegion": "us-east-1",
            })
        );
    }

    #[test]
    fn filters_see_a_json_body_as_json_and_any_other_as_text() {
        let filter = |text: &str| vec![Pattern::parse(text).expect("a pattern")];
        let json_body = json!({"body": "{\"kind\": \"a\"}"});
        let text_body = json!({"body": "plain"});
        assert!(passes(&[], &text_body));
        assert!(passes(&filter(r#"{"body": {"kind": ["a"]}}"#), &json_body));
        assert!(!passes(&filter(r#"{"body": {"kind": ["b"]}}"#), &json_body));
        assert!(!passes(&filter(r#"{"body": {"kind": ["a"]}}"#), &text_body));
        assert!(passes(&filter(r#"{"body": ["plain"]}"#), &text_body));
    }

    #[test]
    fn an_answer_names_the_messages_that_come_again() {
        let cases = [
            ("", Verdict::AllDone),
            ("null", Verdict::AllDone),
            ("{}", Verdict::AllDone),
            (r#"{"batchItemFailures": null}"#, Verdict::AllDone),
            (r#"{"batchItemFailures": []}"#, Verdict::AllDone),
            (r#"{"batchItemFailures": [{"itemIdentifier": "b"}]}"#, Verdict::Except(vec!["b".into()])),
            (r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#, Verdict::NoneDone),
            (r#"{"batchItemFailures": [{"itemIdentifier": "z"}]}"#, Verdict::NoneDone),
            (r#"{"batchItemFailures": [{"wrong": "b"}]}"#, Verdict::NoneDone),
            (r#"{"batchItemFailures": "b"}"#, Verdict::NoneDone),
            (r#""text""#, Verdict::NoneDone),
            ("not json", Verdict::NoneDone),
        ];
        for (answer, expected) in cases {
            assert_eq!(verdict(answer.as_bytes(), &["a", "b"]), expected, "{answer}");
        }
    }
}
