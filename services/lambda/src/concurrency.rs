//! Reserved and provisioned concurrency, and `GetAccountSettings`. Who is let in: `concurrency/admission.rs`.
//!
//! Source: AWS Lambda API Reference, "PutFunctionConcurrency", "PutProvisionedConcurrencyConfig"; Lambda Developer Guide, "Understanding
//! Lambda function scaling". Recorded: the sentences, odd spaces included.

pub mod admission;
pub mod provision;

use pileus_api_lambda as api;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::LambdaError;
use crate::function::code::MAX_STORAGE;
use crate::function::{FunctionRow, code, modified_text, resolve};
use crate::keys::{FUNCTIONS, LAYER_VERSIONS, PROVISIONED, QualifiedKey, qualified};
use crate::name::{FunctionName, Qualifier};
use crate::page::Page;
use crate::state::Lambda;
use crate::{alias, version};

/// Simultaneous executions of an account in a region.
pub const ACCOUNT_LIMIT: u32 = 1_000;
/// What reservations must leave for functions without one.
const MIN_UNRESERVED: u32 = 100;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionedRow {
    pub requested: u32,
    pub modified: Timestamp,
    /// How many are ready; `None` while they are being made.
    pub ready: Option<u32>,
    /// Why there are none.
    pub failure: Option<String>,
}

impl Stored for ProvisionedRow {}

/// Wakes whoever makes provisioned environments.
pub const TOPIC: &str = "lambda/provisioned";

/// What other functions of the account have reserved.
async fn reserved_by_others(
    reader: &impl Reader,
    account: AccountId,
    region: &Region,
    own: Option<&str>,
) -> Result<u32, LambdaError> {
    let mut range = FUNCTIONS.under(&(account, region));
    let mut sum = 0u32;
    loop {
        let rows = FUNCTIONS.scan(reader, &range, 200).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(sum) };
        range = range.after(&FUNCTIONS.key(last));
        for ((_, _, name), row) in &rows.rows {
            if Some(name.as_str()) != own {
                sum = sum.saturating_add(row.reserved_concurrency.unwrap_or(0));
            }
        }
        if !rows.more {
            return Ok(sum);
        }
    }
}

/// What all functions of an account have reserved in a region, as it was at most a second ago: every invocation asks.
pub async fn reserved_in(cx: &Cx, account: AccountId, region: &Region) -> Result<u32, LambdaError> {
    let lambda = cx.state::<Lambda>();
    let now = cx.clock().monotonic();
    if let Some(known) = lambda.admission.reserved(account, region, now) {
        return Ok(known);
    }
    let sum = reserved_by_others(cx.store(), account, region, None).await?;
    lambda.admission.note_reserved(account, region, sum, now);
    Ok(sum)
}

async fn provisioned_of(reader: &impl Reader, name: &FunctionName) -> Result<u32, LambdaError> {
    let range = PROVISIONED.under(&(name.account, &name.region, name.name.as_str()));
    let rows = PROVISIONED.scan(reader, &range, 400).await?;
    Ok(rows.rows.iter().map(|(_, row)| row.requested).sum())
}

/// `PutFunctionConcurrency`
pub async fn put_function_concurrency(
    cx: &Cx,
    input: api::PutFunctionConcurrencyRequest,
) -> Result<api::Concurrency, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let wanted = input.reserved_concurrent_executions.unwrap_or_default();
    let reserved = u32::try_from(wanted).unwrap_or(u32::MAX);
    cx.transact(|txn| async move {
        let mut row = FunctionRow::load(&txn, name).await?;
        let others = reserved_by_others(&txn, name.account, &name.region, Some(&name.name)).await?;
        if reserved.saturating_add(others).saturating_add(MIN_UNRESERVED) > ACCOUNT_LIMIT {
            return Err(LambdaError::invalid(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{MIN_UNRESERVED}]."
            )));
        }
        let provisioned = provisioned_of(&txn, name).await?;
        if reserved < provisioned {
            return Err(LambdaError::invalid(format!(
                " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency [{provisioned}]."
            )));
        }
        row.reserved_concurrency = Some(reserved);
        row.touch(cx);
        row.put(&txn, name)
    })
    .await?;
    Ok(api::Concurrency { reserved_concurrent_executions: Some(i64::from(reserved)) })
}

/// `GetFunctionConcurrency`
pub async fn get_function_concurrency(
    cx: &Cx,
    input: api::GetFunctionConcurrencyRequest,
) -> Result<api::GetFunctionConcurrencyResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let row = FunctionRow::load(cx.store(), &name).await?;
    let reserved_concurrent_executions = row.reserved_concurrency.map(i64::from);
    Ok(api::GetFunctionConcurrencyResponse { reserved_concurrent_executions })
}

