//! A session as the credentials that a caller gets.

use std::time::Duration;

use pileus_api_sts::Credentials;
use pileus_core::AccountId;
use pileus_platform::{Cx, Session, SessionKind};

use crate::error::StsError;
use crate::policies::SessionPolicies;

/// Chosen: AWS does not tell its own limit. Fifty of the longest tags and full policies fit, and a header that servers on the way
/// still take: 64 KiB is the usual end.
const MAX_TOKEN_BYTES: usize = 48 << 10;

/// What differs between the operations that begin a session.
pub struct NewSession {
    pub account: AccountId,
    pub kind: SessionKind,
    pub duration_seconds: i64,
    pub policies: SessionPolicies,
    pub tags: Vec<(String, String)>,
    pub transitive_tag_keys: Vec<String>,
    pub source_identity: Option<String>,
    pub context: Vec<(String, String)>,
    /// `MinimumSessionTokenSize`: a shorter token is filled up.
    pub minimum_token_bytes: Option<i64>,
}

/// A session that has begun.
pub struct Issued {
    pub credentials: Credentials,
    pub token_bytes: i64,
    /// Of the longest token that there may be.
    pub token_percent: i64,
}

/// Makes the key, seals the session into its token.
///
/// # Errors
/// `PackedPolicyTooLarge` when policies and tags make the token too long.
pub fn issue(cx: &Cx, new: NewSession) -> Result<Issued, StsError> {
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
        policies: new.policies.inline,
        policy_arns: new.policies.arns,
        tags: new.tags,
        transitive_tag_keys: new.transitive_tag_keys,
        source_identity: new.source_identity,
        context: new.context,
    };
    let minimum = usize::try_from(new.minimum_token_bytes.unwrap_or_default()).unwrap_or_default();
    let token = cx.platform().sealer().seal_to(&session, cx.rng().as_ref(), minimum);
    let percent = i64::try_from((token.len() * 100).div_ceil(MAX_TOKEN_BYTES)).unwrap_or(i64::MAX);
    if percent > 100 {
        return Err(StsError::PackedPolicyTooLarge { percent });
    }
    Ok(Issued {
        token_bytes: i64::try_from(token.len()).unwrap_or(i64::MAX),
        token_percent: percent,
        credentials: Credentials {
            session_token: Some(token),
            access_key_id: Some(session.access_key_id),
            secret_access_key: Some(session.secret_access_key),
            expiration: Some(expires_at),
        },
    })
}
