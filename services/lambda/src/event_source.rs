//! Event source mappings: `CreateEventSourceMapping` and its sisters. The pollers: `event_source/sqs.rs`, `event_source/stream.rs`.
//!
//! Source: AWS Lambda API Reference, "CreateEventSourceMapping"; Lambda Developer Guide, "Using Lambda with Amazon SQS". Recorded: the
//! answers' form and the sentences.

pub mod batch;
pub mod filter;
pub mod sqs;
pub mod stream;

use pileus_api_dynamodbstreams as streams_api;
use pileus_api_lambda as api;
use pileus_api_sqs as sqs_api;
use pileus_core::{AccountId, Arn, Region, Timestamp};
use pileus_platform::{Access, Cx};
use pileus_store::Stored;
use serde::{Deserialize, Serialize};

use crate::destination::role_may;
use crate::error::LambdaError;
use crate::function::resolve;
use crate::keys::MAPPINGS;
use crate::name::FunctionName;
use crate::page::Page;
use crate::tags::{self, Tags};
use crate::{destination, role};

use self::stream::settings::{self, Given, StreamSettings};

/// Account, region and UUID.
pub type Key = (AccountId, Region, String);

/// Wakes whoever runs pollers: mappings have changed.
pub const TOPIC: &str = "lambda/mappings";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingRow {
    pub source: String,
    /// As it was named: with a qualifier, if there was one.
    pub function_arn: String,
    pub is_enabled: bool,
    pub batch_size: u32,
    pub window_seconds: u32,
    /// Patterns; a message passes if it matches any.
    pub filters: Vec<String>,
    /// `ReportBatchItemFailures`
    pub reports_failures: bool,
    pub max_concurrency: Option<u32>,
    pub modified: Timestamp,
    #[serde(default)]
    pub tags: Tags,
    /// Of a mapping that reads a stream.
    #[serde(default)]
    pub stream: Option<StreamSettings>,
}

impl Stored for MappingRow {}

pub fn key(cx: &Cx, uuid: Option<&str>) -> Key {
    (cx.account(), cx.region().clone(), uuid.unwrap_or_default().to_owned())
}

pub fn arn(key: &Key) -> String {
    let (account, region, uuid) = key;
    format!("arn:{}:lambda:{region}:{account}:event-source-mapping:{uuid}", region.partition())
}

/// The mapping that an ARN names.
pub fn key_of_arn(text: &str) -> Option<Key> {
    let arn = Arn::parse(text).ok().filter(|arn| arn.service() == "lambda")?;
    let uuid = arn.resource().strip_prefix("event-source-mapping:")?;
    Some((AccountId::parse(arn.account())?, Region::parse(arn.region())?, uuid.to_owned()))
}

impl MappingRow {
    fn show(&self, key: &Key, state: &str) -> api::EventSourceMappingConfiguration {
        let filters =
            self.filters.iter().map(|pattern| api::Filter { pattern: Some(pattern.clone()) }).collect();
        let responses =
            if self.reports_failures { vec!["ReportBatchItemFailures".to_owned()] } else { vec![] };
        let mut answer = api::EventSourceMappingConfiguration {
            uuid: Some(key.2.clone()),
            batch_size: Some(i64::from(self.batch_size)),
            maximum_batching_window_in_seconds: Some(i64::from(self.window_seconds)),
            event_source_arn: Some(self.source.clone()),
            filter_criteria: (!self.filters.is_empty())
                .then_some(api::FilterCriteria { filters: Some(filters) }),
            scaling_config: self
                .max_concurrency
                .map(|limit| api::ScalingConfig { maximum_concurrency: Some(i64::from(limit)) }),
            function_arn: Some(self.function_arn.clone()),
            last_modified: Some(self.modified),
            state: Some(state.to_owned()),
            state_transition_reason: Some("USER_INITIATED".to_owned()),
            function_response_types: Some(responses),
            event_source_mapping_arn: Some(arn(key)),
            ..api::EventSourceMappingConfiguration::default()
        };
        if let Some(stream) = &self.stream {
            stream.show(&mut answer);
        }
        answer
    }

