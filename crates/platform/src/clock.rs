//! The node's clock: the operating system's, moved or frozen on request.

#![allow(clippy::disallowed_methods)] // the one place that asks the operating system for the time

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pileus_core::{BoxFuture, Clock, Timestamp};
use tokio::sync::watch;

/// Real time plus an offset, or one frozen moment. Cheap to clone.
#[derive(Clone)]
pub struct MovableClock(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    moved: watch::Sender<()>,
    started: Instant,
}

#[derive(Clone, Copy)]
enum State {
    Running { ahead: Duration },
    Frozen { at: Timestamp },
}

impl MovableClock {
    /// Real time.
    pub fn system() -> MovableClock {
        MovableClock::with(State::Running { ahead: Duration::ZERO })
    }

    /// Stands still at `at` until moved.
    pub fn frozen(at: Timestamp) -> MovableClock {
        MovableClock::with(State::Frozen { at })
    }

    fn with(state: State) -> MovableClock {
        MovableClock(Arc::new(Inner {
            state: RwLock::new(state),
            moved: watch::Sender::new(()),
            started: Instant::now(),
        }))
    }

    /// Moves forward by `by`; whatever waits for a moment that is passed wakes. Time never moves backwards.
    pub fn advance(&self, by: Duration) {
        self.change(|state| match state {
            State::Running { ahead } => State::Running { ahead: ahead.saturating_add(by) },
            State::Frozen { at } => State::Frozen { at: at + by },
        });
    }

    /// Stops at the present moment.
    pub fn freeze(&self) {
        let at = self.now();
        self.change(|_| State::Frozen { at });
    }

    /// Runs on from where it stands.
    pub fn resume(&self) {
        let now = self.now();
        self.change(|_| State::Running { ahead: now.since(real_time()) });
    }

    pub fn is_frozen(&self) -> bool {
        matches!(self.state(), State::Frozen { .. })
    }

    /// How far the clock is ahead of real time.
    pub fn ahead(&self) -> Duration {
        match self.state() {
            State::Running { ahead } => ahead,
            State::Frozen { at } => at.since(real_time()),
        }
    }

    fn state(&self) -> State {
        *self.0.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(State) -> State) {
        let mut state = self.0.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *state = change(*state);
        drop(state);
        self.0.moved.send_replace(());
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        match self.state() {
            State::Running { ahead } => real_time() + ahead,
            State::Frozen { at } => at,
        }
    }

    fn unmoved(&self) -> Timestamp {
        real_time()
    }

    fn monotonic(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            let mut moved = clock.0.moved.subscribe();
            loop {
                moved.borrow_and_update();
                let now = clock.now();
                if now >= deadline {
                    return;
                }
                if clock.is_frozen() {
                    // The sender lives in `clock`, so waiting cannot fail.
                    let _ = moved.changed().await;
                } else {
                    tokio::select! {
                        () = tokio::time::sleep(deadline.since(now)) => {}
                        _ = moved.changed() => {}
                    }
                }
            }
        })
    }
}

fn real_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH + since_epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_wakes_when_the_clock_is_moved_past_its_deadline() {
        let start = Timestamp::from_secs(1_000_000);
        let clock = MovableClock::frozen(start);
        let waiting = tokio::spawn(clock.sleep_until(start + Duration::from_secs(86_400)));
        clock.advance(Duration::from_secs(86_399));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_secs(1));
        waiting.await.expect("the waiter ends");
    }

    #[test]
    fn resuming_a_frozen_clock_never_goes_back() {
        let clock = MovableClock::system();
        clock.advance(Duration::from_secs(3_600));
        clock.freeze();
        let frozen = clock.now();
        assert_eq!(clock.now(), frozen);
        clock.resume();
        assert!(clock.now() >= frozen);
        assert!(clock.ahead() >= Duration::from_secs(3_599));
    }
}
