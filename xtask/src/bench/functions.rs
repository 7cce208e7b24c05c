//! Functions through the signed API of a whole node, limits on: cold and warm starts, the rate of warm invocations, and 500
//! environments at once.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use pileus_core::Timestamp;
use pileus_wire::sigv4::{Credentials, PayloadMode, RequestView, Signing, sha256_hex, sign};
use serde_json::{Value, json};

use super::load::{Figures, on_threads};
use super::verdict;
use super::wire::Wire;
use crate::client::Client;
use crate::process::Process;

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const WAITING: &str = "import time\n\ndef handler(event, context):\n    time.sleep(1)\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";
const ROUNDS: usize = 30;
const BURST: usize = 500;

/// One kind of function, and what its cold start may take.
pub struct Kind {
    pub name: &'static str,
    pub runtime: &'static str,
    pub file: &'static str,
    pub source: Vec<u8>,
    pub limit_ms: f64,
}

pub async fn run(node: &Process, dir: &Path, clients: usize, time: Duration) -> Result<(), String> {
    let role = role(node).await?;
    let mut kinds = vec![
        Kind { name: "python", runtime: "python3.11", file: "app.py", source: PYTHON.into(), limit_ms: 4.0 },
        Kind { name: "node", runtime: "nodejs20.x", file: "app.js", source: NODE.into(), limit_ms: 8.0 },
    ];
    if let Some(program) = compiled(dir) {
        let runtime = "provided.al2023";
        kinds.push(Kind { name: "provided", runtime, file: "bootstrap", source: program, limit_ms: 2.0 });
    }
    for kind in &kinds {
        cold(node, &role, kind).await?;
    }
    for kind in &kinds {
        warm(node, kind, clients, time).await?;
    }
    burst(node, &role).await
}

pub async fn role(node: &Process) -> Result<String, String> {
    let mut client = Client::connect(node.port).await?;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let trust: String = trust.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let call = [
        ("Action", "CreateRole"),
        ("Version", "2010-05-08"),
        ("RoleName", "bench"),
        ("AssumeRolePolicyDocument", &trust),
    ];
    let answer = client.query("iam", &call).await?;
    match answer.status {
        200 => Ok("arn:aws:iam::000000000000:role/bench".to_owned()),
        _ => Err(answer.text()),
    }
}

/// The smallest program that speaks the Runtime API, if there is a compiler for it.
fn compiled(dir: &Path) -> Option<Vec<u8>> {
    let (source, program) = (dir.join("bootstrap.rs"), dir.join("bootstrap"));
    std::fs::write(&source, include_str!("bootstrap.rs.txt")).ok()?;
    let mut command = std::process::Command::new("rustc");
    let status = command.args(["--edition", "2021", "-O", "-o"]).arg(&program).arg(&source).status().ok()?;
    if status.success() { std::fs::read(&program).ok() } else { None }
}

pub async fn create(node: &Process, role: &str, name: &str, kind: &Kind) -> Result<(), String> {
    let zip = base64::engine::general_purpose::STANDARD.encode(zipped(kind.file, &kind.source)?);
    let body = json!({
        "FunctionName": name, "Runtime": kind.runtime, "Handler": "app.handler", "Role": role, "MemorySize": 1_769,
        "Timeout": 60, "Code": {"ZipFile": zip},
    });
    let (path, body) = ("/2015-03-31/functions", Bytes::from(body.to_string()));
    let mut client = Client::connect(node.port).await?;
    let headers = signed(node.port, "lambda", "POST", path, &body)?;
    let answer = client.send("POST", path, headers, body).await?;
    if answer.status == 201 { Ok(()) } else { Err(answer.text()) }
}

