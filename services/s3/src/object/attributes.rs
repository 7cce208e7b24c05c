//! `GetObjectAttributes`
//!
//! Source: Amazon S3 API Reference, "GetObjectAttributes".

use pileus_api_s3::{
    Checksum, GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectAttributesRequest, ObjectPart,
};
use pileus_platform::Cx;

use crate::bucket::Bucket;
use crate::checksum;
use crate::data;
use crate::encryption::Wrapping;
use crate::error::S3Error;
use crate::list::request::limit;
use crate::object::get;
use crate::object::new::key;
use crate::object::put::shown_version;
use crate::version::{ObjectVersion, Place, StoredChecksum};

const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// `GetObjectAttributes`
pub async fn get_object_attributes(
    cx: &Cx,
    input: GetObjectAttributesRequest,
) -> Result<GetObjectAttributesOutput, S3Error> {
    let asked = input.object_attributes.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(S3Error::invalid(
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        ));
    }
    if let Some(unknown) = asked.iter().find(|name| !NAMES.contains(&name.as_str())) {
        let message = "Invalid attribute name specified.";
        return Err(S3Error::argument("x-amz-object-attributes", unknown.as_str(), message));
    }
    let has = |name: &str| asked.iter().any(|asked| asked == name);
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let key = key(input.key.as_deref())?;
    let version = get::load(cx, &bucket, key, input.version_id.as_deref(), "GET").await?;
    Wrapping::to_read(
        &version.encryption,
        [
            input.sse_customer_algorithm.as_deref(),
            input.sse_customer_key.as_deref(),
            input.sse_customer_key_md5.as_deref(),
        ],
    )?;
    let parts = match has("ObjectParts") {
        true => parts(cx, &version, input.part_number_marker, input.max_parts).await?,
        false => None,
    };
    Ok(GetObjectAttributesOutput {
        last_modified: Some(version.modified),
        version_id: shown_version(&bucket, &version),
        e_tag: has("ETag").then(|| version.etag.clone()),
        checksum: version.checksum.as_ref().filter(|_| has("Checksum")).map(whole),
        object_parts: parts,
        storage_class: has("StorageClass").then(|| version.storage_class().to_owned()),
        object_size: has("ObjectSize").then_some(version.size as i64),
        ..GetObjectAttributesOutput::default()
    })
}

fn whole(checksum: &StoredChecksum) -> Checksum {
    let mut shown = Checksum::default();
    // The number of parts is told elsewhere.
    let value = checksum.value.split('-').next().unwrap_or_default().to_owned();
    let bare = StoredChecksum { value, ..checksum.clone() };
    checksum::answer!(shown, Some(&bare));
    shown
}

/// Parts are told one by one only where each has a checksum of its own.
async fn parts(
    cx: &Cx,
    version: &ObjectVersion,
    marker: Option<i64>,
    most: Option<i64>,
) -> Result<Option<GetObjectAttributesParts>, S3Error> {
    let Some(count) = version.parts else { return Ok(None) };
    let limit = limit(most, "max-parts")?;
    let marker = marker.unwrap_or(0).max(0);
    let mut shown =
        GetObjectAttributesParts { total_parts_count: Some(i64::from(count)), ..Default::default() };
    let (Place::Layout { id, starts }, Some(sum)) = (&version.place, &version.checksum) else {
        return Ok(Some(shown));
    };
    let all = data::layout(cx.store(), id, starts.len()).await?;
    let mut behind = all.into_iter().filter(|part| i64::from(part.number) > marker);
    let mut listed = Vec::new();
    for part in behind.by_ref().take(limit) {
        let mut one = ObjectPart {
            part_number: Some(i64::from(part.number)),
            size: Some(part.size as i64),
            ..ObjectPart::default()
        };
        if let Some(value) = part.checksum {
            let of_part = StoredChecksum { value, ..sum.clone() };
            checksum::answer_value!(one, &of_part);
        }
        listed.push(one);
    }
    shown.part_number_marker = Some(marker);
    shown.max_parts = Some(limit as i64);
    shown.next_part_number_marker = listed.last().and_then(|part| part.part_number).or(Some(marker));
    shown.is_truncated = Some(behind.next().is_some());
    shown.parts = (!listed.is_empty()).then_some(listed);
    Ok(Some(shown))
}
