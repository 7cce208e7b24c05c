//! The timer for request heads.
//!
//! hyper makes a timer for each head that it waits for and drops it when the head is there. Kept in the runtime's wheel, that
//! is two visits for each request. Here it is only a deadline, and the connection's own task looks at it every few seconds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// How late a head's deadline may be noticed: whoever uses this timer polls the connection so often.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(super) struct HeadTimer;

/// Wakes nobody.
struct Deadline(Instant);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline(deadline))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if HeadTimer.now() < self.0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Sleep for Deadline {}
