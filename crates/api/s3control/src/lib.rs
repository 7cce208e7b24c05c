//! S3 Control as types. `gen.rs` is written by `cargo xtask models gen s3control` from `ops.txt` and the model.

#[path = "gen.rs"]
mod generated;

pub use generated::*;
