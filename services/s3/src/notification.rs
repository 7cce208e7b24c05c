//! Event notifications: queues, topics and functions that hear of changes.
//!
//! | File                       | Holds                                               |
//! |----------------------------|-----------------------------------------------------|
//! | `notification/rules.rs`    | which rules an event meets: pure                    |
//! | `notification/record.rs`   | the message that tells of it: pure                  |
//! | `notification/delivery.rs` | destinations: whether they take events, and sending |

pub mod delivery;
pub mod record;
pub mod rules;
