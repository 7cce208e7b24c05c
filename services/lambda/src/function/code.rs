//! Packages: checked, kept as blobs, and unpacked on this node when a function first runs here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pileus_api_s3 as s3;
use pileus_blobs::{Blob, BlobError, BlobId, Blobs};
use pileus_platform::{Cx, Fault, Platform};
use pileus_store::{Store, Txn};

use super::unpack::Folders;
use super::{Code, Config, zip};
use crate::error::LambdaError;
use crate::keys::{CODE, Nothing};

/// Source: AWS Lambda Developer Guide, "Lambda quotas" (deployment package size).
const MAX_ZIPPED: usize = 50 << 20;
pub const MAX_UNZIPPED: u64 = 262_144_000;
/// Recorded: what a request may have, its encoding included, says the refusal.
const MAX_REQUEST: usize = 70_167_211;
/// Of all packages of an account in a region.
pub const MAX_STORAGE: i64 = 80_530_636_800;

pub const AREA: &str = "lambda";

/// Where the code of a request comes from.
#[derive(Default)]
pub struct Source {
    pub zip: Option<Bytes>,
    pub s3_bucket: Option<String>,
    pub s3_key: Option<String>,
    pub s3_version: Option<String>,
    pub kms_key: Option<String>,
}

/// Checks a package and keeps it.
///
/// # Errors
/// `InvalidParameterValueException` with AWS's sentence about what is wrong with the archive;
/// `RequestEntityTooLargeException`; `NotImplemented` for the sources that this cloud lacks.
pub async fn keep(cx: &Cx, source: Source, operation: &'static str) -> Result<Code, LambdaError> {
    if source.kms_key.is_some() {
        return Err(LambdaError::missing("SourceKMSKeyArn of Lambda code"));
    }
    let zip = match (source.zip, source.s3_bucket) {
        (Some(_), Some(_)) => {
            return Err(LambdaError::invalid(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            ));
        }
        (Some(zip), None) if zip.len() > MAX_ZIPPED => {
            return Err(LambdaError::RequestEntityTooLarge { limit: MAX_REQUEST, operation });
        }
        (Some(zip), None) => zip,
        (None, Some(bucket)) => fetch(cx, bucket, source.s3_key, source.s3_version).await?,
        (None, None) => return Err(LambdaError::invalid("Please provide a source for function code.")),
    };
    if zip.is_empty() {
        return Err(LambdaError::invalid("Uploaded file must be a non-empty zip"));
    }
    let checked = zip.clone();
    let unzipped = tokio::task::spawn_blocking(move || zip::verify(&checked, MAX_UNZIPPED))
        .await
        .map_err(|error| LambdaError::Internal(format!("checking a package ended early: {error}")))?
        .map_err(refuse)?;
    if unzipped == 0 && zip::entries(&zip).is_ok_and(|entries| entries.is_empty()) {
        return Err(LambdaError::invalid("Uploaded file must be a non-empty zip"));
    }
    let blob = blobs(cx).put(zip).await.map_err(unavailable)?;
    Ok(Code { blob, unzipped })
}

