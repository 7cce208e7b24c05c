//! Server access logs: a line for each request to a bucket, and objects of lines in its target bucket.
//!
//! Lines wait in memory and are written once a minute (of the movable clock) or when there are many; a node that stops without
//! warning takes its last lines with it. AWS promises no more: logs are delivered on a best-effort basis.
//!
//! Source: Amazon S3 User Guide, "Logging requests with server access logging", "Amazon S3 server access log format".

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header;
use pileus_api_s3 as api;
use pileus_core::Timestamp;
use pileus_platform::store::Store;
use pileus_platform::{Caller, CallerKind, Cx, Ending, Exchange, Platform};
use pileus_store::{Space, StoreError, Stored, Table};
use pileus_wire::protocol::{Response, ResponseBody};
use pileus_wire::value::ByteStream;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Configured};
use crate::config::stored;
use crate::error::S3Error;
use crate::owner::canonical_id;

const PRINCIPAL: &str = "logging.s3.amazonaws.com";
const INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of lines that a bucket's log may hold here; more are dropped, and counted.
const MOST: usize = 4 << 20;

/// Buckets that are logged, by their number: whether anybody wants lines at all. Ranged over by the writer.
pub const LOGGED: Table<u64, Logged> = Table::new(Space::Meta, *b"Sg");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    pub bucket: String,
}

impl Stored for Logged {}

/// Lines that wait, by bucket.
#[derive(Default)]
pub struct Lines {
    is_wanted: AtomicBool,
    waiting: Mutex<HashMap<String, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    text: String,
    dropped: u64,
}

impl Lines {
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// A bucket of this node's has just been given a log.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    fn push(&self, bucket: &str, line: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = waiting.entry(bucket.to_owned()).or_default();
        if own.text.len() + line.len() > MOST {
            own.dropped += 1;
        } else {
            own.text.push_str(line);
        }
    }

    fn take(&self) -> Vec<(String, Waiting)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// Keeps a line of a request, if its bucket is logged.
pub fn note(
    platform: &Platform,
    bucket: &Bucket,
    key: &str,
    exchange: &Exchange,
    ending: &Ending,
    response: &Response,
) {
    if bucket.has(Configured::Logging) {
        let line = line(bucket, key, exchange, ending, response);
        platform.state::<Lines>().push(&bucket.name, &line);
    }
}

/// A line of the log.
fn line(bucket: &Bucket, key: &str, exchange: &Exchange, ending: &Ending, response: &Response) -> String {
    let dash = || "-".to_owned();
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let quoted = |text: &str| {
        if text.is_empty() { "-".to_owned() } else { format!("\"{}\"", text.replace('"', "%22")) }
    };
    let header = |name: header::HeaderName| response.headers.get(name).and_then(|value| value.to_str().ok());
    let operation = operation(ending.operation.unwrap_or_default(), exchange.method.as_str(), key);
    let sent = match &response.body {
        ResponseBody::Bytes(bytes) => Some(bytes.len() as u64),
        ResponseBody::Stream(_) => header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    };
    let sent = sent.filter(|sent| *sent > 0).map_or_else(dash, |sent| sent.to_string());
    let is_whole = response.status == http::StatusCode::OK && operation.ends_with("GET.OBJECT");
    let size = match header(header::CONTENT_RANGE).and_then(|range| range.rsplit('/').next()) {
        Some(size) => size.to_owned(),
        None if is_whole => sent.clone(),
        None => dash(),
    };
    let mut target = exchange.path.clone();
    if !exchange.query.is_empty() {
        target = format!("{target}?{}", exchange.query);
    }
    let version = response.headers.get("x-amz-version-id").and_then(|value| value.to_str().ok());
    let (requester, is_signed) = requester(ending.caller.as_ref());
    let is_presigned = exchange.query.to_ascii_lowercase().contains("x-amz-signature=");
    let fields = [
        canonical_id(bucket.owner),
        bucket.name.clone(),
        log_date(exchange.at),
        exchange.peer.map_or_else(dash, |peer| peer.to_string()),
        requester,
        exchange.request_id.to_string(),
        operation,
        if key.is_empty() { dash() } else { crate::notification::record::encode_key(key) },
        format!("\"{} {target} HTTP/1.1\"", exchange.method),
        response.status.as_u16().to_string(),
        ending.error_code.clone().unwrap_or_else(dash),
        sent,
        size,
        ending.took.as_millis().to_string(),
        dash(),
        quoted(&exchange.referer),
        quoted(&exchange.user_agent),
        version.map_or_else(dash, str::to_owned),
        dash(),
        if is_signed { "SigV4".to_owned() } else { dash() },
        if exchange.is_secure { "TLS".to_owned() } else { dash() },
        match is_signed {
            true if is_presigned => "QueryString".to_owned(),
            true => "AuthHeader".to_owned(),
            false => dash(),
        },
        or_dash(&exchange.host),
        dash(),
        dash(),
        dash(),
    ];
    let mut line = fields.join(" ");
    line.push('\n');
    line
}

/// `[01/Jan/2024:00:00:00 +0000]`
fn log_date(at: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = at.civil();
    let month = MONTHS.get(month.saturating_sub(1) as usize).copied().unwrap_or_default();
    format!("[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]")
}

/// Who asked: an IAM ARN, a canonical id, or nobody.
fn requester(caller: Option<&Caller>) -> (String, bool) {
    match caller {
        None => ("-".to_owned(), false),
        Some(caller) => match caller.kind {
            CallerKind::Anonymous => ("-".to_owned(), false),
            CallerKind::Root => (canonical_id(caller.account), true),
            _ => (caller.arn.to_string(), true),
        },
    }
}

