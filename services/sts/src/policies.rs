//! Session policies: what narrows a session below its role or user.
//!
//! Source: IAM User Guide, "Policies and permissions in AWS IAM", "Session policies"; "IAM and AWS STS quotas".

use pileus_api_sts::PolicyDescriptorType;
use pileus_core::{AccountId, Arn};
use pileus_iam::{DocumentKind, Policy};
use pileus_platform::Cx;

use crate::error::StsError;
use crate::tags::SessionTags;

/// Source: STS API Reference, "AssumeRole": plain text of the inline policy and of all managed policies' ARNs.
const MAX_PLAIN_CHARACTERS: usize = 2_048;
/// Fifty tags with the longest keys and values.
const MAX_TAG_CHARACTERS: usize = 50 * (128 + 256);
const MAX_MANAGED: usize = 10;

/// A session's policies, and how much of the space for policies and tags they take, in percent.
#[derive(Debug, Default)]
pub struct SessionPolicies {
    /// At most one document.
    pub inline: Vec<String>,
    pub arns: Vec<String>,
    pub packed_percent: i64,
}

impl SessionPolicies {
    pub fn is_empty(&self) -> bool {
        self.inline.is_empty() && self.arns.is_empty()
    }
}

/// Checks the policies that a request passes for a session in `account`.
///
/// # Errors
/// `MalformedPolicyDocument`, `PackedPolicyTooLarge`; `ValidationError` for too many managed policies and for those that are
/// unknown or another account's.
pub async fn check(
    cx: &Cx,
    account: AccountId,
    inline: Option<String>,
    arns: Vec<PolicyDescriptorType>,
    tags: &SessionTags,
) -> Result<SessionPolicies, StsError> {
    if arns.len() > MAX_MANAGED {
        let text = format!(
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to {MAX_MANAGED}"
        );
        return Err(StsError::Validation(text));
    }
    let arns: Vec<String> = arns.into_iter().filter_map(|descriptor| descriptor.arn).collect();
    for arn in &arns {
        let owner = Arn::parse(arn).ok().map(|arn| arn.account().to_owned());
        let is_near = owner.is_some_and(|owner| owner == "aws" || owner == account.as_str());
        if !is_near || cx.platform().identities().managed_policy(arn).await?.is_none() {
            return Err(StsError::Validation(format!("Requested policy {arn} not found.")));
        }
    }
    inline.as_deref().map_or(Ok(()), check_document)?;
    let plain = inline.iter().chain(&arns).map(|text| text.chars().count()).sum();
    let tag_characters = |(key, value): &(String, String)| key.chars().count() + value.chars().count();
    let packed_percent = packed_percent(plain, tags.tags.iter().map(tag_characters).sum())?;
    Ok(SessionPolicies { inline: Vec::from_iter(inline), arns, packed_percent })
}

/// # Errors
/// `MalformedPolicyDocument`.
fn check_document(inline: &str) -> Result<(), StsError> {
    let malformed = |text: String| StsError::MalformedPolicyDocument(text);
    let json: serde_json::Value = serde_json::from_str(inline)
        .map_err(|_| malformed("The policy is not in the valid JSON format.".to_owned()))?;
    // Documents of the language's first version are still taken here; IAM's own rules are for the present one.
    if json.get("Version").is_some_and(|version| version == "2012-10-17") {
        pileus_iam::validate(inline, DocumentKind::Identity).map_err(|error| malformed(error.to_string()))?;
    }
    let statements = match json.get("Statement") {
        Some(serde_json::Value::Array(statements)) => statements.iter().collect(),
        Some(statement) => vec![statement],
        None => Vec::new(),
    };
    if statements.iter().any(|s| s.get("Principal").or(s.get("NotPrincipal")).is_some()) {
        return Err(malformed("Policy document should not specify a principal.".to_owned()));
    }
    Policy::parse(inline).map_err(|error| malformed(error.to_string()))?;
    Ok(())
}

/// Chosen: AWS packs policies and tags in a binary form that it does not document. The plain text's share of its limits is what a
/// caller can act on: it grows with the same things, and 100 means full.
///
/// # Errors
/// `PackedPolicyTooLarge` when the policies alone are over their limit; the model already limits tags.
fn packed_percent(policy_characters: usize, tag_characters: usize) -> Result<i64, StsError> {
    let share = |part: usize, whole: usize| i64::try_from((part * 100).div_ceil(whole)).unwrap_or(i64::MAX);
    let percent = share(policy_characters, MAX_PLAIN_CHARACTERS);
    if percent > 100 {
        return Err(StsError::PackedPolicyTooLarge { percent });
    }
    Ok((percent + share(tag_characters, MAX_TAG_CHARACTERS)).min(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_policies_are_refused_in_awss_words() {
        let cases = [
            (
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}"#,
                None,
            ),
            (r#"{"Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}"#, None),
            ("{", Some("The policy is not in the valid JSON format.")),
            (
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#,
                Some("Policy document should not specify a principal."),
            ),
        ];
        for (document, expected) in cases {
            let got = check_document(document).err().map(|error| error.to_string());
            assert_eq!(got.as_deref(), expected, "{document}");
        }
    }

    #[test]
    fn policies_may_fill_their_space_and_tags_theirs() {
        let cases = [
            (0, 0, Some(0)),
            (1, 0, Some(1)),
            (2_048, 0, Some(100)),
            (2_049, 0, None),
            (2_048, 19_200, Some(100)),
        ];
        for (policies, tags, expected) in cases {
            assert_eq!(packed_percent(policies, tags).ok(), expected, "{policies} {tags}");
        }
    }
}
