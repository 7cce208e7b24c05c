//! S3 browser uploads: the policy of a POST form, its signature and its conditions.
//!
//! [`claim`] finds who signed, [`SignedPolicy::verify`] proves it, [`Policy::parse`] and [`Policy::evaluate`] hold the
//! form's fields against the policy, [`Policy::check_size`] the file. Field names compare without case.
//!
//! Source: S3 API Reference, "Authenticating Requests: Browser-Based Uploads Using POST", "POST Policy" and "Error
//! responses"; texts that those pages leave out are the ones that public recordings of S3 show.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pileus_core::Timestamp;
use serde_json::Value;

use crate::sigv4::{
    ALGORITHM, ALGORITHM_V4A, AuthError, Description, Family, Form, Rules, Scope, ScopeFault, SigningKey,
    TERMINATOR, parse_credential,
};

/// Fields of the form that come before the file, in order.
pub type Fields = [(String, String)];

/// The first value of a field.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The `key` field with `${filename}` replaced by the uploaded file's name, without directories. Comes before `evaluate`.
pub fn expand_filename(key: &str, filename: &str) -> String {
    let name = filename.rsplit(['/', '\\']).next().unwrap_or(filename);
    key.replace("${filename}", name)
}

/// A policy and the claim of who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    /// In base64, as sent: this text is what was signed.
    pub policy: String,
    pub access_key: String,
    pub scope: Scope,
    pub signature: String,
    pub session_token: Option<String>,
}

/// Reads the claim. `Ok(None)` is an anonymous upload: a form without a policy.
///
/// # Errors
/// When a field of the signature is missing or malformed; Signature Versions 2 and 4A by name.
pub fn claim(fields: &Fields) -> Result<Option<SignedPolicy>, PolicyError> {
    let Some(policy) = field(fields, "policy") else { return Ok(None) };
    let required = |name: &'static str| field(fields, name).ok_or(PolicyError::MissingField { name });
    match field(fields, "x-amz-algorithm") {
        Some(ALGORITHM) => {}
        Some(ALGORITHM_V4A) => return Err(AuthError::SigV4a { form: Form::Post }.into()),
        None if field(fields, "AWSAccessKeyId").is_some() => return Err(AuthError::SigV2.into()),
        None => return Err(PolicyError::MissingField { name: "x-amz-algorithm" }),
        Some(other) => {
            let algorithm = other.to_owned();
            return Err(AuthError::UnsupportedAlgorithm { algorithm, form: Form::Post }.into());
        }
    }
    let (access_key, scope) = parse_credential(required("x-amz-credential")?, Form::Post)?;
    let date = required("x-amz-date")?;
    if Timestamp::parse_basic(date).is_none() {
        return Err(AuthError::MalformedDate { text: date.to_owned(), form: Form::Post }.into());
    }
    if !date.starts_with(&scope.date) {
        let fault = ScopeFault::Date { given: scope.date, request_date: date.to_owned() };
        return Err(AuthError::WrongScope { faults: vec![fault], form: Form::Post }.into());
    }
    Ok(Some(SignedPolicy {
        policy: policy.to_owned(),
        access_key,
        scope,
        signature: required("x-amz-signature")?.to_owned(),
        session_token: field(fields, "x-amz-security-token").map(str::to_owned),
    }))
}

impl SignedPolicy {
    /// Whether region, service and terminator are those of `rules`; needs no secret.
    pub fn check_scope(&self, rules: &Rules<'_>) -> Result<(), PolicyError> {
        let scope = &self.scope;
        let wrong = |expected: Option<&str>, given: &str| {
            expected
                .filter(|expected| *expected != given)
                .map(|expected| (given.to_owned(), expected.to_owned()))
        };
        let region = wrong(rules.region, &scope.region)
            .map(|(given, expected)| ScopeFault::Region { given, expected });
        let service = wrong(rules.service, &scope.service)
            .map(|(given, expected)| ScopeFault::Service { given, expected });
        let terminator =
            wrong(Some(TERMINATOR), &scope.terminator).map(|(given, _)| ScopeFault::Terminator { given });
        let faults: Vec<ScopeFault> = [region, service, terminator].into_iter().flatten().collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(AuthError::WrongScope { faults, form: Form::Post }.into())
    }

    /// The string to sign is the policy itself, in base64.
    pub fn verify(&self, key: &SigningKey) -> Result<(), PolicyError> {
        if key.verifies(self.policy.as_bytes(), &self.signature) {
            return Ok(());
        }
        Err(AuthError::SignatureMismatch {
            access_key: self.access_key.clone(),
            provided: self.signature.clone(),
            string_to_sign: self.policy.clone(),
            canonical_request: String::new(),
        }
        .into())
    }
}

