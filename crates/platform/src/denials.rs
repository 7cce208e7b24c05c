//! The latest refusals, with the reasons: what `pileus iam explain` shows.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use pileus_core::Timestamp;
use serde::Serialize;

/// One refused request.
#[derive(Debug, Clone, Serialize)]
pub struct Denial {
    pub request_id: String,
    /// ISO 8601.
    pub time: String,
    /// What the caller was told.
    pub message: String,
    /// The deciding statement, and the smallest policy that would allow it.
    pub explanation: String,
}

/// A bounded memory of refusals; it ends with the process.
#[derive(Default)]
pub struct Denials(Mutex<VecDeque<Denial>>);

const KEPT: usize = 256;

impl Denials {
    /// Remembers a refusal. For services that judge a request themselves; the pipeline does it for all others.
    pub fn push(&self, request_id: &str, at: Timestamp, message: &str, explanation: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Denial {
            request_id: request_id.to_owned(),
            time: at.to_iso8601(),
            message: message.to_owned(),
            explanation,
        });
    }

    /// The refusal of that request, or the latest ten, newest last.
    pub fn find(&self, request_id: Option<&str>) -> Vec<Denial> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match request_id {
            Some(id) => kept.iter().filter(|denial| denial.request_id == id).cloned().collect(),
            None => kept.iter().skip(kept.len().saturating_sub(10)).cloned().collect(),
        }
    }
}
