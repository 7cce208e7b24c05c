//! The checks that a claim must pass, in AWS's order: credential scope, time, what was signed, and the signature itself.

use std::time::Duration;

use pileus_core::Timestamp;

use super::canonical::{CanonicalForm, PathRule, RequestView, canonical_request, string_to_sign};
use super::error::ScopeFault;
use super::key::{SigningKey, signing_key};
use super::{AuthError, EMPTY_SHA256, Form, PayloadMode, SignedRequest, TERMINATOR};

/// How far a request's time may lie from ours.
///
/// Source: S3 API Reference, "Error responses" (`RequestTimeTooSkewed`); IAM User Guide, "Troubleshoot Signature Version 4".
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// What a service demands of a signature.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub path: PathRule,
    /// S3's own demands: `x-amz-content-sha256` present, every `x-amz-` header signed, `X-Amz-Expires` given.
    pub s3: bool,
    /// The scope's region must be this one.
    pub region: Option<&'a str>,
    /// The scope's service must be this one.
    pub service: Option<&'a str>,
    pub max_skew: Duration,
}

impl<'a> Rules<'a> {
    /// S3: paths as they are, encoded once.
    pub fn s3() -> Rules<'a> {
        Rules { path: PathRule::S3, s3: true, region: None, service: Some("s3"), max_skew: MAX_SKEW }
    }

    /// Any other service, by its signing name.
    pub fn service(name: &'a str) -> Rules<'a> {
        Rules { path: PathRule::STANDARD, s3: false, region: None, service: Some(name), max_skew: MAX_SKEW }
    }

    /// The same, refusing scopes of other regions.
    pub fn in_region(self, region: &'a str) -> Rules<'a> {
        Rules { region: Some(region), ..self }
    }
}

/// Verifies all of it with the key's secret. `body_sha256` is the hex digest of the body where that was read already.
///
/// # Errors
/// The first check that fails; see [`AuthError::describe`] for what a caller is told.
pub fn verify(
    signed: &SignedRequest,
    request: &RequestView<'_>,
    body_sha256: Option<&str>,
    secret: &str,
    now: Timestamp,
    rules: &Rules<'_>,
) -> Result<(), AuthError> {
    check(signed, request, now, rules)?;
    let key = signing_key(secret, &signed.scope.date, &signed.scope.region, &signed.scope.service);
    verify_with(signed, request, body_sha256, &key, rules)
}

/// Everything that needs no secret: scope, time, expiry, which headers were signed. Comes before the key is looked up.
pub fn check(
    signed: &SignedRequest,
    request: &RequestView<'_>,
    now: Timestamp,
    rules: &Rules<'_>,
) -> Result<(), AuthError> {
    if rules.s3 && signed.form == Form::Query && signed.expires.is_none() {
        return Err(AuthError::IncompleteQuery { missing: vec!["X-Amz-Expires"] });
    }
    if !rules.s3 {
        check_time(signed, now, rules)?;
        check_host(signed)?;
        return check_scope(signed, rules);
    }
    check_scope(signed, rules)?;
    check_time(signed, now, rules)?;
    check_host(signed)?;
    check_amz_headers(signed, request)
}

/// The signature alone, with a key that was derived before.
///
/// Clients disagree on which characters they escape on the wire, so a signature also holds over the equivalent spellings
/// of the same path and query.
pub fn verify_with(
    signed: &SignedRequest,
    request: &RequestView<'_>,
    body_sha256: Option<&str>,
    key: &SigningKey,
    rules: &Rules<'_>,
) -> Result<(), AuthError> {
    let payload = payload_hash(signed, body_sha256, rules)?;
    let mut refused = None;
    for form in [CanonicalForm::Standard, CanonicalForm::Decoded, CanonicalForm::AsSent] {
        // A presigned URL's session token may have been added after signing.
        for skip in [&["X-Amz-Signature"][..], &["X-Amz-Signature", "X-Amz-Security-Token"]] {
            if signed.form == Form::Header && skip.len() > 1 {
                continue;
            }
            let skip = if signed.form == Form::Header { &[] } else { skip };
            let canonical =
                canonical_request(request, &signed.signed_headers, &payload, rules.path, form, skip);
            let text = string_to_sign(&signed.date, &signed.scope, &canonical);
            if key.verifies(text.as_bytes(), &signed.signature) {
                return check_body(signed, body_sha256);
            }
            refused.get_or_insert((canonical, text));
        }
    }
    let (canonical, text) = refused.unwrap_or_default();
    Err(AuthError::SignatureMismatch {
        access_key: signed.access_key.clone(),
        provided: signed.signature.clone(),
        string_to_sign: text,
        canonical_request: String::from_utf8_lossy(&canonical).into_owned(),
    })
}

/// What stands in the canonical request's last line.
fn payload_hash(
    signed: &SignedRequest,
    body_sha256: Option<&str>,
    rules: &Rules<'_>,
) -> Result<String, AuthError> {
    let body = || body_sha256.unwrap_or(EMPTY_SHA256).to_owned();
    match (&signed.payload, signed.form) {
        (PayloadMode::Other(text), _) if rules.s3 => {
            Err(AuthError::MalformedContentSha256 { text: text.clone() })
        }
        (PayloadMode::Absent, Form::Header) if rules.s3 => Err(AuthError::MissingContentSha256),
        (PayloadMode::Absent, _) if rules.s3 => Ok(PayloadMode::Unsigned.as_str().to_owned()),
        (PayloadMode::Absent, _) => Ok(body()),
        // Other services read the body anyway: its own digest counts, not what a header says of it.
        (PayloadMode::Sha256(_), _) if !rules.s3 && body_sha256.is_some() => Ok(body()),
        (mode, _) => Ok(mode.as_str().to_owned()),
    }
}

fn check_body(signed: &SignedRequest, body_sha256: Option<&str>) -> Result<(), AuthError> {
    match (&signed.payload, body_sha256) {
        (PayloadMode::Sha256(declared), Some(computed)) if !declared.eq_ignore_ascii_case(computed) => {
            Err(AuthError::ContentSha256Mismatch {
                declared: declared.clone(),
                computed: computed.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn check_scope(signed: &SignedRequest, rules: &Rules<'_>) -> Result<(), AuthError> {
    let scope = &signed.scope;
    let mut faults = Vec::new();
    if let Some(expected) = rules.region.filter(|expected| *expected != scope.region) {
        faults.push(ScopeFault::Region { given: scope.region.clone(), expected: expected.to_owned() });
    }
    if let Some(expected) = rules.service.filter(|expected| *expected != scope.service) {
        faults.push(ScopeFault::Service { given: scope.service.clone(), expected: expected.to_owned() });
    }
    if scope.terminator != TERMINATOR {
        faults.push(ScopeFault::Terminator { given: scope.terminator.clone() });
    }
    if !signed.date.starts_with(&scope.date) {
        faults.push(ScopeFault::Date { given: scope.date.clone(), request_date: signed.date.clone() });
    }
    if faults.is_empty() { Ok(()) } else { Err(AuthError::WrongScope { faults, form: signed.form }) }
}

fn check_time(signed: &SignedRequest, now: Timestamp, rules: &Rules<'_>) -> Result<(), AuthError> {
    if signed.time > now + rules.max_skew {
        let (date, skew) = (signed.date.clone(), rules.max_skew);
        return Err(AuthError::NotYetCurrent { date, now, skew, form: signed.form });
    }
    match signed.expires {
        Some(life) if now > signed.time + life => Err(AuthError::PresignedExpired {
            date: signed.date.clone(),
            expires: life,
            expired_at: signed.time + life,
            now,
        }),
        None if signed.time + rules.max_skew < now => {
            Err(AuthError::Expired { date: signed.date.clone(), now, skew: rules.max_skew })
        }
        _ => Ok(()),
    }
}

fn check_host(signed: &SignedRequest) -> Result<(), AuthError> {
    let is_host = |name: &String| name == "host" || name == ":authority";
    if signed.signed_headers.iter().any(is_host) { Ok(()) } else { Err(AuthError::HostNotSigned) }
}

/// S3 lets no `x-amz-` header through that the signature does not cover.
fn check_amz_headers(signed: &SignedRequest, request: &RequestView<'_>) -> Result<(), AuthError> {
    let mut names: Vec<String> = request
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| {
            name.starts_with("x-amz-") && !signed.signed_headers.iter().any(|signed| signed == name)
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    if names.is_empty() { Ok(()) } else { Err(AuthError::HeadersNotSigned { names }) }
}
