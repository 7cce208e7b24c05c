//! Replays: a part of a FIFO topic's archive, brought to one subscriber again.
//!
//! A replay without an end goes on until it has caught up; until then new messages wait in the archive for it.
//!
//! Source: Amazon SNS Developer Guide, "Message replay for FIFO topic subscribers".

use pileus_platform::Cx;
use pileus_store::KeyRange;
use pileus_store::due::Job;
use pileus_store::runner::Failure;

use crate::deliver::{self, Delivery, as_topic, queue};
use crate::error::SnsError;
use crate::keys::{ARCHIVE, SUBSCRIPTIONS, TOPICS};
use crate::message::Message;
use crate::state::Sns;
use crate::subscription::Subscription;
use crate::topic;
use crate::work::{self, ReplayWork};

pub async fn work(cx: &Cx, job: &Job, work: ReplayWork) -> Result<(), Failure> {
    let cx = &as_topic(cx, &work.topic);
    let mut work = work;
    loop {
        match step(cx, job, &mut work).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

fn failed(error: SnsError) -> Failure {
    Failure::new(error)
}

/// Brings the next messages; false when there is nothing left to do.
async fn step(cx: &Cx, job: &Job, work: &mut ReplayWork) -> Result<bool, Failure> {
    let key = (work.topic.account, work.topic.region.clone(), work.topic.name.clone(), work.id.clone());
    let Some(topic) = cx.state::<Sns>().find(cx.store(), &work.topic).await? else { return Ok(false) };
    let Some(record) = SUBSCRIPTIONS.get(cx.store(), &key).await? else { return Ok(false) };
    if record.topic_id != topic.record.id || record.attributes.replay_policy.as_ref() != Some(&work.policy) {
        return Ok(false);
    }
    let Ok(Some(replay)) = record.attributes.replay() else { return Ok(false) };
    let id = topic.record.id;
    let all = ARCHIVE.under(&(id,)).starting_at(ARCHIVE.key(&(id, replay.from)));
    let all = match replay.to {
        Some(to) => all.before(&ARCHIVE.key(&(id, to.saturating_add(1)))),
        None => all,
    };
    let range = match work.after {
        Some((at, sequence)) => all.after(&ARCHIVE.key(&(id, at, sequence))),
        None => all,
    };
    let rows = ARCHIVE.scan(cx.store(), &range, queue::MAX_ENTRIES).await?.rows;
    let messages: Vec<Message> = rows.iter().map(|(_, message)| message.clone()).collect();
    let own = [Subscription::new(record)];
    let dead = &deliver::bring_in_order(cx, &topic, &own, &messages, true).await?;
    let last = rows.last().map(|((_, at, sequence), _)| (*at, *sequence));
    work.after = last.or(work.after);
    settle(cx, job, work, &range, rows.is_empty(), dead).await.map_err(failed)
}

/// Notes how far a replay has come; false when it is over.
async fn settle(
    cx: &Cx,
    job: &Job,
    work: &ReplayWork,
    range: &KeyRange,
    is_over: bool,
    dead: &[Delivery],
) -> Result<bool, SnsError> {
    let now = cx.clock().now();
    let key = &(work.topic.account, work.topic.region.clone(), work.topic.name.clone(), work.id.clone());
    cx.transact(|txn| async move {
        // Tracked: who publishes in the meantime is either seen here, or sees that the replay is over.
        if is_over && !ARCHIVE.scan(&txn, range, 1).await?.rows.is_empty() {
            return Ok(true);
        }
        let Some(mut record) = SUBSCRIPTIONS.get(&txn, key).await? else { return Ok(false) };
        if record.attributes.replay_policy.as_ref() != Some(&work.policy) {
            return Ok(false);
        }
        dead.iter().try_for_each(|delivery| work::deliver_later(&txn, delivery, now))?;
        let status = if is_over { "Completed" } else { "In Progress" };
        if record.attributes.replay_status.as_deref() != Some(status) {
            record.attributes.replay_status = Some(status.to_owned());
            SUBSCRIPTIONS.put(&txn, key, &record)?;
            // Deliveries know the subscription by its topic's version.
            if let Some(topic) = TOPICS.get(&txn, &record.topic.key()).await? {
                topic::store(&txn, &record.topic, &topic)?;
            }
        }
        if is_over {
            job.claim(&txn).await?;
        }
        Ok::<_, SnsError>(!is_over)
    })
    .await
}
