//! `FilterLogEvents`: the events of a group that match a pattern, in the order of time.
//!
//! Source: CloudWatch Logs API Reference, "FilterLogEvents" (a page may hold fewer events than asked for, or none, and still
//! have a token).

use pileus_api_logs::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent};
use pileus_platform::Cx;
use pileus_store::Direction;

use super::position::{Bounds, Position, Token};
use super::read::{GroupReader, Selection};
use crate::address::Address;
use crate::error::LogsError;
use crate::limits::{EVENT_OVERHEAD, MAX_PAGE_BYTES, MAX_PAGE_EVENTS, MAX_SCAN_BYTES};
use crate::pattern::Pattern;
use crate::state::{Logs, millis};

pub async fn filter_log_events(
    cx: &Cx,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, LogsError> {
    let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
    let address = Address::either(cx, name, identifier)?;
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())?;
    let token = input.next_token.as_deref().map(Token::read).transpose()?;
    let logs = cx.state::<Logs>();
    let group = logs.group(cx.store(), &address).await?;
    let selection = match (input.log_stream_names, input.log_stream_name_prefix) {
        (Some(_), Some(_)) => {
            return Err(LogsError::invalid(
                "LogStream names and LogStream name prefix are mutually exclusive parameters.",
            ));
        }
        (Some(names), None) => {
            for name in &names {
                logs.stream(cx.store(), group.id(), name).await?;
            }
            Selection::Names(names)
        }
        (None, Some(prefix)) => Selection::Prefix(prefix),
        (None, None) => Selection::All,
    };
    let oldest = group.oldest_kept(millis(cx.now()));
    let asked = Bounds {
        from: Position::first_at(input.start_time.unwrap_or(0).max(oldest)),
        // The end belongs to what is asked for.
        to: input.end_time.map_or(Position::END, |end| Position::first_at(end.saturating_add(1))),
    };
    let (direction, bounds) = match token {
        Some(Token::Forward(boundary)) => {
            (Direction::Forward, asked.and(Bounds { from: boundary, to: Position::END }))
        }
        Some(Token::Backward(boundary)) => {
            (Direction::Backward, asked.and(Bounds { from: asked.from, to: boundary }))
        }
        None if input.start_from_head == Some(false) => (Direction::Backward, asked),
        None => (Direction::Forward, asked),
    };
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_PAGE_EVENTS);
    let mut reader = GroupReader::new(logs, cx.store(), group.id(), &selection, bounds, direction);
    let (events, next) = page(&mut reader, &pattern, limit, direction).await?;
    Ok(FilterLogEventsResponse {
        events: Some(events),
        searched_log_streams: Some(Vec::new()),
        next_token: next.map(Token::write),
    })
}

/// The matching events of a page, and where the next one begins.
async fn page(
    reader: &mut GroupReader<'_>,
    pattern: &Pattern,
    limit: usize,
    direction: Direction,
) -> Result<(Vec<FilteredLogEvent>, Option<Token>), LogsError> {
    let (mut events, mut bytes, mut looked_at) = (Vec::new(), 0, 0u32);
    loop {
        looked_at = looked_at.wrapping_add(1);
        let is_over = looked_at.is_multiple_of(1_024) && reader.read_bytes() > MAX_SCAN_BYTES;
        let Some((stream, _, found)) = reader.next().await? else { return Ok((events, None)) };
        let boundary = match direction {
            Direction::Forward => Token::Forward(found.position),
            Direction::Backward => Token::Backward(found.position.after()),
        };
        // This event is the first of the next page.
        if is_over || events.len() == limit {
            return Ok((events, Some(boundary)));
        }
        let text = String::from_utf8_lossy(&found.message);
        if !pattern.matches(&text) {
            continue;
        }
        bytes += found.message.len() + EVENT_OVERHEAD;
        if bytes > MAX_PAGE_BYTES && !events.is_empty() {
            return Ok((events, Some(boundary)));
        }
        events.push(FilteredLogEvent {
            log_stream_name: Some(stream.to_owned()),
            timestamp: Some(found.position.at),
            message: Some(text.into_owned()),
            ingestion_time: Some(found.ingested_at),
            event_id: Some(found.position.event_id()),
        });
    }
}
