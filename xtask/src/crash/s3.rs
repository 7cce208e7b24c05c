//! Objects under kill -9: small ones in the store, large ones in files, parts, copies, overwrites, deletes.
//!
//! After the kill `pileus scrub --sweep` must find nothing damaged. After the restart every key holds what the last acknowledged
//! request left there, or what the one request without an answer would have left, whole. And once uploads are aborted and what is
//! due is done, there are as many files as the objects have blobs: none has leaked, and none is missing.

#![allow(clippy::disallowed_methods)] // waits for a real process

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use pileus_wire::checksum::{Algorithm, Checksum};
use pileus_wire::sigv4::sha256_hex;

use crate::client::{Answer, Client};

const BUCKET: &str = "/crash";
const SMALL: usize = 3_000;
const LARGE: usize = 200_000;
/// Larger ones are blobs.
const ROW: usize = 64 << 10;
/// What the parts of an object that was replaced are kept for, and a little more: for whoever still reads it.
const READERS_LEAVE_SECONDS: u32 = 700;
const DEADLINE: Duration = Duration::from_secs(60);

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    sha256: String,
    length: usize,
}

impl Content {
    fn of(bytes: &[u8]) -> Content {
        Content { sha256: sha256_hex(bytes), length: bytes.len() }
    }
}

/// What the node has acknowledged over all cycles.
#[derive(Default)]
pub struct Known {
    held: BTreeMap<String, Content>,
    changes: usize,
}

impl Known {
    pub fn changes(&self) -> usize {
        self.changes
    }
}

/// What one burst of load learned. `None` is no object.
#[derive(Default)]
pub struct Burst {
    held: BTreeMap<String, Option<Content>>,
    /// What requests without an answer would have left.
    doubtful: BTreeMap<String, Option<Content>>,
    changes: usize,
}

impl Burst {
    pub fn join(&mut self, other: Burst) {
        self.held.extend(other.held);
        self.doubtful.extend(other.doubtful);
        self.changes += other.changes;
    }
}

pub async fn create_bucket(port: u16) -> Result<(), String> {
    let mut client = Client::connect(port).await?;
    let answer = client.s3("PUT", BUCKET, "", HeaderMap::new(), Bytes::new()).await?;
    succeeded("CreateBucket", &answer)
}

fn succeeded(what: &str, answer: &Answer) -> Result<(), String> {
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("{what}: {status} {}", answer.text())),
    }
}

/// Changes objects under a prefix until the node is gone.
///
/// # Errors
/// What the node refuses.
pub async fn load(port: u16, prefix: String) -> Result<Burst, String> {
    let mut worker = match Client::connect(port).await {
        Ok(client) => Worker { client, burst: Burst::default(), seed: seed(&prefix) },
        Err(_) => return Ok(Burst::default()),
    };
    for number in 0.. {
        match worker.round(&format!("{prefix}/{number}")).await {
            Ok(()) => {}
            Err(Stopped::Gone) => break,
            Err(Stopped::Refused(refusal)) => return Err(refusal),
        }
    }
    Ok(worker.burst)
}

/// Why a worker went no further.
enum Stopped {
    /// The node is.
    Gone,
    Refused(String),
}

struct Worker {
    client: Client,
    burst: Burst,
    seed: u64,
}

impl Worker {
    async fn round(&mut self, prefix: &str) -> Result<(), Stopped> {
        let key = |name: &str| format!("{prefix}-{name}");
        self.put(&key("small"), SMALL).await?;
        self.put(&key("large"), LARGE).await?;
        self.copy(&key("large"), &key("copy")).await?;
        self.delete(&key("large")).await?;
        self.upload(&key("parts")).await?;
        self.put(&key("grown"), SMALL).await?;
        self.put(&key("grown"), LARGE).await?;
        self.put(&key("shrunk"), LARGE).await?;
        self.put(&key("shrunk"), SMALL).await?;
        self.copy(&key("copy"), &key("copy")).await?;
        self.copy(&key("parts"), &key("shrunk")).await?;
        self.upload(&key("replaced")).await?;
        self.upload(&key("replaced")).await?;
        self.delete(&key("parts")).await
    }

    /// Sends a request after which the key holds `then`.
    async fn change(
        &mut self,
        key: &str,
        then: Option<Content>,
        (method, query): (&str, &str),
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), Stopped> {
        self.burst.doubtful.insert(key.to_owned(), then.clone());
        self.send(key, (method, query), headers, body).await?;
        self.burst.doubtful.remove(key);
        self.burst.held.insert(key.to_owned(), then);
        self.burst.changes += 1;
        Ok(())
    }

