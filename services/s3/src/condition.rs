//! Conditional requests: pure.
//!
//! Source: Amazon S3 API Reference, "GetObject", "CopyObject"; Amazon S3 User Guide, "Adding preconditions to S3 operations with
//! conditional requests"; RFC 9110, section 13.2.2, for the order.

use pileus_core::Timestamp;

use crate::error::S3Error;
use crate::version::ObjectVersion;

/// What a read demands of the object.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadConditions<'a> {
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

/// Whether the object fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Go,
    NotModified,
    Failed(&'static str),
}

impl ReadConditions<'_> {
    /// An entity tag overrules the time beside it.
    pub fn judge(&self, etag: &str, modified: Timestamp) -> Verdict {
        let seconds = modified.as_secs();
        match (self.if_match, self.if_unmodified_since) {
            (Some(list), _) if !matches(list, etag) => return Verdict::Failed("If-Match"),
            (None, Some(moment)) if seconds > moment.as_secs() => {
                return Verdict::Failed("If-Unmodified-Since");
            }
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(list), _) if matches(list, etag) => Verdict::NotModified,
            (None, Some(moment)) if seconds <= moment.as_secs() => Verdict::NotModified,
            _ => Verdict::Go,
        }
    }
}

/// What a write demands of the present object.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteConditions<'a> {
    pub if_match: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
}

impl WriteConditions<'_> {
    /// # Errors
    /// `NotImplemented` for an `If-None-Match` other than `*`.
    pub fn check_form(&self) -> Result<(), S3Error> {
        match self.if_none_match {
            None | Some("*") => Ok(()),
            Some(_) => Err(S3Error::refused(
                "NotImplemented",
                501,
                "A header you provided implies functionality that is not implemented",
            )
            .with("Header", "If-None-Match")
            .with(
                "additionalMessage",
                "We don't accept the provided value of If-None-Match header for this API",
            )),
        }
    }

    /// # Errors
    /// `PreconditionFailed`; `NoSuchKey` where `If-Match` finds no object.
    pub fn judge(&self, key: &str, present: Option<&ObjectVersion>) -> Result<(), S3Error> {
        if self.if_none_match.is_some() && present.is_some() {
            return Err(S3Error::PreconditionFailed { condition: "If-None-Match" });
        }
        match (self.if_match, present) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(S3Error::NoSuchKey { key: key.to_owned() }),
            (Some(list), Some(present)) if matches(list, &present.etag) => Ok(()),
            (Some(_), Some(_)) => Err(S3Error::PreconditionFailed { condition: "If-Match" }),
        }
    }
}

/// Whether a list of entity tags, with or without quotation marks, names this one; `*` names all.
fn matches(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_judged_in_the_order_of_http() {
        let at = |seconds| Some(Timestamp::from_secs(seconds));
        let none = ReadConditions::default();
        let cases = [
            ("nothing asked", none, Verdict::Go),
            ("match", ReadConditions { if_match: Some("\"e\""), ..none }, Verdict::Go),
            ("match unquoted", ReadConditions { if_match: Some("x, e"), ..none }, Verdict::Go),
            ("any", ReadConditions { if_match: Some("*"), ..none }, Verdict::Go),
            ("no match", ReadConditions { if_match: Some("\"x\""), ..none }, Verdict::Failed("If-Match")),
            ("same tag", ReadConditions { if_none_match: Some("\"e\""), ..none }, Verdict::NotModified),
            ("other tag", ReadConditions { if_none_match: Some("\"x\""), ..none }, Verdict::Go),
            ("not since", ReadConditions { if_modified_since: at(10), ..none }, Verdict::NotModified),
            ("since", ReadConditions { if_modified_since: at(9), ..none }, Verdict::Go),
            ("unmodified", ReadConditions { if_unmodified_since: at(10), ..none }, Verdict::Go),
            (
                "modified",
                ReadConditions { if_unmodified_since: at(9), ..none },
                Verdict::Failed("If-Unmodified-Since"),
            ),
            (
                "a matching tag overrules the time",
                ReadConditions { if_match: Some("e"), if_unmodified_since: at(9), ..none },
                Verdict::Go,
            ),
            (
                "a different tag overrules the time",
                ReadConditions { if_none_match: Some("x"), if_modified_since: at(10), ..none },
                Verdict::Go,
            ),
        ];
        for (name, conditions, expected) in cases {
            assert_eq!(conditions.judge("e", Timestamp::from_secs(10)), expected, "{name}");
        }
    }
}
