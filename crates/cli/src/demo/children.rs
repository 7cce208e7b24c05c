//! The programs that a demo starts, one after the other: they end with the node.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Each child leads a process group of its own. So Ctrl-C reaches the node alone, which ends the child and what that has started.
#[derive(Clone, Default)]
pub struct Children(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_stopping: bool,
    group: Option<libc::pid_t>,
}

impl Children {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program without input.
    ///
    /// # Errors
    /// The system's, and one that says that the node is stopping.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.state();
        if state.is_stopping {
            return Err(io::Error::other("the node is stopping"));
        }
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        state.group = libc::pid_t::try_from(child.id()).ok();
        Ok(child)
    }

    pub fn wait(&self, mut child: Child) -> io::Result<ExitStatus> {
        let status = child.wait();
        self.state().group = None;
        status
    }

    pub fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
        self.wait(self.spawn(command)?)
    }

    /// Ends the one that runs, and lets none begin.
    #[allow(unsafe_code)]
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_stopping = true;
        if let Some(group) = state.group {
            // SAFETY: takes two numbers and touches no memory. The group's leader has not been waited for: its number is its own.
            unsafe { libc::kill(-group, libc::SIGTERM) };
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.state().is_stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_the_child_and_what_it_started_and_lets_none_begin() {
        let children = Children::default();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]).stdout(Stdio::piped());
        let mut child = children.spawn(&mut command).expect("a shell");
        let mut out = child.stdout.take().expect("piped");
        children.stop();
        assert!(!children.wait(child).expect("waited").success());
        io::copy(&mut out, &mut io::sink()).expect("the pipe ends when both are gone");
        assert!(children.run(&mut Command::new("true")).is_err());
    }
}
