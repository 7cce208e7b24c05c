//! `ListObjects`, `ListObjectsV2`
//!
//! Source: Amazon S3 API Reference, "ListObjects", "ListObjectsV2".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use pileus_api_s3::{
    ListObjectsOutput, ListObjectsRequest, ListObjectsV2Output, ListObjectsV2Request, Object, RestoreStatus,
};
use pileus_platform::store::KeyRange;
use pileus_platform::{Cx, Timestamp};

use super::request::{Encoding, Filter, limit};
use super::rows::{Rows, behind};
use crate::bucket::Bucket;
use crate::error::S3Error;
use crate::keys::CURRENT;
use crate::owner::owner;
use crate::version::ObjectVersion;

/// A page of current objects and common prefixes.
pub struct Page {
    pub objects: Vec<(String, ObjectVersion)>,
    pub prefixes: Vec<String>,
    /// The last name of the page, if there is more.
    pub next: Option<String>,
}

/// Rows that are read at once where names are rolled up: a seek throws the rest of them away.
const ROWS_WITH_DELIMITER: usize = 64;

/// Lists the current objects behind `after`.
///
/// # Errors
/// Faults of the store.
pub async fn list(
    cx: &Cx,
    bucket: &Bucket,
    filter: Filter<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, S3Error> {
    let begins_with = |text: &str| CURRENT.builder().key(&(bucket.id,)).str_prefix(text).build();
    let mut range = KeyRange::prefix(begins_with(filter.prefix));
    if let Some(after) = after.filter(|after| !after.is_empty()) {
        // A common prefix that was told is done with all that it stands for.
        let is_told = filter.common(after).is_some_and(|common| common == after);
        let start = match is_told {
            true => behind(begins_with(after)),
            false => {
                let mut key = CURRENT.key(&(bucket.id, after)).to_vec();
                key.push(0);
                key.into()
            }
        };
        if start > range.start {
            range.start = start;
        }
    }
    let mut page = Page { objects: Vec::new(), prefixes: Vec::new(), next: None };
    if limit == 0 || range.is_empty() {
        return Ok(page);
    }
    let size = if filter.delimiter.is_some() { ROWS_WITH_DELIMITER } else { limit + 1 };
    let mut rows = Rows::new(cx.store(), CURRENT, range, size);
    let mut last = String::new();
    while let Some((_, key)) = rows.peek().await? {
        if page.objects.len() + page.prefixes.len() == limit {
            page.next = Some(last);
            break;
        }
        match filter.common(key).map(str::to_owned) {
            Some(common) => {
                rows.seek(behind(begins_with(&common)), |(_, key)| key.starts_with(&common));
                last.clone_from(&common);
                page.prefixes.push(common);
            }
            None => {
                if let Some(((_, key), version)) = rows.take()? {
                    last.clone_from(&key);
                    page.objects.push((key, version));
                }
            }
        }
    }
    Ok(page)
}

/// How the entries of a page are shown.
struct Shown {
    encoding: Encoding,
    has_owner: bool,
    has_restore: bool,
    now: Timestamp,
}

impl Shown {
    fn object(&self, key: &str, version: &ObjectVersion) -> Object {
        Object {
            key: Some(self.encoding.show(key)),
            last_modified: Some(version.modified),
            e_tag: Some(version.quoted_etag()),
            checksum_algorithm: version.checksum.as_ref().map(|sum| vec![sum.algorithm.clone()]),
            checksum_type: version.checksum.as_ref().map(|sum| sum.kind().to_owned()),
            size: Some(version.size as i64),
            storage_class: Some(version.storage_class().to_owned()),
            owner: self.has_owner.then(|| owner(version.owner)),
            restore_status: if self.has_restore { restore_status(version, self.now) } else { None },
        }
    }
}

/// `RestoreStatus` of versions of archive classes.
pub fn restore_status(version: &ObjectVersion, now: Timestamp) -> Option<RestoreStatus> {
    let until = version.restored_until.filter(|until| *until > now)?;
    Some(RestoreStatus { is_restore_in_progress: Some(false), restore_expiry_date: Some(until) })
}

/// # Errors
/// `InvalidArgument`
pub fn wants_restore(attributes: Option<&[String]>) -> Result<bool, S3Error> {
    match attributes.unwrap_or_default().iter().find(|name| *name != "RestoreStatus") {
        Some(other) => Err(S3Error::argument(
            "x-amz-optional-object-attributes",
            other.as_str(),
            "Invalid attribute name specified",
        )),
        None => Ok(attributes.is_some_and(|attributes| !attributes.is_empty())),
    }
}

/// `ListObjects`
pub async fn list_objects(cx: &Cx, input: ListObjectsRequest) -> Result<ListObjectsOutput, S3Error> {
    let encoding = Encoding::parse(input.encoding_type.as_deref())?;
    let limit = limit(input.max_keys, "max-keys")?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let filter = Filter::new(input.prefix.as_deref(), input.delimiter.as_deref());
    let page = list(cx, &bucket, filter, input.marker.as_deref(), limit).await?;
    let has_restore = wants_restore(input.optional_object_attributes.as_deref())?;
    let shown = Shown { encoding, has_owner: true, has_restore, now: cx.now() };
    let contents: Vec<_> = page.objects.iter().map(|(key, version)| shown.object(key, version)).collect();
    Ok(ListObjectsOutput {
        is_truncated: Some(page.next.is_some()),
        marker: Some(encoding.show(input.marker.as_deref().unwrap_or_default())),
        // Without a delimiter the last key of the page says as much.
        next_marker: page.next.filter(|_| filter.delimiter.is_some()).map(|next| encoding.show(&next)),
        name: Some(bucket.name),
        prefix: Some(encoding.show(filter.prefix)),
        delimiter: encoding.show_given(filter.delimiter),
        max_keys: Some(limit as i64),
        common_prefixes: encoding.show_prefixes(page.prefixes),
        encoding_type: input.encoding_type,
        request_charged: None,
        contents: (!contents.is_empty()).then_some(contents),
    })
}

/// `ListObjectsV2`
pub async fn list_objects_v2(cx: &Cx, input: ListObjectsV2Request) -> Result<ListObjectsV2Output, S3Error> {
    let encoding = Encoding::parse(input.encoding_type.as_deref())?;
    let limit = limit(input.max_keys, "max-keys")?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let filter = Filter::new(input.prefix.as_deref(), input.delimiter.as_deref());
    let token = input.continuation_token.as_deref().map(read_token).transpose()?;
    let after = token.as_deref().or(input.start_after.as_deref());
    let page = list(cx, &bucket, filter, after, limit).await?;
    let has_restore = wants_restore(input.optional_object_attributes.as_deref())?;
    let has_owner = input.fetch_owner == Some(true);
    let shown = Shown { encoding, has_owner, has_restore, now: cx.now() };
    let contents: Vec<_> = page.objects.iter().map(|(key, version)| shown.object(key, version)).collect();
    Ok(ListObjectsV2Output {
        is_truncated: Some(page.next.is_some()),
        name: Some(bucket.name),
        prefix: Some(encoding.show(filter.prefix)),
        delimiter: encoding.show_given(filter.delimiter),
        max_keys: Some(limit as i64),
        key_count: Some((page.objects.len() + page.prefixes.len()) as i64),
        common_prefixes: encoding.show_prefixes(page.prefixes),
        encoding_type: input.encoding_type,
        continuation_token: input.continuation_token,
        next_continuation_token: page.next.map(|next| TOKEN.encode(next)),
        start_after: encoding.show_given(input.start_after.as_deref()),
        request_charged: None,
        contents: (!contents.is_empty()).then_some(contents),
    })
}

fn read_token(token: &str) -> Result<String, S3Error> {
    let read = TOKEN.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.filter(|name| !name.is_empty()).ok_or_else(|| {
        S3Error::argument("continuation-token", token, "The continuation token provided is incorrect")
    })
}
