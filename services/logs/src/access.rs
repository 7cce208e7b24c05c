//! What a caller of each operation must be allowed to do.
//!
//! AWS judges operations on groups by the ARN of a stream without a name, so policies end in `:*`; only tags go by the ARN of
//! the group itself.
//!
//! Source: Amazon CloudWatch Logs User Guide, "Overview of managing access permissions to your CloudWatch Logs resources".
//! Recorded: the resources, from AWS's denials.

use pileus_platform::{Access, Cx, Fault};
use pileus_wire::value::Map;

use crate::address::Address;
use crate::error::LogsError;
use crate::limits::MAX_NAME;

/// An action on a group by its name; none: on any.
pub fn group(cx: &Cx, action: &'static str, name: Option<&str>) -> Result<Vec<Access>, Fault> {
    stream(cx, action, name, None)
}

/// As `group`, by name or ARN.
pub fn identified(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    identifier: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    identified_stream(cx, action, name, identifier, None)
}

/// An action on a stream.
pub fn stream(
    cx: &Cx,
    action: &'static str,
    group: Option<&str>,
    stream: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    on_stream(action, &Address::named(cx, group.unwrap_or_default()), stream)
}

/// # Errors
/// `InvalidParameterException` for names that are too long. Recorded: the sentence.
fn on_stream(action: &'static str, address: &Address, stream: Option<&str>) -> Result<Vec<Access>, Fault> {
    let stream = stream.unwrap_or_default();
    if address.name.len() > MAX_NAME || stream.chars().count() > MAX_NAME {
        let text = "Invalid LogGroup or LogStream, both must have length less than or equal to 512.";
        return Err(LogsError::invalid(text).into());
    }
    Ok(vec![Access::new(action, address.stream_arn(stream))])
}

pub fn identified_stream(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    identifier: Option<&str>,
    stream: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    let address = match identifier {
        Some(identifier) => Address::identified(cx, identifier)?,
        None => Address::named(cx, name.unwrap_or_default()),
    };
    on_stream(action, &address, stream)
}

/// An action on each of several groups.
pub fn groups<'a>(
    cx: &Cx,
    action: &'static str,
    identifiers: impl Iterator<Item = &'a str>,
) -> Result<Vec<Access>, Fault> {
    let access = |identifier| Ok(Access::new(action, Address::identified(cx, identifier)?.stream_arn("")));
    identifiers.map(access).collect()
}

/// An action on the tags of a group.
pub fn tagged(
    cx: &Cx,
    action: &'static str,
    arn: Option<&str>,
    new: Option<&Map<String>>,
) -> Result<Vec<Access>, Fault> {
    let address = Address::identified(cx, arn.unwrap_or_default())?;
    Ok(vec![with_tags(Access::new(action, address.arn()), new)])
}

/// Adds the tags that a request brings, as condition keys.
pub fn with_tags(mut access: Access, new: Option<&Map<String>>) -> Access {
    let Some(new) = new.filter(|new| !new.is_empty()) else { return access };
    for (key, value) in new.iter() {
        access = access.with(format!("aws:RequestTag/{key}"), value.clone());
    }
    let keys = new.iter().map(|(key, _)| key.to_owned()).collect();
    access.with_many("aws:TagKeys", keys)
}
