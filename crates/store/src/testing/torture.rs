//! The crash suite: a child writes under mixed load and is killed with -9; the parent opens what is left and checks it.
//!
//! Each task of the child runs transactions one after the other, and says of each that it was acknowledged. Transaction
//! `i` of a task writes its rows, removes those of transaction `i - KEEP`, counts itself in the task's counter and in the
//! one that all tasks share. So what has to be there follows from the counters alone:
//! nothing acknowledged is missing (the counter), nothing is half there (the rows), nothing came out of order (all rows up
//! to the counter, none beyond), and both counters agree (one atomic commit across tasks).

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{Rng, SeededRng};

use super::ManualClock;
use crate::engine::fjall::tail;
use crate::{
    Batch, DiskOptions, Durability, KeyBuilder, KeyRange, Kv, Reader, Space, Store, StoreError, Txn, fjall,
    redb,
};

const TASKS: u64 = 8;
const KEEP: u64 = 20;
const TOTAL: &[u8] = b"crash/total";

/// What to do to the files between the kill and the next start: what a crash of the machine can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    None,
    /// Bytes that were never part of anything, at the end of the journal.
    Garbage,
    /// The journal ends in the middle of a batch that was not acknowledged.
    TornBatch,
    /// As `TornBatch`, but the end of that batch reached the disk and its middle did not.
    HoledBatch,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub cycles: u32,
    /// Acknowledged transactions that were checked.
    pub acknowledged: u64,
    pub slowest_open: Duration,
}

