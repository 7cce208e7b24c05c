//! Whose signature is it?
//!
//! Source: IAM User Guide, "AWS Signature Version 4 for API requests"; S3 API Reference, "Error responses".

use bytes::Bytes;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_wire::post_policy::SignedPolicy;
use pileus_wire::protocol::Protocol;
use pileus_wire::route::{HostKind, classify_host};
use pileus_wire::schema::{Auth, Operation, Service as Api};
use pileus_wire::sigv2;
use pileus_wire::sigv4::{self, AuthError, Family, Form, RequestView, Rules, SignedRequest, SigningKey};

use crate::Fault;
use crate::caller::Caller;
use crate::identity::KeyOwner;
use crate::platform::{Platform, Profile};

/// What is known of a request when its signature is checked.
pub(crate) struct Claim<'a> {
    pub api: &'static Api,
    pub operation: &'static Operation,
    pub protocol: Protocol,
    pub view: RequestView<'a>,
    pub signed: &'a Result<Option<SignedRequest>, AuthError>,
    /// `None` while it is still to be streamed.
    pub body: Option<&'a Bytes>,
    pub now: Timestamp,
}

/// The principal behind a request.
///
/// # Errors
/// AWS's own, in the words of the service's family: unsigned, malformed, expired, unknown key, wrong signature.
pub(crate) async fn authenticate(platform: &Platform, claim: Claim<'_>) -> Result<Caller, Fault> {
    Ok(authenticate_with_key(platform, claim).await?.0)
}

/// As `authenticate`; also the key of the signature, where it was checked: the body's chunks are signed with it, too.
pub(crate) async fn authenticate_with_key(
    platform: &Platform,
    claim: Claim<'_>,
) -> Result<(Caller, Option<SigningKey>), Fault> {
    let family = family(claim.api, claim.protocol);
    if family == Family::S3 && matches!(claim.signed, Err(AuthError::SigV2)) {
        return Ok((authenticate_v2(platform, &claim).await?, None));
    }
    let refuse = |error: AuthError| to_fault(&error, family);
    let Some(signed) = claim_of(claim.signed, claim.api, claim.operation, claim.protocol)? else {
        return Ok((Caller::anonymous(AccountId::DEFAULT), None));
    };
    let is_s3 = family == Family::S3;
    let rules = if is_s3 {
        Rules { service: None, ..Rules::s3() }
    } else {
        Rules { service: None, ..Rules::service(claim.api.signing_name) }
    };
    // A client's clock does not follow moves of ours, so a signature's age is told by either; a link's end by ours.
    let unmoved = platform.clock().unmoved();
    let is_recent = signed.time.since(unmoved).max(unmoved.since(signed.time)) <= rules.max_skew;
    let now = if signed.form == Form::Header && is_recent { unmoved } else { claim.now };
    sigv4::check(signed, &claim.view, now, &rules).map_err(refuse)?;

    let found = find(platform, &signed.access_key, signed.session_token.as_deref(), claim.api, claim.now);
    let (caller, secret) = match found.await? {
        Found::Known(caller, secret) => (caller, secret),
        Found::Trusted(caller) => return Ok((caller, None)),
        Found::Refused(error) => return Err(refuse(error)),
    };
    let scope = &signed.scope;
    let key = platform.signing_keys().get(&secret, &scope.date, &scope.region, &scope.service);
    let body_sha256 = claim.body.map(|body| sigv4::sha256_hex(body));
    sigv4::verify_with(signed, &claim.view, body_sha256.as_deref(), &key, &rules).map_err(refuse)?;
    let region = Region::parse(&scope.region).unwrap_or_else(Region::us_east_1);
    platform.identities().record_use(&caller, claim.api.arn_namespace, &region, claim.now);
    Ok((caller, Some(key)))
}

