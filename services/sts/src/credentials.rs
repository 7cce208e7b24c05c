//! A session as the credentials that a caller gets.

use std::time::Duration;

use pileus_api_sts::Credentials;
use pileus_core::AccountId;
use pileus_platform::{Cx, Session, SessionKind};

/// What differs between the operations that begin a session.
pub struct NewSession {
    pub account: AccountId,
    pub kind: SessionKind,
    pub duration_seconds: i64,
    pub policies: Vec<String>,
    pub tags: Vec<(String, String)>,
    pub transitive_tag_keys: Vec<String>,
    pub source_identity: Option<String>,
    pub context: Vec<(String, String)>,
}

/// Makes the key, seals the session into its token.
pub fn issue(cx: &Cx, new: NewSession) -> Credentials {
    let issued_at = cx.now();
    let seconds = u64::try_from(new.duration_seconds).unwrap_or_default();
    // AWS tells whole seconds.
    let expires_at = pileus_core::Timestamp::from_secs((issued_at + Duration::from_secs(seconds)).as_secs());
    let session = Session {
        access_key_id: cx.ids().iam("ASIA", 16),
        secret_access_key: cx.ids().secret_access_key(),
        account: new.account,
        kind: new.kind,
        issued_at,
        expires_at,
        policies: new.policies,
        tags: new.tags,
        transitive_tag_keys: new.transitive_tag_keys,
        source_identity: new.source_identity,
        context: new.context,
    };
    Credentials {
        session_token: Some(cx.platform().sealer().seal(&session, cx.rng().as_ref())),
        access_key_id: Some(session.access_key_id),
        secret_access_key: Some(session.secret_access_key),
        expiration: Some(expires_at),
    }
}
