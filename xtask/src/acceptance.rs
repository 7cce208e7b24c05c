//! `cargo xtask acceptance`: what the release binary promises, row by row, mostly through the AWS CLI.
//!
//! The rows are the tests of `tests/acceptance`: one for each, named by it.

use std::path::PathBuf;

use crate::{process, sh, test};

#[derive(clap::Args)]
pub struct Args {
    /// Only the rows whose name contains this: sqs_08, iam
    #[arg(long)]
    only: Option<String>,
    /// Another binary than target/release/pileus, which is built if need be
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), String> {
    let binary = match &args.binary {
        Some(path) => path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?,
        None => process::binary("release")?,
    };
    let python = test::venv()?;
    let mut command = vec![
        format!("PILEUS_BIN={}", binary.display()),
        python.display().to_string(),
        "-m".to_owned(),
        "pytest".to_owned(),
        "-v".to_owned(),
        "tests/acceptance".to_owned(),
        "-p".to_owned(),
        "no:cacheprovider".to_owned(),
    ];
    if let Some(only) = &args.only {
        command.extend(["-k".to_owned(), only.clone()]);
    }
    sh::run("env", command)
}
