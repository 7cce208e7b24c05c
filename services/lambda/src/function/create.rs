//! `CreateFunction`.

use std::collections::BTreeMap;

use pileus_api_lambda as api;
use pileus_platform::Cx;

use super::code::{self, Source};
use super::settings::{self, Lacking};
use super::{Config, FunctionRow, RuntimeUpdates, image, runtimes, show_creating};
use crate::destination;
use crate::error::LambdaError;
use crate::keys::FUNCTIONS;
use crate::layer;
use crate::name::{FunctionName, LATEST};
use crate::version;
use crate::{role, tags};

/// `CreateFunction`: `$LATEST`, and version 1 if `Publish` is set.
///
/// # Errors
/// `InvalidParameterValueException` for what does not fit together, a runtime that is not taken, an archive that does not unpack, a
/// role that Lambda cannot assume; `ResourceConflictException` for a name that is taken; `NotImplemented` by name.
///
/// Source: AWS Lambda API Reference, "CreateFunction".
pub async fn create_function(
    cx: &Cx,
    mut input: api::CreateFunctionRequest,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    if name.account != cx.account() {
        return Err(LambdaError::AccessDenied(
            "Functions are created in the caller's own account.".to_owned(),
        ));
    }
    refuse_what_is_lacking(&mut input)?;
    let is_image = input.package_type.as_deref() == Some("Image");
    let (runtime, handler) = match (input.runtime.clone(), input.handler.clone()) {
        (None, None) if is_image => (String::new(), String::new()),
        _ if is_image => {
            return Err(LambdaError::invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
            ));
        }
        (Some(runtime), Some(handler)) => {
            runtimes::check(&runtime)?;
            (runtime, handler)
        }
        _ => {
            return Err(LambdaError::invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
    };
    let image_overrides = image::Overrides::of(input.image_config.take().unwrap_or_default());
    if !is_image && image_overrides != image::Overrides::default() {
        return Err(LambdaError::invalid(
            "Please don't provide ImageConfig when the function PackageType is Zip.",
        ));
    }
    let environment = input.environment.map(settings::environment).transpose()?.flatten();
    let logging = settings::logging(input.logging_config, None, &name.name)?;
    let tags: BTreeMap<String, String> = tags::merge(BTreeMap::new(), input.tags)?;
    let role = input.role.unwrap_or_default();
    role::check(cx, &role, &name.name).await?;
    let dead_letter = input.dead_letter_config.and_then(|config| config.target_arn);
    let dead_letter = destination::dead_letter(cx, dead_letter, &role).await?;
    let layers = layer::attach(cx, input.layers.unwrap_or_default()).await?;
    if FUNCTIONS.get(cx.store(), &name.key()).await?.is_some() {
        return Err(exists(name));
    }
    let given = input.code.unwrap_or_default();
    let source = Source {
        zip: given.zip_file,
        s3_bucket: given.s3_bucket,
        s3_key: given.s3_key,
        s3_version: given.s3_object_version,
        kms_key: given.source_kms_key_arn,
    };
    let architecture = settings::architecture(input.architectures);
    let (code, image) = match (is_image, given.image_uri) {
        (true, Some(uri)) => {
            let (code, image) = image::keep(cx, uri, &architecture).await?;
            (code, Some(image))
        }
        (true, None) => {
            return Err(LambdaError::invalid(
                "Please provide ImageUri when the function PackageType is Image.",
            ));
        }
        (false, Some(_)) => {
            return Err(LambdaError::invalid(
                "Please don't provide ImageUri when the function PackageType is Zip.",
            ));
        }
        (false, None) => (code::keep(cx, source, "CreateFunction").await?, None),
    };
    layer::check_size(&code, &layers)?;
    let number = |value: Option<i64>, default| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default);
    let storage =
        number(input.ephemeral_storage.and_then(|storage| storage.size), settings::DEFAULT_EPHEMERAL_MB);
    let snap_start = settings::snap_start(input.snap_start.as_ref(), false, &runtime, storage)?;
    let config = Config {
        runtime,
        handler,
        role,
        description: input.description.unwrap_or_default(),
        timeout: number(input.timeout, settings::DEFAULT_TIMEOUT),
        memory_mb: number(input.memory_size, settings::DEFAULT_MEMORY_MB),
        ephemeral_mb: storage,
        environment,
        dead_letter,
        layers,
        architecture,
        logging,
        code,
        modified: cx.now(),
        revision: cx.ids().uuid(),
        runtime_updates: RuntimeUpdates::default(),
        snap_start,
        image,
        image_overrides,
    };
    let row = FunctionRow {
        id: cx.ids().uuid(),
        created: cx.now(),
        latest: config,
        next_version: 1,
        reserved_concurrency: None,
        tags,
        allows_recursion: false,
    };
    insert(cx, name, row, input.publish.unwrap_or(false)).await
}

async fn insert(
    cx: &Cx,
    name: &FunctionName,
    row: FunctionRow,
    publishes: bool,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let row = &row;
    let published = cx
        .transact(|txn| async move {
            if FUNCTIONS.get(&txn, &name.key()).await?.is_some() {
                return Err(exists(name));
            }
            code::hold_all(&txn, &row.latest, &format!("{}:{LATEST}", row.id))?;
            let mut row = row.clone();
            let published = match publishes {
                true => Some(version::publish(cx, &txn, name, &mut row, None).await?),
                false => None,
            };
            row.put(&txn, name)?;
            Ok(published)
        })
        .await?;
    Ok(match published {
        Some(number) => {
            let number = number.to_string();
            version::prepare(cx, name, &number);
            show_creating(&name.with(Some(&number)), &number, &row.latest)
        }
        None => show_creating(name, LATEST, &row.latest),
    })
}

fn exists(name: &FunctionName) -> LambdaError {
    LambdaError::ResourceConflict(format!("Function already exist: {}", name.name))
}

fn refuse_what_is_lacking(input: &mut api::CreateFunctionRequest) -> Result<(), LambdaError> {
    if input.publish_to.is_some() {
        return Err(LambdaError::missing("PublishTo of Lambda functions"));
    }
    let lacking = Lacking {
        vpc: input.vpc_config.take(),
        kms_key: input.kms_key_arn.take(),
        tracing: input.tracing_config.take(),
        file_systems: input.file_system_configs.take(),
        instances: input.capacity_provider_config.is_some(),
        durable: input.durable_config.is_some(),
        custom_runtime: input.runtime_config.is_some(),
        accelerator: input.accelerator_config.is_some(),
        tenancy: input.tenancy_config.is_some(),
        code_signing: input.code_signing_config_arn.is_some(),
    };
    lacking.refuse()
}
