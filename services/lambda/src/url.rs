//! Function URLs: `CreateFunctionUrlConfig` and its sisters. How requests to one are answered: `url/serve.rs`.
//!
//! Source: AWS Lambda API Reference, "CreateFunctionUrlConfig"; Lambda Developer Guide, "Creating and managing Lambda function URLs".
//! Recorded: the sentences.

pub mod http;
pub mod serve;

use pileus_api_lambda as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::LambdaError;
use crate::function::{FunctionRow, modified_text, resolve};
use crate::keys::{QualifiedKey, URL_IDS, URLS, qualified};
use crate::name::{FunctionName, LATEST, Qualifier};
use crate::page::Page;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UrlRow {
    /// The first label of the host name.
    pub id: String,
    pub needs_iam: bool,
    pub streams: bool,
    pub cors: Option<Cors>,
    pub created: Timestamp,
    pub modified: Timestamp,
}

impl Stored for UrlRow {}

/// Where a host name leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UrlTarget {
    pub function_arn: String,
}

impl Stored for UrlTarget {}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cors {
    pub credentials: Option<bool>,
    pub headers: Option<Vec<String>>,
    pub methods: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
    pub expose: Option<Vec<String>>,
    pub max_age: Option<i64>,
}

impl Cors {
    fn read(given: api::Cors) -> Cors {
        Cors {
            credentials: given.allow_credentials,
            headers: given.allow_headers,
            methods: given.allow_methods,
            origins: given.allow_origins,
            expose: given.expose_headers,
            max_age: given.max_age,
        }
    }

    fn show(&self) -> api::Cors {
        api::Cors {
            allow_credentials: self.credentials,
            allow_headers: self.headers.clone(),
            allow_methods: self.methods.clone(),
            allow_origins: self.origins.clone(),
            expose_headers: self.expose.clone(),
            max_age: self.max_age,
        }
    }
}

/// The function itself or an alias, which must be there.
async fn target(
    reader: &impl Reader,
    cx: &Cx,
    name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<(FunctionName, QualifiedKey), LambdaError> {
    let name = FunctionName::parse(cx, name, qualifier)?;
    if matches!(Qualifier::read(name.qualifier.as_deref()), Qualifier::Version(_))
        || name.qualifier.as_deref() == Some(LATEST)
    {
        let given = name.qualifier.as_deref().unwrap_or_default();
        return Err(LambdaError::Validation(format!(
            "Value '{given}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)"
        )));
    }
    let gone = |error| match error {
        LambdaError::ResourceNotFound(_) => {
            LambdaError::ResourceNotFound("Function does not exist".to_owned())
        }
        other => other,
    };
    resolve(reader, &name).await.map_err(gone)?;
    let key = qualified(&name.key(), name.qualifier.as_deref().unwrap_or_default());
    Ok((name, key))
}

/// The URL as clients of this node reach it: AWS's form of host name under the domain that the request came by.
///
/// Chosen: AWS's is `https://<id>.lambda-url.<region>.on.aws/`; here the domain is `localhost` or the one that the node was given, and
/// scheme and port are the node's own.
fn address(cx: &Cx, name: &FunctionName, id: &str) -> String {
    let endpoint = cx.endpoint();
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint.as_str()));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, format!(":{port}")),
        _ => (rest, String::new()),
    };
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let domain = cx.platform().config().hosts.domain_of(host).filter(|_| !is_address).unwrap_or("localhost");
    format!("{scheme}://{id}.lambda-url.{}.{domain}{port}/", name.region)
}

fn mode(streams: bool) -> Option<String> {
    Some(if streams { "RESPONSE_STREAM" } else { "BUFFERED" }.to_owned())
}

fn auth(needs_iam: bool) -> Option<String> {
    Some(if needs_iam { "AWS_IAM" } else { "NONE" }.to_owned())
}

/// `CreateFunctionUrlConfig`
pub async fn create_function_url_config(
    cx: &Cx,
    input: api::CreateFunctionUrlConfigRequest,
) -> Result<api::CreateFunctionUrlConfigResponse, LambdaError> {
    let id = lower_id(cx);
    let row = &UrlRow {
        id,
        needs_iam: input.auth_type.as_deref() == Some("AWS_IAM"),
        streams: input.invoke_mode.as_deref() == Some("RESPONSE_STREAM"),
        cors: input.cors.map(Cors::read),
        created: cx.now(),
        modified: cx.now(),
    };
    let (function, qualifier) = (&input.function_name, &input.qualifier);
    let name = cx
        .transact(|txn| async move {
            let (name, key) = target(&txn, cx, function.as_deref(), qualifier.as_deref()).await?;
            if !URLS.put_if_absent(&txn, &key, row).await? {
                return Err(LambdaError::ResourceConflict(format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
                    name.qualified_arn()
                )));
            }
            URL_IDS.put(&txn, &row.id, &UrlTarget { function_arn: name.qualified_arn() })?;
            Ok(name)
        })
        .await?;
    Ok(api::CreateFunctionUrlConfigResponse {
        function_url: Some(address(cx, &name, &row.id)),
        function_arn: Some(name.qualified_arn()),
        auth_type: auth(row.needs_iam),
        cors: row.cors.as_ref().map(Cors::show),
        creation_time: Some(modified_text(row.created)),
        invoke_mode: mode(row.streams),
    })
}

