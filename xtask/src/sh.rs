//! Running other programs, with their words in front of the person.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Instant;

/// Runs a command from the checkout's root and fails with its line if it fails.
#[allow(clippy::disallowed_methods)] // how long a step took is for the person who waits
pub fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(crate::root());
    let line = format!("{command:?}").replace('"', "");
    println!("\n=> {line}");
    let started = Instant::now();
    let status = command.status().map_err(|error| format!("{line}: {error}"))?;
    println!("   {:.1} s", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{line} failed ({status})")) }
}

/// The output of a command, trimmed.
pub fn read<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(crate::root()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
