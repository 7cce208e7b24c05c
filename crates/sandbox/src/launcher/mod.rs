//! The launcher: a small process of one thread that makes every execution environment, so that the server never forks.
//!
//! It is this same program, started again before anything else has happened in it. It lives in a mount namespace whose root is
//! what functions see; a clone of it is the init of a new environment (`init.rs`). It ends with the engine, and every
//! environment ends with it.
//!
//! | File          | Holds                                                         |
//! |---------------|---------------------------------------------------------------|
//! | `protocol.rs` | what engine, launcher and inits say to each other             |
//! | `root.rs`     | the root file system of environments                          |
//! | `init.rs`     | process 1 of an environment                                   |
//! | `confine.rs`  | what a process gives up before it becomes a function          |
//! | `tun.rs`      | the network device of an environment                          |
//! | `seccomp.rs`  | the system calls that a function may make                     |
#![allow(unsafe_code)]

mod confine;
mod init;
pub use init::API_PORT;

pub mod protocol;
mod root;
pub mod seccomp;
mod tun;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use self::protocol::{LevelWord, Order, Reply, Setup};
use crate::{channel, sys};

/// First argument of a process that is to become a launcher; the second is the number of its control socket.
pub const ARGUMENT: &str = "--become-the-launcher-of-functions";

/// To be called first in `main`, before any thread or runtime: a process that was started as a launcher becomes one and does
/// not return. Any other returns at once.
pub fn launcher_main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|argument| argument != ARGUMENT) {
        return;
    }
    let number = arguments.next().and_then(|text| text.to_str().and_then(|text| text.parse().ok()));
    let Some(number) = number.filter(|number| *number > 2) else { sys::exit(2) };
    // SAFETY: the engine left this descriptor open for us, and nothing else in this process has touched it yet.
    let control = unsafe { OwnedFd::from_raw_fd(number) };
    let _ = sys::set_inheritable(control.as_fd(), false);
    match run(&control) {
        Ok(()) => sys::exit(0),
        Err(error) => {
            let _ = channel::send(control.as_fd(), &Reply::Failed { why: error.to_string() }, &[]);
            sys::exit(1)
        }
    }
}

fn run(control: &OwnedFd) -> io::Result<()> {
    // A terminal's Ctrl-C reaches the whole group: the engine decides when environments end.
    sys::ignore_signal(libc::SIGINT);
    sys::ignore_signal(libc::SIGTERM);
    sys::ignore_signal(libc::SIGHUP);
    // Ended inits leave no zombies; the engine watches them by their pidfds.
    sys::ignore_signal(libc::SIGCHLD);
    let Some((setup, _)) = channel::receive_blocking::<Setup>(control.as_fd())? else { return Ok(()) };
    let namespaces = root::enter(&setup)?;
    seccomp::prepare();
    sys::set_undumpable();
    channel::send(control.as_fd(), &Reply::SetUp, &[])?;
    while let Some((order, fds)) = channel::receive_blocking::<Order>(control.as_fd())? {
        let done = match order {
            Order::Clone { into_cgroup } => clone(&setup, &namespaces, into_cgroup, &fds),
            Order::Tree { path } => namespaces.open_tree(&path).map(|tree| (Reply::Tree, tree)),
        };
        match done {
            Ok((reply, fd)) => channel::send(control.as_fd(), &reply, &[fd.as_raw_fd()])?,
            Err(error) => channel::send(control.as_fd(), &Reply::Failed { why: error.to_string() }, &[])?,
        }
    }
    Ok(())
}

fn clone(
    setup: &Setup,
    views: &root::Namespaces,
    into_cgroup: bool,
    fds: &[OwnedFd],
) -> io::Result<(Reply, OwnedFd)> {
    let [control, log, rest @ ..] = fds else { return Err(io::ErrorKind::InvalidInput.into()) };
    let cgroup = rest.first().filter(|_| into_cgroup).map(|fd| fd.as_raw_fd());
    let namespaces = match setup.level {
        LevelWord::Process => 0,
        LevelWord::Rootless | LevelWord::Full => {
            libc::CLONE_NEWNS
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWNET
        }
    };
    // SAFETY: a launcher has one thread: it starts none, and neither does anything before `launcher_main`.
    match unsafe { sys::clone_process(namespaces as u64, cgroup) }? {
        Some((pid, pidfd)) => Ok((Reply::Cloned { pid }, pidfd)),
        None => {
            let devices = views.devices.as_ref().map(|devices| devices.as_raw_fd());
            init::run(setup.level, control.as_raw_fd(), log.as_raw_fd(), devices)
        }
    }
}
