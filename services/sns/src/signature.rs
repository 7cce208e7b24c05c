//! Signatures of messages: the cloud's own key, and the certificate that subscribers check them with.
//!
//! The key is made when the first message is signed, and then shared by the cloud's nodes through the store, sealed.
//!
//! Source: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages": version 1 is SHA-1 with RSA, version 2 is
//! SHA-256 with RSA.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pileus_platform::{Cx, DataRequest, Platform, Purpose, Rng};
use pileus_store::{Space, StoreError};
use pileus_wire::protocol::Response;
use rcgen::{CertificateParams, DnType, KeyPair};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rsa::KeyPair as FastKey;
use ring::signature::RSA_PKCS1_SHA256;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::rand_core::{CryptoRng, Error as RandError, RngCore};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde::{Deserialize, Serialize};

use crate::envelope::Signature;
use crate::error::SnsError;
use crate::keys::SIGNING;
use crate::state::Sns;

pub const PATH_START: &str = "/SimpleNotificationService-";
const BITS: usize = 2_048;

/// Before a SHA-1 digest in a signature (RFC 8017, section 9.2).
const SHA1_PREFIX: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

pub struct Signer {
    /// Signs with SHA-256.
    fast: FastKey,
    /// Signs with SHA-1, which `ring` does not.
    legacy: RsaPrivateKey,
    pub certificate: String,
    /// Path of the certificate.
    pub path: String,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// PKCS #8, sealed.
    sealed: Vec<u8>,
    certificate: String,
}

impl Signer {
    pub async fn of(platform: &Platform) -> Result<Arc<Signer>, SnsError> {
        let made = platform.state::<Sns>().signer.get_or_try_init(|| load_or_make(platform));
        made.await.cloned()
    }

    /// # Errors
    /// When the key cannot sign, which a key that was made here always can.
    pub fn sign(&self, platform: &Platform, version: &str, text: &str) -> Result<Signature, SnsError> {
        let rng = platform.ids().rng().as_ref();
        let raw = match version {
            "2" => {
                let mut raw = vec![0; self.fast.public().modulus_len()];
                self.fast
                    .sign(&RSA_PKCS1_SHA256, &unused_rng(), text.as_bytes(), &mut raw)
                    .map_err(|error| broken(&error))?;
                raw
            }
            _ => {
                let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: Box::new(SHA1_PREFIX) };
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
                self.legacy
                    .sign_with_rng(&mut Chance(rng), padding, hash.as_ref())
                    .map_err(|error| broken(&error))?
            }
        };
        Ok(Signature {
            version: version.to_owned(),
            text: STANDARD.encode(raw),
            certificate_url: format!("{}{}", platform.config().endpoint, self.path),
        })
    }

    fn read(pkcs8: &[u8], certificate: String) -> Result<Signer, SnsError> {
        let fast = FastKey::from_pkcs8(pkcs8).map_err(|error| broken(&error))?;
        let legacy = RsaPrivateKey::from_pkcs8_der(pkcs8).map_err(|error| broken(&error))?;
        let name = digest(&ring::digest::SHA256, certificate.as_bytes());
        let path = format!("{PATH_START}{}.pem", hex::encode(&name.as_ref()[..16]));
        Ok(Signer { fast, legacy, certificate, path })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "`ring` asks for chance, which this kind of signature does not use"
)]
fn unused_rng() -> ring::rand::SystemRandom {
    ring::rand::SystemRandom::new()
}

fn broken(error: &dyn std::fmt::Display) -> SnsError {
    SnsError::Store(StoreError::corrupt(format!("the key that messages are signed with: {error}")))
}

