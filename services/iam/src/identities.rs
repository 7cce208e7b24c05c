//! What the pipeline asks of IAM: keys, policies, roles. Cached, and never stale on this node.
//!
//! Every change of an account's identities renews its generation in the same transaction. A cached view carries the generation that was
//! read before it was made, and counts only while that is still the account's: one point read on every use, so a change is seen by the
//! next request on any node. A hit costs that read; a miss costs a handful more.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_core::{AccountId, BoxFuture, Clock, Timestamp};
use pileus_iam::{Named, Policy};
use pileus_platform::SessionKind;
use pileus_platform::{
    AccessKey, Caller, CallerKind, Fault, Identities, KeyOwner, MfaCheck, OidcProvider, PrincipalPolicies,
    Region, Role, TokenIssuer,
};
use pileus_store::{Batch, Durability, Store, StoreError};

use crate::access_key::LastUse;
use crate::effective;
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::issuer;
use crate::keys::{self, ACCESS_KEYS, ACCESSED, DEVICES, LAST_USE, OIDC, ROLES, ROOT, USERS};
use crate::mfa::totp;
use crate::names;
use crate::policy;

/// Views of each kind that are kept; beyond it all of that kind are dropped and made again when asked for.
const MAX_CACHED: usize = 10_000;
/// Attempts to read a principal's policies as of one moment.
const MAX_LOADS: u32 = 64;
/// Uses of one key or role that are nearer to each other count as one.
const USE_INTERVAL: Duration = Duration::from_secs(60);

/// IAM's answers to the pipeline.
pub struct IamIdentities {
    store: Store,
    clock: Arc<dyn Clock>,
    access_keys: Cache<String, AccessKey>,
    policies: Cache<String, Arc<PrincipalPolicies>>,
    roles: Cache<(AccountId, String), Arc<Role>>,
    aws_managed: Mutex<HashMap<String, Arc<Policy>>>,
    /// When the use of a key, or of a service by a principal, was last written down.
    noted: Mutex<HashMap<(String, &'static str), Timestamp>>,
}

/// Views by key, each with the generation of the account that it shows.
struct Cache<K, V>(Mutex<HashMap<K, (AccountId, u64, V)>>);

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    fn new() -> Cache<K, V> {
        Cache(Mutex::new(HashMap::new()))
    }

    async fn get(&self, store: &Store, key: &K) -> Result<Option<V>, IamError> {
        let cached = lock(&self.0).get(key).cloned();
        let Some((account, seen, value)) = cached else { return Ok(None) };
        Ok((keys::generation(store, account).await? == seen).then_some(value))
    }

