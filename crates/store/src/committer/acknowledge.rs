//! Tells those who wait that their commits are on the disk.
//!
//! The commit thread is what everyone waits for, and waking a task from outside its runtime costs a system call. So the
//! thread hands a whole batch to one task of the runtime, which wakes all others from within, and goes on with the next batch.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

use crate::{Outcome, StoreError, Topics, Wake};

/// One commit that was applied, or refused for a conflict.
pub(crate) struct Acknowledgement {
    pub reply: oneshot::Sender<Result<Outcome, StoreError>>,
    pub outcome: Outcome,
    /// Fired before the reply.
    pub wakes: Vec<Wake>,
}

pub(crate) struct Acknowledger {
    topics: Topics,
    /// `None` where no runtime runs its tasks by itself.
    task: Option<mpsc::UnboundedSender<Vec<Acknowledgement>>>,
}

impl Acknowledger {
    /// With a task on the runtime that this is called on, if that has threads of its own.
    pub fn new(topics: Topics) -> Acknowledger {
        let runtime = Handle::try_current().ok();
        let runtime = runtime.filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        let task = runtime.map(|runtime| {
            // Never more than the commits that wait for an answer, and those are bounded.
            let (sender, mut batches) = mpsc::unbounded_channel();
            let topics = topics.clone();
            runtime.spawn(async move {
                while let Some(batch) = batches.recv().await {
                    acknowledge(&topics, batch);
                }
            });
            sender
        });
        Acknowledger { topics, task }
    }

    pub fn send(&self, batch: Vec<Acknowledgement>) {
        let left = match &self.task {
            // The runtime has ended.
            Some(task) => task.send(batch).err().map(|unsent| unsent.0),
            None => Some(batch),
        };
        if let Some(batch) = left {
            acknowledge(&self.topics, batch);
        }
    }
}

fn acknowledge(topics: &Topics, batch: Vec<Acknowledgement>) {
    for Acknowledgement { reply, outcome, wakes } in batch {
        if !wakes.is_empty() {
            topics.fire(&wakes);
        }
        let _ = reply.send(Ok(outcome)); // Nobody waits for it any more: it is committed all the same.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledgement() -> (Acknowledgement, oneshot::Receiver<Result<Outcome, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let wakes = vec![Wake { topic: "a".into(), low: 7 }];
        (Acknowledgement { reply, outcome: Outcome::Committed(3), wakes }, answer)
    }

    fn check(
        topics: &Topics,
        acknowledger: &Acknowledger,
        wait: impl Fn(oneshot::Receiver<Result<Outcome, StoreError>>) -> Result<Outcome, StoreError>,
    ) {
        let mut subscription = topics.subscribe(&"a".into());
        let (acknowledgement, answer) = acknowledgement();
        acknowledger.send(vec![acknowledgement]);
        assert!(matches!(wait(answer), Ok(Outcome::Committed(3))));
        assert!(subscription.take_changed());
        assert_eq!(subscription.take_low(), 7);
    }

    #[test]
    fn commits_are_acknowledged_within_a_runtime_after_it_and_without_one() {
        let topics = Topics::default();
        let without = Acknowledger::new(topics.clone());
        check(&topics, &without, |answer| answer.blocking_recv().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let within = runtime.block_on(async { Acknowledger::new(topics.clone()) });
        assert!(within.task.is_some() && without.task.is_none());
        check(&topics, &within, |answer| answer.blocking_recv().unwrap());
        drop(runtime);
        check(&topics, &within, |answer| answer.blocking_recv().unwrap());
    }
}
