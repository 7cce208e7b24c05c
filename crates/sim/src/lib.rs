//! Deterministic simulation.

mod world;

pub use world::{Owner, World};
