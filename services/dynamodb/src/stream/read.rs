//! `GetShardIterator`, `GetRecords`.
//!
//! Source: API Reference of DynamoDB Streams, "GetShardIterator", "GetRecords".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_api_dynamodbstreams as api;
use pileus_core::Timestamp;
use pileus_platform::{Cx, LimitsProfile};
use pileus_store::{KeyRange, Space, Store, table as rows};

use crate::error::DynamoError;
use crate::keys;
use crate::state::Dynamo;
use crate::stream::order::number_at;
use crate::stream::watermark;
use crate::stream::{ChangeRow, RETENTION, Stream, sequence_number, wire};
use crate::value::decode_item;

const ITERATOR_LIFE_MS: i64 = 15 * 60 * 1_000;
const MAX_RECORDS: i64 = 1_000;
const MAX_BYTES: usize = 1 << 20;
const PAGE: usize = 100;

/// The least number that can be read now.
pub fn first_number(stream: &Stream, now: Timestamp) -> u64 {
    number_at(Timestamp::from_millis(stream.row.created_at).max(now - RETENTION))
}

/// The greatest number that was written.
pub async fn last_number(cx: &Cx, stream: &Stream) -> Result<Option<u64>, DynamoError> {
    let page = cx.store().scan_backward(Space::Log, &keys::records(stream.row.generation), 1).await?;
    Ok(page.entries.first().and_then(|entry| keys::record_number(&entry.key)))
}

/// Whether no other node writes to the store.
pub fn is_alone(store: &Store) -> bool {
    store.kv().shared_time().is_none()
}

/// A number below which everything is committed, and above which everything that is written from now on is.
async fn present(cx: &Cx, stream: &Stream) -> Result<u64, DynamoError> {
    if is_alone(cx.store()) {
        return Ok(own_horizon(cx));
    }
    let last = last_number(cx, stream).await?.unwrap_or(0).max(number_at(cx.clock().now()));
    watermark::raise(cx.store(), stream.row.table, last).await?;
    Ok(last + 1)
}

fn own_horizon(cx: &Cx) -> u64 {
    cx.state::<Dynamo>().order.horizon(cx.clock().now(), cx.clock().monotonic())
}

/// The part of `range` that is complete.
async fn complete(cx: &Cx, stream: &Stream, range: KeyRange) -> Result<KeyRange, DynamoError> {
    let generation = stream.row.generation;
    if is_alone(cx.store()) {
        // Before the scan: what is committed meanwhile has greater numbers.
        return Ok(range.before(&keys::record(generation, own_horizon(cx))));
    }
    let mut known = watermark::get(cx.store(), stream.row.table).await?;
    let beyond = range.clone().starting_at(keys::record(generation, known.saturating_add(1)));
    let newest = match beyond.is_empty() {
        true => None,
        false => cx.store().scan_backward(Space::Log, &beyond, 1).await?.entries.pop(),
    };
    if let Some(newest) = newest.and_then(|entry| keys::record_number(&entry.key)) {
        watermark::raise(cx.store(), stream.row.table, newest).await?;
        known = newest;
    }
    Ok(range.before(&keys::record(generation, known.saturating_add(1))))
}

/// `GetShardIterator`
pub async fn get_shard_iterator(
    cx: &Cx,
    input: api::GetShardIteratorInput,
) -> Result<api::GetShardIteratorOutput, DynamoError> {
    let stream = Stream::load(cx, input.stream_arn.as_deref().unwrap_or_default()).await?;
    if input.shard_id.as_deref() != Some(&stream.shard_id()) {
        let shard = input.shard_id.unwrap_or_default();
        let text = format!("Requested resource not found: Shard does not exist: {shard}");
        return Err(DynamoError::modelled("ResourceNotFoundException", text));
    }
    let first = first_number(&stream, cx.now());
    let sequence = || -> Result<u64, DynamoError> {
        let text = input.sequence_number.as_deref().ok_or_else(|| {
            DynamoError::validation("SequenceNumber is required for this ShardIteratorType")
        })?;
        let invalid = || DynamoError::validation(format!("Invalid SequenceNumber: {text}"));
        let number = text.parse::<u64>().map_err(|_| invalid())?;
        if number < first {
            return Err(DynamoError::modelled(
                "TrimmedDataAccessException",
                "The operation attempted to read past the oldest stream record in a shard",
            ));
        }
        Ok(number)
    };
    let position = match input.shard_iterator_type.as_deref().unwrap_or_default() {
        "TRIM_HORIZON" => first,
        "LATEST" => present(cx, &stream).await?,
        "AT_SEQUENCE_NUMBER" => sequence()?,
        "AFTER_SEQUENCE_NUMBER" => sequence()?.saturating_add(1),
        _ => {
            let moment = input
                .timestamp
                .ok_or_else(|| DynamoError::validation("Timestamp is required for this ShardIteratorType"))?;
            number_at(moment).max(first)
        }
    };
    Ok(api::GetShardIteratorOutput { shard_iterator: Some(write_iterator(&stream, position, cx.now())) })
}

