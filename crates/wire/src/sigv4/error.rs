//! Every refusal of a signature, and how each kind of service words it.
//!
//! Sources: S3 API Reference, "Error responses"; IAM User Guide, "Troubleshoot Signature Version 4 signing for AWS API
//! requests"; STS and IAM API References, "Common Error Types". Texts that those pages leave out are the ones that public
//! recordings of the services show.

use std::fmt;
use std::time::Duration;

use pileus_core::Timestamp;

use super::Form;
use crate::checksum::{Algorithm, Checksum};

/// The kinds of services that word the same refusal differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// S3 and S3 Control.
    S3,
    /// awsQuery and ec2Query services; bare codes, 403.
    Query,
    /// awsJson, rpc-v2-cbor; codes end in `Exception`, 400.
    Json,
    /// restJson; codes as in JSON, 403.
    Rest,
    /// awsJson of a service that once spoke awsQuery (SQS); codes as in JSON, statuses as in query.
    ///
    /// Recorded: 403 beside `InvalidClientTokenId` in `x-amzn-query-error`.
    QueryCompatible,
}

/// What a caller is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    pub code: &'static str,
    pub status: u16,
    pub message: String,
    /// Further elements of the error, in order (S3 only).
    pub extras: Vec<(&'static str, String)>,
}

/// Without the values of further elements: S3 quotes tokens and canonical requests in them.
impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extras: Vec<_> = self.extras.iter().map(|(name, _)| *name).collect();
        write!(f, "{} ({}): {} {extras:?}", self.code, self.status, self.message)
    }
}

/// One element of the credential scope that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeFault {
    Region { given: String, expected: String },
    Service { given: String, expected: String },
    Terminator { given: String },
    Date { given: String, request_date: String },
}

/// Why a request's signature is refused.
///
/// Its variants hold what the answer quotes; `Debug` and `Display` show nothing that could be somebody's credential.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the request is not signed")]
    Missing,
    #[error("signed twice, in the header and in the query")]
    TwoSignatures { header: String },
    #[error("an authorization scheme that is none of AWS's")]
    UnknownScheme { header: String },
    #[error("Signature Version 2 is not supported")]
    SigV2,
    #[error("Signature Version 4A is not supported")]
    SigV4a { form: Form },
    #[error("unsupported algorithm")]
    UnsupportedAlgorithm { algorithm: String, form: Form },
    #[error("a part of the authorization header has no equal-sign")]
    NotKeyValue { part: String, header: String },
    #[error("the authorization header lacks {missing:?}")]
    IncompleteHeader { missing: Vec<&'static str>, no_date: bool, components: usize, header: String },
    #[error("the query lacks {missing:?}")]
    IncompleteQuery { missing: Vec<&'static str> },
    #[error("malformed date {text}")]
    MalformedDate { text: String, form: Form },
    #[error("malformed credential")]
    MalformedCredential { credential: String, form: Form },
    #[error("malformed date {date} in the credential")]
    MalformedScopeDate { date: String, form: Form },
    #[error("X-Amz-Expires is not a number: {text}")]
    ExpiresNotANumber { text: String },
    #[error("X-Amz-Expires is negative: {text}")]
    ExpiresNegative { text: String },
    #[error("X-Amz-Expires is over a week: {text}")]
    ExpiresTooLong { text: String },
    #[error("wrong credential scope: {faults:?}")]
    WrongScope { faults: Vec<ScopeFault>, form: Form },
    #[error("Host is not signed")]
    HostNotSigned,
    #[error("headers not signed: {names:?}")]
    HeadersNotSigned { names: Vec<String> },
    #[error("signed too long ago: {date}")]
    Expired { date: String, now: Timestamp, skew: Duration },
    #[error("signed in the future: {date}")]
    NotYetCurrent { date: String, now: Timestamp, skew: Duration, form: Form },
    #[error("the presigned request has expired")]
    PresignedExpired { date: String, expires: Duration, expired_at: Timestamp, now: Timestamp },
    #[error("x-amz-content-sha256 is missing")]
    MissingContentSha256,
    #[error("malformed x-amz-content-sha256")]
    MalformedContentSha256 { text: String },
    #[error("the body's SHA-256 is not the declared one")]
    ContentSha256Mismatch { declared: String, computed: String },
    /// For the caller of this module: no such access key.
    #[error("unknown access key {access_key}")]
    UnknownKey { access_key: String },
    /// For the caller of this module: the session token is not one that belongs to the access key.
    #[error("invalid session token")]
    InvalidToken { token: String },
    /// For the caller of this module: the session has ended.
    #[error("expired session token")]
    ExpiredToken { token: String },
    #[error("the signature does not match")]
    SignatureMismatch {
        access_key: String,
        provided: String,
        string_to_sign: String,
        canonical_request: String,
    },
}

impl fmt::Debug for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthError({self})")
    }
}

