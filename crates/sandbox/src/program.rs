//! What is started in a sandbox for a function: the command of each runtime. Pure but for looking whether files exist.

use std::path::Path;

use crate::config::Level;
use crate::interpreters::Interpreter;
use crate::launcher::protocol::Start;
use crate::runtime::{Language, Runtime};
use crate::spec::{FunctionSpec, Program};
use crate::variables::Places;

/// The name of the runtime's process between engine and init.
pub const RUNTIME: &str = "runtime";
/// Extensions' processes are named by their file after this.
pub const EXTENSION: &str = "extension:";

/// Runtimes whose interpreter can wait for a function.
pub fn can_wait(language: Language) -> bool {
    matches!(language, Language::Python | Language::Node)
}

/// The interpreter with our client, waiting or not.
pub fn client(
    runtime: &Runtime,
    interpreter: &Interpreter,
    level: Level,
    places: &Places,
    memory_mb: u32,
) -> (String, Vec<String>) {
    let dir = &places.runtime_dir;
    let path = interpreter.path(level);
    let arguments = match runtime.language() {
        // Neither packages of this machine nor of a user nor the current folder: as in AWS a function finds what it brings and what
        // the runtime has, and the start does not look for more.
        Language::Python => {
            vec!["-S".to_owned(), "-s".to_owned(), "-P".to_owned(), format!("{dir}/python/bootstrap.py")]
        }
        Language::Node => {
            let old = (u64::from(memory_mb) * 9 / 10).max(64);
            vec![format!("--max-old-space-size={old}"), format!("{dir}/nodejs/bootstrap.js")]
        }
        Language::Ruby => vec![format!("{dir}/ruby/bootstrap.rb")],
        Language::Java => {
            let heap = (u64::from(memory_mb) * 85 / 100).max(64);
            let class_path = format!("{dir}/java:{0}:{0}/lib/*:{1}/java/lib/*", places.task_root, places.opt);
            ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("-Xmx{heap}m"), "-cp".to_owned(), class_path, "pileus.Bootstrap".to_owned()])
                .collect()
        }
        Language::Dotnet | Language::Provided => Vec::new(),
    };
    // `-P` came with Python 3.11.
    let has_safe_path = interpreter.version >= (3, 11);
    let is_python = runtime.language() == Language::Python;
    let arguments =
        arguments.into_iter().filter(|argument| argument != "-P" || has_safe_path || !is_python).collect();
    (path, arguments)
}

/// The process of the function's runtime.
pub fn start(
    spec: &FunctionSpec,
    interpreter: Option<&Interpreter>,
    level: Level,
    uid: u32,
    places: &Places,
    environment: Vec<(String, String)>,
) -> Start {
    let (programs, arguments, directory) = match &spec.program {
        Program::Image { entrypoint, command, working_directory, .. } => {
            let mut words = entrypoint.iter().chain(command).cloned();
            let program = words.next().into_iter().collect();
            let directory = if working_directory.is_empty() { "/" } else { working_directory };
            (program, words.collect(), directory.to_owned())
        }
        Program::Managed { runtime, .. } => match interpreter {
            Some(interpreter) => {
                let (path, arguments) = client(runtime, interpreter, level, places, spec.memory_mb);
                (vec![path], arguments, places.task_root.clone())
            }
            None => {
                let bootstraps =
                    vec![format!("{}/bootstrap", places.task_root), format!("{}/bootstrap", places.opt)];
                (bootstraps, Vec::new(), places.task_root.clone())
            }
        },
    };
    let wrapper = spec
        .environment
        .get("AWS_LAMBDA_EXEC_WRAPPER")
        .filter(|_| matches!(spec.program, Program::Managed { .. }));
    let (programs, arguments) = match wrapper {
        // Whether the wrapper exists is found out by a shell, as AWS does: a missing one is exit status 127.
        Some(wrapper) => {
            let mut all = vec!["-c".to_owned(), "exec \"$0\" \"$@\"".to_owned(), wrapper.clone()];
            all.extend(programs.into_iter().take(1));
            all.extend(arguments);
            (vec!["/bin/sh".to_owned()], all)
        }
        None => (programs, arguments),
    };
    Start {
        name: RUNTIME.to_owned(),
        uid,
        programs,
        arguments,
        environment,
        directory,
        is_waiting: false,
        own_output: false,
    }
}

/// The files in `/opt/extensions`, by name.
pub fn extensions(opt: Option<&Path>) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(opt) = opt else { return Vec::new() };
    let entries = std::fs::read_dir(opt.join("extensions")).into_iter().flatten().flatten();
    let is_program = |entry: &std::fs::DirEntry| {
        std::fs::metadata(entry.path())
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let mut names: Vec<String> =
        entries.filter(is_program).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
