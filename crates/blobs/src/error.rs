//! Every error of this crate.

use crate::BlobId;

/// Why a blob could not be written or read. None is a fault of the caller of an AWS API, but `TooLarge` where the service
/// passes its own limit on.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("there is no blob {0}")]
    NotFound(BlobId),
    /// Its bytes are not those that were written.
    #[error("the blob {id} is damaged: {detail}")]
    Corrupt { id: BlobId, detail: String },
    #[error("the blob has more than {limit} bytes")]
    TooLarge { limit: u64 },
    /// The disk refuses to work: full, read-only, broken. Later calls may succeed.
    #[error("blob storage is unavailable: {0}")]
    Io(#[from] std::io::Error),
}
