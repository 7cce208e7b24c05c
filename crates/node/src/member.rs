//! This node among those that share its store: how it introduces itself, whether it can serve, how it leaves.

use std::sync::Arc;
use std::time::Duration;

use pileus_core::Rng;
use pileus_store::Store;
use pileus_store::membership::{Introduction, Member, MemberState, Membership};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::config::NodeConfig;
use crate::node::StartError;

/// Joined, and heard of every second.
pub(crate) struct Joined {
    membership: Arc<Membership>,
    beating: JoinHandle<()>,
    is_draining: std::sync::atomic::AtomicBool,
}

/// How long a node that stops tries to tell the others so. They find out anyway.
const FAREWELL: Duration = Duration::from_secs(2);

/// `None` when the store is this node's alone.
pub(crate) async fn join(
    config: &NodeConfig,
    store: &Store,
    rng: &dyn Rng,
) -> Result<Option<Joined>, StartError> {
    let mut instance = [0u8; 16];
    rng.fill(&mut instance);
    let me = Introduction {
        name: config.name.clone(),
        instance: u128::from_be_bytes(instance).to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: address(config),
        place: place(config.listen.port()),
    };
    let Some(membership) = Membership::join(store, me).await? else { return Ok(None) };
    let membership = Arc::new(membership);
    let beats = membership.clone();
    let beating = tokio::spawn(async move { beats.run().await });
    Ok(Some(Joined { membership, beating, is_draining: false.into() }))
}

impl Joined {
    /// Why requests should go to another node, if they should.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        if self.is_draining.load(std::sync::atomic::Ordering::Relaxed) {
            Some("draining")
        } else if !self.membership.is_connected() {
            Some("cut off from its database")
        } else {
            None
        }
    }

    pub(crate) async fn members(&self) -> Result<Value, StartError> {
        let members = self.membership.members().await?;
        Ok(members.iter().map(describe).collect())
    }

    /// Others take over this node's background work.
    pub(crate) async fn drain(&self) {
        self.is_draining.store(true, std::sync::atomic::Ordering::Relaxed);
        match tokio::time::timeout(FAREWELL, self.membership.drain()).await {
            Ok(Ok(())) => {}
            _ => tracing::info!("the other nodes could not be told that this one stops; they find out"),
        }
    }

    pub(crate) async fn leave(&self) {
        self.beating.abort();
        let _ = tokio::time::timeout(FAREWELL, self.membership.leave()).await;
    }
}

/// Gives back what this node's background work held, so that another node need not wait for the leases' ends.
pub(crate) async fn release_leases(store: &Store) {
    if !matches!(tokio::time::timeout(FAREWELL, store.release_leases()).await, Ok(Ok(()))) {
        tracing::info!("leases could not be given back; they end by themselves");
    }
}

fn describe(member: &Member) -> Value {
    json!({
        "name": member.name,
        "version": member.version,
        "address": member.address,
        "since": member.since.to_iso8601(),
        "seen_seconds_ago": member.seen_ago.as_secs_f64(),
        "state": match member.state {
            MemberState::Working => "working",
            MemberState::Draining => "draining",
            MemberState::Gone => "gone",
        },
    })
}

/// Where others reach it: the machine's name stands for "every address".
fn address(config: &NodeConfig) -> String {
    if !config.listen.ip().is_unspecified() {
        return config.listen.to_string();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), config.listen.port())
}

/// A port of a network of a running system: whoever holds it is the only one there.
fn place(port: u16) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let network = std::fs::read_link("/proc/self/ns/net");
    match (boot, network) {
        (Ok(boot), Ok(network)) => format!("{} {} {port}", boot.trim(), network.display()),
        _ => String::new(),
    }
}
