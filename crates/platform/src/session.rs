//! Temporary credentials as sealed tokens.
//!
//! A session token carries the whole session, encrypted and authenticated with a key that all nodes of a cloud share
//! (AES-256-GCM). Issuing one writes nothing and using one reads nothing, on any node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pileus_core::{AccountId, Rng, Timestamp};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;

/// What a set of temporary credentials says about its holder.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub account: AccountId,
    pub kind: SessionKind,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Documents of inline session policies.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Managed session policies by ARN: what they say now counts.
    #[serde(default)]
    pub policy_arns: Vec<String>,
    /// Session tags, `(key, value)`.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// Keys of the tags that pass on in role chaining.
    #[serde(default)]
    pub transitive_tag_keys: Vec<String>,
    #[serde(default)]
    pub source_identity: Option<String>,
    /// Further condition keys that hold for the whole session, such as `aws:MultiFactorAuthPresent` or those of an
    /// identity provider: `(key, value)`; one after the other for a key with several values.
    #[serde(default)]
    pub context: Vec<(String, String)>,
}

/// Without its secret.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("access_key_id", &self.access_key_id)
            .field("account", &self.account)
            .field("kind", &self.kind)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SessionKind {
    /// `GetSessionToken` by the root user.
    Root,
    /// `GetSessionToken` by a user.
    User {
        path: String,
        name: String,
        id: String,
    },
    AssumedRole {
        role_arn: String,
        role_name: String,
        role_id: String,
        session_name: String,
    },
    /// `GetFederationToken`: `user_*` is the one who asked.
    FederatedUser {
        name: String,
        user_path: String,
        user_name: String,
        user_id: String,
    },
}

impl Session {
    /// Whether the session began with a code from a multi-factor device.
    pub fn has_mfa(&self) -> bool {
        self.context.iter().any(|(key, value)| key == "aws:MultiFactorAuthPresent" && value == "true")
    }

    /// Whether the session may call IAM: a user's without a code from a device may not, a federated user's never.
    ///
    /// Source: STS API Reference, "GetSessionToken", "GetFederationToken".
    pub fn reaches_iam(&self) -> bool {
        match self.kind {
            SessionKind::AssumedRole { .. } => true,
            SessionKind::Root | SessionKind::User { .. } => self.has_mfa(),
            SessionKind::FederatedUser { .. } => false,
        }
    }

    pub fn caller(self) -> Caller {
        let account = self.account;
        let mut caller = match &self.kind {
            SessionKind::Root => Caller::root(account),
            SessionKind::User { path, name, id } => Caller::user(account, path, name, id),
            SessionKind::AssumedRole { role_arn, role_name, role_id, session_name } => {
                Caller::assumed_role(account, role_arn, role_name, role_id, session_name)
            }
            SessionKind::FederatedUser { name, .. } => Caller::federated_user(account, name),
        };
        caller.access_key_id = self.access_key_id.as_str().into();
        caller.session = Some(self.into());
        caller
    }
}

/// Seals sessions into tokens and opens them; seals for other purposes too.
pub struct Sealer(LessSafeKey);

