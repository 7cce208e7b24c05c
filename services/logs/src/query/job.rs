//! Queries as jobs: `StartQuery`, `StopQuery`, `GetQueryResults`, `DescribeQueries`, `ListLogGroupsForQuery`.
//!
//! `StartQuery` leaves a row of work; a node takes it, reads the events from the latest to the eldest, and writes the answer. A
//! query whose node stops is run again by another.
//!
//! Source: CloudWatch Logs API Reference, "StartQuery", "GetQueryResults", "DescribeQueries". Recorded: the sentences, and how
//! `DescribeQueries` shows a query.

use std::sync::Arc;

use pileus_api_logs::{
    DescribeQueriesRequest, DescribeQueriesResponse, GetQueryResultsRequest, GetQueryResultsResponse,
    ListLogGroupsForQueryRequest, ListLogGroupsForQueryResponse, QueryInfo, QueryStatistics, ResultField,
    StartQueryRequest, StartQueryResponse, StopQueryRequest, StopQueryResponse, query_language, query_status,
};
use pileus_core::{AccountId, Region};
use pileus_platform::{Cx, Platform};
use pileus_store::due::{Job, NewJob};
use pileus_store::key::Descending;
use pileus_store::runner::Failure;
use pileus_store::{Batch, Direction, Durability, StoreError, Stored, table};
use serde::{Deserialize, Serialize};

use super::parse;
use super::row::{Origin, Row, Source};
use super::run::{Answer, Run};
use crate::address::Address;
use crate::error::LogsError;
use crate::event::position::{Bounds, Position};
use crate::event::read::{Found, GroupReader, Selection};
use crate::keys::{Nothing, QUERIES, RECENT, RESULTS, WORK};
use crate::limits::MAX_QUERY_GROUPS;
use crate::page;
use crate::state::{Logs, millis};

/// Kind of the rows of work.
pub const KIND: &str = "query";
/// Rows of an answer when nobody says otherwise.
const DEFAULT_LIMIT: usize = 10_000;
/// Text of an answer's part; a row of the store holds no more than a MiB.
const PART_BYTES: usize = 256 << 10;
/// A field's text in an answer is cut to this.
const MAX_FIELD_BYTES: usize = 256 << 10;
/// Events between two looks at whether the query was stopped.
const LOOK_EVERY: u64 = 8_192;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueryRecord {
    /// Account, region and name of each group.
    pub groups: Vec<(AccountId, Region, String)>,
    /// Seconds since 1970; the whole last second belongs to the query.
    pub start: i64,
    pub end: i64,
    pub query: String,
    pub limit: Option<u64>,
    pub status: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    #[serde(default)]
    pub ended_at: Option<i64>,
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub statistics: Statistics,
    /// How many parts the answer has.
    #[serde(default)]
    pub parts: u32,
}

impl Stored for QueryRecord {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    pub matched: u64,
    pub scanned: u64,
    pub bytes: u64,
    pub rows: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultPart {
    pub rows: Vec<Answer>,
}

impl Stored for ResultPart {}

impl QueryRecord {
    fn is_running(&self) -> bool {
        self.status == query_status::RUNNING
    }
}

/// What a row of work says.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    account: AccountId,
    region: Region,
    id: String,
}

impl Stored for Task {}

pub async fn start_query(cx: &Cx, input: StartQueryRequest) -> Result<StartQueryResponse, LogsError> {
    check_language(input.query_language.as_deref())?;
    let query = input.query_string.unwrap_or_default();
    parse::parse(&query)?;
    let ways =
        [input.log_group_name.map(|name| vec![name]), input.log_group_names, input.log_group_identifiers];
    let mut given = ways.into_iter().flatten();
    let (Some(names), None) = (given.next(), given.next()) else {
        return Err(LogsError::invalid(
            "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be specified.",
        ));
    };
    if names.is_empty() || names.len() > MAX_QUERY_GROUPS {
        return Err(LogsError::invalid("A query has 1 to 50 log groups."));
    }
    let (start, end) = (input.start_time.unwrap_or_default(), input.end_time.unwrap_or_default());
    if start > end {
        return Err(LogsError::invalid("End time should not be before the start time."));
    }
    let mut groups = Vec::with_capacity(names.len());
    for name in &names {
        let address = Address::identified(cx, name)?;
        if cx.state::<Logs>().find_group(cx.store(), &address).await?.is_none() {
            let account = address.account.as_str();
            return Err(LogsError::NotFound(format!(
                "Log group '{}' does not exist for account ID '{account}' (Service: AWSLogs; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: {}; Proxy: null)",
                address.name,
                cx.request_id()
            )));
        }
        groups.push(address.key());
    }
    let record = &QueryRecord {
        groups,
        start,
        end,
        query,
        limit: input.limit.and_then(|limit| u64::try_from(limit).ok()),
        status: query_status::RUNNING.to_owned(),
        created_at: millis(cx.now()),
        ended_at: None,
        user: cx.caller().arn.to_string(),
        statistics: Statistics::default(),
        parts: 0,
    };
    let id = &cx.ids().uuid();
    let (account, region) = (cx.account(), cx.region());
    let task = table::encode(&Task { account, region: region.clone(), id: id.clone() })?;
    let task = &task;
    cx.transact(|txn| async move {
        QUERIES.put(&txn, &(account, region, id), record)?;
        let started = Descending(u64::try_from(record.created_at).unwrap_or(0));
        RECENT.put(&txn, &(account, region, started, id), &Nothing {})?;
        WORK.add(&txn, &NewJob { kind: KIND, id, due: cx.now(), destination: "", payload: task })?;
        Ok::<_, LogsError>(())
    })
    .await?;
    Ok(StartQueryResponse { query_id: Some(id.clone()) })
}

