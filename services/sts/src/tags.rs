//! Session tags, and which of them pass on in role chaining. Pure.
//!
//! Source: IAM User Guide, "Pass session tags in AWS STS".

use pileus_api_sts::Tag;
use pileus_platform::{Access, Session};

use crate::error::StsError;

/// Tags of a new session.
#[derive(Debug, Default, PartialEq)]
pub struct SessionTags {
    pub tags: Vec<(String, String)>,
    pub transitive_keys: Vec<String>,
}

/// Joins what the caller passes with what its own session hands on. Keys are compared without regard to case.
///
/// # Errors
/// `InvalidParameterValue` for a key that comes twice, for a transitive key without its tag, and for a tag that would
/// overwrite one that is handed on.
pub fn join(
    passed: Vec<Tag>,
    transitive_keys: Vec<String>,
    calling: Option<&Session>,
) -> Result<SessionTags, StsError> {
    let mut tags: Vec<(String, String)> = Vec::with_capacity(passed.len());
    for tag in passed {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(&key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(StsError::InvalidParameterValue(text.to_owned()));
        }
        tags.push((key, value));
    }
    if !transitive_keys.iter().all(|key| tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key))) {
        let text = "The specified transitive tag key must be included in the requested tags.";
        return Err(StsError::InvalidParameterValue(text.to_owned()));
    }
    let mut joined = SessionTags { tags, transitive_keys };
    let handed_on = calling.into_iter().flat_map(|session| {
        let is_transitive =
            |key: &str| session.transitive_tag_keys.iter().any(|other| other.eq_ignore_ascii_case(key));
        session.tags.iter().filter(move |(key, _)| is_transitive(key))
    });
    for (key, value) in handed_on {
        if joined.tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
            let text = "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.";
            return Err(StsError::InvalidParameterValue(text.to_owned()));
        }
        joined.tags.push((key.clone(), value.clone()));
        joined.transitive_keys.push(key.clone());
    }
    Ok(joined)
}

/// What a request says about tags, as far as permissions go.
pub struct TagAccess<'a> {
    pub passed: &'a [Tag],
    pub transitive_keys: &'a [String],
    /// The session that asks, which may hand tags on.
    pub calling: Option<&'a Session>,
}

impl TagAccess<'_> {
    /// `access` with the passed tags as context, and `sts:TagSession` when the new session will have tags: passed or handed on.
    pub fn needed(&self, access: Access) -> Vec<Access> {
        let hands_on = self.calling.is_some_and(|session| !session.transitive_tag_keys.is_empty());
        if self.passed.is_empty() && !hands_on {
            return vec![access];
        }
        let mut access = access;
        for tag in self.passed {
            let key = tag.key.as_deref().unwrap_or_default();
            access = access.with(format!("aws:RequestTag/{key}"), tag.value.clone().unwrap_or_default());
        }
        if !self.passed.is_empty() {
            let keys = self.passed.iter().filter_map(|tag| tag.key.clone()).collect();
            access = access.with_many("aws:TagKeys", keys);
        }
        if !self.transitive_keys.is_empty() {
            access = access.with_many("sts:TransitiveTagKeys", self.transitive_keys.to_vec());
        }
        let tagging = Access { action: "sts:TagSession".into(), ..access.clone() };
        vec![access, tagging]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::{AccountId, Timestamp};
    use pileus_platform::SessionKind;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: Some(key.into()), value: Some(value.into()) }
    }

    fn calling() -> Session {
        Session {
            access_key_id: String::new(),
            secret_access_key: String::new(),
            account: AccountId::DEFAULT,
            kind: SessionKind::Root,
            issued_at: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            policies: vec![],
            policy_arns: vec![],
            tags: vec![("team".into(), "a".into()), ("cost".into(), "1".into())],
            transitive_tag_keys: vec!["Team".into()],
            source_identity: None,
            context: vec![],
        }
    }

    #[test]
    fn only_transitive_tags_pass_on_and_nothing_may_overwrite_them() {
        let joined = join(vec![tag("x", "y")], vec!["x".into()], Some(&calling())).expect("no conflict");
        assert_eq!(joined.tags, [("x".into(), "y".into()), ("team".into(), "a".into())]);
        assert_eq!(joined.transitive_keys, ["x", "team"]);
        let cases = [
            ("the same key in another case", vec![tag("a", "1"), tag("A", "2")], vec![]),
            ("a transitive key that is no tag", vec![tag("a", "1")], vec!["b".to_owned()]),
            ("a tag that is handed on", vec![tag("TEAM", "b")], vec![]),
        ];
        for (name, tags, keys) in cases {
            assert!(
                matches!(join(tags, keys, Some(&calling())), Err(StsError::InvalidParameterValue(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_session_that_will_have_tags_needs_the_permission_to_tag_it() {
        let actions = |passed: &[Tag], calling: Option<&Session>| {
            let tagging = TagAccess { passed, transitive_keys: &[], calling };
            let needed = tagging.needed(Access::any("sts:AssumeRole"));
            needed.into_iter().map(|access| access.action.into_owned()).collect::<Vec<_>>()
        };
        let both = ["sts:AssumeRole", "sts:TagSession"];
        assert_eq!(actions(&[], None), ["sts:AssumeRole"]);
        assert_eq!(actions(&[tag("a", "1")], None), both);
        assert_eq!(actions(&[], Some(&calling())), both, "handed on by the calling session");
    }
}
