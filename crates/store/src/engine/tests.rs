//! What only engines with a disk can show.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::fjall::tail;
use super::*;
use crate::testing::{self, ManualClock};
use crate::{Batch, Kv, Store, Version};

type Open = fn(&Path, DiskOptions, Arc<dyn pileus_core::Clock>) -> Result<Arc<dyn Kv>, StoreError>;

const ENGINES: [(&str, Open); 2] = [("fjall", super::fjall::open), ("redb", super::redb::open)];

fn open(open: Open, dir: &Path) -> Result<(Store, Arc<ManualClock>), StoreError> {
    let clock = Arc::new(ManualClock::default());
    Ok((testing::store(open(dir, DiskOptions::default(), clock.clone())?, clock.clone()), clock))
}

async fn put(store: &Store, key: u32, value: Vec<u8>) -> Result<Version, StoreError> {
    store.write(Batch::new().put(Space::Queue, key.to_be_bytes().to_vec(), value), Durability::Durable).await
}

async fn present(store: &Store, keys: std::ops::Range<u32>) -> Vec<u32> {
    let mut present = Vec::new();
    for key in keys {
        if store.get(Space::Queue, &key.to_be_bytes()).await.unwrap().is_some() {
            present.push(key);
        }
    }
    present
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut value = vec![0; size];
    pileus_core::Rng::fill(&pileus_core::SeededRng::new(seed), &mut value);
    value
}

#[tokio::test]
async fn versions_and_values_survive_a_restart() {
    for (name, engine) in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let mut last = 0;
        for round in 0..3u8 {
            let (store, _) = open(engine, dir.path()).unwrap();
            let found = store.kv().get(Space::Queue, &7u32.to_be_bytes()).await.unwrap();
            assert_eq!(found, (round > 0).then(|| (vec![round].into(), last)), "{name}");
            let version = put(&store, 7, vec![round + 1]).await.unwrap();
            assert!(version > last, "{name}");
            last = version;
            let relaxed = Batch::new().put(Space::Log, "relaxed", "x");
            store.write(relaxed, Durability::Relaxed).await.unwrap();
            store.close().await.unwrap();
        }
        let (store, _) = open(engine, dir.path()).unwrap();
        assert!(store.get(Space::Log, b"relaxed").await.unwrap().is_some(), "{name}");
    }
}

#[test]
fn a_directory_in_use_or_of_another_engine_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(ENGINES[0].1, dir.path()).unwrap();
    let second = open(ENGINES[0].1, dir.path()).err().unwrap();
    assert_eq!(
        second.to_string(),
        format!("the data directory {} is in use by another process", dir.path().display())
    );
    drop(first);
    let other = open(ENGINES[1].1, dir.path()).err().unwrap();
    assert!(matches!(other, StoreError::Unusable { .. }), "{other}");
    assert!(open(ENGINES[0].1, dir.path()).is_ok());
}

/// Three batches in one journal, then 512 bytes of one of them zeroed.
async fn with_hole(dir: &Path, batch: usize) -> Vec<u8> {
    let (store, _) = open(super::fjall::open, dir).unwrap();
    for key in 0..3 {
        put(&store, key, noise(u64::from(key), 3_000)).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let path = tail::newest_journal(&dir.join("fjall")).unwrap().unwrap();
    let mut journal = tail::written(&std::fs::read(&path).unwrap()).to_vec();
    let mut ends = vec![];
    let mut rest = &journal[..];
    while !rest.is_empty() {
        ends.push(rest.len());
        rest = &rest[..rest.len() - tail::last_batch(rest).len()];
    }
    // The value is the greater part of its batch, and ends with it.
    let end = ends[batch];
    journal[end - 1_000..end - 488].fill(0);
    std::fs::write(&path, &journal).unwrap();
    journal
}

#[tokio::test]
async fn a_last_batch_with_a_hole_is_dropped_and_damage_further_back_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    with_hole(dir.path(), 0).await;
    let (store, _) = open(super::fjall::open, dir.path()).unwrap();
    assert_eq!(present(&store, 0..3).await, [0, 1]);
    put(&store, 2, vec![1]).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let journal = with_hole(dir.path(), 1).await;
    let refused = open(super::fjall::open, dir.path()).err().unwrap();
    assert!(matches!(refused, StoreError::Unusable { .. }), "{refused}");
    let path = tail::newest_journal(&dir.path().join("fjall")).unwrap().unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(&journal));
}

