//! Two nodes on one database, in each other's way.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use pileus_core::{SeededRng, Timestamp};
use pileus_store::membership::{Introduction, MemberState, Membership};
use pileus_store::testing::ManualClock;
use pileus_store::{Batch, Durability, KeyRange, Space, Store, StoreError, Version};
use pileus_store_postgres::open;
use pileus_store_postgres::testing::Server;

async fn node(server: &Server, seed: u64) -> Store {
    let rng = Arc::new(SeededRng::new(seed));
    let kv = open(&server.url(), rng.clone()).await.unwrap();
    Store::new(kv, Arc::new(ManualClock::default()), rng)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

async fn add(store: &Store, counter: u8) -> (u64, Version) {
    let added: Result<_, StoreError> = store
        .transact(|txn| async move {
            let old = txn.get(Space::Meta, &[b'c', counter]).await?.map_or(0, |value| number(&value));
            txn.put(Space::Meta, vec![b'c', counter], (old + 1).to_be_bytes().to_vec());
            Ok(old + 1)
        })
        .await;
    let version = store.kv().get(Space::Meta, &[b'c', counter]).await.unwrap().unwrap().1;
    (added.unwrap(), version)
}

async fn counters_count_every_addition_once(nodes: &[Store; 2]) {
    const COUNTERS: u8 = 3;
    const ROUNDS: u8 = 12;
    let tasks = (0..12u8).map(|task| {
        let store = nodes[usize::from(task % 2)].clone();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for round in 0..ROUNDS {
                let counter = (task + round) % COUNTERS;
                let (count, version) = add(&store, counter).await;
                seen.push((counter, count, version));
            }
            seen
        })
    });
    let mut counts: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for task in join_all(tasks).await {
        let mut newest = BTreeMap::new();
        for (counter, count, version) in task.unwrap() {
            counts.entry(counter).or_default().push(count);
            let before = newest.insert(counter, version).unwrap_or(0);
            assert!(version > before, "a later version of a key is greater");
        }
    }
    for (counter, mut counts) in counts {
        counts.sort_unstable();
        assert_eq!(
            counts,
            (1..=12 * u64::from(ROUNDS) / u64::from(COUNTERS)).collect::<Vec<_>>(),
            "{counter}"
        );
    }
}

async fn a_name_is_taken_once(nodes: &[Store; 2]) {
    for name in 0..20u8 {
        let takers = (0..8u8).map(|taker| {
            let store = &nodes[usize::from(taker % 2)];
            let taken = store.transact(move |txn| async move {
                txn.put_if_absent(Space::Items, vec![b'n', name], vec![taker]).await
            });
            async move { taken.await.unwrap().then_some(taker) }
        });
        let winners: Vec<u8> = join_all(takers).await.into_iter().flatten().collect();
        let stored = nodes[0].get(Space::Items, &[b'n', name]).await.unwrap().unwrap();
        assert_eq!(winners, stored.to_vec());
    }
}

/// Only the range that each has found empty stands between them: each writes a row of its own.
async fn a_room_is_entered_by_one(nodes: &[Store; 2]) {
    for prefix_length in [1usize, 12] {
        for room in 0..25u8 {
            let guests = (0..6u8).map(|guest| {
                let store = &nodes[usize::from(guest % 2)];
                let mut prefix = vec![b'r'; prefix_length];
                prefix.push(room);
                async move {
                    let prefix = &prefix;
                    let entered: Result<bool, StoreError> = store
                        .transact(|txn| async move {
                            let inside = txn.scan(Space::Index, &KeyRange::prefix(prefix.clone()), 5).await?;
                            if inside.entries.is_empty() {
                                txn.put(Space::Index, [&prefix[..], &[guest]].concat(), vec![]);
                            }
                            Ok(inside.entries.is_empty())
                        })
                        .await;
                    usize::from(entered.unwrap())
                }
            });
            let entered: usize = join_all(guests).await.into_iter().sum();
            assert_eq!(entered, 1, "prefix of {prefix_length}, room {room}");
        }
    }
}

/// One relies on an empty range and writes a key, the other on the key's absence and writes into the range.
async fn a_range_and_a_key_do_not_miss_each_other(nodes: &[Store; 2]) {
    for round in 0..60u8 {
        let (key, inside) = (vec![b'k', round], vec![b'i', round, 1]);
        let range = KeyRange::prefix(vec![b'i', round]);
        let ranged = nodes[0].transact(|txn| {
            let (key, range) = (key.clone(), range.clone());
            async move {
                let is_empty = txn.scan(Space::Index, &range, 5).await?.entries.is_empty();
                if is_empty {
                    txn.put(Space::Items, key, vec![]);
                }
                Ok::<_, StoreError>(is_empty)
            }
        });
        let pointed = nodes[1].transact(|txn| {
            let (key, inside) = (key.clone(), inside.clone());
            async move {
                let is_absent = txn.get(Space::Items, &key).await?.is_none();
                if is_absent {
                    txn.put(Space::Index, inside, vec![]);
                }
                Ok::<_, StoreError>(is_absent)
            }
        });
        let (ranged, pointed) = tokio::join!(ranged, pointed);
        assert!(ranged.unwrap() != pointed.unwrap(), "round {round}: exactly one is the first");
    }
}

