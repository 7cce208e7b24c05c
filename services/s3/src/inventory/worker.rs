//! Writes inventories: daily ones after each midnight (UTC) of the movable clock, weekly ones after that of Sunday. One node at a
//! time, under a lease. S3 writes in its own name, so the destination's policy must let `s3.amazonaws.com` in.
//!
//! Source: Amazon S3 User Guide, "Locating your inventory list", "Configuring Amazon S3 Inventory".

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use pileus_api_s3 as api;
use pileus_core::Arn;
use pileus_platform::{Caller, Cx, Fault, Platform};
use pileus_store::key::Descending;
use pileus_store::{KeyRange, Lease, Space, Stored, Table};
use pileus_wire::value::ByteStream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::FIELDS;
use crate::bucket::Bucket;
use crate::config::stored;
use crate::error::S3Error;
use crate::keys::{CURRENT, OLDER};
use crate::notification::record::encode_key;
use crate::replication::rules::bucket_name;
use crate::version::{Encryption, ObjectVersion};

/// Inventories that are asked for, by bucket and id. Ranged over by the worker.
pub const INVENTORIES: Table<(u64, String), Asked> = Table::new(Space::Meta, *b"Sy");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub bucket: String,
    /// The day (since 1970) of the latest one, or of the configuration.
    pub done_day: i64,
}

impl Stored for Asked {}

const LEASE_NAME: &str = "s3/inventory";
const LEASE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_secs(60);
const PAGE: usize = 500;
const DAY_SECS: i64 = 86_400;
/// Rows of one data file.
const ROWS: u64 = 100_000;
const PRINCIPAL: &str = "s3.amazonaws.com";

/// The day of a moment, since 1970.
pub fn day(seconds: i64) -> i64 {
    seconds.div_euclid(DAY_SECS)
}

/// Whether an inventory is due today. 1970 began on a Thursday.
pub fn is_due(frequency: Option<&str>, done_day: i64, today: i64) -> bool {
    match frequency {
        Some("Daily") => done_day < today,
        Some("Weekly") => done_day < today - (today + 4).rem_euclid(7),
        _ => false,
    }
}

pub async fn run(platform: Platform) {
    loop {
        let started = platform.clock().now();
        if let Err(error) = tick(&platform).await {
            tracing::warn!(%error, "inventories could not be written, and are tried again");
        }
        platform.clock().sleep_until(started + INTERVAL).await;
    }
}

async fn tick(platform: &Platform) -> Result<(), S3Error> {
    let today = day(platform.clock().now().as_secs());
    let mut lease: Option<Lease> = None;
    let mut range = INVENTORIES.all();
    loop {
        let page = INVENTORIES.scan(platform.store(), &range, PAGE).await?;
        let Some((last, _)) = page.rows.last() else { break };
        range = range.after(&INVENTORIES.key(last));
        for (key, asked) in page.rows {
            if asked.done_day >= today {
                continue;
            }
            if lease.is_none() {
                lease = platform.store().lease(LEASE_NAME, LEASE).await?;
            }
            let Some(lease) = &lease else { return Ok(()) };
            if !lease.renew().await? {
                return Ok(());
            }
            if let Err(error) = one(platform, &key, &asked, today).await {
                tracing::warn!(bucket = %asked.bucket, id = %key.1, %error, "an inventory could not be delivered");
            }
        }
        if !page.more {
            break;
        }
    }
    if let Some(lease) = lease {
        lease.release().await?;
    }
    Ok(())
}

async fn one(platform: &Platform, key: &(u64, String), asked: &Asked, today: i64) -> Result<(), S3Error> {
    let store = platform.store();
    let bucket = Bucket::find(store, &asked.bucket).await?.filter(|bucket| bucket.id == key.0);
    let found = match &bucket {
        Some(bucket) => stored::find_named::<api::InventoryConfiguration>(store, bucket, &key.1).await?,
        None => None,
    };
    let (Some(bucket), Some(configuration)) = (bucket, found) else {
        return store
            .transact(|txn| async move {
                INVENTORIES.delete(&txn, key);
                Ok(())
            })
            .await;
    };
    let frequency = configuration.schedule.as_ref().and_then(|schedule| schedule.frequency.as_deref());
    if configuration.is_enabled != Some(true) || !is_due(frequency, asked.done_day, today) {
        return Ok(());
    }
    let written = write(platform, &bucket, &configuration).await;
    let done = &Asked { bucket: asked.bucket.clone(), done_day: today };
    store
        .transact(|txn| async move {
            if INVENTORIES.get(&txn, key).await?.is_some() {
                INVENTORIES.put(&txn, key, done)?;
            }
            Ok::<_, S3Error>(())
        })
        .await?;
    written
}

/// Where files go, and in whose name.
struct Target {
    cx: Cx,
    bucket: String,
    /// `prefix/source/id/`
    folder: String,
}

