//! `GetObject`, `HeadObject`
//!
//! Source: Amazon S3 API Reference, "GetObject", "HeadObject", "Common Response Headers".

use std::ops::Range;
use std::sync::Arc;

use pileus_api_s3::{GetObjectOutput, GetObjectRequest, HeadObjectOutput, HeadObjectRequest};
use pileus_platform::{CallerKind, Cx, Fault, Timestamp};
use pileus_wire::value::Map;

use crate::bucket::{Bucket, Versioning};
use crate::checksum;
use crate::condition::{ReadConditions, Verdict};
use crate::data;
use crate::encryption::{CustomerHeaders, Wrapping};
use crate::error::S3Error;
use crate::keys::LAYOUT;
use crate::lifecycle;
use crate::object::new::key;
use crate::object::put::shown_version;
use crate::object::range;
use crate::object::write::{find_version, latest_older};
use crate::version::{ObjectVersion, Place, StoredChecksum};
use crate::{access, hot, known};

/// Reads that meet a version whose bytes were just replaced look again so often.
const ATTEMPTS: usize = 4;

/// Which object a read is about, and which part of it.
struct Wanted<'a> {
    bucket: Option<&'a str>,
    key: &'a str,
    version: Option<&'a str>,
    conditions: ReadConditions<'a>,
    range: Option<&'a str>,
    part: Option<i64>,
    customer: CustomerHeaders<'a>,
}

macro_rules! wanted {
    ($input:expr) => {
        Wanted {
            bucket: $input.bucket.as_deref(),
            key: key($input.key.as_deref())?,
            version: $input.version_id.as_deref(),
            conditions: ReadConditions {
                if_match: $input.if_match.as_deref(),
                if_none_match: $input.if_none_match.as_deref(),
                if_modified_since: $input.if_modified_since,
                if_unmodified_since: $input.if_unmodified_since,
            },
            range: $input.range.as_deref(),
            part: $input.part_number,
            customer: [
                $input.sse_customer_algorithm.as_deref(),
                $input.sse_customer_key.as_deref(),
                $input.sse_customer_key_md5.as_deref(),
            ],
        }
    };
}

/// What both operations tell of a version; `$overrides` is the request.
macro_rules! tell {
    ($output:ident, $found:expr, $input:expr) => {{
        let Found { bucket, version, .. } = &$found;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.last_modified = Some(version.modified);
        $output.e_tag = Some(version.quoted_etag());
        $output.version_id = shown_version(bucket, version);
        let headers = &version.headers;
        let time = |moment: Option<Timestamp>| moment.map(Timestamp::to_http_date);
        $output.cache_control = $input.response_cache_control.clone().or(headers.cache_control.clone());
        $output.content_disposition =
            $input.response_content_disposition.clone().or(headers.content_disposition.clone());
        $output.content_encoding =
            $input.response_content_encoding.clone().or(headers.content_encoding.clone());
        $output.content_language =
            $input.response_content_language.clone().or(headers.content_language.clone());
        $output.content_type = $input
            .response_content_type
            .clone()
            .or(headers.content_type.clone())
            .or(Some("binary/octet-stream".to_owned()));
        $output.expires = time($input.response_expires).or(headers.expires.clone());
        $output.website_redirect_location = headers.website_redirect_location.clone();
        $output.metadata = (!version.metadata.is_empty()).then(|| Map(version.metadata.clone()));
        $output.server_side_encryption = version.encryption.server_side();
        $output.sse_customer_algorithm = version.encryption.customer_algorithm();
        $output.sse_customer_key_md5 = version.encryption.customer_key_md5();
        $output.storage_class = version.storage_class.clone();
        $output.replication_status = version.replication_status.clone();
        $output.tag_count = (!version.tags.is_empty()).then(|| version.tags.len() as i64);
        $output.object_lock_mode = version.retention.map(|it| it.mode.as_str().to_owned());
        $output.object_lock_retain_until_date = version.retention.map(|it| it.until);
        $output.object_lock_legal_hold_status =
            version.legal_hold.map(|is_on| if is_on { "ON" } else { "OFF" }.to_owned());
        $output.content_length = Some(($found.range.end - $found.range.start) as i64);
        $output.content_range = $found.is_part.then(|| range::content_range(&$found.range, version.size));
        $output.parts_count = $found.parts_count;
        if $input.checksum_mode.as_deref() == Some("ENABLED") {
            checksum::answer!($output, $found.checksum());
        }
    }};
}

