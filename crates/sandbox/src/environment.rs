//! The life of one execution environment, as a pure state machine: what happened goes in, what is to be done comes out.
//!
//! ```text
//! Fresh ── Init ── Ready ⇄ Busy          a failed first init, a timeout, a crash:
//!            │       │       │             (Shutdown events) → every process killed → Cold
//!            └── Resetting ──┘           Cold: the sandbox and its /tmp stay, the next invocation runs init inside itself
//!                  │                     Stop: Stopping → Dead
//! ```
//!
//! Invariants: one invocation at a time; every invocation gets exactly one `Finish`; nothing runs while `Cold`; once `Dead`
//! nothing comes out. Timers are the driver's: the machine says when one starts, and hears when it ran out.
//!
//! Source: AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The first init of an environment may take this long; a provisioned or SnapStart one may take 15 minutes.
pub const INIT_LIMIT: Duration = Duration::from_secs(10);
pub const PREPARED_INIT_LIMIT: Duration = Duration::from_secs(900);
/// The shutdown phase with an external extension, and with internal ones only.
pub const EXTERNAL_SHUTDOWN: Duration = Duration::from_secs(2);
pub const INTERNAL_SHUTDOWN: Duration = Duration::from_millis(500);

/// A number for each extension, given out at registration.
pub type ExtensionId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Runtime,
    Extension(ExtensionId),
}

/// What an extension wants to hear, and whether it is a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    pub is_external: bool,
    pub invoke: bool,
    pub shutdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    Signal(i32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The sandbox stands: start the processes. `external` is the number of executables in `/opt/extensions`.
    Begin {
        external: usize,
    },
    /// An invocation was given to this environment.
    Invoke,
    Registered(ExtensionId, Subscription),
    /// `GET .../invocation/next` or `GET .../event/next`: this party has nothing left to do.
    Waiting(Party),
    /// The runtime answered the invocation, or said that it failed.
    Answered,
    /// `POST .../init/error`, by the runtime or an extension.
    InitError(Party),
    /// `POST /extension/exit/error`.
    ExitError(ExtensionId),
    /// The runtime or an external extension ended.
    Exited(Party, Exit),
    MemoryExceeded,
    TimedOut(Timer),
    /// Every process of the function is gone.
    ResetDone,
    /// No further invocation: idle for too long, the function changed, the engine stops.
    Stop,
    /// The sandbox itself is gone.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    Init,
    Invoke,
    Shutdown,
}

/// `shutdownReason` of the SHUTDOWN event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Spindown,
    Timeout,
    Failure,
}

/// How an invocation ended. What the runtime posted (a response or an error) is the driver's to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Answered,
    TimedOut,
    Exited(Exit),
    /// The runtime or an extension posted an init error.
    InitError,
    ExtensionExited(ExtensionId, Exit),
    ExtensionError,
    /// The sandbox went away under it.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    StartExtensions,
    StartRuntime,
    Arm(Timer),
    Disarm(Timer),
    /// Init is complete. `in_invoke`: it ran inside an invocation and is no "Init Duration".
    InitDone {
        in_invoke: bool,
    },
    /// Init failed; it is tried again inside the first invocation.
    InitFailed {
        ending: Ending,
        in_invoke: bool,
    },
    /// Hand the invocation to the runtime, and INVOKE events to those extensions that asked for them.
    Deliver,
    Finish(Ending),
    /// Takes the next invocation. May be said twice.
    Idle,
    /// Send SHUTDOWN events (and SIGTERM to the runtime).
    Shutdown(Reason),
    /// Kill every process of the function, keep the sandbox; answer with `ResetDone`.
    Reset,
    /// The environment has no processes; it can take an invocation all the same.
    Cooled,
    /// End the sandbox.
    Destroy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Fresh {
        invoked: bool,
    },
    Init(Init),
    Ready,
    /// `next`: another invocation was given while the runtime still had to ask for it.
    Busy {
        answered: bool,
        awaited: BTreeSet<Party>,
        next: bool,
    },
    /// Between a failure and `ResetDone`. `notified` while extensions still have time to shut down.
    Resetting {
        notified: bool,
        invoked: bool,
    },
    Cold,
    Stopping,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Init {
    /// An invocation waits for the end of init.
    invoked: bool,
    /// This init runs inside the invocation, under its timeout.
    in_invoke: bool,
    unregistered: usize,
    runtime_started: bool,
    waiting: BTreeSet<Party>,
}

pub struct Machine {
    state: State,
    external: usize,
    extensions: BTreeMap<ExtensionId, Subscription>,
    /// `Stop` came while there was something to finish.
    stop_wanted: bool,
}