/// # Errors
/// 501 for the languages that are not CloudWatch Logs Insights' own.
pub fn check_language(language: Option<&str>) -> Result<(), LogsError> {
    match language {
        None | Some(query_language::CWLI) => Ok(()),
        Some(other) => Err(LogsError::lacking(format!("the query language {other}"))),
    }
}

/// Runs the query that a row of work names, unless it was stopped.
pub async fn run(platform: Platform, job: Job) -> Result<(), Failure> {
    let Task { account, region, id } = table::decode(&job.payload)?;
    let store = platform.store();
    let key = (account, &region, id.as_str());
    let Some(record) = QUERIES.get(store, &key).await?.filter(QueryRecord::is_running) else { return Ok(()) };
    let (status, statistics, rows) = match answer(&platform, &record, &key).await {
        Ok(Some((statistics, rows))) => (query_status::COMPLETE, statistics, rows),
        Ok(None) => return Ok(()),
        Err(LogsError::Store(error)) => return Err(error.into()),
        Err(error) => {
            tracing::info!(%error, id, "a query of Logs Insights failed");
            (query_status::FAILED, Statistics::default(), Vec::new())
        }
    };
    let parts = write(&platform, &id, rows).await?;
    let (key, ended_at) = (&key, millis(platform.clock().now()));
    store
        .transact(|txn| async move {
            if let Some(record) = QUERIES.get(&txn, key).await?.filter(QueryRecord::is_running) {
                let done = QueryRecord {
                    status: status.to_owned(),
                    statistics,
                    parts,
                    ended_at: Some(ended_at),
                    ..record
                };
                QUERIES.put(&txn, key, &done)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok(())
}

type Key<'a> = (AccountId, &'a Region, &'a str);

/// The rows of the answer; `None` when the query was stopped meanwhile.
async fn answer(
    platform: &Platform,
    record: &QueryRecord,
    key: &Key<'_>,
) -> Result<Option<(Statistics, Vec<Answer>)>, LogsError> {
    let (store, logs, now) = (platform.store(), platform.state::<Logs>(), millis(platform.clock().now()));
    let commands = parse::parse(&record.query)?;
    let limit = record.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT);
    let too_much = |_| LogsError::invalid("the query needs more memory than it may have");
    let mut run = Run::new(&commands, limit);
    let mut statistics = Statistics::default();
    let mut readers = Vec::new();
    for (account, region, name) in &record.groups {
        let address = Address { account: *account, region: region.clone(), name: name.clone() };
        // A group that was deleted meanwhile has no events.
        let Some(group) = logs.find_group(store, &address).await? else { continue };
        let bounds = Bounds {
            from: Position::first_at(record.start.saturating_mul(1_000).max(group.oldest_kept(now))),
            to: Position::first_at(record.end.saturating_add(1).saturating_mul(1_000)),
        };
        let reader = GroupReader::new(logs, store, group.id(), &Selection::All, bounds, Direction::Backward);
        let mut reader = Merged { source: Arc::new(Source::new(&address, group.id())), reader, head: None };
        reader.advance().await?;
        readers.push(reader);
    }
    loop {
        let heads = readers.iter().enumerate().filter_map(|(at, reader)| Some((reader.position()?, at)));
        let Some((_, at)) = heads.max() else { break };
        let Some(origin) = readers[at].take() else { break };
        readers[at].advance().await?;
        statistics.scanned += 1;
        statistics.bytes += origin.message.len() as u64;
        statistics.matched += u64::from(run.push(Row::new(origin)).map_err(too_much)?);
        if statistics.scanned.is_multiple_of(LOOK_EVERY) {
            tokio::task::yield_now().await;
            if !QUERIES.get(store, key).await?.is_some_and(|record| record.is_running()) {
                return Ok(None);
            }
        }
    }
    let rows = run.finish().map_err(too_much)?;
    statistics.rows = rows.len() as u64;
    Ok(Some((statistics, rows)))
}

/// The events of one group, one of them at hand.
struct Merged<'s> {
    source: Arc<Source>,
    reader: GroupReader<'s>,
    head: Option<(String, u64, Found)>,
}

impl Merged<'_> {
    fn position(&self) -> Option<Position> {
        self.head.as_ref().map(|(_, _, found)| found.position)
    }

    async fn advance(&mut self) -> Result<(), LogsError> {
        let next = self.reader.next().await?;
        self.head = next.map(|(name, stream, found)| (name.to_owned(), stream, found));
        Ok(())
    }

    fn take(&mut self) -> Option<Origin> {
        let (stream_name, stream, found) = self.head.take()?;
        let (position, ingested_at, message) = (found.position, found.ingested_at, found.text());
        Some(Origin { source: self.source.clone(), stream_name, stream, position, ingested_at, message })
    }
}

