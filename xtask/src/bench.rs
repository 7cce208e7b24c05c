//! `cargo xtask bench`: each promised figure beside its floor, in one run on one machine.
//!
//! Every load runs against a server in a process of its own; "CPU" is that process's user and system time per request.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

mod apigateway;
mod cluster;
mod dynamodb;
mod floor;
mod functions;
mod load;
mod s3;
mod sns;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pileus_core::SeededRng;
use pileus_store::Store;
use pileus_store::bench::{self as raw, Load, RealClock};

use crate::process::{self, Process};
use load::Scenario;

#[derive(clap::Args)]
pub struct Args {
    /// Seconds for each figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Concurrent connections
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Also queue this many messages of 1 KB and measure memory and receive cost
    #[arg(long, default_value_t = 0)]
    messages: usize,
    /// With `--only dynamodb`: also load this many items of 1 KB and take the same figures of them
    #[arg(long, default_value_t = 0)]
    items: usize,
    /// Measure this binary, instead of building one
    #[arg(long)]
    binary: Option<std::path::PathBuf>,
    /// Only one load: identity, send, cycle, wake, functions, apigateway, s3, dynamodb, sns, cluster, deep (with --messages)
    #[arg(long)]
    only: Option<String>,
    /// Nodes on a shared database, as `--only cluster`: an empty database's URL, or `postgres` to have a server started
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// For this program itself: serve the floor on a port
    #[arg(long, hide = true)]
    serve_floor: Option<u16>,
}

pub fn run(args: &Args) -> Result<(), String> {
    if cfg!(debug_assertions) {
        // A slow client measures itself.
        let ours = std::env::args().skip(1);
        let cargo = ["run", "--quiet", "--release", "--package", "xtask", "--"].map(str::to_owned);
        return crate::sh::run("cargo", cargo.into_iter().chain(ours));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match args.serve_floor {
        Some(port) => runtime.block_on(floor::serve(port)),
        None => runtime.block_on(measure(args)),
    }
}

async fn measure(args: &Args) -> Result<(), String> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => process::binary("release")?,
    };
    let dir = std::env::temp_dir().join(format!("pileus-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let result = all(args, &binary, &dir).await;
    let _ = std::fs::remove_dir_all(&dir);
    result
}

async fn all(args: &Args, binary: &Path, dir: &Path) -> Result<(), String> {
    let seconds = Duration::from_secs(args.seconds);
    if args.store.is_some() || args.only.as_deref() == Some("cluster") {
        let url = args.store.as_deref().filter(|store| *store != "postgres");
        return cluster::run(binary, dir, url, args.clients, seconds).await;
    }
    match args.only.as_deref() {
        None => {}
        Some("s3") => return s3::run(binary, dir, args.clients, seconds).await,
        Some("dynamodb") => return dynamodb::run(binary, dir, args.clients, seconds, args.items).await,
        Some("sns") => return sns::run(binary, dir, args.clients, seconds).await,
        Some(only) => return one(args, binary, dir, only, seconds).await,
    }
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");

    let floor = bare_hyper().await?;
    let bare = load::run(&floor, Scenario::CallerIdentity, args.clients, seconds).await?;
    bare.print("floor: bare hyper answer");
    drop(floor);

    let raw_rate = raw_group_commit(&dir.join("raw"), args.clients, seconds).await?;

    // Each load on a node of its own: none pays for sorting what another has left behind.
    let node = fresh(binary, dir, "identity").await?;
    // Idle is what it is once the start is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (first_answer, idle) = (node.first_answer, node.rss_mib());
    let identity = load::run(&node, Scenario::CallerIdentity, args.clients, seconds).await?;
    identity.print("sts GetCallerIdentity");
    drop(node);
    let node = fresh(binary, dir, "send").await?;
    let send = load::run(&node, Scenario::SqsSend, args.clients, seconds).await?;
    send.print("sqs SendMessage 1 KB, durable");
    drop(node);
    let node = fresh(binary, dir, "cycle").await?;
    let cycle = load::run(&node, Scenario::SqsCycle, args.clients, seconds).await?;
    cycle.print("sqs send + receive + delete");
    drop(node);
    let node = fresh(binary, dir, "wake").await?;
    let wake = load::long_poll_wake(&node, 200).await?;

    println!();
    let rows = [
        ("GetCallerIdentity CPU / bare answer", identity.cpu_us / bare.cpu_us, 2.5, "x"),
        ("SendMessage CPU", send.cpu_us, 60.0, "us"),
        ("SendMessage CPU: cycle of three calls", cycle.cpu_us, 150.0, "us"),
        ("long-poll wake, p99", wake.as_secs_f64() * 1e3, 2.0, "ms"),
        ("first answer on an empty directory", first_answer.as_secs_f64() * 1e3, 50.0, "ms"),
        ("resident when idle", idle, 25.0, "MiB"),
    ];
    for (name, value, limit, unit) in rows {
        verdict(name, value, limit, unit, value <= limit);
    }
    let share = send.per_second / raw_rate * 100.0;
    verdict("SendMessage rate / raw group commit", share, 60.0, "% (at least)", share >= 60.0);

    if args.messages > 0 {
        deep(args, &node, seconds).await?;
    }
    Ok(())
}

/// The floor of requests, as a process of its own.
async fn bare_hyper() -> Result<Process, String> {
    let port = process::free_port()?;
    // Not by its path: the file may be built anew while this runs.
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["bench", "--serve-floor", &port.to_string()]);
    Process::start(command, port, "/").await
}

