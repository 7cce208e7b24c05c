//! Delivery status logs: one line in CloudWatch Logs for a delivery, where the topic names a role for it.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS message delivery status": groups `sns/region/account/topic` and `../Failure`.

use md5::{Digest as _, Md5};
use pileus_api_logs as logs;
use pileus_platform::{Cx, Fault};
use serde_json::json;

use super::{Letter, Outcome};
use crate::PRINCIPAL;
use crate::envelope::stamp;
use crate::subscription::Subscription;

/// Tells of an attempt that is over: a success by its share, a failure always. What cannot be told is said in the node's own log.
pub async fn tell(
    cx: &Cx,
    letter: &Letter<'_>,
    own: &Subscription,
    outcome: &Outcome,
    attempts: u32,
    dwell_millis: u64,
) {
    let Some(protocol) = own.record.protocol.feedback_name() else { return };
    let is_success = matches!(outcome, Outcome::Done { .. });
    let Some((role, share)) = letter.topic.record.attributes.feedback(protocol, is_success) else { return };
    if cx.rng().below(100) >= share {
        return;
    }
    let (status, answer) = match outcome {
        Outcome::Done { status, answer } => (*status, answer.as_str()),
        Outcome::Refused(reason) | Outcome::Failed(reason) => (reason.status, reason.text.as_str()),
    };
    let line = json!({
        "notification": {
            "messageMD5Sum": hex::encode(Md5::digest(letter.message.body.as_bytes())),
            "messageId": letter.message.id,
            "topicArn": letter.topic_arn,
            "timestamp": stamp(letter.message.at).replace('T', " ").trim_end_matches('Z'),
        },
        "delivery": {
            "deliveryId": cx.ids().uuid(),
            "destination": own.record.endpoint,
            "providerResponse": answer,
            "dwellTimeMs": dwell_millis,
            "attempts": attempts,
            "statusCode": status,
        },
        "status": if is_success { "SUCCESS" } else { "FAILURE" },
    });
    if let Err(fault) = write(cx, letter, role, is_success, line.to_string()).await {
        tracing::warn!(topic = letter.topic_arn, role, %fault, "the status of a delivery could not be logged");
    }
}

async fn write(
    cx: &Cx,
    letter: &Letter<'_>,
    role: &str,
    is_success: bool,
    line: String,
) -> Result<(), Fault> {
    let cx = cx.as_role(role, PRINCIPAL, "delivery-status").await?;
    let address = &letter.topic.address;
    let mut group = format!("sns/{}/{}/{}", address.region, address.account, address.name);
    if !is_success {
        group.push_str("/Failure");
    }
    let now = cx.clock().now();
    let (year, month, day, ..) = now.civil();
    let stream = format!("{year:04}/{month:02}/{day:02}");
    let put = || logs::PutLogEventsRequest {
        log_group_name: Some(group.clone()),
        log_stream_name: Some(stream.clone()),
        log_events: Some(vec![logs::InputLogEvent {
            timestamp: Some(now.as_millis() as i64),
            message: Some(line.clone()),
        }]),
        ..logs::PutLogEventsRequest::default()
    };
    match cx.call(logs::PUT_LOG_EVENTS, put()).await {
        Ok(_) => return Ok(()),
        Err(fault) if &*fault.code == "ResourceNotFoundException" => {}
        Err(fault) => return Err(fault),
    }
    let made = logs::CreateLogGroupRequest { log_group_name: Some(group.clone()), ..Default::default() };
    ignore_known(cx.call(logs::CREATE_LOG_GROUP, made).await.map(|_| ()))?;
    let made = logs::CreateLogStreamRequest {
        log_group_name: Some(group.clone()),
        log_stream_name: Some(stream.clone()),
    };
    ignore_known(cx.call(logs::CREATE_LOG_STREAM, made).await.map(|_| ()))?;
    cx.call(logs::PUT_LOG_EVENTS, put()).await.map(|_| ())
}

fn ignore_known(made: Result<(), Fault>) -> Result<(), Fault> {
    match made {
        Err(fault) if &*fault.code == "ResourceAlreadyExistsException" => Ok(()),
        other => other,
    }
}
