//! `pileus-sim`: runs seeds. `cargo xtask sim` calls it.

use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use pileus_platform::{Clock as _, MovableClock};
use pileus_sim::{Broken, Bug, Options, Report, run};

/// Whole clouds in one thread, from a seed
#[derive(Parser)]
struct Args {
    /// One seed, with its trace
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds from A up to and without B
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<(u64, u64)>,
    /// Seeds from a random one on, for so long
    #[arg(long)]
    minutes: Option<u64>,
    /// With --seed: only the outcome
    #[arg(long)]
    quiet: bool,
    /// With --seed: what the nodes log, too
    #[arg(long)]
    log: bool,
    /// Break the store: loses-commits, skips-checks, reads-the-past, shares-leases
    #[arg(long, value_parser = Bug::parse)]
    bug: Option<Bug>,
}

fn parse_seeds(text: &str) -> Result<(u64, u64), String> {
    let ends = text.split_once("..").and_then(|(first, end)| Some((first.parse().ok()?, end.parse().ok()?)));
    ends.ok_or_else(|| format!("{text:?} is not of the form 0..300"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let clock = MovableClock::system();
    match (args.seed, args.seeds, args.minutes) {
        (Some(seed), _, _) => one(seed, &args),
        (None, seeds, minutes) => {
            let (first, end) = seeds.unwrap_or((0, 300));
            let until = minutes.map(|minutes| clock.monotonic() + Duration::from_secs(minutes * 60));
            let first = if minutes.is_some() { clock.now().as_millis() as u64 } else { first };
            let end = if minutes.is_some() { u64::MAX } else { end };
            many(first, end, until, &clock, args.bug)
        }
    }
}

fn one(seed: u64, args: &Args) -> ExitCode {
    if args.log {
        let log =
            tracing_subscriber::fmt().without_time().with_ansi(false).with_max_level(tracing::Level::DEBUG);
        log.init();
    }
    match run(seed, Options { is_trace_shown: !args.quiet, bug: args.bug }) {
        Ok(report) => {
            println!("seed {seed}: {report:#?}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn many(first: u64, end: u64, until: Option<Duration>, clock: &MovableClock, bug: Option<Bug>) -> ExitCode {
    let (began, next) = (clock.monotonic(), AtomicU64::new(first));
    let total = Mutex::new(Total::default());
    // Seeds have nothing in common: each core takes the next one.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        for _ in 0..cores {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || until.is_some_and(|until| clock.monotonic() >= until) {
                        return;
                    }
                    let outcome = run(seed, Options { bug, ..Options::default() });
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{total} in {:.1} s", (clock.monotonic() - began).as_secs_f64());
    if total.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of many seeds.
#[derive(Default)]
struct Total {
    seeds: u64,
    steps: u64,
    commits: u64,
    simulated: Duration,
    broken: u64,
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Result<Report, Broken>) {
        self.seeds += 1;
        match outcome {
            Ok(report) => {
                self.steps += report.steps;
                self.commits += report.commits;
                self.simulated += report.virtual_time;
            }
            Err(broken) => {
                println!("{broken}\n  again: cargo xtask sim --seed {seed}");
                self.broken += 1;
            }
        }
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { seeds, steps, commits, simulated, broken } = self;
        let hours = simulated.as_secs_f64() / 3_600.0;
        write!(
            f,
            "{seeds} seeds, {broken} broken: {steps} steps, {commits} commits, {hours:.1} simulated hours"
        )
    }
}