/// `DeleteFunctionConcurrency`
pub async fn delete_function_concurrency(
    cx: &Cx,
    input: api::DeleteFunctionConcurrencyRequest,
) -> Result<Unit, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    cx.transact(|txn| async move {
        let mut row = FunctionRow::load(&txn, name).await?;
        row.reserved_concurrency = None;
        row.touch(cx);
        row.put(&txn, name)
    })
    .await?;
    Ok(Unit)
}

/// A version or an alias that is there.
async fn target(
    reader: &impl Reader,
    cx: &Cx,
    name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<(FunctionName, QualifiedKey), LambdaError> {
    let name = FunctionName::parse(cx, name, qualifier)?;
    match Qualifier::read(name.qualifier.as_deref()) {
        Qualifier::Latest => {
            return Err(LambdaError::invalid(
                "The function resource provided must be an alias or a published version.",
            ));
        }
        Qualifier::Alias(label) => {
            alias::load(reader, &name, label).await?;
        }
        Qualifier::Version(_) => {
            resolve(reader, &name).await?;
        }
    }
    let key = qualified(&name.key(), name.qualifier.as_deref().unwrap_or_default());
    Ok((name, key))
}

/// `PutProvisionedConcurrencyConfig`: environments are made at once in the background.
pub async fn put_provisioned_concurrency_config(
    cx: &Cx,
    input: api::PutProvisionedConcurrencyConfigRequest,
) -> Result<api::PutProvisionedConcurrencyConfigResponse, LambdaError> {
    let named = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    if Qualifier::read(named.qualifier.as_deref()) == Qualifier::Latest {
        return Err(LambdaError::invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ));
    }
    let requested =
        u32::try_from(input.provisioned_concurrent_executions.unwrap_or_default()).unwrap_or(u32::MAX);
    let input = &input;
    cx.transact(|txn| async move {
        let (name, key) =
            target(&txn, cx, input.function_name.as_deref(), input.qualifier.as_deref()).await?;
        check_provisioned(&txn, &name, &key, requested).await?;
        let row = ProvisionedRow { requested, modified: cx.now(), ready: None, failure: None };
        PROVISIONED.put(&txn, &key, &row)?;
        txn.notify(TOPIC);
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(api::PutProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(i64::from(requested)),
        allocated_provisioned_concurrent_executions: Some(0),
        available_provisioned_concurrent_executions: Some(0),
        status: Some("IN_PROGRESS".to_owned()),
        status_reason: None,
        last_modified: Some(modified_text(cx.now())),
    })
}

async fn check_provisioned(
    reader: &impl Reader,
    name: &FunctionName,
    key: &QualifiedKey,
    requested: u32,
) -> Result<(), LambdaError> {
    let function = FunctionRow::load(reader, name).await?;
    let before = PROVISIONED.get(reader, key).await?.map_or(0, |row| row.requested);
    let total = provisioned_of(reader, name).await?.saturating_sub(before).saturating_add(requested);
    if function.reserved_concurrency.is_some_and(|reserved| total > reserved) {
        return Err(LambdaError::invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        ));
    }
    let others = reserved_by_others(reader, name.account, &name.region, Some(&name.name)).await?;
    if total.saturating_add(others).saturating_add(MIN_UNRESERVED) > ACCOUNT_LIMIT {
        return Err(LambdaError::invalid(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{}].",
            ACCOUNT_LIMIT.saturating_sub(others)
        )));
    }
    // An alias and the version that it leads to cannot both have one.
    let taken = match Qualifier::read(name.qualifier.as_deref()) {
        Qualifier::Alias(label) => {
            let version = alias::load(reader, name, label).await?.version;
            PROVISIONED.get(reader, &qualified(&name.key(), &version)).await?.is_some()
        }
        Qualifier::Version(number) => {
            let number = number.to_string();
            let mut taken = false;
            for (label, row) in alias::all(reader, name).await? {
                let own = qualified(&name.key(), &label);
                taken |= row.version == number && PROVISIONED.get(reader, &own).await?.is_some();
            }
            taken
        }
        Qualifier::Latest => false,
    };
    if taken {
        return Err(LambdaError::invalid(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        ));
    }
    Ok(())
}

/// Status and numbers of a configuration.
fn status(row: &ProvisionedRow) -> (&'static str, i64) {
    match (row.ready, &row.failure) {
        (_, Some(_)) => ("FAILED", i64::from(row.ready.unwrap_or(0))),
        (Some(ready), None) => ("READY", i64::from(ready)),
        (None, None) => ("IN_PROGRESS", 0),
    }
}

