//! Amazon Resource Names and the two names inside them.
//!
//! Source: AWS General Reference, "Amazon Resource Names (ARNs)".

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A twelve-digit AWS account number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 12]);

impl AccountId {
    /// The account of unknown credentials in the default profile.
    pub const DEFAULT: AccountId = AccountId(*b"000000000000");

    /// `None` unless `text` is exactly twelve ASCII digits.
    pub fn parse(text: &str) -> Option<AccountId> {
        let digits: [u8; 12] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(AccountId(digits))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an account id is ASCII digits, checked when parsed")
    }

    pub fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for AccountId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for AccountId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        AccountId::parse(&text).ok_or_else(|| serde::de::Error::custom("not a twelve-digit account id"))
    }
}

/// A region's code, such as `ap-northeast-2`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(Arc<str>);

impl Region {
    /// `None` unless `text` has the form of a region code: lower-case letters, digits and hyphens, at most 32.
    pub fn parse(text: &str) -> Option<Region> {
        let bytes = text.as_bytes();
        let fits = !bytes.is_empty() && bytes.len() <= 32 && bytes[0].is_ascii_lowercase();
        let valid = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        (fits && valid).then(|| Region(text.into()))
    }

    /// `us-east-1`: where AWS's global services live.
    pub fn us_east_1() -> Region {
        Region("us-east-1".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition that the region belongs to: `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &'static str {
        match self.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Region {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Region::parse(&text).ok_or("not a region code")
    }
}

impl From<Region> for String {
    fn from(region: Region) -> String {
        region.0.to_string()
    }
}

/// `arn:partition:service:region:account:resource`. Region and account may be empty; the resource may hold colons.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    text: String,
    /// Byte offsets of the five colons.
    colons: [u16; 5],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ARN (arn:partition:service:region:account:resource)")]
pub struct ParseArnError(pub String);

impl Arn {
    pub fn new(partition: &str, service: &str, region: &str, account: &str, resource: &str) -> Arn {
        let parts = [partition, service, region, account, resource];
        let mut text = String::with_capacity(8 + parts.iter().map(|part| part.len()).sum::<usize>());
        text.push_str("arn");
        for part in parts {
            text.push(':');
            text.push_str(part);
        }
        Arn::of(text).expect("an ARN written from its parts parses: no part but the resource holds a colon")
    }

    pub fn parse(text: &str) -> Result<Arn, ParseArnError> {
        if text.len() > usize::from(u16::MAX) {
            return Err(ParseArnError(text.chars().take(2_048).collect()));
        }
        Arn::of(text.to_owned())
    }

    fn of(text: String) -> Result<Arn, ParseArnError> {
        let error = || ParseArnError(text.chars().take(2_048).collect());
        if text.len() > usize::from(u16::MAX) || !text.starts_with("arn:") {
            return Err(error());
        }
        let mut colons = [0u16; 5];
        let mut found = text.bytes().enumerate().filter(|(_, byte)| *byte == b':').map(|(at, _)| at);
        for slot in &mut colons {
            *slot = found.next().ok_or_else(error)? as u16;
        }
        Ok(Arn { text, colons })
    }

    fn part(&self, index: usize) -> &str {
        let start = usize::from(self.colons[index]) + 1;
        match self.colons.get(index + 1) {
            Some(end) => &self.text[start..usize::from(*end)],
            None => &self.text[start..],
        }
    }

    pub fn partition(&self) -> &str {
        self.part(0)
    }

    pub fn service(&self) -> &str {
        self.part(1)
    }

    pub fn region(&self) -> &str {
        self.part(2)
    }

    pub fn account(&self) -> &str {
        self.part(3)
    }

    pub fn resource(&self) -> &str {
        self.part(4)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Arn {
    type Err = ParseArnError;
    fn from_str(text: &str) -> Result<Arn, ParseArnError> {
        Arn::parse(text)
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_splits_at_its_first_five_colons() {
        let cases = [
            (
                "arn:aws:sqs:us-east-1:123456789012:jobs",
                Some(["aws", "sqs", "us-east-1", "123456789012", "jobs"]),
            ),
            ("arn:aws:s3:::bucket/a:b", Some(["aws", "s3", "", "", "bucket/a:b"])),
            (
                "arn:aws:iam::aws:policy/ReadOnlyAccess",
                Some(["aws", "iam", "", "aws", "policy/ReadOnlyAccess"]),
            ),
            ("arn:aws:sqs:us-east-1", None),
            ("urn:aws:sqs:us-east-1:123456789012:jobs", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let got = Arn::parse(text).ok();
            let parts =
                got.as_ref().map(|a| [a.partition(), a.service(), a.region(), a.account(), a.resource()]);
            assert_eq!(parts, expected, "{text}");
        }
    }

    #[test]
    fn account_and_region_accept_only_their_own_form() {
        assert!(AccountId::parse("123456789012").is_some());
        for bad in ["12345678901", "1234567890123", "12345678901a", ""] {
            assert!(AccountId::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Region::parse("cn-north-1").expect("valid").partition(), "aws-cn");
        for bad in ["", "US-EAST-1", "us east", "a/b", "-us"] {
            assert!(Region::parse(bad).is_none(), "{bad}");
        }
    }
}
