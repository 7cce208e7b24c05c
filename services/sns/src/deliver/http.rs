//! Deliveries to web servers.
//!
//! Source: Amazon SNS Developer Guide, "HTTP/HTTPS notifications", "Parsing Amazon SNS message formats" (headers), "Amazon SNS message delivery
//! retries" (what is tried again), "Amazon SNS raw message delivery".

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, header};
use pileus_core::Timestamp;
use pileus_platform::{Cx, OutboundError, OutboundRequest};

use super::single::http_policy;
use super::{Letter, Outcome, Reason};
use crate::envelope::Signature;
use crate::state::{Sns, Topic};
use crate::subscription::Subscription;

/// Source: "Prerequisites for HTTP/HTTPS endpoints": an answer within 15 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Of an answer, which is only told in logs.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const MAX_PACES: usize = 10_000;

/// When the next message may be sent, if the policy's rate does not allow it now. Each node keeps to the rate by itself.
pub fn not_before(cx: &Cx, topic: &Topic, own: &Subscription) -> Option<Timestamp> {
    if !own.record.protocol.is_http() {
        return None;
    }
    let rate = http_policy(topic, &own.record).max_per_second?;
    let now = cx.clock().now();
    let mut paces = cx.state::<Sns>().paces.lock().unwrap_or_else(PoisonError::into_inner);
    if paces.len() >= MAX_PACES {
        paces.retain(|_, next| *next > now);
    }
    let next = paces.entry(own.arn.clone()).or_insert(now);
    if *next > now {
        return Some(*next);
    }
    *next = now + Duration::from_secs(1) / rate;
    None
}

pub async fn post(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    body: &str,
    signature: Option<&Signature>,
) -> Outcome {
    let is_raw = own.record.attributes.is_raw;
    let document = match is_raw {
        true => body.to_owned(),
        false => letter.notification(cx, &own.arn, body, signature, |notification| notification.document()),
    };
    let headers = Headers {
        kind: "Notification",
        message_id: &letter.message.id,
        topic_arn: &letter.topic_arn,
        subscription_arn: Some(&own.arn),
        is_raw,
        content_type: http_policy(letter.topic, &own.record).content_type,
    };
    exchange(cx, &own.record.endpoint, headers, document).await
}

/// A confirmation.
pub async fn post_document(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    kind: &'static str,
    id: &str,
    document: String,
) -> Outcome {
    let topic_arn = topic.address.arn();
    let headers = Headers {
        kind,
        message_id: id,
        topic_arn: topic_arn.as_str(),
        subscription_arn: (kind == "UnsubscribeConfirmation").then_some(own.arn.as_str()),
        is_raw: false,
        content_type: None,
    };
    exchange(cx, &own.record.endpoint, headers, document).await
}

struct Headers<'a> {
    kind: &'static str,
    message_id: &'a str,
    topic_arn: &'a str,
    subscription_arn: Option<&'a str>,
    is_raw: bool,
    content_type: Option<String>,
}

/// An address without the name and password in it, and these as a header's value.
fn split_credentials(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((credentials, host)) = rest[..end].rsplit_once('@') else { return (url.to_owned(), None) };
    let basic = format!("Basic {}", STANDARD.encode(credentials));
    (format!("{scheme}://{host}{}", &rest[end..]), Some(basic))
}

async fn exchange(cx: &Cx, endpoint: &str, headers: Headers<'_>, body: String) -> Outcome {
    let refused = |text: String| Outcome::Refused(Reason { status: 400, text });
    let (url, authorization) = split_credentials(endpoint);
    let url = url.split('#').next().unwrap_or_default();
    let content_type = headers.content_type.as_deref().unwrap_or("text/plain; charset=UTF-8");
    let mut request = Request::post(url)
        .header("x-amz-sns-message-type", headers.kind)
        .header("x-amz-sns-message-id", headers.message_id)
        .header("x-amz-sns-topic-arn", headers.topic_arn)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::USER_AGENT, "Amazon Simple Notification Service Agent");
    if let Some(arn) = headers.subscription_arn {
        request = request.header("x-amz-sns-subscription-arn", arn);
    }
    if headers.is_raw {
        request = request.header("x-amz-sns-rawdelivery", "true");
    }
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = match request.body(Bytes::from(body)) {
        Ok(request) => request,
        Err(error) => return refused(error.to_string()),
    };
    let sent = cx.platform().outbound().send(OutboundRequest::new(request, MAX_ANSWER_BYTES, TIMEOUT)).await;
    match sent {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let text = String::from_utf8_lossy(answer.body()).chars().take(1_024).collect::<String>();
            match status {
                200..300 => Outcome::Done { status, answer: text },
                429 | 500.. => {
                    Outcome::Failed(Reason { status, text: format!("the endpoint answered {status}") })
                }
                _ => Outcome::Refused(Reason { status, text: format!("the endpoint answered {status}") }),
            }
        }
        // It has taken the message.
        Err(OutboundError::TooLong(_)) => Outcome::Done { status: 200, answer: String::new() },
        Err(error @ (OutboundError::Address(_) | OutboundError::Forbidden(_))) => refused(error.to_string()),
        Err(error) => Outcome::Failed(Reason { status: 0, text: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_taken_out_of_addresses() {
        let cases = [
            ("http://example.com/hook", "http://example.com/hook", None),
            (
                "https://ann:secret@example.com:8443/a@b?c",
                "https://example.com:8443/a@b?c",
                Some("Basic YW5uOnNlY3JldA=="),
            ),
            ("http://ann@example.com?x", "http://example.com?x", Some("Basic YW5u")),
            ("nonsense", "nonsense", None),
        ];
        for (url, bare, basic) in cases {
            assert_eq!(split_credentials(url), (bare.to_owned(), basic.map(str::to_owned)), "{url}");
        }
    }
}
