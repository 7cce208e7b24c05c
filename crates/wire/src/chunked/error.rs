//! What can be wrong with a framed body, in S3's words.
//!
//! Source: S3 API Reference, "Error responses" (`IncompleteBody`, `InvalidChunkSizeError`, `MalformedTrailerError`,
//! `BadDigest`).

use crate::checksum::Algorithm;
use crate::sigv4::Description;

/// Why a framed body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("the body ends early, or its framing is broken")]
    IncompleteBody,
    #[error("{provided} bytes where {expected} were announced")]
    LengthMismatch { expected: u64, provided: u64 },
    #[error("chunk {chunk} has only {size} bytes")]
    InvalidChunkSize { chunk: u64, size: u64 },
    #[error("the trailers are malformed")]
    MalformedTrailer,
    #[error("a chunk's or the trailers' signature does not match")]
    SignatureMismatch { provided: String, string_to_sign: String },
    #[error("the trailing checksum is not a {} checksum", .algorithm.name())]
    InvalidChecksum { algorithm: Algorithm },
    #[error("the trailing {} checksum does not match", .algorithm.name())]
    ChecksumMismatch { algorithm: Algorithm, declared: String, computed: String },
}

impl ChunkError {
    pub fn describe(&self) -> Description {
        match self {
            ChunkError::IncompleteBody => {
                Description::new("IncompleteBody", 400, "The request body terminated unexpectedly")
            }
            ChunkError::LengthMismatch { expected, provided } => Description::new(
                "IncompleteBody",
                400,
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            )
            .with("NumberBytesExpected", &expected.to_string())
            .with("NumberBytesProvided", &provided.to_string()),
            ChunkError::InvalidChunkSize { chunk, size } => Description::new(
                "InvalidChunkSizeError",
                400,
                "Only the last chunk is allowed to have a size less than 8192 bytes",
            )
            .with("Chunk", &chunk.to_string())
            .with("BadChunkSize", &size.to_string()),
            ChunkError::MalformedTrailer => Description::new(
                "MalformedTrailerError",
                400,
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
            ),
            ChunkError::SignatureMismatch { provided, string_to_sign } => Description::new(
                "SignatureDoesNotMatch",
                403,
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            )
            .with("StringToSign", string_to_sign)
            .with("SignatureProvided", provided),
            ChunkError::InvalidChecksum { algorithm } => Description::new(
                "InvalidRequest",
                400,
                format!("Value for {} trailing header is invalid.", algorithm.header()),
            ),
            ChunkError::ChecksumMismatch { algorithm, .. } => Description::new(
                "BadDigest",
                400,
                format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
            ),
        }
    }
}
