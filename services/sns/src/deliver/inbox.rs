//! Deliveries to people: to the local mailbox, and mails to the relay as well, where the operator named one.
//!
//! Source: Amazon SNS Developer Guide, "Email notifications", "Mobile text messaging with Amazon SNS", "Mobile push notifications". Chosen: the
//! wording of mails.

use pileus_platform::mailbox::{self, Channel, Mail};
use pileus_platform::{Cx, RelayedMail};

use super::{Letter, Outcome, Reason};
use crate::envelope::{Confirmation, Signature};
use crate::error::SnsError;
use crate::state::Topic;
use crate::subscription::{Protocol, Subscription};
use crate::{mobile, sms};

const FROM: &str = "no-reply@sns.amazonaws.com";

fn from(topic: &Topic) -> String {
    let name = &topic.record.attributes.display_name;
    let name = if name.is_empty() { "AWS Notifications" } else { name };
    format!("{name} <{FROM}>")
}

pub async fn put(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    body: &str,
    signature: Option<&Signature>,
) -> Result<Outcome, SnsError> {
    let endpoint = &own.record.endpoint;
    match own.record.protocol {
        Protocol::Sms => {
            let sent =
                sms::send(cx, letter.topic.address.account, endpoint, body, &letter.message.attributes);
            return match sent.await {
                Ok(_) => Ok(done()),
                Err(SnsError::Store(error)) => Err(error.into()),
                Err(error) => Ok(Outcome::Refused(Reason { status: 400, text: error.to_string() })),
            };
        }
        Protocol::Application => {
            return match mobile::push(cx, endpoint, letter.message).await {
                Ok(_) => Ok(done()),
                Err(SnsError::Store(error)) => Err(error.into()),
                Err(error) => Ok(Outcome::Refused(Reason { status: 400, text: error.to_string() })),
            };
        }
        _ => {}
    }
    let body = match own.record.protocol {
        Protocol::EmailJson => letter.notification(cx, &own.arn, body, signature, |notification| notification.document()),
        _ => letter.notification(cx, &own.arn, body, None, |notification| {
            format!(
                "{body}\n\n--\nIf you wish to stop receiving notifications from this topic, please visit the link below to unsubscribe:\n{}&Endpoint={endpoint}\n",
                notification.unsubscribe_url
            )
        }),
    };
    let subject = letter.message.subject.clone().unwrap_or_else(|| "AWS Notification Message".to_owned());
    mail(cx, letter.topic, endpoint, subject, body).await
}

/// Asks for a confirmation.
pub async fn ask(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    confirmation: &Confirmation<'_>,
    document: String,
) -> Result<Outcome, SnsError> {
    let subject = match confirmation.kind {
        "SubscriptionConfirmation" => "AWS Notification - Subscription Confirmation",
        _ => "AWS Notification - Unsubscribe Confirmation",
    };
    let body = match own.record.protocol {
        Protocol::EmailJson => document,
        _ => format!(
            "{}\n\nVisit the link below:\n{}\n\nIf you did not ask for this, no action is needed.\n",
            confirmation.message.replace("SubscribeURL included in this message", "link below"),
            confirmation.subscribe_url
        ),
    };
    mail(cx, topic, &own.record.endpoint, subject.to_owned(), body).await
}

async fn mail(cx: &Cx, topic: &Topic, to: &str, subject: String, body: String) -> Result<Outcome, SnsError> {
    let relayed = RelayedMail { from: from(topic), to: vec![to.to_owned()], subject, body };
    if let Err(error) = cx.platform().outbound().relay(relayed.clone()).await {
        return Ok(Outcome::Failed(Reason { status: 0, text: format!("the mail relay: {error}") }));
    }
    let RelayedMail { from, to, subject, body } = relayed;
    let mail = &Mail {
        id: cx.ids().uuid(),
        at: cx.clock().now(),
        channel: Channel::Email,
        account: topic.address.account,
        from,
        to,
        subject,
        body,
        source: topic.address.arn().to_string(),
    };
    cx.transact(|txn| async move { Ok::<_, SnsError>(mailbox::put(&txn, mail).await?) }).await?;
    Ok(done())
}

fn done() -> Outcome {
    Outcome::Done { status: 200, answer: String::new() }
}
