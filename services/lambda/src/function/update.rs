//! `UpdateFunctionCode`, `UpdateFunctionConfiguration`, `PutRuntimeManagementConfig` and `GetRuntimeManagementConfig`.

use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_store::Txn;

use super::code::{self, Source};
use super::settings::{self, Lacking};
use super::{Config, FunctionRow, RuntimeUpdates, image, resolve, runtimes, show_updating};
use crate::destination;
use crate::error::LambdaError;
use crate::keys::VERSIONS;
use crate::layer;
use crate::name::{FunctionName, LATEST, Qualifier};
use crate::{role, state, version};

/// `UpdateFunctionCode`
///
/// # Errors
/// As `CreateFunction` of the archive; `PreconditionFailedException` for another revision than the caller knows.
pub async fn update_function_code(
    cx: &Cx,
    input: api::UpdateFunctionCodeRequest,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let known = FunctionRow::load(cx.store(), name).await?;
    if input.publish_to.is_some() {
        return Err(LambdaError::missing("PublishTo of Lambda functions"));
    }
    let source = Source {
        zip: input.zip_file,
        s3_bucket: input.s3_bucket,
        s3_key: input.s3_key,
        s3_version: input.s3_object_version,
        kms_key: input.source_kms_key_arn,
    };
    check_revision(&known.latest, input.revision_id.as_deref())?;
    let architecture = input.architectures.map(|given| settings::architecture(Some(given)));
    let (code, image) = match (known.latest.image.is_some(), input.image_uri) {
        (false, Some(_)) => {
            return Err(LambdaError::invalid(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        (true, None) => {
            return Err(LambdaError::invalid(
                "Please provide ImageUri when updating a function with packageType Image.",
            ));
        }
        (true, Some(uri)) => {
            let architecture = architecture.as_ref().unwrap_or(&known.latest.architecture);
            let (code, image) = image::keep(cx, uri, architecture).await?;
            (code, Some(image))
        }
        (false, None) => (code::keep(cx, source, "UpdateFunctionCode").await?, None),
    };
    layer::check_size(&code, &known.latest.layers)?;
    if input.dry_run == Some(true) {
        let mut config = Config { code, image, ..known.latest.clone() };
        config.architecture = architecture.unwrap_or(config.architecture);
        return Ok(super::show(name, LATEST, &config));
    }
    let (code, image, architecture, revision) = (&code, &image, &architecture, &input.revision_id);
    let publishes = input.publish == Some(true);
    let (row, published) = cx
        .transact(|txn| async move {
            let mut row = FunctionRow::load(&txn, name).await?;
            check_revision(&row.latest, revision.as_deref())?;
            let owner = format!("{}:{LATEST}", row.id);
            code::release_all(&txn, &row.latest, &owner);
            row.latest.code = code.clone();
            row.latest.image.clone_from(image);
            code::hold_all(&txn, &row.latest, &owner)?;
            row.latest.architecture = architecture.clone().unwrap_or(row.latest.architecture);
            row.latest.modified = cx.now();
            row.touch(cx);
            let published = match publishes {
                true => Some(version::publish(cx, &txn, name, &mut row, None).await?),
                false => None,
            };
            row.put(&txn, name)?;
            Ok::<_, LambdaError>((row, published))
        })
        .await?;
    state::forget(cx, &known, LATEST, &known.latest);
    Ok(match published {
        Some(number) => {
            let number = number.to_string();
            version::prepare(cx, name, &number);
            let shown = show_updating(&name.with(Some(&number)), &row.latest);
            api::FunctionConfiguration { version: Some(number), ..shown }
        }
        None => show_updating(name, &row.latest),
    })
}

fn check_revision(config: &Config, revision: Option<&str>) -> Result<(), LambdaError> {
    match revision {
        Some(revision) if revision != config.revision => Err(LambdaError::stale_revision()),
        _ => Ok(()),
    }
}

/// `UpdateFunctionConfiguration`: what is not mentioned stays.
pub async fn update_function_configuration(
    cx: &Cx,
    mut input: api::UpdateFunctionConfigurationRequest,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let known = FunctionRow::load(cx.store(), name).await?;
    refuse_what_is_lacking(&mut input)?;
    if let Some(runtime) = &input.runtime {
        runtimes::check(runtime)?;
    }
    let environment = input.environment.take().map(settings::environment).transpose()?;
    if let Some(role) = &input.role {
        role::check(cx, role, &name.name).await?;
    }
    let role = input.role.clone().unwrap_or_else(|| known.latest.role.clone());
    let dead_letter = match input.dead_letter_config.take() {
        Some(config) => Some(destination::dead_letter(cx, config.target_arn, &role).await?),
        None => None,
    };
    let layers = match input.layers.take() {
        Some(layers) => Some(layer::attach(cx, layers).await?),
        None => None,
    };
    if let Some(layers) = &layers {
        layer::check_size(&known.latest.code, layers)?;
    }
    let changes = &Changes { environment, dead_letter, layers, input };
    let row = cx
        .transact(|txn| async move {
            let mut row = FunctionRow::load(&txn, name).await?;
            check_revision(&row.latest, changes.input.revision_id.as_deref())?;
            let owner = format!("{}:{LATEST}", row.id);
            code::release_all(&txn, &row.latest, &owner);
            changes.apply(&mut row.latest, name)?;
            code::hold_all(&txn, &row.latest, &owner)?;
            row.latest.modified = cx.now();
            row.touch(cx);
            row.put(&txn, name)?;
            Ok::<_, LambdaError>(row)
        })
        .await?;
    state::forget(cx, &known, LATEST, &known.latest);
    Ok(show_updating(name, &row.latest))
}

/// What an update sets, checked as far as it goes without the row.
struct Changes {
    environment: Option<Option<std::collections::BTreeMap<String, String>>>,
    dead_letter: Option<Option<String>>,
    layers: Option<Vec<super::LayerUse>>,
    input: api::UpdateFunctionConfigurationRequest,
}

impl Changes {
    fn apply(&self, config: &mut Config, name: &FunctionName) -> Result<(), LambdaError> {
        let input = &self.input;
        let set = |value: &Option<String>, field: &mut String| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        if config.image.is_some()
            && (input.runtime.is_some() || input.handler.is_some() || self.layers.is_some())
        {
            return Err(LambdaError::invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
            ));
        }
        if let Some(given) = &input.image_config {
            if config.image.is_none() {
                return Err(LambdaError::invalid(
                    "Please don't provide ImageConfig when the function PackageType is Zip.",
                ));
            }
            config.image_overrides = image::Overrides::of(given.clone());
        }
        set(&input.runtime, &mut config.runtime);
        set(&input.handler, &mut config.handler);
        set(&input.role, &mut config.role);
        set(&input.description, &mut config.description);
        let set = |value: Option<i64>, field: &mut u32| {
            if let Some(value) = value.and_then(|value| u32::try_from(value).ok()) {
                *field = value;
            }
        };
        set(input.timeout, &mut config.timeout);
        set(input.memory_size, &mut config.memory_mb);
        set(input.ephemeral_storage.as_ref().and_then(|storage| storage.size), &mut config.ephemeral_mb);
        config.snap_start = settings::snap_start(
            input.snap_start.as_ref(),
            config.snap_start,
            &config.runtime,
            config.ephemeral_mb,
        )?;
        if let Some(environment) = &self.environment {
            config.environment.clone_from(environment);
        }
        if let Some(dead_letter) = &self.dead_letter {
            config.dead_letter.clone_from(dead_letter);
        }
        if let Some(layers) = &self.layers {
            config.layers.clone_from(layers);
        }
        if input.logging_config.is_some() {
            config.logging =
                settings::logging(input.logging_config.clone(), Some(&config.logging), &name.name)?;
        }
        Ok(())
    }
}

fn refuse_what_is_lacking(input: &mut api::UpdateFunctionConfigurationRequest) -> Result<(), LambdaError> {
    let lacking = Lacking {
        vpc: input.vpc_config.take(),
        kms_key: input.kms_key_arn.take(),
        tracing: input.tracing_config.take(),
        file_systems: input.file_system_configs.take(),
        instances: input.capacity_provider_config.is_some(),
        durable: input.durable_config.is_some(),
        custom_runtime: input.runtime_config.is_some(),
        accelerator: input.accelerator_config.is_some(),
        ..Lacking::default()
    };
    lacking.refuse()
}

/// `PutRuntimeManagementConfig`: of `$LATEST` or of a version.
///
/// Chosen: the interpreter is the machine's, so no version of it can be set by hand.
pub async fn put_runtime_management_config(
    cx: &Cx,
    input: api::PutRuntimeManagementConfigRequest,
) -> Result<api::PutRuntimeManagementConfigResponse, LambdaError> {
    let name = &FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let updates = match (input.update_runtime_on.as_deref(), input.runtime_version_arn) {
        (Some("Manual"), Some(_)) => {
            return Err(LambdaError::missing(
                "runtime versions of Lambda set by hand (UpdateRuntimeOn=Manual)",
            ));
        }
        (Some("Manual"), None) => {
            return Err(LambdaError::invalid(
                "RuntimeVersionArn is required when UpdateRuntimeOn is set to Manual.",
            ));
        }
        (_, Some(_)) => {
            return Err(LambdaError::invalid(
                "RuntimeVersionArn can be provided only when UpdateRuntimeOn is set to Manual.",
            ));
        }
        (Some("FunctionUpdate"), None) => RuntimeUpdates::FunctionUpdate,
        (_, None) => RuntimeUpdates::Auto,
    };
    let updates = &updates;
    cx.transact(|txn| async move {
        change_config(cx, &txn, name, |config| config.runtime_updates = updates.clone()).await
    })
    .await?;
    Ok(api::PutRuntimeManagementConfigResponse {
        update_runtime_on: Some(show_updates(updates)),
        function_arn: Some(name.qualified_arn()),
        runtime_version_arn: None,
    })
}

async fn change_config(
    cx: &Cx,
    txn: &Txn,
    name: &FunctionName,
    change: impl FnOnce(&mut Config),
) -> Result<(), LambdaError> {
    let mut row = FunctionRow::load(txn, name).await?;
    match Qualifier::read(name.qualifier.as_deref()) {
        Qualifier::Latest => {
            change(&mut row.latest);
            row.touch(cx);
            row.put(txn, name)
        }
        Qualifier::Version(number) => {
            let key = (name.account, name.region.clone(), name.name.clone(), number);
            let found = VERSIONS.get(txn, &key).await?;
            let mut version = found.ok_or_else(|| LambdaError::no_function(name.qualified_arn()))?;
            change(&mut version.config);
            version.config.revision = cx.ids().uuid();
            Ok(VERSIONS.put(txn, &key, &version)?)
        }
        Qualifier::Alias(_) => Err(LambdaError::invalid(
            "Runtime management is for functions and published versions; an alias has none of its own.",
        )),
    }
}

/// `GetRuntimeManagementConfig`
pub async fn get_runtime_management_config(
    cx: &Cx,
    input: api::GetRuntimeManagementConfigRequest,
) -> Result<api::GetRuntimeManagementConfigResponse, LambdaError> {
    let name = FunctionName::parse(cx, input.function_name.as_deref(), input.qualifier.as_deref())?;
    let resolved = resolve(cx.store(), &name).await?;
    Ok(api::GetRuntimeManagementConfigResponse {
        update_runtime_on: Some(show_updates(&resolved.config.runtime_updates)),
        function_arn: Some(name.qualified_arn()),
        runtime_version_arn: None,
    })
}

fn show_updates(updates: &RuntimeUpdates) -> String {
    match updates {
        RuntimeUpdates::Auto => "Auto",
        RuntimeUpdates::FunctionUpdate => "FunctionUpdate",
    }
    .to_owned()
}
