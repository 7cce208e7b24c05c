//! The cache against the store: a view is never older than the last committed change.

use super::*;
use crate::access_key::AccessKeyRow;
use crate::create_administrator;
use crate::keys::{ATTACHED, IDS, INLINE, KEYS_OF, renew_generation};
use crate::policy::inline::InlineRow;
use pileus_core::{Ids, SeededRng};
use pileus_platform::MovableClock;
use pileus_store::Txn;
use proptest::prelude::*;

const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

struct Cloud {
    store: Store,
    ids: Ids,
    identities: IamIdentities,
    key_id: String,
    user_id: String,
}

fn account() -> AccountId {
    AccountId::parse("123456789012").unwrap()
}

impl Cloud {
    async fn new() -> Cloud {
        let clock: Arc<dyn Clock> = Arc::new(MovableClock::frozen(Timestamp::from_secs(1_000_000)));
        let rng = Arc::new(SeededRng::new(1));
        let store = Store::memory(clock.clone(), rng.clone()).unwrap();
        let ids = Ids::new(rng);
        let made = create_administrator(&store, &ids, clock.now(), account(), "Admin").await.unwrap();
        let identities = IamIdentities::new(store.clone(), clock);
        let key = identities.access_key(&made.access_key_id).await.unwrap().unwrap();
        assert_eq!(key.secret_access_key, made.secret_access_key);
        let KeyOwner::User { id, name, path } = key.owner else { panic!("a user's key") };
        assert_eq!((name.as_str(), path.as_str()), ("Admin", "/"));
        Cloud { store, ids, identities, key_id: made.access_key_id, user_id: id }
    }

    fn caller(&self) -> Caller {
        Caller::user(account(), "/", "Admin", &self.user_id)
    }

    async fn policies(&self) -> Arc<PrincipalPolicies> {
        self.identities.policies(&self.caller()).await.unwrap()
    }

    /// As an operation writes: with a new generation.
    async fn write(&self, change: impl Fn(&Txn) -> Result<(), StoreError> + Send + Sync) {
        let token = self.ids.rng().next_u64();
        let change = &change;
        let written: Result<(), StoreError> = self
            .store
            .transact(move |txn| async move {
                renew_generation(&txn, account(), token);
                change(&txn)
            })
            .await;
        written.unwrap();
    }

    fn inline(&self, name: &str) -> (String, String) {
        (self.user_id.clone(), name.to_owned())
    }
}

#[tokio::test]
async fn the_first_administrator_has_administrator_access() {
    let cloud = Cloud::new().await;
    let policies = cloud.policies().await;
    assert!(policies.exists && policies.boundary.is_none());
    let names: Vec<&str> = policies.identity.iter().map(|named| &*named.name).collect();
    assert_eq!(names, ["arn:aws:iam::aws:policy/AdministratorAccess"]);
    let again = create_administrator(&cloud.store, &cloud.ids, Timestamp::EPOCH, account(), "ADMIN").await;
    assert_eq!(again.unwrap_err().code, "EntityAlreadyExists");
}

#[tokio::test]
async fn a_view_is_shared_until_something_changes() {
    let cloud = Cloud::new().await;
    let before = cloud.policies().await;
    assert!(Arc::ptr_eq(&before, &cloud.policies().await));
    cloud.write(|txn| INLINE.put(txn, &cloud.inline("p"), &InlineRow { document: ALLOW.to_owned() })).await;
    let after = cloud.policies().await;
    assert_eq!((before.identity.len(), after.identity.len()), (1, 2));
}

#[tokio::test]
async fn a_deleted_key_stays_known_and_an_unknown_one_is_none() {
    let cloud = Cloud::new().await;
    assert!(cloud.identities.access_key("AKIAUNKNOWN").await.unwrap().is_none());
    let key = (cloud.key_id.clone(),);
    let row = ACCESS_KEYS.get(&cloud.store, &key).await.unwrap().unwrap();
    cloud
        .write(|txn| {
            KEYS_OF.delete(txn, &(account(), cloud.user_id.clone(), cloud.key_id.clone()));
            let row = AccessKeyRow { is_deleted: true, is_active: false, ..row.clone() };
            ACCESS_KEYS.put(txn, &key, &row)
        })
        .await;
    let found = cloud.identities.access_key(&cloud.key_id).await.unwrap().unwrap();
    assert!(found.is_deleted && !found.is_active);
}

#[tokio::test]
async fn a_principal_that_is_gone_has_nothing() {
    let cloud = Cloud::new().await;
    assert!(cloud.policies().await.exists);
    cloud
        .write(|txn| {
            USERS.delete(txn, &(account(), "admin".to_owned()));
            IDS.delete(txn, &(cloud.user_id.clone(),));
            Ok(())
        })
        .await;
    let policies = cloud.policies().await;
    assert!(!policies.exists && policies.identity.is_empty());
    assert!(cloud.identities.access_key(&cloud.key_id).await.unwrap().unwrap().is_deleted);
}

#[tokio::test]
async fn uses_of_a_key_within_a_minute_are_one() {
    let cloud = Cloud::new().await;
    let caller = cloud.caller().with_access_key(&cloud.key_id);
    let region = Region::us_east_1();
    for (service, seconds) in [("sqs", 0), ("sts", 30)] {
        cloud.identities.record_use(&caller, service, &region, Timestamp::from_secs(seconds));
    }
    // Let both writes begin, and have one more wait behind them.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    cloud.write(|_| Ok(())).await;
    let last = LAST_USE.get(&cloud.store, &(cloud.key_id.clone(),)).await.unwrap().unwrap();
    assert_eq!((last.service.as_str(), last.at), ("sqs", Timestamp::from_secs(0)));
    let services =
        crate::page::all(&cloud.store, ACCESSED, ACCESSED.under(&(cloud.user_id.clone(),))).await.unwrap();
    assert_eq!(services.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Reads and changes in any order, against a count kept by hand.
    #[test]
    fn a_view_is_never_older_than_the_last_change(steps in prop::collection::vec((0u8..3, 0u8..4), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cloud = Cloud::new().await;
            let mut expected = std::collections::BTreeSet::from([String::from("managed")]);
            for (step, which) in steps {
                let name = format!("p{which}");
                match step {
                    0 => {
                        let row = InlineRow { document: ALLOW.to_owned() };
                        cloud.write(|txn| INLINE.put(txn, &cloud.inline(&name), &row)).await;
                        expected.insert(name);
                    }
                    1 => {
                        cloud.write(|txn| { INLINE.delete(txn, &cloud.inline(&name)); Ok(()) }).await;
                        expected.remove(&name);
                    }
                    _ if which == 0 => {
                        let arn = "arn:aws:iam::aws:policy/AdministratorAccess".to_owned();
                        cloud.write(|txn| { ATTACHED.delete(txn, &(cloud.user_id.clone(), arn.clone())); Ok(()) }).await;
                        expected.remove("managed");
                    }
                    _ => {}
                }
                prop_assert_eq!(cloud.policies().await.identity.len(), expected.len());
            }
            Ok(())
        })?;
    }
}
