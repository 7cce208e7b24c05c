//! `store-torture --engine <fjall|redb> --cycles <N> [--dir <directory>]`: the crash suite by hand. Exits with 1, and says
//! what was lost, when something was; the directory is kept then.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use pileus_store::testing::torture;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &arguments[..] {
        [child, engine, seed, dir] if child == "child" => run_child(engine, seed, Path::new(dir)),
        options => run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store-torture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_child(engine: &str, seed: &str, dir: &Path) -> Result<(), String> {
    let seed = seed.parse().map_err(|_| "the seed is not a number")?;
    torture::run_child(engine, dir, seed).map_err(|error| error.to_string())
}

fn run(options: &[String]) -> Result<(), String> {
    let (mut engine, mut cycles, mut dir) = ("fjall".to_owned(), 10, None);
    for pair in options.chunks(2) {
        match pair {
            [name, value] if name == "--engine" => engine.clone_from(value),
            [name, value] if name == "--cycles" => {
                cycles = value.parse().map_err(|_| "--cycles takes a number")?
            }
            [name, value] if name == "--dir" => dir = Some(PathBuf::from(value)),
            other => return Err(format!("unknown option {}", other.join(" "))),
        }
    }
    let dir =
        dir.unwrap_or_else(|| std::env::temp_dir().join(format!("store-torture-{}", std::process::id())));
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let tally = torture::run(&engine, &dir, cycles, |seed| {
        let mut command = Command::new(&this);
        command.arg("child").arg(&engine).arg(seed.to_string()).arg(&dir);
        command
    });
    let tally = tally.map_err(|error| format!("{error} (kept: {})", dir.display()))?;
    println!(
        "{engine}: {} cycles, {} acknowledged transactions, none lost, none torn; slowest open {:?}",
        tally.cycles, tally.acknowledged, tally.slowest_open
    );
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())
}