/// `GetObject`
pub async fn get_object(cx: &Cx, input: GetObjectRequest) -> Result<GetObjectOutput, S3Error> {
    check_overrides(
        cx,
        [
            input.response_cache_control.is_some(),
            input.response_content_disposition.is_some(),
            input.response_content_encoding.is_some(),
            input.response_content_language.is_some(),
            input.response_content_type.is_some(),
            input.response_expires.is_some(),
        ],
    )?;
    let wanted = wanted!(input);
    for attempt in 1.. {
        let found = wanted.find(cx, "GET").await?;
        let class = found.version.storage_class();
        if matches!(class, "GLACIER" | "DEEP_ARCHIVE") && !found.version.is_restored(cx.now()) {
            return Err(S3Error::refused(
                "InvalidObjectState",
                403,
                "The operation is not valid for the object's storage class",
            )
            .with("StorageClass", class));
        }
        let place = &found.version.place;
        let body = data::read(cx, found.bucket.id, place, &found.wrapping, found.range.clone()).await;
        let body = match body {
            Err(error) if data::is_gone(&error) && attempt < ATTEMPTS => continue,
            body => body?,
        };
        let mut output = GetObjectOutput { body, ..GetObjectOutput::default() };
        tell!(output, found, input);
        output.restore = found.version.restore_header(cx.now());
        output.expiration =
            lifecycle::expiration(cx.store(), &found.bucket, wanted.key, &found.version).await?;
        return Ok(output);
    }
    Err(data::gone())
}

/// `HeadObject`
pub async fn head_object(cx: &Cx, input: HeadObjectRequest) -> Result<HeadObjectOutput, S3Error> {
    let wanted = wanted!(input);
    let found = wanted.find(cx, "HEAD").await?;
    let mut output = HeadObjectOutput::default();
    tell!(output, found, input);
    output.restore = found.version.restore_header(cx.now());
    output.expiration = lifecycle::expiration(cx.store(), &found.bucket, wanted.key, &found.version).await?;
    Ok(output)
}

