//! How an environment comes to be: a sandbox (from the pool if there is one), the function's code, its processes' commands.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{EngineError, Inner};
use crate::config::Level;
use crate::driver::{Driver, Job};
use crate::interpreters::Interpreter;
use crate::launcher::protocol::Start;
use crate::logs::Log;
use crate::pool::Birth;
use crate::runtime::{Language, Runtime};
use crate::sandbox::Sandbox;
use crate::spec::{FunctionSpec, Network, Program};
use crate::variables::{self, Places};
use crate::{api, layers, network, program};

/// What is known of a function before it has a sandbox.
struct Plan {
    interpreter: Option<Interpreter>,
    opt: Option<PathBuf>,
    external: Vec<String>,
}

impl Inner {
    /// Makes an environment for which room was reserved. A job hears of a failure itself.
    pub(super) async fn start_environment(
        self: Arc<Self>,
        spec: FunctionSpec,
        birth: Birth,
        job: Option<Job>,
    ) -> Result<(), EngineError> {
        let made = self.clone().make(&spec, job.is_none()).await;
        let (mut driver, messages, inputs, tasks) = match made {
            Ok(made) => made,
            Err(error) => {
                self.pool.release(&spec);
                if let Some(job) = job {
                    let _ = job.reply.send(Err(error.clone()));
                }
                return Err(error);
            }
        };
        driver.birth = Some(birth);
        tokio::spawn(async move {
            driver.run(job, messages, inputs).await;
            for task in tasks {
                task.abort();
            }
        });
        Ok(())
    }

    async fn make(
        self: Arc<Self>,
        spec: &FunctionSpec,
        is_spare: bool,
    ) -> Result<
        (
            Driver,
            mpsc::UnboundedReceiver<crate::driver::Message>,
            mpsc::UnboundedReceiver<api::Input>,
            Vec<tokio::task::JoinHandle<()>>,
        ),
        EngineError,
    > {
        let plan = self.plan(spec).await?;
        let credentials = spec.credentials.credentials().await.map_err(EngineError::Credentials)?;
        let (mut sandbox, is_booted) = self.sandbox_for(spec, &plan).await?;
        let id = sandbox.number;
        if let Some(group) = &sandbox.group {
            group.limit(spec.memory_mb, spec.ephemeral_mb)?;
            group.set_cpu(spec.memory_mb, true)?;
        }
        let log = Log::new(spec, self.stream_name(&spec.version));
        let places = self.places(&sandbox, spec, &plan);
        let environment = variables::of(spec, &places, &credentials, &log.stream);
        let mut mounts = Vec::new();
        if let (false, Some(interpreter)) = (is_booted, &plan.interpreter) {
            mounts.extend(interpreter.mounts());
        }
        let is_image = matches!(spec.program, Program::Image { .. });
        mounts.push((spec.code_dir.clone(), if is_image { "/mnt" } else { "/var/task" }.to_owned()));
        mounts.extend(plan.opt.clone().map(|opt| (opt, "/opt".to_owned())));
        let release = is_booted
            .then(|| serde_json::to_string(&environment))
            .transpose()
            .map_err(std::io::Error::from)?;
        sandbox.attach(&mounts, spec.ephemeral_mb, release, is_image).await?;
        let start = program::start(
            spec,
            plan.interpreter.as_ref(),
            sandbox.level,
            sandbox.uid,
            &places,
            environment.clone(),
        );
        let extension_starts =
            plan.external.iter().map(|name| self.extension(name, &sandbox, &places, &environment)).collect();
        let network = spec.network.within(self.config.network);
        let (messages_in, messages) = mpsc::unbounded_channel();
        let (inputs_in, inputs) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        if let Some(listener) = sandbox.api.take() {
            tasks.push(tokio::spawn(api::serve(listener, inputs_in)));
        }
        if let (Some(listener), Some(endpoint)) = (sandbox.endpoint.take(), self.config.endpoint)
            && network != Network::None
        {
            tasks.push(tokio::spawn(forward(listener, endpoint)));
        }
        if let Some(device) = sandbox.device.take().filter(|_| network.leads_out()) {
            tasks.push(tokio::spawn(network::serve(device, network)));
        }
        self.pool.born(id, spec, messages_in, credentials.expires, is_spare);
        let driver = Driver::new(
            id,
            self.clone(),
            spec.clone(),
            sandbox,
            log,
            start,
            is_booted,
            plan.external,
            extension_starts,
        )?;
        Ok((driver, messages, inputs, tasks))
    }

