//! A message as it is kept between its publication and its deliveries, and the rules that it must keep. Pure.
//!
//! Source: Amazon SNS API Reference, "Publish"; Amazon SNS Developer Guide, "Amazon SNS message attributes", "Publishing Amazon SNS
//! notifications with platform-specific payloads". Recorded: the sentences.

use bytes::Bytes;
use pileus_api_sns::MessageAttributeValue;
use pileus_core::Timestamp;
use pileus_store::Stored;
use pileus_wire::value::Map;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::SnsError;
use crate::filter::Seen;

/// Source: "Publish": 256 KB, with attributes; of a batch, together.
pub const MAX_BYTES: usize = 262_144;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub subject: Option<String>,
    pub body: String,
    /// `MessageStructure=json`: the body holds one text for each protocol.
    pub is_structured: bool,
    pub attributes: Vec<Attribute>,
    pub at: Timestamp,
    pub group: Option<String>,
    pub deduplication_id: Option<String>,
    /// Of a FIFO topic.
    pub sequence: Option<u64>,
}

impl Stored for Message {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    pub data_type: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    Binary(Bytes),
}

impl Message {
    /// What a protocol is sent: `default` where nothing is said for it.
    pub fn body_for(&self, protocol: &str) -> String {
        if !self.is_structured {
            return self.body.clone();
        }
        let bodies: Json = serde_json::from_str(&self.body).unwrap_or_default();
        let body = bodies.get(protocol).filter(|body| body.is_string()).or_else(|| bodies.get("default"));
        body.and_then(Json::as_str).unwrap_or_default().to_owned()
    }

    pub fn seen(&self) -> Vec<Seen<'_>> {
        self.attributes
            .iter()
            .map(|attribute| Seen {
                name: &attribute.name,
                data_type: &attribute.data_type,
                text: match &attribute.value {
                    Value::Text(text) => Some(text),
                    Value::Binary(_) => None,
                },
            })
            .collect()
    }
}

/// What a publisher wrote.
pub struct Written<'a> {
    pub message: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub structure: Option<&'a str>,
    pub attributes: Option<&'a Map<MessageAttributeValue>>,
}

/// What is checked without knowing where it goes.
pub struct Checked {
    pub attributes: Vec<Attribute>,
    pub is_structured: bool,
    pub bytes: usize,
}

impl Written<'_> {
    /// # Errors
    /// `InvalidParameter`, `ParameterValueInvalid`
    pub fn check(&self) -> Result<Checked, SnsError> {
        let body = self.message.unwrap_or_default();
        if body.is_empty() {
            return Err(SnsError::invalid("Empty message"));
        }
        if let Some(subject) = self.subject {
            check_subject(subject)?;
        }
        let is_structured = match self.structure {
            None | Some("") => false,
            Some("json") => {
                check_structure(body)?;
                true
            }
            Some(_) => return Err(SnsError::invalid("MessageStructure Reason: Only json is supported")),
        };
        let mut attributes = Vec::new();
        for (name, value) in self.attributes.iter().flat_map(|map| map.iter()) {
            attributes.push(check_attribute(name, value)?);
        }
        let bytes = body.len() + attributes.iter().map(size).sum::<usize>();
        if bytes > MAX_BYTES {
            return Err(SnsError::invalid("Message too long"));
        }
        Ok(Checked { attributes, is_structured, bytes })
    }
}

/// Source: "Publish": ASCII text of less than 100 characters that begins with a letter, number or punctuation mark, on one line.
fn check_subject(subject: &str) -> Result<(), SnsError> {
    let begins_well = subject.chars().next().is_some_and(|c| !c.is_whitespace());
    let is_plain = subject.chars().all(|c| !c.is_control());
    match begins_well && is_plain && subject.chars().count() <= 100 {
        true => Ok(()),
        false => Err(SnsError::invalid("Subject")),
    }
}

fn check_structure(body: &str) -> Result<(), SnsError> {
    let parsed = serde_json::from_str::<Json>(body).ok();
    let Some(Json::Object(bodies)) = parsed else {
        return Err(SnsError::invalid("Message Structure - JSON message body failed to parse"));
    };
    match bodies.get("default") {
        Some(Json::String(_)) => Ok(()),
        _ => Err(SnsError::invalid("Message Structure - No default entry in JSON message body")),
    }
}

fn size(attribute: &Attribute) -> usize {
    let value = match &attribute.value {
        Value::Text(text) => text.len(),
        Value::Binary(bytes) => bytes.len(),
    };
    attribute.name.len() + attribute.data_type.len() + value
}