/// Source: Amazon S3 API Reference, "GetObject": only signed requests may override headers of the answer.
fn check_overrides(cx: &Cx, overrides: [bool; 6]) -> Result<(), S3Error> {
    if cx.caller().kind == CallerKind::Anonymous && overrides.contains(&true) {
        return Err(S3Error::invalid(
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    Ok(())
}

/// A version that may be read, and the bytes that are wanted of it.
struct Found {
    bucket: Arc<Bucket>,
    version: Arc<ObjectVersion>,
    wrapping: Wrapping,
    range: Range<u64>,
    /// The range was asked for.
    is_part: bool,
    parts_count: Option<i64>,
    /// Of the one part that was asked for.
    part_checksum: Option<StoredChecksum>,
}

impl Found {
    /// The checksum of what is given: none is known of a range.
    fn checksum(&self) -> Option<&StoredChecksum> {
        let is_whole = !self.is_part || self.range == (0..self.version.size);
        self.part_checksum.as_ref().or(self.version.checksum.as_ref().filter(|_| is_whole))
    }
}

impl Wanted<'_> {
    async fn find(&self, cx: &Cx, method: &'static str) -> Result<Found, S3Error> {
        if self.part.is_some() && self.range.is_some() {
            return Err(S3Error::invalid("Cannot specify both Range header and partNumber query parameter"));
        }
        let bucket = known::load_authorised(cx, self.bucket).await?;
        let version = load(cx, &bucket, self.key, self.version, method).await?;
        let wrapping = Wrapping::to_read(&version.encryption, self.customer)?;
        match self.conditions.judge(&version.etag, version.modified) {
            Verdict::Go => {}
            Verdict::Failed(condition) => return Err(S3Error::PreconditionFailed { condition }),
            Verdict::NotModified => return Err(not_modified(&bucket, &version)),
        }
        let mut found = Found {
            range: 0..version.size,
            bucket,
            version,
            wrapping,
            is_part: false,
            parts_count: None,
            part_checksum: None,
        };
        match self.part {
            Some(number) => found.narrow_to_part(cx, number).await?,
            None => {
                if let Some(range) = range::of_header(self.range, found.version.size)? {
                    found.range = range;
                    found.is_part = true;
                }
            }
        }
        Ok(found)
    }
}

impl Found {
    async fn narrow_to_part(&mut self, cx: &Cx, number: i64) -> Result<(), S3Error> {
        if !(1..=10_000).contains(&number) {
            return Err(S3Error::argument(
                "partNumber",
                number.to_string(),
                "Part number must be an integer between 1 and 10000, inclusive",
            ));
        }
        let count = i64::from(self.version.parts.unwrap_or(1));
        if number > count {
            return Err(S3Error::refused(
                "InvalidPartNumber",
                416,
                "The requested partnumber is not satisfiable",
            )
            .with("ActualPartCount", count.to_string())
            .with("PartNumberRequested", number.to_string()));
        }
        self.is_part = self.version.size > 0;
        self.parts_count = self.version.parts.map(i64::from);
        let Place::Layout { id, starts } = &self.version.place else { return Ok(()) };
        let at = (number - 1) as usize;
        let row = at / data::PARTS_IN_ROW;
        let found = LAYOUT.get(cx.store(), &(*id, row as u32)).await?.ok_or_else(data::gone)?;
        let mut start = starts.get(row).copied().unwrap_or(0);
        for part in &found.parts[..(at % data::PARTS_IN_ROW).min(found.parts.len())] {
            start += part.size;
        }
        let part = found.parts.get(at % data::PARTS_IN_ROW).ok_or_else(data::gone)?;
        self.range = start..start + part.size;
        self.part_checksum = self.version.checksum.as_ref().and_then(|whole| {
            Some(StoredChecksum {
                algorithm: whole.algorithm.clone(),
                value: part.checksum.clone()?,
                is_composite: whole.is_composite,
            })
        });
        Ok(())
    }
}

fn not_modified(bucket: &Bucket, version: &ObjectVersion) -> S3Error {
    let mut fault = Fault::framework("NotModified", 304, "Not Modified")
        .with_header("etag", version.quoted_etag())
        .with_header("last-modified", version.modified.to_http_date());
    for (name, value) in [
        ("cache-control", &version.headers.cache_control),
        ("expires", &version.headers.expires),
        ("x-amz-version-id", &shown_version(bucket, version)),
    ] {
        if let Some(value) = value {
            fault = fault.with_header(name, value.as_str());
        }
    }
    fault.into()
}

/// The version that a read is about.
///
/// # Errors
/// `NoSuchKey`, which is `AccessDenied` for those who may not list the bucket; `NoSuchVersion`; `MethodNotAllowed` for a delete
/// marker that is named.
pub async fn load(
    cx: &Cx,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
    method: &'static str,
) -> Result<Arc<ObjectVersion>, S3Error> {
    if let Some(id) = version.filter(|id| !id.is_empty()) {
        return match find_version(cx.store(), bucket, key, id).await? {
            None if may_list(cx, bucket).await? => {
                Err(S3Error::NoSuchVersion { key: key.to_owned(), version: id.to_owned() })
            }
            None => Err(S3Error::AccessDenied),
            Some((marker, _)) if marker.is_delete_marker => Err(hidden(&marker, method)),
            Some((found, _)) => Ok(Arc::new(found)),
        };
    }
    if version.is_some() {
        return Err(S3Error::argument("versionId", "", "Version id cannot be the empty string"));
    }
    if let Some(found) = hot::current(cx, bucket.id, key).await? {
        return Ok(found);
    }
    if !may_list(cx, bucket).await? {
        return Err(S3Error::AccessDenied);
    }
    let marker = match bucket.versioning {
        Versioning::Never => None,
        _ => latest_older(cx.store(), bucket, key).await?.filter(|older| older.is_delete_marker),
    };
    let Some(marker) = marker else { return Err(S3Error::NoSuchKey { key: key.to_owned() }) };
    let fault = Fault::from(S3Error::NoSuchKey { key: key.to_owned() })
        .with_header("x-amz-delete-marker", "true")
        .with_header("x-amz-version-id", marker.version_text());
    Err(fault.into())
}

fn hidden(marker: &ObjectVersion, method: &'static str) -> S3Error {
    let fault = Fault::from(S3Error::MethodNotAllowed { method, resource: "DeleteMarker" })
        .with_header("x-amz-delete-marker", "true")
        .with_header("x-amz-version-id", marker.version_text())
        .with_header("last-modified", marker.modified.to_http_date())
        .with_header("allow", "DELETE");
    fault.into()
}

/// Who may not list a bucket is not told what it lacks.
async fn may_list(cx: &Cx, bucket: &Bucket) -> Result<bool, S3Error> {
    Ok(cx.is_allowed("s3", &access::on_bucket("s3:ListBucket", bucket)).await?)
}
