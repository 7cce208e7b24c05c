//! `Node`: everything that runs, from an empty directory to the last answered request.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use pileus_blobs::{BlobError, Blobs};
use pileus_core::{AccountId, Clock, Ids, Rng};
use pileus_platform::{MovableClock, Platform, SystemRng};
use pileus_store::membership::JoinError;
use pileus_store::{Batch, DiskOptions, Durability, Space, Store, StoreError, transfer};
use pileus_svc_iam::{Credentials, create_administrator};
use pileus_svc_lambda::{Isolation, PoolPolicy};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::backup::{self, Backups};
use crate::blob_place::{self, PlaceError};
use crate::compose::{Parts, compose};
use crate::config::{Engine, NodeConfig};
use crate::member::{self, Joined};
use crate::outbound::HttpClient;
use crate::server::{self, Door};
use crate::tls;

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: [JoinHandle<()>; 2],
    _backups: Option<Backups>,
}

/// What connections reach.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    /// Where functions reach this node.
    endpoint: SocketAddr,
    pub(crate) clock: MovableClock,
    /// The certificate of the cloud's own authority; `None` without TLS.
    pub(crate) ca_pem: Option<String>,
    store: Store,
    blobs: Blobs,
    rng: Arc<dyn Rng>,
    /// This node among others; `None` when the store is its alone.
    pub(crate) joined: Option<Joined>,
    /// Replaced as a whole when the state is reset, so that no service keeps a memory of what is gone.
    running: RwLock<Running>,
}

struct Running {
    platform: Platform,
    workers: JoinSet<()>,
}

