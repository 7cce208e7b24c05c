//! Signature Version 4: who signed a request, and whether the signature holds.
//!
//! Pure: a request is looked at through [`RequestView`], the time is an argument, the secret is handed in. A server calls
//! [`parse`] (who claims to have signed), looks the key up, and calls [`verify`]; a client calls [`sign`] or [`presign`].
//!
//! | File                 | Holds                                                                        |
//! |----------------------|------------------------------------------------------------------------------|
//! | `sigv4/parse.rs`     | the claim: credential, date, signed headers, payload mode, both forms        |
//! | `sigv4/canonical.rs` | canonical request and string to sign: encoding, folding, sorting             |
//! | `sigv4/key.rs`       | key derivation and its bounded cache, constant-time comparison               |
//! | `sigv4/verify.rs`    | the checks, in AWS's order                                                   |
//! | `sigv4/sign.rs`      | the client's side: header form and presigned form                            |
//! | `sigv4/error.rs`     | every refusal, and the code, status and text each kind of service gives it   |
//! | `sigv4/probe.rs`     | the conformance probe of kind `sigv4`                                        |
//!
//! Signature Version 4A (asymmetric) and Version 2 are recognised and refused by name.
//!
//! Source: IAM User Guide, "Create a signed AWS API request"; S3 API Reference, "Authenticating Requests: Using Query
//! Parameters (AWS Signature Version 4)".

mod canonical;
mod error;
mod key;
mod parse;
mod probe;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use canonical::{
    CanonicalForm, PathRule, RequestView, canonical_request, percent_decode, string_to_sign, uri_encode,
};
pub use error::{AuthError, Description, Family, ScopeFault};
pub use key::{SigningKey, SigningKeys, sha256_hex, signing_key};
pub use parse::{Form, PayloadMode, Scope, SignedRequest, parse, query_parameter};
pub(crate) use parse::{parse_credential, parse_http_date};
pub use probe::probe;
pub use sign::{Credentials, SignedHeaders, Signing, presign, sign};
pub use verify::{Rules, check, verify, verify_with};

/// The only algorithm that is verified.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The asymmetric sibling, refused by name.
pub const ALGORITHM_V4A: &str = "AWS4-ECDSA-P256-SHA256";
/// The last element of every credential scope.
pub const TERMINATOR: &str = "aws4_request";
/// SHA-256 of nothing, in hex.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The longest life of a presigned URL: seven days.
pub const MAX_EXPIRES_SECONDS: u64 = 604_800;
