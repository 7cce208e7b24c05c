//! S3 as types. `gen.rs` is written by `cargo xtask models gen s3` from `ops.txt` and the model.

#[path = "gen.rs"]
mod generated;

pub use generated::*;