/// Thirty-two lower-case letters and digits, as AWS's.
fn lower_id(cx: &Cx) -> String {
    cx.ids().hex(32)
}

/// `GetFunctionUrlConfig`
pub async fn get_function_url_config(
    cx: &Cx,
    input: api::GetFunctionUrlConfigRequest,
) -> Result<api::GetFunctionUrlConfigResponse, LambdaError> {
    let name = input.function_name.as_deref();
    let (name, key) = target(cx.store(), cx, name, input.qualifier.as_deref()).await.map_err(not_there)?;
    let row = URLS.get(cx.store(), &key).await?.ok_or_else(LambdaError::not_there)?;
    Ok(api::GetFunctionUrlConfigResponse {
        function_url: Some(address(cx, &name, &row.id)),
        function_arn: Some(name.qualified_arn()),
        auth_type: auth(row.needs_iam),
        cors: row.cors.as_ref().map(Cors::show),
        creation_time: Some(modified_text(row.created)),
        last_modified_time: Some(modified_text(row.modified)),
        invoke_mode: mode(row.streams),
    })
}

fn not_there(error: LambdaError) -> LambdaError {
    match error {
        LambdaError::ResourceNotFound(_) => LambdaError::not_there(),
        other => other,
    }
}

/// `UpdateFunctionUrlConfig`: what is not mentioned stays.
pub async fn update_function_url_config(
    cx: &Cx,
    input: api::UpdateFunctionUrlConfigRequest,
) -> Result<api::UpdateFunctionUrlConfigResponse, LambdaError> {
    let input = &input;
    let (name, row) = cx
        .transact(|txn| async move {
            let name = input.function_name.as_deref();
            let (name, key) = target(&txn, cx, name, input.qualifier.as_deref()).await.map_err(not_there)?;
            let mut row = URLS.get(&txn, &key).await?.ok_or_else(LambdaError::not_there)?;
            if let Some(auth) = &input.auth_type {
                row.needs_iam = auth == "AWS_IAM";
            }
            if let Some(mode) = &input.invoke_mode {
                row.streams = mode == "RESPONSE_STREAM";
            }
            if let Some(cors) = &input.cors {
                row.cors = Some(Cors::read(cors.clone()));
            }
            row.modified = cx.now();
            URLS.put(&txn, &key, &row)?;
            Ok::<_, LambdaError>((name, row))
        })
        .await?;
    Ok(api::UpdateFunctionUrlConfigResponse {
        function_url: Some(address(cx, &name, &row.id)),
        function_arn: Some(name.qualified_arn()),
        auth_type: auth(row.needs_iam),
        cors: row.cors.as_ref().map(Cors::show),
        creation_time: Some(modified_text(row.created)),
        last_modified_time: Some(modified_text(row.modified)),
        invoke_mode: mode(row.streams),
    })
}

/// `DeleteFunctionUrlConfig`
pub async fn delete_function_url_config(
    cx: &Cx,
    input: api::DeleteFunctionUrlConfigRequest,
) -> Result<Unit, LambdaError> {
    let input = &input;
    cx.transact(|txn| async move {
        let name = input.function_name.as_deref();
        let (_, key) = target(&txn, cx, name, input.qualifier.as_deref()).await.map_err(not_there)?;
        let row = URLS.get(&txn, &key).await?.ok_or_else(LambdaError::not_there)?;
        URL_IDS.delete(&txn, &row.id);
        URLS.delete(&txn, &key);
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

/// `ListFunctionUrlConfigs`
pub async fn list_function_url_configs(
    cx: &Cx,
    input: api::ListFunctionUrlConfigsRequest,
) -> Result<api::ListFunctionUrlConfigsResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    FunctionRow::load(cx.store(), &name).await?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let range = URLS.under(&(name.account, &name.region, name.name.as_str()));
    let rows = URLS.scan(cx.store(), &range, 1_000).await?.rows;
    let (rows, next_marker) = page.cut(rows, |((_, _, _, qualifier), _)| qualifier.clone());
    let configs = rows
        .into_iter()
        .map(|((_, _, _, qualifier), row)| {
            let name = name.with((!qualifier.is_empty()).then_some(qualifier.as_str()));
            api::FunctionUrlConfig {
                function_url: Some(address(cx, &name, &row.id)),
                function_arn: Some(name.qualified_arn()),
                creation_time: Some(modified_text(row.created)),
                last_modified_time: Some(modified_text(row.modified)),
                cors: row.cors.as_ref().map(Cors::show),
                auth_type: auth(row.needs_iam),
                invoke_mode: mode(row.streams),
            }
        })
        .collect();
    Ok(api::ListFunctionUrlConfigsResponse { function_url_configs: Some(configs), next_marker })
}
