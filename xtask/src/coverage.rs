//! `cargo xtask coverage`: writes `docs/COVERAGE.md` from what the binary itself says that it implements.
//!
//! `docs/partial.txt` holds one line for each operation that does less than AWS's: `sqs:SendMessage <what it lacks>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::{process, root, sh};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Change nothing; fail if the page would change
    #[arg(long)]
    pub check: bool,
}

pub fn run(args: &Args) -> Result<(), String> {
    let page = page()?;
    let path = root().join("docs/COVERAGE.md");
    let present = fs::read_to_string(&path).unwrap_or_default();
    if present == page {
        return Ok(());
    }
    if args.check {
        return Err("docs/COVERAGE.md is not true; run `cargo xtask coverage`".to_owned());
    }
    fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))
}

/// Of one service: operation, and whether it is implemented.
type Operations = BTreeMap<String, bool>;

fn page() -> Result<String, String> {
    let binary = process::binary("debug")?;
    let listed = sh::read(&binary.to_string_lossy(), ["operations"])?;
    let mut services: BTreeMap<String, Operations> = BTreeMap::new();
    for line in listed.lines() {
        let mut fields = line.split('\t');
        if let (Some(service), Some(operation), Some(state)) = (fields.next(), fields.next(), fields.next()) {
            services.entry(service.to_owned()).or_default().insert(operation.to_owned(), state == "yes");
        }
    }
    let partial = partial(&services)?;
    let mut page = String::from(HEAD);
    let mut details = String::new();
    for (service, operations) in &services {
        let real =
            operations.iter().filter(|(name, done)| **done && !partial.contains_key(&key(service, name)));
        let (real, all) = (real.count(), operations.len());
        let partly = partial.keys().filter(|name| name.starts_with(&format!("{service}:"))).count();
        let _ = writeln!(page, "| {service} | {all} | {real} | {partly} | {} |", all - real - partly);
        if real + partly > 0 {
            detail(&mut details, service, operations, &partial);
        }
    }
    Ok(page + &details)
}

fn detail(page: &mut String, service: &str, operations: &Operations, partial: &BTreeMap<String, String>) {
    let _ = writeln!(page, "\n## {service}\n");
    let names = |wanted: bool| -> Vec<&str> {
        let fits =
            |(name, done): &(&String, &bool)| **done == wanted && !partial.contains_key(&key(service, name));
        operations.iter().filter(fits).map(|(name, _)| name.as_str()).collect()
    };
    let _ = writeln!(page, "Real: {}.", names(true).join(", "));
    for (name, lacks) in partial.iter().filter(|(name, _)| name.starts_with(&format!("{service}:"))) {
        let _ = writeln!(page, "\nPartial: {}: {lacks}", &name[service.len() + 1..]);
    }
    let missing = names(false);
    if !missing.is_empty() {
        let _ = writeln!(page, "\nNot: {}.", missing.join(", "));
    }
}

fn key(service: &str, operation: &str) -> String {
    format!("{service}:{operation}")
}

fn partial(services: &BTreeMap<String, Operations>) -> Result<BTreeMap<String, String>, String> {
    let text = fs::read_to_string(root().join("docs/partial.txt")).unwrap_or_default();
    let known: BTreeSet<String> = services
        .iter()
        .flat_map(|(s, ops)| ops.iter().filter(|(_, done)| **done).map(move |(o, _)| key(s, o)))
        .collect();
    let mut partial = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (name, lacks) = line.split_once(' ').ok_or(format!("docs/partial.txt: {line:?}"))?;
        if !known.contains(name) {
            return Err(format!("docs/partial.txt: {name} is not an operation that we implement"));
        }
        partial.insert(name.to_owned(), lacks.to_owned());
    }
    Ok(partial)
}

const HEAD: &str = "# Coverage

Written by `cargo xtask coverage` from what the binary says of itself; do not edit. Every operation of every API below is parsed,
validated and authorised. *Real* does what AWS's does; *partial* says how it falls short; *not* answers HTTP 501 and names itself.

| API | operations | real | partial | not |
|---|---|---|---|---|
";
