//! The `pileus` binary: starts a node, or asks a running one.

mod admin;
mod ask;
mod client;
mod demo;
mod doctor;
mod env;
mod init;
mod probe;
mod runtimes;
mod scrub;
mod settings;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Returns freed memory to the system sooner and allocates faster from many threads than the C library's allocator.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The serverless cloud on your own machines: AWS's wire protocols, answered for real by one binary.
#[derive(Parser)]
#[command(name = "pileus", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a node and serve until it is told to stop (Ctrl-C or SIGTERM)
    Up(settings::Up),
    /// Create a cloud's first administrator key, and show it this once
    Init(init::Init),
    /// Print the `export` lines that point the AWS CLI and SDKs at this cloud
    Env(env::Env),
    /// Say whether the node runs, and which services it answers for
    Status(ask::Node),
    /// Say what this machine can isolate, and what is missing
    Doctor(doctor::Doctor),
    /// Runtimes of functions: what this machine has, and the AWS SDKs that functions find
    Runtimes(runtimes::Runtimes),
    /// Read, freeze, advance or resume the node's clock
    Clock(ask::ClockArgs),
    /// Forget everything that the node holds
    Reset(ask::Reset),
    /// Move a whole cloud between stores, and back it up
    Admin(admin::Admin),
    /// Read every object's bytes and compare their checksums. The store must not be in use, but a shared database may be
    Scrub(scrub::Scrub),
    /// Questions about identities and permissions
    Iam(ask::Iam),
    /// Show the mails, text messages and pushes that this cloud sent to people
    Mail(ask::Mail),
    /// Print the certificate of the cloud's own authority
    Ca(ask::Ca),
    /// Every modelled operation, and whether this binary does it: tab-separated
    #[command(hide = true)]
    Operations,
    /// The pure engines, one JSON line at a time, for conformance tools
    #[command(hide = true)]
    Probe,
}

fn main() -> ExitCode {
    // Does not return in the process that makes the environments of functions.
    pileus_sandbox::launcher_main();
    let result = match Cli::parse().command {
        Command::Up(up) => up::run(up),
        Command::Init(init) => init::run(init),
        Command::Env(env) => env::run(env),
        Command::Status(node) => ask::status(node),
        Command::Doctor(doctor) => doctor::run(doctor),
        Command::Runtimes(runtimes) => runtimes::run(runtimes),
        Command::Clock(clock) => ask::clock(clock),
        Command::Reset(reset) => ask::reset(reset),
        Command::Admin(admin) => admin::run(admin),
        Command::Scrub(scrub) => scrub::run(scrub),
        Command::Iam(iam) => ask::iam(iam),
        Command::Mail(mail) => ask::mail(mail),
        Command::Ca(ca) => ask::ca(ca),
        Command::Operations => operations(),
        Command::Probe => probe::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("pileus: {message}");
            ExitCode::FAILURE
        }
    }
}

fn operations() -> Result<(), String> {
    use std::io::Write as _;
    let services = pileus_node::services::all();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in pileus_models::all() {
        let ours = services.iter().find(|service| service.name() == entry.name);
        for operation in &entry.service().operations {
            let done = ours.is_some_and(|service| service.implements(operation.name));
            let state = if done { "yes" } else { "no" };
            writeln!(out, "{}\t{}\t{state}", entry.name, operation.name)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
