//! Names of blobs.

use std::fmt;

use pileus_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// A blob's name: `lambda/018bcfe5680012ab34cd56ef789012ab`. The area is the service's that owns it; then come 12 hex digits
/// of the time when it was finished (milliseconds of unmoved time) and 20 of chance. No two blobs ever share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct BlobId(String);

/// Digits of time, and of chance.
const TIME: usize = 12;
pub(crate) const CHANCE: usize = 20;

/// What a service keeps of a blob in its own row: the reference, and what a reader checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    pub id: BlobId,
    pub length: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
}

impl BlobId {
    /// `chance` is `CHANCE` hex digits.
    pub(crate) fn new(area: &str, finished: Timestamp, chance: &str) -> BlobId {
        // 48 bits of milliseconds last until the year 10889.
        let millis = u64::try_from(finished.as_millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        BlobId(format!("{area}/{millis:012x}{chance}"))
    }

    /// `None` for what is no name of a blob, so a parsed id is safe as part of a path.
    pub fn parse(text: &str) -> Option<BlobId> {
        let (area, name) = text.split_once('/')?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = is_area(area) && name.len() == TIME + CHANCE && name.bytes().all(is_hex);
        fits.then(|| BlobId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn area(&self) -> &str {
        self.parts().0
    }

    /// The name without the area.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// The digits of chance at its end.
    pub fn chance(&self) -> &str {
        &self.name()[TIME..]
    }

    /// Two hex digits of chance: which of 256 folders it lies in.
    pub(crate) fn shard(&self) -> &str {
        &self.name()[TIME..TIME + 2]
    }

    /// When it was finished, by the unmoved clock.
    pub fn finished_at(&self) -> Timestamp {
        let millis = i64::from_str_radix(&self.name()[..TIME], 16).unwrap_or(0);
        Timestamp::from_millis(millis)
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').expect("every way to make an id puts the area before a slash")
    }
}

/// Lower-case letters, digits and hyphens, at most 32.
pub(crate) fn is_area(area: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !area.is_empty() && area.len() <= 32 && area.bytes().all(is_allowed)
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BlobId, D::Error> {
        let text = String::deserialize(deserializer)?;
        BlobId::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a blob"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_area_its_folder_and_its_age() {
        let id = BlobId::new("s3", Timestamp::from_millis(1_700_000_000_123), "ab34cd56ef789012ab00");
        assert_eq!(id.as_str(), "s3/018bcfe5687bab34cd56ef789012ab00");
        assert_eq!((id.area(), id.shard()), ("s3", "ab"));
        assert_eq!(id.finished_at(), Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(BlobId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn what_could_leave_the_folder_is_no_id() {
        let name = "018bcfe5687bab34cd56ef789012ab00";
        for area in ["", "..", "a/b", "S3", "a_b", "x".repeat(33).as_str()] {
            assert_eq!(BlobId::parse(&format!("{area}/{name}")), None, "{area}");
        }
        for name in ["", "..", "../018bcfe5687bab34cd56ef789012ab", &name[1..], &name.to_uppercase()] {
            assert_eq!(BlobId::parse(&format!("s3/{name}")), None, "{name}");
        }
        assert_eq!(BlobId::parse("é/018bcfe5687bab34cd56ef789012ab00"), None);
    }
}
