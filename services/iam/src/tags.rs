//! The rules of tags, for every kind of resource that has them. Pure.
//!
//! Source: IAM User Guide, "Tags for AWS Identity and Access Management resources" (keys of users and roles do not differ by letter
//! case alone; those of other resources do; at most 50; `aws:` is reserved).

use pileus_api_iam as api;

use crate::error::IamError;
use crate::page::{Cut, Page};

/// Key and value, in the order of keys.
pub type Tags = Vec<(String, String)>;

/// Whether two keys that differ by letter case only are the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Ignored,
    Kept,
}

const MAX_TAGS: usize = 50;

impl Case {
    fn same(self, a: &str, b: &str) -> bool {
        match self {
            Case::Ignored => a.to_lowercase() == b.to_lowercase(),
            Case::Kept => a == b,
        }
    }

    /// The tags of a new resource.
    pub fn create(self, given: Option<Vec<api::Tag>>) -> Result<Tags, IamError> {
        let mut tags = Tags::new();
        self.set(&mut tags, given)?;
        Ok(tags)
    }

    /// `Tag*`: adds or replaces.
    ///
    /// # Errors
    /// `InvalidInput` for a key given twice or a reserved one, `LimitExceeded` for more than 50.
    pub fn set(self, tags: &mut Tags, given: Option<Vec<api::Tag>>) -> Result<(), IamError> {
        let given = pairs(given);
        for (at, (key, _)) in given.iter().enumerate() {
            if given[..at].iter().any(|(other, _)| self.same(other, key)) {
                return Err(IamError::InvalidInput(match self {
                    Case::Ignored => {
                        "Duplicate tag keys found. Please note that Tag keys are case insensitive.".to_owned()
                    }
                    Case::Kept => "Duplicate tag keys found.".to_owned(),
                }));
            }
            if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
                return Err(IamError::InvalidInput(
                    "Tag keys beginning with 'aws:' are reserved for system use.".to_owned(),
                ));
            }
        }
        for (key, value) in given {
            match tags.iter_mut().find(|(other, _)| self.same(other, &key)) {
                Some(tag) => *tag = (key, value),
                None => tags.push((key, value)),
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(IamError::LimitExceeded(
                "The number of tags has reached the maximum limit.".to_owned(),
            ));
        }
        tags.sort();
        Ok(())
    }

    /// `Untag*`: keys that are not there are passed over.
    pub fn remove(self, tags: &mut Tags, keys: &[String]) {
        tags.retain(|(key, _)| !keys.iter().any(|gone| self.same(key, gone)));
    }
}

fn pairs(given: Option<Vec<api::Tag>>) -> Vec<(String, String)> {
    let pair = |tag: api::Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    given.unwrap_or_default().into_iter().map(pair).collect()
}

pub fn answer(tags: &Tags) -> Vec<api::Tag> {
    let tag =
        |(key, value): &(String, String)| api::Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.iter().map(tag).collect()
}

/// Left out when there are none.
pub fn answer_if_any(tags: &Tags) -> Option<Vec<api::Tag>> {
    (!tags.is_empty()).then(|| answer(tags))
}

/// `List*Tags`.
pub fn page(tags: &Tags, marker: Option<&str>, max_items: Option<i64>) -> Result<Cut<api::Tag>, IamError> {
    let page = Page::new("tags", marker, max_items)?;
    Ok(page.cut(answer(tags), |tag| tag.key.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> api::Tag {
        api::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    #[test]
    fn a_key_replaces_its_equal() {
        let cases = [
            (Case::Ignored, vec![("A", "1")], ("a", "2"), vec![("a", "2")]),
            (Case::Kept, vec![("A", "1")], ("a", "2"), vec![("A", "1"), ("a", "2")]),
            (Case::Kept, vec![("a", "1")], ("a", "2"), vec![("a", "2")]),
        ];
        for (case, before, (key, value), after) in cases {
            let mut tags: Tags = before.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            case.set(&mut tags, Some(vec![tag(key, value)])).unwrap();
            let after: Tags = after.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!(tags, after, "{case:?}");
        }
    }

    #[test]
    fn wrong_sets_of_tags_are_refused() {
        let many: Vec<api::Tag> = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        let cases = [
            (Case::Ignored, vec![tag("a", ""), tag("A", "")], "InvalidInput"),
            (Case::Kept, vec![tag("a", ""), tag("a", "")], "InvalidInput"),
            (Case::Kept, vec![tag("AWS:x", "")], "InvalidInput"),
            (Case::Kept, many, "LimitExceeded"),
        ];
        for (case, given, code) in cases {
            assert_eq!(case.create(Some(given)).unwrap_err().code().0, code);
        }
        assert_eq!(Case::Kept.create(Some(vec![tag("a", ""), tag("A", "")])).unwrap().len(), 2);
    }

    #[test]
    fn removing_an_absent_key_changes_nothing() {
        let mut tags: Tags = vec![("a".into(), "1".into())];
        Case::Kept.remove(&mut tags, &["A".into(), "b".into()]);
        assert_eq!(tags.len(), 1);
        Case::Ignored.remove(&mut tags, &["A".into()]);
        assert!(tags.is_empty());
    }
}
