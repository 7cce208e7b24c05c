//! What can be subscribed: protocols and their endpoints. Pure.
//!
//! Source: Amazon SNS API Reference, "Subscribe". Recorded: the sentences.

use pileus_core::Arn;
use serde::{Deserialize, Serialize};

use crate::error::SnsError;
use crate::sms;
use crate::topic::Address;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    Sqs,
    Lambda,
    Http,
    Https,
    Email,
    EmailJson,
    Sms,
    Application,
}

impl Protocol {
    pub fn parse(text: &str) -> Result<Protocol, SnsError> {
        Ok(match text {
            "sqs" => Protocol::Sqs,
            "lambda" => Protocol::Lambda,
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "email" => Protocol::Email,
            "email-json" => Protocol::EmailJson,
            "sms" => Protocol::Sms,
            "application" => Protocol::Application,
            "firehose" => return Err(SnsError::missing("Firehose streams as endpoints of topics")),
            _ => {
                return Err(SnsError::invalid(format!(
                    "Amazon SNS does not support this protocol string: {text}"
                )));
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Sqs => "sqs",
            Protocol::Lambda => "lambda",
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Email => "email",
            Protocol::EmailJson => "email-json",
            Protocol::Sms => "sms",
            Protocol::Application => "application",
        }
    }

    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Https)
    }

    /// As attributes of a topic name it; `None` where there is no feedback.
    pub fn feedback_name(self) -> Option<&'static str> {
        match self {
            Protocol::Sqs => Some("SQS"),
            Protocol::Lambda => Some("Lambda"),
            Protocol::Http | Protocol::Https => Some("HTTP"),
            Protocol::Application => Some("Application"),
            Protocol::Email | Protocol::EmailJson | Protocol::Sms => None,
        }
    }
}

/// The endpoint as it is kept.
///
/// # Errors
/// `InvalidParameter` with AWS's sentence for the protocol.
pub fn check(protocol: Protocol, endpoint: &str, topic: &Address) -> Result<String, SnsError> {
    let invalid = |text: &str| Err(SnsError::invalid(text));
    let is_arn_of = |service: &str| Arn::parse(endpoint).is_ok_and(|arn| arn.service() == service);
    if topic.is_fifo() && protocol != Protocol::Sqs {
        // Source: "Amazon SNS FIFO topics": queues alone.
        let reason = "FIFO topics only support Amazon SQS subscriptions";
        return Err(SnsError::reason("Protocol", reason));
    }
    match protocol {
        Protocol::Sqs if !is_arn_of("sqs") => invalid("SQS endpoint ARN"),
        Protocol::Sqs if endpoint.ends_with(".fifo") && !topic.is_fifo() => invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ),
        Protocol::Lambda if !is_arn_of("lambda") => invalid("Lambda endpoint ARN"),
        Protocol::Application if !(is_arn_of("sns") && endpoint.contains(":endpoint/")) => {
            invalid("Application endpoint arn invalid")
        }
        Protocol::Http if !is_url(endpoint, "http://") => {
            invalid("Endpoint must match the specified protocol")
        }
        Protocol::Https if !is_url(endpoint, "https://") => {
            invalid("Endpoint must match the specified protocol")
        }
        Protocol::Email | Protocol::EmailJson if !is_mail_address(endpoint) => invalid("Email address"),
        Protocol::Sms => match sms::number(endpoint) {
            Some(number) => Ok(number),
            None => invalid(&format!("Invalid SMS endpoint: {endpoint}")),
        },
        _ => Ok(endpoint.to_owned()),
    }
}

fn is_url(endpoint: &str, start: &str) -> bool {
    let rest = endpoint.strip_prefix(start);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && endpoint.parse::<http::Uri>().is_ok()
}

pub fn is_mail_address(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>,;\"()[]".contains(c);
    match text.split_once('@') {
        Some((local, domain)) => {
            !local.is_empty()
                && text.len() <= 320
                && text.chars().all(is_plain)
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.is_empty()
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_by_protocol() {
        let topic =
            |name: &str| Address::from_arn(&format!("arn:aws:sns:us-east-1:123456789012:{name}")).unwrap();
        let cases = [
            (Protocol::Sqs, "arn:aws:sqs:us-east-1:123456789012:q", "t", true),
            (Protocol::Sqs, "arn:aws:sqs:us-east-1:123456789012:q.fifo", "t", false),
            (Protocol::Sqs, "arn:aws:sqs:us-east-1:123456789012:q.fifo", "t.fifo", true),
            (Protocol::Sqs, "http://localhost/q", "t", false),
            (Protocol::Lambda, "arn:aws:lambda:us-east-1:123456789012:function:f", "t", true),
            (Protocol::Lambda, "arn:aws:lambda:us-east-1:123456789012:function:f", "t.fifo", false),
            (Protocol::Http, "http://example.com/hook?x=1", "t", true),
            (Protocol::Http, "https://example.com/hook", "t", false),
            (Protocol::Https, "https://ann:secret@example.com", "t", true),
            (Protocol::Https, "https://", "t", false),
            (Protocol::Email, "ann@example.com", "t", true),
            (Protocol::Email, "ann", "t", false),
            (Protocol::Email, "ann@b@c", "t", false),
            (Protocol::Email, "a\nb@c", "t", false),
            (Protocol::Sms, "+1 (206) 555-0100", "t", true),
            (Protocol::Sms, "12", "t", false),
            (Protocol::Application, "arn:aws:sns:us-east-1:123456789012:endpoint/GCM/app/id", "t", true),
            (Protocol::Application, "arn:aws:sns:us-east-1:123456789012:t", "t", false),
        ];
        for (protocol, endpoint, name, is_valid) in cases {
            assert_eq!(check(protocol, endpoint, &topic(name)).is_ok(), is_valid, "{endpoint} on {name}");
        }
        assert!(matches!(Protocol::parse("firehose"), Err(SnsError::Missing(_))));
        assert!(Protocol::parse("pigeon").is_err());
    }
}