/// The principal behind a signature of Version 2. Of keys that this cloud did not issue nothing is checked, as with Version 4.
async fn authenticate_v2(platform: &Platform, claim: &Claim<'_>) -> Result<Caller, Fault> {
    let refuse = |error: AuthError| to_fault(&error, Family::S3);
    let signed = sigv2::parse(claim.view.headers, claim.view.query);
    let signed = signed.ok_or_else(|| refuse(AuthError::SigV2))?;
    let unmoved = platform.clock().unmoved();
    match signed.form {
        Form::Query | Form::Post if signed.time < claim.now => {
            return Err(Fault::framework("AccessDenied", 403, "Request has expired")
                .with_extra("Expires", signed.time.to_iso8601())
                .with_extra("ServerTime", claim.now.to_iso8601()));
        }
        Form::Header if signed.time.since(unmoved).max(unmoved.since(signed.time)) > Rules::s3().max_skew => {
            let date = signed.time.to_basic();
            return Err(refuse(AuthError::Expired { date, now: unmoved, skew: Rules::s3().max_skew }));
        }
        _ => {}
    }
    let token = signed.session_token.as_deref();
    let (caller, secret) = match find(platform, &signed.access_key, token, claim.api, claim.now).await? {
        Found::Known(caller, secret) => (caller, secret),
        Found::Trusted(caller) => return Ok(caller),
        Found::Refused(error) => return Err(refuse(error)),
    };
    let host = claim.view.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let bucket = match classify_host(&platform.config().hosts, host.unwrap_or_default()) {
        HostKind::S3Bucket { bucket, .. } => Some(bucket),
        _ => None,
    };
    let text = signed.string_to_sign(&claim.view, bucket);
    if !signed.verifies(&secret, &text) {
        return Err(refuse(AuthError::SignatureMismatch {
            access_key: signed.access_key,
            provided: signed.signature,
            string_to_sign: text,
            canonical_request: String::new(),
        }));
    }
    let region = platform.config().default_region.clone();
    platform.identities().record_use(&caller, claim.api.arn_namespace, &region, claim.now);
    Ok(caller)
}

/// The principal behind the policy of an S3 POST form that is signed with Version 2.
pub(crate) async fn authenticate_policy_v2(
    platform: &Platform,
    (access_key, token): (&str, Option<&str>),
    (policy, signature): (&str, &str),
    now: Timestamp,
) -> Result<Caller, Fault> {
    let unknown = || Fault::receiver("InternalFailure", "there is no model of S3");
    let api = pileus_models::service("s3").ok_or_else(unknown)?;
    let (caller, secret) = match find(platform, access_key, token, api, now).await? {
        Found::Known(caller, secret) => (caller, secret),
        Found::Trusted(caller) => return Ok(caller),
        Found::Refused(error) => return Err(to_fault(&error, Family::S3)),
    };
    if sigv2::verifies(&secret, policy, signature) {
        return Ok(caller);
    }
    let mismatch = AuthError::SignatureMismatch {
        access_key: access_key.to_owned(),
        provided: signature.to_owned(),
        string_to_sign: policy.to_owned(),
        canonical_request: String::new(),
    };
    Err(to_fault(&mismatch, Family::S3))
}

/// The principal behind the policy of an S3 POST form.
///
/// # Errors
/// S3's own: unknown key, expired token, wrong signature.
pub(crate) async fn authenticate_policy(
    platform: &Platform,
    signed: &SignedPolicy,
    now: Timestamp,
) -> Result<Caller, Fault> {
    let unknown = || Fault::receiver("InternalFailure", "there is no model of S3");
    let api = pileus_models::service("s3").ok_or_else(unknown)?;
    let token = signed.session_token.as_deref();
    let (caller, secret) = match find(platform, &signed.access_key, token, api, now).await? {
        Found::Known(caller, secret) => (caller, secret),
        Found::Trusted(caller) => return Ok(caller),
        Found::Refused(error) => return Err(to_fault(&error, Family::S3)),
    };
    let scope = &signed.scope;
    let key = platform.signing_keys().get(&secret, &scope.date, &scope.region, &scope.service);
    signed.verify(&key).map_err(|error| crate::payload::fault(error.describe()))?;
    let region = Region::parse(&scope.region).unwrap_or_else(Region::us_east_1);
    platform.identities().record_use(&caller, api.arn_namespace, &region, now);
    Ok(caller)
}

