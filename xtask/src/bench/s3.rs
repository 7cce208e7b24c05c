//! Objects: small ones by their CPU beside a bare answer and a bare sink; large ones by their rate beside a bare file stream, and beside
//! the slower of one core's checksums and the disk; and what a node holds in memory while many large ones come and go.
//!
//! The loads sign with the key that a local cloud trusts, as its neighbours do; one figure shows what a checked signature and a user's
//! policy add.

#![allow(clippy::disallowed_methods)] // a benchmark measures real time

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use pileus_core::Timestamp;
use pileus_wire::checksum::{Algorithm, Checksum};
use pileus_wire::sigv4::{Credentials, PayloadMode, RequestView, Signing, sha256_hex, sign};

use super::load::{self, Figures, Work};
use super::wire::Wire;
use super::{bare_hyper, fresh, verdict};
use crate::client::Client;
use crate::process::Process;

const BUCKET: &str = "bench";
const SMALL: usize = 4 << 10;
const LARGE: usize = 8 << 20;
/// Small objects that are read in turn.
const SMALL_OBJECTS: usize = 100;
/// Connections of a load that is measured by its rate: enough for both cores, on either side.
const STREAMS: usize = 4;
/// Transfers at once when memory is measured; also the large objects that there are.
const PARALLEL: usize = 32;
/// What the promise calls "plus caches": the store's, as a node has it unless told otherwise.
const CACHE_MIB: f64 = 64.0;

pub async fn run(binary: &Path, dir: &Path, clients: usize, time: Duration) -> Result<(), String> {
    println!("{:<44} {:>12} {:>12} {:>10} {:>10}", "", "per second", "CPU us", "p50 ms", "p99 ms");
    let file = dir.join("floor");
    fs::write(&file, noise(LARGE)).map_err(|error| error.to_string())?;
    let floor = bare_hyper().await?;
    let answer = bare(&floor, "GET", "/object", Bytes::new()).run(&floor, clients, time).await?;
    answer.print("floor: bare hyper answer, 4 KB");
    let sink = bare(&floor, "PUT", "/sink", noise(SMALL)).run(&floor, clients, time).await?;
    sink.print("floor: bare hyper sink, 4 KB");
    let path = format!("/file?{}", file.display());
    let stream = bare(&floor, "GET", &path, Bytes::new()).run(&floor, STREAMS, time).await?;
    stream.print("floor: bare hyper file stream, 8 MB");
    drop(floor);
    let (checksums, disk) = (one_core(time).await?, disk(dir, time).await?);
    println!("floor: checksums of one core {:>42.0} MB/s", checksums / 1e6);
    println!("floor: disk, 8 MB files written and synced {:>28.0} MB/s", disk / 1e6);

    let (get, put) = small(binary, dir, clients, time).await?;
    let (get_large, put_large) = large(binary, dir, time).await?;
    let (up, down) = memory(binary, dir, time).await?;

    println!();
    let share = get_large.per_second / stream.per_second * 100.0;
    let put_share = put_large.per_second * LARGE as f64 / checksums.min(disk) * 100.0;
    let (get_ratio, put_ratio) = (get.cpu_us / answer.cpu_us, put.cpu_us / sink.cpu_us);
    verdict("GetObject 4 KB CPU / bare answer", get_ratio, 1.6, "x", get_ratio <= 1.6);
    verdict("PutObject 4 KB CPU, durable / bare sink", put_ratio, 4.0, "x", put_ratio <= 4.0);
    verdict("GetObject 8 MB rate / bare file stream", share, 80.0, "% (at least)", share >= 80.0);
    let name = "PutObject 8 MB rate / checksums or disk";
    verdict(name, put_share, 70.0, "% (at least)", put_share >= 70.0);
    let limit = 64.0 + CACHE_MIB;
    verdict("peak resident, 32 uploads of 8 MB", up, limit, "MiB", up <= limit);
    verdict("peak resident, 32 downloads of 8 MB", down, limit, "MiB", down <= limit);
    Ok(())
}

