//! `CompleteMultipartUpload`: the parts' blobs become the object's, and no byte is copied.
//!
//! Source: Amazon S3 API Reference, "CompleteMultipartUpload".

use std::collections::BTreeMap;

use pileus_api_s3::{CompleteMultipartUploadOutput, CompleteMultipartUploadRequest, CompletedPart};
use pileus_platform::Cx;
use pileus_platform::store::Txn;
use pileus_wire::checksum::Algorithm;
use pileus_wire::sigv4::uri_encode;

use super::assemble::{Assembled, assemble};
use super::part::Part;
use super::upload::{Kept, Upload, remove_parts, stored_id_of};
use crate::bucket::Bucket;
use crate::checksum;
use crate::condition::WriteConditions;
use crate::data::{Extent, Freed, LayoutRow, PARTS_IN_ROW};
use crate::effects::Event;
use crate::error::S3Error;
use crate::keys::{CURRENT, LAYOUT, PARTS, UPLOADS};
use crate::object::new::key;
use crate::object::put::shown_version;
use crate::object::write::{self, seconds};
use crate::version::{ObjectVersion, Place, StoredId};

/// Rows of a page of parts.
const PAGE: usize = 1_000;

/// `CompleteMultipartUpload`
pub async fn complete_multipart_upload(
    cx: &Cx,
    input: CompleteMultipartUploadRequest,
) -> Result<CompleteMultipartUploadOutput, S3Error> {
    let key = key(input.key.as_deref())?;
    let upload_id = input.upload_id.as_deref().unwrap_or_default();
    let parts = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let parts = parts.ok_or(S3Error::MalformedXml)?;
    let conditions = WriteConditions {
        if_match: input.if_match.as_deref(),
        if_none_match: input.if_none_match.as_deref(),
    };
    conditions.check_form()?;
    let bucket_name = input.bucket.as_deref().unwrap_or_default();
    let asked = &input;
    let done = cx
        .transact(|txn| async move {
            let bucket = Bucket::load(&txn, bucket_name).await?;
            let upload = Upload::load(&txn, &bucket, key, upload_id).await?;
            let uploaded = parts_of(&txn, &upload.id).await?;
            let needs_sums = upload.has_chosen_checksum;
            let made = assemble(parts, &uploaded, upload_id, &upload.checksum, needs_sums)?;
            check(asked, &upload, &made)?;
            let present = CURRENT.get(&txn, &(bucket.id, key)).await?;
            conditions.judge(key, present.as_ref())?;
            let mut new = upload.object.clone();
            new.modified = seconds(cx.now());
            new.size = made.size;
            new.etag = made.etag.clone();
            new.checksum = Some(made.checksum.clone());
            new.parts = Some(made.parts.len() as u32);
            new.place = lay_out(&txn, &upload.id, &made)?;
            let event = Event::CreatedByMultipartUpload;
            let (version, mut freed) = write::put(cx, &txn, &bucket, key, present, new, event).await?;
            UPLOADS.delete(&txn, &(bucket.id, key, upload_id));
            clear(cx, &txn, &bucket, &upload.id, &uploaded, &made, &mut freed).await?;
            Ok::<_, S3Error>((bucket, version, freed))
        })
        .await;
    let (bucket, version, freed) = match done {
        Err(S3Error::NoSuchUpload { .. }) => {
            let (bucket, version) = repeated(cx, bucket_name, key, upload_id, parts).await?;
            (bucket, version, Freed::default())
        }
        done => done?,
    };
    freed.delete(cx).await;
    let encoded = key.split('/').map(|part| uri_encode(part.as_bytes())).collect::<Vec<_>>().join("/");
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("{}/{}/{encoded}", cx.endpoint(), bucket.name)),
        e_tag: Some(version.quoted_etag()),
        server_side_encryption: version.encryption.server_side(),
        version_id: shown_version(&bucket, &version),
        key: Some(key.to_owned()),
        ..CompleteMultipartUploadOutput::default()
    };
    checksum::answer!(output, &version.checksum);
    output.bucket = Some(bucket.name);
    Ok(output)
}

async fn parts_of(txn: &Txn, upload: &StoredId) -> Result<BTreeMap<u32, Part>, S3Error> {
    let mut range = PARTS.under(&(*upload,));
    let mut parts = BTreeMap::new();
    loop {
        let page = PARTS.scan(txn, &range, PAGE).await?;
        if let Some((last, _)) = page.rows.last() {
            range = range.after(&PARTS.key(last));
        }
        parts.extend(page.rows.into_iter().map(|((_, number), part)| (number, part)));
        if !page.more {
            return Ok(parts);
        }
    }
}