/// What a form must look like, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub expiration: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Equals { field: String, value: String },
    StartsWith { field: String, prefix: String },
    ContentLengthRange { min: u64, max: u64 },
}

impl Policy {
    /// Reads the base64 of the form.
    ///
    /// # Errors
    /// `InvalidPolicyDocument` with what is wrong.
    pub fn parse(base64: &str) -> Result<Policy, PolicyError> {
        if base64.is_empty() {
            return Err(invalid("Expecting '{' but found End-of-Input"));
        }
        let json = STANDARD.decode(base64).map_err(|_| invalid("invalid Base64 encoding."))?;
        let document: Value = serde_json::from_slice(&json).map_err(|_| invalid("Invalid JSON."))?;
        let document = document.as_object().ok_or_else(|| invalid("Invalid JSON."))?;
        if let Some(name) = document.keys().find(|name| !matches!(name.as_str(), "expiration" | "conditions"))
        {
            return Err(invalid(format!("Unexpected: '{name}'.")));
        }
        let expiration = document.get("expiration").ok_or_else(|| invalid("Policy missing expiration."))?;
        let expiration = parse_expiration(expiration).ok_or_else(|| {
            let text = expiration.as_str().map_or_else(|| expiration.to_string(), str::to_owned);
            invalid(format!("Invalid 'expiration' value: '{text}'"))
        })?;
        let conditions = document
            .get("conditions")
            .ok_or_else(|| invalid("Policy missing conditions."))?
            .as_array()
            .ok_or_else(|| invalid("Invalid 'conditions' value: must be a List."))?;
        let conditions = conditions.iter().map(parse_condition).collect::<Result<_, _>>()?;
        Ok(Policy { expiration, conditions })
    }

    /// Holds all fields against the conditions; `bucket` is the one that the request addresses.
    ///
    /// # Errors
    /// When the policy has expired, a condition fails, or no condition speaks of a field.
    pub fn evaluate(&self, fields: &Fields, bucket: &str, now: Timestamp) -> Result<(), PolicyError> {
        if now >= self.expiration {
            return Err(PolicyError::Expired);
        }
        for condition in &self.conditions {
            if !condition.holds(fields, bucket) {
                return Err(PolicyError::ConditionFailed { condition: condition.written() });
            }
        }
        match fields.iter().find(|(name, _)| !is_exempt(name) && !self.covers(name)) {
            Some((name, _)) => Err(PolicyError::ExtraField { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// The sizes that the file may have, from all `content-length-range` conditions together.
    pub fn size_range(&self) -> (u64, u64) {
        self.conditions.iter().fold((0, u64::MAX), |(low, high), condition| match condition {
            Condition::ContentLengthRange { min, max } => (low.max(*min), high.min(*max)),
            _ => (low, high),
        })
    }

    /// Holds the file's size against the policy.
    pub fn check_size(&self, size: u64) -> Result<(), PolicyError> {
        let (min, max) = self.size_range();
        if size > max {
            return Err(PolicyError::TooLarge { size, max });
        }
        if size < min {
            return Err(PolicyError::TooSmall { size, min });
        }
        Ok(())
    }

    fn covers(&self, name: &str) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equals { field, .. } | Condition::StartsWith { field, .. } => {
                field.eq_ignore_ascii_case(name)
            }
            Condition::ContentLengthRange { .. } => false,
        })
    }
}

impl Condition {
    fn holds(&self, fields: &Fields, bucket: &str) -> bool {
        let value = |name: &str| {
            if name.eq_ignore_ascii_case("bucket") { Some(bucket) } else { field(fields, name) }
        };
        match self {
            Condition::Equals { field, value: expected } => value(field) == Some(expected),
            // A content type may be a list, each of which has to match.
            Condition::StartsWith { field, prefix } if field.eq_ignore_ascii_case("content-type") => {
                value(field)
                    .unwrap_or_default()
                    .split(',')
                    .all(|content_type| content_type.trim().starts_with(prefix))
            }
            Condition::StartsWith { field, prefix } => value(field).unwrap_or_default().starts_with(prefix),
            // The size is known when the file has come: `check_size`.
            Condition::ContentLengthRange { .. } => true,
        }
    }

    /// In list form, also where it was an object.
    fn written(&self) -> String {
        match self {
            Condition::Equals { field, value } => format!("[\"eq\", \"${field}\", \"{value}\"]"),
            Condition::StartsWith { field, prefix } => {
                format!("[\"starts-with\", \"${field}\", \"{prefix}\"]")
            }
            Condition::ContentLengthRange { min, max } => format!("[\"content-length-range\", {min}, {max}]"),
        }
    }
}

/// Fields that no condition has to name.
fn is_exempt(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "x-amz-signature" | "file" | "policy" | "awsaccesskeyid" | "signature")
        || name.starts_with("x-ignore-")
}

