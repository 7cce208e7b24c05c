//! ApiGatewayV2 as types. `gen.rs` is written by `cargo xtask models gen apigatewayv2` from `ops.txt` and the model.

#[path = "gen.rs"]
mod generated;

pub use generated::*;
