//! The function executor: runs functions in execution environments of its own on Linux primitives.
//!
//! | File               | Holds                                                                   |
//! |--------------------|-------------------------------------------------------------------------|
//! | `spec.rs`          | `FunctionSpec`, `Invocation`, `InvokeOutcome`, `LogSink`                |
//! | `config.rs`        | `EngineConfig`, `Level`, `Report`, `Stats`                              |
//! | `engine.rs`        | `Engine`: start, invoke, provision, drop, stop                          |
//! | `engine/`          | the level of isolation in force; how an environment is made             |
//! | `environment.rs`   | the life of an execution environment: a pure state machine              |
//! | `driver.rs`        | runs one environment: its processes, timers, output, invocations        |
//! | `pool.rs`          | which environments there are, and what is kept ready                    |
//! | `api.rs`           | the Runtime API and the Extensions API                                  |
//! | `telemetry.rs`     | the Telemetry API and the Logs API                                      |
//! | `logs.rs`          | the function's lines, and START, END, REPORT and INIT lines             |
//! | `variables.rs`     | the environment variables of AWS                                        |
//! | `program.rs`       | the command of each runtime                                             |
//! | `runtime.rs`       | AWS's runtime identifiers                                               |
//! | `interpreters.rs`  | the interpreters of the machine                                         |
//! | `clients.rs`       | our own runtime clients: Python, Node.js, Ruby, Java                    |
//! | `network.rs`       | what a function reaches beyond the node                                 |
//! | `layers.rs`        | several layers as one `/opt`                                            |
//! | `sandbox.rs`       | one sandbox as the engine holds it                                      |
//! | `cgroup.rs`        | limits on memory, CPU and processes; the freezer                        |
//! | `launcher/`        | the process that makes sandboxes, and process 1 in each of them         |
//! | `link.rs`, `channel.rs` | messages with descriptors between engine, launcher and inits       |
//! | `sys.rs`           | system calls that the standard library does not offer                   |
//!
//! The crate knows no AWS service: it is handed code on disk, credentials and a place for log lines. What a level of
//! isolation is worth, and what differs from AWS: `docs/sandbox.md`.

mod api;
mod cgroup;
mod channel;
mod clients;
mod config;
mod driver;
mod engine;
mod environment;
mod interpreters;
mod launcher;
mod layers;
mod link;
mod logs;
mod network;
mod pool;
mod program;
mod runtime;
mod sandbox;
mod spec;
mod sys;
mod telemetry;
mod usage;
mod variables;

pub use config::{EngineConfig, Isolation, LauncherCommand, Level, Limits, PoolPolicy, Report, Stats};
pub use engine::{Engine, EngineError};
pub use interpreters::{Interpreter, found as interpreters};
pub use launcher::launcher_main;
pub use runtime::{Language, Runtime};
pub use spec::{
    Architecture, Credentials, CredentialsProvider, FunctionSpec, Initialization, Invocation, InvokeOutcome,
    InvokeReport, InvokeResult, InvokeStatus, LogEvent, LogFormat, LogSink, Network, Program, ResponseMode,
    StreamPart,
};