impl Target {
    async fn put(&self, key: String, content_type: &str, body: Vec<u8>) -> Result<(), Fault> {
        let input = api::PutObjectRequest {
            bucket: Some(self.bucket.clone()),
            key: Some(key),
            content_length: i64::try_from(body.len()).ok(),
            content_type: Some(content_type.to_owned()),
            acl: None,
            body: ByteStream::once(body.into()),
            ..api::PutObjectRequest::default()
        };
        self.cx.call(api::PUT_OBJECT, input).await.map(|_| ())
    }
}

fn md5_hex(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

async fn write(
    platform: &Platform,
    source: &Bucket,
    given: &api::InventoryConfiguration,
) -> Result<(), S3Error> {
    let destination =
        given.destination.as_ref().and_then(|it| it.s3_bucket_destination.clone()).unwrap_or_default();
    let arn = destination.bucket.clone().unwrap_or_default();
    let name = bucket_name(&arn).ok_or_else(|| S3Error::Internal(format!("{arn} is no bucket")))?;
    let region = match Bucket::find(platform.store(), name).await? {
        Some(bucket) => bucket.region,
        None => return Err(S3Error::NoSuchBucket { bucket: name.to_owned() }),
    };
    let own = Arn::new(source.region.partition(), "s3", "", "", &source.name);
    let cx = Cx::background(platform, PRINCIPAL, source.owner, region);
    let cx = cx.with_caller(Caller::service(PRINCIPAL, source.owner)).as_service(PRINCIPAL, &own);
    let prefix =
        destination.prefix.as_deref().filter(|p| !p.is_empty()).map(|p| format!("{p}/")).unwrap_or_default();
    let id = given.id.as_deref().unwrap_or_default();
    let folder = format!("{prefix}{}/{id}/", source.name);
    let target = Target { cx, bucket: name.to_owned(), folder };
    let sheet = Sheet::new(source, given);
    let mut files = vec![];
    let mut rows = Rows::new(platform, source, given);
    loop {
        let mut file = GzEncoder::new(Vec::new(), Compression::default());
        let mut count = 0;
        while count < ROWS {
            let Some((key, version, is_latest)) = rows.next().await? else { break };
            let line = sheet.line(&key, &version, is_latest);
            file.write_all(line.as_bytes()).map_err(|error| S3Error::Internal(error.to_string()))?;
            count += 1;
        }
        if count == 0 && !files.is_empty() {
            break;
        }
        let body = file.finish().map_err(|error| S3Error::Internal(error.to_string()))?;
        let key = format!("{}data/{}.csv.gz", target.folder, platform.ids().uuid());
        files.push(json!({ "key": key, "size": body.len(), "MD5checksum": md5_hex(&body) }));
        target.put(key, "application/octet-stream", body).await?;
        if count < ROWS {
            break;
        }
    }
    let now = platform.clock().now();
    let (year, month, day, hour, minute, _) = now.civil();
    let manifest = json!({
        "sourceBucket": source.name,
        "destinationBucket": arn,
        "version": "2016-11-30",
        "creationTimestamp": now.as_millis().to_string(),
        "fileFormat": "CSV",
        "fileSchema": sheet.columns.join(", "),
        "files": files,
    })
    .to_string();
    let stamp = format!("{}{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}Z/", target.folder);
    let sum = md5_hex(manifest.as_bytes());
    let links: Vec<String> = files
        .iter()
        .map(|file| format!("s3://{name}/{}", file["key"].as_str().unwrap_or_default()))
        .collect();
    let hive =
        format!("{}hive/dt={year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}/symlink.txt", target.folder);
    target.put(hive, "text/plain", links.join("\n").into_bytes()).await?;
    target.put(format!("{stamp}manifest.json"), "application/json", manifest.into_bytes()).await?;
    target.put(format!("{stamp}manifest.checksum"), "text/plain", sum.into_bytes()).await?;
    Ok(())
}

/// The columns of an inventory.
struct Sheet {
    bucket: String,
    columns: Vec<&'static str>,
}

impl Sheet {
    fn new(source: &Bucket, given: &api::InventoryConfiguration) -> Sheet {
        let mut columns = vec!["Bucket", "Key"];
        if given.included_object_versions.as_deref() == Some("All") {
            columns.extend(["VersionId", "IsLatest", "IsDeleteMarker"]);
        }
        let wanted = given.optional_fields.as_deref().unwrap_or_default();
        columns.extend(FIELDS.iter().filter(|field| wanted.iter().any(|wanted| wanted == *field)));
        Sheet { bucket: source.name.clone(), columns }
    }

    fn line(&self, key: &str, version: &ObjectVersion, is_latest: bool) -> String {
        let value = |column: &&str| match *column {
            "Bucket" => self.bucket.clone(),
            "Key" => encode_key(key),
            "VersionId" => version.version_id.clone().unwrap_or_default(),
            "IsLatest" => is_latest.to_string(),
            "IsDeleteMarker" => version.is_delete_marker.to_string(),
            _ if version.is_delete_marker && *column != "LastModifiedDate" => String::new(),
            "Size" => version.size.to_string(),
            "LastModifiedDate" => crate::notification::record::millis(version.modified),
            "StorageClass" => version.storage_class().to_owned(),
            "ETag" => version.etag.clone(),
            "IsMultipartUploaded" => version.parts.is_some().to_string(),
            "ReplicationStatus" => version.replication_status.clone().unwrap_or_default(),
            "EncryptionStatus" => match version.encryption {
                Encryption::Managed => "SSE-S3".to_owned(),
                Encryption::Customer { .. } => "SSE-C".to_owned(),
            },
            "ObjectLockRetainUntilDate" => version
                .retention
                .map(|retention| crate::notification::record::millis(retention.until))
                .unwrap_or_default(),
            "ObjectLockMode" => {
                version.retention.map(|retention| retention.mode.as_str().to_owned()).unwrap_or_default()
            }
            "ObjectLockLegalHoldStatus" => match version.legal_hold {
                Some(true) => "On".to_owned(),
                Some(false) => "Off".to_owned(),
                None => String::new(),
            },
            "ChecksumAlgorithm" => {
                version.checksum.as_ref().map(|checksum| checksum.algorithm.clone()).unwrap_or_default()
            }
            _ => String::new(),
        };
        let quoted = |text: String| format!("\"{}\"", text.replace('"', "\"\""));
        let mut line = self.columns.iter().map(|column| quoted(value(column))).collect::<Vec<_>>().join(",");
        line.push('\n');
        line
    }
}

/// The versions of a bucket in the order of keys, newest first, by pages.
struct Rows<'a> {
    platform: &'a Platform,
    current: VecDeque<(String, ObjectVersion)>,
    current_range: Option<KeyRange>,
    older: VecDeque<(String, ObjectVersion)>,
    older_range: Option<KeyRange>,
    /// The key whose versions come now.
    key: String,
}

