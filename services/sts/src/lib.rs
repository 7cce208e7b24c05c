//! AWS Security Token Service.
//!
//! | File              | Holds                                                                          |
//! |-------------------|--------------------------------------------------------------------------------|
//! | `identity.rs`     | `GetCallerIdentity`, `GetAccessKeyInfo`                                        |
//! | `assume_role.rs`  | `AssumeRole`                                                                   |
//! | `web_identity.rs` | `AssumeRoleWithWebIdentity`                                                    |
//! | `web_identity_token.rs` | `GetWebIdentityToken`                                                    |
//! | `decode.rs`       | `DecodeAuthorizationMessage`                                                   |
//! | `jwt.rs`          | web identity tokens and their claims: pure                                     |
//! | `jwks.rs`         | the keys that providers sign with: read, tried, fetched and remembered         |
//! | `token.rs`        | `GetSessionToken`, `GetFederationToken`                                        |
//! | `role.rs`         | roles as those who assume them meet them, and the trust policies that guard them |
//! | `mfa.rs`          | codes from multi-factor devices                                                |
//! | `tags.rs`         | session tags, and which of them pass on in role chaining: pure                 |
//! | `policies.rs`     | session policies: inline ones and managed ones by ARN                          |
//! | `credentials.rs`  | a session as the credentials that a caller gets                                |
//! | `error.rs`        | every error that a caller can see                                              |
//!
//! A session writes nothing to the store: its token carries it, sealed (`pileus_platform::Session`).
//!
//! Where we differ from AWS, and why: `docs/services/sts.md`.

mod assume_role;
mod credentials;
mod decode;
mod error;
mod identity;
mod jwks;
mod jwt;
mod mfa;
mod policies;
mod role;
mod tags;
mod token;
mod web_identity;
mod web_identity_token;

use pileus_api_sts as sts;
use pileus_platform::{Access, Service};

pub use error::StsError;

pub fn service() -> Service {
    Service::new(sts::SERVICE)
        .state(jwks::KeyCache::default())
        .resource_policy(role::trust_policy)
        .op(sts::GET_CALLER_IDENTITY, identity::get_caller_identity)
        // No permission is needed, and none can be taken away. Source: STS API Reference, "GetCallerIdentity".
        .access(sts::GET_CALLER_IDENTITY, |_, _| Ok(vec![]))
        .op(sts::GET_ACCESS_KEY_INFO, identity::get_access_key_info)
        .op(sts::ASSUME_ROLE, assume_role::assume_role)
        .access_async(sts::ASSUME_ROLE, assume_role::access)
        // Unsigned: the operation itself asks the role's trust policy about the token's bearer.
        .op(sts::ASSUME_ROLE_WITH_WEB_IDENTITY, web_identity::assume_role_with_web_identity)
        .op(sts::GET_WEB_IDENTITY_TOKEN, web_identity_token::get_web_identity_token)
        .access(sts::GET_WEB_IDENTITY_TOKEN, |_, input| Ok(web_identity_token::accesses(input)))
        // On no resource in particular, by its own action: as the pipeline judges every operation.
        .op(sts::DECODE_AUTHORIZATION_MESSAGE, decode::decode_authorization_message)
        .op(sts::GET_SESSION_TOKEN, token::get_session_token)
        // Source: STS API Reference, "GetSessionToken": needs no permission.
        .access(sts::GET_SESSION_TOKEN, |_, _| Ok(vec![]))
        .op(sts::GET_FEDERATION_TOKEN, token::get_federation_token)
        .access(sts::GET_FEDERATION_TOKEN, |cx, input| {
            let name = input.name.as_deref().unwrap_or_default();
            let resource = format!("arn:aws:sts::{}:federated-user/{name}", cx.account());
            let access = Access::new("sts:GetFederationToken", resource.as_str());
            let passed = input.tags.as_deref().unwrap_or_default();
            Ok(tags::TagAccess { passed, transitive_keys: &[], calling: None }.needed(access))
        })
}
