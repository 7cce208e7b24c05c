//! Composition: a node's platform from its parts, without sockets, files or the operating system's clock.
//!
//! `Node::start` hands in real parts. A simulation hands in its own, several times over: each call makes one node.

use std::sync::Arc;

use pileus_blobs::Blobs;
use pileus_core::{Clock, Rng};
use pileus_platform::{Config, Outbound, Platform, PlatformBuilder};
use pileus_store::{Space, Store, StoreError};
use pileus_svc_iam::IamIdentities;
use pileus_wire::route::Hosts;

use crate::config::NodeConfig;
use crate::services;

/// What a node works with.
pub struct Parts {
    /// Nodes of one cloud are given stores over the same state.
    pub store: Store,
    /// Large objects, seen by the same nodes as the store.
    pub blobs: Blobs,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    /// The way to the world outside; `Unconnected` where there is none.
    pub outbound: Arc<dyn Outbound>,
}

/// Row of the store's `sys` space that holds the key of session tokens.
const SESSION_KEY: &[u8] = b"node/session-key";

/// Every service over these parts, ready for `pipeline::handle`. Nothing runs in the background until
/// `Platform::start_workers`.
///
/// # Errors
/// The store's, while the cloud's key of session tokens is read or made.
pub async fn compose(config: &NodeConfig, parts: Parts) -> Result<Platform, StoreError> {
    let Parts { store, blobs, clock, rng, outbound } = parts;
    let session_key = session_key(&store, rng.as_ref()).await?;
    let mut suffixes = Vec::new();
    suffixes.extend(config.domain.clone());
    let builder = PlatformBuilder {
        identities: Arc::new(IamIdentities::new(store.clone(), clock.clone())),
        store,
        blobs,
        clock,
        rng,
        session_key,
        config: Config {
            profile: config.profile,
            limits: config.limits,
            hosts: Hosts::new(suffixes),
            endpoint: format!(
                "http://{}:{}",
                config.domain.as_deref().unwrap_or("localhost"),
                config.listen.port()
            ),
            default_region: config.default_region.clone(),
        },
        outbound,
        services: services::all(),
        audit: Vec::new(),
    };
    Ok(builder.build())
}

/// The key that seals session tokens: made once for a cloud, then shared by its nodes through the store.
async fn session_key(store: &Store, rng: &dyn Rng) -> Result<[u8; 32], StoreError> {
    let mut fresh = [0u8; 32];
    rng.fill(&mut fresh);
    store
        .transact(|tx| async move {
            if let Some(value) = tx.get(Space::Sys, SESSION_KEY).await?
                && let Ok(key) = <[u8; 32]>::try_from(&value[..])
            {
                return Ok(key);
            }
            tx.put(Space::Sys, SESSION_KEY, fresh.to_vec());
            Ok::<_, StoreError>(fresh)
        })
        .await
}