impl<'a> Rows<'a> {
    fn new(platform: &'a Platform, source: &Bucket, given: &api::InventoryConfiguration) -> Rows<'a> {
        let prefix = given.filter.as_ref().and_then(|filter| filter.prefix.as_deref()).unwrap_or_default();
        let current = CURRENT.builder().key(&(source.id,)).str_prefix(prefix).build();
        let older = OLDER.builder().key(&(source.id,)).str_prefix(prefix).build();
        let all = given.included_object_versions.as_deref() == Some("All");
        Rows {
            platform,
            current: VecDeque::new(),
            current_range: Some(KeyRange::prefix(current)),
            older: VecDeque::new(),
            older_range: all.then(|| KeyRange::prefix(older)),
            key: String::new(),
        }
    }

    async fn fill(&mut self) -> Result<(), S3Error> {
        let store = self.platform.store();
        if self.current.is_empty()
            && let Some(range) = self.current_range.take()
        {
            let page = CURRENT.scan(store, &range, PAGE).await?;
            if let (true, Some((last, _))) = (page.more, page.rows.last()) {
                self.current_range = Some(range.after(&CURRENT.key(last)));
            }
            self.current.extend(page.rows.into_iter().map(|((_, key), version)| (key, version)));
        }
        if self.older.is_empty()
            && let Some(range) = self.older_range.take()
        {
            let page = OLDER.scan(store, &range, PAGE).await?;
            if let (true, Some(((bucket, key, Descending(order)), _))) = (page.more, page.rows.last()) {
                self.older_range =
                    Some(range.after(&OLDER.key(&(*bucket, key.as_str(), Descending(*order)))));
            }
            self.older.extend(page.rows.into_iter().map(|((_, key, _), version)| (key, version)));
        }
        Ok(())
    }

    /// Key, version, and whether it is the latest of its key.
    async fn next(&mut self) -> Result<Option<(String, ObjectVersion, bool)>, S3Error> {
        self.fill().await?;
        let takes_current = match (self.current.front(), self.older.front()) {
            (Some((current, _)), Some((older, _))) => current <= older,
            (Some(_), None) => true,
            _ => false,
        };
        let queue = if takes_current { &mut self.current } else { &mut self.older };
        let Some((key, version)) = queue.pop_front() else { return Ok(None) };
        let is_latest = takes_current || key != self.key;
        self.key.clone_from(&key);
        Ok(Some((key, version, is_latest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekly_inventories_are_due_on_sundays() {
        // Day 3 was Sunday, the 4th of January 1970.
        let cases = [
            (Some("Daily"), 9, 10, true),
            (Some("Daily"), 10, 10, false),
            (Some("Weekly"), 1, 2, false),
            (Some("Weekly"), 1, 3, true),
            (Some("Weekly"), 3, 9, false),
            (Some("Weekly"), 3, 10, true),
            (Some("Weekly"), 3, 12, true),
            (None, 0, 99, false),
        ];
        for (frequency, done, today, expected) in cases {
            assert_eq!(is_due(frequency, done, today), expected, "{frequency:?} {done} {today}");
        }
    }
}
