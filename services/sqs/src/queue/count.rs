//! `ApproximateNumberOfMessages` and its kin: counted from the index of messages, so no request has to keep a counter up.
//! Exact when nothing changes meanwhile, and nothing was put in on another node within the last minute. Long queues are
//! counted at most once in a while.

use std::sync::Arc;
use std::time::Duration;

use pileus_platform::Cx;
use pileus_store::{KeyRange, Space};

use crate::error::SqsError;
use crate::keys;
use crate::lane::Lane;
use crate::message::fifo;
use crate::order;
use crate::queue::Queue;
use crate::state::{Sqs, millis};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

/// Rows read at a time.
const PAGE: usize = 1_000;
/// A count of more rows than this is used again for `PATIENCE`.
const LONG: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(5);

impl Counts {
    fn total(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// Messages of the queue by what a receive would make of them.
pub async fn count(cx: &Cx, queue: &Queue) -> Result<Counts, SqsError> {
    let lane = cx.state::<Sqs>().lane(cx.store(), queue);
    let monotonic = cx.clock().monotonic();
    if let Some((counts, at)) = lane.last_count()
        && counts.total() > LONG
        && monotonic.saturating_sub(at) < PATIENCE
    {
        return Ok(counts);
    }
    let mut counts = Counts::default();
    for range in ranges(&lane, queue, monotonic) {
        count_range(cx, queue, range, &mut counts).await?;
    }
    lane.set_count(counts, monotonic);
    Ok(counts)
}

fn ranges(lane: &Arc<Lane>, queue: &Queue, at: Duration) -> Vec<KeyRange> {
    if queue.is_fifo() {
        return vec![keys::members(queue.record.generation)];
    }
    (0..lane.streams()).map(|stream| lane.range(stream, at)).collect()
}

async fn count_range(
    cx: &Cx,
    queue: &Queue,
    mut range: KeyRange,
    counts: &mut Counts,
) -> Result<(), SqsError> {
    let (rules, now) = (queue.rules(), millis(cx.clock().now()));
    loop {
        let page = cx.store().scan(Space::Index, &range, PAGE).await?;
        for entry in &page.entries {
            let state = order::decode(&entry.value)?;
            let is_delayed = if queue.is_fifo() {
                fifo::is_delayed(&state, &rules, now)
            } else {
                state.receive_count == 0 && state.visible_at > now
            };
            match () {
                () if state.is_expired(&rules, now) => {}
                () if is_delayed => counts.delayed += 1,
                () if state.visible_at > now => counts.in_flight += 1,
                () => counts.visible += 1,
            }
        }
        match page.entries.last() {
            Some(last) if page.more => range = range.after(&last.key),
            _ => return Ok(()),
        }
        tokio::task::yield_now().await;
    }
}
