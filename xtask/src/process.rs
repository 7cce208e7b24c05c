//! A `pileus` (or a floor) as a child process: started on a free port, measured, stopped, killed.

#![allow(clippy::disallowed_methods)] // measures real processes in real time

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

pub struct Process {
    child: Child,
    pub port: u16,
    /// From the start of the process to its first answer.
    pub first_answer: Duration,
}

impl Process {
    /// Starts `command --port <free>` and waits until it answers `path`.
    pub async fn start(mut command: Command, port: u16, path: &str) -> Result<Process, String> {
        let started = Instant::now();
        let line = format!("{command:?}");
        let mut child = command.stdout(Stdio::null()).spawn().map_err(|error| format!("{line}: {error}"))?;
        loop {
            if let Ok(mut client) = Client::connect(port).await
                && client.get(path).await.is_ok()
            {
                return Ok(Process { child, port, first_answer: started.elapsed() });
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{line} ended at once ({status})"));
            }
            if started.elapsed() > Duration::from_secs(60) {
                let _ = child.kill();
                return Err(format!("{line} does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in MiB.
    pub fn rss_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    /// The most that was ever resident, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        kib / 1_024.0
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// The release binary, built if need be.
pub fn binary(profile: &str) -> Result<PathBuf, String> {
    let mut args = vec!["build", "--package", "pileus-cli"];
    if profile == "release" {
        args.push("--release");
    }
    crate::sh::run("cargo", args)?;
    Ok(crate::root().join("target").join(profile).join("pileus"))
}

/// `pileus up` in `dir`.
pub async fn pileus(binary: &Path, dir: &Path, engine: &str, port: u16) -> Result<Process, String> {
    let mut command = Command::new(binary);
    command
        .args(["up", "--log", "error", "--engine", engine, "--port", &port.to_string(), "--data-dir"])
        .arg(dir);
    Process::start(command, port, "/_pileus/version").await
}
