//! A running node for one test, and the SDK's configuration for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};

/// Ends with the value.
pub struct Node {
    child: Child,
    port: u16,
}

impl Node {
    /// The binary that `PILEUS_BIN` names, else the workspace's debug build.
    pub fn start() -> Node {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debug/pileus");
        let binary = std::env::var("PILEUS_BIN").unwrap_or_else(|_| built.to_owned());
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let child = Command::new(&binary)
            .args(["up", "--memory", "--log", "warn", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{binary}: {error}; build it with `cargo build -p pileus-cli`"));
        let mut node = Node { child, port };
        node.until_healthy();
        node
    }

    fn until_healthy(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_healthy() {
            assert!(self.child.try_wait().is_ok_and(|ended| ended.is_none()), "the node ended at once");
            assert!(Instant::now() < deadline, "the node did not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_healthy(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = Vec::new();
        let asked =
            socket.write_all(b"GET /_pileus/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        asked.is_ok() && socket.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200")
    }

    /// What a user writes to point the SDK at a node.
    pub async fn config(&self, key: &str, secret: &str, token: Option<&str>) -> SdkConfig {
        let credentials = Credentials::new(key, secret, token.map(str::to_owned), None, "test");
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http)
            .load()
            .await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A node in memory has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
