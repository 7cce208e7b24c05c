//! Names, paths, ARNs and documents as they travel. Pure.
//!
//! Source: IAM User Guide, "IAM identifiers", "IAM and AWS STS quotas" (name requirements).

use pileus_core::{AccountId, Arn};

use crate::error::IamError;

/// What a name is unique by: names do not differ by letter case alone.
pub fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A member that the model requires: validation has refused its absence already.
pub fn required<'a>(value: &'a Option<String>, member: &str) -> Result<&'a str, IamError> {
    value.as_deref().ok_or_else(|| IamError::missing(member))
}

/// A path as given, or `/`.
///
/// # Errors
/// `ValidationError` unless it begins and ends with `/` and holds visible ASCII only.
pub fn path(path: Option<&str>) -> Result<String, IamError> {
    let path = path.unwrap_or("/");
    let fits =
        path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && path.len() <= 512 {
        return Ok(path.to_owned());
    }
    let text = "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
                characters and/or / characters.";
    Err(IamError::ValidationError(text.to_owned()))
}

/// `arn:aws:iam::123456789012:user/team/ann`; `path` begins and ends with `/`.
pub fn arn(partition: &str, account: AccountId, kind: &str, path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:{kind}{path}{name}")
}

/// The parts of the ARN of something that IAM keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `None` for what AWS itself owns (`arn:aws:iam::aws:policy/..`).
    pub account: Option<AccountId>,
    /// `policy`, `user`, ..
    pub kind: String,
    /// Begins and ends with `/`.
    pub path: String,
    pub name: String,
}

/// Reads `arn:PARTITION:iam::ACCOUNT:KIND/PATH/NAME`; `None` when it is something else.
pub fn parse_arn(text: &str) -> Option<Named> {
    let arn = Arn::parse(text).ok()?;
    if arn.service() != "iam" || !arn.region().is_empty() {
        return None;
    }
    let account = match arn.account() {
        "aws" => None,
        other => Some(AccountId::parse(other)?),
    };
    let (kind, rest) = arn.resource().split_once('/')?;
    let (path, name) = match rest.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), rest),
    };
    (!name.is_empty()).then(|| Named { account, kind: kind.to_owned(), path, name: name.to_owned() })
}

/// Percent-encodes a document as RFC 3986 does: only unreserved characters stay.
pub fn encode_document(document: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            _ => {
                text.push('%');
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    text
}

/// Size of a policy as quotas count it: characters that are not white space.
pub fn policy_size(document: &str) -> usize {
    document.chars().filter(|character| !character.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_splits_into_account_kind_path_and_name() {
        let account = AccountId::parse("123456789012");
        let cases = [
            ("arn:aws:iam::123456789012:policy/p", Some((account, "policy", "/", "p"))),
            ("arn:aws:iam::123456789012:policy/a/b/p", Some((account, "policy", "/a/b/", "p"))),
            ("arn:aws:iam::aws:policy/service-role/R", Some((None, "policy", "/service-role/", "R"))),
            ("arn:aws:iam::123456789012:policy/", None),
            ("arn:aws:iam::123456789012:root", None),
            ("arn:aws:iam::12345:policy/p", None),
            ("arn:aws:sts::123456789012:policy/p", None),
            ("arn:aws:iam:us-east-1:123456789012:policy/p", None),
            ("longpolicynamebutnoarn", None),
        ];
        for (text, expected) in cases {
            let got = parse_arn(text);
            let got = got.as_ref().map(|n| (n.account, n.kind.as_str(), n.path.as_str(), n.name.as_str()));
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn a_path_begins_and_ends_with_a_slash() {
        let cases = [
            (None, true),
            (Some("/"), true),
            (Some("/a/b/"), true),
            (Some("/a//b/"), true),
            (Some("a/"), false),
        ];
        for (given, fits) in cases {
            assert_eq!(path(given).is_ok(), fits, "{given:?}");
        }
        assert!(path(Some("/a")).is_err());
        assert!(path(Some("/a b/")).is_err());
        assert!(path(Some("")).is_err());
    }

    #[test]
    fn documents_are_encoded_as_rfc_3986_says() {
        assert_eq!(encode_document("{\"A\": \"a-_.~*é\"}"), "%7B%22A%22%3A%20%22a-_.~%2A%C3%A9%22%7D");
        assert_eq!(policy_size("{ \"a\" :\n1 }"), 7);
    }
}
