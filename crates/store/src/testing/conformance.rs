//! What every engine does alike: a model of the store, random operations on both, and the scenarios that a model does not
//! show (concurrency, wake-ups, leases, limits).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{ManualClock, store};
use crate::{
    Batch, Change, Check, Commit, Direction, Durability, Entry, KeyRange, Kv, Outcome, Page, RangeCheck,
    Read, Space, StoreError, Version, Wake, Write,
};

/// Runs the whole suite on one store, which may hold other rows. Panics where the engine differs.
pub fn run(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    against_the_model(&runtime, kv, cases);
    runtime.block_on(async {
        one_of_many_wins(kv).await;
        money_is_neither_made_nor_lost(kv, clock).await;
        limits_are_kept(kv).await;
        commits_wake(kv).await;
        leases_exclude(kv, clock).await;
        sequences_never_repeat(kv, clock).await;
        large_values_and_pages(kv).await;
    });
}

#[derive(Debug, Clone)]
enum Step {
    Commit {
        checks: Vec<(Place, Expect)>,
        ranges: Vec<(Place, Place, Expect)>,
        writes: Vec<(Place, Option<u8>)>,
    },
    Get(Place),
    MultiGet(Vec<Place>),
    Scan {
        from: Place,
        to: Place,
        limit: usize,
        direction: Direction,
    },
    OpenSnapshot,
    DropSnapshot,
}

/// A space and a key among few, so that steps meet.
type Place = (Space, u8);

#[derive(Debug, Clone, Copy)]
enum Expect {
    /// What is there.
    Truth,
    Absent,
    /// A version that was never given out for it.
    Stale,
}

fn place() -> impl Strategy<Value = Place> {
    (prop::sample::select(vec![Space::Meta, Space::Items, Space::Queue, Space::Log]), 0u8..12)
}

fn step() -> impl Strategy<Value = Step> {
    let expect = prop_oneof![8 => Just(Expect::Truth), 1 => Just(Expect::Absent), 1 => Just(Expect::Stale)];
    let checks = prop::collection::vec((place(), expect.clone()), 0..3);
    let ranges = prop::collection::vec((place(), place(), expect), 0..2);
    let writes = prop::collection::vec((place(), prop::option::weighted(0.7, any::<u8>())), 0..5);
    let direction = prop::sample::select(vec![Direction::Forward, Direction::Backward]);
    prop_oneof![
        5 => (checks, ranges, writes).prop_map(|(checks, ranges, writes)| Step::Commit { checks, ranges, writes }),
        2 => place().prop_map(Step::Get),
        1 => prop::collection::vec(place(), 0..5).prop_map(Step::MultiGet),
        3 => (place(), place(), 0usize..8, direction)
            .prop_map(|(from, to, limit, direction)| Step::Scan { from, to, limit, direction }),
        1 => Just(Step::OpenSnapshot),
        1 => Just(Step::DropSnapshot),
    ]
}

#[derive(Clone, Default)]
struct Model(BTreeMap<(Space, Bytes), (Bytes, Version)>);

impl Model {
    fn get(&self, space: Space, key: &Bytes) -> Option<(Bytes, Version)> {
        self.0.get(&(space, key.clone())).cloned()
    }

    fn scan(&self, space: Space, range: &KeyRange, limit: usize, direction: Direction) -> Page {
        let inside = self.0.iter().filter(|((at, key), _)| *at == space && range.contains(key));
        let mut entries: Vec<Entry> = inside
            .map(|((_, key), (value, version))| Entry {
                key: key.clone(),
                value: value.clone(),
                version: *version,
            })
            .collect();
        if direction == Direction::Backward {
            entries.reverse();
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        Page { entries, more }
    }

    fn accepts(&self, commit: &Commit) -> bool {
        let version = |space, key: &Bytes| self.get(space, key).map(|(_, version)| version);
        commit.checks.iter().all(|check| version(check.space, &check.key) == check.expected)
            && commit.ranges.iter().all(|check| self.found(check.space, &check.range) == check.found)
    }

    fn found(&self, space: Space, range: &KeyRange) -> Vec<(Bytes, Version)> {
        let page = self.scan(space, range, usize::MAX, Direction::Forward);
        page.entries.into_iter().map(|entry| (entry.key, entry.version)).collect()
    }

    fn apply(&mut self, commit: &Commit, version: Version) {
        for write in &commit.writes {
            let place = (write.space, write.key.clone());
            match &write.change {
                Change::Put(value) => self.0.insert(place, (value.clone(), version)),
                Change::Delete => self.0.remove(&place),
            };
        }
    }
}

fn against_the_model(runtime: &Runtime, kv: &Arc<dyn Kv>, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let case = std::cell::Cell::new(0u32);
    let outcome = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        case.set(case.get() + 1);
        let prefix = format!("model/{}/", case.get());
        runtime.block_on(follow(kv, prefix.as_bytes(), steps))
    });
    if let Err(error) = outcome {
        panic!("{} differs from the model: {error}", kv.name());
    }
}

