//! What a service is written against, and the one path that every request takes.
//!
//! | File            | Holds                                                                             |
//! |-----------------|-----------------------------------------------------------------------------------|
//! | `cx.rs`         | `Cx`: who asks, when, and the store, clock and ids that an operation works with    |
//! | `service.rs`    | `Service`: an API's operations, its access rules, state and background workers     |
//! | `platform.rs`   | `Platform`: the services of a node by name, and what they all share                |
//! | `pipeline.rs`   | a request from outside: route, authenticate, decode, dispatch, encode              |
//! | `data_plane.rs` | requests to what customers have made: function URLs, APIs, websites                |
//! | `dispatch.rs`   | what requests and calls share: validate, authorise, handle, record                 |
//! | `body.rs`       | request bodies: collected up to a limit, or streamed                               |
//! | `payload.rs`    | bodies of requests to S3: framing, digests                                         |
//! | `caller.rs`     | `Caller`: an authenticated principal                                               |
//! | `identity.rs`   | `Identities`: what the pipeline asks of IAM                                        |
//! | `session.rs`    | temporary credentials as sealed tokens                                             |
//! | `outbound.rs`   | `Outbound`: requests to the world outside                                          |
//! | `mailbox.rs`    | the local mailbox: what this cloud sent to people                                  |
//! | `blob_rows.rs`  | large objects as rows, for nodes that share no disk                                |
//! | `authn.rs`      | whose signature is it                                                              |
//! | `authz.rs`      | may they; `parsed.rs`: session policies, parsed once                               |
//! | `clock.rs`      | the movable clock; `rng.rs`: the operating system's generator                      |
//! | `denials.rs`    | the latest refusals, for `pileus iam explain`                                     |
//! | `audit.rs`      | one record per request, for sinks; `metrics.rs`: counters for `/metrics`           |

pub mod audit;
mod authn;
mod authz;
mod blob_rows;
pub mod body;
mod caller;
mod clock;
mod cx;
mod data_plane;
mod decision;
mod denials;
mod dispatch;
mod edge;
mod identity;
pub mod mailbox;
pub mod metrics;
mod outbound;
mod parsed;
mod payload;
pub mod pipeline;
mod platform;
mod rng;
mod service;
mod session;

pub use authz::{Access, ResourcePolicy, request_context};
pub use blob_rows::BlobRows;
pub use caller::{Caller, CallerKind};
pub use clock::MovableClock;
pub use cx::{Cx, Origin, RequestSignature, Trace};
pub use data_plane::{DataRequest, Duplex, Upgrade};
pub use denials::{Denial, Denials};
pub use edge::{Edge, Ending, Exchange};
pub use identity::{
    AccessKey, Identities, IssuerKey, KeyOwner, MfaCheck, OidcProvider, PrincipalPolicies, Role, TokenIssuer,
};
pub use outbound::{
    AddressPolicy, HttpsGet, Outbound, OutboundError, OutboundRequest, RelayedMail, Trust, USER_AGENT,
    Unconnected,
};
pub use platform::{Config, LimitsProfile, Platform, PlatformBuilder, Profile};
pub use rng::SystemRng;
pub use service::{AccessFinder, Handler, PolicyFinder, Service};
pub use session::{Purpose, Sealer, Session, SessionKind};

pub use pileus_blobs as blobs;
pub use pileus_core::{AccountId, Arn, BoxFuture, Clock, Ids, Region, Rng, Timestamp};
pub use pileus_store as store;
pub use pileus_wire::fault::{Fault, Origin as FaultOrigin};
