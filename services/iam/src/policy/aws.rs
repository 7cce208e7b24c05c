//! The policies that AWS manages, as IAM shows them.

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_iam::managed::{self, ManagedPolicy};
use ring::digest;

use super::Usage;
use crate::names;

pub fn find(arn: &str) -> Option<&'static ManagedPolicy> {
    managed::find(arn)
}

/// Sorted by ARN.
pub fn all() -> &'static [ManagedPolicy] {
    managed::list()
}

/// Chosen: AWS's own unique ids are not published, so each is made from the ARN, and is the same for ever.
fn id(policy: &ManagedPolicy) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = digest::digest(&digest::SHA256, policy.arn.as_bytes());
    let letters = hash.as_ref().iter().take(17).map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    std::iter::once("ANPA".to_owned()).chain(letters.map(String::from)).collect()
}

fn created(policy: &ManagedPolicy) -> Option<Timestamp> {
    let basic: String = policy.created.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Timestamp::parse_basic(&basic)
}

/// As lists show it.
pub fn summary(policy: &'static ManagedPolicy, usage: Usage) -> api::Policy {
    api::Policy {
        policy_name: Some(policy.name().to_owned()),
        policy_id: Some(id(policy)),
        arn: Some(policy.arn.to_owned()),
        path: Some(policy.path().to_owned()),
        default_version_id: Some(policy.default_version.to_owned()),
        attachment_count: Some(usage.attached),
        permissions_boundary_usage_count: Some(usage.as_boundary),
        is_attachable: Some(true),
        create_date: created(policy),
        update_date: created(policy),
        ..api::Policy::default()
    }
}

pub fn answer(policy: &'static ManagedPolicy, usage: Usage) -> api::Policy {
    api::Policy { tags: Some(Vec::new()), ..summary(policy, usage) }
}

/// The version in force; older ones are not kept.
pub fn version(policy: &'static ManagedPolicy) -> Option<api::PolicyVersion> {
    Some(api::PolicyVersion {
        document: Some(names::encode_document(policy.document)),
        version_id: Some(policy.default_version.to_owned()),
        is_default_version: Some(true),
        create_date: created(policy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_managed_policy_has_a_date_and_an_id_of_its_own() {
        let mut ids = std::collections::HashSet::new();
        for policy in all() {
            assert!(created(policy).is_some(), "{}", policy.arn);
            assert!(ids.insert(id(policy)), "{}", policy.arn);
            assert_eq!(id(policy).len(), 21);
        }
        assert!(ids.len() > 100);
    }
}