/// What a sealed text is for. It begins with the purpose's number, and opens for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Session = 1,
    /// Why a request was refused, for `DecodeAuthorizationMessage`.
    AuthorizationMessage = 2,
    /// A private key in the store.
    IssuerKey = 3,
    /// The key of an object's bytes, kept beside them.
    ObjectKey = 4,
    /// The private key that SNS signs messages with.
    SigningKey = 5,
}

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Sealer {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes");
        Sealer(LessSafeKey::new(key))
    }

    /// The session token: base64 of format byte, nonce, ciphertext and tag.
    pub fn seal(&self, session: &Session, rng: &dyn Rng) -> String {
        self.seal_to(session, rng, 0)
    }

    /// As `seal`, of at least `minimum_length` characters.
    pub fn seal_to(&self, session: &Session, rng: &dyn Rng, minimum_length: usize) -> String {
        let mut sealed = serde_json::to_vec(session).expect("a session has string keys only, so it is JSON");
        // Four characters carry three bytes. JSON may end in spaces.
        let bytes = minimum_length.div_ceil(4) * 3;
        let padded = bytes.saturating_sub(1 + NONCE_LEN + AES_256_GCM.tag_len());
        sealed.resize(sealed.len().max(padded), b' ');
        BASE64.encode(self.lock(Purpose::Session, sealed, rng))
    }

    /// `None` for anything that this cloud did not seal. Expiry is the caller's to check.
    pub fn open(&self, token: &str) -> Option<Session> {
        let plain = self.unlock(Purpose::Session, BASE64.decode(token).ok()?)?;
        serde_json::from_slice(&plain).ok()
    }

    /// Format byte, nonce, ciphertext and tag.
    pub fn lock(&self, purpose: Purpose, mut plain: Vec<u8>, rng: &dyn Rng) -> Vec<u8> {
        let mut nonce = [0u8; NONCE_LEN];
        rng.fill(&mut nonce);
        let format = purpose as u8;
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([format]), &mut plain)
            .expect("what is sealed is far below the cipher's length limit");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len());
        sealed.push(format);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&plain);
        sealed
    }

    /// `None` for anything that this cloud did not seal for this purpose.
    pub fn unlock(&self, purpose: Purpose, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let format = purpose as u8;
        if sealed.len() <= 1 + NONCE_LEN || sealed[0] != format {
            return None;
        }
        let (head, sealed) = sealed.split_at_mut(1 + NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&head[1..]).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from([format]), sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;

    fn session() -> Session {
        Session {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "secret".into(),
            account: AccountId::DEFAULT,
            kind: SessionKind::Root,
            issued_at: Timestamp::from_secs(1),
            expires_at: Timestamp::from_secs(2),
            policies: vec![],
            policy_arns: vec![],
            tags: vec![("team".into(), "a".into())],
            transitive_tag_keys: vec![],
            source_identity: None,
            context: vec![],
        }
    }

    #[test]
    fn a_token_opens_only_with_its_key_and_unchanged() {
        let rng = SeededRng::new(1);
        let sealer = Sealer::new(&[7; 32]);
        let token = sealer.seal(&session(), &rng);
        assert_eq!(sealer.open(&token), Some(session()));
        assert_eq!(Sealer::new(&[8; 32]).open(&token), None);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(sealer.open(&changed), None, "byte {at}");
        }
        for bad in ["", "AQ==", "not base64!", "AAAA"] {
            assert_eq!(sealer.open(bad), None);
        }
    }

    #[test]
    fn what_was_sealed_for_one_purpose_opens_for_no_other() {
        let sealer = Sealer::new(&[7; 32]);
        let purposes = [
            Purpose::Session,
            Purpose::AuthorizationMessage,
            Purpose::IssuerKey,
            Purpose::ObjectKey,
            Purpose::SigningKey,
        ];
        for sealed_for in purposes {
            let sealed = sealer.lock(sealed_for, b"plain".to_vec(), &SeededRng::new(1));
            for opened_for in purposes {
                let mut renamed = sealed.clone();
                renamed[0] = opened_for as u8;
                let expected = (sealed_for == opened_for).then(|| b"plain".to_vec());
                assert_eq!(
                    sealer.unlock(opened_for, sealed.clone()),
                    expected,
                    "{sealed_for:?} {opened_for:?}"
                );
                assert_eq!(sealer.unlock(opened_for, renamed), expected, "{sealed_for:?} {opened_for:?}");
            }
        }
    }

    #[test]
    fn a_token_is_filled_up_to_the_length_asked_for() {
        let sealer = Sealer::new(&[7; 32]);
        let plain = sealer.seal(&session(), &SeededRng::new(1)).len();
        for minimum in [0, 1, plain, plain + 1, 4_096] {
            let token = sealer.seal_to(&session(), &SeededRng::new(1), minimum);
            assert!(
                (minimum.max(plain)..minimum.max(plain) + 4).contains(&token.len()),
                "{minimum}: {}",
                token.len()
            );
            assert_eq!(sealer.open(&token), Some(session()), "{minimum}");
        }
    }
}
