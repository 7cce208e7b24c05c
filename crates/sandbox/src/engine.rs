//! `Engine`: what the Lambda service calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pileus_core::Timestamp;
use tokio::sync::oneshot;

use crate::config::{EngineConfig, Level, Report, Stats};
use crate::driver::{Job, Message};
use crate::interpreters::{Interpreter, Interpreters};
use crate::pool::{Birth, Pool, Unready};
use crate::runtime::{Language, Runtime};
use crate::sandbox::Workshop;
use crate::spec::{FunctionSpec, Initialization, Invocation, InvokeOutcome, Program};

mod birth;
mod level;

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

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> EngineError {
        EngineError::Launch(error.to_string())
    }
}

/// The function executor. Cheap to clone; stops when [`Engine::stop`] is called or the process ends, and takes every
/// environment with it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    workshop: Arc<Workshop>,
    interpreters: Arc<Interpreters>,
    pool: Pool,
    report: Report,
}

impl Engine {
    /// Starts the launcher and finds the isolation in force.
    ///
    /// # Errors
    /// `Isolation` when a level was demanded that the machine does not give; `Launch` when the launcher does not start.
    pub async fn start(mut config: EngineConfig) -> Result<Engine, EngineError> {
        std::fs::create_dir_all(&config.dir)?;
        config.dir = std::fs::canonicalize(&config.dir)?;
        let (workshop, report) = level::establish(&config).await?;
        if report.level == Level::Process {
            tracing::warn!(
                "functions run as plain processes: no security boundary lies between them and this machine"
            );
        } else {
            tracing::info!(level = report.level.name(), cgroups = report.cgroups, "functions are isolated");
        }
        let inner = Arc::new(Inner {
            interpreters: Arc::new(Interpreters::new(config.interpreter_dirs.clone())),
            pool: Pool::new(config.limits),
            workshop,
            report,
            config,
        });
        tokio::spawn(reap(Arc::downgrade(&inner)));
        Ok(Engine(inner))
    }

    pub fn report(&self) -> Report {
        self.0.report.clone()
    }

    /// The interpreter that a runtime would use, such as `3.12`, or what to install. May block for some 100 ms the first time.
    pub fn interpreter(&self, runtime: &Runtime) -> Result<String, EngineError> {
        if runtime.language() == Language::Provided {
            return Ok("the package's own bootstrap".to_owned());
        }
        let found = self.0.interpreters.choose(runtime)?;
        Ok(format!("{}.{} ({})", found.version.0, found.version.1, found.binary.display()))
    }

    /// Runs one invocation: in a waiting environment of this function, else in a new one. Returns when the function has answered.
    ///
    /// If the returned future is dropped the function runs on, as in AWS.
    pub async fn invoke(
        &self,
        spec: &FunctionSpec,
        invocation: Invocation,
    ) -> Result<InvokeOutcome, EngineError> {
        let (reply, outcome) = oneshot::channel();
        self.0.clone().dispatch(spec.clone(), Job { invocation, reply });
        if spec.initialization == Initialization::SnapStart {
            // Whoever comes while this one runs finds an environment too.
            let (engine, spec) = (self.clone(), spec.clone());
            tokio::spawn(async move {
                if let Err(error) = engine.prepare(&spec).await {
                    tracing::debug!(function = spec.name, %error, "no environment could be initialised ahead");
                }
            });
        }
        outcome.await.unwrap_or(Err(EngineError::Stopped))
    }

    /// Makes `count` environments of this function, initialised, and keeps that many until told otherwise (0 releases them).
    /// Returns how many are there.
    pub async fn provision(&self, spec: &FunctionSpec, count: usize) -> Result<usize, EngineError> {
        self.0.pool.keep(&spec.id, count);
        let missing = count.saturating_sub(self.0.pool.count(&spec.id));
        for _ in 0..missing {
            let Some(birth) = self.0.pool.reserve(spec) else { break };
            self.0.clone().start_environment(spec.clone(), birth, None).await?;
        }
        Ok(self.0.pool.count(&spec.id))
    }

    /// Initialises an environment ahead of its first invocation, unless one waits already.
    pub async fn prepare(&self, spec: &FunctionSpec) -> Result<(), EngineError> {
        if self.0.pool.has_spare(&spec.id) {
            return Ok(());
        }
        let Some(birth) = self.0.pool.reserve(spec) else { return Ok(()) };
        self.0.clone().start_environment(spec.clone(), birth, None).await
    }

    /// Ends the idle environments of this `FunctionSpec::id`; busy ones end after their invocation.
    pub fn drop_function(&self, id: &str) {
        self.0.pool.keep(id, 0);
        self.0.pool.stop_function(id);
    }

    pub fn stats(&self) -> Stats {
        self.0.pool.stats()
    }