impl Machine {
    pub fn new() -> Machine {
        Machine {
            state: State::Fresh { invoked: false },
            external: 0,
            extensions: BTreeMap::new(),
            stop_wanted: false,
        }
    }

    /// Whether an invocation can be given now, or once what is going on has ended well.
    pub fn is_vacant(&self) -> bool {
        let vacant = match &self.state {
            State::Ready | State::Cold => true,
            State::Fresh { invoked } | State::Resetting { invoked, .. } => !invoked,
            State::Init(init) => !init.invoked,
            State::Busy { answered, next, .. } => *answered && !next,
            State::Stopping | State::Dead => false,
        };
        vacant && !self.stop_wanted
    }

    /// Nothing goes on: it may be frozen.
    pub fn is_quiet(&self) -> bool {
        self.state == State::Ready
    }

    #[cfg(test)]
    pub fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    /// Whether an extension may still register: only until init is complete.
    pub fn takes_registrations(&self) -> bool {
        matches!(self.state, State::Init(_))
    }

    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Dead);
        match event {
            Event::Gone => self.gone(state),
            Event::Stop => self.stop(state),
            event => match state {
                State::Fresh { invoked } => self.fresh(invoked, event),
                State::Init(init) => self.initialising(init, event),
                State::Ready => self.ready(event),
                State::Busy { answered, awaited, next } => self.busy(answered, awaited, next, event),
                State::Resetting { notified, invoked } => self.resetting(notified, invoked, event),
                State::Cold => self.cold(event),
                State::Stopping => self.stopping(event),
                State::Dead => Vec::new(),
            },
        }
    }

    fn fresh(&mut self, invoked: bool, event: Event) -> Vec<Action> {
        match event {
            Event::Begin { external } => {
                self.external = external;
                let mut actions = vec![Action::Arm(Timer::Init)];
                actions.extend(self.start(invoked, false));
                actions
            }
            Event::Invoke => self.stay(State::Fresh { invoked: true }),
            _ => self.stay(State::Fresh { invoked }),
        }
    }

    /// Starts the external extensions, or the runtime at once when there are none.
    fn start(&mut self, invoked: bool, in_invoke: bool) -> Vec<Action> {
        self.extensions.clear();
        let runtime_started = self.external == 0;
        self.state = State::Init(Init {
            invoked,
            in_invoke,
            unregistered: self.external,
            runtime_started,
            waiting: BTreeSet::new(),
        });
        vec![if runtime_started { Action::StartRuntime } else { Action::StartExtensions }]
    }

    fn initialising(&mut self, mut init: Init, event: Event) -> Vec<Action> {
        match event {
            Event::Invoke => init.invoked = true,
            Event::Registered(id, subscription) => {
                self.extensions.insert(id, subscription);
                if subscription.is_external {
                    init.unregistered = init.unregistered.saturating_sub(1);
                }
                if init.unregistered == 0 && !init.runtime_started {
                    init.runtime_started = true;
                    return self.keep(State::Init(init), vec![Action::StartRuntime]);
                }
            }
            Event::Waiting(party) => {
                init.waiting.insert(party);
                return self.settle(init);
            }
            Event::InitError(_) => return self.init_failed(init, Ending::InitError),
            Event::ExitError(_) => return self.init_failed(init, Ending::ExtensionError),
            Event::Exited(Party::Runtime, exit) => return self.init_failed(init, Ending::Exited(exit)),
            Event::Exited(Party::Extension(id), exit) => {
                return self.init_failed(init, Ending::ExtensionExited(id, exit));
            }
            Event::MemoryExceeded => {
                return self.init_failed(init, Ending::Exited(Exit::Signal(KILLED)));
            }
            Event::TimedOut(Timer::Init) if !init.in_invoke => {
                return self.init_failed(init, Ending::TimedOut);
            }
            Event::TimedOut(Timer::Invoke) if init.in_invoke => {
                return self.init_failed(init, Ending::TimedOut);
            }
            _ => {}
        }
        self.stay(State::Init(init))
    }

    /// Init is complete once the runtime and every registered extension wait for the next event.
    fn settle(&mut self, init: Init) -> Vec<Action> {
        let all_wait = init.waiting.contains(&Party::Runtime)
            && self.extensions.keys().all(|id| init.waiting.contains(&Party::Extension(*id)));
        if !all_wait {
            return self.stay(State::Init(init));
        }
        let mut actions = Vec::new();
        if !init.in_invoke {
            actions.push(Action::Disarm(Timer::Init));
        }
        actions.push(Action::InitDone { in_invoke: init.in_invoke });
        if init.invoked {
            if !init.in_invoke {
                actions.push(Action::Arm(Timer::Invoke));
            }
            actions.extend(self.deliver());
        } else {
            self.state = State::Ready;
            actions.extend(self.idle());
        }
        actions
    }

    fn deliver(&mut self) -> Vec<Action> {
        let mut awaited = BTreeSet::from([Party::Runtime]);
        let invoked = self.extensions.iter().filter(|(_, subscription)| subscription.invoke);
        awaited.extend(invoked.map(|(id, _)| Party::Extension(*id)));
        self.state = State::Busy { answered: false, awaited, next: false };
        vec![Action::Deliver]
    }

    fn init_failed(&mut self, init: Init, ending: Ending) -> Vec<Action> {
        let mut actions = vec![Action::InitFailed { ending, in_invoke: init.in_invoke }];
        if init.in_invoke {
            actions.push(Action::Disarm(Timer::Invoke));
            actions.extend(self.announce());
            actions.push(Action::Finish(ending));
        } else {
            actions.push(Action::Disarm(Timer::Init));
        }
        let invoked = init.invoked && !init.in_invoke;
        actions.extend(self.reset(reason_of(ending), invoked));
        actions
    }

    fn ready(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Invoke => {
                let mut actions = vec![Action::Arm(Timer::Invoke)];
                actions.extend(self.deliver());
                actions
            }
            Event::Exited(..) | Event::MemoryExceeded | Event::ExitError(_) => {
                self.reset(Reason::Failure, false)
            }
            _ => self.stay(State::Ready),
        }
    }

    fn busy(
        &mut self,
        answered: bool,
        mut awaited: BTreeSet<Party>,
        next: bool,
        event: Event,
    ) -> Vec<Action> {
        let ending = match event {
            Event::Answered if !answered => return self.answered(awaited),
            Event::Invoke if answered => {
                return self.stay(State::Busy { answered, awaited, next: true });
            }
            Event::Waiting(party) => {
                // A runtime that asks for the next invocation without having answered this one is not done with it.
                if party != Party::Runtime || answered {
                    awaited.remove(&party);
                }
                return self.rest(answered, awaited, next);
            }
            Event::TimedOut(Timer::Invoke) => Ending::TimedOut,
            Event::Exited(Party::Runtime, exit) => Ending::Exited(exit),
            Event::Exited(Party::Extension(id), exit) => Ending::ExtensionExited(id, exit),
            Event::ExitError(_) => Ending::ExtensionError,
            Event::MemoryExceeded => Ending::Exited(Exit::Signal(KILLED)),
            _ => return self.stay(State::Busy { answered, awaited, next }),
        };
        let mut actions = vec![Action::Disarm(Timer::Invoke)];
        if !answered {
            actions.extend(self.announce());
            actions.push(Action::Finish(ending));
        }
        actions.extend(self.reset(reason_of(ending), next));
        actions
    }

    /// The invoker has its answer. A runtime asks for the next invocation a moment later, so an environment without extensions
    /// at work takes one already: callers who call again at once find it.
    fn answered(&mut self, awaited: BTreeSet<Party>) -> Vec<Action> {
        let is_rest_short = awaited.iter().all(|party| *party == Party::Runtime);
        let mut actions: Vec<Action> = self.announce().filter(|_| is_rest_short).into_iter().collect();
        actions.push(Action::Finish(Ending::Answered));
        self.state = State::Busy { answered: true, awaited, next: false };
        actions
    }

    /// Busy until the invocation is answered and nobody has anything left to do.
    fn rest(&mut self, answered: bool, awaited: BTreeSet<Party>, next: bool) -> Vec<Action> {
        if !answered || !awaited.is_empty() {
            return self.stay(State::Busy { answered, awaited, next });
        }
        let mut actions = vec![Action::Disarm(Timer::Invoke)];
        self.state = State::Ready;
        if next {
            actions.push(Action::Arm(Timer::Invoke));
            actions.extend(self.deliver());
        } else {
            actions.extend(self.idle());
        }
        actions
    }

    /// Before an invoker hears how it ended: so it finds this environment when it calls again at once.
    fn announce(&self) -> Option<Action> {
        (!self.stop_wanted).then_some(Action::Idle)
    }

    fn idle(&mut self) -> Vec<Action> {
        if self.stop_wanted {
            return self.shut_down();
        }
        vec![Action::Idle]
    }

    /// `invoked`: an invocation waits, and init runs again inside it.
    fn reset(&mut self, reason: Reason, invoked: bool) -> Vec<Action> {
        let notified = self.grace().is_some();
        self.state = State::Resetting { notified, invoked };
        if notified {
            vec![Action::Shutdown(reason), Action::Arm(Timer::Shutdown)]
        } else {
            vec![Action::Reset]
        }
    }

    fn resetting(&mut self, notified: bool, invoked: bool, event: Event) -> Vec<Action> {
        match event {
            Event::Invoke => self.stay(State::Resetting { notified, invoked: true }),
            Event::TimedOut(Timer::Shutdown) if notified => {
                self.keep(State::Resetting { notified: false, invoked }, vec![Action::Reset])
            }
            Event::Exited(Party::Extension(id), _) if notified => {
                self.extensions.remove(&id);
                match self.grace() {
                    Some(_) => self.stay(State::Resetting { notified, invoked }),
                    None => self.keep(
                        State::Resetting { notified: false, invoked },
                        vec![Action::Disarm(Timer::Shutdown), Action::Reset],
                    ),
                }
            }
            Event::ResetDone if !notified => self.cooled(invoked),
            _ => self.stay(State::Resetting { notified, invoked }),
        }
    }

    fn cooled(&mut self, invoked: bool) -> Vec<Action> {
        self.extensions.clear();
        if invoked {
            let mut actions = vec![Action::Arm(Timer::Invoke)];
            actions.extend(self.start(true, true));
            return actions;
        }
        if self.stop_wanted {
            return vec![Action::Destroy];
        }
        self.keep(State::Cold, vec![Action::Cooled])
    }

    fn cold(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Invoke => self.cooled(true),
            _ => self.stay(State::Cold),
        }
    }

    fn stop(&mut self, state: State) -> Vec<Action> {
        self.stop_wanted = true;
        match state {
            State::Fresh { invoked: false } | State::Cold => vec![Action::Destroy],
            State::Ready => self.shut_down(),
            State::Init(init) if !init.invoked => {
                let mut actions = vec![Action::Disarm(Timer::Init)];
                actions.extend(self.shut_down());
                actions
            }
            // What is going on ends first: `idle` and `cooled` look at `stop_wanted`.
            state => self.stay(state),
        }
    }

    fn shut_down(&mut self) -> Vec<Action> {
        match self.grace() {
            None => {
                self.state = State::Dead;
                vec![Action::Destroy]
            }
            Some(_) => self.keep(
                State::Stopping,
                vec![Action::Shutdown(Reason::Spindown), Action::Arm(Timer::Shutdown)],
            ),
        }
    }

    fn stopping(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::TimedOut(Timer::Shutdown) => vec![Action::Destroy],
            Event::Exited(Party::Extension(id), _) => {
                self.extensions.remove(&id);
                match self.grace() {
                    Some(_) => self.stay(State::Stopping),
                    None => vec![Action::Disarm(Timer::Shutdown), Action::Destroy],
                }
            }
            _ => self.stay(State::Stopping),
        }
    }

    fn gone(&mut self, state: State) -> Vec<Action> {
        match state {
            State::Dead => Vec::new(),
            State::Busy { answered: false, .. }
            | State::Busy { next: true, .. }
            | State::Fresh { invoked: true }
            | State::Init(Init { invoked: true, .. })
            | State::Resetting { invoked: true, .. } => {
                vec![Action::Finish(Ending::Lost), Action::Destroy]
            }
            _ => vec![Action::Destroy],
        }
    }

    /// How long the shutdown phase lasts: nothing without extensions.
    pub fn grace(&self) -> Option<Duration> {
        let is_any_external = self.extensions.values().any(|subscription| subscription.is_external);
        match (self.extensions.is_empty(), is_any_external) {
            (true, _) => None,
            (false, true) => Some(EXTERNAL_SHUTDOWN),
            (false, false) => Some(INTERNAL_SHUTDOWN),
        }
    }

    pub fn extensions(&self) -> &BTreeMap<ExtensionId, Subscription> {
        &self.extensions
    }

    fn stay(&mut self, state: State) -> Vec<Action> {
        self.keep(state, Vec::new())
    }

    fn keep(&mut self, state: State, actions: Vec<Action>) -> Vec<Action> {
        self.state = state;
        actions
    }
}

const KILLED: i32 = 9;

fn reason_of(ending: Ending) -> Reason {
    match ending {
        Ending::TimedOut => Reason::Timeout,
        _ => Reason::Failure,
    }
}
