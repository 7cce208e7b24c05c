//! Roles as those who assume them meet them: found by ARN, guarded by a trust policy, for as long as they permit.

use std::sync::{Arc, LazyLock};

use pileus_api_sts::AssumedRoleUser;
use pileus_core::{AccountId, Arn};
use pileus_iam::Policy;
use pileus_platform::{Access, Cx, Fault, ResourcePolicy, Role, SessionKind};

use crate::error::StsError;

/// Source: IAM User Guide, "Methods to assume a role", "Role chaining".
const MAX_CHAINED_SECONDS: i64 = 3_600;
const DEFAULT_SECONDS: i64 = 3_600;

/// # Errors
/// `ValidationError` for what is no ARN: partition, service and resource are needed. Recorded: the text.
pub fn check_arn(role_arn: &str) -> Result<(), StsError> {
    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, service, _, _, resource]
            if !partition.is_empty() && !service.is_empty() && !resource.is_empty() =>
        {
            Ok(())
        }
        _ => Err(StsError::Validation(format!("{role_arn} is invalid"))),
    }
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

/// The account in a role's ARN.
pub fn account(role_arn: &str) -> Option<AccountId> {
    AccountId::parse(Arn::parse(role_arn).ok()?.account())
}

pub async fn find(cx: &Cx, role_arn: &str) -> Result<Option<Arc<Role>>, Fault> {
    let Some(account) = account(role_arn) else { return Ok(None) };
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    let role = cx.platform().identities().role(account, name).await?;
    Ok(role.filter(|role| role.arn == role_arn))
}

/// `access` with the role's tags, as policies know them.
pub fn tagged(access: Access, role: &Role) -> Access {
    role.tags.iter().fold(access, |access, (key, value)| {
        access
            .with(format!("aws:ResourceTag/{key}"), value.as_str())
            .with(format!("iam:ResourceTag/{key}"), value.as_str())
    })
}

/// What a session of `role` is.
pub fn session_kind(role: &Role, session_name: &str) -> SessionKind {
    SessionKind::AssumedRole {
        role_arn: role.arn.clone(),
        role_name: role.name.clone(),
        role_id: role.id.clone(),
        session_name: session_name.to_owned(),
    }
}

pub fn assumed_role_user(role: &Role, session_name: &str) -> AssumedRoleUser {
    AssumedRoleUser {
        assumed_role_id: Some(format!("{}:{session_name}", role.id)),
        arn: Some(format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", role.account, role.name)),
    }
}

/// How long the session lasts. Recorded: both texts.
pub fn duration(wanted: Option<i64>, role_maximum: i64, is_chained: bool) -> Result<i64, StsError> {
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
    fn an_arn_needs_partition_service_and_resource() {
        for arn in ["arn:aws:iam::000000000000:role/app", "arn:a:a:::b:c"] {
            assert!(check_arn(arn).is_ok(), "{arn}");
        }
        let bad = [
            "",
            "nothing",
            "arn::b:::something",
            "arn:a::::something",
            "arn:a:::something",
            "arn:a:a::aaaaaaaaaa:",
        ];
        for arn in bad {
            let error = check_arn(arn).expect_err(arn).to_string();
            assert_eq!(error, format!("{arn} is invalid"));
        }
    }

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