/// Nothing is read: still the two rows come from the same writer.
async fn blind_writes_do_not_mix(nodes: &[Store; 2]) {
    for round in 0..60u8 {
        let (left, right) = (vec![b'x', round], vec![b'y', round]);
        let both =
            Batch::new().put(Space::Queue, left.clone(), "both").put(Space::Queue, right.clone(), "both");
        let one = Batch::new().delete(Space::Queue, left.clone()).put(Space::Queue, right.clone(), "one");
        let (first, second) =
            tokio::join!(nodes[0].write(both, Durability::Durable), nodes[1].write(one, Durability::Relaxed));
        assert!(first.unwrap() != second.unwrap());
        let found =
            nodes[0].multi_get(&[(Space::Queue, left.into()), (Space::Queue, right.into())]).await.unwrap();
        let values: Vec<_> = found.into_iter().map(|found| found.map(|(value, _)| value)).collect();
        let (both, one) = (Some(Bytes::from("both")), Some(Bytes::from("one")));
        assert!(values == [both.clone(), both] || values == [None, one], "round {round}: {values:?}");
    }
}

async fn push(store: &Store, value: [u8; 2]) {
    let pushed: Result<(), StoreError> = store
        .transact(|txn| async move {
            let last = txn.scan_backward(Space::Queue, &KeyRange::prefix("line/"), 1).await?;
            let next = last.entries.first().map_or(1, |entry| number(&entry.key[5..]) + 1);
            txn.put(Space::Queue, [b"line/", &next.to_be_bytes()[..]].concat(), value.to_vec());
            txn.put(Space::Log, [b"pushed/", &next.to_be_bytes()[..]].concat(), value.to_vec());
            Ok(())
        })
        .await;
    pushed.unwrap();
}

/// Takes the head of the line and puts it at the end of the done ones; false when there is none.
async fn pop(store: &Store) -> bool {
    let popped: Result<bool, StoreError> = store
        .transact(|txn| async move {
            let head = txn.scan(Space::Queue, &KeyRange::prefix("line/"), 1).await?;
            let Some(head) = head.entries.first() else { return Ok(false) };
            let done = txn.get(Space::Meta, b"done").await?.map_or(0, |value| number(&value)) + 1;
            txn.delete(Space::Queue, head.key.clone());
            txn.put(Space::Meta, "done", done.to_be_bytes().to_vec());
            txn.put(Space::Log, [b"popped/", &done.to_be_bytes()[..]].concat(), head.value.clone());
            Ok(true)
        })
        .await;
    popped.unwrap()
}

async fn a_line_keeps_its_order(nodes: &[Store; 2]) {
    const PUSHES: u8 = 15;
    // One stays, so that numbers go on.
    let producers = (0..4u8).map(|task| {
        let store = &nodes[usize::from(task % 2)];
        async move {
            for number in 0..PUSHES {
                push(store, [task, number]).await;
            }
        }
    });
    join_all(producers).await;
    let consumers = (0..4u8).map(|task| {
        let store = &nodes[usize::from(task % 2)];
        async move { while pop(store).await {} }
    });
    join_all(consumers).await;
    let read = async |prefix: &'static str| {
        let page = nodes[1].scan(Space::Log, &KeyRange::prefix(prefix), 1_000).await.unwrap();
        page.entries.into_iter().map(|entry| entry.value).collect::<Vec<_>>()
    };
    let (pushed, popped) = (read("pushed/").await, read("popped/").await);
    assert_eq!(pushed.len(), 4 * usize::from(PUSHES));
    assert_eq!(pushed, popped);
}

async fn a_wake_reaches_the_other_node(nodes: &[Store; 2]) {
    let mut subscription = nodes[1].subscribe(&"arrivals".into());
    // The first look is at what the connection of the listener may have missed.
    subscription.take_changed();
    for round in 0..5u8 {
        let batch = Batch::new().put(Space::Meta, "woken", vec![round]).notify("arrivals");
        nodes[0].write(batch, Durability::Durable).await.unwrap();
        // Sooner than the poll, which comes every 3.75 seconds at most.
        tokio::time::timeout(Duration::from_secs(2), subscription.changed()).await.expect("a wake arrives");
    }
}

/// A node that believes itself alone sends nothing, until another greets it.
async fn a_node_that_comes_is_told_at_once(server: &Server) {
    let first = node(server, 1).await;
    first.kv().has_company(false);
    let second = node(server, 2).await;
    let mut subscription = second.subscribe(&"greeted".into());
    let heard = async {
        loop {
            let wake = first.transact(|txn| async move {
                txn.put(Space::Meta, "greeted", "x");
                txn.notify_low("greeted", 7);
                Ok::<_, StoreError>(())
            });
            wake.await.unwrap();
            let _ = tokio::time::timeout(Duration::from_millis(100), subscription.changed()).await;
            // No other wake says so.
            if subscription.take_low() == 7 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), heard).await.expect("a wake arrives");
}

