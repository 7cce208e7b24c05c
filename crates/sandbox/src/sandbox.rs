//! One sandbox as the engine holds it: its init, its listeners, its output and its limits, without a function yet.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::net::unix::pipe;

use crate::cgroup::{Cgroups, Group};
use crate::config::Level;
use crate::launcher::protocol::{Command, Notice, Start};
use crate::link::{Launcher, Link};
use crate::sys;

/// Sandboxes are numbered by process, so that engines in one share no user id.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What sandboxes are made with.
pub struct Workshop {
    pub launcher: Launcher,
    pub level: Level,
    pub cgroups: Cgroups,
    pub endpoint_port: u16,
    /// Whether this machine gives environments network devices.
    pub has_devices: AtomicBool,
}

impl Workshop {
    pub fn new(launcher: Launcher, level: Level, cgroups: Cgroups, endpoint_port: u16) -> Workshop {
        Workshop { launcher, level, cgroups, endpoint_port, has_devices: AtomicBool::new(false) }
    }

    /// A prepared sandbox. Takes well under a millisecond on an idle machine.
    pub async fn make(self: &Arc<Self>) -> io::Result<Sandbox> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let group = self.cgroups.create(&format!("e{number}"))?;
        let (ours, theirs) = sys::seqpacket_pair()?;
        let (log, log_write) = sys::pipe()?;
        sys::set_nonblocking(log.as_fd())?;
        let cgroup = group.as_ref().map(Group::descriptor).transpose()?.flatten();
        let (pid, pidfd) = self.launcher.clone_init(&theirs, &log_write, cgroup.as_ref()).await?;
        drop((theirs, log_write));
        let mut sandbox = Sandbox {
            number,
            uid: self.uid(number),
            level: self.level,
            pid,
            pidfd,
            link: Link::new(ours)?,
            api: None,
            api_port: 0,
            endpoint: None,
            device: None,
            log: Some(pipe::Receiver::from_owned_fd(log)?),
            group,
            workshop: self.clone(),
        };
        if let Some(group) = &sandbox.group {
            group.add(pid)?;
        }
        sandbox.prepare().await?;
        Ok(sandbox)
    }

    /// A user of its own for each environment; numbers come round after 65,000 of them.
    fn uid(&self, number: u64) -> u32 {
        const FIRST: u32 = 1_000_000_000;
        let engine = std::process::id() % 8_192;
        FIRST + engine * 65_536 + (number % 65_000) as u32
    }
}

pub struct Sandbox {
    pub number: u64,
    pub uid: u32,
    pub level: Level,
    pub pid: i32,
    pidfd: OwnedFd,
    pub link: Link,
    /// Taken by whoever serves it.
    pub api: Option<TcpListener>,
    pub api_port: u16,
    pub endpoint: Option<TcpListener>,
    /// The environment's network device: whoever serves it takes it, and without one the function reaches the node alone.
    pub device: Option<OwnedFd>,
    pub log: Option<pipe::Receiver>,
    pub group: Option<Group>,
    workshop: Arc<Workshop>,
}

impl Sandbox {
    async fn prepare(&mut self) -> io::Result<()> {
        let hostname = "169.254.100.1".replace('.', "-");
        let endpoint_port = self.workshop.endpoint_port;
        self.link.send(&Command::Prepare { hostname, endpoint_port }, &[]).await?;
        let (notice, fds) = self.answer().await?;
        let Notice::Up { api_port, has_device } = notice else { return Err(unexpected(&notice)) };
        let mut fds = fds;
        if has_device {
            self.device = fds.pop();
        }
        let mut listeners = fds.into_iter().map(|fd| {
            let listener = StdListener::from(fd);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        self.api = listeners.next().transpose()?;
        self.endpoint = listeners.next().transpose()?;
        self.api_port = api_port;
        Ok(())
    }

    async fn answer(&self) -> io::Result<(Notice, Vec<OwnedFd>)> {
        match self.link.receive::<Notice>().await? {
            Some((Notice::Failed { why }, _)) => Err(io::Error::other(why)),
            Some(answer) => Ok(answer),
            None => Err(io::Error::other("the init ended")),
        }
    }

    async fn trees(&self, mounts: &[(PathBuf, String)]) -> io::Result<Vec<OwnedFd>> {
        let mut trees = Vec::new();
        for (path, _) in mounts {
            trees.push(match self.level {
                Level::Process => break,
                // Root needs no help from the launcher, which cannot see the machine's folders any more.
                Level::Full => sys::open_tree_read_only(&path.to_string_lossy())
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
                Level::Rootless => self.workshop.launcher.tree(path).await?,
            });
        }
        Ok(trees)
    }

    /// Mounts folders of the machine before any function is known.
    pub async fn mount(&self, mounts: &[(PathBuf, String)]) -> io::Result<()> {
        let trees = self.trees(mounts).await?;
        if trees.is_empty() {
            return Ok(());
        }
        let fds: Vec<_> = trees.iter().map(|tree| tree.as_raw_fd()).collect();
        let targets = mounts.iter().map(|(_, target)| target.clone()).collect();
        self.link.send(&Command::Mount { targets }, &fds).await?;
        match self.answer().await? {
            (Notice::Mounted, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Gives the sandbox its function. Its own `Started` notice must have been taken before.
    pub async fn attach(
        &self,
        mounts: &[(PathBuf, String)],
        tmp_mb: u32,
        release: Option<String>,
        is_image: bool,
    ) -> io::Result<()> {
        let trees = self.trees(mounts).await?;
        let fds: Vec<_> = trees.iter().map(|tree| tree.as_raw_fd()).collect();
        let targets = mounts.iter().map(|(_, target)| target.clone()).collect();
        self.link.send(&Command::Attach { is_image, uid: self.uid, tmp_mb, targets, release }, &fds).await?;
        match self.answer().await? {
            (Notice::Attached, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Starts an interpreter that waits for `attach`.
    pub async fn boot(&self, start: Start) -> io::Result<()> {
        self.link.send(&Command::Start(start), &[]).await?;
        match self.answer().await? {
            (Notice::Started { error: None, .. }, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Ends every process of it. Without a namespace that is the init's work, when its control socket ends with this value.
    pub fn kill(&self) {
        if self.level == Level::Process {
            return;
        }
        if let Some(group) = &self.group {
            let _ = group.freeze(false);
        }
        let _ = sys::pidfd_kill(self.pidfd.as_fd(), libc::SIGKILL);
    }
}

fn unexpected(notice: &Notice) -> io::Error {
    io::Error::other(format!("an unexpected answer of the init: {notice:?}"))
}

impl Drop for Sandbox {
    /// The kernel may take a moment to end the processes, and only an empty group can be removed: a task stays with it.
    fn drop(&mut self) {
        self.kill();
        let Some(group) = self.group.take() else { return };
        group.remove();
        if group.is_removed() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                for _ in 0..1_000 {
                    group.remove();
                    if group.is_removed() {
                        return;
                    }
                    sys::pause_ms(2);
                }
                tracing::warn!("the limits of an ended environment could not be removed");
            });
        }
    }
}
