//! `cargo xtask models`: what AWS's APIs look like, from their published models to our generated types.
//!
//! | File          | Holds                                                                  |
//! |---------------|------------------------------------------------------------------------|
//! | `import.rs`   | botocore's data and Smithy's, merged into `models/<svc>.model`         |
//! | `smithy.rs`   | a Smithy syntax tree as our intermediate form                          |
//! | `merge.rs`    | what Smithy knows laid into what botocore knows                        |
//! | `generate.rs` | `crates/api/<svc>` from `ops.txt` and the model                        |
//! | `types.rs`    | one shape as Rust                                                      |
//! | `names.rs`    | AWS's names as Rust's                                                  |
//! | `list.rs`     | every operation, and whether we implement it                           |

mod generate;
mod import;
mod list;
mod merge;
mod names;
mod smithy;
mod types;

use std::path::PathBuf;

use clap::Subcommand;
use pileus_wire::model::{self, Model};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write `models/<svc>.model` from botocore's data, and Smithy's syntax trees where given.
    Import {
        /// A folder of `<file>.json.gz`, as the last column of `models/apis.txt` names them.
        #[arg(long)]
        smithy: Option<PathBuf>,
        /// botocore's `data` folder. Without it the pinned version is installed under `target/`.
        #[arg(long)]
        botocore: Option<PathBuf>,
        /// Only these.
        services: Vec<String>,
    },
    /// Write `crates/api/<svc>/src/gen.rs` for every `ops.txt` there, and the table of models.
    Gen {
        /// Change nothing; fail if a file would change.
        #[arg(long)]
        check: bool,
        /// Only these.
        services: Vec<String>,
    },
    /// Print every modelled operation: service, operation, whether we implement it.
    List,
}

pub fn run(args: Args) -> Result<(), String> {
    match args.task {
        Task::Import { smithy, botocore, services } => import::run(smithy, botocore, &services),
        Task::Gen { check, services } => generate::run(check, &services),
        Task::List => list::run(),
    }
}

/// As `cargo xtask models gen --check`.
pub fn run_check() -> Result<(), String> {
    generate::run(true, &[])
}

/// As `cargo xtask models gen <service>`.
pub fn run_gen(service: &str) -> Result<(), String> {
    generate::run(false, &[service.to_owned()])
}

/// Names of all models, sorted.
fn names_of_models() -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in read_dir(&crate::root().join("models"))? {
        if let Some(name) = entry.strip_suffix(".model") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A model with its overlay, from the files in the checkout.
fn load(name: &str) -> Result<Model, String> {
    let folder = crate::root().join("models");
    let at = |error: model::ModelError, kind: &str| format!("models/{name}.{kind}: {error}");
    let text = read(&folder.join(format!("{name}.model")))?;
    let mut model = model::read(text.leak()).map_err(|error| at(error, "model"))?;
    let path = folder.join(format!("{name}.overlay"));
    if path.exists() {
        model::overlay(&mut model, read(&path)?.leak()).map_err(|error| at(error, "overlay"))?;
    }
    Ok(model)
}

fn read(path: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Names in a folder, sorted; none if it does not exist.
fn read_dir(path: &std::path::Path) -> Result<Vec<String>, String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", path.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
