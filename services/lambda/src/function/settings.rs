//! What `CreateFunction` and `UpdateFunctionConfiguration` set: checked here, without a store. Pure.
//!
//! Source: AWS Lambda API Reference, "CreateFunction", "UpdateFunctionConfiguration"; Lambda Developer Guide, "Lambda quotas",
//! "Working with Lambda environment variables". Recorded: the sentences.

use std::collections::BTreeMap;

use pileus_api_lambda as api;

use super::Logging;
use crate::error::LambdaError;

pub const DEFAULT_TIMEOUT: u32 = 3;
pub const DEFAULT_MEMORY_MB: u32 = 128;
pub const DEFAULT_EPHEMERAL_MB: u32 = 512;
/// Of all variables together, as JSON.
const MAX_ENVIRONMENT: usize = 4_096;
pub const MAX_LAYERS: usize = 5;

/// Variables that Lambda itself sets, in the order in which its refusals list them.
const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// The variables of a function.
pub fn environment(given: api::Environment) -> Result<Option<BTreeMap<String, String>>, LambdaError> {
    let Some(variables) = given.variables else { return Ok(None) };
    let variables: BTreeMap<String, String> = variables.0.into_iter().collect();
    let reserved: Vec<&str> = RESERVED.into_iter().filter(|name| variables.contains_key(*name)).collect();
    if !reserved.is_empty() {
        return Err(LambdaError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let measured = serde_json::to_string(&variables).unwrap_or_default();
    if measured.len() > MAX_ENVIRONMENT {
        return Err(LambdaError::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    Ok(Some(variables))
}

/// `LoggingConfig`. Levels are of JSON logs only.
pub fn logging(
    given: Option<api::LoggingConfig>,
    before: Option<&Logging>,
    function_name: &str,
) -> Result<Logging, LambdaError> {
    let given = given.unwrap_or_default();
    let was_json = before.is_some_and(|before| before.is_json);
    let is_json = given.log_format.as_deref().map_or(was_json, |format| format == "JSON");
    if !is_json && (given.application_log_level.is_some() || given.system_log_level.is_some()) {
        return Err(LambdaError::invalid(
            "Log levels can be set only for functions whose LogFormat is JSON.",
        ));
    }
    let kept = |given: Option<String>, before: Option<&String>| {
        is_json.then(|| given.or_else(|| before.cloned()).unwrap_or_else(|| "INFO".to_owned()))
    };
    let group = given.log_group.or_else(|| before.map(|before| before.group.clone()));
    Ok(Logging {
        is_json,
        application_level: kept(
            given.application_log_level,
            before.and_then(|before| before.application_level.as_ref()),
        ),
        system_level: kept(given.system_log_level, before.and_then(|before| before.system_level.as_ref())),
        group: group.unwrap_or_else(|| format!("/aws/lambda/{function_name}")),
    })
}

/// `x86_64` unless the caller says otherwise.
pub fn architecture(given: Option<Vec<String>>) -> String {
    given.into_iter().flatten().next().unwrap_or_else(|| "x86_64".to_owned())
}

/// `SnapStart`; what is not mentioned stays as it was.
///
/// Source: AWS Lambda Developer Guide, "Improving startup performance with Lambda SnapStart" (supported runtimes, limitations).
pub fn snap_start(
    given: Option<&api::SnapStart>,
    before: bool,
    runtime: &str,
    ephemeral_mb: u32,
) -> Result<bool, LambdaError> {
    let wanted = given.map_or(before, |given| given.apply_on.as_deref() == Some("PublishedVersions"));
    const WITHOUT: [&str; 3] = ["python3.9", "python3.10", "python3.11"];
    let is_supported = runtime.starts_with("python") && !WITHOUT.contains(&runtime)
        || runtime.starts_with("java") && runtime != "java8.al2"
        || runtime.starts_with("dotnet");
    if wanted && !is_supported {
        return Err(LambdaError::invalid(format!(
            "{runtime} is not supported for SnapStart enabled functions."
        )));
    }
    if wanted && ephemeral_mb > DEFAULT_EPHEMERAL_MB {
        return Err(LambdaError::invalid(format!(
            "SnapStart is not supported for functions with ephemeral storage larger than {DEFAULT_EPHEMERAL_MB} MB."
        )));
    }
    Ok(wanted)
}

/// What both operations take and this cloud lacks.
#[derive(Default)]
pub struct Lacking {
    pub vpc: Option<api::VpcConfig>,
    pub kms_key: Option<String>,
    pub tracing: Option<api::TracingConfig>,
    pub file_systems: Option<Vec<api::FileSystemConfig>>,
    pub instances: bool,
    pub durable: bool,
    pub custom_runtime: bool,
    pub accelerator: bool,
    pub tenancy: bool,
    pub code_signing: bool,
}

impl Lacking {
    /// # Errors
    /// `NotImplemented`, by name. Values that turn a feature off are fine.
    pub fn refuse(self) -> Result<(), LambdaError> {
        let has = |list: Option<Vec<String>>| list.is_some_and(|list| !list.is_empty());
        let vpc = self.vpc.is_some_and(|vpc| has(vpc.subnet_ids) || has(vpc.security_group_ids));
        let lacking = [
            (vpc, "VpcConfig of Lambda functions"),
            (self.kms_key.is_some_and(|key| !key.is_empty()), "KMSKeyArn of Lambda functions"),
            (
                self.tracing.is_some_and(|tracing| tracing.mode.as_deref() == Some("Active")),
                "TracingConfig Mode=Active of Lambda functions (X-Ray)",
            ),
            (
                self.file_systems.is_some_and(|systems| !systems.is_empty()),
                "FileSystemConfigs of Lambda functions",
            ),
            (self.instances, "CapacityProviderConfig of Lambda functions"),
            (self.durable, "DurableConfig of Lambda functions"),
            (self.custom_runtime, "RuntimeConfig of Lambda functions"),
            (self.accelerator, "AcceleratorConfig of Lambda functions"),
            (self.tenancy, "TenancyConfig of Lambda functions"),
            (self.code_signing, "code signing of Lambda functions"),
        ];
        match lacking.into_iter().find(|(is_asked_for, _)| *is_asked_for) {
            Some((_, what)) => Err(LambdaError::missing(what)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> api::Environment {
        let variables = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        api::Environment { variables: Some(variables) }
    }

    #[test]
    fn variables_are_bounded_and_none_of_them_is_reserved() {
        let said = |given| environment(given).expect_err("refused").to_string();
        assert!(environment(api::Environment::default()).expect("fine").is_none());
        assert_eq!(environment(variables(&[("A", "1")])).expect("fine").map(|v| v.len()), Some(1));
        assert!(said(variables(&[("AWS_REGION", "x"), ("_HANDLER", "x")])).ends_with("_HANDLER, AWS_REGION"));
        // `{"A":"..."}`: eight bytes around the value.
        assert!(environment(variables(&[("A", &"v".repeat(4_088))])).is_ok());
        assert!(said(variables(&[("A", &"v".repeat(4_089))])).contains("exceeded the 4KB limit"));
    }

    #[test]
    fn snap_start_is_for_runtimes_that_have_it() {
        let on = api::SnapStart { apply_on: Some("PublishedVersions".into()) };
        let off = api::SnapStart { apply_on: Some("None".into()) };
        let cases = [
            (Some(&on), false, "python3.12", 512, Some(true)),
            (Some(&on), false, "java21", 512, Some(true)),
            (Some(&on), false, "python3.11", 512, None),
            (Some(&on), false, "nodejs22.x", 512, None),
            (Some(&on), false, "python3.12", 1_024, None),
            (None, true, "python3.12", 512, Some(true)),
            (Some(&off), true, "nodejs22.x", 512, Some(false)),
        ];
        for (given, before, runtime, storage, expected) in cases {
            assert_eq!(snap_start(given, before, runtime, storage).ok(), expected, "{runtime} {storage}");
        }
    }

    #[test]
    fn levels_are_for_json_logs_and_stay_when_not_mentioned() {
        let text = logging(None, None, "f").expect("fine");
        assert_eq!((text.is_json, text.group.as_str(), &text.system_level), (false, "/aws/lambda/f", &None));
        let json = api::LoggingConfig {
            log_format: Some("JSON".into()),
            application_log_level: Some("DEBUG".into()),
            ..Default::default()
        };
        let json = logging(Some(json), None, "f").expect("fine");
        assert_eq!(json.application_level.as_deref(), Some("DEBUG"));
        assert_eq!(json.system_level.as_deref(), Some("INFO"));
        let group = api::LoggingConfig { log_group: Some("/g".into()), ..Default::default() };
        let moved = logging(Some(group), Some(&json), "f").expect("fine");
        assert_eq!((moved.group.as_str(), moved.application_level.as_deref()), ("/g", Some("DEBUG")));
        let level = api::LoggingConfig { system_log_level: Some("WARN".into()), ..Default::default() };
        assert!(logging(Some(level), None, "f").is_err());
    }

    #[test]
    fn what_is_lacking_is_refused_by_name_and_what_is_off_is_not() {
        let off = Lacking {
            vpc: Some(api::VpcConfig { subnet_ids: Some(vec![]), ..Default::default() }),
            kms_key: Some(String::new()),
            tracing: Some(api::TracingConfig { mode: Some("PassThrough".into()) }),
            ..Lacking::default()
        };
        assert!(off.refuse().is_ok());
        let vpc = api::VpcConfig { subnet_ids: Some(vec!["subnet-1".into()]), ..Default::default() };
        let said =
            Lacking { vpc: Some(vpc), ..Lacking::default() }.refuse().expect_err("refused").to_string();
        assert!(said.contains("VpcConfig"), "{said}");
    }
}
