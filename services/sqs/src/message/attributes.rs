//! Message attributes: their rules, their size, their MD5, and which of them a receiver asked for. Pure.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS message metadata" ("Message attribute components", "Calculating the MD5
//! message digest for message attributes"); API Reference, "ReceiveMessage" (`MessageAttributeNames`). Recorded: the
//! sentences on empty values and on names.

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::error::SqsError;
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    /// `String`, `Number`, `Binary`, or one of these with a label: `Number.float`.
    pub data_type: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    Binary(Bytes),
}

/// What a sender wrote, before it is checked.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    pub name: &'a str,
    pub data_type: Option<&'a str>,
    pub text: Option<&'a str>,
    pub binary: Option<&'a Bytes>,
    pub has_lists: bool,
}

impl Written<'_> {
    /// # Errors
    /// `InvalidParameterValue`, or `UnsupportedOperation` for the list values that AWS has reserved.
    pub fn check(&self) -> Result<Attribute, SqsError> {
        check_name(self.name)?;
        let name = self.name;
        let invalid = |text: String| Err(SqsError::InvalidParameterValue(text));
        if self.has_lists {
            let text = "Message attribute list values in SendMessage operation are not supported.";
            return Err(SqsError::UnsupportedOperation(text.to_owned()));
        }
        let data_type = self.data_type.unwrap_or_default();
        if data_type.is_empty() {
            return invalid(format!(
                "The message attribute '{name}' must contain non-empty message attribute type."
            ));
        }
        if data_type.len() > 256 {
            return invalid(format!(
                "Length of message attribute type must be less than 256 bytes: '{name}'."
            ));
        }
        let base = data_type.split('.').next().unwrap_or(data_type);
        let value = match base {
            "String" | "Number" => self.text.map(|text| Value::Text(text.to_owned())),
            "Binary" => self.binary.map(|bytes| Value::Binary(bytes.clone())),
            _ => {
                return invalid(format!(
                    "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
                ));
            }
        };
        let value = match value {
            Some(Value::Text(text)) if text.is_empty() => None,
            Some(Value::Binary(bytes)) if bytes.is_empty() => None,
            value => value,
        };
        let Some(value) = value else {
            return invalid(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
            ));
        };
        if let Value::Text(text) = &value {
            if let Some(bad) = text.chars().find(|c| !is_allowed(*c)) {
                return invalid(format!(
                    "Invalid binary character '#x{:X}' was found in the message attribute '{name}' value, the set of allowed characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.",
                    u32::from(bad)
                ));
            }
            if base == "Number" && !is_number(text) {
                return invalid(format!(
                    "Can't cast the value of message (user) attribute '{name}' to a number."
                ));
            }
        }
        Ok(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), value })
    }
}

/// # Errors
/// `InvalidParameterValue` when there are more than ten, or one of them is wrong.
pub fn check_all<'a>(
    written: impl ExactSizeIterator<Item = Written<'a>>,
) -> Result<Vec<Attribute>, SqsError> {
    let count = written.len();
    if count > limits::MAX_MESSAGE_ATTRIBUTES {
        return Err(SqsError::InvalidParameterValue(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{}].",
            limits::MAX_MESSAGE_ATTRIBUTES
        )));
    }
    written.map(|attribute| attribute.check()).collect()
}

fn check_name(name: &str) -> Result<(), SqsError> {
    let invalid = |text: String| Err(SqsError::InvalidParameterValue(text));
    if name.is_empty() {
        return invalid("The request must contain non-empty message attribute name.".to_owned());
    }
    if name.len() > 256 {
        return invalid("Length of message attribute name must be less than 256 bytes.".to_owned());
    }
    let bad = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    if let Some(bad) = bad {
        return invalid(format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(bad)
        ));
    }
    if name.starts_with('.') {
        return invalid("Invalid message attribute name starting with character '.' was found.".to_owned());
    }
    if name.ends_with('.') {
        return invalid("Invalid message attribute name ending with character '.' was found.".to_owned());
    }
    if name.contains("..") {
        return invalid("Message attribute name can not have successive '.' character.".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        let text =
            "Message attribute names starting with 'AWS.' or 'Amazon.' are reserved for use by Amazon.";
        return invalid(text.to_owned());
    }
    Ok(())
}

/// A decimal number of up to 38 digits between 10^-128 and 10^126.
fn is_number(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let significant = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    let magnitude = text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::abs);
    let spelt =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    spelt
        && significant <= 38
        && magnitude.is_some_and(|value| value == 0.0 || (1e-128..=1e126).contains(&value))
}

/// Whether a message may hold the character.
///
/// Source: "Amazon SQS message quotas", message content.
pub fn is_allowed(character: char) -> bool {
    matches!(character, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// As `is_allowed`, for all of a text; fast where it is printable ASCII.
pub fn is_allowed_text(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x80).contains(&byte)) || text.chars().all(is_allowed)
}

/// Bytes that the attributes add to the message's size: names, types, values.
pub fn size(attributes: &[Attribute]) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Binary(bytes) => bytes.len(),
    };
    attributes.iter().map(|a| a.name.len() + a.data_type.len() + value(&a.value)).sum()
}

