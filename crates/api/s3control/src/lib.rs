//! S3 Control as types. `gen.rs` is written by `cargo xtask models gen s3control` from `ops.txt` and the model.

#[allow(clippy::large_enum_variant)] // unions are as large as their largest member
#[path = "gen.rs"]
mod generated;

pub use generated::*;
