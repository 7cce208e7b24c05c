//! What an export writes: data files of items or changes, and the manifests that lead to them.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use pileus_platform::{Cx, Fault, Platform};
use pileus_store::{Lease, Space, table as rows};
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::backup::snapshot::{self, Undo, Way, number_after};
use crate::error::DynamoError;
use crate::keys;
use crate::stream::ChangeRow;
use crate::stream::order::number_at;
use crate::transfer::bucket::{Bucket, Failure};
use crate::transfer::export::{ExportRow, Kind};
use crate::transfer::{ion, json as text};
use crate::value::{Item, decode_item, item_size};

const PAGE: usize = 200;
/// Bytes of text of one data file. Chosen: AWS's depend on partitions.
const MAX_FILE: usize = 16 << 20;

/// Why an export did not come to its end.
pub enum Stop {
    /// It has failed.
    Failed(Failure),
    /// It is tried again.
    Later(DynamoError),
}

impl From<DynamoError> for Stop {
    fn from(error: DynamoError) -> Stop {
        Stop::Later(error)
    }
}

impl From<pileus_store::StoreError> for Stop {
    fn from(error: pileus_store::StoreError) -> Stop {
        Stop::Later(error.into())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Failed(fault.into())
    }
}

/// What was written.
#[derive(Debug, Default, Clone)]
pub struct Written {
    pub items: u64,
    pub bytes: u64,
    pub manifest: String,
}

/// Text in either format.
fn render(row: &ExportRow, fields: &[(&str, &Item)], written_at: Option<i64>) -> String {
    if row.is_ion {
        let mut out = String::from("$ion_1_0 {");
        if let Some(micros) = written_at {
            out.push_str(&format!("Record:{{Metadata:{{WriteTimestampMicros:{micros}.}}"));
        }
        for (at, (name, item)) in fields.iter().enumerate() {
            if at > 0 || written_at.is_some() {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            ion::write_item(item, &mut out);
        }
        out.push_str(if written_at.is_some() { "}}\n" } else { "}\n" });
        return out;
    }
    let mut object = serde_json::Map::new();
    if let Some(micros) = written_at {
        object.insert("Metadata".to_owned(), json!({"WriteTimestampMicros": {"N": micros.to_string()}}));
    }
    for (name, item) in fields {
        object.insert((*name).to_owned(), text::item(item));
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// Data files on their way to the bucket.
struct Files<'a> {
    cx: &'a Cx,
    row: &'a ExportRow,
    bucket: Bucket<'a>,
    id: &'a str,
    file: GzEncoder<Vec<u8>>,
    length: usize,
    items: u64,
    manifest: String,
    count: u64,
    written: Written,
}

impl<'a> Files<'a> {
    fn new(cx: &'a Cx, row: &'a ExportRow, id: &'a str) -> Files<'a> {
        Files {
            cx,
            row,
            bucket: row.bucket(),
            id,
            file: fresh(),
            length: 0,
            items: 0,
            manifest: String::new(),
            count: 0,
            written: Written::default(),
        }
    }

    async fn add(&mut self, line: &str) -> Result<(), Stop> {
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| DynamoError::corrupt(&format!("compressing failed: {error}")))?;
        self.length += line.len();
        self.items += 1;
        if self.length >= MAX_FILE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let body = std::mem::replace(&mut self.file, fresh()).finish();
        let body = body.map_err(|error| DynamoError::corrupt(&format!("compressing failed: {error}")))?;
        // The same each time that the export begins again.
        let name = hex::encode(digest(&SHA256, format!("{}/{}", self.id, self.count).as_bytes()));
        let extension = if self.row.is_ion { "ion.gz" } else { "json.gz" };
        let folder = match self.row.kind {
            Kind::Full => format!("{}/data", self.id),
            Kind::Incremental { .. } => "data".to_owned(),
        };
        let key = self.row.key(&format!("{folder}/{}.{extension}", name.get(..26).unwrap_or(&name)));
        let checksum = STANDARD.encode(Md5::digest(&body));
        let tag = self.bucket.put(self.cx, &key, body.into()).await?;
        let line =
            json!({"itemCount": self.items, "md5Checksum": checksum, "etag": tag, "dataFileS3Key": key});
        self.manifest.push_str(&format!("{line}\n"));
        self.written.items += self.items;
        (self.length, self.items) = (0, 0);
        self.count += 1;
        Ok(())
    }

    /// The manifests, each with its checksum.
    async fn finish(mut self) -> Result<Written, Stop> {
        if self.items > 0 || self.count == 0 {
            self.flush().await?;
        }
        let (row, written) = (self.row, &self.written);
        let files_key = row.key(&format!("{}/manifest-files.json", self.id));
        self.put_with_checksum(&files_key, self.manifest.clone().into()).await?;
        let mut summary = json!({
            "version": match row.kind { Kind::Full => "2020-06-30", Kind::Incremental { .. } => "2023-08-01" },
            "exportArn": row.arn,
            "startTime": iso(row.started_at),
            "endTime": iso(self.cx.platform().clock().now().as_millis()),
            "tableArn": row.table_arn,
            "tableId": row.table_id,
            "exportTime": iso(row.moment),
            "s3Bucket": row.bucket_name,
            "s3Prefix": row.prefix,
            "s3SseAlgorithm": row.encryption.as_deref().unwrap_or("AES256"),
            "s3SseKmsKeyId": null,
            "manifestFilesS3Key": files_key,
            "billedSizeBytes": written.bytes,
            "itemCount": written.items,
            "outputFormat": if row.is_ion { "ION" } else { "DYNAMODB_JSON" },
        });
        if let (Kind::Incremental { from, has_old }, Some(object)) = (row.kind, summary.as_object_mut()) {
            object.remove("exportTime");
            object.insert("exportFromTime".to_owned(), json!(iso(from)));
            object.insert("exportToTime".to_owned(), json!(iso(row.moment)));
            let view = if has_old { "NEW_AND_OLD_IMAGES" } else { "NEW_IMAGE" };
            object.insert("outputView".to_owned(), json!(view));
            object.insert("exportType".to_owned(), json!("INCREMENTAL_EXPORT"));
        } else if let Some(object) = summary.as_object_mut() {
            object.insert("exportType".to_owned(), json!("FULL_EXPORT"));
        }
        let key = row.key(&format!("{}/manifest-summary.json", self.id));
        self.put_with_checksum(&key, summary.to_string().into()).await?;
        Ok(Written { manifest: key, ..self.written })
    }

    async fn put_with_checksum(&self, key: &str, body: Bytes) -> Result<(), Stop> {
        let checksum = STANDARD.encode(Md5::digest(&body));
        self.bucket.put(self.cx, key, body).await?;
        let beside = format!("{}.md5", key.trim_end_matches(".json"));
        self.bucket.put(self.cx, &beside, checksum.into()).await?;
        Ok(())
    }
}

fn fresh() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), flate2::Compression::default())
}

