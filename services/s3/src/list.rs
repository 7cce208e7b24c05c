//! Listings: `ListObjects`, `ListObjectsV2`, `ListObjectVersions`, `ListMultipartUploads`.
//!
//! | File | Holds |
//! |---|---|
//! | `list/request.rs` | what a listing asks for, and how names are shown: pure |
//! | `list/rows.rs` | rows in the order of their keys, with seeks over what a common prefix stands for |
//! | `list/objects.rs` | `ListObjects`, `ListObjectsV2` |
//! | `list/versions.rs` | `ListObjectVersions` |
//! | `list/uploads.rs` | `ListMultipartUploads` |

pub mod objects;
pub mod request;
mod rows;
pub mod uploads;
pub mod versions;
