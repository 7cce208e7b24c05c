//! `GetSessionToken` and `GetFederationToken`: temporary credentials for a user.

use pileus_api_sts::{
    FederatedUser, GetFederationTokenRequest, GetFederationTokenResponse, GetSessionTokenRequest,
    GetSessionTokenResponse,
};
use pileus_platform::{Caller, CallerKind, Cx, SessionKind};

use crate::credentials::{self, NewSession};
use crate::error::StsError;
use crate::policies::{self, SessionPolicies};
use crate::{mfa, tags};

const DEFAULT_SECONDS: i64 = 43_200;
const MAX_ROOT_SECONDS: i64 = 3_600;

/// A policy that allows nothing.
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

/// `GetSessionToken`: the caller's own permissions on a temporary key.
///
/// # Errors
/// `AccessDenied` when called with temporary credentials, and for a wrong MFA code.
///
/// Source: STS API Reference, "GetSessionToken".
pub async fn get_session_token(
    cx: &Cx,
    input: GetSessionTokenRequest,
) -> Result<GetSessionTokenResponse, StsError> {
    let caller = cx.caller();
    let kind = match (&caller.kind, &caller.session) {
        (CallerKind::Root, None) => SessionKind::Root,
        (CallerKind::User { path, name }, None) => SessionKind::User {
            path: path.to_string(),
            name: name.to_string(),
            id: caller.user_id.to_string(),
        },
        _ => {
            return Err(StsError::AccessDenied(
                "Cannot call GetSessionToken with session credentials".to_owned(),
            ));
        }
    };
    let has_mfa = mfa::check(cx, input.serial_number.as_deref(), input.token_code.as_deref()).await?;
    let context = has_mfa.then(|| ("aws:MultiFactorAuthPresent".to_owned(), "true".to_owned()));
    let issued = credentials::issue(
        cx,
        NewSession {
            account: caller.account,
            kind,
            duration_seconds: duration(caller, input.duration_seconds),
            policies: SessionPolicies::default(),
            tags: Vec::new(),
            transitive_tag_keys: Vec::new(),
            source_identity: None,
            context: Vec::from_iter(context),
            minimum_token_bytes: input.minimum_session_token_size,
        },
    )?;
    Ok(GetSessionTokenResponse {
        credentials: Some(issued.credentials),
        session_token_utilization: Some(issued.token_percent),
        session_token_size: Some(issued.token_bytes),
    })
}

/// `GetFederationToken`: a named session whose permissions are those that both the caller and the passed policies allow;
/// without policies it may use only what a resource's own policy grants it.
///
/// # Errors
/// `AccessDenied` when called with temporary credentials; those of session policies and tags.
///
/// Source: STS API Reference, "GetFederationToken".
pub async fn get_federation_token(
    cx: &Cx,
    input: GetFederationTokenRequest,
) -> Result<GetFederationTokenResponse, StsError> {
    let caller = cx.caller();
    let (user_path, user_name, user_id) = match (&caller.kind, &caller.session) {
        (CallerKind::Root, None) => (String::new(), String::new(), String::new()),
        (CallerKind::User { path, name }, None) => {
            (path.to_string(), name.to_string(), caller.user_id.to_string())
        }
        _ => {
            let text = "Cannot call GetFederationToken with session credentials".to_owned();
            return Err(StsError::AccessDenied(text));
        }
    };
    let name = input.name.unwrap_or_default();
    let account = caller.account;
    let tags = tags::join(input.tags.unwrap_or_default(), Vec::new(), None)?;
    let mut policies =
        policies::check(cx, account, input.policy, input.policy_arns.unwrap_or_default(), &tags).await?;
    let packed_percent = policies.packed_percent;
    if policies.is_empty() {
        policies.inline.push(NOTHING.to_owned());
    }
    let issued = credentials::issue(
        cx,
        NewSession {
            account,
            kind: SessionKind::FederatedUser { name: name.clone(), user_path, user_name, user_id },
            duration_seconds: duration(caller, input.duration_seconds),
            policies,
            tags: tags.tags,
            transitive_tag_keys: Vec::new(),
            source_identity: None,
            context: Vec::new(),
            minimum_token_bytes: input.minimum_session_token_size,
        },
    )?;
    Ok(GetFederationTokenResponse {
        credentials: Some(issued.credentials),
        federated_user: Some(FederatedUser {
            federated_user_id: Some(format!("{account}:{name}")),
            arn: Some(format!("arn:aws:sts::{account}:federated-user/{name}")),
        }),
        // Recorded: told even when nothing was passed.
        packed_policy_size: Some(packed_percent),
        session_token_utilization: Some(issued.token_percent),
        session_token_size: Some(issued.token_bytes),
    })
}

/// A root user's session lasts an hour at most, whatever was asked for.
fn duration(caller: &Caller, wanted: Option<i64>) -> i64 {
    let wanted = wanted.unwrap_or(DEFAULT_SECONDS);
    if caller.is_root() { wanted.min(MAX_ROOT_SECONDS) } else { wanted }
}
