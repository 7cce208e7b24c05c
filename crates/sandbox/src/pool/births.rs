//! How many environments of one function are initialised at a time.
//!
//! An init is mostly work of a processor. When a hundred invocations of a function come at once, a hundred inits would share a
//! few processors, outlive their limits together and keep everything else waiting; a few at a time are soon ready, and most of
//! the invocations find one of those. A function is never refused for this: its invocations wait while there are births.
//!
//! Chosen: as many for each function as there are processors, and at least two. AWS starts as many as are called for, on as many machines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub struct Births {
    most: usize,
    under_way: Mutex<HashMap<String, usize>>,
    changed: Arc<Notify>,
}

/// An environment on its way to its first invocation. Dropped once its init is over, however it ended.
pub struct Birth {
    births: Arc<Births>,
    function: String,
}

impl Births {
    /// `changed` hears of the end of each.
    pub fn new(changed: Arc<Notify>) -> Arc<Births> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Births { most: processors.max(2), under_way: Mutex::default(), changed })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, unless an invocation can wait for those that are under way.
    pub fn begin_if_few(self: &Arc<Births>, function: &str) -> Option<Birth> {
        let is_few = self.under_way().get(function).copied().unwrap_or(0) < self.most;
        is_few.then(|| self.begin(function))
    }

    /// One more in any case: it was asked for by itself.
    pub fn begin(self: &Arc<Births>, function: &str) -> Birth {
        *self.under_way().entry(function.to_owned()).or_default() += 1;
        Birth { births: self.clone(), function: function.to_owned() }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        let mut under_way = self.births.under_way();
        if let Some(count) = under_way.get_mut(&self.function) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.function);
            }
        }
        drop(under_way);
        self.births.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_a_few_births_at_a_time_and_those_that_end_make_room() {
        let births = Births::new(Arc::new(Notify::new()));
        let mut first: Vec<Birth> = (0..births.most).map_while(|_| births.begin_if_few("a")).collect();
        assert_eq!(first.len(), births.most);
        assert!(births.begin_if_few("a").is_none());
        assert!(births.begin_if_few("b").is_some(), "another function is not kept waiting");
        first.push(births.begin("a"));
        first.pop();
        assert!(births.begin_if_few("a").is_none());
        first.pop();
        assert!(births.begin_if_few("a").is_some());
        first.clear();
        assert!(births.under_way().is_empty());
    }
}