/// What the request says of the whole object.
fn check(
    asked: &CompleteMultipartUploadRequest,
    upload: &Upload,
    made: &Assembled<'_>,
) -> Result<(), S3Error> {
    if let Some(size) = asked.mpu_object_size.filter(|size| *size != made.size as i64) {
        return Err(S3Error::invalid(format!(
            "The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {}",
            made.size
        )));
    }
    if let Some(kind) = asked.checksum_type.as_deref().filter(|kind| *kind != upload.checksum.kind()) {
        return Err(S3Error::invalid(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode, not {kind}.",
            upload.checksum.kind()
        )));
    }
    let declared = [
        (Algorithm::Crc32, &asked.checksum_crc32),
        (Algorithm::Crc32c, &asked.checksum_crc32c),
        (Algorithm::Crc64Nvme, &asked.checksum_crc64nvme),
        (Algorithm::Sha1, &asked.checksum_sha1),
        (Algorithm::Sha256, &asked.checksum_sha256),
    ];
    for (algorithm, value) in declared {
        let Some(value) = value else { continue };
        if algorithm != upload.checksum.algorithm() {
            return Err(S3Error::invalid(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                upload.checksum.algorithm.to_ascii_lowercase(),
                algorithm.name().to_ascii_lowercase()
            )));
        }
        let whole = &made.checksum.value;
        let is_same = value == whole || whole.rsplit_once('-').is_some_and(|(digest, _)| digest == value);
        if !is_same {
            return Err(S3Error::refused(
                "BadDigest",
                400,
                format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
            ));
        }
    }
    Ok(())
}

/// Writes which blobs hold the object.
fn lay_out(txn: &Txn, id: &StoredId, made: &Assembled<'_>) -> Result<Place, S3Error> {
    let (mut starts, mut offset) = (Vec::new(), 0);
    for (row, parts) in made.parts.chunks(PARTS_IN_ROW).enumerate() {
        starts.push(offset);
        let extents = parts.iter().map(|(number, part)| Extent {
            number: *number,
            size: part.size,
            place: part.place.clone(),
            checksum: Some(part.checksum.clone()),
        });
        let row_of_parts = LayoutRow { parts: extents.collect() };
        offset += parts.iter().map(|(_, part)| part.size).sum::<u64>();
        LAYOUT.put(txn, &(*id, row as u32), &row_of_parts)?;
    }
    Ok(Place::Layout { id: *id, starts })
}

/// Parts that are removed in the transaction itself; more go soon after.
const AT_ONCE: usize = 200;

/// Removes the rows of the parts, and the bytes of those that were not listed.
async fn clear(
    cx: &Cx,
    txn: &Txn,
    bucket: &Bucket,
    upload: &StoredId,
    uploaded: &BTreeMap<u32, Part>,
    made: &Assembled<'_>,
    freed: &mut Freed,
) -> Result<(), S3Error> {
    let mut kept = Kept::none();
    made.parts.iter().for_each(|(number, _)| kept.add(*number));
    if uploaded.len() > AT_ONCE {
        return Ok(remove_parts(txn, cx.now(), bucket.id, upload, &kept)?);
    }
    for (number, part) in uploaded {
        PARTS.delete(txn, &(*upload, *number));
        if !kept.has(*number) {
            freed.remove(cx, txn, bucket.id, &part.place).await?;
        }
    }
    Ok(())
}

/// The upload is over. If the object that it made is still there, the caller asks again for what it did not hear.
async fn repeated(
    cx: &Cx,
    bucket: &str,
    key: &str,
    upload_id: &str,
    parts: &[CompletedPart],
) -> Result<(Bucket, ObjectVersion), S3Error> {
    let bucket = Bucket::load(cx.store(), bucket).await?;
    let version = CURRENT.get(cx.store(), &(bucket.id, key)).await?;
    let id = stored_id_of(upload_id);
    let is_same = |version: &ObjectVersion| match &version.place {
        Place::Layout { id: of, .. } => Some(*of) == id && version.parts == Some(parts.len() as u32),
        _ => false,
    };
    match version.filter(is_same) {
        Some(version) => Ok((bucket, version)),
        None => Err(S3Error::NoSuchUpload { upload: upload_id.to_owned() }),
    }
}
