//! What a caller hands in: the function, the invocation, and what comes back. Plain values and two traits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pileus_core::{BoxFuture, Timestamp};

use crate::runtime::Runtime;

/// One revision of a function: code and configuration that never change. An update makes a new `id`.
///
/// An execution environment belongs to one `id` from the moment that code is attached to it.
#[derive(Clone)]
pub struct FunctionSpec {
    /// Unique for this code with this configuration, such as ARN, version and revision id.
    pub id: String,
    /// The name alone, as in `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `$LATEST` or a number, as in `AWS_LAMBDA_FUNCTION_VERSION` and the START line.
    pub version: String,
    pub region: String,
    pub program: Program,
    /// The unpacked package (or the image's root), readable by everybody: it is mounted read-only.
    pub code_dir: PathBuf,
    /// Unpacked layers in the order of the configuration: a later one covers an earlier one in `/opt`.
    pub layer_dirs: Vec<PathBuf>,
    /// The function's own variables.
    pub environment: BTreeMap<String, String>,
    /// 128 to 10_240.
    pub memory_mb: u32,
    /// Size of `/tmp`, 512 to 10_240.
    pub ephemeral_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    pub initialization: Initialization,
    pub network: Network,
    pub architecture: Architecture,
    pub log_group: String,
    pub log_format: LogFormat,
    /// For JSON logs: the least level of the function's own lines (`TRACE` to `FATAL`).
    pub application_log_level: Option<String>,
    /// For JSON logs: the least level of the platform's lines (`DEBUG`, `INFO`, `WARN`).
    pub system_log_level: Option<String>,
    /// Where this function's log lines go.
    pub logs: Arc<dyn LogSink>,
    /// Asked once when an environment starts.
    pub credentials: Arc<dyn CredentialsProvider>,
}

/// What is started in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// One of AWS's runtimes, and the `Handler` of the configuration.
    Managed { runtime: Runtime, handler: String },
    /// A container image: `code_dir` is its unpacked root. The command is `entrypoint` followed by `command`.
    Image {
        entrypoint: Vec<String>,
        command: Vec<String>,
        working_directory: String,
        environment: BTreeMap<String, String>,
    },
}

/// `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initialization {
    #[default]
    OnDemand,
    ProvisionedConcurrency,
    SnapStart,
}

/// What a function reaches besides the Runtime API on its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The node's public endpoint and whatever the machine reaches: private networks and the machine itself too.
    Open,
    /// The node's public endpoint and the public internet, as far as the machine allows.
    #[default]
    Internet,
    /// The node's public endpoint and nothing else.
    Platform,
    /// Nothing.
    None,
}

impl Network {
    /// Reads `open`, `internet`, `platform`, `none`.
    pub fn parse(text: &str) -> Option<Network> {
        match text.to_ascii_lowercase().as_str() {
            "open" => Some(Network::Open),
            "internet" => Some(Network::Internet),
            "platform" => Some(Network::Platform),
            "none" => Some(Network::None),
            _ => None,
        }
    }

    /// `open`, `internet`, `platform`, `none`.
    pub fn name(self) -> &'static str {
        match self {
            Network::Open => "open",
            Network::Internet => "internet",
            Network::Platform => "platform",
            Network::None => "none",
        }
    }

    /// What a function gets on a node: never more than the node gives, and less where the function asks for less.
    pub fn within(self, node: Network) -> Network {
        match (self, node) {
            (_, Network::None) | (Network::None, _) => Network::None,
            (_, Network::Platform) | (Network::Platform, _) => Network::Platform,
            (Network::Open | Network::Internet, node) => node,
        }
    }

    /// Whether it leads beyond the node.
    pub fn leads_out(self) -> bool {
        matches!(self, Network::Open | Network::Internet)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Architecture {
    #[default]
    X86_64,
    Arm64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// A session of the execution role.
#[derive(Clone, Default)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// An environment ends before its session does.
    pub expires: Option<Timestamp>,
}

/// Where an environment's credentials come from. `Err` is told to the invoker as [`crate::EngineError::Credentials`].
pub trait CredentialsProvider: Send + Sync + 'static {
    fn credentials(&self) -> BoxFuture<'static, Result<Credentials, String>>;
}

