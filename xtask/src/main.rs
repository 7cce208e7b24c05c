//! The project's own tasks: `cargo xtask <task>`. One module per task.

mod acceptance;
mod bench;
mod client;
mod coverage;
mod crash;
mod models;
mod new_service;
mod process;
mod sh;
mod sim;
mod test;
mod tidy;

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
    /// The skeleton of a new service.
    NewService(new_service::Args),
    /// What a machine can check of the house rules.
    Tidy,
    /// Everything that must hold before a change lands.
    Test(test::Args),
    /// What the release binary promises, row by row.
    Acceptance(acceptance::Args),
    /// Each promised figure beside its floor.
    Bench(bench::Args),
    /// Kill a node under load, start it again, check every acknowledged write.
    Crash(crash::Args),
    /// Simulate clouds from seeds, with faults, and check what must hold.
    Sim(sim::Args),
    /// Write docs/COVERAGE.md.
    Coverage(coverage::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Models(args) => models::run(args),
        Task::NewService(args) => new_service::run(&args),
        Task::Tidy => tidy::run(),
        Task::Test(args) => test::run(&args),
        Task::Acceptance(args) => acceptance::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Crash(args) => crash::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Coverage(args) => coverage::run(&args),
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
