//! Session policies: what narrows a session below its role or user.
//!
//! Source: IAM User Guide, "Policies and permissions in AWS IAM", "Session policies"; "IAM and AWS STS quotas".

use pileus_api_sts::PolicyDescriptorType;
use pileus_iam::Policy;
use pileus_platform::Cx;

use crate::error::StsError;
use crate::tags::SessionTags;

/// Source: STS API Reference, "AssumeRole": plain text of the inline policy and of all managed policies' ARNs.
const MAX_PLAIN_CHARACTERS: usize = 2_048;
const MAX_MANAGED: usize = 10;

/// Documents of a session's policies, and how much of the space for policies and tags they take, in percent.
pub struct SessionPolicies {
    pub documents: Vec<String>,
    pub packed_percent: i64,
}

/// Reads and checks the policies that a request passes.
///
/// # Errors
/// `MalformedPolicyDocument`, `PackedPolicyTooLarge`; `ValidationError` for too many or unknown managed policies.
pub async fn resolve(
    cx: &Cx,
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
    let mut documents = Vec::new();
    let mut plain = 0;
    if let Some(inline) = inline {
        Policy::parse(&inline).map_err(|error| StsError::MalformedPolicyDocument(error.to_string()))?;
        plain += inline.chars().count();
        documents.push(inline);
    }
    for arn in arns.into_iter().filter_map(|descriptor| descriptor.arn) {
        plain += arn.chars().count();
        let document = cx.platform().identities().managed_policy(&arn).await?;
        documents.push(
            document.ok_or_else(|| StsError::Validation(format!("Requested policy {arn} not found.")))?,
        );
    }
    plain += tags.tags.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum::<usize>();
    let percent = packed_percent(plain);
    if percent > 100 {
        return Err(StsError::PackedPolicyTooLarge { percent });
    }
    Ok(SessionPolicies { documents, packed_percent: percent })
}

/// Chosen: AWS packs policies and tags in a binary form that it does not document. The plain text's share of its limit is
/// what a caller can act on: it grows with the same things, and 100 means full.
fn packed_percent(plain_characters: usize) -> i64 {
    i64::try_from((plain_characters * 100).div_ceil(MAX_PLAIN_CHARACTERS)).unwrap_or(i64::MAX)
}
