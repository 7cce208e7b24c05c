//! The engine's ends of the sockets to the launcher and to inits.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use crate::config::LauncherCommand;
use crate::launcher::ARGUMENT;
use crate::launcher::protocol::{Order, Reply, Setup};
use crate::{channel, sys};

/// One end of a message socket, for tasks.
pub struct Link(AsyncFd<OwnedFd>);

impl Link {
    pub fn new(socket: OwnedFd) -> io::Result<Link> {
        sys::set_nonblocking(socket.as_fd())?;
        // SAFETY: the descriptor is owned by the value that is registered, so it stays open and the same while it is.
        Ok(Link(unsafe { AsyncFd::register(socket) }?))
    }

    pub async fn send<M: Serialize>(&self, message: &M, fds: &[RawFd]) -> io::Result<()> {
        loop {
            match channel::send(self.0.get_ref().as_fd(), message, fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.writable().await?.clear_ready();
                }
                result => return result,
            }
        }
    }

    /// `None`: the other end is gone.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        loop {
            match channel::receive(self.0.get_ref().as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.readable().await?.clear_ready();
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                result => return result,
            }
        }
    }
}

/// The running launcher. One order at a time: each takes well under a millisecond.
pub struct Launcher {
    link: Mutex<Link>,
    child: std::sync::Mutex<Child>,
}

impl Launcher {
    pub async fn start(command: &LauncherCommand, setup: &Setup) -> io::Result<Launcher> {
        let (ours, theirs) = sys::seqpacket_pair()?;
        sys::set_inheritable(theirs.as_fd(), true)?;
        // No hook runs between fork and exec, so the standard library spawns without copying this process's memory.
        let child = Program::new(&command.program)
            .arg(ARGUMENT)
            .arg(theirs.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        drop(theirs);
        let link = Link::new(ours)?;
        link.send(setup, &[]).await?;
        let launcher = Launcher { link: Mutex::new(link), child: std::sync::Mutex::new(child) };
        let answer = { launcher.link.lock().await.receive::<Reply>().await };
        match answer {
            Ok(Some((Reply::SetUp, _))) => Ok(launcher),
            Ok(Some((Reply::Failed { why }, _))) => Err(launcher.failed(why)),
            Ok(_) => Err(launcher.failed("the launcher ended at once".to_owned())),
            Err(error) => Err(launcher.failed(error.to_string())),
        }
    }

    fn failed(&self, why: String) -> io::Error {
        self.end();
        io::Error::other(why)
    }

    /// Pid and pidfd of a new init.
    pub async fn clone_init(
        &self,
        control: &OwnedFd,
        log: &OwnedFd,
        cgroup: Option<&OwnedFd>,
    ) -> io::Result<(i32, OwnedFd)> {
        let mut fds = vec![control.as_raw_fd(), log.as_raw_fd()];
        fds.extend(cgroup.map(|fd| fd.as_raw_fd()));
        match self.order(&Order::Clone { into_cgroup: cgroup.is_some() }, &fds).await? {
            (Reply::Cloned { pid }, Some(pidfd)) => Ok((pid, pidfd)),
            _ => Err(io::Error::other("the launcher gave another answer")),
        }
    }

    pub async fn tree(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.order(&Order::Tree { path: path.to_owned() }, &[]).await {
            Ok((Reply::Tree, Some(tree))) => Ok(tree),
            Ok(_) => Err(io::Error::other("the launcher gave another answer")),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }

    async fn order(&self, order: &Order, fds: &[RawFd]) -> io::Result<(Reply, Option<OwnedFd>)> {
        let link = self.link.lock().await;
        link.send(order, fds).await?;
        match link.receive::<Reply>().await? {
            Some((Reply::Failed { why }, _)) => Err(io::Error::other(why)),
            Some((reply, fds)) => Ok((reply, fds.into_iter().next())),
            None => Err(io::Error::other("the launcher is gone")),
        }
    }

    /// Ends the launcher and with it every environment.
    pub fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.end();
    }
}
