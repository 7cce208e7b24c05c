//! The project's own tasks: `cargo xtask <task>`. One module per task.

mod models;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Service models: import them, generate Rust from them, list their operations.
    Models(models::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Models(args) => models::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The checkout's root: the parent of this crate.
fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the checkout's root")
}
