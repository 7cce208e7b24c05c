//! Large objects: written once, read in ranges, deleted; whole and checked once they are acknowledged.
//!
//! | File         | Holds                                                                    |
//! |--------------|--------------------------------------------------------------------------|
//! | `blobs.rs`   | `Blobs`, the handle that services hold; `Writer`, `Reader`                |
//! | `id.rs`      | `BlobId`: a blob's name; `Blob`: what a service keeps of it in its row     |
//! | `sweep.rs`   | removes what nobody refers to                                             |
//! | `backend.rs` | `Backend`: what keeps blobs; files and memory here, others elsewhere        |
//! | `file.rs`    | blobs as files; `file/reader.rs`, `file/writer.rs`: their streams          |
//! | `memory.rs`  | blobs in memory                                                           |
//! | `error.rs`   | every error                                                               |
//!
//! The order that keeps everything whole: the blob is finished (on disk, under its name) before the transaction that refers
//! to it commits, and it is deleted after the transaction that drops the reference. A crash in between leaves a blob that
//! nobody refers to, never a reference to nothing; `Blobs::sweep` removes such blobs once they are old.

pub mod backend;
mod blobs;
mod error;
mod file;
mod id;
mod memory;
mod sweep;

pub use backend::Backend;
pub use blobs::{Blobs, Reader, Writer};
pub use error::BlobError;
pub use file::FileBackend;
pub use id::{Blob, BlobId};
pub use memory::MemoryBackend;
pub use sweep::Swept;

#[cfg(test)]
mod tests;
