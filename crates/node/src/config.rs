//! What the operator chose. The command line, the environment and the configuration file all end here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use pileus_core::Region;
use pileus_platform::{LimitsProfile, Profile};

#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where everything is kept: store, certificates. Unused with `Engine::Memory`.
    pub data_dir: PathBuf,
    pub engine: Engine,
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
    /// Memory for the store's block cache, in MiB.
    pub cache_mib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Nothing is kept.
    Memory,
    Fjall,
    Redb,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            data_dir: PathBuf::from(".pileus"),
            engine: Engine::Fjall,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566),
            profile: Profile::Development,
            limits: LimitsProfile::Unlimited,
            domain: None,
            default_region: Region::us_east_1(),
            tls: true,
            control: true,
            cache_mib: 64,
        }
    }
}
