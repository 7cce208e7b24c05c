//! Outbox and timers, worked by runners on every node.
//!
//! Effects are delivered to a world outside that may refuse them. Timers count themselves in a row, in the transaction that
//! claims them; a timer that was cancelled in the same serial order before it ran never counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{Rng as _, SeededRng, Timestamp};
use pileus_store::due::Job;
use pileus_store::outbox::{self, Effect, OUTBOX};
use pileus_store::runner::{Failure, Pace, Runner};
use pileus_store::timer::{self, TIMERS};
use pileus_store::{Space, StoreError, Txn};

use crate::cloud::{Cloud, Running};
use crate::server::finish;
use crate::workload::Crew;

const KIND: &str = "simulation";
const CLIENTS: u64 = 2;
/// After the trouble the runners go on for so long: within it a lost lease ends, and every retry is made.
const CLOSING: Duration = Duration::from_secs(45);

#[derive(Clone)]
pub struct Jobs(Arc<Parts>);

struct Parts {
    crew: Crew,
    pace: Pace,
    /// The effects, by id.
    effects: Mutex<BTreeMap<String, Note>>,
    timers: Mutex<BTreeMap<String, Note>>,
}

#[derive(Default)]
struct Note {
    /// In milliseconds since 1970.
    due: u64,
    is_acknowledged: bool,
    /// Deliveries that the world outside accepted.
    accepted: u64,
}

fn count_key(id: &str) -> Bytes {
    format!("simulation/count/{id}").into()
}

fn cancelled_key(id: &str) -> Bytes {
    format!("simulation/cancelled/{id}").into()
}

impl Jobs {
    /// Before the nodes start: each gets runners.
    pub fn create(crew: &Crew, skew: Duration) -> Jobs {
        let pace = Pace {
            parallel: 4,
            lease: Duration::from_secs(15),
            first_retry: Duration::from_millis(200),
            max_retry: Duration::from_secs(4),
            rescan: Duration::from_secs(15),
            slack: skew + Duration::from_secs(1),
        };
        let (effects, timers) = (Mutex::default(), Mutex::default());
        let jobs = Jobs(Arc::new(Parts { crew: crew.clone(), pace, effects, timers }));
        let (outbox, timers) = (jobs.clone(), jobs.clone());
        crew.cloud.add_worker(move |running| outbox.clone().run_outbox(running));
        crew.cloud.add_worker(move |running| timers.clone().run_timers(running));
        jobs
    }

    async fn run_outbox(self, running: Running) {
        let runner = Runner::new(running.store().clone(), OUTBOX).pace(self.0.pace);
        let (jobs, node) = (self.clone(), running.node as u64);
        let rng = Arc::new(self.cloud().world().rng("jobs/outside", node));
        let deliver = move |job: Job| {
            let (jobs, running, rng) = (jobs.clone(), running.clone(), rng.clone());
            async move { jobs.deliver(&running, &rng, job) }
        };
        runner.on(KIND, deliver).run(self.closing()).await;
    }

