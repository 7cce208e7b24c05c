//! Nodes: whole ones, as `pileus up` composes them, over the simulated store and clock, and calls to them.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pileus_blobs::Blobs;
use pileus_core::{AccountId, BoxFuture, Clock as _, Region, Rng, SeededRng};
use pileus_node::{NodeConfig, Parts, compose};
use pileus_platform::{Caller, Cx, Fault, Platform, Unconnected};
use pileus_store::Store;
use pileus_store::membership::{Introduction, Membership};
use pileus_wire::operation::Operation;
use pileus_wire::value::Struct;
use tokio::sync::oneshot;

use crate::clock::SimClock;
use crate::faults::Faults;
use crate::link::Link;
use crate::server::Server;
use crate::world::{Owner, World};

/// Whose background work runs in the simulation.
const SERVICES: [&str; 4] = ["dynamodb", "iam", "sqs", "sts"];
/// A node that cannot start tries again after this long.
const START_PAUSE: Duration = Duration::from_millis(500);

/// Some nodes over one store. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    world: World,
    server: Arc<Server>,
    faults: Arc<Faults>,
    nodes: Mutex<Vec<Slot>>,
    workers: Mutex<Vec<Arc<Worker>>>,
}

type Worker = dyn Fn(Running) -> BoxFuture<'static, ()> + Send + Sync;

struct Slot {
    /// How far its clock is ahead of the store's.
    ahead: Duration,
    lives: u64,
    running: Option<Running>,
}

/// A node that is up.
#[derive(Clone)]
pub struct Running {
    pub node: usize,
    pub platform: Platform,
    pub clock: SimClock,
}

/// What became of a request, and when.
pub struct Call<T> {
    pub node: usize,
    /// Virtual time.
    pub began: Duration,
    pub ended: Duration,
    /// The request's moment and the moment of its end, both by the node's clock, in milliseconds since 1970.
    pub now: u64,
    pub ended_at: u64,
    pub result: Result<T, Trouble>,
}

/// Why a request has no answer.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// It did nothing.
    Refused { code: String, message: String },
    /// It did what it should, or nothing, or will yet.
    Unknown { reason: String },
}

impl Cloud {
    pub fn new(world: &World, server: &Arc<Server>, faults: &Arc<Faults>, ahead: Vec<Duration>) -> Cloud {
        let slots = ahead.into_iter().map(|ahead| Slot { ahead, lives: 0, running: None });
        Cloud(Arc::new(Inner {
            world: world.clone(),
            server: server.clone(),
            faults: faults.clone(),
            nodes: Mutex::new(slots.collect()),
            workers: Mutex::default(),
        }))
    }

