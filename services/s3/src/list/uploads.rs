//! `ListMultipartUploads`
//!
//! Source: Amazon S3 API Reference, "ListMultipartUploads".

use pileus_api_s3::{ListMultipartUploadsOutput, ListMultipartUploadsRequest, MultipartUpload};
use pileus_platform::Cx;
use pileus_platform::store::KeyRange;

use super::request::{Encoding, Filter, limit};
use super::rows::{Rows, behind};
use crate::bucket::Bucket;
use crate::error::S3Error;
use crate::keys::UPLOADS;
use crate::multipart::part::initiator;
use crate::owner::owner;

/// `ListMultipartUploads`: by key, the oldest of a key first.
pub async fn list_multipart_uploads(
    cx: &Cx,
    input: ListMultipartUploadsRequest,
) -> Result<ListMultipartUploadsOutput, S3Error> {
    let encoding = Encoding::parse(input.encoding_type.as_deref())?;
    let limit = limit(input.max_uploads, "max-uploads")?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let filter = Filter::new(input.prefix.as_deref(), input.delimiter.as_deref());
    let begins_with = |text: &str| UPLOADS.builder().key(&(bucket.id,)).str_prefix(text).build();
    let mut range = KeyRange::prefix(begins_with(filter.prefix));
    if let Some(key) = input.key_marker.as_deref().filter(|key| !key.is_empty()) {
        let is_told = filter.common(key).is_some_and(|common| common == key);
        let start = match input.upload_id_marker.as_deref().filter(|upload| !upload.is_empty()) {
            _ if is_told => behind(begins_with(key)),
            Some(upload) => behind(UPLOADS.key(&(bucket.id, key, upload))),
            None => behind(UPLOADS.key(&(bucket.id, key))),
        };
        range.start = range.start.max(start);
    }
    let mut output = ListMultipartUploadsOutput {
        key_marker: Some(encoding.show(input.key_marker.as_deref().unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        prefix: Some(encoding.show(filter.prefix)),
        delimiter: encoding.show_given(filter.delimiter),
        max_uploads: Some(limit as i64),
        is_truncated: Some(false),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    };
    let mut rows = Rows::new(cx.store(), UPLOADS, range, limit.clamp(1, 250) + 1);
    let (mut prefixes, mut uploads) = (Vec::new(), Vec::new());
    let mut last = (String::new(), String::new());
    loop {
        if limit == 0 {
            break;
        }
        let Some((_, key, _)) = rows.peek().await? else { break };
        if prefixes.len() + uploads.len() == limit {
            output.is_truncated = Some(true);
            output.next_key_marker = Some(encoding.show(&last.0));
            output.next_upload_id_marker = Some(last.1);
            break;
        }
        if let Some(common) = filter.common(key).map(str::to_owned) {
            rows.seek(behind(begins_with(&common)), |(_, key, _)| key.starts_with(&common));
            last = (common.clone(), String::new());
            prefixes.push(common);
            continue;
        }
        let Some(((_, key, upload_id), upload)) = rows.take()? else { break };
        let chosen = upload.has_chosen_checksum;
        uploads.push(MultipartUpload {
            upload_id: Some(upload_id.clone()),
            key: Some(encoding.show(&key)),
            initiated: Some(upload.initiated),
            storage_class: Some(upload.object.storage_class().to_owned()),
            owner: Some(owner(upload.object.owner)),
            initiator: Some(initiator(&upload)),
            checksum_type: chosen.then(|| upload.checksum.kind().to_owned()),
            checksum_algorithm: chosen.then_some(upload.checksum.algorithm),
            version_id: None,
        });
        last = (key, upload_id);
    }
    output.common_prefixes = encoding.show_prefixes(prefixes);
    output.uploads = (!uploads.is_empty()).then_some(uploads);
    output.bucket = Some(bucket.name);
    Ok(output)
}
