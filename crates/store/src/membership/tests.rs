use std::sync::Arc;

use bytes::Bytes;
use pileus_core::{BoxFuture, Clock};

use super::*;
use crate::testing::{self, ManualClock};
use crate::{Commit, Direction, Found, KeyRange, Kv, Outcome, Page, Read, Subscription, Topic, Version};

/// A store in memory that says of itself that others share it, as a database does.
struct Shared(Arc<dyn Kv>, Arc<ManualClock>);

impl Read for Shared {
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Found, StoreError>> {
        self.0.get(space, key)
    }
    fn multi_get<'a>(&'a self, keys: &'a [(Space, Bytes)]) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        self.0.multi_get(keys)
    }
    fn scan<'a>(
        &'a self,
        space: Space,
        range: &'a KeyRange,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.0.scan(space, range, limit, direction)
    }
}

impl Kv for Shared {
    fn snapshot(&self) -> Result<Arc<dyn Read>, StoreError> {
        self.0.snapshot()
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.0.commit(commit)
    }
    fn subscribe(&self, topic: &Topic) -> Subscription {
        self.0.subscribe(topic)
    }
    fn acquire_lease<'a>(
        &'a self,
        name: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        self.0.acquire_lease(name, ttl)
    }
    fn renew_lease<'a>(
        &'a self,
        name: &'a str,
        token: Version,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.renew_lease(name, token, ttl)
    }
    fn release_lease<'a>(&'a self, name: &'a str, token: Version) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.release_lease(name, token)
    }
    fn shared_time(&self) -> Option<BoxFuture<'_, Result<Timestamp, StoreError>>> {
        Some(Box::pin(std::future::ready(Ok(self.1.now()))))
    }
    fn name(&self) -> &'static str {
        "shared"
    }
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.close()
    }
}

/// Stores of several nodes over one state.
fn cloud() -> (impl Fn() -> Store, Arc<ManualClock>) {
    let (store, clock) = testing::memory().unwrap();
    let kv: Arc<dyn Kv> = Arc::new(Shared(store.kv().clone(), clock.clone()));
    let (nodes, time) = (kv, clock.clone());
    (move || testing::store(nodes.clone(), time.clone()), clock)
}

fn introduction(name: &str, instance: &str, place: &str) -> Introduction {
    Introduction {
        name: name.into(),
        instance: instance.into(),
        version: "1.0".into(),
        address: format!("{instance}:4566"),
        place: place.into(),
    }
}

async fn join(store: &Store, name: &str, instance: &str) -> Membership {
    Membership::join(store, introduction(name, instance, "")).await.unwrap().unwrap()
}

fn mine(store: &Store) -> usize {
    (0..100).filter(|work| store.cluster().is_mine(&work.to_string())).count()
}

async fn states(membership: &Membership) -> Vec<(String, MemberState)> {
    membership.members().await.unwrap().into_iter().map(|member| (member.name, member.state)).collect()
}

#[tokio::test]
async fn work_is_divided_among_those_who_are_here_and_passes_on_from_those_who_are_not() {
    use MemberState::{Draining, Gone, Working};
    let (store, clock) = cloud();
    let (first, second) = (store(), store());
    let a = join(&first, "a", "1").await;
    assert_eq!(mine(&first), 100);
    let b = join(&second, "b", "2").await;
    a.beat().await.unwrap();
    assert_eq!(mine(&first) + mine(&second), 100);
    assert!((20..80).contains(&mine(&first)));
    // Node b falls silent.
    clock.advance(Duration::from_secs(9));
    a.beat().await.unwrap();
    assert!(mine(&first) < 100);
    clock.advance(Duration::from_secs(1));
    a.beat().await.unwrap();
    assert_eq!(mine(&first), 100);
    assert_eq!(states(&a).await, [("a".into(), Working), ("b".into(), Gone)]);
    assert!(a.is_connected() && !b.is_connected());
    // And is back, and node a leaves in good order.
    b.beat().await.unwrap();
    a.drain().await.unwrap();
    b.beat().await.unwrap();
    assert_eq!((mine(&first), mine(&second)), (0, 100));
    assert_eq!(states(&b).await, [("a".into(), Draining), ("b".into(), Working)]);
    a.leave().await.unwrap();
    assert_eq!(states(&b).await, [("b".into(), Working)]);
}