async fn load_or_make(platform: &Platform) -> Result<Arc<Signer>, SnsError> {
    if let Some(known) = platform.store().get(Space::Sys, SIGNING).await? {
        return open(platform, &known);
    }
    let maker = platform.clone();
    // The search for primes takes a part of a second, so it is made beside the requests.
    let made = tokio::task::spawn_blocking(move || make(&maker)).await.map_err(|error| broken(&error))??;
    let made = &Bytes::from(made);
    let kept = platform.store().transact(|txn| async move {
        if let Some(known) = txn.get(Space::Sys, SIGNING).await? {
            return Ok(known);
        }
        txn.put(Space::Sys, SIGNING, made.clone());
        Ok::<_, StoreError>(made.clone())
    });
    open(platform, &kept.await?)
}

fn open(platform: &Platform, bytes: &[u8]) -> Result<Arc<Signer>, SnsError> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let pkcs8 = platform.sealer().unlock(Purpose::SigningKey, stored.sealed);
    let pkcs8 = pkcs8.ok_or_else(|| broken(&"it is sealed under another key"))?;
    Ok(Arc::new(Signer::read(&pkcs8, stored.certificate)?))
}

fn make(platform: &Platform) -> Result<Vec<u8>, SnsError> {
    let rng = platform.ids().rng().as_ref();
    let private = RsaPrivateKey::new(&mut Chance(rng), BITS).map_err(|error| broken(&error))?;
    let pkcs8 = private.to_pkcs8_der().map_err(|error| broken(&error))?;
    let certificate = certificate(pkcs8.as_bytes())?;
    let sealed = platform.sealer().lock(Purpose::SigningKey, pkcs8.as_bytes().to_vec(), rng);
    serde_json::to_vec(&Stored { sealed, certificate }).map_err(|error| broken(&error))
}

fn certificate(pkcs8: &[u8]) -> Result<String, SnsError> {
    let key = KeyPair::try_from(pkcs8).map_err(|error| broken(&error))?;
    let mut params =
        CertificateParams::new(vec!["sns.amazonaws.com".to_owned()]).map_err(|error| broken(&error))?;
    params.distinguished_name.push(DnType::CommonName, "sns.amazonaws.com");
    let certificate = params.self_signed(&key).map_err(|error| broken(&error))?;
    Ok(certificate.pem())
}

/// What the key crate asks for chance.
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

/// Signs for a context's cloud.
pub async fn sign(cx: &Cx, version: &str, text: &str) -> Result<Signature, SnsError> {
    Signer::of(cx.platform()).await?.sign(cx.platform(), version, text)
}

/// `GET /SimpleNotificationService-..pem`: the certificate.
pub async fn serve(request: DataRequest) -> Response {
    let platform = request.platform().clone();
    let signer = match Signer::of(&platform).await {
        Ok(signer) => signer,
        Err(error) => {
            tracing::error!(%error, "the certificate of messages cannot be shown");
            return plain(http::StatusCode::INTERNAL_SERVER_ERROR, String::new());
        }
    };
    match request.inbound.path == signer.path {
        true => plain(http::StatusCode::OK, signer.certificate.clone()),
        false => plain(http::StatusCode::NOT_FOUND, "There is no such certificate.\n".to_owned()),
    }
}

fn plain(status: http::StatusCode, body: String) -> Response {
    pileus_platform::pipeline::plain(status, "application/x-pem-file", body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;
    use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

    #[test]
    fn the_certificates_key_proves_a_signature() {
        let rng = SeededRng::new(7);
        let private = RsaPrivateKey::new(&mut Chance(&rng), BITS).unwrap();
        let pkcs8 = private.to_pkcs8_der().unwrap();
        let signer = Signer::read(pkcs8.as_bytes(), certificate(pkcs8.as_bytes()).unwrap()).unwrap();
        assert!(signer.path.starts_with(PATH_START) && signer.path.ends_with(".pem"));
        assert!(signer.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: Box::new(SHA1_PREFIX) };
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, b"text");
        let raw = signer.legacy.sign_with_rng(&mut Chance(&rng), padding, hash.as_ref()).unwrap();
        let public = signer.fast.public().as_ref().to_vec();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, public);
        assert!(key.verify(b"text", &raw).is_ok());
        assert!(key.verify(b"other", &raw).is_err());
    }
}
