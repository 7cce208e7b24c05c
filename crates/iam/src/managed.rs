//! AWS-managed policies by ARN.
//!
//! The table is `data/managed-policies.tsv`, written by `data/import.py`: the policies around the services that pileus has. It is read
//! where it lies; nothing is parsed before it is asked for. A policy that AWS has retired is not there.

use std::sync::OnceLock;

/// One policy of AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// `arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole`.
    pub arn: &'static str,
    /// The default version, such as `v1`: the only one that is kept.
    pub default_version: &'static str,
    /// When the default version was made: `2015-04-09T15:03:43Z`.
    pub created: &'static str,
    /// The document of the default version, compact JSON.
    pub document: &'static str,
}

impl ManagedPolicy {
    /// The part of the ARN after the last slash.
    pub fn name(&self) -> &'static str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// `/`, `/service-role/`, `/job-function/`, ..
    pub fn path(&self) -> &'static str {
        let from_slash = self.arn.find('/').map_or("/", |at| &self.arn[at..]);
        &from_slash[..from_slash.len() - self.name().len()]
    }
}

/// The policy with this ARN, in any partition.
pub fn find(arn: &str) -> Option<&'static ManagedPolicy> {
    let resource = arn.strip_prefix("arn:aws:").or_else(|| arn.strip_prefix("arn:aws-cn:"));
    let resource = resource.or_else(|| arn.strip_prefix("arn:aws-us-gov:"))?;
    let policies = list();
    let at = policies.binary_search_by(|policy| policy.arn["arn:aws:".len()..].cmp(resource)).ok()?;
    policies.get(at)
}

/// All of them, sorted by ARN.
pub fn list() -> &'static [ManagedPolicy] {
    static POLICIES: OnceLock<Vec<ManagedPolicy>> = OnceLock::new();
    POLICIES.get_or_init(|| include_str!("../data/managed-policies.tsv").lines().filter_map(read).collect())
}

fn read(line: &'static str) -> Option<ManagedPolicy> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    Some(ManagedPolicy { arn: next()?, default_version: next()?, created: next()?, document: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DocumentKind, Policy, validate};

    #[test]
    fn every_line_is_a_policy_in_order() {
        let lines = include_str!("../data/managed-policies.tsv").lines().count();
        assert_eq!(list().len(), lines);
        assert!(list().is_sorted_by(|a, b| a.arn < b.arn));
        for managed in list() {
            Policy::parse(managed.document).unwrap_or_else(|error| panic!("{}: {error}", managed.arn));
            assert!(
                managed.default_version.starts_with('v') && managed.created.ends_with('Z'),
                "{}",
                managed.arn
            );
            assert!(managed.path().starts_with('/') && managed.path().ends_with('/'), "{}", managed.arn);
        }
    }

    #[test]
    fn awss_own_policies_pass_its_validation() {
        let fault = |managed: &ManagedPolicy| {
            Some((managed.name(), validate(managed.document, DocumentKind::Identity).err()?))
        };
        let faults: Vec<_> = list().iter().filter_map(fault).collect();
        assert_eq!(faults, []);
    }

    #[test]
    fn policies_are_found_by_arn() {
        let basic = find("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole").unwrap();
        assert_eq!((basic.name(), basic.path()), ("AWSLambdaBasicExecutionRole", "/service-role/"));
        for name in [
            "AdministratorAccess",
            "PowerUserAccess",
            "ReadOnlyAccess",
            "AmazonSQSFullAccess",
            "AmazonS3ReadOnlyAccess",
        ] {
            assert_eq!(find(&format!("arn:aws:iam::aws:policy/{name}")).unwrap().path(), "/");
            assert!(find(&format!("arn:aws-cn:iam::aws:policy/{name}")).is_some());
        }
        for arn in [
            "arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole",
            "arn:aws:iam::aws:policy/",
            "AdministratorAccess",
            "",
        ] {
            assert_eq!(find(arn), None, "{arn}");
        }
    }
}
