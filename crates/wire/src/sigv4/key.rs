//! Key derivation, and a bounded cache of what was derived.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use ring::{digest, hmac};

use super::TERMINATOR;

/// A secret narrowed to one day, region and service. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// The signature of `string_to_sign`, in hex.
    pub fn sign(&self, string_to_sign: &[u8]) -> String {
        lowercase_hex(hmac::sign(&self.0, string_to_sign).as_ref())
    }

    /// Whether `signature` (64 lowercase hex digits) is that of `string_to_sign`, in constant time.
    pub fn verifies(&self, string_to_sign: &[u8], signature: &str) -> bool {
        let lowercase = signature.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut tag = [0u8; 32];
        if !lowercase || hex::decode_to_slice(signature, &mut tag).is_err() {
            return false;
        }
        hmac::verify(&self.0, string_to_sign, &tag).is_ok()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Derives the key of one day (`YYYYMMDD`), region and service: four HMACs.
pub fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for element in [date, region, service, TERMINATOR] {
        let tag = hmac::sign(&key, element.as_bytes());
        key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
    }
    SigningKey(key)
}

/// SHA-256 in lowercase hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    lowercase_hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Several per request, so without going through characters.
fn lowercase_hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    String::from_utf8(digits.collect()).expect("hex digits are ASCII")
}

/// Remembers derived keys. Holds no secret in the clear; when full it forgets everything, which only costs time.
pub struct SigningKeys {
    keys: RwLock<HashMap<[u8; 32], SigningKey>>,
    capacity: usize,
}

impl SigningKeys {
    pub fn new(capacity: usize) -> SigningKeys {
        SigningKeys { keys: RwLock::new(HashMap::new()), capacity: capacity.max(1) }
    }

    /// The derived key, from memory or fresh.
    pub fn get(&self, secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
        let name = cache_name([secret, date, region, service]);
        if let Some(key) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return key.clone();
        }
        let key = signing_key(secret, date, region, service);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= self.capacity {
            keys.clear();
        }
        keys.insert(name, key.clone());
        key
    }

    pub fn len(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for SigningKeys {
    fn default() -> SigningKeys {
        SigningKeys::new(4_096)
    }
}

/// Lengths go in as well, so that no two lists of parts share a name.
fn cache_name(parts: [&str; 4]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut name = [0u8; 32];
    name.copy_from_slice(context.finish().as_ref());
    name
}
