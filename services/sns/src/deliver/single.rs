//! Single deliveries: one attempt at one subscriber, and what comes after it: another, or the dead-letter queue.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS message delivery retries", "Amazon SNS dead-letter queues".

use std::sync::Arc;

use pileus_core::Timestamp;
use pileus_platform::{Arn, Cx};
use pileus_store::due::Job;
use pileus_store::runner::Failure;

use super::{
    Delivery, Letter, Outcome, Parcel, Reason, as_topic, failed, feedback, function, http, inbox, queue,
};
use crate::envelope;
use crate::error::SnsError;
use crate::keys::SUBSCRIPTIONS;
use crate::state::{Sns, Topic, millis};
use crate::subscription::{Protocol, Record, Subscription};
use crate::topic::delivery_policy::{HttpPolicy, Retries};
use crate::{signature, work};

/// One attempt at one subscriber.
pub async fn attempt(cx: &Cx, job: &Job, delivery: Delivery) -> Result<(), Failure> {
    let cx = &as_topic(cx, &delivery.topic);
    let Some((topic, subscription)) = addressee(cx, &delivery).await.map_err(failed)? else { return Ok(()) };
    if let Some(reason) = &delivery.dead {
        return bury(cx, &topic, &subscription, &delivery, reason).await;
    }
    if let Some(at) = http::not_before(cx, &topic, &subscription) {
        return again(cx, job, &delivery, at).await.map_err(failed);
    }
    let outcome = match &delivery.parcel {
        Parcel::Message { message, is_replayed } => {
            let letter = Letter::new(&topic, message, *is_replayed);
            let outcome = single(cx, &letter, &subscription).await.map_err(failed)?;
            let dwell = millis(cx.clock().now()).saturating_sub(delivery.since);
            feedback::tell(cx, &letter, &subscription, &outcome, delivery.retried + 1, dwell).await;
            outcome
        }
        Parcel::Confirm { id, at } => {
            ask(cx, &topic, &subscription, id, *at, "SubscriptionConfirmation").await?
        }
        Parcel::Unsubscribed { id, at, .. } => {
            ask(cx, &topic, &subscription, id, *at, "UnsubscribeConfirmation").await?
        }
    };
    let reason = match outcome {
        Outcome::Done { .. } => return Ok(()),
        Outcome::Refused(reason) => reason,
        Outcome::Failed(reason) => {
            let pause = retries(&topic, &subscription.record).pause(delivery.retried);
            if let Some(pause) = pause {
                tracing::debug!(
                    subscription = subscription.arn,
                    reason = reason.text,
                    ?pause,
                    "a delivery is tried again"
                );
                let next = Delivery { retried: delivery.retried + 1, ..delivery };
                let due = cx.clock().now() + pause;
                return again(cx, job, &next, due).await.map_err(failed);
            }
            reason
        }
    };
    bury(cx, &topic, &subscription, &delivery, &reason).await
}

/// The same delivery at another moment.
async fn again(cx: &Cx, job: &Job, delivery: &Delivery, due: Timestamp) -> Result<(), SnsError> {
    cx.transact(|txn| async move {
        match job.claim(&txn).await? {
            true => work::deliver_later(&txn, delivery, due),
            false => Ok(()),
        }
    })
    .await
}

fn retries(topic: &Topic, record: &Record) -> Retries {
    match record.protocol {
        Protocol::Sqs | Protocol::Lambda => Retries::MANAGED,
        Protocol::Http | Protocol::Https => http_policy(topic, record).retries,
        _ => Retries::CUSTOMER,
    }
}

pub fn http_policy(topic: &Topic, record: &Record) -> HttpPolicy {
    let of_topic = topic.record.attributes.delivery_policy.as_deref();
    HttpPolicy::effective(record.attributes.delivery_policy.as_deref(), of_topic)
}

