//! How an engine is set up, and what it reports of itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pileus_core::{Clock, Ids};

use crate::spec::Network;

#[derive(Clone)]
pub struct EngineConfig {
    /// Holds runtime clients and merged layers; made if missing. Nothing in it needs to outlive the engine.
    pub dir: PathBuf,
    pub isolation: Isolation,
    pub clock: Arc<dyn Clock>,
    pub ids: Ids,
    /// Where the node answers on this machine: `AWS_ENDPOINT_URL` of every function leads there. `None`: no such variable.
    pub endpoint: Option<SocketAddr>,
    pub limits: Limits,
    pub pool: PoolPolicy,
    pub launcher: LauncherCommand,
    /// Folders that are searched for interpreters before the usual places.
    pub interpreter_dirs: Vec<PathBuf>,
    /// The most that functions of this node reach.
    pub network: Network,
    /// Packages that functions find beside the runtime, such as the AWS SDKs: `python3.12/..`, `nodejs/node_modules/..`.
    pub packages: Option<PathBuf>,
}

impl EngineConfig {
    /// The best isolation that the machine offers, the default limits, and this binary as the launcher.
    pub fn new(dir: PathBuf, clock: Arc<dyn Clock>, ids: Ids) -> EngineConfig {
        EngineConfig {
            dir,
            isolation: Isolation::Best,
            clock,
            ids,
            endpoint: None,
            limits: Limits::default(),
            pool: PoolPolicy::default(),
            launcher: LauncherCommand::this_binary(),
            interpreter_dirs: Vec::new(),
            network: Network::default(),
            packages: None,
        }
    }
}

/// The program that becomes the launcher. Its `main` must begin with [`crate::launcher_main`].
#[derive(Debug, Clone)]
pub struct LauncherCommand {
    pub program: PathBuf,
}

impl LauncherCommand {
    pub fn this_binary() -> LauncherCommand {
        LauncherCommand { program: PathBuf::from("/proc/self/exe") }
    }
}

/// How strongly functions are kept from the machine and from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// L0: ordinary processes with resource limits. **No security boundary.**
    Process,
    /// L1: every namespace, seccomp and no capabilities, made without privileges in a user namespace.
    Rootless,
    /// L2: the same as root, with a user id of its own for each environment and cgroup limits.
    Full,
}

impl Level {
    /// `L0`, `L1`, `L2`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Process => "L0",
            Level::Rootless => "L1",
            Level::Full => "L2",
        }
    }

    /// One sentence for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Level::Process => "plain processes: NO security boundary between functions and this machine",
            Level::Rootless => "namespaces and seccomp in a user namespace, without root",
            Level::Full => "namespaces, own user ids, seccomp and cgroup limits",
        }
    }

    /// Reads `L0`, `L1`, `L2`, or `process`, `rootless`, `full`.
    pub fn parse(text: &str) -> Option<Level> {
        match text.to_ascii_lowercase().as_str() {
            "l0" | "process" => Some(Level::Process),
            "l1" | "rootless" => Some(Level::Rootless),
            "l2" | "full" => Some(Level::Full),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The strongest that the machine offers.
    Best,
    /// At least this one: the start fails rather than weakens.
    Demand(Level),
    /// Exactly this one, for tests and for machines where a stronger one is in the way.
    Exactly(Level),
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environments of all functions together; further invocations wait.
    pub environments: usize,
    /// Memory of all environments together, by what their functions are configured with.
    pub memory_mb: u64,
    /// How long an invocation waits for room before it is refused.
    pub queue_wait: Duration,
}

impl Default for Limits {
    /// A thousand environments; memory may be promised four times over, for few functions use what they ask for.
    fn default() -> Limits {
        Limits {
            environments: 1_000,
            memory_mb: machine_memory_mb() * 4,
            queue_wait: Duration::from_secs(60),
        }
    }
}

fn machine_memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(4 << 20) / 1024
}

#[derive(Debug, Clone, Copy)]
pub struct PoolPolicy {
    /// How long an environment is kept without an invocation, by the node's clock.
    pub idle: Duration,
    /// Empty environments that are kept ready for any function once there has been a first one.
    pub empty: usize,
    /// Most environments with a waiting interpreter that are kept for one runtime.
    pub booted: usize,
}

impl Default for PoolPolicy {
    fn default() -> PoolPolicy {
        PoolPolicy { idle: Duration::from_secs(600), empty: 4, booted: 4 }
    }
}

impl PoolPolicy {
    /// Nothing is kept ready: no process exists before the first invocation.
    pub fn off(idle: Duration) -> PoolPolicy {
        PoolPolicy { idle, empty: 0, booted: 0 }
    }
}

/// What isolation and which interpreters this machine gives: for the log and for `pileus doctor`.
#[derive(Debug, Clone)]
pub struct Report {
    pub level: Level,
    /// Why the next stronger level is not in force.
    pub not_stronger: Option<String>,
    /// `v1`, `v2`, or why there is none.
    pub cgroups: String,
    /// What functions reach beyond this node.
    pub network: Network,
    /// What is weaker here than in AWS, one sentence each.
    pub lacks: Vec<String>,
}

/// Counters for metrics and for GetAccountSettings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub environments: usize,
    pub busy: usize,
    pub idle: usize,
    pub pooled_empty: usize,
    pub pooled_booted: usize,
    pub cold_starts: u64,
    pub invocations: u64,
}
