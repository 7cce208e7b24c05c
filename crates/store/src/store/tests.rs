use bytes::Bytes;

use super::*;
use crate::{Check, testing};

const A: &[u8] = b"a";

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

async fn add_one(txn: &Txn, key: &'static [u8]) -> Result<(), StoreError> {
    let next = number(txn.get(Space::Meta, key).await?) + 1;
    txn.put(Space::Meta, key, Bytes::copy_from_slice(&next.to_be_bytes()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost_when_many_tasks_increment_one_key() {
    let (store, _) = testing::memory().unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    store.transact(|txn| async move { add_one(&txn, A).await }).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(number(store.get(Space::Meta, A).await.unwrap()), 640);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_transaction_does_not_lose_for_ever_to_quick_ones() {
    let (store, _) = testing::memory().unwrap();
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let quick: Vec<_> = (0..3)
        .map(|_| {
            let (store, is_over) = (store.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    store.transact(|txn| async move { add_one(&txn, A).await }).await?;
                    done += 1;
                }
                Ok::<u64, StoreError>(done)
            })
        })
        .collect();
    let mut runs = 0;
    let slow = store.transact(|txn| {
        runs += 1;
        let store = store.clone();
        async move {
            add_one(&txn, A).await?;
            // Long enough for others to write what it has read, as long as they may.
            for _ in 0..10 {
                store.write(Batch::new().put(Space::Meta, "elsewhere", "x"), Durability::Durable).await?;
            }
            Ok::<(), StoreError>(())
        }
    });
    slow.await.unwrap();
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut all = 1;
    for task in quick {
        all += task.await.unwrap().unwrap();
    }
    assert!(runs <= 2 * Seniority::CLAIM, "{runs} runs");
    assert_eq!(number(store.get(Space::Meta, A).await.unwrap()), all);
}

#[tokio::test]
async fn a_stamp_changes_with_what_is_written_to_its_space_alone() {
    let (store, _) = testing::memory().unwrap();
    let stamps = || [Space::Meta, Space::Items].map(|space| store.stamp(space).unwrap());
    let [meta, items] = stamps();
    store.write(Batch::new().put(Space::Items, A, "x"), Durability::Durable).await.unwrap();
    assert_eq!(stamps(), [meta, items + 1]);
    store.transact(|txn| async move { add_one(&txn, A).await }).await.unwrap();
    assert_eq!(stamps(), [meta + 1, items + 1]);
    store.get(Space::Meta, A).await.unwrap();
    assert_eq!(stamps(), [meta + 1, items + 1]);
}

#[tokio::test]
async fn who_is_gone_keeps_nobody_waiting() {
    let (store, _) = testing::memory().unwrap();
    let mut senior = Seniority::default();
    (0..Seniority::CLAIM).for_each(|_| senior.lose());
    let stale = Check { space: Space::Meta, key: A.into(), expected: Some(7) };
    let lost = Commit { checks: vec![stale], seniority: senior.clone(), ..Commit::default() };
    assert_eq!(store.kv().commit(lost).await.unwrap(), Outcome::Conflict);
    let gone = async {
        tokio::task::yield_now().await;
        drop(senior);
    };
    let (write, ()) =
        tokio::join!(store.write(Batch::new().put(Space::Meta, A, "x"), Durability::Durable), gone);
    write.unwrap();
}

#[tokio::test]
async fn a_tracked_read_that_changed_runs_the_closure_again_and_an_untracked_one_does_not() {
    for (tracked, runs) in [(true, 2), (false, 1)] {
        let (store, _) = testing::memory().unwrap();
        let mut count = 0;
        let outcome: Result<(), StoreError> = store
            .transact(|txn| {
                count += 1;
                let (first, store) = (count == 1, store.clone());
                async move {
                    if tracked {
                        txn.get(Space::Meta, A).await?;
                    } else {
                        txn.get_untracked(Space::Meta, A).await?;
                    }
                    if first {
                        store.write(Batch::new().put(Space::Meta, A, "x"), Durability::Durable).await?;
                    }
                    txn.put(Space::Meta, &b"b"[..], "y");
                    Ok(())
                }
            })
            .await;
        outcome.unwrap();
        assert_eq!(count, runs, "tracked: {tracked}");
    }
}

#[tokio::test]
async fn a_key_added_to_a_scanned_range_conflicts_only_within_the_part_that_was_read() {
    let cases = [
        ("before the first", "a", Direction::Forward, true),
        ("between", "c", Direction::Forward, true),
        ("behind the last that was read", "e", Direction::Forward, false),
        ("behind the last, read backward", "z", Direction::Backward, true),
        ("before what was read backward", "a", Direction::Backward, false),
    ];
    for (name, added, direction, conflicts) in cases {
        let (store, _) = testing::memory().unwrap();
        let batch =
            ["b", "d", "f"].into_iter().fold(Batch::new(), |batch, key| batch.put(Space::Index, key, "1"));
        store.write(batch, Durability::Durable).await.unwrap();
        let mut runs = 0;
        let outcome: Result<(), StoreError> = store
            .transact(|txn| {
                runs += 1;
                let (first, store) = (runs == 1, store.clone());
                async move {
                    let range = KeyRange::default();
                    match direction {
                        Direction::Forward => txn.scan(Space::Index, &range, 2).await?,
                        Direction::Backward => txn.scan_backward(Space::Index, &range, 2).await?,
                    };
                    if first {
                        store.write(Batch::new().put(Space::Index, added, "2"), Durability::Durable).await?;
                    }
                    txn.put(Space::Meta, A, "x");
                    Ok(())
                }
            })
            .await;
        outcome.unwrap();
        assert_eq!(runs > 1, conflicts, "{name}");
    }
}

#[tokio::test]
async fn reads_see_their_runs_own_writes_and_one_moment_of_everything_else() {
    let (store, _) = testing::memory().unwrap();
    let batch =
        ["b", "d", "f"].into_iter().fold(Batch::new(), |batch, key| batch.put(Space::Index, key, "old"));
    store.write(batch, Durability::Durable).await.unwrap();
    let seen: Result<_, StoreError> = store
        .transact(|txn| {
            let store = store.clone();
            async move {
                txn.delete(Space::Index, "b");
                txn.put(Space::Index, "c", "new");
                txn.put(Space::Index, "f", "new");
                // The moment is that of the first read.
                assert_eq!(txn.get_untracked(Space::Meta, b"later").await?, None);
                store.write(Batch::new().put(Space::Meta, "later", "x"), Durability::Durable).await?;
                assert_eq!(txn.get_untracked(Space::Meta, b"later").await?, None);
                assert!(!txn.put_if_absent(Space::Index, "c", "again").await?);
                let forward = txn.scan(Space::Index, &KeyRange::default(), 2).await?;
                let backward = txn.scan_backward(Space::Index, &KeyRange::default(), 10).await?;
                Ok((forward, backward))
            }
        })
        .await;
    let (forward, backward) = seen.unwrap();
    let list = |page: &Page| -> Vec<_> {
        page.entries.iter().map(|e| (e.key.clone(), e.value.clone(), e.version > 0)).collect()
    };
    let row = |key: &'static str, value: &'static str, stored| (key.into(), value.into(), stored);
    assert_eq!(list(&forward), [row("c", "new", false), row("d", "old", true)]);
    assert!(forward.more);
    assert_eq!(list(&backward), [row("f", "new", false), row("d", "old", true), row("c", "new", false)]);
    assert!(!backward.more);
}

#[tokio::test]
async fn an_assumption_holds_at_the_commit_or_the_closure_runs_again_and_reads() {
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        Writes,
        Reads,
        Fails,
    }
    let cases = [
        ("true, and committed", true, End::Writes, 1),
        ("false", false, End::Writes, 2),
        ("never committed", true, End::Reads, 2),
        ("an error is not believed", true, End::Fails, 2),
    ];
    for (name, is_true, end, expected) in cases {
        let (store, _) = testing::memory().unwrap();
        let version =
            store.write(Batch::new().put(Space::Meta, A, "old"), Durability::Durable).await.unwrap();
        if !is_true {
            store.write(Batch::new().put(Space::Meta, A, "new"), Durability::Durable).await.unwrap();
        }
        let mut runs = 0;
        let outcome: Result<(), StoreError> = store
            .transact(|txn| {
                runs += 1;
                let is_first = runs == 1;
                async move {
                    let key = Bytes::from_static(A);
                    assert_eq!(txn.assume(Space::Meta, &key, version), is_first, "{name}");
                    // A read does not make a wrong assumption right.
                    let value = txn.get(Space::Meta, A).await?;
                    assert_eq!(value.as_deref(), Some(if is_true { &b"old"[..] } else { b"new" }), "{name}");
                    match end {
                        End::Writes => txn.put(Space::Meta, &b"b"[..], "x"),
                        End::Reads => {}
                        End::Fails => return Err(StoreError::corrupt("no")),
                    }
                    Ok(())
                }
            })
            .await;
        assert_eq!((runs, outcome.is_err()), (expected, end == End::Fails), "{name}");
    }
}

#[tokio::test]
async fn an_error_leaves_no_trace_and_reading_alone_commits_nothing() {
    let (store, _) = testing::memory().unwrap();
    let failed: Result<(), StoreError> = store
        .transact(|txn| async move {
            txn.put(Space::Meta, A, "x");
            Err(StoreError::corrupt("no"))
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(store.get(Space::Meta, A).await.unwrap(), None);
    store.close().await.unwrap();
    let read: Result<_, StoreError> =
        store.transact(|txn| async move { txn.get(Space::Meta, A).await }).await;
    assert_eq!(read.unwrap(), None);
    let written = store.write(Batch::new().put(Space::Meta, A, "x"), Durability::Durable).await;
    assert!(matches!(written, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_commit_wakes_its_topics_and_a_refused_one_does_not() {
    let (store, _) = testing::memory().unwrap();
    let mut subscription = store.subscribe(&"queue".into());
    let too_large = Batch::new().put(Space::Meta, A, vec![0; 2 << 20]).notify("queue");
    assert!(matches!(store.write(too_large, Durability::Durable).await, Err(StoreError::TooLarge { .. })));
    assert!(!subscription.take_changed());
    store.write(Batch::new().put(Space::Meta, A, "x").notify("queue"), Durability::Durable).await.unwrap();
    subscription.changed().await;
}

#[tokio::test]
async fn a_lease_has_one_holder_and_its_fence_stops_the_one_before() {
    let (store, clock) = testing::memory().unwrap();
    let ttl = Duration::from_secs(10);
    let first = store.lease("worker", ttl).await.unwrap().unwrap();
    assert!(store.lease("worker", ttl).await.unwrap().is_none());
    clock.advance(Duration::from_secs(9));
    assert!(first.renew().await.unwrap());
    clock.advance(Duration::from_secs(9));
    assert!(store.lease("worker", ttl).await.unwrap().is_none());
    clock.advance(Duration::from_secs(1));
    let second = store.lease("worker", ttl).await.unwrap().unwrap();
    assert!(second.token() > first.token());
    assert!(!first.renew().await.unwrap());
    for (lease, fenced) in [(&first, true), (&second, false)] {
        let outcome: Result<(), StoreError> = store
            .transact(|txn| async move {
                txn.fence(lease);
                txn.put(Space::Meta, A, "x");
                Ok(())
            })
            .await;
        assert_eq!(matches!(outcome, Err(StoreError::Fenced { .. })), fenced);
    }
    first.release().await.unwrap();
    assert!(store.lease("worker", ttl).await.unwrap().is_none());
    second.release().await.unwrap();
    assert!(store.lease("worker", ttl).await.unwrap().is_some());
}

#[tokio::test]
async fn blocks_of_a_sequence_follow_each_other() {
    let (store, _) = testing::memory().unwrap();
    assert_eq!(store.sequence("a", 10).await.unwrap(), 1..11);
    assert_eq!(store.sequence("a", 1).await.unwrap(), 11..12);
    assert_eq!(store.sequence("b", 5).await.unwrap(), 1..6);
}
