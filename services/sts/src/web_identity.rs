//! `AssumeRoleWithWebIdentity`: a role for whom an OpenID Connect provider vouches.
//!
//! The request is unsigned: the token is its proof, and the role's trust policy alone decides.

use pileus_api_sts::{AssumeRoleWithWebIdentityRequest, AssumeRoleWithWebIdentityResponse};
use pileus_iam::{Context, Decision, Named, Policies, Principal, Request, evaluate};
use pileus_platform::{Access, Cx, OidcProvider, Role, request_context};

use crate::credentials::{self, NewSession};
use crate::error::StsError;
use crate::jwt::{Claims, Token};
use crate::tags::TagAccess;
use crate::{jwks, policies, role, tags};

/// Recorded: the whole text.
fn denied() -> StsError {
    StsError::AccessDenied("Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned())
}

/// # Errors
/// `InvalidIdentityToken` for a token that proves nothing, `ExpiredTokenException`, `IDPCommunicationError` when the provider does not
/// answer, `AccessDenied` when the role does not trust the bearer or does not exist; those of policies, tags and durations.
///
/// Source: STS API Reference, "AssumeRoleWithWebIdentity".
pub async fn assume_role_with_web_identity(
    cx: &Cx,
    input: AssumeRoleWithWebIdentityRequest,
) -> Result<AssumeRoleWithWebIdentityResponse, StsError> {
    let role_arn = input.role_arn.unwrap_or_default();
    let session_name = input.role_session_name.unwrap_or_default();
    role::check_arn(&role_arn)?;
    if input.provider_id.is_some() {
        return Err(StsError::NotSupported(
            "pileus does not take access tokens (ProviderId) in sts:AssumeRoleWithWebIdentity: only ID tokens of OpenID Connect providers."
                .to_owned(),
        ));
    }
    let token = input.web_identity_token.unwrap_or_default();
    let token = Token::parse(&token)?;
    let claims = &token.claims;
    let account = role::account(&role_arn).ok_or_else(denied)?;
    let provider = cx.platform().identities().oidc_provider(account, claims.provider_url()?).await?;
    let provider = provider.ok_or_else(|| {
        let issuer = &claims.issuer;
        StsError::InvalidIdentityToken(format!(
            "No OpenIDConnect provider found in your account for {issuer}"
        ))
    })?;
    let audience = claims.check(&provider, cx.now())?;
    jwks::verify(cx, &provider, &token).await?;

    let role = role::find(cx, &role_arn).await?.ok_or_else(denied)?;
    let known = known_of_bearer(&provider, claims, audience);
    let accesses = accesses(&role, &session_name, claims);
    accesses.iter().try_for_each(|access| judge(cx, &role, &provider, &known, access))?;

    let duration_seconds = role::duration(input.duration_seconds, role.max_session_seconds, false)?;
    let tags = tags::join(claims.tags.clone(), claims.transitive_tag_keys.clone(), None)?;
    let policies =
        policies::check(cx, role.account, input.policy, input.policy_arns.unwrap_or_default(), &tags).await?;
    let packed_percent = (!policies.is_empty() || !tags.tags.is_empty()).then_some(policies.packed_percent);
    let issued = credentials::issue(
        cx,
        NewSession {
            account: role.account,
            kind: role::session_kind(&role, &session_name),
            duration_seconds,
            policies,
            tags: tags.tags,
            transitive_tag_keys: tags.transitive_keys,
            source_identity: claims.source_identity.clone(),
            context: known,
            minimum_token_bytes: input.minimum_session_token_size,
        },
    )?;
    Ok(AssumeRoleWithWebIdentityResponse {
        credentials: Some(issued.credentials),
        subject_from_web_identity_token: Some(claims.subject.clone()),
        assumed_role_user: Some(role::assumed_role_user(&role, &session_name)),
        packed_policy_size: packed_percent,
        // Recorded: the provider's ARN, where the reference speaks of the issuer.
        provider: Some(provider.arn.clone()),
        audience: Some(audience.to_owned()),
        source_identity: claims.source_identity.clone(),
        session_token_utilization: Some(issued.token_percent),
        session_token_size: Some(issued.token_bytes),
    })
}

/// Condition keys about the bearer, for the trust policy and for the whole session; values of one key follow each other.
///
/// Source: IAM User Guide, "IAM and AWS STS condition context keys", "Available keys for AWS OIDC federation"; "AWS global condition
/// context keys", "aws:FederatedProvider".
fn known_of_bearer(provider: &OidcProvider, claims: &Claims, audience: &str) -> Vec<(String, String)> {
    let mut known = vec![("aws:FederatedProvider".to_owned(), provider.arn.clone())];
    // Some providers end in a slash, and then their keys do.
    let url = claims.issuer.trim_start_matches("https://");
    let names = if url == provider.url { vec![url] } else { vec![url, &*provider.url] };
    for name in names {
        let mut add = |claim: &str, value: &str| known.push((format!("{name}:{claim}"), value.to_owned()));
        add("aud", audience);
        claims.audiences.iter().for_each(|audience| add("oaud", audience));
        add("sub", &claims.subject);
        claims.authorized_party.iter().for_each(|party| add("azp", party));
        claims.email.iter().for_each(|email| add("email", email));
        claims.methods.iter().for_each(|method| add("amr", method));
    }
    known
}

/// What the trust policy must allow.
fn accesses(role: &Role, session_name: &str, claims: &Claims) -> Vec<Access> {
    let access = Access::new("sts:AssumeRoleWithWebIdentity", role.arn.as_str());
    let mut access = role::tagged(access.with("sts:RoleSessionName", session_name), role);
    if let Some(source) = &claims.source_identity {
        access = access.with("sts:SourceIdentity", source.as_str());
    }
    let setting = Access { action: "sts:SetSourceIdentity".into(), ..access.clone() };
    let tagging =
        TagAccess { passed: &claims.tags, transitive_keys: &claims.transitive_tag_keys, calling: None };
    let mut accesses = tagging.needed(access);
    accesses.extend(claims.source_identity.is_some().then_some(setting));
    accesses
}

fn judge(
    cx: &Cx,
    role: &Role,
    provider: &OidcProvider,
    known: &[(String, String)],
    access: &Access,
) -> Result<(), StsError> {
    let principal = Principal::federated(&*provider.arn);
    let mut context: Context = request_context(cx);
    principal.describe(&mut context);
    for of_one_key in known.chunk_by(|(one, _), (next, _)| one == next) {
        match of_one_key {
            [(key, value)] => context.insert(key, value.as_str()),
            several => context.insert_many(&several[0].0, several.iter().map(|(_, value)| value.as_str())),
        }
    }
    for (key, values) in &access.context {
        match values.as_slice() {
            [value] => context.insert(key, value.as_str()),
            values => context.insert_many(key, values.iter().map(String::as_str)),
        }
    }
    let request = Request {
        principal: &principal,
        action: &access.action,
        resource: &access.resource,
        resource_account: Some(role.account),
        context: &context,
        scope: pileus_iam::Scope::Exactly,
    };
    let trust = [Named::new("role trust policy", role.trust_policy.clone())];
    let policies = Policies { resource: &trust, resource_must_allow: true, ..Policies::default() };
    let verdict = evaluate(&request, &policies);
    if verdict.decision == Decision::Allowed {
        return Ok(());
    }
    let explanation = pileus_iam::explain(&request, &verdict, &policies).text;
    cx.platform().denials().push(cx.request_id(), cx.now(), &denied().to_string(), explanation);
    Err(denied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_knows_its_bearer_under_the_providers_name() {
        let provider = OidcProvider {
            arn: "arn:aws:iam::000000000000:oidc-provider/id.example.com".into(),
            url: "id.example.com".into(),
            client_ids: vec![],
            thumbprints: vec![],
        };
        let claims = Claims {
            issuer: "https://id.example.com/".into(),
            subject: "ann".into(),
            audiences: vec!["app".into(), "api".into()],
            authorized_party: Some("web".into()),
            expires_at: 2,
            issued_at: 1,
            not_before: None,
            email: None,
            methods: vec!["pwd".into(), "otp".into()],
            tags: vec![],
            transitive_tag_keys: vec![],
            source_identity: None,
        };
        let known = known_of_bearer(&provider, &claims, "web");
        let values = |key: &str| {
            let found = known.iter().filter(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(values("aws:FederatedProvider"), [provider.arn.as_str()]);
        for name in ["id.example.com", "id.example.com/"] {
            assert_eq!(values(&format!("{name}:aud")), ["web"]);
            assert_eq!(values(&format!("{name}:oaud")), ["app", "api"]);
            assert_eq!(values(&format!("{name}:sub")), ["ann"]);
            assert_eq!(values(&format!("{name}:amr")), ["pwd", "otp"]);
        }
    }
}