    /// When nothing is on its way.
    fn settled(&self) -> &'static str {
        if self.is_enabled { "Enabled" } else { "Disabled" }
    }

    fn is_fifo(&self) -> bool {
        self.source.ends_with(".fifo")
    }

    fn check(&self) -> Result<(), LambdaError> {
        for pattern in &self.filters {
            filter::Pattern::parse(pattern)
                .map_err(|_| LambdaError::invalid("Invalid filter pattern definition."))?;
        }
        if let Some(stream) = &self.stream {
            return stream.check_batch(self.batch_size);
        }
        if self.batch_size > 10 && self.is_fifo() {
            return Err(LambdaError::invalid("Batch size for FIFO queues cannot be greater than 10."));
        }
        if self.window_seconds > 0 && self.is_fifo() {
            return Err(LambdaError::invalid(
                "Batching window is not supported for FIFO queues as event sources.",
            ));
        }
        if self.batch_size > 10 && self.window_seconds == 0 {
            return Err(LambdaError::invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            ));
        }
        Ok(())
    }
}

/// What only other event sources have.
#[derive(Default)]
struct Foreign {
    scaling: bool,
    starting_position: bool,
    streams: bool,
    kafka: bool,
    destinations: bool,
    kms_key: bool,
    metrics: bool,
    logging: bool,
    provisioned: bool,
}

impl Foreign {
    /// What neither queues nor streams have, or this cloud lacks for both.
    fn refuse(&self, kind: Kind) -> Result<(), LambdaError> {
        let of_queues = [
            (self.starting_position, "StartingPosition is not valid for SQS event sources."),
            (
                self.streams,
                "ParallelizationFactor, MaximumRecordAgeInSeconds, BisectBatchOnFunctionError, MaximumRetryAttempts and TumblingWindowInSeconds are not supported for SQS event sources.",
            ),
            (self.destinations, "DestinationConfig is not supported for SQS event sources."),
        ];
        let of_streams = [(self.scaling, "ScalingConfig is not supported for DynamoDB event sources.")];
        let of_both = [(self.kafka, "Unsupported event source for the given parameters.")];
        let own = if kind == Kind::Queue { &of_queues[..] } else { &of_streams[..] };
        let invalid: Vec<_> = of_both.iter().chain(own).copied().collect();
        if let Some((_, text)) = invalid.into_iter().find(|(is_given, _)| *is_given) {
            return Err(LambdaError::invalid(text));
        }
        let lacking = [
            (self.kms_key, "KMSKeyArn of event source mappings"),
            (self.metrics, "MetricsConfig of event source mappings"),
            (self.logging, "LoggingConfig of event source mappings"),
            (self.provisioned, "ProvisionedPollerConfig of event source mappings"),
        ];
        match lacking.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, what)) => Err(LambdaError::missing(what)),
            None => Ok(()),
        }
    }
}

fn patterns(given: Option<api::FilterCriteria>) -> Vec<String> {
    let filters = given.and_then(|criteria| criteria.filters).unwrap_or_default();
    filters.into_iter().filter_map(|filter| filter.pattern).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Queue,
    Stream,
}

/// The queue or the stream that a mapping reads.
fn source(cx: &Cx, source: Option<&str>) -> Result<(Kind, Arn), LambdaError> {
    let source = source.unwrap_or_default();
    let arn = Arn::parse(source).map_err(|_| LambdaError::invalid("Unrecognized event source."))?;
    let kind = match arn.service() {
        "sqs" => Kind::Queue,
        "dynamodb" if arn.resource().contains("/stream/") => Kind::Stream,
        "kinesis" => return Err(LambdaError::missing("Kinesis streams as event sources of Lambda")),
        "kafka" => return Err(LambdaError::missing("Kafka as an event source of Lambda")),
        "mq" => return Err(LambdaError::missing("Amazon MQ as an event source of Lambda")),
        "rds" => return Err(LambdaError::missing("DocumentDB as an event source of Lambda")),
        _ => return Err(LambdaError::invalid("Unrecognized event source.")),
    };
    if arn.region() != cx.region().as_str() {
        return Err(LambdaError::invalid(format!(
            "The event source and the function must be in the same region ({}).",
            cx.region()
        )));
    }
    Ok((kind, arn))
}

async fn check_source(cx: &Cx, name: &FunctionName, kind: Kind, source: &Arn) -> Result<(), LambdaError> {
    match kind {
        Kind::Queue => check_queue(cx, name, source).await,
        Kind::Stream => check_stream(cx, name, source).await,
    }
}

