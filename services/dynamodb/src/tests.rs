//! Changes of items on a store in memory, without a node: whatever is written, entries of indexes, records of the stream and
//! rows of expiries say the same as the items.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pileus_core::{AccountId, BoxFuture, Clock, Region, SeededRng, Timestamp};
use pileus_store::{Space, Store, table as rows};
use proptest::prelude::*;

use crate::error::DynamoError;
use crate::expression::condition::Condition;
use crate::expression::path::Path;
use crate::expression::update::{Expr, Update};
use crate::item::collection::{self, Collections, Growth};
use crate::item::write::{self, Action, Applied, Change, Origin, Run};
use crate::keys;
use crate::state::Dynamo;
use crate::stream::read::is_alone;
use crate::stream::{ChangeRow, View};
use crate::table::schema::tests::schema;
use crate::table::schema::{KeyAttribute, KeySchema, ScalarKind, encode_partition};
use crate::table::warm_throughput::Warm;
use crate::table::{
    Address, Index, OnDemandLimits, Projection, Record, StreamSettings, Table, Throughput, TimeToLive,
};
use crate::value::tests::{item, n, s};
use crate::value::{Item, decode_item, item_size};

struct StillClock(Mutex<Timestamp>);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

const T0: Timestamp = Timestamp::from_secs(1_700_000_000);

fn index(name: &str, generation: u64, schema: KeySchema, projection: Projection, is_global: bool) -> Index {
    Index {
        name: name.to_owned(),
        generation,
        is_global,
        schema,
        projection,
        throughput: Throughput::default(),
        on_demand: OnDemandLimits::default(),
        is_backfilling: false,
        warm: Warm::default(),
        insights: None,
    }
}

fn table() -> Table {
    let own = schema("pk", Some(("sk", ScalarKind::N)));
    let by_kind = schema("pk", Some(("kind", ScalarKind::S)));
    let by_owner =
        KeySchema { partition: KeyAttribute { name: "owner".into(), kind: ScalarKind::S }, sort: None };
    let kept = Projection::Include(vec!["v".to_owned()]);
    let address = Address {
        account: AccountId::parse("123456789012").unwrap(),
        region: Region::us_east_1(),
        name: "table".to_owned(),
    };
    let record = Record {
        id: "id".to_owned(),
        generation: 1,
        created_at: 0,
        definitions: Vec::new(),
        schema: own,
        indexes: vec![
            index("by-kind", 2, by_kind, Projection::KeysOnly, false),
            index("by-owner", 3, by_owner.clone(), kept, true),
            index("all", 4, by_owner, Projection::All, true),
        ],
        is_on_demand: true,
        on_demand_since: None,
        throughput: Throughput::default(),
        on_demand: OnDemandLimits::default(),
        stream: Some(StreamSettings { generation: 5, label: "l".to_owned(), view: View::NewAndOldImages }),
        latest_stream: None,
        time_to_live: Some(TimeToLive { attribute: "expires".to_owned(), is_backfilling: false }),
        tags: BTreeMap::new(),
        is_protected: false,
        class: None,
        class_changed_at: None,
        policy: None,
        restore: None,
        recovery: None,
        recordings: Vec::new(),
        replicas: Vec::new(),
        filled_from: None,
        global_version: None,
        warm: Warm::default(),
        insights: None,
        transition: None,
    };
    Table { address, record, policy: None }
}

struct World {
    store: Store,
    dynamo: Dynamo,
    table: Table,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(StillClock(Mutex::new(T0)));
        let store = Store::memory(clock, Arc::new(SeededRng::new(7))).unwrap();
        World { store, dynamo: Dynamo::default(), table: table() }
    }

    async fn apply(
        &self,
        key_item: Item,
        action: Action,
        condition: Option<Condition>,
    ) -> Result<Applied, DynamoError> {
        let key = self.table.schema().encode_key(&key_item).unwrap();
        let change = &Change { generation: 1, key, key_item, condition, action, shows_item: true };
        let ticket = self.dynamo.order.ticket(Duration::ZERO);
        let held = &ticket;
        let applied = self
            .store
            .transact(|txn| async move {
                held.restart();
                let run = Run {
                    dynamo: &self.dynamo,
                    now: T0,
                    ticket: held,
                    origin: Origin::Caller,
                    is_shared: !is_alone(&self.store),
                };
                write::apply(&txn, &run, &self.table, change).await
            })
            .await;
        self.dynamo.finish(ticket, applied.is_ok());
        applied
    }

    async fn rows(
        &self,
        space: Space,
        range: pileus_store::KeyRange,
    ) -> BTreeMap<bytes::Bytes, bytes::Bytes> {
        let page = self.store.scan(space, &range, 10_000).await.unwrap();
        page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }
}

