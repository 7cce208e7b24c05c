//! `pileus up --demo conference`: an application of `examples/`, deployed into the node that was just started by the script that would
//! deploy it to AWS.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use pileus_node::{Engine, NodeConfig};
use pileus_platform::Profile;
use serde_json::Value;

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

/// Deploys the demo into the node at `port`. Blocks for as long as that takes.
///
/// # Errors
/// A sentence for the operator.
pub fn run(Demo::Conference: Demo, config: &NodeConfig, port: u16) -> Result<(), String> {
    let folder = match config.engine {
        Engine::Memory => std::env::temp_dir().join(format!("pileus-demo-{}", std::process::id())),
        _ => config.data_dir.join("demo"),
    };
    let folder = folder.join("conference");
    eprintln!("demo: the conference application, from {}", folder.display());
    write(&folder)?;
    let python = python(&folder)?;
    let made = deploy(&python, &folder, port, config)?;
    let word = |key: &str| made.get(key).and_then(Value::as_str).unwrap_or_default();
    let (site, api) = (word("site"), word("api"));
    println!(
        "
The conference application runs: {site}

Three things to try:
  1. Apply on the site; the list shows you at once, and your entry has its badge a moment later.
  2. The same by hand:
       curl -s {api}/conference -d '{{\"name\":\"Ann\",\"company\":\"Example\",\"email\":\"ann@example.com\"}}'
       curl -s {api}/conference
  3. Send half of the posts to a new version of the function, and look for X-Version in the answers:
       eval \"$(pileus env --port {port})\"; AWS_ENDPOINT_URL=http://localhost:{port} {python} {folder}/rollout.py --weight 0.5
",
        python = python.display(),
        folder = folder.display(),
    );
    Ok(())
}

fn write(folder: &Path) -> Result<(), String> {
    for (path, text) in CONFERENCE {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A Python with boto3: the machine's, else one of the demo's own.
fn python(folder: &Path) -> Result<PathBuf, String> {
    let has_boto3 = |python: &Path| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import boto3, pip"]).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let machines = PathBuf::from("python3");
    if has_boto3(&machines) {
        return Ok(machines);
    }
    let own = folder.join("venv/bin/python");
    if has_boto3(&own) {
        return Ok(own);
    }
    eprintln!("demo: this machine's Python has no boto3: making an environment that has");
    let venv = folder.join("venv");
    finish(
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
        "python3 -m venv (is Python 3 with venv installed?)",
    )?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "boto3"];
    finish(Command::new(&own).args(install), "pip install boto3 (is the package index reachable?)")?;
    Ok(own)
}

fn finish(command: &mut Command, what: &str) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("demo: {what} failed: {status}")),
        Err(error) => Err(format!("demo: {what}: {error}")),
    }
}

/// Runs the example's own script, showing its progress; what it made.
fn deploy(python: &Path, folder: &Path, port: u16, config: &NodeConfig) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("demo: {}: {error}", python.display());
    let mut script = Command::new(python)
        .arg(folder.join("deploy.py"))
        .args(["--json", "--build"])
        .arg(folder.join("build"))
        .env("AWS_ENDPOINT_URL", format!("http://localhost:{port}"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", config.default_region.as_str())
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let progress = script.stderr.take().map(BufReader::new);
    for line in progress.into_iter().flat_map(|lines| lines.lines()).map_while(Result::ok) {
        eprintln!("demo: {}", line.trim_end());
    }
    let mut answer = String::new();
    if let Some(mut out) = script.stdout.take() {
        out.read_to_string(&mut answer).map_err(failed)?;
    }
    let status = script.wait().map_err(failed)?;
    if !status.success() {
        return Err("demo: the application could not be deployed; the node goes on without it".to_owned());
    }
    serde_json::from_str(answer.trim()).map_err(|error| format!("demo: the script's answer: {error}"))
}