/// Whether the function's role may read the stream, and it is there.
async fn check_stream(cx: &Cx, name: &FunctionName, stream: &Arn) -> Result<(), LambdaError> {
    let resolved =
        resolve(cx.store(), name).await.map_err(|_| LambdaError::invalid("Function does not exist"))?;
    for action in ["GetRecords", "GetShardIterator", "DescribeStream", "ListStreams"] {
        // Listing names no single stream.
        let resource = if action == "ListStreams" { "*" } else { stream.as_str() };
        let access = Access::new(format!("dynamodb:{action}"), resource);
        if !role_may(cx, &resolved.config.role, access).await? {
            return Err(LambdaError::invalid(format!(
                "Cannot access stream {stream}. Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, and ListStreams Actions on your stream in IAM."
            )));
        }
    }
    let as_role = role::assume(cx, &resolved.config.role, &name.name).await?;
    let request =
        streams_api::DescribeStreamInput { stream_arn: Some(stream.to_string()), ..Default::default() };
    match as_role.call(streams_api::DESCRIBE_STREAM, request).await {
        Ok(_) => Ok(()),
        Err(_) => Err(LambdaError::invalid(format!("Stream not found: {stream}"))),
    }
}

/// Whether the function's role may poll the queue, and the queue keeps messages long enough.
async fn check_queue(cx: &Cx, name: &FunctionName, queue: &Arn) -> Result<(), LambdaError> {
    let resolved =
        resolve(cx.store(), name).await.map_err(|_| LambdaError::invalid("Function does not exist"))?;
    for action in ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"] {
        let access = Access::new(format!("sqs:{action}"), queue.as_str());
        if !role_may(cx, &resolved.config.role, access).await? {
            return Err(LambdaError::invalid(format!(
                "The provided execution role does not have permissions to call {action} on SQS"
            )));
        }
    }
    let as_role = role::assume(cx, &resolved.config.role, &name.name).await?;
    let request = sqs_api::GetQueueAttributesRequest {
        queue_url: Some(destination::queue_url(cx, queue)),
        attribute_names: Some(vec!["VisibilityTimeout".to_owned()]),
    };
    let answer = as_role.call(sqs_api::GET_QUEUE_ATTRIBUTES, request).await.map_err(|fault| {
        let code = match &*fault.code {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
            other => other,
        };
        LambdaError::invalid(format!(
            "Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {}",
            fault.message
        ))
    })?;
    let timeout = answer.attributes.as_ref().and_then(|attributes| attributes.get("VisibilityTimeout"));
    let timeout: u32 = timeout.and_then(|text| text.parse().ok()).unwrap_or(0);
    if timeout < resolved.config.timeout {
        return Err(LambdaError::invalid(format!(
            "Queue visibility timeout: {timeout} seconds is less than Function timeout: {} seconds",
            resolved.config.timeout
        )));
    }
    Ok(())
}

