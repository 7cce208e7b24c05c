//! `GetQueueAttributes`, `SetQueueAttributes`.

use pileus_api_sqs::{GetQueueAttributesRequest, GetQueueAttributesResult, SetQueueAttributesRequest};
use pileus_platform::Cx;
use pileus_wire::value::{Map, Unit};

use crate::access;
use crate::error::SqsError;
use crate::order;
use crate::queue::attributes::{COMPUTED, SETTABLE, Setting};
use crate::queue::count::{Counts, count};
use crate::queue::{self, Queue, Record};
use crate::state::{Sqs, millis};

pub async fn get_queue_attributes(
    cx: &Cx,
    input: GetQueueAttributesRequest,
) -> Result<GetQueueAttributesResult, SqsError> {
    let address = access::address(cx, input.queue_url.as_deref())?;
    let names = wanted(&input.attribute_names.unwrap_or_default())?;
    let queue = cx.state::<Sqs>().load(cx.store(), &address).await?;
    if names.is_empty() {
        return Ok(GetQueueAttributesResult::default());
    }
    let counts = if names.iter().any(|name| name.starts_with("ApproximateNumber")) {
        count(cx, &queue).await?
    } else {
        Counts::default()
    };
    let values = names.into_iter().filter_map(|name| Some((name.to_owned(), value(&queue, &counts, name)?)));
    let values: Map<String> = values.collect();
    Ok(GetQueueAttributesResult { attributes: Some(values) })
}

/// The attributes that a request names; all of them for `All`.
///
/// # Errors
/// `InvalidAttributeName`
fn wanted(names: &[String]) -> Result<Vec<&'static str>, SqsError> {
    let all = || COMPUTED.into_iter().chain(SETTABLE);
    let mut wanted = Vec::new();
    for name in names {
        if name == "All" {
            return Ok(all().collect());
        }
        let known = all().find(|known| known == name).ok_or_else(|| SqsError::unknown_attribute(name))?;
        if !wanted.contains(&known) {
            wanted.push(known);
        }
    }
    Ok(wanted)
}

fn value(queue: &Queue, counts: &Counts, name: &str) -> Option<String> {
    match name {
        "QueueArn" => Some(queue.address.arn().to_string()),
        "CreatedTimestamp" => Some(queue.record.created_at.to_string()),
        "LastModifiedTimestamp" => Some(queue.record.modified_at.to_string()),
        "ApproximateNumberOfMessages" => Some(counts.visible.to_string()),
        "ApproximateNumberOfMessagesNotVisible" => Some(counts.in_flight.to_string()),
        "ApproximateNumberOfMessagesDelayed" => Some(counts.delayed.to_string()),
        _ => queue.record.attributes.get(name),
    }
}

pub async fn set_queue_attributes(cx: &Cx, input: SetQueueAttributesRequest) -> Result<Unit, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let changes = &input.attributes.unwrap_or_default();
    let sqs = cx.state::<Sqs>();
    cx.transact(|txn| async move {
        let queue = sqs.load(&txn, address).await?;
        let old = &queue.record.attributes;
        let mut attributes = old.clone();
        let pairs: Vec<_> = changes.iter().map(|(name, value)| (name, value.as_str())).collect();
        attributes.set(&pairs, address, Setting::Change)?;
        if attributes.redrive_policy != old.redrive_policy {
            queue::check_redrive(sqs, &txn, address, &attributes).await?;
        }
        queue::note_dead_letter_queue(&txn, address, Some(old), Some(&attributes))?;
        let record = Record { attributes, modified_at: cx.now().as_secs(), ..queue.record.clone() };
        queue::store(&txn, address, &record)?;
        // A shorter delay may show messages at once to those who wait.
        order::announce(&txn, &queue, millis(cx.now()));
        Ok::<_, SqsError>(())
    })
    .await?;
    Ok(Unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_asked_for_by_name() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(wanted(&names(&["All"])).expect("known").len(), 21);
        let two = wanted(&names(&["QueueArn", "DelaySeconds", "QueueArn"])).expect("known");
        assert_eq!(two, ["QueueArn", "DelaySeconds"]);
        assert!(wanted(&[]).expect("none").is_empty());
        let error = wanted(&names(&["Nonsense"])).expect_err("unknown");
        assert_eq!(
            (error.code(), error.to_string()),
            ("InvalidAttributeName", "Unknown Attribute Nonsense.".to_owned())
        );
    }
}
