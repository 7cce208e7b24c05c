//! Log streams: `CreateLogStream`, `DeleteLogStream`, `DescribeLogStreams`.
//!
//! Source: CloudWatch Logs API Reference, "CreateLogStream", "DescribeLogStreams".

use std::cmp::Reverse;
use std::collections::HashMap;

use pileus_api_logs::{
    CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest, DescribeLogStreamsResponse,
    LogStream, order_by,
};
use pileus_platform::Cx;
use pileus_store::{Direction, KeyRange, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::error::LogsError;
use crate::event::position::{Bounds, Position};
use crate::event::read::StreamReader;
use crate::group::Group;
use crate::keys::{Nothing, STATS, STREAMS, TRASH};
use crate::page;
use crate::state::{Logs, millis};
use crate::sweep;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Never zero.
    pub id: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Stored for StreamRecord {}

/// What a stream holds, nearly: each batch writes it over, unread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Time of its latest event, in milliseconds since 1970; zero before the first.
    pub last_event: i64,
    pub last_ingestion: i64,
    pub bytes: i64,
}

impl Stored for Stats {}

impl Stats {
    pub fn add(&mut self, more: &Stats) {
        self.last_event = self.last_event.max(more.last_event);
        self.last_ingestion = self.last_ingestion.max(more.last_ingestion);
        self.bytes += more.bytes;
    }
}

pub async fn create_log_stream(cx: &Cx, input: CreateLogStreamRequest) -> Result<Unit, LogsError> {
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = &input.log_stream_name.unwrap_or_default();
    let logs = cx.state::<Logs>();
    let record = &StreamRecord { id: cx.rng().next_u64().max(1), created_at: millis(cx.now()) };
    cx.transact(|txn| async move {
        let group = logs.group(&txn, address).await?;
        let is_new = STREAMS.put_if_absent(&txn, &(group.id(), name.as_str()), record).await?;
        if is_new { Ok(()) } else { Err(LogsError::StreamExists) }
    })
    .await?;
    Ok(Unit)
}

/// `DeleteLogStream`: the name is free at once; the sweeper removes the events.
pub async fn delete_log_stream(cx: &Cx, input: DeleteLogStreamRequest) -> Result<Unit, LogsError> {
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = input.log_stream_name.as_deref().unwrap_or_default();
    let logs = cx.state::<Logs>();
    cx.transact(|txn| async move {
        let group = logs.group(&txn, address).await?;
        let stream = logs.stream(&txn, group.id(), name).await?;
        group.check_deletable()?;
        STREAMS.delete(&txn, &(group.id(), name));
        STATS.delete(&txn, &(group.id(), stream.id));
        TRASH.put(&txn, &(group.id(), stream.id), &Nothing {})?;
        txn.notify(sweep::TOPIC);
        Ok::<_, LogsError>(())
    })
    .await?;
    Ok(Unit)
}

type Found = Vec<(String, StreamRecord)>;

