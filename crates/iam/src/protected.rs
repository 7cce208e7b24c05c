//! What AWS keeps for itself, and what nobody may be refused.
//!
//! Source: AWS STS API Reference, "GetCallerIdentity", "GetSessionToken"; IAM User Guide, "Managed policies and inline policies";
//! IAM Identity Center User Guide, "Referencing permission sets in resource policies"; AWS KMS Developer Guide, "Aliases in AWS KMS".

use crate::Request;
use crate::matching::split_arn;

/// Actions that need no permission, and that no policy can deny.
pub(crate) fn needs_no_permission(action: &str) -> bool {
    ["sts:GetCallerIdentity", "sts:GetSessionToken"].iter().any(|free| free.eq_ignore_ascii_case(action))
}

/// Whether the request would change something that belongs to AWS: its managed policies, the roles that IAM Identity Center keeps in an
/// account, the aliases of AWS-managed keys. No policy can allow that.
pub(crate) fn belongs_to_aws(request: &Request<'_>) -> bool {
    let Some((service, name)) = request.action.split_once(':') else { return false };
    let iam = service.eq_ignore_ascii_case("iam");
    if !iam && !service.eq_ignore_ascii_case("kms") {
        return false;
    }
    let Some([_, owner_service, _, account, resource]) = split_arn(request.resource) else { return false };
    if iam {
        let aws_policy = account == "aws" && resource.starts_with("policy/");
        let reserved_role = resource.starts_with("role/aws-reserved/");
        return owner_service == "iam" && (aws_policy || reserved_role) && !only_reads(name);
    }
    let alias =
        ["CreateAlias", "UpdateAlias", "DeleteAlias"].iter().any(|change| change.eq_ignore_ascii_case(name));
    owner_service == "kms" && alias && resource.starts_with("alias/aws/")
}

fn only_reads(name: &str) -> bool {
    let starts = |verb: &str| name.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb));
    ["Get", "List", "Generate", "Simulate"].iter().any(|verb| starts(verb))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Principal, Scope};

    #[test]
    fn what_belongs_to_aws_may_be_read_but_not_changed() {
        let policy = "arn:aws:iam::aws:policy/AdministratorAccess";
        let role = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x_1";
        let cases = [
            ("iam:DeletePolicy", policy, true),
            ("IAM:tagpolicy", policy, true),
            ("iam:GetPolicyVersion", policy, false),
            ("iam:ListEntitiesForPolicy", policy, false),
            ("iam:DeletePolicy", "arn:aws:iam::123456789012:policy/mine", false),
            ("iam:PassRole", role, true),
            ("iam:GetRole", role, false),
            ("sts:AssumeRole", role, false),
            ("kms:DeleteAlias", "arn:aws:kms:eu-west-1:123456789012:alias/aws/s3", true),
            ("kms:DeleteAlias", "arn:aws:kms:eu-west-1:123456789012:alias/mine", false),
        ];
        let (principal, context) = (Principal::anonymous(), Context::new());
        for (action, resource, expected) in cases {
            let scope = Scope::Exactly;
            let request = Request {
                principal: &principal,
                action,
                resource,
                resource_account: None,
                context: &context,
                scope,
            };
            assert_eq!(belongs_to_aws(&request), expected, "{action} {resource}");
        }
    }
}
