//! The IAM policy language and its evaluation. Pure: no I/O, no clock, no allocation per statement on the usual path.
//!
//! | File           | Holds                                                                                   |
//! |----------------|-----------------------------------------------------------------------------------------|
//! | `document.rs`  | JSON as the policy language reads it: order kept, a repeated key refused                 |
//! | `policy.rs`    | `Policy`: a document compiled for repeated evaluation                                    |
//! | `validate.rs`  | what `iam:CreatePolicy` and its like refuse, in AWS's words                              |
//! | `matching.rs`  | wildcards, ARNs segment by segment, patterns against patterns                            |
//! | `variables.rs` | `${aws:username}`, defaults, `${*}`                                                      |
//! | `condition.rs` | every condition operator, set operators, `...IfExists`, missing keys                      |
//! | `value.rs`     | numbers, dates, networks and base64 inside conditions                                    |
//! | `context.rs`   | `Context`: the condition keys of one request                                             |
//! | `principal.rs` | who asks, and whether a `Principal` element means them                                   |
//! | `request.rs`   | `Request`, `Policies`: everything that an evaluation reads                               |
//! | `evaluate.rs`  | the decision                                                                             |
//! | `protected.rs` | what AWS keeps for itself, and what nobody may be refused                                |
//! | `message.rs`   | the sentence in an access denied error                                                   |
//! | `explain.rs`   | why, and the smallest policies that would allow it                                       |
//! | `managed.rs`   | AWS-managed policies by ARN                                                              |
//! | `probe.rs`     | the conformance form of a question                                                       |
//!
//! The caller gathers the policies and the request's context (`Principal::describe` writes the keys that follow from the
//! principal); `evaluate` decides; `denial_message` and `explain` tell.

mod condition;
mod context;
mod document;
mod evaluate;
mod explain;
pub mod managed;
mod matching;
mod message;
mod policy;
mod principal;
pub mod probe;
mod protected;
mod request;
mod validate;
mod value;
mod variables;

pub use context::Context;
pub use evaluate::{Because, Deciding, Decision, Verdict, evaluate};
pub use explain::{Explanation, Missing, explain};
pub use message::denial_message;
pub use policy::{Effect, Policy, PolicyError};
pub use principal::{Principal, PrincipalKind};
pub use request::{Level, Named, Policies, PolicyKind, Request, Scope};
pub use validate::{DocumentKind, Malformed, counted_size, validate};
