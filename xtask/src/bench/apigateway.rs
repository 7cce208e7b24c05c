//! API Gateway in front of a whole node: what idle WebSocket connections hold, what an HTTP API adds to a function, what a REST
//! API's request costs beside a bare answer, and how long a mapping template runs.

mod template;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::functions::{self, Kind};
use super::load::{self, Scenario};
use super::verdict;
use crate::client::Client;
use crate::process::Process;

const FUNCTION: &str = "def handler(event, context):\n    return {\"key\": \"value\"}\n";
const IDLE: usize = 1_000;

pub async fn run(node: &Process, clients: usize, time: Duration) -> Result<(), String> {
    // First, while nothing that loads leave behind can hide what connections take.
    idle(node).await?;
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");
    function(node, time).await?;
    rest(node, clients, time).await?;
    template::run(time)
}

/// The control planes, signed call by call.
struct Control {
    client: Client,
    port: u16,
}

impl Control {
    async fn of(node: &Process) -> Result<Control, String> {
        Ok(Control { client: Client::connect(node.port).await?, port: node.port })
    }

    async fn call(&mut self, service: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = Bytes::from(body.to_string());
        let headers = functions::signed(self.port, service, method, path, &body)?;
        let answer = self.client.send(method, path, headers, body).await?;
        match answer.status {
            200..300 => Ok(answer.json()),
            status => Err(format!("{method} {path}: {status} {}", answer.text())),
        }
    }

    /// The member of the answer that the next calls need.
    async fn make(&mut self, path: &str, body: &Value, member: &str) -> Result<String, String> {
        let made = self.call("apigateway", "POST", path, body).await?;
        made[member].as_str().map(str::to_owned).ok_or_else(|| format!("POST {path} gave no {member}"))
    }

    async fn put(&mut self, path: &str, body: &Value) -> Result<(), String> {
        self.call("apigateway", "PUT", path, body).await.map(|_| ())
    }
}

fn get(port: u16, path: &str) -> Arc<[u8]> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n").into_bytes().into()
}

async fn idle(node: &Process) -> Result<(), String> {
    let mut control = Control::of(node).await?;
    let api = json!({
        "name": "idle", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action",
    });
    let id = control.make("/v2/apis", &api, "apiId").await?;
    let route = json!({ "routeKey": "unused" });
    control.make(&format!("/v2/apis/{id}/routes"), &route, "routeId").await?;
    let stage = json!({ "stageName": "bench", "autoDeploy": true });
    control.make(&format!("/v2/apis/{id}/stages"), &stage, "stageName").await?;
    // What every connection needs is there before the first figure.
    let mut connections = vec![connect(node.port, &id).await?];
    let before = node.rss_mib();
    for _ in 0..IDLE {
        connections.push(connect(node.port, &id).await?);
    }
    let grown = node.rss_mib() - before;
    println!(
        "   the node has {before:.1} MiB without them, {:.1} KiB for each",
        grown * 1_024.0 / IDLE as f64
    );
    verdict(&format!("{IDLE} idle WebSocket connections"), grown, 40.0, "MiB", grown <= 40.0);
    Ok(())
}

/// A connection after its handshake.
async fn connect(port: u16, api: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let handshake = format!(
        "GET /_aws/execute-api/{api}/bench HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(handshake.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.map_err(|error| error.to_string())? == 0 {
            break;
        }
    }
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(format!("a handshake was answered {}", String::from_utf8_lossy(&answer))),
    }
}

/// One caller in turn by the signed API and by an HTTP API, of one warm function.
async fn function(node: &Process, time: Duration) -> Result<(), String> {
    let role = functions::role(node).await?;
    let source = FUNCTION.into();
    let kind = Kind { name: "gateway", runtime: "python3.11", file: "app.py", source, limit_ms: 0.0 };
    functions::create(node, &role, kind.name, &kind).await?;
    let mut control = Control::of(node).await?;
    let permission = json!({
        "StatementId": "gateway", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
    });
    let policy = format!("/2015-03-31/functions/{}/policy", kind.name);
    control.call("lambda", "POST", &policy, &permission).await?;
    let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{}", kind.name);
    let api = json!({ "name": "bench", "protocolType": "HTTP", "target": arn });
    let id = control.make("/v2/apis", &api, "apiId").await?;
    let directly = functions::invoke(node.port, kind.name)?.into();
    let directly = functions::repeat(node, &directly, 1, time, functions::expect).await?;
    directly.print("floor: a python function by the signed API");
    let request = get(node.port, &format!("/_aws/execute-api/{id}/"));
    let through = functions::repeat(node, &request, 1, time, functions::expect).await?;
    through.print("the same by an HTTP API");
    let added = (through.p50.as_secs_f64() - directly.p50.as_secs_f64()) * 1e6;
    verdict("HTTP API above the signed API, p50", added, 300.0, "us", added <= 300.0);
    Ok(())
}

/// A REST API that answers by itself, and one that asks the bare server.
async fn rest(node: &Process, clients: usize, time: Duration) -> Result<(), String> {
    let server = super::bare_hyper().await?;
    let bare = load::run(&server, Scenario::CallerIdentity, clients, time).await?;
    bare.print("floor: bare hyper answer");

    let mut control = Control::of(node).await?;
    let made = control.call("apigateway", "POST", "/restapis", &json!({ "name": "bench" })).await?;
    let (Some(id), Some(root)) = (made["id"].as_str(), made["rootResourceId"].as_str()) else {
        return Err(format!("CreateRestApi gave {made}"));
    };
    let resources = format!("/restapis/{id}/resources");
    let mock =
        json!({ "type": "MOCK", "requestTemplates": { "application/json": r#"{"statusCode": 200}"# } });
    let proxy = json!({
        "type": "HTTP_PROXY", "httpMethod": "GET", "uri": format!("http://127.0.0.1:{}/", server.port),
    });
    for (part, integration) in [("mock", mock), ("proxy", proxy)] {
        let path = format!("{resources}/{root}");
        let resource = control.make(&path, &json!({ "pathPart": part }), "id").await?;
        let method = format!("{resources}/{resource}/methods/GET");
        control.put(&method, &json!({ "authorizationType": "NONE" })).await?;
        control.put(&format!("{method}/integration"), &integration).await?;
        if part == "mock" {
            control.put(&format!("{method}/responses/200"), &json!({})).await?;
            let answer = json!({ "responseTemplates": { "application/json": r#"{"key":"value"}"# } });
            control.put(&format!("{method}/integration/responses/200"), &answer).await?;
        }
    }
    let deployments = format!("/restapis/{id}/deployments");
    control.make(&deployments, &json!({ "stageName": "bench" }), "id").await?;

    let checks: [(&str, &str, fn(&[u8]) -> Result<(), String>); 2] = [
        ("mock", "REST API, MOCK", functions::expect),
        ("proxy", "REST API, HTTP_PROXY to the floor", passed),
    ];
    for (part, name, check) in checks {
        let request = get(node.port, &format!("/_aws/execute-api/{id}/bench/{part}"));
        let figures = functions::repeat(node, &request, clients, time, check).await?;
        figures.print(name);
        let added = figures.cpu_us - bare.cpu_us;
        verdict(&format!("{name}: CPU above the floor"), added, 120.0, "us", added <= 120.0);
    }
    Ok(())
}

/// The floor's answer.
fn passed(answer: &[u8]) -> Result<(), String> {
    match answer.starts_with(b"<GetCallerIdentityResponse") {
        true => Ok(()),
        false => Err(format!("the backend's answer became {}", String::from_utf8_lossy(answer))),
    }
}
