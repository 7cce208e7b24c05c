//! Inline session policies, parsed once: a session's token carries their text with every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use pileus_iam::Policy;
use ring::digest;

/// Policies by the SHA-256 of their documents. When full it forgets everything, which only costs time.
pub(crate) struct ParsedPolicies {
    policies: RwLock<HashMap<[u8; 32], Arc<Policy>>>,
    capacity: usize,
}

impl ParsedPolicies {
    pub fn new(capacity: usize) -> ParsedPolicies {
        ParsedPolicies { policies: RwLock::default(), capacity }
    }

    /// `None` for what is no policy.
    pub fn get(&self, document: &str) -> Option<Arc<Policy>> {
        let mut name = [0u8; 32];
        name.copy_from_slice(digest::digest(&digest::SHA256, document.as_bytes()).as_ref());
        if let Some(policy) = self.policies.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Some(policy.clone());
        }
        let policy = Arc::new(Policy::parse(document).ok()?);
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        if policies.len() >= self.capacity {
            policies.clear();
        }
        policies.insert(name, policy.clone());
        Some(policy)
    }
}

impl Default for ParsedPolicies {
    /// Documents are of 2,048 characters at most.
    fn default() -> ParsedPolicies {
        ParsedPolicies::new(1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(action: usize) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"a:{action}","Resource":"*"}}]}}"#
        )
    }

    #[test]
    fn a_document_is_parsed_once_and_never_taken_for_another() {
        let parsed = ParsedPolicies::new(8);
        let (one, two) = (parsed.get(&document(1)).unwrap(), parsed.get(&document(2)).unwrap());
        assert!(Arc::ptr_eq(&one, &parsed.get(&document(1)).unwrap()));
        assert!(!Arc::ptr_eq(&one, &two));
        assert!(parsed.get("no policy").is_none());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let parsed = ParsedPolicies::new(8);
        for action in 0..100 {
            parsed.get(&document(action)).unwrap();
            assert!(parsed.policies.read().unwrap().len() <= 8);
        }
    }
}
