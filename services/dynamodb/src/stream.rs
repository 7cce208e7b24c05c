//! Streams of changes: how they are kept; `ListStreams`, `DescribeStream`.
//!
//! A record is written in the commit of its change. Its number comes from the time and orders it; a reader sees a number only
//! once no smaller one can still be committed (`order.rs` on one node, `watermark.rs` where several share a store). A stream has one shard, open from beginning to end.
//!
//! Source: Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams"; API Reference of DynamoDB Streams.

pub mod order;
pub mod read;
pub mod readers;
pub mod watermark;
pub mod wire;

use std::time::Duration;

use bytes::Bytes;
use pileus_api_dynamodbstreams as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Space, Stored, Txn, table as rows};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::item::write::{Origin, Sides};
use crate::keys::{self, STREAMS};
use crate::table::schema::KeySchema;
use crate::table::{Address, Record, ResourcePolicyText, StreamSettings};
use crate::value::{Item, encode_item, item_size};

/// How long records are kept.
pub const RETENTION: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    KeysOnly,
    NewImage,
    OldImage,
    NewAndOldImages,
}

impl View {
    pub fn read(text: &str) -> Option<View> {
        Some(match text {
            "KEYS_ONLY" => View::KeysOnly,
            "NEW_IMAGE" => View::NewImage,
            "OLD_IMAGE" => View::OldImage,
            "NEW_AND_OLD_IMAGES" => View::NewAndOldImages,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            View::KeysOnly => "KEYS_ONLY",
            View::NewImage => "NEW_IMAGE",
            View::OldImage => "OLD_IMAGE",
            View::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    fn has_new(self) -> bool {
        matches!(self, View::NewImage | View::NewAndOldImages)
    }

    fn has_old(self) -> bool {
        matches!(self, View::OldImage | View::NewAndOldImages)
    }
}

/// A stream as it is stored; it outlives its table by a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamRow {
    pub generation: u64,
    /// That of the table, whose watermark is the stream's.
    #[serde(default)]
    pub table: u64,
    pub view: View,
    pub schema: KeySchema,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub closed_at: Option<i64>,
    #[serde(default)]
    pub policy: Option<ResourcePolicyText>,
}

impl Stored for StreamRow {}

/// A change as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeRow {
    /// `INSERT`, `MODIFY`, `REMOVE`
    pub event: String,
    /// Milliseconds since 1970.
    pub at: i64,
    pub keys: Bytes,
    pub old: Option<Bytes>,
    pub new: Option<Bytes>,
    pub size: u64,
    /// The service itself removed the item, because its time to live ran out.
    #[serde(default)]
    pub is_expiry: bool,
}

impl Stored for ChangeRow {}

/// The name of a stream that is begun at `now`.
pub fn label(now: Timestamp) -> String {
    let (year, month, day, hour, minute, second) = now.civil();
    let millis = now.subsec_nanos() / 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}")
}

/// Begins a stream. What is written to it from now on has greater numbers than its beginning, on nodes too whose clocks are
/// behind.
pub async fn open(
    txn: &Txn,
    address: &Address,
    settings: &StreamSettings,
    record: &Record,
    now: i64,
) -> Result<(), DynamoError> {
    let row = StreamRow {
        generation: settings.generation,
        table: record.generation,
        view: settings.view,
        schema: record.schema.clone(),
        created_at: now,
        closed_at: None,
        policy: None,
    };
    watermark::lift(txn, record.generation, order::number_at(Timestamp::from_millis(now))).await?;
    let key = (address.account, address.region.clone(), address.name.clone(), settings.label.clone());
    Ok(STREAMS.put(txn, &key, &row)?)
}

/// Ends a stream: nothing is added any more, and a day later it is gone.
pub async fn close(txn: &Txn, address: &Address, label: &str, now: i64) -> Result<(), DynamoError> {
    let key = (address.account, address.region.clone(), address.name.clone(), label.to_owned());
    if let Some(row) = STREAMS.get(txn, &key).await? {
        STREAMS.put(txn, &key, &StreamRow { closed_at: Some(now), ..row })?;
    }
    Ok(())
}

/// What happened to an item.
pub struct Change<'a> {
    pub sides: &'a Sides<'a>,
    pub origin: Origin,
    pub now: Timestamp,
}

/// Adds the record of a change under a generation: of a stream, or of a table's point-in-time recovery.
///
/// `is_shared`: another node may have drawn the same number; then the transaction draws another one.
pub fn append(
    txn: &Txn,
    generation: u64,
    view: View,
    schema: &KeySchema,
    change: &Change<'_>,
    number: u64,
    is_shared: bool,
) -> Result<(), DynamoError> {
    let Sides { old, new } = *change.sides;
    let (event, (some, _)) = match (old, new) {
        (None, Some(new)) => ("INSERT", new),
        (Some(_), Some(new)) => ("MODIFY", new),
        (Some(old), None) => ("REMOVE", old),
        (None, None) => return Ok(()),
    };
    let keys = schema.pick(some);
    let (old, new) = (old.filter(|_| view.has_old()), new.filter(|_| view.has_new()));
    let size_of = |side: Option<(&Item, &Bytes)>| side.map_or(0, |(item, _)| item_size(item));
    let row = ChangeRow {
        event: event.to_owned(),
        at: change.now.as_millis(),
        size: (item_size(&keys) + size_of(old) + size_of(new)) as u64,
        keys: encode_item(&keys, None),
        old: old.map(|(_, bytes)| bytes.clone()),
        new: new.map(|(_, bytes)| bytes.clone()),
        is_expiry: change.origin == Origin::Expiry,
    };
    let key = keys::record(generation, number);
    if is_shared {
        txn.expect_absent(Space::Log, key.clone());
    }
    txn.put(Space::Log, key, rows::encode(&row)?);
    txn.notify(keys::record(generation, 0).slice(..10));
    Ok(())
}

