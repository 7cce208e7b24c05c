//! What a node keeps in memory for Lambda: the engine, functions prepared for it, parsed policies, counts. Nothing that another node
//! would need.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pileus_iam::Policy;
use pileus_platform::{Cx, Platform};
use pileus_sandbox::{
    Architecture, Engine, EngineConfig, EngineError, FunctionSpec, Initialization, Isolation, LogFormat,
    Network, PoolPolicy, Program, Runtime,
};
use ring::digest::{SHA256, digest};
use tokio::sync::OnceCell;

use crate::concurrency::admission::Admission;
use crate::error::LambdaError;
use crate::function::unpack::Folders;
use crate::function::{Config, FunctionRow, code, image};
use crate::logs::{Shipper, Sink};
use crate::metrics::Metrics;
use crate::name::FunctionName;
use crate::permission::{self, PolicyRow};
use crate::role::RoleCredentials;

/// Things that are remembered before all of them are forgotten, which costs only time.
const MAX_KNOWN: usize = 10_000;

/// Where this node runs functions.
#[derive(Debug, Clone)]
pub struct Setup {
    /// For unpacked packages and what the engine keeps beside them. Nothing in it needs to outlive the node.
    pub dir: PathBuf,
    /// The folder goes with the node.
    pub is_ours_alone: bool,
    /// Where the node answers on this machine: `AWS_ENDPOINT_URL` of every function leads there.
    pub endpoint: Option<SocketAddr>,
    pub isolation: Isolation,
    /// The most that functions reach.
    pub network: Network,
    /// What is kept ready, and for how long without an invocation.
    pub pool: PoolPolicy,
    /// OCI layouts by repository: what `ImageUri` names.
    pub images: Option<PathBuf>,
    /// Where `pileus runtimes install` puts the AWS SDKs that functions find.
    pub packages: Option<PathBuf>,
}

#[derive(Default)]
pub struct Lambda {
    setup: OnceLock<Setup>,
    engine: OnceCell<Engine>,
    /// By the function's own id, version and revision.
    specs: Mutex<HashMap<(String, String, String), Arc<FunctionSpec>>>,
    folders: Folders,
    /// By revision.
    policies: Mutex<HashMap<String, Arc<Policy>>>,
    pub admission: Admission,
    pub shipper: Shipper,
    pub metrics: Metrics,
}

/// Tells the node's Lambda where to run functions. Until then every invocation fails.
pub fn configure(platform: &Platform, setup: Setup) {
    let _ = platform.state::<Lambda>().setup.set(setup);
}