    /// Long enough after the trouble for everything to be done.
    fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cloud().world().sleep_until(self.0.crew.until + CLOSING)
    }

    fn deliver(&self, running: &Running, rng: &SeededRng, job: Job) -> Result<(), Failure> {
        self.0.crew.check(is_due(&job, running));
        let mut effects = lock(&self.0.effects);
        let Some(note) = effects.get_mut(&job.id) else {
            self.cloud().world().fail(format!("the effect {} was sent by nobody", job.id));
            return Ok(());
        };
        if rng.below(4) == 0 {
            return Err(Failure::new("nobody is at home"));
        }
        note.accepted += 1;
        Ok(())
    }

    async fn run_timers(self, running: Running) {
        let runner = Runner::new(running.store().clone(), TIMERS).pace(self.0.pace);
        let jobs = self.clone();
        let fire = move |job: Job| {
            let (jobs, running) = (jobs.clone(), running.clone());
            async move { jobs.fire(&running, job).await }
        };
        runner.on(KIND, fire).run(self.closing()).await;
    }

    async fn fire(&self, running: &Running, job: Job) -> Result<(), Failure> {
        self.0.crew.check(is_due(&job, running));
        let job = &job;
        running
            .store()
            .transact(|txn| async move {
                if !job.claim(&txn).await? {
                    return Ok(());
                }
                let key = count_key(&job.id);
                let count = txn.get(Space::Items, &key).await?.map_or(0, |count| count[0]);
                txn.put(Space::Items, key, vec![count + 1]);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }

    pub fn begin(&self) {
        for number in 0..CLIENTS {
            let (jobs, rng) = (self.clone(), self.cloud().world().rng("jobs/client", number));
            self.0.crew.spawn(async move { jobs.client(number, rng).await });
        }
    }

    async fn client(&self, client: u64, rng: SeededRng) {
        for number in 0u64.. {
            self.0.crew.pause(&rng, Duration::from_millis(400)).await;
            if self.0.crew.is_over() {
                return;
            }
            let running = self.cloud().any(&rng).await;
            let due = running.millis() + rng.below(3) * rng.below(6_000);
            let id = format!("{client}-{number}");
            if rng.below(2) == 0 {
                self.send(&running, id, due).await;
                continue;
            }
            let is_set = self.set(&running, id.clone(), due).await;
            if is_set && rng.below(3) == 0 {
                self.0.crew.pause(&rng, Duration::from_millis(2_000)).await;
                let running = self.cloud().any(&rng).await;
                self.cancel(&running, id, due).await;
            }
        }
    }

    async fn send(&self, running: &Running, id: String, due: u64) {
        lock(&self.0.effects).insert(id.clone(), Note { due, ..Note::default() });
        let wanted = id.clone();
        let write = move |txn: Txn| {
            let effect = Effect { kind: KIND, id: &wanted, destination: "", payload: b"" };
            let sent = outbox::send(&txn, moment(due), &effect);
            async move { sent }
        };
        if self.transact(running, write).await
            && let Some(note) = lock(&self.0.effects).get_mut(&id)
        {
            note.is_acknowledged = true;
        }
    }

    async fn set(&self, running: &Running, id: String, due: u64) -> bool {
        lock(&self.0.timers).insert(id.clone(), Note { due, ..Note::default() });
        let wanted = id.clone();
        let write = move |txn: Txn| {
            let set = timer::set(&txn, KIND, &wanted, moment(due), b"");
            async move { set }
        };
        let is_set = self.transact(running, write).await;
        if let Some(note) = lock(&self.0.timers).get_mut(&id) {
            note.is_acknowledged = is_set;
        }
        is_set
    }

    /// Unless it has fired.
    async fn cancel(&self, running: &Running, id: String, due: u64) {
        let write = move |txn: Txn| {
            let id = id.clone();
            async move {
                if txn.get(Space::Items, &count_key(&id)).await?.is_none() {
                    timer::cancel(&txn, KIND, &id, moment(due)).await?;
                    txn.put(Space::Items, cancelled_key(&id), Bytes::new());
                }
                Ok(())
            }
        };
        self.transact(running, write).await;
    }

    /// Runs a transaction on a node; whether it was acknowledged.
    async fn transact<F, Fut>(&self, running: &Running, write: F) -> bool
    where
        F: FnMut(Txn) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StoreError>> + Send,
    {
        let store = running.store().clone();
        let written = self.cloud().on(running, async move { store.transact(write).await }).await;
        matches!(written, Some(Ok(())))
    }

    /// When all is calm again: delivered, fired, or cancelled. Returns how many of each kind.
    pub fn finish(&self) -> Result<[usize; 2], String> {
        let (effects, timers) = (lock(&self.0.effects), lock(&self.0.timers));
        let lost = effects.iter().find(|(_, note)| note.is_acknowledged && note.accepted == 0);
        if let Some((id, note)) = lost {
            return Err(format!("the effect {id}, due at {}, was never delivered", note.due));
        }
        for (id, note) in timers.iter() {
            let read = |key: Bytes| finish(self.cloud().server().present().get(Space::Items, &key));
            let count = read(count_key(id)).map_err(|error| error.to_string())?;
            let count = count.map_or(0, |(count, _)| count[0]);
            let is_cancelled = read(cancelled_key(id)).map_err(|error| error.to_string())?.is_some();
            if count > 1 || (is_cancelled && count > 0) {
                return Err(format!("the timer {id} took effect {count} times; cancelled: {is_cancelled}"));
            }
            if note.is_acknowledged && !is_cancelled && count == 0 {
                return Err(format!("the timer {id}, due at {}, never fired", note.due));
            }
        }
        Ok([effects.len(), timers.len()])
    }

    fn cloud(&self) -> &Cloud {
        &self.0.crew.cloud
    }
}

fn is_due(job: &Job, running: &Running) -> Result<(), String> {
    let (due, now) = (job.due.as_millis(), running.millis() as i64);
    if due <= now { Ok(()) } else { Err(format!("{} ran {} ms before its time", job.id, due - now)) }
}

fn moment(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis as i64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