/// One stored file.
fn zipped(name: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    let length = u32::try_from(data.len()).map_err(|error| error.to_string())?;
    let name_length = u16::try_from(name.len()).map_err(|error| error.to_string())?;
    let mut sizes = crc.sum().to_le_bytes().to_vec();
    sizes.extend_from_slice(&length.to_le_bytes());
    sizes.extend_from_slice(&length.to_le_bytes());
    sizes.extend_from_slice(&name_length.to_le_bytes());
    sizes.extend_from_slice(&[0, 0]);
    let mut all = Vec::new();
    all.extend_from_slice(&[b'P', b'K', 3, 4, 10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
    all.extend_from_slice(&sizes);
    all.write_all(name.as_bytes()).and_then(|()| all.write_all(data)).map_err(|error| error.to_string())?;
    let directory = u32::try_from(all.len()).map_err(|error| error.to_string())?;
    all.extend_from_slice(&[b'P', b'K', 1, 2, 20, 3, 10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
    all.extend_from_slice(&sizes);
    all.extend_from_slice(&[0; 6]);
    all.extend_from_slice(&(0o100_755u32 << 16).to_le_bytes());
    all.extend_from_slice(&0u32.to_le_bytes());
    all.extend_from_slice(name.as_bytes());
    let size = u32::try_from(all.len()).map_err(|error| error.to_string())? - directory;
    all.extend_from_slice(&[b'P', b'K', 5, 6, 0, 0, 0, 0, 1, 0, 1, 0]);
    all.extend_from_slice(&size.to_le_bytes());
    all.extend_from_slice(&directory.to_le_bytes());
    all.extend_from_slice(&[0, 0]);
    Ok(all)
}

/// The headers of a JSON request to a service that knows operations by their paths.
pub fn signed(port: u16, service: &str, method: &str, path: &str, body: &[u8]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(&format!("127.0.0.1:{port}")).map_err(|error| error.to_string())?;
    headers.insert("host", host);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let credentials = Credentials { access_key: "test", secret_key: "test", session_token: None };
    let now = Timestamp::EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let payload = PayloadMode::Sha256(sha256_hex(body));
    let signing = Signing::new(credentials, "us-east-1", service, now).payload(payload);
    let view = RequestView { method, path, query: "", headers: &headers, authority: None };
    Ok(sign(&view, &signing).headers)
}

/// The whole request, signed once to be sent many times.
pub fn invoke(port: u16, name: &str) -> Result<Vec<u8>, String> {
    let (path, body) = (format!("/2015-03-31/functions/{name}/invocations"), r#"{"key":"value"}"#);
    let mut bytes = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in &signed(port, "lambda", "POST", &path, body.as_bytes())? {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    Ok(bytes)
}

/// A new function each time, so that nothing of it is there; its package is unpacked within the figure.
async fn cold(node: &Process, role: &str, kind: &Kind) -> Result<(), String> {
    let mut wire = Wire::connect(node.port).await?;
    let mut times = Vec::new();
    // The first of all finds the interpreter and fills the pools.
    for round in 0..=ROUNDS {
        let name = format!("cold-{}-{round}", kind.name);
        create(node, role, &name, kind).await?;
        // What is kept ready is ready: this is a start on a machine that has nothing else to do.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let request = invoke(node.port, &name)?;
        let began = Instant::now();
        expect(wire.send(&request).await?)?;
        if round > 0 {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    let p50 = times[times.len() / 2].as_secs_f64() * 1e3;
    let last = times[times.len() - 1].as_secs_f64() * 1e3;
    println!("{:<44} {:>12} {:>12} {p50:>10.2} {last:>10.2}", format!("{}: cold start", kind.name), "", "");
    verdict(&format!("{}: cold start, p50", kind.name), p50, kind.limit_ms, "ms", p50 <= kind.limit_ms);
    Ok(())
}

/// What every function here answers.
pub fn expect(answer: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Value>(answer) {
        Ok(value) if value == json!({"key": "value"}) => Ok(()),
        _ => Err(format!("a function answered {}", String::from_utf8_lossy(answer))),
    }
}

async fn warm(node: &Process, kind: &Kind, clients: usize, time: Duration) -> Result<(), String> {
    let name = format!("cold-{}-0", kind.name);
    let request: Arc<[u8]> = invoke(node.port, &name)?.into();
    let one = repeat(node, &request, 1, time, expect).await?;
    one.print(&format!("{}: warm, one caller", kind.name));
    let p50 = one.p50.as_secs_f64() * 1e6;
    verdict(&format!("{}: warm invocation, p50", kind.name), p50, 250.0, "us", p50 <= 250.0);
    let many = repeat(node, &request, clients, time, expect).await?;
    many.print(&format!("{}: warm, {clients} callers", kind.name));
    let holds = many.per_second >= 4_000.0;
    verdict(
        &format!("{}: warm invocations a second", kind.name),
        many.per_second,
        4_000.0,
        "(at least)",
        holds,
    );
    Ok(())
}

/// One request over and over on each of `clients` connections; `check` looks at every answer.
pub async fn repeat(
    node: &Process,
    request: &Arc<[u8]>,
    clients: usize,
    time: Duration,
    check: fn(&[u8]) -> Result<(), String>,
) -> Result<Figures, String> {
    let port = node.port;
    let load = |time: Duration| {
        let request = request.clone();
        on_threads(clients, move |_| {
            let request = request.clone();
            async move {
                let mut wire = Wire::connect(port).await?;
                let (end, mut times) = (Instant::now() + time, Vec::new());
                while Instant::now() < end {
                    let began = Instant::now();
                    check(wire.send(&request).await?)?;
                    times.push(began.elapsed());
                }
                Ok(times)
            }
        })
    };
    load(time / 5).await?;
    let (before, began) = (node.cpu(), Instant::now());
    let times = load(time).await?;
    Ok(Figures::of(times, began.elapsed(), node.cpu().saturating_sub(before)))
}

/// As many callers at once as environments: each invocation lasts a second, so none finds another's environment.
async fn burst(node: &Process, role: &str) -> Result<(), String> {
    let source = WAITING.into();
    let kind = Kind { name: "burst", runtime: "python3.11", file: "app.py", source, limit_ms: 0.0 };
    create(node, role, "burst", &kind).await?;
    let request: Arc<[u8]> = invoke(node.port, "burst")?.into();
    let port = node.port;
    let began = Instant::now();
    let times = on_threads(BURST, move |_| {
        let request = request.clone();
        async move {
            let mut wire = Wire::connect(port).await?;
            let began = Instant::now();
            expect(wire.send(&request).await?)?;
            Ok(vec![began.elapsed()])
        }
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    let answered = times.len() == BURST;
    verdict(
        "environments that start and answer at once",
        times.len() as f64,
        BURST as f64,
        "(at least)",
        answered,
    );
    println!("   all of them answered after {took:.1} s; the node itself has {:.0} MiB", node.rss_mib());
    Ok(())
}
