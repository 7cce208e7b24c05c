//! Multipart uploads.
//!
//! | File | Holds |
//! |---|---|
//! | `multipart/upload.rs` | `CreateMultipartUpload`, `AbortMultipartUpload` |
//! | `multipart/part.rs` | `UploadPart`, `UploadPartCopy`, `ListParts` |
//! | `multipart/complete.rs` | `CompleteMultipartUpload`: no byte is copied, the parts' blobs become the object's |
//! | `multipart/assemble.rs` | which parts make the object, and what its tag and checksum are: pure |

pub mod assemble;
pub mod complete;
pub mod part;
pub mod upload;
