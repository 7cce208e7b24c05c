//! Drives one environment: hears its processes, its init, its output and its timers, asks the state machine what to do, and
//! does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Timestamp};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::api::{Answer, Delivery, Input, Refusal};
use crate::engine::{EngineError, Inner};
use crate::environment::{
    Action, Ending, Event, Exit, ExtensionId, INIT_LIMIT, Machine, PREPARED_INIT_LIMIT, Party, Timer,
};
use crate::launcher::protocol::{Command, Notice, Start, StartError};
use crate::logs::Log;
use crate::pool::Birth;
use crate::program::{EXTENSION, RUNTIME};
use crate::sandbox::Sandbox;
use crate::spec::{
    FunctionSpec, Initialization, Invocation, InvokeOutcome, InvokeReport, InvokeResult, InvokeStatus,
    ResponseMode, StreamPart,
};

mod extension;
mod finish;
mod telemetry;

/// How often a busy environment's memory is looked at.
const MEMORY_WATCH: Duration = Duration::from_millis(20);
/// An environment that was busy a moment ago is not frozen yet: under load that would cost each invocation a thaw.
const FREEZE_AFTER: Duration = Duration::from_millis(50);

/// From the engine.
pub enum Message {
    Invoke(Job),
    Stop,
}

pub struct Job {
    pub invocation: Invocation,
    pub reply: oneshot::Sender<Result<InvokeOutcome, EngineError>>,
}

pub struct Driver {
    pub id: u64,
    pub engine: Arc<Inner>,
    pub spec: FunctionSpec,
    pub sandbox: Sandbox,
    pub log: Log,
    /// The runtime's process, ready to be started (again).
    pub start: Start,
    /// The interpreter waited, and was released with the function's code.
    pub is_released: bool,
    /// Files in `/opt/extensions`.
    pub external: Vec<String>,
    pub extension_starts: Vec<Start>,
    /// Until the first init is over.
    pub birth: Option<Birth>,
    machine: Machine,
    job: Option<Running>,
    runtime_next: Option<oneshot::Sender<Delivery>>,
    /// The runtime waits to be restored; then it does what its function wants done, before it asks for the invocation.
    runtime_restore: Option<oneshot::Sender<()>>,
    /// When the restore at hand began.
    restoring: Option<Duration>,
    /// Told in the next REPORT.
    restore_took: Option<Duration>,
    extensions: BTreeMap<ExtensionId, extension::Extension>,
    next_extension: ExtensionId,
    armed: Vec<(Timer, Duration)>,
    freeze_at: Option<Duration>,
    is_frozen: bool,
    init_started: Duration,
    /// Told in the first REPORT.
    init_took: Option<Duration>,
    /// What was posted to `init/error`.
    init_error: Option<(String, Bytes)>,
    output: pipe::Receiver,
    is_over: bool,
    has_refilled: bool,
    subscribers: Vec<crate::telemetry::Subscriber>,
    /// Events of the init at hand, for extensions that subscribe later in it.
    earlier: Vec<serde_json::Value>,
    /// Batches that wait for a connection into the environment: port, path, text.
    batches: std::collections::VecDeque<(u16, String, Bytes)>,
}

/// The invocation at hand.
struct Running {
    job: Job,
    started: Duration,
    deadline: Timestamp,
    has_start_line: bool,
    answer: Option<Answer>,
    trace: String,
}

impl Driver {
    #[expect(clippy::too_many_arguments)]
    pub fn new(
        id: u64,
        engine: Arc<Inner>,
        spec: FunctionSpec,
        mut sandbox: Sandbox,
        log: Log,
        start: Start,
        is_released: bool,
        external: Vec<String>,
        extension_starts: Vec<Start>,
    ) -> Result<Driver, EngineError> {
        let output =
            sandbox.log.take().ok_or_else(|| EngineError::Launch("the sandbox has no output".to_owned()))?;
        let init_started = engine.config.clock.monotonic();
        Ok(Driver {
            id,
            engine,
            spec,
            sandbox,
            log,
            start,
            is_released,
            external,
            extension_starts,
            birth: None,
            machine: Machine::new(),
            job: None,
            runtime_next: None,
            runtime_restore: None,
            restoring: None,
            restore_took: None,
            extensions: BTreeMap::new(),
            next_extension: 1,
            armed: Vec::new(),
            freeze_at: None,
            is_frozen: false,
            init_started,
            init_took: None,
            init_error: None,
            output,
            is_over: false,
            has_refilled: false,
            subscribers: Vec::new(),
            earlier: Vec::new(),
            batches: std::collections::VecDeque::new(),
        })
    }

