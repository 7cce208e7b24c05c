//! Deterministic simulation: whole nodes in one thread from a seed, over a store that fails, with clients that check what
//! must hold.
//!
//! | File          | Holds                                                                         |
//! |---------------|-------------------------------------------------------------------------------|
//! | `run.rs`      | one simulation: what happens in it, and how it is judged                       |
//! | `world.rs`    | the scheduler: tasks, virtual time, chance, the trace                          |
//! | `clock.rs`    | the nodes' clocks                                                              |
//! | `server.rs`   | the store that the nodes share                                                 |
//! | `link.rs`     | a node's way to the store: delays, failures, lost answers                      |
//! | `faults.rs`   | what goes wrong, and how often                                                 |
//! | `chaos.rs`    | crashes, cuts, stops                                                           |
//! | `cloud.rs`    | the nodes, and calls to them                                                   |
//! | `workload.rs` | clients and invariants                                                         |
//!
//! How to use it, what it finds and what it cannot: `docs/simulation.md`.

mod chaos;
mod clock;
mod cloud;
mod faults;
mod link;
mod run;
mod server;
mod workload;
mod world;

pub use faults::Bug;
pub use run::{Broken, Options, Report, run};
