//! `ListObjectVersions`
//!
//! Source: Amazon S3 API Reference, "ListObjectVersions".

use pileus_api_s3::{
    DeleteMarkerEntry, ListObjectVersionsOutput, ListObjectVersionsRequest, ObjectVersion as Listed,
};
use pileus_platform::Cx;
use pileus_platform::store::KeyRange;
use pileus_store::key::Descending;

use super::objects::{restore_status, wants_restore};
use super::request::{Encoding, Filter, limit};
use super::rows::{Rows, behind};
use crate::bucket::Bucket;
use crate::error::S3Error;
use crate::keys::{CURRENT, OLDER};
use crate::object::write::{find_version, order_of_marker};
use crate::owner::owner;
use crate::version::ObjectVersion;

/// A page of versions, newest first for each key, and common prefixes.
#[derive(Default)]
pub struct Page {
    pub versions: Vec<Entry>,
    pub prefixes: Vec<String>,
    /// The last key and version of the page, if there is more.
    pub next: Option<(String, Option<String>)>,
}

/// A version or a delete marker.
pub struct Entry {
    pub key: String,
    pub version: ObjectVersion,
    pub is_latest: bool,
}

/// Where a page begins: behind a key, or behind one of its versions.
#[derive(Debug, Clone, Copy, Default)]
pub struct After<'a> {
    pub key: Option<&'a str>,
    pub version: Option<&'a str>,
}

const ROWS: usize = 250;
const ROWS_WITH_DELIMITER: usize = 64;

/// Lists versions.
///
/// # Errors
/// `InvalidArgument` for what is no version id.
pub async fn list(
    cx: &Cx,
    bucket: &Bucket,
    filter: Filter<'_>,
    after: After<'_>,
    limit: usize,
) -> Result<Page, S3Error> {
    let id = bucket.id;
    let current_from = |text: &str| CURRENT.builder().key(&(id,)).str_prefix(text).build();
    let older_from = |text: &str| OLDER.builder().key(&(id,)).str_prefix(text).build();
    let mut current = KeyRange::prefix(current_from(filter.prefix));
    let mut older = KeyRange::prefix(older_from(filter.prefix));
    if let Some(key) = after.key {
        let is_told = filter.common(key).is_some_and(|common| common == key);
        let (current_start, older_start) = if is_told {
            (behind(current_from(key)), behind(older_from(key)))
        } else {
            let older_start = match after.version {
                None => behind(OLDER.key(&(id, key))),
                Some(version) => match behind_version(cx, bucket, key, version).await? {
                    Some(order) => OLDER.key(&(id, key, Descending(order))),
                    None => OLDER.key(&(id, key)),
                },
            };
            (behind(CURRENT.key(&(id, key))), older_start)
        };
        current.start = current.start.max(current_start);
        older.start = older.start.max(older_start);
    }
    let mut page = Page::default();
    if limit == 0 {
        return Ok(page);
    }
    let size = if filter.delimiter.is_some() { ROWS_WITH_DELIMITER } else { ROWS.min(limit + 1) };
    let mut current = Rows::new(cx.store(), CURRENT, current, size);
    let mut older = Rows::new(cx.store(), OLDER, older, size);
    // The key whose latest version came by already: on this page, or before it.
    let mut seen = after.version.and(after.key).map(str::to_owned);
    let mut last = (String::new(), None);
    loop {
        let next_current = current.peek().await?.map(|(_, key)| key.clone());
        let next_older = older.peek().await?.map(|(_, key, _)| key.clone());
        let (key, is_current) = match (next_current, next_older) {
            (None, None) => return Ok(page),
            (Some(key), None) => (key, true),
            (None, Some(key)) => (key, false),
            (Some(one), Some(other)) if one <= other => (one, true),
            (Some(_), Some(other)) => (other, false),
        };
        if page.versions.len() + page.prefixes.len() == limit {
            page.next = Some(last);
            return Ok(page);
        }
        if let Some(common) = filter.common(&key).map(str::to_owned) {
            current.seek(behind(current_from(&common)), |(_, key)| key.starts_with(&common));
            older.seek(behind(older_from(&common)), |(_, key, _)| key.starts_with(&common));
            last = (common.clone(), None);
            page.prefixes.push(common);
            continue;
        }
        let version = match is_current {
            true => current.take()?.map(|(_, version)| version),
            false => older.take()?.map(|(_, version)| version),
        };
        let Some(version) = version else { return Ok(page) };
        let is_latest = is_current || seen.as_deref() != Some(key.as_str());
        seen = Some(key.clone());
        last = (key.clone(), Some(version.version_text().to_owned()));
        page.versions.push(Entry { key, version, is_latest });
    }
}