/// What one step does to the item with sort key `sk`.
#[derive(Debug, Clone)]
enum Step {
    Put(Item),
    Set(&'static str, crate::value::Value),
    Remove(&'static str),
    Delete,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let attributes = ["owner", "kind", "v", "expires"];
    let value = |name: &'static str, text: u8| {
        if name == "expires" {
            n(&(1_700_000_000 + i64::from(text)).to_string())
        } else {
            s(&text.to_string())
        }
    };
    let some = prop::collection::btree_map(prop::sample::select(attributes.to_vec()), 1u8..4, 0..4);
    let step = prop_oneof![
        some.prop_map(move |map| {
            Step::Put(map.into_iter().map(|(name, text)| (name.to_owned(), value(name, text))).collect())
        }),
        (prop::sample::select(attributes.to_vec()), 1u8..4)
            .prop_map(move |(name, text)| Step::Set(name, value(name, text))),
        prop::sample::select(attributes.to_vec()).prop_map(Step::Remove),
        Just(Step::Delete),
    ];
    prop::collection::vec((0i64..4, step), 1..25)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Takes the steps on a world and on plain maps; returns the world and the items that there should be.
async fn take(steps: &[(i64, Step)]) -> (World, BTreeMap<i64, Item>) {
    let (world, mut model) = (World::new(), BTreeMap::<i64, Item>::new());
    for (sk, step) in steps {
        let key = item(&[("pk", s("p")), ("sk", n(&sk.to_string()))]);
        let set = |name: &str, value: crate::value::Value| Update {
            set: vec![(Path::attribute(name), Expr::Value(value))],
            ..Update::default()
        };
        let action = match step {
            Step::Put(rest) => {
                let whole: Item = key.clone().into_iter().chain(rest.clone()).collect();
                model.insert(*sk, whole.clone());
                Action::Put(whole)
            }
            Step::Set(name, value) => {
                model.entry(*sk).or_insert(key.clone()).insert((*name).to_owned(), value.clone());
                Action::Update(set(name, value.clone()))
            }
            Step::Remove(name) => {
                model.entry(*sk).or_insert(key.clone()).remove(*name);
                Action::Update(Update { remove: vec![Path::attribute(*name)], ..Update::default() })
            }
            Step::Delete => {
                model.remove(sk);
                Action::Delete
            }
        };
        world.apply(key, action, None).await.unwrap();
    }
    (world, model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn indexes_and_expiries_say_what_the_items_say(steps in steps()) {
        block_on(async {
            let (world, model) = take(&steps).await;
            let stored: Vec<Item> =
                world.rows(Space::Items, keys::items(1)).await.values().map(|row| decode_item(row).unwrap()).collect();
            assert_eq!(stored, model.values().cloned().collect::<Vec<_>>());
            for index in &world.table.record.indexes {
                let expected: BTreeMap<_, _> = model
                    .values()
                    .filter_map(|item| {
                        let key = world.table.schema().encode(item)?;
                        write::entry(&world.table, index, &key, Some(item))
                    })
                    .collect();
                let found: BTreeMap<_, _> = world
                    .rows(Space::Index, keys::entries(index.generation))
                    .await
                    .into_iter()
                    .map(|(key, row)| (key, decode_item(&row).unwrap()))
                    .collect();
                assert_eq!(found, expected, "{}", index.name);
            }
            let due = world.rows(Space::Index, pileus_store::KeyRange::prefix(&b"De"[..])).await.len();
            assert_eq!(due, model.values().filter(|item| item.contains_key("expires")).count());
        });
    }

    #[test]
    fn a_collection_is_as_large_as_its_items_and_their_local_entries(steps in steps()) {
        block_on(async {
            let (world, model) = take(&steps).await;
            let place = (1, encode_partition(&s("p")));
            let local = world.table.record.indexes.iter().filter(|index| !index.is_global);
            let local: Vec<_> = local.collect();
            let expected: usize = model
                .values()
                .map(|item| {
                    let key = world.table.schema().encode(item).unwrap();
                    let entries = local.iter().filter_map(|index| write::entry(&world.table, index, &key, Some(item)));
                    item_size(item) + entries.map(|(_, entry)| item_size(&entry)).sum::<usize>()
                })
                .sum();
            let known = &world.dynamo.collections;
            assert_eq!(known.size(&world.store, place).await.unwrap(), expected as u64);
            // The store knows it too, once it was told; another node reads it there.
            known.save(&world.store).await.unwrap();
            assert_eq!(known.size(&world.store, place).await.unwrap(), expected as u64);
            assert_eq!(Collections::default().size(&world.store, place).await.unwrap(), expected as u64);
        });
    }

    #[test]
    fn records_played_from_the_beginning_make_the_items(steps in steps()) {
        block_on(async {
            let (world, model) = take(&steps).await;
            let mut played = BTreeMap::<Item, Item>::new();
            for row in world.rows(Space::Log, keys::records(5)).await.values() {
                let change: ChangeRow = rows::decode(row).unwrap();
                let key = decode_item(&change.keys).unwrap();
                let old = change.old.map(|bytes| decode_item(&bytes).unwrap());
                assert_eq!(played.get(&key).cloned(), old);
                match change.new {
                    Some(bytes) => played.insert(key, decode_item(&bytes).unwrap()),
                    None => played.remove(&key),
                };
            }
            assert_eq!(played.into_values().collect::<Vec<_>>(), model.into_values().collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_condition_that_fails_changes_nothing_and_shows_the_item() {
    block_on(async {
        let world = World::new();
        let key = item(&[("pk", s("p")), ("sk", n("1"))]);
        let absent = || Some(Condition::Exists(Path::attribute("pk")).not());
        world.apply(key.clone(), Action::Put(key.clone()), absent()).await.unwrap();
        match world.apply(key.clone(), Action::Delete, absent()).await {
            Err(DynamoError::ConditionalCheckFailed { item: Some(shown) }) => assert_eq!(*shown, key),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.rows(Space::Items, keys::items(1)).await.len(), 1);
        assert_eq!(world.rows(Space::Log, keys::records(5)).await.len(), 1);
    });
}

#[test]
fn a_collection_that_is_full_takes_no_more_and_gives_way() {
    block_on(async {
        let world = World::new();
        let place = (1, encode_partition(&s("p")));
        let (first, second) = (key("p", 1), key("p", 2));
        world.apply(first.clone(), Action::Put(first.clone()), None).await.unwrap();
        let grown = collection::MAX_BYTES as i64 - 2 * item_size(&first) as i64;
        world.dynamo.collections.grow(&[Growth { place, bytes: grown }]);
        world.apply(second.clone(), Action::Put(second.clone()), None).await.unwrap();
        let third = key("p", 3);
        let full = world.apply(third.clone(), Action::Put(third.clone()), None).await.unwrap_err();
        assert_eq!(full.code(), "ItemCollectionSizeLimitExceededException");
        assert_eq!(world.rows(Space::Items, keys::items(1)).await.len(), 2);
        // The same again is no more, another collection is not full, and who leaves makes room.
        world.apply(second.clone(), Action::Put(second.clone()), None).await.unwrap();
        let other = key("q", 3);
        world.apply(other.clone(), Action::Put(other), None).await.unwrap();
        world.apply(second, Action::Delete, None).await.unwrap();
        world.apply(third.clone(), Action::Put(third), None).await.unwrap();
    });
}

fn key(pk: &str, sk: i64) -> Item {
    item(&[("pk", s(pk)), ("sk", n(&sk.to_string()))])
}