    /// Whether `stop` was called: what fails now fails for that.
    pub fn is_stopping(&self) -> bool {
        self.0.pool.is_closed()
    }

    /// Ends every environment, extensions' shutdown phase included, and the launcher.
    pub async fn stop(&self) {
        self.0.pool.close();
        let gone = async {
            while !self.0.pool.is_empty() {
                self.0.pool.changed().await;
            }
        };
        // Longer than any shutdown phase.
        let _ = tokio::time::timeout(Duration::from_secs(4), gone).await;
        self.0.workshop.launcher.end();
        self.0.workshop.cgroups.remove();
    }
}

impl Inner {
    /// Gives a job to a waiting environment, else to a new one, else lets it wait for either.
    pub(crate) fn dispatch(self: Arc<Self>, spec: FunctionSpec, job: Job) {
        let Some(job) = self.pool.give(&spec.id, job, self.config.clock.now()) else { return };
        if self.pool.is_closed() {
            let _ = job.reply.send(Err(EngineError::Stopped));
            return;
        }
        match self.pool.reserve_for_invocation(&spec) {
            Ok(birth) => self.start_for(spec, birth, job),
            Err(_) => {
                tokio::spawn(self.wait_for_room(spec, job));
            }
        }
    }

    fn start_for(self: Arc<Self>, spec: FunctionSpec, birth: Birth, job: Job) {
        tokio::spawn(async move {
            // The job has heard of a failure already.
            let _ = self.start_environment(spec, birth, Some(job)).await;
        });
    }

    async fn wait_for_room(self: Arc<Self>, spec: FunctionSpec, mut job: Job) {
        let clock = &self.config.clock;
        // Births under way come to an end: only the want of room is a reason to give up.
        let mut until = clock.monotonic() + self.config.limits.queue_wait;
        loop {
            match self.pool.reserve_for_invocation(&spec) {
                Ok(birth) => return self.clone().start_for(spec, birth, job),
                Err(Unready::BirthsUnderWay) => until = clock.monotonic() + self.config.limits.queue_wait,
                Err(Unready::NoRoom) if self.pool.is_closed() => {
                    let _ = job.reply.send(Err(EngineError::Stopped));
                    return;
                }
                Err(Unready::NoRoom) if clock.monotonic() >= until => {
                    let _ = job.reply.send(Err(EngineError::NoRoom));
                    return;
                }
                Err(Unready::NoRoom) => self.pool.stop_oldest_idle(),
            }
            self.pool.changed().await;
            match self.pool.give(&spec.id, job, clock.now()) {
                None => return,
                Some(left) => job = left,
            }
        }
    }

    /// An environment waits for work.
    pub(crate) fn idle(&self, id: u64, spec: &FunctionSpec) {
        self.pool.idle(id, &spec.id, self.config.clock.now());
    }

    pub(crate) fn ended(&self, id: u64, spec: &FunctionSpec) {
        self.pool.ended(id, spec);
    }

    pub(crate) fn finished(&self) {
        self.pool.invocations.fetch_add(1, Ordering::Relaxed);
    }

    /// A trace header for an invocation that brought none: not sampled.
    pub(crate) fn trace(&self, now: Timestamp) -> String {
        let ids = &self.config.ids;
        format!("Root=1-{:08x}-{};Parent={};Sampled=0", now.as_secs(), ids.hex(24), ids.hex(16))
    }

    /// `python:3.12` as in the INIT_START line, with the version that really runs.
    pub(crate) fn runtime_words(&self, spec: &FunctionSpec) -> String {
        let Program::Managed { runtime, .. } = &spec.program else { return "image".to_owned() };
        let name = match runtime.language() {
            Language::Python => "python",
            Language::Node => "nodejs",
            Language::Ruby => "ruby",
            Language::Java => "java",
            Language::Dotnet => "dotnet",
            Language::Provided => return runtime.id().replacen('.', ":", 1),
        };
        match self.interpreters.choose(runtime) {
            Ok(Interpreter { version: (major, minor), .. }) => format!("{name}:{major}.{minor}"),
            Err(_) => runtime.id().to_owned(),
        }
    }
}

/// Ends what has been idle for too long, by the node's clock.
async fn reap(engine: std::sync::Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let clock = inner.config.clock.clone();
        let idle = inner.config.pool.idle;
        inner.pool.stop_idle(clock.now(), idle);
        drop(inner);
        let pause = (idle / 8).clamp(Duration::from_millis(250), Duration::from_secs(15));
        clock.sleep_until(clock.now() + pause).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.workshop.launcher.end();
        self.workshop.cgroups.remove();
    }
}

/// Stops an environment that a job could not be given to.
pub(crate) fn send_stop(sender: &tokio::sync::mpsc::UnboundedSender<Message>) {
    // A closed channel is an environment that is ending already.
    let _ = sender.send(Message::Stop);
}
