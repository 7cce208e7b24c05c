//! Jobs, step by step.

use base64::Engine as _;
use futures_util::StreamExt as _;
use futures_util::stream;
use pileus_api_s3 as s3;
use pileus_api_s3control as api;
use pileus_core::{AccountId, BoxFuture, Region};
use pileus_platform::{Cx, Fault, Platform};
use pileus_store::due::Job;
use pileus_store::runner::Failure;
use pileus_wire::value::ByteStream;
use ring::digest;
use serde_json::json;

use super::manifest::{self, Entry};
use super::{JOBS, JobRow, Status, bucket_of, task, wake};
use crate::error::S3Error;

const PRINCIPAL: &str = "batchoperations.s3.amazonaws.com";
/// Lines of the manifest in one step.
const LINES: usize = 1_000;
/// Bytes of the manifest that a step reads; a line is shorter than 8 KiB.
const PIECE: u64 = 1 << 20;
/// Tasks at a time.
const PARALLEL: usize = 16;
const SCHEMA: &str = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage";

pub fn run(platform: Platform, due: Job) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let text = String::from_utf8_lossy(&due.payload).into_owned();
        let mut parts = text.splitn(3, '/');
        let (Some(account), Some(region), Some(job_id)) =
            (parts.next().and_then(AccountId::parse), parts.next().and_then(Region::parse), parts.next())
        else {
            tracing::error!(%text, "a step of a batch job cannot be read, and is dropped");
            return Ok(());
        };
        let cx = Cx::background(&platform, PRINCIPAL, account, region);
        step(&cx, account, job_id, &due).await.map_err(Failure::new)
    })
}

/// What went wrong with the whole job.
struct Broken {
    code: &'static str,
    reason: String,
}

async fn step(cx: &Cx, account: AccountId, job_id: &str, due: &Job) -> Result<(), S3Error> {
    let key = (account, cx.region().clone(), job_id.to_owned());
    let Some(row) = JOBS.get(cx.store(), &key).await? else { return Ok(()) };
    if row.status.is_over() || row.status == Status::Suspended {
        return Ok(());
    }
    let request = row.request()?;
    let started = cx.clock().now();
    let part: BoxFuture<'_, Result<Done, Broken>> = Box::pin(part(cx, job_id, &row, &request));
    let outcome = match part.await {
        Ok(done) => Ok(done),
        Err(Broken { code, reason }) => Err((code.to_owned(), reason)),
    };
    let seconds = i64::try_from(cx.clock().now().since(started).as_secs()).unwrap_or(0);
    let is_over = match &outcome {
        Ok(done) => done.is_last,
        Err(_) => true,
    };
    let mut next = row.clone();
    next.active_seconds += seconds;
    match &outcome {
        Ok(done) => {
            next.status = if done.is_last { Status::Complete } else { Status::Active };
            next.offset += done.bytes;
            next.succeeded += done.succeeded;
            next.failed += done.failed;
            next.total = next.succeeded + next.failed;
            next.report.extend(done.report.iter().cloned());
            // Source: "Tracking job status and completion reports": a job of which more than half fails is given up.
            if !done.is_last && next.total >= 1_000 && next.failed * 2 > next.total {
                next.status = Status::Failed;
                next.failure = Some(("JobFailed".to_owned(), "Job failure rate is above 50%.".to_owned()));
            }
        }
        Err(failure) => {
            next.status = Status::Failed;
            next.failure = Some(failure.clone());
        }
    }
    if next.status.is_over() {
        next.ended = Some(cx.clock().now());
        if request.report.as_ref().is_some_and(|report| report.enabled == Some(true)) && outcome.is_ok() {
            close_report(cx, job_id, &next, &request).await.map_err(S3Error::from)?;
        }
    }
    let (key, next, outcome_offset) = (&key, &next, row.offset);
    cx.transact(|txn| async move {
        if !due.claim(&txn).await? {
            return Ok(());
        }
        let Some(now) = JOBS.get(&txn, key).await? else { return Ok(()) };
        if now.offset != outcome_offset || now.status.is_over() {
            return Ok(());
        }
        let next = JobRow { priority: now.priority, tags: now.tags, reason: now.reason, ..next.clone() };
        JOBS.put(&txn, key, &next)?;
        if !is_over && !next.status.is_over() {
            wake(cx, &txn, key.0, &key.1, &key.2)?;
        }
        Ok(())
    })
    .await
}

