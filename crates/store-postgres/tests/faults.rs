//! Connections that break at the worst moment, backends that are killed, a server that restarts: nothing acknowledged is
//! lost, and nothing is applied twice.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pileus_core::SeededRng;
use pileus_store::testing::ManualClock;
use pileus_store::{Batch, Durability, KeyRange, Space, Store, StoreError};
use pileus_store_postgres::open;
use pileus_store_postgres::testing::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn node(url: &str, seed: u64) -> Store {
    let rng = Arc::new(SeededRng::new(seed));
    let kv = open(url, rng.clone()).await.unwrap();
    Store::new(kv, Arc::new(ManualClock::default()), rng)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// A task of the test itself, with a counter of its own.
const PROBE: u8 = 200;

/// Adds one to the counter, and a token that says so.
async fn add(store: &Store, task: u8, round: u32) -> Result<(), StoreError> {
    store
        .transact(|txn| async move {
            let counter = [b'c', if task < PROBE { task % 4 } else { task }];
            let old = txn.get(Space::Meta, &counter).await?.map_or(0, |value| number(&value));
            txn.put(Space::Meta, counter.to_vec(), (old + 1).to_be_bytes().to_vec());
            txn.put(Space::Items, token(task, round), vec![]);
            Ok(())
        })
        .await
}

fn token(task: u8, round: u32) -> Vec<u8> {
    [&[b't', task][..], &round.to_be_bytes()].concat()
}

struct Worked {
    acknowledged: Vec<(u8, u32)>,
    unknown: usize,
}

/// Adds and puts until it is stopped.
async fn work(store: Store, task: u8, stop: Arc<AtomicBool>) -> Worked {
    let mut worked = Worked { acknowledged: Vec::new(), unknown: 0 };
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let added = if task.is_multiple_of(3) {
            let batch = Batch::new().put(Space::Items, token(task, round), vec![]);
            store.write(batch, Durability::Durable).await.map(|_| ())
        } else {
            add(&store, task, round).await
        };
        match added {
            Ok(()) => worked.acknowledged.push((task, round)),
            Err(StoreError::Unavailable { .. }) => worked.unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    worked
}

/// Counters, tokens and acknowledgements agree.
async fn settle(store: &Store, worked: &[Worked]) {
    let mut tokens = 0;
    for task in 0..12u8 {
        let mut range = KeyRange::prefix(vec![b't', task]);
        loop {
            let page = store.scan(Space::Items, &range, 10_000).await.unwrap();
            tokens += if task.is_multiple_of(3) { 0 } else { page.entries.len() as u64 };
            let Some(last) = page.entries.last().filter(|_| page.more) else { break };
            range = range.after(&last.key);
        }
    }
    let counters =
        (0..4u8).map(|counter| async move { store.get(Space::Meta, &[b'c', counter]).await.unwrap() });
    let counted: u64 = join_all(counters).await.iter().flatten().map(|value| number(value)).sum();
    assert_eq!(counted, tokens, "an addition was lost, or made twice");
    let all = worked.iter().flat_map(|worked| &worked.acknowledged);
    let keys: Vec<_> = all.map(|(task, round)| (Space::Items, token(*task, *round).into())).collect();
    for keys in keys.chunks(1_000) {
        let found = store.multi_get(keys).await.unwrap();
        assert!(found.iter().all(Option::is_some), "something acknowledged is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_backends_and_restarts_lose_nothing_and_repeat_nothing() {
    let Some(server) = Server::start() else { return };
    let nodes = [node(&server.url(), 1).await, node(&server.url(), 2).await];
    let stop = Arc::new(AtomicBool::new(false));
    let work =
        (0..12u8).map(|task| tokio::spawn(work(nodes[usize::from(task % 2)].clone(), task, stop.clone())));
    let work: Vec<_> = work.collect();
    for _ in 0..12 {
        let (client, driver) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
        let driving = tokio::spawn(driver);
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pileus'";
        client.batch_execute(kill).await.unwrap();
        // Until something was committed again: each node has found new connections.
        for node in &nodes {
            add(node, PROBE, 0).await.unwrap();
        }
        driving.abort();
    }
    let server = Arc::new(server);
    for mode in ["immediate", "fast"] {
        let server = server.clone();
        let restart = tokio::task::spawn_blocking(move || {
            server.down(mode);
            server.up();
        });
        restart.await.unwrap();
        for node in &nodes {
            add(node, PROBE, 0).await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let worked: Vec<_> = join_all(work).await.into_iter().map(Result::unwrap).collect();
    let acknowledged: usize = worked.iter().map(|worked| worked.acknowledged.len()).sum();
    let unknown: usize = worked.iter().map(|worked| worked.unknown).sum();
    eprintln!("{acknowledged} acknowledged, {unknown} of unknown outcome");
    assert!(acknowledged > 100);
    settle(&nodes[0], &worked).await;
}

async fn pause(milliseconds: u64) {
    tokio::time::timeout(Duration::from_millis(milliseconds), std::future::pending::<()>()).await.ok();
}

/// What the proxy does to the next connection that sends a commit.
const PASS: u8 = 0;
const CUT_BEFORE: u8 = 1;
const CUT_AFTER: u8 = 2;
/// The client sees its connection end; the server does not, for a while.
const HIDE: u8 = 3;

/// Passes everything on, until it is told to break a connection in the middle of a commit.
async fn proxy(server: u16) -> (u16, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let order = Arc::new(AtomicU8::new(PASS));
    let orders = order.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let upstream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(pass(client, upstream, orders.clone()));
        }
    });
    (port, order)
}

async fn pass(client: TcpStream, upstream: TcpStream, order: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(size @ 1..) = from_client.read(&mut buffer).await {
        let sent = &buffer[..size];
        let is_commit = sent.windows(7).any(|part| part == b"COMMIT\0");
        let now = if is_commit { order.swap(PASS, Ordering::AcqRel) } else { PASS };
        if now == CUT_BEFORE {
            break;
        }
        if now != PASS {
            // The client's side ends now, the server's later: it would notice, and roll back.
            back.abort();
            drop(from_client);
            // Either all reaches the server, or the end of the commit only after the client has asked.
            let (first, rest) = sent.split_at(if now == HIDE { size - 3 } else { size });
            to_server.write_all(first).await.unwrap();
            pause(300).await;
            to_server.write_all(rest).await.unwrap();
            pause(300).await;
            return;
        }
        if to_server.write_all(sent).await.is_err() {
            break;
        }
    }
    back.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_is_acknowledged_truthfully() {
    let Some(server) = Server::start() else { return };
    let (port, order) = proxy(server.port()).await;
    let store = node(&format!("postgres://pileus@127.0.0.1:{port}/postgres"), 1).await;
    let mut expected = 0;
    for round in 0..15u32 {
        let cut = [CUT_BEFORE, CUT_AFTER, HIDE][round as usize % 3];
        order.store(cut, Ordering::Release);
        add(&store, 1, round).await.unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        assert_eq!(order.load(Ordering::Acquire), PASS, "the commit was not cut");
        expected += 1;
        let counter = store.get(Space::Meta, &[b'c', 1]).await.unwrap().unwrap();
        assert_eq!(number(&counter), expected, "cut {cut}");
        assert!(store.get(Space::Items, &token(1, round)).await.unwrap().is_some(), "cut {cut}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_database_is_away_nothing_is_acknowledged_and_then_all_goes_on() {
    let Some(server) = Server::start() else { return };
    let store = node(&server.url(), 1).await;
    add(&store, 1, 0).await.unwrap();
    server.down("fast");
    let away = store.write(Batch::new().put(Space::Meta, "away", "x"), Durability::Durable).await;
    assert!(matches!(away, Err(StoreError::Unavailable { .. })), "{away:?}");
    assert!(store.get(Space::Meta, b"away").await.is_err());
    server.up();
    add(&store, 1, 1).await.unwrap();
    assert!(store.get(Space::Meta, b"away").await.unwrap().is_none());
    assert_eq!(number(&store.get(Space::Meta, &[b'c', 1]).await.unwrap().unwrap()), 2);
}

/// A node that is cut off in the middle of a transaction holds up the others for seconds at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn locks_of_a_vanished_node_are_freed() {
    let Some(server) = Server::start() else { return };
    let store = node(&server.url(), 1).await;
    add(&store, 1, 0).await.unwrap();
    let (gone, driver) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    gone.batch_execute("SET idle_in_transaction_session_timeout = '2s'; BEGIN").await.unwrap();
    gone.batch_execute("SELECT 1 FROM pileus_meta WHERE k = '\\x6301' FOR UPDATE").await.unwrap();
    let freed = tokio::time::timeout(Duration::from_secs(5), add(&store, 1, 1)).await;
    freed.expect("the lock is freed within five seconds").unwrap();
}
