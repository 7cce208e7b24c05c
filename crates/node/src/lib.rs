//! A node: configuration, the list of services, listeners, background work, control endpoints.
//!
//! | File           | Holds                                                                  |
//! |----------------|------------------------------------------------------------------------|
//! | `config.rs`    | what the operator chose                                                |
//! | `services.rs`  | the list of services: the one place that names them all                |
//! | `compose.rs`   | a node's platform from injected parts: what `Node` and simulations share |
//! | `node.rs`      | `Node`: opens the store, builds the platform, starts and stops it all  |
//! | `member.rs`    | this node among those that share its store                              |
//! | `backup.rs`     | online backups, for who may write into the data directory               |
//! | `blob_place.rs` | where a cloud keeps its large objects                                   |
//! | `large_objects.rs` | large objects in files that hold a whole cloud                       |
//! | `server.rs`    | the listener: HTTP/1.1, h2c and TLS on one port                        |
//! | `outbound.rs`  | the node's way to the world outside; `smtp.rs`: its mail relay         |
//! | `tls.rs`       | the cloud's own certificate authority                                  |
//! | `control.rs`   | `/_pileus/`, `/_localstack/`, `/metrics`                               |

pub mod backup;
mod blob_place;
mod compose;
mod config;
mod control;
pub mod large_objects;
mod member;
mod node;
mod outbound;
mod server;
pub mod services;
mod smtp;
pub mod tls;

pub use compose::{Parts, compose};
pub use config::{DatabaseUrl, Engine, Functions, NodeConfig};
pub use node::{Node, StartError, open_blobs, open_store};
pub use pileus_blobs_bucket::BucketUrl;
pub use pileus_svc_lambda::{Isolation, Level, Network};
pub use pileus_svc_s3::scrub;
pub use smtp::Relay as MailRelay;