/// Runs the cycles in one directory. `child` makes the command that calls `run_child` with the same engine and directory
/// and the given seed.
///
/// # Errors
/// What was lost, torn or out of order, in words.
pub fn run(engine: &str, dir: &Path, cycles: u32, child: impl Fn(u64) -> Command) -> Result<Tally, String> {
    let rng = SeededRng::new(u64::from(std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let mut acknowledged = [0u64; TASKS as usize];
    let mut tally = Tally::default();
    for cycle in 0..cycles {
        let child =
            child(rng.next_u64()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        kill_after(child, Duration::from_millis(150 + rng.below(900)), &mut acknowledged)?;
        let damage = match engine {
            "fjall" => damage_journal(dir, cycle, &rng).map_err(|error| error.to_string())?,
            _ => Damage::None,
        };
        let opened = std::time::SystemTime::UNIX_EPOCH.elapsed_now();
        let store = open(engine, dir).map_err(|error| format!("cycle {cycle}, {damage:?}: {error}"))?;
        tally.slowest_open =
            tally.slowest_open.max(std::time::SystemTime::UNIX_EPOCH.elapsed_now().saturating_sub(opened));
        let checked = runtime.block_on(check(&store, &acknowledged));
        checked.map_err(|error| format!("cycle {cycle}, {damage:?}: {error}"))?;
        runtime.block_on(store.close()).map_err(|error| error.to_string())?;
        tally.cycles += 1;
    }
    tally.acknowledged = acknowledged.iter().sum();
    Ok(tally)
}

/// Real time, for the report only.
trait Elapsed {
    fn elapsed_now(&self) -> Duration;
}

impl Elapsed for std::time::SystemTime {
    fn elapsed_now(&self) -> Duration {
        self.elapsed().unwrap_or_default()
    }
}

fn open(engine: &str, dir: &Path) -> Result<Store, StoreError> {
    let clock = Arc::new(ManualClock::default());
    let options = DiskOptions { cache_bytes: 16 << 20, workers: 1 };
    let kv: Arc<dyn Kv> = match engine {
        "fjall" => fjall::open(dir, options, clock.clone())?,
        "redb" => redb::open(dir, options, clock.clone())?,
        other => {
            return Err(StoreError::Unusable {
                path: dir.into(),
                reason: format!("no durable engine {other:?}"),
            });
        }
    };
    Ok(super::store(kv, clock))
}

/// Reads acknowledgements until the time is over, kills, and reads what was said before.
fn kill_after(mut child: Child, time: Duration, acknowledged: &mut [u64]) -> Result<(), String> {
    let output = child.stdout.take().ok_or("the child has no output")?;
    let (said, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    let mut count = |line: String| -> Result<(), String> {
        let mut words = line.split(' ').map(str::parse::<u64>);
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(task)), Some(Ok(number)), None) if task < TASKS => {
                let seen = &mut acknowledged[task as usize];
                *seen = number.max(*seen);
                Ok(())
            }
            // A test harness talks, too.
            _ if !line.starts_with("failed") => Ok(()),
            _ => Err(line),
        }
    };
    // The time counts from the first acknowledgement: opening may be slow.
    match heard.recv_timeout(Duration::from_secs(60)) {
        Ok(line) => count(line)?,
        Err(_) => return Err("the child acknowledges nothing".into()),
    }
    let mut left = time;
    while !left.is_zero() {
        let slice = left.min(Duration::from_millis(10));
        std::thread::park_timeout(slice);
        left -= slice;
        heard.try_iter().try_for_each(&mut count)?;
    }
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    reader.join().map_err(|_| "the reader panicked")?;
    heard.try_iter().try_for_each(&mut count)
}

/// The child's whole life: writes until it is killed. Prints `<task> <transaction>` for each that was acknowledged.
pub fn run_child(engine: &str, dir: &Path, seed: u64) -> Result<(), StoreError> {
    let store = open(engine, dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .map_err(StoreError::unavailable)?;
    runtime.block_on(async {
        let tasks: Vec<_> =
            (0..TASKS).map(|task| tokio::spawn(write_on(store.clone(), task, seed ^ task))).collect();
        for task in tasks {
            if let Err(error) = task.await.map_err(StoreError::unavailable)? {
                println!("failed: {error}");
                return Err(error);
            }
        }
        Ok(())
    })
}

async fn write_on(store: Store, task: u64, seed: u64) -> Result<(), StoreError> {
    let rng = SeededRng::new(seed);
    loop {
        let number = store.transact(|txn| write_one(txn, task)).await?;
        let line = format!("{task} {number}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).map_err(StoreError::unavailable)?;
        if rng.below(4) == 0 {
            // What may be lost must not take anything else with it.
            let noise =
                Batch::new().put(Space::Log, counter_key(task + 100), vec![7; rng.below(20_000) as usize]);
            store.write(noise, Durability::Relaxed).await?;
        }
    }
}

async fn write_one(txn: Txn, task: u64) -> Result<u64, StoreError> {
    let number = read_number(&txn, &counter_key(task)).await? + 1;
    // The shared counter is contended; every fourth transaction takes part.
    let shared = number.is_multiple_of(4);
    for (space, key, size) in rows_of(task, number) {
        txn.put(space, key.clone(), value_of(&key, size));
    }
    if number > KEEP {
        for (space, key, _) in rows_of(task, number - KEEP) {
            txn.delete(space, key);
        }
    }
    txn.put(Space::Meta, counter_key(task), number.to_be_bytes().to_vec());
    if shared {
        let total = read_number(&txn, TOTAL).await? + 1;
        txn.put(Space::Meta, TOTAL, total.to_be_bytes().to_vec());
    }
    Ok(number)
}

fn counter_key(task: u64) -> Bytes {
    KeyBuilder::new().raw(b"crash/count/").u64(task).build()
}

/// 1 to 20 rows of up to 6 KB, in several spaces; the same every time.
fn rows_of(task: u64, number: u64) -> Vec<(Space, Bytes, usize)> {
    let rng = SeededRng::new(task << 32 ^ number);
    let spaces = [Space::Items, Space::Queue, Space::Log, Space::Index];
    let count = 1 + rng.below(20);
    (0..count)
        .map(|row| {
            let space = spaces[rng.below(4) as usize];
            let key = KeyBuilder::new().raw(b"crash/row/").u64(task).u64(number).u64(row).build();
            (space, key, rng.below(6_000) as usize)
        })
        .collect()
}

fn value_of(key: &[u8], size: usize) -> Vec<u8> {
    let seed =
        key.iter().fold(size as u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut value = vec![0; size];
    SeededRng::new(seed).fill(&mut value);
    value
}

async fn read_number(reader: &impl Reader, key: &[u8]) -> Result<u64, StoreError> {
    let found = reader.read_row(Space::Meta, key).await?;
    let number = found.map(|(value, _)| <[u8; 8]>::try_from(&value[..]).map(u64::from_be_bytes));
    number.unwrap_or(Ok(0)).map_err(|_| StoreError::corrupt("a counter is not a number"))
}

async fn check(store: &Store, acknowledged: &[u64]) -> Result<(), String> {
    let words = |error: StoreError| error.to_string();
    let mut shared = 0;
    let mut expected = std::collections::BTreeMap::new();
    for task in 0..TASKS {
        let count = read_number(store, &counter_key(task)).await.map_err(words)?;
        let promised = acknowledged[task as usize];
        // One more may have been committed and not yet acknowledged.
        if count < promised || count > promised + 1 {
            return Err(format!("task {task}: {promised} transactions were acknowledged, {count} are there"));
        }
        shared += count / 4;
        for number in count.saturating_sub(KEEP - 1).max(1)..=count {
            for (space, key, size) in rows_of(task, number) {
                expected.insert((space, key.clone()), value_of(&key, size));
            }
        }
    }
    let total = read_number(store, TOTAL).await.map_err(words)?;
    if total != shared {
        return Err(format!("the shared counter is {total}, and those of the tasks make {shared}"));
    }
    for space in [Space::Items, Space::Queue, Space::Log, Space::Index] {
        let mut range = KeyRange::prefix("crash/row/");
        loop {
            let page = store.scan(space, &range, 1_000).await.map_err(words)?;
            for entry in &page.entries {
                match expected.remove(&(space, entry.key.clone())) {
                    Some(value) if value == entry.value => {}
                    Some(_) => return Err(format!("row {:?} has another value", entry.key)),
                    None => return Err(format!("row {:?} should not be there", entry.key)),
                }
            }
            let Some(last) = page.entries.last().filter(|_| page.more) else { break };
            range = range.after(&last.key);
        }
    }
    match expected.first_key_value() {
        Some(((space, key), _)) => {
            Err(format!("{} rows are missing, first {key:?} in {space:?}", expected.len()))
        }
        None => Ok(()),
    }
}

/// Leaves at the end of fjall's newest journal what a crash of the machine could.
fn damage_journal(dir: &Path, cycle: u32, rng: &SeededRng) -> std::io::Result<Damage> {
    let damage = [Damage::None, Damage::Garbage, Damage::TornBatch, Damage::HoledBatch][cycle as usize % 4];
    let Some(path) = tail::newest_journal(&dir.join("fjall"))? else { return Ok(Damage::None) };
    let mut bytes = tail::written(&std::fs::read(&path)?).to_vec();
    // What a next batch could have looked like.
    let mut batch = tail::last_batch(&bytes).to_vec();
    match damage {
        Damage::None => return Ok(damage),
        Damage::Garbage => {
            let mut garbage = vec![0; 200 + rng.below(2_000) as usize];
            rng.fill(&mut garbage);
            bytes.extend(garbage);
        }
        Damage::TornBatch => bytes.extend(&batch[..batch.len() / 2]),
        Damage::HoledBatch => {
            let from = rng.below(batch.len() as u64) as usize;
            let to = batch.len().saturating_sub(16).min(from + 512);
            batch[from.min(to)..to].fill(0);
            bytes.extend(&batch);
        }
    }
    std::fs::write(&path, bytes)?;
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child: this test binary again, told by its environment what to do.
    #[test]
    fn child() {
        let Ok(task) = std::env::var("PILEUS_TORTURE") else { return };
        let mut words = task.splitn(3, ' ');
        let (engine, seed) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        run_child(engine, Path::new(words.next().unwrap()), seed).unwrap();
    }

    fn survives(engine: &str, cycles: u32) {
        let dir = tempfile::tempdir().unwrap();
        let tally = run(engine, dir.path(), cycles, |seed| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "testing::torture::tests::child", "--nocapture"]);
            command.env("PILEUS_TORTURE", format!("{engine} {seed} {}", dir.path().display()));
            command
        });
        let tally = tally.unwrap();
        assert!(tally.acknowledged > u64::from(cycles), "{tally:?}");
    }

    #[test]
    fn fjall_loses_nothing_when_it_is_killed() {
        survives("fjall", 4);
    }

    #[test]
    fn redb_loses_nothing_when_it_is_killed() {
        survives("redb", 3);
    }
}
