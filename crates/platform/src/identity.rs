//! What the pipeline asks of IAM. The IAM service implements it; everyone else only calls it.

use std::sync::Arc;

use pileus_core::{AccountId, BoxFuture, Timestamp};
use pileus_iam::{Named, Policy};

use crate::caller::Caller;
use crate::{Fault, Region};

/// Long-lived credentials as the pipeline needs them.
#[derive(Clone)]
pub struct AccessKey {
    pub secret_access_key: String,
    pub is_active: bool,
    /// Deleted keys stay known, so that none of them is ever taken for an unknown one.
    pub is_deleted: bool,
    pub account: AccountId,
    pub owner: KeyOwner,
}

/// Without its secret.
impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("is_active", &self.is_active)
            .field("is_deleted", &self.is_deleted)
            .field("account", &self.account)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub enum KeyOwner {
    Root,
    User { path: String, name: String, id: String },
}

/// Every policy attached to a principal, compiled.
#[derive(Debug, Clone, Default)]
pub struct PrincipalPolicies {
    /// Inline and managed policies of the user and its groups, or of the role.
    pub identity: Vec<Named<Arc<Policy>>>,
    pub boundary: Option<Named<Arc<Policy>>>,
    /// Tags of the user or role: `aws:PrincipalTag/..`.
    pub tags: Vec<(String, String)>,
    /// False when the user or role behind a session is gone: then nothing is allowed.
    pub exists: bool,
}

/// A role as those who assume or pass it see it.
#[derive(Debug, Clone)]
pub struct Role {
    pub account: AccountId,
    pub arn: String,
    pub path: String,
    pub name: String,
    pub id: String,
    pub trust_policy: Arc<Policy>,
    pub max_session_seconds: i64,
    pub tags: Vec<(String, String)>,
    pub is_service_linked: bool,
}

/// An OpenID Connect provider registered with `CreateOpenIDConnectProvider`.
#[derive(Debug, Clone)]
pub struct OidcProvider {
    pub arn: String,
    /// Without `https://`.
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
}

/// Who signs an account's tokens for the world outside (`GetWebIdentityToken`).
#[derive(Debug, Clone)]
pub struct TokenIssuer {
    pub account: AccountId,
    /// `https://..`: where others find the keys.
    pub url: String,
    pub is_enabled: bool,
    pub keys: Vec<IssuerKey>,
}

#[derive(Debug, Clone)]
pub struct IssuerKey {
    /// `RS256` or `ES384`
    pub algorithm: String,
    pub id: String,
    /// The private key, sealed for `Purpose::IssuerKey`: PKCS#8 for RSA, the bare scalar for an elliptic curve.
    pub sealed: Vec<u8>,
    /// The public key as a JSON Web Key.
    pub public: serde_json::Value,
}

impl TokenIssuer {
    /// `/.well-known/openid-configuration`
    ///
    /// Source: OpenID Connect Discovery 1.0, "OpenID Provider Metadata".
    pub fn configuration(&self) -> serde_json::Value {
        let algorithms: Vec<&str> = self.keys.iter().map(|key| key.algorithm.as_str()).collect();
        serde_json::json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/.well-known/jwks.json", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti", "https://sts.amazonaws.com/"],
        })
    }

    /// `/.well-known/jwks.json`: the public keys.
    pub fn key_set(&self) -> serde_json::Value {
        let keys: Vec<_> = self.keys.iter().map(|key| &key.public).collect();
        serde_json::json!({ "keys": keys })
    }
}

/// What became of a code from a multi-factor device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaCheck {
    /// Right, and now used up.
    Accepted,
    /// Wrong, of another time, or used before.
    WrongCode,
    /// The caller has no such device.
    NoSuchDevice,
}

/// Answers from IAM's state. Implementations may cache, and must show a change made on this node at once.
pub trait Identities: Send + Sync + 'static {
    /// # Errors
    /// Only faults of ours (the store); an unknown key is `None`.
    fn access_key<'a>(&'a self, access_key_id: &'a str) -> BoxFuture<'a, Result<Option<AccessKey>, Fault>>;

    /// Policies of a user, of the role behind a session, or of the user who asked for a federated session.
    fn policies<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Arc<PrincipalPolicies>, Fault>>;

    /// Notes the use of a key or a role, for "last used". May be delayed and coalesced.
    fn record_use(&self, caller: &Caller, service: &'static str, region: &Region, at: Timestamp);

    fn role<'a>(
        &'a self,
        account: AccountId,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Role>>, Fault>>;

    /// A managed policy (AWS's or a customer's) by its ARN, as it is now.
    fn managed_policy<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<Option<Arc<Policy>>, Fault>>;

    fn oidc_provider<'a>(
        &'a self,
        account: AccountId,
        url: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<OidcProvider>>, Fault>>;

    /// Who signs the account's tokens, if it ever did.
    fn token_issuer(&self, _account: AccountId) -> BoxFuture<'_, Result<Option<TokenIssuer>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// The issuer whose address ends in this name.
    fn token_issuer_named<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<TokenIssuer>, Fault>> {
        Box::pin(async { Ok(None) })
    }

    /// Takes a code of a device of the caller's. A code is good for one use.
    ///
    /// # Errors
    /// Faults of ours, and `NotImplemented` from identities without devices.
    fn verify_mfa<'a>(
        &'a self,
        _caller: &'a Caller,
        _serial_number: &'a str,
        _code: &'a str,
        _now: Timestamp,
    ) -> BoxFuture<'a, Result<MfaCheck, Fault>> {
        let text = "pileus does not check MFA codes here yet.";
        Box::pin(async move { Err(Fault::framework("NotImplemented", 501, text)) })
    }
}
