//! `pileus up`.

use std::io::IsTerminal as _;
use std::time::Duration;

use pileus_node::{Engine, Node};
use pileus_platform::Profile;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings, Up};

/// By then the start is over, its workers' first rounds too.
const SETTLED: Duration = Duration::from_secs(1);

pub fn run(up: Up) -> Result<(), String> {
    let demo = up.demo;
    let settings = up.resolve()?;
    let config = settings.node_config()?;
    if demo.is_some() {
        crate::demo::check(&config)?;
    }
    start_logging(&settings)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let node = Node::start(config.clone()).await.map_err(|error| error.to_string())?;
        greet(&node, &config);
        tokio::spawn(async {
            let _ = tokio::time::timeout(SETTLED, std::future::pending::<()>()).await;
            give_back_code();
        });
        let demo = demo.map(|demo| crate::demo::start(demo, &config, node.address().port()));
        wait_for_signal().await?;
        tracing::info!("stopping: open requests may finish");
        if let Some(demo) = demo {
            demo.stop().await;
        }
        node.stop().await.map_err(|error| error.to_string())
    })
}

fn greet(node: &Node, config: &pileus_node::NodeConfig) {
    let state = match &config.engine {
        Engine::Memory => "in memory: nothing is kept".to_owned(),
        Engine::Postgres(_) => format!("in a database, shared with other nodes; this one is {}", config.name),
        _ => format!("in {}", config.data_dir.display()),
    };
    let profile = match config.profile {
        Profile::Development => "development (keys that were not issued here act as root)",
        Profile::Server => "server (only issued keys)",
    };
    tracing::info!(
        address = %node.address(),
        state,
        profile,
        services = node.platform().services().join(","),
        "pileus {} is up",
        env!("CARGO_PKG_VERSION")
    );
}

async fn wait_for_signal() -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn start_logging(settings: &Settings) -> Result<(), String> {
    let wanted = settings.log.as_deref().unwrap_or("info");
    // A bare level is about our own words: the store's engine tells each of its steps.
    let is_level = !wanted.contains(['=', ',']);
    let filter = if is_level {
        format!("{wanted},fjall=warn,lsm_tree=warn,tokio_postgres=warn,deadpool_postgres=error")
    } else {
        wanted.to_owned()
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| format!("--log {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        Some(LogFormat::Json) => builder.json().init(),
        _ => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// Each connection takes a descriptor: use what the system allows us rather than the shell's cautious default.
#[allow(unsafe_code)]
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct that they are handed, which lives on this stack.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Lets go of the pages of our own code: most were read by the start alone. What runs again is mapped again from the page cache.
#[allow(unsafe_code)]
fn give_back_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let program = program.to_string_lossy();
    for line in maps.lines().filter(|line| line.contains(" r-xp ") && line.ends_with(&*program)) {
        let Some((start, end)) = line.split(' ').next().and_then(|range| range.split_once('-')) else {
            continue;
        };
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((start, end)) = address(start).zip(address(end)) else { continue };
        // SAFETY: the range is a mapping of the program's file that nobody can write to, so the kernel reads the same bytes
        // again when they are wanted.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}
