//! Which environments there are, which of them wait for work, and what is kept ready for functions to come.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use pileus_core::Timestamp;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::{Limits, Stats};
use crate::driver::{Job, Message};
use crate::engine::send_stop;
use crate::sandbox::Sandbox;
use crate::spec::{FunctionSpec, Initialization};

mod births;

pub use births::Birth;
use births::Births;

/// An environment ends this long before its credentials do.
const CREDENTIALS_MARGIN: Duration = Duration::from_secs(16 * 60);
/// An environment whose credentials end this soon takes no invocation any more.
const LAST_CREDENTIALS: Duration = Duration::from_secs(60);
/// How long a prepared environment waits for an invocation.
///
/// Source: AWS Lambda Developer Guide, "Lambda SnapStart": a snapshot that nobody uses for 14 days goes.
const PREPARED_IDLE: Duration = Duration::from_secs(14 * 86_400);

pub struct Pool {
    limits: Limits,
    state: Mutex<State>,
    births: Arc<Births>,
    changed: Arc<Notify>,
    is_refilling: AtomicBool,
    pub invocations: AtomicU64,
}

/// Why no environment is made for an invocation now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// Enough of the function's own are on their way.
    BirthsUnderWay,
    NoRoom,
}

#[derive(Default)]
struct State {
    environments: HashMap<u64, Environment>,
    /// By function: the environment used last comes last, and is used first.
    idle: HashMap<String, Vec<u64>>,
    /// Reserved room, environments that are not born yet included.
    count: usize,
    memory_mb: u64,
    /// How many environments of a function are kept however idle they are.
    kept: HashMap<String, usize>,
    empty: Vec<(Sandbox, Timestamp)>,
    booted: HashMap<PathBuf, Vec<(Sandbox, Timestamp)>>,
    cold_starts: u64,
    is_closed: bool,
}

struct Environment {
    function: String,
    sender: UnboundedSender<Message>,
    idle_since: Option<Timestamp>,
    expires: Option<Timestamp>,
    stops_after_work: bool,
    /// Initialised ahead, and not used yet.
    is_spare: bool,
    /// One of these is kept waiting far longer than others.
    is_prepared: bool,
}

