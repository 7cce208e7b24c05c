//! `GetWebIdentityToken`: the caller's identity as a signed token for services outside.
//!
//! IAM enables the feature and makes the keys; the node publishes their public halves at the issuer's address.
//!
//! Source: STS API Reference, "GetWebIdentityToken"; IAM User Guide, "Understanding token claims", "Controlling access with IAM policies"
//! of "Federating AWS identities to external services".

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p384::ecdsa::signature::Signer as _;
use pileus_api_sts::{GetWebIdentityTokenRequest, GetWebIdentityTokenResponse};
use pileus_core::Timestamp;
use pileus_platform::{Access, CallerKind, Cx, Fault, IssuerKey, Purpose, Sealer};
use serde_json::{Map, Value, json};

use crate::error::StsError;
use crate::tags::{self, TagAccess};

const DEFAULT_SECONDS: i64 = 300;
const ALGORITHMS: [&str; 2] = ["RS256", "ES384"];
/// Chosen: what STS itself takes as a web identity token; AWS does not tell its limit.
const MAX_TOKEN_CHARACTERS: usize = 20_000;

/// What a caller must be allowed: the token, and its tags.
pub fn accesses(input: &GetWebIdentityTokenRequest) -> Vec<Access> {
    let seconds = input.duration_seconds.unwrap_or(DEFAULT_SECONDS);
    let access = Access::any("sts:GetWebIdentityToken")
        .with_many("sts:IdentityTokenAudience", input.audience.clone().unwrap_or_default())
        .with("sts:SigningAlgorithm", input.signing_algorithm.clone().unwrap_or_default())
        .with("sts:DurationSeconds", seconds.to_string());
    let passed = input.tags.as_deref().unwrap_or_default();
    let mut accesses = TagAccess { passed, transitive_keys: &[], calling: None }.needed(access);
    for tagging in accesses.iter_mut().filter(|access| access.action == "sts:TagSession") {
        tagging.action = "sts:TagGetWebIdentityToken".into();
    }
    accesses
}

/// # Errors
/// `OutboundWebIdentityFederationDisabledException`, `SessionDurationEscalationException` for a token that would outlive the caller's own
/// session, `JWTPayloadSizeExceededException`; `ValidationError` for other algorithms, `InvalidParameterValue` for a tag key that comes
/// twice.
pub async fn get_web_identity_token(
    cx: &Cx,
    input: GetWebIdentityTokenRequest,
) -> Result<GetWebIdentityTokenResponse, StsError> {
    let algorithm = input.signing_algorithm.unwrap_or_default();
    if !ALGORITHMS.contains(&algorithm.as_str()) {
        let text = format!(
            "1 validation error detected: Value '{algorithm}' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RS256, ES384]"
        );
        return Err(StsError::Validation(text));
    }
    let tags = tags::join(input.tags.unwrap_or_default(), Vec::new(), None)?.tags;
    let issuer = cx.platform().identities().token_issuer(cx.account()).await?;
    let issuer = issuer.filter(|issuer| issuer.is_enabled);
    let issuer = issuer.ok_or(StsError::OutboundWebIdentityFederationDisabled)?;
    let key = issuer.keys.iter().find(|key| key.algorithm == algorithm);
    let key = key.ok_or_else(|| broken("the account's issuer has no key of this algorithm"))?;

    let issued_at = cx.now().as_secs();
    let seconds = input.duration_seconds.unwrap_or(DEFAULT_SECONDS);
    let expires_at = Timestamp::from_secs(issued_at) + Duration::from_secs(seconds.unsigned_abs());
    if let Some(session) = &cx.caller().session
        && session.expires_at < expires_at
    {
        let remaining = session.expires_at.as_secs() - issued_at;
        return Err(StsError::SessionDurationEscalation { remaining });
    }
    let audiences = input.audience.unwrap_or_default();
    let claims = json!({
        "iss": issuer.url,
        "sub": subject(cx),
        "aud": if let [audience] = &audiences[..] { json!(audience) } else { json!(audiences) },
        "iat": issued_at,
        "exp": expires_at.as_secs(),
        "jti": cx.ids().uuid(),
        "https://sts.amazonaws.com/": about_caller(cx, tags).await?,
    });
    let token = sign(cx.platform().sealer(), key, &claims)?;
    if token.len() > MAX_TOKEN_CHARACTERS {
        let (size, maximum) = (token.len(), MAX_TOKEN_CHARACTERS);
        return Err(StsError::JwtPayloadSizeExceeded { size, maximum });
    }
    Ok(GetWebIdentityTokenResponse { web_identity_token: Some(token), expiration: Some(expires_at) })
}

/// The principal: of a role's session, the role.
fn subject(cx: &Cx) -> &str {
    match &cx.caller().kind {
        CallerKind::AssumedRole { role_arn, .. } => role_arn,
        _ => &cx.caller().arn,
    }
}