/// Writes an answer, part by part. A run that is repeated writes the same parts over.
async fn write(platform: &Platform, id: &str, rows: Vec<Answer>) -> Result<u32, StoreError> {
    let (mut parts, mut bytes, mut part) = (0, 0, ResultPart { rows: Vec::new() });
    for mut row in rows {
        for (_, text) in &mut row {
            if text.len() > MAX_FIELD_BYTES {
                text.truncate(text.floor_char_boundary(MAX_FIELD_BYTES));
            }
        }
        let size: usize = row.iter().map(|(name, text)| name.len() + text.len() + 16).sum();
        if bytes + size > PART_BYTES && !part.rows.is_empty() {
            write_part(platform, id, parts, &part).await?;
            (parts, bytes) = (parts + 1, 0);
            part.rows.clear();
        }
        bytes += size;
        part.rows.push(row);
    }
    if !part.rows.is_empty() {
        write_part(platform, id, parts, &part).await?;
        parts += 1;
    }
    Ok(parts)
}

async fn write_part(platform: &Platform, id: &str, number: u32, part: &ResultPart) -> Result<(), StoreError> {
    let batch = RESULTS.put_in(Batch::new(), &(id, number), part)?;
    platform.store().write(batch, Durability::Durable).await.map(|_| ())
}

async fn load(cx: &Cx, id: &str) -> Result<QueryRecord, LogsError> {
    let found = QUERIES.get(cx.store(), &(cx.account(), cx.region(), id)).await?;
    found.ok_or_else(|| LogsError::NotFound(format!("The specified query {id} does not exist.")))
}

pub async fn stop_query(cx: &Cx, input: StopQueryRequest) -> Result<StopQueryResponse, LogsError> {
    let id = input.query_id.as_deref().unwrap_or_default();
    load(cx, id).await?;
    let key = &(cx.account(), cx.region(), id);
    cx.transact(|txn| async move {
        match QUERIES.get(&txn, key).await? {
            Some(record) if record.is_running() => {
                let ended_at = Some(millis(cx.now()));
                let status = query_status::CANCELLED.to_owned();
                Ok(QUERIES.put(&txn, key, &QueryRecord { status, ended_at, ..record })?)
            }
            _ => Err(LogsError::invalid("Query is not in the running state")),
        }
    })
    .await?;
    Ok(StopQueryResponse { success: Some(true) })
}

pub async fn get_query_results(
    cx: &Cx,
    input: GetQueryResultsRequest,
) -> Result<GetQueryResultsResponse, LogsError> {
    let id = input.query_id.unwrap_or_default();
    let record = load(cx, &id).await?;
    let skip = match page::read(input.next_token.as_deref())? {
        Some(skip) => skip.parse::<usize>().map_err(|_| LogsError::bad_token())?,
        None => 0,
    };
    let most = input.max_items.and_then(|most| usize::try_from(most).ok()).unwrap_or(DEFAULT_LIMIT);
    let (mut rows, mut passed) = (Vec::new(), 0);
    for number in 0..record.parts {
        if rows.len() >= most {
            break;
        }
        let Some(part) = RESULTS.get(cx.store(), &(id.as_str(), number)).await? else { break };
        let from = skip.saturating_sub(passed).min(part.rows.len());
        passed += part.rows.len();
        let room = most - rows.len();
        rows.extend(part.rows.into_iter().skip(from).take(room).map(|row| {
            let field = |(field, value)| ResultField { field: Some(field), value: Some(value) };
            row.into_iter().map(field).collect()
        }));
    }
    let end = skip + rows.len();
    let more = (end as u64) < record.statistics.rows;
    Ok(GetQueryResultsResponse {
        query_language: Some(query_language::CWLI.to_owned()),
        next_token: page::next(more && !rows.is_empty(), Some(&end.to_string())),
        results: Some(rows),
        statistics: Some(statistics(&record)),
        status: Some(record.status),
        encryption_key: None,
    })
}

