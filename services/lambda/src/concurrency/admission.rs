//! Who may run now: counts of running invocations, by function and by account.
//!
//! A node counts what it runs itself. Chosen: on several nodes the limits hold for each one, until slots are leased between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_core::{AccountId, Region};

use super::ACCOUNT_LIMIT;
use crate::error::LambdaError;
use crate::keys::FunctionKey;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Admission(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    functions: HashMap<FunctionKey, u32>,
    /// Running invocations of functions without a reservation.
    unreserved: HashMap<(AccountId, Region), u32>,
    /// What is reserved in all, and when that was summed up.
    reserved: HashMap<(AccountId, Region), (u32, Duration)>,
}

/// How long a sum of reservations is taken for the present one.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Room for one invocation, given back when it is dropped.
pub struct Permit {
    counts: Arc<Mutex<Counts>>,
    key: FunctionKey,
    is_reserved: bool,
}

impl Admission {
    /// Lets one more invocation in. `reserved` is the function's own limit; `all_reserved` what the account has reserved in all.
    ///
    /// # Errors
    /// `TooManyRequestsException` with AWS's reason.
    pub fn admit(
        &self,
        key: &FunctionKey,
        reserved: Option<u32>,
        all_reserved: u32,
    ) -> Result<Permit, LambdaError> {
        let mut counts = lock(&self.0);
        let running = counts.functions.get(key).copied().unwrap_or(0);
        match reserved {
            Some(limit) if running >= limit => {
                return Err(LambdaError::TooManyRequests {
                    reason: "ReservedFunctionConcurrentInvocationLimitExceeded",
                });
            }
            Some(_) => {}
            None => {
                let account = (key.0, key.1.clone());
                let running = counts.unreserved.entry(account).or_default();
                if *running >= ACCOUNT_LIMIT.saturating_sub(all_reserved) {
                    return Err(LambdaError::TooManyRequests { reason: "ConcurrentInvocationLimitExceeded" });
                }
                *running += 1;
            }
        }
        *counts.functions.entry(key.clone()).or_default() += 1;
        drop(counts);
        Ok(Permit { counts: self.0.clone(), key: key.clone(), is_reserved: reserved.is_some() })
    }

    /// The sum of an account's reservations, if it was noted lately. `now` is monotonic.
    pub fn reserved(&self, account: AccountId, region: &Region, now: Duration) -> Option<u32> {
        let counts = lock(&self.0);
        let (sum, at) = counts.reserved.get(&(account, region.clone()))?;
        (now.saturating_sub(*at) < REMEMBERED).then_some(*sum)
    }

    pub fn note_reserved(&self, account: AccountId, region: &Region, sum: u32, now: Duration) {
        lock(&self.0).reserved.insert((account, region.clone()), (sum, now));
    }

    /// Invocations of a function that run on this node.
    pub fn running(&self, key: &FunctionKey) -> u32 {
        lock(&self.0).functions.get(key).copied().unwrap_or(0)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(running) = counts.functions.get_mut(&self.key) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                counts.functions.remove(&self.key);
            }
        }
        let account = (self.key.0, self.key.1.clone());
        if !self.is_reserved
            && let Some(running) = counts.unreserved.get_mut(&account)
        {
            *running = running.saturating_sub(1);
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> FunctionKey {
        (AccountId::DEFAULT, Region::us_east_1(), name.to_owned())
    }

    #[test]
    fn a_reservation_is_a_limit_of_its_own_and_room_comes_back() {
        let admission = Admission::default();
        let first = admission.admit(&key("f"), Some(2), 2).expect("room");
        let _second = admission.admit(&key("f"), Some(2), 2).expect("room");
        let refused = admission.admit(&key("f"), Some(2), 2).err().expect("full");
        assert!(matches!(
            refused,
            LambdaError::TooManyRequests { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" }
        ));
        drop(first);
        assert_eq!(admission.running(&key("f")), 1);
        assert!(admission.admit(&key("f"), Some(2), 2).is_ok());
        assert!(admission.admit(&key("g"), Some(0), 2).is_err(), "zero lets nobody in");
    }

    #[test]
    fn a_sum_of_reservations_is_remembered_for_a_second() {
        let (admission, region) = (Admission::default(), Region::us_east_1());
        let at = |millis| admission.reserved(AccountId::DEFAULT, &region, Duration::from_millis(millis));
        assert_eq!(at(0), None);
        admission.note_reserved(AccountId::DEFAULT, &region, 7, Duration::from_millis(500));
        assert_eq!((at(1_499), at(1_500)), (Some(7), None));
    }

    #[test]
    fn functions_without_a_reservation_share_what_is_left() {
        let admission = Admission::default();
        let taken: Vec<Permit> =
            (0..900).map(|_| admission.admit(&key("f"), None, 100).expect("room")).collect();
        let refused = admission.admit(&key("g"), None, 100).err().expect("full");
        assert!(matches!(
            refused,
            LambdaError::TooManyRequests { reason: "ConcurrentInvocationLimitExceeded" }
        ));
        drop(taken);
        assert!(admission.admit(&key("g"), None, 100).is_ok());
    }
}
