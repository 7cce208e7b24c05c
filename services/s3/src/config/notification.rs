//! `PutBucketNotificationConfiguration`, `GetBucketNotificationConfiguration`. What the rules mean: `notification/rules.rs`; how
//! events travel: `notification/delivery.rs`.
//!
//! Source: Amazon S3 API Reference, "PutBucketNotificationConfiguration". Recorded: the sentences.

use pileus_api_s3 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::{change, refuse, stored};
use crate::bucket::{Bucket, Configured};
use crate::error::S3Error;
use crate::notification::{delivery, record, rules};

/// `PutBucketNotificationConfiguration`: replaces what was there. Destinations must take a test event before they are kept.
pub async fn put_bucket_notification_configuration(
    cx: &Cx,
    input: api::PutBucketNotificationConfigurationRequest,
) -> Result<Unit, S3Error> {
    let mut given = input.notification_configuration.ok_or(S3Error::MalformedXml)?;
    rules::check(&given).map_err(refuse)?;
    let id = |id: &mut Option<String>| {
        id.get_or_insert_with(|| cx.ids().uuid());
    };
    given.topic_configurations.iter_mut().flatten().for_each(|rule| id(&mut rule.id));
    given.queue_configurations.iter_mut().flatten().for_each(|rule| id(&mut rule.id));
    given.lambda_function_configurations.iter_mut().flatten().for_each(|rule| id(&mut rule.id));

    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let from = delivery::Source::of(&bucket);
    if input.skip_destination_validation != Some(true) {
        let before =
            stored::find::<api::NotificationConfiguration>(cx.store(), &bucket).await?.unwrap_or_default();
        let known: Vec<&str> = rules::rules(&before).map(|rule| rule.arn).collect();
        let message = record::test_message(&bucket.name, cx.now(), cx.request_id(), &delivery::host_id(cx));
        for rule in rules::rules(&given) {
            delivery::check(cx, &from, rule.kind, rule.arn).await?;
            // Functions are asked nothing; queues and topics hear from a bucket that is new to them.
            if rule.kind != rules::Kind::Function && !known.contains(&rule.arn) {
                let sent = delivery::deliver(cx, &from, rule.kind, rule.arn, &message.to_string()).await;
                sent.map_err(|error| delivery::not_valid(rule.arn, &error))?;
            }
        }
    }
    let given = &given;
    change(cx, input.bucket.as_deref(), |txn, mut bucket| async move {
        if rules::rules(given).next().is_none() {
            stored::delete(&txn, &mut bucket, Configured::Notification);
        } else {
            stored::put(&txn, &mut bucket, "", given)?;
        }
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// `GetBucketNotificationConfiguration`; empty where there is none.
pub async fn get_bucket_notification_configuration(
    cx: &Cx,
    input: api::GetBucketNotificationConfigurationRequest,
) -> Result<api::NotificationConfiguration, S3Error> {
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    Ok(stored::find(cx.store(), &bucket).await?.unwrap_or_default())
}
