//! Limits on memory, CPU and processes, and the freezer: cgroups, version 1 or 2, by writing their files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MOUNT: &str = "/sys/fs/cgroup";
const OURS: &str = "pileus";
/// Memory that is the sandbox's own rather than the function's.
const ALLOWANCE_MB: u64 = 16;
/// Processes of a function, its init, and room for threads.
const PIDS: u32 = 1_024 + 8;
/// Short, so that a throttled function waits milliseconds rather than tenths of a second.
const PERIOD_US: u64 = 20_000;
/// A function gets one vCPU for each of these.
///
/// Source: AWS Lambda Developer Guide, "Configure Lambda function memory".
const MB_PER_CPU: u64 = 1_769;

/// What this machine offers to this process.
#[derive(Debug, Clone)]
pub enum Cgroups {
    /// A folder for each controller.
    V1 {
        memory: PathBuf,
        cpu: PathBuf,
        pids: PathBuf,
        freezer: Option<PathBuf>,
    },
    V2 {
        dir: PathBuf,
    },
    None {
        why: String,
    },
}

impl Cgroups {
    /// Makes this engine's folders, and clears away those of engines that are gone.
    pub fn find() -> Cgroups {
        Self::find_v2()
            .or_else(|why| Self::find_v1().map_err(|also| format!("v2: {why}; v1: {also}")))
            .unwrap_or_else(|why| Cgroups::None { why })
    }

    fn find_v2() -> Result<Cgroups, String> {
        let root = Path::new(MOUNT);
        let offered =
            fs::read_to_string(root.join("cgroup.controllers")).map_err(|_| "not mounted".to_owned())?;
        let wanted = ["memory", "cpu", "pids"];
        if !wanted.iter().all(|name| offered.split_whitespace().any(|given| given == *name)) {
            return Err(format!("offers {:?} only", offered.trim()));
        }
        let said = |error: io::Error| error.to_string();
        let all = root.join(OURS);
        fs::create_dir_all(&all).map_err(said)?;
        sweep(&all);
        let dir = all.join(own_name());
        fs::create_dir_all(&dir).map_err(said)?;
        for dir in [root, &all, &dir] {
            fs::write(dir.join("cgroup.subtree_control"), "+memory +cpu +pids").map_err(said)?;
        }
        Ok(Cgroups::V2 { dir })
    }

    fn find_v1() -> Result<Cgroups, String> {
        let own = own_name();
        let of = |name: &str| -> Result<PathBuf, String> {
            let all = own_v1(name).ok_or_else(|| format!("no {name} controller"))?.join(OURS);
            fs::create_dir_all(&all).map_err(|error| format!("{name}: {error}"))?;
            sweep(&all);
            let dir = all.join(&own);
            fs::create_dir_all(&dir).map_err(|error| format!("{name}: {error}"))?;
            Ok(dir)
        };
        Ok(Cgroups::V1 {
            memory: of("memory")?,
            cpu: of("cpu")?,
            pids: of("pids")?,
            freezer: of("freezer").ok(),
        })
    }

    pub fn describe(&self) -> String {
        match self {
            Cgroups::V1 { .. } => "v1: memory, cpu, pids".to_owned(),
            Cgroups::V2 { .. } => "v2: memory, cpu, pids".to_owned(),
            Cgroups::None { why } => format!("none ({why})"),
        }
    }

    pub fn are_there(&self) -> bool {
        !matches!(self, Cgroups::None { .. })
    }

    /// A group without limits yet.
    pub fn create(&self, name: &str) -> io::Result<Option<Group>> {
        let group = match self {
            Cgroups::None { .. } => return Ok(None),
            Cgroups::V2 { dir } => Group { v2: true, dirs: vec![dir.join(name)], has_freezer: true },
            Cgroups::V1 { memory, cpu, pids, freezer } => {
                let mut dirs = vec![memory.join(name), cpu.join(name), pids.join(name)];
                dirs.extend(freezer.as_ref().map(|dir| dir.join(name)));
                Group { v2: false, has_freezer: freezer.is_some(), dirs }
            }
        };
        for dir in &group.dirs {
            fs::create_dir(dir)?;
        }
        Ok(Some(group))
    }

    /// Takes away this engine's folders: every group in them must be empty.
    pub fn remove(&self) {
        let dirs = match self {
            Cgroups::None { .. } => return,
            Cgroups::V2 { dir } => vec![dir.clone()],
            Cgroups::V1 { memory, cpu, pids, freezer } => {
                let mut dirs = vec![memory.clone(), cpu.clone(), pids.clone()];
                dirs.extend(freezer.clone());
                dirs
            }
        };
        for dir in dirs {
            remove_tree(&dir);
        }
    }
}

