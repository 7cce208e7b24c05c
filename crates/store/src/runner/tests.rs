use std::sync::Mutex;

use tokio::sync::oneshot;

use super::*;
use crate::outbox::{self, Effect, OUTBOX};
use crate::testing::{self, ManualClock};
use crate::timer::{self, TIMERS};

/// What handlers were given, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, u32)>>>, Arc<tokio::sync::Notify>);

impl Seen {
    fn note(&self, job: &Job) {
        self.0.lock().unwrap().push((job.id.clone(), job.attempts));
        self.1.notify_waiters();
    }

    fn list(&self) -> Vec<(String, u32)> {
        self.0.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<(String, u32)> {
        loop {
            let noted = self.1.notified();
            if self.list().len() >= count {
                return self.list();
            }
            noted.await;
        }
    }
}

struct Bench {
    store: Store,
    clock: Arc<ManualClock>,
    seen: Seen,
}

impl Bench {
    fn new() -> Bench {
        let (store, clock) = testing::memory().unwrap();
        Bench { store, clock, seen: Seen::default() }
    }

    fn now(&self) -> Timestamp {
        self.store.clock().now()
    }

    async fn set(&self, id: &'static str, due: Timestamp) {
        let set: Result<(), StoreError> =
            self.store.transact(|txn| async move { timer::set(&txn, "test", id, due, b"payload") }).await;
        set.unwrap();
    }

    async fn rows(&self, due: Due) -> usize {
        let mut rows = 0;
        for shard in 0..SHARDS {
            rows += self.store.scan(due.space(), &due.range(shard), 1_000).await.unwrap().entries.len();
        }
        rows
    }

    /// Runs until the returned sender is used or dropped.
    fn start(&self, runner: Runner) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(runner.run(async {
            let _ = stopped.await;
        }));
        (stop, running)
    }