fn check_attribute(name: &str, value: &MessageAttributeValue) -> Result<Attribute, SnsError> {
    let invalid = |text: String| Err(SnsError::ParameterValueInvalid(text));
    check_attribute_name(name)?;
    let data_type = value.data_type.as_deref().unwrap_or_default();
    if data_type.is_empty() {
        return invalid(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        ));
    }
    if data_type.len() > 256 {
        return invalid(format!("Length of message attribute type must be less than 256 bytes: '{name}'."));
    }
    let base = data_type.split('.').next().unwrap_or(data_type);
    let kept = match base {
        "String" | "Number" => value.string_value.clone().filter(|text| !text.is_empty()).map(Value::Text),
        "Binary" => value.binary_value.clone().filter(|bytes| !bytes.is_empty()).map(Value::Binary),
        _ => {
            return invalid(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
            ));
        }
    };
    let Some(kept) = kept else {
        return invalid(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{data_type}'."
        ));
    };
    if let (Value::Text(text), "Number") = (&kept, base)
        && !text.trim().parse::<f64>().is_ok_and(f64::is_finite)
    {
        return invalid(format!("Could not cast message attribute '{name}' value to number."));
    }
    Ok(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), value: kept })
}

fn check_attribute_name(name: &str) -> Result<(), SnsError> {
    let invalid = |text: &str| Err(SnsError::ParameterValueInvalid(text.to_owned()));
    if name.is_empty() {
        return invalid("The request must contain non-empty message attribute name.");
    }
    if name.len() > 256 {
        return invalid("Length of message attribute name must be less than 256 bytes.");
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return invalid(&format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(bad)
        ));
    }
    if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        return invalid(
            "Invalid message attribute name: it must not begin or end with a dot, nor hold two in a row.",
        );
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        // Attributes that tell SNS what to do with text messages and pushes are the exceptions.
        let is_known = lower.starts_with("aws.sns.") || lower.starts_with("aws.mm.");
        if !is_known {
            return invalid(
                "Message attribute names starting with 'AWS.' or 'Amazon.' are reserved for use by Amazon.",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(
        data_type: &str,
        text: Option<&str>,
        binary: Option<&'static [u8]>,
    ) -> MessageAttributeValue {
        MessageAttributeValue {
            data_type: Some(data_type.to_owned()),
            string_value: text.map(str::to_owned),
            binary_value: binary.map(Bytes::from_static),
        }
    }

    #[test]
    fn messages_are_checked() {
        let long = "x".repeat(MAX_BYTES + 1);
        let subject = "s".repeat(101);
        // message, subject, structure, part of the sentence
        let cases = [
            (Some("m"), None, None, None),
            (Some("m"), Some("News"), None, None),
            (Some(r#"{"default":"d","sqs":"q"}"#), None, Some("json"), None),
            (None, None, None, Some("Empty message")),
            (Some(""), None, None, Some("Empty message")),
            (Some(&long[..]), None, None, Some("Message too long")),
            (Some("m"), Some(&subject[..]), None, Some("Invalid parameter: Subject")),
            (Some("m"), Some("a\nb"), None, Some("Invalid parameter: Subject")),
            (Some("m"), Some(""), None, Some("Invalid parameter: Subject")),
            (Some("m"), None, Some("xml"), Some("MessageStructure")),
            (Some("m"), None, Some("json"), Some("failed to parse")),
            (Some(r#"{"sqs":"q"}"#), None, Some("json"), Some("No default entry")),
        ];
        for (message, subject, structure, expected) in cases {
            let outcome = Written { message, subject, structure, attributes: None }.check();
            match (outcome, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
                (outcome, expected) => panic!("{expected:?}: {:?}", outcome.map(|_| ())),
            }
        }
    }

    #[test]
    fn attributes_are_checked() {
        let cases = [
            ("a", attribute("String", Some("x"), None), true),
            ("a", attribute("String.Array", Some("[1]"), None), true),
            ("a", attribute("Number", Some("1.5"), None), true),
            ("a", attribute("Binary", None, Some(b"x")), true),
            ("AWS.SNS.SMS.SMSType", attribute("String", Some("Promotional"), None), true),
            ("a", attribute("Number", Some("one"), None), false),
            ("a", attribute("String", None, None), false),
            ("a", attribute("String", Some(""), None), false),
            ("a", attribute("Text", Some("x"), None), false),
            ("a", attribute("", Some("x"), None), false),
            ("a b", attribute("String", Some("x"), None), false),
            (".a", attribute("String", Some("x"), None), false),
            ("aws.a", attribute("String", Some("x"), None), false),
        ];
        for (name, value, is_valid) in cases {
            assert_eq!(check_attribute(name, &value).is_ok(), is_valid, "{name} {value:?}");
        }
    }

    #[test]
    fn a_protocol_is_sent_its_own_text() {
        let message = Message {
            id: "m".into(),
            subject: None,
            body: r#"{"default":"d","sqs":"q","http":1}"#.into(),
            is_structured: true,
            attributes: Vec::new(),
            at: Timestamp::from_secs(0),
            group: None,
            deduplication_id: None,
            sequence: None,
        };
        assert_eq!(
            [message.body_for("sqs"), message.body_for("http"), message.body_for("email")],
            ["q", "d", "d"]
        );
        let plain = Message { is_structured: false, ..message };
        assert!(plain.body_for("sqs").contains("default"));
    }
}