/// Why a node did not start, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "{0} is in use: another pileus (or another program) listens there. Stop it, or choose another --port"
    )]
    PortInUse(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot use the data directory {path}: {error}")]
    DataDir { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Store(#[from] pileus_store::StoreError),
    #[error("{0}")]
    Blobs(#[from] BlobError),
    #[error("{0}")]
    BlobPlace(#[from] PlaceError),
    #[error("{0}")]
    Join(#[from] JoinError),
    #[error("an import into this store was interrupted: repeat it with `pileus admin import --replace`")]
    Unfinished,
    #[error("{0}")]
    Init(String),
    #[error("functions cannot run as configured: {0}")]
    Functions(String),
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
}

/// Row of the store's `sys` space that holds how far the clock was moved, in milliseconds.
const CLOCK_AHEAD: &[u8] = b"node/clock-ahead";
/// Rows that hold the certificate and the key of the authority of nodes without files.
const AUTHORITY: &[u8] = b"node/authority";
const AUTHORITY_KEY: &[u8] = b"node/authority-key";

impl Node {
    /// Opens the store, takes the port, starts workers and listener.
    pub async fn start(config: NodeConfig) -> Result<Node, StartError> {
        // The port first: a second start must not wait for the data directory's lock to learn that it is one.
        let listener = TcpListener::bind(config.listen).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse(config.listen),
            _ => StartError::Listen(config.listen, error),
        })?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
        let (for_functions, endpoint) = for_functions().await?;
        let clock = MovableClock::system();
        let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
        let store = open_store(&config, Arc::new(clock.clone()), rng.clone()).await?;
        let blobs = open_blobs(&config, &store, Arc::new(clock.clone()), rng.clone()).await?;
        if transfer::is_unfinished(&store).await? {
            return Err(StartError::Unfinished);
        }
        if let Some(ahead) =
            store.get(Space::Sys, CLOCK_AHEAD).await?.and_then(|value| value[..].try_into().ok())
        {
            clock.advance(Duration::from_millis(u64::from_be_bytes(ahead)));
        }
        let (acceptor, ca_pem) =
            if config.tls { Some(tls_acceptor(&config, &store).await?).unzip() } else { (None, None) };
        let config = NodeConfig { listen: address, ..config };
        let joined = member::join(&config, &store, rng.as_ref()).await?;
        let backups = backup::serve(&config, &store);
        let running =
            Running::start(&config, endpoint, ca_pem.as_deref(), &clock, &rng, &store, &blobs).await?;
        let running = RwLock::new(running);
        let shared = Arc::new(Shared { config, endpoint, clock, ca_pem, store, blobs, rng, joined, running });
        let (stop, stopped) = watch::channel(false);
        let functions = server::serve(for_functions, Door::Functions, None, shared.clone(), stopped.clone());
        let public = server::serve(listener, Door::Public, acceptor, shared.clone(), stopped);
        let serving = [tokio::spawn(public), tokio::spawn(functions)];
        Ok(Node { shared, address, stop, serving, _backups: backups })
    }

    /// Creates a cloud's first administrator in `account`, without starting the node: a user with a key.
    pub async fn init(
        config: &NodeConfig,
        account: AccountId,
        name: &str,
    ) -> Result<Credentials, StartError> {
        let clock = MovableClock::system();
        let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
        let store = open_store(config, Arc::new(clock.clone()), rng.clone()).await?;
        let created = create_administrator(&store, &Ids::new(rng), clock.now(), account, name).await;
        store.close().await?;
        created.map_err(|fault| StartError::Init(fault.message))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn platform(&self) -> Platform {
        self.shared.platform()
    }

    /// Takes no more connections, lets open requests end (at most 10 s), closes the store. Among other nodes it first hands
    /// them its background work.
    pub async fn stop(self) -> Result<(), StartError> {
        if let Some(joined) = &self.shared.joined {
            joined.drain().await;
            self.shared.stop_workers().await;
            member::release_leases(&self.shared.store).await;
        }
        self.stop.send_replace(true);
        for serving in self.serving {
            if let Err(error) = serving.await {
                tracing::error!(%error, "a listener did not end well");
            }
        }
        pileus_svc_lambda::stop(&self.shared.platform()).await;
        if let Some(joined) = &self.shared.joined {
            joined.leave().await;
        }
        // Done already where the cloud has other nodes.
        self.shared.stop_workers().await;
        self.shared.store.close().await?;
        Ok(())
    }
}

impl Shared {
    pub(crate) fn platform(&self) -> Platform {
        self.running.read().unwrap_or_else(PoisonError::into_inner).platform.clone()
    }

    async fn stop_workers(&self) {
        let mut workers =
            std::mem::take(&mut self.running.write().unwrap_or_else(PoisonError::into_inner).workers);
        workers.shutdown().await;
    }

    /// Forgets everything but the moved clock: resources, identities, messages, sessions.
    pub(crate) async fn reset(&self) -> Result<(), StartError> {
        transfer::wipe(&self.store).await?;
        self.blobs.clear().await?;
        let running = Running::start(
            &self.config,
            self.endpoint,
            self.ca_pem.as_deref(),
            &self.clock,
            &self.rng,
            &self.store,
            &self.blobs,
        )
        .await?;
        let before = self.platform();
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
        pileus_svc_lambda::stop(&before).await;
        Ok(())
    }

    /// Keeps a moved clock over a restart, so that stored times stay in the past.
    pub(crate) async fn save_clock(&self) -> Result<(), StartError> {
        let ahead = u64::try_from(self.clock.ahead().as_millis()).unwrap_or(u64::MAX);
        let batch = Batch::new().put(Space::Sys, CLOCK_AHEAD, ahead.to_be_bytes().to_vec());
        self.store.write(batch, Durability::Durable).await?;
        Ok(())
    }
}

impl Running {
    async fn start(
        config: &NodeConfig,
        endpoint: SocketAddr,
        ca_pem: Option<&str>,
        clock: &MovableClock,
        rng: &Arc<dyn Rng>,
        store: &Store,
        blobs: &Blobs,
    ) -> Result<Running, StartError> {
        let parts = Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: Arc::new(clock.clone()),
            rng: rng.clone(),
            outbound: Arc::new(outbound(config, ca_pem)?),
        };
        let platform = compose(config, parts).await?;
        let dir = functions_dir(config, rng.as_ref());
        let setup = pileus_svc_lambda::Setup {
            dir,
            is_ours_alone: config.engine == Engine::Memory,
            endpoint: Some(endpoint),
            isolation: config.functions.isolation,
            network: config.functions.network,
            pool: match config.functions.pools {
                true => PoolPolicy { idle: config.functions.idle, ..PoolPolicy::default() },
                false => PoolPolicy::off(config.functions.idle),
            },
            images: config.functions.images.clone(),
            packages: config.functions.packages.clone(),
        };
        pileus_svc_lambda::configure(&platform, setup);
        if config.functions.isolation != Isolation::Best {
            pileus_svc_lambda::start(&platform).await.map_err(StartError::Functions)?;
        }
        let mut workers = JoinSet::new();
        platform.start_workers(&mut workers);
        Ok(Running { platform, workers })
    }
}

/// The node's own authority is trusted, so that a webhook may be one of this cloud's own addresses.
fn outbound(config: &NodeConfig, ca_pem: Option<&str>) -> Result<HttpClient, StartError> {
    let roots = ca_pem.map(tls::certificates).transpose()?.unwrap_or_default();
    Ok(HttpClient::new(config.outbound, roots).with_relay(config.mail_relay.clone()))
}

/// A listener for this node's own functions: without TLS, without control endpoints, unseen from other machines.
async fn for_functions() -> Result<(TcpListener, SocketAddr), StartError> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(anywhere).await.map_err(|error| StartError::Listen(anywhere, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(anywhere, error))?;
    Ok((listener, address))
}

/// Opens the store that `config` names.
///
/// # Errors
/// In one line: what is wrong with the directory or the database.
pub async fn open_store(
    config: &NodeConfig,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
) -> Result<Store, StartError> {
    if matches!(config.engine, Engine::Fjall | Engine::Redb) {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| StartError::DataDir { path: config.data_dir.clone(), error })?;
    }
    let dir = config.data_dir.join("store");
    let options = DiskOptions { cache_bytes: config.cache_mib << 20, ..DiskOptions::default() };
    let kv = match &config.engine {
        Engine::Memory => pileus_store::memory::open(clock.clone())?,
        Engine::Fjall => pileus_store::fjall::open(&dir, options, clock.clone())?,
        Engine::Redb => pileus_store::redb::open(&dir, options, clock.clone())?,
        Engine::Postgres(url) => pileus_store_postgres::open(&url.0, rng.clone()).await?,
    };
    Ok(Store::new(kv, clock, rng))
}

/// Where this node unpacks functions: with nothing kept, a folder of the process's own.
fn functions_dir(config: &NodeConfig, rng: &dyn Rng) -> PathBuf {
    match config.engine {
        Engine::Memory => std::env::temp_dir().join(format!("pileus-functions-{:016x}", rng.next_u64())),
        _ => config.data_dir.join("functions"),
    }
}

/// Where a node with a directory keeps its large objects.
pub(crate) fn blobs_dir(config: &NodeConfig) -> PathBuf {
    config.data_dir.join("blobs")
}

/// The cloud's large objects: in the bucket that `config` names, else below the data directory, which the store's lock guards
/// too, or as rows where nodes share a database and no disk.
///
/// # Errors
/// In one line: what is wrong with the place.
pub async fn open_blobs(
    config: &NodeConfig,
    store: &Store,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
) -> Result<Blobs, StartError> {
    Ok(Blobs::new(blob_place::open(config, store).await?, clock, rng))
}

async fn tls_acceptor(
    config: &NodeConfig,
    store: &Store,
) -> Result<(tokio_rustls::TlsAcceptor, String), StartError> {
    let address = config.listen.ip();
    Ok(match config.engine {
        Engine::Memory => tls::ephemeral(address)?,
        Engine::Fjall | Engine::Redb => tls::acceptor(&config.data_dir, address)?,
        Engine::Postgres(_) => {
            let (pem, key) = shared_authority(store).await?;
            (tls::with_authority(&pem, &key, address)?, pem)
        }
    })
}

/// The authority of a cloud whose nodes keep no files: made once, then shared through the store.
async fn shared_authority(store: &Store) -> Result<(String, String), StartError> {
    let (pem, key) = tls::new_authority()?;
    let (fresh_pem, fresh_key) = (Bytes::from(pem), Bytes::from(key));
    let (pem, key) = store
        .transact(|tx| {
            let (pem, key) = (fresh_pem.clone(), fresh_key.clone());
            async move {
                let found = (tx.get(Space::Sys, AUTHORITY).await?, tx.get(Space::Sys, AUTHORITY_KEY).await?);
                if let (Some(pem), Some(key)) = found {
                    return Ok((pem, key));
                }
                tx.put(Space::Sys, AUTHORITY, pem.clone());
                tx.put(Space::Sys, AUTHORITY_KEY, key.clone());
                Ok::<_, StoreError>((pem, key))
            }
        })
        .await?;
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(pem), text(key)))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.address)
    }
}