impl Pool {
    pub fn new(limits: Limits) -> Pool {
        let changed = Arc::new(Notify::new());
        Pool {
            limits,
            state: Mutex::new(State::default()),
            births: Births::new(changed.clone()),
            changed,
            is_refilling: AtomicBool::new(false),
            invocations: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives the job to an idle environment of this function; hands it back when there is none.
    pub fn give(&self, function: &str, mut job: Job, now: Timestamp) -> Option<Job> {
        let mut state = self.state();
        loop {
            let Some(id) = state.idle.get_mut(function).and_then(Vec::pop) else { return Some(job) };
            let Some(environment) = state.environments.get_mut(&id) else { continue };
            environment.idle_since = None;
            environment.is_spare = false;
            // It has waited so long that its credentials would end under the function.
            if environment.expires.is_some_and(|expires| now + LAST_CREDENTIALS >= expires) {
                send_stop(&environment.sender);
                continue;
            }
            match environment.sender.send(Message::Invoke(job)) {
                Ok(()) => return None,
                Err(unsent) => match unsent.0 {
                    Message::Invoke(unsent) => job = unsent,
                    Message::Stop => return None,
                },
            }
        }
    }

    /// Takes room for one more environment, if there is any.
    pub fn reserve(&self, spec: &FunctionSpec) -> Option<Birth> {
        self.take_room(spec).then(|| self.births.begin(&spec.id))
    }

    /// As `reserve`, for an invocation that could as well wait for an environment that is on its way.
    pub fn reserve_for_invocation(&self, spec: &FunctionSpec) -> Result<Birth, Unready> {
        let birth = self.births.begin_if_few(&spec.id).ok_or(Unready::BirthsUnderWay)?;
        if self.take_room(spec) { Ok(birth) } else { Err(Unready::NoRoom) }
    }

    fn take_room(&self, spec: &FunctionSpec) -> bool {
        let mut state = self.state();
        let memory_mb = state.memory_mb + u64::from(spec.memory_mb);
        if state.is_closed || state.count >= self.limits.environments || memory_mb > self.limits.memory_mb {
            return false;
        }
        state.count += 1;
        state.memory_mb = memory_mb;
        state.cold_starts += 1;
        true
    }

    pub fn release(&self, spec: &FunctionSpec) {
        let mut state = self.state();
        state.count = state.count.saturating_sub(1);
        state.memory_mb = state.memory_mb.saturating_sub(u64::from(spec.memory_mb));
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn born(
        &self,
        id: u64,
        spec: &FunctionSpec,
        sender: UnboundedSender<Message>,
        expires: Option<Timestamp>,
        is_spare: bool,
    ) {
        let environment = Environment {
            function: spec.id.clone(),
            sender,
            idle_since: None,
            expires,
            stops_after_work: false,
            is_spare,
            is_prepared: spec.initialization == Initialization::SnapStart,
        };
        let mut state = self.state();
        if state.is_closed {
            send_stop(&environment.sender);
        }
        state.environments.insert(id, environment);
    }

    pub fn idle(&self, id: u64, function: &str, now: Timestamp) {
        let mut state = self.state();
        let is_closed = state.is_closed;
        let Some(environment) = state.environments.get_mut(&id) else { return };
        let is_old = environment.expires.is_some_and(|expires| now + CREDENTIALS_MARGIN >= expires);
        if is_closed || is_old || environment.stops_after_work {
            send_stop(&environment.sender);
            return;
        }
        if environment.idle_since.replace(now).is_some() {
            return; // said again
        }
        state.idle.entry(function.to_owned()).or_default().push(id);
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn ended(&self, id: u64, spec: &FunctionSpec) {
        let mut state = self.state();
        state.environments.remove(&id);
        if let Some(idle) = state.idle.get_mut(&spec.id) {
            idle.retain(|other| *other != id);
            if idle.is_empty() {
                state.idle.remove(&spec.id);
            }
        }
        drop(state);
        self.release(spec);
    }

    pub fn stop_function(&self, function: &str) {
        let mut state = self.state();
        let idle = state.idle.remove(function).unwrap_or_default();
        for (id, environment) in &mut state.environments {
            if environment.function == function {
                environment.stops_after_work = true;
                if idle.contains(id) {
                    send_stop(&environment.sender);
                }
            }
        }
    }

    /// Whether an environment of this function waits, or will once its init is done.
    pub fn has_spare(&self, function: &str) -> bool {
        let state = self.state();
        let mut all = state.environments.values().filter(|environment| environment.function == function);
        all.any(|environment| environment.idle_since.is_some() || environment.is_spare)
    }

    /// Makes room: the environment that has waited longest goes, kept ones excepted.
    pub fn stop_oldest_idle(&self) {
        let mut state = self.state();
        let spare = state.spare();
        let oldest = spare.into_iter().min_by_key(|(_, since)| *since).map(|(id, _)| id);
        if let Some(id) = oldest {
            state.stop(id);
        }
    }

    /// Ends what has been idle for as long as `most`, and what is kept ready for a runtime that nobody has started since.
    pub fn stop_idle(&self, now: Timestamp, most: Duration) {
        let mut state = self.state();
        for (id, since) in state.spare() {
            let mut most = most;
            let is_prepared = state.environments.get(&id).is_some_and(|environment| environment.is_prepared);
            if is_prepared && state.is_last_of_its_function(id) {
                most = PREPARED_IDLE;
            }
            let is_expired = state.expires(id).is_some_and(|expires| now + CREDENTIALS_MARGIN >= expires);
            if now.since(since) >= most || is_expired {
                state.stop(id);
            }
        }
        let is_fresh = |made: &Timestamp| now.since(*made) < most;
        let mut ended: Vec<Sandbox> = Vec::new();
        let all = std::mem::take(&mut state.empty);
        let (fresh, old): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, made)| is_fresh(made));
        state.empty = fresh;
        ended.extend(old.into_iter().map(|(sandbox, _)| sandbox));
        for waiting in state.booted.values_mut() {
            let (fresh, old): (Vec<_>, Vec<_>) =
                std::mem::take(waiting).into_iter().partition(|(_, made)| is_fresh(made));
            *waiting = fresh;
            ended.extend(old.into_iter().map(|(sandbox, _)| sandbox));
        }
        drop(state);
        drop(ended);
    }

    pub fn keep(&self, function: &str, count: usize) {
        let mut state = self.state();
        if count == 0 {
            state.kept.remove(function);
        } else {
            state.kept.insert(function.to_owned(), count);
        }
    }

    pub fn count(&self, function: &str) -> usize {
        self.state().environments.values().filter(|environment| environment.function == function).count()
    }

    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let sandboxes = (std::mem::take(&mut state.empty), std::mem::take(&mut state.booted));
        for environment in state.environments.values() {
            send_stop(&environment.sender);
        }
        drop(state);
        drop(sandboxes);
        self.changed.notify_waiters();
    }

    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    pub fn is_empty(&self) -> bool {
        self.state().count == 0
    }

    /// Returns after the next change, or soon: a change between a look and this call is not lost for long.
    pub async fn changed(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(50), self.changed.notified()).await;
    }

