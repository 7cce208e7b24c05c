//! The message that tells of an event. Pure.
//!
//! Source: Amazon S3 User Guide, "Event message structure". Recorded: the order of the members and the encoding of keys.

use std::fmt::Write as _;

use pileus_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An event as it waits in the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `ObjectCreated:Put`, without `s3:`.
    pub name: String,
    pub time: Timestamp,
    pub region: String,
    pub bucket: String,
    pub owner: String,
    pub key: String,
    pub size: Option<u64>,
    /// Without quotes.
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub sequencer: String,
    /// Principal id of who caused it.
    pub principal: String,
    pub source_ip: String,
    pub request_id: String,
    pub host_id: String,
}

/// The message with one record.
pub fn message(event: &Event, configuration_id: &str) -> Value {
    let mut object = json!({ "key": encode_key(&event.key) });
    if let Some(size) = event.size {
        object["size"] = json!(size);
    }
    if let Some(etag) = &event.etag {
        object["eTag"] = json!(etag);
    }
    if let Some(version) = &event.version_id {
        object["versionId"] = json!(version);
    }
    object["sequencer"] = json!(event.sequencer);
    let mut record = json!({
        "eventVersion": version(&event.name),
        "eventSource": "aws:s3",
        "awsRegion": event.region,
        "eventTime": millis(event.time),
        "eventName": event.name,
        "userIdentity": { "principalId": event.principal },
        "requestParameters": { "sourceIPAddress": event.source_ip },
        "responseElements": {
            "x-amz-request-id": event.request_id,
            "x-amz-id-2": event.host_id,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": event.bucket,
                "ownerIdentity": { "principalId": event.owner },
                "arn": format!("arn:aws:s3:::{}", event.bucket),
            },
            "object": object,
        },
    });
    if event.name.starts_with("LifecycleExpiration") || event.name.starts_with("LifecycleTransition") {
        record["userIdentity"]["principalId"] = json!("s3.amazonaws.com");
    }
    json!({ "Records": [record] })
}

/// Newer events have newer versions.
fn version(name: &str) -> &'static str {
    match name.split(':').next().unwrap_or_default() {
        "Replication" => "2.2",
        "ObjectTagging" | "ObjectAcl" | "LifecycleExpiration" | "LifecycleTransition" => "2.3",
        _ => "2.1",
    }
}

/// What a destination gets when it becomes one.
pub fn test_message(bucket: &str, time: Timestamp, request_id: &str, host_id: &str) -> Value {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": millis(time),
        "Bucket": bucket,
        "RequestId": request_id,
        "HostId": host_id,
    })
}

/// Always with three digits of milliseconds.
pub fn millis(time: Timestamp) -> String {
    let whole = time.truncate_to_millis();
    let text = whole.to_iso8601();
    if whole.subsec_nanos() == 0 { text.replace('Z', ".000Z") } else { text }
}

/// As a form encodes it: a space is `+`, `/` stays.
pub fn encode_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> Event {
        Event {
            name: name.into(),
            time: Timestamp::from_secs(1_704_067_200),
            region: "us-east-1".into(),
            bucket: "b".into(),
            owner: "A1".into(),
            key: "in/ä b+c.jpg".into(),
            size: Some(5),
            etag: Some("d41d".into()),
            version_id: None,
            sequencer: "0055AED6DCD90281E5".into(),
            principal: "AIDA1".into(),
            source_ip: "127.0.0.1".into(),
            request_id: "r".into(),
            host_id: "h".into(),
        }
    }

    #[test]
    fn a_record_has_the_members_of_aws() {
        let got = message(&event("ObjectCreated:Put"), "mine");
        assert_eq!(
            got["Records"][0].to_string(),
            r#"{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"2024-01-01T00:00:00.000Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AIDA1"},"requestParameters":{"sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-request-id":"r","x-amz-id-2":"h"},"s3":{"s3SchemaVersion":"1.0","configurationId":"mine","bucket":{"name":"b","ownerIdentity":{"principalId":"A1"},"arn":"arn:aws:s3:::b"},"object":{"key":"in/%C3%A4+b%2Bc.jpg","size":5,"eTag":"d41d","sequencer":"0055AED6DCD90281E5"}}}"#
        );
        let expired = message(&event("LifecycleExpiration:Delete"), "mine");
        assert_eq!(expired["Records"][0]["userIdentity"]["principalId"], "s3.amazonaws.com");
        assert_eq!(expired["Records"][0]["eventVersion"], "2.3");
    }
}
