//! What all services of a node share, and how a node is put together.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use pileus_blobs::Blobs;
use pileus_core::{BoxFuture, Clock, Ids, Rng};
use pileus_store::Store;
use pileus_wire::route::{Hosts, classify_host};
use pileus_wire::sigv4::SigningKeys;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::audit::AuditSink;
use crate::denials::Denials;
use crate::edge::Edge;
use crate::identity::Identities;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::parsed::ParsedPolicies;
use crate::service::{DataPlane, ResourcePolicyFn, Service};
use crate::session::Sealer;

/// A node's services and what they share. Cheap to clone.
#[derive(Clone)]
pub struct Platform(Arc<Inner>);

struct Inner {
    store: Store,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    ids: Ids,
    identities: Arc<dyn Identities>,
    outbound: Arc<dyn Outbound>,
    sealer: Sealer,
    config: Config,
    services: HashMap<&'static str, Service>,
    /// Services that answer requests to hosts of others.
    claimants: Vec<&'static str>,
    states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    metrics: Metrics,
    denials: Denials,
    audit: Vec<Arc<dyn AuditSink>>,
    signing_keys: SigningKeys,
    session_policies: ParsedPolicies,
    body_room: Semaphore,
}

/// Memory that large request bodies may take together, in KiB: a body waits for its share before it is read.
const BODY_ROOM_KIB: u32 = 512 << 10;
/// Smaller bodies are not counted: a connection's own buffers are as large.
const SMALL_BODY: u64 = 64 << 10;

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct Config {
    pub profile: Profile,
    pub limits: LimitsProfile,
    /// Host names that we answer for.
    pub hosts: Hosts,
    /// `http://localhost:4566`: used in answers when a request does not say how it reached us.
    pub endpoint: String,
    /// Requests without a signature and without a region in their host name are for this region.
    pub default_region: crate::Region,
}

/// Whom the node trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Keys that this cloud did not issue act as root: of the account that a 12-digit key spells, else of 000000000000.
    Development,
    /// Only issued keys.
    Server,
}

/// Whether AWS's quotas on request rates are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsProfile {
    /// No artificial ceilings.
    Unlimited,
    /// AWS's own.
    Aws,
}

/// The parts that a composition root hands in.
pub struct PlatformBuilder {
    pub store: Store,
    pub blobs: Blobs,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub identities: Arc<dyn Identities>,
    pub outbound: Arc<dyn Outbound>,
    /// Seals session tokens; the same on every node of a cloud.
    pub session_key: [u8; 32],
    pub config: Config,
    pub services: Vec<Service>,
    pub audit: Vec<Arc<dyn AuditSink>>,
}

impl PlatformBuilder {
    pub fn build(mut self) -> Platform {
        let mut states = HashMap::new();
        for service in &mut self.services {
            states.extend(service.states.drain(..));
        }
        let claimants = self.services.iter().filter(|service| service.claims.is_some());
        let claimants = claimants.map(Service::name).collect();
        Platform(Arc::new(Inner {
            claimants,
            store: self.store,
            blobs: self.blobs,
            clock: self.clock,
            ids: Ids::new(self.rng),
            identities: self.identities,
            outbound: self.outbound,
            sealer: Sealer::new(&self.session_key),
            config: self.config,
            services: self.services.into_iter().map(|service| (service.name, service)).collect(),
            states,
            metrics: Metrics::default(),
            denials: Denials::default(),
            audit: self.audit,
            signing_keys: SigningKeys::default(),
            session_policies: ParsedPolicies::default(),
            body_room: Semaphore::new(BODY_ROOM_KIB as usize),
        }))
    }
}

impl Platform {
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Large objects. A service takes its own: `blobs().area("lambda")`.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    pub fn identities(&self) -> &Arc<dyn Identities> {
        &self.0.identities
    }

    /// The way to the world outside.
    pub fn outbound(&self) -> &Arc<dyn Outbound> {
        &self.0.outbound
    }

    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The latest refusals.
    pub fn denials(&self) -> &Denials {
        &self.0.denials
    }

    pub(crate) fn audit(&self) -> &[Arc<dyn AuditSink>] {
        &self.0.audit
    }

    pub(crate) fn session_policies(&self) -> &ParsedPolicies {
        &self.0.session_policies
    }

    pub(crate) fn signing_keys(&self) -> &SigningKeys {
        &self.0.signing_keys
    }

    /// Waits until a body of this length (unknown: a large one) may be held in memory.
    pub(crate) async fn body_room(&self, length: Option<u64>) -> Option<SemaphorePermit<'_>> {
        let length = length.unwrap_or(8 << 20);
        if length <= SMALL_BODY {
            return None;
        }
        let kib = u32::try_from(length >> 10).unwrap_or(u32::MAX).min(BODY_ROOM_KIB);
        self.0.body_room.acquire_many(kib).await.ok()
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.0.services.get(name)
    }

    /// Who answers requests to this host and path, if they belong to what customers have made.
    pub(crate) fn data_plane(&self, host: &str, path: &str) -> Option<&DataPlane> {
        let kind = classify_host(&self.0.config.hosts, host);
        if !kind.is_data_plane() {
            let mut claimants = self.0.claimants.iter().filter_map(|name| self.service(name));
            let claims = |service: &&Service| service.claims.is_some_and(|claims| claims(self, &kind, path));
            return claimants.find(claims)?.data_plane.as_ref();
        }
        let planes = self.0.services.values().filter_map(|service| service.data_plane.as_ref());
        planes.into_iter().find(|plane| (plane.owns)(&kind))
    }

    /// The services that take part at the edge.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&'static str, &dyn Edge)> {
        let services = self.0.services.values();
        services.filter_map(|service| Some((service.name, service.edge.as_deref()?)))
    }

    pub(crate) fn resource_policy(&self, service: &str) -> Option<&ResourcePolicyFn> {
        self.service(service)?.resource_policy.as_ref()
    }

    /// Names of the services that answer anything here, sorted.
    pub fn services(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = self.0.services.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Whether `operation` of `service` does something here.
    pub fn implements(&self, service: &str, operation: &str) -> bool {
        self.service(service).is_some_and(|service| service.implements(operation))
    }

    /// # Panics
    /// When no service registered a `T`.
    pub fn state<T: Send + Sync + 'static>(&self) -> &T {
        let state = self.0.states.get(&TypeId::of::<T>()).and_then(|state| state.downcast_ref());
        state.expect("a service asks only for state that its own `service()` registered")
    }

    /// Starts every service's background workers; they end when `stop` is dropped or the runtime ends.
    pub fn start_workers(&self, tasks: &mut tokio::task::JoinSet<()>) {
        for (service, worker, work) in self.workers() {
            tracing::debug!(service, worker, "background worker starts");
            tasks.spawn(work);
        }
    }

    /// Every service's background workers, by the names of the service and the worker, for who runs them otherwise.
    pub fn workers(&self) -> Vec<(&'static str, &'static str, BoxFuture<'static, ()>)> {
        let services = self.services();
        let services = services.into_iter().filter_map(|name| self.service(name));
        let workers =
            services.flat_map(|service| service.workers.iter().map(move |worker| (service, worker)));
        workers.map(|(service, (name, worker))| (service.name, *name, worker(self.clone()))).collect()
    }
}
