//! Amazon SQS.
//!
//! | File                           | Holds                                                                     |
//! |--------------------------------|---------------------------------------------------------------------------|
//! | `queue.rs`                     | `CreateQueue`, `DeleteQueue`, `GetQueueUrl`, `ListQueues`, `PurgeQueue`   |
//! | `queue/settings.rs`            | `GetQueueAttributes`, `SetQueueAttributes`                                |
//! | `queue/attributes.rs`          | attributes of a queue: pure                                               |
//! | `queue/redrive.rs`             | redrive policies: pure                                                    |
//! | `queue/url.rs`                 | queue URLs, ARNs and names: pure                                          |
//! | `queue/count.rs`               | approximate numbers of messages                                           |
//! | `queue/permission.rs`          | `AddPermission`, `RemovePermission`                                       |
//! | `queue/tags.rs`                | `TagQueue`, `UntagQueue`, `ListQueueTags`                                 |
//! | `queue/dead_letter.rs`         | `ListDeadLetterSourceQueues`                                              |
//! | `message.rs`                   | a message as it is kept                                                   |
//! | `message/send.rs`              | `SendMessage`, `SendMessageBatch`                                         |
//! | `message/receive.rs`           | `ReceiveMessage`                                                          |
//! | `message/delete.rs`            | `DeleteMessage`, `DeleteMessageBatch`                                     |
//! | `message/change_visibility.rs` | `ChangeMessageVisibility`, `ChangeMessageVisibilityBatch`                 |
//! | `message/visibility.rs`        | who may receive a message, and when: pure                                 |
//! | `message/fifo.rs`              | groups, their order, duplicates: pure                                     |
//! | `message/attributes.rs`        | message attributes and their digests: pure                                |
//! | `message/receipt.rs`           | receipt handles: pure                                                     |
//! | `message/batch.rs`             | rules of batches                                                          |
//! | `order.rs`, `order/*.rs`       | how the store keeps the order of messages                                 |
//! | `lane.rs`                      | what a node remembers of that order: cursors, claims, wake-ups            |
//! | `move_task.rs`                 | `StartMessageMoveTask`, `ListMessageMoveTasks`, `CancelMessageMoveTask`   |
//! | `sweep.rs`                     | removal of what is out of sight                                           |
//! | `access.rs`                    | what a caller must be allowed to do                                       |
//! | `throttle.rs`                  | AWS's request rates                                                       |
//! | `state.rs`                     | what a node keeps in memory                                               |
//! | `keys.rs`, `error.rs`          | every key we write; every error a caller can see                          |
//! | `limits.rs`                    | AWS's numbers                                                             |
//!
//! Where we differ from AWS, and why: `docs/services/sqs.md`.

mod access;
mod error;
mod keys;
mod lane;
mod limits;
mod message;
mod move_task;
mod order;
mod queue;
mod state;
mod sweep;
mod throttle;

#[cfg(test)]
mod tests;

use pileus_api_sqs as api;
use pileus_platform::Service;

use crate::access::{move_task as moving, named, owned, shared};
use crate::message::{change_visibility, delete, receive, send};
use crate::queue::{dead_letter, permission, settings, tags};

pub use crate::error::SqsError;

/// SQS as this node answers it.
pub fn service() -> Service {
    let service = Service::new(api::SERVICE)
        .state(state::Sqs::default())
        .resource_policy(queue::policy)
        .worker("mover", move_task::run)
        .worker("sweeper", sweep::run);
    messages(permissions(queues(service)))
}

