//! What engine, launcher and inits say to each other. All three are the same program, so there are no versions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Engine to launcher, first of all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    pub level: LevelWord,
    /// An empty folder that becomes the root of every environment.
    pub staging: PathBuf,
    /// Becomes `/var/runtime`.
    pub runtime_dir: PathBuf,
    /// Becomes `/var/runtime/packages`.
    pub packages_dir: Option<PathBuf>,
    /// Each environment gets a network device, if this machine has any to give.
    pub has_devices: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LevelWord {
    Process,
    Rootless,
    Full,
}

/// Engine to launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Descriptors: the init's end of its control socket, the write end of the log pipe, and a v2 cgroup if `into_cgroup`.
    Clone { into_cgroup: bool },
    /// Answers with one descriptor: the read-only, unattached mount of this folder.
    Tree { path: PathBuf },
}

/// Launcher to engine: one for `Setup` and for each `Order`, in turn.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    SetUp,
    /// One descriptor: the pidfd.
    Cloned {
        pid: i32,
    },
    Tree,
    Failed {
        why: String,
    },
}

/// Engine to init.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// The limits are in place: prepare the sandbox, answer `Up`.
    Prepare {
        hostname: String,
        endpoint_port: u16,
    },
    /// Descriptors are mounts, in the order of `targets`. Answers `Mounted`.
    Mount {
        targets: Vec<String>,
    },
    /// A fresh `/tmp` of this size. Then everything that an init needs no longer is given up, and `release` is written to the
    /// waiting interpreter, if there is one. With `is_image` the first mount becomes the whole root. Answers `Attached`.
    Attach {
        is_image: bool,
        uid: u32,
        tmp_mb: u32,
        targets: Vec<String>,
        release: Option<String>,
    },
    /// Starts a process. A descriptor, if any, becomes its number 3. Answers `Started`.
    Start(Start),
    /// Opens a connection inside of the environment; answers `Connected`, with the connection if there is one.
    Connect {
        port: u16,
    },
    Signal {
        name: String,
        signal: i32,
    },
    /// Kills every process but the init; answers `Reset`.
    Reset,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub name: String,
    pub uid: u32,
    /// The first of these that exists is started.
    pub programs: Vec<String>,
    /// Without the program's own name.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub directory: String,
    /// Waits for `Attach`'s release on descriptor 3.
    pub is_waiting: bool,
    /// Its output goes to a pipe of its own, whose write end comes as a descriptor.
    pub own_output: bool,
}

/// Init to engine.
#[derive(Debug, Serialize, Deserialize)]
pub enum Notice {
    /// Descriptors: the listener of the Runtime API, that of the endpoint if one was asked for, and the network device if there
    /// is one.
    Up {
        api_port: u16,
        has_device: bool,
    },
    Connected,
    Mounted,
    Attached,
    Started {
        name: String,
        error: Option<StartError>,
    },
    /// `status` as `waitpid` gives it.
    Exited {
        name: String,
        status: i32,
    },
    Reset,
    Failed {
        why: String,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StartError {
    /// None of `programs` exists.
    Missing,
    /// The system's error number.
    Exec { program: String, errno: i32 },
}