/// What can be told from the headers alone, before a body is read: `None` is an unsigned request that may go on, or one to S3
/// that is signed with Version 2.
///
/// # Errors
/// A signature that cannot be read, or none where there must be one.
pub(crate) fn claim_of<'a>(
    signed: &'a Result<Option<SignedRequest>, AuthError>,
    api: &Api,
    operation: &Operation,
    protocol: Protocol,
) -> Result<Option<&'a SignedRequest>, Fault> {
    let refuse = |error: &AuthError| to_fault(error, family(api, protocol));
    if family(api, protocol) == Family::S3 && matches!(signed, Err(AuthError::SigV2)) {
        return Ok(None);
    }
    match signed.as_ref().map_err(refuse)? {
        Some(signed) => Ok(Some(signed)),
        None if operation.auth != Auth::SigV4 || accepts_anonymous(api) => Ok(None),
        None => Err(refuse(&AuthError::Missing)),
    }
}

enum Found {
    /// Whose key it is, and its secret.
    Known(Caller, String),
    /// A key that this cloud did not issue, in the profile that trusts such keys.
    Trusted(Caller),
    Refused(AuthError),
}

async fn find(
    platform: &Platform,
    access_key: &str,
    session_token: Option<&str>,
    api: &Api,
    now: Timestamp,
) -> Result<Found, Fault> {
    let unknown = || Found::Refused(AuthError::UnknownKey { access_key: access_key.to_owned() });
    if let Some(token) = session_token
        && let Some(session) = platform.sealer().open(token)
    {
        return Ok(if session.access_key_id != access_key || (api.name == "iam" && !session.reaches_iam()) {
            unknown()
        } else if session.expires_at <= now {
            Found::Refused(AuthError::ExpiredToken { token: token.to_owned() })
        } else {
            let secret = session.secret_access_key.clone();
            Found::Known(session.caller(), secret)
        });
    }
    let key = match may_be_issued(access_key) {
        true => platform.identities().access_key(access_key).await?,
        false => None,
    };
    if let Some(key) = key {
        if key.is_deleted || !key.is_active {
            return Ok(unknown());
        }
        if let Some(token) = session_token {
            return Ok(Found::Refused(AuthError::InvalidToken { token: token.to_owned() }));
        }
        let caller = match &key.owner {
            KeyOwner::Root => Caller::root(key.account),
            KeyOwner::User { path, name, id } => Caller::user(key.account, path, name, id),
        };
        return Ok(Found::Known(caller.with_access_key(access_key), key.secret_access_key));
    }
    // Keys of the form of temporary ones are never taken for unknown: theirs may be a forged or a foreign token.
    let is_temporary = access_key.starts_with("ASIA") && access_key.len() == 20;
    if platform.config().profile == Profile::Server || is_temporary {
        return Ok(unknown());
    }
    let account = AccountId::parse(access_key).unwrap_or(AccountId::DEFAULT);
    Ok(Found::Trusted(Caller::root(account).with_access_key(access_key)))
}

/// Whether a key has the form of those that IAM issues: others are looked up nowhere.
fn may_be_issued(access_key: &str) -> bool {
    access_key.len() == 20 && access_key.starts_with('A')
}

/// Services whose resource policies may let anyone in, so that an unsigned request is for authorisation to judge.
fn accepts_anonymous(api: &Api) -> bool {
    matches!(api.name, "s3" | "sqs" | "sns")
}

/// Which of AWS's manners a service words signature errors in.
pub(crate) fn family(api: &Api, protocol: Protocol) -> Family {
    match protocol {
        Protocol::RestXml if api.signing_name == "s3" => Family::S3,
        Protocol::AwsQuery | Protocol::Ec2Query | Protocol::RestXml => Family::Query,
        Protocol::RestJson1 => Family::Rest,
        _ if api.is_query_compatible => Family::QueryCompatible,
        _ => Family::Json,
    }
}

pub(crate) fn to_fault(error: &AuthError, family: Family) -> Fault {
    let description = error.describe(family);
    let mut fault = Fault::framework(description.code, description.status, description.message);
    for (name, value) in description.extras {
        fault = fault.with_extra(name, value);
    }
    fault
}
