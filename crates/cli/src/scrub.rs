//! `pileus scrub`: whether every object's bytes are those that were written.

use pileus_node::{Engine, open_blobs, scrub};
use pileus_platform::{MovableClock, SystemRng};
use std::sync::Arc;

use crate::admin::with_store;
use crate::settings::Up;

#[derive(clap::Args)]
pub struct Scrub {
    #[command(flatten)]
    up: Up,
    /// Also remove blobs that nobody refers to: what a node that was killed had begun with. Not where nodes share a database
    #[arg(long)]
    sweep: bool,
}

/// # Errors
/// When something is damaged or missing, or the store cannot be opened.
pub fn run(args: Scrub) -> Result<(), String> {
    let sweeps = args.sweep;
    with_store(args.up, async |store, config| {
        if sweeps && matches!(config.engine, Engine::Postgres(_)) {
            return Err("nodes that share a database sweep by themselves: leave --sweep out".to_owned());
        }
        let clock = Arc::new(MovableClock::system());
        let blobs = open_blobs(&config, &store, clock, Arc::new(SystemRng::new())).await;
        let blobs = blobs.map_err(|error| error.to_string())?;
        let tell = |found: scrub::Finding| {
            println!("{}/{} ({}): {}", found.bucket, found.key, found.what, found.problem);
        };
        let done = scrub::scrub(&store, &blobs, tell).await.map_err(|error| error.to_string())?;
        println!(
            "{} blobs of {} bytes and {} objects in the store: {} problems",
            done.blobs, done.bytes, done.rows, done.findings
        );
        if sweeps {
            println!("{} orphans are gone", scrub::sweep(&store, &blobs).await?);
        }
        match done.findings {
            0 => Ok(()),
            damaged => Err(format!("{damaged} objects are damaged")),
        }
    })
}
