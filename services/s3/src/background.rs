//! What S3 does after its answers and without them: events and replicas on their way, lifecycle, logs, inventories, batch jobs.

use pileus_core::BoxFuture;
use pileus_platform::{Cx, Platform, Service};
use pileus_store::Space;
use pileus_store::due::{Due, Job};
use pileus_store::runner::{Failure, Runner};
use serde::{Deserialize, Serialize};

use crate::control::job;
use crate::edge::S3Edge;
use crate::notification::delivery::{self, Source};
use crate::notification::record::{self, Event};
use crate::notification::rules::Kind;
use crate::{inventory, lifecycle, logging, replication};

/// What changes cause elsewhere, written with them.
pub const EFFECTS: Due = Due::new(Space::Queue, *b"Se", "s3-effects");
/// An event for one destination.
pub const EVENT: &str = "event";
/// A change for one bucket.
pub const REPLICA: &str = "replica";

/// A step of a batch job.
pub const BATCH: &str = "batch";

/// Attempts before an event is given up: some hours.
const MAX_ATTEMPTS: u32 = 60;

/// An event as it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    pub from: Source,
    pub kind: Kind,
    pub arn: String,
    pub configuration_id: String,
    pub event: Event,
}

pub fn add(service: Service) -> Service {
    service
        .state(logging::Lines::default())
        .edge(S3Edge)
        .worker("effects", effects)
        .worker("logs", logging::run)
        .worker("lifecycle", lifecycle::worker::run)
        .worker("inventory", inventory::worker::run)
}

async fn effects(platform: Platform) {
    let (for_events, for_replicas, for_jobs) = (platform.clone(), platform.clone(), platform.clone());
    Runner::new(platform.store().clone(), EFFECTS)
        .on(EVENT, move |job| event(for_events.clone(), job))
        .on(REPLICA, move |job| replication::worker::run(for_replicas.clone(), job))
        .on(BATCH, move |due| job::worker::run(for_jobs.clone(), due))
        .run(std::future::pending())
        .await;
}

/// Delivers an event, at least once.
fn event(platform: Platform, job: Job) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let queued: Queued = match serde_json::from_slice(&job.payload) {
            Ok(queued) => queued,
            Err(error) => {
                tracing::error!(id = %job.id, %error, "an event cannot be read, and is dropped");
                return Ok(());
            }
        };
        let from = &queued.from;
        let cx = Cx::background(&platform, "s3.amazonaws.com", from.owner, from.region.clone());
        let message = record::message(&queued.event, &queued.configuration_id).to_string();
        match delivery::deliver(&cx, from, queued.kind, &queued.arn, &message).await {
            Ok(()) => Ok(()),
            Err(fault) if job.attempts >= MAX_ATTEMPTS => {
                tracing::warn!(bucket = %from.bucket, arn = %queued.arn, code = %fault.code, "an event is given up");
                Ok(())
            }
            Err(fault) => Err(Failure::new(fault)),
        }
    })
}
