//! JSON Web Tokens: taken apart, and their signatures checked by the issuer's keys.
//!
//! Source: Developer Guide, "Control access to HTTP APIs with JWT authorizers in API Gateway": only RSA-based algorithms; keys are kept for
//! two hours; `kid` must name the key.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use pileus_core::Timestamp;
use pileus_platform::{HttpsGet, OutboundRequest, Platform};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A token, not yet believed.
pub struct Token<'t> {
    algorithm: &'static RsaParameters,
    key_id: Option<String>,
    pub claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()
}

fn algorithm(name: &str) -> Option<&'static RsaParameters> {
    match name {
        "RS256" => Some(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Some(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Some(&RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

/// Why a token is not believed: the end of `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl<'t> Token<'t> {
    /// # Errors
    /// What is wrong with the token's form.
    pub fn parse(token: &'t str) -> Result<Token<'t>, Refused> {
        let malformed = || Refused("token is malformed");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let object =
            |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&decoded(part)?).ok() };
        let header = object(header).ok_or_else(malformed)?;
        let claims = object(claims).ok_or_else(malformed)?;
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = algorithm(name).ok_or(Refused("signing method is invalid"))?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let signature = decoded(signature).ok_or_else(malformed)?;
        Ok(Token { algorithm, key_id, claims, signed, signature })
    }

    /// # Errors
    /// Issuer, audience or time that do not fit.
    pub fn check(&self, issuer: &str, audiences: &[String], now: Timestamp) -> Result<(), Refused> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(issuer) {
            return Err(Refused("the issuer is invalid"));
        }
        let is_ours = |audience: &str| audiences.iter().any(|own| own == audience);
        let fits = match (self.claims.get("aud"), text("client_id")) {
            (Some(Value::String(audience)), _) => is_ours(audience),
            (Some(Value::Array(all)), _) => all.iter().filter_map(Value::as_str).any(is_ours),
            (_, Some(client)) => is_ours(client),
            _ => false,
        };
        if !fits {
            return Err(Refused("the token does not have a valid audience"));
        }
        let seconds = |name: &str| self.claims.get(name).and_then(Value::as_f64);
        #[allow(clippy::cast_precision_loss)] // seconds since 1970 fit
        let now = now.as_secs() as f64;
        match seconds("exp") {
            Some(expires) if expires > now => {}
            _ => return Err(Refused("the token has expired")),
        }
        if seconds("nbf").is_some_and(|from| from > now) {
            return Err(Refused("the token is not valid yet"));
        }
        if seconds("iat").is_some_and(|issued| issued > now) {
            return Err(Refused("the token was issued in the future"));
        }
        Ok(())
    }

    /// The scopes that the token has.
    pub fn scopes(&self) -> Vec<String> {
        let listed = |name: &str| match self.claims.get(name) {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let mut scopes: Vec<String> = listed("scope");
        scopes.extend(listed("scp"));
        scopes
    }

    fn is_signed_by(&self, key: &Key) -> bool {
        let components = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
        components.verify(self.algorithm, self.signed.as_bytes(), &self.signature).is_ok()
    }
}

struct Key {
    id: Option<String>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

struct Fetched {
    keys: Vec<Key>,
    at: Timestamp,
}

/// The keys of issuers, as a node knows them.
#[derive(Default)]
pub struct IssuerKeys(Mutex<HashMap<String, Arc<Fetched>>>);

const KEPT: Duration = Duration::from_secs(2 * 3_600);
/// An unknown key's id may be a new key: then the issuer is asked again, but not more often than this.
const PAUSE: Duration = Duration::from_secs(60);
const MOST_ISSUERS: usize = 256;
const LONGEST_DOCUMENT: usize = 256 << 10;
/// Source: "Control access to HTTP APIs with JWT authorizers": the time for the issuer's documents.
const TIMEOUT: Duration = Duration::from_millis(1_500);

#[derive(Deserialize)]
struct Configuration {
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Map<String, Value>>,
}

/// Whether an address is `http://` on this machine: what is said there no one else can change on the way.
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_address = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_name = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    uri.scheme_str() == Some("http") && (is_address || is_name)
}

/// Whether tokens of this issuer can be checked.
///
/// Chosen: AWS takes `https://` alone; an issuer on this machine may also be asked without TLS.
pub fn is_issuer(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty()) || is_loopback(url)
}

async fn document<T: DeserializeOwned>(platform: &Platform, url: String) -> Result<T, String> {
    let outbound = platform.outbound();
    let body = if is_loopback(&url) {
        let get = Request::get(&url).body(Bytes::new()).map_err(|error| error.to_string())?;
        let sent = outbound.send(OutboundRequest::new(get, LONGEST_DOCUMENT, TIMEOUT)).await;
        let answer = sent.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => answer.into_body(),
            status => return Err(format!("the server answered {status}")),
        }
    } else {
        let get = HttpsGet { url, thumbprints: Vec::new(), max_bytes: LONGEST_DOCUMENT, timeout: TIMEOUT };
        outbound.get(get).await.map_err(|error| error.to_string())?
    };
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

async fn fetch(platform: &Platform, issuer: &str) -> Result<Fetched, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let configuration: Configuration = document(platform, url).await?;
    let set: KeySet = document(platform, configuration.jwks_uri).await?;
    let keys = set.keys.iter().filter_map(|key| {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("kty") != Some("RSA") {
            return None;
        }
        let (modulus, exponent) = (decoded(text("n")?)?, decoded(text("e")?)?);
        Some(Key { id: text("kid").map(str::to_owned), modulus, exponent })
    });
    Ok(Fetched { keys: keys.collect(), at: platform.clock().now() })
}

