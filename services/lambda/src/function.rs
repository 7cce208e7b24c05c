//! Functions: how one is kept, found and shown. The operations are in `function/`.

pub mod code;
pub mod create;
pub mod image;
pub mod read;
pub mod runtimes;
pub mod settings;
pub mod unpack;
pub mod update;
pub mod zip;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_api_lambda as api;
use pileus_blobs::Blob;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use serde::{Deserialize, Serialize};

use self::image::{Image, Overrides};
use crate::alias::AliasRow;
use crate::error::LambdaError;
use crate::keys::{ALIASES, FUNCTIONS, VERSIONS, qualified};
use crate::name::{FunctionName, LATEST, Qualifier};

/// A function as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionRow {
    /// The function's own, for as long as it exists: another of the same name has another.
    pub id: String,
    pub created: Timestamp,
    /// `$LATEST`.
    pub latest: Config,
    /// The number of the next version.
    pub next_version: u64,
    pub reserved_concurrency: Option<u32>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// `RecursiveLoop: Allow`
    #[serde(default)]
    pub allows_recursion: bool,
}

impl Stored for FunctionRow {}

/// A published version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionRow {
    pub config: Config,
}

impl Stored for VersionRow {}

/// Code and configuration of `$LATEST` or of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub runtime: String,
    pub handler: String,
    pub role: String,
    pub description: String,
    pub timeout: u32,
    pub memory_mb: u32,
    pub ephemeral_mb: u32,
    pub environment: Option<BTreeMap<String, String>>,
    pub dead_letter: Option<String>,
    pub layers: Vec<LayerUse>,
    pub architecture: String,
    pub logging: Logging,
    pub code: Code,
    pub modified: Timestamp,
    pub revision: String,
    pub runtime_updates: RuntimeUpdates,
    /// `SnapStart: PublishedVersions`
    #[serde(default)]
    pub snap_start: bool,
    /// `PackageType=Image`: runtime and handler are empty then.
    #[serde(default)]
    pub image: Option<Image>,
    #[serde(default)]
    pub image_overrides: Overrides,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerUse {
    pub arn: String,
    pub code: Code,
}

/// A package: a zip archive in the blob store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    pub blob: Blob,
    pub unzipped: u64,
}

impl Config {
    pub fn package_type(&self) -> &'static str {
        if self.image.is_some() { "Image" } else { "Zip" }
    }

    /// As `CodeSha256` shows it: of an image, the digest of its manifest.
    pub fn sha256(&self) -> String {
        match &self.image {
            Some(image) => image.digest.trim_start_matches("sha256:").to_owned(),
            None => self.code.sha256(),
        }
    }

    /// Every blob that the code consists of. A layer's goes on being used when its version is deleted.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let of_image = self.image.iter().flat_map(|image| &image.layers);
        let layers = self.layers.iter().map(|layer| &layer.code.blob);
        std::iter::once(&self.code.blob).chain(of_image).chain(layers)
    }

    /// Whether this version's environments are initialised ahead of their invocations (SnapStart). `$LATEST` never is.
    pub fn is_prepared(&self, version: &str) -> bool {
        self.snap_start && version != LATEST
    }
}

impl Code {
    /// As `CodeSha256` shows it.
    pub fn sha256(&self) -> String {
        STANDARD.encode(self.blob.sha256)
    }

    pub fn size(&self) -> i64 {
        i64::try_from(self.blob.length).unwrap_or(i64::MAX)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logging {
    pub is_json: bool,
    pub application_level: Option<String>,
    pub system_level: Option<String>,
    pub group: String,
}

/// `PutRuntimeManagementConfig`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum RuntimeUpdates {
    #[default]
    Auto,
    FunctionUpdate,
}

/// What a request's name and qualifier lead to.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub function: FunctionRow,
    pub config: Config,
    /// `$LATEST` or a number.
    pub version: String,
    pub alias: Option<AliasRow>,
}