/// The order below which the versions behind this one lie; `None`: all older ones do.
async fn behind_version(cx: &Cx, bucket: &Bucket, key: &str, version: &str) -> Result<Option<u64>, S3Error> {
    let found = find_version(cx.store(), bucket, key, version).await?;
    Ok(match found {
        Some((_, true)) => None,
        Some((found, false)) => Some(found.order.saturating_sub(1)),
        // It was deleted since: its id still tells its place.
        None => order_of_marker(version).map(|order| order.saturating_sub(1)),
    })
}

/// `ListObjectVersions`
pub async fn list_object_versions(
    cx: &Cx,
    input: ListObjectVersionsRequest,
) -> Result<ListObjectVersionsOutput, S3Error> {
    let encoding = Encoding::parse(input.encoding_type.as_deref())?;
    let limit = limit(input.max_keys, "max-keys")?;
    let bucket = Bucket::load(cx.store(), input.bucket.as_deref().unwrap_or_default()).await?;
    let filter = Filter::new(input.prefix.as_deref(), input.delimiter.as_deref());
    let after = After {
        key: input.key_marker.as_deref().filter(|key| !key.is_empty()),
        version: input.version_id_marker.as_deref(),
    };
    match after {
        After { key: None, version: Some(version) } => {
            return Err(S3Error::argument(
                "version-id-marker",
                version,
                "A version-id marker cannot be specified without a key marker.",
            ));
        }
        After { version: Some(""), .. } => {
            return Err(S3Error::argument("version-id-marker", "", "A version-id marker cannot be empty."));
        }
        _ => {}
    }
    let has_restore = wants_restore(input.optional_object_attributes.as_deref())?;
    let page = list(cx, &bucket, filter, after, limit).await?;
    let (next_key, next_version) = page.next.unzip();
    let mut output = ListObjectVersionsOutput {
        is_truncated: Some(next_key.is_some()),
        key_marker: Some(encoding.show(input.key_marker.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        next_key_marker: next_key.map(|key| encoding.show(&key)),
        next_version_id_marker: next_version.flatten(),
        name: Some(bucket.name),
        prefix: Some(encoding.show(filter.prefix)),
        delimiter: encoding.show_given(filter.delimiter),
        max_keys: Some(limit as i64),
        common_prefixes: encoding.show_prefixes(page.prefixes),
        encoding_type: input.encoding_type,
        ..ListObjectVersionsOutput::default()
    };
    for Entry { key, version, is_latest } in page.versions {
        let (key, version_id) = (Some(encoding.show(&key)), Some(version.version_text().to_owned()));
        let (owner, is_latest, modified) = (Some(owner(version.owner)), Some(is_latest), version.modified);
        if version.is_delete_marker {
            let last_modified = Some(modified);
            let marker = DeleteMarkerEntry { owner, key, version_id, is_latest, last_modified };
            output.delete_markers.get_or_insert_default().push(marker);
            continue;
        }
        output.versions.get_or_insert_default().push(Listed {
            e_tag: Some(version.quoted_etag()),
            checksum_algorithm: version.checksum.as_ref().map(|sum| vec![sum.algorithm.clone()]),
            checksum_type: version.checksum.as_ref().map(|sum| sum.kind().to_owned()),
            size: Some(version.size as i64),
            storage_class: Some(version.storage_class().to_owned()),
            key,
            version_id,
            is_latest,
            last_modified: Some(modified),
            owner,
            restore_status: if has_restore { restore_status(&version, cx.now()) } else { None },
        });
    }
    Ok(output)
}
