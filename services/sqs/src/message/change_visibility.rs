//! `ChangeMessageVisibility`, `ChangeMessageVisibilityBatch`.
//!
//! Source: API Reference, "ChangeMessageVisibility"; Amazon SQS Developer Guide, "Amazon SQS visibility timeout". Recorded:
//! the sentences, and that a standard queue accepts the latest handle of a message whose timeout is over.

use pileus_api_sqs::{
    ChangeMessageVisibilityBatchRequest, ChangeMessageVisibilityBatchResult,
    ChangeMessageVisibilityBatchResultEntry, ChangeMessageVisibilityRequest,
};
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use crate::access;
use crate::error::SqsError;
use crate::limits;
use crate::message::batch;
use crate::message::receipt::Receipt;
use crate::order::{fifo, standard};
use crate::queue::Queue;
use crate::state::{Desk, Sqs, millis};
use crate::throttle::Call;

pub async fn change_message_visibility(
    cx: &Cx,
    input: ChangeMessageVisibilityRequest,
) -> Result<Unit, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let handle = &input.receipt_handle.ok_or(SqsError::MissingParameter("ReceiptHandle"))?;
    let timeout = input.visibility_timeout.ok_or(SqsError::MissingParameter("VisibilityTimeout"))?;
    let timeout = limits::visibility_timeout(timeout)?;
    let (sqs, call) = (cx.state::<Sqs>(), &Call::new("ChangeMessageVisibility"));
    let (queue, visible_at) = cx
        .transact(|txn| async move {
            let queue = sqs.load_known(&txn, address).await?;
            sqs.throttle.admit(cx, &queue, call)?;
            let visible_at = change(desk(cx), &txn, &queue, handle, timeout).await?;
            Ok::<_, SqsError>((queue, visible_at))
        })
        .await?;
    sqs.lane(cx.store(), &queue).put_aside_until(visible_at, millis(cx.now()));
    Ok(Unit)
}

pub async fn change_message_visibility_batch(
    cx: &Cx,
    input: ChangeMessageVisibilityBatchRequest,
) -> Result<ChangeMessageVisibilityBatchResult, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let entries = &input.entries.unwrap_or_default();
    batch::check(
        entries.iter().map(|entry| entry.id.as_deref()),
        "ChangeMessageVisibilityBatchRequestEntry",
    )?;
    let (sqs, call) = (cx.state::<Sqs>(), &Call::new("ChangeMessageVisibility"));
    let (queue, result, earliest) = cx
        .transact(|txn| async move {
            let queue = sqs.load_known(&txn, address).await?;
            sqs.throttle.admit(cx, &queue, call)?;
            let (mut successful, mut failed, mut earliest) = (Vec::new(), Vec::new(), u64::MAX);
            for entry in entries {
                let handle = entry.receipt_handle.as_deref().unwrap_or_default();
                let timeout = entry.visibility_timeout.ok_or(SqsError::MissingParameter("VisibilityTimeout"));
                let changed = match timeout.and_then(limits::visibility_timeout) {
                    Ok(timeout) => change(desk(cx), &txn, &queue, handle, timeout).await,
                    Err(error) => Err(error),
                };
                match changed {
                    Ok(visible_at) => {
                        earliest = earliest.min(visible_at);
                        successful.push(ChangeMessageVisibilityBatchResultEntry { id: entry.id.clone() });
                    }
                    Err(SqsError::Store(error)) => return Err(SqsError::Store(error)),
                    Err(error) => failed.push(batch::failure(entry.id.clone(), &error)),
                }
            }
            let result = ChangeMessageVisibilityBatchResult {
                successful: (!successful.is_empty()).then_some(successful),
                failed: (!failed.is_empty()).then_some(failed),
            };
            Ok((queue, result, earliest))
        })
        .await?;
    sqs.lane(cx.store(), &queue).put_aside_until(earliest, millis(cx.now()));
    Ok(result)
}

fn desk(cx: &Cx) -> Desk<'_> {
    Desk { sqs: cx.state::<Sqs>(), store: cx.store(), now: millis(cx.now()) }
}

/// Restarts the timeout of a handle's message; returns when it becomes visible. Errors come before the first write.
pub async fn change(
    desk: Desk<'_>,
    txn: &Txn,
    queue: &Queue,
    handle: &str,
    timeout: u64,
) -> Result<u64, SqsError> {
    let receipt = Receipt::parse(handle, queue.record.id)?;
    let gone = || {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        SqsError::value(handle, "ReceiptHandle", reason)
    };
    if !queue.is_fifo() {
        let located = standard::locate(txn, queue, &receipt).await?.ok_or_else(gone)?;
        return Ok(located.change(desk, txn, queue, timeout)?.visible_at);
    }
    let located = fifo::locate(txn, queue, &receipt).await?.ok_or_else(gone)?;
    if located.state.receive_count != receipt.receive_count || located.state.visible_at <= desk.now {
        return Err(SqsError::value(handle, "ReceiptHandle", "The receipt handle has expired."));
    }
    Ok(located.change(desk, txn, queue, timeout).await?.visible_at)
}
