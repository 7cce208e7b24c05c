//! Log events: how they are kept and in which order they are read.

pub mod chunk;
pub mod filter;
pub mod get;
pub mod position;
pub mod put;
pub mod read;
pub mod record;
