//! What a bucket's policy may say, and whether it opens the bucket to the public. Pure.
//!
//! Source: Amazon S3 User Guide, "The meaning of \"public\"". Recorded: the sentences.

use pileus_iam::{DocumentKind, Policy};
use serde_json::Value;

const MAX_SIZE: usize = 20 * 1024;

/// Checks a policy for the bucket with this ARN; whether it is public.
///
/// # Errors
/// The sentence of `MalformedPolicy`.
pub fn check(text: &str, bucket_arn: &str) -> Result<bool, String> {
    check_with(text, |resource| covers(resource, bucket_arn))
}

/// As `check`, for the access point with this ARN.
///
/// # Errors
/// The sentence of `MalformedPolicy`.
pub fn check_for_access_point(text: &str, arn: &str) -> Result<bool, String> {
    check_with(text, |resource| {
        resource.strip_prefix(arn).is_some_and(|rest| rest.is_empty() || rest.starts_with("/object/"))
    })
}

fn check_with(text: &str, is_own: impl Fn(&str) -> bool) -> Result<bool, String> {
    let trimmed = text.trim_start();
    if !trimmed.starts_with('{') {
        return Err("Policies must be valid JSON and the first byte must be '{'".to_owned());
    }
    if text.len() > MAX_SIZE {
        return Err("Policy exceeds the maximum allowed document size.".to_owned());
    }
    let document: Value =
        serde_json::from_str(text).map_err(|_| "This policy contains invalid Json".to_owned())?;
    for (name, _) in document.as_object().into_iter().flatten() {
        if !["Version", "Id", "Statement"].contains(&name.as_str()) {
            return Err(format!("Unknown field {name}"));
        }
    }
    let version = document.get("Version");
    if version.is_some_and(|version| !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))) {
        return Err("The policy must contain a valid version string".to_owned());
    }
    if document.get("Statement").is_none() {
        return Err("Missing required field Statement".to_owned());
    }
    for statement in statements(&document) {
        let Some(elements) = statement.as_object() else {
            return Err("This policy contains invalid Json".to_owned());
        };
        if !["Principal", "NotPrincipal"].iter().any(|name| elements.contains_key(*name)) {
            return Err("Missing required field Principal".to_owned());
        }
        if !["Action", "NotAction"].iter().any(|name| elements.contains_key(*name)) {
            return Err("Missing required field Action".to_owned());
        }
        if !["Resource", "NotResource"].iter().any(|name| elements.contains_key(*name)) {
            return Err("Missing required field Resource".to_owned());
        }
        if !elements.contains_key("Effect") {
            return Err("Missing required field Effect".to_owned());
        }
        let is_action = |action: &str| action == "*" || action.to_ascii_lowercase().starts_with("s3:");
        if !texts(elements.get("Action").or(elements.get("NotAction"))).all(is_action) {
            return Err("Policy has invalid action".to_owned());
        }
        if !texts(elements.get("Resource").or(elements.get("NotResource"))).all(&is_own) {
            return Err("Policy has invalid resource".to_owned());
        }
        if elements.get("Principal").is_some_and(|principal| !is_principal(principal)) {
            return Err("Invalid principal in policy".to_owned());
        }
    }
    pileus_iam::validate(text, DocumentKind::Resource).map_err(|error| error.to_string())?;
    Policy::parse(text).map_err(|error| error.to_string())?;
    Ok(is_public_document(&document))
}

/// Whether a resource of a statement lies in the bucket, as far as it is spelled out.
fn covers(resource: &str, bucket_arn: &str) -> bool {
    let Some(rest) = bucket_arn.split_once(":::").map(|(_, name)| name) else { return false };
    let Some((head, tail)) = resource.split_once(":::") else { return resource.contains(":accesspoint/") };
    if !head.starts_with("arn:") || !head.ends_with(":s3") {
        return false;
    }
    let named = tail.split('/').next().unwrap_or_default();
    match named.find(['*', '?', '$']) {
        Some(at) => rest.starts_with(&named[..at]),
        None => named == rest,
    }
}

fn is_principal(principal: &Value) -> bool {
    let is_aws = |text: &str| {
        text == "*"
            || (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
            || (text.starts_with("arn:")
                && (text.contains(":iam::") || text.contains(":sts::"))
                && !text.contains('*'))
            || ["AIDA", "AROA"].iter().any(|prefix| text.starts_with(prefix))
    };
    match principal {
        Value::String(text) => text == "*",
        Value::Object(kinds) => kinds.iter().all(|(kind, who)| match kind.as_str() {
            "AWS" => texts(Some(who)).all(is_aws),
            "Service" => texts(Some(who)).all(|text| text.contains(".amazonaws.com")),
            "CanonicalUser" => texts(Some(who)).all(|text| text.len() == 64),
            "Federated" => true,
            _ => false,
        }),
        _ => false,
    }
}

fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    let (list, one) = match document.get("Statement") {
        Some(Value::Array(list)) => (list.as_slice(), None),
        other => (&[][..], other),
    };
    list.iter().chain(one)
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let (list, one) = match value {
        Some(Value::Array(list)) => (list.as_slice(), None),
        other => (&[][..], other),
    };
    list.iter().chain(one).map(|text| text.as_str().unwrap_or_default())
}

/// `GetBucketPolicyStatus`. What is no policy is not public.
pub fn is_public(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|document: Value| is_public_document(&document))
}

fn is_public_document(document: &Value) -> bool {
    statements(document).any(|statement| {
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && is_everyone(statement)
            && !is_narrowed(statement.get("Condition"))
    })
}

