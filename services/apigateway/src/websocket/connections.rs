//! Connections as rows, so that every node can say something to each of them.
//!
//! | Space | Key                      | Value           | Who ranges over it                                  |
//! |-------|--------------------------|-----------------|-----------------------------------------------------|
//! | meta  | `Ac` connection id       | `ConnectionRow` | the sweeper of lost connections                     |
//! | queue | `Ac` node, number        | `DeliveryRow`   | the node that holds the connection                  |
//! | sys   | `Ac` node                | `NodeRow`       | the sweeper: a node that says nothing is dead        |
//!
//! Neither waits for the disk: when the machine loses them, the connections are lost too.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::{Cx, Platform};
use pileus_store::{Batch, Durability, Space, Store, StoreError, Stored, Table, Topic};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::session;
use crate::error::GatewayError;

pub const CONNECTIONS: Table<String, ConnectionRow> = Table::new(Space::Meta, *b"Ac");
const DELIVERIES: Table<(String, String), DeliveryRow> = Table::new(Space::Queue, *b"Ac");
const NODES: Table<String, NodeRow> = Table::new(Space::Sys, *b"Ac");

/// A client that is connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionRow {
    pub api_id: String,
    pub stage: String,
    pub account: AccountId,
    pub region: Region,
    /// The node that holds the connection.
    pub node: String,
    pub connected_at: Timestamp,
    pub last_active_at: Timestamp,
    pub source_ip: String,
    pub user_agent: String,
    pub domain_name: String,
    /// What the authorizer said of the client, as JSON.
    pub authorizer: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct DeliveryRow {
    connection: String,
    /// `None`: the connection is closed.
    #[serde(with = "serde_bytes_option")]
    data: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NodeRow {
    seen: Timestamp,
}

impl Stored for ConnectionRow {}
impl Stored for DeliveryRow {}
impl Stored for NodeRow {}

mod serde_bytes_option {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(data: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match data {
            Some(data) => serializer.serialize_bytes(data),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        struct Whole(Vec<u8>);
        impl<'de> serde::Deserialize<'de> for Whole {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
                deserializer.deserialize_bytes(Visitor).map(Whole)
            }
        }
        Option::<Whole>::deserialize(deserializer).map(|whole| whole.map(|whole| whole.0))
    }
}

/// What a connection is told from outside.
#[derive(Debug)]
pub enum Command {
    Send(Bytes),
    Close,
}

/// A connection of this node.
pub struct Handle {
    pub commands: mpsc::Sender<Command>,
    /// Milliseconds since 1970.
    pub last_active: AtomicI64,
}

/// The connections that this node holds.
#[derive(Default)]
pub struct Connections {
    node: OnceLock<String>,
    live: RwLock<HashMap<String, Arc<Handle>>>,
}

impl Connections {
    /// This node's name among those that hold connections.
    pub fn node(&self, platform: &Platform) -> &str {
        self.node.get_or_init(|| platform.ids().uuid())
    }

    pub fn add(&self, id: &str, handle: Arc<Handle>) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), handle);
    }

    pub fn remove(&self, id: &str) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub fn find(&self, id: &str) -> Option<Arc<Handle>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn is_empty(&self) -> bool {
        self.live.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// # Errors
/// Those of the store.
pub async fn keep(store: &Store, id: &str, row: &ConnectionRow) -> Result<(), StoreError> {
    let batch = CONNECTIONS.put_in(Batch::new(), &id.to_owned(), row)?;
    store.write(batch, Durability::Relaxed).await.map(|_| ())
}

/// # Errors
/// Those of the store.
pub async fn forget(store: &Store, id: &str) -> Result<(), StoreError> {
    let batch = CONNECTIONS.delete_in(Batch::new(), &id.to_owned());
    store.write(batch, Durability::Relaxed).await.map(|_| ())
}

fn topic(node: &str) -> Topic {
    format!("apigateway/connections/{node}").into()
}

pub fn gone() -> GatewayError {
    GatewayError::Gone(String::new())
}

/// Tells a connection, wherever it is.
///
/// # Errors
/// `GoneException`
pub async fn tell(cx: &Cx, id: &str, command: Command) -> Result<(), GatewayError> {
    let connections = cx.state::<Connections>();
    if let Some(handle) = connections.find(id) {
        return handle.commands.send(command).await.map_err(|_| gone());
    }
    let row = CONNECTIONS.get(cx.store(), &id.to_owned()).await?.ok_or_else(gone)?;
    if row.node == connections.node(cx.platform()) {
        // It ended a moment ago.
        return Err(gone());
    }
    let data = match command {
        Command::Send(data) => Some(data.to_vec()),
        Command::Close => None,
    };
    let delivery = DeliveryRow { connection: id.to_owned(), data };
    // Numbers that grow keep the order of one sender.
    let number = format!("{:016x}{}", cx.clock().now().as_millis(), cx.ids().hex(8));
    let batch =
        DELIVERIES.put_in(Batch::new().notify(topic(&row.node)), &(row.node.clone(), number), &delivery)?;
    cx.store().write(batch, Durability::Relaxed).await?;
    Ok(())
}

/// Hands on what other nodes have to say to connections of this one.
pub async fn receive(platform: Platform) {
    let store = platform.store().clone();
    // Where nobody else writes there is nothing to receive.
    if store.kv().shared_time().is_none() {
        return std::future::pending().await;
    }
    let connections = platform.state::<Connections>();
    let node = connections.node(&platform).to_owned();
    let mut wake = store.subscribe(&topic(&node));
    loop {
        match take(&store, &node).await {
            Ok(taken) => {
                let more = !taken.is_empty();
                for DeliveryRow { connection, data } in taken {
                    let command = data.map_or(Command::Close, |data| Command::Send(data.into()));
                    if let Some(handle) = connections.find(&connection) {
                        // A client that does not read must not hold up the others.
                        let _ = handle.commands.try_send(command);
                    }
                }
                if more {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "messages for connections cannot be read"),
        }
        let again = store.clock().sleep_until(store.clock().now() + Duration::from_secs(1));
        tokio::select! {
            biased;
            () = wake.changed() => {}
            () = again => {}
        }
    }
}

async fn take(store: &Store, node: &str) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = DELIVERIES.scan(store, &DELIVERIES.under(&(node,)), 100).await?.rows;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = rows.iter().fold(Batch::new(), |batch, (key, _)| DELIVERIES.delete_in(batch, key));
    store.write(batch, Durability::Relaxed).await?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

const HEARTBEAT: Duration = Duration::from_secs(20);
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// Says that this node is alive, and ends the connections of nodes that are not: their `$disconnect` is still owed.
pub async fn sweep(platform: Platform) {
    let store = platform.store().clone();
    let connections = platform.state::<Connections>();
    let mut is_first = true;
    loop {
        let is_shared = store.kv().shared_time().is_some();
        if is_shared && !connections.is_empty() {
            let row = NodeRow { seen: store.clock().now() };
            let node = connections.node(&platform).to_owned();
            let written = match NODES.put_in(Batch::new(), &node, &row) {
                Ok(batch) => store.write(batch, Durability::Relaxed).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tracing::warn!(%error, "this node cannot say that it holds connections");
            }
        }
        // Alone, a node can only find what it left before it was started.
        if (is_shared || is_first)
            && let Err(error) = end_lost(&platform, &store, is_shared).await
        {
            tracing::warn!(%error, "connections of nodes that are gone cannot be ended");
        }
        is_first = false;
        store.clock().sleep_until(store.clock().now() + HEARTBEAT).await;
    }
}

async fn end_lost(platform: &Platform, store: &Store, is_shared: bool) -> Result<(), StoreError> {
    if is_shared && !store.cluster().is_mine("apigateway/lost connections") {
        return Ok(());
    }
    let own = platform.state::<Connections>().node(platform).to_owned();
    let mut alive = HashSet::from([own]);
    let now = store.clock().now();
    if is_shared {
        for (node, row) in NODES.scan(store, &NODES.all(), 1_000).await?.rows {
            match now < row.seen + DEAD_AFTER {
                true => {
                    alive.insert(node);
                }
                false => {
                    store.write(NODES.delete_in(Batch::new(), &node), Durability::Relaxed).await?;
                }
            }
        }
    }
    let mut range = CONNECTIONS.all();
    loop {
        let page = CONNECTIONS.scan(store, &range, 200).await?;
        let Some((last, _)) = page.rows.last() else { return Ok(()) };
        range = range.after(&CONNECTIONS.key(last));
        for (id, row) in page.rows {
            let is_young = is_shared && now < row.connected_at + DEAD_AFTER;
            if !alive.contains(&row.node) && !is_young {
                forget(store, &id).await?;
                session::disconnect_lost(platform, &id, row).await;
            }
        }
        if !page.more {
            return Ok(());
        }
    }
}

impl Handle {
    pub fn last_active(&self) -> Timestamp {
        Timestamp::from_millis(self.last_active.load(Ordering::Relaxed))
    }
}
