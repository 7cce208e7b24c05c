//! The raw rate of group commit: the floor beside which `cargo xtask bench` prints what services reach.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pileus_core::{BoxFuture, Clock, Timestamp};

use crate::{Batch, DiskOptions, Durability, Kv, Space, Store, StoreError, fjall, memory, redb};

/// What was measured over one run.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub commits_per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
    /// User and system time of this process per commit, in microseconds; zero where `/proc` is not there.
    pub cpu_us: f64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { commits_per_second, p50, p99, max, cpu_us } = self;
        write!(
            f,
            "{commits_per_second:>9.0}/s  p50 {p50:>9.1?}  p99 {p99:>9.1?}  max {max:>9.1?}  {cpu_us:>5.1} us CPU"
        )
    }
}

/// What each commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One put of a new key, nothing read.
    BlindPut,
    /// A transaction that reads a key of its own, and writes it and another.
    ReadModifyWrite,
    /// A point get; nothing is committed.
    Get,
}

/// Opens an engine by name: `memory`, `fjall` or `redb`.
pub fn open(engine: &str, path: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn Kv>, StoreError> {
    match engine {
        "memory" => memory::open(clock),
        "fjall" => fjall::open(path, DiskOptions::default(), clock),
        "redb" => redb::open(path, DiskOptions::default(), clock),
        other => {
            Err(StoreError::Unusable { path: path.into(), reason: format!("there is no engine {other:?}") })
        }
    }
}

/// `tasks` tasks commit values of `size` bytes, durably, for `time`. To be called on a multi-threaded runtime.
pub async fn group_commit(
    store: Store,
    load: Load,
    tasks: usize,
    size: usize,
    time: Duration,
) -> Result<Report, StoreError> {
    let stop = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicU64::new(1));
    let (begin, cpu) = (Instant::now(), cpu_time());
    let workers: Vec<_> = (0..tasks)
        .map(|task| {
            let (store, stop, number) = (store.clone(), stop.clone(), number.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut value = vec![0x55u8; size];
                while !stop.load(Ordering::Relaxed) {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    fill(&mut value, number);
                    let start = Instant::now();
                    once(&store, load, task as u64, number, &value).await?;
                    latencies.push(start.elapsed());
                }
                Ok::<_, StoreError>(latencies)
            })
        })
        .collect();
    tokio::time::timeout(time, std::future::pending::<()>()).await.ok();
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await.map_err(StoreError::unavailable)??);
    }
    let (elapsed, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    latencies.sort_unstable();
    let at =
        |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Report {
        commits_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        max: latencies.last().copied().unwrap_or_default(),
        cpu_us: cpu.as_secs_f64() * 1e6 / latencies.len().max(1) as f64,
    })
}

/// Random order of keys, half-compressible values.
fn fill(value: &mut [u8], number: u64) {
    let half = value.len() / 2;
    let mut state = number;
    for chunk in value[..half].chunks_mut(8) {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        chunk.copy_from_slice(&state.to_be_bytes()[..chunk.len()]);
    }
}

fn key(number: u64) -> Bytes {
    crate::KeyBuilder::new().raw(b"bn").u64(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(number).build()
}

async fn once(store: &Store, load: Load, task: u64, number: u64, value: &[u8]) -> Result<(), StoreError> {
    match load {
        Load::BlindPut => {
            let batch = Batch::new().put(Space::Queue, key(number), Bytes::copy_from_slice(value));
            store.write(batch, Durability::Durable).await.map(|_| ())
        }
        Load::ReadModifyWrite => {
            store
                .transact(|txn| async move {
                    let own = key(task);
                    let count = txn.get(Space::Meta, &own).await?.map_or(0, |value| value.len());
                    txn.put(Space::Meta, own, vec![0; count % 64 + 1]);
                    txn.put(Space::Items, key(number), Bytes::copy_from_slice(value));
                    Ok(())
                })
                .await
        }
        Load::Get => {
            for _ in 0..32 {
                store.get(Space::Queue, &key(number)).await?;
            }
            tokio::task::yield_now().await;
            Ok(())
        }
    }
}

/// User and system time of the process so far.
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// Real time, as the composition root of a benchmark hands it in.
pub struct RealClock(Instant);

impl Default for RealClock {
    fn default() -> Self {
        RealClock(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.since(self.now())))
    }
}
