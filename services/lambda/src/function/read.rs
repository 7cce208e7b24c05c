//! `GetFunction`, `GetFunctionConfiguration`, `ListFunctions`, `DeleteFunction`, and recursion.

use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_store::{Stored, Table};

use super::{FunctionRow, code, resolve, show};
use crate::error::LambdaError;
use crate::keys::{
    ALIASES, EVENT_CONFIGS, FUNCTIONS, POLICIES, PROVISIONED, QualifiedKey, URL_IDS, URLS, VERSIONS,
    qualified,
};
use crate::name::{FunctionName, LATEST, Qualifier};
use crate::page::Page;
use crate::state;

/// `GetFunction`
///
/// Chosen: `Code` has no `Location`, a presigned link to S3, until there is S3.
pub async fn get_function(
    cx: &Cx,
    input: api::GetFunctionRequest,
) -> Result<api::GetFunctionResponse, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let resolved = resolve(cx.store(), &name).await?;
    let function = &resolved.function;
    let tags = (!function.tags.is_empty())
        .then(|| function.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    Ok(api::GetFunctionResponse {
        configuration: Some(show(&name, &resolved.version, &resolved.config)),
        code: Some(match &resolved.config.image {
            Some(image) => api::FunctionCodeLocation {
                repository_type: Some("ECR".to_owned()),
                image_uri: Some(image.uri.clone()),
                resolved_image_uri: Some(image.resolved_uri()),
                ..api::FunctionCodeLocation::default()
            },
            None => api::FunctionCodeLocation {
                repository_type: Some("S3".to_owned()),
                ..api::FunctionCodeLocation::default()
            },
        }),
        tags,
        tags_error: None,
        concurrency: function
            .reserved_concurrency
            .map(|reserved| api::Concurrency { reserved_concurrent_executions: Some(i64::from(reserved)) }),
    })
}

/// `GetFunctionConfiguration`
pub async fn get_function_configuration(
    cx: &Cx,
    input: api::GetFunctionConfigurationRequest,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let resolved = resolve(cx.store(), &name).await?;
    Ok(show(&name, &resolved.version, &resolved.config))
}

/// `ListFunctions`: by name; with `FunctionVersion=ALL` every version of each.
pub async fn list_functions(
    cx: &Cx,
    input: api::ListFunctionsRequest,
) -> Result<api::ListFunctionsResponse, LambdaError> {
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let mut range = FUNCTIONS.under(&(cx.account(), cx.region()));
    if let Some(after) = page.after() {
        range = range.after(&FUNCTIONS.key(&(cx.account(), cx.region(), after)));
    }
    let rows = FUNCTIONS.scan(cx.store(), &range, page.limit()).await?;
    let last = rows.rows.last().map(|((_, _, name), _)| name.clone());
    let mut functions = Vec::with_capacity(rows.rows.len());
    for ((account, region, name), row) in rows.rows {
        let name = FunctionName { account, region, name, qualifier: None };
        if input.function_version.is_none() {
            functions.push(show(&name, LATEST, &row.latest));
            continue;
        }
        functions.push(show(&name.with(Some(LATEST)), LATEST, &row.latest));
        for (number, config) in crate::version::all(cx.store(), &name).await? {
            let number = number.to_string();
            functions.push(show(&name.with(Some(&number)), &number, &config));
        }
    }
    let next_marker = last.filter(|_| rows.more).map(|last| Page::marker(&last));
    Ok(api::ListFunctionsResponse { functions: Some(functions), next_marker })
}

