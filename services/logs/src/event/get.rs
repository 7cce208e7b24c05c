//! `GetLogEvents`: a page of one stream, in either direction.
//!
//! Source: CloudWatch Logs API Reference, "GetLogEvents".

use std::collections::VecDeque;

use pileus_api_logs::{GetLogEventsRequest, GetLogEventsResponse, OutputLogEvent};
use pileus_platform::Cx;
use pileus_store::Direction;

use super::position::{Bounds, Position, Token};
use super::read::{Found, StreamReader};
use crate::address::Address;
use crate::error::LogsError;
use crate::limits::{EVENT_OVERHEAD, MAX_PAGE_BYTES, MAX_PAGE_EVENTS};
use crate::state::{Logs, millis};

pub async fn get_log_events(cx: &Cx, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, LogsError> {
    let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
    let address = Address::either(cx, name, identifier)?;
    let logs = cx.state::<Logs>();
    let group = logs.group(cx.store(), &address).await?;
    let stream = input.log_stream_name.unwrap_or_default();
    let stream = logs.stream(cx.store(), group.id(), &stream).await?;
    let token = input.next_token.as_deref().map(Token::read).transpose()?;
    let oldest = group.oldest_kept(millis(cx.now()));
    let asked = Bounds {
        from: Position::first_at(input.start_time.unwrap_or(0).max(oldest)),
        to: input.end_time.map_or(Position::END, Position::first_at),
    };
    let (direction, bounds) = match token {
        Some(Token::Forward(boundary)) => {
            (Direction::Forward, asked.and(Bounds { from: boundary, to: Position::END }))
        }
        Some(Token::Backward(boundary)) => {
            (Direction::Backward, asked.and(Bounds { from: asked.from, to: boundary }))
        }
        None if input.start_from_head == Some(true) => (Direction::Forward, asked),
        None => (Direction::Backward, asked),
    };
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_PAGE_EVENTS);
    let mut reader = StreamReader::new(cx.store(), group.id(), stream.id, bounds, direction);
    let events = page(&mut reader, limit, direction).await?;
    let (forward, backward) = match (events.front(), events.back(), token) {
        (Some(first), Some(last), _) => (last.position.after(), first.position),
        (_, _, Some(Token::Forward(boundary) | Token::Backward(boundary))) => (boundary, boundary),
        _ => (asked.from, asked.from),
    };
    let events = events.into_iter().map(|found| OutputLogEvent {
        timestamp: Some(found.position.at),
        message: Some(found.text()),
        ingestion_time: Some(found.ingested_at),
    });
    Ok(GetLogEventsResponse {
        events: Some(events.collect()),
        next_forward_token: Some(Token::Forward(forward).write()),
        next_backward_token: Some(Token::Backward(backward).write()),
    })
}

/// As many events as a page holds, the eldest first.
async fn page(
    reader: &mut StreamReader<'_>,
    limit: usize,
    direction: Direction,
) -> Result<VecDeque<Found>, LogsError> {
    let (mut events, mut bytes) = (VecDeque::new(), 0);
    while events.len() < limit {
        let Some(found) = reader.next().await? else { break };
        bytes += found.message.len() + EVENT_OVERHEAD;
        if bytes > MAX_PAGE_BYTES && !events.is_empty() {
            break;
        }
        match direction {
            Direction::Forward => events.push_back(found),
            Direction::Backward => events.push_front(found),
        }
    }
    Ok(events)
}
