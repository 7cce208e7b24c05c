//! The environment variables of a function's processes, as AWS sets them. Pure.
//!
//! Source: AWS Lambda Developer Guide, "Working with Lambda environment variables".

use std::collections::BTreeMap;

use crate::runtime::Language;
use crate::spec::{Credentials, FunctionSpec, Initialization, Program};

/// Where things are: inside a sandbox as in AWS, without one on the machine itself.
pub struct Places {
    pub task_root: String,
    pub opt: String,
    pub runtime_dir: String,
    /// `host:port` of the Runtime API.
    pub api: String,
    /// Of the node's public endpoint, if functions reach it.
    pub endpoint_url: Option<String>,
}

/// A function's own variables that change how an interpreter starts: it cannot have been started before they were known.
pub fn need_a_fresh_interpreter(environment: &BTreeMap<String, String>) -> bool {
    const PREFIXES: [&str; 14] = [
        "PYTHON", "LD_", "NODE_", "JAVA_", "JDK_", "_JAVA", "RUBY", "GEM_", "BUNDLE_", "MALLOC_", "GLIBC_",
        "OPENSSL_", "SSL_", "LC_",
    ];
    const NAMES: [&str; 5] = ["LANG", "TZ", "PATH", "AWS_LAMBDA_EXEC_WRAPPER", "UV_THREADPOOL_SIZE"];
    environment
        .keys()
        .any(|name| NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

pub fn of(
    spec: &FunctionSpec,
    places: &Places,
    credentials: &Credentials,
    log_stream: &str,
) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    all.extend(fixed(places));
    // An image knows its own folders and libraries.
    if let Program::Image { environment, .. } = &spec.program {
        for name in ["PATH", "LD_LIBRARY_PATH", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"] {
            all.remove(name);
        }
        all.entry("PATH".to_owned())
            .or_insert_with(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        all.extend(environment.clone());
    }
    all.extend(spec.environment.clone());
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    // Reserved: the function's own variables cannot change these.
    let initialization = match spec.initialization {
        Initialization::OnDemand => "on-demand",
        Initialization::ProvisionedConcurrency => "provisioned-concurrency",
        Initialization::SnapStart => "snap-start",
    };
    set("AWS_LAMBDA_INITIALIZATION_TYPE", initialization);
    set("AWS_LAMBDA_FUNCTION_NAME", &spec.name);
    set("AWS_LAMBDA_FUNCTION_VERSION", &spec.version);
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory_mb.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", &spec.log_group);
    set("AWS_LAMBDA_LOG_STREAM_NAME", log_stream);
    set("AWS_LAMBDA_RUNTIME_API", &places.api);
    set("AWS_REGION", &spec.region);
    set("AWS_DEFAULT_REGION", &spec.region);
    set("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
    set("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key);
    set("AWS_SESSION_TOKEN", &credentials.session_token);
    if spec.log_format == crate::LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
        if let Some(level) = &spec.application_log_level {
            set("AWS_LAMBDA_LOG_LEVEL", level);
        }
    }
    if let Program::Managed { runtime, handler } = &spec.program {
        set("_HANDLER", handler);
        if runtime.language() != Language::Provided {
            set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", runtime.id()));
        }
        if runtime.language() == Language::Node {
            let (major, _) = runtime.version();
            let (opt, var) = (&places.opt, &places.runtime_dir);
            let path = format!(
                "{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules:{var}/node_modules:{var}:{}:{var}/packages/nodejs/node_modules",
                places.task_root
            );
            all.entry("NODE_PATH".to_owned()).or_insert(path);
        }
        if runtime.language() == Language::Ruby {
            let (major, minor) = runtime.version();
            let path = format!(
                "{}/vendor/bundle/ruby/{major}.{minor}.0:{}/ruby/gems/{major}.{minor}.0",
                places.task_root, places.opt
            );
            all.entry("GEM_PATH".to_owned()).or_insert(path);
        }
    }
    if let Some(url) = &places.endpoint_url {
        all.entry("AWS_ENDPOINT_URL".to_owned()).or_insert_with(|| url.clone());
    }
    all.into_iter().collect()
}

/// Known before the function is: what a waiting interpreter starts with.
pub fn fixed(places: &Places) -> Vec<(String, String)> {
    let Places { task_root, opt, runtime_dir, .. } = places;
    let pairs = [
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", format!("/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:{opt}/bin")),
        (
            "LD_LIBRARY_PATH",
            format!(
                "/var/lang/lib:/lib64:/usr/lib64:{runtime_dir}:{runtime_dir}/lib:{task_root}:{task_root}/lib:{opt}/lib"
            ),
        ),
        ("LAMBDA_TASK_ROOT", task_root.clone()),
        ("LAMBDA_RUNTIME_DIR", runtime_dir.clone()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000".to_owned()),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1".to_owned()),
        ("_AWS_XRAY_DAEMON_PORT", "2000".to_owned()),
        ("PWD", task_root.clone()),
        ("SHLVL", "0".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