fn queues(service: Service) -> Service {
    service
        .op(api::CREATE_QUEUE, queue::create_queue)
        .access(api::CREATE_QUEUE, |cx, input| {
            named(cx, "sqs:CreateQueue", input.queue_name.as_deref(), None)
        })
        .op(api::DELETE_QUEUE, queue::delete_queue)
        .access(api::DELETE_QUEUE, |cx, input| owned(cx, "sqs:DeleteQueue", input.queue_url.as_deref()))
        .op(api::GET_QUEUE_URL, queue::get_queue_url)
        .access(api::GET_QUEUE_URL, |cx, input| {
            let owner = input.queue_owner_aws_account_id.as_deref();
            named(cx, "sqs:GetQueueUrl", input.queue_name.as_deref(), owner)
        })
        .op(api::LIST_QUEUES, queue::list_queues)
        .access(api::LIST_QUEUES, |cx, _| named(cx, "sqs:ListQueues", None, None))
        .op(api::PURGE_QUEUE, queue::purge_queue)
        .access(api::PURGE_QUEUE, |cx, input| shared(cx, "sqs:PurgeQueue", input.queue_url.as_deref()))
        .op(api::GET_QUEUE_ATTRIBUTES, settings::get_queue_attributes)
        .access(api::GET_QUEUE_ATTRIBUTES, |cx, input| {
            shared(cx, "sqs:GetQueueAttributes", input.queue_url.as_deref())
        })
        .op(api::SET_QUEUE_ATTRIBUTES, settings::set_queue_attributes)
        .access(api::SET_QUEUE_ATTRIBUTES, |cx, input| {
            owned(cx, "sqs:SetQueueAttributes", input.queue_url.as_deref())
        })
        .op(api::LIST_DEAD_LETTER_SOURCE_QUEUES, dead_letter::list_dead_letter_source_queues)
        .access(api::LIST_DEAD_LETTER_SOURCE_QUEUES, |cx, input| {
            shared(cx, "sqs:ListDeadLetterSourceQueues", input.queue_url.as_deref())
        })
        .op(api::START_MESSAGE_MOVE_TASK, move_task::start_message_move_task)
        .access(api::START_MESSAGE_MOVE_TASK, |cx, input| {
            let mut needed = moving(cx, "sqs:StartMessageMoveTask", input.source_arn.as_deref())?;
            if let Some(destination) = &input.destination_arn {
                needed.push(pileus_platform::Access::new("sqs:SendMessage", destination.as_str()));
            }
            Ok(needed)
        })
        .op(api::LIST_MESSAGE_MOVE_TASKS, move_task::list_message_move_tasks)
        .access(api::LIST_MESSAGE_MOVE_TASKS, |cx, input| {
            moving(cx, "sqs:ListMessageMoveTasks", input.source_arn.as_deref())
        })
        .op(api::CANCEL_MESSAGE_MOVE_TASK, move_task::cancel_message_move_task)
        .access(api::CANCEL_MESSAGE_MOVE_TASK, |cx, input| {
            let source = input.task_handle.as_deref().and_then(move_task::handle_source);
            moving(cx, "sqs:CancelMessageMoveTask", source.as_deref())
        })
}

fn permissions(service: Service) -> Service {
    service
        .op(api::ADD_PERMISSION, permission::add_permission)
        .access(api::ADD_PERMISSION, |cx, input| owned(cx, "sqs:AddPermission", input.queue_url.as_deref()))
        .op(api::REMOVE_PERMISSION, permission::remove_permission)
        .access(api::REMOVE_PERMISSION, |cx, input| {
            owned(cx, "sqs:RemovePermission", input.queue_url.as_deref())
        })
        .op(api::TAG_QUEUE, tags::tag_queue)
        .access(api::TAG_QUEUE, |cx, input| owned(cx, "sqs:TagQueue", input.queue_url.as_deref()))
        .op(api::UNTAG_QUEUE, tags::untag_queue)
        .access(api::UNTAG_QUEUE, |cx, input| owned(cx, "sqs:UntagQueue", input.queue_url.as_deref()))
        .op(api::LIST_QUEUE_TAGS, tags::list_queue_tags)
        .access(api::LIST_QUEUE_TAGS, |cx, input| owned(cx, "sqs:ListQueueTags", input.queue_url.as_deref()))
}

fn messages(service: Service) -> Service {
    service
        .op(api::SEND_MESSAGE, send::send_message)
        .access(api::SEND_MESSAGE, |cx, input| shared(cx, "sqs:SendMessage", input.queue_url.as_deref()))
        .op(api::SEND_MESSAGE_BATCH, send::send_message_batch)
        .access(api::SEND_MESSAGE_BATCH, |cx, input| {
            shared(cx, "sqs:SendMessage", input.queue_url.as_deref())
        })
        .op(api::RECEIVE_MESSAGE, receive::receive_message)
        .access(api::RECEIVE_MESSAGE, |cx, input| {
            shared(cx, "sqs:ReceiveMessage", input.queue_url.as_deref())
        })
        .op(api::DELETE_MESSAGE, delete::delete_message)
        .access(api::DELETE_MESSAGE, |cx, input| shared(cx, "sqs:DeleteMessage", input.queue_url.as_deref()))
        .op(api::DELETE_MESSAGE_BATCH, delete::delete_message_batch)
        .access(api::DELETE_MESSAGE_BATCH, |cx, input| {
            shared(cx, "sqs:DeleteMessage", input.queue_url.as_deref())
        })
        .op(api::CHANGE_MESSAGE_VISIBILITY, change_visibility::change_message_visibility)
        .access(api::CHANGE_MESSAGE_VISIBILITY, |cx, input| {
            shared(cx, "sqs:ChangeMessageVisibility", input.queue_url.as_deref())
        })
        .op(api::CHANGE_MESSAGE_VISIBILITY_BATCH, change_visibility::change_message_visibility_batch)
        .access(api::CHANGE_MESSAGE_VISIBILITY_BATCH, |cx, input| {
            shared(cx, "sqs:ChangeMessageVisibility", input.queue_url.as_deref())
        })
}
