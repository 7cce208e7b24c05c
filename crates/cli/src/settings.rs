//! How `pileus up` is told what to do: flags, then environment, then a configuration file, then defaults.
//!
//! Every key of the file is the flag's long name with underscores: `data_dir = "/var/lib/pileus"`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use pileus_core::Region;
use pileus_node::{
    BucketUrl, DatabaseUrl, Engine, Functions, Isolation, Level, MailRelay, Network, NodeConfig,
};
use pileus_platform::{AddressPolicy, LimitsProfile, Profile};
use serde::Deserialize;

use crate::demo::Demo;

#[derive(Args, Debug, Default)]
pub struct Up {
    /// Configuration file (TOML); without it, `pileus.toml` here if there is one
    #[arg(long, env = "PILEUS_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Deploy an example application into the node, and say where it is
    #[arg(long, value_enum, value_name = "NAME")]
    pub demo: Option<Demo>,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where everything is kept [default: ./.pileus]
    #[arg(long, env = "PILEUS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep nothing: state lives in memory and ends with the process
    #[arg(long, env = "PILEUS_MEMORY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub memory: Option<bool>,
    /// Embedded store [default: fjall]
    #[arg(long, env = "PILEUS_ENGINE", value_enum)]
    pub engine: Option<EngineName>,
    /// A PostgreSQL database that nodes share, instead of an embedded store: `postgres://user:password@host/database`
    #[arg(long, env = "PILEUS_STORE", hide_env_values = true, value_name = "URL")]
    pub store: Option<String>,
    /// A bucket that keeps large objects instead of the directory or the database, with the environment's AWS_ACCESS_KEY_ID:
    /// `s3://bucket/folder?endpoint=https://host:port&region=us-east-1`
    #[arg(long, env = "PILEUS_BLOBS", value_name = "URL")]
    pub blobs: Option<String>,
    /// This node's name among those that share a store [default: the machine's host name]
    #[arg(long, env = "PILEUS_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Port for everything: HTTP/1.1, HTTP/2 and TLS [default: 4566]
    #[arg(long, env = "PILEUS_PORT")]
    pub port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, env = "PILEUS_ADDRESS", value_name = "IP")]
    pub address: Option<IpAddr>,
    /// `development`: unknown keys act as root. `server`: only issued keys [default: development]
    #[arg(long, env = "PILEUS_PROFILE", value_enum)]
    pub profile: Option<ProfileName>,
    /// Enforce AWS's own request-rate quotas [default: unlimited]
    #[arg(long, env = "PILEUS_LIMITS", value_enum)]
    pub limits: Option<LimitsName>,
    /// A domain whose sub-domains name services: `sqs.us-east-1.DOMAIN`
    #[arg(long, env = "PILEUS_DOMAIN")]
    pub domain: Option<String>,
    /// Region of requests that name none [default: us-east-1]
    #[arg(long, env = "PILEUS_REGION")]
    pub region: Option<String>,
    /// Where webhooks and HTTP integrations may go: `any` address, or only those of the `public` internet [default: any]
    #[arg(long, env = "PILEUS_OUTBOUND", value_enum)]
    pub outbound: Option<OutboundName>,
    /// A mail relay: mails go there beside the local mailbox: `smtp://[user:password@]host[:port]`, or `smtps://`
    #[arg(long, env = "PILEUS_MAIL_RELAY", hide_env_values = true, value_name = "URL")]
    pub mail_relay: Option<String>,
    /// Memory for the store's cache, in MiB [default: 64]
    #[arg(long, env = "PILEUS_CACHE_MIB", value_name = "MIB")]
    pub cache_mib: Option<u64>,
    /// The least isolation of functions; the start fails rather than weakens [default: the strongest that this machine gives]
    #[arg(long, env = "PILEUS_ISOLATION", value_enum)]
    pub isolation: Option<IsolationName>,
    /// What functions reach: `internet` is the public one, `open` private networks and this machine too, `platform` this cloud
    /// alone [default: internet]
    #[arg(long, env = "PILEUS_FUNCTION_NETWORK", value_enum)]
    pub function_network: Option<NetworkName>,
    /// Seconds that a function's environment is kept without an invocation [default: 600]
    #[arg(long, env = "PILEUS_FUNCTION_IDLE", value_name = "SECONDS")]
    pub function_idle: Option<u64>,
    /// Keep interpreters ready for functions to come; without, no process exists before an invocation [default: true]
    #[arg(long, env = "PILEUS_FUNCTION_POOLS", value_name = "BOOL")]
    pub function_pools: Option<bool>,
    /// OCI image layouts by repository, which `ImageUri=<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>` names
    /// [default: pileus/images in the user's data folder]
    #[arg(long, env = "PILEUS_IMAGES_DIR", value_name = "DIR")]
    pub images_dir: Option<PathBuf>,
    /// Where `pileus runtimes install` has put the AWS SDKs [default: pileus/runtimes in the user's data folder]
    #[arg(long, env = "PILEUS_RUNTIMES_DIR", value_name = "DIR")]
    pub runtimes_dir: Option<PathBuf>,
    /// Log lines for people or for machines [default: human]
    #[arg(long, env = "PILEUS_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: `warn`, `info`, `debug`, or a filter such as `info,pileus_svc_sqs=debug` [default: info]
    #[arg(long, env = "PILEUS_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    Fjall,
    Redb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileName {
    Development,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitsName {
    Unlimited,
    Aws,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationName {
    /// L2: namespaces, a user of its own for each environment, seccomp, cgroup limits; needs root
    Full,
    /// L1: the same in a user namespace, without root
    Rootless,
    /// L0: ordinary processes, no security boundary
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    Open,
    Internet,
    Platform,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboundName {
    Any,
    Public,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

impl Up {
    /// Flags and environment over the file's settings.
    ///
    /// # Errors
    /// A sentence for the operator: the file cannot be read, or holds a key that does not exist.
    pub fn resolve(self) -> Result<Settings, String> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None if Path::new("pileus.toml").exists() => read(Path::new("pileus.toml"))?,
            None => Settings::default(),
        };
        Ok(self.settings.over(file))
    }
}

fn read(path: &Path) -> Result<Settings, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Settings {
    fn over(self, below: Settings) -> Settings {
        Settings {
            data_dir: self.data_dir.or(below.data_dir),
            memory: self.memory.or(below.memory),
            engine: self.engine.or(below.engine),
            store: self.store.or(below.store),
            blobs: self.blobs.or(below.blobs),
            node_name: self.node_name.or(below.node_name),
            port: self.port.or(below.port),
            address: self.address.or(below.address),
            profile: self.profile.or(below.profile),
            limits: self.limits.or(below.limits),
            domain: self.domain.or(below.domain),
            region: self.region.or(below.region),
            outbound: self.outbound.or(below.outbound),
            mail_relay: self.mail_relay.or(below.mail_relay),
            cache_mib: self.cache_mib.or(below.cache_mib),
            isolation: self.isolation.or(below.isolation),
            function_network: self.function_network.or(below.function_network),
            function_idle: self.function_idle.or(below.function_idle),
            function_pools: self.function_pools.or(below.function_pools),
            images_dir: self.images_dir.or(below.images_dir),
            runtimes_dir: self.runtimes_dir.or(below.runtimes_dir),
            log_format: self.log_format.or(below.log_format),
            log: self.log.or(below.log),
        }
    }

    /// # Errors
    /// A sentence for the operator about a setting that makes no sense.
    pub fn node_config(&self) -> Result<NodeConfig, String> {
        let default = NodeConfig::default();
        let profile = match self.profile {
            Some(ProfileName::Server) => Profile::Server,
            _ => Profile::Development,
        };
        let default_region = match &self.region {
            Some(region) => Region::parse(region).ok_or(format!("{region:?} is not a region code"))?,
            None => default.default_region,
        };
        Ok(NodeConfig {
            data_dir: self.data_dir.clone().unwrap_or(default.data_dir),
            engine: self.engine()?,
            blobs: self.blobs()?,
            name: self.name()?,
            listen: SocketAddr::new(
                self.address.unwrap_or(default.listen.ip()),
                self.port.unwrap_or(default.listen.port()),
            ),
            profile,
            limits: match self.limits {
                Some(LimitsName::Aws) => LimitsProfile::Aws,
                _ => LimitsProfile::Unlimited,
            },
            domain: self.domain.clone(),
            default_region,
            tls: true,
            control: profile == Profile::Development,
            outbound: match self.outbound {
                Some(OutboundName::Public) => AddressPolicy::Public,
                _ => AddressPolicy::Any,
            },
            mail_relay: self.mail_relay.as_deref().map(MailRelay::parse).transpose()?,
            cache_mib: self.cache_mib.unwrap_or(default.cache_mib),
            functions: self.functions(),
        })
    }
}

impl Settings {
    fn functions(&self) -> Functions {
        let default = Functions::default();
        Functions {
            isolation: match self.isolation {
                Some(IsolationName::Full) => Isolation::Demand(Level::Full),
                Some(IsolationName::Rootless) => Isolation::Demand(Level::Rootless),
                Some(IsolationName::Process) => Isolation::Exactly(Level::Process),
                None => default.isolation,
            },
            network: match self.function_network {
                Some(NetworkName::Open) => Network::Open,
                Some(NetworkName::Platform) => Network::Platform,
                Some(NetworkName::None) => Network::None,
                Some(NetworkName::Internet) | None => Network::Internet,
            },
            idle: self.function_idle.map_or(default.idle, Duration::from_secs),
            pools: self.function_pools.unwrap_or(default.pools),
            images: Some(
                self.images_dir
                    .clone()
                    .unwrap_or_else(|| crate::runtimes::default_dir().with_file_name("images")),
            ),
            packages: Some(self.runtimes_dir.clone().unwrap_or_else(crate::runtimes::default_dir)),
        }
    }

    fn engine(&self) -> Result<Engine, String> {
        let in_memory = self.memory == Some(true);
        let Some(url) = &self.store else {
            return Ok(match (in_memory, self.engine) {
                (true, _) => Engine::Memory,
                (_, Some(EngineName::Redb)) => Engine::Redb,
                _ => Engine::Fjall,
            });
        };
        if in_memory || self.engine.is_some() {
            return Err("--store is a store of its own: leave --memory and --engine out".to_owned());
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("--store is a database's URL: postgres://user:password@host:port/database".to_owned());
        }
        Ok(Engine::Postgres(DatabaseUrl(url.clone())))
    }

    fn blobs(&self) -> Result<Option<BucketUrl>, String> {
        let url =
            self.blobs.as_deref().map(BucketUrl::parse).transpose().map_err(|error| error.to_string())?;
        if url.is_some() && self.memory == Some(true) {
            return Err("--blobs keeps what --memory forgets: leave one of them out".to_owned());
        }
        Ok(url)
    }

    fn name(&self) -> Result<String, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let Some(name) = self.node_name.clone() else {
            let mut host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            host.retain(|character| u8::try_from(character).is_ok_and(is_plain));
            host.truncate(64);
            return Ok(if host.is_empty() { "local".to_owned() } else { host });
        };
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            return Err(format!(
                "{name:?} cannot name a node: --node-name takes 1 to 64 letters, digits, `.`, `_` and `-`"
            ));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file: Settings =
            toml::from_str("port = 5000\nprofile = \"server\"\nlimits = \"aws\"").expect("valid");
        let flags = Settings { port: Some(6000), ..Settings::default() };
        let config = flags.over(file).node_config().expect("valid");
        assert_eq!(config.listen.port(), 6000);
        assert_eq!(config.profile, Profile::Server);
        assert!(!config.control);
        assert_eq!(config.limits, LimitsProfile::Aws);
        assert_eq!(config.engine, Engine::Fjall);
    }

    #[test]
    fn a_store_is_a_postgresql_url_and_nothing_beside_it() {
        let cases = [
            ("store = \"postgres://me:secret@db/cloud\"", Ok("postgres")),
            ("store = \"postgresql://db/cloud\"\nnode_name = \"eu-1.a_b\"", Ok("postgres")),
            ("memory = true", Ok("memory")),
            ("engine = \"redb\"", Ok("redb")),
            ("store = \"mysql://me:secret@db/cloud\"", Err("postgres://user:password@host:port/database")),
            ("store = \"postgres://db/cloud\"\nengine = \"fjall\"", Err("leave --memory and --engine out")),
            ("store = \"postgres://db/cloud\"\nmemory = true", Err("leave --memory and --engine out")),
            ("blobs = \"s3://cloud/a\"", Ok("fjall")),
            ("blobs = \"http://cloud\"", Err("--blobs is a bucket's URL")),
            ("blobs = \"s3://cloud\"\nmemory = true", Err("leave one of them out")),
            ("node_name = \"a b\"", Err("\"a b\" cannot name a node")),
            ("node_name = \"\"", Err("cannot name a node")),
        ];
        for (text, expected) in cases {
            let settings: Settings = toml::from_str(text).expect("valid TOML");
            match (settings.node_config(), expected) {
                (Ok(config), Ok(engine)) => {
                    assert_eq!(config.engine.name(), engine, "{text}");
                    assert!(!format!("{config:?}").contains("secret"), "{text}");
                }
                (Err(error), Err(part)) => {
                    assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
                }
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn functions_run_as_the_operator_says() {
        let text = "isolation = \"full\"\nfunction_network = \"platform\"\nfunction_pools = false\nfunction_idle = 5";
        let settings: Settings = toml::from_str(text).expect("valid TOML");
        let functions = settings.functions();
        assert_eq!(functions.isolation, Isolation::Demand(Level::Full));
        assert_eq!(
            (functions.network, functions.pools, functions.idle.as_secs()),
            (Network::Platform, false, 5)
        );
        let default = Settings::default().functions();
        assert_eq!(
            (default.isolation, default.network, default.pools),
            (Isolation::Best, Network::Internet, true)
        );
        assert!(toml::from_str::<Settings>("isolation = \"some\"").is_err());
    }

    #[test]
    fn an_unknown_key_in_the_file_is_an_error() {
        let error = toml::from_str::<Settings>("prot = 5000").expect_err("misspelt");
        assert!(error.to_string().contains("prot"));
    }
}
