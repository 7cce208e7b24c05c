//! `UploadPart`, `UploadPartCopy`, `ListParts`
//!
//! Source: Amazon S3 API Reference, "UploadPart", "UploadPartCopy", "ListParts".

use pileus_api_s3::{
    CopyPartResult, Initiator, ListPartsOutput, ListPartsRequest, Part as Listed, UploadPartCopyOutput,
    UploadPartCopyRequest, UploadPartOutput, UploadPartRequest,
};
use pileus_platform::store::KeyRange;
use pileus_platform::{Cx, Timestamp};
use pileus_store::Stored;
use serde::{Deserialize, Serialize};

use super::upload::Upload;
use crate::bucket::Bucket;
use crate::checksum::{self, Wanted};
use crate::condition::ReadConditions;
use crate::data::{self, Freed, Incoming, MAX_PUT};
use crate::error::S3Error;
use crate::keys::PARTS;
use crate::list::request::limit;
use crate::object::copy::{CopySource, copied_version};
use crate::object::new::key;
use crate::object::range;
use crate::object::write::seconds;
use crate::owner::{canonical_id, owner};
use crate::version::{Encryption, Place, StoredChecksum};

/// A part of an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    pub size: u64,
    /// Without quotation marks; the MD5 of its bytes, but for customers' keys.
    pub etag: String,
    /// By the upload's algorithm, in base64.
    pub checksum: String,
    pub modified: Timestamp,
    pub place: Place,
}

impl Stored for Part {}

/// # Errors
/// `InvalidArgument`
fn number(part: Option<i64>) -> Result<u32, S3Error> {
    match part {
        Some(number @ 1..=10_000) => Ok(number as u32),
        other => Err(S3Error::argument(
            "partNumber",
            other.map(|number| number.to_string()).unwrap_or_default(),
            "Part number must be an integer between 1 and 10000, inclusive",
        )),
    }
}

/// `UploadPart`
pub async fn upload_part(cx: &Cx, mut input: UploadPartRequest) -> Result<UploadPartOutput, S3Error> {
    let body = std::mem::take(&mut input.body);
    let key = key(input.key.as_deref())?;
    let number = number(input.part_number)?;
    let length = input.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    if length > MAX_PUT {
        return Err(data::too_large(length, MAX_PUT));
    }
    let wanted = checksum::headers!(input, input.checksum_algorithm.as_deref()).wanted()?;
    let md5 = checksum::content_md5(input.content_md5.as_deref())?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let upload_id = input.upload_id.as_deref().unwrap_or_default();
    let upload = Upload::load(cx.store(), &bucket, key, upload_id).await?;
    let wrapping = upload.wrapping([
        input.sse_customer_algorithm.as_deref(),
        input.sse_customer_key.as_deref(),
        input.sse_customer_key_md5.as_deref(),
    ])?;
    check_algorithm(&upload, wanted.as_ref())?;
    let algorithm = upload.checksum.algorithm();
    let also = wanted.as_ref().map(|wanted| wanted.algorithm).filter(|other| *other != algorithm);
    let incoming = data::receive_with(cx, body, &wrapping, (algorithm, also), MAX_PUT).await?;
    let proved = checksum::check_md5(md5.as_ref(), &incoming.md5).and_then(|()| match &wanted {
        Some(wanted) => wanted.check(incoming.also.as_ref().unwrap_or(&incoming.checksum)),
        None => Ok(()),
    });
    if let Err(error) = proved {
        incoming.discard(cx).await;
        return Err(error);
    }
    let told = wanted.is_some() || upload.has_chosen_checksum;
    let of_caller = incoming.also.as_ref().map(StoredChecksum::full);
    let to = Destination { bucket: &bucket.name, key, upload_id, number };
    let part = to.keep(cx, &upload, incoming).await?;
    let mut output = UploadPartOutput {
        e_tag: Some(format!("\"{}\"", part.etag)),
        server_side_encryption: upload.object.encryption.server_side(),
        sse_customer_algorithm: upload.object.encryption.customer_algorithm(),
        sse_customer_key_md5: upload.object.encryption.customer_key_md5(),
        ..UploadPartOutput::default()
    };
    if told {
        let checksum = of_caller.unwrap_or_else(|| part_checksum(&upload, &part));
        checksum::answer_value!(output, &checksum);
    }
    Ok(output)
}