/// Claims in AWS's own namespace. Without organisations there is no `org_id` and no `ou_path`.
async fn about_caller(cx: &Cx, request_tags: Vec<(String, String)>) -> Result<Map<String, Value>, StsError> {
    let caller = cx.caller();
    let mut claims = Map::new();
    let mut add = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    add("aws_account", json!(caller.account.as_str()));
    add("source_region", json!(cx.region().as_str()));
    add("principal_id", json!(subject(cx)));
    let mut principal_tags = match caller.kind {
        CallerKind::User { .. } | CallerKind::AssumedRole { .. } => {
            as_object(cx.platform().identities().policies(caller).await?.tags.clone())
        }
        _ => Map::new(),
    };
    if let Some(session) = &caller.session {
        add("original_session_exp", json!(session.expires_at.to_iso8601()));
        principal_tags.extend(as_object(session.tags.clone()));
        if let Some(source) = &session.source_identity {
            add("source_identity", json!(source));
        }
        if let Some((_, provider)) = session.context.iter().find(|(key, _)| key == "aws:FederatedProvider") {
            add("federated_provider", json!(provider));
        }
    }
    if !principal_tags.is_empty() {
        add("principal_tags", principal_tags.into());
    }
    if !request_tags.is_empty() {
        add("request_tags", as_object(request_tags).into());
    }
    Ok(claims)
}

fn as_object(tags: Vec<(String, String)>) -> Map<String, Value> {
    tags.into_iter().map(|(key, value)| (key, value.into())).collect()
}

fn broken(text: &str) -> StsError {
    Fault::receiver("InternalFailure", text.to_owned()).into()
}

/// A JSON Web Token. Source: RFC 7515, RFC 7518.
fn sign(sealer: &Sealer, key: &IssuerKey, claims: &Value) -> Result<String, StsError> {
    let private = sealer.unlock(Purpose::IssuerKey, key.sealed.clone());
    let private = private.ok_or_else(|| broken("the issuer's key was sealed by another cloud"))?;
    let header = json!({ "typ": "JWT", "alg": key.algorithm, "kid": key.id });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = match key.algorithm.as_str() {
        "RS256" => sign_rsa(&private, signed.as_bytes()),
        _ => sign_elliptic(&private, signed.as_bytes()),
    };
    let signature = signature.ok_or_else(|| broken("the issuer's key does not sign"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn sign_rsa(private: &[u8], signed: &[u8]) -> Option<Vec<u8>> {
    let key = ring::rsa::KeyPair::from_der(private).ok()?;
    let mut signature = vec![0; key.public().modulus_len()];
    #[expect(clippy::disallowed_methods, reason = "asked for and unused: PKCS#1 signatures hold no chance")]
    let unused = ring::rand::SystemRandom::new();
    key.sign(&ring::signature::RSA_PKCS1_SHA256, &unused, signed, &mut signature).ok()?;
    Some(signature)
}

/// With the nonce of RFC 6979.
fn sign_elliptic(private: &[u8], signed: &[u8]) -> Option<Vec<u8>> {
    let key = p384::ecdsa::SigningKey::from_slice(private).ok()?;
    let signature: p384::ecdsa::Signature = key.sign(signed);
    Some(signature.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_sts::Tag;
    use pileus_core::SeededRng;

    use crate::jwks::{judge, read_keys};
    use crate::jwt::Token;

    fn elliptic(sealer: &Sealer, scalar: u8) -> IssuerKey {
        let private = vec![scalar; 48];
        let signing = p384::ecdsa::SigningKey::from_slice(&private).unwrap();
        let point = signing.verifying_key().to_encoded_point(false);
        let coordinate = |bytes: Option<&p384::FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.unwrap());
        IssuerKey {
            algorithm: "ES384".to_owned(),
            id: format!("k{scalar}"),
            sealed: sealer.lock(Purpose::IssuerKey, private, &SeededRng::new(1)),
            public: json!({
                "kty": "EC", "crv": "P-384", "kid": "k1", "use": "sig",
                "x": coordinate(point.x()), "y": coordinate(point.y()),
            }),
        }
    }

    #[test]
    fn a_token_is_proven_by_the_published_key_and_by_no_other() {
        let sealer = Sealer::new(&[7; 32]);
        let (own, other) = (elliptic(&sealer, 1), elliptic(&sealer, 2));
        let claims = json!({ "iss": "https://i", "sub": "s", "aud": ["a", "b"], "iat": 1, "exp": 2 });
        let text = sign(&sealer, &own, &claims).unwrap();
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.claims.issuer.as_str(), token.claims.expires_at), ("https://i", 2));
        let verdict = |key: &IssuerKey| {
            let keys = read_keys(json!({ "keys": [key.public] }).to_string().as_bytes()).unwrap();
            judge(&keys, &token)
        };
        assert_eq!(verdict(&own), Some(true));
        assert_eq!(verdict(&other), Some(false));
        assert!(sign(&Sealer::new(&[8; 32]), &own, &claims).is_err(), "a key of another cloud");
    }

    #[test]
    fn tags_take_a_permission_of_their_own() {
        let actions = |tags: Option<Vec<Tag>>| {
            let input = GetWebIdentityTokenRequest { tags, ..Default::default() };
            accesses(&input).into_iter().map(|access| access.action.into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(actions(None), ["sts:GetWebIdentityToken"]);
        let tag = Tag { key: Some("a".into()), value: Some("1".into()) };
        assert_eq!(actions(Some(vec![tag])), ["sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"]);
    }
}