fn iso(millis: i64) -> String {
    pileus_core::Timestamp::from_millis(millis).to_iso8601()
}

/// Writes everything that an export asks for.
///
/// # Errors
/// A failure that its description tells, or an error after which it is tried again.
pub async fn write(
    platform: &Platform,
    lease: &Lease,
    cx: &Cx,
    row: &ExportRow,
    id: &str,
) -> Result<Written, Stop> {
    row.bucket().put(cx, &row.key(&format!("{id}/_started")), Bytes::new()).await?;
    match row.kind {
        Kind::Full => full(platform, lease, cx, row, id).await,
        Kind::Incremental { from, has_old } => changes(platform, lease, cx, row, id, (from, has_old)).await,
    }
}

async fn full(
    platform: &Platform,
    lease: &Lease,
    cx: &Cx,
    row: &ExportRow,
    id: &str,
) -> Result<Written, Stop> {
    let way = Way { from: row.generation, into: row.scratch };
    let undo = Undo { history: row.history, until: Some(row.moment) };
    snapshot::take(platform, lease, way, &row.schema, Some(undo)).await?;
    let mut files = Files::new(cx, row, id);
    let mut range = keys::items(row.scratch);
    loop {
        let page = platform.store().scan(Space::Items, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { break };
        range = range.after(&last.key);
        for entry in &page.entries {
            let item = decode_item(&entry.value)?;
            files.written.bytes += item_size(&item) as u64;
            files.add(&render(row, &[("Item", &item)], None)).await?;
        }
        lease.renew().await?;
    }
    files.finish().await
}

/// The net change of every item between two moments: as it was at the first, and as it was at the second. Items are worked
/// through in parts, so that what is held of them is bounded.
async fn changes(
    platform: &Platform,
    lease: &Lease,
    cx: &Cx,
    row: &ExportRow,
    id: &str,
    (from, has_old): (i64, bool),
) -> Result<Written, Stop> {
    snapshot::settle(platform, lease, row.generation, row.moment).await?;
    let first = number_at(pileus_core::Timestamp::from_millis(from));
    let end = number_after(row.moment.saturating_sub(1));
    let window = keys::records(row.history)
        .starting_at(keys::record(row.history, first))
        .before(&keys::record(row.history, end));
    let (mut records, mut range) = (0u64, window.clone());
    loop {
        let page = platform.store().scan(Space::Log, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { break };
        range = range.after(&last.key);
        records += page.entries.len() as u64;
    }
    let parts = records.div_ceil(MAX_HELD).max(1);
    let mut files = Files::new(cx, row, id);
    for part in 0..parts {
        for change in net_changes(platform, row, &window, (part, parts)).await? {
            if change.old == change.new {
                continue;
            }
            let mut fields = vec![("Keys", &change.keys)];
            fields.extend(change.old.as_ref().filter(|_| has_old).map(|old| ("OldImage", old)));
            fields.extend(change.new.as_ref().map(|new| ("NewImage", new)));
            files.written.bytes += fields.iter().map(|(_, item)| item_size(item) as u64).sum::<u64>();
            files.add(&render(row, &fields, Some(change.at * 1_000))).await?;
        }
        lease.renew().await?;
    }
    files.finish().await
}

/// Records whose items are held at once.
const MAX_HELD: u64 = 10_000;

struct Change {
    keys: Item,
    old: Option<Item>,
    new: Option<Item>,
    at: i64,
}

async fn net_changes(
    platform: &Platform,
    row: &ExportRow,
    window: &pileus_store::KeyRange,
    (part, parts): (u64, u64),
) -> Result<Vec<Change>, Stop> {
    let mut changes: BTreeMap<Vec<u8>, Change> = BTreeMap::new();
    let mut range = window.clone();
    let image = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| decode_item(bytes)).transpose();
    loop {
        let page = platform.store().scan(Space::Log, &range, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(changes.into_values().collect()) };
        range = range.after(&last.key);
        for entry in &page.entries {
            let change: ChangeRow = rows::decode(&entry.value).map_err(DynamoError::from)?;
            let keys = decode_item(&change.keys)?;
            let Some(place) = row.schema.encode(&keys) else { continue };
            let digest = place.digest();
            let share = u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
            if share % parts != part {
                continue;
            }
            let new = image(&change.new)?;
            match changes.get_mut(&digest[..]) {
                Some(known) => (known.new, known.at) = (new, change.at),
                None => {
                    let old = image(&change.old)?;
                    changes.insert(digest.to_vec(), Change { keys, old, new, at: change.at });
                }
            }
        }
    }
}