fn write_iterator(stream: &Stream, position: u64, now: Timestamp) -> String {
    let mut bytes = position.to_be_bytes().to_vec();
    bytes.extend_from_slice(&now.as_millis().to_be_bytes());
    format!("{}|1|{}", stream.arn(), URL_SAFE_NO_PAD.encode(bytes))
}

/// The stream, the position and when the iterator was given.
fn read_iterator(text: &str) -> Option<(String, u64, i64)> {
    let (arn, rest) = text.split_once("|1|")?;
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(rest).ok()?.try_into().ok()?;
    let (position, given) = bytes.split_first_chunk::<8>()?;
    let given = given.try_into().ok()?;
    Some((arn.to_owned(), u64::from_be_bytes(*position), i64::from_be_bytes(given)))
}

/// The ARN of the stream that an iterator belongs to.
pub fn iterator_stream(iterator: &str) -> Option<String> {
    read_iterator(iterator).map(|(arn, ..)| arn)
}

/// `GetRecords`: up to 1,000 records or 1 MB.
pub async fn get_records(cx: &Cx, input: api::GetRecordsInput) -> Result<api::GetRecordsOutput, DynamoError> {
    let text = input.shard_iterator.unwrap_or_default();
    let (arn, position, given) =
        read_iterator(&text).ok_or_else(|| DynamoError::validation("Invalid ShardIterator"))?;
    if given + ITERATOR_LIFE_MS <= cx.now().as_millis() {
        return Err(DynamoError::modelled(
            "ExpiredIteratorException",
            "The shard iterator has expired and can no longer be used to retrieve stream records",
        ));
    }
    let limit = input.limit.unwrap_or(MAX_RECORDS);
    if limit > MAX_RECORDS {
        return Err(DynamoError::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"
        )));
    }
    let stream = Stream::load(cx, &arn).await?;
    if cx.limits() == LimitsProfile::Aws {
        cx.state::<Dynamo>().readers.admit(cx.now().as_secs(), stream.row.generation)?;
    }
    let generation = stream.row.generation;
    let mut next = position.max(first_number(&stream, cx.now()));
    let range = keys::records(generation).starting_at(keys::record(generation, next));
    let mut range = complete(cx, &stream, range).await?;
    let (mut records, mut bytes, mut more) = (Vec::new(), 0, true);
    while more && records.len() < limit as usize && bytes < MAX_BYTES {
        let want = PAGE.min(limit as usize - records.len());
        let page = cx.store().scan(Space::Log, &range, want).await?;
        more = page.more;
        for entry in &page.entries {
            let number = keys::record_number(&entry.key).unwrap_or_default();
            bytes += entry.value.len();
            next = number + 1;
            records.push(record(cx, &stream, number, rows::decode(&entry.value)?)?);
            if bytes >= MAX_BYTES {
                break;
            }
        }
        match page.entries.last() {
            Some(last) => range = range.after(&last.key),
            None => break,
        }
    }
    let is_at_end = !more && stream.row.closed_at.is_some();
    let next_shard_iterator = (!is_at_end).then(|| write_iterator(&stream, next, cx.now()));
    Ok(api::GetRecordsOutput { records: Some(records), next_shard_iterator })
}

fn record(cx: &Cx, stream: &Stream, number: u64, row: ChangeRow) -> Result<api::Record, DynamoError> {
    let image = |bytes: &Option<bytes::Bytes>| -> Result<_, DynamoError> {
        bytes.as_ref().map(|bytes| decode_item(bytes).map(|item| wire::item(&item))).transpose()
    };
    let identity = row.is_expiry.then(|| api::Identity {
        principal_id: Some("dynamodb.amazonaws.com".to_owned()),
        r#type: Some("Service".to_owned()),
    });
    Ok(api::Record {
        event_id: Some(format!("{:016x}{number:016x}", stream.row.generation)),
        event_name: Some(row.event),
        event_version: Some("1.1".to_owned()),
        event_source: Some("aws:dynamodb".to_owned()),
        aws_region: Some(cx.region().to_string()),
        dynamodb: Some(api::StreamRecord {
            approximate_creation_date_time: Some(Timestamp::from_secs(row.at / 1_000)),
            keys: Some(wire::item(&decode_item(&row.keys)?)),
            new_image: image(&row.new)?,
            old_image: image(&row.old)?,
            sequence_number: Some(sequence_number(number)),
            size_bytes: Some(row.size as i64),
            stream_view_type: Some(stream.row.view.name().to_owned()),
        }),
        user_identity: identity,
    })
}
