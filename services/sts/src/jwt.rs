//! Web identity tokens: JSON Web Tokens from OpenID Connect providers. Pure.
//!
//! Source: RFC 7519, RFC 7515, RFC 7518; STS API Reference, "AssumeRoleWithWebIdentity"; IAM User Guide, "Create an OpenID Connect
//! (OIDC) identity provider in IAM". The texts are those that callers of AWS have reported, unless marked.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_api_sts::Tag;
use pileus_core::Timestamp;
use pileus_platform::OidcProvider;
use ring::signature::{self, VerificationAlgorithm};
use serde_json::{Map, Value};

use crate::error::StsError;

/// Chosen: how far the provider's clock may be ahead of ours.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// A token in its parts. Nothing of it is proven yet.
#[derive(Debug)]
pub struct Token<'a> {
    pub algorithm: Algorithm,
    /// Names the key that signed.
    pub key_id: Option<String>,
    pub claims: Claims,
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

/// What the token says of its bearer.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    pub issuer: String,
    pub subject: String,
    pub audiences: Vec<String>,
    pub authorized_party: Option<String>,
    pub expires_at: i64,
    pub issued_at: i64,
    pub not_before: Option<i64>,
    pub email: Option<String>,
    /// How the bearer signed in.
    pub methods: Vec<String>,
    pub tags: Vec<Tag>,
    pub transitive_tag_keys: Vec<String>,
    pub source_identity: Option<String>,
}

fn malformed() -> StsError {
    let text =
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)";
    StsError::InvalidIdentityToken(text.to_owned())
}

fn missing(claim: &str) -> StsError {
    StsError::InvalidIdentityToken(format!("Missing a required claim: {claim}"))
}

impl Algorithm {
    fn parse(name: &str) -> Option<Algorithm> {
        Some(match name {
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
        }
    }

    /// For RSA; `None` for the others.
    pub fn rsa(self) -> Option<&'static signature::RsaParameters> {
        Some(match self {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 | Algorithm::Es384 => return None,
        })
    }

    /// For elliptic curves, with the curve's name; `None` for the others.
    pub fn elliptic(self) -> Option<(&'static str, &'static dyn VerificationAlgorithm)> {
        match self {
            Algorithm::Es256 => Some(("P-256", &signature::ECDSA_P256_SHA256_FIXED)),
            Algorithm::Es384 => Some(("P-384", &signature::ECDSA_P384_SHA384_FIXED)),
            _ => None,
        }
    }
}

impl<'a> Token<'a> {
    /// Reads a token without believing it.
    ///
    /// # Errors
    /// `InvalidIdentityToken` for another form than `header.claims.signature`, an algorithm that proves nothing or that we lack
    /// (`none`, shared secrets, `ES512`), a lacking claim.
    pub fn parse(text: &'a str) -> Result<Token<'a>, StsError> {
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let header = object(header)?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        // A `crit` header names rules that a reader must know, and we know none.
        if header.contains_key("crit") {
            return Err(malformed());
        }
        Ok(Token {
            algorithm: algorithm.ok_or_else(malformed)?,
            key_id: header.get("kid").and_then(Value::as_str).map(str::to_owned),
            claims: Claims::read(&object(claims)?)?,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?,
        })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, StsError> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).map_err(|_| malformed())?;
    serde_json::from_slice(&bytes).map_err(|_| malformed())
}

impl Claims {
    fn read(claims: &Map<String, Value>) -> Result<Claims, StsError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
        let audiences = texts(claims.get("aud"));
        if audiences.is_empty() {
            return Err(missing("aud"));
        }
        let (tags, transitive_tag_keys) = read_tags(claims)?;
        Ok(Claims {
            issuer: text("iss").ok_or_else(|| missing("iss"))?,
            subject: text("sub").ok_or_else(|| missing("sub"))?,
            audiences,
            authorized_party: text("azp"),
            expires_at: seconds("exp").ok_or_else(|| missing("exp"))?,
            issued_at: seconds("iat").ok_or_else(|| missing("iat"))?,
            not_before: seconds("nbf"),
            email: text("email"),
            methods: texts(claims.get("amr")),
            tags,
            transitive_tag_keys,
            source_identity: text("https://aws.amazon.com/source_identity"),
        })
    }

    /// The issuer as IAM names its provider: without scheme and trailing slash.
    ///
    /// # Errors
    /// `InvalidIdentityToken` unless the issuer is an `https` address.
    pub fn provider_url(&self) -> Result<&str, StsError> {
        let url = self.issuer.strip_prefix("https://").map(|url| url.trim_end_matches('/'));
        // Chosen: the text.
        url.filter(|url| !url.is_empty())
            .ok_or_else(|| StsError::InvalidIdentityToken("Issuer must be a valid HTTPS URL".to_owned()))
    }

    /// Holds the claims against the provider and the time; gives the audience that the token was made for: the authorised party
    /// where it names one.
    ///
    /// # Errors
    /// `InvalidIdentityToken` for a client that is not registered with the provider and a token from the future,
    /// `ExpiredTokenException`.
    pub fn check<'a>(&'a self, provider: &OidcProvider, now: Timestamp) -> Result<&'a str, StsError> {
        let registered = |client: &&String| provider.client_ids.contains(client);
        let audience = match &self.authorized_party {
            Some(party) => Some(party).filter(registered),
            None => self.audiences.iter().find(registered),
        };
        let audience =
            audience.ok_or_else(|| StsError::InvalidIdentityToken("Incorrect token audience".to_owned()))?;
        if self.expires_at <= now.as_secs() {
            return Err(StsError::ExpiredToken { now: now.as_secs(), expired: self.expires_at });
        }
        let latest = (now + MAX_SKEW).as_secs();
        if self.issued_at.max(self.not_before.unwrap_or_default()) > latest {
            // Chosen: the text.
            return Err(StsError::InvalidIdentityToken("Token issued in the future".to_owned()));
        }
        Ok(audience)
    }
}

/// A text, or a list of them.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

const TAGS: &str = "https://aws.amazon.com/tags";

/// Session tags inside the token, as one object or with each key spelt out.
///
/// Source: IAM User Guide, "Pass session tags in AWS STS", "Passing session tags using AssumeRoleWithWebIdentity".
fn read_tags(claims: &Map<String, Value>) -> Result<(Vec<Tag>, Vec<String>), StsError> {
    let nested = claims.get(TAGS).and_then(Value::as_object);
    let principal_tags = nested.and_then(|tags| tags.get("principal_tags")).and_then(Value::as_object);
    let nested_tags = principal_tags.into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let spelt_out = claims.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(TAGS)?.strip_prefix("/principal_tags/")?;
        Some((key, value))
    });
    let mut tags = Vec::new();
    for (key, value) in nested_tags.chain(spelt_out) {
        let [value] = &texts(Some(value))[..] else {
            // Chosen: the text.
            let text = format!("The session tag {key} must have a single value");
            return Err(StsError::InvalidIdentityToken(text));
        };
        tags.push(Tag { key: Some(key.to_owned()), value: Some(value.clone()) });
    }
    let mut transitive = texts(nested.and_then(|tags| tags.get("transitive_tag_keys")));
    transitive.extend(texts(claims.get("https://aws.amazon.com/tags/transitive_tag_keys")));
    Ok((tags, transitive))
}

#[cfg(test)]
mod tests;
