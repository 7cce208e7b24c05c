//! What subscribers are sent: the JSON forms and the text that is signed. Pure.
//!
//! Source: Amazon SNS Developer Guide, "Parsing Amazon SNS message formats", "Verifying the signatures of Amazon SNS messages", "Fanout
//! Amazon SNS notifications to Lambda functions"; AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS
//! notifications". Recorded: the spacing of the JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::message::{Attribute, Message, Value};
use crate::publish::sequence_number;

/// What the forms of one message share.
pub struct Notification<'a> {
    pub message: &'a Message,
    pub topic_arn: &'a str,
    /// For the subscriber's protocol.
    pub body: &'a str,
    pub is_replayed: bool,
    /// Base64. A FIFO topic's messages are not signed.
    pub signature: Option<&'a Signature>,
    pub unsubscribe_url: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub version: String,
    pub text: String,
    pub certificate_url: String,
}

/// What asks an endpoint to confirm, or tells it that it was unsubscribed.
pub struct Confirmation<'a> {
    /// `SubscriptionConfirmation`, `UnsubscribeConfirmation`
    pub kind: &'static str,
    pub id: &'a str,
    pub token: &'a str,
    pub topic_arn: &'a str,
    pub message: &'a str,
    pub subscribe_url: &'a str,
    pub at: Timestamp,
}

/// `2012-05-02T00:54:06.655Z`
pub fn stamp(at: Timestamp) -> String {
    let at = at.truncate_to_millis();
    let text = at.to_iso8601();
    if at.subsec_nanos() == 0 { text.replace('Z', ".000Z") } else { text }
}

/// The URL at which a subscription ends.
pub fn unsubscribe_url(endpoint: &str, subscription_arn: &str) -> String {
    format!("{endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}&Version=2010-03-31")
}

/// The URL at which a subscription is confirmed.
pub fn subscribe_url(endpoint: &str, topic_arn: &str, token: &str) -> String {
    format!("{endpoint}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}&Version=2010-03-31")
}

pub fn attributes(attributes: &[Attribute]) -> Map<String, Json> {
    let show = |attribute: &Attribute| {
        let value = match &attribute.value {
            Value::Text(text) => text.clone(),
            Value::Binary(bytes) => STANDARD.encode(bytes),
        };
        (attribute.name.clone(), json!({ "Type": attribute.data_type, "Value": value }))
    };
    attributes.iter().map(show).collect()
}

impl Notification<'_> {
    /// What is signed: names and values, each on a line of its own, in the order of the names.
    pub fn signed_text(message: &Message, topic_arn: &str, body: &str) -> String {
        let mut text = format!("Message\n{body}\nMessageId\n{}\n", message.id);
        if let Some(subject) = &message.subject {
            text.push_str(&format!("Subject\n{subject}\n"));
        }
        text.push_str(&format!(
            "Timestamp\n{}\nTopicArn\n{topic_arn}\nType\nNotification\n",
            stamp(message.at)
        ));
        text
    }

    /// The document that queues, web servers and mail readers get.
    pub fn document(&self) -> String {
        let message = self.message;
        let mut fields = vec![("Type", json!("Notification")), ("MessageId", json!(message.id))];
        if let Some(sequence) = message.sequence {
            fields.push(("SequenceNumber", json!(sequence_number(sequence))));
        }
        fields.push(("TopicArn", json!(self.topic_arn)));
        if let Some(subject) = &message.subject {
            fields.push(("Subject", json!(subject)));
        }
        fields.push(("Message", json!(self.body)));
        fields.push(("Timestamp", json!(stamp(message.at))));
        if let Some(signature) = self.signature {
            fields.push(("SignatureVersion", json!(signature.version)));
            fields.push(("Signature", json!(signature.text)));
            fields.push(("SigningCertURL", json!(signature.certificate_url)));
        }
        fields.push(("UnsubscribeURL", json!(self.unsubscribe_url)));
        if !message.attributes.is_empty() {
            fields.push(("MessageAttributes", attributes(&message.attributes).into()));
        }
        if self.is_replayed {
            fields.push(("Replayed", json!("true")));
        }
        spaced(&fields)
    }

    /// The event that a function gets.
    pub fn event(&self, subscription_arn: &str) -> Json {
        let message = self.message;
        let signature = self.signature;
        json!({
            "Records": [{
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription_arn,
                "Sns": {
                    "Type": "Notification",
                    "MessageId": message.id,
                    "TopicArn": self.topic_arn,
                    "Subject": message.subject,
                    "Message": self.body,
                    "Timestamp": stamp(message.at),
                    "SignatureVersion": signature.map(|signature| &signature.version),
                    "Signature": signature.map(|signature| &signature.text),
                    "SigningCertUrl": signature.map(|signature| &signature.certificate_url),
                    "UnsubscribeUrl": self.unsubscribe_url,
                    "MessageAttributes": attributes(&message.attributes),
                },
            }],
        })
    }
}

