//! Policies that authorizers answer with.

use pileus_core::AccountId;
use pileus_iam::{Context, Named, Policies, Policy, Principal, Request, Scope, evaluate};
use std::sync::Arc;

/// Whether a policy lets its holder invoke `resource` (an ARN of `execute-api`). `None` when it is no policy.
pub fn allows(policy: &str, account: AccountId, resource: &str, source_ip: &str) -> Option<bool> {
    let policy = Arc::new(Policy::parse(policy).ok()?);
    let principal = Principal::user(account, format!("arn:aws:iam::{account}:user/authorized"));
    let mut context = Context::new();
    if !source_ip.is_empty() {
        context.insert("aws:SourceIp", source_ip);
    }
    let request = Request {
        principal: &principal,
        action: "execute-api:Invoke",
        resource,
        resource_account: Some(account),
        context: &context,
        scope: Scope::Exactly,
    };
    let identity = [Named::new("authorizer", policy)];
    Some(evaluate(&request, &Policies { identity: &identity, ..Policies::default() }).is_allowed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_allows_what_it_names() {
        let arn = "arn:aws:execute-api:us-east-1:000000000000:abc/dev/GET/pets";
        let policy = |effect: &str, resource: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Action":"execute-api:Invoke","Effect":"{effect}","Resource":"{resource}"}}]}}"#
            )
        };
        let cases = [
            (policy("Allow", arn), Some(true)),
            (policy("Allow", "arn:aws:execute-api:us-east-1:000000000000:abc/dev/*"), Some(true)),
            (policy("Allow", "arn:aws:execute-api:us-east-1:000000000000:abc/prod/*"), Some(false)),
            (policy("Deny", "*"), Some(false)),
            ("{".to_owned(), None),
        ];
        for (policy, expected) in cases {
            assert_eq!(allows(&policy, AccountId::DEFAULT, arn, "127.0.0.1"), expected, "{policy}");
        }
    }
}
