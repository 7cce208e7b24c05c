//! The filter pattern language: which events a filter takes. Pure.
//!
//! | File | Holds |
//! |---|---|
//! | `text.rs` | terms: `ERROR -"health check" %[45]\d\d%`, `?WARN ?ERROR` |
//! | `json.rs` | conditions on JSON: `{ $.status >= 500 && $.path != "/health*" }` |
//! | `fields.rs` | conditions on fields between spaces: `[ip, ..., status = 4*, size]` |
//! | `value.rs` | what a field is compared with |
//! | `scan.rs` | reading a pattern, character by character |
//!
//! Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, filter log
//! events, and Live Tail", "Using filter patterns to match terms in unstructured log events", "Using filter patterns to match
//! terms in JSON log events", "Using filter patterns to match terms in space-delimited log events", "Supported regular
//! expressions (regex) syntax".

mod fields;
mod json;
mod scan;
#[cfg(test)]
mod tests;
mod text;
mod value;

use crate::error::LogsError;
use fields::Fields;
use json::Json;
use text::Text;

/// A pattern, ready to be matched.
#[derive(Debug)]
pub enum Pattern {
    /// Takes every event.
    All,
    Text(Text),
    Json(Json),
    Fields(Fields),
}

/// Values that a pattern names in an event: `("$status", "404")`.
pub type Extracted = Vec<(String, String)>;

impl Pattern {
    /// # Errors
    /// `InvalidParameterException`
    pub fn parse(text: &str) -> Result<Pattern, LogsError> {
        let trimmed = text.trim();
        let parsed = match trimmed.chars().next() {
            None => Ok(Pattern::All),
            Some('{') => Json::parse(trimmed).map(Pattern::Json),
            Some('[') => Fields::parse(trimmed).map(Pattern::Fields),
            Some(_) => Text::parse(trimmed).map(Pattern::Text),
        };
        parsed.map_err(|reason| LogsError::invalid(format!("Invalid filter pattern: {reason}")))
    }

    pub fn matches(&self, message: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Text(text) => text.matches(message),
            Pattern::Json(json) => json.matches(message),
            Pattern::Fields(fields) => fields.matches(message),
        }
    }

    /// What the pattern names in an event that it matches.
    pub fn extract(&self, message: &str) -> Extracted {
        match self {
            Pattern::All | Pattern::Text(_) => Vec::new(),
            Pattern::Json(json) => json.extract(message),
            Pattern::Fields(fields) => fields.extract(message),
        }
    }
}
