//! `store-bench <engine> <directory> [seconds]`: the raw rate of group commit with 32 tasks and 1 KiB values.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pileus_core::{Clock, SeededRng};
use pileus_store::Store;
use pileus_store::bench::{self, Load, RealClock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, directory, rest @ ..] = &arguments[..] else {
        return Err("usage: store-bench <memory|fjall|redb> <directory> [seconds]".into());
    };
    let seconds = rest.first().map_or(Ok(5), |seconds| seconds.parse())?;
    let clock = Arc::new(RealClock::default());
    let start = clock.monotonic();
    let kv = bench::open(engine, Path::new(directory), clock.clone())?;
    println!("{engine:<7} opened in {:.1?}, {} KiB resident", clock.monotonic() - start, resident_kib());
    let store = Store::new(kv, clock, Arc::new(SeededRng::new(1)));
    for (name, load, tasks) in [
        ("blind put, 32 tasks", Load::BlindPut, 32),
        ("blind put, 1 task", Load::BlindPut, 1),
        ("read-modify-write of 2 keys, 32 tasks", Load::ReadModifyWrite, 32),
        ("32 gets of absent or present keys, 2 tasks", Load::Get, 2),
    ] {
        let report =
            bench::group_commit(store.clone(), load, tasks, 1_024, Duration::from_secs(seconds)).await?;
        println!("{engine:<7} {name:<44} {report}");
    }
    println!("{engine:<7} {} KiB resident", resident_kib());
    store.close().await?;
    Ok(())
}

fn resident_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or("unknown".into(), |size| size.trim().trim_end_matches(" kB").to_owned())
}
