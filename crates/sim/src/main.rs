//! `pileus-sim`: runs seeds. `cargo xtask sim` calls it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pileus_platform::{Clock as _, MovableClock};
use pileus_sim::{Bug, Options, run};

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
    let began = clock.monotonic();
    let (mut runs, mut steps, mut simulated, mut broken) = (0u64, 0, Duration::ZERO, 0u64);
    for seed in first..end {
        if until.is_some_and(|until| clock.monotonic() >= until) {
            break;
        }
        runs += 1;
        match run(seed, Options { bug, ..Options::default() }) {
            Ok(report) => {
                steps += report.steps;
                simulated += report.virtual_time;
            }
            Err(reason) => {
                println!("{reason}\n  again: cargo xtask sim --seed {seed}");
                broken += 1;
            }
        }
    }
    let took = (clock.monotonic() - began).as_secs_f64();
    println!(
        "{runs} seeds in {took:.1} s: {steps} steps, {:.1} simulated hours, {broken} broken",
        simulated.as_secs_f64() / 3_600.0
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