fn statistics(record: &QueryRecord) -> QueryStatistics {
    let Statistics { matched, scanned, bytes, rows } = record.statistics;
    QueryStatistics {
        records_matched: Some(matched as f64),
        records_scanned: Some(scanned as f64),
        bytes_scanned: Some(bytes as f64),
        estimated_records_skipped: Some(0.0),
        estimated_bytes_skipped: Some(0.0),
        log_groups_scanned: Some(record.groups.len() as f64),
        result_count: Some(rows as f64),
    }
}

pub async fn describe_queries(
    cx: &Cx,
    input: DescribeQueriesRequest,
) -> Result<DescribeQueriesResponse, LogsError> {
    check_language(input.query_language.as_deref())?;
    let most = input.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(1_000);
    let (account, region) = (cx.account(), cx.region());
    let mut range = RECENT.under(&(account, region));
    if let Some(after) = page::read(input.next_token.as_deref())? {
        let read = || {
            let (started, id) = after.split_once(' ')?;
            Some(RECENT.key(&(account, region, Descending(started.parse().ok()?), id)))
        };
        range = range.after(&read().ok_or_else(LogsError::bad_token)?);
    }
    let (mut queries, mut next) = (Vec::new(), None);
    'pages: loop {
        let rows = RECENT.scan(cx.store(), &range, 500).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&RECENT.key(last));
        for ((_, _, started, id), _) in rows.rows {
            if queries.len() == most {
                break 'pages;
            }
            let Some(record) = QUERIES.get(cx.store(), &(account, region, id.as_str())).await? else {
                continue;
            };
            let name = |name: &String| record.groups.iter().any(|(_, _, group)| group == name);
            if input.log_group_name.as_ref().is_none_or(name)
                && input.status.as_ref().is_none_or(|status| *status == record.status)
            {
                next = Some(format!("{} {id}", started.0));
                queries.push(describe(id, record));
            }
        }
        if !rows.more {
            next = None;
            break;
        }
    }
    let next_token = page::next(queries.len() == most, next.as_deref());
    Ok(DescribeQueriesResponse { queries: Some(queries), next_token })
}

fn describe(id: String, record: QueryRecord) -> QueryInfo {
    let sources: Vec<String> = record.groups.iter().map(|(_, _, name)| format!("\"{name}\"")).collect();
    let QueryRecord { start, end, query, .. } = &record;
    QueryInfo {
        query_language: Some(query_language::CWLI.to_owned()),
        query_id: Some(id),
        query_string: Some(format!("SOURCE {} START={start}000 END={end}999 | {query}", sources.join(" "))),
        create_time: Some(record.created_at),
        log_group_name: record.groups.first().map(|(_, _, name)| name.clone()),
        query_duration: record.ended_at.map(|ended| (ended - record.created_at).max(0)),
        bytes_scanned: record.ended_at.map(|_| record.statistics.bytes as f64),
        user_identity: Some(record.user),
        status: Some(record.status),
    }
}

pub async fn list_log_groups_for_query(
    cx: &Cx,
    input: ListLogGroupsForQueryRequest,
) -> Result<ListLogGroupsForQueryResponse, LogsError> {
    let record = load(cx, &input.query_id.unwrap_or_default()).await?;
    let most = input.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_QUERY_GROUPS);
    let after = page::read(input.next_token.as_deref())?;
    let mut arns: Vec<String> = record
        .groups
        .into_iter()
        .map(|(account, region, name)| Address { account, region, name }.arn())
        .filter(|arn| after.as_ref().is_none_or(|after| arn > after))
        .collect();
    arns.sort();
    let more = arns.len() > most;
    arns.truncate(most);
    let next_token = page::next(more, arns.last().map(String::as_str));
    Ok(ListLogGroupsForQueryResponse { log_group_identifiers: Some(arns), next_token })
}