/// Whom a delivery is for, if it is still wanted.
async fn addressee(cx: &Cx, delivery: &Delivery) -> Result<Option<(Arc<Topic>, Subscription)>, SnsError> {
    let Some(topic) = cx.state::<Sns>().find(cx.store(), &delivery.topic).await? else { return Ok(None) };
    let (account, region, name, _) =
        (delivery.topic.account, &delivery.topic.region, &delivery.topic.name, ());
    let record = match &delivery.parcel {
        Parcel::Unsubscribed { record, .. } => Some((**record).clone()),
        _ => {
            let key = (account, region.clone(), name.clone(), delivery.subscription.clone());
            SUBSCRIPTIONS.get(cx.store(), &key).await?
        }
    };
    let wants_confirmed = matches!(delivery.parcel, Parcel::Message { .. });
    let fits = |record: &Record| match delivery.parcel {
        Parcel::Unsubscribed { .. } => true,
        _ => record.is_confirmed == wants_confirmed && record.topic_id == topic.record.id,
    };
    Ok(record.filter(fits).map(|record| (topic.clone(), Subscription::new(record))))
}

/// A message to one subscriber.
async fn single(cx: &Cx, letter: &Letter<'_>, own: &Subscription) -> Result<Outcome, SnsError> {
    let body = letter.message.body_for(own.record.protocol.name());
    let is_raw = own.record.attributes.is_raw;
    let is_signed =
        !is_raw && !matches!(own.record.protocol, Protocol::Sms | Protocol::Application | Protocol::Email);
    let signature = if is_signed { letter.signature(cx, &body).await? } else { None };
    Ok(match own.record.protocol {
        Protocol::Sqs => queue::send(cx, letter, own, &body, signature.as_ref()).await,
        Protocol::Lambda => function::invoke(cx, letter, own, &body, signature.as_ref()).await,
        Protocol::Http | Protocol::Https => http::post(cx, letter, own, &body, signature.as_ref()).await,
        _ => inbox::put(cx, letter, own, &body, signature.as_ref()).await?,
    })
}

/// Asks an endpoint to confirm, or tells it that it was unsubscribed.
async fn ask(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    id: &str,
    at: Timestamp,
    kind: &'static str,
) -> Result<Outcome, Failure> {
    let topic_arn = topic.address.arn().to_string();
    let token = own.record.token.clone().unwrap_or_default();
    let url = envelope::subscribe_url(&cx.platform().config().endpoint, &topic_arn, &token);
    let message = match kind {
        "SubscriptionConfirmation" => format!(
            "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the subscription, visit the SubscribeURL included in this message."
        ),
        _ => format!(
            "You have chosen to deactivate subscription {}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message.",
            own.arn
        ),
    };
    let confirmation = envelope::Confirmation {
        kind,
        id,
        token: &token,
        topic_arn: &topic_arn,
        message: &message,
        subscribe_url: &url,
        at,
    };
    let version = topic.record.attributes.signature_version();
    let signature = signature::sign(cx, version, &confirmation.signed_text()).await.map_err(failed)?;
    let document = confirmation.document(&signature);
    Ok(match own.record.protocol {
        Protocol::Http | Protocol::Https => http::post_document(cx, topic, own, kind, id, document).await,
        Protocol::Sqs => queue::send_document(cx, own, &topic_arn, document).await,
        Protocol::Email | Protocol::EmailJson => {
            inbox::ask(cx, topic, own, &confirmation, document).await.map_err(failed)?
        }
        // A function of another account is confirmed by who may invoke it: chosen, as it is asked nothing.
        _ => Outcome::Done { status: 200, answer: String::new() },
    })
}

/// To the subscription's dead-letter queue, if it has one; else it is gone.
async fn bury(
    cx: &Cx,
    topic: &Topic,
    own: &Subscription,
    delivery: &Delivery,
    reason: &Reason,
) -> Result<(), Failure> {
    let Parcel::Message { message, is_replayed } = &delivery.parcel else { return Ok(()) };
    let target: Option<Arn> = own.record.attributes.dead_letter_queue().ok().flatten();
    let Some(target) = target else {
        tracing::info!(
            subscription = own.arn,
            message = message.id,
            reason = reason.text,
            "a message was not delivered, and is given up"
        );
        return Ok(());
    };
    let letter = Letter::new(topic, message, *is_replayed);
    match queue::bury(cx, &letter, own, &target, reason).await.map_err(failed)? {
        Outcome::Failed(reason) => Err(Failure::new(reason.text)),
        Outcome::Refused(reason) => {
            tracing::warn!(subscription = own.arn, queue = %target, reason = reason.text, "a dead-letter queue refused a message, which is lost");
            Ok(())
        }
        Outcome::Done { .. } => Ok(()),
    }
}