/// A small disk of its own; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: a small disk cannot be mounted here, so a full disk is not tested");
        }
        mounted.then_some(SmallDisk(dir))
    }

    fn remount(&self, mode: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{mode}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_loses_nothing_and_recovers_when_there_is_space() {
    for (name, engine) in ENGINES {
        let Some(disk) = SmallDisk::mount(64) else { return };
        let ballast = disk.0.path().join("ballast");
        std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
        let data = disk.0.path().join("data");
        let (store, clock) = open(engine, &data).unwrap();
        let mut acknowledged = Vec::new();
        let mut refused = None;
        for key in 0..2_000 {
            match put(&store, key, noise(u64::from(key), 100_000)).await {
                Ok(_) => acknowledged.push(key),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        assert!(matches!(refused, Some(StoreError::Unavailable { .. })), "{name}: {refused:?}");
        assert!(acknowledged.len() > 20, "{name}");
        // Reads go on, and writes are refused, again and again.
        for _ in 0..3 {
            clock.advance(Duration::from_secs(1));
            assert!(put(&store, 5_000, noise(1, 100_000)).await.is_err(), "{name}");
            assert!(present(&store, 0..2_000).await.starts_with(&acknowledged), "{name}");
        }
        std::fs::remove_file(&ballast).unwrap();
        clock.advance(Duration::from_secs(1));
        put(&store, 6_000, vec![1]).await.unwrap_or_else(|error| panic!("{name} does not recover: {error}"));
        assert!(present(&store, 0..2_000).await.starts_with(&acknowledged), "{name}");
        store.close().await.unwrap();
        drop(store);
        let (store, _) = open(engine, &data).unwrap();
        assert!(present(&store, 0..2_000).await.starts_with(&acknowledged), "{name}");
        assert_eq!(present(&store, 6_000..6_001).await, [6_000], "{name}");
        drop(store);
    }
}

#[tokio::test]
async fn a_read_only_disk_is_said_at_once_and_loses_nothing() {
    for (name, engine) in ENGINES {
        let Some(disk) = SmallDisk::mount(96) else { return };
        let data = disk.0.path().join("data");
        let (store, _) = open(engine, &data).unwrap();
        put(&store, 1, vec![1]).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        disk.remount("ro");
        let refused = open(engine, &data).err();
        assert!(matches!(refused, Some(StoreError::Unavailable { .. })), "{name}: {refused:?}");
        disk.remount("rw");
        let (store, _) = open(engine, &data).unwrap();
        assert_eq!(present(&store, 0..3).await, [1], "{name}");
    }
}

#[tokio::test]
#[ignore = "writes 900 MB"]
async fn journals_do_not_pile_up_when_some_spaces_are_idle() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(super::fjall::open, dir.path()).unwrap();
    let idle = Space::ALL.into_iter().fold(Batch::new(), |batch, space| batch.put(space, "idle", "x"));
    store.write(idle, Durability::Durable).await.unwrap();
    let mut most = 0;
    for key in 0..900u32 {
        let batch = Batch::new().put(Space::Log, key.to_be_bytes().to_vec(), noise(u64::from(key), 1 << 20));
        store.write(batch, Durability::Durable).await.unwrap();
        let files = std::fs::read_dir(dir.path().join("fjall")).unwrap();
        let journals = files.filter(|file| {
            file.as_ref()
                .is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "jnl"))
        });
        most = most.max(journals.count());
    }
    assert!(most <= 8, "{most} journals of 64 MB");
    eprintln!("at most {most} journals");
}