async fn follow(kv: &Arc<dyn Kv>, prefix: &[u8], steps: Vec<Step>) -> Result<(), TestCaseError> {
    let key = |number: u8| Bytes::from([prefix, &[number]].concat());
    let mut model = Model::default();
    let mut last_version = 0;
    let mut snapshots: Vec<(Arc<dyn Read>, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Commit { checks, ranges, writes } => {
                let commit = build(&model, &key, checks, ranges, writes);
                match kv.commit(commit.clone()).await.expect("a commit is answered") {
                    Outcome::Committed(version) => {
                        prop_assert!(model.accepts(&commit), "a commit whose checks fail was accepted");
                        prop_assert!(version > last_version);
                        last_version = version;
                        model.apply(&commit, version);
                    }
                    Outcome::Conflict => {
                        prop_assert!(!model.accepts(&commit), "a commit was refused needlessly")
                    }
                }
            }
            Step::OpenSnapshot => {
                let snapshot = kv.snapshot().expect("a snapshot opens");
                // Its moment is that of its first read at the latest, and for some engines at the earliest too.
                snapshot.get(Space::Meta, prefix).await.expect("a get is answered");
                snapshots.push((snapshot, model.clone()));
            }
            Step::DropSnapshot => drop(snapshots.pop()),
            reading => {
                same(&**kv, &model, &key, &reading).await?;
                for (snapshot, model) in &snapshots {
                    same(&**snapshot, model, &key, &reading).await?;
                }
            }
        }
    }
    Ok(())
}

fn build(
    model: &Model,
    key: &impl Fn(u8) -> Bytes,
    checks: Vec<(Place, Expect)>,
    ranges: Vec<(Place, Place, Expect)>,
    writes: Vec<(Place, Option<u8>)>,
) -> Commit {
    let expected = |truth: Option<Version>, expect| match expect {
        Expect::Truth => truth,
        Expect::Absent => None,
        Expect::Stale => Some(truth.map_or(1, |version| version - 1)),
    };
    let checks = checks.into_iter().map(|((space, number), expect)| {
        let truth = model.get(space, &key(number)).map(|(_, version)| version);
        Check { space, key: key(number), expected: expected(truth, expect) }
    });
    let ranges = ranges.into_iter().map(|((space, from), (_, to), expect)| {
        let range = KeyRange::new(key(from), key(to));
        let mut found = model.found(space, &range);
        match expect {
            Expect::Truth => {}
            Expect::Absent => found.clear(),
            Expect::Stale => found.iter_mut().for_each(|(_, version)| *version -= 1),
        }
        RangeCheck { space, range, found }
    });
    let (checks, ranges) = (checks.collect(), ranges.collect());
    let writes: BTreeMap<Place, Option<u8>> = writes.into_iter().collect();
    let writes = writes.into_iter().map(|((space, number), value)| Write {
        space,
        key: key(number),
        change: value
            .map_or(Change::Delete, |value| Change::Put(vec![value; usize::from(value) * 20].into())),
    });
    Commit { checks, ranges, writes: writes.collect(), ..Commit::default() }
}