#[tokio::test]
async fn a_name_is_one_nodes_as_long_as_it_is_heard_of() {
    let (store, clock) = cloud();
    let (first, second) = (store(), store());
    let a = join(&first, "a", "1").await;
    let advancing = async {
        loop {
            clock.advance(Duration::from_millis(500));
            tokio::task::yield_now().await;
            a.beat().await.unwrap();
        }
    };
    let refused = tokio::select! {
        biased;
        joined = Membership::join(&second, introduction("a", "2", "")) => joined.err().unwrap().to_string(),
        () = advancing => unreachable!(),
    };
    assert!(refused.contains("named \"a\"") && refused.contains("1:4566"), "{refused}");
    // The first is killed: its name is free ten seconds later.
    a.beat().await.unwrap();
    let killed = clock.now();
    let advancing = async {
        loop {
            clock.advance(Duration::from_millis(500));
            // A commit for each step, so that time does not run away from those who wait for theirs.
            first.write(Batch::new().put(Space::Meta, "step", "x"), Durability::Durable).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        joined = Membership::join(&second, introduction("a", "2", "")) => assert!(joined.unwrap().is_some()),
        () = advancing => unreachable!(),
    }
    assert!(clock.now().since(killed) >= GONE);
    // It was not killed: it does no harm, and takes nothing back.
    a.beat().await.unwrap();
    assert_eq!(mine(&first), 0);
    a.leave().await.unwrap();
    assert_eq!(states(&a).await, [("a".into(), MemberState::Working)]);
}

#[tokio::test]
async fn a_node_that_starts_again_in_its_place_need_not_wait() {
    let (store, _clock) = cloud();
    let first = Membership::join(&store(), introduction("a", "1", "host:4566")).await;
    first.unwrap().unwrap();
    let again = Membership::join(&store(), introduction("a", "2", "host:4566")).await;
    assert!(again.unwrap().is_some());
}

#[tokio::test]
async fn a_node_of_a_later_release_is_a_member_like_any_other() {
    #[derive(Serialize, Deserialize)]
    struct Later {
        instance: String,
        version: String,
        address: String,
        since: u64,
        seen: u64,
        zones: Vec<String>,
    }
    impl Stored for Later {}
    const LATER: Table<String, Later> = Table::new(Space::Sys, *b"nd");
    let (store, clock) = cloud();
    let store = store();
    let now = millis(clock.now());
    let later = Later {
        instance: "9".into(),
        version: "2.0".into(),
        address: "x:1".into(),
        since: now,
        seen: now,
        zones: vec!["z".into()],
    };
    let batch = LATER.put_in(Batch::new(), &"z".to_owned(), &later).unwrap();
    store.write(batch, Durability::Durable).await.unwrap();
    let a = join(&store, "a", "1").await;
    assert_eq!(states(&a).await.len(), 2);
    assert!((1..100).contains(&mine(&store)));
}

#[tokio::test]
async fn a_store_of_ones_own_has_no_members_and_no_rows() {
    let (store, _) = testing::memory().unwrap();
    assert!(Membership::join(&store, introduction("a", "1", "")).await.unwrap().is_none());
    assert!(store.scan(Space::Sys, &NODES.all(), 10).await.unwrap().entries.is_empty());
    assert_eq!(mine(&store), 100);
}

#[test]
fn a_wrong_clock_is_told_of_in_one_line() {
    let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
    let cases = [
        (0, None),
        (59, None),
        (-59, None),
        (3_600, Some("this node's clock is 3600 s ahead of the database's")),
        (-3_600, Some("this node's clock is 3600 s behind the database's")),
    ];
    for (seconds, expected) in cases {
        assert_eq!(clock_fault(at(seconds), at(0)).as_deref(), expected, "{seconds}");
    }
}
