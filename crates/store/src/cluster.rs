//! Whose turn it is: background work is divided among the nodes that share a store.
//!
//! A piece of work (a shard of the outbox, a poller, a sweeper) has a name, and a lease of that name. Every node computes
//! by rendezvous hashing which node should hold it, so nobody needs to be asked, and when a node comes or goes only the
//! work that it wins or held changes hands. The hashing decides who tries; only the lease decides who works. A node that
//! wins work it cannot do (an older release that does not know it) is stood in for after a while.
//!
//! Who is there is found out by `membership.rs`; a node with a store to itself is always on its own, and pays nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::{Lease, Store};

/// How long work that is another node's may lie idle before this one stands in, and for how long it then does.
const STAND_IN_AFTER: Duration = Duration::from_secs(30);
const STAND_IN_FOR: Duration = Duration::from_secs(60);

/// The nodes that share background work, as this one sees them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<watch::Sender<View>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// The store is this node's alone.
    Alone,
    /// Names of the nodes that work, this one among them or not.
    Among { me: String, working: Vec<String> },
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster(Arc::new(watch::Sender::new(View::Alone)))
    }
}

impl Cluster {
    /// Whether this node should do the work of this name, by what it knows now.
    pub fn is_mine(&self, work: &str) -> bool {
        self.0.borrow().is_mine(work)
    }

    /// This node's place among those that work, and their number; `None` alone. Who takes from something that all take from
    /// begins at its place, so that nodes seldom meet.
    pub fn place(&self) -> Option<(usize, usize)> {
        match &*self.0.borrow() {
            View::Among { me, working } if working.len() > 1 => {
                working.iter().position(|name| name == me).map(|place| (place, working.len()))
            }
            View::Among { .. } | View::Alone => None,
        }
    }

    /// For one piece of work: when to try for its lease, and when to give it up.
    pub fn turn(&self, work: impl Into<String>) -> Turn {
        Turn { work: work.into(), views: self.0.subscribe() }
    }

    pub(crate) fn set(&self, view: View) {
        self.0.send_if_modified(|present| {
            let is_new = *present != view;
            if is_new {
                *present = view;
            }
            is_new
        });
    }
}

impl View {
    fn is_mine(&self, work: &str) -> bool {
        match self {
            View::Alone => true,
            View::Among { me, working } => winner(working, work) == Some(me),
        }
    }
}

/// The node with the highest hash together with the work.
fn winner<'a>(nodes: &'a [String], work: &str) -> Option<&'a String> {
    nodes.iter().max_by_key(|node| (mix(node, work), *node))
}

/// FNV-1a, then a finish that makes every bit depend on every other. Nodes of different releases compute the same.
fn mix(node: &str, work: &str) -> u64 {
    let bytes = node.bytes().chain([0]).chain(work.bytes());
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// See `Cluster::turn`.
pub struct Turn {
    work: String,
    views: watch::Receiver<View>,
}

/// Why this node tries for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Own,
    StandIn,
}

impl Turn {
    /// Returns when this node should try for the lease: at once if the work is its own.
    pub async fn come(&mut self, store: &Store) -> Claim {
        let clock = store.clock();
        let jitter = Duration::from_millis(store.rng().below(STAND_IN_AFTER.as_millis() as u64 / 4));
        let stand_in = clock.sleep_until(clock.now() + STAND_IN_AFTER + jitter);
        tokio::select! {
            biased;
            // It also ends when the store is gone: whoever asks that finds out.
            () = async { drop(self.views.wait_for(|view| view.is_mine(&self.work)).await) } => Claim::Own,
            () = stand_in => Claim::StandIn,
        }
    }

    /// Returns when the work should be left to another node.
    pub async fn over(&mut self, store: &Store, claim: Claim) {
        match claim {
            Claim::Own => {
                let lost = self.views.wait_for(|view| !view.is_mine(&self.work)).await.is_ok();
                if !lost {
                    std::future::pending::<()>().await;
                }
            }
            Claim::StandIn => {
                let clock = store.clock();
                clock.sleep_until(clock.now() + STAND_IN_FOR).await;
            }
        }
    }
}

/// One part of shared work, while its lease is held.
pub struct Part {
    pub shard: u16,
    /// For `Txn::fence`.
    pub lease: Arc<Lease>,
}

/// Works the parts `name/0` to `name/<shards - 1>`, each under a lease, on one node at a time. `work` is run again when it
/// ends, and dropped when the part goes to another node, or its lease cannot be kept. Runs until it is dropped.
pub async fn share<F, Fut>(store: &Store, name: &str, shards: u16, ttl: Duration, work: F)
where
    F: Fn(Part) -> Fut,
    Fut: Future<Output = ()>,
{
    join_all((0..shards).map(|shard| share_part(store, name, shard, ttl, &work))).await;
}

