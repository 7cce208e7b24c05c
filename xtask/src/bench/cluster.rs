//! One, two and three nodes on one PostgreSQL, beside what the server does when it is sent equal transactions directly.
//!
//! Clients, nodes and the server share this machine: the total load is the same for each number of nodes, so more nodes can
//! only show what sharing costs, not what more machines bring.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pileus_store_postgres::testing::Server;

use super::load::{self, Scenario};
use crate::process::{self, Process};

/// Rounds over all numbers of nodes: the machine is not the same from minute to minute.
const ROUNDS: usize = 2;
const NODES: [usize; 3] = [1, 2, 3];

/// What a standard queue's send writes: a row in an order, a body of 1 KiB; and what it relies on.
const SCHEMA: &str = "
    DROP TABLE IF EXISTS raw_queue, raw_order, raw_body;
    CREATE TABLE raw_queue (k bigint PRIMARY KEY, ver bigint NOT NULL);
    INSERT INTO raw_queue VALUES (1, 1);
    CREATE TABLE raw_order (k bytea PRIMARY KEY, v bytea NOT NULL, ver bigint NOT NULL);
    CREATE TABLE raw_body (k bytea PRIMARY KEY, v bytea NOT NULL, ver bigint NOT NULL);";
const KEY: &str = "\\set k random(1, 9000000000000000000)\n";
const SEND: &str = "\\startpipeline
BEGIN;
SELECT ver FROM raw_queue WHERE k = 1;
INSERT INTO raw_order VALUES (int8send(:k), '', 1);
INSERT INTO raw_body VALUES (int8send(:k), convert_to(repeat('x', 1024), 'UTF8'), 1);
COMMIT;
\\endpipeline
";
/// A receive moves the row to its next moment, a delete removes both.
const TAKE: &str = "\\startpipeline
BEGIN;
SELECT v, ver FROM raw_body WHERE k = int8send(:k);
DELETE FROM raw_order WHERE k = int8send(:k);
INSERT INTO raw_order VALUES (int8send(:k), 'taken', 2);
COMMIT;
BEGIN;
DELETE FROM raw_order WHERE k = int8send(:k);
DELETE FROM raw_body WHERE k = int8send(:k);
COMMIT;
\\endpipeline
";

/// # Errors
/// In words; also when no server is given and none is installed.
pub async fn run(
    binary: &Path,
    dir: &Path,
    url: Option<&str>,
    clients: usize,
    time: Duration,
) -> Result<(), String> {
    let server = match url {
        Some(_) => None,
        None => Some(Server::start().ok_or("PostgreSQL is not installed: scripts/postgres.sh installs it")?),
    };
    let url = match (url, &server) {
        (Some(url), _) => url.to_owned(),
        (None, Some(server)) => server.url(),
        (None, None) => return Err("there is no database".to_owned()),
    };
    println!("load average before: {}", load_average());
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");
    let mut shares = Vec::new();
    for round in 1..=ROUNDS {
        let raw_send = raw(&url, dir, "send", &[KEY, SEND], clients, time)?;
        println!("{:<44} {raw_send:>12.0}", format!("round {round}: raw transactions of a send"));
        let raw_cycle = raw(&url, dir, "cycle", &[KEY, SEND, TAKE], clients, time)?;
        println!("{:<44} {raw_cycle:>12.0}", format!("round {round}: raw transactions of a cycle"));
        for count in NODES {
            let nodes = start(binary, dir, &url, count).await?;
            let nodes: Vec<&Process> = nodes.iter().collect();
            for (scenario, name, raw) in
                [(Scenario::SqsSend, "send", raw_send), (Scenario::SqsCycle, "cycle", raw_cycle)]
            {
                let figures = load::run_on(&nodes, scenario, clients, time).await?;
                figures.print(&format!("round {round}: {count} nodes, sqs {name}"));
                shares.push((count, name, figures.per_second, figures.per_second / raw));
            }
        }
    }
    println!("load average after: {}\n", load_average());
    for name in ["send", "cycle"] {
        let mean = |count: usize, pick: fn(&(usize, &str, f64, f64)) -> f64| {
            let of: Vec<f64> =
                shares.iter().filter(|share| share.0 == count && share.1 == name).map(pick).collect();
            of.iter().sum::<f64>() / of.len().max(1) as f64
        };
        let one = mean(1, |share| share.2);
        for count in NODES {
            let (share, beside) =
                (mean(count, |share| share.3) * 100.0, mean(count, |share| share.2) / one * 100.0);
            println!("{count} nodes, {name:<6} {share:>6.0} % of raw PostgreSQL {beside:>6.0} % of one node");
        }
    }
    Ok(())
}

async fn start(binary: &Path, dir: &Path, url: &str, count: usize) -> Result<Vec<Process>, String> {
    let mut nodes = Vec::new();
    for number in 0..count {
        let port = process::free_port()?;
        let mut command = Command::new(binary);
        let name = format!("bench-{port}");
        command.args([
            "up",
            "--log",
            "error",
            "--store",
            url,
            "--node-name",
            &name,
            "--port",
            &port.to_string(),
        ]);
        command.arg("--data-dir").arg(dir.join(format!("node-{number}")));
        nodes.push(Process::start(command, port, "/_pileus/version").await?);
    }
    Ok(nodes)
}

/// Transactions a second by PostgreSQL's own client, which has a connection for each of ours.
fn raw(
    url: &str,
    dir: &Path,
    name: &str,
    script: &[&str],
    clients: usize,
    time: Duration,
) -> Result<f64, String> {
    let programs = pileus_store_postgres::testing::programs().ok_or("pgbench is not installed")?;
    let done = Command::new(programs.join("psql")).args([url, "-X", "-q", "-c", SCHEMA]).output();
    let done = done.map_err(|error| format!("psql: {error}"))?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let file = dir.join(format!("{name}.pgbench"));
    std::fs::write(&file, script.concat()).map_err(|error| error.to_string())?;
    let output = Command::new(programs.join("pgbench"))
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string()])
        .args(["-T", &time.as_secs().to_string(), "-f"])
        .arg(&file)
        .arg(url)
        .output()
        .map_err(|error| format!("pgbench: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    rate.ok_or_else(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