/// One line or record for CloudWatch Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    pub time: Timestamp,
    /// Without a trailing newline for the function's lines; the platform's lines (`START`, `END`, ..) end in one, as AWS's do.
    pub message: String,
}

/// Takes the log events of a function, in order within a stream. Must not block: it is called from the engine's tasks.
pub trait LogSink: Send + Sync + 'static {
    /// `stream` is named as AWS does: `2026/01/31/[$LATEST]` and 32 hexadecimal digits; one per environment.
    fn write(&self, log_group: &str, stream: &str, events: Vec<LogEvent>);
}

/// One call of a function.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    pub request_id: String,
    /// The event: JSON text for managed runtimes.
    pub payload: Bytes,
    /// The ARN that was called, qualifier included.
    pub invoked_arn: String,
    /// `X-Amz-Client-Context`, already decoded from base64.
    pub client_context: Option<String>,
    /// JSON with `cognitoIdentityId` and `cognitoIdentityPoolId`.
    pub cognito_identity: Option<String>,
    /// `Root=..;Parent=..;Sampled=..`: one is made when absent.
    pub trace: Option<String>,
    /// `Tenant-Id` of a function with tenant isolation.
    pub tenant_id: Option<String>,
    /// Whether the caller reads a stream (`InvokeWithResponseStream`, a function URL in `RESPONSE_STREAM` mode).
    pub response: ResponseMode,
}

#[derive(Debug, Clone, Default)]
pub enum ResponseMode {
    /// At most 6 MB, handed back whole.
    #[default]
    Buffered,
    /// Parts go into the channel as the function writes them; [`InvokeOutcome`] comes after the last one, and its payload is empty.
    Streaming(tokio::sync::mpsc::Sender<StreamPart>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPart {
    /// Sent once, before any data. `application/vnd.awslambda.http-integration-response` says that the data begins with a JSON
    /// prelude and eight zero bytes.
    Head {
        content_type: Option<String>,
    },
    Data(Bytes),
    /// The function failed after it had begun to answer (the trailers of a streamed response).
    Error {
        error_type: String,
        payload: Bytes,
    },
}

/// How an invocation ended. A function's own failure is an outcome, not an error of the engine.
#[derive(Debug, Clone)]
pub struct InvokeOutcome {
    pub result: InvokeResult,
    /// The last 4 KB of what this invocation logged, START to REPORT.
    pub log_tail: Bytes,
    pub report: InvokeReport,
    /// The environment's log stream.
    pub log_stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvokeResult {
    Success {
        payload: Bytes,
        content_type: Option<String>,
    },
    /// `X-Amz-Function-Error: Unhandled` with this payload. `error_type` is its `errorType`, such as `Sandbox.Timedout`.
    FunctionError {
        error_type: String,
        payload: Bytes,
    },
}

impl InvokeResult {
    pub fn payload(&self) -> &Bytes {
        match self {
            InvokeResult::Success { payload, .. } | InvokeResult::FunctionError { payload, .. } => payload,
        }
    }

    pub fn is_success(&self) -> bool {
        matches!(self, InvokeResult::Success { .. })
    }
}

/// The figures of the REPORT line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InvokeReport {
    pub duration: Duration,
    pub billed: Duration,
    /// Set when this invocation waited for a new environment.
    pub init: Option<Duration>,
    pub restore: Option<Duration>,
    pub max_memory_mb: u32,
    pub status: InvokeStatus,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InvokeStatus {
    #[default]
    Success,
    /// The function said that it failed.
    Error,
    Timeout,
    /// The runtime ended: a crash, an exit, a memory kill.
    Failure,
}