pub async fn describe_log_streams(
    cx: &Cx,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, LogsError> {
    let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
    let address = Address::either(cx, name, identifier)?;
    let by_time = input.order_by.as_deref() == Some(order_by::LAST_EVENT_TIME);
    let descending = input.descending.unwrap_or(false);
    let prefix = input.log_stream_name_prefix;
    if by_time && prefix.is_some() {
        return Err(LogsError::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let (after, limit) = (page::read(input.next_token.as_deref())?, page::limit(input.limit));
    let group = cx.state::<Logs>().group(cx.store(), &address).await?;
    let (found, more) = if by_time {
        by_last_event(cx, group.id(), descending, after.as_deref(), limit).await?
    } else {
        by_name(cx, group.id(), prefix.as_deref(), descending, after.as_deref(), limit).await?
    };
    let next_token = page::next(more, found.last().map(|(name, _)| name.as_str()));
    let mut streams = Vec::with_capacity(found.len());
    for (name, record) in found {
        streams.push(describe(cx, &group, name, &record).await?);
    }
    Ok(DescribeLogStreamsResponse { log_streams: Some(streams), next_token })
}

async fn by_name(
    cx: &Cx,
    group: u64,
    prefix: Option<&str>,
    descending: bool,
    after: Option<&str>,
    limit: usize,
) -> Result<(Found, bool), LogsError> {
    let prefix = STREAMS.builder().key(&(group,)).str_prefix(prefix.unwrap_or_default());
    let mut range = KeyRange::prefix(prefix.build());
    let key = after.map(|after| STREAMS.key(&(group, after)));
    let rows = if descending {
        if let Some(key) = &key {
            range = range.before(key);
        }
        STREAMS.scan_backward(cx.store(), &range, limit + 1).await?
    } else {
        if let Some(key) = &key {
            range = range.after(key);
        }
        STREAMS.scan(cx.store(), &range, limit + 1).await?
    };
    let more = rows.more || rows.rows.len() > limit;
    Ok((rows.rows.into_iter().take(limit).map(|((_, name), record)| (name, record)).collect(), more))
}

/// All streams in the order of their latest events, then of their names; those without events as the oldest.
async fn by_last_event(
    cx: &Cx,
    group: u64,
    descending: bool,
    after: Option<&str>,
    limit: usize,
) -> Result<(Found, bool), LogsError> {
    let (mut range, mut last_events) = (STATS.under(&(group,)), HashMap::new());
    loop {
        let rows = STATS.scan(cx.store(), &range, 5_000).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&STATS.key(last));
        last_events.extend(rows.rows.iter().map(|((_, stream), stats)| (*stream, stats.last_event)));
    }
    let (mut range, mut all) = (STREAMS.under(&(group,)), Vec::new());
    loop {
        let rows = STREAMS.scan(cx.store(), &range, 5_000).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&STREAMS.key(last));
        all.extend(
            rows.rows
                .into_iter()
                .map(|((_, name), record)| (last_events.get(&record.id).copied().unwrap_or(0), name, record)),
        );
    }
    if descending {
        all.sort_by(|(a, a_name, _), (b, b_name, _)| (Reverse(a), a_name).cmp(&(Reverse(b), b_name)));
    } else {
        all.sort_by(|(a, a_name, _), (b, b_name, _)| (a, a_name).cmp(&(b, b_name)));
    }
    // A stream that has moved since the page before is looked for where it is now.
    let first = match after {
        Some(after) => all.iter().position(|(_, name, _)| name == after).map_or(all.len(), |at| at + 1),
        None => 0,
    };
    let more = all.len() > first + limit;
    Ok((all.into_iter().skip(first).take(limit).map(|(_, name, record)| (name, record)).collect(), more))
}

async fn describe(
    cx: &Cx,
    group: &Group,
    name: String,
    record: &StreamRecord,
) -> Result<LogStream, LogsError> {
    let mut stream = LogStream {
        creation_time: Some(record.created_at),
        arn: Some(group.address.stream_arn(&name)),
        log_stream_name: Some(name),
        // Deprecated: AWS answers zero for every stream.
        stored_bytes: Some(0),
        ..LogStream::default()
    };
    let Some(stats) = STATS.get(cx.store(), &(group.id(), record.id)).await? else { return Ok(stream) };
    let oldest = group.oldest_kept(millis(cx.now()));
    let bounds = Bounds { from: Position::first_at(oldest), to: Position::END };
    let end = async |direction| -> Result<Option<i64>, LogsError> {
        let mut reader = StreamReader::new(cx.store(), group.id(), record.id, bounds, direction);
        Ok(reader.next().await?.map(|event| event.position.at))
    };
    stream.first_event_timestamp = end(Direction::Forward).await?;
    stream.last_event_timestamp = end(Direction::Backward).await?;
    stream.last_ingestion_time = Some(stats.last_ingestion);
    stream.upload_sequence_token = Some(Position { at: 0, ordinal: record.id, index: 0 }.event_id());
    Ok(stream)
}
