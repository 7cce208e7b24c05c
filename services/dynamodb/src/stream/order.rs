//! The order of stream records: numbers, and which of them may be read.
//!
//! A transaction draws its numbers before it commits, so a greater number can be committed before a smaller one. A reader
//! that went past the gap would miss a record; so it is shown only what lies below every number that is still in flight.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_core::Timestamp;

use crate::item::collection::Growth;

/// A request that was cut off may still commit for this long.
const ABANDONED: Duration = Duration::from_secs(10);

/// The numbers of this node.
#[derive(Debug, Default)]
pub struct Order(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    in_flight: BTreeSet<u64>,
    /// Until when each may still be committed, in monotonic time.
    abandoned: Vec<(Duration, u64)>,
}

/// The numbers of one request, in flight until the ticket is finished; and what its transaction adds to item collections.
pub struct Ticket<'a> {
    order: &'a Order,
    monotonic: Duration,
    drawn: Mutex<Vec<u64>>,
    grown: Mutex<Vec<Growth>>,
}

fn nanos(now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(now.subsec_nanos()))
}

/// The least number that a record written at `moment` can have.
pub fn number_at(moment: Timestamp) -> u64 {
    nanos(moment)
}

impl Order {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ticket(&self, monotonic: Duration) -> Ticket<'_> {
        Ticket { order: self, monotonic, drawn: Mutex::default(), grown: Mutex::default() }
    }

    /// Records of this node below this number are complete.
    pub fn horizon(&self, now: Timestamp, monotonic: Duration) -> u64 {
        let mut numbers = self.numbers();
        numbers.abandoned.retain(|(until, _)| *until > monotonic);
        // Whatever is drawn from now on is greater.
        numbers.last = numbers.last.max(nanos(now));
        let abandoned = numbers.abandoned.iter().map(|(_, number)| *number).min();
        let own = numbers.in_flight.first().copied().into_iter().chain(abandoned).min();
        own.unwrap_or(numbers.last + 1)
    }
}

impl Ticket<'_> {
    /// What the transaction adds to item collections.
    pub fn grown(&self) -> MutexGuard<'_, Vec<Growth>> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the beginning of each run of a transaction: what the last run drew is not used.
    pub fn restart(&self) {
        self.grown().clear();
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        let mut numbers = self.order.numbers();
        drawn.iter().for_each(|number| {
            numbers.in_flight.remove(number);
        });
    }

    /// A number greater than all before, and than `floor`: the item's last one, which another node may have drawn by a clock
    /// that is ahead.
    pub fn draw(&self, now: Timestamp, floor: u64) -> u64 {
        let mut numbers = self.order.numbers();
        let number = nanos(now).max(numbers.last + 1).max(floor.saturating_add(1));
        numbers.last = number;
        numbers.in_flight.insert(number);
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        number
    }

    /// The transaction has ended, one way or the other.
    pub fn finish(self) {
        self.restart();
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        let mut numbers = self.order.numbers();
        for number in drawn {
            numbers.in_flight.remove(&number);
            numbers.abandoned.push((self.monotonic + ABANDONED, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn a_number_is_shown_once_no_smaller_one_is_in_flight() {
        let order = Order::default();
        let (first, second) = (order.ticket(Duration::ZERO), order.ticket(Duration::ZERO));
        let (a, b) = (first.draw(T0, 0), second.draw(T0, 0));
        assert!(a < b);
        second.finish();
        assert_eq!(order.horizon(T0, Duration::ZERO), a);
        first.restart();
        let c = first.draw(T0, 0);
        assert!(c > b);
        assert_eq!(order.horizon(T0, Duration::ZERO), c);
        first.finish();
        let horizon = order.horizon(T0, Duration::ZERO);
        assert!(horizon > c);
        let later = order.ticket(Duration::ZERO);
        assert!(later.draw(T0, 0) >= horizon);
    }

    #[test]
    fn a_request_that_was_cut_off_holds_readers_back_for_a_while() {
        let order = Order::default();
        let ticket = order.ticket(Duration::from_secs(1));
        let number = ticket.draw(T0, 0);
        drop(ticket);
        assert_eq!(order.horizon(T0, Duration::from_secs(2)), number);
        assert!(order.horizon(T0, Duration::from_secs(12)) > number);
    }
}
