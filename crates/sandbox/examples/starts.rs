//! Cold and warm starts of the machine's runtimes, with limits on, beside the floor: a bare fork and exec in the same run.
//!
//! `cargo run --release -p pileus-sandbox --example starts [rounds]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Bench, RealClock};
use pileus_core::Clock as _;
use pileus_sandbox::*;

#[tokio::main]
async fn main() {
    launcher_main();
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20);
    let bench = Bench::with(|config| config.launcher = LauncherCommand::this_binary()).await;
    println!("isolation {}, cgroups {}", bench.level().name(), bench.engine.report().cgroups);
    let mut floor = Vec::new();
    for _ in 0..rounds {
        let started = RealClock.monotonic();
        std::process::Command::new("/bin/true").status().expect("/bin/true");
        floor.push(RealClock.monotonic() - started);
    }
    show("floor: spawn of /bin/true", floor);
    let node = "exports.handler = async (event) => event;";
    let python = "def handler(event, context):\n    return event\n";
    for (runtime, handler, file, source) in
        [("python3.11", "app.handler", "app.py", python), ("nodejs20.x", "index.handler", "index.js", node)]
    {
        measure(&bench, runtime, handler, file, source, rounds).await;
    }
    bench.engine.stop().await;
}

async fn measure(bench: &Bench, runtime: &str, handler: &str, file: &str, source: &str, rounds: usize) {
    if bench.engine.interpreter(&Runtime::parse(runtime).expect("a runtime")).is_err() {
        return;
    }
    for (what, pooled) in [("cold, pool empty", false), ("cold, pooled", true)] {
        let mut times = Vec::new();
        for round in 0..rounds {
            let mut spec = bench.function(
                &format!("{}-{round}-{pooled}", &runtime[..4]),
                runtime,
                handler,
                file,
                source,
            );
            spec.memory_mb = 1_769;
            if !pooled {
                // A variable that an interpreter must know at its start: so none that waits can be used.
                spec.environment.insert("TZ".to_owned(), ":UTC".to_owned());
            }
            while pooled && bench.engine.stats().pooled_booted < 4 {
                let _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
            }
            // The interpreters that were put back a moment ago finish booting meanwhile.
            let _ = tokio::time::timeout(Duration::from_millis(150), std::future::pending::<()>()).await;
            let started = RealClock.monotonic();
            bench.invoke(&spec, "{}").await;
            times.push(RealClock.monotonic() - started);
            bench.engine.drop_function(&spec.id);
        }
        show(&format!("{runtime}: {what}"), times);
    }
    let mut spec = bench.function("warm", runtime, handler, file, source);
    spec.memory_mb = 1_769;
    bench.invoke(&spec, "{}").await;
    let mut times = Vec::new();
    for _ in 0..rounds * 100 {
        let started = RealClock.monotonic();
        bench.invoke(&spec, "{}").await;
        times.push(RealClock.monotonic() - started);
    }
    show(&format!("{runtime}: warm"), times);
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<32} p50 {:8.3} ms   p99 {:8.3} ms   n {}", at(0.5), at(0.99), times.len());
}
