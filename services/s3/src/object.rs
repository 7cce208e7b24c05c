//! Objects.

pub mod attributes;
pub mod change;
pub mod copy;
pub mod delete;
pub mod get;
pub mod lists;
pub mod lock;
pub mod new;
pub mod put;
pub mod range;
pub mod restore;
pub mod tagging;
pub mod write;
