//! API Gateway as types. `gen.rs` is written by `cargo xtask models gen apigateway` from `ops.txt` and the model.

#[path = "gen.rs"]
mod generated;

pub use generated::*;