/// What a step did.
struct Done {
    bytes: u64,
    succeeded: u64,
    failed: u64,
    report: Vec<(String, String, String)>,
    is_last: bool,
}

fn broken(code: &'static str) -> impl Fn(Fault) -> Broken {
    move |fault| Broken { code, reason: format!("{}: {}", fault.code, fault.message) }
}

async fn part(cx: &Cx, job_id: &str, row: &JobRow, request: &api::CreateJobRequest) -> Result<Done, Broken> {
    let role = request.role_arn.as_deref().unwrap_or_default();
    let as_role = cx.as_role(role, PRINCIPAL, "s3-batch-operations").await.map_err(broken("AccessDenied"))?;
    let manifest = request.manifest.clone().unwrap_or_default();
    let (bytes, is_last) = read(&as_role, &manifest, row.offset).await?;
    let (lines, taken) = manifest::lines(&bytes, LINES, is_last);
    if lines.is_empty() && !is_last {
        return Err(Broken {
            code: "InvalidManifestContent",
            reason: "A line of the manifest is too long".to_owned(),
        });
    }
    let fields = manifest.spec.and_then(|spec| spec.fields).unwrap_or_default();
    let entries: Vec<Entry> = lines
        .iter()
        .map(|line| manifest::entry(line, &fields))
        .collect::<Result<_, _>>()
        .map_err(|reason| Broken { code: "InvalidManifestContent", reason: reason.to_owned() })?;
    let is_last = is_last && taken == bytes.len();
    let operation = request.operation.clone().unwrap_or_default();
    let (as_role, operation) = (&as_role, &operation);
    let mut tasks: Vec<BoxFuture<'_, (&Entry, Result<String, Fault>)>> = Vec::with_capacity(entries.len());
    for entry in &entries {
        tasks.push(Box::pin(async move { (entry, task::run(as_role, operation, job_id, entry).await) }));
    }
    let results: Vec<(&Entry, Result<String, Fault>)> =
        stream::iter(tasks).buffered(PARALLEL).collect().await;
    let failed = results.iter().filter(|(_, result)| result.is_err()).count() as u64;
    let mut done = Done {
        bytes: taken as u64,
        succeeded: results.len() as u64 - failed,
        failed,
        report: vec![],
        is_last,
    };
    let report = request.report.clone().unwrap_or_default();
    if report.enabled == Some(true) {
        for status in ["succeeded", "failed"] {
            if status == "succeeded" && report.report_scope.as_deref() == Some("FailedTasksOnly") {
                continue;
            }
            let rows: String = results
                .iter()
                .filter(|(_, result)| result.is_ok() == (status == "succeeded"))
                .map(|(entry, result)| report_row(entry, result))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let name = hex::encode(digest::digest(
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                format!("{}/{status}", row.offset).as_bytes(),
            ));
            let key = format!("{}job-{job_id}/results/{name}.csv", prefix(&report));
            let md5 = md5_hex(rows.as_bytes());
            write(as_role, &report, &key, "text/csv", rows).await.map_err(broken("ReportDeliveryFailed"))?;
            done.report.push((status.to_owned(), key, md5));
        }
    }
    Ok(done)
}

fn prefix(report: &api::JobReport) -> String {
    report
        .prefix
        .as_deref()
        .filter(|prefix| !prefix.is_empty())
        .map(|prefix| format!("{prefix}/"))
        .unwrap_or_default()
}

