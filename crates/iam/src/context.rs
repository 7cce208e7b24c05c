//! The condition keys of one request.
//!
//! Source: IAM User Guide, "AWS global condition context keys", "The request context".

/// Condition keys and their values. Names are compared without regard to case; a key has one or more values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Sorted by key; keys are lower case.
    entries: Vec<(String, Values)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Context {
    pub fn new() -> Context {
        Context::default()
    }

    /// Sets a single-valued key, such as `aws:SourceIp`; replaces what was there.
    pub fn insert(&mut self, key: &str, value: impl Into<String>) {
        self.set(key, Values::One(value.into()));
    }

    /// Sets a multi-valued key, such as `aws:TagKeys`; replaces what was there. No values at all is a key that is present but empty.
    pub fn insert_many<T: Into<String>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.set(key, Values::Many(values.into_iter().map(Into::into).collect()));
    }

    /// The key's values, or `None` when the request does not have the key.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.get_lower(&key.to_ascii_lowercase())
    }

    /// Like `get`, for a key that is already lower case: no allocation.
    pub(crate) fn get_lower(&self, key: &str) -> Option<&[String]> {
        self.find(key).map(|values| match values {
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values.as_slice(),
        })
    }

    /// The value of a single-valued key: what a policy variable may stand for.
    pub(crate) fn single_lower(&self, key: &str) -> Option<&str> {
        match self.find(key)? {
            Values::One(value) => Some(value),
            Values::Many(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys in lower case, in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.entries.iter().filter_map(|(key, _)| Some((key.as_str(), self.get_lower(key)?)))
    }

    fn find(&self, key: &str) -> Option<&Values> {
        let at = self.entries.binary_search_by(|(name, _)| name.as_str().cmp(key)).ok()?;
        Some(&self.entries[at].1)
    }

    fn set(&mut self, key: &str, values: Values) {
        let key = key.to_ascii_lowercase();
        match self.entries.binary_search_by(|(name, _)| name.cmp(&key)) {
            Ok(at) => self.entries[at].1 = values,
            Err(at) => self.entries.insert(at, (key, values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_are_compared_without_regard_to_case() {
        let mut context = Context::new();
        context.insert("aws:SourceIp", "192.0.2.1");
        context.insert("AWS:sourceip", "192.0.2.2");
        context.insert_many("aws:TagKeys", ["a", "b"]);
        assert_eq!(context.get("aws:SOURCEIP"), Some(&["192.0.2.2".to_owned()][..]));
        assert_eq!(context.get("aws:TagKeys").map(<[String]>::len), Some(2));
        assert_eq!(context.get("aws:Missing"), None);
        assert_eq!(context.single_lower("aws:tagkeys"), None);
    }
}