    fn put(&self, key: K, account: AccountId, generation: u64, value: V) {
        let mut map = lock(&self.0);
        if map.len() >= MAX_CACHED {
            map.clear();
        }
        map.insert(key, (account, generation, value));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IamIdentities {
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> IamIdentities {
        IamIdentities {
            store,
            clock,
            access_keys: Cache::new(),
            policies: Cache::new(),
            roles: Cache::new(),
            aws_managed: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    async fn find_access_key(&self, id: &str) -> Result<Option<AccessKey>, IamError> {
        let key = id.to_owned();
        if let Some(found) = self.access_keys.get(&self.store, &key).await? {
            return Ok(Some(found));
        }
        let Some(row) = ACCESS_KEYS.get(&self.store, &(key.clone(),)).await? else { return Ok(None) };
        let generation = keys::generation(&self.store, row.account).await?;
        // Read again: the first read may be older than the generation.
        let Some(row) = ACCESS_KEYS.get(&self.store, &(key.clone(),)).await? else { return Ok(None) };
        let owner = match Holder::find(&self.store, &row.owner).await? {
            Some(user) => Some(KeyOwner::User { path: user.path, name: user.name, id: user.id }),
            None if row.owner == ROOT => Some(KeyOwner::Root),
            None => None,
        };
        let found = AccessKey {
            secret_access_key: row.secret,
            is_active: row.is_active,
            // A key whose user is gone went with it.
            is_deleted: row.is_deleted || owner.is_none(),
            account: row.account,
            owner: owner.unwrap_or_else(|| KeyOwner::User {
                path: "/".into(),
                name: "".into(),
                id: row.owner,
            }),
        };
        self.access_keys.put(key, row.account, generation, found.clone());
        Ok(Some(found))
    }

    async fn find_policies(&self, caller: &Caller) -> Result<Arc<PrincipalPolicies>, IamError> {
        let Some(id) = principal_id(caller) else {
            return Ok(Arc::new(PrincipalPolicies { exists: true, ..PrincipalPolicies::default() }));
        };
        if let Some(found) = self.policies.get(&self.store, &id).await? {
            return Ok(found);
        }
        let mut generation = keys::generation(&self.store, caller.account).await?;
        // A view made while the account changed may be of two moments: it is made again.
        for _ in 0..MAX_LOADS {
            let found = Arc::new(self.load_policies(&id).await?);
            let after = keys::generation(&self.store, caller.account).await?;
            if after == generation {
                self.policies.put(id, caller.account, generation, found.clone());
                return Ok(found);
            }
            generation = after;
        }
        Err(StoreError::Contention { attempts: MAX_LOADS }.into())
    }

    async fn load_policies(&self, id: &str) -> Result<PrincipalPolicies, IamError> {
        let Some(holder) = Holder::find(&self.store, id).await? else {
            return Ok(PrincipalPolicies::default());
        };
        let mut identity = Vec::new();
        for policy in effective::of(&self.store, &holder).await? {
            identity.push(Named::new(policy.label(), self.compile(policy.arn.as_deref(), &policy.document)?));
        }
        let key = (holder.account, names::key(&holder.name));
        let (tags, boundary) = match holder.kind {
            Kind::User => USERS.get(&self.store, &key).await?.map(|row| (row.tags, row.boundary)),
            Kind::Role => ROLES.get(&self.store, &key).await?.map(|row| (row.tags, row.boundary)),
            Kind::Group => None,
        }
        .unwrap_or_default();
        let boundary = match boundary {
            Some(arn) => {
                let document = policy::document_of(&self.store, holder.account, &arn).await?;
                let document =
                    document.ok_or_else(|| StoreError::corrupt(format!("the boundary {arn} is gone")))?;
                let compiled = self.compile(Some(&arn), &document)?;
                Some(Named::new(arn, compiled))
            }
            None => None,
        };
        Ok(PrincipalPolicies { identity, boundary, tags, exists: true })
    }

    /// AWS's own policies never change while we run, so each is compiled once.
    fn compile(&self, arn: Option<&str>, document: &str) -> Result<Arc<Policy>, IamError> {
        let aws_managed = arn.filter(|arn| policy::aws::find(arn).is_some());
        if let Some(found) = aws_managed.and_then(|arn| lock(&self.aws_managed).get(arn).cloned()) {
            return Ok(found);
        }
        let policy = compile(document)?;
        if let Some(arn) = aws_managed {
            lock(&self.aws_managed).insert(arn.to_owned(), policy.clone());
        }
        Ok(policy)
    }

    async fn find_role(&self, account: AccountId, name: &str) -> Result<Option<Arc<Role>>, IamError> {
        let key = (account, names::key(name));
        if let Some(found) = self.roles.get(&self.store, &key).await? {
            return Ok(Some(found));
        }
        let generation = keys::generation(&self.store, account).await?;
        let Some(row) = ROLES.get(&self.store, &key).await? else { return Ok(None) };
        let role = Arc::new(Role {
            account,
            arn: names::arn("aws", account, Kind::Role.word(), &row.path, &row.name),
            trust_policy: compile(&row.judged_trust())?,
            is_service_linked: row.is_service_linked(),
            path: row.path,
            name: row.name,
            id: row.id,
            max_session_seconds: row.max_session_seconds,
            tags: row.tags,
        });
        self.roles.put(key, account, generation, role.clone());
        Ok(Some(role))
    }

    async fn find_oidc(&self, account: AccountId, url: &str) -> Result<Option<Arc<OidcProvider>>, IamError> {
        let url = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
        let row = OIDC.get(&self.store, &(account, url.to_owned())).await?;
        Ok(row.map(|row| {
            Arc::new(OidcProvider {
                arn: row.arn("aws", account),
                url: row.url,
                client_ids: row.client_ids,
                thumbprints: row.thumbprints,
            })
        }))
    }

    /// Takes a code of a device that the caller has enabled; each code once.
    async fn take_code(
        &self,
        caller: &Caller,
        serial: &str,
        code: &str,
        now: Timestamp,
    ) -> Result<MfaCheck, IamError> {
        let owner = match &caller.kind {
            CallerKind::Root => ROOT,
            CallerKind::User { .. } => &*caller.user_id,
            _ => return Ok(MfaCheck::NoSuchDevice),
        };
        let key = &(caller.account, serial.to_owned());
        self.store
            .transact(move |txn| async move {
                let Some(mut row) = DEVICES.get(&txn, key).await? else { return Ok(MfaCheck::NoSuchDevice) };
                let Some(enabled) = row.enabled.as_mut().filter(|enabled| enabled.owner == owner) else {
                    return Ok(MfaCheck::NoSuchDevice);
                };
                let Some(step) = totp::find(&row.seed, code, now, enabled.drift, enabled.last_step) else {
                    return Ok(MfaCheck::WrongCode);
                };
                enabled.last_step = step;
                DEVICES.put(&txn, key, &row)?;
                Ok(MfaCheck::Accepted)
            })
            .await
    }

    /// Whether this use is far enough from the last one that was written.
    fn is_due(&self, id: &str, service: &'static str) -> bool {
        let now = self.clock.now();
        let mut noted = lock(&self.noted);
        if noted.len() >= MAX_CACHED {
            noted.clear();
        }
        let key = (id.to_owned(), service);
        let due = noted.get(&key).is_none_or(|last| now.since(*last) >= USE_INTERVAL);
        if due {
            noted.insert(key, now);
        }
        due
    }
}

/// A stored document was checked when it was saved, so one that does not compile was damaged since.
fn compile(document: &str) -> Result<Arc<Policy>, IamError> {
    let policy = Policy::parse(document)
        .map_err(|error| StoreError::corrupt(format!("a stored policy does not compile: {error}")))?;
    Ok(Arc::new(policy))
}

/// The unique id whose policies count; `None` for the root user and for those who have no policies of their own.
fn principal_id(caller: &Caller) -> Option<String> {
    match &caller.kind {
        CallerKind::User { .. } => Some(caller.user_id.to_string()),
        CallerKind::AssumedRole { role_id, .. } => Some(role_id.to_string()),
        CallerKind::FederatedUser { .. } => match &caller.session.as_ref()?.kind {
            SessionKind::FederatedUser { user_id, .. } if !user_id.is_empty() => Some(user_id.clone()),
            _ => None,
        },
        CallerKind::Root | CallerKind::Service { .. } | CallerKind::Anonymous => None,
    }
}

async fn write_uses(
    store: &Store,
    used: Vec<String>,
    principal: Option<String>,
    last_use: &LastUse,
) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for id in used {
        batch = LAST_USE.put_in(batch, &(id,), last_use)?;
    }
    if let Some(id) = principal {
        batch = ACCESSED.put_in(batch, &(id, last_use.service.clone()), last_use)?;
    }
    store.write(batch, Durability::Relaxed).await.map(drop)
}

impl Identities for IamIdentities {
    fn access_key<'a>(&'a self, access_key_id: &'a str) -> BoxFuture<'a, Result<Option<AccessKey>, Fault>> {
        Box::pin(async move { Ok(self.find_access_key(access_key_id).await?) })
    }

    fn policies<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Arc<PrincipalPolicies>, Fault>> {
        Box::pin(async move { Ok(self.find_policies(caller).await?) })
    }

    /// Written beside the request, at most once a minute for each key, and lost with the node at worst.
    fn record_use(&self, caller: &Caller, service: &'static str, region: &Region, at: Timestamp) {
        let is_long_lived = caller.session.is_none() && !caller.access_key_id.is_empty();
        let key = is_long_lived.then_some(&*caller.access_key_id);
        let role = match &caller.kind {
            CallerKind::AssumedRole { role_id, .. } => Some(&**role_id),
            _ => None,
        };
        let used = [key, role].into_iter().flatten().filter(|id| self.is_due(id, ""));
        let used: Vec<String> = used.map(str::to_owned).collect();
        let principal = principal_id(caller).filter(|id| self.is_due(id, service));
        if used.is_empty() && principal.is_none() {
            return;
        }
        let namespace = pileus_models::entry_of(service).map_or(service, |entry| entry.header.arn_namespace);
        let last_use = LastUse {
            at,
            region: region.as_str().to_owned(),
            service: namespace.to_owned(),
            entity: caller.arn.to_string(),
        };
        let (store, Ok(runtime)) = (self.store.clone(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = write_uses(&store, used, principal, &last_use).await {
                tracing::warn!(%error, "a last use could not be written down");
            }
        });
    }

    fn role<'a>(
        &'a self,
        account: AccountId,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Role>>, Fault>> {
        Box::pin(async move { Ok(self.find_role(account, name).await?) })
    }

    fn managed_policy<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<Option<Arc<Policy>>, Fault>> {
        Box::pin(async move {
            let Some(named) = names::parse_arn(arn).filter(|named| named.kind == "policy") else {
                return Ok(None);
            };
            let account = named.account.unwrap_or(AccountId::DEFAULT);
            let Some(document) = policy::document_of(&self.store, account, arn).await? else {
                return Ok(None);
            };
            Ok(Some(self.compile(Some(arn), &document)?))
        })
    }

    fn oidc_provider<'a>(
        &'a self,
        account: AccountId,
        url: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<OidcProvider>>, Fault>> {
        Box::pin(async move { Ok(self.find_oidc(account, url).await?) })
    }

    fn token_issuer(&self, account: AccountId) -> BoxFuture<'_, Result<Option<TokenIssuer>, Fault>> {
        Box::pin(async move { Ok(issuer::of(&self.store, account).await?) })
    }

    fn token_issuer_named<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TokenIssuer>, Fault>> {
        Box::pin(async move { Ok(issuer::named(&self.store, name).await?) })
    }

    fn verify_mfa<'a>(
        &'a self,
        caller: &'a Caller,
        serial_number: &'a str,
        code: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<MfaCheck, Fault>> {
        Box::pin(async move { Ok(self.take_code(caller, serial_number, code, now).await?) })
    }
}

#[cfg(test)]
mod tests;
