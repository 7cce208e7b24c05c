//! `pileus doctor`: what this machine offers, and what is missing for what.

use std::fs;
use std::path::Path;

use clap::Args;

use crate::runtimes;

#[derive(Args)]
pub struct Doctor {}

/// One finding: what was looked at, what was seen, and what to do if that is not enough.
struct Finding {
    subject: &'static str,
    seen: String,
    advice: Option<String>,
}

pub fn run(_: Doctor) -> Result<(), String> {
    let findings = [
        kernel(),
        privileges(),
        namespaces(),
        cgroups(),
        seccomp(),
        landlock(),
        descriptors(),
        interpreters(),
        sdks(),
        isolation(),
    ];
    for finding in &findings {
        let mark = if finding.advice.is_some() { "!" } else { "ok" };
        println!("{mark:>2}  {:<12} {}", finding.subject, finding.seen);
        if let Some(advice) = &finding.advice {
            println!("{:>17}{advice}", "");
        }
    }
    Ok(())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn kernel() -> Finding {
    Finding { subject: "kernel", seen: read("/proc/sys/kernel/osrelease"), advice: None }
}

#[allow(unsafe_code)]
fn privileges() -> Finding {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let capabilities = status_field("CapEff:");
    let has_admin = u64::from_str_radix(&capabilities, 16).is_ok_and(|bits| bits & (1 << 21) != 0);
    let (seen, advice) = match (is_root, has_admin) {
        (true, true) => ("root with CAP_SYS_ADMIN".to_owned(), None),
        (true, false) => (
            "root without CAP_SYS_ADMIN".to_owned(),
            Some("functions can be isolated by user namespaces only: start outside of the container, or add the capability".to_owned()),
        ),
        (false, _) => (
            "an ordinary user".to_owned(),
            Some("functions can be isolated by user namespaces only; start as root for resource limits too".to_owned()),
        ),
    };
    Finding { subject: "privileges", seen, advice }
}

fn namespaces() -> Finding {
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"];
    let missing: Vec<&str> =
        kinds.into_iter().filter(|kind| !Path::new("/proc/self/ns").join(kind).exists()).collect();
    let users = read("/proc/sys/user/max_user_namespaces");
    let restricted = read("/proc/sys/kernel/unprivileged_userns_clone") == "0"
        || read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1";
    let seen = match missing.is_empty() {
        true => format!(
            "{} (user namespaces: {})",
            kinds.join(" "),
            if users == "0" { "none allowed" } else { "allowed" }
        ),
        false => format!("without {}", missing.join(" ")),
    };
    let advice = if !missing.is_empty() {
        Some("this kernel was built without them: functions run with weaker isolation".to_owned())
    } else if restricted {
        Some("unprivileged user namespaces are restricted here: only root can isolate functions".to_owned())
    } else {
        None
    };
    Finding { subject: "namespaces", seen, advice }
}

fn cgroups() -> Finding {
    let unified = read("/sys/fs/cgroup/cgroup.controllers");
    let legacy: Vec<&str> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|name| Path::new("/sys/fs/cgroup").join(name).is_dir())
        .collect();
    let has_unified =
        ["memory", "cpu", "pids"].iter().all(|name| unified.split_whitespace().any(|c| c == *name));
    let (seen, advice) = if has_unified {
        (format!("version 2: {unified}"), None)
    } else if legacy.len() == 3 {
        (format!("version 1: {}", legacy.join(" ")), None)
    } else {
        (
            format!("version 2: {:?}, version 1: {:?}", unified, legacy.join(" ")),
            Some(
                "memory, cpu and pids cannot all be limited: functions share the machine unmetered"
                    .to_owned(),
            ),
        )
    };
    Finding { subject: "cgroups", seen, advice }
}

fn seccomp() -> Finding {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let advice = actions
        .is_empty()
        .then(|| "system calls cannot be filtered: this kernel was built without seccomp".to_owned());
    Finding { subject: "seccomp", seen: if actions.is_empty() { "none".to_owned() } else { actions }, advice }
}

fn landlock() -> Finding {
    let modules = read("/sys/kernel/security/lsm");
    let has = modules.split(',').any(|module| module == "landlock");
    Finding {
        subject: "landlock",
        seen: if has { "on".to_owned() } else { "off, or not visible here (optional)".to_owned() },
        advice: None,
    }
}

fn descriptors() -> Finding {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let hard: u64 = line.split_whitespace().nth(4).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let advice =
        (hard < 16_384).then(|| "few connections can be open at once: raise `ulimit -Hn`".to_owned());
    Finding { subject: "descriptors", seen: format!("{hard}"), advice }
}

fn interpreters() -> Finding {
    let path = std::env::var("PATH").unwrap_or_default();
    let on_path = |name: &&str| path.split(':').any(|dir| Path::new(dir).join(name).is_file());
    let found: Vec<&str> =
        ["python3", "node", "java", "ruby", "dotnet"].into_iter().filter(on_path).collect();
    let advice =
        found.is_empty().then(|| "no interpreter is on the PATH: only compiled functions can run".to_owned());
    Finding { subject: "interpreters", seen: found.join(" "), advice }
}

fn sdks() -> Finding {
    let dir = runtimes::default_dir();
    let found = runtimes::installed(&dir);
    let advice = found.is_empty().then(|| {
        "functions that import boto3 or @aws-sdk find none of ours: `pileus runtimes install` brings them"
            .to_owned()
    });
    let seen = if found.is_empty() {
        "none".to_owned()
    } else {
        format!("{} in {}", found.join(" "), dir.display())
    };
    Finding { subject: "AWS SDKs", seen, advice }
}

/// Tried rather than guessed: one whole sandbox is made and thrown away.
fn isolation() -> Finding {
    use std::sync::Arc;
    let dir = std::env::temp_dir().join(format!("pileus-doctor-{}", std::process::id()));
    let ids = pileus_core::Ids::new(Arc::new(pileus_platform::SystemRng::new()));
    let clock = Arc::new(pileus_platform::MovableClock::system());
    let config = pileus_sandbox::EngineConfig::new(dir.clone(), clock, ids);
    let tried =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map(|runtime| {
            runtime.block_on(async {
                let engine = pileus_sandbox::Engine::start(config).await?;
                engine.stop().await;
                Ok::<_, pileus_sandbox::EngineError>(engine.report())
            })
        });
    let _ = fs::remove_dir_all(&dir); // what is left of it is the system's to clear away
    let (seen, advice) = match tried {
        Ok(Ok(report)) => {
            let level = report.level;
            let advice = (level < pileus_sandbox::Level::Full)
                .then(|| report.not_stronger.map_or(String::new(), |why| format!("no stronger: {why}")));
            let seen = format!(
                "{} {}; cgroups {}; network {}",
                level.name(),
                level.describe(),
                report.cgroups,
                report.network.name()
            );
            (seen, advice)
        }
        Ok(Err(error)) => ("none".to_owned(), Some(error.to_string())),
        Err(error) => ("not tried".to_owned(), Some(error.to_string())),
    };
    Finding { subject: "isolation", seen, advice }
}

fn status_field(name: &str) -> String {
    let status = read("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line[name.len().min(line.len())..].trim().to_owned()
}