impl AuthError {
    /// Code, status, text and further elements as a service of `family` words them.
    pub fn describe(&self, family: Family) -> Description {
        match family {
            Family::S3 => self.describe_s3(),
            Family::Query => self.describe_other().bare(),
            // JSON services look for a signature only behind `AWS4-`.
            Family::Json | Family::QueryCompatible if matches!(self, AuthError::UnknownScheme { .. }) => {
                AuthError::Missing.describe(family)
            }
            Family::QueryCompatible => {
                let status = self.describe_other().bare().status;
                self.describe_other().with_status(status)
            }
            Family::Json => self.describe_other().with_status(400),
            Family::Rest => self.describe_other(),
        }
    }

    fn describe_s3(&self) -> Description {
        match self {
            AuthError::Missing => access_denied("Access Denied"),
            AuthError::TwoSignatures { header } => argument(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
                "Authorization",
                header,
            ),
            AuthError::UnknownScheme { header } => {
                argument("Unsupported Authorization Type", "Authorization", header)
            }
            AuthError::SigV2 => Description::new(
                "InvalidRequest",
                400,
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            // Chosen: S3 speaks Version 4A, we do not; its code for what a header asks and a server lacks.
            AuthError::SigV4a { .. } => Description::new(
                "NotImplemented",
                501,
                "A header you provided implies functionality that is not implemented: AWS4-ECDSA-P256-SHA256 (Signature Version 4A). Please use AWS4-HMAC-SHA256.",
            ),
            AuthError::UnsupportedAlgorithm { form: Form::Query, .. } => {
                query_parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"")
            }
            AuthError::UnsupportedAlgorithm { algorithm, .. } => {
                argument("Unsupported Authorization Type", "Authorization", algorithm)
            }
            AuthError::NotKeyValue { part, .. } => {
                header_malformed(format!("the authorization component \"{part}\" is malformed."))
            }
            AuthError::IncompleteHeader { missing, components, .. } => match missing.first() {
                None => access_denied("AWS authentication requires a valid Date or x-amz-date header"),
                Some(_) if *components < 3 => header_malformed(
                    "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
                ),
                Some(name) => header_malformed(format!("missing {name}.")),
            },
            AuthError::IncompleteQuery { .. } => query_parameters(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ),
            AuthError::MalformedDate { form: Form::Query, .. } => {
                query_parameters("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
            }
            AuthError::MalformedDate { .. } => {
                access_denied("AWS authentication requires a valid Date or x-amz-date header")
            }
            AuthError::MalformedCredential { form, .. } => credential(
                *form,
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            ),
            AuthError::MalformedScopeDate { date, form } => credential(
                *form,
                format!("incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."),
            ),
            AuthError::ExpiresNotANumber { .. } => query_parameters("X-Amz-Expires should be a number"),
            AuthError::ExpiresNegative { .. } => query_parameters("X-Amz-Expires must be non-negative"),
            AuthError::ExpiresTooLong { .. } => query_parameters(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
            ),
            AuthError::WrongScope { faults, form } => s3_scope(faults.first(), *form),
            AuthError::HostNotSigned => headers_not_signed("host"),
            AuthError::HeadersNotSigned { names } => headers_not_signed(&names.join(", ")),
            // Chosen: the text that S3's compatible servers agree on.
            AuthError::NotYetCurrent { form: Form::Query, .. } => access_denied("Request is not valid yet"),
            AuthError::Expired { date, now, skew } | AuthError::NotYetCurrent { date, now, skew, .. } => {
                Description::new(
                    "RequestTimeTooSkewed",
                    403,
                    "The difference between the request time and the current time is too large.",
                )
                .with("RequestTime", date)
                .with("ServerTime", &seconds(*now))
                .with("MaxAllowedSkewMilliseconds", &skew.as_millis().to_string())
            }
            AuthError::PresignedExpired { expires, expired_at, now, .. } => access_denied("Request has expired")
                .with("X-Amz-Expires", &expires.as_secs().to_string())
                .with("Expires", &seconds(*expired_at))
                .with("ServerTime", &seconds(*now)),
            AuthError::MissingContentSha256 => Description::new(
                "InvalidRequest",
                400,
                "Missing required header for this request: x-amz-content-sha256",
            ),
            AuthError::MalformedContentSha256 { text } => argument(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid sha256 value.",
                "x-amz-content-sha256",
                text,
            ),
            AuthError::ContentSha256Mismatch { declared, computed } => Description::new(
                "XAmzContentSHA256Mismatch",
                400,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
            .with("ClientComputedContentSHA256", declared)
            .with("S3ComputedContentSHA256", computed),
            AuthError::UnknownKey { access_key } => Description::new(
                "InvalidAccessKeyId",
                403,
                "The AWS Access Key Id you provided does not exist in our records.",
            )
            .with("AWSAccessKeyId", access_key),
            AuthError::InvalidToken { token } => {
                Description::new("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")
                    .with("Token-0", token)
            }
            AuthError::ExpiredToken { token } => {
                Description::new("ExpiredToken", 400, "The provided token has expired.").with("Token-0", token)
            }
            AuthError::SignatureMismatch { access_key, provided, string_to_sign, canonical_request } => {
                Description::new(
                    "SignatureDoesNotMatch",
                    403,
                    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
                )
                .with("AWSAccessKeyId", access_key)
                .with("StringToSign", string_to_sign)
                .with("SignatureProvided", provided)
                .with("StringToSignBytes", &spaced_hex(string_to_sign))
                .with("CanonicalRequest", canonical_request)
                .with("CanonicalRequestBytes", &spaced_hex(canonical_request))
            }
        }
    }

    /// Codes as in JSON services, statuses as in REST ones.
    fn describe_other(&self) -> Description {
        let incomplete = |message: &str| Description::new("IncompleteSignatureException", 403, message);
        let invalid = |message: &str| Description::new("InvalidSignatureException", 403, message);
        match self {
            AuthError::Missing | AuthError::SigV2 => Description::new(
                "MissingAuthenticationTokenException",
                403,
                "Request is missing Authentication Token",
            ),
            AuthError::TwoSignatures { .. } => invalid(
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
            ),
            AuthError::SigV4a { .. } => incomplete(&unsupported_algorithm(super::ALGORITHM_V4A)),
            AuthError::UnsupportedAlgorithm { algorithm, .. } => {
                incomplete(&unsupported_algorithm(algorithm))
            }
            AuthError::NotKeyValue { header, .. } | AuthError::UnknownScheme { header } => {
                incomplete(&format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '{}'.",
                    fingerprint(header)
                ))
            }
            AuthError::IncompleteHeader { missing, no_date, header, .. } => {
                incomplete(&incomplete_header(missing, *no_date, header))
            }
            AuthError::IncompleteQuery { missing } => {
                let lacks: String = missing
                    .iter()
                    .map(|name| format!("AWS query-string parameters must include '{name}'. "))
                    .collect();
                incomplete(&format!("{lacks}Re-examine the query-string parameters."))
            }
            AuthError::MalformedDate { text, .. } => incomplete(&format!(
                "Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
            )),
            AuthError::MalformedCredential { credential, .. } => incomplete(&format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            )),
            AuthError::MalformedScopeDate { date, .. } => {
                incomplete(&format!("Date in Credential scope must be in the format YYYYMMDD. Got '{date}'."))
            }
            AuthError::ExpiresNotANumber { text }
            | AuthError::ExpiresNegative { text }
            | AuthError::ExpiresTooLong { text } => incomplete(&format!(
                "'X-Amz-Expires' must be a number of seconds from 0 to 604800. Got '{text}'."
            )),
            AuthError::WrongScope { faults, .. } => {
                invalid(&faults.iter().map(scope_sentence).collect::<String>())
            }
            AuthError::HostNotSigned => {
                invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
            }
            AuthError::HeadersNotSigned { names } => {
                invalid(&format!("Headers must be signed: {}", names.join(", ")))
            }
            AuthError::Expired { date, now, skew } => invalid(&expired(date, *now, *skew)),
            AuthError::PresignedExpired { date, expires, now, .. } => invalid(&expired(date, *now, *expires)),
            AuthError::NotYetCurrent { date, now, skew, .. } => invalid(&format!(
                "Signature not yet current: {date} is still later than {} ({} + {} min.)",
                (*now + *skew).to_basic(),
                now.to_basic(),
                minutes(*skew)
            )),
            AuthError::MissingContentSha256
            | AuthError::MalformedContentSha256 { .. }
            | AuthError::ContentSha256Mismatch { .. }
            | AuthError::SignatureMismatch { .. } => invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
            ),
            AuthError::UnknownKey { .. } | AuthError::InvalidToken { .. } => Description::new(
                "UnrecognizedClientException",
                403,
                "The security token included in the request is invalid.",
            ),
            AuthError::ExpiredToken { .. } => Description::new(
                "ExpiredTokenException",
                403,
                "The security token included in the request is expired",
            ),
        }
    }
}

