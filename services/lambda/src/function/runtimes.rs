//! Runtimes: which there are, and which may still be chosen. Pure.
//!
//! Source: AWS Lambda Developer Guide, "Lambda runtimes", "Runtime use after deprecation". Recorded: the sentences.

use ring::digest::{SHA256, digest};

use super::Config;
use crate::error::LambdaError;
use crate::name::FunctionName;

/// Those that functions may be created with, in the order of AWS's sentence about unknown ones.
pub const SUPPORTED: [&str; 23] = [
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "java8.al2",
    "java11",
    "java17",
    "java21",
    "java25",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "dotnet8",
    "dotnet10",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided.al2",
    "provided.al2023",
];

/// Those that AWS no longer takes.
const ENDED: [&str; 23] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "java8",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "provided",
];

/// Those that AWS's model names and this cloud lacks.
const LACKING: [&str; 6] =
    ["nodejs26.x", "python3.15", "java8.al2023", "java11.al2023", "java17.al2023", "custom"];

/// # Errors
/// `InvalidParameterValueException`: unknown, or no longer to be chosen.
pub fn check(runtime: &str) -> Result<(), LambdaError> {
    if SUPPORTED.contains(&runtime) {
        return Ok(());
    }
    if LACKING.contains(&runtime) {
        return Err(LambdaError::missing(&format!("the runtime {runtime} of Lambda")));
    }
    if ENDED.contains(&runtime) {
        return Err(LambdaError::invalid(format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."
        )));
    }
    Err(LambdaError::invalid(format!(
        "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
        SUPPORTED.join(", ")
    )))
}

/// Layers may name old runtimes too.
pub fn is_known(runtime: &str) -> bool {
    SUPPORTED.contains(&runtime) || ENDED.contains(&runtime) || LACKING.contains(&runtime)
}

/// `RuntimeVersionConfig`: one name for all functions of a runtime.
///
/// Chosen: the interpreter is the machine's, so the ARN says nothing but which runtime it stands for.
pub fn version_arn(name: &FunctionName, config: &Config) -> String {
    let hash = hex::encode(digest(&SHA256, config.runtime.as_bytes()));
    format!("arn:{}:lambda:{}::runtime:{hash}", name.region.partition(), name.region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_supported_ended_or_unknown() {
        for runtime in SUPPORTED {
            assert!(check(runtime).is_ok(), "{runtime}");
            assert!(pileus_sandbox::Runtime::parse(runtime).is_some(), "{runtime} is known to the engine");
        }
        let said = |runtime: &str| check(runtime).expect_err("refused").to_string();
        assert!(said("python2.7").starts_with("The runtime parameter of python2.7 is no longer supported"));
        assert!(said("cobol85").starts_with("Value cobol85 at 'runtime' failed to satisfy constraint"));
        assert!(said("cobol85").contains("python3.13"));
        assert!(said("python3.15").contains("python3.15"));
    }
}
