//! `cargo xtask models list`: the coverage page's source.

use std::io::Write;

use pileus_wire::model;

use super::generate::{crates, listed};
use super::{names_of_models, read};

pub fn run() -> Result<(), String> {
    let crates = crates()?;
    let mut out = std::io::stdout().lock();
    for name in names_of_models()? {
        let service = model::build(super::load(&name)?).map_err(|error| format!("{name}: {error}"))?;
        let ours = if crates.contains(&name) {
            listed(service, &read(&crate::root().join(format!("crates/api/{name}/ops.txt")))?)?
        } else {
            Vec::new()
        };
        for operation in &service.operations {
            let state = if ours.iter().any(|our| our.name == operation.name) { "yes" } else { "no" };
            writeln!(out, "{name}\t{}\t{state}", operation.name).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