impl Description {
    pub fn new(code: &'static str, status: u16, message: impl Into<String>) -> Description {
        Description { code, status, message: message.into(), extras: Vec::new() }
    }

    /// Adds one element.
    pub fn with(mut self, name: &'static str, value: &str) -> Description {
        self.extras.push((name, value.to_owned()));
        self
    }

    fn with_status(self, status: u16) -> Description {
        Description { status, ..self }
    }

    /// The code that query services give where JSON services give this one.
    fn bare(self) -> Description {
        let (code, status) = match self.code {
            "MissingAuthenticationTokenException" => ("MissingAuthenticationToken", 403),
            "IncompleteSignatureException" => ("IncompleteSignature", 400),
            "InvalidSignatureException" => ("SignatureDoesNotMatch", 403),
            "UnrecognizedClientException" => ("InvalidClientTokenId", 403),
            "ExpiredTokenException" => ("ExpiredToken", 403),
            other => (other, self.status),
        };
        Description { code, status, ..self }
    }
}

fn access_denied(message: &str) -> Description {
    Description::new("AccessDenied", 403, message)
}

fn headers_not_signed(names: &str) -> Description {
    access_denied("There were headers present in the request which were not signed")
        .with("HeadersNotSigned", names)
}

fn argument(message: &str, name: &str, value: &str) -> Description {
    Description::new("InvalidArgument", 400, message).with("ArgumentName", name).with("ArgumentValue", value)
}