impl IssuerKeys {
    fn known(&self, issuer: &str) -> Option<Arc<Fetched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned()
    }

    /// Whether the issuer has signed the token.
    ///
    /// # Errors
    /// A signature that is not the issuer's; an issuer that gives no keys.
    pub async fn verify(&self, platform: &Platform, issuer: &str, token: &Token<'_>) -> Result<(), Refused> {
        let unknown = Refused("unable to find a signing key that matches");
        if token.key_id.is_none() {
            return Err(unknown);
        }
        let now = platform.clock().now();
        let mut known = self.known(issuer).filter(|known| now < known.at + KEPT);
        for _ in 0..2 {
            let has_key = |fetched: &Fetched| {
                let fits = |key: &&Key| key.id.is_some() && key.id == token.key_id;
                let mut fitting = fetched.keys.iter().filter(fits).peekable();
                fitting.peek().is_some().then(|| fitting.any(|key| token.is_signed_by(key)))
            };
            match known.as_deref().map(|fetched| (has_key(fetched), fetched.at)) {
                Some((Some(true), _)) => return Ok(()),
                Some((Some(false), _)) => return Err(Refused("signature is invalid")),
                Some((None, at)) if now < at + PAUSE => break,
                _ => {}
            }
            match fetch(platform, issuer).await {
                Ok(fetched) => {
                    let fetched = Arc::new(fetched);
                    let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                    if all.len() >= MOST_ISSUERS {
                        all.clear();
                    }
                    all.insert(issuer.to_owned(), fetched.clone());
                    known = Some(fetched);
                }
                Err(error) => {
                    tracing::warn!(issuer, error, "the keys of a token's issuer cannot be fetched");
                    return Err(Refused("OIDC discovery endpoint communication error"));
                }
            }
        }
        Err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signature"))
    }

    #[test]
    fn issuers_are_asked_over_tls_or_on_this_machine() {
        let cases = [
            ("https://issuer.example", true),
            ("https://", false),
            ("http://issuer.example", false),
            ("http://127.0.0.1:8080/pool", true),
            ("http://[::1]:8080", true),
            ("http://localhost:4566/pool", true),
            ("http://idp.localhost", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("ftp://localhost", false),
            ("localhost", false),
        ];
        for (url, expected) in cases {
            assert_eq!(is_issuer(url), expected, "{url}");
        }
    }

    #[test]
    fn claims_must_fit() {
        let now = Timestamp::from_secs(1_000);
        let good = json!({ "iss": "https://i", "aud": "a", "exp": 1_001, "nbf": 1_000, "iat": 1_000 });
        let changed = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let cases = [
            (good.clone(), Ok(())),
            (changed("aud", json!(["b", "a"])), Ok(())),
            (json!({ "iss": "https://i", "client_id": "a", "exp": 1_001.5 }), Ok(())),
            (changed("iss", json!("https://j")), Err("the issuer is invalid")),
            (changed("aud", json!("b")), Err("the token does not have a valid audience")),
            (changed("exp", json!(1_000)), Err("the token has expired")),
            (changed("exp", Value::Null), Err("the token has expired")),
            (changed("nbf", json!(1_001)), Err("the token is not valid yet")),
            (changed("iat", json!(1_001)), Err("the token was issued in the future")),
        ];
        for (claims, expected) in cases {
            let text = token(&json!({ "alg": "RS256" }), &claims);
            let got = Token::parse(&text).unwrap().check("https://i", &["a".to_owned()], now);
            assert_eq!(got.map_err(|refused| refused.0), expected, "{claims}");
        }
    }

    #[test]
    fn other_algorithms_and_other_forms_are_refused() {
        let claims = json!({});
        for algorithm in ["none", "HS256", "ES256", ""] {
            let text = token(&json!({ "alg": algorithm }), &claims);
            assert_eq!(Token::parse(&text).err(), Some(Refused("signing method is invalid")), "{algorithm}");
        }
        for text in ["", "a.b", "a.b.c", "..", "e30.e30"] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
        let text = token(&json!({ "alg": "RS256" }), &json!({ "scope": "a b", "scp": ["c"] }));
        assert_eq!(Token::parse(&text).unwrap().scopes(), ["a", "b", "c"]);
    }
}