fn md5_hex(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

fn report_row(entry: &Entry, result: &Result<String, Fault>) -> String {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let mut encoded = vec![];
    pileus_wire::codec::percent::encode(&mut encoded, entry.key.as_bytes(), b"/");
    let key = String::from_utf8_lossy(&encoded).into_owned();
    let version = entry.version_id.as_deref().unwrap_or_default();
    let (status, code, http, message) = match result {
        Ok(text) => (
            "succeeded",
            String::new(),
            "200".to_owned(),
            if text.is_empty() { "Successful".to_owned() } else { text.clone() },
        ),
        Err(fault) => {
            let http = match fault.status {
                0 if fault.is_sender_fault => 400,
                0 => 500,
                status => status,
            };
            ("failed", fault.code.to_string(), http.to_string(), fault.message.clone())
        }
    };
    format!(
        "{},{},{version},{status},{code},{http},{}\n",
        quoted(&entry.bucket),
        quoted(&key),
        quoted(&message)
    )
}

/// The next piece of the manifest, and whether it is the last one.
async fn read(cx: &Cx, manifest: &api::JobManifest, offset: u64) -> Result<(Vec<u8>, bool), Broken> {
    let location = manifest.location.clone().unwrap_or_default();
    let (bucket, key) = location.object_arn.as_deref().and_then(manifest::place).ok_or_else(|| Broken {
        code: "ManifestNotFound",
        reason: "The manifest's location is not an object".to_owned(),
    })?;
    let etag = location.e_tag.unwrap_or_default();
    let head = s3::HeadObjectRequest {
        bucket: Some(bucket.to_owned()),
        key: Some(key.to_owned()),
        version_id: location.object_version_id.clone(),
        if_match: Some(format!("\"{}\"", etag.trim_matches('"'))),
        ..s3::HeadObjectRequest::default()
    };
    let size = cx.call(s3::HEAD_OBJECT, head).await.map_err(broken("ManifestNotFound"))?.content_length;
    let size = size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    if offset >= size {
        return Ok((vec![], true));
    }
    let end = (offset + PIECE).min(size);
    let input = s3::GetObjectRequest {
        bucket: Some(bucket.to_owned()),
        key: Some(key.to_owned()),
        version_id: location.object_version_id,
        range: Some(format!("bytes={offset}-{}", end - 1)),
        ..s3::GetObjectRequest::default()
    };
    let mut output = cx.call(s3::GET_OBJECT, input).await.map_err(broken("ManifestNotFound"))?;
    let mut bytes = vec![];
    if let Some(mut stream) = output.body.take() {
        while let Some(chunk) = stream.next().await {
            let chunk =
                chunk.map_err(|error| Broken { code: "ManifestNotFound", reason: error.to_string() })?;
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok((bytes, end == size))
}

async fn write(
    cx: &Cx,
    report: &api::JobReport,
    key: &str,
    content_type: &str,
    text: String,
) -> Result<(), Fault> {
    let input = s3::PutObjectRequest {
        bucket: bucket_of(report.bucket.as_deref()).map(str::to_owned),
        key: Some(key.to_owned()),
        content_length: i64::try_from(text.len()).ok(),
        content_type: Some(content_type.to_owned()),
        content_md5: Some(base64::engine::general_purpose::STANDARD.encode({
            use md5::Digest as _;
            md5::Md5::digest(text.as_bytes())
        })),
        body: ByteStream::once(text.into()),
        ..s3::PutObjectRequest::default()
    };
    cx.call(s3::PUT_OBJECT, input).await?;
    Ok(())
}

/// The report's own manifest: where its parts are.
async fn close_report(
    cx: &Cx,
    job_id: &str,
    row: &JobRow,
    request: &api::CreateJobRequest,
) -> Result<(), Fault> {
    let report = request.report.clone().unwrap_or_default();
    let role = request.role_arn.as_deref().unwrap_or_default();
    let as_role = cx.as_role(role, PRINCIPAL, "s3-batch-operations").await?;
    let results: Vec<_> = row
        .report
        .iter()
        .map(|(status, key, md5)| {
            json!({
                "TaskExecutionStatus": status,
                "Bucket": bucket_of(report.bucket.as_deref()),
                "MD5Checksum": md5,
                "Key": key,
            })
        })
        .collect();
    let text = json!({
        "Format": "Report_CSV_20180820",
        "ReportCreationDate": crate::notification::record::millis(cx.now()),
        "Results": results,
        "ReportSchema": SCHEMA,
    })
    .to_string();
    let key = format!("{}job-{job_id}/manifest.json", prefix(&report));
    let md5 = md5_hex(text.as_bytes());
    write(&as_role, &report, &key, "application/json", text).await?;
    write(&as_role, &report, &format!("{key}.md5"), "text/plain", md5).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_report_tells_what_became_of_an_object() {
        let entry = Entry { bucket: "b".into(), key: "a b,c".into(), version_id: None };
        let got = report_row(&entry, &Ok(String::new()));
        assert_eq!(got, "b,a%20b%2Cc,,succeeded,,200,Successful\n");
        let got = report_row(&entry, &Err(Fault::framework("NoSuchKey", 404, "no, none")));
        assert_eq!(got, "b,a%20b%2Cc,,failed,NoSuchKey,404,\"no, none\"\n");
    }
}