    fn initialization(&self) -> &'static str {
        match self.spec.initialization {
            Initialization::OnDemand => "on-demand",
            Initialization::ProvisionedConcurrency => "provisioned-concurrency",
            Initialization::SnapStart => "snap-start",
        }
    }

    fn now(&self) -> Timestamp {
        self.engine.config.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.engine.config.clock.monotonic()
    }

    /// Runs the environment to its end. `first` is the invocation that it was made for.
    pub async fn run(
        mut self,
        first: Option<Job>,
        mut messages: mpsc::UnboundedReceiver<Message>,
        mut inputs: mpsc::UnboundedReceiver<Input>,
    ) {
        let initialization = self.initialization();
        let now = self.now();
        let runtime = self.engine.runtime_words(&self.spec);
        self.log.init_start(now, &runtime, initialization);
        if let Some(job) = first {
            self.accept(job).await;
        }
        let external = self.external.len();
        self.happen(Event::Begin { external }).await;
        let mut buffer = vec![0u8; 16 * 1024];
        let mut output_ended = false;
        while !self.is_over {
            let wait = self.wait();
            tokio::select! {
                biased;
                Some(input) = inputs.recv() => self.hear(input).await,
                Some(message) = messages.recv() => match message {
                    Message::Invoke(job) => self.accept(job).await,
                    Message::Stop => self.happen(Event::Stop).await,
                },
                notice = self.sandbox.link.receive::<Notice>() => match notice {
                    Ok(Some((Notice::Connected, fds))) => self.connected(fds.into_iter().next()),
                    Ok(Some((notice, _))) => self.notice(notice).await,
                    Ok(None) | Err(_) => {
                        self.happen(Event::Gone).await;
                        self.is_over = true;
                    }
                },
                readable = self.output.readable(), if !output_ended => {
                    if readable.is_err() || self.read_output(&mut buffer) { output_ended = true }
                    self.log.flush();
                }
                () = expire(wait) => self.timers().await,
            }
            self.tell(false).await;
        }
        messages.close();
        self.read_output(&mut buffer);
        let now = self.now();
        self.log.end_output(now);
        self.log.flush();
        // An invocation that came while the environment ended goes to another one.
        while let Some(message) = messages.recv().await {
            if let Message::Invoke(job) = message {
                self.engine.clone().dispatch(self.spec.clone(), job);
            }
        }
        self.engine.ended(self.id, &self.spec);
    }

    /// Takes what the function has written; true at its end.
    fn read_output(&mut self, buffer: &mut [u8]) -> bool {
        let now = self.now();
        loop {
            match self.output.try_read(buffer) {
                Ok(0) => return true,
                Ok(length) => self.log.output(now, &buffer[..length]),
                Err(_) => return false,
            }
        }
    }

    async fn accept(&mut self, job: Job) {
        if !self.machine.is_vacant() || self.job.is_some() {
            self.engine.clone().dispatch(self.spec.clone(), job);
            return;
        }
        self.thaw();
        let trace = job.invocation.trace.clone().unwrap_or_else(|| self.engine.trace(self.now()));
        let deadline = self.engine.config.clock.unmoved() + self.spec.timeout;
        let started = self.monotonic();
        self.job = Some(Running { job, started, deadline, has_start_line: false, answer: None, trace });
        self.happen(Event::Invoke).await;
    }

    fn thaw(&mut self) {
        self.freeze_at = None;
        if self.is_frozen {
            self.is_frozen = false;
            if let Some(group) = &self.sandbox.group {
                let _ = group.freeze(false);
            }
        }
    }

    // Boxed: an action may make another event happen.
    fn happen(&mut self, event: Event) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if matches!(event, Event::Stop) {
                self.thaw();
            }
            for action in self.machine.on(event) {
                self.act(action).await;
            }
        })
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::StartRuntime => self.start_runtime().await,
            Action::StartExtensions => self.start_extensions().await,
            Action::Arm(timer) => self.arm(timer),
            Action::Disarm(timer) => self.armed.retain(|(armed, _)| *armed != timer),
            Action::InitDone { in_invoke } => {
                self.birth = None;
                let took = self.monotonic().saturating_sub(self.init_started);
                let (now, phase) = (self.now(), if in_invoke { "invoke" } else { "init" });
                self.log.init_done(now, took, self.initialization(), phase);
                self.init_took = (!in_invoke).then_some(took);
                self.set_cpu(false);
            }
            Action::InitFailed { ending, in_invoke } => {
                self.birth = None;
                self.init_failed(ending, in_invoke);
            }
            Action::Deliver => self.deliver(),
            Action::Finish(ending) => self.finish(ending),
            Action::Idle | Action::Cooled => {
                self.log.flush();
                if !std::mem::replace(&mut self.has_refilled, true) {
                    self.engine.refill(&self.spec);
                }
                if action == Action::Idle
                    && self.sandbox.group.as_ref().is_some_and(|group| group.has_freezer())
                {
                    self.freeze_at = Some(self.monotonic() + FREEZE_AFTER);
                }
                self.engine.idle(self.id, &self.spec);
            }
            Action::Shutdown(reason) => {
                self.tell(true).await;
                self.shut_down(reason).await;
            }
            Action::Reset => {
                self.runtime_next = None;
                self.runtime_restore = None;
                self.restoring = None;
                self.subscribers.clear();
                self.batches.clear();
                self.log.telemetry.open();
                self.extensions.clear();
                if self.sandbox.link.send(&Command::Reset, &[]).await.is_err() {
                    self.happen(Event::Gone).await;
                }
            }
            Action::Destroy => {
                self.is_over = true;
                self.sandbox.kill();
            }
        }
    }

    fn set_cpu(&self, is_init: bool) {
        if let Some(group) = &self.sandbox.group {
            let _ = group.set_cpu(self.spec.memory_mb, is_init);
        }
    }

    async fn start_runtime(&mut self) {
        self.init_error = None;
        self.log.telemetry.open();
        if std::mem::take(&mut self.is_released) {
            return;
        }
        self.set_cpu(true);
        if self.sandbox.link.send(&Command::Start(self.start.clone()), &[]).await.is_err() {
            self.happen(Event::Gone).await;
        }
    }

    fn arm(&mut self, timer: Timer) {
        let lasts = match timer {
            Timer::Init if self.spec.initialization == Initialization::OnDemand => INIT_LIMIT,
            Timer::Init => PREPARED_INIT_LIMIT,
            Timer::Invoke => self.spec.timeout,
            Timer::Shutdown => self.machine.grace().unwrap_or_default(),
        };
        let now = self.monotonic();
        self.armed.retain(|(armed, _)| *armed != timer);
        self.armed.push((timer, now + lasts));
        if timer == Timer::Invoke {
            self.begin_invocation(now);
        }
    }

    /// The function's own time starts: the START line.
    fn begin_invocation(&mut self, now: Duration) {
        let deadline = self.engine.config.clock.unmoved() + self.spec.timeout;
        let time = self.now();
        let Some(running) = &mut self.job else { return };
        running.started = now;
        running.deadline = deadline;
        if !running.has_start_line {
            running.has_start_line = true;
            self.log.start(time, &running.job.invocation.request_id, &self.spec.version);
        }
    }

    /// How long until something must be looked at; `None`: nothing is timed.
    fn wait(&self) -> Option<Duration> {
        let now = self.monotonic();
        let times = self.armed.iter().map(|(_, at)| *at).chain(self.freeze_at).chain(self.telemetry_due());
        let ends = times.min()?;
        let watched = !self.armed.is_empty() && self.sandbox.group.is_some();
        let wait = ends.saturating_sub(now);
        Some(if watched { wait.min(MEMORY_WATCH) } else { wait })
    }

    async fn timers(&mut self) {
        let now = self.monotonic();
        if self.freeze_at.is_some_and(|at| at <= now) {
            self.freeze_at = None;
            self.tell(true).await;
            if let Some(group) = self.sandbox.group.as_ref().filter(|_| self.machine.is_quiet()) {
                self.is_frozen = group.freeze(true).is_ok();
            }
        }
        if !self.armed.is_empty() && self.is_over_memory() {
            self.happen(Event::MemoryExceeded).await;
            return;
        }
        if let Some(at) = self.armed.iter().position(|(_, at)| *at <= now) {
            let (timer, _) = self.armed.swap_remove(at);
            self.happen(Event::TimedOut(timer)).await;
        }
    }

    fn is_over_memory(&self) -> bool {
        let Some(group) = &self.sandbox.group else { return false };
        let most = u64::from(self.spec.memory_mb) << 20;
        group.own_memory(most).is_some_and(|used| used > most)
    }

    async fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Exited { name, status } => {
                let exit = exit_of(status);
                match self.party(&name) {
                    Some(party) => self.happen(Event::Exited(party, exit)).await,
                    // An extension that never registered.
                    None if name.starts_with(EXTENSION) => {
                        self.happen(Event::Exited(Party::Extension(0), exit)).await
                    }
                    None => {}
                }
            }
            Notice::Started { name, error: Some(error) } => self.not_started(&name, &error).await,
            Notice::Reset => self.happen(Event::ResetDone).await,
            Notice::Failed { why } => {
                tracing::warn!(function = %self.spec.name, why, "an environment failed");
                self.happen(Event::Gone).await;
            }
            Notice::Up { .. }
            | Notice::Connected
            | Notice::Mounted
            | Notice::Attached
            | Notice::Started { .. } => {}
        }
    }

    fn party(&self, name: &str) -> Option<Party> {
        if name == RUNTIME {
            return Some(Party::Runtime);
        }
        let name = name.strip_prefix(EXTENSION)?;
        self.extensions
            .iter()
            .find(|(_, one)| one.is_external && one.name == name)
            .map(|(id, _)| Party::Extension(*id))
    }

    async fn not_started(&mut self, name: &str, error: &StartError) {
        let is_runtime = name == RUNTIME;
        let why = match error {
            StartError::Missing if is_runtime => {
                format!("Couldn't find valid bootstrap(s): [{}]", self.start.programs.join(" "))
            }
            StartError::Missing => format!("{name} does not exist"),
            StartError::Exec { program, errno } => {
                let text = std::io::Error::from_raw_os_error(*errno).to_string();
                let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
                format!("fork/exec {program}: {text}")
            }
        };
        let kind = if is_runtime { "Runtime.InvalidEntrypoint" } else { "Extension.LaunchError" };
        let id = self.request_id();
        let payload =
            serde_json::json!({"errorType": kind, "errorMessage": format!("RequestId: {id} Error: {why}")});
        self.init_error = Some((kind.to_owned(), Bytes::from(payload.to_string())));
        self.happen(Event::InitError(Party::Runtime)).await;
    }

    fn request_id(&self) -> String {
        self.job.as_ref().map(|running| running.job.invocation.request_id.clone()).unwrap_or_default()
    }

    async fn hear(&mut self, input: Input) {
        match input {
            Input::Next { reply } => {
                self.runtime_next = Some(reply);
                if let Some(began) = self.restoring.take() {
                    self.restore_took = Some(self.monotonic().saturating_sub(began));
                    self.deliver();
                    return;
                }
                self.happen(Event::Waiting(Party::Runtime)).await;
            }
            Input::RestoreNext { reply } => {
                self.runtime_restore = Some(reply);
                self.happen(Event::Waiting(Party::Runtime)).await;
            }
            Input::RestoreError { error_type, payload, reply } => {
                let id = self.request_id();
                self.restoring = None;
                self.answered(&id, Answer::Error { error_type, payload }, reply).await;
            }
            Input::Answer { id, answer, reply } => self.answered(&id, answer, reply).await,
            Input::Stream { id, reply } => {
                let target = self.current(&id).map(|running| match &running.job.invocation.response {
                    ResponseMode::Streaming(parts) => Some(parts.clone()),
                    ResponseMode::Buffered => None,
                });
                let _ = reply.send(target);
            }
            Input::InitError { error_type, payload, reply } => {
                if !self.machine.takes_registrations() {
                    let _ = reply.send(Err(Refusal::INVALID_STATE));
                    return;
                }
                self.init_error = Some((error_type, payload));
                let _ = reply.send(Ok(()));
                self.happen(Event::InitError(Party::Runtime)).await;
            }
            Input::Subscribe { identifier, wish, reply } => self.subscribe(&identifier, wish, reply),
            Input::Register { name, events, reply } => self.register(name, &events, reply).await,
            Input::EventNext { identifier, reply } => self.event_next(&identifier, reply).await,
            Input::ExtensionError { identifier, in_init, error_type, reply } => {
                self.extension_error(&identifier, in_init, error_type, reply).await;
            }
        }
    }

    fn current(&mut self, id: &str) -> Result<&mut Running, Refusal> {
        self.job
            .as_mut()
            .filter(|running| running.job.invocation.request_id == id && running.answer.is_none())
            .ok_or(Refusal::INVALID_REQUEST_ID)
    }

    async fn answered(&mut self, id: &str, answer: Answer, reply: oneshot::Sender<Result<(), Refusal>>) {
        let done = self.current(id).map(|running| running.answer = Some(answer));
        let is_current = done.is_ok();
        // First the answer to the runtime: it may ask for the next invocation while this one is written up.
        let _ = reply.send(done);
        if is_current {
            let mut buffer = [0u8; 16 * 1024];
            self.read_output(&mut buffer);
            self.happen(Event::Answered).await;
        }
    }
}

async fn expire(wait: Option<Duration>) {
    match wait {
        // The engine's own waits are of real time: a moved clock does not make a function run faster.
        Some(wait) => {
            let _ = tokio::time::timeout(wait, std::future::pending::<()>()).await;
        }
        None => std::future::pending().await,
    }
}

fn exit_of(status: i32) -> Exit {
    if status & 0x7f == 0 { Exit::Status(status >> 8 & 0xff) } else { Exit::Signal(status & 0x7f) }
}
