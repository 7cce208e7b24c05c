//! What the tests share: an engine on a real machine, and functions from a line of source.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pileus_core::{BoxFuture, Clock, Ids, SeededRng, Timestamp};
use pileus_sandbox::*;

/// The machine's clock: these tests run real processes.
pub struct RealClock;

#[allow(clippy::disallowed_methods)]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::new(since.as_secs() as i64, since.subsec_nanos())
    }

    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let wait = deadline.since(self.now());
        Box::pin(async move {
            let _ = tokio::time::timeout(wait, std::future::pending::<()>()).await;
        })
    }
}

pub struct NoCredentials;

impl CredentialsProvider for NoCredentials {
    fn credentials(&self) -> BoxFuture<'static, Result<Credentials, String>> {
        Box::pin(async {
            Ok(Credentials { access_key_id: "ASIAEXAMPLE".to_owned(), ..Credentials::default() })
        })
    }
}

#[derive(Default)]
pub struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn write(&self, _: &str, _: &str, events: Vec<LogEvent>) {
        self.0.lock().unwrap().extend(events.into_iter().map(|event| event.message));
    }
}

impl Lines {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub engine: Engine,
    pub lines: Arc<Lines>,
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut EngineConfig)) -> Bench {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let ids = Ids::new(Arc::new(SeededRng::new(RealClock.now().subsec_nanos().into())));
        let mut config = EngineConfig::new(dir.path().join("engine"), Arc::new(RealClock), ids);
        config.launcher = LauncherCommand { program: launcher() };
        if let Some(level) = std::env::var("PILEUS_TEST_LEVEL").ok().and_then(|text| Level::parse(&text)) {
            config.isolation = Isolation::Exactly(level);
        }
        change(&mut config);
        let engine = Engine::start(config).await.expect("the engine starts");
        Bench { dir, engine, lines: Arc::new(Lines::default()) }
    }

    pub fn level(&self) -> Level {
        self.engine.report().level
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub fn function(
        &self,
        name: &str,
        runtime: &str,
        handler: &str,
        file: &str,
        source: &str,
    ) -> FunctionSpec {
        let mode = if file == "bootstrap" { 0o755 } else { 0o644 };
        self.write(&format!("code/{name}/{file}"), source, mode);
        self.spec(name, runtime, handler, self.dir.path().join("code").join(name))
    }

    pub fn python(&self, name: &str, source: &str) -> FunctionSpec {
        self.function(name, "python3.11", "app.handler", "app.py", source)
    }

    pub fn spec(&self, name: &str, runtime: &str, handler: &str, code_dir: PathBuf) -> FunctionSpec {
        let runtime = Runtime::parse(runtime).expect("a runtime");
        FunctionSpec {
            id: format!("{name}:1"),
            name: name.to_owned(),
            version: "$LATEST".to_owned(),
            region: "us-east-1".to_owned(),
            program: Program::Managed { runtime, handler: handler.to_owned() },
            code_dir,
            layer_dirs: Vec::new(),
            environment: BTreeMap::new(),
            memory_mb: 256,
            ephemeral_mb: 512,
            timeout: Duration::from_secs(20),
            initialization: Initialization::OnDemand,
            network: Network::Platform,
            architecture: Architecture::X86_64,
            log_group: format!("/aws/lambda/{name}"),
            log_format: LogFormat::Text,
            application_log_level: None,
            system_log_level: None,
            logs: self.lines.clone(),
            credentials: Arc::new(NoCredentials),
        }
    }

    pub async fn invoke(&self, spec: &FunctionSpec, payload: &str) -> InvokeOutcome {
        let invocation = Invocation {
            request_id: request_id(),
            payload: payload.to_owned().into(),
            invoked_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{}", spec.name),
            ..Invocation::default()
        };
        self.engine.invoke(spec, invocation).await.expect("the engine gives the invocation to a function")
    }

    pub async fn call(&self, spec: &FunctionSpec, payload: &str) -> String {
        text(&self.invoke(spec, payload).await)
    }
}

pub fn text(outcome: &InvokeOutcome) -> String {
    String::from_utf8_lossy(outcome.result.payload()).into_owned()
}

pub fn request_id() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!("00000000-0000-4000-8000-{:012}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn launcher() -> PathBuf {
    // Beside the test's own program: also when that was copied for another user.
    std::env::var_os("PILEUS_TEST_LAUNCHER")
        .map(PathBuf::from)
        .or_else(|| option_env!("CARGO_BIN_EXE_pileus-launcher").map(PathBuf::from))
        .unwrap_or_else(|| LauncherCommand::this_binary().program)
}