    /// Work that every node does from its start until it is killed.
    pub fn add_worker<F, Fut>(&self, worker: F)
    where
        F: Fn(Running) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        lock(&self.0.workers).push(Arc::new(move |running| Box::pin(worker(running))));
    }

    pub fn world(&self) -> &World {
        &self.0.world
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.0.server
    }

    pub fn faults(&self) -> &Arc<Faults> {
        &self.0.faults
    }

    /// How many nodes there are.
    pub fn size(&self) -> usize {
        self.slots().len()
    }

    /// Starts a node with nothing in its memory. It is up once it has read from the store what it needs.
    pub fn start(&self, node: usize) {
        let (clock, life) = {
            let mut slots = self.slots();
            let slot = &mut slots[node];
            slot.lives += 1;
            (SimClock::new(self.0.world.clone(), slot.ahead), slot.lives)
        };
        let cloud = self.clone();
        self.0.world.note(format_args!("node {node} starts, life {life}"));
        self.0.world.spawn(Owner::Node(node), async move { cloud.come_up(node, clock, life).await });
    }

    async fn come_up(self, node: usize, clock: SimClock, life: u64) {
        let Inner { world, server, faults, .. } = &*self.0;
        let rng: Arc<dyn Rng> = Arc::new(world.rng("node", node as u64 * 1_000 + life));
        let link = Arc::new(Link::new(world, server, faults, node, life));
        let shared = Arc::new(clock.clone());
        let store = Store::new(link, shared.clone(), rng.clone());
        let config = NodeConfig { name: format!("node-{node}"), ..NodeConfig::default() };
        let platform = loop {
            let parts = Parts {
                store: store.clone(),
                blobs: Blobs::memory(shared.clone(), rng.clone()),
                clock: shared.clone(),
                rng: rng.clone(),
                outbound: Arc::new(Unconnected),
            };
            match compose(&config, parts).await {
                Ok(platform) => break platform,
                Err(error) => world.note(format_args!("node {node} cannot start: {error}")),
            }
            world.sleep(START_PAUSE).await;
        };
        let membership = loop {
            match Membership::join(&store, introduction(node, life)).await {
                Ok(membership) => break membership,
                Err(error) => world.note(format_args!("node {node} cannot join: {error}")),
            }
            world.sleep(START_PAUSE).await;
        };
        if let Some(membership) = membership {
            world.spawn(Owner::Node(node), async move { membership.run().await });
        }
        let running = Running { node, platform: platform.clone(), clock };
        for (service, _, work) in platform.workers() {
            if SERVICES.contains(&service) {
                world.spawn(Owner::Node(node), work);
            }
        }
        for worker in lock(&self.0.workers).iter() {
            world.spawn(Owner::Node(node), worker(running.clone()));
        }
        world.note(format_args!("node {node} is up"));
        self.slots()[node].running = Some(running);
    }

    /// Everything that the node does ends where it stands, and what it had in memory is gone.
    pub fn crash(&self, node: usize) {
        self.0.world.note(format_args!("node {node} crashes"));
        self.0.server.listen(node, None);
        let running = self.slots()[node].running.take();
        self.0.world.kill(Owner::Node(node));
        drop(running);
    }

    pub fn is_up(&self, node: usize) -> bool {
        self.slots()[node].running.is_some()
    }

    /// One of the nodes that are up, as soon as there is one.
    pub async fn any(&self, rng: &SeededRng) -> Running {
        loop {
            let up: Vec<Running> = self.slots().iter().filter_map(|slot| slot.running.clone()).collect();
            if !up.is_empty() {
                return up[rng.below(up.len() as u64) as usize].clone();
            }
            self.0.world.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs work on a node; `None` when the node crashed.
    pub async fn on<T, Fut>(&self, running: &Running, work: Fut) -> Option<T>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        if !self.is_up(running.node) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.0.world.spawn(Owner::Node(running.node), async move {
            let _ = answer.send(work.await); // The one who asked was dropped.
        });
        answered.await.ok()
    }

    /// An operation on a node, by the door that calls between services use.
    pub async fn call<I, O>(
        &self,
        running: &Running,
        caller: Caller,
        operation: Operation<I, O>,
        input: I,
    ) -> Call<O>
    where
        I: Struct + Send + 'static,
        O: Struct + Send + 'static,
    {
        let world = &self.0.world;
        let account = caller.account;
        let cx = Cx::background(&running.platform, "simulation.pileus", account, Region::us_east_1());
        let cx = cx.with_caller(caller);
        let began = world.now();
        let now = u64::try_from(cx.now().as_millis()).unwrap_or(0);
        let (service, name) = (operation.service, operation.name);
        let answer = self.on(running, async move { cx.call(operation, input).await }).await;
        let result = match answer {
            Some(answer) => answer.map_err(Trouble::from),
            None => Err(Trouble::Unknown { reason: "the node crashed".to_owned() }),
        };
        let node = running.node;
        match &result {
            Ok(_) => world.note(format_args!("node {node}: {service}:{name} is done")),
            Err(Trouble::Refused { code, message }) => {
                world.note(format_args!("node {node}: {service}:{name} is refused: {code}: {message}"));
            }
            Err(Trouble::Unknown { reason }) => {
                world.note(format_args!("node {node}: {service}:{name} has no answer: {reason}"));
            }
        }
        Call { node, began, ended: world.now(), now, ended_at: running.clock.millis(), result }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        lock(&self.0.nodes)
    }
}

impl Running {
    pub fn store(&self) -> &Store {
        self.platform.store()
    }

    /// Milliseconds since 1970, by the node's clock.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(0)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        if fault.is_sender_fault {
            return Trouble::Refused { code: fault.code.into_owned(), message: fault.message };
        }
        Trouble::Unknown { reason: format!("{}: {}", fault.code, fault.message) }
    }
}

fn introduction(node: usize, life: u64) -> Introduction {
    Introduction {
        name: format!("node-{node}"),
        instance: format!("{node}.{life}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: format!("node-{node}:4566"),
        place: format!("machine-{node}"),
    }
}

/// The account that all of the simulation happens in.
pub fn account() -> AccountId {
    AccountId::DEFAULT
}

pub fn root() -> Caller {
    Caller::root(account())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