fn parse_condition(value: &Value) -> Result<Condition, PolicyError> {
    match value {
        Value::Object(map) => {
            let mut entries = map.iter();
            let (Some((field, value)), None) = (entries.next(), entries.next()) else {
                return Err(invalid(
                    "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                ));
            };
            let value =
                value.as_str().ok_or_else(|| invalid("Invalid Simple-Condition: value must be a string."))?;
            Ok(Condition::Equals { field: field.clone(), value: value.to_owned() })
        }
        Value::Array(list) => parse_list(list),
        _ => Err(invalid("Invalid condition test: must be a List or Object.")),
    }
}

fn parse_list(list: &[Value]) -> Result<Condition, PolicyError> {
    let operation = list
        .first()
        .and_then(Value::as_str)
        .ok_or_else(|| invalid("Invalid Condition: missing operation identifier."))?;
    let kind = operation.to_ascii_lowercase();
    if !matches!(kind.as_str(), "eq" | "starts-with" | "content-length-range") {
        return Err(invalid(format!("Invalid Condition: unknown operation '{operation}'.")));
    }
    let [_, first, second] = list else {
        return Err(invalid(format!("Invalid {operation}: wrong number of arguments.")));
    };
    if kind == "content-length-range" {
        return match (number(first), number(second)) {
            (Some(min), Some(max)) => Ok(Condition::ContentLengthRange { min, max }),
            _ => Err(invalid(format!("Invalid {operation}: bounds must be non-negative integers."))),
        };
    }
    let (Some(name), Some(value)) = (first.as_str(), second.as_str()) else {
        return Err(invalid(format!("Invalid {operation}: arguments must be strings.")));
    };
    let Some(field) = name.strip_prefix('$') else {
        return Err(invalid(format!("Invalid {operation}: the field '{name}' does not begin with '$'.")));
    };
    let (field, value) = (field.to_owned(), value.to_owned());
    Ok(if kind == "eq" {
        Condition::Equals { field, value }
    } else {
        Condition::StartsWith { field, prefix: value }
    })
}

/// A number, or a string of digits.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// `2007-12-01T12:00:00.000Z`, the fraction optional.
fn parse_expiration(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (date, time) = seconds.split_once('T')?;
    let well_formed = date.len() == 10 && time.len() == 8;
    let basic = format!("{}T{}Z", date.replace('-', ""), time.replace(':', ""));
    if well_formed { Timestamp::parse_basic(&basic) } else { None }
}

fn invalid(reason: impl Into<String>) -> PolicyError {
    PolicyError::InvalidDocument { reason: reason.into() }
}

/// Why a form is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("the form has no field {name}")]
    MissingField { name: &'static str },
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("invalid policy: {reason}")]
    InvalidDocument { reason: String },
    #[error("the policy has expired")]
    Expired,
    #[error("condition failed: {condition}")]
    ConditionFailed { condition: String },
    #[error("no condition names the field {name}")]
    ExtraField { name: String },
    #[error("{size} bytes are over {max}")]
    TooLarge { size: u64, max: u64 },
    #[error("{size} bytes are under {min}")]
    TooSmall { size: u64, min: u64 },
}

impl PolicyError {
    pub fn describe(&self) -> Description {
        let denied = |reason: &str| {
            Description::new("AccessDenied", 403, format!("Invalid according to Policy: {reason}"))
        };
        match self {
            PolicyError::MissingField { name } => Description::new(
                "InvalidArgument",
                400,
                format!(
                    "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
                ),
            )
            .with("ArgumentName", name)
            .with("ArgumentValue", ""),
            PolicyError::Auth(error) => error.describe(Family::S3),
            PolicyError::InvalidDocument { reason } => {
                Description::new("InvalidPolicyDocument", 400, format!("Invalid Policy: {reason}"))
            }
            PolicyError::Expired => denied("Policy expired."),
            PolicyError::ConditionFailed { condition } => {
                denied(&format!("Policy Condition failed: {condition}"))
            }
            PolicyError::ExtraField { name } => denied(&format!("Extra input fields: {name}")),
            PolicyError::TooLarge { size, max } => Description::new(
                "EntityTooLarge",
                400,
                "Your proposed upload exceeds the maximum allowed size",
            )
            .with("ProposedSize", &size.to_string())
            .with("MaxSizeAllowed", &max.to_string()),
            PolicyError::TooSmall { size, min } => Description::new(
                "EntityTooSmall",
                400,
                "Your proposed upload is smaller than the minimum allowed size",
            )
            .with("ProposedSize", &size.to_string())
            .with("MinSizeAllowed", &min.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
