//! How asynchronous invocations of a function are treated: `PutFunctionEventInvokeConfig` and its sisters.
//!
//! Source: AWS Lambda API Reference, "PutFunctionEventInvokeConfig"; Lambda Developer Guide, "How Lambda handles errors and retries with
//! asynchronous invocation". Recorded: the answers' form and the sentences.

use pileus_api_lambda as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::destination;
use crate::error::LambdaError;
use crate::function::resolve;
use crate::keys::{EVENT_CONFIGS, QualifiedKey, qualified};
use crate::name::{FunctionName, LATEST};
use crate::page::Page;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventInvokeRow {
    pub modified: Timestamp,
    /// 0 to 2; 2 if absent.
    pub retries: Option<u32>,
    /// 60 to 21,600 seconds; 21,600 if absent.
    pub age_seconds: Option<u32>,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
}

impl Stored for EventInvokeRow {}

impl EventInvokeRow {
    pub fn max_retries(&self) -> u32 {
        self.retries.unwrap_or(2)
    }

    pub fn max_age_seconds(&self) -> u64 {
        u64::from(self.age_seconds.unwrap_or(21_600))
    }

    fn show(self, name: &FunctionName, qualifier: &str) -> api::FunctionEventInvokeConfig {
        api::FunctionEventInvokeConfig {
            last_modified: Some(self.modified),
            function_arn: Some(name.arn_of(qualifier)),
            maximum_retry_attempts: self.retries.map(i64::from),
            maximum_event_age_in_seconds: self.age_seconds.map(i64::from),
            destination_config: Some(api::DestinationConfig {
                on_success: Some(api::OnSuccess { destination: self.on_success }),
                on_failure: Some(api::OnFailure { destination: self.on_failure }),
            }),
        }
    }
}

/// The configuration in force for a qualifier.
pub async fn in_force(reader: &impl Reader, name: &FunctionName) -> Result<EventInvokeRow, LambdaError> {
    Ok(EVENT_CONFIGS.get(reader, &key(name)).await?.unwrap_or_default())
}

fn qualifier(name: &FunctionName) -> &str {
    name.qualifier.as_deref().unwrap_or(LATEST)
}

fn key(name: &FunctionName) -> QualifiedKey {
    qualified(&name.key(), qualifier(name))
}

/// What a request sets.
struct Given {
    retries: Option<u32>,
    age_seconds: Option<u32>,
    on_success: Option<String>,
    on_failure: Option<String>,
    names_destinations: bool,
}

async fn check(
    cx: &Cx,
    name: &FunctionName,
    retries: Option<i64>,
    age: Option<i64>,
    destinations: Option<api::DestinationConfig>,
) -> Result<Given, LambdaError> {
    let gone = |error| match error {
        LambdaError::ResourceNotFound(_) => {
            LambdaError::ResourceNotFound("The function doesn't exist.".to_owned())
        }
        other => other,
    };
    let resolved = resolve(cx.store(), name).await.map_err(gone)?;
    if retries.is_none() && age.is_none() && destinations.is_none() {
        return Err(LambdaError::invalid(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let names_destinations = destinations.is_some();
    let given = destinations.unwrap_or_default();
    let on_success = given.on_success.and_then(|success| success.destination).filter(|arn| !arn.is_empty());
    let on_failure = given.on_failure.and_then(|failure| failure.destination).filter(|arn| !arn.is_empty());
    let both = destination::Both { on_success: on_success.as_deref(), on_failure: on_failure.as_deref() };
    destination::check(cx, name, &resolved.config.role, &both).await?;
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    Ok(Given {
        retries: number(retries),
        age_seconds: number(age),
        on_success,
        on_failure,
        names_destinations,
    })
}

/// `PutFunctionEventInvokeConfig`: what is not mentioned goes.
pub async fn put_function_event_invoke_config(
    cx: &Cx,
    input: api::PutFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, LambdaError> {
    let name = &FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let (retries, age) = (input.maximum_retry_attempts, input.maximum_event_age_in_seconds);
    let given = check(cx, name, retries, age, input.destination_config).await?;
    let row = &EventInvokeRow {
        modified: Timestamp::from_secs(cx.now().as_secs()),
        retries: given.retries,
        age_seconds: given.age_seconds,
        on_success: given.on_success,
        on_failure: given.on_failure,
    };
    cx.transact(|txn| async move {
        resolve(&txn, name).await?;
        Ok::<_, LambdaError>(EVENT_CONFIGS.put(&txn, &key(name), row)?)
    })
    .await?;
    Ok(row.clone().show(name, qualifier(name)))
}

/// `UpdateFunctionEventInvokeConfig`: what is not mentioned stays.
pub async fn update_function_event_invoke_config(
    cx: &Cx,
    input: api::UpdateFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, LambdaError> {
    let name = &FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let (retries, age) = (input.maximum_retry_attempts, input.maximum_event_age_in_seconds);
    let given = &check(cx, name, retries, age, input.destination_config).await?;
    let row = cx
        .transact(|txn| async move {
            let mut row = EVENT_CONFIGS.get(&txn, &key(name)).await?.ok_or_else(|| none(name))?;
            row.modified = Timestamp::from_secs(cx.now().as_secs());
            row.retries = given.retries.or(row.retries);
            row.age_seconds = given.age_seconds.or(row.age_seconds);
            if given.names_destinations {
                row.on_success.clone_from(&given.on_success);
                row.on_failure.clone_from(&given.on_failure);
            }
            EVENT_CONFIGS.put(&txn, &key(name), &row)?;
            Ok::<_, LambdaError>(row)
        })
        .await?;
    Ok(row.show(name, qualifier(name)))
}

fn none(name: &FunctionName) -> LambdaError {
    LambdaError::ResourceNotFound(format!(
        "The function {} doesn't have an EventInvokeConfig",
        name.arn_of(qualifier(name))
    ))
}

/// `GetFunctionEventInvokeConfig`
pub async fn get_function_event_invoke_config(
    cx: &Cx,
    input: api::GetFunctionEventInvokeConfigRequest,
) -> Result<api::FunctionEventInvokeConfig, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let row = EVENT_CONFIGS.get(cx.store(), &key(&name)).await?.ok_or_else(|| none(&name))?;
    Ok(row.show(&name, qualifier(&name)))
}

/// `DeleteFunctionEventInvokeConfig`
pub async fn delete_function_event_invoke_config(
    cx: &Cx,
    input: api::DeleteFunctionEventInvokeConfigRequest,
) -> Result<Unit, LambdaError> {
    let name = &FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    cx.transact(|txn| async move {
        EVENT_CONFIGS.get(&txn, &key(name)).await?.ok_or_else(|| none(name))?;
        EVENT_CONFIGS.delete(&txn, &key(name));
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

/// `ListFunctionEventInvokeConfigs`
pub async fn list_function_event_invoke_configs(
    cx: &Cx,
    input: api::ListFunctionEventInvokeConfigsRequest,
) -> Result<api::ListFunctionEventInvokeConfigsResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    crate::function::FunctionRow::load(cx.store(), &name).await?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let range = EVENT_CONFIGS.under(&(name.account, &name.region, name.name.as_str()));
    let rows = EVENT_CONFIGS.scan(cx.store(), &range, 1_000).await?.rows;
    let (rows, next_marker) = page.cut(rows, |((_, _, _, qualifier), _)| qualifier.clone());
    let configs = rows.into_iter().map(|((_, _, _, qualifier), row)| row.show(&name, &qualifier)).collect();
    Ok(api::ListFunctionEventInvokeConfigsResponse {
        function_event_invoke_configs: Some(configs),
        next_marker,
    })
}
