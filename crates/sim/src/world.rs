//! The scheduler: tasks, virtual time and chance, all from one seed, in one thread.
//!
//! A step polls one task. Which of those that can run is drawn from the seed, so every interleaving of the awaits is
//! possible and every one can be had again. When none can run, virtual time jumps to the next timer. Nothing here waits in
//! real time, and nothing asks the operating system for time or chance.
//!
//! A task belongs to an owner (a node, the store, the clients). An owner can be killed, which drops its tasks at whatever
//! await they stand, or paused, which is what a stopped process looks like to the others.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pileus_core::{BoxFuture, Rng as _, SeededRng};

/// Who a task belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    Store,
    Clients,
    Node(usize),
}

/// The simulated world. Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    seed: u64,
    /// Nanoseconds since the beginning.
    now: AtomicU64,
    rng: SeededRng,
    ready: Arc<Ready>,
    state: Mutex<State>,
    trace: Mutex<Trace>,
    failure: Mutex<Option<String>>,
    is_stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    /// Owners that do not run, with their tasks that could.
    paused: BTreeMap<Owner, Vec<u64>>,
}

struct Task {
    owner: Owner,
    /// Taken out while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

/// Tasks that can run, ascending: the order in which they were woken is not always the seed's (`tokio::sync::watch` wakes by
/// a chance of its own), and must not matter.
#[derive(Default)]
struct Ready(Mutex<Vec<u64>>);

struct TaskWaker {
    task: u64,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

struct Trace {
    hash: u64,
    is_shown: bool,
    steps: u64,
}

/// How a run of the scheduler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody called `stop` or `fail`.
    Stopped,
    /// No task can ever run again.
    Stuck,
    /// The limit of steps is reached.
    TooLong,
}

impl World {
    pub fn new(seed: u64, is_trace_shown: bool) -> World {
        World(Arc::new(Inner {
            seed,
            now: AtomicU64::new(0),
            rng: SeededRng::new(stream_seed(seed, "scheduler", 0)),
            ready: Arc::default(),
            state: Mutex::default(),
            trace: Mutex::new(Trace { hash: FNV_OFFSET, is_shown: is_trace_shown, steps: 0 }),
            failure: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }))
    }

    /// Time since the beginning.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    /// A generator of its own for each use, so that one use more does not change what the others draw.
    pub fn rng(&self, name: &str, number: u64) -> SeededRng {
        SeededRng::new(stream_seed(self.0.seed, name, number))
    }

    pub fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        let task = state.next_task;
        state.next_task += 1;
        let waker =
            Arc::new(TaskWaker { task, is_queued: AtomicBool::new(false), ready: self.0.ready.clone() });
        state.tasks.insert(task, Task { owner, future: Some(Box::pin(future)), waker: waker.clone() });
        drop(state);
        waker.wake();
    }

    /// Drops every task of the owner where it stands.
    pub fn kill(&self, owner: Owner) {
        let mut state = self.state();
        let (killed, others) =
            std::mem::take(&mut state.tasks).into_iter().partition(|(_, task)| task.owner == owner);
        state.tasks = others;
        state.paused.remove(&owner);
        drop(state);
        // Outside the lock: what is dropped may wake others.
        drop::<BTreeMap<u64, Task>>(killed);
    }

    /// The owner's tasks do not run until `resume`. Time passes for it all the same.
    pub fn pause(&self, owner: Owner) {
        self.state().paused.entry(owner).or_default();
    }