fn query_parameters(message: impl Into<String>) -> Description {
    Description::new("AuthorizationQueryParametersError", 400, message)
}

fn header_malformed(detail: impl AsRef<str>) -> Description {
    let message = format!("The authorization header is malformed; {}", detail.as_ref());
    Description::new("AuthorizationHeaderMalformed", 400, message)
}

/// A fault of the credential, in the words of the place where it stood.
fn credential(form: Form, detail: impl AsRef<str>) -> Description {
    match form {
        Form::Header => header_malformed(detail),
        Form::Query => {
            query_parameters(format!("Error parsing the X-Amz-Credential parameter; {}", detail.as_ref()))
        }
        Form::Post => Description::new("InvalidArgument", 400, detail.as_ref()),
    }
}

fn s3_scope(fault: Option<&ScopeFault>, form: Form) -> Description {
    match fault {
        Some(ScopeFault::Region { given, expected }) => {
            credential(form, format!("the region '{given}' is wrong; expecting '{expected}'"))
                .with("Region", expected)
        }
        Some(ScopeFault::Service { given, expected }) => credential(
            form,
            format!("incorrect service \"{given}\". This endpoint belongs to \"{expected}\"."),
        ),
        Some(ScopeFault::Terminator { given }) => {
            credential(form, format!("incorrect terminal \"{given}\". This endpoint uses \"aws4_request\"."))
        }
        Some(ScopeFault::Date { given, request_date }) => {
            let day = request_date.get(..8).unwrap_or(request_date);
            let text = format!(
                "Invalid credential date \"{given}\". This date is not the same as X-Amz-Date: \"{day}\"."
            );
            match form {
                Form::Header => header_malformed(text),
                _ => query_parameters(text),
            }
        }
        None => access_denied("Access Denied"),
    }
}

/// Each sentence ends in a space, also the last one.
fn scope_sentence(fault: &ScopeFault) -> String {
    match fault {
        ScopeFault::Region { .. } => "Credential should be scoped to a valid region. ".to_owned(),
        ScopeFault::Service { expected, .. } => {
            format!("Credential should be scoped to correct service: '{expected}'. ")
        }
        ScopeFault::Terminator { given } => {
            format!("Credential should be scoped with a valid terminator: 'aws4_request', not '{given}'. ")
        }
        ScopeFault::Date { given, request_date } => {
            let day = request_date.get(..8).unwrap_or(request_date);
            format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{given}' != '{day}', from '{request_date}'. "
            )
        }
    }
}

fn unsupported_algorithm(algorithm: &str) -> String {
    format!("Unsupported AWS 'algorithm': '{algorithm}' (only AWS4-HMAC-SHA256 for now). ")
}

fn incomplete_header(missing: &[&str], no_date: bool, header: &str) -> String {
    let mut text: String =
        missing.iter().map(|name| format!("Authorization header requires '{name}' parameter. ")).collect();
    if no_date {
        text.push_str(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        );
    }
    text + "(Hashed with SHA-256 and encoded with Base64) Authorization=" + &fingerprint(header)
}

/// The header itself is not repeated: it may hold somebody's token.
fn fingerprint(header: &str) -> String {
    Checksum::of(Algorithm::Sha256, header.as_bytes()).base64()
}

fn expired(date: &str, now: Timestamp, window: Duration) -> String {
    let oldest = (now - window).to_basic();
    format!(
        "Signature expired: {date} is now earlier than {oldest} ({} - {} min.)",
        now.to_basic(),
        minutes(window)
    )
}

fn minutes(window: Duration) -> u64 {
    window.as_secs().div_ceil(60)
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_secs(time.as_secs()).to_iso8601()
}

/// `47 45 54`: how S3 shows bytes.
fn spaced_hex(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