/// The digest of attributes; `None` of none.
pub fn md5<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> Option<String> {
    let mut sorted: Vec<&Attribute> = attributes.into_iter().collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut digest = Md5::new();
    let add = |digest: &mut Md5, bytes: &[u8]| {
        digest.update((bytes.len() as u32).to_be_bytes());
        digest.update(bytes);
    };
    for attribute in sorted {
        add(&mut digest, attribute.name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        match &attribute.value {
            Value::Text(text) => {
                digest.update([1]);
                add(&mut digest, text.as_bytes());
            }
            Value::Binary(bytes) => {
                digest.update([2]);
                add(&mut digest, bytes);
            }
        }
    }
    Some(hex::encode(digest.finalize()))
}

/// The digest of a body.
pub fn md5_of_body(body: &[u8]) -> [u8; 16] {
    Md5::digest(body).into()
}

/// Whether a receiver that asked for `names` gets the attribute `name`: by name, by prefix (`foo.*`), or `All` or `.*`.
pub fn is_asked_for(names: &[String], name: &str) -> bool {
    names.iter().any(|asked| match asked.strip_suffix(".*") {
        Some("") => true,
        Some(prefix) => name.starts_with(prefix),
        None => asked == "All" || asked == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(name: &'a str, data_type: &'a str, value: &'a str) -> Written<'a> {
        Written { name, data_type: Some(data_type), text: Some(value), binary: None, has_lists: false }
    }

    fn attribute(name: &str, value: &str) -> Attribute {
        text(name, "String", value).check().expect("valid")
    }

    /// Recorded: the digests that AWS answered for these attributes.
    #[test]
    fn digests_are_awss() {
        assert_eq!(hex::encode(md5_of_body(b"msg")), "6e2baaf3b97dbeef01c0043275f9a0e7");
        let (general, hello) = (attribute("General", "Kenobi"), attribute("Hello", "There"));
        let help = attribute("Help.Me", "Me");
        assert_eq!(md5([&hello, &general, &help]).as_deref(), Some("4c360f3fdafd970e05fae2f149d997f5"));
        assert_eq!(md5([&hello, &general]).as_deref(), Some("fca026605781cb4126a1e9044df24232"));
        assert_eq!(md5([&hello]).as_deref(), Some("a311262e065454b75da111d535b8dacd"));
        assert_eq!(md5([&hello, &help]).as_deref(), Some("83fee93c1bcd8b9a5a923ffacdc636c7"));
        assert_eq!(md5([&attribute("Foo", "Bar")]).as_deref(), Some("ae7155c6026991b6d54b11589678bf9c"));
        let binary = Attribute {
            name: "attr1".to_owned(),
            data_type: "Binary".to_owned(),
            value: Value::Binary(Bytes::from_static(
                b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01",
            )),
        };
        assert_eq!(md5([&binary]).as_deref(), Some("8cbe4db156db8a94db8b801b7addb984"));
        assert_eq!(md5([]), None);
    }

    #[test]
    fn attributes_are_checked() {
        let long = "n".repeat(257);
        let cases = [
            (text("a", "String", "v"), Ok(())),
            (text("a.b-c_d", "String.label", "v"), Ok(())),
            (text("n", "Number", "-12.5e3"), Ok(())),
            (text("n", "Number.int", "7"), Ok(())),
            (text("n", "Number", "seven"), Err("Can't cast")),
            (text("n", "Number", "1e127"), Err("Can't cast")),
            (text("n", "Number", "NaN"), Err("Can't cast")),
            (text("n", "Number", "123456789012345678901234567890123456789"), Err("Can't cast")),
            (
                text("ErrorDetails", "String", ""),
                Err(
                    "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'.",
                ),
            ),
            (text("a", "Binary", "v"), Err("non-empty value of type 'Binary'")),
            (text("a", "Text", "v"), Err("supported type prefixes")),
            (text("a", "", "v"), Err("message attribute type")),
            (text("", "String", "v"), Err("non-empty message attribute name")),
            (text("a b", "String", "v"), Err("'#x20'")),
            (text(".a", "String", "v"), Err("starting with")),
            (text("a.", "String", "v"), Err("ending with")),
            (text("a..b", "String", "v"), Err("successive")),
            (text("AWS.a", "String", "v"), Err("reserved")),
            (text("amazon.a", "String", "v"), Err("reserved")),
            (text(&long, "String", "v"), Err("less than 256")),
            (text("a", "String", "\u{1}"), Err("'#x1'")),
        ];
        for (written, expected) in cases {
            match (written.check(), expected) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{written:?}: {error}"),
                (got, _) => panic!("{written:?}: {got:?}"),
            }
        }
        let lists = Written { has_lists: true, ..text("a", "String", "v") };
        assert_eq!(lists.check().expect_err("lists").code(), "UnsupportedOperation");
        let eleven: Vec<String> = (0..11).map(|n| format!("a{n}")).collect();
        let error = check_all(eleven.iter().map(|name| text(name, "String", "v"))).expect_err("too many");
        assert_eq!(error.to_string(), "Number of message attributes [11] exceeds the allowed maximum [10].");
    }

    #[test]
    fn a_receiver_asks_by_name_prefix_or_for_all() {
        let cases = [
            (vec!["All"], "a", true),
            (vec![".*"], "a", true),
            (vec!["a"], "a", true),
            (vec!["b"], "a", false),
            (vec!["Hel.*"], "Help.Me", true),
            (vec!["Hel.*"], "General", false),
            (vec!["al"], "a", false),
            (vec![], "a", false),
        ];
        for (names, name, expected) in cases {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(is_asked_for(&names, name), expected, "{names:?} {name}");
        }
    }

    #[test]
    fn the_characters_of_xml_are_allowed() {
        for good in ["plain", "tab\tline\r\n", "ümläut", "\u{e000}\u{fffd}\u{10ffff}"] {
            assert!(is_allowed_text(good), "{good}");
        }
        for bad in ["\u{0}", "a\u{8}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert!(!is_allowed_text(bad), "{bad:?}");
        }
    }
}
