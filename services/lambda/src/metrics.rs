//! What CloudWatch will count: measurements of invocations, handed to whoever wants them.
//!
//! Source: AWS Lambda Developer Guide, "Types of metrics for Lambda functions".

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pileus_core::{AccountId, Region, Timestamp};

/// One invocation, or one that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    pub account: AccountId,
    pub region: Region,
    pub at: Timestamp,
    pub function_name: String,
    /// `name:alias` or `name:version`, where one was called.
    pub resource: String,
    pub executed_version: String,
    pub outcome: Outcome,
    /// Invocations of the function that run on this node, this one included.
    pub concurrent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ran {
        failed: bool,
        duration: Duration,
        init: Option<Duration>,
    },
    Throttled,
    /// An asynchronous event was given up.
    DeadLettered,
    /// A record or a dead letter could not be delivered.
    DeliveryFailed,
}

pub type Hook = Arc<dyn Fn(&Measurement) + Send + Sync>;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Arc<RwLock<Vec<Hook>>>);

impl Metrics {
    /// Calls `hook` for every measurement from now on. It must not block.
    pub fn subscribe(&self, hook: Hook) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    pub fn record(&self, measurement: &Measurement) {
        for hook in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(measurement);
        }
    }
}