/// 4 KB: read, and written.
async fn small(
    binary: &Path,
    dir: &Path,
    clients: usize,
    time: Duration,
) -> Result<(Figures, Figures), String> {
    let node = fresh(binary, dir, "s3-small").await?;
    let trusted = Key::trusted();
    create_bucket(&node, &trusted).await?;
    fill(&node, &trusted, SMALL_OBJECTS, noise(SMALL)).await?;
    let get = Load::get(node.port, &trusted, SMALL_OBJECTS)?.run(&node, clients, time).await?;
    get.print("s3 GetObject 4 KB");
    let issued = Key::issued(&node).await?;
    let checked = Load::get(node.port, &issued, SMALL_OBJECTS)?.run(&node, clients, time).await?;
    checked.print("s3 GetObject 4 KB, a user's checked signature");
    let put = Load::put(node.port, &trusted, None, noise(SMALL)).run(&node, clients, time).await?;
    put.print("s3 PutObject 4 KB, durable");
    Ok((get, put))
}

/// 8 MB: read, and written.
async fn large(binary: &Path, dir: &Path, time: Duration) -> Result<(Figures, Figures), String> {
    let node = fresh(binary, dir, "s3-large").await?;
    let trusted = Key::trusted();
    create_bucket(&node, &trusted).await?;
    fill(&node, &trusted, PARALLEL, noise(LARGE)).await?;
    let get = Load::get(node.port, &trusted, PARALLEL)?.run(&node, STREAMS, time).await?;
    get.print("s3 GetObject 8 MB");
    let put = Load::put(node.port, &trusted, Some(PARALLEL), noise(LARGE)).run(&node, STREAMS, time).await?;
    put.print("s3 PutObject 8 MB, durable");
    Ok((get, put))
}

/// The most that a node holds: under uploads; and, begun anew, under downloads.
async fn memory(binary: &Path, dir: &Path, time: Duration) -> Result<(f64, f64), String> {
    let trusted = Key::trusted();
    let node = fresh(binary, dir, "s3-memory").await?;
    create_bucket(&node, &trusted).await?;
    // Every object is there before the downloads.
    fill(&node, &trusted, PARALLEL, noise(LARGE)).await?;
    let load = Load::put(node.port, &trusted, Some(PARALLEL), noise(LARGE));
    load.run(&node, PARALLEL, time).await?.print("s3 PutObject 8 MB, 32 at once");
    let up = node.peak_mib();
    drop(node);
    let node = fresh(binary, dir, "s3-memory").await?;
    let load = Load::get(node.port, &trusted, PARALLEL)?;
    load.run(&node, PARALLEL, time).await?.print("s3 GetObject 8 MB, 32 at once");
    Ok((up, node.peak_mib()))
}

/// What connections send over and over.
#[derive(Clone)]
struct Load {
    /// The head of the next request.
    head: Arc<dyn Fn() -> Result<Bytes, String> + Send + Sync>,
    body: Bytes,
}

/// A request to the floor.
fn bare(floor: &Process, method: &str, path: &str, body: Bytes) -> Load {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-length: {length}\r\n\r\n",
        floor.port
    );
    let head = Bytes::from(head);
    Load { head: Arc::new(move || Ok(head.clone())), body }
}

impl Load {
    /// Reads `objects` objects in turn, by requests that were signed beforehand.
    fn get(port: u16, key: &Key, objects: usize) -> Result<Load, String> {
        let heads = (0..objects).map(|number| key.head(port, "GET", &object(number), &Covered::of(b"")));
        let heads = heads.collect::<Result<Vec<_>, String>>()?;
        let turn = AtomicUsize::new(0);
        let head = move || Ok(heads[turn.fetch_add(1, Ordering::Relaxed) % heads.len()].clone());
        Ok(Load { head: Arc::new(head), body: Bytes::new() })
    }

    /// Writes an object of a new name each time, or `objects` in turn.
    fn put(port: u16, key: &Key, objects: Option<usize>, body: Bytes) -> Load {
        let (key, covered) = (key.clone(), Covered::of(&body));
        let turn = AtomicUsize::new(0);
        let head = move || {
            let number = turn.fetch_add(1, Ordering::Relaxed);
            key.head(port, "PUT", &object(objects.map_or(number, |objects| number % objects)), &covered)
        };
        Load { head: Arc::new(head), body }
    }

    /// On `clients` connections for `time`, after a short warm-up.
    async fn run(&self, process: &Process, clients: usize, time: Duration) -> Result<Figures, String> {
        load::repeat(&[process], self, clients, time).await
    }
}

impl Work for Load {
    async fn once(&self, wire: &mut Wire, _: Instant) -> Result<bool, String> {
        wire.exchange(&(self.head)()?, &self.body).await?;
        Ok(true)
    }
}

/// Writes the objects that are read later.
async fn fill(node: &Process, key: &Key, objects: usize, body: Bytes) -> Result<(), String> {
    let load = Load::put(node.port, key, Some(objects), body);
    let mut wire = Wire::connect(node.port).await?;
    for _ in 0..objects {
        wire.exchange(&(load.head)()?, &load.body).await?;
    }
    Ok(())
}

