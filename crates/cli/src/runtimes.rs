//! `pileus runtimes`: what runs functions on this machine, and the AWS SDKs that functions find.
//!
//! AWS's runtimes bring boto3 and the AWS SDK for JavaScript along. Here they come by an explicit command, through the package
//! managers of the interpreters themselves; nothing is ever fetched by itself.
//!
//! Source: AWS Lambda Developer Guide, "Runtime-included SDK versions" of Python and of Node.js.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use clap::{Args, Subcommand};
use pileus_sandbox::{Language, interpreters};

#[derive(Args)]
pub struct Runtimes {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the interpreters of this machine and the SDKs that functions find
    List(Place),
    /// Bring boto3 (Python) and the AWS SDK for JavaScript v3 (Node.js) into the runtimes folder, with pip and npm
    Install(Install),
}

#[derive(Args)]
struct Place {
    /// The folder [default: pileus/runtimes in the user's data folder]
    #[arg(long, env = "PILEUS_RUNTIMES_DIR", value_name = "DIR")]
    runtimes_dir: Option<PathBuf>,
}

impl Place {
    fn dir(&self) -> PathBuf {
        self.runtimes_dir.clone().unwrap_or_else(default_dir)
    }
}

#[derive(Args)]
struct Install {
    /// `python`, `nodejs`; without any, whatever this machine has an interpreter for
    languages: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// What functions on AWS import most: all clients together are far larger, and each can be in a function's own package.
const CLIENTS: [&str; 34] = [
    "@aws-sdk/client-api-gateway",
    "@aws-sdk/client-apigatewaymanagementapi",
    "@aws-sdk/client-apigatewayv2",
    "@aws-sdk/client-cloudformation",
    "@aws-sdk/client-cloudwatch",
    "@aws-sdk/client-cloudwatch-logs",
    "@aws-sdk/client-cognito-identity",
    "@aws-sdk/client-cognito-identity-provider",
    "@aws-sdk/client-dynamodb",
    "@aws-sdk/client-dynamodb-streams",
    "@aws-sdk/client-ec2",
    "@aws-sdk/client-ecs",
    "@aws-sdk/client-eventbridge",
    "@aws-sdk/client-firehose",
    "@aws-sdk/client-iam",
    "@aws-sdk/client-kinesis",
    "@aws-sdk/client-kms",
    "@aws-sdk/client-lambda",
    "@aws-sdk/client-rds-data",
    "@aws-sdk/client-s3",
    "@aws-sdk/client-scheduler",
    "@aws-sdk/client-secrets-manager",
    "@aws-sdk/client-ses",
    "@aws-sdk/client-sesv2",
    "@aws-sdk/client-sfn",
    "@aws-sdk/client-sns",
    "@aws-sdk/client-sqs",
    "@aws-sdk/client-ssm",
    "@aws-sdk/client-sts",
    "@aws-sdk/credential-providers",
    "@aws-sdk/lib-dynamodb",
    "@aws-sdk/lib-storage",
    "@aws-sdk/s3-request-presigner",
    "@aws-sdk/util-dynamodb",
];

/// Where the SDKs lie unless the operator says otherwise: one place for every cloud of this user.
pub fn default_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_else(|| PathBuf::from("/var/lib")).join("pileus/runtimes")
}

/// What is installed, such as `python3.12` and `nodejs`.
pub fn installed(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name == "nodejs" || name.starts_with("python3.") && !name.ends_with(".new"));
    names.sort();
    names
}

pub fn run(runtimes: Runtimes) -> Result<(), String> {
    match runtimes.action {
        Action::List(place) => {
            list(&place.dir());
            Ok(())
        }
        Action::Install(install) => install.run(),
    }
}

fn list(dir: &Path) {
    let languages = [
        ("python", Language::Python),
        ("nodejs", Language::Node),
        ("ruby", Language::Ruby),
        ("java", Language::Java),
        ("dotnet", Language::Dotnet),
    ];
    for (name, language) in languages {
        for found in interpreters(language) {
            let (major, minor) = found.version;
            println!("{name:<8} {:<8} {}", format!("{major}.{minor}"), found.binary.display());
        }
    }
    let found = installed(dir);
    let found = if found.is_empty() {
        "none; `pileus runtimes install` brings them".to_owned()
    } else {
        found.join(" ")
    };
    println!("{:<8} {found} ({})", "SDKs", dir.display());
}

