//! Replication: which changes go to which buckets, and the worker that copies them.
//!
//! | File                    | Holds                                       |
//! |-------------------------|---------------------------------------------|
//! | `replication/rules.rs`  | which rule of a bucket takes a change: pure |
//! | `replication/worker.rs` | copies                                      |

pub mod rules;
pub mod worker;

use pileus_api_s3::ReplicationConfiguration;
use pileus_platform::Cx;
use pileus_platform::store::Txn;
use pileus_store::due::NewJob;
use serde::{Deserialize, Serialize};

use crate::background::{EFFECTS, REPLICA};
use crate::config::stored;
use crate::effects::{Event, ObjectChange};
use crate::error::S3Error;
use crate::version::Encryption;

/// A change on its way to other buckets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    pub bucket: String,
    /// Another bucket of the same name is another one.
    pub bucket_id: u64,
    pub key: String,
    pub order: u64,
    pub version_id: String,
    pub role: String,
    pub what: What,
    pub targets: Vec<rules::Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    Object,
    Marker,
    Tags,
}

/// What a replica takes over from its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub order: u64,
    pub version_id: String,
}

tokio::task_local! {
    /// Set while a replica is written: it is marked as one, and keeps its version id.
    static REPLICA_OF: Identity;
}

/// The source of what is being written, if it is a replica.
pub fn source() -> Option<Identity> {
    REPLICA_OF.try_with(Clone::clone).ok()
}

/// Queues a change for the buckets that its rules name; the status that the version gets.
pub async fn queue(cx: &Cx, txn: &Txn, change: &ObjectChange<'_>) -> Result<Option<&'static str>, S3Error> {
    let ObjectChange { bucket, key, event, version } = *change;
    let what = match event {
        Event::CreatedPut | Event::CreatedPost | Event::CreatedCopy | Event::CreatedByMultipartUpload => {
            What::Object
        }
        Event::RemovedByMarker => What::Marker,
        // Only what has been replicated has tags elsewhere.
        Event::TaggingPut | Event::TaggingDelete if version.replication_status.is_some() => What::Tags,
        _ => return Ok(None),
    };
    let Some(version_id) = version.version_id.clone() else { return Ok(None) };
    if matches!(version.encryption, Encryption::Customer { .. }) {
        return Ok(None);
    }
    let found = stored::find::<ReplicationConfiguration>(&txn.untracked(), bucket).await?;
    let configuration = found.unwrap_or_default();
    let subject = rules::Subject {
        key,
        tags: &version.tags,
        is_delete_marker: version.is_delete_marker,
        is_replica: source().is_some() || version.replication_status.as_deref() == Some("REPLICA"),
    };
    let targets = rules::targets(&configuration, subject);
    if targets.is_empty() {
        return Ok(None);
    }
    let copy = Copy {
        bucket: bucket.name.clone(),
        bucket_id: bucket.id,
        key: key.to_owned(),
        order: version.order,
        version_id,
        role: configuration.role.unwrap_or_default(),
        what,
        targets,
    };
    add(cx, txn, &copy)?;
    Ok(Some("PENDING"))
}

fn add(cx: &Cx, txn: &Txn, copy: &Copy) -> Result<(), S3Error> {
    let payload = serde_json::to_vec(copy).map_err(|error| S3Error::Internal(error.to_string()))?;
    let id = format!("{}/{}", copy.bucket_id, cx.ids().hex(16));
    let job = NewJob { kind: REPLICA, id: &id, due: cx.now(), destination: &copy.bucket, payload: &payload };
    Ok(EFFECTS.add(txn, &job)?)
}