/// This process's own group of a version 1 controller, so that limits set on us hold for functions too.
fn own_v1(controller: &str) -> Option<PathBuf> {
    let mount = Path::new(MOUNT).join(controller);
    if !mount.join("cgroup.procs").exists() {
        return None;
    }
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == controller).then_some(path)
    })?;
    let dir = mount.join(own.trim_start_matches('/'));
    // In a container the path may be told from outside of what is mounted here.
    Some(if dir.join("cgroup.procs").exists() { dir } else { mount })
}

/// One for each engine of this process.
fn own_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Folders are named by the pid of their engine: those of engines that are gone are cleared away, processes included.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists()) {
            // What was killed leaves its group a moment later.
            for _ in 0..100 {
                kill_all(&entry.path());
                remove_tree(&entry.path());
                if !entry.path().exists() {
                    break;
                }
                crate::sys::pause_ms(5);
            }
        }
    }
}

fn kill_all(dir: &Path) {
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        let _ = crate::sys::kill(pid, libc::SIGKILL);
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            kill_all(&entry.path());
        }
    }
}

fn remove_tree(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// CPU time in a period for a function of this size.
fn quota_us(memory_mb: u32) -> u64 {
    (u64::from(memory_mb) * PERIOD_US / MB_PER_CPU).max(1_000)
}

/// The group of one environment.
pub struct Group {
    v2: bool,
    has_freezer: bool,
    /// Version 1: memory, cpu, pids, freezer.
    dirs: Vec<PathBuf>,
}

impl Group {
    /// For `CLONE_INTO_CGROUP`; version 1 has none, and is entered by `add`.
    pub fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        self.v2.then(|| fs::File::open(&self.dirs[0]).map(OwnedFd::from)).transpose()
    }

    pub fn add(&self, pid: i32) -> io::Result<()> {
        if self.v2 {
            return Ok(());
        }
        self.dirs.iter().try_for_each(|dir| fs::write(dir.join("cgroup.procs"), pid.to_string()))
    }

    /// Memory covers `/tmp` too, which lives in it; [`Group::own_memory`] tells the function's share.
    pub fn limit(&self, memory_mb: u32, ephemeral_mb: u32) -> io::Result<()> {
        let bytes = (u64::from(memory_mb) + u64::from(ephemeral_mb) + ALLOWANCE_MB) << 20;
        if self.v2 {
            let dir = &self.dirs[0];
            fs::write(dir.join("memory.max"), bytes.to_string())?;
            let _ = fs::write(dir.join("memory.swap.max"), "0");
            let _ = fs::write(dir.join("memory.oom.group"), "1");
            return fs::write(dir.join("pids.max"), PIDS.to_string());
        }
        fs::write(self.dirs[0].join("memory.limit_in_bytes"), bytes.to_string())?;
        fs::write(self.dirs[2].join("pids.max"), PIDS.to_string())
    }

    /// During init a small function has one whole vCPU, as in AWS.
    pub fn set_cpu(&self, memory_mb: u32, is_init: bool) -> io::Result<()> {
        let quota = if is_init { quota_us(memory_mb).max(PERIOD_US) } else { quota_us(memory_mb) };
        if self.v2 {
            return fs::write(self.dirs[0].join("cpu.max"), format!("{quota} {PERIOD_US}"));
        }
        fs::write(self.dirs[1].join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        fs::write(self.dirs[1].join("cpu.cfs_quota_us"), quota.to_string())
    }

    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        match (self.v2, self.has_freezer) {
            (true, _) => fs::write(self.dirs[0].join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            (false, true) => {
                fs::write(self.dirs[3].join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
            }
            (false, false) => Ok(()),
        }
    }

    pub fn has_freezer(&self) -> bool {
        self.has_freezer
    }

    /// Most bytes that were ever used, `/tmp` included.
    pub fn peak_bytes(&self) -> u64 {
        let name = if self.v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        number(&self.dirs[0].join(name))
    }

    /// Bytes of the function's own memory, once everything together is over `floor`: without `/tmp` and the page cache.
    pub fn own_memory(&self, floor: u64) -> Option<u64> {
        let name = if self.v2 { "memory.current" } else { "memory.usage_in_bytes" };
        if number(&self.dirs[0].join(name)) <= floor {
            return None;
        }
        let stat = fs::read_to_string(self.dirs[0].join("memory.stat")).ok()?;
        let key = if self.v2 { "anon " } else { "total_rss " };
        stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }

    /// Kills what is left in the group and takes it away.
    pub fn remove(&self) {
        for dir in &self.dirs {
            kill_all(dir);
            let _ = fs::remove_dir(dir);
        }
    }

    /// Whether every folder is gone.
    pub fn is_removed(&self) -> bool {
        self.dirs.iter().all(|dir| !dir.exists())
    }
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_grows_with_memory() {
        for (memory_mb, expected) in [(128, 1_447), (1_769, 20_000), (10_240, 115_771)] {
            assert_eq!(quota_us(memory_mb), expected, "{memory_mb} MB");
        }
    }
}
