//! `AssumeRole`, and the trust policies that guard it.

use std::sync::{Arc, LazyLock};

use pileus_api_sts::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser};
use pileus_core::{AccountId, Arn};
use pileus_iam::Policy;
use pileus_platform::{Access, CallerKind, Cx, Fault, Profile, ResourcePolicy, Role, SessionKind};

use crate::credentials::{self, NewSession};
use crate::error::StsError;
use crate::{policies, tags};

/// Source: IAM User Guide, "Methods to assume a role", "Role chaining".
const MAX_CHAINED_SECONDS: i64 = 3_600;
const DEFAULT_SECONDS: i64 = 3_600;

/// What the caller must be allowed: the role's trust policy judges the same actions.
///
/// Source: IAM User Guide, "Available keys for AWS STS".
pub fn access(_: &Cx, input: &AssumeRoleRequest) -> Result<Vec<Access>, Fault> {
    let role_arn = input.role_arn.as_deref().unwrap_or_default();
    let mut access = Access::new("sts:AssumeRole", role_arn)
        .with("sts:RoleSessionName", input.role_session_name.clone().unwrap_or_default());
    if let Some(external_id) = &input.external_id {
        access = access.with("sts:ExternalId", external_id.as_str());
    }
    if let Some(source) = &input.source_identity {
        access = access.with("sts:SourceIdentity", source.as_str());
    }
    let setting = input
        .source_identity
        .as_ref()
        .map(|_| Access { action: "sts:SetSourceIdentity".into(), ..access.clone() });
    let passed = input.tags.as_deref().unwrap_or_default();
    let mut accesses =
        tags::with_tag_accesses(access, passed, input.transitive_tag_keys.as_deref().unwrap_or_default());
    accesses.extend(setting);
    Ok(accesses)
}

/// The trust policy of a role. A role that does not exist trusts nobody, so that its absence cannot be told from a refusal.
pub async fn trust_policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    static NOBODY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
        let text = r#"{"Version":"2012-10-17","Statement":[]}"#;
        Arc::new(Policy::parse(text).expect("an empty list of statements is a policy"))
    });
    if !arn.contains(":role/") {
        return Ok(None);
    }
    let role = find(cx, arn).await?;
    let policy = role.map_or_else(|| NOBODY.clone(), |role| role.trust_policy.clone());
    Ok(Some(ResourcePolicy { name: "role trust policy".into(), policy, must_allow: true }))
}

async fn find(cx: &Cx, role_arn: &str) -> Result<Option<Arc<Role>>, Fault> {
    let Ok(arn) = Arn::parse(role_arn) else { return Ok(None) };
    let Some(account) = AccountId::parse(arn.account()) else { return Ok(None) };
    let name = arn.resource().rsplit('/').next().unwrap_or_default();
    let role = cx.platform().identities().role(account, name).await?;
    Ok(role.filter(|role| role.arn == role_arn))
}

/// `AssumeRole`: temporary credentials of a role that trusts the caller.
///
/// # Errors
/// `AccessDenied` (also for a role that does not exist), `ValidationError` for a duration that the role or role chaining does
/// not permit, `MalformedPolicyDocument`, `PackedPolicyTooLarge`, `InvalidParameterValue` for tags.
///
/// Source: STS API Reference, "AssumeRole".
pub async fn assume_role(cx: &Cx, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, StsError> {
    let role_arn = input.role_arn.unwrap_or_default();
    let session_name = input.role_session_name.unwrap_or_default();
    // In the development profile root stands for whoever has no issued key yet.
    if cx.caller().is_root() && cx.platform().config().profile == Profile::Server {
        return Err(StsError::AccessDenied("Roles may not be assumed by root accounts.".to_owned()));
    }
    if input.serial_number.is_some() || input.token_code.is_some() {
        return Err(StsError::NotSupported(
            "pileus does not check MFA codes in sts:AssumeRole yet.".to_owned(),
        ));
    }
    if input.provided_contexts.is_some_and(|contexts| !contexts.is_empty()) {
        return Err(StsError::NotSupported(
            "pileus does not take ProvidedContexts in sts:AssumeRole yet.".to_owned(),
        ));
    }
    let role = find(cx, &role_arn).await?.ok_or_else(|| {
        let caller = &cx.caller().arn;
        StsError::AccessDenied(format!(
            "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
        ))
    })?;
    let is_chained = matches!(cx.caller().kind, CallerKind::AssumedRole { .. });
    let duration_seconds = duration(input.duration_seconds, role.max_session_seconds, is_chained)?;
    let calling = cx.caller().session.as_deref();
    let passed = input.tags.unwrap_or_default();
    let tags = tags::join(passed, input.transitive_tag_keys.unwrap_or_default(), calling)?;
    let policies = policies::resolve(cx, input.policy, input.policy_arns.unwrap_or_default(), &tags).await?;
    let handed_on = calling.and_then(|session| session.source_identity.clone());
    if handed_on.is_some() && input.source_identity.is_some() && handed_on != input.source_identity {
        let text = "The source identity of a chained session can't be changed.".to_owned();
        return Err(StsError::AccessDenied(text));
    }
    let source_identity = input.source_identity.or(handed_on);
    let credentials = credentials::issue(
        cx,
        NewSession {
            account: role.account,
            kind: SessionKind::AssumedRole {
                role_arn: role.arn.clone(),
                role_name: role.name.clone(),
                role_id: role.id.clone(),
                session_name: session_name.clone(),
            },
            duration_seconds,
            policies: policies.documents,
            tags: tags.tags,
            transitive_tag_keys: tags.transitive_keys,
            source_identity: source_identity.clone(),
            context: Vec::new(),
        },
    );
    Ok(AssumeRoleResponse {
        credentials: Some(credentials),
        assumed_role_user: Some(assumed_role_user(&role, &session_name)),
        packed_policy_size: (policies.packed_percent > 0).then_some(policies.packed_percent),
        source_identity,
        ..AssumeRoleResponse::default()
    })
}

pub fn assumed_role_user(role: &Role, session_name: &str) -> AssumedRoleUser {
    AssumedRoleUser {
        assumed_role_id: Some(format!("{}:{session_name}", role.id)),
        arn: Some(format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", role.account, role.name)),
    }
}

/// How long the session lasts. Recorded: both texts.
fn duration(wanted: Option<i64>, role_maximum: i64, is_chained: bool) -> Result<i64, StsError> {
    let wanted = wanted.unwrap_or(DEFAULT_SECONDS);
    if is_chained && wanted > MAX_CHAINED_SECONDS {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        return Err(StsError::Validation(text.to_owned()));
    }
    if wanted > role_maximum {
        let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(StsError::Validation(text.to_owned()));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_as_long_as_role_and_chaining_permit() {
        let cases = [
            ("default", None, 3_600, false, Some(3_600)),
            ("within the role's maximum", Some(43_200), 43_200, false, Some(43_200)),
            ("over the role's maximum", Some(7_200), 3_600, false, None),
            ("chained, an hour", Some(3_600), 43_200, true, Some(3_600)),
            ("chained, over an hour", Some(3_601), 43_200, true, None),
        ];
        for (name, wanted, maximum, chained, expected) in cases {
            assert_eq!(duration(wanted, maximum, chained).ok(), expected, "{name}");
        }
    }
}