fn part_checksum(upload: &Upload, part: &Part) -> StoredChecksum {
    let (algorithm, value) = (upload.checksum.algorithm.clone(), part.checksum.clone());
    StoredChecksum { algorithm, value, is_composite: false }
}

/// # Errors
/// `InvalidRequest` for a part with another checksum than the upload's.
fn check_algorithm(upload: &Upload, wanted: Option<&Wanted>) -> Result<(), S3Error> {
    let expected = upload.checksum.algorithm();
    match wanted {
        Some(wanted) if upload.has_chosen_checksum && wanted.algorithm != expected => {
            Err(S3Error::invalid(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                expected.name().to_ascii_lowercase(),
                wanted.algorithm.name().to_ascii_lowercase()
            )))
        }
        _ => Ok(()),
    }
}

/// Where a part goes.
struct Destination<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: &'a str,
    number: u32,
}

impl Destination<'_> {
    /// Makes the bytes that have come the part of this number; one that there was before goes.
    async fn keep(&self, cx: &Cx, upload: &Upload, incoming: Incoming) -> Result<Part, S3Error> {
        let part = Part {
            size: incoming.size,
            etag: match upload.object.encryption {
                Encryption::Managed => incoming.md5.hex(),
                Encryption::Customer { .. } => cx.ids().hex(32),
            },
            checksum: incoming.checksum.base64(),
            modified: seconds(cx.now()),
            place: incoming.place.clone(),
        };
        let (kept, row) = (&incoming, &part);
        let done = cx
            .transact(|txn| async move {
                let bucket = Bucket::load(&txn, self.bucket).await?;
                let upload = Upload::load(&txn, &bucket, self.key, self.upload_id).await?;
                let mut freed = Freed::default();
                if let Some(before) = PARTS.get(&txn, &(upload.id, self.number)).await? {
                    freed.remove(cx, &txn, bucket.id, &before.place).await?;
                }
                kept.keep(&txn, &bucket, self.key)?;
                PARTS.put(&txn, &(upload.id, self.number), row)?;
                Ok::<_, S3Error>(freed)
            })
            .await;
        match done {
            Ok(freed) => {
                freed.delete(cx).await;
                Ok(part)
            }
            Err(error) => {
                if !matches!(error, S3Error::Store(_)) {
                    incoming.discard(cx).await;
                }
                Err(error)
            }
        }
    }
}

/// `UploadPartCopy`
pub async fn upload_part_copy(
    cx: &Cx,
    input: UploadPartCopyRequest,
) -> Result<UploadPartCopyOutput, S3Error> {
    let key = key(input.key.as_deref())?;
    let number = number(input.part_number)?;
    let source = CopySource::parse(input.copy_source.as_deref())?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let upload_id = input.upload_id.as_deref().unwrap_or_default();
    let upload = Upload::load(cx.store(), &bucket, key, upload_id).await?;
    let wrapping = upload.wrapping([
        input.sse_customer_algorithm.as_deref(),
        input.sse_customer_key.as_deref(),
        input.sse_customer_key_md5.as_deref(),
    ])?;
    let conditions = ReadConditions {
        if_match: input.copy_source_if_match.as_deref(),
        if_none_match: input.copy_source_if_none_match.as_deref(),
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let customer = [
        input.copy_source_sse_customer_algorithm.as_deref(),
        input.copy_source_sse_customer_key.as_deref(),
        input.copy_source_sse_customer_key_md5.as_deref(),
    ];
    let from = source.load(cx, &conditions, customer).await?;
    let range = match input.copy_source_range.as_deref() {
        Some(header) => range::of_copy(header, from.version.size)?,
        None => 0..from.version.size,
    };
    if range.end - range.start > MAX_PUT {
        return Err(S3Error::invalid(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )));
    }
    let incoming = from.copied(cx, range, &wrapping, upload.checksum.algorithm()).await?;
    let to = Destination { bucket: &bucket.name, key, upload_id, number };
    let part = to.keep(cx, &upload, incoming).await?;
    let mut result = CopyPartResult {
        e_tag: Some(format!("\"{}\"", part.etag)),
        last_modified: Some(part.modified),
        ..CopyPartResult::default()
    };
    if upload.has_chosen_checksum {
        checksum::answer_value!(result, &part_checksum(&upload, &part));
    }
    Ok(UploadPartCopyOutput {
        copy_source_version_id: copied_version(&from),
        copy_part_result: Some(result),
        server_side_encryption: upload.object.encryption.server_side(),
        sse_customer_algorithm: upload.object.encryption.customer_algorithm(),
        sse_customer_key_md5: upload.object.encryption.customer_key_md5(),
        ..UploadPartCopyOutput::default()
    })
}

