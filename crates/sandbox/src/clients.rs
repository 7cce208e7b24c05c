//! Our own runtime clients, in the languages that they serve; written to the engine's folder at its start.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::engine::EngineError;
use crate::interpreters::Interpreter;

const FILES: [(&str, &str); 6] = [
    ("python/bootstrap.py", include_str!("clients/bootstrap.py")),
    ("python/lib/snapshot_restore_py.py", include_str!("clients/snapshot_restore_py.py")),
    ("nodejs/bootstrap.js", include_str!("clients/bootstrap.js")),
    ("nodejs/warm.js", include_str!("clients/warm.js")),
    ("ruby/bootstrap.rb", include_str!("clients/bootstrap.rb")),
    ("java/pileus/Bootstrap.java", include_str!("clients/Bootstrap.java")),
];

/// Everybody may read them: functions run as other users.
pub fn write(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for (path, text) in FILES {
        let path = dir.join(path);
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(dir)) {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Compiles Java's client with the compiler beside the interpreter, once.
pub fn compile_java(dir: &Path, java: &Interpreter) -> Result<(), EngineError> {
    let source = dir.join("java/pileus/Bootstrap.java");
    let class = dir.join("java/pileus/Bootstrap.class");
    let made = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if made(&class).is_some_and(|class| made(&source).is_some_and(|source| class >= source)) {
        return Ok(());
    }
    let compiler = java.prefix.join("bin/javac");
    if !compiler.exists() {
        let advice =
            format!("{} has no compiler beside it: install the development kit", java.binary.display());
        return Err(EngineError::NoInterpreter { runtime: "java".to_owned(), advice });
    }
    let release = if java.version.0 >= 9 { "8" } else { "" };
    let mut command = Command::new(compiler);
    if !release.is_empty() {
        command.args(["--release", release, "-nowarn", "-Xlint:-options"]);
    }
    let output = command.arg("-d").arg(dir.join("java")).arg(&source).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(EngineError::Launch(format!("javac: {}", String::from_utf8_lossy(&output.stderr))))
}