/// Starts the engine now rather than with the first function.
///
/// # Errors
/// A sentence for the operator, such as that the isolation which was demanded is not to be had here.
pub async fn start(platform: &Platform) -> Result<(), String> {
    let lambda = platform.state::<Lambda>();
    lambda.engine(platform).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Ends every function of this node.
pub async fn stop(platform: &Platform) {
    let lambda = platform.state::<Lambda>();
    if let Some(engine) = lambda.engine.get() {
        engine.stop().await;
    }
    if let Some(setup) = lambda.setup.get().filter(|setup| setup.is_ours_alone) {
        // What is left of it costs room, not correctness.
        let _ = tokio::fs::remove_dir_all(&setup.dir).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lambda {
    /// The engine, started when a function is first needed.
    pub async fn engine(&self, platform: &Platform) -> Result<&Engine, EngineError> {
        let setup = self.setup.get().ok_or_else(|| {
            EngineError::Unsupported("running functions in a node that has no place for them".to_owned())
        })?;
        self.engine
            .get_or_try_init(|| async {
                let dir = setup.dir.join("engine");
                let clock = platform.clock().clone();
                let config = EngineConfig {
                    endpoint: setup.endpoint,
                    isolation: setup.isolation,
                    network: setup.network,
                    pool: setup.pool,
                    packages: setup.packages.clone(),
                    ..EngineConfig::new(dir, clock, platform.ids().clone())
                };
                let engine = Engine::start(config).await?;
                for what in engine.report().lacks {
                    tracing::debug!("{what}");
                }
                Ok(engine)
            })
            .await
    }

    /// Whether this node ends its functions because it ends itself.
    pub fn is_stopping(&self) -> bool {
        self.engine.get().is_some_and(Engine::is_stopping)
    }

    /// The operator's folder of images.
    pub fn images(&self) -> Option<PathBuf> {
        self.setup.get()?.images.clone()
    }

    /// A version as the engine runs it: its code unpacked on this node.
    pub async fn spec(
        &self,
        cx: &Cx,
        name: &FunctionName,
        function: &FunctionRow,
        version: &str,
        config: &Config,
    ) -> Result<Arc<FunctionSpec>, LambdaError> {
        let key = (function.id.clone(), version.to_owned(), config.revision.clone());
        if let Some(known) = lock(&self.specs).get(&key) {
            return Ok(known.clone());
        }
        let spec = Arc::new(self.prepare(cx, name, function, version, config).await?);
        let mut specs = lock(&self.specs);
        if specs.len() >= MAX_KNOWN {
            specs.clear();
        }
        specs.insert(key, spec.clone());
        Ok(spec)
    }

    async fn prepare(
        &self,
        cx: &Cx,
        name: &FunctionName,
        function: &FunctionRow,
        version: &str,
        config: &Config,
    ) -> Result<FunctionSpec, LambdaError> {
        let internal = |text: String| LambdaError::Internal(text);
        let setup = self.setup.get().ok_or_else(|| internal("functions have no place here".to_owned()))?;
        let root = setup.dir.join("code");
        tokio::fs::create_dir_all(&root).await.map_err(|error| internal(error.to_string()))?;
        let root = tokio::fs::canonicalize(&root).await.map_err(|error| internal(error.to_string()))?;
        let blobs = code::blobs(cx);
        let code_dir = match &config.image {
            Some(image) => image::unpacked(&self.folders, &blobs, &root, image).await?,
            None => code::unpacked(&self.folders, &blobs, &root, &config.code).await?,
        };
        let mut layer_dirs = Vec::with_capacity(config.layers.len());
        for layer in &config.layers {
            layer_dirs.push(code::unpacked(&self.folders, &blobs, &root, &layer.code).await?);
        }
        let program = program(config)?;
        let role: Arc<str> = config.role.as_str().into();
        Ok(FunctionSpec {
            id: spec_id(function, version, config),
            name: name.name.clone(),
            version: version.to_owned(),
            region: name.region.as_str().to_owned(),
            program,
            code_dir,
            layer_dirs,
            environment: config.environment.clone().unwrap_or_default(),
            memory_mb: config.memory_mb,
            ephemeral_mb: config.ephemeral_mb,
            timeout: Duration::from_secs(u64::from(config.timeout)),
            initialization: match config.is_prepared(version) {
                true => Initialization::SnapStart,
                false => Initialization::OnDemand,
            },
            network: Network::Internet,
            architecture: match config.architecture.as_str() {
                "arm64" => Architecture::Arm64,
                _ => Architecture::X86_64,
            },
            log_group: config.logging.group.clone(),
            log_format: if config.logging.is_json { LogFormat::Json } else { LogFormat::Text },
            application_log_level: config.logging.application_level.clone(),
            system_log_level: config.logging.system_level.clone(),
            logs: Arc::new(Sink {
                shipper: self.shipper.clone(),
                account: name.account,
                region: name.region.clone(),
                role: role.clone(),
                function_name: name.name.as_str().into(),
            }),
            credentials: Arc::new(RoleCredentials {
                platform: cx.platform().clone(),
                account: name.account,
                region: name.region.clone(),
                role,
                function_name: name.name.as_str().into(),
            }),
        })
    }
}

fn program(config: &Config) -> Result<Program, LambdaError> {
    let Some(image) = &config.image else {
        let runtime = Runtime::parse(&config.runtime)
            .ok_or_else(|| LambdaError::InvalidRuntime(format!("no runtime {}", config.runtime)))?;
        return Ok(Program::Managed { runtime, handler: config.handler.clone() });
    };
    let (entrypoint, command, working_directory) = image.run(&config.image_overrides);
    let environment = image.environment.clone();
    Ok(Program::Image { entrypoint, command, working_directory, environment })
}

/// Names code with configuration: a change of either makes another, a change of tags does not.
fn spec_id(function: &FunctionRow, version: &str, config: &Config) -> String {
    let bare = Config {
        revision: String::new(),
        description: String::new(),
        modified: pileus_core::Timestamp::EPOCH,
        ..config.clone()
    };
    let text = serde_json::to_vec(&bare).unwrap_or_default();
    let hash = hex::encode(&digest(&SHA256, &text).as_ref()[..12]);
    format!("{}:{version}:{hash}", function.id)
}

/// Ends the waiting environments of what was replaced or deleted.
pub fn forget(cx: &Cx, function: &FunctionRow, version: &str, config: &Config) {
    let lambda = cx.state::<Lambda>();
    if let Some(engine) = lambda.engine.get() {
        engine.drop_function(&spec_id(function, version, config));
    }
    lock(&lambda.specs).remove(&(function.id.clone(), version.to_owned(), config.revision.clone()));
}

/// A parsed policy.
pub fn policy(cx: &Cx, row: &PolicyRow) -> Result<Arc<Policy>, LambdaError> {
    let lambda = cx.state::<Lambda>();
    if let Some(known) = lock(&lambda.policies).get(&row.revision) {
        return Ok(known.clone());
    }
    let parsed = permission::parse(row)?;
    let mut policies = lock(&lambda.policies);
    if policies.len() >= MAX_KNOWN {
        policies.clear();
    }
    policies.insert(row.revision.clone(), parsed.clone());
    Ok(parsed)
}
