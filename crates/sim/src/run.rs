//! One simulation: calm, trouble, calm again, and what must be true then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use pileus_core::Rng as _;

use crate::chaos;
use crate::cloud::Cloud;
use crate::faults::{Bug, Faults, Rates};
use crate::server::Server;
use crate::workload::Crew;
use crate::workload::access::Access;
use crate::workload::jobs::Jobs;
use crate::workload::lease::Leases;
use crate::workload::queue::Queue;
use crate::workload::table::Table;
use crate::world::{Ended, Owner, World};

/// No simulation takes so many steps unless something turns in circles.
const MAX_STEPS: u64 = 20_000_000;
/// After the trouble every visibility timeout and retry ends within it, also by a clock that is behind, and no node relies any
/// more on what it believed of an index when it missed a wake-up: it does so for a minute.
const SETTLE: Duration = Duration::from_secs(65);

/// Where tasks of SQS's own have to end, too.
const SETTLE_TASKS: Duration = Duration::from_secs(110);

/// What to simulate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Prints every line of the trace.
    pub is_trace_shown: bool,
    /// A fault of the store's that must be found.
    pub bug: Option<Bug>,
}

/// A simulation in which every invariant held.
#[derive(Debug, Clone)]
pub struct Report {
    /// Of everything that happened.
    pub hash: u64,
    pub steps: u64,
    pub commits: u64,
    pub virtual_time: Duration,
    /// What was done, in words.
    pub work: String,
}

/// A broken invariant.
#[derive(Debug, Clone, thiserror::Error)]
#[error("seed {seed}: {reason}")]
pub struct Broken {
    pub seed: u64,
    pub reason: String,
}

/// Runs one seed to its end.
///
/// # Errors
/// The first invariant that broke.
pub fn run(seed: u64, options: Options) -> Result<Report, Broken> {
    let broken = |reason: String| Broken { seed, reason };
    let world = World::new(seed, options.is_trace_shown);
    let rates = Rates::draw(&world);
    world.note(format_args!("{rates:?}"));
    let faults = Arc::new(Faults::new(Rates { latency: rates.latency, ..Rates::CALM }));
    let server =
        Server::open(&world, faults.clone(), options.bug).map_err(|error| broken(error.to_string()))?;
    let rng = world.rng("run", 0);
    let nodes = 2 + rng.below(3);
    let skew = u64::try_from(rates.skew.as_millis()).unwrap_or(0);
    let ahead = (0..nodes).map(|_| Duration::from_millis(rng.below(skew + 1))).collect();
    let cloud = Cloud::new(&world, &server, &faults, ahead);
    let work = Arc::new(std::sync::Mutex::new(String::new()));
    let script = script(cloud, rates, work.clone());
    let failing = world.clone();
    world.spawn(Owner::Clients, async move {
        match script.await {
            Ok(()) => failing.stop(),
            Err(reason) => failing.fail(reason),
        }
    });
    let ended = world.run(MAX_STEPS);
    let failure = world.failure().or(match ended {
        Ended::Stopped => None,
        Ended::Stuck => Some("nothing can happen any more, and the work is not done".to_owned()),
        Ended::TooLong => Some(format!("not done after {MAX_STEPS} steps")),
    });
    let (hash, steps, virtual_time) = (world.hash(), world.steps(), world.now());
    world.clear();
    let commits = server.commits();
    let work = work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match failure {
        Some(reason) => Err(broken(reason)),
        None => Ok(Report { hash, steps, commits, virtual_time, work }),
    }
}

async fn script(cloud: Cloud, rates: Rates, work: Arc<std::sync::Mutex<String>>) -> Result<(), String> {
    let world = cloud.world().clone();
    let rng = world.rng("script", 0);
    let length = Duration::from_secs(8 + rng.below(3) * rng.below(12));
    let crew = Crew::new(&cloud, Duration::from_secs(5) + length);
    // At least one of them, whatever the seed.
    let chosen = 1 + rng.below(31);
    let is_chosen = |bit: u64| chosen & (1 << bit) != 0;
    let jobs = is_chosen(0).then(|| Jobs::create(&crew, rates.skew));
    let leases = is_chosen(1).then(|| Leases::create(&crew));
    (0..cloud.size()).for_each(|node| cloud.start(node));
    let standard = if is_chosen(2) { Some(Queue::create(&crew, "jobs", false).await?) } else { None };
    let fifo = if is_chosen(3) { Some(Queue::create(&crew, "orders", true).await?) } else { None };
    let access = if is_chosen(4) { Some(Access::create(&crew).await?) } else { None };
    // By chance of its own: the seeds of the others stay what they were.
    let has_table = world.rng("tables", 0).below(3) == 0;
    let table = if has_table { Some(Table::create(&crew).await?) } else { None };

    world.note(format_args!("the trouble begins"));
    cloud.faults().set(rates);
    chaos::begin(&cloud, &rates, crew.until);
    let queues: Vec<Queue> = standard.into_iter().chain(fifo).collect();
    queues.iter().for_each(Queue::begin);
    jobs.iter().for_each(Jobs::begin);
    access.iter().for_each(Access::begin);
    table.iter().for_each(Table::begin);
    world.sleep_until(crew.until).await;

    world.note(format_args!("the trouble ends"));
    cloud.faults().set(Rates { latency: rates.latency, ..Rates::CALM });
    for node in 0..cloud.size() {
        cloud.faults().heal(node);
        world.resume(Owner::Node(node));
    }
    crew.home().await;
    world.sleep(if queues.iter().any(Queue::has_moves) { SETTLE_TASKS } else { SETTLE }).await;
    let mut words = String::new();
    if let Some(jobs) = &jobs {
        let [effects, timers] = jobs.finish()?;
        words += &format!(" Jobs {{ effects: {effects}, timers: {timers} }}");
    }
    // One node, with all that it believes, must find everything.
    let last = rng.below(cloud.size() as u64) as usize;
    (0..cloud.size()).filter(|node| *node != last).for_each(|node| cloud.crash(node));
    for tally in join_all(queues.iter().map(Queue::finish)).await {
        words += &format!(" {:?}", tally?);
    }
    if let Some(table) = &table {
        let [operations, writes] = table.finish().await?;
        words += &format!(" Table {{ operations: {operations}, writes: {writes} }}");
    }
    if let Some(access) = &access {
        let [policy, key] = access.seen();
        words += &format!(" Access {{ policy: {policy:?}, key: {key:?} }}");
    }
    if let Some(leases) = &leases {
        let [taken, fenced] = leases.counts();
        words += &format!(" Leases {{ taken: {taken}, fenced: {fenced} }}");
    }
    *work.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = words.trim_start().to_owned();
    Ok(())
}