    fn timers(&self) -> Runner {
        let seen = self.seen.clone();
        Runner::new(self.store.clone(), TIMERS).on("test", move |job: Job| {
            let seen = seen.clone();
            async move {
                assert_eq!(&job.payload[..], b"payload");
                seen.note(&job);
                Ok(())
            }
        })
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn a_timer_fires_when_the_clock_is_moved_to_it_and_not_before() {
    let bench = Bench::new();
    let (stop, running) = bench.start(bench.timers());
    let start = bench.now();
    bench.set("late", start + seconds(3_000_000)).await;
    bench.set("soon", start + seconds(10)).await;
    bench.set("cancelled", start + seconds(20)).await;
    let cancelled: Result<(), StoreError> = bench
        .store
        .transact(|txn| async move { timer::cancel(&txn, "test", "cancelled", start + seconds(20)).await })
        .await;
    cancelled.unwrap();
    bench.clock.advance(seconds(9));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.seen.list(), []);
    bench.clock.advance(seconds(1));
    assert_eq!(bench.seen.wait_for(1).await, [("soon".into(), 0)]);
    bench.clock.advance(seconds(3_000_000));
    assert_eq!(bench.seen.wait_for(2).await[1], ("late".into(), 0));
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_timer_set_before_the_cursor_is_found() {
    let bench = Bench::new();
    let (_stop, _running) = bench.start(bench.timers());
    bench.set("present", bench.now()).await;
    bench.seen.wait_for(1).await;
    // The same shard, so that its cursor has passed.
    let past = bench.now() - seconds(1_000);
    bench.set("present", past).await;
    assert_eq!(bench.seen.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn an_effect_is_retried_until_its_handler_succeeds_and_then_it_is_gone() {
    let bench = Bench::new();
    let seen = bench.seen.clone();
    let runner = Runner::new(bench.store.clone(), OUTBOX).on("notify", move |job: Job| {
        let seen = seen.clone();
        async move {
            assert_eq!(job.destination, "arn:there");
            seen.note(&job);
            if job.attempts < 3 { Err(Failure::new("not yet")) } else { Ok(()) }
        }
    });
    let (stop, running) = bench.start(runner);
    let now = bench.now();
    let sent: Result<(), StoreError> = bench
        .store
        .transact(|txn| async move {
            outbox::send(
                &txn,
                now,
                &Effect { kind: "notify", id: "1", destination: "arn:there", payload: b"x" },
            )
        })
        .await;
    sent.unwrap();
    for attempt in 1..=4 {
        assert_eq!(bench.seen.wait_for(attempt).await.len(), attempt);
        while bench.rows(OUTBOX).await == 1 && attempt < 4 && bench.seen.list().len() == attempt {
            bench.clock.advance(seconds(1));
            tokio::task::yield_now().await;
        }
    }
    while bench.rows(OUTBOX).await > 0 {
        tokio::task::yield_now().await;
    }
    let attempts: Vec<u32> = bench.seen.list().into_iter().map(|(_, attempts)| attempts).collect();
    assert_eq!(attempts, [0, 1, 2, 3]);
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_claimed_row_is_done_once_and_a_stopped_runner_gives_its_shards_to_the_next() {
    let bench = Bench::new();
    let (store, seen) = (bench.store.clone(), bench.seen.clone());
    let runner = || {
        let (store, seen) = (store.clone(), seen.clone());
        Runner::new(bench.store.clone(), TIMERS).on("test", move |job: Job| {
            let (store, seen) = (store.clone(), seen.clone());
            async move {
                for _ in 0..2 {
                    let claimed: Result<bool, StoreError> = store
                        .transact(|txn| {
                            let job = job.clone();
                            async move { job.claim(&txn).await }
                        })
                        .await;
                    if claimed? {
                        seen.note(&job);
                    }
                }
                Ok(())
            }
        })
    };
    let (stop, running) = bench.start(runner());
    bench.set("first", bench.now()).await;
    assert_eq!(bench.seen.wait_for(1).await.len(), 1);
    stop.send(()).unwrap();
    running.await.unwrap();
    let (_stop, _running) = bench.start(runner());
    bench.set("second", bench.now()).await;
    assert_eq!(bench.seen.wait_for(2).await, [("first".into(), 0), ("second".into(), 0)]);
    assert_eq!(bench.rows(TIMERS).await, 0);
}

#[tokio::test]
async fn more_rows_than_may_run_at_a_time_are_all_handled() {
    let bench = Bench::new();
    let now = bench.now();
    let set: Result<(), StoreError> = bench
        .store
        .transact(|txn| async move {
            for number in 0..500 {
                timer::set(&txn, "test", &number.to_string(), now, b"payload")?;
            }
            Ok(())
        })
        .await;
    set.unwrap();
    let pace = Pace { parallel: 2, ..Pace::default() };
    let (stop, running) = bench.start(bench.timers().pace(pace));
    bench.seen.wait_for(500).await;
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(bench.seen.list().len(), 500);
}

#[tokio::test]
async fn a_timer_that_failed_is_cancelled_by_the_moment_that_it_was_set_for() {
    let bench = Bench::new();
    let seen = bench.seen.clone();
    let runner = Runner::new(bench.store.clone(), TIMERS).on("test", move |job: Job| {
        seen.note(&job);
        let fails = job.id == "failing" || job.attempts == 0;
        async move { if fails { Err(Failure::new("not yet")) } else { Ok(()) } }
    });
    let (stop, running) = bench.start(runner);
    let due = bench.now();
    bench.set("failing", due).await;
    bench.set("late", due).await;
    while bench.seen.list().len() < 6 || bench.rows(TIMERS).await > 1 {
        bench.clock.advance(seconds(1));
        tokio::task::yield_now().await;
    }
    let cancel = bench.store.transact(|txn| async move { timer::cancel(&txn, "test", "failing", due).await });
    cancel.await.unwrap();
    let left = bench.store.scan(Space::Index, &KeyRange::default(), 10).await.unwrap();
    assert_eq!(left.entries, [], "neither the timer nor a word of where it waits");
    stop.send(()).unwrap();
    running.await.unwrap();
}
