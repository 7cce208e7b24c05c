//! `cargo xtask test`: everything that must hold before a change lands.

use std::fs;
use std::path::PathBuf;

use crate::{coverage, models, root, sh, tidy};

#[derive(clap::Args)]
pub struct Args {
    /// Only the steps whose name contains this: fmt, tidy, clippy, rust, sim, build, protocols, python, js, crash, postgres,
    /// cluster, rust-sdk
    #[arg(long)]
    only: Option<String>,
}

type Step = (&'static str, fn() -> Result<(), String>);

const STEPS: [Step; 12] = [
    ("fmt", || sh::run("cargo", ["fmt", "--all", "--check"])),
    ("tidy", tidy_all),
    ("clippy", || sh::run("cargo", ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("rust", || sh::run("cargo", ["test", "--workspace", "--quiet", "--exclude", "pileus-store-postgres"])),
    ("sim", || crate::sim::run(&crate::sim::Args::short())),
    ("build", || sh::run("cargo", ["build", "--package", "pileus-cli"])),
    ("protocols", protocols),
    ("python", python),
    ("js", javascript),
    ("crash", || crate::crash::run(&crate::crash::Args::short())),
    // These two start PostgreSQL servers of their own: `scripts/postgres.sh` installs one.
    ("postgres", || sh::run("cargo", ["test", "--quiet", "--package", "pileus-store-postgres"])),
    ("cluster", cluster),
];

pub fn run(args: &Args) -> Result<(), String> {
    // The SDK's crates take minutes to build: asked for by name alone.
    if args.only.as_deref() == Some("rust-sdk") {
        return rust_sdk();
    }
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| name.contains(only));
    for (name, step) in STEPS.iter().filter(|(name, _)| wanted(name)) {
        step().map_err(|error| format!("{name}: {error}"))?;
    }
    println!("\nall steps passed");
    Ok(())
}

fn tidy_all() -> Result<(), String> {
    tidy::run()?;
    models::run_check()?;
    coverage::run(&coverage::Args { check: true })
}

/// AWS's own protocol tests, through `pileus probe`.
fn protocols() -> Result<(), String> {
    let python = venv()?;
    sh::run(&python.to_string_lossy(), ["tests/protocol_suite.py"])
}

/// Installs the pinned clients once (again when the pins change) and runs the wire tests against the built binary.
fn python() -> Result<(), String> {
    let python = venv()?;
    let python = python.to_string_lossy();
    sh::run(&python, ["-m", "pytest", "-q", "-x", "tests/python", "-p", "no:cacheprovider"])
}

/// Several nodes on one PostgreSQL, while things break.
fn cluster() -> Result<(), String> {
    let python = venv()?;
    sh::run(
        &python.to_string_lossy(),
        ["-m", "pytest", "-q", "-x", "tests/cluster", "-p", "no:cacheprovider"],
    )
}

/// The interpreter of the tests' own environment under `target/`.
pub fn venv() -> Result<PathBuf, String> {
    let dir = root().join("target/python");
    let python = dir.join("bin/python");
    let stamp = dir.join("requirements.txt");
    let wanted = root().join("tests/python/requirements.txt");
    let text = fs::read_to_string(&wanted).map_err(|error| format!("{}: {error}", wanted.display()))?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == text) && python.exists() {
        return Ok(python);
    }
    sh::run("python3", ["-m", "venv", &dir.to_string_lossy()])?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        "tests/python/requirements.txt",
    ];
    sh::run(&python.to_string_lossy(), pip)?;
    fs::write(&stamp, text).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

/// The AWS SDK for Rust, in a workspace of its own.
fn rust_sdk() -> Result<(), String> {
    sh::run("cargo", ["build", "--package", "pileus-cli"])?;
    sh::run("cargo", ["test", "--manifest-path", "tests/rust/Cargo.toml", "--target-dir", "target/rust-sdk"])
}

/// The AWS SDK for JavaScript, in Node's own test runner.
fn javascript() -> Result<(), String> {
    let dir = root().join("tests/js");
    let installed = dir.join("node_modules/.package-lock.json");
    let lock = dir.join("package-lock.json");
    let is_fresh = match (installed.metadata(), lock.metadata()) {
        (Ok(installed), Ok(lock)) => match (installed.modified(), lock.modified()) {
            (Ok(installed), Ok(lock)) => installed >= lock,
            _ => false,
        },
        _ => false,
    };
    if !is_fresh {
        sh::run("npm", ["ci", "--no-audit", "--no-fund", "--prefix", &dir.to_string_lossy()])?;
    }
    sh::run("npm", ["test", "--prefix", &dir.to_string_lossy()])
}
