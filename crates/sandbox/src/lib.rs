//! The function executor: runs functions in execution environments of its own on Linux primitives.
//!
//! | File               | Holds                                                                   |
//! |--------------------|-------------------------------------------------------------------------|
//! | `spec.rs`          | `FunctionSpec`, `Invocation`, `InvokeOutcome`, `LogSink`                |
//! | `config.rs`        | `EngineConfig`, `Level`, `Report`, `Stats`                              |
//! | `engine.rs`        | `Engine`: start, invoke, provision, drop, stop                          |
//! | `runtime.rs`       | AWS's runtime identifiers: pure                                         |
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
pub mod environment;
mod interpreters;
mod launcher;
mod layers;
mod link;
mod logs;
mod pool;
mod program;
mod runtime;
mod sandbox;
mod spec;
mod sys;
mod usage;
mod variables;

pub use config::{EngineConfig, Isolation, LauncherCommand, Level, Limits, PoolPolicy, Report, Stats};
pub use engine::{Engine, EngineError};
pub use launcher::launcher_main;
pub use runtime::{Language, Runtime};
pub use spec::{
    Architecture, Credentials, CredentialsProvider, FunctionSpec, Initialization, Invocation, InvokeOutcome,
    InvokeReport, InvokeResult, InvokeStatus, LogEvent, LogFormat, LogSink, Network, Program, ResponseMode,
    StreamPart,
};
