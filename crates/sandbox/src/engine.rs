//! `Engine`: what the Lambda service calls.

use std::sync::Arc;

use crate::config::{EngineConfig, Report, Stats};
use crate::spec::{FunctionSpec, Invocation, InvokeOutcome};

/// Why an invocation could not be given to a function at all. What the function itself does wrong is an
/// [`crate::InvokeResult::FunctionError`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    #[error("isolation {demanded} was demanded, and this machine gives {given}: {why}")]
    Isolation { demanded: &'static str, given: &'static str, why: String },
    #[error("no interpreter for {runtime} is on this machine: {advice}")]
    NoInterpreter { runtime: String, advice: String },
    #[error("{0} is not supported on this machine")]
    Unsupported(String),
    #[error("no room for another execution environment")]
    NoRoom,
    #[error("the execution role gives no credentials: {0}")]
    Credentials(String),
    #[error("an execution environment could not be made: {0}")]
    Launch(String),
    #[error("the engine is stopping")]
    Stopped,
}

/// The function executor. Cheap to clone; stops when [`Engine::stop`] is called or the process ends, and takes every
/// environment with it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    #[allow(dead_code)]
    config: EngineConfig,
}

impl Engine {
    /// Starts the launcher and finds the isolation in force.
    ///
    /// # Errors
    /// `Isolation` when a level was demanded that the machine does not give; `Launch` when the launcher does not start.
    pub async fn start(config: EngineConfig) -> Result<Engine, EngineError> {
        Ok(Engine(Arc::new(Inner { config })))
    }

    pub fn report(&self) -> Report {
        let _ = &self.0;
        Report {
            level: crate::Level::Process,
            not_stronger: None,
            cgroups: "none".to_owned(),
            lacks: Vec::new(),
        }
    }

    /// Runs one invocation: in a waiting environment of this function, else in a new one. Returns when the function has answered.
    ///
    /// If the returned future is dropped the function runs on, as in AWS.
    pub async fn invoke(
        &self,
        spec: &FunctionSpec,
        invocation: Invocation,
    ) -> Result<InvokeOutcome, EngineError> {
        let _ = (spec, invocation);
        Err(EngineError::Unsupported("the engine in this build".to_owned()))
    }

    /// Makes `count` environments of this function, initialised, and keeps that many until told otherwise (0 releases them).
    /// Returns how many are ready.
    pub async fn provision(&self, spec: &FunctionSpec, count: usize) -> Result<usize, EngineError> {
        let _ = (spec, count);
        Err(EngineError::Unsupported("provisioned concurrency".to_owned()))
    }

    /// Ends the idle environments of this `FunctionSpec::id`; busy ones end after their invocation.
    pub fn drop_function(&self, id: &str) {
        let _ = id;
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Ends every environment, extensions' shutdown phase included, and the launcher.
    pub async fn stop(&self) {}
}
