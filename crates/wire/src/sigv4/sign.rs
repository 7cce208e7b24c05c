//! The client's side: what to add to a request so that it verifies.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use pileus_core::Timestamp;

use super::canonical::{CanonicalForm, PathRule, RequestView, canonical_request, string_to_sign, uri_encode};
use super::{ALGORITHM, EMPTY_SHA256, PayloadMode, Scope, TERMINATOR, signing_key};

/// An access key with its secret, and the token if it belongs to a session.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.access_key)
    }
}

/// How to sign.
#[derive(Debug, Clone)]
pub struct Signing<'a> {
    pub credentials: Credentials<'a>,
    pub region: &'a str,
    pub service: &'a str,
    pub now: Timestamp,
    pub path: PathRule,
    /// `Sha256` of the body, or one of the modes without a digest; `Absent` is the digest of nothing.
    pub payload: PayloadMode,
    /// Send `x-amz-content-sha256` too, as S3 demands.
    pub send_payload_hash: bool,
    /// Add the session token after signing instead of before.
    pub omit_session_token: bool,
}

impl<'a> Signing<'a> {
    /// As AWS's SDKs sign for `service`.
    pub fn new(
        credentials: Credentials<'a>,
        region: &'a str,
        service: &'a str,
        now: Timestamp,
    ) -> Signing<'a> {
        let s3 = service == "s3";
        Signing {
            credentials,
            region,
            service,
            now,
            path: if s3 { PathRule::S3 } else { PathRule::STANDARD },
            payload: PayloadMode::Absent,
            send_payload_hash: s3,
            omit_session_token: false,
        }
    }

    pub fn payload(self, payload: PayloadMode) -> Signing<'a> {
        Signing { payload, ..self }
    }

    pub(super) fn scope(&self) -> Scope {
        Scope {
            date: self.now.to_basic()[..8].to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
            terminator: TERMINATOR.to_owned(),
        }
    }

    pub(super) fn payload_hash(&self) -> &str {
        match &self.payload {
            PayloadMode::Absent => EMPTY_SHA256,
            mode => mode.as_str(),
        }
    }

    fn signature(&self, scope: &Scope, string_to_sign: &str) -> String {
        signing_key(self.credentials.secret_key, &scope.date, &scope.region, &scope.service)
            .sign(string_to_sign.as_bytes())
    }
}

/// What signing produced.
#[derive(Clone)]
pub struct SignedHeaders {
    /// The request's headers with those of the signature added.
    pub headers: HeaderMap,
    pub signature: String,
    pub canonical_request: Vec<u8>,
    pub string_to_sign: String,
}

/// Signs in header form: all headers given, and those added here, are covered.
pub fn sign(request: &RequestView<'_>, signing: &Signing<'_>) -> SignedHeaders {
    let mut headers = request.headers.clone();
    let date = signing.now.to_basic();
    insert(&mut headers, "x-amz-date", &date);
    if signing.send_payload_hash {
        insert(&mut headers, "x-amz-content-sha256", signing.payload_hash());
    }
    if let Some(token) = signing.credentials.session_token.filter(|_| !signing.omit_session_token) {
        insert(&mut headers, "x-amz-security-token", token);
    }
    let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    if request.authority.is_some() && !headers.contains_key("host") {
        names.push("host".to_owned());
    }
    names.retain(|name| name != "authorization");
    names.sort();

    let view = RequestView { headers: &headers, ..*request };
    let canonical =
        canonical_request(&view, &names, signing.payload_hash(), signing.path, CanonicalForm::Standard, &[]);
    let scope = signing.scope();
    let text = string_to_sign(&date, &scope, &canonical);
    let signature = signing.signature(&scope, &text);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        signing.credentials.access_key,
        scope_path(&scope),
        names.join(";")
    );
    insert(&mut headers, "authorization", &authorization);
    if let Some(token) = signing.credentials.session_token.filter(|_| signing.omit_session_token) {
        insert(&mut headers, "x-amz-security-token", token);
    }
    SignedHeaders { headers, signature, canonical_request: canonical, string_to_sign: text }
}

/// The query of a presigned URL: the request's own query and the signature's parameters.
///
/// Covers every header of the request; a plain link has only `host`. `expires` is at most seven days.
pub fn presign(request: &RequestView<'_>, signing: &Signing<'_>, expires: Duration) -> String {
    let scope = signing.scope();
    let date = signing.now.to_basic();
    let mut names: Vec<String> = request.headers.keys().map(|name| name.as_str().to_owned()).collect();
    if request.authority.is_some() && !request.headers.contains_key("host") {
        names.push("host".to_owned());
    }
    names.sort();
    let credential = format!("{}/{}", signing.credentials.access_key, scope_path(&scope));
    let mut query = request.query.to_owned();
    let mut add = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(&uri_encode(value.as_bytes()));
    };
    add("X-Amz-Algorithm", ALGORITHM);
    add("X-Amz-Credential", &credential);
    add("X-Amz-Date", &date);
    add("X-Amz-Expires", &expires.as_secs().to_string());
    add("X-Amz-SignedHeaders", &names.join(";"));
    if let Some(token) = signing.credentials.session_token {
        add("X-Amz-Security-Token", token);
    }
    let payload = match &signing.payload {
        PayloadMode::Absent if signing.service == "s3" => "UNSIGNED-PAYLOAD",
        _ => signing.payload_hash(),
    };
    let skip: &[&str] = if signing.omit_session_token { &["X-Amz-Security-Token"] } else { &[] };
    let view = RequestView { query: &query, ..*request };
    let canonical = canonical_request(&view, &names, payload, signing.path, CanonicalForm::Standard, skip);
    let text = string_to_sign(&date, &scope, &canonical);
    let signature = signing.signature(&scope, &text);
    format!("{query}&X-Amz-Signature={signature}")
}

fn scope_path(scope: &Scope) -> String {
    format!("{}/{}/{}/{}", scope.date, scope.region, scope.service, scope.terminator)
}

/// A value that no header can hold is left out; the signature then fails, as it should.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