/// `CreateEventSourceMapping`: polling begins at once.
pub async fn create_event_source_mapping(
    cx: &Cx,
    input: api::CreateEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, LambdaError> {
    let foreign = Foreign {
        scaling: input.scaling_config.is_some(),
        starting_position: input.starting_position.is_some() || input.starting_position_timestamp.is_some(),
        streams: input.parallelization_factor.is_some()
            || input.maximum_record_age_in_seconds.is_some()
            || input.bisect_batch_on_function_error.is_some()
            || input.maximum_retry_attempts.is_some()
            || input.tumbling_window_in_seconds.is_some(),
        kafka: input.topics.is_some()
            || input.queues.is_some()
            || input.source_access_configurations.is_some()
            || input.self_managed_event_source.is_some()
            || input.amazon_managed_kafka_event_source_config.is_some()
            || input.self_managed_kafka_event_source_config.is_some()
            || input.document_db_event_source_config.is_some(),
        destinations: input.destination_config.is_some(),
        kms_key: input.kms_key_arn.is_some(),
        metrics: input.metrics_config.is_some(),
        logging: input.logging_config.is_some(),
        provisioned: input.provisioned_poller_config.is_some(),
    };
    let name = FunctionName::parse(cx, input.function_name.as_deref(), None)?;
    let (kind, source) = source(cx, input.event_source_arn.as_deref())?;
    foreign.refuse(kind)?;
    let given = Given {
        starting_position: input.starting_position,
        parallelization: input.parallelization_factor,
        max_age_seconds: input.maximum_record_age_in_seconds,
        max_retries: input.maximum_retry_attempts,
        bisects: input.bisect_batch_on_function_error,
        tumbling_seconds: input.tumbling_window_in_seconds,
        destinations: input.destination_config,
    };
    let stream = match kind {
        Kind::Queue => None,
        Kind::Stream => Some(StreamSettings::new(&given, cx.now())?),
    };
    check_source(cx, &name, kind, &source).await?;
    let default_batch = if kind == Kind::Stream { settings::BATCH_SIZE } else { 10 };
    let number = |value: Option<i64>, default| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default);
    let row = &MappingRow {
        source: source.as_str().to_owned(),
        function_arn: name.qualified_arn(),
        is_enabled: input.enabled.unwrap_or(true),
        batch_size: number(input.batch_size, default_batch),
        window_seconds: number(input.maximum_batching_window_in_seconds, 0),
        filters: patterns(input.filter_criteria),
        reports_failures: input.function_response_types.is_some_and(|types| !types.is_empty()),
        max_concurrency: max_concurrency(input.scaling_config),
        modified: Timestamp::from_secs(cx.now().as_secs()),
        tags: tags::merge(Tags::new(), input.tags)?,
        stream,
    };
    row.check()?;
    let key = &key(cx, Some(&cx.ids().uuid()));
    cx.transact(|txn| async move {
        let all = MAPPINGS.scan(&txn, &MAPPINGS.under(&(key.0, &key.1)), 2_000).await?;
        let same = all.rows.iter().find(|(_, other)| {
            other.source == row.source && other.function_arn == row.function_arn
        });
        if let Some(((_, _, uuid), _)) = same {
            return Err(LambdaError::ResourceConflict(format!(
                "An event source mapping with {} arn (\" {} \") and function (\" {} \") already exists. Please update or delete the existing mapping with UUID {uuid}",
                if row.stream.is_some() { "DynamoDB" } else { "SQS" },
                row.source,
                function_of(row)
            )));
        }
        MAPPINGS.put(&txn, key, row)?;
        txn.notify(TOPIC);
        Ok(())
    })
    .await?;
    Ok(row.show(key, if row.is_enabled { "Creating" } else { "Disabled" }))
}

fn function_of(row: &MappingRow) -> String {
    FunctionName::from_arn(&row.function_arn).map(|name| name.name).unwrap_or_default()
}

fn max_concurrency(given: Option<api::ScalingConfig>) -> Option<u32> {
    given.and_then(|scaling| scaling.maximum_concurrency).and_then(|limit| u32::try_from(limit).ok())
}

