//! `aws-chunked`: the framing of streamed uploads, with signed or unsigned chunks and with trailers.
//!
//! [`detect`] says whether a body is framed, [`Decoder`] takes the framing off piece by piece, [`encode`] puts it on.
//! The decoder holds one line at most; data passes through as slices of what came in. **What it hands out is proved only
//! when [`Decoder::finish`] returns `Ok`**: commit nothing before.
//!
//! Source: S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks
//! (Chunked Upload)" and "Signature calculations for trailing headers (chunked uploads)".

mod decode;
mod encode;
mod error;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Setup, Trailers};
pub use encode::encode;
pub use error::ChunkError;

use http::HeaderMap;

use crate::sigv4::{EMPTY_SHA256, PayloadMode, SignedRequest, SigningKey, sha256_hex};

/// Which kind of framing a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Every chunk carries a signature.
    Signed,
    /// The same, and signed trailers follow.
    SignedTrailer,
    /// No signatures; trailers may follow.
    UnsignedTrailer,
}

/// Whether the body is framed, from its headers.
///
/// `x-amz-content-sha256: STREAMING-..` decides; where that header leaves the body unsigned, `aws-chunked` in
/// `Content-Encoding` or `x-amz-decoded-content-length` also mean framing (SDKs over TLS do so). A digest of the whole
/// body means none.
pub fn detect(headers: &HeaderMap) -> Option<Framing> {
    let mode =
        headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok()).map(PayloadMode::parse);
    match mode {
        Some(PayloadMode::StreamingSigned) => Some(Framing::Signed),
        Some(PayloadMode::StreamingSignedTrailer) => Some(Framing::SignedTrailer),
        Some(PayloadMode::StreamingUnsignedTrailer) => Some(Framing::UnsignedTrailer),
        Some(PayloadMode::Sha256(_) | PayloadMode::Other(_)) => None,
        Some(PayloadMode::Unsigned | PayloadMode::Absent) | None => {
            let framed = headers.contains_key("x-amz-decoded-content-length")
                || headers.get_all("content-encoding").iter().any(|value| {
                    value.to_str().is_ok_and(|list| list.split(',').any(|name| is_token(name.trim())))
                });
            framed.then_some(Framing::UnsignedTrailer)
        }
    }
}

/// `Content-Encoding` as it is stored with the object: without `aws-chunked`; `None` if nothing is left.
pub fn strip_content_encoding(value: &str) -> Option<String> {
    let kept: Vec<&str> =
        value.split(',').map(str::trim).filter(|name| !name.is_empty() && !is_token(name)).collect();
    if kept.is_empty() { None } else { Some(kept.join(",")) }
}

fn is_token(name: &str) -> bool {
    name.eq_ignore_ascii_case("aws-chunked")
}

/// The chain of chunk signatures: each covers the one before it, the first covers the request's.
#[derive(Debug, Clone)]
pub struct ChunkSigner {
    key: SigningKey,
    date: String,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    /// Starts at the (verified) signature of the request's headers.
    pub fn new(signed: &SignedRequest, key: SigningKey) -> ChunkSigner {
        let scope = &signed.scope;
        ChunkSigner {
            key,
            date: signed.date.clone(),
            scope: format!("{}/{}/{}/{}", scope.date, scope.region, scope.service, scope.terminator),
            previous: signed.signature.clone(),
        }
    }

    /// What a chunk with this digest has to sign.
    fn chunk_text(&self, sha256: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{sha256}",
            self.date, self.scope, self.previous
        )
    }

    /// What trailers have to sign; `canonical` is `name:value` and a line feed for each.
    fn trailer_text(&self, canonical: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            sha256_hex(canonical.as_bytes())
        )
    }

    fn sign(&mut self, text: &str) -> String {
        self.previous = self.key.sign(text.as_bytes());
        self.previous.clone()
    }

    fn check(&mut self, text: String, signature: &str) -> Result<(), ChunkError> {
        if !self.key.verifies(text.as_bytes(), signature) {
            return Err(ChunkError::SignatureMismatch {
                provided: signature.to_owned(),
                string_to_sign: text,
            });
        }
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}