    pub fn resume(&self, owner: Owner) {
        let parked = self.state().paused.remove(&owner).unwrap_or_default();
        parked.into_iter().for_each(|task| self.0.ready.add(task));
    }

    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    pub fn sleep_until(&self, moment: Duration) -> Sleep {
        let at = u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX);
        Sleep { world: self.clone(), at, timer: None }
    }

    /// Ends `run`.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Notes a broken invariant, and ends `run`. The first one counts.
    pub fn fail(&self, reason: impl fmt::Display) {
        let reason = reason.to_string();
        self.note(format_args!("FAILED: {reason}"));
        lock(&self.0.failure).get_or_insert(reason);
        self.stop();
    }

    pub fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }

    /// A line of the trace. All of them go into the trace's hash.
    pub fn note(&self, line: fmt::Arguments<'_>) {
        let mut trace = lock(&self.0.trace);
        let now = self.now();
        trace.mix(&now.as_nanos().to_le_bytes());
        // Writing into a hash cannot fail.
        let _ = fmt::Write::write_fmt(&mut *trace, line);
        if trace.is_shown {
            println!("{:>12.6} {line}", now.as_secs_f64());
        }
    }

    /// The hash of everything that has happened: which task ran when, and every line noted.
    pub fn hash(&self) -> u64 {
        lock(&self.0.trace).hash
    }

    pub fn steps(&self) -> u64 {
        lock(&self.0.trace).steps
    }

    /// Runs until it is stopped, or no task can run, or `max_steps` are over.
    pub fn run(&self, max_steps: u64) -> Ended {
        for _ in 0..max_steps {
            if self.0.is_stopped.load(Ordering::Relaxed) {
                return Ended::Stopped;
            }
            match self.0.ready.draw(&self.0.rng) {
                Some(task) => self.step(task),
                None if self.next_moment() => {}
                None => return Ended::Stuck,
            }
        }
        Ended::TooLong
    }

    /// Drops all tasks: they hold the world, and it holds them.
    pub fn clear(&self) {
        let (tasks, timers) = {
            let mut state = self.state();
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.timers))
        };
        drop(tasks);
        drop(timers);
    }

    /// Polls a task.
    fn step(&self, id: u64) {
        let mut state = self.state();
        let Some(task) = state.tasks.get_mut(&id) else { return };
        let owner = task.owner;
        if let Some(parked) = state.paused.get_mut(&owner) {
            parked.push(id);
            return;
        }
        let Some(task) = state.tasks.get_mut(&id) else { return };
        task.waker.is_queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.waker.clone());
        let Some(mut future) = task.future.take() else { return };
        drop(state);
        {
            let mut trace = lock(&self.0.trace);
            trace.steps += 1;
            trace.mix(&id.to_le_bytes());
        }
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut state = self.state();
        let left = match (polled, state.tasks.get_mut(&id)) {
            (Poll::Pending, Some(task)) => task.future.replace(future).map(|_| ()),
            // Done, or killed by itself.
            _ => {
                let removed = state.tasks.remove(&id);
                drop(state);
                drop((removed, future));
                None
            }
        };
        debug_assert!(left.is_none(), "a task is polled once at a time");
    }

    /// Moves time to the next timer, and wakes all that wait for that moment.
    fn next_moment(&self) -> bool {
        let mut state = self.state();
        let Some((&(at, _), _)) = state.timers.first_key_value() else { return false };
        let later = state.timers.split_off(&(at + 1, 0));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        self.0.now.fetch_max(at, Ordering::Relaxed);
        due.into_values().for_each(Waker::wake);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

/// Ready once virtual time has come to a moment.
pub struct Sleep {
    world: World,
    at: u64,
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.0.now.load(Ordering::Relaxed) >= self.at {
            return Poll::Ready(());
        }
        let world = self.world.clone();
        let mut state = world.state();
        let timer = self.timer.unwrap_or_else(|| {
            state.next_timer += 1;
            (self.at, state.next_timer)
        });
        state.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.world.state().timers.remove(&timer);
            drop(waker);
        }
    }
}

impl Ready {
    fn add(&self, task: u64) {
        let mut ready = lock(&self.0);
        let at = ready.partition_point(|other| *other < task);
        ready.insert(at, task);
    }

    fn draw(&self, rng: &SeededRng) -> Option<u64> {
        let mut ready = lock(&self.0);
        let count = ready.len();
        let at = if count < 2 { 0 } else { rng.below(count as u64) as usize };
        (count > 0).then(|| ready.remove(at))
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            self.ready.add(self.task);
        }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Trace {
    fn mix(&mut self, bytes: &[u8]) {
        self.hash = fnv(self.hash, bytes);
    }
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.mix(text.as_bytes());
        Ok(())
    }
}

fn stream_seed(seed: u64, name: &str, number: u64) -> u64 {
    fnv(fnv(fnv(FNV_OFFSET, &seed.to_le_bytes()), name.as_bytes()), &number.to_le_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
