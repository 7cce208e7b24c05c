#![allow(clippy::disallowed_methods)] // keys of a test need no seed

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Signer {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap())
    }

    fn jwk(&self, id: Option<&str>, more: Value) -> Value {
        let point = self.0.public_key().as_ref();
        let coordinate = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)});
        let fields = key.as_object_mut().unwrap();
        fields.extend(id.map(|id| ("kid".to_owned(), json!(id))));
        fields.extend(more.as_object().cloned().into_iter().flatten());
        key
    }

    fn token(&self, id: Option<&str>) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "ES256", "kid": id}));
        let claims = part(json!({"iss": "https://id", "sub": "ann", "aud": "app", "exp": 2, "iat": 1}));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn keys(keys: &[Value]) -> Vec<Key> {
    read_keys(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

#[test]
fn only_the_key_that_signed_proves_a_token() {
    let (signer, other) = (Signer::new(), Signer::new());
    let none = json!({});
    let cases = [
        ("by its id", vec![signer.jwk(Some("a"), none.clone())], Some("a"), Some(true)),
        (
            "no ids at all",
            vec![other.jwk(None, none.clone()), signer.jwk(None, none.clone())],
            None,
            Some(true),
        ),
        ("the token names no key", vec![signer.jwk(Some("a"), none.clone())], None, Some(true)),
        ("an id that is unknown", vec![signer.jwk(Some("b"), none.clone())], Some("a"), None),
        ("another's key under that id", vec![other.jwk(Some("a"), none.clone())], Some("a"), Some(false)),
        ("a key for encryption", vec![signer.jwk(Some("a"), json!({"use": "enc"}))], Some("a"), None),
        (
            "a key for another algorithm",
            vec![signer.jwk(Some("a"), json!({"alg": "RS256"}))],
            Some("a"),
            None,
        ),
        (
            "a point on another curve",
            vec![signer.jwk(Some("a"), json!({"crv": "P-384"}))],
            Some("a"),
            Some(false),
        ),
        ("no keys", vec![], Some("a"), None),
    ];
    for (name, set, id, expected) in cases {
        let text = signer.token(id);
        assert_eq!(judge(&keys(&set), &Token::parse(&text).unwrap()), expected, "{name}");
    }
}

#[test]
fn a_token_that_was_changed_is_not_proven() {
    let signer = Signer::new();
    let set = keys(&[signer.jwk(Some("a"), json!({}))]);
    let text = signer.token(Some("a"));
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let claims = json!({"iss": "https://id", "sub": "root", "aud": "app", "exp": 2, "iat": 1}).to_string();
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims));
    assert_eq!(judge(&set, &Token::parse(&forged).unwrap()), Some(false));
    let cut = format!("{signed}.{}", &signature[..signature.len() - 6]);
    assert_eq!(judge(&set, &Token::parse(&cut).unwrap()), Some(false));
}

#[test]
fn what_is_no_key_is_passed_over() {
    let broken = [
        json!(null),
        json!({"kty": "RSA"}),
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "EC", "crv": "P-256"}),
    ];
    assert_eq!(keys(&broken), []);
    assert_eq!(read_keys(b"[]"), None);
    assert_eq!(read_keys(b"{"), None);
}
