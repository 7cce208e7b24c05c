//! Custom domain names and what they lead to. Versions 1 and 2 of the API show the same ones.
//!
//! A node keeps all of them in memory, so that a request to a name which is none of ours costs a look into a map.
//!
//! Source: API Gateway Developer Guide, "Custom domain name for HTTP APIs in API Gateway", "Use API mappings to map API stages to a
//! custom domain name for HTTP APIs".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::Platform;
use pileus_store::{Store, StoreError, Stored};
use serde::{Deserialize, Serialize};

use crate::keys::{DOMAINS, DOMAINS_TOPIC, MAPPINGS};

/// A custom domain name as both versions of the API keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainRow {
    pub account: AccountId,
    pub region: Region,
    pub created: Timestamp,
    /// One for each type of endpoint.
    pub configurations: Vec<DomainConfiguration>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// `API_MAPPING_ONLY`
    pub routing_mode: String,
}

impl Stored for DomainRow {}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainConfiguration {
    /// `REGIONAL`, `EDGE`
    pub endpoint_type: String,
    /// `d-abcdef1234.execute-api.us-east-1.amazonaws.com`: what a DNS record points to.
    pub target: String,
    pub hosted_zone_id: String,
    pub certificate_arn: Option<String>,
    pub certificate_name: Option<String>,
    pub certificate_uploaded: Option<Timestamp>,
    /// `TLS_1_2`
    pub security_policy: String,
    pub ip_address_type: Option<String>,
    pub ownership_verification_certificate_arn: Option<String>,
}

/// The API and stage that a path of a domain leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingRow {
    pub id: String,
    pub api_id: String,
    /// `None`: the path's next part names it (base path mappings of version 1).
    pub stage: Option<String>,
}

impl Stored for MappingRow {}

/// A domain name with its mappings, those with the longest path first.
#[derive(Debug)]
pub struct Domain {
    pub row: DomainRow,
    pub mappings: Vec<(String, MappingRow)>,
}

impl Domain {
    /// The mapping that a path lies under, and the rest of the path, which begins with `/`.
    pub fn find<'p>(&self, path: &'p str) -> Option<(&str, &MappingRow, &'p str)> {
        self.mappings.iter().find_map(|(key, mapping)| {
            let rest = match key.as_str() {
                "" => path,
                key => path.strip_prefix('/')?.strip_prefix(key)?,
            };
            let at_end = rest.is_empty() || rest.starts_with('/');
            at_end.then_some((key.as_str(), mapping, if rest.is_empty() { "/" } else { rest }))
        })
    }
}

/// All domain names, in memory.
#[derive(Default)]
pub struct Names(RwLock<HashMap<String, Arc<Domain>>>);

impl Names {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<Domain>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// By the name itself, else by the wildcard above it.
    pub fn find(&self, host: &str) -> Option<Arc<Domain>> {
        let names = self.read();
        if names.is_empty() {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let above = || Some(format!("*.{}", host.split_once('.')?.1));
        names.get(&host).or_else(|| names.get(&above()?)).cloned()
    }

    /// Reads one name anew: who changes it calls this before answering, so that this node knows it at once.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn reload(&self, store: &Store, name: &str) -> Result<(), StoreError> {
        let found = load(store, name).await?;
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(domain) => names.insert(name.to_owned(), Arc::new(domain)),
            None => names.remove(name),
        };
        Ok(())
    }

    async fn reload_all(&self, store: &Store) -> Result<(), StoreError> {
        let mut all = HashMap::new();
        let mut range = DOMAINS.all();
        loop {
            let page = DOMAINS.scan(store, &range, 500).await?;
            let Some((last, _)) = page.rows.last() else { break };
            range = range.after(&DOMAINS.key(last));
            for (name, _) in &page.rows {
                if let Some(domain) = load(store, name).await? {
                    all.insert(name.clone(), Arc::new(domain));
                }
            }
            if !page.more {
                break;
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }
}

async fn load(store: &Store, name: &str) -> Result<Option<Domain>, StoreError> {
    let Some(row) = DOMAINS.get(store, &name.to_owned()).await? else { return Ok(None) };
    let page = MAPPINGS.scan(store, &MAPPINGS.under(&(name,)), 1_000).await?;
    let mut mappings: Vec<(String, MappingRow)> =
        page.rows.into_iter().map(|((_, path), mapping)| (path, mapping)).collect();
    mappings.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
    Ok(Some(Domain { row, mappings }))
}

/// Keeps the names of this node those of the store.
pub async fn watch(platform: Platform) {
    let store = platform.store().clone();
    let mut changes = store.subscribe(&DOMAINS_TOPIC.into());
    loop {
        if let Err(error) = platform.state::<Names>().reload_all(&store).await {
            tracing::warn!(%error, "the custom domain names cannot be read; they stay as they were");
        }
        // Wake-ups between nodes can be lost.
        let again = store.clock().sleep_until(store.clock().now() + std::time::Duration::from_secs(60));
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = again => {}
        }
    }
}