async fn a_lease_passes_to_the_other_node_when_it_ends(nodes: &[Store; 2]) {
    let ttl = Duration::from_millis(400);
    let held = nodes[0].lease("shard", ttl).await.unwrap().unwrap();
    assert!(nodes[1].lease("shard", ttl).await.unwrap().is_none());
    // The database's clock goes on, though the nodes' clocks stand still.
    let passed = loop {
        if let Some(lease) = nodes[1].lease("shard", ttl).await.unwrap() {
            break lease;
        }
    };
    assert!(passed.token() > held.token());
    assert!(!held.renew().await.unwrap());
    let fenced: Result<(), StoreError> = nodes[0]
        .transact(|txn| {
            txn.fence(&held);
            txn.put(Space::Meta, "late", "x");
            async { Ok(()) }
        })
        .await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
    assert!(nodes[1].get(Space::Meta, b"late").await.unwrap().is_none());
}

/// Nobody is taken for gone, and no lease ends early or is held twice, because one node's clock runs an hour ahead.
async fn a_node_whose_clock_is_an_hour_off_harms_nobody(server: &Server) {
    let introduce = |name: &str| Introduction {
        name: name.into(),
        instance: name.into(),
        version: "1".into(),
        address: "here".into(),
        place: String::new(),
    };
    let (right, wrong) = (node(server, 11).await, node(server, 12).await);
    let time = right.kv().shared_time().unwrap().await.unwrap();
    let set = |store: &Store, time: Timestamp| {
        let rng = Arc::new(SeededRng::new(13));
        Store::new(store.kv().clone(), Arc::new(ManualClock::new(time)), rng)
    };
    let (right, wrong) = (set(&right, time), set(&wrong, time + Duration::from_secs(3_600)));
    let here = Membership::join(&right, introduce("right")).await.unwrap().unwrap();
    let there = Membership::join(&wrong, introduce("wrong")).await.unwrap().unwrap();
    for membership in [&here, &there] {
        let members = membership.members().await.unwrap();
        assert_eq!(members.len(), 2);
        assert!(members.iter().all(|member| member.state == MemberState::Working), "{members:?}");
    }
    let ttl = Duration::from_secs(30);
    let held = right.lease("hour", ttl).await.unwrap().unwrap();
    assert!(wrong.lease("hour", ttl).await.unwrap().is_none());
    assert!(held.renew().await.unwrap());
    held.release().await.unwrap();
    let taken = wrong.lease("hour", ttl).await.unwrap().unwrap();
    assert!(right.lease("hour", ttl).await.unwrap().is_none());
    taken.release().await.unwrap();
    here.leave().await.unwrap();
    there.leave().await.unwrap();
}

/// One read needs no transaction of the database; more are of one moment, or the closure runs again.
async fn reads_are_of_one_moment(nodes: &[Store; 2]) {
    let put = |store: &Store, value: &'static str| {
        let batch = Batch::new().put(Space::Items, "m/a", value).put(Space::Items, "m/b", value);
        let store = store.clone();
        async move { store.write(batch, Durability::Durable).await }
    };
    put(&nodes[0], "0").await.unwrap();
    let mut runs = 0;
    let read: Result<_, StoreError> = nodes[0]
        .transact(|txn| {
            runs += 1;
            let (is_first, other) = (runs == 1, nodes[1].clone());
            async move {
                let a = txn.get_untracked(Space::Items, b"m/a").await?;
                if is_first {
                    put(&other, "1").await?;
                }
                let b = txn.get_untracked(Space::Items, b"m/b").await?;
                put(&other, "2").await?;
                // The moment is pinned by now, and stays.
                assert_eq!(txn.get_untracked(Space::Items, b"m/a").await?, a);
                Ok((a, b))
            }
        })
        .await;
    let (a, b) = read.unwrap();
    assert_eq!(a, b);
    assert_eq!(runs, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_are_one_store() {
    let Some(server) = Server::start() else { return };
    let nodes = [node(&server, 1).await, node(&server, 2).await];
    counters_count_every_addition_once(&nodes).await;
    a_name_is_taken_once(&nodes).await;
    a_room_is_entered_by_one(&nodes).await;
    a_range_and_a_key_do_not_miss_each_other(&nodes).await;
    blind_writes_do_not_mix(&nodes).await;
    a_line_keeps_its_order(&nodes).await;
    a_wake_reaches_the_other_node(&nodes).await;
    a_lease_passes_to_the_other_node_when_it_ends(&nodes).await;
    a_node_that_comes_is_told_at_once(&server).await;
    a_node_whose_clock_is_an_hour_off_harms_nobody(&server).await;
    reads_are_of_one_moment(&nodes).await;
}