impl Confirmation<'_> {
    pub fn signed_text(&self) -> String {
        format!(
            "Message\n{}\nMessageId\n{}\nSubscribeURL\n{}\nTimestamp\n{}\nToken\n{}\nTopicArn\n{}\nType\n{}\n",
            self.message,
            self.id,
            self.subscribe_url,
            stamp(self.at),
            self.token,
            self.topic_arn,
            self.kind
        )
    }

    pub fn document(&self, signature: &Signature) -> String {
        spaced(&[
            ("Type", json!(self.kind)),
            ("MessageId", json!(self.id)),
            ("Token", json!(self.token)),
            ("TopicArn", json!(self.topic_arn)),
            ("Message", json!(self.message)),
            ("SubscribeURL", json!(self.subscribe_url)),
            ("Timestamp", json!(stamp(self.at))),
            ("SignatureVersion", json!(signature.version)),
            ("Signature", json!(signature.text)),
            ("SigningCertURL", json!(signature.certificate_url)),
        ])
    }
}

/// `{\n  "Type" : "Notification",\n ..\n}`
fn spaced(fields: &[(&str, Json)]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Json::Object(inner) => {
                let inner: Vec<String> =
                    inner.iter().map(|(name, value)| format!("    {} : {value}", json!(name))).collect();
                format!("  \"{name}\" : {{\n{}\n  }}", inner.join(",\n"))
            }
            value => format!("  \"{name}\" : {value}"),
        })
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324".into(),
            subject: Some("My First Message".into()),
            body: "Hello \"world\"!".into(),
            is_structured: false,
            attributes: vec![
                Attribute { name: "n".into(), data_type: "Number".into(), value: Value::Text("1".into()) },
                Attribute {
                    name: "b".into(),
                    data_type: "Binary".into(),
                    value: Value::Binary(b"\xff"[..].into()),
                },
            ],
            at: Timestamp::from_millis(1_335_920_046_655),
            group: None,
            deduplication_id: None,
            sequence: None,
        }
    }

    #[test]
    fn what_is_signed_names_what_is_there() {
        let expected = "Message\nHello\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\nSubject\nMy First Message\nTimestamp\n2012-05-02T00:54:06.655Z\nTopicArn\narn\nType\nNotification\n";
        assert_eq!(Notification::signed_text(&message(), "arn", "Hello"), expected);
        let plain = Message { subject: None, at: Timestamp::from_secs(0), ..message() };
        let text = Notification::signed_text(&plain, "arn", "Hello");
        assert!(!text.contains("Subject") && text.contains("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn a_notification_is_json_in_each_form() {
        let message = message();
        let signature =
            Signature { version: "1".into(), text: "c2ln".into(), certificate_url: "http://c".into() };
        let notification = Notification {
            message: &message,
            topic_arn: "arn:topic",
            body: &message.body,
            is_replayed: false,
            signature: Some(&signature),
            unsubscribe_url: "http://u",
        };
        let document = notification.document();
        assert!(document.starts_with("{\n  \"Type\" : \"Notification\",\n"), "{document}");
        let document: Json = serde_json::from_str(&document).unwrap();
        assert_eq!(document["Message"], "Hello \"world\"!");
        assert_eq!(document["MessageAttributes"]["b"], json!({"Type": "Binary", "Value": "/w=="}));
        assert_eq!(document["Signature"], "c2ln");
        let event = notification.event("arn:sub");
        assert_eq!(event["Records"][0]["Sns"]["Subject"], "My First Message");
        assert_eq!(event["Records"][0]["Sns"]["SigningCertUrl"], "http://c");
        assert_eq!(event["Records"][0]["EventSubscriptionArn"], "arn:sub");
        let fifo = Message { sequence: Some(7), attributes: Vec::new(), ..message.clone() };
        let fifo = Notification { message: &fifo, signature: None, is_replayed: true, ..notification };
        let document: Json = serde_json::from_str(&fifo.document()).unwrap();
        assert_eq!(document["SequenceNumber"], "00000000000000000007");
        assert_eq!((document.get("Signature"), &document["Replayed"]), (None, &json!("true")));
    }
}