/// `REST.GET.OBJECT`: the method, and what it was about.
fn operation(name: &str, method: &str, key: &str) -> String {
    let resource = match name {
        "CreateMultipartUpload" | "ListMultipartUploads" => "UPLOADS",
        "CompleteMultipartUpload" | "AbortMultipartUpload" | "ListParts" => "UPLOAD",
        "UploadPart" => "PART",
        "CopyObject" => return "REST.COPY.OBJECT".to_owned(),
        "UploadPartCopy" => return "REST.COPY.PART".to_owned(),
        "DeleteObjects" => return "REST.POST.MULTI_OBJECT_DELETE".to_owned(),
        "GetBucketLocation" => "LOCATION",
        "ListObjectVersions" => "BUCKETVERSIONS",
        _ if name.ends_with("Tagging") => {
            return format!("REST.{method}.{}TAGGING", if key.is_empty() { "" } else { "OBJECT_" });
        }
        _ if name.ends_with("Acl") => "ACL",
        _ if name.contains("BucketPolicyStatus") => "POLICY_STATUS",
        _ if name.contains("Policy") => "BUCKETPOLICY",
        _ if name.contains("Lifecycle") => "LIFECYCLE",
        _ if name.contains("Logging") => "LOGGING_STATUS",
        _ if name.contains("Notification") => "NOTIFICATION",
        _ if name.contains("Replication") => "REPLICATION",
        _ if name.contains("Versioning") => "VERSIONING",
        _ if name.contains("Website") => "WEBSITE",
        _ if name.contains("Cors") => "CORS",
        _ if name.contains("Encryption") => "ENCRYPTION",
        _ if name.contains("PublicAccessBlock") => "PUBLIC_ACCESS_BLOCK",
        _ if key.is_empty() => "BUCKET",
        _ => "OBJECT",
    };
    format!("REST.{method}.{resource}")
}

/// The writer: puts waiting lines into their target buckets.
pub async fn run(platform: Platform) {
    loop {
        let started = platform.clock().now();
        if let Err(error) = look(&platform).await {
            tracing::warn!(%error, "logged buckets could not be listed, and are looked for again");
        }
        for (bucket, waiting) in platform.state::<Lines>().take() {
            if waiting.dropped > 0 {
                tracing::warn!(%bucket, dropped = waiting.dropped, "more requests than an access log takes in a minute");
            }
            if let Err(error) = write(&platform, &bucket, waiting.text).await {
                tracing::warn!(%bucket, %error, "an access log could not be delivered");
            }
        }
        platform.clock().sleep_until(started + INTERVAL).await;
    }
}

async fn look(platform: &Platform) -> Result<(), StoreError> {
    let store: &Store = platform.store();
    let any = !LOGGED.scan(store, &LOGGED.all(), 1).await?.rows.is_empty();
    platform.state::<Lines>().is_wanted.store(any, Ordering::Relaxed);
    Ok(())
}

async fn write(platform: &Platform, name: &str, text: String) -> Result<(), S3Error> {
    let Some(bucket) = Bucket::find(platform.store(), name).await? else { return Ok(()) };
    let found = stored::find::<api::BucketLoggingStatus>(platform.store(), &bucket).await?;
    let Some(enabled) = found.and_then(|found| found.logging_enabled) else { return Ok(()) };
    let cx = Cx::background(platform, PRINCIPAL, bucket.owner, bucket.region.clone());
    let source = pileus_core::Arn::new(bucket.region.partition(), "s3", "", "", &bucket.name);
    let cx = cx.as_service(PRINCIPAL, &source);
    let input = api::PutObjectRequest {
        bucket: enabled.target_bucket.clone(),
        key: Some(object_key(&cx, &bucket, &enabled)),
        content_length: i64::try_from(text.len()).ok(),
        content_type: Some("text/plain".to_owned()),
        body: ByteStream::once(text.into()),
        ..api::PutObjectRequest::default()
    };
    cx.call(api::PUT_OBJECT, input).await?;
    Ok(())
}

/// `<prefix>2024-01-01-00-00-00-<16 hex digits>`, or the partitioned form.
fn object_key(cx: &Cx, bucket: &Bucket, enabled: &api::LoggingEnabled) -> String {
    let (year, month, day, hour, minute, second) = cx.now().civil();
    let unique = cx.ids().hex(16).to_ascii_uppercase();
    let prefix = enabled.target_prefix.as_deref().unwrap_or_default();
    let stamp = format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}-{unique}");
    let format = enabled.target_object_key_format.as_ref();
    if format.is_some_and(|format| format.partitioned_prefix.is_some()) {
        let (owner, region) = (bucket.owner, bucket.region.as_str());
        return format!("{prefix}{owner}/{region}/{}/{year:04}/{month:02}/{day:02}/{stamp}", bucket.name);
    }
    format!("{prefix}{stamp}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_by_method_and_resource() {
        let cases = [
            ("GetObject", "GET", "k", "REST.GET.OBJECT"),
            ("HeadBucket", "HEAD", "", "REST.HEAD.BUCKET"),
            ("ListObjectsV2", "GET", "", "REST.GET.BUCKET"),
            ("CopyObject", "PUT", "k", "REST.COPY.OBJECT"),
            ("UploadPart", "PUT", "k", "REST.PUT.PART"),
            ("PutBucketPolicy", "PUT", "", "REST.PUT.BUCKETPOLICY"),
            ("PutObjectTagging", "PUT", "k", "REST.PUT.OBJECT_TAGGING"),
            ("DeleteObjects", "POST", "", "REST.POST.MULTI_OBJECT_DELETE"),
        ];
        for (name, method, key, expected) in cases {
            assert_eq!(operation(name, method, key), expected, "{name}");
        }
    }
}
