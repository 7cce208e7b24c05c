//! `cargo xtask tidy`: what a machine can check of the house rules.
//!
//! - dependencies point one way, and no service depends on another;
//! - no file of ours is over 600 lines without a `// long: reason` line;
//! - no word that does not belong in the project;
//! - every crate takes the workspace's lints;
//! - what simulations run draws no chance of tokio's own.
//!
//! Side doors of time, chance and ids are clippy's to find (`clippy.toml`), generated files `models gen --check`'s.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{root, sh};

/// Layers from the ground up. A crate may depend on crates of lower layers only.
const LAYERS: [&[&str]; 9] = [
    &["pileus-core"],
    &["pileus-wire", "pileus-iam", "pileus-blobs", "pileus-sandbox", "pileus-vtl"],
    &["pileus-models", "pileus-store", "pileus-api-*"],
    &["pileus-store-postgres", "pileus-blobs-bucket"],
    &["pileus-platform"],
    &["pileus-svc-*"],
    &["pileus-node"],
    &["pileus-sim"],
    &["pileus-cli", "xtask"],
];

const MAX_LINES: usize = 600;

pub fn run() -> Result<(), String> {
    println!("\n=> tidy");
    let mut faults = Vec::new();
    layers(&mut faults)?;
    let files = sh::read("git", ["ls-files", "--cached", "--others", "--exclude-standard"])?;
    for file in files.lines().map(PathBuf::from) {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        long_file(&file, &text, &mut faults);
        words(&file, &text, &mut faults);
        lints(&file, &text, &mut faults);
        selects(&file, &text, &mut faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("{} faults:\n  {}", faults.len(), faults.join("\n  ")))
}

fn layers(faults: &mut Vec<String>) -> Result<(), String> {
    let metadata = sh::read("cargo", ["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| error.to_string())?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(layer) = layer(name) else {
            faults.push(format!("{name}: xtask/src/tidy.rs does not say which layer this crate belongs to"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_for_tests = dependency["kind"] == "dev";
            let is_upward = self::layer(other).is_some_and(|other| other >= layer);
            if is_upward && !is_for_tests {
                faults.push(format!("{name} depends on {other}, which lies no lower"));
            }
        }
    }
    Ok(())
}

fn layer(name: &str) -> Option<usize> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *pattern == name,
    };
    LAYERS.iter().position(|names| names.iter().any(fits))
}

fn long_file(file: &Path, text: &str, faults: &mut Vec<String>) {
    let is_ours = file.extension().is_some_and(|extension| extension == "rs" || extension == "py");
    let is_generated = file.ends_with("gen.rs");
    let lines = text.lines().count();
    let has_reason = text.lines().take(30).any(|line| line.trim_start().starts_with("// long: "));
    if is_ours && !is_generated && lines > MAX_LINES && !has_reason {
        faults.push(format!("{}: {lines} lines; two subjects are two files", file.display()));
    }
}

/// Split here so that this file does not find itself.
const WORDS: [&[&str]; 9] = [
    &["py", "pi.org"],
    &["python", "hosted"],
    &["registry.", "npmjs"],
    &["static.", "crates.io"],
    &["deb.", "debian.org"],
    &["repo1.", "maven"],
    &["sub", "agent"],
    &["/work", "/main"],
    &["/work", "/shared"],
];

fn words(file: &Path, text: &str, faults: &mut Vec<String>) {
    if file.ends_with("Cargo.lock") {
        return;
    }
    for word in WORDS.map(|parts| parts.concat()) {
        if let Some(at) = text.lines().position(|line| line.contains(&word)) {
            faults.push(format!("{}:{}: the word {word:?}", file.display(), at + 1));
        }
    }
}

fn lints(file: &Path, text: &str, faults: &mut Vec<String>) {
    // These are workspaces of their own.
    let is_apart = file.starts_with("fuzz") || file.starts_with("tests/rust");
    let is_crate =
        file.ends_with("Cargo.toml") && !is_apart && file.parent().is_some_and(|dir| dir != Path::new(""));
    if is_crate && text.contains("[package]") && !text.contains("[lints]\nworkspace = true") {
        faults.push(format!("{}: without the workspace's lints", file.display()));
    }
}

/// `select!` begins with a branch that it draws from a generator of its own, unless it is told not to.
fn selects(file: &Path, text: &str, faults: &mut Vec<String>) {
    let is_simulated = file.starts_with("services") || file.starts_with("crates/store/src");
    let lines: Vec<&str> = text.lines().collect();
    let of_chance = lines
        .windows(2)
        .position(|pair| pair[0].trim_end().ends_with("select! {") && pair[1].trim() != "biased;");
    if let Some(at) = of_chance.filter(|_| is_simulated) {
        faults.push(format!(
            "{}:{}: a select! that is not `biased;` is not the seed's",
            file.display(),
            at + 1
        ));
    }
}