/// `ListParts`
pub async fn list_parts(cx: &Cx, input: ListPartsRequest) -> Result<ListPartsOutput, S3Error> {
    let key = key(input.key.as_deref())?;
    let limit = limit(input.max_parts, "max-parts")?;
    let marker = match input.part_number_marker {
        None => 0,
        Some(marker @ 0..=2_147_483_647) => marker as u32,
        Some(marker) => {
            let message = "Argument part-number-marker must be an integer between 0 and 2147483647";
            return Err(S3Error::argument("part-number-marker", marker.to_string(), message));
        }
    };
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let upload_id = input.upload_id.as_deref().unwrap_or_default();
    let upload = Upload::load(cx.store(), &bucket, key, upload_id).await?;
    let range: KeyRange =
        PARTS.under(&(upload.id,)).starting_at(PARTS.key(&(upload.id, marker.saturating_add(1))));
    let page = match limit {
        0 => None,
        limit => Some(PARTS.scan(cx.store(), &range, limit).await?),
    };
    let (rows, more) = page.map_or((Vec::new(), false), |page| (page.rows, page.more));
    let last = rows.last().map_or(marker, |((_, number), _)| *number);
    let parts: Vec<Listed> = rows
        .into_iter()
        .map(|((_, number), part)| {
            let mut listed = Listed {
                part_number: Some(i64::from(number)),
                last_modified: Some(part.modified),
                e_tag: Some(format!("\"{}\"", part.etag)),
                size: Some(part.size as i64),
                ..Listed::default()
            };
            if upload.has_chosen_checksum {
                checksum::answer_value!(listed, &part_checksum(&upload, &part));
            }
            listed
        })
        .collect();
    let chosen = upload.has_chosen_checksum;
    Ok(ListPartsOutput {
        bucket: Some(bucket.name),
        key: Some(key.to_owned()),
        upload_id: input.upload_id.clone(),
        part_number_marker: Some(i64::from(marker)),
        next_part_number_marker: Some(i64::from(last)),
        max_parts: Some(limit as i64),
        is_truncated: Some(more),
        parts: (!parts.is_empty()).then_some(parts),
        initiator: Some(initiator(&upload)),
        owner: Some(owner(upload.object.owner)),
        storage_class: Some(upload.object.storage_class().to_owned()),
        checksum_type: chosen.then(|| upload.checksum.kind().to_owned()),
        checksum_algorithm: chosen.then_some(upload.checksum.algorithm),
        ..ListPartsOutput::default()
    })
}

/// The root user goes by its canonical id, everyone else by an ARN.
pub fn initiator(upload: &Upload) -> Initiator {
    let id = match upload.initiator.ends_with(":root") {
        true => canonical_id(upload.object.owner),
        false => upload.initiator.clone(),
    };
    Initiator { id: Some(id), display_name: None }
}
