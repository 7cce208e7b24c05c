//! What IAM needs to know of a certificate and of a private key: the dates, and whether they belong together. Pure.
//!
//! Source: RFC 5280, section 4.1; RFC 7468 (PEM); ITU-T X.690 (DER).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pileus_core::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub not_after: Timestamp,
    /// The subject's public key, as a private key of ours states its own.
    pub public_key: Vec<u8>,
}

/// The first block of this kind in a PEM text.
pub fn pem(text: &str, kind: &str) -> Option<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let (_, rest) = text.split_once(&begin)?;
    let (body, _) = rest.split_once(&end)?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    BASE64.decode(body).ok()
}

/// Reads the first certificate of a PEM text.
pub fn certificate(text: &str) -> Option<Certificate> {
    let der = pem(text, "CERTIFICATE")?;
    let mut tbs = Der(Der(Der(&der).take(SEQUENCE)?).take(SEQUENCE)?);
    if tbs.peek() == Some(VERSION) {
        tbs.take(VERSION)?;
    }
    tbs.take(INTEGER)?; // serial number
    tbs.take(SEQUENCE)?; // signature algorithm
    tbs.take(SEQUENCE)?; // issuer
    let mut validity = Der(tbs.take(SEQUENCE)?);
    validity.time()?;
    let not_after = validity.time()?;
    tbs.take(SEQUENCE)?; // subject
    let mut key = Der(tbs.take(SEQUENCE)?);
    key.take(SEQUENCE)?; // algorithm
    let bits = key.take(BIT_STRING)?;
    // The first byte counts the unused bits of the last one.
    let (_, public_key) = bits.split_first()?;
    Some(Certificate { not_after, public_key: public_key.to_vec() })
}

/// The public half of a private key in PEM; `None` when it is no key that we know.
pub fn public_key(text: &str) -> Option<Vec<u8>> {
    if let Some(der) = pem(text, "RSA PRIVATE KEY") {
        return RsaKeyPair::from_der(&der).ok().map(|pair| pair.public_key().as_ref().to_vec());
    }
    let der = pem(text, "PRIVATE KEY")?;
    if let Ok(pair) = RsaKeyPair::from_pkcs8(&der) {
        return Some(pair.public_key().as_ref().to_vec());
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
        return Some(pair.public_key().as_ref().to_vec());
    }
    let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
    let rng = unused_rng();
    let pair = curves.into_iter().find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, &der, &rng).ok())?;
    Some(pair.public_key().as_ref().to_vec())
}

/// The library asks for a generator to blind later signatures; nothing is ever signed with these keys.
#[allow(clippy::disallowed_methods)]
fn unused_rng() -> SystemRandom {
    SystemRandom::new()
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads elements of DER one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The contents of the next element, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        if *found != tag {
            return None;
        }
        self.0 = rest;
        Some(contents)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let tag = self.peek()?;
        let text = std::str::from_utf8(self.take(tag)?).ok()?;
        let digits = text.strip_suffix('Z')?;
        let full = match tag {
            // Years of two digits: 50 to 99 are of the last century.
            UTC_TIME if digits.get(..2)? >= "50" => format!("19{digits}"),
            UTC_TIME => format!("20{digits}"),
            GENERALIZED_TIME => digits.to_owned(),
            _ => return None,
        };
        let part = |at: std::ops::Range<usize>| full.get(at)?.parse::<u32>().ok();
        let year = i64::from(part(0..4)?);
        Timestamp::from_civil(year, part(4..6)?, part(6..8)?, part(8..10)?, part(10..12)?, part(12..14)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made for this test: CN=test, P-256, valid until 2049-12-31T23:59:59Z and some.
    const CERTIFICATE: &str = include_str!("../testdata/certificate.pem");
    const KEY: &str = include_str!("../testdata/key.pem");
    const OTHER_KEY: &str = include_str!("../testdata/other-key.pem");

    #[test]
    fn a_certificate_belongs_to_its_key_only() {
        let certificate = certificate(CERTIFICATE).expect("a certificate");
        assert_eq!(public_key(KEY), Some(certificate.public_key.clone()));
        assert_ne!(public_key(OTHER_KEY), Some(certificate.public_key));
        assert!(certificate.not_after > Timestamp::from_secs(2_000_000_000));
        assert_eq!(public_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), None);
    }

    proptest! {
        #[test]
        fn broken_certificates_are_none_at_worst(at in 0usize..400, byte: u8) {
            let mut der = pem(CERTIFICATE, "CERTIFICATE").expect("PEM");
            let at = at % der.len();
            der[at] = byte;
            let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", BASE64.encode(&der));
            let _ = certificate(&text);
        }
    }
}