/// A stream as operations see it.
pub struct Stream {
    pub address: Address,
    pub label: String,
    pub row: StreamRow,
}

impl Stream {
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`
    pub async fn load(cx: &Cx, arn: &str) -> Result<Stream, DynamoError> {
        let parsed = Address::from_arn(arn).and_then(|(address, rest)| {
            let label = rest?.strip_prefix("stream/")?.to_owned();
            Some((address, label))
        });
        let (address, label) =
            parsed.ok_or_else(|| DynamoError::validation(format!("Invalid StreamArn: {arn}")))?;
        let key = (address.account, address.region.clone(), address.name.clone(), label.clone());
        let row = STREAMS.get(cx.store(), &key).await?.filter(|row| !is_over(row, cx.now()));
        let row = row.ok_or_else(|| not_found(arn))?;
        Ok(Stream { address, label, row })
    }

    pub fn arn(&self) -> String {
        format!("{}/stream/{}", self.address.arn(), self.label)
    }

    pub fn shard_id(&self) -> String {
        format!("shardId-{:020}-{:08x}", self.row.created_at, self.row.generation as u32)
    }
}

/// `ResourceNotFoundException`
pub fn not_found(arn: &str) -> DynamoError {
    DynamoError::modelled(
        "ResourceNotFoundException",
        format!("Requested resource not found: Stream: {arn} not found"),
    )
}

/// A closed stream of which nothing can be read any more.
pub fn is_over(row: &StreamRow, now: Timestamp) -> bool {
    row.closed_at.is_some_and(|at| Timestamp::from_millis(at) + RETENTION <= now)
}

/// As `SequenceNumber` is written.
pub fn sequence_number(number: u64) -> String {
    format!("{number:021}")
}

/// `ListStreams`: by table and age.
pub async fn list_streams(
    cx: &Cx,
    input: api::ListStreamsInput,
) -> Result<api::ListStreamsOutput, DynamoError> {
    let limit = input.limit.unwrap_or(100).clamp(1, 100) as usize;
    let mut range = match &input.table_name {
        Some(name) => STREAMS.under(&(cx.account(), cx.region(), name.as_str())),
        None => STREAMS.under(&(cx.account(), cx.region())),
    };
    if let Some(arn) = &input.exclusive_start_stream_arn {
        let (address, rest) = Address::from_arn(arn)
            .ok_or_else(|| DynamoError::validation(format!("Invalid StreamArn: {arn}")))?;
        let label =
            rest.as_deref().and_then(|rest| rest.strip_prefix("stream/")).unwrap_or_default().to_owned();
        range = range.after(&STREAMS.key(&(address.account, address.region, address.name, label)));
    }
    let page = STREAMS.scan(cx.store(), &range, limit).await?;
    let arn_of = |key: &(pileus_core::AccountId, pileus_core::Region, String, String)| {
        let address = Address { account: key.0, region: key.1.clone(), name: key.2.clone() };
        format!("{}/stream/{}", address.arn(), key.3)
    };
    let last = page.rows.last().filter(|_| page.more).map(|(key, _)| arn_of(key));
    let streams = page.rows.iter().filter(|(_, row)| !is_over(row, cx.now())).map(|(key, _)| api::Stream {
        stream_arn: Some(arn_of(key)),
        table_name: Some(key.2.clone()),
        stream_label: Some(key.3.clone()),
    });
    Ok(api::ListStreamsOutput { streams: Some(streams.collect()), last_evaluated_stream_arn: last })
}

/// `DescribeStream`
pub async fn describe_stream(
    cx: &Cx,
    input: api::DescribeStreamInput,
) -> Result<api::DescribeStreamOutput, DynamoError> {
    let stream = Stream::load(cx, input.stream_arn.as_deref().unwrap_or_default()).await?;
    let first = read::first_number(&stream, cx.now());
    let end = match stream.row.closed_at {
        Some(_) => Some(read::last_number(cx, &stream).await?.unwrap_or(first)),
        None => None,
    };
    let shard = api::Shard {
        shard_id: Some(stream.shard_id()),
        sequence_number_range: Some(api::SequenceNumberRange {
            starting_sequence_number: Some(sequence_number(first)),
            ending_sequence_number: end.map(sequence_number),
        }),
        parent_shard_id: None,
    };
    let is_past = input.exclusive_start_shard_id.is_some_and(|start| start >= stream.shard_id());
    // The only shard has no children.
    let wants_children = input.shard_filter.is_some();
    let shards = if is_past || wants_children { Vec::new() } else { vec![shard] };
    let schema = crate::table::describe::key_schema(&stream.row.schema);
    let description = api::StreamDescription {
        stream_arn: Some(stream.arn()),
        stream_label: Some(stream.label.clone()),
        stream_status: Some(if stream.row.closed_at.is_some() { "DISABLED" } else { "ENABLED" }.to_owned()),
        stream_view_type: Some(stream.row.view.name().to_owned()),
        creation_request_date_time: Some(Timestamp::from_millis(stream.row.created_at)),
        table_name: Some(stream.address.name.clone()),
        key_schema: Some(
            schema
                .into_iter()
                .map(|element| api::KeySchemaElement {
                    attribute_name: element.attribute_name,
                    key_type: element.key_type,
                })
                .collect(),
        ),
        shards: Some(shards),
        last_evaluated_shard_id: None,
    };
    Ok(api::DescribeStreamOutput { stream_description: Some(description) })
}