fn is_everyone(statement: &Value) -> bool {
    if statement.get("NotPrincipal").is_some() {
        return true;
    }
    match statement.get("Principal") {
        Some(Value::String(text)) => text == "*",
        Some(Value::Object(kinds)) => texts(kinds.get("AWS")).any(|who| who == "*"),
        _ => false,
    }
}

/// Keys that narrow a statement to fixed callers or places when their values are fixed.
const FIXED: [&str; 14] = [
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "aws:sourceip",
];

fn is_narrowed(condition: Option<&Value>) -> bool {
    let operators = condition.and_then(Value::as_object);
    operators.into_iter().flatten().any(|(operator, keys)| {
        let operator = operator.to_ascii_lowercase();
        let is_positive = !operator.contains("not") && !operator.ends_with("ifexists") && operator != "null";
        is_positive
            && keys.as_object().into_iter().flatten().any(|(key, values)| {
                let key = key.to_ascii_lowercase();
                if !FIXED.contains(&key.as_str())
                    || key == "aws:sourceip" && !operator.starts_with("ipaddress")
                {
                    return false;
                }
                texts(Some(values)).all(|value| is_fixed(&key, value))
            })
    })
}

fn is_fixed(key: &str, value: &str) -> bool {
    if key == "aws:sourceip" {
        // Source: "The meaning of \"public\"": broader than /8 is public.
        let (address, bits) = value.split_once('/').unwrap_or((value, "32"));
        let least = if address.contains(':') { 32 } else { 8 };
        return bits.parse::<u32>().is_ok_and(|bits| bits >= least);
    }
    if value.contains("${") {
        return false;
    }
    match key {
        // The account in it is what counts: `arn:aws:sns:*:123456789012:*` is fixed.
        "aws:sourcearn" | "s3:dataaccesspointarn" | "aws:principalarn" => {
            let account = value.split(':').nth(4).unwrap_or_default();
            let service = value.split(':').nth(2).unwrap_or_default();
            (service == "s3" && account.is_empty() && !value.contains('*'))
                || (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
        }
        _ => !value.contains('*') && !value.contains('?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(statement: Value) -> String {
        let mut full = json!({
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
        });
        for (name, value) in statement.as_object().into_iter().flatten() {
            if value.is_null() {
                full.as_object_mut().unwrap().remove(name);
            } else {
                full[name] = value.clone();
            }
        }
        json!({ "Version": "2012-10-17", "Statement": [full] }).to_string()
    }

    #[test]
    fn what_is_no_policy_for_the_bucket_is_refused() {
        let cases = [
            ("", "Policies must be valid JSON and the first byte must be '{'"),
            ("{", "This policy contains invalid Json"),
            ("{}", "Missing required field Statement"),
            (&policy(json!({"Principal": null})), "Missing required field Principal"),
            (&policy(json!({"Action": null})), "Missing required field Action"),
            (&policy(json!({"Resource": null})), "Missing required field Resource"),
            (&policy(json!({"Action": "sqs:SendMessage"})), "Policy has invalid action"),
            (&policy(json!({"Resource": "arn:aws:s3:::other/*"})), "Policy has invalid resource"),
            (&policy(json!({"Resource": "b/*"})), "Policy has invalid resource"),
            (&policy(json!({"Principal": {"AWS": "nobody"}})), "Invalid principal in policy"),
            (r#"{"Version":"2020-01-01","Statement":[]}"#, "The policy must contain a valid version string"),
            (r#"{"Extra":1,"Statement":[]}"#, "Unknown field Extra"),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text, "arn:aws:s3:::b"), Err(expected.to_owned()), "{text}");
        }
        for resource in ["arn:aws:s3:::b", "arn:aws:s3:::b/x/*", "arn:aws:s3:::*", "arn:aws:s3:::b*"] {
            assert!(check(&policy(json!({"Resource": resource})), "arn:aws:s3:::b").is_ok(), "{resource}");
        }
    }

    #[test]
    fn a_policy_is_public_unless_something_fixed_narrows_it() {
        let when = |operator: &str, key: &str, value: &str| {
            policy(json!({ "Condition": { operator: { key: value } } }))
        };
        let cases = [
            (policy(json!({})), true),
            (policy(json!({"Principal": {"AWS": ["*"]}})), true),
            (policy(json!({"Effect": "Deny"})), false),
            (policy(json!({"Principal": {"AWS": "123456789012"}})), false),
            (policy(json!({"Principal": {"Service": "cloudfront.amazonaws.com"}})), false),
            (when("StringEquals", "aws:PrincipalOrgID", "o-1"), false),
            (when("StringLike", "aws:PrincipalOrgID", "o-*"), true),
            (when("StringNotEquals", "aws:SourceVpc", "vpc-1"), true),
            (when("StringEquals", "aws:Referer", "http://a"), true),
            (when("IpAddress", "aws:SourceIp", "10.0.0.0/8"), false),
            (when("IpAddress", "aws:SourceIp", "0.0.0.0/0"), true),
            (when("ArnLike", "aws:SourceArn", "arn:aws:sns:*:123456789012:*"), false),
            (when("ArnLike", "aws:SourceArn", "arn:aws:sns:*:*:*"), true),
            (when("StringEquals", "aws:userid", "${aws:userid}"), true),
        ];
        for (text, expected) in cases {
            assert_eq!(is_public(&text), expected, "{text}");
        }
    }
}
