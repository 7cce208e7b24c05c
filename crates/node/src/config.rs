//! What the operator chose. The command line, the environment and the configuration file all end here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pileus_blobs_bucket::BucketUrl;
use pileus_core::Region;
use pileus_platform::{AddressPolicy, LimitsProfile, Profile};
use pileus_svc_lambda::{Isolation, Network};

use crate::smtp::Relay;

#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where everything is kept: store, certificates. Unused with `Engine::Memory`, and with `Engine::Postgres`, whose
    /// nodes keep nothing of their own.
    pub data_dir: PathBuf,
    pub engine: Engine,
    /// The bucket that keeps large objects instead of the directory or the database.
    pub blobs: Option<BucketUrl>,
    /// This node among those of its cloud: letters, digits, `.`, `_`, `-`.
    pub name: String,
    pub listen: SocketAddr,
    pub profile: Profile,
    pub limits: LimitsProfile,
    /// A domain of the operator's, whose sub-domains name services as AWS's do: `sqs.us-east-1.cloud.example`.
    pub domain: Option<String>,
    pub default_region: Region,
    /// Answer TLS connections on the same port, with a certificate of the cloud's own authority.
    pub tls: bool,
    /// The control endpoints that move time and drop state.
    pub control: bool,
    /// Where requests that customers cause (webhooks, HTTP integrations) may go.
    pub outbound: AddressPolicy,
    /// Where mails go beside the local mailbox: `smtp://[user:password@]host[:port]`, or `smtps://`.
    pub mail_relay: Option<Relay>,
    /// Memory for the store's block cache, in MiB.
    pub cache_mib: u64,
    pub functions: Functions,
}

/// How this node runs functions.
#[derive(Debug, Clone)]
pub struct Functions {
    pub isolation: Isolation,
    /// The most that a function reaches.
    pub network: Network,
    /// How long an environment is kept without an invocation.
    pub idle: Duration,
    /// Keep interpreters waiting for functions to come; without, no process exists before an invocation.
    pub pools: bool,
    /// OCI layouts by repository: the container images that functions are made from.
    pub images: Option<PathBuf>,
    /// Where `pileus runtimes install` puts the AWS SDKs that functions find.
    pub packages: Option<PathBuf>,
}

impl Default for Functions {
    fn default() -> Functions {
        Functions {
            isolation: Isolation::Best,
            network: Network::Internet,
            idle: Duration::from_secs(600),
            pools: true,
            images: None,
            packages: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Nothing is kept.
    Memory,
    Fjall,
    Redb,
    /// A database that nodes share.
    Postgres(DatabaseUrl),
}

impl Engine {
    pub fn name(&self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Fjall => "fjall",
            Engine::Redb => "redb",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Whether other nodes may work on the same state.
    pub fn is_shared(&self) -> bool {
        matches!(self, Engine::Postgres(_))
    }
}

/// Holds a password, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            data_dir: PathBuf::from(".pileus"),
            engine: Engine::Fjall,
            blobs: None,
            name: String::from("local"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566),
            profile: Profile::Development,
            limits: LimitsProfile::Unlimited,
            domain: None,
            default_region: Region::us_east_1(),
            tls: true,
            control: true,
            outbound: AddressPolicy::Any,
            mail_relay: None,
            cache_mib: 64,
            functions: Functions::default(),
        }
    }
}