async fn same(
    read: &dyn Read,
    model: &Model,
    key: &impl Fn(u8) -> Bytes,
    step: &Step,
) -> Result<(), TestCaseError> {
    match step {
        Step::Get((space, number)) => {
            let got = read.get(*space, &key(*number)).await.expect("a get is answered");
            prop_assert_eq!(got, model.get(*space, &key(*number)));
        }
        Step::MultiGet(places) => {
            let keys: Vec<_> = places.iter().map(|(space, number)| (*space, key(*number))).collect();
            let got = read.multi_get(&keys).await.expect("a multi_get is answered");
            let expected: Vec<_> = keys.iter().map(|(space, key)| model.get(*space, key)).collect();
            prop_assert_eq!(got, expected);
        }
        Step::Scan { from: (space, from), to: (_, to), limit, direction } => {
            let range = KeyRange::new(key(*from), key(*to));
            let got = read.scan(*space, &range, *limit, *direction).await.expect("a scan is answered");
            prop_assert_eq!(got, model.scan(*space, &range, *limit, *direction));
        }
        Step::Commit { .. } | Step::OpenSnapshot | Step::DropSnapshot => {}
    }
    Ok(())
}

fn put(key: &'static str, value: impl Into<Bytes>) -> Write {
    Write { space: Space::Meta, key: key.into(), change: Change::Put(value.into()) }
}

async fn one_of_many_wins(kv: &Arc<dyn Kv>) {
    for round in 0..20u8 {
        let found = kv.get(Space::Meta, b"contended").await.expect("a get is answered");
        let expected = found.map(|(_, version)| version);
        let attempts = (0..50u8).map(|_| {
            let check = Check { space: Space::Meta, key: "contended".into(), expected };
            kv.commit(Commit {
                checks: vec![check],
                writes: vec![put("contended", vec![round])],
                ..Commit::default()
            })
        });
        let outcomes = join_all(attempts).await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Committed(_)))).count();
        assert_eq!(won, 1, "{}: {outcomes:?}", kv.name());
    }
}

/// Concurrent transfers between accounts, read back through snapshots and through a scan that is checked.
async fn money_is_neither_made_nor_lost(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>) {
    const ACCOUNTS: u8 = 6;
    const TOTAL: u64 = 600;
    let store = store(kv.clone(), clock.clone());
    let range = KeyRange::prefix("bank/");
    let key = |account: u8| Bytes::from([b"bank/", &[account][..]].concat());
    let batch = (0..ACCOUNTS).fold(Batch::new(), |batch, account| {
        batch.put(Space::Items, key(account), (TOTAL / u64::from(ACCOUNTS)).to_be_bytes().to_vec())
    });
    store.write(batch, Durability::Durable).await.expect("accounts are opened");
    let amount = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("an account is a number"));
    let transfers = (0..8u8).map(|task| {
        let (store, range) = (store.clone(), range.clone());
        tokio::spawn(async move {
            for round in 0..15u8 {
                let (from, to) = ((task + round) % ACCOUNTS, (task * 3 + round * 5 + 1) % ACCOUNTS);
                let moved: Result<(), StoreError> = store
                    .transact(|txn| {
                        let range = range.clone();
                        async move {
                            let all = txn.scan(Space::Items, &range, 100).await?;
                            let sum: u64 = all.entries.iter().map(|entry| amount(&entry.value)).sum();
                            assert_eq!(sum, TOTAL, "a transaction saw money made or lost");
                            if from != to {
                                let taken = amount(&all.entries[usize::from(from)].value).min(7);
                                for (account, gain) in [(from, taken.wrapping_neg()), (to, taken)] {
                                    let old = txn.get(Space::Items, &key(account)).await?.unwrap_or_default();
                                    let new = amount(&old).wrapping_add(gain);
                                    txn.put(Space::Items, key(account), new.to_be_bytes().to_vec());
                                }
                            }
                            Ok(())
                        }
                    })
                    .await;
                moved.expect("a transfer succeeds in the end");
                let page = store.scan(Space::Items, &range, 100).await.expect("a scan is answered");
                assert_eq!(page.entries.iter().map(|entry| amount(&entry.value)).sum::<u64>(), TOTAL);
            }
        })
    });
    for transfer in join_all(transfers).await {
        transfer.expect("a transfer does not panic");
    }
}

