//! Objects.

pub mod copy;
pub mod delete;
pub mod get;
pub mod new;
pub mod put;
pub mod range;
pub mod write;