async fn fresh(binary: &Path, dir: &Path, name: &str) -> Result<Process, String> {
    process::pileus(binary, &dir.join(name), "fjall", process::free_port()?).await
}

/// Memory, and what a receive costs, with a few messages queued and with many.
async fn deep(args: &Args, node: &Process, seconds: Duration) -> Result<(), String> {
    // As many as one run can take, and then as many as were asked for.
    for messages in [args.messages.min(100_000), args.messages] {
        let filled = load::fill(node, messages, args.clients).await?;
        filled.print(&format!("sqs SendMessageBatch, {messages} messages"));
        let resident = node.rss_mib();
        verdict("resident with them queued", resident, 200.0, "MiB", resident <= 200.0);
        let taken = load::run(node, Scenario::SqsCycleDeep, args.clients, seconds).await?;
        taken.print(&format!("sqs receive + delete, {messages} queued"));
    }
    Ok(())
}

/// One load alone, for a profiler to look at.
async fn one(args: &Args, binary: &Path, dir: &Path, only: &str, seconds: Duration) -> Result<(), String> {
    let node = fresh(binary, dir, "node").await?;
    let scenario = match only {
        "identity" => Scenario::CallerIdentity,
        "send" => Scenario::SqsSend,
        "cycle" => Scenario::SqsCycle,
        "deep" => return deep(args, &node, seconds).await,
        "apigateway" => return apigateway::run(&node, args.clients, seconds).await,
        "functions" => return functions::run(&node, dir, args.clients, seconds).await,
        "wake" => {
            println!("long-poll wake, p99: {:?}", load::long_poll_wake(&node, 200).await?);
            return Ok(());
        }
        other => return Err(format!("there is no load {other:?}")),
    };
    load::run(&node, scenario, args.clients, seconds).await?.print(only);
    println!("resident afterwards: {:.1} MiB", node.rss_mib());
    Ok(())
}

fn verdict(name: &str, value: f64, limit: f64, unit: &str, holds: bool) {
    println!("{} {name:<42} {value:>10.2}  promised {limit} {unit}", if holds { "ok  " } else { "OVER" });
}

/// What the store alone reaches: the floor of everything durable.
async fn raw_group_commit(dir: &Path, clients: usize, time: Duration) -> Result<f64, String> {
    let clock = Arc::new(RealClock::default());
    let kv = raw::open("fjall", dir, clock.clone()).map_err(|error| error.to_string())?;
    let store = Store::new(kv, clock, Arc::new(SeededRng::new(1)));
    let report = raw::group_commit(store.clone(), Load::BlindPut, clients, 1_024, time).await;
    let report = report.map_err(|error| error.to_string())?;
    println!(
        "{:<44} {:>12.0} {:>12.1} {:>10.2} {:>10.2}",
        "floor: raw group commit, 1 KB (fjall)",
        report.commits_per_second,
        report.cpu_us,
        report.p50.as_secs_f64() * 1e3,
        report.p99.as_secs_f64() * 1e3
    );
    store.close().await.map_err(|error| error.to_string())?;
    Ok(report.commits_per_second)
}
