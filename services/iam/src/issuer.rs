//! `EnableOutboundWebIdentityFederation`, `DisableOutboundWebIdentityFederation`, `GetOutboundWebIdentityFederationInfo`: the account as
//! an issuer of tokens for services outside. STS signs them (`GetWebIdentityToken`), the node publishes the keys.
//!
//! An account's name as an issuer and its keys are made once, and stay when the feature is disabled: what was signed before can still be
//! proven.
//!
//! Source: IAM User Guide, "Federating AWS identities to external services"; IAM API Reference, the three operations.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p384::elliptic_curve::sec1::ToEncodedPoint;
use pileus_api_iam as api;
use pileus_core::{AccountId, Rng};
use pileus_platform::{Cx, IssuerKey, Purpose, Sealer, TokenIssuer};
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::{CryptoRng, Error as RandError, RngCore};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::IamError;
use crate::keys::{ISSUER_NAMES, ISSUERS};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuerRow {
    /// The last part of the address: a UUID.
    pub name: String,
    pub url: String,
    pub is_enabled: bool,
    pub keys: Vec<KeyRow>,
}

impl Stored for IssuerRow {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRow {
    pub algorithm: String,
    pub id: String,
    /// See `IssuerKey::sealed`.
    pub sealed: Vec<u8>,
    /// A JSON Web Key.
    pub public: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuerNameRow {
    pub account: AccountId,
}

impl Stored for IssuerNameRow {}

/// # Errors
/// `FeatureEnabled`.
pub async fn enable_outbound_web_identity_federation(
    cx: &Cx,
    _: Unit,
) -> Result<api::EnableOutboundWebIdentityFederationResponse, IamError> {
    let known = ISSUERS.get(cx.store(), &(cx.account(),)).await?;
    let fresh = match known {
        Some(known) => known,
        None => IssuerRow {
            name: cx.ids().uuid(),
            url: String::new(),
            is_enabled: false,
            keys: new_keys(cx).await,
        },
    };
    let row = cx.transact(|txn| enable(cx, txn, fresh.clone())).await?;
    Ok(api::EnableOutboundWebIdentityFederationResponse { issuer_identifier: Some(row.url) })
}

async fn enable(cx: &Cx, txn: Txn, fresh: IssuerRow) -> Result<IssuerRow, IamError> {
    let account = cx.account();
    let mut row = ISSUERS.get(&txn, &(account,)).await?.unwrap_or(fresh);
    if row.is_enabled {
        return Err(IamError::FeatureEnabled);
    }
    row.is_enabled = true;
    row.url = url(&cx.platform().config().endpoint, &row.name);
    ISSUERS.put(&txn, &(account,), &row)?;
    ISSUER_NAMES.put(&txn, &(row.name.clone(),), &IssuerNameRow { account })?;
    Ok(row)
}

/// An address of this cloud. A path rather than a host name for each account: names below `localhost` do not resolve everywhere.
fn url(endpoint: &str, name: &str) -> String {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, authority)| authority);
    format!("https://{authority}/_pileus/issuers/{name}")
}

/// Source: IAM API Reference, "DisableOutboundWebIdentityFederation".
///
/// # Errors
/// `FeatureDisabled`.
pub async fn disable_outbound_web_identity_federation(cx: &Cx, _: Unit) -> Result<Unit, IamError> {
    cx.transact(|txn| async move {
        let row = ISSUERS.get(&txn, &(cx.account(),)).await?.filter(|row| row.is_enabled);
        let mut row = row.ok_or(IamError::FeatureDisabled)?;
        row.is_enabled = false;
        Ok::<(), IamError>(ISSUERS.put(&txn, &(cx.account(),), &row)?)
    })
    .await?;
    Ok(Unit)
}

/// # Errors
/// `FeatureDisabled`.
pub async fn get_outbound_web_identity_federation_info(
    cx: &Cx,
    _: Unit,
) -> Result<api::GetOutboundWebIdentityFederationInfoResponse, IamError> {
    let row = ISSUERS.get(cx.store(), &(cx.account(),)).await?.filter(|row| row.is_enabled);
    let row = row.ok_or(IamError::FeatureDisabled)?;
    Ok(api::GetOutboundWebIdentityFederationInfoResponse {
        issuer_identifier: Some(row.url),
        jwt_vending_enabled: Some(true),
    })
}