impl FunctionRow {
    /// # Errors
    /// `ResourceNotFoundException`, with the ARN as it was named.
    pub async fn load(reader: &impl Reader, name: &FunctionName) -> Result<FunctionRow, LambdaError> {
        let found = FUNCTIONS.get(reader, &name.key()).await?;
        found.ok_or_else(|| LambdaError::no_function(name.qualified_arn()))
    }

    pub fn put(&self, txn: &Txn, name: &FunctionName) -> Result<(), LambdaError> {
        Ok(FUNCTIONS.put(txn, &name.key(), self)?)
    }

    /// Stands in the metrics and the pools of environments for this code with this configuration.
    pub fn touch(&mut self, cx: &Cx) {
        self.latest.revision = cx.ids().uuid();
    }
}

/// Finds the version that a name means. An alias leads to its main version: weights are the invocation's to apply.
///
/// # Errors
/// `ResourceNotFoundException`
pub async fn resolve(reader: &impl Reader, name: &FunctionName) -> Result<Resolved, LambdaError> {
    let not_found = || LambdaError::no_function(name.qualified_arn());
    let function = FUNCTIONS.get(reader, &name.key()).await?.ok_or_else(not_found)?;
    match Qualifier::read(name.qualifier.as_deref()) {
        Qualifier::Latest => {
            let config = function.latest.clone();
            Ok(Resolved { function, config, version: LATEST.to_owned(), alias: None })
        }
        Qualifier::Version(number) => {
            let config = version(reader, name, number).await?.ok_or_else(not_found)?;
            Ok(Resolved { function, config, version: number.to_string(), alias: None })
        }
        Qualifier::Alias(alias) => {
            let key = qualified(&name.key(), alias);
            let alias = ALIASES.get(reader, &key).await?.ok_or_else(not_found)?;
            let config = config_of(reader, name, &function, &alias.version).await?;
            Ok(Resolved {
                function,
                config: config.ok_or_else(not_found)?,
                version: alias.version.clone(),
                alias: Some(alias),
            })
        }
    }
}

pub async fn version(
    reader: &impl Reader,
    name: &FunctionName,
    number: u64,
) -> Result<Option<Config>, LambdaError> {
    let key = (name.account, name.region.clone(), name.name.clone(), number);
    Ok(VERSIONS.get(reader, &key).await?.map(|row| row.config))
}

/// The configuration of `$LATEST` or of a version by its number.
pub async fn config_of(
    reader: &impl Reader,
    name: &FunctionName,
    function: &FunctionRow,
    version_name: &str,
) -> Result<Option<Config>, LambdaError> {
    match Qualifier::read(Some(version_name)) {
        Qualifier::Latest => Ok(Some(function.latest.clone())),
        Qualifier::Version(number) => version(reader, name, number).await,
        Qualifier::Alias(_) => Ok(None),
    }
}

/// `2026-01-31T23:59:59.123+0000`
pub fn modified_text(moment: Timestamp) -> String {
    let (year, month, day, hour, minute, second) = moment.civil();
    let millis = moment.subsec_nanos() / 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+0000")
}