    async fn send(
        &mut self,
        key: &str,
        (method, query): (&str, &str),
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Stopped> {
        let path = format!("{BUCKET}/{key}");
        let answer = self.client.s3(method, &path, query, headers, body).await.map_err(|_| Stopped::Gone)?;
        succeeded(&format!("{method} {path}?{query}"), &answer).map_err(Stopped::Refused)?;
        Ok(answer)
    }

    async fn put(&mut self, key: &str, length: usize) -> Result<(), Stopped> {
        let body = self.noise(length);
        self.change(key, Some(Content::of(&body)), ("PUT", ""), HeaderMap::new(), body).await
    }

    async fn delete(&mut self, key: &str) -> Result<(), Stopped> {
        self.change(key, None, ("DELETE", ""), HeaderMap::new(), Bytes::new()).await
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), Stopped> {
        let source = HeaderValue::try_from(format!("{BUCKET}/{from}"));
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", source.map_err(|error| Stopped::Refused(error.to_string()))?);
        headers.insert("x-amz-metadata-directive", HeaderValue::from_static("REPLACE"));
        let content = self.burst.held.get(from).cloned().flatten();
        self.change(to, content, ("PUT", ""), headers, Bytes::new()).await
    }

    /// An object of one part. The part is uploaded twice, and another that is left out.
    async fn upload(&mut self, key: &str) -> Result<(), Stopped> {
        let begun = self.send(key, ("POST", "uploads="), HeaderMap::new(), Bytes::new()).await?.text();
        let id = element(&begun, "UploadId").unwrap_or_default();
        let mut part = Bytes::new();
        for number in [1, 2, 1] {
            part = self.noise(LARGE);
            let query = format!("partNumber={number}&uploadId={id}");
            self.send(key, ("PUT", &query), HeaderMap::new(), part.clone()).await?;
        }
        let etag = Checksum::of(Algorithm::Md5, &part).hex();
        let body = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        );
        let query = format!("uploadId={id}");
        self.change(key, Some(Content::of(&part)), ("POST", &query), HeaderMap::new(), body.into()).await
    }

    /// Bytes that were never sent before.
    fn noise(&mut self, length: usize) -> Bytes {
        let words = (0..length.div_ceil(8)).flat_map(|_| {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            self.seed.to_le_bytes()
        });
        words.take(length).collect::<Vec<u8>>().into()
    }
}

/// Never zero.
fn seed(text: &str) -> u64 {
    text.bytes().fold(0x9E37_79B9_7F4A_7C15, |seed: u64, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3).max(1)
    })
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.to_owned())
}

/// `pileus scrub --sweep` on what a killed node left.
///
/// # Errors
/// What it finds damaged.
pub fn scrub(binary: &Path, dir: &Path, engine: &str) -> Result<(), String> {
    let mut command = Command::new(binary);
    command.args(["scrub", "--sweep", "--engine", engine, "--data-dir"]).arg(dir);
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let told = [done.stdout, done.stderr].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&told)))
}

/// # Errors
/// Objects that are not what they may be; files that nobody refers to.
pub async fn check(port: u16, dir: &Path, known: &mut Known, burst: Burst) -> Result<(), String> {
    let mut client = Client::connect(port).await?;
    known.changes += burst.changes;
    let of_burst = burst.held.keys().chain(burst.doubtful.keys());
    let keys: std::collections::BTreeSet<String> = of_burst.chain(known.held.keys()).cloned().collect();
    for key in keys {
        let path = format!("{BUCKET}/{key}");
        let answer = client.s3("GET", &path, "", HeaderMap::new(), Bytes::new()).await?;
        let found = match answer.status {
            200 => Some(Content::of(&answer.body)),
            404 => None,
            status => return Err(format!("GET {path}: {status} {}", answer.text())),
        };
        let earlier = known.held.get(&key).cloned();
        let acknowledged = burst.held.get(&key).cloned().unwrap_or(earlier);
        if found != acknowledged && burst.doubtful.get(&key) != Some(&found) {
            let doubtful = burst.doubtful.get(&key);
            return Err(format!(
                "{key} holds {found:?}; acknowledged: {acknowledged:?}; without an answer: {doubtful:?}"
            ));
        }
        match found {
            Some(content) => drop(known.held.insert(key, content)),
            None => drop(known.held.remove(&key)),
        }
    }
    abort_uploads(&mut client).await?;
    super::advance(port, READERS_LEAVE_SECONDS).await?;
    let expected = known.held.values().filter(|content| content.length > ROW).count();
    let blobs = dir.join("blobs").join("s3");
    let begin = Instant::now();
    loop {
        let found = files(&blobs)?.len();
        if found == expected {
            return Ok(());
        }
        if begin.elapsed() > DEADLINE {
            return Err(format!("{found} files below {}, not {expected}", blobs.display()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn abort_uploads(client: &mut Client) -> Result<(), String> {
    let listed = client.s3("GET", BUCKET, "uploads=", HeaderMap::new(), Bytes::new()).await?;
    succeeded("ListMultipartUploads", &listed)?;
    let text = listed.text();
    for upload in text.split("<Upload>").skip(1) {
        let named = element(upload, "Key").zip(element(upload, "UploadId"));
        let (key, id) = named.ok_or_else(|| format!("ListMultipartUploads: {text}"))?;
        let (path, query) = (format!("{BUCKET}/{key}"), format!("uploadId={id}"));
        let aborted = client.s3("DELETE", &path, &query, HeaderMap::new(), Bytes::new()).await?;
        succeeded("AbortMultipartUpload", &aborted)?;
    }
    Ok(())
}

/// Every file below a folder that may not be there.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