/// A package from S3, read as the caller.
///
/// Recorded: the sentences.
async fn fetch(
    cx: &Cx,
    bucket: String,
    key: Option<String>,
    version: Option<String>,
) -> Result<Bytes, LambdaError> {
    let key = key.ok_or_else(|| LambdaError::invalid("Please provide a source for function code."))?;
    let place = format!("{bucket}/{key}");
    let input = s3::GetObjectRequest {
        bucket: Some(bucket),
        key: Some(key),
        version_id: version,
        ..s3::GetObjectRequest::default()
    };
    let refuse = |fault: Fault| {
        let (code, message) = (fault.code.to_string(), fault.message.to_string());
        match code.as_str() {
            "NotImplemented" => LambdaError::Fault(fault),
            "AccessDenied" => LambdaError::AccessDenied(format!(
                "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for {place}. S3 Error Code: {code}. S3 Error Message: {message}"
            )),
            _ => LambdaError::invalid(format!(
                "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
            )),
        }
    };
    let mut object = cx.call(s3::GET_OBJECT, input).await.map_err(refuse)?;
    let mut whole = Vec::new();
    let mut parts =
        object.body.take().ok_or_else(|| LambdaError::Internal("S3 gave no object".to_owned()))?;
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| LambdaError::Internal(error.to_string()))?;
        if whole.len() as u64 + part.len() as u64 > MAX_UNZIPPED {
            return Err(too_large(MAX_UNZIPPED));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

fn refuse(error: zip::ZipError) -> LambdaError {
    match error {
        zip::ZipError::TooLarge(limit) => too_large(limit),
        zip::ZipError::Malformed(_) => LambdaError::invalid(
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
    }
}

pub fn too_large(limit: u64) -> LambdaError {
    LambdaError::invalid(format!("Unzipped size must be smaller than {limit} bytes"))
}

fn unavailable(error: BlobError) -> LambdaError {
    LambdaError::Internal(error.to_string())
}

pub fn blobs(cx: &Cx) -> Blobs {
    cx.platform().blobs().area(AREA)
}

/// Notes in the caller's transaction that `owner` uses the code, so that the sweeper leaves it.
pub fn hold(txn: &Txn, code: &Code, owner: &str) -> Result<(), LambdaError> {
    hold_blob(txn, &code.blob, owner)
}

fn hold_blob(txn: &Txn, blob: &Blob, owner: &str) -> Result<(), LambdaError> {
    Ok(CODE.put(txn, &(blob.id.as_str().to_owned(), owner.to_owned()), &Nothing {})?)
}

pub fn release(txn: &Txn, code: &Code, owner: &str) {
    release_blob(txn, &code.blob, owner);
}

fn release_blob(txn: &Txn, blob: &Blob, owner: &str) {
    CODE.delete(txn, &(blob.id.as_str().to_owned(), owner.to_owned()));
}

/// As `hold`, of all that a version's code consists of.
pub fn hold_all(txn: &Txn, config: &Config, owner: &str) -> Result<(), LambdaError> {
    config.blobs().try_for_each(|blob| hold_blob(txn, blob, owner))
}

pub fn release_all(txn: &Txn, config: &Config, owner: &str) {
    config.blobs().for_each(|blob| release_blob(txn, blob, owner));
}

/// The folder of a package on this node; unpacked now if it was not before. Whoever else wants it waits.
pub async fn unpacked(
    folders: &Folders,
    blobs: &Blobs,
    root: &Path,
    code: &Code,
) -> Result<PathBuf, LambdaError> {
    let folder = root.join(hex::encode(code.blob.sha256));
    let (blobs, blob) = (blobs.clone(), code.blob.clone());
    let fill = |to: PathBuf| async move {
        let bytes = blobs.read(&blob, MAX_UNZIPPED).await.map_err(unavailable)?;
        let done = tokio::task::spawn_blocking(move || zip::unpack(&bytes, &to)).await;
        done.map_err(|error| LambdaError::Internal(format!("unpacking ended early: {error}")))?
            .map_err(|error| LambdaError::Internal(format!("a package cannot be unpacked: {error}")))
    };
    folders.make(&folder, fill).await?;
    Ok(folder)
}

const SWEEP: &str = "lambda/sweep";
const SWEEP_LEASE: Duration = Duration::from_secs(600);
const SWEEP_INTERVAL: Duration = Duration::from_secs(6 * 3_600);
/// How old a package without a function must be: far more than passes between its end and the commit that refers to it.
const SWEEP_AGE: Duration = Duration::from_secs(86_400);

/// Removes packages that no function and no layer uses any more, for as long as the node runs; one node at a time.
pub async fn sweep(platform: Platform) {
    loop {
        platform.clock().sleep_until(platform.clock().now() + SWEEP_INTERVAL).await;
        let Ok(Some(lease)) = platform.store().lease(SWEEP, SWEEP_LEASE).await else { continue };
        let store = platform.store();
        let blobs = platform.blobs().area(AREA);
        if let Err(error) = blobs.sweep(SWEEP_AGE, |ids| in_use(store, ids)).await {
            tracing::warn!(%error, "packages that nobody uses could not be removed, and it is tried again");
        }
        let _ = lease.release().await;
    }
}

async fn in_use(store: &Store, ids: Vec<BlobId>) -> Result<HashSet<BlobId>, LambdaError> {
    let mut used = HashSet::new();
    for id in ids {
        if !CODE.scan(store, &CODE.under(&(id.as_str(),)), 1).await?.rows.is_empty() {
            used.insert(id);
        }
    }
    Ok(used)
}