/// The account's issuer, if it ever was enabled.
pub async fn of(reader: &impl Reader, account: AccountId) -> Result<Option<TokenIssuer>, IamError> {
    let Some(row) = ISSUERS.get(reader, &(account,)).await? else { return Ok(None) };
    let keys = row.keys.into_iter().map(|key| IssuerKey {
        public: serde_json::from_str(&key.public).unwrap_or_default(),
        algorithm: key.algorithm,
        id: key.id,
        sealed: key.sealed,
    });
    Ok(Some(TokenIssuer { account, keys: keys.collect(), url: row.url, is_enabled: row.is_enabled }))
}

pub async fn named(reader: &impl Reader, name: &str) -> Result<Option<TokenIssuer>, IamError> {
    match ISSUER_NAMES.get(reader, &(name.to_owned(),)).await? {
        Some(row) => of(reader, row.account).await,
        None => Ok(None),
    }
}

/// The search for primes takes a part of a second, so it is made beside the requests.
async fn new_keys(cx: &Cx) -> Vec<KeyRow> {
    let (platform, ids) = (cx.platform().clone(), [cx.ids().uuid(), cx.ids().uuid()]);
    let made = tokio::task::spawn_blocking(move || {
        let [elliptic, rsa] = ids;
        let rng = platform.ids().rng().as_ref();
        vec![elliptic_key(rng, platform.sealer(), elliptic), rsa_key(rng, platform.sealer(), rsa)]
    });
    made.await.expect("making a key of fixed parameters does not panic, and nobody aborts it")
}

/// What the key crates ask for chance.
struct Chance<'a>(&'a dyn Rng);

impl RngCore for Chance<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RandError> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl CryptoRng for Chance<'_> {}

const RSA_BITS: usize = 2_048;

fn rsa_key(rng: &dyn Rng, sealer: &Sealer, id: String) -> KeyRow {
    let private = RsaPrivateKey::new(&mut Chance(rng), RSA_BITS).expect("2048 bits make a key");
    let public = RsaPublicKey::from(&private);
    let public = json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
        "n": URL_SAFE_NO_PAD.encode(public.n().to_bytes_be()),
        "e": URL_SAFE_NO_PAD.encode(public.e().to_bytes_be()),
    });
    let private = private.to_pkcs1_der().expect("a key that was just made can be written");
    key_row(rng, sealer, "RS256", id, private.as_bytes().to_vec(), &public)
}

fn elliptic_key(rng: &dyn Rng, sealer: &Sealer, id: String) -> KeyRow {
    let private = p384::SecretKey::random(&mut Chance(rng));
    let point = private.public_key().to_encoded_point(false);
    let coordinate = |bytes: Option<&p384::FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.map_or(&[][..], |b| b));
    let public = json!({
        "kty": "EC", "use": "sig", "alg": "ES384", "kid": id, "crv": "P-384",
        "x": coordinate(point.x()),
        "y": coordinate(point.y()),
    });
    key_row(rng, sealer, "ES384", id, private.to_bytes().to_vec(), &public)
}

fn key_row(
    rng: &dyn Rng,
    sealer: &Sealer,
    algorithm: &str,
    id: String,
    private: Vec<u8>,
    public: &Value,
) -> KeyRow {
    let sealed = sealer.lock(Purpose::IssuerKey, private, rng);
    KeyRow { algorithm: algorithm.to_owned(), id, sealed, public: public.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;

    #[test]
    fn a_keys_private_half_is_sealed_and_its_public_half_is_not() {
        let (rng, sealer) = (SeededRng::new(1), Sealer::new(&[7; 32]));
        let key = elliptic_key(&rng, &sealer, "k".to_owned());
        let public: Value = serde_json::from_str(&key.public).unwrap();
        assert_eq!(
            (&public["kty"], &public["crv"], &public["kid"]),
            (&json!("EC"), &json!("P-384"), &json!("k"))
        );
        assert_eq!(public.get("d"), None);
        let private = sealer.unlock(Purpose::IssuerKey, key.sealed.clone()).unwrap();
        assert_eq!(private.len(), 48);
        assert!(!key.sealed.windows(8).any(|part| private.windows(8).any(|secret| secret == part)));
    }

    #[test]
    fn an_issuer_is_a_path_of_the_clouds_address() {
        assert_eq!(url("http://localhost:4566", "n"), "https://localhost:4566/_pileus/issuers/n");
    }
}