async fn share_part<F, Fut>(store: &Store, name: &str, shard: u16, ttl: Duration, work: &F)
where
    F: Fn(Part) -> Fut,
    Fut: Future<Output = ()>,
{
    let lease_name = format!("{name}/{shard}");
    let mut turn = store.cluster().turn(lease_name.clone());
    loop {
        let claim = turn.come(store).await;
        match store.lease(&lease_name, ttl).await {
            Ok(Some(lease)) => {
                let lease = Arc::new(lease);
                tokio::select! {
                    biased;
                    () = work(Part { shard, lease: lease.clone() }) => {}
                    () = keep(store, &lease) => {}
                    () = turn.over(store, claim) => {}
                }
                if let Err(error) = lease.release().await {
                    tracing::debug!(%error, lease = lease_name, "a lease is left to run out");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, lease = lease_name, "a lease cannot be had; trying again"),
        }
        store.clock().sleep_until(store.clock().now() + ttl / 3).await;
    }
}

/// Renews the lease until it is lost, or was not renewed for so long that it may be.
async fn keep(store: &Store, lease: &Lease) {
    let clock = store.clock();
    let mut renewed = clock.now();
    let mut next = renewed + lease.ttl() / 3;
    loop {
        clock.sleep_until(next).await;
        let begin = clock.now();
        tokio::select! {
            biased;
            answer = lease.renew() => match answer {
                Ok(true) => renewed = begin,
                Ok(false) => return,
                Err(error) => tracing::debug!(%error, lease = lease.name(), "a lease could not be renewed"),
            },
            () = clock.sleep_until(renewed + lease.ttl() * 7 / 10) => return,
        }
        next = if renewed == begin { begin + lease.ttl() / 3 } else { clock.now() + lease.ttl() / 20 };
        if clock.now() >= renewed + lease.ttl() * 7 / 10 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Durability, Space, testing};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    fn among(me: &str, working: &[&str]) -> View {
        View::Among { me: me.into(), working: working.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn every_piece_of_work_has_one_node_and_each_node_its_share() {
        let nodes = ["a", "b", "c"];
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for shard in 0..600 {
            let work = format!("outbox/{shard}");
            let holders: Vec<&str> =
                nodes.into_iter().filter(|me| among(me, &nodes).is_mine(&work)).collect();
            assert_eq!(holders.len(), 1, "{work}");
            *shares.entry(holders[0]).or_default() += 1;
            if holders != ["c"] {
                // The end of one node moves nobody else's work.
                assert!(among(holders[0], &["a", "b"]).is_mine(&work), "{work}");
            }
        }
        assert!(shares.len() == 3 && shares.values().all(|share| (150..250).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_node_alone_does_everything_and_one_that_is_leaving_nothing() {
        assert!(View::Alone.is_mine("x"));
        let cluster = Cluster::default();
        let place = |view| {
            cluster.set(view);
            cluster.place()
        };
        assert_eq!(place(View::Alone), None);
        assert_eq!(place(among("a", &["a"])), None);
        assert_eq!(place(among("b", &["a", "b", "c"])), Some((1, 3)));
        assert_eq!(place(among("a", &["b", "c"])), None);
        assert!(!among("a", &[]).is_mine("x"));
        assert!((0..100).all(|work| !among("a", &["b", "c"]).is_mine(&work.to_string())));
    }

    #[tokio::test]
    async fn shared_work_moves_when_the_nodes_change_and_is_stood_in_for_when_nobody_does_it() {
        let (store, clock) = testing::memory().unwrap();
        let running = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        struct Running(Arc<Mutex<std::collections::BTreeSet<u16>>>, u16);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.lock().unwrap().remove(&self.1);
            }
        }
        let (shared, noted) = (store.clone(), running.clone());
        let working = tokio::spawn(async move {
            share(&shared, "test", 8, Duration::from_secs(10), |part| {
                noted.lock().unwrap().insert(part.shard);
                let here = Running(noted.clone(), part.shard);
                async move {
                    let _here = here;
                    std::future::pending::<()>().await;
                }
            })
            .await;
        });
        let until = async |wanted: Vec<u16>, step: u64| {
            for _ in 0..10_000 {
                if running.lock().unwrap().iter().copied().eq(wanted.iter().copied()) {
                    return;
                }
                clock.advance(Duration::from_millis(step));
                // Commits are answered in order: by then, those of before have been.
                let turn = Batch::new().put(Space::Sys, "turn", "");
                store.write(turn, Durability::Relaxed).await.unwrap();
            }
            let found = running.lock().unwrap().clone();
            panic!("{found:?} and not {wanted:?}");
        };
        let all: Vec<u16> = (0..8).collect();
        until(all.clone(), 0).await;
        let view = among("a", &["a", "b"]);
        let mine: Vec<u16> = (0..8).filter(|shard| view.is_mine(&format!("test/{shard}"))).collect();
        assert!(!mine.is_empty() && mine.len() < 8);
        store.cluster().set(view);
        until(mine, 0).await;
        // Node b does nothing, whatever the reason.
        until(all, 100).await;
        working.abort();
    }
}