/// `GetProvisionedConcurrencyConfig`
pub async fn get_provisioned_concurrency_config(
    cx: &Cx,
    input: api::GetProvisionedConcurrencyConfigRequest,
) -> Result<api::GetProvisionedConcurrencyConfigResponse, LambdaError> {
    let name = input.function_name.as_deref();
    let (_, key) = target(cx.store(), cx, name, input.qualifier.as_deref()).await?;
    let found = PROVISIONED.get(cx.store(), &key).await?;
    let row = found.ok_or(LambdaError::ProvisionedConcurrencyConfigNotFound)?;
    let (status, ready) = status(&row);
    Ok(api::GetProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(i64::from(row.requested)),
        allocated_provisioned_concurrent_executions: Some(ready),
        available_provisioned_concurrent_executions: Some(ready),
        status: Some(status.to_owned()),
        status_reason: row.failure,
        last_modified: Some(modified_text(row.modified)),
    })
}

/// `ListProvisionedConcurrencyConfigs`
pub async fn list_provisioned_concurrency_configs(
    cx: &Cx,
    input: api::ListProvisionedConcurrencyConfigsRequest,
) -> Result<api::ListProvisionedConcurrencyConfigsResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    FunctionRow::load(cx.store(), &name).await?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let range = PROVISIONED.under(&(name.account, &name.region, name.name.as_str()));
    let rows = PROVISIONED.scan(cx.store(), &range, 1_000).await?.rows;
    let (rows, next_marker) = page.cut(rows, |((_, _, _, qualifier), _)| qualifier.clone());
    let items = rows
        .into_iter()
        .map(|((_, _, _, qualifier), row)| {
            let (status, ready) = status(&row);
            api::ProvisionedConcurrencyConfigListItem {
                function_arn: Some(name.arn_of(&qualifier)),
                requested_provisioned_concurrent_executions: Some(i64::from(row.requested)),
                allocated_provisioned_concurrent_executions: Some(ready),
                available_provisioned_concurrent_executions: Some(ready),
                status: Some(status.to_owned()),
                status_reason: row.failure,
                last_modified: Some(modified_text(row.modified)),
            }
        })
        .collect();
    Ok(api::ListProvisionedConcurrencyConfigsResponse {
        provisioned_concurrency_configs: Some(items),
        next_marker,
    })
}

/// `DeleteProvisionedConcurrencyConfig`: one that is not there counts as deleted.
pub async fn delete_provisioned_concurrency_config(
    cx: &Cx,
    input: api::DeleteProvisionedConcurrencyConfigRequest,
) -> Result<Unit, LambdaError> {
    let name = input.function_name.as_deref();
    let (_, key) = target(cx.store(), cx, name, input.qualifier.as_deref()).await?;
    let key = &key;
    cx.transact(|txn| async move {
        PROVISIONED.delete(&txn, key);
        txn.notify(TOPIC);
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

/// `GetAccountSettings`: limits, and what is used of them in this region.
pub async fn get_account_settings(
    cx: &Cx,
    _: api::GetAccountSettingsRequest,
) -> Result<api::GetAccountSettingsResponse, LambdaError> {
    let (account, region) = (cx.account(), cx.region());
    let reserved = reserved_by_others(cx.store(), account, region, None).await?;
    let (mut functions, mut size) = (0i64, 0i64);
    let mut range = FUNCTIONS.under(&(account, region));
    loop {
        let rows = FUNCTIONS.scan(cx.store(), &range, 200).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&FUNCTIONS.key(last));
        for ((account, region, name), row) in rows.rows {
            let name = FunctionName { account, region, name, qualifier: None };
            functions += 1;
            size += row.latest.code.size();
            let published = version::all(cx.store(), &name).await?;
            size += published.iter().map(|(_, config)| config.code.size()).sum::<i64>();
        }
        if !rows.more {
            break;
        }
    }
    let mut range = LAYER_VERSIONS.under(&(account, region));
    loop {
        let rows = LAYER_VERSIONS.scan(cx.store(), &range, 200).await?;
        let Some((last, _)) = rows.rows.last() else { break };
        range = range.after(&LAYER_VERSIONS.key(last));
        size += rows.rows.iter().map(|(_, row)| row.code.size()).sum::<i64>();
        if !rows.more {
            break;
        }
    }
    Ok(api::GetAccountSettingsResponse {
        account_limit: Some(api::AccountLimit {
            total_code_size: Some(MAX_STORAGE),
            code_size_unzipped: i64::try_from(code::MAX_UNZIPPED).ok(),
            code_size_zipped: Some(52_428_800),
            concurrent_executions: Some(i64::from(ACCOUNT_LIMIT)),
            unreserved_concurrent_executions: Some(i64::from(ACCOUNT_LIMIT.saturating_sub(reserved))),
        }),
        account_usage: Some(api::AccountUsage {
            total_code_size: Some(size),
            function_count: Some(functions),
        }),
    })
}
