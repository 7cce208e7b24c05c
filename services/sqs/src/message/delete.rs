//! `DeleteMessage`, `DeleteMessageBatch`.
//!
//! Source: API Reference, "DeleteMessage"; Amazon SQS Developer Guide, "Amazon SQS queue and message identifiers" (receipt
//! handles). Recorded: a FIFO queue refuses an expired handle; deleting what is gone succeeds.

use pileus_api_sqs::{
    DeleteMessageBatchRequest, DeleteMessageBatchResult, DeleteMessageBatchResultEntry, DeleteMessageRequest,
};
use pileus_platform::Cx;
use pileus_store::Txn;
use pileus_wire::value::Unit;

use crate::access;
use crate::error::SqsError;
use crate::message::batch;
use crate::message::receipt::Receipt;
use crate::order::{fifo, standard};
use crate::queue::Queue;
use crate::state::{Desk, Sqs, millis};
use crate::throttle::Call;

pub async fn delete_message(cx: &Cx, input: DeleteMessageRequest) -> Result<Unit, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let handle = &input.receipt_handle.ok_or(SqsError::MissingParameter("ReceiptHandle"))?;
    let (sqs, call) = (cx.state::<Sqs>(), &Call::new("DeleteMessage"));
    let (queue, deleted) = cx
        .transact(|txn| async move {
            let queue = sqs.load_known(&txn, address).await?;
            sqs.throttle.admit(cx, &queue, call)?;
            let deleted = delete(desk(cx), &txn, &queue, handle).await?;
            Ok::<_, SqsError>((queue, deleted))
        })
        .await?;
    sqs.lane(cx.store(), &queue).add_in_flight(-i64::from(deleted));
    Ok(Unit)
}

pub async fn delete_message_batch(
    cx: &Cx,
    input: DeleteMessageBatchRequest,
) -> Result<DeleteMessageBatchResult, SqsError> {
    let address = &access::address(cx, input.queue_url.as_deref())?;
    let entries = &input.entries.unwrap_or_default();
    batch::check(entries.iter().map(|entry| entry.id.as_deref()), "DeleteMessageBatchRequestEntry")?;
    let (sqs, call) = (cx.state::<Sqs>(), &Call::new("DeleteMessage"));
    let (queue, result, deleted) = cx
        .transact(|txn| async move {
            let queue = sqs.load_known(&txn, address).await?;
            sqs.throttle.admit(cx, &queue, call)?;
            let (mut successful, mut failed, mut deleted) = (Vec::new(), Vec::new(), 0);
            for entry in entries {
                let handle = entry.receipt_handle.as_deref().unwrap_or_default();
                match delete(desk(cx), &txn, &queue, handle).await {
                    Ok(was_there) => {
                        deleted += i64::from(was_there);
                        successful.push(DeleteMessageBatchResultEntry { id: entry.id.clone() });
                    }
                    Err(SqsError::Store(error)) => return Err(SqsError::Store(error)),
                    Err(error) => failed.push(batch::failure(entry.id.clone(), &error)),
                }
            }
            let result = DeleteMessageBatchResult {
                successful: (!successful.is_empty()).then_some(successful),
                failed: (!failed.is_empty()).then_some(failed),
            };
            Ok((queue, result, deleted))
        })
        .await?;
    sqs.lane(cx.store(), &queue).add_in_flight(-deleted);
    Ok(result)
}

fn desk(cx: &Cx) -> Desk<'_> {
    Desk { sqs: cx.state::<Sqs>(), store: cx.store(), now: millis(cx.now()) }
}

/// Deletes the message of a handle; tells whether it was there. Errors come before the first write.
pub async fn delete(desk: Desk<'_>, txn: &Txn, queue: &Queue, handle: &str) -> Result<bool, SqsError> {
    let receipt = Receipt::parse(handle, queue.record.id)?;
    if !queue.is_fifo() {
        let Some(located) = standard::locate(txn, queue, &receipt).await? else { return Ok(false) };
        located.delete(txn, queue);
        return Ok(true);
    }
    let Some(located) = fifo::locate(txn, queue, &receipt).await? else { return Ok(false) };
    if located.state.receive_count != receipt.receive_count || located.state.visible_at <= desk.now {
        return Err(SqsError::value(handle, "ReceiptHandle", "The receipt handle has expired."));
    }
    located.delete(desk, txn, queue).await?;
    Ok(true)
}