/// A configuration as every answer shows it. The name's qualifier becomes part of the ARN.
pub fn show(name: &FunctionName, version: &str, config: &Config) -> api::FunctionConfiguration {
    api::FunctionConfiguration {
        function_name: Some(name.name.clone()),
        function_arn: Some(name.qualified_arn()),
        runtime: config.image.is_none().then(|| config.runtime.clone()),
        role: Some(config.role.clone()),
        handler: config.image.is_none().then(|| config.handler.clone()),
        code_size: Some(if config.image.is_some() { 0 } else { config.code.size() }),
        description: Some(config.description.clone()),
        timeout: Some(i64::from(config.timeout)),
        memory_size: Some(i64::from(config.memory_mb)),
        last_modified: Some(modified_text(config.modified)),
        code_sha256: Some(config.sha256()),
        version: Some(version.to_owned()),
        dead_letter_config: config
            .dead_letter
            .as_ref()
            .map(|arn| api::DeadLetterConfig { target_arn: Some(arn.clone()) }),
        environment: config.environment.as_ref().map(|variables| api::EnvironmentResponse {
            variables: Some(variables.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
            error: None,
        }),
        tracing_config: Some(api::TracingConfigResponse { mode: Some("PassThrough".to_owned()) }),
        revision_id: Some(config.revision.clone()),
        layers: (!config.layers.is_empty()).then(|| config.layers.iter().map(show_layer).collect()),
        state: Some("Active".to_owned()),
        last_update_status: Some("Successful".to_owned()),
        package_type: Some(config.package_type().to_owned()),
        image_config_response: config.image_overrides.show(),
        architectures: Some(vec![config.architecture.clone()]),
        ephemeral_storage: Some(api::EphemeralStorage { size: Some(i64::from(config.ephemeral_mb)) }),
        snap_start: Some(api::SnapStartResponse {
            apply_on: Some(if config.snap_start { "PublishedVersions" } else { "None" }.to_owned()),
            optimization_status: Some(if config.is_prepared(version) { "On" } else { "Off" }.to_owned()),
        }),
        runtime_version_config: config.image.is_none().then(|| api::RuntimeVersionConfig {
            runtime_version_arn: Some(runtimes::version_arn(name, config)),
            error: None,
        }),
        logging_config: Some(api::LoggingConfig {
            log_format: Some(if config.logging.is_json { "JSON" } else { "Text" }.to_owned()),
            application_log_level: config.logging.application_level.clone(),
            system_log_level: config.logging.system_level.clone(),
            log_group: Some(config.logging.group.clone()),
        }),
        ..api::FunctionConfiguration::default()
    }
}

fn show_layer(layer: &LayerUse) -> api::Layer {
    api::Layer { arn: Some(layer.arn.clone()), code_size: Some(layer.code.size()), ..api::Layer::default() }
}

/// As the answer to `CreateFunction` shows it: AWS tells a state on the way, which is over when anyone looks again.
///
/// Chosen: the row is complete when the answer is sent, so the next look shows the function active.
pub fn show_creating(name: &FunctionName, version: &str, config: &Config) -> api::FunctionConfiguration {
    api::FunctionConfiguration {
        state: Some("Pending".to_owned()),
        state_reason: Some("The function is being created.".to_owned()),
        state_reason_code: Some("Creating".to_owned()),
        last_update_status: None,
        ..show(name, version, config)
    }
}

/// As the answers to updates show it.
pub fn show_updating(name: &FunctionName, config: &Config) -> api::FunctionConfiguration {
    api::FunctionConfiguration {
        last_update_status: Some("InProgress".to_owned()),
        last_update_status_reason: Some("The function is being created.".to_owned()),
        last_update_status_reason_code: Some("Creating".to_owned()),
        ..show(name, LATEST, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_milliseconds_with_an_offset() {
        assert_eq!(modified_text(Timestamp::from_millis(1_440_938_160_007)), "2015-08-30T12:36:00.007+0000");
    }
    #[test]
    fn a_function_holds_its_package_and_those_of_its_layers() {
        let code = |letter: char| {
            let digits = letter.to_string().repeat(32);
            serde_json::json!({
                "blob": { "id": format!("lambda/{digits}"), "length": 1, "sha256": vec![0; 32] },
                "unzipped": 1,
            })
        };
        let config: Config = serde_json::from_value(serde_json::json!({
            "runtime": "python3.12", "handler": "index.handler", "role": "", "description": "", "timeout": 3,
            "memory_mb": 128, "ephemeral_mb": 512, "layers": [{ "arn": "one", "code": code('b') }, { "arn": "two", "code": code('c') }],
            "architecture": "x86_64", "logging": { "is_json": false, "group": "" }, "code": code('a'),
            "modified": Timestamp::EPOCH, "revision": "", "runtime_updates": "Auto",
        }))
        .expect("a configuration");
        let held: String = config.blobs().filter_map(|blob| blob.id.name().chars().next()).collect();
        assert_eq!(held, "abc");
    }
}
