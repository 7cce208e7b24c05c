//! What a deployment holds: an API as it was, whole and unchanging, compressed in parts that a row can hold.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use pileus_api_apigateway as api;
use pileus_store::{Reader, Stored, Txn};
use serde::{Deserialize, Serialize};

use super::document::Doc;
use super::keys::{AUTHORIZERS, RESPONSES, SNAPSHOTS, VALIDATORS};
use super::{model, page, resource};
use crate::error::GatewayError;

const PART: usize = 512 << 10;
/// Ten times the longest definition that can be imported.
const MAX_BYTES: u64 = 64 << 20;

/// An API with everything in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub api: Doc<api::RestApi>,
    pub resources: Vec<Doc<api::Resource>>,
    pub models: Vec<Doc<api::Model>>,
    pub validators: Vec<Doc<api::RequestValidator>>,
    pub authorizers: Vec<Doc<api::Authorizer>>,
    pub responses: Vec<Doc<api::GatewayResponse>>,
}

/// A piece of a compressed snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    pub bytes: Bytes,
}

impl Stored for Part {}

impl Snapshot {
    /// The API as it is now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn take(reader: &impl Reader, api: api::RestApi) -> Result<Snapshot, GatewayError> {
        let id = api.id.clone().unwrap_or_default();
        let id = id.as_str();
        Ok(Snapshot {
            api: Doc(api),
            resources: resource::all(reader, id).await?.into_iter().map(Doc).collect(),
            models: model::all(reader, id).await?.into_iter().map(Doc).collect(),
            validators: page::all(reader, VALIDATORS, &(id,)).await?,
            authorizers: page::all(reader, AUTHORIZERS, &(id,)).await?,
            responses: page::all(reader, RESPONSES, &(id,)).await?,
        })
    }

    /// # Errors
    /// Those of the store; `Internal` for what cannot be written.
    pub fn store(&self, txn: &Txn, api: &str, deployment: &str) -> Result<(), GatewayError> {
        let failed = |error: &dyn std::fmt::Display| GatewayError::Internal(format!("a deployment: {error}"));
        let text = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).map_err(|error| failed(&error))?;
        let bytes = Bytes::from(encoder.finish().map_err(|error| failed(&error))?);
        for (at, start) in (0u32..).zip((0..bytes.len()).step_by(PART)) {
            let part = Part { bytes: bytes.slice(start..bytes.len().min(start + PART)) };
            SNAPSHOTS.put(txn, &(api.to_owned(), deployment.to_owned(), at), &part)?;
        }
        Ok(())
    }

    /// `None` if there is no such deployment.
    ///
    /// # Errors
    /// Those of the store; `Internal` for what cannot be read.
    pub async fn load(
        reader: &impl Reader,
        api: &str,
        deployment: &str,
    ) -> Result<Option<Snapshot>, GatewayError> {
        let parts = page::all(reader, SNAPSHOTS, &(api, deployment)).await?;
        if parts.is_empty() {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display| GatewayError::Internal(format!("a deployment: {error}"));
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect();
        let mut text = Vec::new();
        let mut decoder = DeflateDecoder::new(bytes.as_slice()).take(MAX_BYTES);
        decoder.read_to_end(&mut text).map_err(|error| failed(&error))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| failed(&error))
    }

    pub async fn delete(txn: &Txn, api: &str, deployment: &str) -> Result<(), GatewayError> {
        let under = SNAPSHOTS.under(&(api, deployment));
        for (key, _) in SNAPSHOTS.scan(txn, &under, 1_000).await?.rows {
            SNAPSHOTS.delete(txn, &key);
        }
        Ok(())
    }
}