async fn create_bucket(node: &Process, key: &Key) -> Result<(), String> {
    let head = key.head(node.port, "PUT", &format!("/{BUCKET}"), &Covered::of(b""))?;
    Wire::connect(node.port).await?.exchange(&head, b"").await.map(drop)
}

fn object(number: usize) -> String {
    format!("/{BUCKET}/folder/object-{number}")
}

/// What a request says of its body: the digest that its signature covers, and the checksum that SDKs add.
struct Covered {
    sha256: String,
    crc32: String,
    length: usize,
}

impl Covered {
    fn of(body: &[u8]) -> Covered {
        let crc32 = Checksum::of(Algorithm::Crc32, body).base64();
        Covered { sha256: sha256_hex(body), crc32, length: body.len() }
    }
}

/// An access key.
#[derive(Clone)]
struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn trusted() -> Key {
        Key { id: "test".to_owned(), secret: "test".to_owned() }
    }

    /// The key of a user who may read the bucket.
    async fn issued(node: &Process) -> Result<Key, String> {
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bench/*"}]}"#;
        let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let user = ("UserName", "bench");
        let mut client = Client::connect(node.port).await?;
        let mut text = String::new();
        for (action, more) in [
            ("CreateUser", vec![user]),
            ("PutUserPolicy", vec![user, ("PolicyName", "bench"), ("PolicyDocument", &policy)]),
            ("CreateAccessKey", vec![user]),
        ] {
            let parameters = [vec![("Action", action), ("Version", "2010-05-08")], more].concat();
            let answer = client.query("iam", &parameters).await?;
            text = answer.text();
            if answer.status != 200 {
                return Err(text);
            }
        }
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once('<').map(|(value, _)| value.to_owned())
        };
        let key = element("AccessKeyId").zip(element("SecretAccessKey"));
        key.map(|(id, secret)| Key { id, secret }).ok_or_else(|| format!("CreateAccessKey: {text}"))
    }

    /// The head of a signed request.
    fn head(&self, port: u16, method: &str, path: &str, body: &Covered) -> Result<Bytes, String> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        headers.insert("host", value(&format!("127.0.0.1:{port}"))?);
        if body.length > 0 {
            headers.insert("x-amz-checksum-crc32", value(&body.crc32)?);
        }
        let credentials = Credentials { access_key: &self.id, secret_key: &self.secret, session_token: None };
        let now = Timestamp::EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let payload = PayloadMode::Sha256(body.sha256.clone());
        let signing = Signing::new(credentials, "us-east-1", "s3", now).payload(payload);
        let view = RequestView { method, path, query: "", headers: &headers, authority: None };
        let mut head =
            format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.length).into_bytes();
        for (name, value) in &sign(&view, &signing).headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Ok(head.into())
    }
}

/// Bytes that nothing can make shorter.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect::<Vec<u8>>().into()
}

/// Bytes a second of which one core computes what an upload asks for: its signature's SHA-256, its CRC32, its ETag's MD5.
async fn one_core(time: Duration) -> Result<f64, String> {
    let body = noise(LARGE);
    let computed = tokio::task::spawn_blocking(move || {
        let (begin, mut bytes) = (Instant::now(), 0);
        while begin.elapsed() < time {
            std::hint::black_box(Covered::of(&body));
            std::hint::black_box(Checksum::of(Algorithm::Md5, &body));
            bytes += body.len();
        }
        bytes as f64 / begin.elapsed().as_secs_f64()
    });
    computed.await.map_err(|error| error.to_string())
}

/// Bytes a second that the disk takes: files of 8 MB, each written and synced, as many at once as there are uploads.
async fn disk(dir: &Path, time: Duration) -> Result<f64, String> {
    let body = noise(LARGE);
    let begin = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..STREAMS {
        let (body, path) = (body.clone(), dir.join(format!("disk-{writer}")));
        writers.spawn_blocking(move || {
            let mut bytes = 0;
            while begin.elapsed() < time {
                let mut file = File::create(&path)?;
                file.write_all(&body)?;
                file.sync_all()?;
                fs::remove_file(&path)?;
                bytes += body.len();
            }
            Ok::<_, std::io::Error>(bytes)
        });
    }
    let mut bytes = 0;
    while let Some(written) = writers.join_next().await {
        bytes += written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64())
}