    async fn plan(&self, spec: &FunctionSpec) -> Result<Plan, EngineError> {
        let interpreter = match &spec.program {
            Program::Image { .. } if self.workshop.level == Level::Process => {
                let what = "a function from a container image without namespaces (isolation L0)";
                return Err(EngineError::Unsupported(what.to_owned()));
            }
            Program::Image { .. } => None,
            Program::Managed { runtime, .. } if runtime.language() == Language::Provided => None,
            Program::Managed { runtime, .. } if runtime.language() == Language::Dotnet => {
                return Err(EngineError::Unsupported(format!("the runtime {}", runtime.id())));
            }
            Program::Managed { runtime, .. } => Some(self.interpreter_for(runtime.clone()).await?),
        };
        let (dir, folders) = (self.config.dir.join("layers"), spec.layer_dirs.clone());
        let opt = tokio::task::spawn_blocking(move || layers::merged(&dir, &folders));
        let opt = match spec.layer_dirs.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            _ => opt.await.map_err(|error| EngineError::Launch(error.to_string()))??,
        };
        let is_image = matches!(spec.program, Program::Image { .. });
        let inside = spec.code_dir.join("opt");
        // An image brings its extensions along; layers are for packages.
        let external = program::extensions(if is_image { Some(&inside) } else { opt.as_deref() });
        Ok(Plan { interpreter, opt, external })
    }

    /// Looking for interpreters, and compiling Java's client, may block.
    async fn interpreter_for(&self, runtime: Runtime) -> Result<Interpreter, EngineError> {
        let interpreters = self.interpreters.clone();
        let dir = self.config.dir.join("runtime");
        let found = tokio::task::spawn_blocking(move || {
            let found = interpreters.choose(&runtime)?;
            if runtime.language() == Language::Java {
                crate::clients::compile_java(&dir, &found)?;
            }
            Ok(found)
        });
        found.await.map_err(|error| EngineError::Launch(error.to_string()))?
    }

    /// A booted sandbox of the function's runtime, else an empty one, else a new one.
    async fn sandbox_for(&self, spec: &FunctionSpec, plan: &Plan) -> Result<(Sandbox, bool), EngineError> {
        if let Some(interpreter) = &plan.interpreter
            && let Program::Managed { runtime, .. } = &spec.program
            && program::can_wait(runtime.language())
            && plan.external.is_empty()
            && !variables::need_a_fresh_interpreter(&spec.environment)
            && let Some(sandbox) = self.pool.take_booted(&interpreter.binary)
        {
            return Ok((sandbox, true));
        }
        match self.pool.take_empty() {
            Some(sandbox) => Ok((sandbox, false)),
            None => Ok((self.workshop.make().await?, false)),
        }
    }

    fn places(&self, sandbox: &Sandbox, spec: &FunctionSpec, plan: &Plan) -> Places {
        let network = spec.network.within(self.config.network);
        let endpoint = self.config.endpoint.filter(|_| network != Network::None);
        if sandbox.level == Level::Process {
            let text = |path: &PathBuf| path.to_string_lossy().into_owned();
            return Places {
                task_root: text(&spec.code_dir),
                opt: plan.opt.as_ref().map_or("/opt".to_owned(), text),
                runtime_dir: text(&self.config.dir.join("runtime")),
                api: format!("127.0.0.1:{}", sandbox.api_port),
                endpoint_url: endpoint.map(|endpoint| format!("http://{endpoint}")),
            };
        }
        Places {
            endpoint_url: endpoint.map(|endpoint| format!("http://169.254.100.1:{}", endpoint.port())),
            ..inside()
        }
    }

    fn extension(
        &self,
        name: &str,
        sandbox: &Sandbox,
        places: &Places,
        environment: &[(String, String)],
    ) -> Start {
        // Extensions see the function's variables but for those that are the runtime's own.
        let hidden =
            ["_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"];
        let environment =
            environment.iter().filter(|(name, _)| !hidden.contains(&name.as_str())).cloned().collect();
        Start {
            name: format!("{}{name}", program::EXTENSION),
            uid: sandbox.uid,
            programs: vec![format!("{}/extensions/{name}", places.opt)],
            arguments: Vec::new(),
            environment,
            directory: "/".to_owned(),
            is_waiting: false,
            own_output: false,
        }
    }

    /// `2026/01/31/[$LATEST]` and 32 hexadecimal digits.
    fn stream_name(&self, version: &str) -> String {
        let (year, month, day, ..) = self.config.clock.now().civil();
        format!("{year:04}/{month:02}/{day:02}/[{version}]{}", self.config.ids.hex(32))
    }

    /// Puts back into the pool what a start took, in the background: said once the environment has done its init, so that nothing
    /// new is booted beside a start that somebody waits for.
    pub(crate) fn refill(self: &Arc<Self>, spec: &FunctionSpec) {
        if self.config.pool.empty == 0 && self.config.pool.booted == 0 {
            return;
        }
        if self.workshop.level == Level::Process {
            return; // there a sandbox costs nothing to make, and a waiting interpreter would not have its variables
        }
        let engine = self.clone();
        let Program::Managed { runtime, .. } = spec.program.clone() else { return };
        tokio::spawn(async move {
            if !engine.pool.begin_refill() {
                return;
            }
            if let Err(error) = engine.fill(&runtime).await {
                tracing::warn!(%error, "no environment could be made ahead of time");
            }
            engine.pool.end_refill();
        });
    }

    async fn fill(&self, runtime: &Runtime) -> Result<(), EngineError> {
        let policy = self.config.pool;
        if program::can_wait(runtime.language()) {
            let interpreter = self.interpreter_for(runtime.clone()).await?;
            while self.pool.wants_booted(&interpreter.binary, policy.booted) {
                let sandbox = self.workshop.make().await?;
                self.boot(&sandbox, runtime, &interpreter).await?;
                self.pool.put_booted(interpreter.binary.clone(), sandbox, self.config.clock.now());
            }
        }
        while self.pool.wants_empty(policy.empty) {
            let sandbox = self.workshop.make().await?;
            self.pool.put_empty(sandbox, self.config.clock.now());
        }
        Ok(())
    }

    async fn boot(
        &self,
        sandbox: &Sandbox,
        runtime: &Runtime,
        interpreter: &Interpreter,
    ) -> Result<(), EngineError> {
        sandbox.mount(&interpreter.mounts()).await?;
        let places = inside();
        // The heap's size is set by the client once the function's memory is known.
        let (path, mut arguments) = program::client(runtime, interpreter, sandbox.level, &places, 1 << 20);
        arguments.retain(|argument| !argument.starts_with("--max-old-space-size"));
        arguments.push("--wait".to_owned());
        let start = Start {
            name: program::RUNTIME.to_owned(),
            uid: sandbox.uid,
            programs: vec![path],
            arguments,
            environment: variables::fixed(&places),
            directory: "/".to_owned(),
            is_waiting: true,
            own_output: false,
        };
        Ok(sandbox.boot(start).await?)
    }
}

/// Where things are in a sandbox with namespaces.
fn inside() -> Places {
    Places {
        task_root: "/var/task".to_owned(),
        opt: "/opt".to_owned(),
        runtime_dir: "/var/runtime".to_owned(),
        api: "169.254.100.1:9001".to_owned(),
        endpoint_url: None,
    }
}

/// Connects what comes in from an environment with the node's public endpoint.
async fn forward(listener: TcpListener, endpoint: std::net::SocketAddr) {
    loop {
        let Ok((mut inner, _)) = listener.accept().await else { return };
        tokio::spawn(async move {
            let Ok(mut outer) = TcpStream::connect(endpoint).await else { return };
            let _ = inner.set_nodelay(true);
            let _ = outer.set_nodelay(true);
            // Either end may go at any time; the other one sees it.
            let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
        });
    }
}
