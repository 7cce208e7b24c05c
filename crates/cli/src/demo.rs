//! `pileus up --demo conference`: an application of `examples/`, deployed into the node that was just started by the script that would
//! deploy it to AWS.

mod children;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use pileus_node::{Engine, NodeConfig};
use pileus_platform::Profile;
use pileus_sandbox::Language;
use serde_json::Value;

use self::children::Children;
use crate::runtimes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Demo {
    /// Registration for a conference: a site on S3, API Gateway, functions, DynamoDB, SNS, badges with a QR code
    Conference,
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../examples/conference/", $path)))),*]
    };
}

/// The example as it lies in the repository.
const CONFERENCE: [(&str, &str); 13] = files![
    "README.md",
    "build_layer.py",
    "deploy.py",
    "rollout.py",
    "functions/apply/index.py",
    "functions/badge/index.py",
    "functions/entries/index.py",
    "site/app.js",
    "site/apply.html",
    "site/list.html",
    "site/result.html",
    "site/style.css",
    ".gitignore",
];

/// The Pythons that Lambda and the demo's libraries know.
const PYTHONS: std::ops::RangeInclusive<(u32, u32)> = (3, 10)..=(3, 14);

/// # Errors
/// A sentence for the operator: what keeps the demo from running here.
pub fn check(config: &NodeConfig) -> Result<(), String> {
    match config.profile {
        Profile::Development => Ok(()),
        Profile::Server => Err(
            "--demo deploys with a key that was not issued here, which the server profile does not let in"
                .to_owned(),
        ),
    }
}

/// A demo that is deployed, or being deployed.
pub struct Started {
    children: Children,
    work: tokio::task::JoinHandle<()>,
    /// Goes with a node that keeps nothing.
    temporary: Option<PathBuf>,
}

/// Begins to deploy the demo into the node at `port`, and says on the terminal how it goes.
pub fn start(demo: Demo, config: &NodeConfig, port: u16) -> Started {
    let children = Children::default();
    let is_temporary = config.engine == Engine::Memory;
    let folder = match is_temporary {
        true => std::env::temp_dir().join(format!("pileus-demo-{}", std::process::id())),
        false => config.data_dir.join("demo"),
    };
    let temporary = is_temporary.then(|| folder.clone());
    let work = {
        let (config, children) = (config.clone(), children.clone());
        move || match run(demo, &config, &folder, port, &children) {
            Err(message) if !children.is_stopping() => eprintln!("demo: {message}"),
            _ => {}
        }
    };
    Started { children, work: tokio::task::spawn_blocking(work), temporary }
}

