//! The words all crates share. Plain values and the three injected powers (time, chance, identifiers); no I/O.
//!
//! | File       | Holds                                                        |
//! |------------|--------------------------------------------------------------|
//! | `arn.rs`   | `Arn`, `AccountId`, `Region`: parsed once, valid ever after   |
//! | `time.rs`  | `Timestamp` and the `Clock` that everything reads it from     |
//! | `rng.rs`   | `Rng`: where every random byte comes from                     |
//! | `ids.rs`   | identifiers in AWS's forms, drawn from an `Rng`               |

mod arn;
mod ids;
mod rng;
mod time;

pub use arn::{AccountId, Arn, ParseArnError, Region};
pub use ids::Ids;
pub use rng::{Rng, SeededRng};
pub use time::{BoxFuture, Clock, Timestamp};
