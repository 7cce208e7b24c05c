//! Finds the strongest isolation that works here, by trying it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::EngineError;
use crate::cgroup::Cgroups;
use crate::config::{EngineConfig, Isolation, Level, Report};
use crate::launcher::protocol::{LevelWord, Setup};
use crate::link::Launcher;
use crate::sandbox::Workshop;
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
                let report = report(&workshop, &failures);
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
    let setup = Setup { level: word, staging: staging.to_owned(), runtime_dir: runtime_dir.to_owned() };
    let launcher = Launcher::start(&config.launcher, &setup).await?;
    let cgroups = Cgroups::find();
    let port = config.endpoint.map_or(0, |endpoint| endpoint.port());
    let workshop = Arc::new(Workshop::new(launcher, level, cgroups, port));
    // The proof: one whole sandbox.
    drop(workshop.make().await?);
    Ok(workshop)
}

fn report(workshop: &Workshop, failures: &[String]) -> Report {
    let mut lacks = Vec::new();
    if workshop.level == Level::Process {
        lacks.push(
            "functions are plain processes: they can read this machine's files and reach its network"
                .to_owned(),
        );
    } else {
        lacks.push("functions share this machine's kernel: a fault in it could let one out (AWS uses a virtual machine each)".to_owned());
        lacks.push("functions reach this node and nothing beyond it: outbound internet needs a network device, which is not made yet".to_owned());
    }
    if !workshop.cgroups.are_there() {
        lacks.push("memory, CPU and the number of processes are not limited".to_owned());
    }
    Report {
        level: workshop.level,
        not_stronger: failures.last().cloned(),
        cgroups: workshop.cgroups.describe(),
        lacks,
    }
}
