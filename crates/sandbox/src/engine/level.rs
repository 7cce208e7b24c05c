//! Finds the strongest isolation that works here, by trying it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::EngineError;
use crate::cgroup::Cgroups;
use crate::config::{EngineConfig, Isolation, Level, Report};
use crate::launcher::protocol::{LevelWord, Setup};
use crate::link::Launcher;
use crate::sandbox::Workshop;
use crate::spec::Network;
use crate::{clients, sys};

pub async fn establish(config: &EngineConfig) -> Result<(Arc<Workshop>, Report), EngineError> {
    let runtime_dir = config.dir.join("runtime");
    clients::write(&runtime_dir)?;
    let staging = config.dir.join("root");
    fs::create_dir_all(&staging)?;
    let candidates = match config.isolation {
        Isolation::Exactly(level) => vec![level],
        Isolation::Best | Isolation::Demand(_) => vec![Level::Full, Level::Rootless, Level::Process],
    };
    let mut failures: Vec<String> = Vec::new();
    for level in candidates {
        if let Isolation::Demand(least) = config.isolation
            && level < least
        {
            let why = failures.join("; ");
            return Err(EngineError::Isolation { demanded: least.name(), given: level.name(), why });
        }
        match try_level(config, level, &staging, &runtime_dir).await {
            Ok(workshop) => {
                let report = report(config, &workshop, &failures);
                return Ok((workshop, report));
            }
            Err(error) => failures.push(format!("{}: {error}", level.name())),
        }
    }
    Err(EngineError::Launch(failures.join("; ")))
}

async fn try_level(
    config: &EngineConfig,
    level: Level,
    staging: &Path,
    runtime_dir: &Path,
) -> io::Result<Arc<Workshop>> {
    if level == Level::Full && sys::uid() != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "needs root"));
    }
    let word = match level {
        Level::Process => LevelWord::Process,
        Level::Rootless => LevelWord::Rootless,
        Level::Full => LevelWord::Full,
    };
    let packages_dir = packages(config, level, runtime_dir);
    let setup = Setup {
        level: word,
        staging: staging.to_owned(),
        runtime_dir: runtime_dir.to_owned(),
        packages_dir,
        has_devices: config.network.leads_out() && level != Level::Process,
    };
    let launcher = Launcher::start(&config.launcher, &setup).await?;
    let cgroups = Cgroups::find();
    let port = config.endpoint.map_or(0, |endpoint| endpoint.port());
    let workshop = Arc::new(Workshop::new(launcher, level, cgroups, port));
    // The proof: one whole sandbox.
    let first = workshop.make().await?;
    workshop.has_devices.store(first.device.is_some(), Ordering::Relaxed);
    Ok(workshop)
}

/// Makes the place below `/var/runtime` where installed packages appear. A folder that cannot be made is no reason not to run: there
/// is nothing in it.
fn packages(config: &EngineConfig, level: Level, runtime_dir: &Path) -> Option<PathBuf> {
    let place = runtime_dir.join("packages");
    let _ = fs::remove_file(&place);
    let packages = config.packages.as_ref()?;
    fs::create_dir_all(packages).ok()?;
    let packages = fs::canonicalize(packages).ok()?;
    if level == Level::Process {
        let _ = fs::remove_dir(&place);
        std::os::unix::fs::symlink(&packages, &place).ok()?;
        return None;
    }
    fs::create_dir_all(&place).ok()?;
    Some(packages)
}

fn report(config: &EngineConfig, workshop: &Workshop, failures: &[String]) -> Report {
    let mut lacks = Vec::new();
    let has_devices = workshop.has_devices.load(Ordering::Relaxed);
    let network = match workshop.level {
        Level::Process => Network::Open,
        _ if has_devices => config.network,
        _ => config.network.within(Network::Platform),
    };
    if workshop.level == Level::Process {
        lacks.push(
            "functions are plain processes: they can read this machine's files and reach its network"
                .to_owned(),
        );
    } else {
        lacks.push("functions share this machine's kernel: a fault in it could let one out (AWS uses a virtual machine each)".to_owned());
        if config.network.leads_out() && !has_devices {
            lacks.push("functions reach this node and nothing beyond it: /dev/net/tun is missing, or not for this user".to_owned());
        }
    }
    if !workshop.cgroups.are_there() {
        lacks.push("memory, CPU and the number of processes are not limited".to_owned());
    }
    Report {
        level: workshop.level,
        not_stronger: failures.last().cloned(),
        cgroups: workshop.cgroups.describe(),
        network,
        lacks,
    }
}
