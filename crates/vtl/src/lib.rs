//! Velocity templates and JSONPath as API Gateway has them: pure.
//!
//! | File | Holds |
//! |---|---|
//! | `ast.rs` | a template after parsing |
//! | `parse.rs`, `parse/*.rs` | text to [`Template`]: once for each deployment |
//! | `value.rs` | values while a template runs; all of them lie in one [`Heap`], which ends with the run |
//! | `render.rs` | values as text, as Java writes them |
//! | `eval.rs` | [`Template::run`]: references, directives, operators, limits |
//! | `method.rs`, `method/*.rs` | the methods of strings, numbers, lists and maps |
//! | `util.rs` | the functions of `$util` that need nothing but their arguments |
//! | `jsonpath.rs`, `jsonpath/*.rs` | [`JsonPath`] in Jayway's dialect |
//!
//! A template is bounded in every way: steps, bytes made, turns of a loop, depth. What goes beyond ends with an error; nothing here
//! recurses without a bound, and no reference between values can leak: values are numbers into the heap.
//!
//! Source: Apache Velocity Engine 1.7, "VTL Reference"; Amazon API Gateway Developer Guide, "Mapping template transformations for
//! REST APIs in API Gateway", "Quotas for configuring and running a REST API in API Gateway".

mod ast;
mod eval;
pub mod jsonpath;
mod method;
mod parse;
mod render;
pub mod util;
mod value;

pub use ast::Template;
pub use eval::{Host, Run};
pub use jsonpath::JsonPath;
pub use value::{Heap, ListId, MapId, Value};

/// What one run of a template may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes and operators evaluated.
    pub steps: u64,
    /// Bytes of text and of values that are made on the way, the output among them.
    pub bytes: usize,
    /// Turns of one `#foreach`.
    pub turns: usize,
}

impl Default for Limits {
    /// Source: "Quotas for configuring and running a REST API in API Gateway" (1,000 iterations of a `#foreach`; payloads of 10 MB).
    /// Chosen: the others, far above what templates of 300 KB can mean to do.
    fn default() -> Limits {
        Limits { steps: 2_000_000, bytes: 64 << 20, turns: 1_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VtlError {
    #[error("line {line}: {message}")]
    Parse { line: usize, message: String },
    #[error("the template exceeds the limit of {0}")]
    Limit(&'static str),
    #[error("{0}")]
    Failed(String),
}

impl VtlError {
    pub fn failed(message: impl Into<String>) -> VtlError {
        VtlError::Failed(message.into())
    }
}

#[cfg(test)]
mod tests;