    pub fn stats(&self) -> Stats {
        let state = self.state();
        let idle = state.environments.values().filter(|environment| environment.idle_since.is_some()).count();
        Stats {
            environments: state.environments.len(),
            busy: state.environments.len() - idle,
            idle,
            pooled_empty: state.empty.len(),
            pooled_booted: state.booted.values().map(Vec::len).sum(),
            cold_starts: state.cold_starts,
            invocations: self.invocations.load(Ordering::Relaxed),
        }
    }

    pub fn take_empty(&self) -> Option<Sandbox> {
        self.state().empty.pop().map(|(sandbox, _)| sandbox)
    }

    /// The one that has waited longest: it is the likeliest to have finished booting.
    pub fn take_booted(&self, binary: &Path) -> Option<Sandbox> {
        let mut state = self.state();
        let waiting = state.booted.get_mut(binary)?;
        if waiting.is_empty() { None } else { Some(waiting.remove(0).0) }
    }

    pub fn wants_booted(&self, binary: &Path, wanted: usize) -> bool {
        let state = self.state();
        !state.is_closed && state.booted.get(binary).map_or(0, Vec::len) < wanted
    }

    pub fn wants_empty(&self, wanted: usize) -> bool {
        let state = self.state();
        !state.is_closed && state.empty.len() < wanted
    }

    pub fn put_booted(&self, binary: PathBuf, sandbox: Sandbox, now: Timestamp) {
        let mut state = self.state();
        if !state.is_closed {
            state.booted.entry(binary).or_default().push((sandbox, now));
        }
    }

    pub fn put_empty(&self, sandbox: Sandbox, now: Timestamp) {
        let mut state = self.state();
        if !state.is_closed {
            state.empty.push((sandbox, now));
        }
    }

    /// One refill at a time: false when one is under way.
    pub fn begin_refill(&self) -> bool {
        !self.is_refilling.swap(true, Ordering::AcqRel)
    }

    pub fn end_refill(&self) {
        self.is_refilling.store(false, Ordering::Release);
    }
}

impl State {
    /// Idle environments beyond those that are kept.
    fn spare(&self) -> Vec<(u64, Timestamp)> {
        let mut spare = Vec::new();
        for (function, idle) in &self.idle {
            let all =
                self.environments.values().filter(|environment| environment.function == *function).count();
            let over = all.saturating_sub(self.kept.get(function).copied().unwrap_or(0));
            let since = |id: &u64| Some((*id, self.environments.get(id)?.idle_since?));
            spare.extend(idle.iter().filter_map(since).take(over));
        }
        spare
    }

    fn expires(&self, id: u64) -> Option<Timestamp> {
        self.environments.get(&id)?.expires
    }

    fn is_last_of_its_function(&self, id: u64) -> bool {
        let Some(environment) = self.environments.get(&id) else { return false };
        self.idle.get(&environment.function).is_some_and(|idle| idle.last() == Some(&id))
    }

    fn stop(&mut self, id: u64) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        environment.idle_since = None;
        send_stop(&environment.sender);
        if let Some(idle) = self.idle.get_mut(&environment.function) {
            idle.retain(|other| *other != id);
        }
    }
}
