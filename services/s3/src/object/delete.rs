//! `DeleteObject`, `DeleteObjects`
//!
//! Source: Amazon S3 API Reference, "DeleteObject", "DeleteObjects"; Amazon S3 User Guide, "Deleting object versions from a
//! versioning-enabled bucket", "How to perform conditional deletes".

use pileus_api_s3::{
    DeleteObjectOutput, DeleteObjectRequest, DeleteObjectsOutput, DeleteObjectsRequest, DeletedObject, Error,
    ObjectIdentifier,
};
use pileus_platform::store::Txn;
use pileus_platform::{Cx, Fault};

use crate::access;
use crate::bucket::{Bucket, Versioning};
use crate::condition::WriteConditions;
use crate::config::versioning::check_mfa;
use crate::data::Freed;
use crate::error::S3Error;
use crate::keys::CURRENT;
use crate::known;
use crate::object::new::key;
use crate::object::write::{self, Bypass, Deleted};

/// Keys that one request may name.
const MAX_KEYS: usize = 1_000;
/// Keys that one transaction deletes: each reads and writes up to about ten rows.
const BATCH: usize = 50;

/// `DeleteObject`
pub async fn delete_object(cx: &Cx, input: DeleteObjectRequest) -> Result<DeleteObjectOutput, S3Error> {
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(S3Error::lacking("x-amz-if-match-last-modified-time, x-amz-if-match-size"));
    }
    let key = key(input.key.as_deref())?;
    let bucket = known::load_authorised(cx, input.bucket.as_deref()).await?;
    if bucket.has_mfa_delete && input.version_id.is_some() {
        check_mfa(cx, input.mfa.as_deref()).await?;
    }
    let target = Target {
        key,
        version: input.version_id.as_deref(),
        conditions: WriteConditions { if_match: input.if_match.as_deref(), if_none_match: None },
        bypass: bypass(input.bypass_governance_retention),
    };
    let (name, target) = (bucket.name.as_str(), &target);
    let (bucket, deleted) = cx
        .transact(|txn| async move {
            let bucket = known::load_in(cx, &txn, name).await?;
            let deleted = target.delete(cx, &txn, &bucket).await?;
            Ok::<_, S3Error>((bucket, deleted))
        })
        .await?;
    let output = DeleteObjectOutput {
        delete_marker: deleted.marker.is_some().then_some(true),
        version_id: match (&deleted.marker, &deleted.version, target.version) {
            (Some(marker), _, _) => Some(marker.version_text().to_owned()),
            (None, Some(version), Some(_)) => Some(version.version_text().to_owned()),
            (None, None, Some(asked)) if bucket.versioning != Versioning::Never => Some(asked.to_owned()),
            _ => None,
        },
        request_charged: None,
    };
    deleted.freed.delete(cx).await;
    Ok(output)
}

pub fn bypass(header: Option<bool>) -> Bypass {
    if header == Some(true) { Bypass::Governance } else { Bypass::No }
}

/// What is to be deleted.
struct Target<'a> {
    key: &'a str,
    version: Option<&'a str>,
    conditions: WriteConditions<'a>,
    bypass: Bypass,
}

impl Target<'_> {
    async fn delete(&self, cx: &Cx, txn: &Txn, bucket: &Bucket) -> Result<Deleted, S3Error> {
        if let Some(version) = self.version.filter(|version| !version.is_empty()) {
            if self.conditions.if_match.is_some() {
                let found = write::find_version(txn, bucket, self.key, version).await?;
                self.conditions.judge(self.key, found.as_ref().map(|(version, _)| version))?;
            }
            return write::delete_version(cx, txn, bucket, self.key, version, self.bypass).await;
        }
        if self.version.is_some() {
            return Err(S3Error::argument("versionId", "", "Version id cannot be the empty string"));
        }
        let present = CURRENT.get(txn, &(bucket.id, self.key)).await?;
        self.conditions.judge(self.key, present.as_ref())?;
        write::delete_current(cx, txn, bucket, self.key, present).await
    }
}

/// `DeleteObjects`: each key is judged, and fails, by itself.
pub async fn delete_objects(cx: &Cx, input: DeleteObjectsRequest) -> Result<DeleteObjectsOutput, S3Error> {
    let delete = input.delete.as_ref().ok_or(S3Error::MalformedXml)?;
    let objects = delete.objects.as_deref().unwrap_or_default();
    if objects.is_empty() || objects.len() > MAX_KEYS {
        return Err(S3Error::MalformedXml);
    }
    let bucket = known::load_authorised(cx, input.bucket.as_deref()).await?;
    if bucket.has_mfa_delete && objects.iter().any(|object| object.version_id.is_some()) {
        check_mfa(cx, input.mfa.as_deref()).await?;
    }
    let bypass = bypass(input.bypass_governance_retention);
    let mut output = DeleteObjectsOutput::default();
    let is_quiet = delete.quiet == Some(true);
    for batch in objects.chunks(BATCH) {
        let mut allowed = Vec::with_capacity(batch.len());
        for object in batch {
            match may_delete(cx, &bucket, object, bypass).await {
                Ok(()) => allowed.push(object),
                Err(error) => output.errors.get_or_insert_default().push(refusal(object, error)),
            }
        }
        let (name, allowed) = (bucket.name.as_str(), &allowed);
        let done = cx
            .transact(|txn| async move {
                let bucket = known::load_in(cx, &txn, name).await?;
                let mut done = Vec::with_capacity(allowed.len());
                for object in allowed {
                    let target = Target {
                        key: object.key.as_deref().unwrap_or_default(),
                        version: object.version_id.as_deref(),
                        conditions: WriteConditions {
                            if_match: object.e_tag.as_deref(),
                            if_none_match: None,
                        },
                        bypass,
                    };
                    match target.delete(cx, &txn, &bucket).await {
                        Err(error @ S3Error::Store(_)) => return Err(error),
                        deleted => done.push(deleted),
                    }
                }
                Ok::<_, S3Error>(done)
            })
            .await?;
        for (object, deleted) in allowed.iter().zip(done) {
            match deleted {
                Ok(deleted) => {
                    if !is_quiet {
                        output.deleted.get_or_insert_default().push(tell(object, &deleted));
                    }
                    Freed::delete(deleted.freed, cx).await;
                }
                Err(error) => output.errors.get_or_insert_default().push(refusal(object, error)),
            }
        }
    }
    Ok(output)
}

async fn may_delete(
    cx: &Cx,
    bucket: &Bucket,
    object: &ObjectIdentifier,
    bypass: Bypass,
) -> Result<(), S3Error> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(S3Error::lacking("LastModifiedTime, Size"));
    }
    let key = key(object.key.as_deref())?;
    for access in access::to_delete(cx, bucket, key, object.version_id.as_deref(), bypass).await? {
        cx.authorise("s3", &access).await?;
    }
    Ok(())
}

fn tell(object: &ObjectIdentifier, deleted: &Deleted) -> DeletedObject {
    let marker = deleted.marker.as_ref();
    DeletedObject {
        key: object.key.clone(),
        version_id: object.version_id.clone(),
        delete_marker: marker.map(|_| true),
        delete_marker_version_id: marker.map(|marker| marker.version_text().to_owned()),
    }
}

fn refusal(object: &ObjectIdentifier, error: S3Error) -> Error {
    let fault = Fault::from(error);
    Error {
        key: object.key.clone(),
        version_id: object.version_id.clone(),
        code: Some(fault.code.into_owned()),
        message: Some(fault.message),
    }
}