impl Install {
    fn run(&self) -> Result<(), String> {
        if let Some(unknown) =
            self.languages.iter().find(|name| !matches!(name.as_str(), "python" | "nodejs"))
        {
            return Err(format!("{unknown:?}: SDKs are installed for python and nodejs"));
        }
        let is_wanted =
            |name: &str| self.languages.is_empty() || self.languages.iter().any(|one| one == name);
        let dir = self.place.dir();
        make(&dir)?;
        let mut done = Vec::new();
        if is_wanted("python") {
            let mut pythons = interpreters(Language::Python);
            let mut seen = Vec::new();
            // Of two of one version, functions run on the first.
            pythons.retain(|python| {
                !seen.contains(&python.version) && {
                    seen.push(python.version);
                    true
                }
            });
            for python in pythons {
                let (major, minor) = python.version;
                let run = |pip: &mut Command| pip.status();
                match install_python(&dir, python.version, &python.binary, run) {
                    Ok(()) => done.push(format!("boto3 for Python {major}.{minor}")),
                    Err(error) => eprintln!("pileus: {}: {error}", python.binary.display()),
                }
            }
        }
        if is_wanted("nodejs") && !interpreters(Language::Node).is_empty() {
            match npm(&dir.join("nodejs")) {
                Ok(()) => done.push("the AWS SDK for JavaScript v3".to_owned()),
                Err(error) => eprintln!("pileus: {error}"),
            }
        }
        if done.is_empty() {
            return Err("nothing was installed".to_owned());
        }
        println!("installed in {}: {}", dir.display(), done.join(", "));
        Ok(())
    }
}

/// Functions run as other users, who must be able to read it.
fn make(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Where boto3 for a version of Python lies, or would lie.
pub fn python_sdk(dir: &Path, (major, minor): (u32, u32)) -> PathBuf {
    dir.join(format!("python{major}.{minor}"))
}

/// Beside and then in place of what was there, so that running functions see one or the other whole. `run` starts pip.
pub fn install_python(
    dir: &Path,
    version: (u32, u32),
    python: &Path,
    run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
) -> Result<(), String> {
    make(dir)?;
    let target = python_sdk(dir, version);
    let fresh = beside(&target);
    let _ = fs::remove_dir_all(&fresh);
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    // Said by the environment: an old pip knows no such option.
    command.arg(&fresh).args(["boto3", "urllib3"]).env("PIP_ROOT_USER_ACTION", "ignore");
    finish(command, &fresh, &target, run)
}

fn npm(target: &Path) -> Result<(), String> {
    let fresh = beside(target);
    let _ = fs::remove_dir_all(&fresh);
    make(&fresh)?;
    let mut command = Command::new("npm");
    command.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]);
    command.arg(&fresh).args(CLIENTS);
    finish(command, &fresh, target, |npm| npm.status())
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn finish(
    mut command: Command,
    fresh: &Path,
    target: &Path,
    run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = run(&mut command).map_err(|error| format!("{name} cannot be started: {error}"))?;
    if !status.success() {
        let _ = fs::remove_dir_all(fresh);
        return Err(format!("{name} failed ({status})"));
    }
    let _ = fs::remove_dir_all(target);
    fs::rename(fresh, target).map_err(|error| format!("{}: {error}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_seen_by_its_name() {
        let dir = std::env::temp_dir().join(format!("pileus-runtimes-{}", std::process::id()));
        for name in ["python3.12", "nodejs", "python3.12.new", "other"] {
            fs::create_dir_all(dir.join(name)).expect("made");
        }
        let seen = installed(&dir);
        fs::remove_dir_all(&dir).expect("removed");
        assert_eq!(seen, ["nodejs", "python3.12"]);
        assert!(installed(&dir).is_empty());
    }
}