/// `DeleteFunction`: the function with all that belongs to it, or one version.
///
/// # Errors
/// `InvalidParameterValueException` for `$LATEST` alone or an alias; `ResourceConflictException` for a version that an alias needs.
pub async fn delete_function(
    cx: &Cx,
    input: api::DeleteFunctionRequest,
) -> Result<api::DeleteFunctionResponse, LambdaError> {
    let name = &FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let row = FunctionRow::load(cx.store(), name).await?;
    let deleted = api::DeleteFunctionResponse { status_code: Some(204) };
    match name.qualifier.as_deref().map(|qualifier| Qualifier::read(Some(qualifier))) {
        Some(Qualifier::Latest) => {
            return Err(LambdaError::invalid(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        Some(Qualifier::Alias(_)) => {
            return Err(LambdaError::invalid("Deletion of aliases is not currently supported."));
        }
        Some(Qualifier::Version(number)) => {
            delete_version(cx, name, number).await?;
            return Ok(deleted);
        }
        None => {}
    }
    // The function's own row goes last: what is half deleted is still there, and is deleted again.
    for (number, config) in crate::version::all(cx.store(), name).await? {
        remove_version(cx, name, &row, number).await?;
        state::forget(cx, &row, &number.to_string(), &config);
    }
    empty(cx, name, ALIASES).await?;
    empty(cx, name, POLICIES).await?;
    empty(cx, name, EVENT_CONFIGS).await?;
    empty(cx, name, PROVISIONED).await?;
    cx.transact(|txn| async move {
        let urls = URLS.under(&(name.account, &name.region, name.name.as_str()));
        for (key, url) in URLS.scan(&txn, &urls, 400).await?.rows {
            URL_IDS.delete(&txn, &url.id);
            URLS.delete(&txn, &key);
        }
        let row = FunctionRow::load(&txn, name).await?;
        code::release_all(&txn, &row.latest, &format!("{}:{LATEST}", row.id));
        FUNCTIONS.delete(&txn, &name.key());
        Ok::<_, LambdaError>(())
    })
    .await?;
    state::forget(cx, &row, LATEST, &row.latest);
    Ok(deleted)
}

/// Removes what hangs on the function in a table of qualifiers.
async fn empty<V: Stored + Send + Sync>(
    cx: &Cx,
    name: &FunctionName,
    table: Table<QualifiedKey, V>,
) -> Result<(), LambdaError> {
    loop {
        let more = cx
            .transact(|txn| async move {
                let range = table.under(&(name.account, &name.region, name.name.as_str()));
                let page = table.scan(&txn, &range, 400).await?;
                for (key, _) in &page.rows {
                    table.delete(&txn, key);
                }
                Ok::<_, LambdaError>(page.more)
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}

async fn delete_version(cx: &Cx, name: &FunctionName, number: u64) -> Result<(), LambdaError> {
    let row = FunctionRow::load(cx.store(), name).await?;
    let aliases = crate::alias::all(cx.store(), name).await?;
    let number_text = number.to_string();
    let users: Vec<&str> = aliases
        .iter()
        .filter(|(_, alias)| alias.version == number_text || alias.weights.contains_key(&number_text))
        .map(|(alias, _)| alias.as_str())
        .collect();
    if !users.is_empty() {
        return Err(LambdaError::ResourceConflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            users.join(", ")
        )));
    }
    let config = super::version(cx.store(), name, number).await?;
    remove_version(cx, name, &row, number).await?;
    if let Some(config) = config {
        state::forget(cx, &row, &number_text, &config);
    }
    Ok(())
}

async fn remove_version(
    cx: &Cx,
    name: &FunctionName,
    row: &FunctionRow,
    number: u64,
) -> Result<(), LambdaError> {
    let key = &(name.account, name.region.clone(), name.name.clone(), number);
    cx.transact(|txn| async move {
        if let Some(version) = VERSIONS.get(&txn, key).await? {
            code::release_all(&txn, &version.config, &format!("{}:{number}", row.id));
            VERSIONS.delete(&txn, key);
        }
        let own = qualified(&name.key(), &number.to_string());
        POLICIES.delete(&txn, &own);
        EVENT_CONFIGS.delete(&txn, &own);
        PROVISIONED.delete(&txn, &own);
        Ok::<_, LambdaError>(())
    })
    .await
}

/// `PutFunctionRecursionConfig`
pub async fn put_function_recursion_config(
    cx: &Cx,
    input: api::PutFunctionRecursionConfigRequest,
) -> Result<api::PutFunctionRecursionConfigResponse, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let allows = input.recursive_loop.as_deref() == Some("Allow");
    cx.transact(|txn| async move {
        let mut row = FunctionRow::load(&txn, name).await?;
        row.allows_recursion = allows;
        row.put(&txn, name)
    })
    .await?;
    Ok(api::PutFunctionRecursionConfigResponse { recursive_loop: input.recursive_loop })
}

/// `GetFunctionRecursionConfig`
pub async fn get_function_recursion_config(
    cx: &Cx,
    input: api::GetFunctionRecursionConfigRequest,
) -> Result<api::GetFunctionRecursionConfigResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let row = FunctionRow::load(cx.store(), &name).await?;
    let recursive_loop = if row.allows_recursion { "Allow" } else { "Terminate" };
    Ok(api::GetFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop.to_owned()) })
}

/// `GetFunctionCodeSigningConfig`: no function has one here.
pub async fn get_function_code_signing_config(
    cx: &Cx,
    input: api::GetFunctionCodeSigningConfigRequest,
) -> Result<api::GetFunctionCodeSigningConfigResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    FunctionRow::load(cx.store(), &name).await?;
    Ok(api::GetFunctionCodeSigningConfigResponse {
        code_signing_config_arn: None,
        function_name: Some(name.name),
    })
}