impl Started {
    /// What is being deployed stays half done: the next start goes on with it.
    pub async fn stop(self) {
        let Started { children, work, temporary } = self;
        let stopped = tokio::task::spawn_blocking(move || children.stop()).await;
        if let (Ok(()), Ok(()), Some(folder)) = (stopped, work.await, temporary) {
            // What is left of it is the system's to clear away.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn run(
    Demo::Conference: Demo,
    config: &NodeConfig,
    folder: &Path,
    port: u16,
    children: &Children,
) -> Result<(), String> {
    let folder = folder.join("conference");
    eprintln!("demo: the conference application, from {}", folder.display());
    write(&folder)?;
    let python = prepare(&folder, config, port, children)?;
    let made = deploy(&python, &folder, children)?;
    let word = |key: &str| made.get(key).and_then(Value::as_str).unwrap_or_default();
    let (site, api) = (word("site"), word("api"));
    println!(
        "
The conference application runs: {site}

Three things to try:
  1. Apply on the site; the list shows you at once, and your entry has its badge a moment later.
  2. The same by hand:
       curl -i {api}/conference -d '{{\"name\":\"Ann\",\"company\":\"Example\",\"email\":\"ann@example.com\"}}'
       curl {api}/conference
  3. Send half of the posts to a new version of the function; then post again, and look for X-Version in the answers:
       {python} {rollout} --weight 0.5

Ctrl-C stops it all; the next start finds it again{kept}.
",
        python = quoted(&python),
        rollout = quoted(&folder.join("rollout.py")),
        kept = if config.engine == Engine::Memory { " without --memory" } else { "" },
    );
    Ok(())
}

fn write(folder: &Path) -> Result<(), String> {
    for (path, text) in CONFERENCE {
        put(&folder.join(path), text)?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|error| format!("{}: {error}", path.display()))
}

/// A command that starts a Python with boto3 and the node's address, so that the example's scripts need no further words.
fn prepare(folder: &Path, config: &NodeConfig, port: u16, children: &Children) -> Result<PathBuf, String> {
    let (binary, version) = python(folder, children)?;
    let runtimes_dir = config.functions.packages.clone().unwrap_or_else(runtimes::default_dir);
    let sdk = runtimes::python_sdk(&runtimes_dir, version);
    if !sdk.exists() {
        eprintln!("demo: boto3, for functions and for the script (as `pileus runtimes install` brings it)");
        runtimes::install_python(&runtimes_dir, version, &binary, |pip| children.run(pip)).map_err(
            |error| format!("{error}: is the package index reachable? The node goes on without the demo"),
        )?;
    }
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let region = config.default_region.as_str();
    let command = folder.join("python");
    put(
        &command,
        &format!(
            "#!/bin/sh
unset AWS_SESSION_TOKEN AWS_PROFILE
export AWS_ENDPOINT_URL=http://localhost:{port} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
export AWS_REGION={region} AWS_DEFAULT_REGION={region} PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={sdk}
exec {binary} \"$@\"
",
            sdk = quoted(&absolute(&sdk)),
            // Not where a link of an environment leads: its own packages lie beside the link.
            binary = quoted(&std::path::absolute(&binary).unwrap_or(binary)),
        ),
    )?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&command, executable).map_err(|error| format!("{}: {error}", command.display()))?;
    Ok(command)
}

/// The machine's first Python that has pip, else an environment of the demo's own that brings it; and its version.
fn python(folder: &Path, children: &Children) -> Result<(PathBuf, (u32, u32)), String> {
    let mut found = pileus_sandbox::interpreters(Language::Python);
    found.retain(|python| PYTHONS.contains(&python.version));
    let has_pip = |python: &Path| {
        let mut asked = Command::new(python);
        asked.args(["-m", "pip", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        children.run(&mut asked).is_ok_and(|status| status.success())
    };
    if let Some(python) = found.iter().find(|python| has_pip(&python.binary)) {
        return Ok((python.binary.clone(), python.version));
    }
    for python in found {
        let venv = folder.join("venv");
        let own = venv.join("bin/python");
        if has_pip(&own) {
            return Ok((own, python.version));
        }
        let mut making = Command::new(&python.binary);
        making.args(["-m", "venv", "--clear"]).arg(&venv).stdout(Stdio::null());
        if children.run(&mut making).is_ok_and(|status| status.success()) {
            return Ok((own, python.version));
        }
    }
    let ((_, least), (_, most)) = (PYTHONS.start(), PYTHONS.end());
    Err(format!(
        "Python 3.{least} to 3.{most} with pip is needed (Debian: apt install python3-pip); the node goes on without the demo"
    ))
}

/// Runs the example's own script, showing its progress; what it made.
fn deploy(python: &Path, folder: &Path, children: &Children) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", python.display());
    let mut command = Command::new(python);
    command.arg(folder.join("deploy.py")).args(["--json", "--build"]).arg(folder.join("build"));
    let mut script = children.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).map_err(failed)?;
    let progress = script.stderr.take().map(BufReader::new);
    for line in progress.into_iter().flat_map(|lines| lines.lines()).map_while(Result::ok) {
        eprintln!("demo: {}", line.trim_end());
    }
    let mut answer = String::new();
    if let Some(mut out) = script.stdout.take() {
        out.read_to_string(&mut answer).map_err(failed)?;
    }
    let status = children.wait(script).map_err(failed)?;
    if !status.success() {
        return Err("the application could not be deployed; the node goes on without it".to_owned());
    }
    serde_json::from_str(answer.trim()).map_err(|error| format!("the script's answer: {error}"))
}

/// As a shell word.
fn quoted(path: &Path) -> String {
    crate::env::quoted(&path.to_string_lossy())
}