async fn limits_are_kept(kv: &Arc<dyn Kv>) {
    let limits = kv.limits();
    assert!(limits.max_key >= 1_024 && limits.max_value >= 400 << 10);
    assert!(limits.max_keys_per_txn >= 1_000 && limits.max_txn_bytes >= 4 << 20);
    let too_large = Commit { writes: vec![put("large", vec![0; limits.max_value + 1])], ..Commit::default() };
    let refused = kv.commit(too_large).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{}: {refused:?}", kv.name());
    let largest = Commit { writes: vec![put("large", vec![7; limits.max_value])], ..Commit::default() };
    kv.commit(largest).await.expect("the largest value is accepted");
    let found = kv.get(Space::Meta, b"large").await.expect("a get is answered").expect("the value is there");
    assert_eq!(found.0.len(), limits.max_value);
}

async fn commits_wake(kv: &Arc<dyn Kv>) {
    let topic = crate::Topic::from("conformance");
    let mut subscription = kv.subscribe(&topic);
    let notify = vec![Wake { topic, low: 5 }];
    let stale = vec![Check { space: Space::Meta, key: "nothing is here".into(), expected: Some(1) }];
    let refused = Commit { checks: stale, notify: notify.clone(), ..Commit::default() };
    assert_eq!(kv.commit(refused).await.expect("a commit is answered"), Outcome::Conflict);
    kv.commit(Commit { writes: vec![put("woken", "x")], notify, ..Commit::default() })
        .await
        .expect("committed");
    subscription.changed().await;
}

async fn leases_exclude(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>) {
    let store = store(kv.clone(), clock.clone());
    let ttl = Duration::from_secs(10);
    let attempts = join_all((0..20).map(|_| store.lease("conformance", ttl))).await;
    let mut held: Vec<_> =
        attempts.into_iter().filter_map(|lease| lease.expect("a lease is answered")).collect();
    assert_eq!(held.len(), 1, "{}", kv.name());
    let first = held.pop().expect("one is held");
    assert!(first.renew().await.expect("a renewal is answered"));
    let token = first.token();
    first.release().await.expect("a release is answered");
    let second = store.lease("conformance", ttl).await.expect("a lease is answered").expect("it is free");
    assert!(second.token() > token);
    second.release().await.expect("a release is answered");
}

async fn sequences_never_repeat(kv: &Arc<dyn Kv>, clock: &Arc<ManualClock>) {
    let store = store(kv.clone(), clock.clone());
    let blocks = join_all((0..20).map(|_| store.sequence("conformance", 3))).await;
    let mut numbers: Vec<u64> =
        blocks.into_iter().flat_map(|block| block.expect("a block is given")).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 60, "{}", kv.name());
}

/// A page ends when it is large, says so, and the next one goes on where it ended.
async fn large_values_and_pages(kv: &Arc<dyn Kv>) {
    const SIZE: usize = 500 << 10;
    for number in 0..30u8 {
        let key = Bytes::from([b"pages/", &[number][..]].concat());
        let write = Write { space: Space::Items, key, change: Change::Put(vec![number; SIZE].into()) };
        kv.commit(Commit { writes: vec![write], ..Commit::default() }).await.expect("committed");
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let mut range = KeyRange::prefix("pages/");
        let mut seen = Vec::new();
        loop {
            let page = kv.scan(Space::Items, &range, 100, direction).await.expect("a scan is answered");
            let bytes: usize = page.entries.iter().map(|entry| entry.value.len()).sum();
            assert!(bytes <= kv.limits().max_page_bytes + SIZE);
            assert!(page.entries.iter().all(|entry| *entry.value == vec![entry.key[6]; SIZE]));
            seen.extend(page.entries.iter().map(|entry| entry.key[6]));
            let Some(last) = page.entries.last().filter(|_| page.more) else { break };
            range = match direction {
                Direction::Forward => range.after(&last.key),
                Direction::Backward => range.before(&last.key),
            };
        }
        if direction == Direction::Backward {
            seen.reverse();
        }
        assert_eq!(seen, (0..30).collect::<Vec<u8>>(), "{}", kv.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiskOptions, fjall, memory, redb};

    #[test]
    fn memory_conforms() {
        let clock = Arc::new(ManualClock::default());
        run(&memory::open(clock.clone()).unwrap(), &clock, 256);
    }

    #[test]
    fn fjall_conforms() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
        run(&fjall::open(dir.path(), DiskOptions::default(), clock.clone()).unwrap(), &clock, 32);
    }

    #[test]
    fn redb_conforms() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::default()));
        run(&redb::open(dir.path(), DiskOptions::default(), clock.clone()).unwrap(), &clock, 32);
    }
}
