//! `GetLogRecord`: all fields of one event. `GetLogGroupFields`: which fields the events of a group have.
//!
//! Source: CloudWatch Logs API Reference, "GetLogRecord", "GetLogGroupFields".

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_api_logs::{
    GetLogGroupFieldsRequest, GetLogGroupFieldsResponse, GetLogRecordRequest, GetLogRecordResponse,
    LogGroupField,
};
use pileus_platform::Cx;
use pileus_store::Direction;

use super::position::{Bounds, Pointer, Position};
use super::read::{GroupReader, Selection, StreamReader};
use crate::address::Address;
use crate::error::LogsError;
use crate::query::row::{Origin, Row, Source};
use crate::state::{Logs, millis};

/// Events that a sample looks at.
const SAMPLE: u32 = 1_000;
/// How far before and after a moment a sample looks, and how far back when none is named.
const AROUND_MS: i64 = 8 * 60_000;
const BACK_MS: i64 = 15 * 60_000;

pub async fn get_log_record(cx: &Cx, input: GetLogRecordRequest) -> Result<GetLogRecordResponse, LogsError> {
    let bad = || LogsError::invalid("The specified logRecordPointer is invalid.");
    let pointer = Pointer::read(&input.log_record_pointer.unwrap_or_default()).ok_or_else(bad)?;
    let address = Address::from_arn(&pointer.group_arn).ok_or_else(bad)?;
    let gone = || LogsError::NotFound("The specified log record does not exist.".to_owned());
    let logs = cx.state::<Logs>();
    let group = logs.group(cx.store(), &address).await?;
    let stream = logs.stream(cx.store(), group.id(), &pointer.stream_name).await?;
    let is_kept = pointer.position.at >= group.oldest_kept(millis(cx.now()));
    if group.id() != pointer.group || stream.id != pointer.stream || !is_kept {
        return Err(gone());
    }
    let bounds = Bounds { from: pointer.position, to: pointer.position.after() };
    let mut reader = StreamReader::new(cx.store(), group.id(), stream.id, bounds, Direction::Forward);
    let found = reader.next().await?.ok_or_else(gone)?;
    let row = Row::new(Origin {
        source: Arc::new(Source::new(&address, group.id())),
        stream_name: pointer.stream_name,
        stream: stream.id,
        position: found.position,
        ingested_at: found.ingested_at,
        message: found.text(),
    });
    Ok(GetLogRecordResponse { log_record: Some(row.all_fields().into_iter().collect()) })
}

pub async fn get_log_group_fields(
    cx: &Cx,
    input: GetLogGroupFieldsRequest,
) -> Result<GetLogGroupFieldsResponse, LogsError> {
    let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
    let address = Address::either(cx, name, identifier)?;
    let logs = cx.state::<Logs>();
    let group = logs.group(cx.store(), &address).await?;
    let now = millis(cx.now());
    let (from, to) = match input.time {
        Some(time) => (time.saturating_sub(AROUND_MS), time.saturating_add(AROUND_MS)),
        None => (now - BACK_MS, now + AROUND_MS),
    };
    let bounds = Bounds {
        from: Position::first_at(from.max(group.oldest_kept(now))),
        to: Position::first_at(to.saturating_add(1)),
    };
    let source = Arc::new(Source::new(&address, group.id()));
    let mut reader =
        GroupReader::new(logs, cx.store(), group.id(), &Selection::All, bounds, Direction::Backward);
    let (mut counts, mut events) = (BTreeMap::<String, u32>::new(), 0);
    while events < SAMPLE {
        let Some((stream_name, stream, found)) = reader.next().await? else { break };
        events += 1;
        let row = Row::new(Origin {
            source: source.clone(),
            stream_name: stream_name.to_owned(),
            stream,
            position: found.position,
            ingested_at: found.ingested_at,
            message: found.text(),
        });
        for (name, _) in row.all_fields() {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut fields: Vec<LogGroupField> = counts
        .into_iter()
        .map(|(name, count)| LogGroupField {
            name: Some(name),
            percent: Some(i64::from(count.saturating_mul(100) / events.max(1))),
        })
        .collect();
    fields.sort_by_key(|field| std::cmp::Reverse(field.percent));
    Ok(GetLogGroupFieldsResponse { log_group_fields: Some(fields) })
}
