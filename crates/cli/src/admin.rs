//! `pileus admin`: a whole cloud as one file.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use pileus_core::{Clock, Rng};
use pileus_node::{Engine, NodeConfig, backup, large_objects, open_store};
use pileus_platform::{MovableClock, SystemRng};
use pileus_store::membership::{self, MemberState};
use pileus_store::transfer::{self, NewFile};
use pileus_store::{Store, StoreError};

use crate::settings::Up;

#[derive(Args)]
pub struct Admin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write everything that a store holds to a file, for another engine or to keep. An embedded store must not be in use;
    /// a shared database may be
    Export {
        file: PathBuf,
        #[command(flatten)]
        up: Up,
    },
    /// Fill a store from such a file. No node may run on it
    Import {
        file: PathBuf,
        /// Remove what the store holds now
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        up: Up,
    },
    /// As `export`, of the embedded store of a running node, while it goes on working
    Backup {
        file: PathBuf,
        #[command(flatten)]
        up: Up,
    },
    /// Whether a file is whole, and what it holds
    Check { file: PathBuf },
}

pub fn run(admin: Admin) -> Result<(), String> {
    match admin.command {
        Command::Export { file, up } => {
            with_store(up, async |store, config| export(&store, &file, &config).await)
        }
        Command::Import { file, replace, up } => {
            check(&file)?;
            with_store(up, async |store, config| import(&store, &file, replace, &config).await)
        }
        Command::Backup { file, up } => back_up(&file, &up.resolve()?.node_config()?),
        Command::Check { file } => check(&file),
    }
}

/// Opens the store that the settings name, and closes it.
pub fn with_store(
    up: Up,
    work: impl AsyncFnOnce(Store, NodeConfig) -> Result<(), String>,
) -> Result<(), String> {
    let config = up.resolve()?.node_config()?;
    if config.engine == Engine::Memory {
        return Err("a cloud in memory is gone with its node: leave --memory out".to_owned());
    }
    let is_embedded = matches!(config.engine, Engine::Fjall | Engine::Redb);
    if is_embedded && !config.data_dir.join("store").exists() {
        std::fs::create_dir_all(&config.data_dir).map_err(|error| {
            format!("cannot use the data directory {}: {error}", config.data_dir.display())
        })?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(MovableClock::system());
        let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
        let store = open_store(&config, clock, rng).await.map_err(|error| error.to_string())?;
        let done = work(store.clone(), config).await;
        let closed = store.close().await.map_err(|error| error.to_string());
        done.and(closed)
    })
}

async fn export(store: &Store, file: &Path, config: &NodeConfig) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let export = large_objects::export(config, store).await.map_err(|error| failed(&error))?;
    let entries = export.to_file(file).await.map_err(|error| failed(&error))?;
    println!("{entries} entries of {} are in {}", store.kv().name(), file.display());
    Ok(())
}

async fn import(store: &Store, file: &Path, replace: bool, config: &NodeConfig) -> Result<(), String> {
    let running = running(store).await.map_err(|error| error.to_string())?;
    if !running.is_empty() {
        return Err(format!("nodes run on this store: stop {} first", running.join(", ")));
    }
    let source = open(file)?;
    let settle = async |store: &Store| large_objects::settle(config, store).await;
    let entries = transfer::import(store, source, replace, settle).await.map_err(|error| match error {
        transfer::TransferError::NotEmpty(_) => format!("{error}. With --replace that is removed first"),
        other => format!("{}: {other}", file.display()),
    })?;
    println!("{entries} entries are in {}; nodes may start on it", config.engine.name());
    Ok(())
}

async fn running(store: &Store) -> Result<Vec<String>, StoreError> {
    let members = membership::present(store).await?;
    Ok(members
        .into_iter()
        .filter(|member| member.state != MemberState::Gone)
        .map(|member| member.name)
        .collect())
}

/// Takes what the node sends, and keeps it only if it is whole.
fn back_up(file: &Path, config: &NodeConfig) -> Result<(), String> {
    match &config.engine {
        Engine::Memory => return Err("a cloud in memory has nothing to keep".to_owned()),
        Engine::Postgres(_) => {
            return Err("a shared database may be exported while nodes run: `pileus admin export`".to_owned());
        }
        Engine::Fjall | Engine::Redb => {}
    }
    let socket = backup::socket(&config.data_dir);
    let stream = UnixStream::connect(&socket).map_err(|error| {
        format!(
            "no node runs on {} ({error}): start one, or use `pileus admin export`",
            config.data_dir.display()
        )
    })?;
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let mut target = NewFile::create(file).map_err(failed)?;
    let mut tee = Tee { source: stream, copy: &mut target };
    let (_, entries) =
        transfer::check(&mut tee).map_err(|error| format!("the backup is not whole: {error}"))?;
    target.finish().map_err(failed)?;
    println!("{entries} entries are in {}", file.display());
    Ok(())
}

/// Writes down what is read.
struct Tee<'a> {
    source: UnixStream,
    copy: &'a mut NewFile,
}

impl io::Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.copy.write(&buffer[..length])?;
        Ok(length)
    }
}

fn check(file: &Path) -> Result<(), String> {
    let checked = transfer::check(open(file)?);
    let (header, entries) = checked.map_err(|error| format!("{}: {error}", file.display()))?;
    println!(
        "{} is whole: {entries} entries of {}, by pileus {}",
        file.display(),
        header.engine,
        header.release
    );
    Ok(())
}

fn open(file: &Path) -> Result<impl io::Read, String> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, opened))
}