/// `GetEventSourceMapping`
pub async fn get_event_source_mapping(
    cx: &Cx,
    input: api::GetEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, LambdaError> {
    let key = key(cx, input.uuid.as_deref());
    let row = MAPPINGS.get(cx.store(), &key).await?.ok_or_else(LambdaError::not_there)?;
    Ok(row.show(&key, row.settled()))
}

/// `ListEventSourceMappings`: of a source, of a function, or all.
pub async fn list_event_source_mappings(
    cx: &Cx,
    input: api::ListEventSourceMappingsRequest,
) -> Result<api::ListEventSourceMappingsResponse, LambdaError> {
    let page = Page::new(input.marker.as_deref(), input.max_items.map(|items| items.min(50)))?;
    let name = match input.function_name.as_deref() {
        Some(name) => Some(FunctionName::parse(cx, Some(name), None)?),
        None => None,
    };
    let range = MAPPINGS.under(&(cx.account(), cx.region()));
    let mut rows = MAPPINGS.scan(cx.store(), &range, 10_000).await?.rows;
    rows.retain(|(_, row)| {
        let source_fits = input.event_source_arn.as_ref().is_none_or(|source| *source == row.source);
        let function_fits = name.as_ref().is_none_or(|name| {
            FunctionName::from_arn(&row.function_arn).is_some_and(|own| {
                own.key() == name.key() && (name.qualifier.is_none() || own.qualifier == name.qualifier)
            })
        });
        source_fits && function_fits
    });
    let (rows, next_marker) = page.cut(rows, |((_, _, uuid), _)| uuid.clone());
    let mappings = rows.iter().map(|(key, row)| row.show(key, row.settled())).collect();
    Ok(api::ListEventSourceMappingsResponse { event_source_mappings: Some(mappings), next_marker })
}

/// `UpdateEventSourceMapping`: what is not mentioned stays.
pub async fn update_event_source_mapping(
    cx: &Cx,
    input: api::UpdateEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, LambdaError> {
    let key = &key(cx, input.uuid.as_deref());
    let foreign = Foreign {
        streams: input.parallelization_factor.is_some()
            || input.maximum_record_age_in_seconds.is_some()
            || input.bisect_batch_on_function_error.is_some()
            || input.maximum_retry_attempts.is_some()
            || input.tumbling_window_in_seconds.is_some(),
        kafka: input.source_access_configurations.is_some()
            || input.amazon_managed_kafka_event_source_config.is_some()
            || input.self_managed_kafka_event_source_config.is_some()
            || input.document_db_event_source_config.is_some(),
        destinations: input.destination_config.is_some(),
        kms_key: input.kms_key_arn.is_some(),
        metrics: input.metrics_config.is_some(),
        logging: input.logging_config.is_some(),
        provisioned: input.provisioned_poller_config.is_some(),
        starting_position: false,
        scaling: input.scaling_config.is_some(),
    };
    let known = MAPPINGS.get(cx.store(), key).await?.ok_or_else(LambdaError::not_there)?;
    let (kind, known_source) = source(cx, Some(&known.source))?;
    foreign.refuse(kind)?;
    let given = &Given {
        starting_position: None,
        parallelization: input.parallelization_factor,
        max_age_seconds: input.maximum_record_age_in_seconds,
        max_retries: input.maximum_retry_attempts,
        bisects: input.bisect_batch_on_function_error,
        tumbling_seconds: input.tumbling_window_in_seconds,
        destinations: input.destination_config.clone(),
    };
    let moved = match input.function_name.as_deref() {
        Some(name) => {
            let name = FunctionName::parse(cx, Some(name), None)?;
            check_source(cx, &name, kind, &known_source).await?;
            Some(name.qualified_arn())
        }
        None => None,
    };
    let (input, moved) = (&input, &moved);
    let row = cx
        .transact(|txn| async move {
            let mut row = MAPPINGS.get(&txn, key).await?.ok_or_else(LambdaError::not_there)?;
            let set = |value: Option<i64>, field: &mut u32| {
                if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                    *field = value;
                }
            };
            set(input.batch_size, &mut row.batch_size);
            set(input.maximum_batching_window_in_seconds, &mut row.window_seconds);
            row.is_enabled = input.enabled.unwrap_or(row.is_enabled);
            if let Some(function_arn) = moved {
                row.function_arn.clone_from(function_arn);
            }
            if input.filter_criteria.is_some() {
                row.filters = patterns(input.filter_criteria.clone());
            }
            if let Some(types) = &input.function_response_types {
                row.reports_failures = !types.is_empty();
            }
            if let Some(stream) = &mut row.stream {
                stream.change(given)?;
            }
            if input.scaling_config.is_some() {
                row.max_concurrency = max_concurrency(input.scaling_config.clone());
            }
            row.modified = Timestamp::from_secs(cx.now().as_secs());
            row.check()?;
            MAPPINGS.put(&txn, key, &row)?;
            txn.notify(TOPIC);
            Ok::<_, LambdaError>(row)
        })
        .await?;
    let state = match (known.is_enabled, row.is_enabled) {
        (true, false) => "Disabling",
        (false, true) => "Enabling",
        (true, true) => "Updating",
        (false, false) => "Disabled",
    };
    Ok(row.show(key, state))
}

/// `DeleteEventSourceMapping`
pub async fn delete_event_source_mapping(
    cx: &Cx,
    input: api::DeleteEventSourceMappingRequest,
) -> Result<api::EventSourceMappingConfiguration, LambdaError> {
    let key = &key(cx, input.uuid.as_deref());
    let row = cx
        .transact(|txn| async move {
            let row = MAPPINGS.get(&txn, key).await?.ok_or_else(LambdaError::not_there)?;
            MAPPINGS.delete(&txn, key);
            stream::forget(&txn, key).await?;
            txn.notify(TOPIC);
            Ok::<_, LambdaError>(row)
        })
        .await?;
    Ok(row.show(key, "Deleting"))
}
