//! The keys that an identity provider signs with: read, tried, fetched and remembered.
//!
//! Source: RFC 7517; OpenID Connect Discovery 1.0; IAM User Guide, "Obtain the thumbprint for an OpenID Connect identity provider".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_core::Timestamp;
use pileus_platform::{Cx, HttpsGet, OidcProvider, OutboundError};
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

use crate::error::StsError;
use crate::jwt::Token;

/// Chosen: how long keys are believed without asking again.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// Chosen: an unknown key id makes us ask again, but not more often than this.
const MIN_AGE: Duration = Duration::from_secs(30);
/// Chosen: a provider that just failed is not asked again at once.
const FAILURE_AGE: Duration = Duration::from_secs(1);
const MAX_DOCUMENT_BYTES: usize = 256 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Source: IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in IAM": a hundred keys of each kind.
const MAX_KEYS: usize = 200;
const MAX_PROVIDERS: usize = 1_000;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    /// The only algorithm that it is meant for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    Elliptic {
        curve: String,
        point: Vec<u8>,
    },
}

impl Key {
    /// Keys of other kinds and uses are passed over.
    fn read(key: &Value) -> Option<Key> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let material = match text("kty")? {
            "RSA" => Material::Rsa { modulus: bytes("n")?, exponent: bytes("e")? },
            "EC" => Material::Elliptic {
                curve: text("crv")?.to_owned(),
                point: [&[4][..], &bytes("x")?, &bytes("y")?].concat(),
            },
            _ => return None,
        };
        Some(Key { id: text("kid").map(str::to_owned), algorithm: text("alg").map(str::to_owned), material })
    }

    /// Whether the key may have signed the token, by what both say of themselves.
    fn may_have_signed(&self, token: &Token<'_>) -> bool {
        let id_fits = token.key_id.is_none() || self.id.is_none() || self.id == token.key_id;
        let algorithm = self.algorithm.as_deref();
        id_fits && algorithm.is_none_or(|algorithm| algorithm == token.algorithm.name())
    }

    fn signed(&self, token: &Token<'_>) -> bool {
        match &self.material {
            Material::Rsa { modulus, exponent } => token.algorithm.rsa().is_some_and(|parameters| {
                // Leading zeros are not part of the number.
                let number = |bytes: &Vec<u8>| {
                    bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>()
                };
                let key = RsaPublicKeyComponents { n: number(modulus), e: number(exponent) };
                key.verify(parameters, token.signed, &token.signature).is_ok()
            }),
            Material::Elliptic { curve, point } => {
                token.algorithm.elliptic().is_some_and(|(name, algorithm)| {
                    let key = UnparsedPublicKey::new(algorithm, point);
                    curve == name && key.verify(token.signed, &token.signature).is_ok()
                })
            }
        }
    }
}

/// Reads a key set.
pub fn read_keys(document: &[u8]) -> Option<Vec<Key>> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let keys = document.get("keys")?.as_array()?;
    Some(keys.iter().take(MAX_KEYS).filter_map(Key::read).collect())
}

/// `None` when no key fits the token; else whether one of those that fit has signed it.
pub fn judge(keys: &[Key], token: &Token<'_>) -> Option<bool> {
    let mut fitting = keys.iter().filter(|key| key.may_have_signed(token)).peekable();
    fitting.peek()?;
    Some(fitting.any(|key| key.signed(token)))
}

/// Keys of providers as last seen. A memory: it may be lost at any time.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<Provider, Arc<tokio::sync::Mutex<Entry>>>>);

/// Whom we asked, and whom we trusted while asking.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Provider {
    arn: String,
    thumbprints: Vec<String>,
}

#[derive(Default)]
struct Entry {
    keys: Arc<[Key]>,
    asked_at: Option<Timestamp>,
    failure: Option<String>,
}

impl KeyCache {
    /// One lock for each provider, so that a crowd of tokens asks once.
    fn entry(&self, provider: &OidcProvider) -> Arc<tokio::sync::Mutex<Entry>> {
        let key = Provider { arn: provider.arn.clone(), thumbprints: provider.thumbprints.clone() };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_PROVIDERS && !entries.contains_key(&key) {
            entries.clear();
        }
        entries.entry(key).or_default().clone()
    }
}

/// Proves that `provider` signed the token.
///
/// # Errors
/// `InvalidIdentityToken` for a wrong signature, a key that the provider does not know, documents that cannot be read and a
/// certificate that is not trusted; `IDPCommunicationError` when the provider does not answer.
pub async fn verify(cx: &Cx, provider: &OidcProvider, token: &Token<'_>) -> Result<(), StsError> {
    let entry = cx.state::<KeyCache>().entry(provider);
    let mut entry = entry.lock().await;
    let age = entry.asked_at.map_or(Duration::MAX, |asked_at| cx.now().since(asked_at));
    let mut verdict = judge(&entry.keys, token).filter(|_| age < MAX_AGE);
    let patience = if entry.failure.is_some() { FAILURE_AGE } else { MIN_AGE };
    if verdict.is_none() && age >= patience {
        entry.asked_at = Some(cx.now());
        match fetch(cx, provider, &token.claims.issuer).await {
            Ok(keys) => {
                entry.keys = keys.into();
                entry.failure = None;
            }
            Err(error) => {
                tracing::warn!(provider = provider.arn, %error, "an identity provider's keys could not be fetched");
                entry.failure = Some(error.to_string());
                return Err(error);
            }
        }
        verdict = judge(&entry.keys, token);
    }
    match verdict {
        Some(true) => Ok(()),
        // Chosen: the text.
        Some(false) => Err(StsError::InvalidIdentityToken("Provided token signature is invalid".to_owned())),
        None => match &entry.failure {
            Some(failure) => Err(StsError::IdpCommunication(failure.clone())),
            None => Err(no_key()),
        },
    }
}

fn no_key() -> StsError {
    // Recorded: the two spaces.
    let text = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements";
    StsError::InvalidIdentityToken(text.to_owned())
}

/// Asks the provider where its keys are, and for the keys.
async fn fetch(cx: &Cx, provider: &OidcProvider, issuer: &str) -> Result<Vec<Key>, StsError> {
    let configuration_url = format!("https://{}/.well-known/openid-configuration", provider.url);
    let configuration = get(cx, provider, configuration_url).await?;
    let configuration: Value = serde_json::from_slice(&configuration).map_err(|_| no_key())?;
    let text = |name: &str| configuration.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(no_key());
    }
    let keys_url = text("jwks_uri").ok_or_else(no_key)?.to_owned();
    let keys = get(cx, provider, keys_url).await?;
    read_keys(&keys).ok_or_else(no_key)
}

async fn get(cx: &Cx, provider: &OidcProvider, url: String) -> Result<Vec<u8>, StsError> {
    let request = HttpsGet {
        url,
        thumbprints: provider.thumbprints.clone(),
        max_bytes: MAX_DOCUMENT_BYTES,
        timeout: TIMEOUT,
    };
    match cx.platform().outbound().get(request).await {
        Ok(document) => Ok(document.to_vec()),
        Err(OutboundError::Untrusted(_)) => {
            let text = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint";
            Err(StsError::InvalidIdentityToken(text.to_owned()))
        }
        Err(OutboundError::Address(_) | OutboundError::Status(_) | OutboundError::TooLong(_)) => {
            Err(no_key())
        }
        Err(error) => {
            // Chosen: AWS's own sentence is not known.
            let text =
                format!("The identity provider {} could not be asked for its keys: {error}", provider.url);
            Err(StsError::IdpCommunication(text))
        }
    }
}

#[cfg(test)]
mod tests;
