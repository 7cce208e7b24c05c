//! `AssumeRole`.

use pileus_api_sts::{AssumeRoleRequest, AssumeRoleResponse};
use pileus_platform::{Access, CallerKind, Cx, Fault, Profile};

use crate::credentials::{self, NewSession};
use crate::error::StsError;
use crate::tags::TagAccess;
use crate::{mfa, policies, role, tags};

/// What the caller must be allowed: the role's trust policy judges the same actions.
///
/// A session hands its source identity and its transitive tags on, so that a chained call needs the permissions for them too.
///
/// Source: IAM User Guide, "IAM and AWS STS condition context keys", "Monitor and control actions taken with assumed roles".
pub async fn access(cx: &Cx, input: &AssumeRoleRequest) -> Result<Vec<Access>, Fault> {
    let role_arn = input.role_arn.as_deref().unwrap_or_default();
    role::check_arn(role_arn)?;
    let calling = cx.caller().session.as_deref();
    let mut access = Access::new("sts:AssumeRole", role_arn)
        .with("sts:RoleSessionName", input.role_session_name.clone().unwrap_or_default());
    if let Some(role) = role::find(cx, role_arn).await? {
        access = role::tagged(access, &role);
    }
    if let Some(external_id) = &input.external_id {
        access = access.with("sts:ExternalId", external_id.as_str());
    }
    if input.serial_number.is_some() && input.token_code.is_some() {
        access = mfa::claimed(access);
    }
    let handed_on = calling.and_then(|session| session.source_identity.as_ref());
    let source_identity = input.source_identity.as_ref().or(handed_on);
    if let Some(source) = source_identity {
        access = access.with("sts:SourceIdentity", source.as_str());
    }
    let setting =
        source_identity.map(|_| Access { action: "sts:SetSourceIdentity".into(), ..access.clone() });
    let tagging = TagAccess {
        passed: input.tags.as_deref().unwrap_or_default(),
        transitive_keys: input.transitive_tag_keys.as_deref().unwrap_or_default(),
        calling,
    };
    let mut accesses = tagging.needed(access);
    accesses.extend(setting);
    Ok(accesses)
}

/// `AssumeRole`: temporary credentials of a role that trusts the caller.
///
/// # Errors
/// `AccessDenied` (also for a role that does not exist, and for a wrong MFA code), `ValidationError` for a duration that the role
/// or role chaining does not permit, `MalformedPolicyDocument`, `PackedPolicyTooLarge`, `InvalidParameterValue` for tags.
///
/// Source: STS API Reference, "AssumeRole".
pub async fn assume_role(cx: &Cx, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, StsError> {
    let role_arn = input.role_arn.unwrap_or_default();
    let session_name = input.role_session_name.unwrap_or_default();
    // In the development profile root stands for whoever has no issued key yet.
    if cx.caller().is_root() && cx.platform().config().profile == Profile::Server {
        return Err(StsError::AccessDenied("Roles may not be assumed by root accounts.".to_owned()));
    }
    if input.provided_contexts.is_some_and(|contexts| !contexts.is_empty()) {
        return Err(StsError::NotSupported(
            "pileus does not take ProvidedContexts in sts:AssumeRole yet.".to_owned(),
        ));
    }
    let denied = || {
        let caller = &cx.caller().arn;
        StsError::AccessDenied(format!(
            "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
        ))
    };
    // Source: STS API Reference, "GetFederationToken": its sessions can call `GetCallerIdentity` only.
    if matches!(cx.caller().kind, CallerKind::FederatedUser { .. }) {
        return Err(denied());
    }
    let role = role::find(cx, &role_arn).await?.ok_or_else(denied)?;
    let is_chained = matches!(cx.caller().kind, CallerKind::AssumedRole { .. });
    let duration_seconds = role::duration(input.duration_seconds, role.max_session_seconds, is_chained)?;
    let calling = cx.caller().session.as_deref();
    let passed = input.tags.unwrap_or_default();
    let tags = tags::join(passed, input.transitive_tag_keys.unwrap_or_default(), calling)?;
    let policies =
        policies::check(cx, role.account, input.policy, input.policy_arns.unwrap_or_default(), &tags).await?;
    let packed_percent = (!policies.is_empty() || !tags.tags.is_empty()).then_some(policies.packed_percent);
    let handed_on = calling.and_then(|session| session.source_identity.clone());
    if handed_on.is_some() && input.source_identity.is_some() && handed_on != input.source_identity {
        let text = "The source identity of a chained session can't be changed.".to_owned();
        return Err(StsError::AccessDenied(text));
    }
    let source_identity = input.source_identity.or(handed_on);
    // Last, because a code is used up by being checked. The session itself does not carry it.
    // Source: IAM User Guide, "Secure API access with MFA", "Choosing between GetSessionToken and AssumeRole".
    mfa::check(cx, input.serial_number.as_deref(), input.token_code.as_deref()).await?;
    let issued = credentials::issue(
        cx,
        NewSession {
            account: role.account,
            kind: role::session_kind(&role, &session_name),
            duration_seconds,
            policies,
            tags: tags.tags,
            transitive_tag_keys: tags.transitive_keys,
            source_identity: source_identity.clone(),
            context: Vec::new(),
            minimum_token_bytes: input.minimum_session_token_size,
        },
    )?;
    Ok(AssumeRoleResponse {
        credentials: Some(issued.credentials),
        assumed_role_user: Some(role::assumed_role_user(&role, &session_name)),
        packed_policy_size: packed_percent,
        source_identity,
        session_token_utilization: Some(issued.token_percent),
        session_token_size: Some(issued.token_bytes),
    })
}
